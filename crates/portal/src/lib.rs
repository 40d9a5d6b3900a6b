//! The portal: the REST API with its OpenAPI description, sessions and tokens, and the web client.
//!
//! A handler says who may, what to do and what to show. What the database holds is the matter of `store`,
//! where a call goes that of `routing`; this crate never routes a call and is never on a call's path.
//! Time, randomness, database and route table are arguments ([`AppState`]).
#![forbid(unsafe_code)]

mod access;
mod agreement;
mod agreement_terms;
mod allocation;
mod allocation_csv;
mod announcement;
mod api;
mod app;
mod audit;
mod block_list;
mod bulk;
mod call;
mod call_limits;
mod certificate;
mod change_application;
mod change_plan;
mod change_set;
mod change_set_job;
mod club;
mod configuration;
mod connect;
mod csv;
mod endpoint;
mod endpoint_health;
mod evidence;
pub mod forecast;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod health;
mod http_metrics;
mod import;
mod import_errors;
mod import_job;
mod import_reader;
mod lines;
mod looking_glass;
mod lookup;
mod lookup_batch;
mod member;
mod node;
mod numbering;
mod origin;
mod overview;
mod page;
mod password;
mod past;
mod policy;
mod problem;
mod range;
mod range_challenge;
mod rate_deck;
mod reachability;
mod reason;
mod request;
mod secret;
mod selection_check;
mod server;
mod session;
mod sti_certificate;
mod text;
mod throttle;
mod token;
mod trace;
mod transit_offer;
mod transit_quality_job;
mod transit_terms;
mod user;
mod vocabulary;
mod web;
mod wish;

pub use app::{App, AppState, ApprovalThreshold, ChallengeSettings, Entropy, PortalSettings};
pub use change_set_job::apply_due;
pub use import_job::apply_due as apply_imports;
pub use password::{hash_password, new_password};
pub use secret::{Secret, TOKEN_PREFIX};
pub use server::{bind, router, serve};
pub use sti_certificate::TrustAnchors;
pub use transit_quality_job::measure;

//! Every SQL statement of the hub, checked against the schema when it compiles, and the private Postgres
//! that it runs when no other is named.
//!
//! A module is named after the noun whose rows it reads and writes; what routing is built from is in
//! [`facts`], the news of its changes in [`feed`]. Rules that span rows are constraints of the schema, in
//! `migrations/`, and [`database::reason`] says which one a failed statement broke. Nothing in here decides.

pub mod agreement;
pub mod allocation;
pub mod announcement;
pub mod api_token;
pub mod audit;
pub mod block_list;
pub mod call;
pub mod call_message;
pub mod cdr;
pub mod certificate;
pub mod change_set;
pub mod club;
pub mod cluster;
pub mod credential;
pub mod database;
pub mod declaration;
pub mod endpoint;
pub mod endpoint_health;
pub mod facts;
pub mod feed;
pub mod idempotent_request;
pub mod import;
pub mod import_application;
pub mod listener;
pub mod member;
pub mod node;
pub mod number_range;
pub mod overview;
pub mod past;
pub mod range_challenge;
pub mod rate_deck;
pub mod registration;
pub mod rehearsal;
pub mod session;
mod target;
pub mod throwaway;
pub mod trace_selection;
pub mod transit_offer;
pub mod user;
mod word;

pub use database::{connect, migrate};
/// Why a statement failed.
pub use sqlx::Error;
/// One connection: what a transaction lends to several statements.
pub use sqlx::PgConnection;
/// A transaction, which is rolled back where nobody commits it.
pub type Transaction<'a> = sqlx::Transaction<'a, sqlx::Postgres>;
/// A pool of connections to the hub's database.
pub use sqlx::PgPool;

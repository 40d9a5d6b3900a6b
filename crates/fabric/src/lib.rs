//! SF: a node of the hub. It receives SIP from members, asks `routing` where a call may go, and carries it
//! there as a back-to-back user agent.
//!
//! The [`Worker`](worker) is sans-I/O: messages, time and random bits come in, messages and journal records
//! go out. [`Node`] gives it sockets, a clock and a disk; [`Shipper`] brings its journal to Postgres.

mod acceptor;
mod admission;
mod answer;
mod call;
mod cause;
mod challenge;
mod connection;
mod containment;
mod crossing;
mod datagram;
mod destination;
mod dialog_request;
mod digest;
mod dipper;
mod direct;
mod driver;
mod early;
mod enum_answer;
mod enum_server;
mod flusher;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod health;
mod hep;
mod identity;
mod invite;
mod journal;
mod large_request;
mod late_prack;
mod leg;
mod limit;
mod metrics;
mod name_cache;
mod node;
mod nonce;
mod outbound_registration;
mod outbox;
mod overload;
mod page;
mod passes;
mod probe;
mod proof;
mod record;
mod recorder;
mod redirect;
mod refer;
mod registrar;
mod resolution;
mod resolver;
mod response;
mod routing_number;
mod saved_names;
mod scheduling;
mod secure;
mod server_set;
mod session;
mod share;
mod shed;
mod shipper;
mod source_guard;
mod spans;
mod standing;
mod stream;
mod tap;
mod timer;
mod tls;
mod tracer;
mod transaction;
mod watch;
mod worker;

#[cfg(test)]
mod simulation;

pub use challenge::Challenger;
pub use dipper::{DipService, DipSettings};
pub use enum_server::EnumSettings;
pub use hep::{HepSettings, HepTransport};
pub use node::{ListenerSettings, Node, NodeSettings, StartError};
pub use recorder::{Recorder, TraceSettings};
pub use registrar::RegistrationWriter;
pub use resolver::DnsSettings;
pub use shipper::Shipper;
pub use spans::OtlpSettings;
pub use tls::{TlsError, TlsSettings};
pub use watch::{EndpointStanding, HealthReport, NameStanding};

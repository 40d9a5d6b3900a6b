//! Every SQL statement of the hub, checked against the schema when it compiles, and the private Postgres
//! that it runs when no other is named.
//!
//! A module is named after the noun whose rows it reads and writes; what routing is built from is in
//! [`facts`], the news of its changes in [`feed`]. Rules that span rows are constraints of the schema, in
//! `migrations/`, and [`database::reason`] says which one a failed statement broke. Nothing in here decides.

pub mod cdr;
pub mod cluster;
pub mod database;
//pub mod declaration;
pub mod facts;
pub mod feed;
pub mod listener;
pub mod node;
pub mod throwaway;

pub use database::{connect, migrate};
/// Why a statement failed.
pub use sqlx::Error;
/// A pool of connections to the hub's database.
pub use sqlx::PgPool;

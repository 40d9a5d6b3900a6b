//! The schema and the statements of the store, against a real Postgres.

mod apply;
mod cdrs;
mod cluster;
mod constraints;
mod endpoint_health;
mod facts;
mod imports;
mod nodes;
mod past;
mod support;
mod traces;
mod transit;

//! What tests need that the hub does not: a clock that they move and a database that they throw away.

mod clock;
mod database;

pub use clock::ManualClock;
pub use database::Database;

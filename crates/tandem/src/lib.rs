//! The hub as a program: settings, wiring and subcommands around the crates that do the work.
//!
//! [`serve`] runs a node; the other modules are what an operator does from a shell. Here, and only here, the
//! machine's clock and randomness are read.

pub mod account;
pub mod apply;
pub mod clock;
pub mod data_dir;
pub mod database;
pub mod explain;
pub mod follower;
pub mod health;
pub mod history;
pub mod lookup;
pub mod metrics;
pub mod plan;
pub mod portability;
pub mod report;
pub mod serve;
pub mod settings;
pub mod simulate;
pub mod snapshot;
/// Prints a line of what the command was asked for; logs go to standard error.
#[expect(clippy::print_stdout, reason = "a subcommand prints what it was asked for")]
pub(crate) fn say(line: impl std::fmt::Display) {
    println!("{line}");
}

//! `cargo xtask bench`: the measurements that exist.
//!
//! `lookup` and `judge` are examples of the crates that they measure; `fabric` sets the whole hub beside Kamailio.

mod fabric;
mod hub;
mod kamailio;
mod load;
mod numbers;
mod postgres;
mod report;
mod stage;
mod system;
mod usage;

use anyhow::Result;

use crate::run::{Steps, cargo, run as run_command};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// All of them, where none is named
    #[command(subcommand)]
    bench: Option<Bench>,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// Route table: build, memory, lookup and change at 1,000 to 10 million prefixes
    Lookup,
    /// SIP messages: reading and judging ordinary ones, and hostile ones of 8 to 64 kB
    Judge,
    /// Calls: the hub beside Kamailio under the same load, and what the relaying alone costs
    Fabric(fabric::Options),
}

/// Runs the bench that is named, or all of them.
pub(crate) fn run(options: Options) -> Result<()> {
    match options.bench {
        Some(Bench::Lookup) => lookup(),
        Some(Bench::Judge) => judge(),
        Some(Bench::Fabric(options)) => fabric::run(&options),
        None => {
            let mut steps = Steps::new();
            steps.step("lookup", lookup);
            steps.step("judge", judge);
            steps.step("fabric", || run_command(&mut cargo(&["xtask", "bench", "fabric"])));
            steps.finish()
        }
    }
}

fn lookup() -> Result<()> {
    run_command(&mut cargo(&["run", "--release", "--package", "tandem-routing", "--example", "lookup"]))
}

fn judge() -> Result<()> {
    run_command(&mut cargo(&["run", "--release", "--package", "tandem-sip", "--example", "judge"]))
}

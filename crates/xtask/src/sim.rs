//! `cargo xtask sim`: random calls through a worker over a network that loses, repeats and reorders, in
//! simulated time; a seed that fails is printed and can be run again by itself.

use anyhow::Result;

use crate::run::{cargo, run as run_command};

/// Which seeds are run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many seeds
    #[arg(long, default_value_t = 100_000)]
    seeds: u64,
    /// The first of them; a single seed prints every message
    #[arg(long, default_value_t = 0)]
    from: u64,
}

/// Runs the simulation of the fabric with optimised code.
pub(crate) fn run(options: &Options) -> Result<()> {
    let end = options.from.saturating_add(options.seeds);
    let args =
        ["test", "--release", "--package", "tandem-fabric", "--lib", "random_calls", "--", "--nocapture"];
    run_command(cargo(&args).env("TANDEM_SEEDS", format!("{}..{end}", options.from)))
}

//! `cargo xtask soak`: scenarios of `tests/` at a length that no day's run has, against a release build.

use std::process::Command;

use anyhow::Result;

use crate::machine::{Need, set_up};
use crate::run::{Steps, cargo, run as run_command};

/// What is run, and for how long. Without an option, the soak of twenty minutes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long calls are made
    #[arg(long, default_value_t = 20.0)]
    minutes: f64,
    /// How many calls are up at once
    #[arg(long, default_value_t = 10_000)]
    calls_up: u32,
    /// How many calls are made altogether [default: 50,000 a minute]
    #[arg(long)]
    calls: Option<u32>,
    /// Instead: so many mutated datagrams over sockets, with a tenth as many over streams
    #[arg(long, value_name = "DATAGRAMS")]
    socket_fuzz: Option<u64>,
    /// Instead: so many times `kill -9` of the hub under load
    #[arg(long)]
    kills: Option<u32>,
    /// Instead: loads beyond the capacity of the machine, each for so many seconds
    #[arg(long, value_name = "SECONDS")]
    overload: Option<f64>,
    /// First seed of the fuzzer, and seed of the kills' moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Builds the hub, then runs what is asked for.
pub(crate) fn run(options: &Options) -> Result<()> {
    set_up(&[Need::Postgres])?;
    let mut steps = Steps::new();
    if !steps.step("build", || run_command(&mut cargo(&["build", "--release", "--package", "tandem"]))) {
        return steps.finish();
    }
    let seed = options.seed.to_string();
    if let Some(datagrams) = options.socket_fuzz {
        steps.step("socket fuzz", || {
            let mut scenario = scenario("socket_fuzz");
            scenario.env("FUZZ_DATAGRAMS", datagrams.to_string()).env("FUZZ_SEED", &seed);
            run_command(&mut scenario)
        });
    }
    if let Some(kills) = options.kills {
        steps.step("crash loop", || {
            run_command(scenario("crash_loop").env("CRASH_KILLS", kills.to_string()).env("CRASH_SEED", &seed))
        });
    }
    if let Some(seconds) = options.overload {
        steps.step("overload", || {
            run_command(scenario("overload").env("OVERLOAD_SECONDS", seconds.to_string()))
        });
    }
    if options.socket_fuzz.is_none() && options.kills.is_none() && options.overload.is_none() {
        let calls = options.calls.unwrap_or((options.minutes * 50_000.0) as u32);
        steps.step("soak", || {
            let mut scenario = scenario("soak");
            scenario.env("SOAK_MINUTES", options.minutes.to_string());
            scenario.env("SOAK_CALLS_UP", options.calls_up.to_string());
            run_command(scenario.env("SOAK_CALLS", calls.to_string()))
        });
    }
    steps.finish()
}

/// One file of `tests/`, with what it prints shown.
pub(crate) fn scenario(name: &str) -> Command {
    let mut test = cargo(&["test", "--release", "--package", "tandem-tests", "--test", name]);
    test.args(["--", "--nocapture"]);
    test.env("TANDEM_BIN", crate::target().join("release/tandem")).env("TANDEM_LONG", "1");
    test
}

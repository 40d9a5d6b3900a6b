//! The commands of the workspace: `cargo xtask demo`, `test`, `check`, `bench`, `fuzz`, `sim`, `soak`, `memcheck`,
//! `prepare`, `setup`.
//!
//! Each installs what it misses before it starts (see [`machine`]) and prints what it runs, so that any
//! step can be repeated by hand.

mod bench;
mod check;
mod cluster;
mod demo;
mod fuzz;
mod http;
mod machine;
mod memcheck;
mod prepare;
mod process;
mod run;
mod sim;
mod soak;
mod test;
mod web;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use machine::Need;

/// Builds, shows and checks Tandem.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the hub with a simulated exchange whose members place calls
    Demo(demo::Options),
    /// Runs every test: Rust, database, whole hub with real peers, web, browser
    Test(test::Options),
    /// Checks format, lints, documentation, SQL metadata, OpenAPI, generated types, web lint and types
    Check,
    /// Runs the benchmarks, or the one that is named
    Bench(bench::Options),
    /// Runs random calls through the fabric in simulated time
    Sim(sim::Options),
    /// Runs the hub for long: many calls up, or mutated messages, or one crash after another
    Soak(soak::Options),
    /// Runs the fuzz targets, or the one that is named
    Fuzz(fuzz::Options),
    /// Runs the fabric under AddressSanitizer, and a hub under valgrind with the torture messages and a call
    Memcheck,
    /// Renews the committed SQL metadata (.sqlx) from the migrations
    Prepare {
        /// Only compare, and fail where they differ
        #[arg(long)]
        check: bool,
    },
    /// Installs what all the other commands need
    Setup,
}

#[expect(clippy::print_stderr, reason = "a command that fails says why")]
fn main() -> ExitCode {
    match perform() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform() -> Result<()> {
    std::env::set_current_dir(root())?;
    process::catch_signals();
    match Cli::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Check => check::run(),
        Command::Bench(options) => bench::run(options),
        Command::Sim(options) => sim::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Memcheck => memcheck::run(),
        Command::Prepare { check } => {
            machine::set_up(&[Need::Postgres])?;
            prepare::run(check)
        }
        Command::Setup => machine::set_up(&Need::ALL),
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).expect("this crate lies two folders below the workspace").to_owned()
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

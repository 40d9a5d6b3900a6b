//! `cargo xtask bench`: the measurements that exist.
//!
//! `routing` and `judge` are examples of the crates that they measure; `fabric` sets the whole hub beside Kamailio, and
//! `import` has it take a large file of announcements while it carries calls.

mod certificates;
mod fabric;
mod figures;
mod hub;
mod import;
mod kamailio;
mod load;
mod numbers;
mod postgres;
mod report;
mod setting;
mod stage;
mod streams;
mod system;
mod transport;
mod usage;

use anyhow::Result;

use crate::run::{Steps, cargo, run as run_command};
use crate::soak;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// All of them, where none is named
    #[command(subcommand)]
    bench: Option<Bench>,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// Route table: lookup, memory, build and change at 1,000 to 10 million prefixes, beside public crates
    Routing {
        /// Other numbers of prefixes
        prefixes: Vec<String>,
    },
    /// Changes of routes: a hundred a second, from the commit until three nodes route by them
    Propagation,
    /// SIP messages: reading and judging ordinary ones, and hostile ones of 8 to 64 kB
    Judge,
    /// Calls: the hub beside Kamailio under the same load, and what the relaying alone costs
    Fabric(fabric::Options),
    /// A file of a million announcements: how soon it is live, and what calls notice of it
    Import(import::Options),
}

/// Runs the bench that is named, or all of them.
pub(crate) fn run(options: Options) -> Result<()> {
    match options.bench {
        Some(Bench::Routing { prefixes }) => routing(&prefixes),
        Some(Bench::Propagation) => propagation(),
        Some(Bench::Judge) => judge(),
        Some(Bench::Fabric(options)) => fabric::run(&options),
        Some(Bench::Import(options)) => import::run(&options),
        None => {
            let mut steps = Steps::new();
            steps.step("routing", || routing(&[]));
            steps.step("judge", judge);
            steps.step("import", || run_command(&mut cargo(&["xtask", "bench", "import"])));
            steps.step("propagation", propagation);
            steps.step("fabric", || run_command(&mut cargo(&["xtask", "bench", "fabric"])));
            steps.finish()
        }
    }
}

/// On one core, so that caches and the clock of the core are the same throughout.
fn routing(prefixes: &[String]) -> Result<()> {
    run_command(&mut cargo(&["build", "--release", "--package", "tandem-routing", "--example", "routing"]))?;
    let program = crate::target().join("release/examples/routing");
    run_command(stage::pinned(stage::SYSTEM_CORE, program).args(prefixes))
}

/// The scenario of the tests, longer and on a release build.
fn propagation() -> Result<()> {
    run_command(&mut cargo(&["build", "--release", "--package", "tandem"]))?;
    let mut scenario = soak::scenario("propagation");
    scenario.arg("three_nodes_route_by_each_change_in_its_order").env("PROPAGATION_BENCH", "1");
    run_command(&mut scenario)
}

fn judge() -> Result<()> {
    run_command(&mut cargo(&["run", "--release", "--package", "tandem-sip", "--example", "judge"]))
}

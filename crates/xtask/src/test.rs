//! `cargo xtask test`: every test there is.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::demo::Hub;
use crate::machine::{self, Need, set_up};
use crate::process::wait_for;
use crate::run::{Steps, cargo, run as run_command};
use crate::web;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only those in the browser
    #[arg(long)]
    browser: bool,
}

/// Tests of one program that run at once: the scenarios of calls wait for timers most of their time.
const TEST_THREADS: &str = "4";

/// Builds all, runs all, then says what failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    set_up(&Need::ALL)?;
    let mut steps = Steps::new();
    let web = steps.step("web build", web::build);
    if options.browser {
        let program = ["build", "--quiet", "--workspace", "--bins"];
        if web && steps.step("build", || run_command(&mut cargo(&program))) {
            steps.step("browser tests", browser);
        }
        return steps.finish();
    }
    // One invocation for programs and tests alike: the scenarios in tests/ run the tandem that is built here.
    if steps.step("build", || run_command(&mut cargo(&["build", "--quiet", "--workspace", "--all-targets"])))
    {
        steps.step("Rust tests", || {
            let mut tests = cargo(&["test", "--quiet", "--workspace", "--no-fail-fast"]);
            run_command(tests.env("PATH", machine::path_with_tools()).env("RUST_TEST_THREADS", TEST_THREADS))
        });
    }
    if web {
        steps.step("web unit tests", || run_command(&mut web::npm(&["test"])));
        steps.step("browser tests", browser);
    }
    steps.finish()
}

/// The web client's end-to-end tests, against a hub that runs for them.
fn browser() -> Result<()> {
    let folder = crate::demo::folder("browser-test")?;
    let program = crate::target().join("debug/tandem");
    let mut hub = Hub::start(&program, &folder)?;
    let portal = hub.portal;
    wait_for("the hub to be ready", Duration::from_secs(60), || {
        hub.process.still_runs()?;
        Ok(crate::http::status(portal, "/readyz") == Some(200))
    })?;
    let email = "operator@example.net";
    let password = hub.create_operator(email)?;
    let mut e2e: Command = web::npm(&["run", "e2e"]);
    e2e.env("TANDEM_URL", format!("http://{portal}"));
    e2e.env("TANDEM_OPERATOR_EMAIL", email).env("TANDEM_OPERATOR_PASSWORD", password);
    e2e.env("CHROMIUM", machine::chromium().context("there is no Chromium")?);
    run_command(&mut e2e)
}

//! `cargo xtask check`: everything that can be seen without running the hub.

use anyhow::Result;

use crate::fuzz;
use crate::machine::{Need, set_up};
use crate::prepare;
use crate::run::{Steps, cargo, run as command};
use crate::web;

/// Runs every check, then says which failed.
pub(crate) fn run() -> Result<()> {
    set_up(&[Need::Postgres, Need::Node])?;
    let mut steps = Steps::new();
    steps.step("format", || command(&mut cargo(&["fmt", "--all", "--check"])));
    // The portal embeds web/dist, so the web client comes before any Rust that is compiled.
    let web = steps.step("web build", web::build);
    steps.step("SQL metadata", || prepare::run(true));
    steps.step("lints", || {
        command(&mut cargo(&[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ]))
    });
    // For those who change the code, so private items are documented and linked too.
    steps.step("documentation", || {
        command(
            cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"])
                .env("RUSTDOCFLAGS", "--deny warnings"),
        )
    });
    steps.step("versions of the fuzz targets", fuzz::versions_are_current);
    // Of the whole workspace, so that it is built with the features that `cargo xtask test` builds it with.
    steps.step("OpenAPI", || command(&mut cargo(&["test", "--quiet", "--workspace", "--lib", "openapi"])));
    if web {
        steps.step("generated types", web::generated_types_are_current);
        steps.step("web lint", || command(&mut web::npm(&["run", "lint"])));
        steps.step("web types", || command(&mut web::npm(&["run", "typecheck"])));
    }
    steps.finish()
}

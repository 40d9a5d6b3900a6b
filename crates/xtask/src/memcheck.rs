//! `cargo xtask memcheck`: the fabric's tests under AddressSanitizer, then the torture messages and a call, sent to a hub
//! that valgrind watches.
//!
//! The sanitizer sees what `unsafe` does with memory of ours; valgrind sees the libraries and their C code
//! too. The program is a release build whose allocator tells valgrind what it hands out; without that,
//! valgrind would see its arenas and no blocks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::fuzz::machine;
use crate::machine::{Need, set_up};
use crate::run::{Steps, cargo, run as run_command};

/// What valgrind is to forgive, each with its reason.
const FORGIVEN: &str = include_str!("memcheck.supp");

/// Builds, sends, and fails where valgrind found an error.
pub(crate) fn run() -> Result<()> {
    set_up(&[Need::Postgres, Need::Valgrind])?;
    let folder = crate::target().join("valgrind");
    let mut steps = Steps::new();
    steps.step("sanitizer", || run_command(&mut sanitized()));
    let mut build = cargo(&["build", "--release", "--package", "tandem", "--target-dir"]);
    build.arg(&folder).env("CFLAGS", "-DMI_TRACK_VALGRIND=1");
    if steps.step("build", || run_command(&mut build)) {
        steps.step("torture", || {
            let (program, logs) = watched(&folder)?;
            let mut scenario = cargo(&["test", "--package", "tandem-tests", "--test", "calls", "torture::"]);
            run_command(scenario.env("TANDEM_BIN", program))?;
            judge(&logs)
        });
    }
    steps.finish()
}

/// The tests of the crate that has the program's `unsafe`. The stable compiler has the sanitizer but not the option.
fn sanitized() -> Command {
    let mut test =
        cargo(&["test", "--package", "tandem-fabric", "--lib", "--target", &machine(), "--target-dir"]);
    test.arg(crate::target().join("asan"));
    test.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    test
}

/// A program that serves under valgrind and does all else by itself, and the folder of valgrind's logs.
fn watched(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let logs = folder.join("logs");
    if logs.exists() {
        fs::remove_dir_all(&logs)?;
    }
    fs::create_dir_all(&logs)?;
    let forgiven = folder.join("memcheck.supp");
    fs::write(&forgiven, FORGIVEN)?;
    let (real, program) = (folder.join("release/tandem"), folder.join("watched"));
    // A child that is about to become another program would write to a log of its own.
    let script = format!(
        "#!/bin/sh\ncase $1 in\nserve) exec valgrind --log-file='{logs}/%p' --suppressions='{forgiven}' \
         --child-silent-after-fork=yes --fair-sched=yes '{real}' \"$@\" ;;\n*) exec '{real}' \"$@\" ;;\nesac\n",
        logs = logs.display(),
        forgiven = forgiven.display(),
        real = real.display(),
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok((program, logs))
}

/// An error unless each hub came to its end and valgrind found nothing in it.
#[expect(clippy::print_stderr, reason = "what valgrind found is the result")]
fn judge(logs: &Path) -> Result<()> {
    let (mut hubs, mut bad) = (0, 0);
    for entry in fs::read_dir(logs)? {
        let log = fs::read_to_string(entry?.path())?;
        // A child's: it has nothing but the head.
        let Some(summary) = log.lines().find(|line| line.contains("ERROR SUMMARY")) else { continue };
        hubs += 1;
        let found = summary.split("ERROR SUMMARY: ").nth(1).context("valgrind says how many")?;
        eprintln!("valgrind: {found}");
        if !found.starts_with("0 errors") {
            bad += 1;
            eprintln!("{log}");
        }
    }
    match (hubs, bad) {
        (0, _) => bail!("no hub came to its end under valgrind; see {}", logs.display()),
        (_, 0) => Ok(()),
        _ => bail!("valgrind found errors in {bad} of {hubs} hubs"),
    }
}

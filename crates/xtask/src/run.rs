//! Running a program to its end, and a list of such steps with a summary.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::process::asked_to_stop;

/// A command in the workspace's folder.
pub(crate) fn command(program: impl AsRef<OsStr>, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(crate::root());
    command
}

/// The cargo that runs us.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), args);
    // What cargo told xtask about itself: build scripts that look at it would run anew, and with them half the
    // dependencies, each time a build by hand follows one from here.
    for (name, _) in std::env::vars_os() {
        let told = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_BIN_NAME"
        });
        if told {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs to the end with its output shown; anything but success is an error.
#[expect(clippy::print_stderr, reason = "a command line tool shows what it runs")]
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| format!("cannot run {line}"))?;
    if !status.success() {
        bail!("{line}: {status}");
    }
    Ok(())
}

/// What it printed; its errors are shown only where it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {line}"))?;
    if !output.status.success() {
        bail!("{line}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{line} printed something that is not UTF-8"))
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The steps of one command: each is run even when one before it failed, and all are listed at the end.
pub(crate) struct Steps {
    done: Vec<(&'static str, Duration, Result<()>)>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self { done: Vec::new() }
    }

    /// Runs one step and remembers how it went.
    #[expect(clippy::disallowed_methods, reason = "how long a step takes is read from the machine's clock")]
    #[expect(clippy::print_stderr, reason = "a command line tool shows what it runs")]
    pub(crate) fn step(&mut self, name: &'static str, what: impl FnOnce() -> Result<()>) -> bool {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let result = if asked_to_stop() { Err(anyhow!("not run: asked to stop")) } else { what() };
        if let Err(error) = &result {
            eprintln!("{name} failed: {error:#}");
        }
        let passed = result.is_ok();
        self.done.push((name, started.elapsed(), result));
        passed
    }

    /// Prints the table of steps; an error where one failed.
    #[expect(clippy::print_stderr, reason = "the summary is for the person who waits for it")]
    pub(crate) fn finish(self) -> Result<()> {
        let width = self.done.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
        eprintln!();
        for (name, took, result) in &self.done {
            let word = if result.is_ok() { "passed" } else { "FAILED" };
            eprintln!("{name:width$}  {word}  {:>6.1} s", took.as_secs_f64());
        }
        let failed: Vec<&str> =
            self.done.iter().filter(|(.., result)| result.is_err()).map(|(name, ..)| *name).collect();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }
}

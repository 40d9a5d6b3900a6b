//! `cargo xtask bench fabric`: the hub beside Kamailio under the same load.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::hub::{self, Hub};
use super::numbers;
use super::postgres::Postgres;
use super::stage;
use crate::demo::folder;
use crate::machine::{Need, set_up};
use crate::process::asked_to_stop;
use crate::run::{cargo, run as run_command};

/// Where calls come from.
pub(crate) const CALLER: &str = "127.77.0.11:5070";

/// Where calls go to.
pub(crate) const GATEWAYS: [&str; 2] = ["127.77.0.21:5060", "127.77.0.22:5060"];

/// What the bench may be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many prefixes the route tables have
    #[arg(long, default_value_t = 100_000)]
    prefixes: usize,
    /// Only start the hub and its Postgres, say how to load them from outside, and stay until Ctrl-C
    #[arg(long)]
    serve: bool,
    /// The hub's program; it is built where none is named
    #[arg(long, env = "TANDEM_BIN", value_name = "FILE")]
    program: Option<PathBuf>,
}

impl Options {
    fn program(&self) -> PathBuf {
        self.program.clone().unwrap_or_else(|| crate::target().join("release/tandem"))
    }
}

/// Builds, then measures in a network namespace of its own.
pub(crate) fn run(options: &Options) -> Result<()> {
    if stage::is_inside() {
        stage::prepare()?;
        return serve(options);
    }
    set_up(&[Need::Postgres])?;
    if options.program.is_none() {
        run_command(&mut cargo(&["build", "--release", "--package", "tandem"]))?;
    }
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    stage::enter(&args, None)
}

/// The hub and its Postgres, until Ctrl-C.
#[expect(clippy::print_stdout, reason = "what it prints is what it is for")]
#[expect(clippy::disallowed_methods, reason = "how long the set-up takes is read from the machine's clock")]
fn serve(options: &Options) -> Result<()> {
    let folder = folder("bench")?;
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let postgres = Postgres::start(&folder)?;
    let prefixes = numbers::prefixes(options.prefixes);
    let called = folder.join("numbers.txt");
    fs::write(&called, numbers::numbers(&prefixes, 30_000).join("\n") + "\n")?;
    let started = Instant::now();
    let mut hub = Hub::set_up(&options.program(), &folder, &postgres, &prefixes)?;
    println!("{} prefixes applied in {:.1} s", prefixes.len(), started.elapsed().as_secs_f64());
    let started = Instant::now();
    hub.start()?;
    println!("hub ready in {:.1} s", started.elapsed().as_secs_f64());
    let pid = hub.pid().expect("it has just been started");
    println!(
        "ready: nsenter --net=/proc/{pid}/ns/net -- COMMAND --label fabric --proxy {} --pids {pid} --db-pids {} --uac {CALLER} --uas {} --numbers {}",
        hub::ADDRESS,
        postgres.pid(),
        GATEWAYS.join(","),
        called.display(),
    );
    while !asked_to_stop() {
        hub.still_runs()?;
        sleep(Duration::from_millis(200));
    }
    drop(hub);
    Ok(())
}

//! Where the systems and their load run: a network namespace with nothing in it but its own loopback, the system
//! under test and its database on one core, the load on another, both before other work of the machine.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::machine::is_root;
use crate::run::{command, output};

/// Where the system under test and its database run.
pub(crate) const SYSTEM_CORE: u32 = 0;

/// Where the load comes from, and where we watch.
pub(crate) const LOAD_CORE: u32 = 1;

/// Set for the process that is already inside.
const INSIDE: &str = "XTASK_BENCH_INSIDE";

/// Whether [`enter`] has been passed.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// An error where [`enter`] would not work.
pub(crate) fn check() -> Result<()> {
    if !is_root() {
        bail!("the bench pins processes and makes a network namespace: run it as root");
    }
    let cores = std::thread::available_parallelism()?.get();
    if cores < 2 {
        bail!("the bench needs two cores, one for the system and one for the load; here is {cores}");
    }
    Ok(())
}

/// Runs xtask again with `args` in a network namespace of its own, instead of this process; for at most `bound`,
/// where there is one. Returns only when that cannot be.
pub(crate) fn enter(args: &[OsString], bound: Option<Duration>) -> Result<()> {
    let mut command = Command::new("timeout");
    // Zero seconds are no bound.
    command.args(["--foreground", "--signal=TERM", "--kill-after=60"]);
    command.arg(bound.unwrap_or_default().as_secs().to_string());
    command.args(["taskset", "--cpu-list", &LOAD_CORE.to_string(), "unshare", "--net", "--"]);
    command.arg(std::env::current_exe()?).args(args).env(INSIDE, "1");
    Err(command.exec()).context("cannot run timeout, taskset and unshare")
}

/// What is left to do on the inside.
pub(crate) fn prepare() -> Result<()> {
    output(&mut command("ip", &["link", "set", "lo", "up"]))?;
    prioritise(std::process::id());
    Ok(())
}

/// `program` on one core, before other work.
pub(crate) fn pinned(core: u32, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "-20", "taskset", "--cpu-list", &core.to_string()]).arg(program);
    command
}

/// Puts the process' scheduling group before those of other work: within a group `nice` has no say over others.
pub(crate) fn prioritise(pid: u32) {
    // Where the kernel has no such groups, nice alone decides.
    let _ = fs::write(format!("/proc/{pid}/autogroup"), "-20");
}

/// Puts the process' scheduling group behind those of other work.
pub(crate) fn give_way(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/autogroup"), "10");
}

/// How long a small write takes to be on the disk below `folder`, in milliseconds: a commit takes no less.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the machine's clock")]
pub(crate) fn sync_ms(folder: &Path) -> Result<f64> {
    let path = folder.join("sync");
    let mut file = File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..15 {
        let started = Instant::now();
        file.write_all(&[1; 8192])?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort();
    fs::remove_file(path)?;
    Ok(times[times.len() / 2].as_secs_f64() * 1e3)
}

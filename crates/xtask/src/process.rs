//! Children that outlive a function: started in the background, stopped in the end, whatever that end is.

#![allow(unsafe_code, reason = "std has no signals; each use says why it is sound")]

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

static ASKED_TO_STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_signal: libc::c_int) {
    ASKED_TO_STOP.store(true, Ordering::Relaxed);
}

/// From here on Ctrl-C and SIGTERM do not end this process but are seen by [`asked_to_stop`], so that what
/// runs in the background is stopped and what is temporary removed.
pub(crate) fn catch_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, stop as extern "C" fn(libc::c_int) as libc::sighandler_t) };
    }
}

/// Whether Ctrl-C was pressed, or SIGTERM came.
pub(crate) fn asked_to_stop() -> bool {
    ASKED_TO_STOP.load(Ordering::Relaxed)
}

/// A child with its output in a file. Dropped, it is asked to stop, and killed where it does not.
pub(crate) struct Background {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// How long a child may take to stop: the hub drains its calls.
const STOP_WITHIN: Duration = Duration::from_secs(20);

impl Background {
    /// Starts it in a process group of its own, so that Ctrl-C in the terminal reaches only us.
    pub(crate) fn start(name: &'static str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        // SAFETY: prctl is a plain system call; nothing is allocated between fork and exec.
        unsafe {
            command.pre_exec(|| {
                // Should we be killed, the child is not left behind.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            });
        }
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub(crate) fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// An error, with the end of its log, where it is no longer running.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = self.printed();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(20)..].join("\n");
            bail!("{} ended ({status}); its log, {}, ends with:\n{end}", self.name, self.log.display());
        }
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("Linux pids fit");
        if matches!(self.child.try_wait(), Ok(None)) {
            // SAFETY: kill is a plain system call; the child is not yet reaped, so the pid is its own.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        let step = Duration::from_millis(50);
        let mut waited = Duration::ZERO;
        while matches!(self.child.try_wait(), Ok(None)) && waited < STOP_WITHIN {
            sleep(step);
            waited += step;
        }
        // It has stopped, or has had its time.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks `condition` until it holds, for at most `deadline`.
pub(crate) fn wait_for(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let step = Duration::from_millis(100);
    let mut waited = Duration::ZERO;
    while !condition()? {
        if asked_to_stop() {
            bail!("stopped while waiting for {what}");
        }
        if waited >= deadline {
            bail!("waited {} s for {what}", deadline.as_secs());
        }
        sleep(step);
        waited += step;
    }
    Ok(())
}

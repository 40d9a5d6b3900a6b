//! A child process that never outlives the scenario: signalled and reaped by its own pid only.

#![allow(unsafe_code, reason = "std has no signals; each use says why it is sound")]

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::wait::{now, until};

/// A running program with its output in a file.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: Process,
    log: PathBuf,
}

/// What a child may be sent.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// SIGTERM: stop in good order.
    Terminate,
    /// SIGKILL: be gone.
    Kill,
    /// SIGUSR1: sipp takes no new calls and ends when those it has are over.
    User1,
}

impl Child {
    /// Starts `command`, which reads nothing; what it prints goes to `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        Self::start_reading(Stdio::null(), name, command, log)
    }

    /// The same, and it reads what comes by `stdin`.
    pub fn start_reading(stdin: impl Into<Stdio>, name: &str, command: &mut Command, log: &Path) -> Self {
        let file = File::create(log).expect("the log can be made");
        command.stdin(stdin).stdout(file.try_clone().expect("a file can be shared")).stderr(file);
        // SAFETY: prctl is a plain system call; nothing is allocated between fork and exec.
        unsafe {
            command.pre_exec(|| {
                // Should the test be killed, its children go with it.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("cannot start {name} ({error}); cargo xtask setup installs what the scenarios need")
        });
        Self { name: name.to_owned(), process, log: log.to_owned() }
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_some() {
            return;
        }
        let number = match signal {
            Signal::Terminate => libc::SIGTERM,
            Signal::Kill => libc::SIGKILL,
            Signal::User1 => libc::SIGUSR1,
        };
        let pid = libc::pid_t::try_from(self.process.id()).expect("Linux pids fit");
        // SAFETY: kill is a plain system call; the child is not yet reaped, so the pid is its own.
        unsafe { libc::kill(pid, number) };
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its status, once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("a child of ours can be waited for")
    }

    /// Waits for its end.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let name = self.name.clone();
        until(&format!("{name} to end"), deadline, || self.ended())
    }

    /// Waits for its end and says whether it came in time.
    pub fn ends_within(&mut self, deadline: Duration) -> bool {
        let started = now();
        while self.ended().is_none() {
            if started.elapsed() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// What it has printed.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines that it printed.
    pub fn last_lines(&self, count: usize) -> String {
        let printed = self.printed();
        let lines: Vec<&str> = printed.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::Kill);
            // It cannot refuse.
            let _ = self.process.wait();
        }
    }
}

//! A Postgres cluster that a scenario stops and starts while the hub is running.

#![allow(unsafe_code, reason = "std has no signals; each use says why it is sound")]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A cluster on a Unix socket.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    bin: PathBuf,
    /// Who runs it: Postgres refuses root.
    user: Option<(u32, u32)>,
}

impl Cluster {
    /// Makes and starts one.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("tandem-pg-").expect("a temporary folder");
        let root = fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0);
        let user = root.then(|| (id_of_postgres("-u"), id_of_postgres("-g")));
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).expect("root may");
        }
        let cluster = Self { folder, bin: bin(), user };
        cluster.run("initdb", &["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]);
        cluster.start_again();
        cluster
    }

    /// Where the hub finds it.
    pub fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.folder.path().display())
    }

    /// What one statement answers, as `psql` prints it without headings.
    pub fn query(&self, sql: &str) -> String {
        self.query_at(&self.url(), sql)
    }

    fn query_at(&self, url: &str, sql: &str) -> String {
        let output = Command::new(self.bin.join("psql"))
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--dbname", url, "--command", sql])
            .output()
            .expect("PostgreSQL is installed");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Ends it at once, as a crash would.
    pub fn stop(&self) {
        self.run("pg_ctl", &["-m", "immediate", "-w", "stop"]);
    }

    /// Starts it on the data that is there.
    pub fn start_again(&self) {
        self.start_at(self.folder.path());
    }

    /// Starts it where only who knows the folder finds it.
    fn start_at(&self, socket: &Path) {
        let (log, socket) = (self.folder.path().join("log"), socket.display());
        let options = format!("-c listen_addresses= -c unix_socket_directories={socket}");
        self.run("pg_ctl", &["-l", &log.display().to_string(), "-w", "-o", &options, "start"]);
    }

    /// Copies its data while it runs (`pg_basebackup`); where to.
    pub fn back_up(&self) -> PathBuf {
        let backup = self.folder.path().join("backup");
        let to = backup.display().to_string();
        let mut copy = self.program("pg_basebackup");
        copy.args(["--dbname", &self.url(), "--pgdata", &to, "--checkpoint=fast", "--wal-method=stream"]);
        succeed(&mut copy);
        backup
    }

    /// Puts a backup in the place of its data, and runs statements on that before anyone else finds it. It is stopped
    /// before and afterwards.
    pub fn restore(&self, backup: &Path, statements: &[&str]) {
        let data = self.folder.path().join("data");
        fs::rename(&data, data.with_extension("old")).expect("the folder is the cluster's");
        fs::rename(backup, &data).expect("the folder is the cluster's");
        self.start_at(&data);
        let url = format!("postgres://postgres@localhost/postgres?host={}", data.display());
        for statement in statements {
            self.query_at(&url, statement);
        }
        self.run("pg_ctl", &["-m", "fast", "-w", "stop"]);
    }

    fn run(&self, program: &str, args: &[&str]) {
        succeed(&mut self.command(program, args));
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.program(program);
        command.arg("-D").arg(self.folder.path().join("data")).args(args);
        command
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.current_dir("/");
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may have been stopped by the scenario.
        let _ = self.command("pg_ctl", &["-m", "immediate", "-w", "stop"]).output();
    }
}

fn succeed(command: &mut Command) {
    let output = command.output().expect("PostgreSQL is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Asks a postmaster to stop at once.
pub(crate) fn interrupt(pid: &str) {
    if let Ok(pid) = pid.parse::<libc::pid_t>() {
        // SAFETY: kill is a plain system call; the caller has seen that the process is a cluster of ours.
        unsafe { libc::kill(pid, libc::SIGQUIT) };
    }
}

fn id_of_postgres(which: &str) -> u32 {
    let output = Command::new("id").args([which, "postgres"]).output().expect("id is there");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("the package makes the user postgres")
}

/// The newest that is installed.
fn bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.max_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    newest.map_or_else(PathBuf::new, |entry| entry.path().join("bin"))
}

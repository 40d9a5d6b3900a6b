//! A Postgres cluster that a scenario stops and starts while the hub is running.

#![allow(unsafe_code, reason = "std has no signals; each use says why it is sound")]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
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
        let output = Command::new(self.bin.join("psql"))
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--dbname", &self.url(), "--command", sql])
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
        let folder = self.folder.path().display();
        let options = format!("-c listen_addresses= -c unix_socket_directories={folder}");
        self.run("pg_ctl", &["-l", &format!("{folder}/log"), "-w", "-o", &options, "start"]);
    }

    fn run(&self, program: &str, args: &[&str]) {
        let output = self.command(program, args).output().expect("PostgreSQL is installed");
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.arg("-D").arg(self.folder.path().join("data")).args(args).current_dir("/");
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

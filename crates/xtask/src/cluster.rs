//! A Postgres cluster for a minute: in memory, on a Unix socket, gone when the value is dropped.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::machine::{is_root, postgres_bin};
use crate::run::{command, output};

/// A running cluster.
pub(crate) struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    /// Who runs it: Postgres refuses root.
    user: Option<(u32, u32)>,
}

impl Cluster {
    /// Makes and starts one.
    pub(crate) fn start() -> Result<Self> {
        let bin = postgres_bin().context("PostgreSQL is not installed")?;
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        // A socket's path has at most 107 bytes, so the folder's is short.
        let folder = parent.join(format!("tandem-xtask-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let user = if is_root() { Some(postgres_user()?) } else { None };
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid))?;
        }
        let cluster = Self { folder, bin, user };
        let data = cluster.folder.join("data");
        let data = data.to_str().context("the temporary folder's name is not UTF-8")?;
        output(&mut cluster.program(
            "initdb",
            &["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
        ))?;
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c fsync=off",
            cluster.folder.display()
        );
        let log = cluster.folder.join("log");
        let log = log.to_str().context("the temporary folder's name is not UTF-8")?;
        output(&mut cluster.program("pg_ctl", &["-D", data, "-l", log, "-w", "-o", &options, "start"]))?;
        Ok(cluster)
    }

    /// Applies the migrations to its database `postgres`, in the order of their names.
    pub(crate) fn migrate(&self) -> Result<()> {
        let mut files: Vec<PathBuf> = fs::read_dir(crate::root().join("migrations"))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.retain(|file| file.extension().is_some_and(|end| end == "sql"));
        files.sort();
        let host = self.folder.to_string_lossy();
        for file in files {
            let sql = fs::read_to_string(&file)?;
            let mut psql = Command::new(self.bin.join("psql"));
            psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", &host, "-U", "postgres", "-d", "postgres"]);
            if !sql.starts_with("-- no-transaction") {
                psql.arg("-1");
            }
            output(psql.arg("-f").arg(&file))?;
        }
        Ok(())
    }

    /// Where sqlx finds it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.folder.display())
    }

    fn program(&self, name: &str, args: &[&str]) -> Command {
        let mut program = command(self.bin.join(name), args);
        program.current_dir("/");
        if let Some((uid, gid)) = self.user {
            program.uid(uid).gid(gid);
        }
        program
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.folder.join("data");
        // A cluster that never started has nothing to stop.
        let _ =
            output(&mut self.program("pg_ctl", &["-D", &data.to_string_lossy(), "-m", "immediate", "stop"]));
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn postgres_user() -> Result<(u32, u32)> {
    let id = |which: &str| -> Result<u32> {
        Ok(output(&mut command("id", &[which, "postgres"]))?.trim().parse()?)
    };
    Ok((id("-u")?, id("-g")?))
}

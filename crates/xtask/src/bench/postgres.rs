//! The Postgres that hub and Kamailio share: a cluster for one run, on the core of the systems, durable as it comes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::stage::{self, SYSTEM_CORE, pinned};
use crate::machine::postgres_bin;
use crate::process::{Background, wait_for};
use crate::run::{command, output};

const ADDRESS: &str = "127.77.0.79";
const PORT: u16 = 54320;

/// A running cluster.
pub(crate) struct Postgres {
    process: Background,
    bin: PathBuf,
}

impl Postgres {
    /// Makes and starts one below `folder`.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let bin = postgres_bin().context("PostgreSQL is not installed")?;
        let data = folder.join("postgres");
        fs::create_dir_all(&data)?;
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
        output(&mut command("chown", &["postgres:postgres", &data.to_string_lossy()]))?;
        let mut initdb = command("setpriv", AS_POSTGRES);
        initdb.arg(bin.join("initdb")).arg("-D").arg(&data);
        output(initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]).current_dir("/"))?;
        let mut server = pinned(SYSTEM_CORE, "setpriv");
        server.args(AS_POSTGRES).args(["--pdeathsig", "TERM"]).arg(bin.join("postgres")).arg("-D").arg(&data);
        for setting in [
            &format!("listen_addresses={ADDRESS}"),
            &format!("port={PORT}"),
            &format!("unix_socket_directories={}", data.display()),
            "shared_buffers=256MB",
            "max_connections=300",
            "max_wal_size=4GB",
        ] {
            server.args(["-c", setting]);
        }
        let process = Background::start("postgres", server.current_dir("/"), &folder.join("postgres.log"))?;
        let mut postgres = Self { process, bin };
        wait_for("Postgres to take connections", Duration::from_secs(30), || {
            postgres.process.still_runs()?;
            Ok(postgres.sql("postgres", "select 1").is_ok())
        })?;
        stage::prioritise(postgres.pid());
        Ok(postgres)
    }

    /// Process of its postmaster.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Makes a database; what is returned is its URL.
    pub(crate) fn create(&self, database: &str) -> Result<String> {
        self.sql("postgres", &format!("create database {database}"))?;
        Ok(format!("postgres://postgres@{ADDRESS}:{PORT}/{database}"))
    }

    /// Runs statements; what is returned is what they say, unadorned.
    pub(crate) fn sql(&self, database: &str, statements: &str) -> Result<String> {
        let mut psql = self.psql(database);
        let said = output(psql.args(["-c", statements]))?;
        Ok(said.trim().to_owned())
    }

    /// Fills `columns`, such as `table (a, b)`, with `rows` of values that tabs separate.
    pub(crate) fn copy(&self, database: &str, columns: &str, rows: &str) -> Result<()> {
        let mut psql = self.psql(database);
        psql.args(["-c", &format!("copy {columns} from stdin")]).stdin(Stdio::piped());
        let mut child = psql.spawn().context("cannot run psql")?;
        child.stdin.take().expect("it was asked for").write_all(rows.as_bytes())?;
        let status = child.wait()?;
        if !status.success() {
            bail!("copying into {columns}: {status}");
        }
        Ok(())
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h", ADDRESS]);
        psql.args(["-p", &PORT.to_string(), "-d", database]);
        psql
    }
}

const AS_POSTGRES: &[&str] = &["--reuid=postgres", "--regid=postgres", "--clear-groups"];

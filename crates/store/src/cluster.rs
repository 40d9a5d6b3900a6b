//! The private Postgres cluster: what the hub runs when its settings name no database.
//!
//! It is made with the installed Postgres in the data directory, listens on a Unix socket only, is started
//! again when it dies and stops with the hub. Postgres refuses to run as root, so for root it runs as
//! `postgres` or `nobody`. A cluster that the hub left behind when it was killed is stopped and taken over.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, setpriority_process};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::process::Child;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How much the private database steps back behind the hub (nice(1)).
const NICENESS: i32 = 10;

/// Name of the hub's superuser and database in the cluster, and the mark of its processes.
const NAME: &str = "tandem";

/// Octets that the path of a Unix socket may have (`sun_path`, without its final NUL).
const MAX_SOCKET_PATH: usize = 107;

/// What Postgres appends to the socket directory, and room for the lock file beside it.
const SOCKET_NAME: &str = "/.s.PGSQL.5432";

/// How long a stop may take before it is made at once, without a checkpoint.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause between two looks at a cluster that is starting.
const POLL: Duration = Duration::from_millis(20);

/// First pause before a cluster that died is started again; it doubles up to [`LONGEST_BACKOFF`].
const BACKOFF: Duration = Duration::from_millis(200);

/// Longest pause between two starts of a cluster that keeps dying.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// How the cluster is run.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// Where `initdb`, `pg_ctl` and `postgres` are; they are searched for where there is none.
    pub binaries: Option<PathBuf>,
    /// Where the socket goes when its path in the data directory would be too long.
    pub runtime_dir: PathBuf,
    /// Longest wait until it takes connections; it may have to recover from a crash first.
    pub start_timeout: Duration,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
        Self {
            binaries: None,
            runtime_dir: runtime_dir
                .unwrap_or_else(|| if is_root() { "/run".into() } else { std::env::temp_dir() }),
            start_timeout: Duration::from_secs(300),
        }
    }
}

/// Why the private cluster does not run. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No Postgres is installed.
    #[error("found no PostgreSQL server programs (looked in {}); install the package postgresql, name their folder in database.binaries, or name a database in database.url", list(.looked_in))]
    NoBinaries {
        /// The folders that were tried.
        looked_in: Vec<PathBuf>,
    },
    /// Root, and neither account exists.
    #[error(
        "PostgreSQL does not run as root, and there is neither an account \"postgres\" nor \"nobody\" to run it as; add one, or start tandem as another user"
    )]
    NoAccount,
    /// The account cannot reach the data directory.
    #[error("the account {account} that runs PostgreSQL cannot enter {}; run chmod o+x on it, or choose another data_dir", .directory.display())]
    NotTraversable {
        /// The account.
        account: String,
        /// The first directory on the way that it may not enter.
        directory: PathBuf,
    },
    /// Another tandem has it.
    #[error("another tandem process uses the database in {}; stop that one, or give this one a data_dir of its own", .directory.display())]
    InUse {
        /// The cluster's directory.
        directory: PathBuf,
    },
    /// Someone started a server on it by hand.
    #[error("a PostgreSQL server that tandem did not start (process {pid}) runs in {}; stop it with pg_ctl stop -D, or name it in database.url", .directory.display())]
    Foreign {
        /// Its process.
        pid: u32,
        /// The cluster's data directory.
        directory: PathBuf,
    },
    /// Made by another major version.
    #[error("the database in {} was made by PostgreSQL {cluster}, but PostgreSQL {programs} is installed; install postgresql-{cluster}, or dump it with that version and restore it into an empty data_dir", .directory.display())]
    Version {
        /// The cluster's data directory.
        directory: PathBuf,
        /// Major version of the cluster.
        cluster: u32,
        /// Major version of the programs.
        programs: u32,
    },
    /// A program failed.
    #[error("{program} failed ({status}): {said}; mend what it says and start tandem again")]
    Program {
        /// Which one.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote.
        said: String,
    },
    /// The account has no line in the passwd file.
    #[error(
        "the user with number {uid} has no line in /etc/passwd, which PostgreSQL wants; add one, such as tandem:x:{uid}:{uid}::/:/usr/sbin/nologin"
    )]
    NoPasswdLine {
        /// The user's number.
        uid: u32,
    },
    /// It did not take connections in time.
    #[error("the database in {} took no connections within {} s; look at its log in {}, or raise database.start_timeout", .directory.display(), .waited.as_secs(), .log.display())]
    TooSlow {
        /// The cluster's data directory.
        directory: PathBuf,
        /// How long was waited.
        waited: Duration,
        /// Where its log is.
        log: PathBuf,
    },
    /// Every folder for the socket has too long a path.
    #[error("the path of a socket in {} would be longer than 107 octets; choose a shorter data_dir or runtime_dir", .directory.display())]
    SocketPathTooLong {
        /// The last folder that was tried.
        directory: PathBuf,
    },
    /// A file or directory.
    #[error("cannot {doing} {}: {source}; check that it exists and whose it is", .path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It runs, but the hub's database could not be made in it.
    #[error("the private database server runs, but does not do what it is asked: {0}; look at its log")]
    Database(#[from] sqlx::Error),
}

fn list(directories: &[PathBuf]) -> String {
    directories.iter().map(|directory| directory.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn file_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.to_owned();
    move |source| ClusterError::File { doing, path, source }
}

/// A running private cluster. It stops when this is dropped; [`Cluster::stop`] says whether it went well.
#[derive(Debug)]
pub struct Cluster {
    home: Arc<Home>,
    supervisor: Option<JoinHandle<()>>,
    // Held as long as the cluster is ours.
    _lock: File,
}

impl Cluster {
    /// Starts the cluster in `data_dir`, which is made if it is not there, and keeps it running.
    pub async fn start(data_dir: &Path, settings: &ClusterSettings) -> Result<Self, ClusterError> {
        let (home, lock) = Home::open(data_dir, settings)?;
        let home = Arc::new(home);
        home.evict()?;
        let child = home.launch().await?;
        let supervisor = tokio::spawn(supervise(home.clone(), child));
        let cluster = Self { home, supervisor: Some(supervisor), _lock: lock };
        cluster.home.ensure_database().await?;
        Ok(cluster)
    }

    /// Where to connect.
    pub fn url(&self) -> String {
        self.home.url(NAME)
    }

    /// Directory of its log.
    pub fn log_dir(&self) -> PathBuf {
        self.home.log_dir()
    }

    /// Stops it: clients are disconnected, what they committed is on disk.
    pub async fn stop(mut self) -> Result<(), ClusterError> {
        self.home.stopping.store(true, Ordering::SeqCst);
        self.home.stop_asked.notify_one();
        if let Some(supervisor) = self.supervisor.take() {
            _ = supervisor.await;
        }
        self.home.stop()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.home.stopping.store(true, Ordering::SeqCst);
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.abort();
            if let Err(error) = self.home.stop() {
                tracing::warn!(%error, "the private database may still be running");
            }
        }
    }
}

/// Starts the cluster again whenever it ends without having been asked to.
async fn supervise(home: Arc<Home>, mut child: Child) {
    let mut backoff = BACKOFF;
    loop {
        tokio::select! {
            status = child.wait() => {
                if home.stopping.load(Ordering::SeqCst) {
                    return;
                }
                tracing::error!(?status, "the private database ended by itself; starting it again");
            }
            () = home.stop_asked.notified() => return,
        }
        loop {
            match home.launch().await {
                Ok(started) => {
                    tracing::info!("the private database runs again");
                    child = started;
                    backoff = BACKOFF;
                    break;
                }
                Err(error) => tracing::error!(%error, "cannot start the private database; trying again"),
            }
            if home.stopping.load(Ordering::SeqCst) {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff) => {}
                () = home.stop_asked.notified() => return,
            }
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }
}

/// Where the cluster is and what it is run with.
#[derive(Debug)]
struct Home {
    programs: Programs,
    /// `PGDATA`.
    data: PathBuf,
    /// The directory with the socket.
    socket: PathBuf,
    /// What the server says before its log is open.
    first_words: PathBuf,
    start_timeout: Duration,
    stopping: AtomicBool,
    stop_asked: Notify,
}

impl Home {
    fn open(data_dir: &Path, settings: &ClusterSettings) -> Result<(Self, File), ClusterError> {
        make_dir(data_dir, 0o755)?;
        let data_dir = data_dir.canonicalize().map_err(file_error("open", data_dir))?;
        let top = data_dir.join("postgres");
        make_dir(&top, 0o711)?;
        let lock_path = top.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(file_error("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ClusterError::InUse { directory: top }),
            Err(TryLockError::Error(error)) => return Err(file_error("lock", &lock_path)(error)),
        }
        let data = top.join("data");
        let programs = Programs::find(settings.binaries.as_deref(), version_of(&data))?;
        let account = programs.account.as_ref();
        if let Some(account) = account {
            account.check_way_to(&top)?;
        }
        let socket = socket_dir(&top, &settings.runtime_dir)?;
        for directory in [&data, &socket] {
            make_dir(directory, 0o700)?;
            if let Some(account) = account {
                account.give(directory)?;
            }
        }
        let home = Self {
            programs,
            data,
            socket,
            first_words: top.join("start.log"),
            start_timeout: settings.start_timeout,
            stopping: AtomicBool::new(false),
            stop_asked: Notify::new(),
        };
        home.initialise()?;
        Ok((home, lock))
    }

    /// Makes the cluster, or checks that these programs can run the one that is there.
    fn initialise(&self) -> Result<(), ClusterError> {
        let Some(cluster) = version_of(&self.data) else {
            return self.programs.initialise(&self.data, NAME);
        };
        if cluster == self.programs.version {
            Ok(())
        } else {
            let directory = self.data.clone();
            Err(ClusterError::Version { directory, cluster, programs: self.programs.version })
        }
    }

    /// Makes room: forgets the lock file of a server that is gone, and stops one that a killed hub left.
    fn evict(&self) -> Result<(), ClusterError> {
        let pid_file = self.data.join("postmaster.pid");
        let Some(pid) =
            fs::read_to_string(&pid_file).ok().and_then(|text| text.lines().next()?.trim().parse().ok())
        else {
            return Ok(());
        };
        // A postmaster works in its data directory; a number that was given to another process does not.
        if fs::read_link(format!("/proc/{pid}/cwd")).ok().as_deref() != Some(&self.data) {
            tracing::warn!(pid, "the private database was not stopped in good order; it recovers now");
            return fs::remove_file(&pid_file).map_err(file_error("remove", &pid_file));
        }
        let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mark = format!("cluster_name={NAME}");
        if !command_line.split(|&octet| octet == 0).any(|argument| argument == mark.as_bytes()) {
            return Err(ClusterError::Foreign { pid, directory: self.data.clone() });
        }
        tracing::warn!(pid, "taking over the private database of a tandem that was killed");
        self.stop()
    }

    /// Starts the server and waits until it takes connections.
    async fn launch(&self) -> Result<Child, ClusterError> {
        let words = File::create(&self.first_words).map_err(file_error("write", &self.first_words))?;
        let errors = words.try_clone().map_err(file_error("write", &self.first_words))?;
        let mut command = self.programs.command("postgres");
        command.arg("-D").arg(&self.data).stdin(Stdio::null()).stdout(words).stderr(errors);
        // A Ctrl-C at the terminal is for the hub, which stops the database after its calls.
        command.process_group(0);
        let socket = format!("unix_socket_directories=\"{}\"", self.socket.display());
        let name = format!("cluster_name={NAME}");
        let settings = [
            "listen_addresses=",
            &socket,
            "unix_socket_permissions=0700",
            "port=5432",
            &name,
            "jit=off",
            "timezone=UTC",
            "log_timezone=UTC",
            // A week of logs, a file a day.
            "logging_collector=on",
            "log_directory=log",
            "log_filename=postgres-%a.log",
            "log_truncate_on_rotation=on",
            "log_rotation_size=0",
        ];
        for setting in settings {
            command.arg("-c").arg(setting);
        }
        let mut child = tokio::process::Command::from(command)
            .spawn()
            .map_err(file_error("run", &self.programs.path("postgres")))?;
        // Calls come before books: where the two share a core, the hub has it first. Backends inherit this.
        if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()))
            && let Err(error) = setpriority_process(Some(pid), NICENESS)
        {
            tracing::debug!(%error, "the private database keeps the usual priority");
        }
        let pid_file = self.data.join("postmaster.pid");
        let ready = async {
            loop {
                if let Ok(Some(status)) = child.try_wait() {
                    let said = fs::read(&self.first_words).unwrap_or_default();
                    return Err(ClusterError::Program {
                        program: "postgres",
                        status,
                        said: last_lines(&said),
                    });
                }
                // The eighth line is the state of the server whose process is in the first.
                let text = fs::read_to_string(&pid_file).unwrap_or_default();
                let mut lines = text.lines();
                let pid: Option<u32> = lines.next().and_then(|line| line.trim().parse().ok());
                if pid == child.id() && lines.nth(6).is_some_and(|state| state.trim() == "ready") {
                    return Ok(());
                }
                tokio::time::sleep(POLL).await;
            }
        };
        match tokio::time::timeout(self.start_timeout, ready).await {
            Ok(Ok(())) => Ok(child),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                _ = child.start_kill();
                let (directory, log) = (self.data.clone(), self.log_dir());
                Err(ClusterError::TooSlow { directory, waited: self.start_timeout, log })
            }
        }
    }

    async fn ensure_database(&self) -> Result<(), ClusterError> {
        let mut db = PgConnectOptions::from_str(&self.url("postgres"))?.connect().await?;
        let there: Option<i32> = sqlx::query_scalar("select 1 from pg_database where datname = $1")
            .bind(NAME)
            .fetch_optional(&mut db)
            .await?;
        if there.is_none() {
            sqlx::query(AssertSqlSafe(format!("create database {NAME}"))).execute(&mut db).await?;
        }
        db.close().await?;
        Ok(())
    }

    /// Stops the server if it runs; at once if it does not obey in time.
    fn stop(&self) -> Result<(), ClusterError> {
        let mut outcome = Ok(());
        for mode in ["fast", "immediate"] {
            if !self.data.join("postmaster.pid").exists() {
                return Ok(());
            }
            let mut command = self.programs.command("pg_ctl");
            command.arg("stop").arg("-D").arg(&self.data).args(["-w", "-m", mode]);
            outcome = run("pg_ctl", command.arg("-t").arg(STOP_TIMEOUT.as_secs().to_string()));
            if outcome.is_ok() {
                break;
            }
        }
        // It may have ended between the look and the command.
        if self.data.join("postmaster.pid").exists() { outcome } else { Ok(()) }
    }

    fn log_dir(&self) -> PathBuf {
        self.data.join("log")
    }

    fn url(&self, database: &str) -> String {
        socket_url(&self.socket, NAME, database)
    }
}

/// The address of a database behind a Unix socket.
pub fn socket_url(socket_dir: &Path, user: &str, database: &str) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    let mut host = String::new();
    for &octet in socket_dir.as_os_str().as_bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                host.push(char::from(octet))
            }
            _ => _ = write!(host, "%{octet:02X}"),
        }
    }
    format!("postgres:///{database}?host={host}&user={user}")
}

/// A directory for the socket: in `top`, or in `runtime_dir` where that path would be too long.
fn socket_dir(top: &Path, runtime_dir: &Path) -> Result<PathBuf, ClusterError> {
    let fits = |directory: &Path| directory.as_os_str().len() + SOCKET_NAME.len() <= MAX_SOCKET_PATH;
    let near = top.join("socket");
    if fits(&near) {
        return Ok(near);
    }
    // FNV-1a: two data directories have two sockets.
    let digest =
        top.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |digest, &octet| {
            (digest ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
        });
    let far = runtime_dir.join(format!("tandem-{digest:016x}"));
    if fits(&far) { Ok(far) } else { Err(ClusterError::SocketPathTooLong { directory: far }) }
}

fn make_dir(path: &Path, mode: u32) -> Result<(), ClusterError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(file_error("make", path))
}

/// Major version of the cluster whose data is in this directory.
fn version_of(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// The server programs of one Postgres, and the account that may run them.
#[derive(Debug)]
pub struct Programs {
    folder: PathBuf,
    version: u32,
    account: Option<Account>,
}

impl Programs {
    /// Finds them: in `folder` where it is given, else by `pg_config`, among Debian's from the newest
    /// down, and on the `PATH`. Of several, those of the major version `wanted` are preferred.
    pub fn find(folder: Option<&Path>, wanted: Option<u32>) -> Result<Self, ClusterError> {
        let candidates = match folder {
            Some(folder) => vec![folder.to_owned()],
            None => candidates(),
        };
        let mut found: Vec<(PathBuf, u32)> = candidates
            .iter()
            .filter(|folder| {
                ["initdb", "pg_ctl", "postgres"].iter().all(|program| folder.join(program).is_file())
            })
            .filter_map(|folder| Some((folder.clone(), program_version(&folder.join("postgres"))?)))
            .collect();
        // Stable: those that suit the cluster first, else the order of the search.
        found.sort_by_key(|(_, version)| wanted.is_some_and(|wanted| wanted != *version));
        let Some((folder, version)) = found.into_iter().next() else {
            return Err(ClusterError::NoBinaries { looked_in: candidates });
        };
        let account = if is_root() { Some(Account::find()?) } else { None };
        Ok(Self { folder, version, account })
    }

    fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    /// A command that runs one of them, as the account that may.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.path(program));
        // A directory that every account may be in, and none of the caller's own wishes for libpq.
        command.current_dir("/").env("LC_ALL", "C");
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    /// Makes `directory`, with whatever leads to it, one that these programs can work in.
    pub fn prepare_dir(&self, directory: &Path) -> Result<(), ClusterError> {
        make_dir(directory, 0o700)?;
        match &self.account {
            Some(account) => {
                account.check_way_to(directory.parent().unwrap_or(directory))?;
                account.give(directory)
            }
            None => Ok(()),
        }
    }

    /// Makes an empty cluster in the empty directory `data`, with the superuser `user`.
    ///
    /// Whoever reaches its socket is trusted, so the socket's directory must be closed to others.
    pub fn initialise(&self, data: &Path, user: &str) -> Result<(), ClusterError> {
        let mut command = self.command("initdb");
        command.arg("-D").arg(data).args([
            "--encoding=UTF8",
            "--locale=C",
            "--auth=trust",
            "--no-instructions",
        ]);
        let outcome = run("initdb", command.arg("--username").arg(user));
        match outcome {
            Err(ClusterError::Program { said, .. })
                if said.contains("could not look up effective user ID") =>
            {
                Err(ClusterError::NoPasswdLine { uid: effective_uid() })
            }
            other => other,
        }
    }
}

fn run(program: &'static str, command: &mut Command) -> Result<(), ClusterError> {
    let path = PathBuf::from(command.get_program());
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().map_err(file_error("run", &path))?;
    if status.success() {
        return Ok(());
    }
    let said = if stderr.is_empty() { stdout } else { stderr };
    Err(ClusterError::Program { program, status, said: last_lines(&said) })
}

/// The end of what a program wrote, on one line.
fn last_lines(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}

/// The folders where the server programs may be, the likeliest first.
fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output()
        && output.status.success()
    {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let mut versions: Vec<u32> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    folders
        .extend(versions.iter().map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"))));
    folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    let mut seen = std::collections::HashSet::new();
    folders.retain(|folder| seen.insert(folder.clone()));
    folders
}

/// Major version of a server program, from `postgres (PostgreSQL) 15.18 (Debian …)`.
fn program_version(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Whom Postgres runs as when the hub is root.
#[derive(Debug)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    fn find() -> Result<Self, ClusterError> {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "nobody"]
            .iter()
            .find_map(|wanted| {
                passwd.lines().find_map(|line| Self::read(line).filter(|it| it.name == *wanted))
            })
            .ok_or(ClusterError::NoAccount)
    }

    fn read(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { name, uid, gid })
    }

    fn give(&self, directory: &Path) -> Result<(), ClusterError> {
        std::os::unix::fs::chown(directory, Some(self.uid), Some(self.gid))
            .map_err(file_error("give away", directory))
    }

    /// Checks that the account may enter `directory` and every one above it.
    fn check_way_to(&self, directory: &Path) -> Result<(), ClusterError> {
        let mut way: Vec<&Path> = directory.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        way.reverse();
        for step in way {
            let metadata = fs::metadata(step).map_err(file_error("open", step))?;
            let mode = metadata.permissions().mode();
            let may_enter = match () {
                () if metadata.uid() == self.uid => mode & 0o100 != 0,
                () if metadata.gid() == self.gid => mode & 0o010 != 0,
                () => mode & 0o001 != 0,
            };
            if !may_enter {
                let (account, directory) = (self.name.clone(), step.to_owned());
                return Err(ClusterError::NotTraversable { account, directory });
            }
        }
        Ok(())
    }
}

fn is_root() -> bool {
    effective_uid() == 0
}

/// Whose files this process makes: the kernel shows its processes as theirs.
fn effective_uid() -> u32 {
    fs::metadata("/proc/self").map_or(u32::MAX, |process| process.uid())
}

//! A database of its own for each test, on a cluster that all tests of a run share.
//!
//! The first test to need one starts a Postgres in shared memory that forgets everything at a crash, and
//! migrates a template; each test gets a copy, which takes some 16 ms. Test programs that run at once or
//! after one another use the same cluster: each holds a shared lock on a file as long as it lives, however
//! it ends, and a guard beside the cluster removes it when nobody has held that lock for a while.

use std::fs::{self, File};
use std::future::Future;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tandem_store::cluster::{Programs, socket_url};
use tandem_store::{PgPool, database, throwaway};

/// A migrated, empty database. It is dropped with this value.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
    pool: PgPool,
}

impl Database {
    /// Makes one.
    ///
    /// # Panics
    /// If there is no Postgres to make it with; the message says what to install.
    #[allow(clippy::new_without_default)] // It takes a while, and a runtime.
    pub async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let cluster = Cluster::of_this_run();
        let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        if throwaway::create(&cluster.url, &name, &cluster.template).await.is_err() {
            // An earlier process had the same number and left its database behind.
            throwaway::drop(&cluster.url, &name).await.expect("a database that is left over is dropped");
            throwaway::create(&cluster.url, &name, &cluster.template).await.expect("the template is copied");
        }
        let url = throwaway::with_database(&cluster.url, &name);
        let pool = database::connect_later(&url).expect("the cluster has a well-formed address");
        Self { name, url, pool }
    }

    /// Where to connect, as a setting of the hub.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A pool of connections to it.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (url, name) = (&Cluster::of_this_run().url, &self.name);
        // What cannot be dropped goes with the cluster.
        _ = in_another_runtime(async { throwaway::drop(url, name).await });
    }
}

/// The cluster of this run, which this process helps to keep alive.
struct Cluster {
    url: String,
    template: String,
    /// Keeps the guard from removing it.
    _in_use: File,
}

/// Seconds that the guard leaves an unused cluster, for the next test program to find.
const LINGER_S: u32 = 20;

/// Waits until nobody uses the cluster and removes it, the second look and the removal under the lock that
/// its users share. `$1` is the home of the cluster, `$2` how long it lingers.
const GUARD: &str = r#"
exec 9>"$1/guard.lock"
flock --wait 5 9 || exit 0
exec 8<"$1/users.lock"
while :; do
    flock 8
    flock --unlock 8
    sleep "$2" 8<&- 9>&-
    if flock --nonblock 8; then
        pid=$(head -n 1 "$1/data/postmaster.pid")
        if [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; then
            kill -QUIT "$pid"
            while kill -0 "$pid"; do sleep 0.1; done
        fi
        rm -rf "$1/data" "$1/socket" "$1/log"
        exec 9>&-
        exit 0
    fi
done
"#;

impl Cluster {
    fn of_this_run() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(Self::join_or_start)
    }

    fn join_or_start() -> Self {
        let home = home();
        let in_use = open(&home.join("users.lock"));
        in_use.lock_shared().expect("a file in shared memory can be locked");
        // One process at a time looks whether there is a cluster and a template.
        let starting = open(&home.join("start.lock"));
        starting.lock().expect("a file in shared memory can be locked");

        let programs = Programs::find(None, None).unwrap_or_else(|error| panic!("{error}"));
        let (data, socket) = (home.join("data"), home.join("socket"));
        let url = socket_url(&socket, "tandem", "postgres");
        let template = format!("template_{}", database::migrations_digest());
        let ensure_template =
            || in_another_runtime(async { throwaway::ensure_template(&url, &template).await });
        if !is_running(&data) || ensure_template().is_err() {
            // Nothing, or what a machine that lost its power in a bad moment left.
            start(&programs, &home, &data, &socket);
            ensure_template().expect("a new cluster takes the migrations");
        }
        guard(&home);
        Self { url, template, _in_use: in_use }
    }
}

/// Where the cluster is: in shared memory if there is any, with a short path for its socket.
fn home() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let uid = fs::metadata("/proc/self").expect("a process has its entry in /proc").uid();
    let home = parent.join(format!("tandem-test-{uid}"));
    if let Err(error) = fs::DirBuilder::new().mode(0o711).create(&home) {
        let owner =
            fs::metadata(&home).unwrap_or_else(|_| panic!("cannot make {}: {error}", home.display())).uid();
        assert_eq!(owner, uid, "{} belongs to someone else; remove it", home.display());
    }
    home
}

fn open(path: &Path) -> File {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path);
    file.unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
}

fn is_running(data: &Path) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let pid = text.lines().next().unwrap_or_default().trim();
    !pid.is_empty() && fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|directory| directory == data)
}

fn start(programs: &Programs, home: &Path, data: &Path, socket: &Path) {
    if is_running(data) {
        let mut stop = programs.command("pg_ctl");
        _ = stop.arg("stop").arg("-D").arg(data).args(["-m", "immediate", "-w"]).output();
    }
    for directory in [data, socket] {
        _ = fs::remove_dir_all(directory);
        programs.prepare_dir(directory).unwrap_or_else(|error| panic!("{error}"));
    }
    programs.initialise(data, "tandem").unwrap_or_else(|error| panic!("{error}"));
    let socket = format!("unix_socket_directories={}", socket.display());
    let settings = [
        "listen_addresses=",
        &socket,
        "unix_socket_permissions=0700",
        "max_connections=500",
        "fsync=off",
        "full_page_writes=off",
        "synchronous_commit=off",
        "autovacuum=off",
        "jit=off",
        "timezone=UTC",
    ];
    let options = settings.map(|setting| format!("-c {setting}")).join(" ");
    let log = open(&home.join("log"));
    let errors = log.try_clone().expect("a file can be opened twice");
    let status = programs
        .command("pg_ctl")
        .arg("start")
        .arg("-D")
        .arg(data)
        .args(["-w", "-t", "60", "-o", &options])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .status()
        .expect("pg_ctl was found, so it can be run");
    let said = || fs::read_to_string(home.join("log")).unwrap_or_default();
    assert!(status.success(), "the cluster for tests does not start: {}", said());
}

/// Starts a guard; where there is one already, the new one goes away.
fn guard(home: &Path) {
    let mut command = Command::new("setsid");
    command.arg("--fork").args(["sh", "-c", GUARD, "guard"]).arg(home).arg(LINGER_S.to_string());
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("setsid of util-linux is on every Linux");
}

/// Runs what must end before the caller goes on, where the caller may or may not be in a runtime.
fn in_another_runtime<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be built").block_on(work)
        });
        thread.join().expect("it does not panic")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_test_has_a_database_of_its_own() {
        let (one, two) = (Database::new().await, Database::new().await);
        assert_ne!(one.url(), two.url());
        for database in [&one, &two] {
            tandem_store::listener::ensure_site(database.pool(), "ams").await.unwrap();
            tandem_store::migrate(database.pool()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_dropped_database_is_gone() {
        let database = Database::new().await;
        let url = database.url().to_owned();
        drop(database);
        assert!(tandem_store::connect(&url).await.is_err());
    }
}

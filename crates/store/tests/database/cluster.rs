//! The private cluster: it starts, survives, comes back, and says what is wrong.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tandem_store::cluster::{Cluster, ClusterError, ClusterSettings, Programs};
use tandem_store::{connect, migrate};
use tempfile::TempDir;

use crate::support::{one, sql};

/// A directory that the account of Postgres may enter.
fn data_dir() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

async fn start(directory: &Path) -> Result<Cluster, ClusterError> {
    Cluster::start(directory, &ClusterSettings::default()).await
}

fn postmaster(directory: &Path) -> Option<u32> {
    let text = fs::read_to_string(directory.join("postgres/data/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn it_keeps_what_was_committed_over_stop_drop_and_start() {
    let directory = data_dir();
    let cluster = start(directory.path()).await.unwrap();
    let db = connect(&cluster.url()).await.unwrap();
    migrate(&db).await.unwrap();
    sql(&db, "insert into site (name) values ('ams')").await.unwrap();
    cluster.stop().await.unwrap();
    assert_eq!(postmaster(directory.path()), None, "a stop leaves nothing running");

    let cluster = start(directory.path()).await.unwrap();
    let db = connect(&cluster.url()).await.unwrap();
    sql(&db, "insert into site (name) values ('fra')").await.unwrap();
    drop(cluster);
    assert_eq!(postmaster(directory.path()), None, "nor does a drop");

    let cluster = start(directory.path()).await.unwrap();
    let db = connect(&cluster.url()).await.unwrap();
    migrate(&db).await.unwrap();
    assert_eq!(one::<i64>(&db, "select count(*) from site").await, 2);
}

#[tokio::test]
async fn it_takes_no_connection_but_by_its_closed_socket() {
    let directory = data_dir();
    let cluster = start(directory.path()).await.unwrap();
    let db = connect(&cluster.url()).await.unwrap();
    assert_eq!(one::<String>(&db, "select current_setting('listen_addresses')").await, "");
    let socket = fs::metadata(directory.path().join("postgres/socket")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_killed_server_is_started_again() {
    let directory = data_dir();
    let cluster = start(directory.path()).await.unwrap();
    let killed = postmaster(directory.path()).unwrap();
    kill("-KILL", killed);
    let db = tandem_store::database::connect_later(&cluster.url()).unwrap();
    let mut tries = 0;
    while postmaster(directory.path()).is_none_or(|pid| pid == killed) || migrate(&db).await.is_err() {
        tries += 1;
        assert!(tries < 300, "it was not started again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.stop().await.unwrap();
}

#[test]
fn a_server_left_by_a_killed_hub_is_taken_over() {
    let directory = data_dir();
    let first = tokio::runtime::Runtime::new().unwrap();
    std::mem::forget(first.block_on(start(directory.path())).unwrap());
    // Nobody looks after it any more, and the lock of a process that is gone is free.
    first.shutdown_background();
    fs::remove_file(directory.path().join("postgres/lock")).unwrap();
    let left = postmaster(directory.path()).unwrap();

    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        let cluster = start(directory.path()).await.unwrap();
        assert_ne!(postmaster(directory.path()), Some(left));
        migrate(&connect(&cluster.url()).await.unwrap()).await.unwrap();
        cluster.stop().await.unwrap();
    });
}

#[tokio::test]
async fn a_server_that_someone_started_by_hand_is_left_alone() {
    let directory = data_dir();
    start(directory.path()).await.unwrap().stop().await.unwrap();
    let data = directory.path().join("postgres/data");
    let programs = Programs::find(None, None).unwrap();
    let options = format!("-c listen_addresses= -c unix_socket_directories={}", data.display());
    let by_hand = |action: &[&str]| {
        let mut command = programs.command("pg_ctl");
        command.args(action).arg("-D").arg(&data).args(["-w", "-l", "/dev/null", "-o", &options]);
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
    };
    by_hand(&["start"]);
    let error = start(directory.path()).await.unwrap_err();
    by_hand(&["stop", "-m", "fast"]);
    assert!(matches!(error, ClusterError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn the_number_of_a_dead_server_that_another_process_got_does_no_harm() {
    let directory = data_dir();
    start(directory.path()).await.unwrap().stop().await.unwrap();
    let pid_file = directory.path().join("postgres/data/postmaster.pid");
    let stale = format!("{}\n/elsewhere\n1700000000\n5432\n\n\n\nready\n", std::process::id());
    fs::write(pid_file, stale).unwrap();
    start(directory.path()).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_second_hub_on_the_same_directory_is_told_so() {
    let directory = data_dir();
    let _first = start(directory.path()).await.unwrap();
    let error = start(directory.path()).await.unwrap_err();
    assert!(matches!(error, ClusterError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("another tandem process"), "{error}");
}

#[tokio::test]
async fn a_cluster_of_another_version_is_not_touched() {
    let directory = data_dir();
    start(directory.path()).await.unwrap().stop().await.unwrap();
    let version = directory.path().join("postgres/data/PG_VERSION");
    let real = fs::read_to_string(&version).unwrap();
    fs::write(&version, "9\n").unwrap();
    let error = start(directory.path()).await.unwrap_err();
    assert!(matches!(error, ClusterError::Version { cluster: 9, .. }), "{error}");
    assert!(error.to_string().contains("dump it with that version"), "{error}");
    fs::write(&version, real).unwrap();
    start(directory.path()).await.unwrap();
}

#[tokio::test]
async fn a_long_path_puts_the_socket_into_the_runtime_directory() {
    let (directory, runtime) = (data_dir(), data_dir());
    let deep = directory.path().join("a".repeat(60)).join("b".repeat(60));
    let settings = ClusterSettings { runtime_dir: runtime.path().to_owned(), ..ClusterSettings::default() };
    let cluster = Cluster::start(&deep, &settings).await.unwrap();
    migrate(&connect(&cluster.url()).await.unwrap()).await.unwrap();
    cluster.stop().await.unwrap();

    let settings = ClusterSettings { runtime_dir: deep.clone(), ..ClusterSettings::default() };
    let error = Cluster::start(&deep, &settings).await.unwrap_err();
    assert!(matches!(error, ClusterError::SocketPathTooLong { .. }), "{error}");
}

#[tokio::test]
async fn a_path_with_blanks_and_signs_works() {
    let directory = data_dir();
    let odd = directory.path().join("my data, %41 & 'more' ü");
    let cluster = start(&odd).await.unwrap();
    migrate(&connect(&cluster.url()).await.unwrap()).await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn root_is_told_which_directory_keeps_the_account_out() {
    let directory = data_dir();
    let closed = directory.path().join("closed");
    fs::DirBuilder::new().mode(0o700).create(&closed).unwrap();
    let outcome = start(&closed.join("data")).await;
    let is_root = std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap()) == 0;
    match outcome {
        Err(error @ ClusterError::NotTraversable { .. }) if is_root => {
            assert!(error.to_string().contains(&closed.display().to_string()), "{error}");
            fs::set_permissions(&closed, fs::Permissions::from_mode(0o711)).unwrap();
            start(&closed.join("data")).await.unwrap();
        }
        // Everyone else runs Postgres as themselves.
        Ok(_) if !is_root => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn missing_programs_are_named_with_where_they_were_looked_for() {
    let directory = data_dir();
    let settings = ClusterSettings { binaries: Some("/nowhere".into()), ..ClusterSettings::default() };
    let error = Cluster::start(directory.path(), &settings).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere") && error.to_string().contains("install"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let directory = data_dir();
    start(directory.path()).await.unwrap().stop().await.unwrap();
    fs::write(directory.path().join("postgres/data/postgresql.auto.conf"), "shared_buffers = much\n")
        .unwrap();
    let error = start(directory.path()).await.unwrap_err();
    assert!(error.to_string().contains("shared_buffers"), "{error}");
}

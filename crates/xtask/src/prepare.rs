//! The committed metadata of every SQL statement (`.sqlx`), from which a build without a database checks them.
//!
//! sqlx's macros, given a database and a folder, ask the one about each statement and write the answer to the
//! other while `tandem-store` is compiled. Only its library is asked: tests of `store` use what it offers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::run::{cargo, run as run_command};

/// Renews `.sqlx`, or with `check` compares only.
pub(crate) fn run(check: bool) -> Result<()> {
    let committed = crate::root().join(".sqlx");
    let fresh = crate::target().join("sqlx-prepare");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;

    let cluster = Cluster::start()?;
    cluster.migrate().context("a migration failed")?;
    // A cfg that no build has had makes cargo compile the crate, and only it, again.
    let again = format!("--cfg=prepared_{}", std::process::id());
    let mut compile = cargo(&[
        "rustc",
        "--quiet",
        "--package",
        "tandem-store",
        "--lib",
        "--profile",
        "check",
        "--",
        &again,
    ]);
    compile.env("DATABASE_URL", cluster.url()).env("SQLX_OFFLINE", "false").env("SQLX_OFFLINE_DIR", &fresh);
    run_command(&mut compile).context("tandem-store does not compile against the migrations")?;
    drop(cluster);

    let (was, is) = (files(&committed)?, files(&fresh)?);
    if was == is {
        return Ok(());
    }
    if check {
        let differing = was.keys().chain(is.keys()).filter(|name| was.get(*name) != is.get(*name)).count();
        bail!(".sqlx does not fit the statements and migrations ({differing} differ): cargo xtask prepare");
    }
    fs::create_dir_all(&committed)?;
    for name in was.keys() {
        fs::remove_file(committed.join(name))?;
    }
    for (name, content) in &is {
        fs::write(committed.join(name), content)?;
    }
    Ok(())
}

/// The metadata in a folder, by file name.
fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    if !folder.exists() {
        return Ok(BTreeMap::new());
    }
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("query-") {
            files.insert(name, fs::read(entry.path())?);
        }
    }
    Ok(files)
}

//! The web client: its dependencies, its build and its scripts.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::run::{command, run};

/// `npm` in `web/`, with a Node.js that is recent enough.
pub(crate) fn npm(args: &[&str]) -> Command {
    let mut npm = command("npm", args);
    npm.current_dir(crate::root().join("web"));
    npm.env("PATH", crate::machine::path_with_node());
    npm
}

/// Installs the locked dependencies, unless those of this lock file are there.
pub(crate) fn install() -> Result<()> {
    let web = crate::root().join("web");
    let lock = fs::read(web.join("package-lock.json"))?;
    let stamp = web.join("node_modules/.tandem-lock");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    run(&mut npm(&["ci", "--no-audit", "--no-fund"]))?;
    fs::write(stamp, lock)?;
    Ok(())
}

/// Builds `web/dist`, which the portal embeds, unless it was built from these very files: a build that changes
/// nothing would still have the portal, and with it the program, compiled anew.
pub(crate) fn build() -> Result<()> {
    install()?;
    let web = crate::root().join("web");
    let stamp = web.join("node_modules/.tandem-built");
    let sources = fingerprint(&web)?.to_string();
    if web.join("dist/index.html").exists() && fs::read_to_string(&stamp).is_ok_and(|built| built == sources)
    {
        return Ok(());
    }
    run(&mut npm(&["run", "build"]))?;
    fs::write(stamp, sources)?;
    Ok(())
}

/// A number that changes with every file that the build reads.
fn fingerprint(web: &Path) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    let mut folders = vec![web.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        entries.sort();
        for path in entries {
            if path.is_file() {
                (&path, fs::read(&path)?).hash(&mut hasher);
            } else if !path.ends_with("node_modules") && !path.ends_with("dist") {
                folders.push(path);
            }
        }
    }
    Ok(hasher.finish())
}

/// The API types are what the OpenAPI description gives. Where they are not, they are renewed, so that
/// the difference can be read and committed.
pub(crate) fn generated_types_are_current() -> Result<()> {
    let before = generated()?;
    run(&mut npm(&["run", "generate"]))?;
    if generated()? != before {
        bail!("web/src/api is renewed from crates/portal/openapi.json; commit the difference");
    }
    Ok(())
}

/// Every file in the folder of generated types.
fn generated() -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(crate::root().join("web/src/api"))? {
        let path = entry?.path();
        if path.is_file() {
            files.push((path.clone(), fs::read(path)?));
        }
    }
    files.sort();
    Ok(files)
}

//! What a command needs on this machine, and how it gets there.
//!
//! A run that finds everything calls no package manager. Where something is missing, root installs it with
//! apt (Debian, Ubuntu); an ordinary user is shown the one line to run. Services that a package would start
//! when it is installed are kept from starting: we need the programs, not the daemons.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::run::{command, output, run};

/// Oldest Node.js that the web client's build tools run on.
const NODE: (u32, u32) = (20, 19);

/// Node.js that is fetched from the npm registry where the distribution's own is older than [`NODE`].
const NODE_RELEASE: &str = "22.20.0";

/// Something that a command needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Postgres,
    Node,
    Sipp,
    Sngrep,
    Baresip,
    Chromium,
    Promtool,
    Kamailio,
    Valgrind,
    SofiaSip,
    Dnsmasq,
    Linphone,
    Dig,
    Scanners,
}

impl Need {
    pub(crate) const ALL: [Self; 14] = [
        Self::Postgres,
        Self::Node,
        Self::Sipp,
        Self::Sngrep,
        Self::Baresip,
        Self::Chromium,
        Self::Promtool,
        Self::Kamailio,
        Self::Valgrind,
        Self::SofiaSip,
        Self::Dnsmasq,
        Self::Linphone,
        Self::Dig,
        Self::Scanners,
    ];

    /// Debian packages that bring it.
    fn packages(self) -> &'static [&'static str] {
        match self {
            // Debian's postgresql brings the contrib modules.
            Self::Postgres => &["postgresql"],
            Self::Node => &["nodejs", "npm"],
            Self::Sipp => &["sip-tester"],
            // It decodes HEP and writes what was in it for tshark to read.
            Self::Sngrep => &["sngrep", "tshark"],
            Self::Baresip => &["baresip-core"],
            Self::Chromium => &["chromium"],
            // Taken from the package without installing it: see `fetch_promtool`.
            Self::Promtool => &[],
            Self::Kamailio => &["kamailio", "kamailio-postgres-modules", "kamailio-tls-modules", "openssl"],
            Self::Valgrind => &["valgrind"],
            Self::SofiaSip => &["libsofia-sip-ua-dev"],
            // Without the service that the package dnsmasq would start.
            Self::Dnsmasq => &["dnsmasq-base"],
            // The one user agent of Debian that knows digests by SHA-256.
            Self::Linphone => &["linphone-cli"],
            Self::Dig => &["bind9-dnsutils"],
            Self::Scanners => &["sipsak", "sipvicious"],
        }
    }

    fn is_there(self) -> bool {
        match self {
            Self::Postgres => postgres_bin().is_some(),
            Self::Node => on_path("node") && on_path("npm"),
            Self::Sipp => on_path("sipp"),
            Self::Sngrep => on_path("sngrep") && on_path("tshark"),
            Self::Baresip => on_path("baresip"),
            Self::Chromium => chromium().is_some(),
            Self::Promtool => true,
            Self::Kamailio => {
                on_path("kamailio")
                    && on_path("kamcmd")
                    && has_kamailio_module("tls.so")
                    && on_path("openssl")
            }
            Self::Valgrind => on_path("valgrind"),
            Self::SofiaSip => Path::new("/usr/include/sofia-sip-1.12").exists(),
            Self::Dnsmasq => on_path("dnsmasq"),
            Self::Linphone => on_path("linphonec"),
            Self::Dig => on_path("dig"),
            Self::Scanners => on_path("sipsak") && on_path("svmap"),
        }
    }
}

/// Whether Kamailio has a module, in the folder that the distribution has for this machine's libraries.
fn has_kamailio_module(name: &str) -> bool {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    folders.map(|folder| folder.join("kamailio/modules").join(name)).any(|file| file.exists())
}

/// Sees to it that all of `needs` is there.
pub(crate) fn set_up(needs: &[Need]) -> Result<()> {
    let missing: Vec<&str> =
        needs.iter().filter(|need| !need.is_there()).flat_map(|need| need.packages()).copied().collect();
    if !missing.is_empty() {
        install(&missing)?;
        if let Some(need) = needs.iter().find(|need| !need.is_there()) {
            bail!("{} did not bring what it should", need.packages().join(" "));
        }
    }
    if needs.contains(&Need::Node) && !node_is_recent() {
        fetch_node()?;
    }
    if needs.contains(&Need::Promtool) && !on_path("promtool") && !tools().join("usr/bin/promtool").exists() {
        fetch_promtool()?;
    }
    Ok(())
}

fn install(packages: &[&str]) -> Result<()> {
    let line = format!("apt-get install --yes --no-install-recommends {}", packages.join(" "));
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("install what these Debian packages bring: {}", packages.join(" "));
    }
    if !is_root() {
        bail!("run this once, then the command again:\n\n    sudo {line}\n");
    }
    let apt = |args: &[&str]| {
        let mut apt = command("apt-get", args);
        run(apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()))
    };
    let _no_services = NoServices::begin()?;
    no_main_cluster(packages)?;
    apt(&["update", "--quiet=2"])?;
    let mut args = vec![
        "install",
        "--yes",
        "--quiet=2",
        "--no-install-recommends",
        "-o",
        "Dpkg::Options::=--force-confold",
    ];
    args.extend(packages);
    apt(&args)
}

/// Debian makes a cluster when PostgreSQL is installed; Tandem runs its own, so the packages are told not to.
/// A machine that has a PostgreSQL already is left as it is.
fn no_main_cluster(packages: &[&str]) -> Result<()> {
    let folder = Path::new("/etc/postgresql-common");
    if packages.contains(&"postgresql") && !folder.exists() {
        let folder = folder.join("createcluster.d");
        fs::create_dir_all(&folder)?;
        fs::write(
            folder.join("tandem.conf"),
            "# The packages brought programs for Tandem, which runs its own cluster.\ncreate_main_cluster = false\n",
        )?;
    }
    Ok(())
}

/// While this value lives, packages that are installed start no services (invoke-rc.d asks this file).
struct NoServices {
    made: bool,
}

impl NoServices {
    const FILE: &str = "/usr/sbin/policy-rc.d";

    fn begin() -> Result<Self> {
        let made = !Path::new(Self::FILE).exists();
        if made {
            fs::write(Self::FILE, "#!/bin/sh\nexit 101\n")?;
            fs::set_permissions(Self::FILE, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { made })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.made {
            // Nothing to do about a file that has gone already.
            let _ = fs::remove_file(Self::FILE);
        }
    }
}

/// Whether we may install packages, and must not run Postgres ourselves.
pub(crate) fn is_root() -> bool {
    output(&mut command("id", &["-u"])).is_ok_and(|id| id.trim() == "0")
}

/// Where Debian has programs that no ordinary user's PATH finds, such as Kamailio.
const ADMINISTRATION: &str = "/usr/sbin";

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&path).chain([ADMINISTRATION.into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn on_path(program: &str) -> bool {
    find(program).is_some()
}

/// Folder of `initdb` and `postgres`: Debian keeps it off the PATH. The newest where there are several.
pub(crate) fn postgres_bin() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter(|entry| entry.path().join("bin/initdb").exists())
        .max_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    match newest {
        Some(entry) => Some(entry.path().join("bin")),
        None => find("initdb").and_then(|file| Some(file.canonicalize().ok()?.parent()?.to_owned())),
    }
}

/// The browser of the end-to-end tests.
pub(crate) fn chromium() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(find)
}

/// Programs that are unpacked for the workspace alone.
fn tools() -> PathBuf {
    crate::target().join("tools")
}

/// The package would start a Prometheus at each boot from now on; one program out of it is enough.
fn fetch_promtool() -> Result<()> {
    let folder = tools().join("download");
    fs::create_dir_all(&folder)?;
    let download = || run(command("apt-get", &["download", "prometheus"]).current_dir(&folder));
    if download().is_err() {
        if !is_root() {
            bail!("run this once, then the command again:\n\n    sudo apt-get update\n");
        }
        run(&mut command("apt-get", &["update", "--quiet=2"]))?;
        download()?;
    }
    for entry in fs::read_dir(&folder)? {
        run(command("dpkg-deb", &["--extract"]).arg(entry?.path()).arg(tools()))?;
    }
    Ok(fs::remove_dir_all(folder)?)
}

/// PATH on which the programs of [`tools`] and of [`ADMINISTRATION`] are found too.
pub(crate) fn path_with_tools() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([ADMINISTRATION.into(), tools().join("usr/bin")]);
    std::env::join_paths(folders).unwrap_or_else(|_| path.clone())
}

fn own_node() -> PathBuf {
    tools().join("node_modules").join(node_package()).join("bin")
}

fn node_package() -> String {
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    format!("node-linux-{machine}")
}

fn version(node: &Path) -> Option<(u32, u32)> {
    let text = output(&mut command(node, &["--version"])).ok()?;
    let mut numbers = text.trim().trim_start_matches('v').split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn node_is_recent() -> bool {
    let recent = |node: &Path| version(node).is_some_and(|version| version >= NODE);
    recent(Path::new("node")) || recent(&own_node().join("node"))
}

/// Debian 12 and Ubuntu 24.04 have a Node.js that is too old; the npm registry has newer ones as packages.
fn fetch_node() -> Result<()> {
    let tools = tools();
    fs::create_dir_all(&tools)?;
    let tools = tools.to_str().context("the target folder's name is not UTF-8")?;
    let package = format!("{}@{NODE_RELEASE}", node_package());
    run(&mut command(
        "npm",
        &["install", "--no-save", "--no-audit", "--no-fund", "--prefix", tools, &package],
    ))
}

/// PATH on which `node` is recent enough.
pub(crate) fn path_with_node() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if version(Path::new("node")).is_some_and(|version| version >= NODE) {
        return path;
    }
    let folders = std::iter::once(own_node()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap_or(path)
}

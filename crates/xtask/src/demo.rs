//! `cargo xtask demo`: the hub, and a simulated exchange whose members place calls through it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::machine::{Need, is_root, set_up};
use crate::process::{Background, asked_to_stop, wait_for};
use crate::run::{cargo, output, run as run_command};
use crate::{http, web};

/// What the demo may be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Go on with the data of the last run instead of starting fresh
    #[arg(long)]
    keep: bool,
    /// How many members the simulated exchange has
    #[arg(long, default_value_t = 5)]
    members: u32,
}

/// Who operates the demo's exchange.
const OPERATOR: &str = "operator@example.net";

/// Sets up, builds, runs until Ctrl-C.
#[expect(clippy::print_stdout, reason = "the ready line, addresses and log-ins are what the demo prints")]
pub(crate) fn run(options: &Options) -> Result<()> {
    set_up(&[Need::Postgres, Need::Node])?;
    web::build()?;
    run_command(&mut cargo(&["build", "--release", "--package", "tandem"]))?;

    let folder = folder("demo")?;
    if !options.keep && folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let program = crate::target().join("release/tandem");
    let mut hub = Hub::start(&program, &folder)?;
    let portal = hub.portal;
    wait_for("the hub to be ready", Duration::from_secs(60), || {
        hub.process.still_runs()?;
        Ok(http::status(portal, "/readyz") == Some(200))
    })?;
    let password = hub.operator_password(OPERATOR)?;
    let mut members = hub.simulate(options.members, &password)?;
    wait_for("the members to join", Duration::from_secs(60), || {
        hub.process.still_runs()?;
        members.still_runs()?;
        Ok(log_ins(&members).len() >= options.members as usize)
    })?;
    println!("\nready: {} members call each other through the hub\n", options.members);
    println!("portal    http://{portal}/");
    println!("metrics   http://{}/metrics", hub.metrics);
    println!("operator  {OPERATOR}  {password}");
    for log_in in log_ins(&members) {
        println!("member    {log_in}");
    }
    println!("logs      {}", folder.display());
    println!("\nCtrl-C stops it all.");

    while !asked_to_stop() {
        hub.process.still_runs()?;
        members.still_runs()?;
        sleep(Duration::from_millis(200));
    }
    println!("\nstopping");
    // The callers go first, so that the hub has nothing to drain.
    drop(members);
    drop(hub);
    Ok(())
}

/// The log-ins that the simulation has printed: member, e-mail, password.
fn log_ins(members: &Background) -> Vec<String> {
    let printed = members.printed();
    printed
        .lines()
        .filter_map(|line| line.strip_prefix("log-in"))
        .map(|line| line.trim().to_owned())
        .collect()
}

/// A hub that runs in the background, with the ports it was given.
pub(crate) struct Hub {
    pub(crate) process: Background,
    pub(crate) portal: SocketAddr,
    pub(crate) metrics: SocketAddr,
    program: PathBuf,
    folder: PathBuf,
    config: PathBuf,
}

impl Hub {
    /// Starts it with its data, log and settings in `folder`.
    pub(crate) fn start(program: &Path, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let portal = address(8080)?;
        let metrics = address(9464)?;
        let sip = sip_address()?;
        let config = folder.join("tandem.toml");
        let settings = format!(
            r#"data_dir = "{data}"
node = "demo"

[[listener]]
site = "demo"
address = "{sip}"
transport = "udp"

[[listener]]
site = "demo"
address = "{sip}"
transport = "tcp"

[portal]
address = "{portal}"

[metrics]
address = "{metrics}"

[fabric]
drain_s = 1
"#,
            data = folder.join("data").display(),
        );
        fs::write(&config, settings)?;
        let mut serve = Command::new(program);
        serve.arg("serve").arg("--config").arg(&config);
        let process = Background::start("tandem serve", &mut serve, &folder.join("hub.log"))?;
        Ok(Self { process, portal, metrics, program: program.to_owned(), folder: folder.to_owned(), config })
    }

    /// Makes an operator's log-in; what is returned is its password.
    pub(crate) fn create_operator(&self, email: &str) -> Result<String> {
        let mut create = Command::new(&self.program);
        create.args(["operator", "create", email, "--config"]).arg(&self.config);
        Ok(output(&mut create)?.trim().to_owned())
    }

    /// The password of the operator, made on the first run and kept beside its data. The members have it too:
    /// theirs cannot be read again when the data of the last run is used.
    fn operator_password(&self, email: &str) -> Result<String> {
        let file = self.folder.join("password");
        if let Ok(password) = fs::read_to_string(&file) {
            return Ok(password);
        }
        let password = self.create_operator(email)?;
        fs::write(&file, &password)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        Ok(password)
    }

    /// Starts the members.
    fn simulate(&self, members: u32, password: &str) -> Result<Background> {
        let mut token = Command::new(&self.program);
        token.args(["token", "create", "--operator", "--config"]).arg(&self.config);
        let token = output(&mut token)?;
        let mut simulate = Command::new(&self.program);
        simulate.args([
            "simulate",
            "--members",
            &members.to_string(),
            "--portal",
            &format!("http://{}", self.portal),
        ]);
        simulate.env("TANDEM_TOKEN", token.trim()).env("TANDEM_PASSWORD", password);
        Background::start("tandem simulate", &mut simulate, &self.folder.join("members.log"))
    }
}

/// Where a run keeps its data: under `target`, or where Postgres' own user could not get there (root's home is
/// closed to it), in a folder of that name under /var/tmp.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let folder = crate::target().join(name);
    let open = |dir: &Path| fs::metadata(dir).map_or(true, |entry| entry.permissions().mode() & 0o001 != 0);
    if !is_root() || folder.ancestors().all(open) {
        return Ok(folder);
    }
    let folder = Path::new("/var/tmp").join(format!("tandem-{name}"));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The usual port on the loopback address, or a free one where it is taken.
fn address(usual: u16) -> Result<SocketAddr> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, usual))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    Ok(free?.local_addr()?)
}

/// A port that is free for UDP and TCP alike: 5060 where it is.
fn sip_address() -> Result<SocketAddr> {
    for port in std::iter::once(5060).chain(25_060..25_160) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    anyhow::bail!("no free port for SIP between 25060 and 25160")
}

//! The hub as a program of its own, with settings, data and ports of its own.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use tempfile::TempDir;

use crate::address::{free_port, peer_address};
use crate::api::Api;
use crate::child::{Child, Signal};
use crate::exchange::Exchange;
use crate::wait::until;

/// How long a hub may take from start to ready, with a cluster to make and on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What a scenario sets; the rest is as for everybody.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `None`: the private cluster.
    pub database_url: Option<String>,
    /// How long calls may go on at SIGTERM.
    pub drain_s: u32,
    /// How long a candidate may be silent.
    pub attempt_timeout_s: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { database_url: None, drain_s: 1, attempt_timeout_s: 2 }
    }
}

/// A hub that is running, unless the scenario stopped it.
#[derive(Debug)]
pub struct Hub {
    /// Where it takes SIP, UDP and TCP alike.
    pub sip: SocketAddr,
    /// Of portal and API.
    pub portal: SocketAddr,
    /// Of `/metrics`.
    pub metrics: SocketAddr,
    /// The API with an operator's token.
    pub api: Api,
    config: PathBuf,
    process: Option<Child>,
    folder: TempDir,
}

impl Hub {
    /// A hub with its private cluster, ready, with `exchange` declared.
    pub fn start(exchange: &Exchange) -> Self {
        Self::with(&Settings::default(), exchange)
    }

    /// The same with other settings.
    pub fn with(settings: &Settings, exchange: &Exchange) -> Self {
        let folder = TempDir::with_prefix("tandem-").expect("a temporary folder");
        // The private cluster runs as another user when the tests run as root, and must get in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        let ip = peer_address();
        let (sip, portal, metrics) = (free_port(ip), free_port(ip), free_port(ip));
        let config = folder.path().join("tandem.toml");
        let database = settings.database_url.as_ref().map_or(String::new(), |url| format!("url = \"{url}\""));
        let text = format!(
            r#"node = "test"
data_dir = "{data}"

[database]
{database}

[fabric]
drain_s = {drain_s}
attempt_timeout_s = {attempt_timeout_s}

[[listener]]
site = "test"
address = "{sip}"
transport = "udp"

[[listener]]
site = "test"
address = "{sip}"
transport = "tcp"

[portal]
address = "{portal}"

[metrics]
address = "{metrics}"
"#,
            data = folder.path().join("data").display(),
            drain_s = settings.drain_s,
            attempt_timeout_s = settings.attempt_timeout_s,
        );
        fs::write(&config, text).expect("the settings can be written");
        let base = format!("http://{portal}");
        let mut hub = Self { sip, portal, metrics, api: Api::new(&base, ""), config, process: None, folder };
        hub.start_again();
        let token = hub.tandem(&["token", "create", "--operator"]);
        hub.api = Api::new(&base, &token);
        hub.apply(exchange);
        hub
    }

    /// Starts the program on the data that is there, and waits until it is ready.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the hub is running");
        let mut serve = Command::new(program());
        serve.arg("serve").arg("--config").arg(&self.config);
        let mut child = Child::start("tandem serve", &mut serve, &self.log());
        let url = format!("http://{}/readyz", self.portal);
        until("the hub to be ready", READY_WITHIN, || {
            if let Some(status) = child.ended() {
                panic!("the hub ended ({status}):\n{}", child.last_lines(30));
            }
            self.api.page(&url).filter(|(status, _)| *status == 200)
        });
        self.process = Some(child);
    }

    /// SIGKILL: what a crash or the loss of power leaves behind is left behind.
    pub fn kill(&mut self) {
        let mut child = self.process.take().expect("the hub is running");
        child.signal(Signal::Kill);
        child.wait(Duration::from_secs(10));
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&mut self) {
        self.process.as_mut().expect("the hub is running").signal(Signal::Terminate);
    }

    /// Waits until it has ended by itself.
    pub fn wait_for_end(&mut self, deadline: Duration) -> ExitStatus {
        self.process.take().expect("the hub is running").wait(deadline)
    }

    /// Brings the exchange to the state that `exchange` declares; what was changed is returned. When the node
    /// has routes of that state, too.
    pub fn apply(&self, exchange: &Exchange) -> String {
        let file = self.folder.path().join("exchange.toml");
        fs::write(&file, exchange.toml()).expect("the file can be written");
        let changed = self.tandem(&["apply", file.to_str().expect("its name is UTF-8")]);
        self.wait_until_current();
        changed
    }

    /// Waits until the node runs the newest state of the database.
    pub fn wait_until_current(&self) {
        until("the node to be current", Duration::from_secs(30), || {
            let nodes = self.api.get("/nodes").good();
            let nodes = nodes["items"].as_array()?;
            nodes.iter().any(|node| node["current"] == true).then_some(())
        });
    }

    /// Runs a subcommand that must succeed; what it printed is returned.
    pub fn tandem(&self, args: &[&str]) -> String {
        let output = self.try_tandem(args);
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "tandem {}: {}\n{stdout}{stderr}", args.join(" "), output.status);
        stdout.into_owned()
    }

    /// Runs a subcommand.
    pub fn try_tandem(&self, args: &[&str]) -> Output {
        Command::new(program()).args(args).arg("--config").arg(&self.config).output().expect("tandem runs")
    }

    /// The API with a member's token.
    pub fn api_of(&self, member: &str) -> Api {
        Api::new(&format!("http://{}", self.portal), &self.tandem(&["token", "create", "--member", member]))
    }

    /// Every CDR and every call that is up.
    pub fn calls(&self) -> Vec<serde_json::Value> {
        self.api.all("/calls")
    }

    /// Waits until the API shows `count` calls that are over, and returns all calls it shows.
    pub fn wait_for_cdrs(&self, count: usize, deadline: Duration) -> Vec<serde_json::Value> {
        until(&format!("{count} CDRs"), deadline, || {
            let calls = self.calls();
            let over = calls.iter().filter(|call| !call["ended_at"].is_null()).count();
            (over >= count).then_some(calls)
        })
    }

    /// Reads `/metrics`.
    pub fn metrics(&self) -> Metrics {
        let (status, text) =
            self.api.page(&format!("http://{}/metrics", self.metrics)).expect("metrics are served");
        assert_eq!(status, 200);
        Metrics::parse(&text)
    }

    /// What the program has logged.
    pub fn logged(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("hub.log")
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let mut stopped = true;
        if let Some(mut child) = self.process.take() {
            child.signal(Signal::Terminate);
            stopped = child.ends_within(Duration::from_secs(15));
        }
        stop_postgres_in(&self.folder.path().join("data"));
        if std::thread::panicking() || !stopped {
            let log = self.logged();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(60)..].join("\n");
            // Shown by the test runner beside the failure.
            #[expect(clippy::print_stderr, reason = "it explains a failure")]
            {
                eprintln!("the hub{} logged last:\n{end}", if stopped { "" } else { " did not stop; it" });
            }
        }
    }
}

/// A hub that was killed leaves its private cluster running; it is ours, by its data folder.
fn stop_postgres_in(data: &Path) {
    let Ok(entries) = fs::read_dir(data) else { return };
    for folder in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let Ok(text) = fs::read_to_string(folder.join("postmaster.pid")) else {
            stop_postgres_in(&folder);
            continue;
        };
        if let Some(pid) = text.lines().next() {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if line.contains("postgres") && line.contains(&*folder.to_string_lossy()) {
                crate::cluster::interrupt(pid);
            }
        }
    }
}

/// The program under test: `TANDEM_BIN`, or the one that cargo built beside the tests.
pub fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("TANDEM_BIN") {
        return program.into();
    }
    let test = std::env::current_exe().expect("a test knows its file");
    // target/debug/deps/scenario-0123 → target/debug/tandem
    let program = test.ancestors().nth(2).expect("tests lie in target/debug/deps").join("tandem");
    assert!(program.exists(), "{} is not there: cargo build --package tandem", program.display());
    program
}

/// The values of one scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self { samples: samples.collect() }
    }

    /// Sum over all series of a name whose labels contain each of `labels`, written `key="value"`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of_name = |series: &str| series.split('{').next() == Some(name);
        let chosen = self
            .samples
            .iter()
            .filter(|(series, _)| of_name(series) && labels.iter().all(|label| series.contains(label)));
        chosen.map(|(_, value)| value).sum()
    }

    /// The name of every series, without labels.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.samples.keys().map(|series| series.split('{').next().unwrap_or(series)).collect();
        names.dedup();
        names
    }
}

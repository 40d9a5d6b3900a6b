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
    /// Its name among the nodes of the exchange.
    pub node: &'static str,
    /// Threads that carry calls; 0: as many as suit the machine.
    pub workers: u32,
    /// How long calls may go on at SIGTERM.
    pub drain_s: u32,
    /// How long a candidate may be silent.
    pub attempt_timeout_s: u32,
    /// The DNS server that it asks; `None`: that of the machine.
    pub name_server: Option<SocketAddr>,
    /// How long that one may take.
    pub dns_timeout_s: u32,
    /// Whether DNS names may lead to the loopback network, as the peers of scenarios do.
    pub private_addresses: bool,
    /// Whether it probes endpoints: scenarios count messages, and to sipp an OPTIONS is a call that went wrong.
    pub probes: bool,
    /// The journal lies on a disk of its own, of so many kilobytes: see [`may_mount`].
    pub journal_disk_kb: Option<u32>,
    /// What stands under `[trace]`.
    pub trace: String,
    /// What stands under `[portal]`, beside its address.
    pub portal: String,
    /// Most file descriptors of the program (`ulimit -n`).
    pub max_files: Option<u32>,
    /// Further settings, as TOML: tables that are not set here, and listeners.
    pub more: String,
}

/// Whether this process may give a program a disk of its own: root may, where there are mount namespaces.
pub fn may_mount() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"]);
    unshare.output().is_ok_and(|output| output.status.success())
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database_url: None,
            node: "test",
            workers: 0,
            drain_s: 1,
            attempt_timeout_s: 2,
            name_server: None,
            dns_timeout_s: 1,
            private_addresses: true,
            probes: false,
            journal_disk_kb: None,
            trace: String::new(),
            portal: String::new(),
            max_files: None,
            more: String::new(),
        }
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
    journal_disk_kb: Option<u32>,
    max_files: Option<u32>,
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
            r#"node = "{node}"
data_dir = "{data}"

[database]
{database}

[fabric]
workers = {workers}
drain_s = {drain_s}
attempt_timeout_s = {attempt_timeout_s}
probes = {probes}

[dns]
servers = [{name_server}]
timeout_s = {dns_timeout_s}
private_addresses = {private_addresses}

[[listener]]
site = "test"
address = "{sip}"
transport = "udp"

[[listener]]
site = "test"
address = "{sip}"
transport = "tcp"

[trace]
{trace}

[portal]
address = "{portal}"
{more_portal}

[metrics]
address = "{metrics}"

{more}
"#,
            more = settings.more,
            more_portal = settings.portal,
            data = folder.path().join("data").display(),
            node = settings.node,
            trace = settings.trace,
            workers = settings.workers,
            drain_s = settings.drain_s,
            attempt_timeout_s = settings.attempt_timeout_s,
            name_server = settings.name_server.map_or(String::new(), |server| format!("\"{server}\"")),
            dns_timeout_s = settings.dns_timeout_s,
            private_addresses = settings.private_addresses,
            probes = settings.probes,
        );
        fs::write(&config, text).expect("the settings can be written");
        let base = format!("http://{portal}");
        let mut hub = Self {
            sip,
            portal,
            metrics,
            api: Api::new(&base, ""),
            config,
            process: None,
            journal_disk_kb: settings.journal_disk_kb,
            max_files: settings.max_files,
            folder,
        };
        hub.start_again();
        let token = hub.tandem(&["token", "create", "--operator"]);
        hub.api = Api::new(&base, &token);
        hub.apply(exchange);
        hub
    }

    /// Starts the program on the data that is there, and waits until it is ready.
    pub fn start_again(&mut self) {
        self.begin_again();
        self.wait_until_ready();
    }

    /// Starts the program on the data that is there, without waiting.
    pub fn begin_again(&mut self) {
        assert!(self.process.is_none(), "the hub is running");
        let files = self.max_files.map_or(String::new(), |most| format!("ulimit -n {most} && "));
        let mut serve = match self.journal_disk_kb {
            None if files.is_empty() => Command::new(program()),
            None => {
                let mut limited = Command::new("sh");
                limited.args(["-c", &format!("{files}exec \"$0\" \"$@\"")]).arg(program());
                limited
            }
            Some(kilobytes) => {
                // Seen by the program alone, and gone with it.
                let mut unshare = Command::new("unshare");
                let mount = format!(
                    "mkdir -p '{0}' && mount -t tmpfs -o size={kilobytes}k tmpfs '{0}' && {files}exec \"$0\" \"$@\"",
                    self.journal_folder().display()
                );
                unshare.args(["--mount", "sh", "-c", &mount]).arg(program());
                unshare
            }
        };
        serve.arg("serve").arg("--config").arg(&self.config);
        self.process = Some(Child::start("tandem serve", &mut serve, &self.log()));
    }

    /// From its next start on the program has so many threads that carry calls.
    pub fn set_workers(&mut self, workers: u32) {
        let text = fs::read_to_string(&self.config).expect("the settings are there");
        let (before, after) = text.split_once("workers = ").expect("the settings name them");
        let (_, after) = after.split_once('\n').expect("a line ends");
        fs::write(&self.config, format!("{before}workers = {workers}\n{after}"))
            .expect("they can be written");
    }

    /// Waits until the program says that it is ready.
    pub fn wait_until_ready(&mut self) {
        let url = format!("http://{}/readyz", self.portal);
        let Self { api, process, .. } = self;
        let child = process.as_mut().expect("the hub is running");
        until("the hub to be ready", READY_WITHIN, || {
            if let Some(status) = child.ended() {
                panic!("the hub ended ({status}):\n{}", child.last_lines(30));
            }
            api.page(&url).filter(|(status, _)| *status == 200)
        });
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

    /// Waits until no call is up, by the metrics and by each of `count` CDRs or more, and returns them. Those that are still open
    /// at the deadline are returned as they are.
    pub fn wait_for_quiet_cdrs(&self, count: usize, deadline: Duration) -> Vec<serde_json::Value> {
        let started = crate::now();
        loop {
            // Read after the metrics: a call that is over is in the journal by then.
            let active = self.metrics().sum("tandem_active_calls", &[]);
            let calls = self.calls();
            let all_over =
                calls.len() >= count && active <= 0.0 && calls.iter().all(|call| !call["ended_at"].is_null());
            if all_over || started.elapsed() > deadline {
                return calls;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Reads `/metrics`.
    pub fn metrics(&self) -> Metrics {
        let (status, text) =
            self.api.page(&format!("http://{}/metrics", self.metrics)).expect("metrics are served");
        assert_eq!(status, 200);
        Metrics::parse(&text)
    }

    /// Where the node keeps what must survive it.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn journal_folder(&self) -> PathBuf {
        self.folder.path().join("data/journal")
    }

    /// The folder of the journal as the program sees it, on its own disk or not.
    pub fn journal_folder_inside(&self) -> PathBuf {
        let id = self.process.as_ref().expect("the hub is running").id();
        let folder = self.journal_folder();
        Path::new(&format!("/proc/{id}/root")).join(folder.strip_prefix("/").unwrap_or(&folder))
    }

    /// Memory that the program holds, in kilobytes (`VmRSS`).
    pub fn resident_kb(&self) -> u64 {
        let id = self.process.as_ref().expect("the hub is running").id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("a process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("Linux counts it")
    }

    /// Time that the program has had on the processors.
    pub fn processor_time(&self) -> Duration {
        /// Linux counts in hundredths of a second for all that it tells programs (`USER_HZ`).
        const TICK: Duration = Duration::from_millis(10);
        let id = self.process.as_ref().expect("the hub is running").id();
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("a process has a status");
        // The second field, the name, is in parentheses and may hold blanks; utime and stime are the 14th and 15th.
        let fields = stat.rsplit_once(')').expect("the name ends").1.split_whitespace();
        let ticks: u32 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u32>().expect("a number")).sum();
        TICK * ticks
    }

    /// How many file descriptors the program has open.
    pub fn open_files(&self) -> usize {
        let id = self.process.as_ref().expect("the hub is running").id();
        fs::read_dir(format!("/proc/{id}/fd")).expect("its files are listed for its parent").count()
    }

    /// Whether the program is still running.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|child| child.ended().is_none())
    }

    /// What it counts that must be back at its value when all is over.
    pub fn at_rest(&self) -> AtRest {
        AtRest::read(&self.metrics())
    }

    /// Waits until nothing is left of what happened since `before`; panics, naming what is, after `deadline`.
    ///
    /// Transactions and their timers last for 64·T1 after the last message, so they are looked at only in long runs;
    /// [`wait_until_all_is_as`](Self::wait_until_all_is_as) always does.
    pub fn wait_until_as(&self, before: &AtRest, deadline: Duration) {
        self.wait_until_left(before, deadline, |series| {
            crate::long() || !["transactions", "timers"].iter().any(|held| series.contains(held))
        });
    }

    /// The same for every gauge.
    pub fn wait_until_all_is_as(&self, before: &AtRest, deadline: Duration) {
        self.wait_until_left(before, deadline, |_| true);
    }

    fn wait_until_left(&self, before: &AtRest, deadline: Duration, counts: impl Fn(&str) -> bool) {
        let started = crate::now();
        loop {
            let mut left = self.at_rest().beyond(before);
            left.retain(|series| counts(series));
            if left.is_empty() {
                return;
            }
            assert!(started.elapsed() < deadline, "left after {deadline:?}: {}", left.join(", "));
            std::thread::sleep(Duration::from_millis(50));
        }
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

/// The gauges of what a hub holds for calls and messages: back at their values when all is over.
#[derive(Clone, Debug, PartialEq)]
pub struct AtRest {
    gauges: BTreeMap<String, f64>,
}

impl AtRest {
    /// Words in the names of such gauges. Not all of them exist in each version.
    const HELD: [&str; 8] = [
        "active_calls",
        "connections",
        "transactions",
        "timers",
        "dialogs",
        "leases",
        "backlog_records",
        "neighbours",
    ];

    fn read(metrics: &Metrics) -> Self {
        let gauges = metrics.samples.iter().filter(|(series, _)| {
            let name = series.split('{').next().unwrap_or(series);
            let is_counter = ["_total", "_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end));
            !is_counter
                && name.starts_with("tandem_")
                && !name.contains("database")
                && Self::HELD.iter().any(|held| name.contains(held))
        });
        Self { gauges: gauges.map(|(series, value)| (series.clone(), *value)).collect() }
    }

    /// The gauges that are above their value in `before`.
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        let earlier = |series: &String| before.gauges.get(series).copied().unwrap_or(0.0);
        let above = self.gauges.iter().filter(|(series, value)| **value > earlier(series));
        above.map(|(series, value)| format!("{series}: {value} (was {})", earlier(series))).collect()
    }

    /// The names that are looked at.
    pub fn names(&self) -> Vec<&str> {
        self.gauges.keys().map(String::as_str).collect()
    }
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
        chosen.fold(0.0, |sum, (_, value)| sum + value)
    }

    /// The name of every series, without labels.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.samples.keys().map(|series| series.split('{').next().unwrap_or(series)).collect();
        names.dedup();
        names
    }
}

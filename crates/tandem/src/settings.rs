//! What the operator decides about this process: read once at start, from a TOML file and the environment.
//!
//! `settings.toml` beside this file is the one place that lists the keys, their meaning and their defaults.
//! The program reads its defaults from it, so a key that is missing there does not exist.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use tandem_fabric::{
    DipService, DipSettings, DnsSettings, EnumSettings, HepSettings, HepTransport, ListenerSettings,
    OtlpSettings, TlsSettings, TraceSettings,
};
use tandem_model::{Host, Prefix, Transport};
use tandem_portal::{ApprovalThreshold, ChallengeSettings};
use toml::{Table, Value};

use crate::portability::PortabilitySettings;

/// The annotated defaults, as `tandem settings` prints them.
pub const DEFAULTS: &str = include_str!("settings.toml");

/// `TANDEM_` variables that are no settings: arguments of the command line, and those of the project's tests.
const ARGUMENTS: [&str; 6] =
    ["TANDEM_CONFIG", "TANDEM_PORTAL", "TANDEM_TOKEN", "TANDEM_PASSWORD", "TANDEM_BIN", "TANDEM_LONG"];

/// Everything the operator decides; each field is the key of the same name in `settings.toml`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this node, unique in its exchange.
    pub node: String,
    /// Directory of the journal, the node id and the private cluster.
    pub data_dir: PathBuf,
    /// What this process does.
    pub roles: Roles,
    /// Where the exchange is kept.
    pub database: DatabaseSettings,
    /// Where members send SIP.
    pub listeners: Vec<ListenerSettings>,
    /// The certificate of listeners that speak TLS; `None` where there is none.
    pub tls: Option<TlsSettings>,
    /// How calls are carried.
    pub fabric: FabricSettings,
    /// How the DNS names of endpoints are resolved.
    pub dns: DnsSettings,
    /// Where ported numbers come from.
    pub portability: PortabilitySettings,
    /// The service that says which numbers are ported; `None` where none is asked.
    pub dip: Option<DipSettings>,
    /// Where questions about numbers are answered by ENUM; `None` where they are not.
    pub enum_listener: Option<EnumSettings>,
    /// Which calls are traced.
    pub trace: TraceSettings,
    /// Where pages and API are served.
    pub portal: PortalSettings,
    /// How long the past is kept.
    pub history: HistorySettings,
    /// Where metrics are read.
    pub metrics: MetricsSettings,
    /// What is logged, and how.
    pub log: LogSettings,
}

/// What this process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// It carries calls.
    pub fabric: bool,
    /// It serves the web pages and the API.
    pub portal: bool,
}

/// Where the exchange is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// A Postgres of the operator's; `None` for the private cluster.
    pub url: Option<String>,
    /// Most connections of this process.
    pub max_connections: u32,
    /// Folder of the Postgres programs; `None` where they are searched for.
    pub binaries: Option<PathBuf>,
}

/// How calls are carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FabricSettings {
    /// Threads that carry calls; `None` for one for each two cores.
    pub workers: Option<usize>,
    /// Most calls up at once.
    pub max_calls: u32,
    /// Most messages a second of one address of a member.
    pub source_messages_per_second: u32,
    /// Called numbers that are never refused for overload.
    pub emergency_numbers: Vec<String>,
    /// From an INVITE to its first response, before the next candidate is tried.
    pub attempt_timeout: Duration,
    /// From the last provisional response to the answer.
    pub ring_timeout: Duration,
    /// From the first INVITE to the answer, over all candidates.
    pub setup_timeout: Duration,
    /// Whether endpoints are probed, as the policy of each has it.
    pub probes: bool,
    /// From the first signal to the end of the calls that are up.
    pub drain: Duration,
    /// Between two flushes of the journal, for which answers wait; `None` where they do not wait.
    pub flush_interval: Option<Duration>,
}

/// Where pages and API are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalSettings {
    /// Address to listen on.
    pub address: SocketAddr,
    /// How browsers reach it; `None` for the address itself.
    pub public_url: Option<String>,
    /// Proxies in front of it, whose word on where a request came from is believed.
    pub proxies: Vec<IpNet>,
    /// In which members' switches have user names; `None` where none is to have one.
    pub realm: Option<String>,
    /// From when on a change set needs a second person.
    pub approval: ApprovalThreshold,
    /// File of the authorities whose certificates are evidence of whose numbers are whose; `None` where there are none.
    pub sti_trust_anchors: Option<PathBuf>,
    /// How the hub calls numbers of claimed ranges; `None` where it does not.
    pub challenge: Option<ChallengeSettings>,
}

/// How long the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistorySettings {
    /// Days.
    pub keep_days: u32,
}

/// Where metrics are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Address to listen on.
    pub address: SocketAddr,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// For people or for machines.
    pub format: LogFormat,
    /// Levels, as `tracing-subscriber` reads them.
    pub filter: String,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Plain,
    /// One JSON object a line.
    Json,
}

/// Why the settings cannot be used; always with what to write instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file is missing or may not be read.
    #[error("cannot read {file}: {cause}")]
    Unreadable {
        /// Its path.
        file: String,
        /// What the system said.
        cause: String,
    },
    /// The file is not TOML.
    #[error("{file} is not TOML: {cause}")]
    Syntax {
        /// Its path.
        file: String,
        /// Line, column and what was expected.
        cause: String,
    },
    /// There is no such key.
    #[error("{origin}: unknown key {key}; {known}")]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The key, with its table.
        key: String,
        /// The keys that exist there.
        known: String,
    },
    /// No setting belongs to this variable.
    #[error("unknown environment variable {0}; `tandem settings` lists every key")]
    UnknownVariable(String),
    /// The value does not fit the key.
    #[error("{origin}: {key} is {found}; write {wanted}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The key, with its table.
        key: String,
        /// What stands there.
        found: String,
        /// What to write instead.
        wanted: String,
    },
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `settings.toml`.
    Default,
    /// The file named with `--config`.
    File(String),
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name) | Self::Variable(name) => f.write_str(name),
        }
    }
}

impl Settings {
    /// Reads `file`, where there is one, and `variables` over the defaults.
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let text = match file {
            None => None,
            Some(path) => {
                let file = path.display().to_string();
                match std::fs::read_to_string(path) {
                    Ok(text) => Some((file, text)),
                    Err(cause) => return Err(SettingsError::Unreadable { file, cause: cause.to_string() }),
                }
            }
        };
        Self::read(text.as_ref().map(|(file, text)| (file.as_str(), text.as_str())), variables)
    }

    /// As [`Settings::load`], from a text and the name by which errors call it.
    pub fn read(
        file: Option<(&str, &str)>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let mut values = Values::defaults();
        if let Some((name, text)) = file {
            values.overlay_file(name, text)?;
        }
        for (name, value) in variables {
            if name.starts_with("TANDEM_") && !ARGUMENTS.contains(&name.as_str()) {
                values.overlay_variable(&name, &value)?;
            }
        }
        values.build()
    }
}

/// Every key with its value and where that comes from. A key is the path to a leaf: `portal.address`. The
/// arrays `roles` and `listener` are leaves.
struct Values(BTreeMap<String, (Value, Origin)>);

fn leaves(table: Table, prefix: &str, found: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        match value {
            Value::Table(table) => leaves(table, &format!("{key}."), found),
            value => found.push((key, value)),
        }
    }
}

fn variable_of(key: &str) -> String {
    format!("TANDEM_{}", key.replace('.', "_").to_uppercase())
}

impl Values {
    fn defaults() -> Self {
        let table = DEFAULTS.parse::<Table>().expect("the defaults are TOML");
        let mut found = Vec::new();
        leaves(table, "", &mut found);
        Self(found.into_iter().map(|(key, value)| (key, (value, Origin::Default))).collect())
    }

    fn overlay_file(&mut self, file: &str, text: &str) -> Result<(), SettingsError> {
        let table = text.parse::<Table>().map_err(|error| SettingsError::Syntax {
            file: file.to_owned(),
            cause: error.to_string().trim_end().to_owned(),
        })?;
        let origin = Origin::File(file.to_owned());
        let mut found = Vec::new();
        leaves(table, "", &mut found);
        for (key, value) in found {
            let slot = self.0.get_mut(&key);
            let Some(slot) = slot else {
                return Err(SettingsError::UnknownKey { known: self.neighbours(&key), origin, key });
            };
            *slot = (value, origin.clone());
        }
        Ok(())
    }

    fn overlay_variable(&mut self, name: &str, text: &str) -> Result<(), SettingsError> {
        let Some((key, (value, origin))) = self.0.iter_mut().find(|(key, _)| variable_of(key) == name) else {
            return Err(SettingsError::UnknownVariable(name.to_owned()));
        };
        *origin = Origin::Variable(name.to_owned());
        *value = match value {
            Value::Integer(_) => text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Integer),
            Value::Boolean(_) => text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Boolean),
            Value::Float(_) => text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Float),
            Value::Array(_) if key == "listener" => {
                let listeners = text.split(',').map(|one| read_listener_variable(one.trim()));
                Value::Array(listeners.collect::<Option<_>>().ok_or_else(|| SettingsError::Value {
                    origin: origin.clone(),
                    key: key.clone(),
                    found: format!("{text:?}"),
                    wanted: "site/transport/address, such as ams/udp/192.0.2.10:5060, with a comma between two"
                        .to_owned(),
                })?)
            }
            Value::Array(_) => {
                Value::Array(text.split(',').map(|item| Value::String(item.trim().to_owned())).collect())
            }
            _ => Value::String(text.to_owned()),
        };
        Ok(())
    }

    /// Says which keys exist where the unknown `key` was written.
    fn neighbours(&self, key: &str) -> String {
        let (table, _) = key.rsplit_once('.').unwrap_or(("", key));
        let inside = |table: &str| -> Vec<&str> {
            let prefix = if table.is_empty() { String::new() } else { format!("{table}.") };
            let rest = self.0.keys().filter_map(|key| key.strip_prefix(prefix.as_str()));
            rest.filter(|rest| !rest.contains('.')).collect()
        };
        let keys = inside(table);
        if !table.is_empty() && !keys.is_empty() {
            return format!("[{table}] has {}", keys.join(", "));
        }
        let mut tables: Vec<String> = self
            .0
            .keys()
            .filter_map(|key| key.split_once('.'))
            .map(|(table, _)| format!("[{table}]"))
            .collect();
        tables.dedup();
        format!("there are {}, {}", inside("").join(", "), tables.join(", "))
    }

    fn build(&self) -> Result<Settings, SettingsError> {
        let node = match self.text("node")? {
            name if name.is_empty() => name_of_host(),
            name => name,
        };
        if !is_name(&node) {
            return Err(self.wrong("node", "lower-case letters, digits and hyphens, such as ams-1"));
        }
        let data_dir = self.text("data_dir")?;
        if data_dir.is_empty() {
            return Err(self.wrong("data_dir", "a directory, such as /var/lib/tandem"));
        }
        let roles = self.roles()?;
        let listeners = self.listeners()?;
        if roles.fabric && listeners.is_empty() {
            return Err(self.wrong("listener", "at least one [[listener]], or leave \"fabric\" out of roles"));
        }
        let url = self.text("database.url")?;
        if !url.is_empty() && !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(self.wrong("database.url", "a URL such as postgres://user:password@host/database"));
        }
        let public_url = self.text("portal.public_url")?;
        let realm = self.text("portal.realm")?;
        if !(realm.is_empty() || tandem_model::credential::is_own_realm(&realm)) {
            return Err(self.wrong("portal.realm", "a domain in lower case, such as sip.exchange.example"));
        }
        if !(public_url.is_empty() || public_url.starts_with("http://") || public_url.starts_with("https://"))
        {
            return Err(self.wrong("portal.public_url", "a URL such as https://portal.example"));
        }
        let format = match self.text("log.format")?.as_str() {
            "plain" => LogFormat::Plain,
            "json" => LogFormat::Json,
            _ => return Err(self.wrong("log.format", "\"plain\" or \"json\"")),
        };
        let filter = self.text("log.filter")?;
        if filter.parse::<tracing_subscriber::EnvFilter>().is_err() {
            return Err(self.wrong("log.filter", "a level such as \"info\", or \"info,tandem_fabric=debug\""));
        }
        Ok(Settings {
            node,
            data_dir: data_dir.into(),
            roles,
            database: DatabaseSettings {
                url: (!url.is_empty()).then_some(url),
                max_connections: self.integer("database.max_connections", 4..=1000)?,
                binaries: self.path("database.binaries")?,
            },
            tls: self.tls(&listeners)?,
            listeners,
            fabric: FabricSettings {
                workers: match self.integer("fabric.workers", 0..=64)? {
                    0 => None,
                    workers => Some(workers as usize),
                },
                max_calls: self.integer("fabric.max_calls", 1..=1_000_000)?,
                source_messages_per_second: self
                    .integer("fabric.source_messages_per_second", 10..=1_000_000)?,
                emergency_numbers: self.numbers("fabric.emergency_numbers")?,
                attempt_timeout: self.seconds("fabric.attempt_timeout_s", 1..=32)?,
                ring_timeout: self.seconds("fabric.ring_timeout_s", 5..=600)?,
                setup_timeout: self.seconds("fabric.setup_timeout_s", 5..=1200)?,
                probes: self.flag("fabric.probes")?,
                drain: self.seconds("fabric.drain_s", 0..=86_400)?,
                flush_interval: match self.integer("fabric.flush_interval_ms", 0..=1_000)? {
                    0 => None,
                    ms => Some(Duration::from_millis(ms.into())),
                },
            },
            dns: DnsSettings {
                servers: self.name_servers("dns.servers")?,
                timeout: self.seconds("dns.timeout_s", 1..=60)?,
                max_stale: self.seconds("dns.max_stale_s", 0..=604_800)?,
                private_addresses: self.flag("dns.private_addresses")?,
            },
            portability: self.portability()?,
            dip: self.dip()?,
            enum_listener: self.enum_listener()?,
            trace: TraceSettings {
                sample: self.share("trace.sample")?,
                keep: Duration::from_secs(86_400 * u64::from(self.integer("trace.keep_days", 1..=400)?)),
                max_octets: u64::from(self.integer("trace.max_mb", 1..=1_000_000)?) << 20,
                hep: self.hep()?,
                otlp: self.otlp()?,
            },
            portal: PortalSettings {
                address: self.address("portal.address")?,
                public_url: (!public_url.is_empty()).then(|| public_url.trim_end_matches('/').to_owned()),
                proxies: self.nets("portal.proxies")?,
                realm: (!realm.is_empty()).then_some(realm),
                approval: ApprovalThreshold {
                    moved_calls: self.integer("portal.approval_moved_calls", 0..=u32::MAX)?.into(),
                    prefixes: self.integer("portal.approval_prefixes", 0..=u32::MAX)?.into(),
                },
                sti_trust_anchors: self.path("portal.sti_trust_anchors")?,
                challenge: self.challenge()?,
            },
            history: HistorySettings { keep_days: self.integer("history.keep_days", 1..=36_500)? },
            metrics: MetricsSettings { address: self.address("metrics.address")? },
            log: LogSettings { format, filter },
        })
    }

    fn get(&self, key: &str) -> &Value {
        &self.0.get(key).expect("settings.toml lists every key").0
    }

    /// The error for what stands at `key`, with what to write instead.
    fn wrong(&self, key: &str, wanted: impl Into<String>) -> SettingsError {
        let (value, origin) = self.0.get(key).expect("settings.toml lists every key");
        let (key, found) = (key.to_owned(), shown(value));
        SettingsError::Value { origin: origin.clone(), key, found, wanted: wanted.into() }
    }

    fn text(&self, key: &str) -> Result<String, SettingsError> {
        match self.get(key) {
            Value::String(text) => Ok(text.clone()),
            _ => Err(self.wrong(key, "a text in quotes")),
        }
    }

    /// A path; `None` where none is given.
    fn path(&self, key: &str) -> Result<Option<PathBuf>, SettingsError> {
        Ok(Some(self.text(key)?).filter(|text| !text.is_empty()).map(PathBuf::from))
    }

    fn integer(&self, key: &str, bounds: RangeInclusive<u32>) -> Result<u32, SettingsError> {
        let value = self.get(key).as_integer().and_then(|value| u32::try_from(value).ok());
        value.filter(|value| bounds.contains(value)).ok_or_else(|| {
            self.wrong(key, format!("a whole number from {} to {}", bounds.start(), bounds.end()))
        })
    }

    fn seconds(&self, key: &str, bounds: RangeInclusive<u32>) -> Result<Duration, SettingsError> {
        Ok(Duration::from_secs(self.integer(key, bounds)?.into()))
    }

    fn share(&self, key: &str) -> Result<f64, SettingsError> {
        let value = self.get(key);
        let share = value.as_float().or_else(|| value.as_integer().map(|value| value as f64));
        share
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or_else(|| self.wrong(key, "a share from 0.0, none, to 1.0, all"))
    }

    fn address(&self, key: &str) -> Result<SocketAddr, SettingsError> {
        let parsed = self.text(key)?.parse().ok();
        parsed.ok_or_else(|| self.wrong(key, "an IP address and a port, such as 127.0.0.1:8080"))
    }

    fn flag(&self, key: &str) -> Result<bool, SettingsError> {
        self.get(key).as_bool().ok_or_else(|| self.wrong(key, "true or false"))
    }

    fn name_servers(&self, key: &str) -> Result<Vec<SocketAddr>, SettingsError> {
        /// Of the DNS (RFC 1035 §4.2).
        const PORT: u16 = 53;
        let server = |value: &Value| {
            let text = value.as_str()?;
            text.parse().or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, PORT))).ok()
        };
        let servers = self.get(key).as_array().and_then(|servers| servers.iter().map(server).collect());
        servers.ok_or_else(|| self.wrong(key, "a list of addresses, such as [\"192.0.2.53\"]"))
    }

    fn nets(&self, key: &str) -> Result<Vec<IpNet>, SettingsError> {
        let net = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        let nets = self.get(key).as_array().and_then(|nets| nets.iter().map(net).collect());
        nets.ok_or_else(|| self.wrong(key, "a list of address blocks, such as [\"127.0.0.1/32\"]"))
    }

    fn numbers(&self, key: &str) -> Result<Vec<String>, SettingsError> {
        let number = |value: &Value| {
            let text = value.as_str()?;
            let digits = text.strip_prefix('+').unwrap_or(text);
            let is_number = (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| text.to_owned())
        };
        let numbers = self.get(key).as_array().and_then(|numbers| numbers.iter().map(number).collect());
        numbers.ok_or_else(|| self.wrong(key, "a list of numbers, such as [\"112\", \"+44999\"]"))
    }

    fn portability(&self) -> Result<PortabilitySettings, SettingsError> {
        let (file, deltas) = (self.path("portability.file")?, self.path("portability.deltas")?);
        if file.is_none() && deltas.is_some() {
            return Err(self.wrong("portability.file", "the path of the base that the deltas follow"));
        }
        if file.is_some() && !self.text("portability.dip")?.is_empty() {
            return Err(
                self.wrong("portability.dip", "nothing where portability.file has all ported numbers")
            );
        }
        Ok(PortabilitySettings { file, deltas })
    }

    fn challenge(&self) -> Result<Option<ChallengeSettings>, SettingsError> {
        let (endpoint, caller) =
            (self.text("portal.challenge_endpoint")?, self.text("portal.challenge_caller")?);
        if endpoint.is_empty() && caller.is_empty() {
            return Ok(None);
        }
        let named = endpoint.split_once('/').filter(|(member, name)| !member.is_empty() && !name.is_empty());
        let (member, endpoint) = named.ok_or_else(|| {
            self.wrong("portal.challenge_endpoint", "a member and its endpoint, such as \"telco/pstn-1\"")
        })?;
        // With the six digits of the code it is a number of at most 15 digits.
        let caller = caller.parse::<Prefix>().ok().filter(|caller| (1..=9).contains(&caller.len()));
        let caller = caller.ok_or_else(|| {
            let wanted = "the first one to nine digits of numbers of your own, such as \"+331999\"";
            self.wrong("portal.challenge_caller", wanted)
        })?;
        Ok(Some(ChallengeSettings { member: member.to_owned(), endpoint: endpoint.to_owned(), caller }))
    }

    fn dip(&self) -> Result<Option<DipSettings>, SettingsError> {
        let deadline = self.integer("portability.dip_deadline_ms", 10..=2_000)?;
        let ttl = self.seconds("portability.dip_ttl_s", 1..=86_400)?;
        let text = self.text("portability.dip")?;
        if text.is_empty() {
            return Ok(None);
        }
        let is_http = text.starts_with("http://") && text.contains("{number}");
        let by_enum = text.strip_prefix("enum://").and_then(|rest| {
            let (server, suffix) = rest.split_once('/')?;
            let server = server.parse().ok()?;
            let is_domain = tandem_model::credential::is_own_realm(suffix);
            is_domain.then(|| DipService::Enum { server, suffix: suffix.to_owned() })
        });
        let service = by_enum.or_else(|| is_http.then_some(DipService::Http(text)));
        let service = service.ok_or_else(|| {
            let wanted =
                "a URL such as http://127.0.0.1:8090/numbers/{number} or enum://192.0.2.53:53/e164.arpa";
            self.wrong("portability.dip", wanted)
        })?;
        Ok(Some(DipSettings { service, deadline: Duration::from_millis(deadline.into()), ttl }))
    }

    fn enum_listener(&self) -> Result<Option<EnumSettings>, SettingsError> {
        let suffix = self.text("enum.suffix")?;
        if !tandem_model::credential::is_own_realm(&suffix) {
            return Err(self.wrong("enum.suffix", "a domain in lower case, such as e164.arpa"));
        }
        let ttl = self.seconds("enum.ttl_s", 0..=86_400)?;
        if self.text("enum.address")?.is_empty() {
            return Ok(None);
        }
        Ok(Some(EnumSettings { address: self.address("enum.address")?, suffix, ttl }))
    }

    fn hep(&self) -> Result<Option<HepSettings>, SettingsError> {
        let is_all = match self.text("trace.hep_calls")?.as_str() {
            "traced" => false,
            "all" => true,
            _ => return Err(self.wrong("trace.hep_calls", "\"traced\" or \"all\"")),
        };
        let transport = match self.text("trace.hep_transport")?.as_str() {
            "udp" => HepTransport::Udp,
            "tcp" => HepTransport::Tcp,
            _ => return Err(self.wrong("trace.hep_transport", "\"udp\" or \"tcp\"")),
        };
        let capture_id = self.integer("trace.hep_capture_id", 0..=u32::MAX)?;
        let password = Some(self.text("trace.hep_password")?).filter(|text| !text.is_empty());
        let target = self.text("trace.hep")?;
        if target.is_empty() {
            return Ok(None);
        }
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
        if !target.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && is_port(port)) {
            return Err(self.wrong("trace.hep", "a host and a port, such as homer.example:9060"));
        }
        Ok(Some(HepSettings { target, transport, capture_id, password, is_all }))
    }

    fn otlp(&self) -> Result<Option<OtlpSettings>, SettingsError> {
        let has_numbers = match self.text("trace.otlp_numbers")?.as_str() {
            "prefix" => false,
            "whole" => true,
            _ => return Err(self.wrong("trace.otlp_numbers", "\"prefix\" or \"whole\"")),
        };
        let url = self.text("trace.otlp")?;
        if url.is_empty() {
            return Ok(None);
        }
        let rest = url.strip_prefix("http://").filter(|rest| !rest.is_empty() && !rest.starts_with('/'));
        let Some(rest) = rest else {
            return Err(self.wrong("trace.otlp", "a URL such as http://127.0.0.1:4318"));
        };
        let endpoint = match rest.split_once('/') {
            None | Some((_, "")) => format!("{}/v1/traces", url.trim_end_matches('/')),
            Some(_) => url,
        };
        Ok(Some(OtlpSettings { endpoint, has_numbers }))
    }

    fn roles(&self) -> Result<Roles, SettingsError> {
        let mut roles = Roles { fabric: false, portal: false };
        for role in self.get("roles").as_array().map_or(&[][..], Vec::as_slice) {
            match role.as_str() {
                Some("fabric") => roles.fabric = true,
                Some("portal") => roles.portal = true,
                _ => {
                    return Err(self.wrong("roles", "[\"fabric\"], [\"portal\"] or [\"fabric\", \"portal\"]"));
                }
            }
        }
        if !roles.fabric && !roles.portal {
            return Err(self.wrong("roles", "[\"fabric\"], [\"portal\"] or [\"fabric\", \"portal\"]"));
        }
        Ok(roles)
    }

    /// All of it or nothing; a listener that speaks TLS needs it.
    fn tls(&self, listeners: &[ListenerSettings]) -> Result<Option<TlsSettings>, SettingsError> {
        let [certificate, key, trust, revoked] = [
            self.text("tls.certificate")?,
            self.text("tls.key")?,
            self.text("tls.trust")?,
            self.text("tls.revoked")?,
        ];
        let is_wanted = !certificate.is_empty()
            || !key.is_empty()
            || listeners.iter().any(|listener| listener.transport == Transport::Tls);
        if !is_wanted {
            return Ok(None);
        }
        for (name, path) in [("tls.certificate", &certificate), ("tls.key", &key), ("tls.trust", &trust)] {
            if path.is_empty() {
                return Err(self.wrong(name, "the path of a PEM file; TLS needs certificate, key and trust"));
            }
        }
        Ok(Some(TlsSettings {
            certificate: certificate.into(),
            key: key.into(),
            trust: trust.into(),
            revoked: (!revoked.is_empty()).then(|| revoked.into()),
        }))
    }

    fn listeners(&self) -> Result<Vec<ListenerSettings>, SettingsError> {
        let Value::Array(listeners) = self.get("listener") else {
            return Err(self.wrong("listener", "[[listener]] with two brackets, once for each listener"));
        };
        listeners.iter().enumerate().map(|(index, listener)| self.listener(index + 1, listener)).collect()
    }

    fn listener(&self, position: usize, listener: &Value) -> Result<ListenerSettings, SettingsError> {
        const KEYS: [&str; 5] = ["site", "address", "transport", "advertised", "public_name"];
        let origin = self.0["listener"].1.clone();
        let Value::Table(table) = listener else {
            return Err(self.wrong("listener", "[[listener]] with two brackets, once for each listener"));
        };
        if let Some(name) = table.keys().find(|name| !KEYS.contains(&name.as_str())) {
            let key = format!("listener {position}: {name}");
            let known = format!("a [[listener]] has {}", KEYS.join(", "));
            return Err(SettingsError::UnknownKey { origin, key, known });
        }
        let wrong = |name: &str, wanted: &str| SettingsError::Value {
            origin: origin.clone(),
            key: format!("{name} of listener {position}"),
            found: table.get(name).map_or_else(|| "missing".to_owned(), shown),
            wanted: wanted.to_owned(),
        };
        let text = |name: &str| table.get(name).and_then(Value::as_str);
        let site = text("site").filter(|site| is_name(site));
        let address: Option<SocketAddr> = text("address").and_then(|address| address.parse().ok());
        let transport: Option<Transport> = text("transport").and_then(|transport| transport.parse().ok());
        let advertised = match table.get("advertised") {
            None => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(value) => match value.as_str().and_then(|text| text.parse::<SocketAddr>().ok()) {
                Some(address) if !address.ip().is_unspecified() && address.port() != 0 => Some(address),
                _ => return Err(wrong("advertised", "an IP address and a port, such as 203.0.113.10:5060")),
            },
        };
        let public_name = match text("public_name").filter(|text| !text.is_empty()).map(str::parse) {
            None if table.get("public_name").is_none_or(Value::is_str) => None,
            Some(Ok(Host::Name(name))) => Some(String::from(name)),
            _ => return Err(wrong("public_name", "a DNS name, such as sip.exchange.example")),
        };
        let address =
            address.ok_or_else(|| wrong("address", "an IP address and a port, such as 192.0.2.10:5060"))?;
        if address.ip().is_unspecified() && advertised.is_none() {
            return Err(wrong("advertised", "the address that members reach, since the listener takes any"));
        }
        Ok(ListenerSettings {
            site: site
                .ok_or_else(|| wrong("site", "lower-case letters, digits and hyphens, such as \"ams\""))?
                .to_owned(),
            address,
            transport: transport.ok_or_else(|| wrong("transport", "\"udp\", \"tcp\" or \"tls\""))?,
            advertised,
            public_name,
        })
    }
}

/// A value as an error shows it: a password in a URL is not shown.
fn shown(value: &Value) -> String {
    match value.as_str().and_then(|text| text.split_once("://")) {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, host)) => format!("\"{scheme}://…@{host}\""),
            None => value.to_string(),
        },
        None => value.to_string(),
    }
}

/// `site/transport/address` or `site/transport/address/advertised`.
fn read_listener_variable(text: &str) -> Option<Value> {
    let mut parts = text.split('/');
    let mut table = Table::new();
    for name in ["site", "transport", "address"] {
        table.insert(name.to_owned(), Value::String(parts.next()?.to_owned()));
    }
    if let Some(advertised) = parts.next() {
        table.insert("advertised".to_owned(), Value::String(advertised.to_owned()));
    }
    parts.next().is_none().then_some(Value::Table(table))
}

fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=40).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The name of this host, made fit for a node's name.
fn name_of_host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let first = host.trim().split('.').next().unwrap_or_default().to_lowercase();
    let fit: String =
        first.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    match fit.trim_matches('-') {
        "" => "tandem".to_owned(),
        fit => fit.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, SettingsError> {
        Settings::read(Some(("t.toml", text)), [])
    }

    fn read_variables(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(None, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_annotated_defaults_are_valid_settings() {
        let defaults = Settings::read(None, []).expect("valid");
        assert_eq!(defaults.portal.address, "127.0.0.1:8080".parse().expect("an address"));
        assert_eq!(defaults.database.url, None);
        assert_eq!(defaults.listeners.len(), 2);
        assert_eq!(format!("{:?}", read(DEFAULTS).expect("valid")), format!("{defaults:?}"));
    }

    #[test]
    fn the_file_wins_over_the_default_and_a_variable_over_the_file() {
        let file = "[portal]\naddress = \"127.0.0.1:81\"\n[metrics]\naddress = \"127.0.0.1:82\"";
        let variables = [("TANDEM_PORTAL_ADDRESS".to_owned(), "127.0.0.1:83".to_owned())];
        let settings = Settings::read(Some(("t.toml", file)), variables).expect("valid");
        assert_eq!((settings.portal.address.port(), settings.metrics.address.port()), (83, 82));
    }

    #[test]
    fn a_variable_sets_numbers_lists_and_listeners() {
        let settings = read_variables(&[
            ("TANDEM_FABRIC_MAX_CALLS", "7"),
            ("TANDEM_FABRIC_PROBES", "false"),
            ("TANDEM_ROLES", "portal"),
            ("TANDEM_DNS_SERVERS", "192.0.2.53, [2001:db8::53]:5353"),
            ("TANDEM_DNS_PRIVATE_ADDRESSES", "true"),
            ("TANDEM_TRACE_SAMPLE", "0.25"),
            ("TANDEM_LISTENER", "ams/udp/192.0.2.1:5060, ams/tcp/0.0.0.0:5060/203.0.113.1:5060"),
            ("TANDEM_TOKEN", "tdm_…"),
        ])
        .expect("valid");
        assert_eq!(
            settings.dns.servers,
            ["192.0.2.53:53", "[2001:db8::53]:5353"].map(|text| text.parse().expect("an address"))
        );
        assert!(settings.dns.private_addresses);
        assert_eq!((settings.fabric.max_calls, settings.trace.sample), (7, 0.25));
        assert_eq!(settings.roles, Roles { fabric: false, portal: true });
        assert_eq!(settings.listeners[1].advertised, Some("203.0.113.1:5060".parse().expect("an address")));
    }

    #[test]
    fn each_error_names_the_key_and_what_to_write() {
        let cases = [
            (
                "portal = 3",
                "t.toml: unknown key portal; there are data_dir, listener, node, roles, [database], [dns], [enum], [fabric], [history], [log], [metrics], [portability], [portal], [tls], [trace]",
            ),
            (
                "[portal]\nadress = \"x\"",
                "t.toml: unknown key portal.adress; [portal] has address, approval_moved_calls, approval_prefixes, challenge_caller, challenge_endpoint, proxies, public_url, realm, sti_trust_anchors",
            ),
            (
                "[portla]\naddress = \"x\"",
                "t.toml: unknown key portla.address; there are data_dir, listener, node, roles, [database], [dns], [enum], [fabric], [history], [log], [metrics], [portability], [portal], [tls], [trace]",
            ),
            (
                "[portal]\naddress = \"8080\"",
                "t.toml: portal.address is \"8080\"; write an IP address and a port, such as 127.0.0.1:8080",
            ),
            (
                "[portal]\npublic_url = \"portal.example\"",
                "t.toml: portal.public_url is \"portal.example\"; write a URL such as https://portal.example",
            ),
            (
                "[portal]\nrealm = \"My Exchange\"",
                "t.toml: portal.realm is \"My Exchange\"; write a domain in lower case, such as sip.exchange.example",
            ),
            (
                "[portal]\nchallenge_endpoint = \"telco\"",
                "t.toml: portal.challenge_endpoint is \"telco\"; write a member and its endpoint, such as \"telco/pstn-1\"",
            ),
            (
                "[portal]\nchallenge_caller = \"+331999\"",
                "default: portal.challenge_endpoint is \"\"; write a member and its endpoint, such as \"telco/pstn-1\"",
            ),
            (
                "[portal]\nchallenge_endpoint = \"telco/pstn-1\"\nchallenge_caller = \"+3319991234\"",
                "t.toml: portal.challenge_caller is \"+3319991234\"; write the first one to nine digits of numbers of your own, such as \"+331999\"",
            ),
            (
                "[portal]\nproxies = [\"here\"]",
                "t.toml: portal.proxies is [\"here\"]; write a list of address blocks, such as [\"127.0.0.1/32\"]",
            ),
            (
                "[fabric]\nmax_calls = \"many\"",
                "t.toml: fabric.max_calls is \"many\"; write a whole number from 1 to 1000000",
            ),
            (
                "[fabric]\nring_timeout_s = 0",
                "t.toml: fabric.ring_timeout_s is 0; write a whole number from 5 to 600",
            ),
            (
                "[dns]\nservers = [\"dns.example\"]",
                "t.toml: dns.servers is [\"dns.example\"]; write a list of addresses, such as [\"192.0.2.53\"]",
            ),
            (
                "[dns]\nprivate_addresses = \"no\"",
                "t.toml: dns.private_addresses is \"no\"; write true or false",
            ),
            (
                "[portability]\ndeltas = \"deltas\"",
                "default: portability.file is \"\"; write the path of the base that the deltas follow",
            ),
            (
                "[portability]\ndip = \"https://dips.example/{number}\"",
                "t.toml: portability.dip is \"https://dips.example/{number}\"; write a URL such as http://127.0.0.1:8090/numbers/{number} or enum://192.0.2.53:53/e164.arpa",
            ),
            (
                "[portability]\nfile = \"numbers.base\"\ndip = \"enum://192.0.2.53:53/e164.arpa\"",
                "t.toml: portability.dip is \"enum://192.0.2.53:53/e164.arpa\"; write nothing where portability.file has all ported numbers",
            ),
            ("[fabric]\ndrain_s = -1", "t.toml: fabric.drain_s is -1; write a whole number from 0 to 86400"),
            (
                "[trace]\nhep_transport = \"tls\"",
                "t.toml: trace.hep_transport is \"tls\"; write \"udp\" or \"tcp\"",
            ),
            (
                "[trace]\nhep = \"homer\"",
                "t.toml: trace.hep is \"homer\"; write a host and a port, such as homer.example:9060",
            ),
            (
                "[trace]\notlp = \"https://collector.example\"",
                "t.toml: trace.otlp is \"https://collector.example\"; write a URL such as http://127.0.0.1:4318",
            ),
            ("[trace]\nsample = 2", "t.toml: trace.sample is 2; write a share from 0.0, none, to 1.0, all"),
            (
                "node = \"Ams 1\"",
                "t.toml: node is \"Ams 1\"; write lower-case letters, digits and hyphens, such as ams-1",
            ),
            ("data_dir = \"\"", "t.toml: data_dir is \"\"; write a directory, such as /var/lib/tandem"),
            (
                "roles = [\"media\"]",
                "t.toml: roles is [\"media\"]; write [\"fabric\"], [\"portal\"] or [\"fabric\", \"portal\"]",
            ),
            (
                "roles = []",
                "t.toml: roles is []; write [\"fabric\"], [\"portal\"] or [\"fabric\", \"portal\"]",
            ),
            (
                "[database]\nurl = \"mysql://joe:secret@db/x\"",
                "t.toml: database.url is \"mysql://…@db/x\"; write a URL such as postgres://user:password@host/database",
            ),
            (
                "listener = []",
                "t.toml: listener is []; write at least one [[listener]], or leave \"fabric\" out of roles",
            ),
            (
                "listener = 3",
                "t.toml: listener is 3; write [[listener]] with two brackets, once for each listener",
            ),
            (
                "[[listener]]\nsite = \"ams\"\ntransport = \"udp\"",
                "t.toml: address of listener 1 is missing; write an IP address and a port, such as 192.0.2.10:5060",
            ),
            (
                "[[listener]]\nsite = \"ams\"\naddress = \"192.0.2.1:5060\"\ntransport = \"sctp\"",
                "t.toml: transport of listener 1 is \"sctp\"; write \"udp\", \"tcp\" or \"tls\"",
            ),
            (
                "[[listener]]\nsite = \"ams\"\naddress = \"0.0.0.0:5060\"\ntransport = \"udp\"",
                "t.toml: advertised of listener 1 is missing; write the address that members reach, since the listener takes any",
            ),
            (
                "[[listener]]\nsite = \"ams\"\naddres = \"192.0.2.1:5060\"\ntransport = \"udp\"",
                "t.toml: unknown key listener 1: addres; a [[listener]] has site, address, transport, advertised, public_name",
            ),
            ("[log]\nformat = \"xml\"", "t.toml: log.format is \"xml\"; write \"plain\" or \"json\""),
            (
                "[log]\nfilter = \"tandem=loud\"",
                "t.toml: log.filter is \"tandem=loud\"; write a level such as \"info\", or \"info,tandem_fabric=debug\"",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(read(text).expect_err(text).to_string(), message, "{text}");
        }
    }

    #[test]
    fn text_that_is_not_toml_is_refused_with_its_line() {
        let message = read("node = \"a\"\nportal = [").expect_err("not TOML").to_string();
        assert!(message.starts_with("t.toml is not TOML: TOML parse error at line 2"), "{message}");
    }

    #[test]
    fn an_unknown_variable_is_refused() {
        let message = read_variables(&[("TANDEM_DATABSE_URL", "x")]).expect_err("unknown").to_string();
        assert_eq!(
            message,
            "unknown environment variable TANDEM_DATABSE_URL; `tandem settings` lists every key"
        );
        let message = read_variables(&[("TANDEM_METRICS_ADDRESS", "x")]).expect_err("wrong").to_string();
        assert_eq!(
            message,
            "TANDEM_METRICS_ADDRESS: metrics.address is \"x\"; write an IP address and a port, such as 127.0.0.1:8080"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Settings::load(Some(Path::new("/nowhere/t.toml")), []).expect_err("missing");
        assert!(matches!(error, SettingsError::Unreadable { .. }), "{error}");
    }
}

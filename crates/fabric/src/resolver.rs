//! Keeps what the DNS names of endpoints lead to, on a thread of its own: calls read the outcome and never wait.
//!
//! It follows the route table: every enabled endpoint whose target is a name has it resolved, again before the
//! answers' time ends, and each outcome is swapped into the [`ServerSets`] that the workers read. However slow,
//! silent or wrong the DNS is, all that a call sees is the last outcome.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ahash::{AHashMap, AHashSet};
use hickory_resolver::config::{NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name as DnsName, RData, RecordType};
use hickory_resolver::{Resolver as Dns, TokioResolver};
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tandem_model::{Clock, Host, Target};
use tandem_routing::{RouteTable, SharedTable};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{Id, JoinSet};

use crate::name_cache::{NameCache, Reply};
use crate::resolution::{Naptr, Pending, Question, Reach, Record, RecordKind, Srv, Unresolved, resolve};
use crate::saved_names::{Present, SavedNames};
use crate::server_set::{ServerSet, ServerSets};
use crate::share::Common;

/// How names are resolved.
#[derive(Clone, Debug)]
pub struct DnsSettings {
    /// Servers to ask; those of /etc/resolv.conf where there are none.
    pub servers: Vec<SocketAddr>,
    /// How long a server may take to answer before it is asked again, or another one is.
    pub timeout: Duration,
    /// How long the last good answer is used while the DNS does not answer.
    pub max_stale: Duration,
    /// Whether a name may lead to private and loopback addresses.
    pub private_addresses: bool,
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            max_stale: Duration::from_secs(86_400),
            private_addresses: false,
        }
    }
}

/// Name of the thread.
const THREAD: &str = "tandem-dns";

/// How often the route table is looked at: each look wakes a thread, on a node that has nothing to do as well.
const LOOK: Duration = Duration::from_millis(250);

/// How long answers may wait to be saved, so that many are saved at once.
const SAVE_AFTER: Duration = Duration::from_secs(2);

/// Most names that are resolved.
const MAX_NAMES: usize = 10_000;

/// Most questions that may be on their way at once: names whose servers are silent must not keep others waiting.
const MAX_QUESTIONS: usize = 128;

/// How often a question is asked before it counts as failed.
const TRIES: usize = 2;

/// What the resolver counts.
#[derive(Clone)]
struct Metrics {
    questions: IntCounterVec,
    question_seconds: Histogram,
    names: IntGaugeVec,
    oldest_seconds: IntGauge,
}

impl Metrics {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            questions: IntCounterVec::new(
                Opts::new("tandem_dns_questions_total", "Questions to the DNS, by what came of them."),
                &["outcome"],
            )?,
            question_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "tandem_dns_question_seconds",
                    "How long the DNS takes to answer; no call waits for it.",
                )
                .buckets(prometheus::exponential_buckets(0.001, 2.0, 14)?),
            )?,
            names: IntGaugeVec::new(
                Opts::new(
                    "tandem_dns_names",
                    "Targets of endpoints that are DNS names, by what is known of them.",
                ),
                &["state"],
            )?,
            oldest_seconds: IntGauge::new(
                "tandem_dns_stale_seconds",
                "Age of the oldest answer that is used though the DNS does not confirm it any more.",
            )?,
        };
        registry.register(Box::new(metrics.questions.clone()))?;
        registry.register(Box::new(metrics.question_seconds.clone()))?;
        registry.register(Box::new(metrics.names.clone()))?;
        registry.register(Box::new(metrics.oldest_seconds.clone()))?;
        for outcome in ["answered", "empty", "failed"] {
            metrics.questions.with_label_values(&[outcome]);
        }
        for state in NameState::ALL {
            metrics.names.with_label_values(&[state.as_str()]);
        }
        Ok(metrics)
    }
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameState {
    /// It is being asked for the first time.
    Asking,
    /// The DNS confirms where it leads.
    Resolved,
    /// The last good answer is used.
    Stale,
    /// It leads nowhere.
    Unresolved,
}

impl NameState {
    const ALL: [Self; 4] = [Self::Asking, Self::Resolved, Self::Stale, Self::Unresolved];

    fn as_str(self) -> &'static str {
        match self {
            Self::Asking => "asking",
            Self::Resolved => "resolved",
            Self::Stale => "stale",
            Self::Unresolved => "unresolved",
        }
    }
}

/// One target that is a name.
#[derive(Debug)]
struct Name {
    cache: NameCache,
    /// Whether it is being resolved.
    is_asked: bool,
    outcome: Option<Result<Arc<ServerSet>, Unresolved>>,
    stale_since: Option<Instant>,
    /// When it is resolved next.
    due: Instant,
}

impl Name {
    fn state(&self) -> NameState {
        match (&self.outcome, self.stale_since) {
            (None, _) => NameState::Asking,
            (Some(Ok(_)), None) => NameState::Resolved,
            (Some(Ok(_)), Some(_)) => NameState::Stale,
            (Some(Err(_)), _) => NameState::Unresolved,
        }
    }
}

/// What a task brings back.
type Resolved = (NameCache, Result<ServerSet, Unresolved>);

/// How the node resolves names.
#[derive(Debug)]
pub(crate) struct ResolverSettings {
    /// What the operator decides.
    pub(crate) dns: DnsSettings,
    /// Where a name may lead.
    pub(crate) reach: Reach,
    /// Where answers are kept for the next start.
    pub(crate) saved: SavedNames,
}

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Resolver {
    _stop: oneshot::Sender<()>,
    _thread: JoinHandle<()>,
}

impl Resolver {
    /// Starts it.
    ///
    /// # Errors
    /// When the metrics are registered already, or there can be no thread.
    pub(crate) fn start(
        settings: ResolverSettings,
        table: SharedTable,
        common: Arc<Common>,
        clock: Arc<dyn Clock>,
        seed: [u8; 32],
        registry: &Registry,
    ) -> Result<Self, crate::node::StartError> {
        let metrics = Metrics::register(registry)?;
        let (stop, stopped) = oneshot::channel();
        let ResolverSettings { dns: settings, reach, saved } = settings;
        let thread = std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime needs only what the process has already");
            runtime.block_on(async {
                let before = saved.load(present(clock.as_ref()));
                let follower = Follower {
                    asker: Asker {
                        dns: connect_by(&settings),
                        permits: Arc::new(Semaphore::new(MAX_QUESTIONS)),
                        clock: clock.clone(),
                        metrics: metrics.clone(),
                        max_stale: settings.max_stale,
                        reach: Arc::new(reach),
                    },
                    seen: None,
                    table,
                    common,
                    clock,
                    rng: StdRng::from_seed(seed),
                    metrics,
                    names: AHashMap::new(),
                    saved,
                    before,
                    save_at: None,
                    asking: JoinSet::new(),
                    asked: AHashMap::new(),
                };
                follower.run(stopped).await;
            });
        });
        Ok(Self { _stop: stop, _thread: thread.map_err(crate::node::StartError::Thread)? })
    }
}

/// Where the system says which DNS servers to ask (resolv.conf(5)).
const SYSTEM_SERVERS: &str = "/etc/resolv.conf";

/// Port of the DNS (RFC 1035 §4.2).
const PORT: u16 = 53;

/// The servers that a resolv.conf names.
fn system_servers(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let ip = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        Some(SocketAddr::new(ip.parse().ok()?, PORT))
    });
    servers.collect()
}

/// The means to ask. With no server to ask every question fails, which is told in the log and by the metrics: it is
/// no reason to carry no calls.
fn connect_by(settings: &DnsSettings) -> Option<TokioResolver> {
    let servers = match settings.servers.is_empty() {
        true => system_servers(&std::fs::read_to_string(SYSTEM_SERVERS).unwrap_or_default()),
        false => settings.servers.clone(),
    };
    if servers.is_empty() {
        tracing::warn!(
            "{SYSTEM_SERVERS} names no DNS server; set dns.servers if endpoints are to have DNS names"
        );
        return None;
    }
    connect(&servers, settings.timeout)
}

/// The means to ask these servers, each of which may take so long.
pub(crate) fn connect(servers: &[SocketAddr], timeout: Duration) -> Option<TokioResolver> {
    let servers = servers.iter().map(name_server).collect();
    let provider = TokioRuntimeProvider::default();
    let mut builder = Dns::builder_with_config(ResolverConfig::from_name_servers(servers), provider);
    let options = builder.options_mut();
    options.timeout = timeout;
    options.attempts = TRIES;
    options.max_active_requests = MAX_QUESTIONS;
    // What is kept for how long is decided here, and a name means what the DNS says.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.preserve_intermediates = false;
    builder.build().inspect_err(|error| tracing::error!(%error, "cannot ask the DNS")).ok()
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        if matches!(connection.protocol, ProtocolConfig::Udp | ProtocolConfig::Tcp) {
            connection.port = address.port();
        }
    }
    server
}

/// Follows the route table.
struct Follower {
    asker: Asker,
    /// The table that `names` are of.
    seen: Option<Arc<RouteTable>>,
    table: SharedTable,
    common: Arc<Common>,
    clock: Arc<dyn Clock>,
    rng: StdRng,
    metrics: Metrics,
    names: AHashMap<Target, Name>,
    saved: SavedNames,
    /// What was answered before the node was started, of names that no table had yet.
    before: AHashMap<Target, NameCache>,
    /// When the answers are saved next; `None` where all are.
    save_at: Option<Instant>,
    asking: JoinSet<Resolved>,
    asked: AHashMap<Id, Target>,
}

impl Follower {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            let mut is_changed = false;
            tokio::select! {
                _ = &mut stopped => return,
                _ = looks.tick() => {
                    is_changed |= self.follow_table();
                    self.ask_due();
                    self.save_due();
                    self.observe();
                }
                Some(done) = self.asking.join_next_with_id(), if !self.asking.is_empty() => {
                    is_changed |= self.take(done);
                }
            }
            while let Some(done) = self.asking.try_join_next_with_id() {
                is_changed |= self.take(done);
            }
            if is_changed {
                self.publish();
            }
        }
    }

    /// Takes up the names of the newest table, and says whether calls are to see another outcome: one is gone, or one is
    /// known from before.
    fn follow_table(&mut self) -> bool {
        let table = self.table.load_full();
        if self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &table)) {
            return false;
        }
        let wanted: AHashSet<&Target> = table
            .endpoints()
            .filter(|endpoint| endpoint.enabled && matches!(endpoint.target.host, Host::Name(_)))
            .map(|endpoint| &endpoint.target)
            .collect();
        let before = self.names.len();
        self.names.retain(|target, _| wanted.contains(target));
        let mut is_changed = self.names.len() < before;
        let due = self.clock.instant();
        for target in &wanted {
            if self.names.len() < MAX_NAMES && !self.names.contains_key(*target) {
                let cache = self.before.remove(*target).unwrap_or_default();
                let outcome = self.asker.recall(target, &cache);
                let stale_since = outcome.as_ref().and_then(|_| cache.answers().map(|(.., at)| at).min());
                if let Some(Ok(servers)) = &outcome {
                    is_changed = true;
                    tracing::info!(%target, %servers, "where the name led before the start, until the DNS answers");
                }
                let name = Name { cache, is_asked: false, outcome, stale_since, due };
                self.names.insert((*target).clone(), name);
            }
        }
        if wanted.len() > self.names.len() {
            tracing::error!(
                names = wanted.len(),
                limit = MAX_NAMES,
                "too many endpoints have DNS names; some are not resolved"
            );
        }
        drop(wanted);
        self.seen = Some(table);
        is_changed
    }

    /// Begins to resolve every name that is due.
    fn ask_due(&mut self) {
        let now = self.clock.instant();
        for (target, name) in &mut self.names {
            if now < name.due || name.is_asked {
                continue;
            }
            name.is_asked = true;
            let task = self.asker.clone().resolve(target.clone(), name.cache.clone(), self.rng.random());
            let id = self.asking.spawn(task).id();
            self.asked.insert(id, target.clone());
        }
    }

    /// Takes what came of a name, and says whether it leads elsewhere now.
    fn take(&mut self, done: Result<(Id, Resolved), tokio::task::JoinError>) -> bool {
        let (id, resolved) = match done {
            Ok((id, resolved)) => (id, Some(resolved)),
            Err(error) => {
                tracing::error!(%error, "a bug: resolving a name panicked");
                (error.id(), None)
            }
        };
        let Some(target) = self.asked.remove(&id) else { return false };
        // The endpoint may be gone meanwhile.
        let Some(name) = self.names.get_mut(&target) else { return false };
        let (cache, outcome) =
            resolved.unwrap_or_else(|| (NameCache::default(), Err(Unresolved::Unanswered)));
        let before = name.state();
        let outcome = outcome.map(Arc::new);
        let is_changed = name.outcome.as_ref() != Some(&outcome);
        name.due = cache.ask_at().unwrap_or_else(|| self.clock.instant() + crate::name_cache::MIN_TTL);
        name.stale_since = cache.stale_since();
        name.cache = cache;
        name.is_asked = false;
        name.outcome = Some(outcome);
        self.save_at.get_or_insert_with(|| self.clock.instant() + SAVE_AFTER);
        if is_changed || name.state() != before {
            tell(&target, name);
        }
        is_changed
    }

    /// Saves the answers, some time after one has come.
    fn save_due(&mut self) {
        let now = present(self.clock.as_ref());
        if self.save_at.is_some_and(|at| at <= now.instant) {
            self.save_at = None;
            let names = self.names.iter().map(|(target, name)| (target, &name.cache));
            if let Err(error) = self.saved.save(names, now) {
                tracing::warn!(%error, "cannot save what the DNS answered; a restart would have to wait for it");
            }
        }
    }

    /// Lets calls see what names lead to.
    fn publish(&self) {
        let known = self.names.iter().filter_map(|(target, name)| {
            let outcome = name.outcome.clone()?;
            Some((target.clone(), outcome.map_err(Unresolved::reason)))
        });
        self.common.server_sets.store(Arc::new(ServerSets::new(known.collect())));
    }

    fn observe(&self) {
        let now = self.clock.instant();
        let mut counts = [0; NameState::ALL.len()];
        let mut oldest = Duration::ZERO;
        for name in self.names.values() {
            counts[name.state() as usize] += 1;
            if let Some(since) = name.stale_since {
                oldest = oldest.max(now.saturating_duration_since(since));
            }
        }
        for (state, count) in NameState::ALL.into_iter().zip(counts) {
            self.metrics.names.with_label_values(&[state.as_str()]).set(count);
        }
        self.metrics.oldest_seconds.set(oldest.as_secs() as i64);
    }
}

/// Logs what is new about a name.
fn tell(target: &Target, name: &Name) {
    match (&name.outcome, name.state()) {
        (Some(Ok(servers)), NameState::Stale) => {
            tracing::warn!(%target, %servers, "the DNS does not answer; the last good answer is used");
        }
        (Some(Ok(servers)), _) => tracing::info!(%target, %servers, "resolved"),
        (Some(Err(why)), _) => tracing::warn!(%target, %why, reason = why.reason().code(), "cannot resolve"),
        (None, _) => {}
    }
}

/// Resolves one name, in a task of its own.
#[derive(Clone)]
struct Asker {
    dns: Option<TokioResolver>,
    permits: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    max_stale: Duration,
    reach: Arc<Reach>,
}

impl Asker {
    /// Where a name leads by what was answered last, if that says it all.
    fn recall(&self, target: &Target, cache: &NameCache) -> Option<Result<Arc<ServerSet>, Unresolved>> {
        let now = self.clock.instant();
        let answers = |question: &Question| cache.last_answer(question, now, self.max_stale);
        resolve(target, &self.reach, answers).ok().map(|servers| Ok(Arc::new(servers)))
    }

    async fn resolve(self, target: Target, mut cache: NameCache, seed: u64) -> Resolved {
        let mut rng = StdRng::seed_from_u64(seed);
        let now = self.clock.instant();
        let used = RefCell::new(AHashSet::new());
        let outcome = loop {
            let answers = |question: &Question| {
                used.borrow_mut().insert(question.clone());
                cache.answer(question, now)
            };
            let questions = match resolve(&target, &self.reach, answers) {
                Ok(servers) => break Ok(servers),
                // The records of a name are renewed one by one: an SRV record may name a host that is gone since.
                Err(Pending::Never(Unresolved::NoAddress)) if cache.ask_again(now) => continue,
                Err(Pending::Never(why)) => break Err(why),
                Err(Pending::Ask(questions)) => questions,
            };
            // Each is answered or failed for longer than until `now`, so that it is asked once.
            let mut replies = JoinSet::new();
            for question in questions {
                let asker = self.clone();
                replies.spawn(async move { (asker.ask(&question).await, question) });
            }
            while let Some(replied) = replies.join_next().await {
                let (reply, question) = replied.expect("a panic of the library ends this name's task only");
                cache.note(question, reply, self.clock.instant(), rng.random(), self.max_stale);
            }
        };
        cache.keep_only(&used.into_inner());
        (cache, outcome)
    }

    async fn ask(&self, question: &Question) -> Reply {
        let _permit = self.permits.acquire().await;
        let started = self.clock.instant();
        let reply = match (&self.dns, DnsName::from_ascii(format!("{}.", question.name))) {
            (Some(dns), Ok(name)) => read(question.kind, dns.lookup(name, record_type(question.kind)).await),
            // What a record names may be no name.
            (Some(_), Err(_)) => Reply::Nothing(None),
            (None, _) => Reply::Failed,
        };
        let outcome = match &reply {
            Reply::Records(..) => "answered",
            Reply::Nothing(_) => "empty",
            Reply::Failed => "failed",
        };
        self.metrics.questions.with_label_values(&[outcome]).inc();
        let took = self.clock.instant().saturating_duration_since(started);
        self.metrics.question_seconds.observe(took.as_secs_f64());
        tracing::debug!(?question, ?reply, "asked the DNS");
        reply
    }
}

fn present(clock: &dyn Clock) -> Present {
    Present { instant: clock.instant(), utc: clock.now() }
}

fn record_type(kind: RecordKind) -> RecordType {
    match kind {
        RecordKind::Naptr => RecordType::NAPTR,
        RecordKind::Srv => RecordType::SRV,
        RecordKind::A => RecordType::A,
        RecordKind::Aaaa => RecordType::AAAA,
    }
}

fn read(kind: RecordKind, looked_up: Result<Lookup, NetError>) -> Reply {
    let lookup = match looked_up {
        Ok(lookup) => lookup,
        Err(NetError::Dns(DnsError::NoRecordsFound(none)))
            if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
        {
            return Reply::Nothing(none.negative_ttl.map(|ttl| Duration::from_secs(ttl.into())));
        }
        Err(_) => return Reply::Failed,
    };
    // Those of the aliases on the way count too.
    let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
    let ttl = Duration::from_secs(ttl.into());
    let records = lookup.answers().iter().filter_map(|record| match (kind, &record.data) {
        (RecordKind::Naptr, RData::NAPTR(naptr)) => Some(Record::Naptr(Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: text(&naptr.flags),
            services: text(&naptr.services),
            replacement: name_text(&naptr.replacement),
        })),
        (RecordKind::Srv, RData::SRV(srv)) => Some(Record::Srv(Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            host: name_text(&srv.target),
        })),
        (RecordKind::A, RData::A(address)) => Some(Record::Address(address.0.into())),
        (RecordKind::Aaaa, RData::AAAA(address)) => Some(Record::Address(address.0.into())),
        _ => None,
    });
    let records: Vec<Record> = records.collect();
    match records.is_empty() {
        true => Reply::Nothing(Some(ttl)),
        false => Reply::Records(records, ttl),
    }
}

fn text(octets: &[u8]) -> Box<str> {
    String::from_utf8_lossy(octets).into()
}

fn name_text(name: &DnsName) -> Box<str> {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_of_the_system_are_read_and_the_rest_of_the_file_is_passed_over() {
        let text = "# by hand\nsearch acme.example\nnameserver 192.0.2.53\n nameserver\t2001:db8::53 # two\n\
                    nameserver fe80::1%eth0\nnameservers 192.0.2.1\noptions timeout:1\nnameserver\n";
        let servers = ["192.0.2.53:53", "[2001:db8::53]:53"].map(|text| text.parse().unwrap());
        assert_eq!(system_servers(text), servers);
    }
}

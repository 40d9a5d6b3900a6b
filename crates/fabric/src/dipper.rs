//! Asks a service whether called numbers are ported, where the node holds no ported numbers of its own: by HTTP, or by ENUM
//! with the records of RFC 4769.
//!
//! A worker never waits: it reads what was answered lately, or hands the question to the thread here and puts the call aside,
//! which goes on when the answer is brought to the worker, or at its deadline without one. An answer that comes after that
//! is there for the next call. Questions of several calls for one number are one.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::NAPTR;
use hickory_resolver::proto::rr::{RData, RecordType};
use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};
use serde::Deserialize;
use tandem_model::{Clock, E164, NumberPolicy, RoutingNumber};
use tandem_routing::{Dip, DipSource};
use tandem_sip::Uri;
use tokio::sync::mpsc;
use tokio::task::{self, JoinSet};

use crate::call::CallKey;
use crate::outbox::Parcel;
use crate::resolver;
use crate::routing_number;
use crate::timer::{CallTimer, Wake};
use crate::worker::{Now, Worker};

/// How a service is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DipSettings {
    /// Whom.
    pub service: DipService,
    /// How long a call waits for the answer.
    pub deadline: Duration,
    /// How long an answer is used.
    pub ttl: Duration,
}

/// Who says whether a number is ported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DipService {
    /// An HTTP server. `{number}` in the URL stands for the number.
    Http(String),
    /// A DNS server that knows numbers under a domain.
    Enum {
        /// The server.
        server: SocketAddr,
        /// The domain, such as `e164.arpa`.
        suffix: String,
    },
}

/// Name of the thread.
const THREAD: &str = "tandem-dip";

/// Most answers that are kept.
const MAX_ANSWERS: usize = 1_000_000;

/// Most questions that are asked at once.
const MAX_ASKED: usize = 256;

/// Most questions that wait to be asked.
const MAX_WAITING: usize = 4_096;

/// How long the service may take: longer than a call waits, so that the answer is there for the next one.
const GIVE_UP: Duration = Duration::from_secs(2);

/// Most octets of an answer by HTTP.
const MAX_BODY: usize = 4_096;

/// What a look-up that was not answered in time is for the call: it goes by its called number.
pub(crate) const UNANSWERED: Dip = Dip { rn: None, source: DipSource::Unanswered };

/// A worker's call that waits for an answer.
pub(crate) type Waiter = (u8, CallKey);

/// The number that is asked for, and which call waits, if one does.
pub(crate) type Question = (E164, Option<Waiter>);

#[derive(Clone)]
struct Metrics {
    dips: IntCounterVec,
    seconds: Histogram,
}

impl Metrics {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let help = "Look-ups of called numbers by the service for ported numbers, by what came of them.";
        let dips = IntCounterVec::new(Opts::new("tandem_dips_total", help), &["outcome"])?;
        let help = "How long the service for ported numbers takes to answer.";
        let seconds = HistogramOpts::new("tandem_dip_seconds", help);
        let seconds =
            Histogram::with_opts(seconds.buckets(prometheus::exponential_buckets(0.001, 2.0, 12)?))?;
        registry.register(Box::new(dips.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        for outcome in ["remembered", "ported", "not_ported", "failed", "too_many", "late"] {
            dips.with_label_values(&[outcome]);
        }
        Ok(Self { dips, seconds })
    }

    fn count(&self, outcome: &str) {
        self.dips.with_label_values(&[outcome]).inc();
    }
}

/// What a worker asks by. `clone` copies pointers.
#[derive(Clone)]
pub(crate) struct Dipper {
    /// How long a call waits.
    pub(crate) deadline: Duration,
    answers: Arc<Mutex<Answers>>,
    questions: mpsc::Sender<Question>,
    metrics: Metrics,
}

impl Dipper {
    /// One that hands its questions to whoever has the other end.
    pub(crate) fn new(
        deadline: Duration,
        registry: &Registry,
    ) -> prometheus::Result<(Self, mpsc::Receiver<Question>)> {
        let (questions, asked) = mpsc::channel(MAX_WAITING);
        let answers = Arc::new(Mutex::new(Answers::new(MAX_ANSWERS)));
        Ok((Self { deadline, answers, questions, metrics: Metrics::register(registry)? }, asked))
    }

    /// What is known of a number; `None` where it was asked and the waiter will be told.
    pub(crate) fn look_up(&self, number: E164, waiter: Option<Waiter>, now: Instant) -> Option<Dip> {
        if let Some(rn) = self.answers().get(number, now) {
            self.metrics.count("remembered");
            return Some(Dip { rn, source: DipSource::Service });
        }
        match self.questions.try_send((number, waiter)) {
            Ok(()) => None,
            Err(_) => {
                self.metrics.count("too_many");
                Some(UNANSWERED)
            }
        }
    }

    /// A call went on without the answer.
    pub(crate) fn note_late(&self) {
        self.metrics.count("late");
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// Has a called number looked up by the service, where there is one; true where the call waits for it now.
    pub(crate) fn await_dip(&mut self, now: Now, key: CallKey, called: E164) -> bool {
        let Some(dipper) = &self.dipper else { return false };
        let deadline = now.instant + dipper.deadline;
        if let Some(dip) = dipper.look_up(called, Some((self.share.index, key)), now.instant) {
            self.route(now, key, called, Some(dip));
            return true;
        }
        let call = &mut self.calls[key];
        call.awaits = Some(called);
        self.wire.timers.replace(&mut call.timers.step, deadline, Wake::Call(key, CallTimer::Dip));
        true
    }

    /// What the service has said of a number lately, for what does not wait; else it is asked for the next time.
    pub(crate) fn recall_dip(&self, now: Now, called: E164) -> Option<Dip> {
        let dipper = self.dipper.as_ref()?;
        Some(dipper.look_up(called, None, now.instant).unwrap_or(UNANSWERED))
    }

    /// The service has answered, or cannot.
    pub(crate) fn dipped(&mut self, now: Now, key: CallKey, number: E164, dip: Dip) {
        // The call may be over, or have gone on meanwhile.
        if self.calls.get(key).is_some_and(|call| call.awaits == Some(number)) {
            self.handle(key);
            self.calls[key].awaits = None;
            self.route(now, key, number, Some(dip));
        }
    }

    /// The service has not answered in time: the called number decides.
    pub(crate) fn dip_late(&mut self, now: Now, key: CallKey) {
        if let Some(called) = self.calls[key].awaits.take() {
            self.dipper.iter().for_each(Dipper::note_late);
            self.route(now, key, called, Some(UNANSWERED));
        }
    }
}

/// What was answered lately: of so many numbers at least half, the newest.
struct Answers {
    most: usize,
    newer: AHashMap<E164, Answer>,
    older: AHashMap<E164, Answer>,
}

#[derive(Clone, Copy)]
struct Answer {
    rn: Option<RoutingNumber>,
    until: Instant,
}

impl Answers {
    fn new(most: usize) -> Self {
        Self { most, newer: AHashMap::new(), older: AHashMap::new() }
    }

    fn get(&self, number: E164, now: Instant) -> Option<Option<RoutingNumber>> {
        let answer = self.newer.get(&number).or_else(|| self.older.get(&number))?;
        (now < answer.until).then_some(answer.rn)
    }

    fn put(&mut self, number: E164, answer: Answer) {
        if self.newer.len() >= self.most / 2 {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(number, answer);
    }
}

/// The thread; it ends when the last [`Dipper`] is gone.
#[derive(Debug)]
pub(crate) struct DipThread {
    _thread: JoinHandle<()>,
}

impl DipThread {
    /// Starts it; answers go to the mailboxes of the workers.
    pub(crate) fn start(
        settings: DipSettings,
        dipper: &Dipper,
        questions: mpsc::Receiver<Question>,
        workers: Vec<mpsc::Sender<Parcel>>,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let asker = Asker {
            ttl: settings.ttl,
            answers: dipper.answers.clone(),
            metrics: dipper.metrics.clone(),
            clock,
            workers,
            waiting: AHashMap::new(),
            asking: JoinSet::new(),
            asked: AHashMap::new(),
        };
        let thread = std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime needs only what the process has already");
            runtime.block_on(async {
                asker.run(Arc::new(Service::connect(&settings.service)), questions).await
            });
        });
        Ok(Self { _thread: thread? })
    }
}

/// What the service says of a number, and how long it may be used; nothing where it does not answer as it should.
type Reply = Option<(Option<RoutingNumber>, Option<Duration>)>;

struct Asker {
    ttl: Duration,
    answers: Arc<Mutex<Answers>>,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    workers: Vec<mpsc::Sender<Parcel>>,
    /// Who waits for which number.
    waiting: AHashMap<E164, Vec<Waiter>>,
    asking: JoinSet<Reply>,
    /// Which number each of those asks for.
    asked: AHashMap<task::Id, E164>,
}

impl Asker {
    async fn run(mut self, service: Arc<Service>, mut questions: mpsc::Receiver<Question>) {
        loop {
            let has_room = self.asking.len() < MAX_ASKED;
            tokio::select! {
                question = questions.recv(), if has_room => match question {
                    Some((number, waiter)) => {
                        let service = service.clone();
                        self.ask(number, waiter, async move { service.ask(number).await });
                    }
                    None => return,
                },
                () = self.take_next(), if !self.asking.is_empty() => {}
            }
        }
    }

    /// Takes the next answer there is. One that never comes, as asking panicked, is none: the number can be asked for again.
    async fn take_next(&mut self) {
        let Some(done) = self.asking.join_next_with_id().await else { return };
        let (task, reply) = match done {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "a bug: asking for a number panicked");
                (error.id(), None)
            }
        };
        if let Some(number) = self.asked.remove(&task) {
            self.take(number, reply);
        }
    }

    fn ask(
        &mut self,
        number: E164,
        waiter: Option<Waiter>,
        answer: impl Future<Output = Reply> + Send + 'static,
    ) {
        if let Some(waiting) = self.waiting.get_mut(&number) {
            waiting.extend(waiter);
            return;
        }
        self.waiting.insert(number, waiter.into_iter().collect());
        let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
        let task = self.asking.spawn(async move {
            let asked = clock.instant();
            let reply = tokio::time::timeout(GIVE_UP, answer).await.ok().flatten();
            metrics.seconds.observe(clock.instant().saturating_duration_since(asked).as_secs_f64());
            reply
        });
        self.asked.insert(task.id(), number);
    }

    fn take(&mut self, number: E164, reply: Reply) {
        let dip = match reply {
            Some((rn, ttl)) => {
                let ttl = ttl.map_or(self.ttl, |ttl| ttl.min(self.ttl));
                let answer = Answer { rn, until: self.clock.instant() + ttl };
                self.answers.lock().unwrap_or_else(PoisonError::into_inner).put(number, answer);
                self.metrics.count(if rn.is_some() { "ported" } else { "not_ported" });
                Dip { rn, source: DipSource::Service }
            }
            None => {
                self.metrics.count("failed");
                UNANSWERED
            }
        };
        for (worker, call) in self.waiting.remove(&number).unwrap_or_default() {
            // Where it finds no room the call goes on at its deadline.
            let _ = self.workers[usize::from(worker)].try_send(Parcel::Dipped { call, number, dip });
        }
    }
}

/// How the thread asks.
enum Service {
    Http { client: reqwest::Client, url: String },
    Enum { dns: Option<Box<TokioResolver>>, suffix: String },
}

/// What an HTTP server answers with.
#[derive(Deserialize)]
struct Body {
    routing_number: Option<RoutingNumber>,
}

impl Service {
    fn connect(service: &DipService) -> Self {
        match service {
            DipService::Http(url) => {
                let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
                let client = client.no_proxy().build().expect("a client without TLS needs nothing");
                Self::Http { client, url: url.clone() }
            }
            DipService::Enum { server, suffix } => {
                let dns = resolver::connect(&[*server], GIVE_UP / 2).map(Box::new);
                Self::Enum { dns, suffix: suffix.clone() }
            }
        }
    }

    async fn ask(&self, number: E164) -> Reply {
        match self {
            Self::Http { client, url } => {
                let url = url.replace("{number}", &format!("%2B{}", number.digits()));
                let mut response = client.get(url).send().await.ok()?;
                match response.status().as_u16() {
                    200 => {}
                    404 => return Some((None, None)),
                    status => {
                        tracing::debug!(status, "the service for ported numbers does not answer");
                        return None;
                    }
                }
                let mut body = Vec::new();
                while let Some(chunk) = response.chunk().await.ok()? {
                    body.extend_from_slice(&chunk);
                    if body.len() > MAX_BODY {
                        return None;
                    }
                }
                serde_json::from_slice(&body).ok().map(|Body { routing_number }| (routing_number, None))
            }
            Self::Enum { dns, suffix } => {
                let digits = number.digits();
                let mut name = String::with_capacity(digits.len() * 2 + suffix.len() + 1);
                digits.chars().rev().for_each(|digit| name.extend([digit, '.']));
                name += suffix.trim_end_matches('.');
                name.push('.');
                match dns.as_ref()?.lookup(name, RecordType::NAPTR).await {
                    Ok(lookup) => {
                        let naptrs = lookup.answers().iter().filter_map(|record| match &record.data {
                            RData::NAPTR(naptr) => Some(naptr),
                            _ => None,
                        });
                        let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
                        Some((read_naptrs(naptrs)?, Some(Duration::from_secs(ttl.into()))))
                    }
                    Err(NetError::Dns(DnsError::NoRecordsFound(none)))
                        if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
                    {
                        Some((None, none.negative_ttl.map(|ttl| Duration::from_secs(ttl.into()))))
                    }
                    Err(_) => None,
                }
            }
        }
    }
}

/// The routing number in the first record about the telephone network (RFC 4769 §3), or that the number has none; nothing
/// where it cannot be read.
fn read_naptrs<'a>(naptrs: impl Iterator<Item = &'a NAPTR>) -> Option<Option<RoutingNumber>> {
    let is_pstn = |naptr: &&NAPTR| {
        let services = naptr.services.to_ascii_lowercase();
        services.split(|&octet| octet == b'+').any(|service| service.starts_with(b"pstn"))
            && naptr.flags.eq_ignore_ascii_case(b"u")
    };
    let Some(naptr) = naptrs.filter(is_pstn).min_by_key(|naptr| (naptr.order, naptr.preference)) else {
        return Some(None);
    };
    // Delimiter, expression, delimiter, URI, delimiter (RFC 3402 §3.2); the expression stands for the whole number.
    let (delimiter, rest) = naptr.regexp.split_first()?;
    let uri = rest.split(|octet| octet == delimiter).nth(1)?;
    let believed = NumberPolicy { routing_number: true, ..NumberPolicy::default() };
    match routing_number::read(&Uri::parse(uri).ok()?, &believed) {
        Some(read) => read.ok().map(|dip| dip.rn),
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::Name;

    use super::*;

    fn number(n: u64) -> E164 {
        E164::from_value(442_079_460_000 + n).unwrap()
    }

    #[test]
    fn answers_are_used_for_their_time_and_the_oldest_give_way() {
        #[allow(clippy::disallowed_methods)] // Any instant will do.
        let now = Instant::now();
        let mut answers = Answers::new(10);
        let rn = |n: u64| RoutingNumber::from_value(4400 + n).ok();
        for n in 0..100 {
            answers.put(number(n), Answer { rn: rn(n), until: now + Duration::from_secs(n) });
            assert!(answers.newer.len() + answers.older.len() <= 10);
        }
        assert_eq!(answers.get(number(99), now), Some(rn(99)));
        assert_eq!(answers.get(number(95), now + Duration::from_secs(95)), None);
        assert_eq!(answers.get(number(10), now), None);
    }

    #[tokio::test]
    async fn a_number_for_which_asking_has_panicked_is_asked_for_again() {
        let (mailbox, mut mail) = mpsc::channel(8);
        let mut asker = Asker {
            ttl: Duration::from_secs(60),
            answers: Arc::new(Mutex::new(Answers::new(10))),
            metrics: Metrics::register(&Registry::new()).unwrap(),
            clock: Arc::new(tandem_testkit::ManualClock::new()),
            workers: vec![mailbox],
            waiting: AHashMap::new(),
            asking: JoinSet::new(),
            asked: AHashMap::new(),
        };
        let waiter = Some((0, CallKey::default()));
        asker.ask(number(1), waiter, async { panic!("as a bug would") });
        asker.take_next().await;
        let rn = RoutingNumber::from_value(4400).ok();
        asker.ask(number(1), waiter, async move { Some((rn, None)) });
        asker.take_next().await;
        for expected in [UNANSWERED, Dip { rn, source: DipSource::Service }] {
            let Some(Parcel::Dipped { dip, .. }) = mail.recv().await else { panic!("the call hears of it") };
            assert_eq!(dip, expected);
        }
    }

    #[test]
    fn the_routing_number_of_an_enum_record_is_read() {
        let naptr = |order, services: &str, regexp: &str| {
            let octets = |text: &str| text.as_bytes().to_vec().into_boxed_slice();
            NAPTR::new(order, 10, octets("u"), octets(services), octets(regexp), Name::root())
        };
        let read = |naptrs: &[NAPTR]| read_naptrs(naptrs.iter());
        let rn = |text: &str| Some(Some(text.parse::<RoutingNumber>().unwrap()));
        let ported = naptr(20, "E2U+pstn:tel", "!^.*$!tel:+12155550100;npdi;rn=+12155550199!");
        let sip = naptr(10, "E2U+sip", "!^.*$!sip:bob@example.com!");
        assert_eq!(read(&[ported.clone(), sip.clone()]), rn("+12155550199"));
        let first = naptr(10, "E2U+pstn:sip", "!^.*$!sip:+12155550100;npdi;rn=+12155550188@h;user=phone!");
        assert_eq!(read(&[ported, first]), rn("+12155550188"));
        assert_eq!(read(&[naptr(1, "E2U+pstn:tel", "!^.*$!tel:+12155550100;npdi!")]), Some(None));
        assert_eq!(read(&[sip]), Some(None));
        assert_eq!(read(&[]), Some(None));
        for broken in ["", "!", "!^.*$!", "!^.*$!nothing!", "!^.*$!tel:+1215;npdi;rn=x!"] {
            assert_eq!(read(&[naptr(1, "E2U+pstn:tel", broken)]), None, "{broken}");
        }
    }
}

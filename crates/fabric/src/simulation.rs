//! Call flows through a worker, in simulated time: members are scripted, the network is a list.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tandem_model::{
    Agreement, AgreementDirection, AgreementId, AgreementState, Announcement, AnnouncementId, Authority,
    CallLimits, Cdr, Endpoint, EndpointId, Facts, Member, MemberId, MemberState, NodeId, Outcome, Policy,
    Profile, Range, RangeId, Reason, SessionPolicy, Source, Transport, Validity,
};
use tandem_routing::{RouteTable, SharedTable, shared};
use tandem_sip::Message;
use tandem_sip::judge;
use uuid::Uuid;

use crate::journal::{self, Journal, Position};
use crate::metrics::Metrics;
use crate::outbox::{Flow, Parcel};
use crate::overload::EmergencyNumbers;
use crate::record::Record;
use crate::share::Share;
use crate::tracer::Tracer;
use crate::worker::{Local, Now, Worker, WorkerSettings};

use disk::Disk;

mod advance;
mod agent;
mod cause;
mod challenge;
mod crash;
mod direct;
mod disk;
mod early;
mod enum_answers;
mod guard;
mod health;
mod interop;
mod large_request;
mod limits;
mod names;
mod offers;
mod outbound;
mod overload;
mod own_name;
mod passes;
mod random;
mod recovery;
mod redirect;
mod registration;
mod requests;
mod ringing;
mod routing_numbers;
mod session;
mod sharing;
mod strangers;
mod traces;
mod transport;
mod trust;
mod up;

const HUB: &str = "192.0.2.100:5060";
const ACME: &str = "192.0.2.1:5060";
/// Tried first.
const GLOBEX: &str = "192.0.2.2:5060";
/// Tried second.
const GLOBEX_2: &str = "192.0.2.3:5060";
const STRANGER: &str = "203.0.113.9:5060";

const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.50\r\ns=-\r\nc=IN IP4 192.0.2.50\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

fn id<T: From<Uuid>>(n: u128) -> T {
    T::from(Uuid::from_u128(n))
}

fn long_ago() -> Validity {
    Validity { from: DateTime::UNIX_EPOCH, until: None }
}

fn endpoint(n: u128, member: u128, address: &str, priority: u16, max_calls: Option<u32>) -> Endpoint {
    let ip = address.split(':').next().unwrap();
    Endpoint {
        endpoint_id: id(n),
        member_id: id(member),
        name: format!("endpoint-{n}"),
        sources: vec![Source { net: format!("{ip}/32").parse().unwrap(), port: None }],
        call_mark: None,
        certificate_names: Vec::new(),
        target: format!("sip:{address}").parse().unwrap(),
        access: tandem_model::Access::default(),
        priority,
        weight: 1,
        max_calls,
        max_calls_per_second: None,
        enabled: true,
        policy: Policy::default(),
        sites: Vec::new(),
    }
}

/// acme and globex with an agreement; globex announces +4420 on two endpoints.
fn facts() -> Facts {
    let member = |n: u128, name: &str| Member {
        member_id: id::<MemberId>(n),
        name: name.into(),
        state: MemberState::Approved,
        limits: CallLimits::NONE,
    };
    Facts {
        position: 1,
        members: vec![member(1, "acme"), member(2, "globex")],
        endpoints: vec![
            endpoint(11, 1, ACME, 1, Some(2)),
            endpoint(21, 2, GLOBEX, 1, None),
            endpoint(22, 2, GLOBEX_2, 2, None),
        ],
        ranges: vec![Range {
            range_id: id::<RangeId>(31),
            member_id: id(2),
            prefix: "+4420".parse().unwrap(),
            authority: Authority::Valid,
            validity: long_ago(),
        }],
        announcements: vec![Announcement {
            announcement_id: id::<AnnouncementId>(41),
            member_id: id(2),
            prefix: "+4420".parse().unwrap(),
            endpoints: vec![id::<EndpointId>(21), id(22)],
            validity: long_ago(),
            limits: CallLimits::NONE,
            tags: Vec::new(),
        }],
        agreements: vec![Agreement {
            agreement_id: id::<AgreementId>(51),
            proposing_member: id(1),
            accepting_member: id(2),
            direction: AgreementDirection::Both,
            state: AgreementState::Accepted,
            validity: Some(long_ago()),
            limits: CallLimits::NONE,
            advance_on: None,
            terms: None,
        }],
        ..Facts::default()
    }
}

struct Simulation {
    worker: Worker,
    /// The other workers of the node; none save in random runs.
    others: Vec<Worker>,
    /// Which worker receives the next message, of so many.
    receiver: usize,
    table: SharedTable,
    now: Now,
    sent: Vec<(String, String)>,
    disk: Disk,
    dir: tempfile::TempDir,
    calls: u32,
}

impl Simulation {
    fn new() -> Self {
        Self::with_workers(1)
    }

    fn with_workers(workers: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let table = shared(RouteTable::from_facts(facts()));
        #[allow(clippy::disallowed_methods)] // Any instant will do as the origin of simulated time.
        let now = Now {
            instant: std::time::Instant::now(),
            utc: DateTime::<Utc>::from_timestamp(1_800_000_000, 0).unwrap(),
        };
        let mut all =
            Share::all(workers).into_iter().map(|share| Self::worker(share, &dir, table.clone(), now));
        let worker = all.next().unwrap();
        let others = all.collect();
        let disk = Disk::default();
        Self { worker, others, receiver: 0, table, now, sent: Vec::new(), disk, dir, calls: 0 }
    }

    /// Every endpoint gets this policy.
    fn set_session_policy(&mut self, policy: SessionPolicy) {
        let mut facts = facts();
        for endpoint in &mut facts.endpoints {
            endpoint.policy = session_policy(policy);
        }
        self.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    }

    fn worker(share: Share, dir: &tempfile::TempDir, table: SharedTable, now: Now) -> Worker {
        Self::worker_tracing(Tracer::default(), share, dir, table, now)
    }

    fn worker_tracing(
        tracer: Tracer,
        share: Share,
        dir: &tempfile::TempDir,
        table: SharedTable,
        now: Now,
    ) -> Worker {
        let (journal, up) = Journal::open(&dir.path().join(format!("journal-{}", share.index))).unwrap();
        let settings = WorkerSettings {
            node_id: id::<NodeId>(1),
            max_calls: 100,
            source_messages_per_second: 1_000,
            emergency_numbers: EmergencyNumbers::new(&["112".into(), "+44999".into()]),
            attempt_timeout: Duration::from_secs(3),
            ring_timeout: Duration::from_secs(60),
            setup_timeout: Duration::from_secs(150),
            max_duration: Duration::from_secs(3600),
            // Most tests look at each message that is sent.
            probes: false,
        };
        let locals = [Transport::Udp, Transport::Tcp]
            .map(|transport| Local::new("ams", transport, HUB.parse().unwrap()));
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        // Another one after each restart, or the tags of calls that are up would be made again.
        let seed = [now.utc.timestamp_millis().to_le_bytes(); 4].concat().try_into().unwrap();
        let mut worker = Worker::new(settings, share, locals.into(), table, journal, metrics, seed);
        worker.tracer = tracer;
        worker.resume(up, now);
        worker.seal();
        worker.watch_table(now);
        worker
    }

    /// The process dies and is started again.
    fn restart(&mut self) {
        self.worker.commit();
        self.start_again();
    }

    /// The program is started again with what is in its journal.
    fn start_again(&mut self) {
        let (tracer, share) = (self.worker.tracer.anew(), Share::all(1).remove(0));
        self.worker = Self::worker_tracing(tracer, share, &self.dir, self.table.clone(), self.now);
        self.disk.start_again();
        self.flush();
    }

    /// A message of a member reaches the hub.
    fn receive(&mut self, from: &str, message: &str) {
        self.receive_by(Transport::Udp, from, message);
    }

    fn receive_by(&mut self, transport: Transport, from: &str, message: &str) {
        let flow = by(transport, from);
        let worker = match self.receiver {
            0 => &mut self.worker,
            other => &mut self.others[other - 1],
        };
        worker.refresh_table();
        let now = self.now;
        worker.watch_table(now);
        worker.contain(now, |worker| worker.receive(now, flow, message.as_bytes()));
        self.flush();
    }

    /// The first worker looks after what is to be registered, as its driver has it do.
    fn watch(&mut self) {
        self.worker.refresh_table();
        self.worker.watch_registrations(self.now);
    }

    fn workers(&mut self) -> impl Iterator<Item = &mut Worker> {
        std::iter::once(&mut self.worker).chain(&mut self.others)
    }

    fn flush(&mut self) {
        let now = self.now;
        let mut is_passed_on = false;
        loop {
            let parcels: Vec<_> = self
                .workers()
                .flat_map(|worker| worker.wire.outbox.drain_parcels().collect::<Vec<_>>())
                .collect();
            if parcels.is_empty() {
                break;
            }
            for (owner, parcel) in parcels {
                let is_news = matches!(parcel, Parcel::Sign { .. } | Parcel::Hold { .. });
                assert!(is_news || !is_passed_on, "nobody passes on what is handed over");
                let worker = self.workers().nth(owner.into()).unwrap();
                worker.contain(now, |worker| worker.receive_parcel(now, parcel));
            }
            is_passed_on = true;
        }
        for worker in self.workers() {
            let panics = worker.wire.metrics.panics.get();
            assert_eq!(panics, worker.faults, "nothing panics unless a test wants it");
            worker.commit();
        }
        self.disk.turn(&mut self.worker, now);
        let mut sent = Vec::new();
        for worker in self.workers() {
            worker.trace_sent(now);
            sent.extend(worker.wire.outbox.drain());
            sent.extend(worker.wire.outbox.drain_durable());
        }
        for (flow, octets) in sent {
            let message = Message::parse(&octets).expect("the hub sends only SIP");
            judge(&message).expect("the hub sends only clean messages");
            self.sent.push((flow.remote.to_string(), String::from_utf8(octets.to_vec()).unwrap()));
        }
    }

    /// Whether nothing is left to happen but the watch over the endpoints, which goes on for ever.
    fn is_quiet(&mut self) -> bool {
        self.workers().all(|worker| worker.wire.timers.len() == 0)
    }

    fn next_deadline(&mut self) -> Option<std::time::Instant> {
        self.workers().filter_map(|worker| worker.next_deadline()).min()
    }

    fn fire_due(&mut self) {
        let now = self.now;
        self.workers().for_each(|worker| while !worker.contain(now, |worker| worker.fire_due(now)) {});
        self.flush();
    }

    /// Time passes; every deadline is met at its moment.
    fn pass(&mut self, time: Duration) {
        let end = self.now.instant + time;
        while let Some(at) = self.next_deadline().filter(|&at| at <= end) {
            self.set_instant(at.max(self.now.instant));
            self.fire_due();
        }
        self.set_instant(end);
    }

    fn set_instant(&mut self, at: std::time::Instant) {
        self.now.utc += at - self.now.instant;
        self.now.instant = at;
    }

    /// Takes the messages that were sent to an address.
    fn sent_to(&mut self, address: &str) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.sent).into_iter().partition(|(to, _)| to == address);
        self.sent = left;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, message)| message).collect()
    }

    /// Takes the one message that was sent to an address.
    #[track_caller]
    fn one_to(&mut self, address: &str) -> String {
        let sent = self.sent_to(address);
        assert_eq!(sent.len(), 1, "to {address}: {sent:#?}");
        sent.into_iter().next().unwrap()
    }

    /// First words of what was sent to an address: `INVITE`, or the status.
    fn kinds_to(&mut self, address: &str) -> Vec<String> {
        self.sent_to(address).iter().map(|message| kind(message)).collect()
    }

    /// acme sends an INVITE; gives its text.
    fn invite(&mut self, number: &str) -> String {
        self.calls += 1;
        let invite = invite(self.calls, number);
        self.receive(ACME, &invite);
        invite
    }

    /// A call that is up; gives acme's INVITE, the 200 it got, the INVITE that globex got.
    fn call_up(&mut self) -> (String, String, String) {
        let ingress = self.invite("+442079460000");
        let egress = self.one_to(GLOBEX);
        self.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
        self.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
        let answer = self.sent_to(ACME).pop().unwrap();
        assert_eq!(kind(&answer), "200");
        self.receive(ACME, &ack(&ingress, &answer, ""));
        assert_eq!(kind(&self.one_to(GLOBEX)), "ACK");
        (ingress, answer, egress)
    }

    fn cdrs(&self) -> Vec<Cdr> {
        let mut records = Vec::new();
        for index in 0..=self.others.len() {
            let dir = self.dir.path().join(format!("journal-{index}"));
            let mut at = Position { segment: 1, offset: 0 };
            loop {
                let (more, next) = journal::read(&dir, at, usize::MAX).unwrap();
                if more.is_empty() {
                    break;
                }
                records.extend(more);
                at = next;
            }
        }
        let over = records.into_iter().filter_map(|record| match record {
            Record::Over(call) => Some(call.to_cdr(id::<NodeId>(1))),
            Record::Up(_) | Record::Acked(..) | Record::Checkpoint => None,
        });
        over.collect()
    }

    #[track_caller]
    fn one_cdr(&self) -> Cdr {
        let mut cdrs = self.cdrs();
        assert_eq!(cdrs.len(), 1, "{cdrs:#?}");
        cdrs.remove(0)
    }

    /// After the longest timer nothing is left of any call.
    #[track_caller]
    fn expect_nothing_left(&mut self) {
        self.pass(Duration::from_secs(4000));
        let worker = &self.worker;
        let left = (
            worker.calls.len(),
            worker.tags.len(),
            worker.transactions.len(),
            worker.share.common.limits.leased(),
            worker.wire.timers.len(),
            worker.share.common.neighbours.contains(ACME.parse::<std::net::SocketAddr>().unwrap().ip()),
            worker.passes.len(),
        );
        assert_eq!(
            left,
            (0, 0, 0, 0, 0, false, 0),
            "calls, tags, transactions, leases, timers, neighbours, passes"
        );
    }
}

/// Journals to begin fuzzing with, and their names: of a call that is over, and of one that was up at a restart.
pub(crate) fn journals() -> [(&'static str, Vec<u8>); 2] {
    let newest = |sim: &Simulation| {
        let segments = std::fs::read_dir(sim.dir.path().join("journal-0")).unwrap();
        std::fs::read(segments.map(|segment| segment.unwrap().path()).max().unwrap()).unwrap()
    };
    let mut over = Simulation::new();
    let up = over.call_up();
    over.receive(ACME, &from_caller("BYE", "2 BYE", &up));
    let mut checkpoint = Simulation::new();
    checkpoint.call_up();
    checkpoint.restart();
    [("over", newest(&over)), ("checkpoint", newest(&checkpoint))]
}

/// The policy of an endpoint that says only this.
fn session_policy(policy: SessionPolicy) -> Policy {
    let session = serde_json::to_value(policy).unwrap();
    Policy::new(Profile::Neutral, [("session".to_owned(), session)].into_iter().collect()).unwrap()
}

fn kind(message: &str) -> String {
    let mut words = message.split(' ');
    let first = words.next().unwrap();
    if first == "SIP/2.0" { words.next().unwrap().to_owned() } else { first.to_owned() }
}

fn invite(n: u32, number: &str) -> String {
    format!(
        "INVITE sip:{number}@{HUB};user=phone SIP/2.0\r\nVia: SIP/2.0/UDP {ACME};branch=z9hG4bKacme{n};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Ann\" <sip:+33199001234@{ACME}>;tag=a{n}\r\nTo: <sip:{number}@{HUB}>\r\n\
         Call-ID: call{n}@acme\r\nCSeq: 1 INVITE\r\nContact: <sip:ann@{ACME}>\r\nX-Note: kept\r\n\
         User-Agent: PBX of acme\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
}

/// The CANCEL of an INVITE, or its ACK to a failure: the same head with another method, and no body.
fn follow_up(invite: &str, method: &str) -> String {
    let head = invite.replace("INVITE", method).replace(SDP, "");
    head.replace(&format!("Content-Length: {}", SDP.len()), "Content-Length: 0")
}

fn field<'m>(message: &'m str, name: &str) -> &'m str {
    message
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_else(|| panic!("no {name} in {message}"))
}

fn uri_of(contact: &str) -> &str {
    contact.split(['<', '>']).nth(1).unwrap()
}

/// The way between the hub and an address.
fn by(transport: Transport, address: &str) -> Flow {
    Flow::new(u8::from(transport == Transport::Tcp), transport, address.parse().unwrap())
}

/// What a member answers to a request.
fn response(request: &str, status: &str, tag: &str, body: &str) -> String {
    let copied: String = request
        .split("\r\n\r\n")
        .next()
        .unwrap()
        .lines()
        .filter(|line| ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let to = field(request, "To");
    let to = if to.contains(";tag=") { to.to_owned() } else { format!("{to};tag={tag}") };
    format!(
        "SIP/2.0 {status}\r\n{copied}To: {to}\r\nContact: <sip:bob@{GLOBEX}>\r\nServer: PBX of globex\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The ACK of a member to a 2xx.
fn ack(request: &str, answer: &str, body: &str) -> String {
    let number = field(request, "CSeq").split(' ').next().unwrap();
    in_dialog("ACK", &format!("{number} ACK"), field(request, "From"), field(answer, "To"), answer, body)
}

/// A request of a member in the dialog of `message`, which has its Call-ID and the hub's Contact.
fn in_dialog(method: &str, cseq: &str, from: &str, to: &str, message: &str, body: &str) -> String {
    let branch = cseq.replace(' ', "") + field(message, "Call-ID");
    format!(
        "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.99;branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
         From: {from}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {cseq}\r\nContact: <sip:x@{ACME}>\r\n\
         Content-Length: {}\r\n\r\n{body}",
        uri_of(field(message, "Contact")),
        field(message, "Call-ID"),
        body.len()
    )
    .replace("192.0.2.99", if from.contains("bob") || to.contains(";tag=a") { GLOBEX } else { ACME })
}

/// A request of the caller in its dialog.
fn from_caller(method: &str, cseq: &str, (ingress, answer, _): &(String, String, String)) -> String {
    in_dialog(method, cseq, field(ingress, "From"), field(answer, "To"), answer, "").replace(GLOBEX, ACME)
}

/// A request of the called side in its dialog.
fn from_called(method: &str, cseq: &str, (_, _, egress): &(String, String, String)) -> String {
    let from = format!("{};tag=g", field(egress, "To"));
    in_dialog(method, cseq, &from, field(egress, "From"), egress, "").replace(ACME, GLOBEX)
}

#[test]
fn a_call_is_set_up_answered_and_ended_and_leaves_one_cdr() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.pass(Duration::from_millis(1500));
    sim.receive(ACME, &from_caller("BYE", "2 BYE", &up));
    assert_eq!(sim.kinds_to(ACME), ["200"]);
    let bye = sim.one_to(GLOBEX);
    assert_eq!(kind(&bye), "BYE");
    sim.receive(GLOBEX, &response(&bye, "200 OK", "g", ""));
    let cdr = sim.one_cdr();
    assert_eq!(cdr.outcome, Some(Outcome::Answered));
    assert_eq!((cdr.duration_ms, cdr.status), (Some(1500), Some(200)));
    assert_eq!((&*cdr.calling, &*cdr.called), ("+33199001234", "442079460000"));
    assert_eq!(cdr.attempts.len(), 1);
    sim.expect_nothing_left();
}

#[test]
fn no_member_sees_the_other_ones_address_or_call_id() {
    let mut sim = Simulation::new();
    let (_, answer, egress) = sim.call_up();
    for telling in [ACME, "call1@acme", "PBX of acme", "tag=a1"] {
        assert!(!egress.contains(telling), "{telling} in {egress}");
    }
    for telling in [GLOBEX, "PBX of globex", "tag=g\r\n"] {
        assert!(!answer.contains(telling), "{telling} in {answer}");
    }
    assert!(egress.contains("X-Note: kept\r\n") && egress.ends_with(SDP));
    assert!(egress.contains("From: \"Ann\" <sip:+33199001234@192.0.2.100:5060>;tag="));
    assert!(egress.contains("Max-Forwards: 69\r\n"));
}

#[test]
fn a_dead_candidate_is_left_for_the_next_after_three_seconds() {
    let mut sim = Simulation::new();
    sim.invite("+442079460000");
    sim.pass(Duration::from_millis(2900));
    assert_eq!(sim.kinds_to(GLOBEX), ["INVITE"; 3]); // At 0, 0.5 and 1.5 s.
    assert!(sim.sent_to(GLOBEX_2).is_empty());
    sim.pass(Duration::from_millis(200));
    let second = sim.one_to(GLOBEX_2);
    sim.receive(GLOBEX_2, &response(&second, "200 OK", "g", SDP));
    assert_eq!(sim.kinds_to(ACME), ["100", "200"]);
    let (_, up) = sim.worker.calls.iter().next().unwrap();
    let reasons: Vec<_> = up.cdr.attempts.iter().map(|a| (a.status, a.reason)).collect();
    assert_eq!(reasons, [(None, Some(Reason::EndpointUnreachable)), (Some(200), None)]);
}

#[test]
fn a_candidate_that_wakes_too_late_is_cancelled_or_hung_up() {
    let mut sim = Simulation::new();
    sim.invite("+442079460000");
    let first = sim.one_to(GLOBEX);
    sim.pass(Duration::from_secs(4));
    sim.sent_to(GLOBEX);
    sim.receive(GLOBEX, &response(&first, "180 Ringing", "late", ""));
    assert_eq!(sim.kinds_to(GLOBEX), ["CANCEL"]);
    sim.receive(GLOBEX, &response(&first, "200 OK", "late", SDP));
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK", "BYE"]);
    assert_eq!(sim.kinds_to(ACME), ["100"]);
}

#[test]
fn the_called_partys_no_goes_back_and_is_tried_nowhere_else() {
    for (status, outcome) in [
        ("486 Busy Here", Outcome::Busy),
        ("404 Not Found", Outcome::Rejected),
        ("603 Decline", Outcome::Rejected),
        ("480 Away", Outcome::NoAnswer),
    ] {
        let mut sim = Simulation::new();
        sim.invite("+442079460000");
        let first = sim.one_to(GLOBEX);
        sim.receive(GLOBEX, &response(&first, status, "g", ""));
        assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
        assert!(sim.sent_to(GLOBEX_2).is_empty(), "{status}");
        let last = sim.sent_to(ACME).pop().unwrap();
        assert!(last.starts_with(&format!("SIP/2.0 {status}\r\n")), "{last}");
        assert_eq!(sim.one_cdr().outcome, Some(outcome));
    }
}

#[test]
fn a_server_failure_moves_on_and_the_last_one_goes_back() {
    let mut sim = Simulation::new();
    let invite = sim.invite("+442079460000");
    let first = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&first, "503 Full", "g", ""));
    let second = sim.one_to(GLOBEX_2);
    sim.receive(GLOBEX_2, &response(&second, "500 Broken", "g", ""));
    let last = sim.sent_to(ACME).pop().unwrap();
    assert_eq!(kind(&last), "500");
    let cdr = sim.one_cdr();
    assert_eq!((cdr.outcome, cdr.status, cdr.attempts.len()), (Some(Outcome::Failed), Some(500), 2));
    // The final response is sent again until its ACK, and not after.
    sim.pass(Duration::from_secs(1));
    assert_eq!(sim.kinds_to(ACME), ["500"]);
    // Whatever its ACK requires.
    let ack = follow_up(&invite, "ACK").replace("X-Note: kept", "Require: nothing-of-the-kind");
    sim.receive(ACME, &ack);
    sim.pass(Duration::from_secs(40));
    assert!(sim.kinds_to(ACME).is_empty());
    sim.expect_nothing_left();
}

#[test]
fn a_cancel_reaches_the_ringing_side_and_the_caller_gets_487() {
    let mut sim = Simulation::new();
    let invite = sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
    sim.sent_to(ACME);
    let cancel = follow_up(&invite, "CANCEL");
    sim.receive(ACME, &cancel);
    assert_eq!(sim.kinds_to(ACME), ["200", "487"]);
    let sent = sim.one_to(GLOBEX);
    assert_eq!(kind(&sent), "CANCEL");
    assert_eq!(field(&sent, "Via"), field(&egress, "Via"));
    sim.receive(GLOBEX, &response(&sent, "200 OK", "g", ""));
    sim.receive(GLOBEX, &response(&egress, "487 Request Terminated", "g", ""));
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
    let cdr = sim.one_cdr();
    assert_eq!((cdr.outcome, cdr.status), (Some(Outcome::Cancelled), Some(487)));
    sim.expect_nothing_left();
}

#[test]
fn an_answer_that_crosses_a_cancel_is_acknowledged_and_hung_up() {
    let mut sim = Simulation::new();
    let invite = sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
    let cancel = follow_up(&invite, "CANCEL");
    sim.receive(ACME, &cancel);
    sim.sent_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK", "BYE"]);
    assert_eq!(sim.one_cdr().outcome, Some(Outcome::Cancelled));
}

#[test]
fn an_answer_is_sent_until_its_ack_and_without_one_the_call_ends() {
    let mut sim = Simulation::new();
    sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    // The called side's own retransmissions are not passed on: the hub has its own clock.
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    assert_eq!(sim.kinds_to(ACME), ["100", "200"]);
    sim.pass(Duration::from_secs(31));
    assert_eq!(sim.kinds_to(ACME), vec!["200"; 9]); // At 0.5, 1.5, 3.5, 7.5, 11.5 … 27.5 s.
    sim.pass(Duration::from_secs(2));
    assert_eq!(sim.kinds_to(ACME).last().map(String::as_str), Some("BYE"));
    assert_eq!(sim.kinds_to(GLOBEX)[..2], ["ACK", "BYE"]);
    let cdr = sim.one_cdr();
    assert_eq!(cdr.reason.as_deref(), Some("no_ack"));
}

#[test]
fn a_lost_ack_is_sent_again_when_the_answer_comes_again() {
    let mut sim = Simulation::new();
    let (_, _, egress) = sim.call_up();
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
}

#[test]
fn an_ack_with_the_branch_of_its_invite_is_taken_all_the_same() {
    let mut sim = Simulation::new();
    let ingress = sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    let answer = sim.sent_to(ACME).pop().unwrap();
    let ack = ack(&ingress, &answer, "").replace(branch_of(&ack(&ingress, &answer, "")), branch_of(&ingress));
    sim.receive(ACME, &ack);
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
}

fn branch_of(message: &str) -> &str {
    field(message, "Via").split(";branch=").nth(1).unwrap().split(';').next().unwrap()
}

#[test]
fn the_answer_of_a_second_fork_is_acknowledged_and_hung_up() {
    let mut sim = Simulation::new();
    let (_, _, egress) = sim.call_up();
    sim.receive(GLOBEX, &response(&egress, "200 OK", "another", SDP));
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK", "BYE"]);
    assert_eq!(sim.worker.calls.len(), 1);
}

#[test]
fn a_re_invite_crosses_either_way_with_its_ack() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    let from_caller_reinvite = from_caller("INVITE", "2 INVITE", &up);
    let table =
        [(ACME, GLOBEX, from_caller_reinvite), (GLOBEX, ACME, from_called("INVITE", "1 INVITE", &up))];
    for (from, to, reinvite) in table {
        sim.receive(from, &reinvite);
        assert_eq!(sim.kinds_to(from), ["100"]);
        let carried = sim.one_to(to);
        assert_eq!(kind(&carried), "INVITE");
        sim.receive(to, &response(&carried, "200 OK", "x", SDP));
        let answer = sim.one_to(from);
        assert!(answer.ends_with(SDP));
        let ack = reinvite.replace("INVITE", "ACK").replace("z9hG4bK", "z9hG4bKack");
        sim.receive(from, &ack);
        assert_eq!(sim.kinds_to(to), ["ACK"]);
    }
    sim.receive(GLOBEX, &from_called("BYE", "2 BYE", &up));
    assert_eq!(sim.kinds_to(ACME), ["BYE"]);
    sim.expect_nothing_left();
}

#[test]
fn re_invites_that_cross_each_other_are_refused_with_491() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.receive(ACME, &from_caller("INVITE", "2 INVITE", &up));
    sim.receive(GLOBEX, &from_called("INVITE", "1 INVITE", &up));
    assert!(sim.kinds_to(GLOBEX).contains(&"491".to_owned()));
}

#[test]
fn a_bye_from_another_address_ends_nothing() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.receive(STRANGER, &from_caller("BYE", "2 BYE", &up));
    assert!(sim.sent.is_empty());
    // Another member that has somehow learned the tags.
    sim.receive(GLOBEX_2, &from_caller("BYE", "2 BYE", &up).replace(ACME, GLOBEX_2));
    assert_eq!(sim.kinds_to(GLOBEX_2), ["481"]);
    assert!(sim.sent.is_empty());
    assert_eq!(sim.worker.calls.len(), 1);
}

#[test]
fn a_response_from_another_address_goes_nowhere() {
    let mut sim = Simulation::new();
    sim.invite("+442079460000");
    sim.sent_to(ACME);
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX_2, &response(&egress, "200 OK", "g", SDP));
    assert!(sim.sent.is_empty());
}

#[test]
fn what_is_no_call_is_refused_with_its_code() {
    let table = [
        (invite(1, "+442079460000").replace("Max-Forwards: 70", "Max-Forwards: 0"), "483", "too_many_hops"),
        (invite(2, "02079460000"), "484", "number_invalid"),
        (invite(3, "+12125550100"), "404", "no_route"),
        (
            invite(4, "+442079460000").replace("X-Note: kept", "Require: replaces"),
            "420",
            "extension_unsupported",
        ),
        (invite(5, "+442079460000").replace("INVITE", "REGISTER"), "405", "method_not_allowed"),
        (invite(6, "+442079460000").replace("INVITE", "JUMP"), "501", "method_unknown"),
        (invite(7, "+442079460000").replace("INVITE", "BYE"), "481", "no_dialog"),
    ];
    for (request, status, code) in table {
        let mut sim = Simulation::new();
        sim.receive(ACME, &request);
        let refusal = sim.sent_to(ACME).pop().unwrap();
        assert_eq!(kind(&refusal), status, "{request}");
        assert!(refusal.contains(&format!("Warning: 399 tandem \"{code}: ")), "{refusal}");
        assert!(sim.sent.is_empty(), "nothing goes to another member");
    }
}

#[test]
fn a_broken_request_is_answered_and_a_stranger_gets_nothing() {
    let mut sim = Simulation::new();
    let broken = invite(1, "+442079460000").replace("CSeq: 1 INVITE", "CSeq: 1 BYE");
    sim.receive(ACME, &broken);
    assert_eq!(sim.kinds_to(ACME), ["400"]);
    for message in [broken.as_str(), &invite(2, "+442079460000"), "hello", ""] {
        sim.receive(STRANGER, message);
    }
    assert!(sim.sent.is_empty());
}

#[test]
fn the_hubs_own_call_coming_back_is_a_loop() {
    let mut sim = Simulation::new();
    sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    // globex has a proxy that sends it back as it is, but for the top Via.
    let back = egress.replace("Via: ", &format!("Via: SIP/2.0/UDP {GLOBEX};branch=z9hG4bKproxy\r\nVia: "));
    sim.receive(GLOBEX, &back);
    assert_eq!(sim.kinds_to(GLOBEX), ["100", "482"]);
}

#[test]
fn calls_above_the_limit_are_refused_and_a_place_is_free_after_each_way_to_end() {
    let mut sim = Simulation::new();
    for _ in 0..3 {
        sim.invite("+442079460000");
        sim.sent_to(GLOBEX);
        sim.sent_to(ACME);
        let second = sim.invite("+442079460001");
        let egress = sim.one_to(GLOBEX);
        sim.sent_to(ACME);
        sim.invite("+442079460002");
        let refusal = sim.sent_to(ACME).pop().unwrap();
        assert!(refusal.starts_with("SIP/2.0 503 ") && refusal.contains("calls_exceeded"), "{refusal}");
        assert!(refusal.contains("Retry-After: "));
        sim.receive(GLOBEX, &response(&egress, "486 Busy Here", "g", ""));
        let cancel = follow_up(&second, "CANCEL");
        sim.receive(ACME, &cancel);
        sim.expect_nothing_left();
        sim.sent.clear();
    }
}

#[test]
fn a_draining_node_refuses_new_calls_and_finishes_those_that_are_up() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.worker.draining = true;
    sim.invite("+442079460000");
    assert_eq!(sim.kinds_to(ACME), ["100", "503"]);
    let options = invite(9, "ping").replace("INVITE", "OPTIONS");
    sim.receive(ACME, &options);
    assert_eq!(sim.kinds_to(ACME), ["503"]);
    sim.receive(ACME, &from_caller("BYE", "2 BYE", &up));
    assert_eq!(sim.kinds_to(GLOBEX), ["BYE"]);
}

#[test]
fn options_are_answered_with_what_the_hub_can_do() {
    let mut sim = Simulation::new();
    sim.receive(ACME, &invite(1, "ping").replace("INVITE", "OPTIONS"));
    let answer = sim.one_to(ACME);
    assert!(answer.starts_with("SIP/2.0 200 OK\r\n") && field(&answer, "Allow").contains("BYE"));
}

#[test]
fn after_a_crash_either_side_can_hang_up_and_the_cdr_has_the_whole_duration() {
    for side in [ACME, GLOBEX] {
        let mut sim = Simulation::new();
        let up = sim.call_up();
        sim.pass(Duration::from_secs(10));
        sim.restart();
        sim.pass(Duration::from_secs(5));
        assert!(sim.sent.is_empty(), "the caller is known to know of its call: {:#?}", sim.sent);
        if side == ACME {
            sim.receive(ACME, &from_caller("BYE", "2 BYE", &up));
            assert_eq!(sim.kinds_to(GLOBEX), ["BYE"]);
        } else {
            sim.receive(GLOBEX, &from_called("BYE", "1 BYE", &up));
            assert_eq!(sim.kinds_to(ACME), ["BYE"]);
        }
        assert_eq!(sim.kinds_to(side), ["200"]);
        let cdr = sim.one_cdr();
        assert_eq!((cdr.outcome, cdr.duration_ms), (Some(Outcome::Answered), Some(15_000)));
        sim.expect_nothing_left();
    }
}

//! Both sides of many calls in two threads, one that calls and one that is called, with a log of what each saw.
//!
//! Where sipp says how many calls went well, this says which ones, and what their ends looked like from either
//! side: for scenarios in which some calls are expected to be cut off and the truth is needed about the others.
//! Of each four calls, two are ended by the calling side and two by the called one; where the plan has it, each
//! side sends the re-INVITE of two. Requests are sent again as over UDP, by T1.

use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::wait::{now, until};

/// RFC 3261 §17.1.1.1.
const T1: Duration = Duration::from_millis(500);

/// Longest time between two sendings of the same (RFC 3261 §17.1.2.1).
const T2: Duration = Duration::from_secs(4);

/// How often a side that hears nothing looks at what is due.
const LOOK: Duration = Duration::from_millis(1);

/// Which calls are placed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Calls a second.
    pub rate: u32,
    /// Calls altogether.
    pub calls: u32,
    /// How long a call rings.
    pub ring: Duration,
    /// How long a call is up.
    pub hold: Duration,
    /// Whether each call has a re-INVITE at half its time.
    pub reinvites: bool,
    /// How long a request may go without an answer: 64·T1, unless the scenario is in a hurry.
    pub patience: Duration,
    /// The number of each call follows it.
    pub calling: String,
    /// The called number.
    pub called: String,
}

impl Plan {
    /// `calls` calls that are answered at once, at `rate` a second, each up for `hold`.
    pub fn new(rate: u32, calls: u32, hold: Duration) -> Self {
        Self {
            rate,
            calls,
            ring: Duration::ZERO,
            hold,
            reinvites: false,
            patience: 64 * T1,
            calling: "+88201".to_owned(),
            called: crate::CALLED.to_owned(),
        }
    }
}

/// What one side saw of one call.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// When its INVITE was sent first, or came.
    pub began: Option<Instant>,
    /// Until the first response above 100.
    pub progress: Option<Duration>,
    /// Until the final response.
    pub setup: Option<Duration>,
    /// The final response to its INVITE.
    pub status: Option<u16>,
    /// Retry-After of that response, in seconds.
    pub retry_after_s: Option<u32>,
    /// On the called side: the answer was acknowledged.
    pub acknowledged: bool,
    /// From when on it was up for this side.
    pub up: Option<Instant>,
    /// When this side's re-INVITE was sent first.
    pub reinvite_began: Option<Instant>,
    /// The answer to this side's re-INVITE; 408 where there was none.
    pub reinvite: Option<u16>,
    /// The answer to this side's BYE; 408 where there was none.
    pub bye: Option<u16>,
    /// When the first BYE was sent, or came.
    pub bye_began: Option<Instant>,
    /// When the BYE was answered.
    pub over: Option<Instant>,
    /// In-dialog requests whose CSeq was not above that of the one before.
    pub stale_cseq: u32,
}

/// What one side saw of all calls, by call number.
pub type Ledger = HashMap<u32, Seen>;

/// Calls under way.
#[derive(Debug)]
pub struct Traffic {
    /// Where the calling side sends from.
    pub caller: SocketAddr,
    placing: Arc<AtomicBool>,
    running: Arc<AtomicBool>,
    placed: Arc<AtomicU32>,
    answered: Arc<AtomicU32>,
    open: [Arc<AtomicU32>; 2],
    sides: [JoinHandle<Ledger>; 2],
}

/// The called side before it is told whom to talk to: a hub must know its address first.
#[derive(Debug)]
pub struct Switch {
    socket: UdpSocket,
}

impl Switch {
    /// At this address.
    pub fn at(ip: IpAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None);
        let socket = socket.expect("the system gives a socket");
        // A burst must not be lost here: it is the hub that is measured.
        let _ = socket.set_recv_buffer_size(8 << 20);
        socket.bind(&SocketAddr::new(ip, 0).into()).expect("the loopback network has all of 127.0.0.0/8");
        let socket = UdpSocket::from(socket);
        socket.set_read_timeout(Some(LOOK)).expect("a socket has timeouts");
        Self { socket }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }

    /// The address as the target of an endpoint.
    pub fn target(&self) -> String {
        format!("sip:{};transport=udp", self.address())
    }
}

impl Traffic {
    /// Begins to place calls from `caller` through the hub to `called`.
    pub fn start(plan: &Plan, hub: SocketAddr, caller: Switch, called: Switch) -> Self {
        let placing = Arc::new(AtomicBool::new(true));
        let running = Arc::new(AtomicBool::new(true));
        let placed = Arc::new(AtomicU32::new(0));
        let answered = Arc::new(AtomicU32::new(0));
        let open = [Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0))];
        let address = caller.address();
        let start = |switch: Switch, calls: bool, open: &Arc<AtomicU32>| {
            let mut side = Side {
                local: switch.address(),
                socket: switch.socket,
                hub,
                calls,
                plan: plan.clone(),
                dialogs: HashMap::new(),
                due: BinaryHeap::new(),
                ledger: Ledger::new(),
                answered: answered.clone(),
                branch: 0,
            };
            let (placing, running, placed, open) =
                (placing.clone(), running.clone(), placed.clone(), open.clone());
            thread::spawn(move || {
                side.run(&placing, &running, &placed, &open);
                side.ledger
            })
        };
        let sides = [start(called, false, &open[1]), start(caller, true, &open[0])];
        Self { caller: address, placing, running, placed, answered, open, sides }
    }

    /// Calls placed so far.
    pub fn placed(&self) -> u32 {
        self.placed.load(Ordering::Relaxed)
    }

    /// Calls whose answer has reached the calling side so far.
    pub fn answered(&self) -> u32 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Calls that the calling side has not seen the end of.
    pub fn open(&self) -> u32 {
        self.open[0].load(Ordering::Relaxed)
    }

    /// Places no more calls.
    pub fn place_no_more(&self) {
        self.placing.store(false, Ordering::Relaxed);
    }

    /// Waits until every call is placed and over on both sides, and returns what they saw.
    pub fn finish(self, deadline: Duration) -> Tally {
        until("every call to be over", deadline, || {
            let placing = self.placing.load(Ordering::Relaxed);
            let open = self.open.iter().any(|open| open.load(Ordering::Relaxed) > 0);
            (!placing && !open).then_some(())
        });
        self.running.store(false, Ordering::Relaxed);
        let [called, calling] = self.sides.map(|side| side.join().expect("a side does not panic"));
        Tally { calling, called }
    }
}

/// What both sides saw.
#[derive(Clone, Debug)]
pub struct Tally {
    /// The side that called.
    pub calling: Ledger,
    /// The side that was called.
    pub called: Ledger,
}

impl Tally {
    /// Calls whose answer reached the calling side.
    pub fn answered(&self) -> usize {
        self.calling.values().filter(|seen| seen.up.is_some()).count()
    }

    /// What went wrong with call `number`; empty where it went as it should, from INVITE to BYE.
    pub fn faults_of(&self, number: u32) -> Vec<String> {
        let mut faults = Vec::new();
        let nothing = Seen::default();
        let sides = [("calling", self.calling.get(&number)), ("called", self.called.get(&number))];
        if self.calling.get(&number).is_none_or(|seen| seen.status != Some(200)) {
            let status = self.calling.get(&number).and_then(|seen| seen.status);
            faults.push(format!("call {number}: INVITE was answered {status:?}"));
            return faults;
        }
        for (side, seen) in sides {
            let seen = seen.unwrap_or(&nothing);
            for (what, status) in [("re-INVITE", seen.reinvite), ("BYE", seen.bye)] {
                // A re-INVITE that is still under way when the other side hangs up is answered so (RFC 3261 §15.1.2).
                let crossed = what == "re-INVITE" && matches!(status, Some(481 | 487));
                if status.is_some_and(|status| status != 200) && !crossed {
                    faults.push(format!("call {number}: {what} of the {side} side was answered {status:?}"));
                }
            }
            if seen.over.is_none() {
                faults.push(format!("call {number}: not over for the {side} side"));
            }
        }
        faults
    }

    /// Panics unless `calls` calls went from INVITE to BYE as they should.
    #[track_caller]
    pub fn assert_all_went_well(&self, calls: u32) {
        assert_eq!(self.calling.len(), calls as usize, "calls that were placed");
        let faults: Vec<String> = self.calling.keys().flat_map(|&number| self.faults_of(number)).collect();
        let shown = faults.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
        assert!(faults.is_empty(), "{} faults:\n{shown}", faults.len());
    }

    /// Time from INVITE to the first response above 100: half of all within the first, 99 in 100 within the
    /// second, all within the third.
    pub fn setup(&self) -> (Duration, Duration, Duration) {
        self.setup_where(|_| true)
    }

    /// The same of some calls, as the calling side saw them.
    pub fn setup_where(&self, counts: impl Fn(&Seen) -> bool) -> (Duration, Duration, Duration) {
        let calls = self.calling.values().filter(|seen| counts(seen));
        let mut times: Vec<Duration> = calls.filter_map(|seen| seen.progress).collect();
        times.sort_unstable();
        let Some(&longest) = times.last() else { return Default::default() };
        (times[times.len() / 2], times[(times.len() - 1) * 99 / 100], longest)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The request with this CSeq goes again, unless it is answered.
    Request(u32),
    /// The answer to the INVITE with this CSeq goes again, unless it is acknowledged.
    Answer(u32),
    /// The callee picks up.
    PickUp,
    /// Half the call's time is over.
    Half,
    /// The call's time is over.
    End,
}

/// A request or an answer that goes again until something comes back.
struct Waiting {
    cseq: u32,
    octets: String,
    method: &'static str,
    began: Instant,
    pause: Duration,
    /// A provisional response came.
    heard: bool,
}

struct Dialog {
    number: u32,
    /// From of what we send, with our tag.
    local: String,
    /// To of what we send, with their tag once it is known.
    remote: String,
    /// The Request-URI in the dialog.
    target: String,
    cseq: u32,
    remote_cseq: u32,
    request: Option<Waiting>,
    answer: Option<Waiting>,
    /// INVITE as it came, to be answered.
    invite: String,
    is_over: bool,
}

struct Side {
    local: SocketAddr,
    socket: UdpSocket,
    hub: SocketAddr,
    calls: bool,
    plan: Plan,
    dialogs: HashMap<String, Dialog>,
    due: BinaryHeap<std::cmp::Reverse<(Instant, String, Due)>>,
    ledger: Ledger,
    /// Calls of the calling side that were answered.
    answered: Arc<AtomicU32>,
    branch: u64,
}

/// Value of the first header field of this name.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.split("\r\n")
        .find_map(|line| {
            let (field, value) = line.split_at_checked(name.len())?;
            field.eq_ignore_ascii_case(name).then(|| value.trim_start().strip_prefix(':'))?
        })
        .unwrap_or("")
        .trim()
}

fn uri(value: &str) -> &str {
    value.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(value, |(uri, _)| uri)
}

/// Number and method of a CSeq.
fn cseq(text: &str) -> (u32, &str) {
    let (number, method) = field(text, "CSeq").split_once(' ').unwrap_or(("0", ""));
    (number.parse().unwrap_or(0), method.trim())
}

impl Side {
    fn run(&mut self, placing: &AtomicBool, running: &AtomicBool, placed: &AtomicU32, open: &AtomicU32) {
        let began = now();
        let mut buffer = vec![0; 65_535];
        let mut number = 0;
        while running.load(Ordering::Relaxed) {
            if let Ok((length, _)) = self.socket.recv_from(&mut buffer)
                && let Ok(text) = std::str::from_utf8(&buffer[..length])
            {
                self.receive(text);
            }
            let moment = now();
            while self.due.peek().is_some_and(|std::cmp::Reverse((at, ..))| *at <= moment) {
                let std::cmp::Reverse((_, call, due)) = self.due.pop().expect("it was there");
                self.fall_due(&call, due, moment);
            }
            if self.calls && placing.load(Ordering::Relaxed) {
                let by_now = (began.elapsed().as_secs_f64() * f64::from(self.plan.rate)) as u32 + 1;
                let mut burst = 0;
                while number < by_now.min(self.plan.calls) && burst < 20 {
                    number += 1;
                    burst += 1;
                    self.invite(number);
                }
                placed.store(number, Ordering::Relaxed);
                if number == self.plan.calls {
                    placing.store(false, Ordering::Relaxed);
                }
            }
            open.store(self.dialogs.len() as u32, Ordering::Relaxed);
        }
    }

    fn send(&self, text: &str) {
        // A hub that is being restarted refuses; what matters goes again.
        let _ = self.socket.send_to(text.as_bytes(), self.hub);
    }

    fn sdp(&self, version: u32) -> String {
        let ip = self.local.ip();
        format!(
            "v=0\r\no=- 1 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 30000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
        )
    }

    fn request(
        &mut self,
        method: &str,
        uri: &str,
        [from, to]: [&str; 2],
        call: &str,
        cseq: u32,
        body: &str,
    ) -> String {
        self.branch += 1;
        let (local, branch) = (self.local, self.branch);
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bK{branch}\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:u@{local}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn invite(&mut self, number: u32) {
        let (local, hub) = (self.local, self.hub);
        let call = format!("{number}-{}-{}", local.port(), std::process::id());
        let from = format!("<sip:{}{number:07}@{local}>;tag=c{number}", self.plan.calling);
        let target = format!("sip:{}@{hub}", self.plan.called);
        let to = format!("<{target}>");
        let body = self.sdp(1);
        let text = self.request("INVITE", &target, [&from, &to], &call, 1, &body);
        let dialog = Dialog {
            number,
            local: from,
            remote: to,
            target,
            cseq: 1,
            remote_cseq: 0,
            request: None,
            answer: None,
            invite: text.clone(),
            is_over: false,
        };
        self.dialogs.insert(call.clone(), dialog);
        self.ledger.entry(number).or_default().began = Some(now());
        self.ask(&call, "INVITE", 1, text);
    }

    /// Sends a request until it is answered.
    fn ask(&mut self, call: &str, method: &'static str, cseq: u32, octets: String) {
        self.send(&octets);
        let began = now();
        let waiting = Waiting { cseq, octets, method, began, pause: T1, heard: false };
        if let Some(dialog) = self.dialogs.get_mut(call) {
            dialog.request = Some(waiting);
            self.due.push(std::cmp::Reverse((began + T1, call.to_owned(), Due::Request(cseq))));
        }
    }

    /// A request of ours in the dialog.
    fn ask_in_dialog(&mut self, call: &str, method: &'static str) {
        let Some(dialog) = self.dialogs.get_mut(call) else { return };
        dialog.cseq += 1;
        let (cseq, from, to) = (dialog.cseq, dialog.local.clone(), dialog.remote.clone());
        let target = dialog.target.clone();
        let body = if method == "INVITE" { self.sdp(cseq) } else { String::new() };
        let text = self.request(method, &target, [&from, &to], call, cseq, &body);
        self.ask(call, method, cseq, text);
    }

    fn respond(&self, request: &str, status: u16, tag: &str, body: &str) -> String {
        let mut text = format!("SIP/2.0 {status} Said\r\n");
        for line in request.split("\r\n").skip(1).take_while(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap_or("").trim();
            if ["Via", "From", "Call-ID", "CSeq"].iter().any(|kept| kept.eq_ignore_ascii_case(name)) {
                text.push_str(line);
                text.push_str("\r\n");
            } else if name.eq_ignore_ascii_case("To") {
                text.push_str(line);
                if !line.contains(";tag=") {
                    text.push_str(tag);
                }
                text.push_str("\r\n");
            }
        }
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        text + &format!(
            "Contact: <sip:u@{}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            self.local,
            body.len()
        )
    }

    fn receive(&mut self, text: &str) {
        let call = field(text, "Call-ID").to_owned();
        if text.starts_with("SIP/2.0") {
            self.receive_response(&call, text);
        } else {
            self.receive_request(&call, text);
        }
    }

    fn receive_response(&mut self, call: &str, text: &str) {
        let status: u16 = text.get(8..11).and_then(|status| status.parse().ok()).unwrap_or(0);
        let (number, method) = cseq(text);
        let moment = now();
        let Some(dialog) = self.dialogs.get_mut(call) else { return };
        let seen = self.ledger.entry(dialog.number).or_default();
        let is_first = method == "INVITE" && number == 1 && self.calls;
        if is_first && status > 100 && seen.progress.is_none() {
            seen.progress = seen.began.map(|began| moment - began);
        }
        if status < 200 {
            if let Some(waiting) = dialog.request.as_mut().filter(|waiting| waiting.cseq == number) {
                waiting.heard = true;
            }
            return;
        }
        let awaited = dialog.request.as_ref().is_some_and(|waiting| waiting.cseq == number);
        if awaited {
            dialog.request = None;
        }
        match method {
            "INVITE" => {
                if is_first && awaited {
                    seen.status = Some(status);
                    seen.retry_after_s = field(text, "Retry-After").parse().ok();
                    seen.setup = seen.began.map(|began| moment - began);
                    if status < 300 {
                        seen.up = Some(moment);
                        self.answered.fetch_add(1, Ordering::Relaxed);
                        dialog.remote = field(text, "To").to_owned();
                        dialog.target = uri(field(text, "Contact")).to_owned();
                    } else {
                        seen.over = Some(moment);
                        dialog.is_over = true;
                    }
                } else if awaited {
                    seen.reinvite = Some(status);
                }
                let (target, from) = (dialog.target.clone(), dialog.local.clone());
                let is_over = dialog.is_over;
                let ack = if status < 300 {
                    let to = dialog.remote.clone();
                    self.request("ACK", &target, [&from, &to], call, number, "")
                } else {
                    self.ack_of_failure(call, number, text)
                };
                self.send(&ack);
                if is_over {
                    self.dialogs.remove(call);
                } else if is_first && awaited {
                    self.plan_the_rest(call);
                }
            }
            "BYE" if awaited => {
                seen.bye = Some(status);
                seen.over = Some(moment);
                self.dialogs.remove(call);
            }
            _ => {}
        }
    }

    /// Same branch as the INVITE: RFC 3261 §17.1.1.3.
    fn ack_of_failure(&self, call: &str, number: u32, response: &str) -> String {
        let target = self.dialogs.get(call).map_or("", |dialog| &dialog.target);
        format!(
            "ACK {target} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {call}\r\n\
             CSeq: {number} ACK\r\nContent-Length: 0\r\n\r\n",
            field(response, "Via"),
            field(response, "From"),
            field(response, "To"),
        )
    }

    /// The call is up: what this side does of it, and when.
    fn plan_the_rest(&mut self, call: &str) {
        let Some(dialog) = self.dialogs.get(call) else { return };
        let moment = now();
        let caller_ends = dialog.number.is_multiple_of(2);
        let caller_reinvites = (dialog.number / 2).is_multiple_of(2);
        if self.plan.reinvites && caller_reinvites == self.calls {
            self.due.push(std::cmp::Reverse((moment + self.plan.hold / 2, call.to_owned(), Due::Half)));
        }
        if caller_ends == self.calls {
            self.due.push(std::cmp::Reverse((moment + self.plan.hold, call.to_owned(), Due::End)));
        } else {
            // The other side may have lost the call; this one does not wait for ever.
            let late = self.plan.hold + self.plan.patience + Duration::from_secs(2);
            self.due.push(std::cmp::Reverse((moment + late, call.to_owned(), Due::End)));
        }
    }

    fn receive_request(&mut self, call: &str, text: &str) {
        let (number, _) = cseq(text);
        let method = text.split(' ').next().unwrap_or("");
        let moment = now();
        if !self.dialogs.contains_key(call) {
            match method {
                "INVITE" if !self.calls && !field(text, "To").contains(";tag=") => {
                    self.receive_call(call, text);
                }
                // It is over here; its end was lost on the way.
                "ACK" => {}
                "BYE" => self.send(&self.respond(text, 200, "", "")),
                _ => self.send(&self.respond(text, 481, ";tag=none", "")),
            }
            return;
        }
        let dialog = self.dialogs.get_mut(call).expect("it was there");
        let seen = self.ledger.entry(dialog.number).or_default();
        match method {
            "INVITE" if number == dialog.remote_cseq => {
                // It came again.
                if let Some(answer) = &dialog.answer {
                    let octets = answer.octets.clone();
                    self.send(&octets);
                }
            }
            "INVITE" if number > dialog.remote_cseq => {
                dialog.remote_cseq = number;
                let body = self.sdp(number);
                let answer = self.respond(text, 200, "", &body);
                self.answer(call, number, answer);
            }
            "ACK" => {
                if dialog.answer.as_ref().is_some_and(|answer| answer.cseq == number) {
                    dialog.answer = None;
                    if !self.calls && !seen.acknowledged {
                        seen.acknowledged = true;
                        seen.up = Some(moment);
                        self.plan_the_rest(call);
                    }
                }
            }
            "BYE" | "CANCEL" => {
                if method == "BYE" && number <= dialog.remote_cseq {
                    seen.stale_cseq += 1;
                }
                seen.bye_began.get_or_insert(moment);
                seen.over = Some(moment);
                self.send(&self.respond(text, 200, "", ""));
                self.dialogs.remove(call);
            }
            _ => {
                seen.stale_cseq += 1;
                self.send(&self.respond(text, 500, "", ""));
            }
        }
    }

    /// A call comes: it rings, and is answered after its time.
    fn receive_call(&mut self, call: &str, text: &str) {
        let from = field(text, "From");
        let user = uri(from).trim_start_matches("sip:").split('@').next().unwrap_or("");
        let digits = user.strip_prefix(self.plan.calling.as_str()).unwrap_or("");
        // A call of somebody else's is answered, and not in the ledger's numbers.
        let Ok(number) = digits.parse::<u32>() else { return };
        let tag = format!(";tag=g{number}");
        let dialog = Dialog {
            number,
            local: format!("{}{tag}", field(text, "To")),
            remote: from.to_owned(),
            target: uri(field(text, "Contact")).to_owned(),
            cseq: 0,
            remote_cseq: cseq(text).0,
            request: None,
            answer: None,
            invite: text.to_owned(),
            is_over: false,
        };
        self.dialogs.insert(call.to_owned(), dialog);
        self.ledger.entry(number).or_default().began.get_or_insert(now());
        self.send(&self.respond(text, 180, &tag, ""));
        if self.plan.ring.is_zero() {
            self.pick_up(call);
        } else {
            self.due.push(std::cmp::Reverse((now() + self.plan.ring, call.to_owned(), Due::PickUp)));
        }
    }

    fn pick_up(&mut self, call: &str) {
        let Some(dialog) = self.dialogs.get(call) else { return };
        let (tag, cseq) = (format!(";tag=g{}", dialog.number), dialog.remote_cseq);
        let answer = self.respond(&dialog.invite, 200, &tag, &self.sdp(1));
        self.answer(call, cseq, answer);
    }

    /// Sends the answer to an INVITE until it is acknowledged.
    fn answer(&mut self, call: &str, cseq: u32, octets: String) {
        self.send(&octets);
        let began = now();
        let waiting = Waiting { cseq, octets, method: "", began, pause: T1, heard: false };
        if let Some(dialog) = self.dialogs.get_mut(call) {
            dialog.answer = Some(waiting);
            self.due.push(std::cmp::Reverse((began + T1, call.to_owned(), Due::Answer(cseq))));
        }
    }

    fn fall_due(&mut self, call: &str, due: Due, moment: Instant) {
        let Some(dialog) = self.dialogs.get_mut(call) else { return };
        match due {
            Due::PickUp => self.pick_up(call),
            Due::Half => {
                if dialog.request.is_none() && dialog.answer.is_none() {
                    self.ledger.entry(dialog.number).or_default().reinvite_began = Some(moment);
                    self.ask_in_dialog(call, "INVITE");
                }
            }
            Due::End if dialog.request.is_some() => {
                // One request at a time: the re-INVITE has not been answered yet.
                self.due.push(std::cmp::Reverse((moment + T1, call.to_owned(), Due::End)));
            }
            Due::End => {
                self.ledger.entry(dialog.number).or_default().bye_began.get_or_insert(moment);
                self.ask_in_dialog(call, "BYE");
            }
            Due::Request(cseq) => {
                let Some(waiting) = dialog.request.as_mut().filter(|waiting| waiting.cseq == cseq) else {
                    return;
                };
                if moment - waiting.began >= self.plan.patience {
                    return self.give_up(call);
                }
                waiting.pause =
                    if waiting.method == "INVITE" { waiting.pause * 2 } else { (waiting.pause * 2).min(T2) };
                let octets = waiting.octets.clone();
                let next = (moment + waiting.pause).min(waiting.began + self.plan.patience);
                if !waiting.heard {
                    self.send(&octets);
                }
                self.due.push(std::cmp::Reverse((next, call.to_owned(), due)));
            }
            Due::Answer(cseq) => {
                let Some(waiting) = dialog.answer.as_mut().filter(|waiting| waiting.cseq == cseq) else {
                    return;
                };
                if moment - waiting.began >= self.plan.patience {
                    // Nobody acknowledges it: for this side there was no call (RFC 3261 §13.3.1.4).
                    if !self.calls && self.ledger.get(&dialog.number).is_some_and(|seen| !seen.acknowledged) {
                        self.dialogs.remove(call);
                    }
                    return;
                }
                waiting.pause = (waiting.pause * 2).min(T2);
                let (octets, pause) = (waiting.octets.clone(), waiting.pause);
                self.send(&octets);
                self.due.push(std::cmp::Reverse((moment + pause, call.to_owned(), due)));
            }
        }
    }

    /// A request was not answered in time.
    fn give_up(&mut self, call: &str) {
        let Some(dialog) = self.dialogs.get_mut(call) else { return };
        let Some(waiting) = dialog.request.take() else { return };
        let seen = self.ledger.entry(dialog.number).or_default();
        match waiting.method {
            "BYE" => seen.bye = Some(408),
            "INVITE" if seen.up.is_some() => {
                seen.reinvite = Some(408);
                return;
            }
            _ => seen.status = Some(408),
        }
        self.dialogs.remove(call);
    }
}

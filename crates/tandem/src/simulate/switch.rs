//! A member's switch: the user agents of all its calls, without sockets or a clock of its own. Messages and
//! the time come in, messages and news go out; `caller.rs` and `callee.rs` say what happens in between.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tandem_model::Transport;

use super::leg::{Action, Ended};
use super::message::{self, Dialog, Incoming};
use super::plan::{Fate, Plan, Side};
use super::{callee, caller};

/// Round-trip estimate (RFC 3261 §17.1.1.1).
const T1: Duration = Duration::from_millis(500);

/// Longest time between two retransmissions of anything but INVITE (RFC 3261 §17.1.2.2).
const T2: Duration = Duration::from_secs(4);

/// After this without a reply the other side is gone; so long is a call that is over remembered.
const PATIENCE: Duration = Duration::from_secs(32);

/// One endpoint of the switch, and where the hub is for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where it is bound.
    pub(crate) address: SocketAddr,
    /// By what it speaks.
    pub(crate) transport: Transport,
    /// The hub's listener.
    pub(crate) hub: SocketAddr,
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// Index of the line that sends it.
    pub(crate) line: usize,
    /// Whereto.
    pub(crate) to: SocketAddr,
    /// What.
    pub(crate) octets: Vec<u8>,
}

/// Names a planned call.
pub(crate) type PlanId = u64;

/// What happened to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The caller heard it ring, or got another first response above 100.
    Progress(PlanId, Duration),
    /// It is up, as this side sees it.
    Answered(PlanId, Side),
    /// A message was sent again.
    Retransmitted,
    /// It is over, as this side sees it; with the final status where the caller says so.
    Over(PlanId, Side, Ended, Option<u16>),
    /// What must not happen.
    Unexpected(String),
}

/// The plans of the calls that are going on, by both numbers.
#[derive(Default)]
pub(crate) struct Plans {
    by_numbers: HashMap<(u64, u64), PlanId>,
    plans: HashMap<PlanId, (Plan, bool)>,
    last: PlanId,
}

impl Plans {
    /// Adds a plan; `None` where a call between the two numbers is going on.
    pub(crate) fn add(&mut self, plan: Plan) -> Option<PlanId> {
        let numbers = (plan.calling.value(), plan.called.value());
        if self.by_numbers.contains_key(&numbers) {
            return None;
        }
        self.last += 1;
        self.by_numbers.insert(numbers, self.last);
        self.plans.insert(self.last, (plan, false));
        Some(self.last)
    }

    /// The plan of a call.
    pub(crate) fn get(&self, id: PlanId) -> Option<&Plan> {
        self.plans.get(&id).map(|(plan, _)| plan)
    }

    /// The call is over on both sides.
    pub(crate) fn remove(&mut self, id: PlanId) {
        if let Some((plan, _)) = self.plans.remove(&id) {
            self.by_numbers.remove(&(plan.calling.value(), plan.called.value()));
        }
    }

    fn find(&self, calling: &str, called: &str) -> Option<PlanId> {
        let digits = |number: &str| number.trim_start_matches('+').parse().ok();
        self.by_numbers.get(&(digits(calling)?, digits(called)?)).copied()
    }

    /// Whether the endpoint that is asked now is to say that it has no room: only the first one is.
    fn overloads(&mut self, id: PlanId) -> bool {
        match self.plans.get_mut(&id) {
            Some((Plan { fate: Fate::Answered { overloaded: true, .. }, .. }, asked)) => {
                !std::mem::replace(asked, true)
            }
            _ => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Resend(u32),
    Expire(u32),
    Ring,
    Answer,
    Refuse,
    GiveUp,
    HangUp,
    Forget,
}

enum Role {
    Caller(caller::State),
    Callee(callee::State),
}

struct Leg {
    plan: PlanId,
    fate: Fate,
    line: usize,
    /// Where our requests go, and for a callee the responses to INVITE.
    peer: SocketAddr,
    role: Role,
    dialog: Dialog,
    /// The INVITE that came; empty for a caller.
    invite: Vec<u8>,
    started: Instant,
    /// The first response above 100 came.
    progressed: bool,
    status: Option<u16>,
    /// What `Repeat` sends again, and its method where it is a request.
    last: Vec<u8>,
    interval: Duration,
    timers: u32,
    resending: bool,
    /// BYE came, which may cross ours.
    bye_came: bool,
    is_over: bool,
}

/// A member's switch.
pub(crate) struct Switch {
    name: String,
    lines: Vec<Line>,
    legs: HashMap<String, Leg>,
    timers: BinaryHeap<Reverse<(Instant, u64, String, Timer)>>,
    sequence: u64,
    rng: StdRng,
    out: Vec<Outgoing>,
    news: Vec<News>,
}

impl Switch {
    /// A switch of the member `name`.
    pub(crate) fn new(name: &str, lines: Vec<Line>, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            lines,
            legs: HashMap::new(),
            timers: BinaryHeap::new(),
            sequence: 0,
            rng: StdRng::seed_from_u64(seed),
            out: Vec::new(),
            news: Vec::new(),
        }
    }

    /// Places a call.
    pub(crate) fn place(&mut self, id: PlanId, plan: &Plan, now: Instant) {
        let line = self.rng.random_range(0..self.lines.len());
        let Line { address, transport, hub } = self.lines[line];
        let call_id = format!("{}@{}", self.token(), address.ip());
        let uri = format!("sip:{}@{hub};user=phone", plan.called);
        let dialog = Dialog {
            call_id: call_id.clone(),
            local: format!("sip:{}@{address};user=phone", plan.calling),
            local_tag: self.token(),
            address,
            remote: uri.clone(),
            remote_tag: String::new(),
            target: uri.clone(),
            uri,
            branch: self.branch(),
            contact: contact(&self.name, &self.lines[line]),
            transport,
            cseq: 1,
        };
        let invite = dialog.invite(&sdp(address));
        let mut leg = Leg {
            plan: id,
            fate: plan.fate,
            line,
            peer: hub,
            role: Role::Caller(caller::State::Calling),
            dialog,
            invite: Vec::new(),
            started: now,
            progressed: false,
            status: None,
            last: Vec::new(),
            interval: T1,
            timers: 0,
            resending: false,
            bye_came: false,
            is_over: false,
        };
        match plan.fate {
            Fate::Unanswered { give_up, .. } | Fate::Withdrawn { give_up } => {
                self.schedule(&call_id, Timer::GiveUp, now + give_up);
            }
            Fate::Answered { .. }
            | Fate::Busy { .. }
            | Fate::Rejected { .. }
            | Fate::Unattended { .. }
            | Fate::Barred
            | Fate::Unassigned => {}
        }
        self.send_waiting(&mut leg, invite);
        self.start_timers(&mut leg, now, true);
        self.legs.insert(call_id, leg);
    }

    /// Ends all calls: those that are up by BYE, those that are not by CANCEL.
    pub(crate) fn end_all(&mut self, now: Instant) {
        let callers: Vec<String> = self
            .legs
            .iter()
            .filter(|(_, leg)| matches!(leg.role, Role::Caller(_)) && !leg.is_over)
            .map(|(call_id, _)| call_id.clone())
            .collect();
        for call_id in callers {
            self.schedule(&call_id, Timer::GiveUp, now);
            self.schedule(&call_id, Timer::HangUp, now);
        }
    }

    /// How many of its legs are not over.
    pub(crate) fn open_legs(&self) -> usize {
        self.legs.values().filter(|leg| !leg.is_over).count()
    }

    /// What is to be sent since the last question.
    pub(crate) fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.out)
    }

    /// What happened since the last question.
    pub(crate) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// When [`Switch::fire`] has something to do.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, ..))| *at)
    }

    /// Performs what is due at `now`.
    pub(crate) fn fire(&mut self, now: Instant) {
        while self.next_timer().is_some_and(|at| at <= now) {
            let Some(Reverse((_, _, call_id, timer))) = self.timers.pop() else { return };
            let Some(leg) = self.legs.get(&call_id) else { continue };
            match (timer, &leg.role) {
                (Timer::Resend(timers), _) if timers != leg.timers || !leg.resending => {}
                (Timer::Expire(timers), _) if timers != leg.timers => {}
                (Timer::Resend(_), Role::Caller(_)) => {
                    self.caller(&call_id, caller::Event::Resend, now, None)
                }
                (Timer::Resend(_), Role::Callee(_)) => {
                    self.callee(&call_id, callee::Event::Resend, now, None)
                }
                (Timer::Expire(_), Role::Caller(_)) => {
                    self.caller(&call_id, caller::Event::Expired, now, None)
                }
                (Timer::Expire(_), Role::Callee(_)) => {
                    self.callee(&call_id, callee::Event::Expired, now, None)
                }
                (Timer::GiveUp, _) => self.caller(&call_id, caller::Event::GiveUp, now, None),
                (Timer::HangUp, Role::Caller(_)) => self.caller(&call_id, caller::Event::HangUp, now, None),
                (Timer::HangUp, Role::Callee(_)) => self.callee(&call_id, callee::Event::HangUp, now, None),
                (Timer::Ring, _) => self.callee(&call_id, callee::Event::Ring, now, None),
                (Timer::Answer, _) => self.callee(&call_id, callee::Event::Answer, now, None),
                (Timer::Refuse, _) => self.callee(&call_id, callee::Event::Refuse, now, None),
                (Timer::Forget, _) => {
                    self.legs.remove(&call_id);
                }
            }
        }
    }

    /// Takes a message that came to `line` from `from`.
    pub(crate) fn receive(
        &mut self,
        line: usize,
        from: SocketAddr,
        octets: &[u8],
        plans: &mut Plans,
        now: Instant,
    ) {
        let incoming = match message::read(octets) {
            Ok(incoming) => incoming,
            Err(why) => {
                let text = String::from_utf8_lossy(octets);
                return self.unexpected(format!("{}: a message cannot be read ({why}):\n{text}", self.name));
            }
        };
        match incoming.status {
            Some(status) => self.response(status, &incoming, now),
            None => self.request(line, from, &incoming, plans, now),
        }
    }

    fn response(&mut self, status: u16, incoming: &Incoming, now: Instant) {
        use caller::Event::*;
        let Some(leg) = self.legs.get_mut(&incoming.call_id) else {
            return self.unexpected(format!("{}: {status} to {:?} of no call", self.name, incoming.method));
        };
        match (&leg.role, incoming.method.as_str()) {
            (Role::Caller(_), "INVITE") => {
                if status > 100 && !leg.progressed {
                    leg.progressed = true;
                    self.news.push(News::Progress(leg.plan, now.duration_since(leg.started)));
                }
                if status >= 200 {
                    leg.status = Some(status);
                }
                if (200..300).contains(&status) {
                    leg.dialog.remote_tag = incoming.to_tag.clone().unwrap_or_default();
                    if let Some(contact) = &incoming.contact {
                        leg.dialog.target.clone_from(contact);
                    }
                }
                let event = match status {
                    0..200 => Provisional,
                    200..300 => Success,
                    _ => Failure,
                };
                self.caller(&incoming.call_id, event, now, Some(incoming));
            }
            (_, _) if status < 200 => {}
            (Role::Caller(_), "CANCEL") => self.caller(&incoming.call_id, CancelAnswered, now, None),
            (role, "BYE") => {
                let is_caller = matches!(role, Role::Caller(_));
                // Where two BYEs cross, the second one may find no dialog.
                let is_crossing = status == 481 && leg.bye_came;
                if !(200..300).contains(&status) && !is_crossing {
                    self.unexpected(format!("{}: BYE got {status}", self.name));
                }
                if is_caller {
                    self.caller(&incoming.call_id, ByeAnswered, now, None);
                } else {
                    self.callee(&incoming.call_id, callee::Event::ByeAnswered, now, None);
                }
            }
            (_, method) => {
                let what = format!("{}: {status} to {method:?}, which was not sent", self.name);
                self.unexpected(what);
            }
        }
    }

    fn request(
        &mut self,
        line: usize,
        from: SocketAddr,
        incoming: &Incoming,
        plans: &mut Plans,
        now: Instant,
    ) {
        let role = self.legs.get(&incoming.call_id).map(|leg| matches!(leg.role, Role::Caller(_)));
        let answer = |switch: &mut Self, status: u16| {
            let contact = contact(&switch.name, &switch.lines[line]);
            let response = message::respond(&incoming.octets, status, "none", &contact, "");
            switch.out.push(Outgoing { line, to: from, octets: response });
        };
        match (incoming.method.as_str(), role) {
            ("OPTIONS", _) => answer(self, 200),
            ("ACK", Some(false)) => self.callee(&incoming.call_id, callee::Event::Ack, now, None),
            // ACK to what we refused without a call.
            ("ACK", _) => {}
            ("INVITE", None) if incoming.to_tag.is_none() => self.called(line, from, incoming, plans, now),
            ("INVITE", Some(false)) if incoming.to_tag.is_none() => {
                self.callee(&incoming.call_id, callee::Event::Invite, now, None);
            }
            ("BYE", Some(true)) => {
                self.answer_bye(&incoming.call_id, line, from, |switch, call_id| {
                    switch.caller(call_id, caller::Event::Bye, now, Some(incoming));
                });
            }
            ("BYE", Some(false)) => {
                self.answer_bye(&incoming.call_id, line, from, |switch, call_id| {
                    switch.callee(call_id, callee::Event::Bye, now, Some(incoming));
                });
            }
            ("CANCEL", Some(false)) => {
                self.callee(&incoming.call_id, callee::Event::Cancel, now, Some(incoming));
            }
            (method, _) => {
                answer(self, 481);
                self.unexpected(format!("{}: {method:?} of no call", self.name));
            }
        }
    }

    /// Requests of the hub may come from another port than ours go to: its answers go where they came from.
    fn answer_bye(
        &mut self,
        call_id: &str,
        line: usize,
        from: SocketAddr,
        work: impl FnOnce(&mut Self, &str),
    ) {
        let Some(leg) = self.legs.get_mut(call_id) else { return };
        leg.bye_came = true;
        let before = (std::mem::replace(&mut leg.line, line), std::mem::replace(&mut leg.peer, from));
        work(self, call_id);
        if let Some(leg) = self.legs.get_mut(call_id) {
            (leg.line, leg.peer) = before;
        }
    }

    /// A call comes in.
    fn called(
        &mut self,
        line: usize,
        from: SocketAddr,
        incoming: &Incoming,
        plans: &mut Plans,
        now: Instant,
    ) {
        let invite = &incoming.octets;
        let contact = contact(&self.name, &self.lines[line]);
        let Some(id) = plans.find(&incoming.from_user, &incoming.called_user) else {
            let response = message::respond(invite, 404, "none", "", "");
            self.out.push(Outgoing { line, to: from, octets: response });
            return self.unexpected(format!(
                "{}: a call from {} to {} that nobody placed",
                self.name, incoming.from_user, incoming.called_user
            ));
        };
        let Some(fate) = plans.get(id).map(|plan| plan.fate) else { return };
        let overloaded = plans.overloads(id);
        let Line { address, transport, .. } = self.lines[line];
        let tag = self.token();
        let leg = Leg {
            plan: id,
            fate,
            line,
            peer: from,
            role: Role::Callee(callee::State::Trying),
            dialog: Dialog {
                call_id: incoming.call_id.clone(),
                local: format!("sip:{}@{address};user=phone", incoming.called_user),
                local_tag: tag,
                address,
                remote: format!("sip:{}@{from};user=phone", incoming.from_user),
                remote_tag: incoming.from_tag.clone().unwrap_or_default(),
                uri: String::new(),
                branch: String::new(),
                target: incoming.contact.clone().unwrap_or_default(),
                contact,
                transport,
                cseq: 0,
            },
            invite: invite.clone(),
            started: now,
            progressed: false,
            status: overloaded.then_some(503),
            last: Vec::new(),
            interval: T1,
            timers: 0,
            resending: false,
            bye_came: false,
            is_over: false,
        };
        let call_id = incoming.call_id.clone();
        self.out.push(Outgoing { line, to: from, octets: message::respond(invite, 100, "", "", "") });
        self.legs.insert(call_id.clone(), leg);
        if overloaded {
            return self.schedule(&call_id, Timer::Refuse, now);
        }
        let mut after = |timer, delay| self.schedule(&call_id, timer, now + delay);
        match fate {
            Fate::Answered { ring, answer, .. } => {
                after(Timer::Ring, ring);
                after(Timer::Answer, answer);
            }
            Fate::Busy { refuse } => after(Timer::Refuse, refuse),
            Fate::Rejected { ring, refuse } | Fate::Unattended { ring, refuse } => {
                after(Timer::Ring, ring);
                after(Timer::Refuse, refuse);
            }
            Fate::Unanswered { ring, .. } => after(Timer::Ring, ring),
            Fate::Withdrawn { .. } => {}
            Fate::Barred | Fate::Unassigned => {
                after(Timer::Refuse, Duration::ZERO);
                self.unexpected(format!("{}: a call that the hub must refuse came through", self.name));
            }
        }
    }

    fn caller(&mut self, call_id: &str, event: caller::Event, now: Instant, incoming: Option<&Incoming>) {
        let Some(mut leg) = self.legs.remove(call_id) else { return };
        if let Role::Caller(state) = &mut leg.role {
            let (next, actions) = caller::step(*state, event);
            *state = next;
            for action in actions {
                self.perform(&mut leg, *action, now, incoming);
            }
        }
        self.legs.insert(call_id.to_owned(), leg);
    }

    fn callee(&mut self, call_id: &str, event: callee::Event, now: Instant, incoming: Option<&Incoming>) {
        let Some(mut leg) = self.legs.remove(call_id) else { return };
        if let Role::Callee(state) = &mut leg.role {
            let (next, actions) = callee::step(*state, event);
            *state = next;
            for action in actions {
                self.perform(&mut leg, *action, now, incoming);
            }
        }
        self.legs.insert(call_id.to_owned(), leg);
    }

    fn perform(&mut self, leg: &mut Leg, action: Action, now: Instant, incoming: Option<&Incoming>) {
        let side = match leg.role {
            Role::Caller(_) => Side::Caller,
            Role::Callee(_) => Side::Callee,
        };
        match action {
            Action::SendAck => {
                let octets = leg.dialog.ack(&self.branch());
                self.send(leg, octets);
            }
            Action::SendAckOfFailure => {
                let to_tag = incoming.and_then(|response| response.to_tag.as_deref()).unwrap_or_default();
                let octets = leg.dialog.ack_of_failure(to_tag);
                self.send(leg, octets);
            }
            Action::SendCancel => {
                let octets = leg.dialog.cancel();
                self.send_waiting(leg, octets);
            }
            Action::SendBye => {
                leg.dialog.cseq += 1;
                if let Role::Callee(_) = leg.role {
                    leg.peer = self.lines[leg.line].hub;
                }
                let octets = leg.dialog.bye(&self.branch());
                self.send_waiting(leg, octets);
            }
            Action::AnswerBye | Action::AnswerCancel => {
                if let Some(request) = incoming {
                    let octets = message::respond(&request.octets, 200, &leg.dialog.local_tag, "", "");
                    self.send(leg, octets);
                }
            }
            Action::SendTrying => {
                let octets = message::respond(&leg.invite, 100, "", "", "");
                self.send(leg, octets);
            }
            Action::SendRinging => self.respond(leg, 180, ""),
            Action::SendOk => {
                let answer = sdp(self.lines[leg.line].address);
                self.respond(leg, 200, &answer);
            }
            Action::SendTerminated => self.respond(leg, 487, ""),
            Action::SendRefusal => {
                let status = match (leg.status, leg.fate) {
                    (Some(status), _) => status,
                    (None, Fate::Busy { .. }) => 486,
                    (None, Fate::Unattended { .. }) => 480,
                    (None, _) => 603,
                };
                self.respond(leg, status, "");
            }
            Action::Repeat => {
                let octets = leg.last.clone();
                self.send(leg, octets);
                self.news.push(News::Retransmitted);
                if leg.resending {
                    leg.interval *= 2;
                    if !matches!(leg.role, Role::Caller(caller::State::Calling | caller::State::Withdrawn)) {
                        leg.interval = leg.interval.min(T2);
                    }
                    self.schedule(&leg.dialog.call_id, Timer::Resend(leg.timers), now + leg.interval);
                }
            }
            Action::StartTimers => {
                // A 200 to INVITE crosses proxies, so it is sent again over any transport (§13.3.1.4).
                let end_to_end = matches!(leg.role, Role::Callee(callee::State::Answered));
                self.start_timers(leg, now, end_to_end);
            }
            Action::StopResending => leg.resending = false,
            Action::StopTimers => {
                leg.resending = false;
                leg.timers += 1;
            }
            Action::ReportUp => {
                self.news.push(News::Answered(leg.plan, side));
                if let Fate::Answered { talk, hangs_up, .. } = leg.fate
                    && hangs_up == side
                {
                    self.schedule(&leg.dialog.call_id, Timer::HangUp, now + talk);
                }
            }
            Action::NoAck => self.unexpected(format!("{}: no ACK came to a final response", self.name)),
            Action::End(ended) => {
                leg.is_over = true;
                self.schedule(&leg.dialog.call_id, Timer::Forget, now + PATIENCE);
                self.news.push(News::Over(leg.plan, side, ended, leg.status));
            }
        }
    }

    /// Responds to the INVITE that came; a final response is kept to be sent again.
    fn respond(&mut self, leg: &mut Leg, status: u16, body: &str) {
        let contact = if status < 300 { leg.dialog.contact.as_str() } else { "" };
        let octets = message::respond(&leg.invite, status, &leg.dialog.local_tag, contact, body);
        match status {
            0..200 => self.send(leg, octets),
            _ => {
                leg.status = Some(status);
                self.send_waiting(leg, octets);
            }
        }
    }

    fn send(&mut self, leg: &Leg, octets: Vec<u8>) {
        self.out.push(Outgoing { line: leg.line, to: leg.peer, octets });
    }

    /// Sends what is sent again until a reply comes.
    fn send_waiting(&mut self, leg: &mut Leg, octets: Vec<u8>) {
        leg.last.clone_from(&octets);
        self.send(leg, octets);
    }

    fn start_timers(&mut self, leg: &mut Leg, now: Instant, even_over_streams: bool) {
        let is_request = matches!(leg.role, Role::Caller(_));
        let reliable = leg.dialog.transport.is_reliable() && (is_request || !even_over_streams);
        leg.timers += 1;
        leg.interval = T1;
        leg.resending = !reliable;
        if leg.resending {
            self.schedule(&leg.dialog.call_id, Timer::Resend(leg.timers), now + T1);
        }
        self.schedule(&leg.dialog.call_id, Timer::Expire(leg.timers), now + PATIENCE);
    }

    fn schedule(&mut self, call_id: &str, timer: Timer, at: Instant) {
        self.sequence += 1;
        self.timers.push(Reverse((at, self.sequence, call_id.to_owned(), timer)));
    }

    fn unexpected(&mut self, what: String) {
        self.news.push(News::Unexpected(what));
    }

    fn token(&mut self) -> String {
        format!("{:016x}", self.rng.random::<u64>())
    }

    fn branch(&mut self) -> String {
        format!("z9hG4bK{}", self.token())
    }
}

fn contact(name: &str, line: &Line) -> String {
    let Line { address, transport, .. } = line;
    format!("<sip:{name}@{address};transport={}>", transport.as_str())
}

/// An offer, or the answer to it, of one G.711 stream. No sound is sent.
fn sdp(address: SocketAddr) -> String {
    let ip = address.ip();
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 0\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
    )
}

#[cfg(test)]
mod tests {
    use tandem_model::Clock;
    use tandem_testkit::ManualClock;

    use super::*;
    use crate::simulate::provider::providers;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const ANSWERED: Fate = Fate::Answered {
        ring: ms(100),
        answer: ms(2_000),
        talk: ms(5_000),
        hangs_up: Side::Caller,
        overloaded: false,
    };

    /// Two switches with nothing between them: each is the other's hub.
    struct Network {
        clock: ManualClock,
        switches: [Switch; 2],
        plans: Plans,
        /// Of so many messages one is lost.
        lossy: Option<u32>,
        placed: u64,
        rng: StdRng,
        news: Vec<News>,
        sent: Vec<String>,
    }

    impl Network {
        fn new(transport: Transport) -> Self {
            let [one, other] =
                ["127.42.1.1:5060", "127.42.2.1:5060"].map(|text| text.parse().expect("an address"));
            let line = |address, hub| vec![Line { address, transport, hub }];
            Self {
                clock: ManualClock::new(),
                switches: [
                    Switch::new("one", line(one, other), 1),
                    Switch::new("other", line(other, one), 2),
                ],
                plans: Plans::default(),
                lossy: None,
                placed: 0,
                rng: StdRng::seed_from_u64(3),
                news: Vec::new(),
                sent: Vec::new(),
            }
        }

        fn place(&mut self, fate: Fate) {
            self.placed += 1;
            let [one, other] = [0, 1].map(|index| providers(2)[index].number(self.placed));
            let plan = Plan { caller: 0, callee: 1, calling: one, called: other, fate };
            let id = self.plans.add(plan.clone()).expect("two numbers that do not talk");
            self.switches[0].place(id, &plan, self.clock.instant());
        }

        /// Runs until nothing is left to do, for `limit` at most.
        fn run(&mut self, limit: Duration) -> &[News] {
            let end = self.clock.instant() + limit;
            loop {
                self.deliver();
                let next = self.switches.iter().filter_map(Switch::next_timer).min();
                match next {
                    Some(at) if at <= end => {
                        self.clock.advance(at.saturating_duration_since(self.clock.instant()));
                        let now = self.clock.instant();
                        self.switches.iter_mut().for_each(|switch| switch.fire(now));
                    }
                    _ => return &self.news,
                }
            }
        }

        fn deliver(&mut self) {
            loop {
                let mut quiet = true;
                for from in 0..2 {
                    self.news.extend(self.switches[from].take_news());
                    for outgoing in self.switches[from].take_outgoing() {
                        quiet = false;
                        let first_line =
                            outgoing.octets.split(|&octet| octet == b'\r').next().unwrap_or_default();
                        self.sent.push(String::from_utf8_lossy(first_line).into_owned());
                        if self.lossy.is_some_and(|lossy| self.rng.random_ratio(1, lossy)) {
                            continue;
                        }
                        let source = self.switches[from].lines[0].address;
                        let now = self.clock.instant();
                        self.switches[1 - from].receive(0, source, &outgoing.octets, &mut self.plans, now);
                    }
                }
                if quiet {
                    return;
                }
            }
        }

        fn sent(&self, beginning: &str) -> usize {
            self.sent.iter().filter(|line| line.starts_with(beginning)).count()
        }

        fn unexpected(&self) -> Vec<&News> {
            self.news.iter().filter(|news| matches!(news, News::Unexpected(_))).collect()
        }

        fn ends(&self) -> Vec<(Side, Ended, Option<u16>)> {
            let end = |news: &News| match news {
                News::Over(_, side, ended, status) => Some((*side, *ended, *status)),
                _ => None,
            };
            self.news.iter().filter_map(end).collect()
        }
    }

    #[test]
    fn an_answered_call_takes_seven_messages() {
        let mut net = Network::new(Transport::Udp);
        net.place(ANSWERED);
        net.run(Duration::from_secs(60));
        let lines: Vec<&str> = net.sent.iter().map(|line| line.trim_start_matches("SIP/2.0 ")).collect();
        let beginnings = ["INVITE ", "100 ", "180 ", "200 ", "ACK ", "BYE ", "200 "];
        assert_eq!(lines.len(), beginnings.len(), "{lines:?}");
        assert!(
            lines.iter().zip(beginnings).all(|(line, beginning)| line.starts_with(beginning)),
            "{lines:?}"
        );
        assert_eq!(net.unexpected(), [&News::Retransmitted; 0]);
        assert_eq!(
            net.ends(),
            [(Side::Callee, Ended::ByPeer, Some(200)), (Side::Caller, Ended::ByUs, Some(200))]
        );
    }

    #[test]
    fn each_fate_ends_with_its_status() {
        let fates = [
            ANSWERED,
            Fate::Busy { refuse: ms(100) },
            Fate::Rejected { ring: ms(100), refuse: ms(3_000) },
            Fate::Unanswered { ring: ms(100), give_up: ms(9_000) },
            Fate::Unattended { ring: ms(100), refuse: ms(9_000) },
            Fate::Withdrawn { give_up: ms(300) },
        ];
        for transport in [Transport::Udp, Transport::Tcp] {
            for fate in fates {
                let mut net = Network::new(transport);
                net.place(fate);
                net.run(Duration::from_secs(120));
                let status =
                    net.ends().into_iter().find(|(side, ..)| *side == Side::Caller).and_then(|end| end.2);
                assert_eq!(status, Some(fate.expected_status()), "{fate:?}: {:?}", net.sent);
                assert_eq!(net.unexpected(), [&News::Retransmitted; 0], "{fate:?}");
                assert_eq!(net.sent("INVITE "), 1);
                assert_eq!(net.switches.iter().map(Switch::open_legs).sum::<usize>(), 0);
            }
        }
    }

    #[test]
    fn an_unanswered_invite_is_sent_seven_times_in_32_s() {
        let mut net = Network::new(Transport::Udp);
        net.lossy = Some(1);
        net.place(ANSWERED);
        net.run(Duration::from_secs(120));
        assert_eq!(net.sent("INVITE "), 7);
        assert_eq!(net.ends(), [(Side::Caller, Ended::TimedOut, None)]);
    }

    #[test]
    fn an_invite_over_a_stream_is_sent_once() {
        let mut net = Network::new(Transport::Tcp);
        net.lossy = Some(1);
        net.place(ANSWERED);
        net.run(Duration::from_secs(120));
        assert_eq!((net.sent("INVITE "), net.ends().len()), (1, 1));
    }

    #[test]
    fn calls_end_well_though_every_fourth_message_is_lost() {
        let mut net = Network::new(Transport::Udp);
        net.lossy = Some(4);
        for _ in 0..200 {
            net.place(ANSWERED);
        }
        net.run(Duration::from_secs(300));
        let fine = |(_, ended, status): &(Side, Ended, Option<u16>)| {
            *status == Some(200) && matches!(ended, Ended::ByUs | Ended::ByPeer)
        };
        assert_eq!(net.ends().iter().filter(|end| fine(end)).count(), 400, "{:?}", net.unexpected());
        assert!(net.news.iter().filter(|news| **news == News::Retransmitted).count() > 100);
    }

    #[test]
    fn what_rsip_cannot_read_is_reported() {
        let mut net = Network::new(Transport::Udp);
        let from = "127.0.0.1:5060".parse().expect("an address");
        net.switches[0].receive(
            0,
            from,
            b"INVITE sip:x SIP/3.0\r\n\r\n",
            &mut net.plans,
            net.clock.instant(),
        );
        net.deliver();
        assert_eq!(net.unexpected().len(), 1);
    }
}

//! The calls: both ends of each, their timers, and what was measured.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::Options;
use crate::clock::now;
use crate::figures::Figures;
use crate::message::{Message, after, number, within_brackets};
use crate::socket::{Received, Socket};
use crate::tls::Tls;
use crate::transport::Transport;

/// Pause between two looks at the sockets. Never a blocking receive: waking a blocked receiver is billed to the
/// sender, which is the proxy that is measured; a nap wakes up on its own bill.
const NAP: Duration = Duration::from_micros(200);

/// Most calls that are placed before the sockets are looked at again.
const BURST: u32 = 32;

/// Calls that can be up at once: their index has six digits in the calling number.
const MOST_CALLS: usize = 1_000_000;

/// The generation of an index has three digits there.
const GENERATIONS: u32 = 1_000;

/// Pauses between the transmissions of a message that nothing answers; after the last one it has failed.
const RETRANSMISSIONS_MS: [i64; 3] = [500, 1_000, 2_000];

const NANOS_PER_MS: i64 = 1_000_000;

const SDP: &str = "v=0\r\no=- 3861 3861 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=audio 30000 RTP/AVP 8 0 18 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:18 G729/8000\r\n\
    a=fmtp:18 annexb=no\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";

/// One call, or the place where the next one with its index goes.
#[derive(Default)]
struct Call<'a> {
    generation: u32,
    is_up: bool,
    number: &'a str,
    /// As the caller sees it.
    invited_at: i64,
    is_answered: bool,
    provisional_came: bool,
    bye_at: Option<i64>,
    /// `To` with its tag, the remote target and the route set, as the 200 gave them.
    to: Vec<u8>,
    remote_target: Vec<u8>,
    routes: Vec<u8>,
    /// As the gateway sees it.
    gateway: usize,
    arrived_after: Option<i64>,
    ringing_at: Option<i64>,
    answering_at: Option<i64>,
    is_acknowledged: bool,
    peer: Option<SocketAddrV4>,
    /// The headers that each of its responses begins with, and `To` without a tag.
    echo: Vec<u8>,
    echo_to: Vec<u8>,
    was_retransmitted: bool,
}

#[derive(Clone, Copy)]
enum Due {
    Ring,
    Answer,
    HangUp,
    InviteAgain(usize),
    AnswerAgain(usize),
    ByeAgain(usize),
}

/// Timers of one length, in the order in which they end.
struct Timers {
    after: i64,
    running: VecDeque<(i64, usize, u32, Due)>,
}

struct Load<'a> {
    options: &'a Options,
    run: String,
    /// The caller's, then those of the gateways.
    sockets: Vec<Socket>,
    calls: Vec<Call<'a>>,
    free: Vec<usize>,
    timers: Vec<Timers>,
    figures: Figures,
}

/// Places the calls, until all are placed or it is over, and waits for their ends; what is returned is what was measured.
pub(crate) fn run(options: &Options, numbers: &[&str], is_over: &AtomicBool) -> Result<Value> {
    let mut load = Load::new(options)?;
    let mut received = Received::default();
    let gap = 1e9 / options.rate;
    let started = now();
    let mut placed_all_at = None;
    let patience = i64::from(options.ring + options.answer + options.hold + options.drain) * NANOS_PER_MS;
    loop {
        let mut is_idle = true;
        for _ in 0..BURST {
            let due = started + (load.figures.placed as f64 * gap) as i64;
            let now = now();
            if load.figures.placed >= options.calls || due > now || is_over.load(Ordering::Relaxed) {
                break;
            }
            load.figures.most_behind = load.figures.most_behind.max(now - due);
            let number = numbers[load.figures.placed as usize % numbers.len()];
            if !load.place(number, now) {
                break;
            }
            is_idle = false;
        }
        if (load.figures.placed >= options.calls || is_over.load(Ordering::Relaxed))
            && placed_all_at.is_none()
        {
            placed_all_at = Some(now());
        }
        load.flush();
        for index in 0..load.sockets.len() {
            load.sockets[index].receive(&mut received)?;
            if received.arrivals.is_empty() {
                continue;
            }
            is_idle = false;
            let now = now();
            for arrival in &received.arrivals {
                let message = Message::read(received.octets(arrival));
                // How late we looked at a datagram is not the proxy's latency: the kernel's stamp tells when it was
                // there. For streams there is none, so that a nap is added.
                if index == 0 {
                    load.caller_receives(&message, arrival.at, now);
                } else {
                    load.gateway_receives(index, &message, arrival.from, arrival.at, now);
                }
            }
            load.flush();
        }
        is_idle &= !load.fire(now());
        load.flush();
        if let Some(at) = placed_all_at
            && (load.figures.up == 0 || now() - at > patience)
        {
            return Ok(load.figures.result(at - started));
        }
        if is_idle {
            sleep(NAP);
        }
    }
}

impl<'a> Load<'a> {
    fn new(options: &'a Options) -> Result<Self> {
        let Options { transport, caller, target, .. } = *options;
        let tls = options.tls.as_deref().filter(|_| transport == Transport::Tls);
        let tls = tls.map(Tls::read).transpose()?;
        let gateways =
            options.gateways.iter().map(|&gateway| Socket::gateway(gateway, transport, tls.as_ref()));
        let mut sockets = gateways.collect::<Result<Vec<_>>>()?;
        sockets.insert(0, Socket::caller(caller, target, transport, tls.as_ref())?);
        let lengths = [i64::from(options.ring), i64::from(options.answer), i64::from(options.hold)];
        let timers = lengths.into_iter().chain(RETRANSMISSIONS_MS);
        Ok(Self {
            options,
            run: format!("{:x}", (now() / 1_000) as u32),
            sockets,
            calls: Vec::new(),
            free: Vec::new(),
            timers: timers.map(|ms| Timers { after: ms * NANOS_PER_MS, running: VecDeque::new() }).collect(),
            figures: Figures::default(),
        })
    }

    fn flush(&mut self) {
        self.sockets.iter_mut().for_each(Socket::flush);
    }

    fn start(&mut self, now: i64, index: usize, due: Due) {
        let timers = match due {
            Due::Ring => 0,
            Due::Answer => 1,
            Due::HangUp => 2,
            Due::InviteAgain(step) | Due::AnswerAgain(step) | Due::ByeAgain(step) => 3 + step,
        };
        let timers = &mut self.timers[timers];
        timers.running.push_back((now + timers.after, index, self.calls[index].generation, due));
    }

    /// Performs what is due; whether anything was.
    fn fire(&mut self, now: i64) -> bool {
        let mut is_any = false;
        for timers in 0..self.timers.len() {
            while let Some(&(at, index, generation, due)) = self.timers[timers].running.front()
                && at <= now
            {
                self.timers[timers].running.pop_front();
                is_any = true;
                if self.calls[index].is_up && self.calls[index].generation == generation {
                    self.perform(index, due, now);
                }
            }
        }
        is_any
    }

    fn perform(&mut self, index: usize, due: Due, now: i64) {
        let call = &mut self.calls[index];
        match due {
            Due::Ring => {
                call.ringing_at = Some(now);
                self.respond(index, 180);
                self.start(now, index, Due::Answer);
            }
            Due::Answer => {
                call.answering_at = Some(now);
                self.respond(index, 200);
                self.start(now, index, Due::AnswerAgain(0));
            }
            Due::HangUp => {
                call.bye_at = Some(now);
                self.request(index, "BYE", 2);
                self.start(now, index, Due::ByeAgain(0));
            }
            Due::InviteAgain(_) if call.is_answered => {}
            Due::ByeAgain(step) | Due::InviteAgain(step) if step + 1 == RETRANSMISSIONS_MS.len() => {
                self.end(index, false);
            }
            Due::InviteAgain(step) => {
                // A provisional response ends the retransmissions, not the waiting.
                if !call.provisional_came && !self.options.transport.is_reliable() {
                    self.note_retransmission(index);
                    self.invite(index);
                }
                self.start(now, index, Due::InviteAgain(step + 1));
            }
            Due::AnswerAgain(_) if call.is_acknowledged => {}
            Due::AnswerAgain(step) => {
                self.note_retransmission(index);
                self.respond(index, 200);
                if step + 1 < RETRANSMISSIONS_MS.len() {
                    self.start(now, index, Due::AnswerAgain(step + 1));
                }
            }
            Due::ByeAgain(step) => {
                if !self.options.transport.is_reliable() {
                    self.note_retransmission(index);
                    self.request(index, "BYE", 2);
                }
                self.start(now, index, Due::ByeAgain(step + 1));
            }
        }
    }

    fn note_retransmission(&mut self, index: usize) {
        if !std::mem::replace(&mut self.calls[index].was_retransmitted, true) {
            self.figures.retransmitted += 1;
        }
    }

    fn end(&mut self, index: usize, is_complete: bool) {
        self.calls[index].is_up = false;
        self.free.push(index);
        self.figures.up -= 1;
        *if is_complete { &mut self.figures.completed } else { &mut self.figures.failed } += 1;
    }

    /// The caller's INVITE goes out; false where no more calls can be up.
    fn place(&mut self, number: &'a str, now: i64) -> bool {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.calls.len() < MOST_CALLS => {
                self.calls.push(Call::default());
                self.calls.len() - 1
            }
            None => {
                self.figures.unplaced += 1;
                return false;
            }
        };
        let call = std::mem::take(&mut self.calls[index]);
        // The room that the last call needed is kept.
        let emptied = |mut text: Vec<u8>| {
            text.clear();
            text
        };
        self.calls[index] = Call {
            generation: call.generation + 1,
            is_up: true,
            number,
            invited_at: now,
            to: emptied(call.to),
            remote_target: emptied(call.remote_target),
            routes: emptied(call.routes),
            echo: emptied(call.echo),
            echo_to: emptied(call.echo_to),
            ..Call::default()
        };
        self.figures.placed += 1;
        self.figures.up += 1;
        self.invite(index);
        self.start(now, index, Due::InviteAgain(0));
        true
    }

    fn caller_receives(&mut self, response: &Message<'_>, at: i64, now: i64) {
        let Some(status) = response.status() else { return };
        let Some((index, generation)) = key(response.call_id, b'-') else { return };
        let Some(call) = self.calls.get_mut(index) else { return };
        if !call.is_up || call.generation != generation {
            self.figures.late += 1;
            return;
        }
        let is_to_invite = response.cseq.ends_with(b"INVITE");
        match status {
            100..=199 => {
                call.provisional_came = true;
                if let (180, Some(sent), Some(arrived_after)) = (status, call.ringing_at, call.arrived_after)
                {
                    self.figures.ringing_transit.push(at - sent);
                    self.figures.setup.push(at - sent + arrived_after);
                }
            }
            200..=299 if is_to_invite => {
                if std::mem::replace(&mut call.is_answered, true) {
                    self.note_retransmission(index);
                    return self.request(index, "ACK", 1);
                }
                if let Some(sent) = call.answering_at {
                    self.figures.answer_transit.push(at - sent);
                }
                call.to.extend(response.to);
                call.remote_target.extend(within_brackets(response.contact).unwrap_or_default());
                for route in response.record_routes().rev() {
                    line(&mut call.routes, "Route", route);
                }
                self.request(index, "ACK", 1);
                self.start(now, index, Due::HangUp);
            }
            _ if is_to_invite => {
                self.acknowledge_failure(index, response.to);
                if !self.calls[index].is_answered {
                    *self.figures.refusals.entry(status).or_default() += 1;
                    self.end(index, false);
                }
            }
            _ => {
                if let Some(sent) = call.bye_at {
                    self.figures.bye_round_trip.push(at - sent);
                    if status >= 300 {
                        *self.figures.refusals.entry(status).or_default() += 1;
                    }
                    self.end(index, status < 300);
                }
            }
        }
    }

    fn gateway_receives(
        &mut self,
        gateway: usize,
        request: &Message<'_>,
        from: SocketAddrV4,
        at: i64,
        now: i64,
    ) {
        if request.is_request("INVITE") {
            // A proxy may be a B2BUA: only the calling number is sure to be the one that we gave it.
            let calling = after(request.from, "+882").and_then(|digits| digits.get(..9));
            let Some((calling, _)) = calling.and_then(number) else { return };
            let (index, generation) = ((calling / GENERATIONS) as usize, calling % GENERATIONS);
            let Some(call) = self.calls.get_mut(index) else { return };
            if !call.is_up || call.generation % GENERATIONS != generation {
                self.figures.late += 1;
                return;
            }
            if call.arrived_after.is_some() {
                let status = match (call.ringing_at, call.answering_at) {
                    (_, Some(_)) => 200,
                    (Some(_), _) => 180,
                    _ => 100,
                };
                self.note_retransmission(index);
                return self.respond(index, status);
            }
            call.gateway = gateway;
            call.peer = Some(from);
            call.arrived_after = Some(at - call.invited_at);
            self.figures.invite_transit.push(at - call.invited_at);
            echo(&mut call.echo, request);
            call.echo_to.extend(request.to);
            self.respond(index, 100);
            self.start(now, index, Due::Ring);
        } else if request.is_request("ACK") {
            let Some((index, generation)) = after(request.to, ";tag=s").and_then(|tag| key(tag, b'g')) else {
                return;
            };
            if let Some(call) = self.calls.get_mut(index)
                && call.generation == generation
            {
                call.is_acknowledged = true;
            }
        } else {
            // BYE, and OPTIONS of a proxy that asks whether we are there.
            let socket = &mut self.sockets[gateway];
            let text = socket.text();
            text.extend(b"SIP/2.0 200 OK\r\n");
            echo(text, request);
            line(text, "To", request.to);
            text.extend(b"Content-Length: 0\r\n\r\n");
            socket.put(from);
        }
    }

    fn invite(&mut self, index: usize) {
        let Load { run, options, .. } = self;
        let (call, socket) = (&self.calls[index], &mut self.sockets[0]);
        let (number, generation) = (call.number, call.generation);
        let Options { target, transport, .. } = **options;
        let (name, user) = (socket.name.clone(), Calling(index, generation));
        write(
            socket.text(),
            format_args!(
                "INVITE sip:+{number}@{target} SIP/2.0\r\n\
                 Via: SIP/2.0/{via} {name};rport;branch=z9hG4bK{run}-{index}-{generation}-1\r\n\
                 Max-Forwards: 70\r\n\
                 From: <sip:{user}@{name}>;tag=c{index}g{generation}\r\n\
                 To: <sip:+{number}@{target}>\r\n\
                 Call-ID: {index}-{generation}-{run}@bench\r\n\
                 CSeq: 1 INVITE\r\n\
                 Contact: <sip:{user}@{name}{parameter}>\r\n\
                 Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, PRACK, INFO\r\n\
                 Supported: timer, 100rel\r\n\
                 P-Asserted-Identity: <sip:{user}@{name}>\r\n\
                 User-Agent: sipload\r\n\
                 Content-Type: application/sdp\r\n\
                 Content-Length: {}\r\n\r\n{SDP}",
                SDP.len(),
                via = transport.via(),
                parameter = transport.parameter(),
            ),
        );
        socket.put(target);
    }

    /// ACK of a 200, or BYE.
    fn request(&mut self, index: usize, method: &str, cseq: u32) {
        let (call, socket) = (&self.calls[index], &mut self.sockets[0]);
        let (generation, run, name) = (call.generation, &self.run, socket.name.clone());
        let text = socket.text();
        write(text, format_args!("{method} "));
        text.extend(&call.remote_target);
        write(
            text,
            format_args!(
                " SIP/2.0\r\n\
                 Via: SIP/2.0/{via} {name};rport;branch=z9hG4bK{run}-{index}-{generation}-{method}\r\n",
                via = self.options.transport.via(),
            ),
        );
        text.extend(&call.routes);
        line(text, "To", &call.to);
        write(
            text,
            format_args!(
                "Max-Forwards: 70\r\n\
                 From: <sip:{user}@{name}>;tag=c{index}g{generation}\r\n\
                 Call-ID: {index}-{generation}-{run}@bench\r\n\
                 CSeq: {cseq} {method}\r\n\
                 Content-Length: 0\r\n\r\n",
                user = Calling(index, generation),
            ),
        );
        socket.put(self.options.target);
    }

    fn acknowledge_failure(&mut self, index: usize, to: &[u8]) {
        let (call, socket) = (&self.calls[index], &mut self.sockets[0]);
        let (number, generation) = (call.number, call.generation);
        let (run, name) = (&self.run, socket.name.clone());
        let Options { target, transport, .. } = *self.options;
        let text = socket.text();
        write(
            text,
            format_args!(
                "ACK sip:+{number}@{target} SIP/2.0\r\n\
                 Via: SIP/2.0/{via} {name};rport;branch=z9hG4bK{run}-{index}-{generation}-1\r\n\
                 Max-Forwards: 70\r\n\
                 From: <sip:{user}@{name}>;tag=c{index}g{generation}\r\n\
                 Call-ID: {index}-{generation}-{run}@bench\r\n\
                 CSeq: 1 ACK\r\n",
                via = transport.via(),
                user = Calling(index, generation),
            ),
        );
        line(text, "To", to);
        text.extend(b"Content-Length: 0\r\n\r\n");
        socket.put(target);
    }

    /// The gateway's response to its INVITE.
    fn respond(&mut self, index: usize, status: u16) {
        let call = &self.calls[index];
        let Some(peer) = call.peer else { return };
        let socket = &mut self.sockets[call.gateway];
        let (generation, name) = (call.generation, socket.name.clone());
        let text = socket.text();
        text.extend(match status {
            100 => &b"SIP/2.0 100 Trying\r\n"[..],
            180 => b"SIP/2.0 180 Ringing\r\n",
            _ => b"SIP/2.0 200 OK\r\n",
        });
        text.extend(&call.echo);
        text.extend(b"To: ");
        text.extend(&call.echo_to);
        if status > 100 {
            let parameter = self.options.transport.parameter();
            write(
                text,
                format_args!(";tag=s{index}g{generation}\r\nContact: <sip:gateway@{name}{parameter}>"),
            );
        }
        if status == 200 {
            write(
                text,
                format_args!(
                    "\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\nContent-Type: application/sdp\r\n\
                     Content-Length: {}\r\n\r\n{SDP}",
                    SDP.len(),
                ),
            );
        } else {
            text.extend(b"\r\nContent-Length: 0\r\n\r\n");
        }
        socket.put(peer);
    }
}

/// The calling number: country code 882, six digits of index, three of generation.
struct Calling(usize, u32);

impl std::fmt::Display for Calling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "+882{:06}{:03}", self.0, self.1 % GENERATIONS)
    }
}

/// Writing to a vector does not fail.
fn write(text: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(what);
}

fn line(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    text.extend(name.as_bytes());
    text.extend(b": ");
    text.extend(value);
    text.extend(b"\r\n");
}

/// The headers of a request that its responses repeat, but for `To`.
fn echo(text: &mut Vec<u8>, request: &Message<'_>) {
    request.vias().for_each(|via| line(text, "Via", via));
    request.record_routes().for_each(|route| line(text, "Record-Route", route));
    line(text, "From", request.from);
    line(text, "Call-ID", request.call_id);
    line(text, "CSeq", request.cseq);
}

/// Index and generation of a call, as its tags and its Call-ID have them.
fn key(text: &[u8], separator: u8) -> Option<(usize, u32)> {
    let (index, rest) = number(text)?;
    let rest = rest.strip_prefix(&[separator])?;
    Some((index as usize, number(rest)?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_by_its_call_id_its_tag_and_its_calling_number() {
        assert_eq!(key(b"12-7-ab@bench", b'-'), Some((12, 7)));
        assert_eq!(key(b"12g7;x", b'g'), Some((12, 7)));
        assert_eq!(key(b"12", b'g'), None);
        assert_eq!(Calling(12, 7_007).to_string(), "+882000012007");
    }
}

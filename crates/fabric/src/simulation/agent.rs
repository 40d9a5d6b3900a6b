//! User agents of members, for simulations: each plays one side of one call by a plan drawn at random, with
//! retransmissions of its own. Nothing of the hub's code is used here, so that an error there is not
//! repeated here; what the hub must not do to a user agent is asserted where it would be noticed.

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::{HUB, SDP, field, kind};

/// Milliseconds of simulated time.
pub(super) type Millis = u64;

const T1: Millis = 500;
const T2: Millis = 4_000;
/// Longest time that a caller waits for an answer before it gives up.
const PATIENCE: Millis = 150_000;

/// A request that was sent.
struct Client {
    branch: String,
    method: &'static str,
    cseq: u32,
    text: String,
    dialog: Option<usize>,
    again_at: Option<Millis>,
    interval: Millis,
    until: Millis,
    /// Whether a response above 99 came.
    proceeding: bool,
    /// Status and To of its final response.
    ended: Option<(String, String)>,
    acks: Vec<(String, String)>,
}

/// A request that came.
struct Server {
    branch: String,
    method: String,
    cseq: u32,
    request: String,
    dialog: usize,
    response: Option<String>,
    is_final: bool,
    /// While a final response to INVITE waits for its ACK, or a reliable one for its PRACK.
    again_at: Option<Millis>,
    interval: Millis,
    until: Millis,
}

/// A dialog as this user agent sees it.
struct Dialog {
    local: String,
    remote: String,
    target: String,
    cseq: u32,
    confirmed: bool,
    over: bool,
    /// Last RSeq that came.
    rseq_in: Option<u32>,
    /// Reliable provisional responses that were sent: number, whether acknowledged, octets.
    rseq_out: Vec<(u32, bool)>,
    unacknowledged: Option<Reliable>,
}

struct Reliable {
    text: String,
    again_at: Millis,
    interval: Millis,
    until: Millis,
}

/// What a user agent means to do.
#[derive(Clone, Debug)]
enum Todo {
    Cancel,
    GiveUp,
    /// Responds to the first INVITE: status, branch of the fork, with a body, reliably.
    Respond(&'static str, usize, bool, bool),
    /// Answers a request in a dialog.
    Answer(String, &'static str),
    /// Sends a request in a dialog.
    Send(&'static str, usize),
}

/// One side of one call.
pub(super) struct Agent {
    address: &'static str,
    pub(super) call_id: String,
    is_caller: bool,
    from: String,
    number: String,
    reliable: bool,
    clients: Vec<Client>,
    servers: Vec<Server>,
    dialogs: Vec<Dialog>,
    todo: Vec<(Millis, Todo)>,
    branches: u32,
    tag: u32,
}

fn tag_of(value: &str) -> &str {
    value.split(";tag=").nth(1).unwrap_or_default().split(';').next().unwrap()
}

fn branch(message: &str) -> &str {
    field(message, "Via").split(";branch=").nth(1).unwrap().split(';').next().unwrap()
}

fn cseq(message: &str) -> (u32, &str) {
    let (number, method) = field(message, "CSeq").split_once(' ').unwrap();
    (number.parse().unwrap(), method)
}

fn optional<'m>(message: &'m str, name: &str) -> Option<&'m str> {
    message
        .lines()
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").unwrap().1
}

fn with_body(head: &str, body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!("{head}{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn chance(rng: &mut StdRng, percent: u32) -> bool {
    rng.random_range(0..100) < percent
}

impl Agent {
    /// A caller who sends its INVITE at once.
    pub(super) fn caller(
        n: usize,
        address: &'static str,
        number: &str,
        now: Millis,
        rng: &mut StdRng,
        out: &mut Vec<String>,
    ) -> Self {
        let reliable = chance(rng, 60);
        let mut agent = Self {
            address,
            call_id: format!("call{n}@{address}"),
            is_caller: true,
            from: format!("<sip:+33199001234@{address}>;tag=from{n}"),
            number: number.to_owned(),
            reliable,
            clients: Vec::new(),
            servers: Vec::new(),
            dialogs: Vec::new(),
            todo: Vec::new(),
            branches: 0,
            tag: 0,
        };
        let extra = match (reliable, chance(rng, 15)) {
            (true, true) => "Require: 100rel\r\n",
            (true, false) => {
                "Supported: timer, 100rel, replaces\r\nAllow: INVITE, ACK, BYE, PRACK, UPDATE\r\n"
            }
            (false, _) => "",
        };
        let sdp = if chance(rng, 15) { "" } else { SDP };
        let uri = format!("sip:{number}@{HUB}");
        let (from, to) = (agent.from.clone(), format!("<{uri}>"));
        let text = agent.request("INVITE", &uri, &from, &to, 1, extra, sdp);
        agent.start(now, "INVITE", 1, None, text, out);
        if chance(rng, 25) {
            agent.todo.push((now + rng.random_range(0..9_000), Todo::Cancel));
        }
        agent.todo.push((now + PATIENCE, Todo::GiveUp));
        agent
    }

    /// A callee who has got an INVITE.
    pub(super) fn callee(address: &'static str, invite: &str, now: Millis, rng: &mut StdRng) -> Self {
        let mut agent = Self {
            address,
            call_id: field(invite, "Call-ID").to_owned(),
            is_caller: false,
            from: field(invite, "From").to_owned(),
            number: String::new(),
            reliable: ["Supported", "Require"]
                .iter()
                .any(|name| optional(invite, name).is_some_and(|tags| tags.contains("100rel"))),
            clients: Vec::new(),
            servers: Vec::new(),
            dialogs: Vec::new(),
            todo: Vec::new(),
            branches: 0,
            tag: rng.next_u32(),
        };
        let must = optional(invite, "Require").is_some_and(|tags| tags.contains("100rel"));
        agent.servers.push(Server {
            branch: branch(invite).to_owned(),
            method: "INVITE".to_owned(),
            cseq: cseq(invite).0,
            request: invite.to_owned(),
            dialog: 0,
            response: None,
            is_final: false,
            again_at: None,
            interval: T1,
            until: 0,
        });
        let forks = if chance(rng, 25) { rng.random_range(2..4) } else { 1 };
        for fork in 0..forks {
            agent.dialogs.push(Dialog {
                local: format!("{};tag=to{}x{fork}", field(invite, "To"), agent.tag),
                remote: agent.from.clone(),
                target: super::uri_of(field(invite, "Contact")).to_owned(),
                cseq: 0,
                confirmed: false,
                over: false,
                rseq_in: None,
                rseq_out: Vec::new(),
                unacknowledged: None,
            });
        }
        if chance(rng, 8) {
            return agent; // It is dead.
        }
        let mut at = now + if chance(rng, 5) { 3_500 } else { rng.random_range(0..1_500) };
        if chance(rng, 50) {
            agent.todo.push((at, Todo::Respond("100 Trying", 0, false, false)));
        }
        for fork in 0..forks {
            for _ in 0..rng.random_range(0..3) {
                at += rng.random_range(0..2_500);
                let status = ["180 Ringing", "183 Session Progress", "181 Forwarded"][rng.random_range(0..3)];
                let reliable = agent.reliable && (must || chance(rng, 70));
                agent.todo.push((at, Todo::Respond(status, fork, chance(rng, 50), reliable)));
                if reliable && chance(rng, 30) {
                    agent.todo.push((at + rng.random_range(500..4_000), Todo::Send("UPDATE", fork)));
                }
            }
        }
        at += rng.random_range(0..6_000);
        let finals = [
            "200 OK",
            "486 Busy Here",
            "603 Decline",
            "404 Not Found",
            "503 Full",
            "500 Error",
            "302 Moved",
            "401 Unauthorized",
            "480 Away",
            "488 No",
        ];
        let last = if chance(rng, 65) { 0 } else { rng.random_range(0..finals.len()) };
        if chance(rng, 95) {
            let fork = rng.random_range(0..forks);
            agent.todo.push((at, Todo::Respond(finals[last], fork, last == 0, false)));
            if last == 0 && forks > 1 && chance(rng, 50) {
                let at = at + rng.random_range(0..800);
                agent.todo.push((at, Todo::Respond(finals[0], (fork + 1) % forks, true, false)));
            }
        }
        agent
    }

    #[expect(clippy::too_many_arguments, reason = "they are the parts of a request")]
    fn request(
        &mut self,
        method: &str,
        uri: &str,
        from: &str,
        to: &str,
        cseq: u32,
        extra: &str,
        body: &str,
    ) -> String {
        self.branches += 1;
        let (address, call_id) = (self.address, &self.call_id);
        let branch =
            format!("{}n{}t{}", call_id.replace(['@', ':', '.'], "x"), self.branches, self.is_caller);
        with_body(
            &format!(
                "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{branch}\r\n\
                 Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
                 Contact: <sip:x@{address}>\r\n{extra}"
            ),
            body,
        )
    }

    fn start(
        &mut self,
        now: Millis,
        method: &'static str,
        cseq: u32,
        dialog: Option<usize>,
        text: String,
        out: &mut Vec<String>,
    ) {
        out.push(text.clone());
        self.clients.push(Client {
            branch: branch(&text).to_owned(),
            method,
            cseq,
            text,
            dialog,
            again_at: Some(now + T1),
            interval: T1,
            until: now + 64 * T1,
            proceeding: false,
            ended: None,
            acks: Vec::new(),
        });
    }

    fn send(
        &mut self,
        now: Millis,
        method: &'static str,
        at: usize,
        extra: &str,
        body: &str,
        out: &mut Vec<String>,
    ) {
        let dialog = &mut self.dialogs[at];
        dialog.cseq += 1;
        let (cseq, target) = (dialog.cseq, dialog.target.clone());
        let (local, remote) = (dialog.local.clone(), dialog.remote.clone());
        let text = self.request(method, &target, &local, &remote, cseq, extra, body);
        self.start(now, method, cseq, Some(at), text, out);
    }

    fn response(&self, server: &Server, status: &str, dialog: usize, extra: &str, body: &str) -> String {
        let mut head = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "Record-Route", "From", "Call-ID", "CSeq"] {
            if let Some(value) = optional(&server.request, name) {
                head += &format!("{name}: {value}\r\n");
            }
        }
        let to = field(&server.request, "To");
        let to = match to.contains(";tag=") || status.starts_with("100") {
            true => to.to_owned(),
            false => self.dialogs[dialog].local.clone(),
        };
        with_body(&format!("{head}To: {to}\r\nContact: <sip:y@{}>\r\n{extra}", self.address), body)
    }

    /// When it wants to act next.
    pub(super) fn next(&self) -> Option<Millis> {
        let todo = self.todo.iter().map(|(at, _)| *at);
        let clients = self.clients.iter().flat_map(|client| client.again_at);
        let servers = self.servers.iter().flat_map(|server| server.again_at);
        let reliable =
            self.dialogs.iter().flat_map(|dialog| dialog.unacknowledged.as_ref().map(|it| it.again_at));
        todo.chain(clients).chain(servers).chain(reliable).min()
    }

    /// Does what is due.
    pub(super) fn wake(&mut self, now: Millis, rng: &mut StdRng, out: &mut Vec<String>) {
        for client in &mut self.clients {
            if client.again_at.is_none_or(|at| at > now) {
                continue;
            }
            if now >= client.until {
                client.again_at = None; // Timers B and F.
                client.ended.get_or_insert_with(|| ("408".into(), String::new()));
                continue;
            }
            out.push(client.text.clone());
            client.interval *= 2;
            if client.method != "INVITE" {
                client.interval = if client.proceeding { T2 } else { client.interval.min(T2) };
            }
            client.again_at = Some((now + client.interval).min(client.until));
        }
        let mut hang_up = Vec::new();
        for server in &mut self.servers {
            if server.again_at.is_none_or(|at| at > now) {
                continue;
            }
            if now >= server.until {
                server.again_at = None;
                let is_success = server.response.as_ref().is_some_and(|it| it.starts_with("SIP/2.0 2"));
                if is_success {
                    hang_up.push(server.dialog); // Never acknowledged.
                }
                continue;
            }
            out.extend(server.response.clone());
            server.interval = (server.interval * 2).min(T2);
            server.again_at = Some((now + server.interval).min(server.until));
        }
        for dialog in hang_up {
            self.bye(now, dialog, out);
        }
        let mut refuse = false;
        for dialog in &mut self.dialogs {
            let Some(reliable) = dialog.unacknowledged.as_mut().filter(|it| it.again_at <= now) else {
                continue;
            };
            if now >= reliable.until {
                dialog.unacknowledged = None;
                refuse = true;
                continue;
            }
            out.push(reliable.text.clone());
            reliable.interval *= 2;
            reliable.again_at = (now + reliable.interval).min(reliable.until);
        }
        if refuse {
            self.respond_first(now, "504 No PRACK", 0, false, false, rng, out);
        }
        while let Some(at) = self.todo.iter().position(|(at, _)| *at <= now) {
            let (_, todo) = self.todo.swap_remove(at);
            self.perform(now, todo, rng, out);
        }
    }

    fn perform(&mut self, now: Millis, todo: Todo, rng: &mut StdRng, out: &mut Vec<String>) {
        match todo {
            Todo::Cancel | Todo::GiveUp => {
                let invite = &self.clients[0];
                if invite.ended.is_some() || self.clients.iter().any(|client| client.method == "CANCEL") {
                    return;
                }
                if !invite.proceeding {
                    if matches!(todo, Todo::Cancel) {
                        self.todo.push((now + 100, Todo::Cancel)); // Not before something came.
                    }
                    return;
                }
                let (head, _) = invite.text.split_once("\r\n\r\n").unwrap();
                let head: String = head
                    .replace("INVITE", "CANCEL")
                    .split("\r\n")
                    .filter(|line| !line.starts_with("Content-") && !line.starts_with("Require"))
                    .map(|line| format!("{line}\r\n"))
                    .collect();
                self.start(now, "CANCEL", 1, None, with_body(&head, ""), out);
            }
            Todo::Respond(status, fork, with_body, reliable) => {
                self.respond_first(now, status, fork, with_body, reliable, rng, out);
            }
            Todo::Answer(branch, status) => {
                let Some(at) = self.servers.iter().position(|it| it.branch == branch && !it.is_final) else {
                    return;
                };
                let is_invite = self.servers[at].method == "INVITE";
                let sdp = if is_invite && status.starts_with("200") { SDP } else { "" };
                let text = self.response(&self.servers[at], status, self.servers[at].dialog, "", sdp);
                out.push(text.clone());
                let server = &mut self.servers[at];
                server.response = Some(text);
                server.is_final = !status.starts_with("1");
                if is_invite && server.is_final {
                    server.again_at = Some(now + T1);
                    server.until = now + 64 * T1;
                }
            }
            Todo::Send(method, at) => {
                let dialog = &self.dialogs[at];
                let is_acknowledged = dialog.rseq_out.iter().all(|(_, acknowledged)| *acknowledged);
                // UPDATE belongs into an early dialog only once its offer was answered, all others wait.
                let is_early = !dialog.confirmed
                    && method == "UPDATE"
                    && (dialog.rseq_in.is_some() || !dialog.rseq_out.is_empty())
                    && is_acknowledged
                    && !self.clients.iter().any(|it| it.method == "CANCEL");
                if dialog.over || !(dialog.confirmed || is_early) {
                    return;
                }
                let is_pending = self.clients.iter().any(|it| it.method == method && it.ended.is_none());
                match method {
                    "BYE" => self.bye(now, at, out),
                    _ if is_pending => {}
                    "INVITE" => {
                        let sdp = if chance(rng, 30) { "" } else { SDP };
                        let sdp = if chance(rng, 30) {
                            sdp.replace("t=0 0\r\n", "t=0 0\r\na=inactive\r\n")
                        } else {
                            sdp.to_owned()
                        };
                        self.send(now, "INVITE", at, "", &sdp, out);
                    }
                    "UPDATE" => self.send(now, "UPDATE", at, "", SDP, out),
                    method => self.send(now, method, at, "", "", out),
                }
            }
        }
    }

    fn bye(&mut self, now: Millis, at: usize, out: &mut Vec<String>) {
        if !std::mem::replace(&mut self.dialogs[at].over, true) {
            self.send(now, "BYE", at, "", "", out);
        }
    }

    /// Answers the first INVITE.
    #[expect(clippy::too_many_arguments, reason = "they are what the plan says")]
    fn respond_first(
        &mut self,
        now: Millis,
        status: &'static str,
        fork: usize,
        has_body: bool,
        reliable: bool,
        rng: &mut StdRng,
        out: &mut Vec<String>,
    ) {
        let is_success = status.starts_with('2');
        let first = &self.servers[0];
        if first.is_final
            && !(is_success && first.response.as_ref().is_some_and(|it| it.starts_with("SIP/2.0 2")))
        {
            return;
        }
        if self.dialogs[fork].unacknowledged.is_some() && (is_success || reliable) {
            // Not before its PRACK (RFC 3262 §3).
            self.todo.push((now + 300, Todo::Respond(status, fork, has_body, reliable)));
            return;
        }
        let mut extra = String::new();
        let mut number = 0;
        if reliable {
            number =
                self.dialogs[fork].rseq_out.last().map_or_else(|| rng.random_range(1..9_999), |(n, _)| n + 1);
            extra = format!("Require: 100rel\r\nRSeq: {number}\r\n");
        }
        let sdp = if has_body { SDP } else { "" };
        let text = self.response(&self.servers[0], status, fork, &extra, sdp);
        out.push(text.clone());
        if reliable {
            let dialog = &mut self.dialogs[fork];
            dialog.rseq_out.push((number, false));
            dialog.unacknowledged =
                Some(Reliable { text: text.clone(), again_at: now + T1, interval: T1, until: now + 64 * T1 });
        }
        if status.starts_with('1') {
            self.servers[0].response = Some(text);
            return;
        }
        if is_success {
            for dialog in &mut self.dialogs {
                dialog.unacknowledged = None;
            }
            self.dialogs[fork].confirmed = true;
            self.plan_dialog(now, fork, rng);
        }
        let server = Server {
            branch: self.servers[0].branch.clone(),
            method: "INVITE".into(),
            cseq: self.servers[0].cseq,
            request: self.servers[0].request.clone(),
            dialog: fork,
            response: Some(text.clone()),
            is_final: true,
            again_at: Some(now + T1),
            interval: T1,
            until: now + 64 * T1,
        };
        // Each fork sends its own answer again; the first entry stands for the transaction.
        if self.servers[0].is_final {
            self.servers.push(server);
        } else {
            self.servers[0] = server;
        }
        if !is_success {
            for dialog in &mut self.dialogs {
                (dialog.over, dialog.unacknowledged) = (true, None);
            }
        }
    }

    /// What is to happen once a dialog is confirmed.
    fn plan_dialog(&mut self, now: Millis, at: usize, rng: &mut StdRng) {
        for _ in 0..rng.random_range(0..4) {
            let method = ["INVITE", "INVITE", "UPDATE", "INFO", "OPTIONS"][rng.random_range(0..5)];
            self.todo.push((now + rng.random_range(200..8_000), Todo::Send(method, at)));
        }
        if self.is_caller || chance(rng, 50) {
            let latest = if chance(rng, 10) { 60_000 } else { 10_000 };
            self.todo.push((now + rng.random_range(100..latest), Todo::Send("BYE", at)));
        }
    }

    /// Takes a message of the hub.
    pub(super) fn receive(&mut self, now: Millis, message: &str, rng: &mut StdRng, out: &mut Vec<String>) {
        match message.starts_with("SIP/2.0") {
            true => self.receive_response(now, message, rng, out),
            false => self.receive_request(now, message, rng, out),
        }
    }

    fn receive_response(&mut self, now: Millis, message: &str, rng: &mut StdRng, out: &mut Vec<String>) {
        let (number, method) = cseq(message);
        let own = branch(message);
        let at = self.clients.iter().position(|it| it.branch == own && it.method == method);
        let at = at.unwrap_or_else(|| panic!("a response to nothing that was sent: {message}"));
        assert_eq!(number, self.clients[at].cseq, "{message}");
        let status = kind(message);
        if method != "INVITE" {
            assert_ne!(status, "408", "RFC 4320 §4.2: {message}");
        }
        let client = &mut self.clients[at];
        client.proceeding = true;
        if client.method == "INVITE" {
            client.again_at = None;
        }
        if status.starts_with('1') {
            if method == "INVITE" && client.ended.is_none() && status != "100" && at == 0 {
                self.receive_progress(now, message, rng, out);
            }
            return;
        }
        client.again_at = None;
        let to = field(message, "To").to_owned();
        if method != "INVITE" {
            client.ended = Some((status, to));
            return;
        }
        let late = client.ended.as_ref().is_some_and(|(status, _)| status == "408");
        match &client.ended {
            Some(ended) if !late => {
                assert_eq!(
                    *ended,
                    (status.clone(), to.clone()),
                    "two final responses to one INVITE: {message}"
                );
            }
            _ => client.ended = Some((status.clone(), to.clone())),
        }
        if !status.starts_with('2') {
            let mut head = client.text.split("\r\n\r\n").next().unwrap().replace("INVITE", "ACK");
            head = head.replace(&format!("To: {}", field(&client.text, "To")), &format!("To: {to}"));
            let head: String = head
                .split("\r\n")
                .filter(|line| !line.starts_with("Content-"))
                .map(|line| format!("{line}\r\n"))
                .collect();
            out.push(with_body(&head, ""));
            if at == 0 {
                for dialog in &mut self.dialogs {
                    dialog.over = true;
                }
            }
            return;
        }
        let dialog = match self.clients[at].dialog {
            Some(dialog) => dialog,
            None => self.open_dialog(message),
        };
        if at == 0 && !std::mem::replace(&mut self.dialogs[dialog].confirmed, true) {
            for (other, early) in self.dialogs.iter_mut().enumerate() {
                early.over |= other != dialog;
            }
            self.plan_dialog(now, dialog, rng);
        }
        self.dialogs[dialog].target = super::uri_of(field(message, "Contact")).to_owned();
        // The ACK of the same answer is the same.
        if let Some((_, ack)) = self.clients[at].acks.iter().find(|(tag, _)| tag == tag_of(&to)) {
            return out.push(ack.clone());
        }
        let is_late_offer = body(&self.clients[at].text).is_empty();
        let (target, local, remote) = {
            let dialog = &self.dialogs[dialog];
            (dialog.target.clone(), dialog.local.clone(), dialog.remote.clone())
        };
        let ack =
            self.request("ACK", &target, &local, &remote, number, "", if is_late_offer { SDP } else { "" });
        self.clients[at].acks.push((tag_of(&to).to_owned(), ack.clone()));
        out.push(ack);
    }

    fn open_dialog(&mut self, message: &str) -> usize {
        let to = field(message, "To");
        assert!(!tag_of(to).is_empty(), "no tag in {message}");
        if let Some(at) = self.dialogs.iter().position(|dialog| tag_of(&dialog.remote) == tag_of(to)) {
            return at;
        }
        self.dialogs.push(Dialog {
            local: self.from.clone(),
            remote: to.to_owned(),
            target: super::uri_of(field(message, "Contact")).to_owned(),
            cseq: 1,
            confirmed: false,
            over: false,
            rseq_in: None,
            rseq_out: Vec::new(),
            unacknowledged: None,
        });
        self.dialogs.len() - 1
    }

    fn receive_progress(&mut self, now: Millis, message: &str, rng: &mut StdRng, out: &mut Vec<String>) {
        let at = self.open_dialog(message);
        let Some(number) = optional(message, "RSeq") else {
            assert!(optional(message, "Require").is_none(), "{message}");
            return;
        };
        assert!(self.reliable && field(message, "Require").contains("100rel"), "{message}");
        let number: u32 = number.parse().unwrap();
        assert!((1..1 << 31).contains(&number));
        match self.dialogs[at].rseq_in {
            Some(last) if number != last + 1 => return, // Again, or too early.
            _ => self.dialogs[at].rseq_in = Some(number),
        }
        if self.dialogs[at].over {
            return;
        }
        let rack = format!("RAck: {number} 1 INVITE\r\n");
        self.send(now, "PRACK", at, &rack, "", out);
        if chance(rng, 30) {
            self.todo.push((now + rng.random_range(10..3_000), Todo::Send("UPDATE", at)));
        }
    }

    fn receive_request(&mut self, now: Millis, message: &str, rng: &mut StdRng, out: &mut Vec<String>) {
        let (number, method) = cseq(message);
        let own = branch(message);
        if method == "ACK" {
            // To a failure by its branch, to an answer by its dialog.
            let to = tag_of(field(message, "To"));
            for server in self.servers.iter_mut().filter(|it| it.method == "INVITE" && it.cseq == number) {
                let answer = server.response.as_deref().unwrap_or_default();
                let is_success = answer.starts_with("SIP/2.0 2");
                let same_dialog = tag_of(&self.dialogs[server.dialog].local) == to;
                if server.is_final && (if is_success { same_dialog } else { server.branch == own }) {
                    server.again_at = None;
                }
            }
            return;
        }
        if let Some(server) = self.servers.iter().find(|it| it.branch == own && it.method == method) {
            out.extend(server.response.clone());
            return;
        }
        let mut server = Server {
            branch: own.to_owned(),
            method: method.to_owned(),
            cseq: number,
            request: message.to_owned(),
            dialog: 0,
            response: None,
            is_final: true,
            again_at: None,
            interval: T1,
            until: 0,
        };
        if method == "CANCEL" {
            let is_known = self.servers.iter().any(|it| it.branch == own && it.method == "INVITE");
            assert!(is_known, "a CANCEL of nothing: {message}");
            let text = self.response(&server, "200 OK", 0, "", "");
            server.response = Some(text.clone());
            out.push(text);
            self.servers.push(server);
            let Some(invite) = self.servers.iter().position(|it| it.branch == own && it.method == "INVITE")
            else {
                return;
            };
            if invite == 0 && !self.is_caller {
                self.respond_first(now, "487 Request Terminated", 0, false, false, rng, out);
            } else if !self.servers[invite].is_final {
                self.perform(now, Todo::Answer(own.to_owned(), "487 Request Terminated"), rng, out);
            }
            return;
        }
        let to = tag_of(field(message, "To"));
        let dialog = self.dialogs.iter().position(|dialog| {
            tag_of(&dialog.local) == to && {
                self.dialogs.len() == 1 || tag_of(&dialog.remote) == tag_of(field(message, "From"))
            }
        });
        let Some(at) = dialog else {
            // It has overtaken the response that begins its dialog.
            let is_early = self.is_caller && self.clients[0].ended.is_none();
            assert!(is_early, "a request in no dialog: {message}");
            let text = self.response(&server, "481 No Dialog", 0, "", "");
            server.response = Some(text.clone());
            self.servers.push(server);
            return out.push(text);
        };
        server.dialog = at;
        let is_invite = method == "INVITE";
        let status = match method {
            "BYE" => {
                self.dialogs[at].over = true;
                "200 OK"
            }
            _ if self.dialogs[at].over => "481 Gone",
            "PRACK" => self.take_prack(at, message),
            "INVITE" if self.clients.iter().any(|it| it.method == "INVITE" && it.ended.is_none()) => {
                "491 Glare"
            }
            "INVITE" => {
                let first = if chance(rng, 50) { "100 Trying" } else { "180 Ringing" };
                let last = ["200 OK", "200 OK", "200 OK", "488 No", "500 Error"][rng.random_range(0..5)];
                if chance(rng, 97) {
                    let at = now + rng.random_range(0..1_500);
                    self.todo.push((at, Todo::Answer(own.to_owned(), last)));
                }
                first
            }
            _ => match rng.random_range(0..100) {
                0..2 => {
                    // It never answers.
                    server.is_final = false;
                    self.servers.push(server);
                    return;
                }
                2..20 => {
                    self.todo
                        .push((now + rng.random_range(0..6_000), Todo::Answer(own.to_owned(), "200 OK")));
                    server.is_final = false;
                    self.servers.push(server);
                    return;
                }
                20..25 => "488 No",
                _ => "200 OK",
            },
        };
        let text = self.response(&server, status, at, "", "");
        out.push(text.clone());
        server.response = Some(text);
        server.is_final = !status.starts_with('1');
        if is_invite && server.is_final {
            (server.again_at, server.until) = (Some(now + T1), now + 64 * T1);
        }
        self.servers.push(server);
    }

    fn take_prack(&mut self, at: usize, message: &str) -> &'static str {
        let rack: Vec<&str> = field(message, "RAck").split(' ').collect();
        assert_eq!((rack[1], rack[2]), ("1", "INVITE"), "{message}");
        let number: u32 = rack[0].parse().unwrap();
        let dialog = &mut self.dialogs[at];
        let sent = dialog.rseq_out.iter_mut().find(|(sent, _)| *sent == number);
        let sent = sent.unwrap_or_else(|| panic!("a PRACK of what this fork never sent: {message}"));
        assert!(!std::mem::replace(&mut sent.1, true), "acknowledged twice: {message}");
        dialog.unacknowledged = None;
        "200 OK"
    }

    /// Whether it has been answered.
    pub(super) fn is_answered(&self) -> bool {
        self.clients[0].ended.as_ref().is_some_and(|(status, _)| status.starts_with('2'))
    }

    /// What is left open: confirmed dialogs that were not ended, INVITEs without a final response.
    pub(super) fn left_open(&self) -> Vec<String> {
        let dialogs = self.dialogs.iter().filter(|dialog| dialog.confirmed && !dialog.over);
        let clients = self.clients.iter().filter(|client| {
            let hung_up = client.dialog.is_some_and(|dialog| self.dialogs[dialog].over);
            client.method == "INVITE" && client.ended.is_none() && !hung_up
        });
        dialogs
            .map(|dialog| format!("{} {} with {}", self.address, self.number, dialog.remote))
            .chain(clients.map(|client| client.text.clone()))
            .collect()
    }
}

//! Messages with the right identifiers from the wrong place, and header fields that name a third party: nothing
//! of a call is touched, and nothing is sent to whom they name.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tandem_tests::{CALLED, Endpoint, Exchange, Hub, Socket};

/// How long a message takes at most.
const SOON: Duration = Duration::from_secs(5);

/// How long silence is listened to, once what could break it has been answered.
const SILENCE: Duration = Duration::from_millis(300);

/// Each request has a branch of its own.
static BRANCH: AtomicU32 = AtomicU32::new(1);

/// Everybody who has to do with a call, and who has not.
struct Stage {
    hub: Hub,
    caller: Socket,
    called: Socket,
    /// Another member.
    other: Socket,
    /// Nobody's address.
    stranger: Socket,
    /// Whom the forged messages name: nothing may ever come here.
    trap: Socket,
}

impl Stage {
    fn set() -> Self {
        let [caller, called, other, stranger, trap] = std::array::from_fn(|_| Socket::new());
        let target = format!("sip:{};transport=udp", called.address());
        let exchange = Exchange::default()
            .member("acme", &[Endpoint::sender("acme-1", caller.address().ip())], &[])
            .member("globex", &[Endpoint::new("globex-1", called.address().ip(), &target)], &["+44207946"])
            .member("initech", &[Endpoint::sender("initech-1", other.address().ip())], &[])
            .agreement("acme", "globex")
            .agreement("initech", "globex");
        Self { hub: Hub::start(&exchange), caller, called, other, stranger, trap }
    }

    fn sip(&self) -> SocketAddr {
        self.hub.sip
    }

    /// Both that speak where they should not.
    fn impostors(&self) -> [&Socket; 2] {
        [&self.other, &self.stranger]
    }

    fn assert_trap_is_empty(&self, after: &str) {
        assert_eq!(self.trap.receive(SILENCE), None, "a third party got something after {after}");
        assert_eq!(
            self.stranger.receive(Duration::from_millis(1)),
            None,
            "a stranger got something: {after}"
        );
    }

    /// Places a call with this INVITE; it rings.
    fn ring(&self, invite: &str) -> String {
        self.caller.send(self.sip(), invite.as_bytes());
        let outgoing = expect(&self.called, "INVITE ");
        self.called.send(self.sip(), self.called.response(&outgoing, 180).as_bytes());
        expect(&self.caller, "SIP/2.0 180");
        outgoing
    }

    /// Answers the call that rings, and acknowledges the answer; returned is the 200 that the caller got.
    fn answer(&self, outgoing: &str, contact: &str, more: &str) -> String {
        let answer = self.called.response(outgoing, 200);
        let answer =
            answer.replace("Content-Length", &format!("Contact: <{contact}>\r\n{more}Content-Length"));
        self.called.send(self.sip(), answer.as_bytes());
        let answered = expect(&self.caller, "SIP/2.0 200");
        self.caller.send(self.sip(), in_dialog("ACK", 1, &self.caller, &answered).as_bytes());
        expect(&self.called, "ACK ");
        answered
    }

    /// The caller hangs up: both sides must still know the call.
    fn assert_the_call_lives_and_ends(&self, answered: &str) {
        self.caller.send(self.sip(), in_dialog("BYE", 2, &self.caller, answered).as_bytes());
        let response = expect(&self.caller, "SIP/2.0 ");
        assert!(response.starts_with("SIP/2.0 200"), "the call was gone:\n{response}");
        let bye = expect(&self.called, "BYE ");
        self.called.send(self.sip(), self.called.response(&bye, 200).as_bytes());
    }
}

/// The next message that begins like this; what comes before it is passed over.
#[track_caller]
fn expect(socket: &Socket, start: &str) -> String {
    loop {
        let text = socket.receive(SOON).unwrap_or_else(|| panic!("nothing like {start:?} came"));
        if text.starts_with(start) {
            return text;
        }
    }
}

/// The CANCEL of an INVITE: RFC 3261 §9.1.
fn cancel_of(invite: &str) -> String {
    let cancel = invite.replace("INVITE", "CANCEL");
    let head = cancel.split("Content-Type").next().expect("there is always a first part");
    format!("{head}Content-Length: 0\r\n\r\n")
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}:");
    text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or("").trim()
}

/// A request of the side that sent the INVITE, in the dialog that this 200 established, sent by `sender`.
fn in_dialog(method: &str, cseq: u32, sender: &Socket, answered: &str) -> String {
    let target = field(answered, "Contact");
    let target =
        target.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(target, |(uri, _)| uri);
    let local = sender.address();
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bKs{}\r\n\
         Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:forged@{local}>\r\nContent-Length: 0\r\n\r\n",
        BRANCH.fetch_add(1, Ordering::Relaxed),
        field(answered, "From"),
        field(answered, "To"),
        field(answered, "Call-ID"),
    )
}

/// A request of the side that got the INVITE, as its dialog has it.
fn in_dialog_of_called(method: &str, cseq: u32, sender: &Socket, outgoing: &str) -> String {
    let swapped = format!(
        "Contact: {}\r\nFrom: {};tag=socket\r\nTo: {}\r\nCall-ID: {}\r\n",
        field(outgoing, "Contact"),
        field(outgoing, "To"),
        field(outgoing, "From"),
        field(outgoing, "Call-ID"),
    );
    in_dialog(method, cseq, sender, &swapped)
}

#[test]
fn a_dialog_is_touched_only_from_where_its_legs_live() {
    let stage = Stage::set();
    let invite = stage.caller.invite(stage.sip(), CALLED);
    let outgoing = stage.ring(&invite);
    let before = stage.hub.metrics().sum("tandem_active_calls", &[]);
    assert_eq!(before, 1.0);

    // While it rings: CANCEL with the caller's own branch, and an answer with the hub's own branch.
    let cancel = cancel_of(&invite);
    for impostor in stage.impostors() {
        impostor.send(stage.sip(), cancel.as_bytes());
        for status in [180, 200, 486, 603] {
            let forged = stage.called.response(&outgoing, status).replace("tag=socket", "tag=forged");
            let contact = format!("Contact: <sip:forged@{}>\r\nContent-Length", stage.trap.address());
            impostor.send(stage.sip(), forged.replace("Content-Length", &contact).as_bytes());
        }
    }
    stage.assert_trap_is_empty("forged CANCEL and responses");
    assert_eq!(stage.called.receive(SILENCE), None, "the call that rings was cancelled by somebody else");
    while let Some(text) = stage.caller.receive(SILENCE) {
        assert!(text.starts_with("SIP/2.0 1"), "the caller was told of a forged end:\n{text}");
    }

    let answered = stage.answer(&outgoing, &format!("sip:gateway@{}", stage.called.address()), "");
    assert!(!answered.contains("tag=forged"), "{answered}");

    // While it is up: every request of either side, from elsewhere.
    for (number, method) in
        ["ACK", "BYE", "INVITE", "UPDATE", "INFO", "CANCEL", "OPTIONS", "REFER"].into_iter().enumerate()
    {
        let cseq = 100 + u32::try_from(number).expect("there are few");
        for impostor in stage.impostors() {
            impostor.send(stage.sip(), in_dialog(method, cseq, impostor, &answered).as_bytes());
            impostor.send(stage.sip(), in_dialog_of_called(method, cseq, impostor, &outgoing).as_bytes());
            // As the caller would have sent it, Via and all: its answer must not go to the caller either.
            let disguised = in_dialog(method, cseq, impostor, &answered)
                .replace(&impostor.address().to_string(), &stage.caller.address().to_string());
            impostor.send(stage.sip(), disguised.as_bytes());
        }
    }
    // A member of the call may not speak for the other side either.
    stage.called.send(stage.sip(), in_dialog("BYE", 200, &stage.called, &answered).as_bytes());
    stage.caller.send(stage.sip(), in_dialog_of_called("BYE", 200, &stage.caller, &outgoing).as_bytes());
    while let Some(text) = stage.called.receive(SILENCE) {
        assert!(text.starts_with("SIP/2.0 481"), "the called side was told something:\n{text}");
    }
    while let Some(text) = stage.caller.receive(SILENCE) {
        assert!(text.starts_with("SIP/2.0 481"), "the caller was told something:\n{text}");
    }
    while let Some(text) = stage.other.receive(SILENCE) {
        // A known gap: a CANCEL with the right branch is answered 200, though it cancels nothing.
        let is_cancel = field(&text, "CSeq") == "1 CANCEL";
        assert!(text.starts_with("SIP/2.0 4") || is_cancel, "another member was let in:\n{text}");
    }
    stage.assert_trap_is_empty("forged requests");
    assert_eq!(stage.hub.metrics().sum("tandem_active_calls", &[]), 1.0, "the call goes on");
    stage.assert_the_call_lives_and_ends(&answered);
    let cdrs = stage.hub.wait_for_cdrs(1, SOON);
    assert_eq!(cdrs[0]["ended_by"], "originating", "{cdrs:?}");
    assert_eq!(cdrs[0]["outcome"], "answered", "{cdrs:?}");
}

#[test]
fn nothing_goes_to_whom_a_header_field_names() {
    let stage = Stage::set();
    let before = stage.hub.at_rest();
    let trap = stage.trap.address();
    let plain = |called: &str| stage.caller.invite(stage.sip(), called);
    let local = stage.caller.address();
    let with = |line: &str| plain(CALLED).replace("Max-Forwards", &format!("{line}\r\nMax-Forwards"));
    let via = |more: &str| plain(CALLED).replace(";rport;", &format!(";rport;{more};"));
    let cases = [
        ("a Route", with(&format!("Route: <sip:{trap};lr>"))),
        ("a Record-Route", with(&format!("Record-Route: <sip:{trap};lr>"))),
        (
            "a foreign Contact",
            plain(CALLED).replace(&format!("<sip:test@{local}>"), &format!("<sip:{trap}>")),
        ),
        ("a lower Via", with(&format!("Via: SIP/2.0/UDP {trap};branch=z9hG4bKlower"))),
        ("received in the Via", via(&format!("received={}", trap.ip()))),
        ("maddr in the Via", via(&format!("maddr={}", trap.ip()))),
        ("a Via of somebody else", plain(CALLED).replace(&format!("UDP {local}"), &format!("UDP {trap}"))),
        (
            "maddr in the Request-URI",
            plain(CALLED).replacen(
                &format!("@{} SIP", stage.sip()),
                &format!("@{};maddr={} SIP", stage.sip(), trap.ip()),
                1,
            ),
        ),
        (
            "the host of the Request-URI",
            plain(CALLED).replacen(&format!("@{} SIP", stage.sip()), &format!("@{trap} SIP"), 1),
        ),
        ("all of it together", {
            let lines = format!(
                "Route: <sip:{trap};lr>\r\nRecord-Route: <sip:{trap};lr>\r\nVia: SIP/2.0/UDP {trap};branch=z9hG4bKl"
            );
            with(&lines).replace(&format!("<sip:test@{local}>"), &format!("<sip:{trap};maddr={}>", trap.ip()))
        }),
    ];
    for (what, invite) in &cases {
        let outgoing = stage.ring(invite);
        let recorded = format!("Record-Route: <sip:{trap};lr>\r\nRoute: <sip:{trap};lr>\r\n");
        let answered = stage.answer(&outgoing, &format!("sip:gateway@{trap}"), &recorded);
        // The called side's own requests go to the caller, wherever its Contact points.
        let reinvite = in_dialog_of_called("INVITE", 1, &stage.called, &outgoing)
            .replace("Max-Forwards", &format!("Route: <sip:{trap};lr>\r\nMax-Forwards"));
        stage.called.send(stage.sip(), reinvite.as_bytes());
        let crossed = expect(&stage.caller, "INVITE ");
        stage.caller.send(stage.sip(), stage.caller.response(&crossed, 488).as_bytes());
        expect(&stage.called, "SIP/2.0 488");
        stage.assert_the_call_lives_and_ends(&answered);
        while stage.called.receive(Duration::from_millis(20)).is_some() {}
        while stage.caller.receive(Duration::from_millis(20)).is_some() {}
        stage.assert_trap_is_empty(what);
    }
    // A redirection names the trap; the caller is refused, and the trap hears nothing.
    let invite = plain(CALLED);
    stage.caller.send(stage.sip(), invite.as_bytes());
    let outgoing = expect(&stage.called, "INVITE ");
    let moved = stage.called.response(&outgoing, 302);
    let moved =
        moved.replace("Content-Length", &format!("Contact: <sip:+442079460001@{trap}>\r\nContent-Length"));
    stage.called.send(stage.sip(), moved.as_bytes());
    expect(&stage.called, "ACK ");
    let refused = stage.caller.final_response(stage.sip(), &invite);
    assert!(refused.status >= 400, "{}", refused.text);
    stage.assert_trap_is_empty("a redirection");

    // Responses and ACKs that belong to nothing are dropped, whatever their Vias say.
    let vias = format!(
        "Via: SIP/2.0/UDP {};branch=z9hG4bKstray\r\nVia: SIP/2.0/UDP {trap};branch=z9hG4bKlower",
        stage.sip()
    );
    let stray = |status: u16| {
        format!(
            "SIP/2.0 {status} Stray\r\n{vias}\r\nFrom: <sip:a@{local}>;tag=a\r\nTo: <sip:b@{trap}>;tag=b\r\n\
             Call-ID: stray@{trap}\r\nCSeq: 1 INVITE\r\nContact: <sip:{trap}>\r\nContent-Length: 0\r\n\r\n"
        )
    };
    for status in [100, 180, 200, 302, 404, 503] {
        stage.caller.send(stage.sip(), stray(status).as_bytes());
        stage.stranger.send(stage.sip(), stray(status).as_bytes());
    }
    let ack = plain(CALLED).replace("INVITE", "ACK").replacen(&stage.sip().to_string(), &trap.to_string(), 1);
    stage.caller.send(stage.sip(), ack.as_bytes());
    stage.stranger.send(stage.sip(), ack.as_bytes());
    stage.assert_trap_is_empty("stray responses and ACKs");
    assert_eq!(stage.caller.receive(SILENCE), None, "an ACK or a response is never answered");
    while let Some(text) = stage.called.receive(SILENCE) {
        // Refusals of its re-INVITEs, which it did not acknowledge, come again.
        assert!(text.starts_with("SIP/2.0 488"), "the called side got something:\n{text}");
    }
    stage.hub.wait_until_as(&before, Duration::from_secs(60));
}

#[test]
fn a_request_outside_a_dialog_that_is_no_call_is_refused_and_a_strangers_is_not_heard() {
    let stage = Stage::set();
    for method in ["REGISTER", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER", "NOTIFY"] {
        let with_its_fields = |socket: &Socket| {
            let fields = format!(
                "Event: presence\r\nRefer-To: <sip:{}>\r\nExpires: 60\r\nMax-Forwards",
                stage.trap.address()
            );
            socket.request(method, stage.sip(), CALLED).replace("Max-Forwards", &fields)
        };
        let response = stage.caller.ask(stage.sip(), &with_its_fields(&stage.caller));
        assert_eq!(response.status, 405, "{method}: {}", response.text);
        assert!(response.header("Allow").is_some(), "RFC 3261 §8.2.1: {}", response.text);
        stage.stranger.send(stage.sip(), with_its_fields(&stage.stranger).as_bytes());
    }
    stage.assert_trap_is_empty("requests outside a dialog");
    assert_eq!(stage.called.receive(SILENCE), None, "nothing of it crosses the hub");
    assert!(stage.hub.metrics().sum("tandem_drops_total", &["reason=\"unknown_source\""]) >= 6.0);
}

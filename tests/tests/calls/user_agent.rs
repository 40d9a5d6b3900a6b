//! What the hub owes as a user agent toward either member, read off whole messages: rows of `must.toml`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tandem_tests::{CALLED, Endpoint, Exchange, Hub, Socket, peer_address, until};

/// How long a message may take.
const SOON: Duration = Duration::from_secs(5);

/// Silence after which nothing more is coming.
const SILENCE: Duration = Duration::from_millis(300);

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A hub between two sockets.
struct Stage {
    hub: Hub,
    caller: Socket,
    called: Socket,
}

impl Stage {
    fn set() -> Self {
        let (caller, called) = (Socket::new(), Socket::at(peer_address()));
        let target = format!("sip:{};transport=udp", called.address());
        let gateway = Endpoint::new("globex-1", called.address().ip(), &target);
        let hub = Hub::start(&Exchange::of_two(caller.address().ip(), &[gateway]));
        Self { hub, caller, called }
    }

    /// An INVITE with one more line.
    fn invite_with(&self, line: &str) -> String {
        let invite = self.caller.invite(self.hub.sip, CALLED);
        let line = if line.is_empty() { String::new() } else { format!("{line}\r\n") };
        invite.replace("Max-Forwards", &format!("{line}Max-Forwards"))
    }

    fn caller_sends(&self, text: &str) {
        self.caller.send(self.hub.sip, text.as_bytes());
    }

    fn called_sends(&self, text: &str) {
        self.called.send(self.hub.sip, text.as_bytes());
    }

    /// Sends an INVITE; what the called side gets.
    fn place(&self, invite: &str) -> String {
        self.caller_sends(invite);
        expect(&self.called, "INVITE ")
    }

    /// What the called side answers, with more lines.
    fn answer(&self, request: &str, status: u16, lines: &[&str]) -> String {
        let more: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let contact = format!("Contact: <sip:gateway@{}>\r\n", self.called.address());
        let contact = if more.contains("Contact:") { "" } else { &contact };
        self.called
            .response(request, status)
            .replace("Content-Length", &format!("{contact}{more}Content-Length"))
    }

    /// A call that is up: the INVITE that came out, and the 200 that the caller got.
    fn call_up(&self) -> (String, String) {
        let outgoing = self.place(&self.invite_with(""));
        self.called_sends(&self.answer(&outgoing, 200, &[]));
        let answered = expect(&self.caller, "SIP/2.0 200");
        self.caller_sends(&in_dialog("ACK", 1, &self.caller, &answered, ""));
        expect(&self.called, "ACK ");
        (outgoing, answered)
    }

    /// A request in the caller's dialog, and the final response to it.
    fn ask(&self, method: &str, cseq: u32, answered: &str) -> String {
        self.caller_sends(&in_dialog(method, cseq, &self.caller, answered, ""));
        self.final_of(&format!("{cseq} {method}"))
    }

    fn final_of(&self, cseq: &str) -> String {
        loop {
            let text = expect(&self.caller, "SIP/2.0 ");
            if field(&text, "CSeq") == cseq && !text.starts_with("SIP/2.0 1") {
                return text;
            }
        }
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

/// Values of each line of this name.
fn fields<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let head = text.lines().take_while(|line| !line.is_empty());
    head.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim)).collect()
}

fn field<'t>(text: &'t str, name: &str) -> &'t str {
    fields(text, name).first().copied().unwrap_or("")
}

fn parameter<'t>(value: &'t str, name: &str) -> &'t str {
    let mark = format!(";{name}=");
    value.split(&mark).nth(1).map_or("", |rest| rest.split(';').next().unwrap_or(rest))
}

fn request_uri(text: &str) -> &str {
    text.split(' ').nth(1).unwrap_or("")
}

fn status(text: &str) -> &str {
    text.get(8..11).unwrap_or("")
}

/// A request of the calling side in the dialog of this response, with more lines.
fn in_dialog(method: &str, cseq: u32, sender: &Socket, response: &str, more: &str) -> String {
    let contact = field(response, "Contact");
    let target = contact.split(['<', '>']).nth(1).unwrap_or(contact);
    let local = sender.address();
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bKua{}\r\nMax-Forwards: 70\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:test@{local}>\r\n{more}\
         Content-Length: 0\r\n\r\n",
        NEXT.fetch_add(1, Ordering::Relaxed),
        field(response, "From"),
        field(response, "To"),
        field(response, "Call-ID"),
    )
}

/// The CANCEL of an INVITE, with more lines.
fn cancel_of(invite: &str, more: &str) -> String {
    let cancel = invite.replace("INVITE", "CANCEL");
    let head = cancel.split("Content-Type").next().expect("there is always a first part");
    format!("{head}{more}Content-Length: 0\r\n\r\n")
}

#[test]
fn each_request_outside_a_dialog_is_new_in_all_that_names_it() {
    let stage = Stage::set();
    let mut seen = BTreeSet::new();
    for _ in 0..10 {
        let outgoing = stage.place(&stage.invite_with(""));
        assert!(!field(&outgoing, "To").contains("tag="), "{outgoing}");
        let branch = parameter(field(&outgoing, "Via"), "branch");
        assert!(branch.starts_with("z9hG4bK") && branch.len() > 7, "{outgoing}");
        let tag = parameter(field(&outgoing, "From"), "tag");
        assert!(!tag.is_empty(), "{outgoing}");
        for name in [branch, tag, field(&outgoing, "Call-ID")] {
            assert!(seen.insert(name.to_owned()), "{name} was there before: {outgoing}");
        }
        stage.called_sends(&stage.answer(&outgoing, 486, &[]));
        expect(&stage.called, "ACK ");
    }
}

#[test]
fn cancel_and_the_ack_of_a_failure_repeat_their_invite() {
    let stage = Stage::set();
    let invite = stage.invite_with("");
    let outgoing = stage.place(&invite);
    stage.called_sends(&stage.answer(&outgoing, 180, &[]));
    expect(&stage.caller, "SIP/2.0 180");
    // Require means nothing in a CANCEL: it is not to be refused with 420.
    stage.caller_sends(&cancel_of(&invite, "Require: nothing-such\r\nProxy-Require: nothing-such\r\n"));
    assert_eq!(status(&stage.final_of("1 CANCEL")), "200");
    let cancel = expect(&stage.called, "CANCEL ");
    for name in ["Call-ID", "To", "From"] {
        assert_eq!(field(&cancel, name), field(&outgoing, name), "{cancel}");
    }
    assert_eq!(request_uri(&cancel), request_uri(&outgoing));
    assert_eq!(fields(&cancel, "Via"), fields(&outgoing, "Via")[..1]);
    assert_eq!(field(&cancel, "CSeq"), field(&outgoing, "CSeq").replace("INVITE", "CANCEL"));
    assert!(fields(&cancel, "Require").is_empty() && fields(&cancel, "Proxy-Require").is_empty(), "{cancel}");

    let refused = stage.answer(&outgoing, 487, &[]);
    stage.called_sends(&refused);
    let ack = expect(&stage.called, "ACK ");
    for name in ["Call-ID", "From"] {
        assert_eq!(field(&ack, name), field(&outgoing, name), "{ack}");
    }
    assert_eq!(request_uri(&ack), request_uri(&outgoing));
    assert_eq!(field(&ack, "To"), field(&refused, "To"));
    assert_eq!(fields(&ack, "Via"), fields(&outgoing, "Via")[..1]);
    assert_eq!(field(&ack, "CSeq"), field(&outgoing, "CSeq").replace("INVITE", "ACK"));
}

#[test]
fn refusals_say_what_their_status_owes() {
    let stage = Stage::set();
    let refused = stage.caller.ask(stage.hub.sip, &stage.invite_with("Require: 100rel, nothing-such"));
    assert_eq!(
        (refused.status, refused.header("Unsupported")),
        (420, Some("nothing-such")),
        "{}",
        refused.text
    );
    let nothing = cancel_of(&stage.invite_with(""), "");
    stage.caller_sends(&nothing);
    assert_eq!(status(&stage.final_of("1 CANCEL")), "481");
    let (_, answered) = stage.call_up();
    assert_eq!(status(&stage.ask("OPTIONS", 7, &answered)), "200");
    assert_eq!(status(&stage.ask("OPTIONS", 5, &answered)), "500", "a lower CSeq");
    assert_eq!(status(&stage.ask("OPTIONS", 8, &answered)), "200");
}

#[test]
fn the_answer_that_makes_a_dialog_has_the_record_routes_of_its_request() {
    let stage = Stage::set();
    let ip = stage.caller.address().ip();
    let routes = [format!("<sip:p2@{ip};lr>;x=\"a,b\""), format!("<sip:p1@{ip};lr>;y")];
    let line = format!("Record-Route: {}\r\nRecord-Route: {}", routes[0], routes[1]);
    let outgoing = stage.place(&stage.invite_with(&line));
    for status in [180, 200] {
        stage.called_sends(&stage.answer(&outgoing, status, &[]));
        let response = expect(&stage.caller, &format!("SIP/2.0 {status}"));
        assert_eq!(fields(&response, "Record-Route"), routes, "{response}");
    }
}

#[test]
fn unknown_statuses_count_as_the_first_of_their_class() {
    let stage = Stage::set();
    for (sent, class) in [(499, "4"), (599, "5"), (699, "6")] {
        let invite = stage.invite_with("");
        let outgoing = stage.place(&invite);
        stage.called_sends(&stage.answer(&outgoing, 199, &[]));
        let progress = expect(&stage.caller, "SIP/2.0 1");
        let progress = if status(&progress) == "100" { expect(&stage.caller, "SIP/2.0 1") } else { progress };
        assert!(matches!(status(&progress), "183" | "199"), "{progress}");
        stage.called_sends(&stage.answer(&outgoing, sent, &[]));
        expect(&stage.called, "ACK ");
        let refused = stage.caller.final_response(stage.hub.sip, &invite);
        assert!(refused.text.starts_with(&format!("SIP/2.0 {class}")), "{sent}: {}", refused.text);
    }
    stage.hub.wait_for_quiet_cdrs(3, SOON);
}

#[test]
fn a_bye_that_is_refused_ends_the_call_all_the_same() {
    let stage = Stage::set();
    for refusal in [481, 408] {
        let (_, answered) = stage.call_up();
        assert_eq!(status(&stage.ask("BYE", 2, &answered)), "200");
        let bye = expect(&stage.called, "BYE ");
        stage.called_sends(&stage.answer(&bye, refusal, &[]));
        until("the call to be over", SOON, || {
            (stage.hub.metrics().sum("tandem_sip_dialogs", &[]) <= 0.0).then_some(())
        });
        assert_eq!(stage.called.receive(SILENCE), None, "nothing follows on {refusal}");
    }
}

#[test]
fn a_provisional_response_to_an_info_goes_no_further() {
    let stage = Stage::set();
    let (_, answered) = stage.call_up();
    stage.caller_sends(&in_dialog("INFO", 2, &stage.caller, &answered, ""));
    let info = expect(&stage.called, "INFO ");
    for status in [180, 183, 200] {
        stage.called_sends(&stage.answer(&info, status, &[]));
    }
    assert_eq!(status(&expect(&stage.caller, "SIP/2.0 ")), "200");
}

#[test]
fn an_unreliable_provisional_response_moves_no_target() {
    let stage = Stage::set();
    let (_, answered) = stage.call_up();
    stage.caller_sends(&in_dialog("INVITE", 2, &stage.caller, &answered, ""));
    let reinvite = expect(&stage.called, "INVITE ");
    let target = request_uri(&reinvite).to_owned();
    let elsewhere = format!("Contact: <sip:elsewhere@{}>", stage.called.address());
    stage.called_sends(&stage.answer(&reinvite, 180, &[&elsewhere]));
    stage.called_sends(&stage.answer(&reinvite, 488, &[]));
    assert_eq!(status(&stage.final_of("2 INVITE")), "488");
    stage.caller_sends(&in_dialog("INFO", 3, &stage.caller, &answered, ""));
    assert_eq!(request_uri(&expect(&stage.called, "INFO ")), target);
}

#[test]
fn reliable_responses_go_one_by_one_and_a_100_is_none() {
    let stage = Stage::set();
    let invite = stage.invite_with("Supported: 100rel");
    let outgoing = stage.place(&invite);
    let trying = expect(&stage.caller, "SIP/2.0 100");
    assert!(fields(&trying, "RSeq").is_empty() && fields(&trying, "Require").is_empty(), "{trying}");
    // One of the called side that asks for it is not acknowledged.
    stage.called_sends(&stage.answer(&outgoing, 100, &["Require: 100rel", "RSeq: 1"]));
    assert_eq!(stage.called.receive(SILENCE), None);

    stage.called_sends(&stage.answer(&outgoing, 183, &["Require: 100rel", "RSeq: 10"]));
    let first = expect(&stage.caller, "SIP/2.0 183");
    stage.called_sends(&stage.answer(&outgoing, 180, &["Require: 100rel", "RSeq: 11"]));
    // The first comes again, the second not until the first is acknowledged.
    while let Some(text) = stage.caller.receive(SILENCE) {
        assert_eq!(field(&text, "RSeq"), field(&first, "RSeq"), "{text}");
    }
    let rack = format!("RAck: {} 1 INVITE\r\n", field(&first, "RSeq"));
    stage.caller_sends(&in_dialog("PRACK", 2, &stage.caller, &first, &rack));
    let prack = expect(&stage.called, "PRACK ");
    assert!(fields(&prack, "Require").is_empty(), "{prack}");
    stage.called_sends(&stage.answer(&prack, 200, &[]));
    assert_eq!(status(&stage.final_of("2 PRACK")), "200");
}

#[test]
fn an_invite_that_comes_a_second_way_is_answered_482() {
    let stage = Stage::set();
    let invite = stage.invite_with("");
    stage.place(&invite);
    stage.caller_sends(&invite.replace("branch=z9hG4bK", "branch=z9hG4bKother"));
    assert_eq!(status(&stage.final_of("1 INVITE")), "482");
    assert_eq!(stage.called.receive(SILENCE), None, "it rings once");
}

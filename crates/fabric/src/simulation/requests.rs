//! MESSAGE, REFER and NOTIFY: they cross where the policies of both endpoints say so, and else they are refused.

use super::*;
use crate::page::PageOutcome;

/// Every endpoint of acme has the first policy of `requests`, every one of globex the second.
fn exchange(acme: &str, globex: &str) -> Simulation {
    let mut facts = facts();
    for endpoint in &mut facts.endpoints {
        let requests = if endpoint.member_id == id(1) { acme } else { globex };
        let overrides = serde_json::from_str(&format!("{{\"requests\": {{{requests}}}}}")).unwrap();
        endpoint.policy = Policy::new(Profile::Neutral, overrides).unwrap();
    }
    let sim = Simulation::new();
    sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    sim
}

const MESSAGE: &str = "\"message\": \"pass\"";
const REFER: &str = "\"refer\": \"pass\"";

pub(super) fn text(n: u32, body: &str) -> String {
    format!(
        "MESSAGE sip:+442079460000@{HUB} SIP/2.0\r\nVia: SIP/2.0/UDP {ACME};branch=z9hG4bKtext{n}\r\nMax-Forwards: 70\r\n\
         From: \"Ann\" <sip:+33199001234@{ACME}>;tag=a{n}\r\nTo: <sip:+442079460000@{HUB}>\r\nCall-ID: text{n}@acme\r\n\
         CSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_message_crosses_to_the_endpoint_of_its_number_and_its_response_comes_back() {
    let mut sim = exchange(MESSAGE, MESSAGE);
    let body = "Gr\u{fc}\u{df}e\r\n\r\nat 5?";
    sim.receive(ACME, &text(1, body));
    let carried = sim.one_to(GLOBEX);
    assert!(carried.starts_with(&format!("MESSAGE sip:+442079460000@{GLOBEX}")), "{carried}");
    assert!(carried.ends_with(&format!("\r\n\r\n{body}")) && !carried.contains("\r\nContact: "), "{carried}");
    for telling in [ACME, "text1@acme", "tag=a1"] {
        assert!(!carried.contains(telling), "{telling} in {carried}");
    }
    // It comes again before the answer, and is not carried again.
    sim.receive(ACME, &text(1, body));
    assert!(sim.sent.is_empty());
    let answer =
        response(&carried, "200 OK", "g", "").replace(&format!("Contact: <sip:bob@{GLOBEX}>\r\n"), "");
    sim.receive(GLOBEX, &answer);
    let told = sim.one_to(ACME);
    assert!(kind(&told) == "200" && !told.contains("\r\nContact: ") && !told.contains(GLOBEX), "{told}");
    sim.receive(ACME, &text(1, body));
    assert_eq!(sim.kinds_to(ACME), ["200"]);
    assert_eq!(sim.worker.wire.metrics.pages(PageOutcome::Delivered), 1);
    assert!(sim.cdrs().is_empty() && sim.worker.pages.is_empty());
    sim.expect_nothing_left();
}

#[test]
fn a_message_is_refused_unless_both_endpoints_let_it_pass() {
    for (acme, globex) in [("", ""), (MESSAGE, ""), ("", MESSAGE)] {
        let mut sim = exchange(acme, globex);
        sim.receive(ACME, &text(1, "hello"));
        assert_eq!(sim.kinds_to(ACME), ["405"], "{acme} {globex}");
        assert!(sim.sent.is_empty());
    }
    let with = |change: fn(String) -> String| {
        let mut sim = exchange(MESSAGE, MESSAGE);
        sim.receive(ACME, &change(text(1, "hello")));
        assert!(sim.sent_to(GLOBEX).is_empty());
        sim.kinds_to(ACME)
    };
    assert_eq!(with(|text| text.replace("+442079460000@", "+12125550100@")), ["404"]);
    assert_eq!(with(|text| text.replace("Max-Forwards: 70", "Max-Forwards: 0")), ["483"]);
    assert_eq!(with(|text| text.replace("CSeq", "Require: fire\r\nCSeq")), ["420"]);
    // No datagram may be so long (RFC 3428 §8).
    let long = |text: String| text.replace("CSeq", &format!("X-Note: {}\r\nCSeq", "x".repeat(1_300)));
    assert_eq!(with(long), ["513"]);
}

#[test]
fn a_message_that_nobody_answers_is_answered_504_before_its_sender_gives_up() {
    let mut sim = exchange(MESSAGE, MESSAGE);
    sim.receive(ACME, &text(1, "hello"));
    sim.pass(Duration::from_millis(27_900));
    assert_eq!(sim.kinds_to(ACME), ["100"]);
    sim.pass(Duration::from_millis(200));
    assert_eq!(sim.kinds_to(ACME), ["504"]);
    assert_eq!(sim.worker.wire.metrics.pages(PageOutcome::Unanswered), 1);
    let carried = sim.sent_to(GLOBEX).pop().unwrap();
    sim.receive(GLOBEX, &response(&carried, "200 OK", "g", ""));
    assert!(sim.sent.is_empty());
    sim.expect_nothing_left();
}

#[test]
fn a_message_that_comes_back_to_the_hub_is_a_loop() {
    let mut sim = exchange(MESSAGE, MESSAGE);
    sim.receive(ACME, &text(1, "hello"));
    let carried = sim.one_to(GLOBEX);
    let via = format!("Via: SIP/2.0/UDP {GLOBEX};branch=z9hG4bKglobex\r\nVia:");
    sim.receive(GLOBEX, &carried.replacen("Via:", &via, 1));
    assert_eq!(sim.kinds_to(GLOBEX), ["482"]);
}

#[test]
fn a_flood_of_messages_keeps_to_the_limits_of_its_endpoint() {
    // acme-1 has two calls at once.
    let mut sim = exchange(MESSAGE, MESSAGE);
    for n in 1..=3 {
        sim.receive(ACME, &text(n, "hello"));
    }
    assert_eq!(sim.kinds_to(ACME), ["503"]);
    let carried = sim.sent_to(GLOBEX);
    assert_eq!(carried.len(), 2);
    sim.receive(GLOBEX, &response(&carried[0], "202 Accepted", "g", ""));
    sim.receive(ACME, &text(4, "hello"));
    assert_eq!(sim.kinds_to(GLOBEX), ["MESSAGE"]);
}

/// A REFER of acme in the call.
fn refer(up: &(String, String, String), refer_to: &str) -> String {
    from_caller("REFER", "2 REFER", up).replace(
        "Max-Forwards",
        &format!("Refer-To: {refer_to}\r\nReferred-By: <sip:ann@{ACME}>\r\nMax-Forwards"),
    )
}

/// A NOTIFY of globex in the call.
fn notify(up: &(String, String, String), cseq: u32, event: &str, body: &str) -> String {
    from_called("NOTIFY", &format!("{cseq} NOTIFY"), up)
        .replace(
            "Max-Forwards",
            &format!(
                "Event: {event}\r\nSubscription-State: active;expires=60\r\nContent-Type: message/sipfrag\r\nMax-Forwards"
            ),
        )
        .replace("Content-Length: 0\r\n\r\n", &format!("Content-Length: {}\r\n\r\n{body}", body.len()))
}

#[test]
fn a_refer_crosses_with_its_number_and_the_notify_of_it_comes_back() {
    let mut sim = exchange(REFER, REFER);
    let up = sim.call_up();
    sim.receive(ACME, &refer(&up, &format!("<sip:+442079460001@{STRANGER};user=phone>")));
    let carried = sim.one_to(GLOBEX);
    assert_eq!(kind(&carried), "REFER");
    assert_eq!(field(&carried, "Refer-To"), format!("<sip:+442079460001@{HUB};user=phone>"));
    assert_eq!(field(&carried, "Referred-By"), format!("<sip:ann@{HUB}>"));
    assert_eq!(field(&carried, "Contact"), format!("<sip:{HUB}>"));
    assert!(!carried.contains(STRANGER) && !carried.contains(ACME), "{carried}");
    sim.receive(GLOBEX, &response(&carried, "202 Accepted", "g", ""));
    assert_eq!(sim.kinds_to(ACME), ["202"]);
    // The number of the REFER is another one on this leg.
    let id = field(&carried, "CSeq").split(' ').next().unwrap().to_owned();
    let body = format!("SIP/2.0 100 Trying\r\nVia: SIP/2.0/UDP {GLOBEX}\r\n");
    for (cseq, event, told) in [(1, "refer".to_owned(), "refer"), (2, format!("refer;id={id}"), "refer;id=2")]
    {
        sim.receive(GLOBEX, &notify(&up, cseq, &event, &body));
        let notify = sim.one_to(ACME);
        assert_eq!((kind(&notify).as_str(), field(&notify, "Event")), ("NOTIFY", told));
        assert_eq!(field(&notify, "Subscription-State"), "active;expires=60");
        assert!(notify.ends_with("\r\n\r\nSIP/2.0 100 Trying\r\n"), "{notify}");
        sim.receive(ACME, &response(&notify, "200 OK", "", ""));
        assert_eq!(sim.kinds_to(GLOBEX), ["200"]);
    }
    // What acme does not subscribe to any more ends no call.
    sim.receive(GLOBEX, &notify(&up, 3, "refer", &body));
    let late = sim.one_to(ACME);
    sim.receive(ACME, &response(&late, "481 No Subscription", "", ""));
    assert_eq!(sim.kinds_to(GLOBEX), ["481"]);
    assert_eq!(sim.worker.calls.len(), 1);
}

#[test]
fn a_refer_is_refused_unless_both_endpoints_let_it_pass_and_it_leads_to_a_number() {
    for (acme, globex) in [("", ""), (REFER, ""), ("", REFER)] {
        let mut sim = exchange(acme, globex);
        let up = sim.call_up();
        sim.receive(ACME, &refer(&up, "<sip:+442079460001@anywhere>"));
        assert_eq!(sim.kinds_to(ACME), ["405"], "{acme} {globex}");
        assert!(sim.sent.is_empty() && sim.worker.calls.len() == 1);
    }
    for refer_to in
        ["<sip:bob@anywhere>", "<sip:+442079460001@anywhere?Replaces=1%3Bto-tag%3D2%3Bfrom-tag%3D3>"]
    {
        let mut sim = exchange(REFER, REFER);
        let up = sim.call_up();
        sim.receive(ACME, &refer(&up, refer_to));
        assert_eq!(sim.kinds_to(ACME), ["403"], "{refer_to}");
        assert!(sim.sent.is_empty());
    }
    // Outside a call there is nothing that it could be about.
    let mut sim = exchange(REFER, REFER);
    let outside =
        text(1, "").replace("MESSAGE", "REFER").replace("CSeq", "Refer-To: <sip:+442079460001@h>\r\nCSeq");
    sim.receive(ACME, &outside);
    assert_eq!(sim.kinds_to(ACME), ["405"]);
}

#[test]
fn a_notify_of_no_refer_is_refused() {
    let mut sim = exchange(REFER, REFER);
    let up = sim.call_up();
    sim.receive(GLOBEX, &notify(&up, 1, "refer", "SIP/2.0 200 OK\r\n"));
    sim.receive(GLOBEX, &notify(&up, 2, "presence", ""));
    assert_eq!(sim.kinds_to(GLOBEX), ["481", "481"]);
    assert!(sim.sent_to(ACME).is_empty() && sim.worker.calls.len() == 1);
    // The one who sent the REFER is told, and tells nothing.
    sim.receive(ACME, &refer(&up, "<sip:+442079460001@anywhere>"));
    let carried = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&carried, "202 Accepted", "g", ""));
    sim.sent_to(ACME);
    let id = field(&carried, "CSeq").split(' ').next().unwrap().parse::<u32>().unwrap() + 7;
    sim.receive(GLOBEX, &notify(&up, 3, &format!("refer;id={id}"), "SIP/2.0 200 OK\r\n"));
    assert_eq!(sim.kinds_to(GLOBEX), ["481"]);
}

#[test]
fn allow_names_refer_only_where_it_crosses() {
    for (policy, expected) in [
        (REFER, "INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY"),
        ("", "INVITE, ACK, CANCEL, BYE, OPTIONS"),
    ] {
        let mut sim = exchange(policy, policy);
        let invite =
            invite(1, "+442079460000").replace("X-Note: kept", "Allow: INVITE, ACK, BYE, REFER, NOTIFY");
        sim.receive(ACME, &invite);
        assert_eq!(field(&sim.one_to(GLOBEX), "Allow"), expected);
    }
}

#[test]
fn a_message_within_a_call_crosses_where_both_let_it_pass() {
    for (policy, crosses) in [(MESSAGE, true), ("", false)] {
        let mut sim = exchange(policy, policy);
        let up = sim.call_up();
        sim.receive(GLOBEX, &from_called("MESSAGE", "1 MESSAGE", &up));
        assert_eq!(sim.kinds_to(ACME).contains(&"MESSAGE".to_owned()), crosses);
        assert_eq!(sim.kinds_to(GLOBEX).contains(&"405".to_owned()), !crosses);
    }
}

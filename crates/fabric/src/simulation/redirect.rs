//! Redirections that an endpoint's policy has the hub follow: by number, under the caller's agreements, and never to where
//! a Contact leads.

use super::*;

/// An endpoint of initech, which announces +33 and has an agreement with acme.
const INITECH: &str = "192.0.2.4:5060";
/// What initech has no agreement for with anybody: a member of its own announces it.
const UNAGREED: &str = "+81312345678";

/// globex redirects, and so does initech; of initech's policy `more` says what else is set.
fn exchange(more: &str) -> Simulation {
    let policy = |more: &str| -> Policy {
        let overrides = format!("{{\"session\": {{\"redirect\": \"follow\"}}{more}}}");
        Policy::new(Profile::Neutral, serde_json::from_str(&overrides).unwrap()).unwrap()
    };
    let mut facts = facts();
    for (n, name) in [(3, "initech"), (4, "umbrella")] {
        facts.members.push(Member { member_id: id(n), name: name.into(), ..facts.members[0].clone() });
    }
    facts.endpoints.push(endpoint(31, 3, INITECH, 1, None));
    for endpoint in &mut facts.endpoints[1..] {
        endpoint.policy = policy(if endpoint.member_id == id(3) { more } else { "" });
    }
    for (n, member, prefix) in [(32, 3, "+33"), (33, 4, "+81")] {
        let (prefix, member) = (prefix.parse().unwrap(), id(member));
        facts.ranges.push(Range { range_id: id(n), member_id: member, prefix, ..facts.ranges[0].clone() });
        let announcement_id = id(n + 10);
        let endpoints = vec![id(31)];
        let template = facts.announcements[0].clone();
        facts.announcements.push(Announcement {
            announcement_id,
            member_id: member,
            prefix,
            endpoints,
            ..template
        });
    }
    facts.agreements.push(Agreement {
        agreement_id: id(52),
        accepting_member: id(3),
        ..facts.agreements[0].clone()
    });
    let sim = Simulation::new();
    sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    sim
}

/// A redirection to these Contacts.
fn moved(egress: &str, contact: &str) -> String {
    let moved = response(egress, "302 Moved Temporarily", "g", "");
    moved.replace(&format!("Contact: <sip:bob@{GLOBEX}>"), &format!("Contact: {contact}"))
}

#[test]
fn a_followed_redirection_calls_the_number_in_the_contact_and_both_attempts_are_in_the_cdr() {
    let mut sim = exchange("");
    let ingress = sim.invite("+442079460000");
    let first = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &moved(&first, &format!("<sip:+33123456789@{STRANGER}>")));
    let second = sim.one_to(INITECH);
    assert!(second.starts_with(&format!("INVITE sip:+33123456789@{INITECH}")), "{second}");
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
    sim.receive(INITECH, &response(&second, "200 OK", "i", SDP).replace(GLOBEX, INITECH));
    let answer = sim.sent_to(ACME).pop().unwrap();
    sim.receive(ACME, &ack(&ingress, &answer, ""));
    let up = (ingress, answer, second);
    sim.receive(ACME, &from_caller("BYE", "2 BYE", &up));
    assert_eq!(sim.kinds_to(INITECH), ["ACK", "BYE"]);
    assert!(sim.sent_to(STRANGER).is_empty() && sim.sent_to(GLOBEX_2).is_empty());
    let cdr = sim.one_cdr();
    assert_eq!(
        (&*cdr.called, cdr.terminating_member, cdr.agreement),
        ("442079460000", Some(id(3)), Some(id(52)))
    );
    let attempts: Vec<_> =
        cdr.attempts.iter().map(|it| (it.status, it.reason.as_deref(), it.called.as_deref())).collect();
    assert_eq!(attempts, [(Some(302), Some("redirected"), None), (Some(200), None, Some("33123456789"))]);
    assert!(cdr.selection.contains("redirected"), "the candidates that were left: {}", cdr.selection);
    sim.expect_nothing_left();
}

#[test]
fn where_the_new_number_fails_nobody_else_of_the_old_one_is_tried() {
    let mut sim = exchange("");
    sim.invite("+442079460000");
    let first = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &moved(&first, "<sip:+33123456789@anywhere>"));
    let second = sim.one_to(INITECH);
    sim.receive(INITECH, &response(&second, "500 Broken", "i", ""));
    assert_eq!(sim.kinds_to(ACME), ["100", "500"]);
    assert!(sim.sent_to(GLOBEX_2).is_empty());
    sim.expect_nothing_left();
}

#[test]
fn what_leads_to_no_number_that_the_caller_may_call_is_refused() {
    for (contact, status, reason) in [
        (format!("<sip:bob@{STRANGER}>"), "502", "redirection_unusable"),
        (format!("<sip:{STRANGER}>"), "502", "redirection_unusable"),
        (format!("<sip:+12125550100@{STRANGER}>"), "404", "no_route"),
        (format!("<sip:{UNAGREED}@{STRANGER}>"), "403", "no_agreement"),
        (format!("<sip:+442079460000@{STRANGER}>"), "482", "loop_detected"),
    ] {
        let mut sim = exchange("");
        sim.invite("+442079460000");
        let first = sim.one_to(GLOBEX);
        sim.receive(GLOBEX, &moved(&first, &contact));
        assert_eq!(sim.kinds_to(ACME), ["100", status], "{contact}");
        assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
        assert!(sim.sent.is_empty(), "{contact}: {:?}", sim.sent);
        let cdr = sim.one_cdr();
        assert_eq!((cdr.outcome, cdr.reason.as_deref()), (Some(Outcome::Failed), Some(reason)), "{contact}");
        assert_eq!(cdr.attempts[0].reason.as_deref(), Some("redirected"));
        sim.expect_nothing_left();
    }
}

#[test]
fn numbers_that_redirect_to_each_other_are_no_endless_way() {
    let mut sim = exchange("");
    sim.invite("+442079460000");
    let first = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &moved(&first, "<sip:+33123456789@anywhere>"));
    let second = sim.one_to(INITECH);
    sim.receive(INITECH, &moved(&second, "<sip:+442079460000@anywhere>"));
    assert_eq!(sim.kinds_to(ACME), ["100", "482"]);
    assert_eq!(sim.one_cdr().reason.as_deref(), Some("loop_detected"));
    // And a chain that never comes back has an end, too.
    let mut sim = exchange("");
    sim.invite("+442079460000");
    let mut egress = sim.one_to(GLOBEX);
    for n in 0..5 {
        let from = if n == 0 { GLOBEX } else { INITECH };
        sim.receive(from, &moved(&egress, &format!("<sip:+3312345670{n}@anywhere>")));
        egress = sim.sent_to(INITECH).into_iter().find(|it| kind(it) == "INVITE").unwrap();
    }
    sim.receive(INITECH, &moved(&egress, "<sip:+33123456799@anywhere>"));
    assert_eq!(sim.kinds_to(ACME), ["100", "482"]);
    assert_eq!(sim.one_cdr().reason.as_deref(), Some("too_many_redirections"));
    sim.expect_nothing_left();
}

#[test]
fn a_redirected_call_that_comes_back_for_its_new_number_is_a_loop() {
    let mut sim = exchange("");
    sim.invite("+442079460000");
    let first = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &moved(&first, "<sip:+33123456789@anywhere>"));
    let second = sim.one_to(INITECH);
    let back = second.replace("z9hG4bK", "z9hG4bKback").replacen(
        "Via:",
        &format!("Via: SIP/2.0/UDP {INITECH};branch=z9hG4bKinitech\r\nVia:"),
        1,
    );
    sim.receive(INITECH, &back);
    assert_eq!(sim.kinds_to(INITECH), ["100", "482"]);
}

#[test]
fn a_switch_that_reads_diversions_is_told_who_redirected_the_call() {
    let told = |write: &str, header: &str, field_name: &str| {
        let mut sim = exchange(&format!(", \"diversion\": {{\"write\": \"{write}\"}}"));
        sim.calls += 1;
        let invite = invite(1, "+442079460000").replace("X-Note: kept", header);
        sim.receive(ACME, &invite);
        let first = sim.one_to(GLOBEX);
        sim.receive(GLOBEX, &moved(&first, "<sip:+33123456789@anywhere>"));
        field(&sim.one_to(INITECH), field_name).to_owned()
    };
    let diverted = format!("<sip:+442079460000@{HUB}>;reason=unconditional;counter=1;privacy=off");
    assert_eq!(told("diversion", "X-Note: kept", "Diversion"), diverted);
    let earlier = format!("<sip:+441@{HUB}>;reason=user-busy;counter=1;privacy=off");
    assert_eq!(
        told("diversion", "Diversion: <sip:+441@acme.example>;reason=user-busy", "Diversion"),
        format!("{diverted}, {earlier}")
    );
    let new = format!("<sip:+33123456789@{HUB};user=phone;cause=302>");
    assert_eq!(
        told("history-info", "X-Note: kept", "History-Info"),
        format!("<sip:+442079460000@{HUB}>;index=1, {new};index=1.1;mp=1")
    );
    assert_eq!(
        told("history-info", "History-Info: <sip:+442079460000@acme.example>;index=1.2", "History-Info"),
        format!("<sip:+442079460000@{HUB}>;index=1.2, {new};index=1.2.1;mp=1.2")
    );
}

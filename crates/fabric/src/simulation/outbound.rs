//! Members' switches that ask the hub who it is, and those that it registers at.

use std::sync::Arc;

use tandem_model::{Access, Credential, CredentialId, Ha1, OutboundCredential};

use super::*;

pub(super) const REALM: &str = "globex.example";

pub(super) fn simulation(registers: bool) -> Simulation {
    let mut facts = facts();
    let credential = Credential {
        credential_id: id::<CredentialId>(81),
        username: "tandem".into(),
        realm: REALM.into(),
        ha1: Ha1::new("tandem", REALM, "a password of globex"),
    };
    let outbound = Some(OutboundCredential { credential, registers });
    facts.endpoints[1].access = Access { outbound, ..Access::default() };
    let simulation = Simulation::new();
    simulation.table.store(Arc::new(RouteTable::from_facts(facts)));
    simulation
}

pub(super) fn challenged(request: &str, status: &str, realm: &str, more: &str) -> String {
    let field = if status.starts_with("401") { "WWW-Authenticate" } else { "Proxy-Authenticate" };
    let line = format!(
        "{field}: Digest realm=\"{realm}\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\"{more}\r\nServer:"
    );
    response(request, status, "c", "").replacen("Server:", &line, 1)
}

/// The value of the field that answers a challenge.
fn proof<'m>(request: &'m str, name: &str) -> Option<&'m str> {
    request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn a_switch_that_asks_is_told_and_the_call_goes_on() {
    let mut simulation = simulation(false);
    let ingress = simulation.invite("+442079460000");
    let first = simulation.one_to(GLOBEX);
    assert_eq!(proof(&first, "Proxy-Authorization"), None);
    simulation.receive(GLOBEX, &challenged(&first, "407 Proxy Authentication Required", REALM, ""));
    let sent = simulation.sent_to(GLOBEX);
    assert_eq!(sent.iter().map(|it| kind(it)).collect::<Vec<_>>(), ["ACK", "INVITE"]);
    let second = &sent[1];
    let value = proof(second, "Proxy-Authorization").unwrap();
    assert!(
        value.starts_with("Digest username=\"tandem\", realm=\"globex.example\", nonce=\"n1\""),
        "{value}"
    );
    assert_eq!((field(&first, "CSeq"), field(second, "CSeq")), ("1 INVITE", "2 INVITE"));
    for same in ["From", "To", "Call-ID", "Contact", "Max-Forwards"] {
        assert_eq!(field(&first, same), field(second, same));
    }
    assert_ne!(field(&first, "Via"), field(second, "Via"));
    assert!(second.ends_with(SDP));
    simulation.receive(GLOBEX, &response(second, "180 Ringing", "g", ""));
    simulation.receive(GLOBEX, &response(second, "200 OK", "g", SDP));
    let to_acme = simulation.sent_to(ACME);
    assert!(to_acme.iter().all(|it| !it.contains("uthenticate")), "{to_acme:?}");
    simulation.receive(ACME, &ack(&ingress, to_acme.last().unwrap(), ""));
    assert_eq!(field(&simulation.one_to(GLOBEX), "CSeq"), "2 ACK");
    // A BYE is asked for a proof, too, when its call is over for the hub.
    let answer = to_acme.last().unwrap();
    simulation
        .receive(ACME, &in_dialog("BYE", "2 BYE", field(&ingress, "From"), field(answer, "To"), answer, ""));
    let bye = simulation.one_to(GLOBEX);
    simulation.receive(GLOBEX, &challenged(&bye, "401 Unauthorized", REALM, ""));
    let again = simulation.one_to(GLOBEX);
    assert!(kind(&again) == "BYE" && proof(&again, "Authorization").is_some(), "{again}");
    simulation.receive(GLOBEX, &response(&again, "200 OK", "g", ""));
    assert_eq!(simulation.one_cdr().attempts.len(), 1);
    simulation.sent.clear();
    simulation.expect_nothing_left();
}

#[test]
fn nobody_else_gets_a_proof_and_nobody_gets_two() {
    // In another realm; by an endpoint for which nothing is known (CVE-2021-41158); again with a stale nonce.
    for (realm, more, password, times) in
        [("evil.example", "", true, 0), (REALM, "", false, 0), (REALM, ", stale=true", true, 1)]
    {
        let mut simulation = match password {
            true => simulation(false),
            false => Simulation::new(),
        };
        simulation.invite("+442079460000");
        let mut proofs = 0;
        let mut asked = simulation.one_to(GLOBEX);
        for _ in 0..3 {
            simulation.receive(GLOBEX, &challenged(&asked, "401 Unauthorized", realm, more));
            let sent = simulation.sent_to(GLOBEX);
            let Some(again) = sent.into_iter().find(|it| kind(it) == "INVITE") else { break };
            proofs += 1;
            asked = again;
        }
        assert_eq!(proofs, times, "{realm}{more}");
        // The next candidate is tried, as after any refusal of an egress.
        assert_eq!(simulation.kinds_to(GLOBEX_2), ["INVITE"]);
    }
}

#[test]
fn a_challenge_from_elsewhere_is_not_answered() {
    let mut simulation = simulation(false);
    simulation.invite("+442079460000");
    let invite = simulation.one_to(GLOBEX);
    simulation.receive(STRANGER, &challenged(&invite, "401 Unauthorized", REALM, ""));
    simulation.receive(ACME, &challenged(&invite, "401 Unauthorized", REALM, ""));
    assert_eq!((simulation.kinds_to(STRANGER), simulation.kinds_to(GLOBEX)), (vec![], vec![]));
}

#[test]
fn the_hub_registers_where_it_is_to_and_again_before_half_of_the_time_is_over() {
    let mut simulation = simulation(true);
    simulation.watch();
    simulation.pass(Duration::from_millis(10));
    let first = simulation.one_to(GLOBEX);
    assert!(first.starts_with("REGISTER sip:globex.example SIP/2.0\r\n"), "{first}");
    assert_eq!(field(&first, "To"), "<sip:tandem@globex.example>");
    assert_eq!(field(&first, "Contact"), format!("<sip:tandem@{HUB}>"));
    assert_eq!(field(&first, "Expires"), "600");
    simulation.receive(GLOBEX, &challenged(&first, "401 Unauthorized", REALM, ""));
    let second = simulation.one_to(GLOBEX);
    assert!(proof(&second, "Authorization").is_some(), "{second}");
    assert_eq!((field(&second, "CSeq"), field(&second, "Call-ID")), ("2 REGISTER", field(&first, "Call-ID")));
    let granted = response(&second, "200 OK", "r", "");
    let contact = format!("<sip:bob@{GLOBEX}>");
    simulation.receive(GLOBEX, &granted.replace(&contact, &format!("<sip:tandem@{HUB}>;expires=120")));
    simulation.pass(Duration::from_secs(50));
    assert_eq!(simulation.kinds_to(GLOBEX), [""; 0]);
    simulation.pass(Duration::from_secs(12));
    let third = simulation.sent_to(GLOBEX).pop().unwrap();
    assert_eq!((kind(&third).as_str(), field(&third, "CSeq")), ("REGISTER", "3 REGISTER"));
}

/// Waits for the next REGISTER.
fn next_register(simulation: &mut Simulation) -> String {
    for _ in 0..2_000 {
        simulation.pass(Duration::from_secs(1));
        if let Some(register) = simulation.sent_to(GLOBEX).pop() {
            return register;
        }
    }
    panic!("the hub registers no more");
}

#[test]
fn a_switch_that_refuses_or_is_silent_is_asked_again_more_and_more_seldom() {
    let mut simulation = simulation(true);
    simulation.watch();
    let mut last = simulation.now.instant;
    let mut waits = Vec::new();
    for _ in 0..9 {
        let register = next_register(&mut simulation);
        waits.push((simulation.now.instant - last).as_secs());
        last = simulation.now.instant;
        simulation.receive(GLOBEX, &response(&register, "403 Forbidden", "r", ""));
    }
    for (index, wait) in waits.iter().enumerate().skip(1) {
        let most = (30 << (index - 1).min(6)).min(1_800);
        assert!((most / 2..=most + 2).contains(wait), "{waits:?}");
    }
    // Once it lets the hub in, and wants to be asked for more time, it is asked at once.
    let register = next_register(&mut simulation);
    simulation.receive(GLOBEX, &response(&register, "200 OK", "r", ""));
    let register = next_register(&mut simulation);
    let brief = response(&register, "423 Interval Too Brief", "r", "");
    simulation.receive(GLOBEX, &brief.replacen("Server:", "Min-Expires: 1200\r\nServer:", 1));
    last = simulation.now.instant;
    assert_eq!(field(&next_register(&mut simulation), "Expires"), "1200");
    assert!(simulation.now.instant - last <= Duration::from_secs(1));
}

//! Offers and answers beside those of INVITE and its 2xx: in PRACK and UPDATE (RFC 3262 §5, RFC 3311 §5). The hub carries
//! them; whether one may be made at that moment is for the members, who see what the hub sees.

use super::early::{from_acme, from_globex, invite_with, prack, reliable};
use super::*;

/// Another session description.
fn other_sdp() -> String {
    SDP.replace("4000", "4002")
}

/// A message with a session description in the place of an empty body.
fn describing(message: &str, sdp: &str) -> String {
    let length = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
    message.replace("Content-Length: 0\r\n\r\n", &length)
}

#[test]
fn a_prack_carries_the_answer_to_an_offer_in_a_reliable_response_and_offers_that_its_2xx_answers() {
    let mut sim = Simulation::new();
    let ingress = invite_with(&mut sim, "Supported: 100rel");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &reliable(&egress, "183 Progress", "g", 5, SDP));
    let progress = sim.one_to(ACME);
    assert!(progress.ends_with(SDP));
    let rack = format!("{} 1 INVITE", field(&progress, "RSeq"));
    sim.receive(ACME, &describing(&prack(2, (&ingress, &progress), &rack), &other_sdp()));
    let carried = sim.one_to(GLOBEX);
    assert!(kind(&carried) == "PRACK" && carried.ends_with(&other_sdp()), "{carried}");
    assert_eq!(field(&carried, "Content-Type"), "application/sdp");
    sim.receive(GLOBEX, &response(&carried, "200 OK", "g", SDP));
    let answer = sim.one_to(ACME);
    assert!(
        kind(&answer) == "200" && field(&answer, "CSeq") == "2 PRACK" && answer.ends_with(SDP),
        "{answer}"
    );
}

#[test]
fn an_update_whose_offer_crosses_one_that_waits_for_its_answer_is_refused_by_who_waits() {
    let mut sim = Simulation::new();
    let ingress = invite_with(&mut sim, "Supported: 100rel");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
    let progress = sim.one_to(ACME);
    // The offer of the INVITE has no answer yet.
    for (status, kept) in [("491 Request Pending", ""), ("500 Overlap", "Retry-After: 7")] {
        let number = if kept.is_empty() { 2 } else { 3 };
        sim.receive(
            ACME,
            &describing(&from_acme("UPDATE", number, (&ingress, &progress), "", ""), &other_sdp()),
        );
        let carried = sim.one_to(GLOBEX);
        assert!(kind(&carried) == "UPDATE" && carried.ends_with(&other_sdp()), "{carried}");
        let line = if kept.is_empty() { String::new() } else { format!("{kept}\r\n") };
        let refusal = response(&carried, status, "g", "").replace("Server: ", &format!("{line}Server: "));
        sim.receive(GLOBEX, &refusal);
        let told = sim.one_to(ACME);
        assert!(told.starts_with(&format!("SIP/2.0 {status}\r\n")) && told.contains(kept), "{told}");
    }
    // The call is set up all the same.
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    assert_eq!(sim.kinds_to(ACME), ["200"]);
}

#[test]
fn an_update_that_is_slow_or_fails_is_answered_in_time_and_leaves_the_call_as_it_was() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    let moved = |number: u32| {
        let update = from_caller("UPDATE", &format!("{number} UPDATE"), &up);
        describing(&update.replace("sip:x@192.0.2.1:5060", "sip:x@192.0.2.1:5099"), SDP)
    };
    sim.receive(ACME, &moved(2));
    let carried = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&carried, "488 Not Here", "g", ""));
    assert_eq!(sim.kinds_to(ACME), ["488"]);
    sim.receive(GLOBEX, &from_called("INFO", "1 INFO", &up));
    let info = sim.one_to(ACME);
    assert!(info.starts_with("INFO sip:ann@192.0.2.1:5060 "), "{info}");
    sim.receive(ACME, &response(&info, "200 OK", "", ""));
    sim.sent_to(GLOBEX);
    // A slow one: its sender is told to wait, and told the end before it gives up (RFC 4320).
    sim.receive(ACME, &moved(3));
    sim.pass(Duration::from_millis(3_600));
    assert_eq!(sim.kinds_to(ACME), ["100"]);
    sim.pass(Duration::from_millis(24_500));
    assert_eq!(sim.kinds_to(ACME)[0], "504");
}

#[test]
fn the_contact_of_an_update_of_the_called_side_is_that_of_its_answer() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.receive(GLOBEX, &describing(&from_called("UPDATE", "1 UPDATE", &up), SDP));
    let update = sim.one_to(ACME);
    assert_eq!(kind(&update), "UPDATE");
    assert_eq!(field(&update, "Contact"), field(&up.1, "Contact"));
}

#[test]
fn an_update_of_the_called_side_before_the_answer_has_the_contact_of_the_answer_to_come() {
    let mut sim = Simulation::new();
    invite_with(&mut sim, "Supported: 100rel");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
    sim.sent_to(ACME);
    sim.receive(GLOBEX, &from_globex("UPDATE", 1, &egress, "g", ""));
    let update = sim.one_to(ACME);
    sim.receive(ACME, &response(&update, "200 OK", "", ""));
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    assert_eq!(field(&update, "Contact"), field(&sim.one_to(ACME), "Contact"));
}

#[test]
fn a_body_of_any_kind_crosses_and_who_does_not_understand_it_says_what_it_takes() {
    let mut sim = Simulation::new();
    let body = "\u{1}packed\r\n\r\n\u{2}";
    let invite = invite(1, "+442079460000")
        .replace("application/sdp", "application/x-unheard-of")
        .replace("X-Note: kept", "Content-Encoding: gzip\r\nContent-Language: mi\r\nContent-Disposition: session;handling=required")
        .replace(&format!("Content-Length: {}\r\n\r\n{SDP}", SDP.len()), &format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    sim.receive(ACME, &invite);
    let carried = sim.one_to(GLOBEX);
    assert!(carried.ends_with(&format!("\r\n\r\n{body}")), "{carried}");
    for (name, value) in [
        ("Content-Type", "application/x-unheard-of"),
        ("Content-Encoding", "gzip"),
        ("Content-Language", "mi"),
        ("Content-Disposition", "session;handling=required"),
    ] {
        assert_eq!(field(&carried, name), value);
    }
    let taken = "Accept: application/sdp\r\nAccept-Encoding: identity\r\nAccept-Language: en\r\n";
    let refusal = response(&carried, "415 Unsupported Media Type", "g", "");
    sim.receive(GLOBEX, &refusal.replace("Server: ", &format!("{taken}Server: ")));
    let told = sim.sent_to(ACME).pop().unwrap();
    assert!(kind(&told) == "415" && told.contains(taken), "{told}");
}

//! Right words from the wrong place, and addresses that only a header names: nothing reaches a third party.

use super::*;

/// Where forged header fields point.
const TRAP: &str = "198.51.100.66";

impl Simulation {
    #[track_caller]
    fn expect_nothing_to_others(&self) {
        for (to, message) in &self.sent {
            assert!(
                [ACME, GLOBEX, GLOBEX_2].iter().any(|it| it.split(':').next() == to.split(':').next()),
                "{to}: {message}"
            );
        }
    }
}

#[test]
fn requests_in_a_call_count_only_from_where_its_leg_lives() {
    for from in [STRANGER, GLOBEX_2, GLOBEX] {
        for method in ["BYE", "INVITE", "UPDATE", "INFO", "PRACK", "ACK"] {
            let mut sim = Simulation::new();
            let up = sim.call_up();
            sim.receive(from, &from_caller(method, &format!("2 {method}"), &up).replace(ACME, from));
            assert!(
                sim.sent.iter().all(|(to, message)| to == from && ["100", "481"].contains(&&*kind(message)))
            );
            assert_eq!(
                (sim.sent.is_empty(), sim.worker.calls.len()),
                (from == STRANGER || method == "ACK", 1)
            );
        }
    }
}

#[test]
fn a_cancel_or_an_early_bye_from_elsewhere_cancels_nothing() {
    for from in [STRANGER, GLOBEX_2] {
        let mut sim = Simulation::new();
        let ingress = sim.invite("+442079460000");
        let egress = sim.one_to(GLOBEX);
        sim.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
        let progress = sim.sent_to(ACME).pop().unwrap();
        sim.receive(from, &follow_up(&ingress, "CANCEL"));
        let up = (ingress, progress, egress);
        sim.receive(from, &from_caller("BYE", "2 BYE", &up).replace(ACME, from));
        assert!(sim.sent_to(ACME).is_empty() && sim.sent_to(GLOBEX).is_empty());
        assert_eq!(sim.worker.calls.len(), 1);
        // Nor does it stand in the way of the caller's own.
        sim.receive(ACME, &follow_up(&up.0, "CANCEL"));
        assert_eq!(sim.kinds_to(GLOBEX), ["CANCEL"]);
    }
}

#[test]
fn an_answer_from_elsewhere_or_to_nothing_goes_nowhere() {
    let mut sim = Simulation::new();
    sim.invite("+442079460000");
    sim.sent_to(ACME);
    let egress = sim.one_to(GLOBEX);
    for from in [STRANGER, GLOBEX_2, ACME] {
        sim.receive(from, &response(&egress, "200 OK", "g", SDP));
    }
    // A branch that the hub never made.
    let guessed = egress.replace(";branch=z9hG4bK", ";branch=z9hG4bK0000");
    sim.receive(GLOBEX, &response(&guessed, "200 OK", "g", SDP));
    assert!(sim.sent.is_empty());
}

#[test]
fn addresses_in_header_fields_lead_nowhere_but_to_the_member() {
    let forged = [
        (
            "Via: SIP/2.0/UDP 192.0.2.1:5060;",
            format!("Via: SIP/2.0/UDP {TRAP};maddr={TRAP};received={TRAP};"),
        ),
        (
            "Max-Forwards: 70\r\n",
            format!("Max-Forwards: 70\r\nVia: SIP/2.0/UDP {TRAP};branch=z9hG4bKlower\r\n"),
        ),
        ("Max-Forwards: 70\r\n", format!("Max-Forwards: 70\r\nRoute: <sip:{TRAP};lr>\r\n")),
        ("Max-Forwards: 70\r\n", format!("Max-Forwards: 70\r\nRecord-Route: <sip:{TRAP};lr>\r\n")),
        ("Max-Forwards: 70\r\n", format!("Max-Forwards: 70\r\nRecord-Route: <sip:{TRAP}>\r\n")),
        ("Contact: <sip:ann@192.0.2.1:5060>", format!("Contact: <sip:ann@{TRAP}>")),
        ("Contact: <sip:ann@192.0.2.1:5060>", format!("Contact: <sip:ann@192.0.2.1;maddr={TRAP}>")),
        (
            "INVITE sip:+442079460000@192.0.2.100:5060",
            format!("INVITE sip:+442079460000@{TRAP};maddr={TRAP}"),
        ),
    ];
    for (original, forged) in forged {
        let mut sim = Simulation::new();
        let ingress = invite(1, "+442079460000").replace(original, &forged);
        assert!(ingress.contains(TRAP));
        sim.receive(ACME, &ingress);
        sim.expect_nothing_to_others();
        let egress = sim.one_to(GLOBEX);
        assert!(!egress.contains(TRAP), "{egress}");
        let forge = |message: String| {
            message
                .replace(
                    "Contact: <sip:bob@192.0.2.2:5060>",
                    &format!("Contact: <sip:bob@{TRAP};maddr={TRAP}>"),
                )
                .replace("Server: ", &format!("Record-Route: <sip:{TRAP};lr>\r\nServer: "))
        };
        sim.receive(GLOBEX, &forge(response(&egress, "180 Ringing", "g", "")));
        sim.receive(GLOBEX, &forge(response(&egress, "200 OK", "g", SDP)));
        sim.expect_nothing_to_others();
        let answer = sim.sent.iter().rev().find(|(_, message)| kind(message) == "200").unwrap().1.clone();
        sim.receive(ACME, &ack(&ingress, &answer, ""));
        let up = (ingress, answer, egress);
        sim.receive(ACME, &from_caller("INVITE", "2 INVITE", &up));
        sim.receive(GLOBEX, &from_called("INFO", "1 INFO", &up));
        sim.pass(Duration::from_secs(100));
        sim.receive(GLOBEX, &from_called("BYE", "2 BYE", &up));
        sim.expect_nothing_to_others();
        sim.expect_nothing_left();
        sim.expect_nothing_to_others();
    }
}

#[test]
fn a_node_without_a_table_tells_whoever_calls_to_try_elsewhere_and_says_nothing_else() {
    let mut sim = Simulation::new();
    let table = sim.table.load_full();
    sim.table.store(std::sync::Arc::new(RouteTable::empty()));
    let invite = invite(1, "+442079460000").replace(ACME, STRANGER);
    sim.receive(STRANGER, &invite);
    let refusal = sim.one_to(STRANGER);
    assert!(refusal.starts_with("SIP/2.0 503") && refusal.contains("not_ready"), "{refusal}");
    for method in ["OPTIONS", "REGISTER", "BYE", "ACK", "MESSAGE"] {
        sim.receive(STRANGER, &invite.replace("INVITE", method));
    }
    // Nor to all who ask, however many they are.
    for _ in 0..10_000 {
        sim.receive(STRANGER, &invite);
    }
    let answers = sim.sent_to(STRANGER);
    assert!(
        answers.iter().all(|it| it.starts_with("SIP/2.0 503")) && answers.len() < 1_000,
        "{}",
        answers.len()
    );
    assert!(sim.sent.is_empty() && sim.worker.calls.is_empty());
    sim.table.store(table);
    sim.set_instant(sim.now.instant + Duration::from_secs(3_600));
    sim.receive(STRANGER, &invite);
    assert!(sim.sent.is_empty());
}

//! Calls that come back to the hub.

use super::*;

const INITECH: &str = "192.0.2.4:5060";
const NUMBER: &str = "+442079460000";

/// The usual exchange, and initech, which announces the same prefix as globex.
fn two_terminating() -> Simulation {
    let mut facts = facts();
    facts.members.push(Member { member_id: id(3), name: "initech".into(), ..facts.members[0].clone() });
    facts.endpoints.push(endpoint(31, 3, INITECH, 1, None));
    facts.ranges.push(Range { range_id: id(32), member_id: id(3), ..facts.ranges[0].clone() });
    facts.announcements.push(Announcement {
        announcement_id: id(42),
        member_id: id(3),
        endpoints: vec![id(31)],
        ..facts.announcements[0].clone()
    });
    for (n, one, other) in [(52, 1, 3), (53, 2, 3)] {
        facts.agreements.push(Agreement {
            agreement_id: id(n),
            proposing_member: id(one),
            accepting_member: id(other),
            ..facts.agreements[0].clone()
        });
    }
    let sim = Simulation::new();
    sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    sim
}

/// The INVITE that a member makes of one that it got: nothing but the numbers is left.
fn stripped(n: usize, from: &str, got: &str) -> String {
    let number = got.split(['@', ' ']).nth(1).unwrap().trim_start_matches("sip:");
    invite(1000 + n as u32, number).replace(ACME, from).replace("call1", "b2bua1")
}

#[test]
fn a_call_sent_back_without_call_id_and_tags_is_known_by_its_token() {
    let mut sim = Simulation::new();
    sim.invite(NUMBER);
    let egress = sim.one_to(GLOBEX);
    let token = format!("Tandem-Call: {}", field(&egress, "Tandem-Call"));
    let back = stripped(1, GLOBEX, &egress).replace("X-Note: kept", &token);
    sim.receive(GLOBEX, &back);
    assert_eq!(sim.kinds_to(GLOBEX), ["100", "482"]);
    // Also after a restart; and a spiral to another number is no loop.
    sim.restart();
    sim.receive(GLOBEX, &back.replace("b2bua", "again").replace("acme100", "acme200"));
    assert_eq!(sim.kinds_to(GLOBEX), ["100", "482"]);
    let spiral =
        back.replace(NUMBER, "+442079460001").replace("b2bua", "spiral").replace("acme100", "acme300");
    sim.receive(GLOBEX, &spiral);
    let refusal = sim.sent_to(GLOBEX).pop().unwrap();
    assert!(refusal.contains("own_number"), "it was routed: {refusal}");
}

#[test]
fn a_spiral_to_another_number_passes() {
    let mut sim = two_terminating();
    sim.invite(NUMBER);
    let (to, egress) = sim.sent.iter().find(|(_, message)| kind(message) == "INVITE").unwrap().clone();
    sim.sent.clear();
    let back = egress
        .replace("Via: ", &format!("Via: SIP/2.0/UDP {to};branch=z9hG4bKproxy\r\nVia: "))
        .replace(NUMBER, "+442079460009");
    sim.receive(&to, &back);
    let next = if to == GLOBEX { INITECH } else { GLOBEX };
    let carried = sim.one_to(next);
    assert!(carried.starts_with("INVITE sip:+442079460009@"));
    assert_eq!(carried.matches("Tandem-Call").count(), 1);
}

#[test]
fn members_that_strip_all_but_the_numbers_loop_ten_times_at_most() {
    let mut sim = two_terminating();
    sim.invite(NUMBER);
    let mut invites = 0;
    let refusal = loop {
        let sent = sim.sent.iter().find(|(_, message)| kind(message) == "INVITE").cloned();
        let Some((to, egress)) = sent else { break sim.sent.pop().unwrap().1 };
        invites += 1;
        assert!(invites <= 10, "it never ends");
        sim.sent.clear();
        sim.pass(Duration::from_millis(200));
        sim.sent.clear();
        sim.receive(&to, &stripped(invites, &to, &egress));
    };
    assert!(kind(&refusal) == "482" && refusal.contains("loop_detected"), "{refusal}");
    assert_eq!(invites, 10);
}

#[test]
fn many_calls_between_two_numbers_are_no_loop_while_they_come_from_elsewhere() {
    let mut facts = facts();
    facts.endpoints[0].max_calls = None;
    let mut sim = Simulation::new();
    sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    for _ in 0..40 {
        sim.invite(NUMBER);
        assert_eq!(sim.kinds_to(GLOBEX), ["INVITE"]);
    }
    sim.pass(Duration::from_secs(400));
    sim.expect_nothing_left();
}

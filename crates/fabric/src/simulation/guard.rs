//! What strangers and greedy members get, through a worker.

use super::*;

fn drops(sim: &Simulation, reason: tandem_model::Reason) -> u64 {
    sim.worker.wire.metrics.drops(reason)
}

#[test]
fn a_stranger_gets_nothing_and_is_banned_for_a_flood() {
    let mut sim = Simulation::new();
    for n in 0..1_000 {
        sim.receive(STRANGER, &invite(n, "+442079460000"));
    }
    assert!(sim.sent.is_empty());
    assert_eq!(drops(&sim, tandem_model::Reason::UnknownSource), 20);
    assert_eq!(drops(&sim, tandem_model::Reason::SourceBanned), 980);
    // Members go on meanwhile.
    sim.call_up();
}

#[test]
fn a_ban_ends_when_the_address_becomes_a_members() {
    let mut sim = Simulation::new();
    for n in 0..100 {
        sim.receive(STRANGER, &invite(n, "+442079460000"));
    }
    let mut facts = facts();
    facts.endpoints.push(endpoint(12, 1, STRANGER, 1, None));
    sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    sim.receive(STRANGER, &invite(1_000, "+442079460000"));
    assert_eq!(sim.kinds_to(GLOBEX), ["INVITE"]);
}

#[test]
fn a_member_above_its_rate_starts_nothing_new_and_ends_what_it_has() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    // 1,000 messages a second are allowed here.
    let options = invite(99, "+442079460000").replace("INVITE", "OPTIONS").replace(SDP, "");
    let options = options.replace(&format!("Content-Length: {}", SDP.len()), "Content-Length: 0");
    for n in 0..2_000 {
        sim.receive(ACME, &options.replace("acme99", &format!("options{n}")));
    }
    let answered = sim.kinds_to(ACME).len();
    assert!((990..1_000).contains(&answered), "{answered} answered");
    sim.invite("+442079460000");
    let refusal = sim.one_to(ACME);
    assert!(refusal.starts_with("SIP/2.0 503 ") && refusal.contains("source_rate_exceeded"), "{refusal}");
    assert!(refusal.contains("Retry-After: "), "{refusal}");
    let broken = invite(98, "+442079460000").replace("CSeq: 1 INVITE", "CSeq: 1 BYE");
    sim.receive(ACME, &broken);
    assert!(sim.sent.is_empty(), "what is malformed is dropped");
    sim.receive(ACME, &from_caller("BYE", "2 BYE", &up));
    assert_eq!((sim.kinds_to(GLOBEX), sim.kinds_to(ACME)), (vec!["BYE".into()], vec!["200".into()]));
    assert_eq!(sim.one_cdr().outcome, Some(Outcome::Answered));
    // The called side is another source, and within its rate.
    sim.pass(Duration::from_secs(1));
    sim.sent.clear();
    sim.invite("+442079460000");
    assert_eq!(sim.kinds_to(GLOBEX), ["INVITE"]);
}

#[test]
fn a_member_gets_no_more_than_a_few_answers_a_second_to_malformed_requests() {
    let mut sim = Simulation::new();
    for n in 0..200 {
        let broken = invite(n, "+442079460000").replace("CSeq: 1 INVITE", "CSeq: 1 BYE");
        sim.receive(ACME, &broken);
    }
    assert_eq!(sim.kinds_to(ACME).len(), 20);
    sim.pass(Duration::from_secs(1));
    sim.receive(ACME, &invite(201, "+442079460000").replace("CSeq: 1 INVITE", "CSeq: 1 BYE"));
    assert_eq!(sim.kinds_to(ACME), ["400"]);
}

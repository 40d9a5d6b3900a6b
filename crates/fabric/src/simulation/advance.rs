//! After which failures a call goes on to its next candidate, where the two members agreed on a list.

use super::*;
use tandem_model::AdvanceOn;

/// The exchange of all tests, with lists in the agreement.
fn agreed(statuses: &[u16], causes: &[u16]) -> Simulation {
    let mut facts = facts();
    let list = AdvanceOn::new(statuses.iter().copied().collect(), causes.iter().copied().collect()).unwrap();
    facts.agreements[0].advance_on = Some(list);
    let sim = Simulation::new();
    sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    sim
}

/// The first candidate answers with this status and Reason; whether the second one is tried.
fn goes_on(sim: &mut Simulation, status: &str, reason: &str) -> bool {
    sim.invite("+442079460000");
    let first = sim.one_to(GLOBEX);
    let reason = if reason.is_empty() { String::new() } else { format!("Reason: {reason}\r\n") };
    let refusal = response(&first, status, "g", "").replacen("Server: ", &format!("{reason}Server: "), 1);
    sim.receive(GLOBEX, &refusal);
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
    !sim.kinds_to(GLOBEX_2).is_empty()
}

#[test]
fn only_what_is_on_the_list_leads_to_the_next_candidate() {
    for (status, reason, expected) in [
        ("486 Busy Here", "", true),
        ("603 Decline", "", false),
        ("404 Not Found", "Q.850;cause=34", true),
        ("404 Not Found", "Q.850;cause=1", false),
        ("503 Full", "", false),
        ("503 Full", "SIP;cause=486", false),
    ] {
        let mut sim = agreed(&[486], &[34]);
        assert_eq!(goes_on(&mut sim, status, reason), expected, "{status} {reason}");
    }
    assert!(!goes_on(&mut agreed(&[], &[]), "500 Broken", "Q.850;cause=41"));
}

#[test]
fn what_is_not_on_the_list_goes_back_as_the_last_word() {
    for (status, told, outcome) in [
        ("603 Decline", "603", Outcome::Rejected),
        ("500 Broken", "500", Outcome::Failed),
        // They are about one endpoint, and not about the hub.
        ("503 Full", "502", Outcome::Failed),
        ("302 Moved", "502", Outcome::Failed),
    ] {
        let mut sim = agreed(&[486], &[]);
        assert!(!goes_on(&mut sim, status, ""));
        assert_eq!(sim.kinds_to(ACME), ["100", told], "{status}");
        let cdr = sim.one_cdr();
        assert_eq!((cdr.outcome, cdr.attempts.len()), (Some(outcome), 1), "{status}");
        sim.expect_nothing_left();
    }
}

#[test]
fn a_no_that_leads_on_is_the_answer_when_nobody_else_says_yes() {
    let mut sim = agreed(&[486], &[]);
    assert!(goes_on(&mut sim, "486 Busy Here", ""));
    sim.pass(Duration::from_millis(10));
    let second = sim.worker.calls.iter().next().map(|(_, call)| call.cdr.attempts.len());
    assert_eq!(second, Some(2));
    // The INVITE to the second one is sent again until it answers, busy too.
    sim.pass(Duration::from_millis(600));
    let second = sim.one_to(GLOBEX_2);
    sim.receive(GLOBEX_2, &response(&second, "486 Busy Here", "g", ""));
    assert_eq!(sim.kinds_to(ACME), ["100", "486"]);
    let cdr = sim.one_cdr();
    assert_eq!((cdr.outcome, cdr.status, cdr.attempts.len()), (Some(Outcome::Busy), Some(486), 2));
    sim.expect_nothing_left();
}

#[test]
fn silence_is_passed_over_whatever_the_list_has() {
    let mut sim = agreed(&[], &[]);
    sim.invite("+442079460000");
    sim.pass(Duration::from_millis(3_100));
    assert_eq!(sim.kinds_to(GLOBEX_2), ["INVITE"]);
}

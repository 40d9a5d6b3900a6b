//! Calls that a member places directly, once the hub has said where to.

use serde_json::json;

use super::*;

const CALLED: &str = "+442079460000";

/// Which endpoints call directly (11 is acme's) and may be called so (21 and 22 are globex's).
fn simulation(calls: &[u128], called: &[u128]) -> Simulation {
    let sim = Simulation::new();
    let mut facts = facts();
    for endpoint in &mut facts.endpoints {
        let is_among = |all: &[u128]| all.iter().any(|n| endpoint.endpoint_id == id(*n));
        let direct = json!({ "calls": is_among(calls), "called": is_among(called) });
        let overrides = [("direct".to_owned(), direct)].into_iter().collect();
        endpoint.policy = Policy::new(Profile::Neutral, overrides).unwrap();
    }
    sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    sim
}

fn contacts(response: &str) -> Vec<&str> {
    response.lines().filter_map(|line| line.strip_prefix("Contact: ")).collect()
}

#[test]
fn a_call_is_redirected_to_the_candidates_that_may_be_called_directly_in_their_order() {
    let mut sim = simulation(&[11], &[21, 22]);
    let invite = sim.invite(CALLED);
    let response = sim.sent_to(ACME).pop().unwrap();
    assert_eq!(kind(&response), "302");
    let expected = [
        format!("<sip:{CALLED}@{GLOBEX};transport=udp;user=phone>;q=1.0"),
        format!("<sip:{CALLED}@{GLOBEX_2};transport=udp;user=phone>;q=0.9"),
    ];
    assert_eq!(contacts(&response), expected);
    let to = field(&response, "To").to_owned();
    let acknowledged =
        follow_up(&invite, "ACK").replace(&format!("To: <sip:{CALLED}@{HUB}>"), &format!("To: {to}"));
    sim.receive(ACME, &acknowledged);
    assert!(sim.sent.is_empty(), "nothing goes to globex: {:?}", sim.sent);
    let cdr = sim.one_cdr();
    assert_eq!((cdr.outcome, cdr.status, cdr.reason), (Some(Outcome::Redirected), Some(302), None));
    assert_eq!(cdr.attempts.len(), 0);
    sim.expect_nothing_left();
}

#[test]
fn a_candidate_that_may_not_be_called_directly_is_not_named() {
    let mut sim = simulation(&[11], &[22]);
    sim.invite(CALLED);
    let response = sim.sent_to(ACME).pop().unwrap();
    assert_eq!(contacts(&response), [format!("<sip:{CALLED}@{GLOBEX_2};transport=udp;user=phone>;q=1.0")]);
    assert!(!response.contains(GLOBEX), "{response}");
}

#[test]
fn where_either_side_does_not_want_it_the_hub_carries_the_call() {
    for (calls, called) in [(&[11_u128][..], &[][..]), (&[], &[21, 22]), (&[21], &[21, 22])] {
        let mut sim = simulation(calls, called);
        sim.invite(CALLED);
        assert_eq!(sim.kinds_to(GLOBEX), ["INVITE"], "{calls:?} {called:?}");
        assert!(sim.kinds_to(ACME).iter().all(|kind| kind == "100"));
    }
}

#[test]
fn a_call_that_has_no_route_is_refused_and_not_redirected() {
    let mut sim = simulation(&[11], &[21, 22]);
    sim.invite("+493012345678");
    assert_eq!(sim.kinds_to(ACME).pop().unwrap(), "404");
}

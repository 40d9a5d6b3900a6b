//! Limits on calls, through a worker: who is refused, what is left out, and that every place comes back.

use std::sync::Arc;

use proptest::prelude::*;
use tandem_model::Reason;

use super::*;

const NUMBER: &str = "+442079460000";

type Change = fn(&mut Facts);

/// The exchange with other limits.
fn limited(change: impl FnOnce(&mut Facts)) -> Simulation {
    let sim = Simulation::new();
    let mut facts = facts();
    facts.endpoints[0].max_calls = None;
    change(&mut facts);
    sim.table.store(Arc::new(RouteTable::from_facts(facts)));
    sim
}

fn at_most(max_calls: u32) -> CallLimits {
    CallLimits { max_calls: Some(max_calls), max_calls_per_second: None }
}

fn a_second(max_calls_per_second: u32) -> CallLimits {
    CallLimits { max_calls: None, max_calls_per_second: Some(max_calls_per_second) }
}

/// Every place is held by a leg that is there, and every leg holds its places.
#[track_caller]
fn expect_leases_match_legs(sim: &Simulation) {
    let calls = sim.worker.calls.len() as u32;
    let egress = sim.worker.calls.values().filter(|call| call.egress.is_some()).count() as u32;
    let leased = sim.worker.share.common.limits.leased_by_kind();
    assert_eq!(leased, [calls + egress, calls + egress, egress, egress]);
}

#[test]
fn a_limit_that_is_reached_refuses_the_call_with_its_code_until_one_has_ended() {
    let rows: [(Change, Reason); 4] = [
        (|facts| facts.members[0].limits = at_most(1), Reason::MemberCallsExceeded),
        (|facts| facts.members[1].limits = at_most(1), Reason::MemberFull),
        (|facts| facts.agreements[0].limits = at_most(1), Reason::AgreementFull),
        (|facts| facts.announcements[0].limits = at_most(1), Reason::PrefixFull),
    ];
    for (change, reason) in rows {
        let mut sim = limited(change);
        let up = sim.call_up();
        sim.invite(NUMBER);
        let refusal = sim.sent_to(ACME).pop().unwrap();
        assert!(refusal.starts_with("SIP/2.0 503 ") && refusal.contains(reason.code()), "{refusal}");
        assert!(refusal.contains("Retry-After: "), "{refusal}");
        assert!(sim.sent_to(GLOBEX).is_empty() && sim.sent_to(GLOBEX_2).is_empty());
        let cdr = sim.one_cdr();
        assert_eq!((cdr.outcome, cdr.reason.as_deref()), (Some(Outcome::Refused), Some(reason.code())));
        expect_leases_match_legs(&sim);
        // Also after a restart the first call has its place, and gives it back when it ends.
        sim.pass(Duration::from_secs(1));
        sim.sent.clear();
        sim.restart();
        expect_leases_match_legs(&sim);
        sim.invite(NUMBER);
        assert_eq!(sim.kinds_to(ACME), ["100", "503"], "{reason}");
        sim.receive(ACME, &from_caller("BYE", "2 BYE", &up));
        sim.sent.clear();
        sim.invite(NUMBER);
        assert_eq!(sim.kinds_to(GLOBEX), ["INVITE"], "{reason}");
    }
}

#[test]
fn calls_beyond_a_rate_are_refused_and_cross_again_a_second_later() {
    let rows: [(Change, Reason); 3] = [
        (|facts| facts.members[0].limits = a_second(2), Reason::MemberCallRateExceeded),
        (|facts| facts.agreements[0].limits = a_second(2), Reason::AgreementRateExceeded),
        (|facts| facts.announcements[0].limits = a_second(2), Reason::PrefixRateExceeded),
    ];
    for (change, reason) in rows {
        let mut sim = limited(change);
        for _ in 0..2 {
            for _ in 0..3 {
                sim.invite(NUMBER);
            }
            assert_eq!(sim.kinds_to(GLOBEX), ["INVITE", "INVITE"], "{reason}");
            assert!(sim.sent_to(ACME).pop().unwrap().contains(reason.code()));
            sim.pass(Duration::from_secs(1));
            sim.sent.clear();
        }
    }
}

#[test]
fn a_full_endpoint_is_left_out_and_the_next_one_takes_the_call() {
    let mut sim = limited(|facts| facts.endpoints[1].max_calls = Some(1));
    sim.call_up();
    sim.invite(NUMBER);
    assert!(sim.sent_to(GLOBEX).is_empty());
    let egress = sim.one_to(GLOBEX_2);
    sim.receive(GLOBEX_2, &response(&egress, "486 Busy Here", "g", ""));
    let selection = sim.one_cdr().selection;
    assert!(selection.contains("endpoint_full"), "{selection}");
}

#[test]
fn a_flood_of_calls_above_the_limit_costs_no_transactions_and_no_cdrs() {
    let mut sim = limited(|facts| facts.members[0].limits = a_second(10));
    for _ in 0..1_000 {
        sim.invite(NUMBER);
    }
    let answers = sim.kinds_to(ACME);
    assert_eq!(answers.iter().filter(|kind| *kind == "503").count(), 990);
    assert!(sim.cdrs().len() <= 50, "{} CDRs", sim.cdrs().len());
    assert_eq!((sim.worker.calls.len(), sim.sent_to(GLOBEX).len()), (10, 10));
    // The same INVITE again gets the same answer again, with the same tag (RFC 3261 §8.2.7).
    let again = sim.invite(NUMBER);
    sim.receive(ACME, &again);
    let answers = sim.sent_to(ACME);
    assert_eq!((answers.len(), &answers[0]), (2, &answers[1]));
    // And its ACK ends nothing and starts nothing.
    sim.receive(ACME, &follow_up(&again, "ACK"));
    assert!(sim.sent.is_empty());
}

/// What may happen to the calls of a member.
#[derive(Clone, Debug)]
enum Step {
    Invite,
    /// The called side says something to one of the INVITEs that it got.
    Answer(usize, &'static str),
    Cancel(usize),
    /// Either side hangs up one of the calls that it knows of.
    Bye(usize, bool),
    Pass(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop::sample::select(vec!["180 Ringing", "200 OK", "486 Busy Here", "503 No", "302 Moved"]);
    prop_oneof![
        4 => Just(Step::Invite),
        6 => (0..20_usize, status).prop_map(|(n, status)| Step::Answer(n, status)),
        1 => (0..20_usize).prop_map(Step::Cancel),
        2 => (0..20_usize, any::<bool>()).prop_map(|(n, caller)| Step::Bye(n, caller)),
        2 => (0..70_000_u64).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ]
}

/// The members, as far as they keep apart what they sent and got.
#[derive(Default)]
struct Seen {
    sent: Vec<String>,
    invites: Vec<(String, String)>,
    answers: Vec<String>,
}

impl Seen {
    fn collect(&mut self, sim: &mut Simulation) {
        for (to, message) in std::mem::take(&mut sim.sent) {
            match &*kind(&message) {
                "INVITE" => self.invites.push((to, message)),
                "200" if field(&message, "CSeq").ends_with("INVITE") => self.answers.push(message),
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_any_sequence_the_leases_that_are_out_are_those_of_the_legs(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut sim = limited(|facts| {
            facts.members[0].limits = at_most(4);
            facts.agreements[0].limits = at_most(3);
            facts.announcements[0].limits = a_second(20);
            facts.endpoints[1].max_calls = Some(2);
        });
        let mut seen = Seen::default();
        for step in steps {
            match step {
                Step::Invite => seen.sent.push(sim.invite(NUMBER)),
                Step::Answer(n, status) => {
                    if let Some((from, invite)) = seen.invites.iter().rev().nth(n).cloned() {
                        sim.receive(&from, &response(&invite, status, "g", ""));
                    }
                }
                Step::Cancel(n) => {
                    if let Some(invite) = seen.sent.iter().rev().nth(n) {
                        sim.receive(ACME, &follow_up(invite, "CANCEL"));
                    }
                }
                Step::Bye(n, true) => {
                    if let Some(answer) = seen.answers.iter().rev().nth(n) {
                        let bye = in_dialog("BYE", "2 BYE", field(answer, "From"), field(answer, "To"), answer, "");
                        sim.receive(ACME, &bye.replace(GLOBEX, ACME));
                    }
                }
                Step::Bye(n, false) => {
                    if let Some((from, invite)) = seen.invites.iter().rev().nth(n).cloned() {
                        let to = format!("{};tag=g", field(&invite, "To"));
                        let bye = in_dialog("BYE", "1 BYE", &to, field(&invite, "From"), &invite, "");
                        sim.receive(&from, &bye.replace(ACME, &from));
                    }
                }
                Step::Pass(millis) => sim.pass(Duration::from_millis(millis)),
                Step::Restart => sim.restart(),
            }
            seen.collect(&mut sim);
            expect_leases_match_legs(&sim);
        }
        sim.pass(Duration::from_secs(8_000));
        expect_leases_match_legs(&sim);
        prop_assert_eq!((sim.worker.calls.len(), sim.worker.share.common.limits.leased()), (0, 0));
    }
}

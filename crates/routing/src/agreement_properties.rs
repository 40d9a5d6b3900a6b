//! What holds for any history of agreements: no call is routed without one in force at that instant.

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::sample::select as one_of;
use tandem_model::{AgreementAction, AgreementLife, Facts, Party, Reason};

use crate::exchange::{at, exchange, id, selection};
use crate::{RouteTable, Selection};

/// Something that happens: after so many seconds one of the two acts on its agreement.
#[derive(Clone, Debug)]
struct Event {
    after_s: i64,
    action: AgreementAction,
    by: Party,
    notice_s: i64,
}

/// What was done and taken, with its time; nothing else is known to the reference.
type Log = Vec<(i64, AgreementAction, Party, i64)>;

fn event() -> impl Strategy<Value = Event> {
    use AgreementAction::{Accept, Counter, End, Refuse, Resume, Suspend};
    let action = prop_oneof![
        2 => Just(Counter), 4 => Just(Accept), 1 => Just(Refuse), 3 => Just(Suspend), 4 => Just(Resume), 1 => Just(End),
    ];
    let by = one_of(vec![Party::Proposing, Party::Accepting]);
    (0..4_i64, action, by, prop_oneof![Just(0), 1..12_i64])
        .prop_map(|(after_s, action, by, notice_s)| Event { after_s, action, by, notice_s })
}

/// Whether the agreement is in force, by reading all that was done from the beginning.
fn is_in_force(log: &Log, now: i64) -> bool {
    let when = |wanted: AgreementAction| log.iter().filter(move |(_, action, ..)| *action == wanted);
    let is_accepted = when(AgreementAction::Accept).any(|(at, ..)| *at <= now);
    let held_up = |party| {
        let mut acts = log.iter().filter(|(_, action, by, _)| {
            *by == party && matches!(action, AgreementAction::Suspend | AgreementAction::Resume)
        });
        acts.next_back().is_some_and(|(_, action, ..)| *action == AgreementAction::Suspend)
    };
    let mut was_held_up = (false, false);
    let is_over = log.iter().any(|(at, action, by, notice)| {
        match (action, by) {
            (AgreementAction::Suspend, Party::Proposing) => was_held_up.0 = true,
            (AgreementAction::Resume, Party::Proposing) => was_held_up.0 = false,
            (AgreementAction::Suspend, Party::Accepting) => was_held_up.1 = true,
            (AgreementAction::Resume, Party::Accepting) => was_held_up.1 = false,
            // One that is held up ends without notice.
            (AgreementAction::End, _) if was_held_up == (false, false) => return at + notice <= now,
            (AgreementAction::End, _) => return true,
            _ => {}
        }
        false
    });
    is_accepted && !is_over && !held_up(Party::Proposing) && !held_up(Party::Accepting)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_call_is_routed_without_an_agreement_in_force_at_that_instant_and_each_is_with_one(
        events in prop::collection::vec(event(), 1..16),
    ) {
        let mut exchange = exchange("+4420 acme");
        let (mut life, mut log, mut now) = (AgreementLife::PROPOSED, Log::new(), 0);
        let mut table = RouteTable::empty();
        for Event { after_s, action, by, notice_s } in events {
            // Time passes, and nobody tells the node.
            for second in now..=now + after_s {
                let Selection { candidates, .. } = selection(&table, "caller", "+442079460000", at(second));
                prop_assert_eq!(!candidates.is_empty(), is_in_force(&log, second), "{:?} at {}", log, second);
            }
            now += after_s;
            let acted = life.step(action, by, TimeDelta::seconds(notice_s), at(now));
            if let Ok(next) = acted {
                life = next;
                log.push((now, action, by, notice_s));
            }
            let agreement = exchange.agreement("acme");
            (agreement.state, agreement.validity) = (life.state, life.validity);
            let agreements = vec![agreement.clone()];
            table = if table.is_empty() {
                exchange.table()
            } else {
                table.apply(Facts { agreements, ..Facts::default() })
            };
            let seen = selection(&table, "caller", "+442079460000", at(now));
            let is_in_force = is_in_force(&log, now);
            prop_assert_eq!(seen.refusal().is_none(), is_in_force, "{:?}", log);
            for candidate in &seen.candidates {
                prop_assert_eq!(candidate.agreement, id("agreement caller acme"));
            }
            let reason = seen.refusal();
            prop_assert!(is_in_force || matches!(reason, Some(Reason::NoAgreement | Reason::AgreementSuspended)));
        }
    }
}

//! How long a hub is away that had 10,000 calls up.

use std::time::Instant;

use super::*;
use crate::record::UpRecord;

const CALLS: u128 = 10_000;

/// Longest time from the journal to calls that are served.
const AWAY: Duration = Duration::from_secs(2);

/// The call of `record` as another one.
fn renumbered(record: &[u8], n: u128) -> Box<UpRecord<'static>> {
    let mut call: UpRecord<'static> = postcard::from_bytes(record).unwrap();
    let cdr = call.cdr.to_mut();
    cdr.call_id = Uuid::from_u128(n).into();
    cdr.ingress_call_id = format!("call{n}@acme").into();
    call.ingress.call_id = format!("call{n}@acme").into_bytes().into();
    (call.ingress.tag, call.egress.tag) = (2 * n as u64, 2 * n as u64 + 1);
    if let Some(answer) = &mut call.answer {
        answer.branch = Some(n as u64);
    }
    Box::new(call)
}

#[test]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "it is measured, and the figures are the result"
)]
fn a_hub_with_ten_thousand_calls_up_serves_again_within_two_seconds() {
    for is_acknowledged in [true, false] {
        let mut sim = Simulation::new();
        if is_acknowledged {
            sim.call_up();
            sim.pass(Duration::from_millis(100));
        } else {
            sim.invite("+442079460000");
            let egress = sim.one_to(GLOBEX);
            sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
        }
        let (_, up) = Journal::open(&sim.dir.path().join("journal-0")).unwrap();
        let record = postcard::to_allocvec(&up[0]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(&dir.path().join("journal-0")).unwrap();
        for n in 1..=CALLS {
            journal.append(&Record::Up(renumbered(&record, n)));
        }
        journal.commit().unwrap();
        let octets = journal.written_mark();
        drop(journal);
        let begun = Instant::now();
        let mut worker = Simulation::worker(Share::all(1).remove(0), &dir, sim.table.clone(), sim.now);
        worker.commit();
        let resumed = begun.elapsed();
        worker.fire_due(sim.now);
        let took = begun.elapsed();
        let answers = worker.wire.outbox.drain_durable().count() as u128;
        assert_eq!(answers, if is_acknowledged { 0 } else { CALLS });
        assert_eq!(worker.calls.len() as u128, CALLS);
        eprintln!(
            "{CALLS} calls up, acknowledged: {is_acknowledged}, {octets} octets of journal: taken up after \
             {resumed:?}, serving after {took:?}"
        );
        assert!(cfg!(debug_assertions) || took < AWAY, "{took:?}");
    }
}

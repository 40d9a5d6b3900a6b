//! What the fuzz target of the journal reaches: it is built with `--cfg fuzzing`, as libFuzzer's targets are.

use std::cell::RefCell;
use std::time::Duration;

use chrono::DateTime;
use tandem_model::{NodeId, Transport};
use tandem_routing::{RouteTable, SharedTable, shared};
use tandem_sip::transaction::timer::T1;
use uuid::Uuid;

use crate::journal::{self, Journal};
use crate::metrics::Metrics;
use crate::overload::EmergencyNumbers;
use crate::record::Record;
use crate::share::Share;
use crate::worker::{Local, Now, Worker, WorkerSettings};

/// Reads `octets` as a journal segment, as it is and with the checksums put right, and lets a worker take up and
/// carry on the calls in it.
///
/// # Panics
/// When a record that can be read cannot be written and read again; that is to be found.
pub fn replay_journal(octets: &[u8]) {
    let mended = journal::mend(octets);
    for octets in [octets, &mended] {
        let Some((records, _)) = journal::read_segment(octets) else { continue };
        for record in &records {
            let written = postcard::to_allocvec(record).expect("a record can be written");
            let read: Record<'_> = postcard::from_bytes(&written).expect("what was written can be read");
            assert_eq!(*record, read);
        }
        let up = journal::replay(records.into_iter());
        if !up.is_empty() {
            carry_on(up);
        }
    }
}

thread_local! {
    static SHARED: RefCell<Option<(SharedTable, Metrics)>> = const { RefCell::new(None) };
}

fn carry_on(up: Vec<crate::record::UpRecord<'static>>) {
    let (table, metrics) = SHARED.with_borrow_mut(|shared| shared.get_or_insert_with(begin).clone());
    let settings = WorkerSettings {
        node_id: NodeId::from(Uuid::nil()),
        max_calls: 100,
        source_messages_per_second: 1_000,
        emergency_numbers: EmergencyNumbers::new(&[]),
        attempt_timeout: Duration::from_secs(3),
        ring_timeout: Duration::from_secs(60),
        setup_timeout: Duration::from_secs(150),
        max_duration: Duration::from_secs(3_600),
        probes: false,
    };
    let address = "192.0.2.1:5060".parse().expect("it is an address");
    let locals =
        [Transport::Udp, Transport::Tcp].map(|transport| Local::new("ams", transport, address)).to_vec();
    let mut worker =
        Worker::new(settings, Share::all(1).remove(0), locals, table, Journal::nowhere(), metrics, [1; 32]);
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    let start = std::time::Instant::now();
    let utc = DateTime::from_timestamp(1_800_000_000, 0).expect("it is a moment");
    worker.resume(up, Now { instant: start, utc });
    // Now, when answers are given up, and after the longest call.
    for after in [Duration::ZERO, 64 * T1 + T1, Duration::from_secs(3_700), Duration::from_secs(3_800)] {
        worker.fire_due(Now { instant: start + after, utc: utc + after });
    }
    assert!(worker.calls.is_empty(), "every call comes to its end");
}

fn begin() -> (SharedTable, Metrics) {
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("the registry is new");
    (shared(RouteTable::default()), metrics)
}

#[test]
fn the_seeds_of_the_fuzz_target_are_journals_of_this_version() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/journal");
    if std::env::var_os("UPDATE_SEEDS").is_some() {
        for (name, octets) in crate::simulation::journals() {
            std::fs::write(folder.join(name), octets).unwrap();
        }
    }
    for seed in std::fs::read_dir(folder).unwrap() {
        let octets = std::fs::read(seed.unwrap().path()).unwrap();
        assert!(
            journal::read_segment(&octets)
                .is_some_and(|(records, damage)| { records.len() > 1 && damage.is_empty() })
        );
        replay_journal(&octets);
        replay_journal(&octets[..octets.len() - 9]);
    }
}

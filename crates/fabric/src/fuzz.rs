//! What the fuzz targets of the journal and of ENUM reach: it is built with `--cfg fuzzing`, as libFuzzer's targets are.

use std::cell::RefCell;
use std::time::Duration;

use chrono::DateTime;
use hickory_proto::op::{Message, MessageType};
use tandem_model::{CallLimits, Facts, Member, MemberId, MemberState, NodeId, Transport};
use tandem_routing::{RouteTable, SharedTable, shared};
use tandem_sip::transaction::timer::T1;
use uuid::Uuid;

use crate::enum_answer::{Carrier, Zone};
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

/// Answers `octets` as a question that a member asks by UDP and by TCP.
///
/// # Panics
/// When an answer cannot be read, is not one to this question, or is longer than its carrier allows; that is to be found.
pub fn answer_enum(octets: &[u8]) {
    let member_id = MemberId::from(Uuid::nil());
    let table = RouteTable::from_facts(Facts {
        members: vec![Member {
            member_id,
            name: "acme".into(),
            state: MemberState::Approved,
            limits: CallLimits::NONE,
        }],
        ..Facts::default()
    });
    let listener = (Transport::Udp, "192.0.2.1:5060".parse().expect("it is an address"));
    let zone = Zone::new("e164.test", Duration::from_secs(5), std::iter::once(listener));
    let zone = zone.expect("it is a domain");
    let now = DateTime::from_timestamp(1_800_000_000, 0).expect("it is a moment");
    for (carrier, longest) in [(Carrier::Udp, 1_232), (Carrier::Tcp, 65_535)] {
        let Some((answer, _)) = zone.answer(&table, member_id, octets, carrier, now) else { continue };
        assert!(answer.len() <= longest);
        let answer = Message::from_vec(&answer).expect("what is answered can be read");
        assert_eq!(answer.metadata.message_type, MessageType::Response);
        assert_eq!(answer.metadata.id.to_be_bytes(), octets[..2]);
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

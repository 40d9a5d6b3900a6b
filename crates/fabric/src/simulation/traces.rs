//! Calls that are traced: every message of theirs is noted once, in its order, and nothing else is.

use tandem_model::{CallId, TraceSelection, TraceSelectionId};
use tokio::sync::mpsc;

use super::*;
use crate::recorder::TraceSettings;
use crate::tap::{Tap, Told, TracedMessage};
use crate::tracer::Tracer;

/// A simulation whose worker traces a share of `sample` of all calls.
fn traced(sample: f64) -> (Simulation, Traces) {
    let mut sim = Simulation::new();
    let (tap, noted) =
        Tap::new(&TraceSettings { sample, ..TraceSettings::default() }, &sim.worker.wire.metrics);
    sim.worker.tracer = Tracer::new(tap.clone());
    (sim, Traces { tap, noted })
}

struct Traces {
    tap: std::sync::Arc<Tap>,
    noted: mpsc::Receiver<Told>,
}

impl Traces {
    fn select(&self, selections: &[TraceSelection]) {
        self.tap.select(selections.iter().map(|selection| (selection.clone(), 0)).collect());
    }

    fn take(&mut self) -> Vec<TracedMessage> {
        let told = std::iter::from_fn(|| self.noted.try_recv().ok());
        let message = |told| match told {
            Told::Message(message) => message,
            Told::Over(_) | Told::Shipped(_) => panic!("no spans are made"),
        };
        told.map(message).collect()
    }

    /// The messages in their order: `acme> INVITE` came from acme, `<globex 200` went to globex; with `*` behind
    /// what was there before.
    fn lines(&mut self) -> Vec<String> {
        let messages = self.take();
        for (message, position) in messages.iter().zip(messages[0].position..) {
            assert_eq!(message.position, position, "in order, and none is missing");
            assert_eq!(message.hub.to_string(), HUB);
        }
        let line = |message: &TracedMessage| {
            let member = if message.member == id(1) { "acme" } else { "globex" };
            let kind = kind(std::str::from_utf8(&message.octets).unwrap());
            let way =
                if message.is_received { format!("{member}> {kind}") } else { format!("<{member} {kind}") };
            if message.is_again { way + "*" } else { way }
        };
        messages.iter().map(line).collect()
    }
}

fn selection(n: u128, member: u128, change: impl FnOnce(&mut TraceSelection)) -> TraceSelection {
    let mut selection = TraceSelection {
        trace_selection_id: id::<TraceSelectionId>(n),
        member_id: id(member),
        endpoint_id: None,
        prefix: None,
        until: DateTime::from_timestamp(1_800_000_060, 0).unwrap(),
        max_calls: 100,
    };
    change(&mut selection);
    selection
}

#[test]
fn every_message_of_a_call_is_noted_in_order_on_both_legs() {
    let (mut sim, mut traces) = traced(1.0);
    let up = sim.call_up();
    sim.receive(ACME, &from_caller("BYE", "2 BYE", &up));
    let bye = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&bye, "200 OK", "g", ""));
    assert_eq!(
        traces.lines(),
        [
            "acme> INVITE",
            "<acme 100",
            "<globex INVITE",
            "globex> 180",
            "<acme 180",
            "globex> 200",
            "<acme 200",
            "acme> ACK",
            "<globex ACK",
            "acme> BYE",
            "<acme 200",
            "<globex BYE",
            "globex> 200",
        ]
    );
}

#[test]
fn what_comes_or_leaves_again_is_marked() {
    let (mut sim, mut traces) = traced(1.0);
    let invite = sim.invite("+442079460000");
    sim.receive(ACME, &invite);
    sim.pass(Duration::from_millis(600));
    let egress = sim.sent_to(GLOBEX).remove(0);
    sim.receive(GLOBEX, &response(&egress, "486 Busy Here", "g", ""));
    sim.receive(GLOBEX, &response(&egress, "486 Busy Here", "g", ""));
    sim.receive(ACME, &follow_up(&invite, "ACK"));
    assert_eq!(
        traces.lines(),
        [
            "acme> INVITE",
            "<acme 100",
            "<globex INVITE",
            "acme> INVITE*",
            "<acme 100*",
            "<globex INVITE*",
            "globex> 486",
            "<globex ACK",
            "<acme 486",
            "globex> 486*",
            "<globex ACK*",
            "acme> ACK",
        ]
    );
}

#[test]
fn each_attempt_has_its_place() {
    let (mut sim, mut traces) = traced(1.0);
    sim.invite("+442079460000");
    let first = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&first, "503 Full", "g", ""));
    sim.one_to(GLOBEX_2);
    let attempts: Vec<_> = traces.take().into_iter().map(|message| message.attempt).collect();
    assert_eq!(attempts, [None, None, Some(1), Some(1), Some(1), Some(2)]);
}

#[test]
fn nothing_is_noted_of_calls_that_are_not_traced() {
    let (mut sim, mut traces) = traced(0.0);
    sim.call_up();
    assert!(traces.take().is_empty());
    assert_eq!(sim.worker.tracer.len(), 0);
}

#[test]
fn chance_picks_its_share() {
    let quarter = TraceSettings { sample: 0.25, ..TraceSettings::default() };
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let (tap, _noted) = Tap::new(&quarter, &metrics);
    let party = crate::tap::Party { member: id(1), endpoint: id(11) };
    let picked = (0..4_000_u64).filter(|n| {
        let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let call = CallId(Uuid::from_u64_pair(7, random));
        tap.cause_at_begin(call, party, ["", ""], DateTime::UNIX_EPOCH).is_some()
    });
    let picked = picked.count();
    assert!((900..1_100).contains(&picked), "{picked}");
}

#[test]
fn a_selection_is_met_by_member_endpoint_number_time_and_count() {
    type Change = fn(&mut TraceSelection);
    let table: [(&str, u128, Change, bool); 12] = [
        ("the originating member's", 1, |_| {}, true),
        ("the terminating member's", 2, |_| {}, true),
        ("a third member's", 3, |_| {}, false),
        ("from the endpoint", 1, |it| it.endpoint_id = Some(id(11)), true),
        ("to the endpoint", 2, |it| it.endpoint_id = Some(id(21)), true),
        ("to another endpoint", 2, |it| it.endpoint_id = Some(id(22)), false),
        ("the called number", 2, |it| it.prefix = Some("+442079".parse().unwrap()), true),
        ("the calling number", 1, |it| it.prefix = Some("+33".parse().unwrap()), true),
        ("another number", 1, |it| it.prefix = Some("+49".parse().unwrap()), false),
        ("in time", 1, |it| it.until = DateTime::from_timestamp(1_800_000_001, 0).unwrap(), true),
        ("too late", 1, |it| it.until = DateTime::from_timestamp(1_800_000_000, 0).unwrap(), false),
        ("none left", 1, |it| it.max_calls = 0, false),
    ];
    for (case, member, change, is_met) in table {
        let (mut sim, mut traces) = traced(0.0);
        traces.select(&[selection(1, member, change)]);
        sim.call_up();
        let noted = traces.take();
        assert_eq!(!noted.is_empty(), is_met, "{case}");
        if is_met {
            assert_eq!(noted[0].call.cause.selection, Some(id(1)), "{case}");
            assert!(noted[0].octets.starts_with(b"INVITE sip:+442079460000@192.0.2.100"), "{case}");
        }
    }
}

#[test]
fn a_selection_that_has_had_its_calls_is_met_by_no_more_even_when_it_is_read_again() {
    let (mut sim, mut traces) = traced(0.0);
    let two = [selection(1, 1, |it| it.max_calls = 2)];
    for _ in 0..2 {
        traces.select(&two);
        sim.invite("+442079460000");
    }
    let calls = |traces: &mut Traces| {
        let mut calls: Vec<_> = traces.take().iter().map(|message| message.call.call_id).collect();
        calls.dedup();
        calls.len()
    };
    assert_eq!(calls(&mut traces), 2);
    let egress = sim.sent_to(GLOBEX);
    egress.iter().for_each(|invite| sim.receive(GLOBEX, &response(invite, "486 Busy Here", "g", "")));
    traces.take();
    traces.select(&two);
    sim.invite("+442079460000");
    assert_eq!(calls(&mut traces), 0);
}

#[test]
fn a_message_of_another_source_is_not_noted_though_it_names_the_call() {
    let (mut sim, mut traces) = traced(1.0);
    let up = sim.call_up();
    traces.take();
    // globex knows, for the sake of the argument, the Call-ID of acme's leg.
    sim.receive(GLOBEX, &from_caller("BYE", "2 BYE", &up));
    assert_eq!(sim.kinds_to(GLOBEX), ["481"], "it is answered");
    let noted = traces.take();
    assert!(noted.is_empty(), "{noted:?}");
}

#[test]
fn a_later_call_with_the_same_call_id_is_not_taken_for_the_first() {
    let (mut sim, mut traces) = traced(0.0);
    traces.select(&[selection(1, 1, |it| it.max_calls = 1)]);
    let invite = sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "486 Busy Here", "g", ""));
    sim.receive(ACME, &follow_up(&invite, "ACK"));
    assert_eq!(traces.lines().last().unwrap(), "acme> ACK");
    let again = invite.replace("CSeq: 1", "CSeq: 2").replace("branch=z9hG4bKacme1", "branch=z9hG4bKacme2");
    sim.receive(ACME, &again);
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK", "INVITE"]);
    assert!(traces.take().is_empty());
}

#[test]
fn what_is_noted_of_one_call_is_bounded_and_the_rest_is_counted() {
    let (mut sim, mut traces) = traced(1.0);
    let up = sim.call_up();
    for number in 2..402 {
        sim.receive(ACME, &from_caller("OPTIONS", &format!("{number} OPTIONS"), &up));
    }
    let noted = traces.take();
    assert_eq!(noted.len(), 300);
    assert_eq!(sim.worker.wire.metrics.trace_dropped.get(), 9 + 800 - 300);
}

#[test]
fn what_a_node_holds_is_bounded_and_calls_go_on_when_nobody_takes_it() {
    let (mut sim, mut traces) = traced(1.0);
    let large = format!("X-Large: {}\r\nX-Note", "x".repeat(12_000));
    let mut invites = 0;
    while sim.worker.wire.metrics.trace_dropped.get() == 0 {
        invites += 1;
        assert!(invites < 2_000, "it has an end");
        sim.calls += 1;
        let invite = invite(sim.calls, "+442079460000").replace("X-Note", &large);
        sim.receive(ACME, &invite);
        let egress = sim.sent_to(GLOBEX).pop().unwrap();
        sim.receive_by(Transport::Tcp, GLOBEX, &response(&egress, "486 Busy Here", "g", ""));
        assert_eq!(sim.kinds_to(ACME), ["100", "486"]);
    }
    let octets: usize = traces.take().iter().map(|message| message.octets.len()).sum();
    assert!((10 << 20..16 << 20).contains(&octets), "{octets}");
}

#[test]
fn nothing_is_kept_of_a_traced_call_once_its_transactions_are_over() {
    let (mut sim, _traces) = traced(1.0);
    let up = sim.call_up();
    sim.receive(ACME, &from_caller("BYE", "2 BYE", &up));
    sim.pass(Duration::from_secs(60));
    sim.receive(ACME, &invite(99, "nonsense"));
    assert_eq!(sim.worker.tracer.len(), 1, "the last call alone");
}

#[test]
fn a_call_goes_on_being_traced_after_a_restart_and_a_selection_that_is_met_no_more_changes_nothing() {
    let (mut sim, mut traces) = traced(0.0);
    traces.select(&[selection(61, 2, |it| it.max_calls = 1)]);
    let up = sim.call_up();
    let before = traces.take();
    assert_eq!(before.len(), 9, "from the INVITE to the ACK on both legs");
    traces.select(&[]);
    // Until the journal has the ACK, too.
    sim.pass(Duration::from_millis(100));
    sim.restart();
    assert!(traces.take().is_empty());
    sim.receive(GLOBEX, &from_called("INFO", "1 INFO", &up));
    let info = sim.one_to(ACME);
    sim.receive(ACME, &response(&info, "200 OK", "", ""));
    sim.receive(ACME, &from_caller("BYE", "2 BYE", &up));
    let bye = sim.sent_to(GLOBEX).pop().unwrap();
    sim.receive(GLOBEX, &response(&bye, "200 OK", "g", ""));
    let after = traces.take();
    let way = |message: &TracedMessage| {
        let kind = kind(std::str::from_utf8(&message.octets).unwrap());
        (message.member == id(1), message.is_received, kind, message.attempt)
    };
    let expected = [
        (false, true, "INFO", Some(1)),
        (true, false, "INFO", None),
        (true, true, "200", None),
        (false, false, "200", Some(1)),
        (true, true, "BYE", None),
        (true, false, "200", None),
        (false, false, "BYE", Some(1)),
        (false, true, "200", Some(1)),
    ];
    let expected = expected
        .map(|(is_acme, is_received, kind, attempt)| (is_acme, is_received, kind.to_owned(), attempt));
    assert_eq!(after.iter().map(way).collect::<Vec<_>>(), expected);
    let call = |message: &TracedMessage| (message.call.call_id, message.call.cause, message.call.began_at);
    assert!(after.iter().all(|message| call(message) == call(&before[0])), "it is the same trace");
    let positions = before.iter().chain(&after).map(|message| message.position);
    assert!(positions.is_sorted_by(|one, next| one < next), "and its order goes on");
    sim.pass(Duration::from_secs(60));
    sim.receive(ACME, &invite(99, "nonsense"));
    assert_eq!(sim.worker.tracer.len(), 0);
}

#[test]
fn a_call_that_is_not_traced_is_not_traced_after_a_restart_either() {
    let (mut sim, mut traces) = traced(0.0);
    let up = sim.call_up();
    sim.restart();
    sim.receive(ACME, &from_caller("BYE", "2 BYE", &up));
    assert!(traces.take().is_empty() && sim.worker.tracer.len() == 0);
}

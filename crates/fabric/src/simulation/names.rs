//! Endpoints whose target is a DNS name: which of its servers a call tries, and who may speak in it.

use std::net::SocketAddr;
use std::sync::Arc;

use tandem_model::Target;

use super::*;
use crate::server_set::{MAX_ADDRESSES, Server, ServerSet, ServerSets};

const NUMBER: &str = "+442079460000";
const NAME: &str = "sip:sbc.globex.example;transport=udp";
/// The servers of [`NAME`], in the order of their priority.
const FIRST: &str = "192.0.2.31:5060";
const SECOND: &str = "192.0.2.32:5070";
const THIRD: &str = "192.0.2.33:5060";

/// The exchange with [`NAME`] as the target that is tried first; [`GLOBEX`] stays its source.
fn named(change: impl FnOnce(&mut Facts)) -> Simulation {
    let sim = Simulation::new();
    let mut facts = facts();
    facts.endpoints[1].target = NAME.parse().unwrap();
    change(&mut facts);
    sim.table.store(Arc::new(RouteTable::from_facts(facts)));
    sim
}

/// What the DNS says of [`NAME`], as the resolver would tell.
fn resolve(sim: &Simulation, outcome: Result<&[&str], Reason>) {
    let set = outcome.map(|addresses| {
        let addresses = addresses.iter().map(|address| address.parse::<SocketAddr>().unwrap());
        let server = |(priority, address)| Server { priority, weight: 1, addresses: vec![address] };
        Arc::new(ServerSet { transport: Transport::Udp, servers: (1..).zip(addresses).map(server).collect() })
    });
    let of = [(NAME.parse::<Target>().unwrap(), set)];
    sim.worker.share.common.server_sets.store(Arc::new(ServerSets::new(of.into_iter().collect())));
}

/// Endpoint, status and reason of each attempt of the only call there is.
fn attempts(sim: &Simulation) -> Vec<(EndpointId, Option<u16>, Option<Reason>)> {
    let (_, call) = sim.worker.calls.iter().next().unwrap();
    let attempts = call.cdr.attempts.iter();
    attempts.map(|it| (call.cdr.candidate(it.candidate).unwrap().endpoint, it.status, it.reason)).collect()
}

#[test]
fn an_endpoint_whose_name_leads_nowhere_is_left_out_with_the_reason_and_delays_nothing() {
    for (outcome, reason) in [
        (None, Reason::TargetUnresolved),
        (Some(Reason::TargetUnresolved), Reason::TargetUnresolved),
        (Some(Reason::TargetForbidden), Reason::TargetForbidden),
    ] {
        let mut sim = named(|_| {});
        if let Some(outcome) = outcome {
            resolve(&sim, Err(outcome));
        }
        sim.invite(NUMBER);
        let second = sim.one_to(GLOBEX_2);
        sim.receive(GLOBEX_2, &response(&second, "486 Busy Here", "g", ""));
        let cdr = sim.one_cdr();
        assert!(cdr.selection.contains(reason.code()), "{}", cdr.selection);
        assert_eq!(cdr.attempts.len(), 1);
        sim.expect_nothing_left();
    }
}

#[test]
fn a_call_that_only_a_name_without_addresses_could_take_is_refused_with_its_reason() {
    let mut sim = named(|facts| facts.announcements[0].endpoints.truncate(1));
    sim.invite(NUMBER);
    let refusal = sim.sent_to(ACME).pop().unwrap();
    assert!(refusal.starts_with("SIP/2.0 503 ") && refusal.contains("\"target_unresolved: "), "{refusal}");
    let cdr = sim.one_cdr();
    assert_eq!((cdr.outcome, cdr.reason.as_deref()), (Some(Outcome::Refused), Some("target_unresolved")));
}

#[test]
fn the_servers_of_a_name_are_tried_in_their_order_before_the_next_candidate() {
    let mut sim = named(|facts| {
        // The attempts at one name have one place together, and count once for the rate.
        facts.endpoints[1].max_calls = Some(1);
        facts.announcements[0].limits.max_calls_per_second = Some(2);
    });
    resolve(&sim, Ok(&[FIRST, SECOND, THIRD]));
    sim.invite(NUMBER);
    let first = sim.one_to(FIRST);
    assert!(first.starts_with("INVITE sip:+442079460000@sbc.globex.example;transport=udp;user=phone SIP"));
    assert_eq!(field(&first, "To"), "<sip:+442079460000@sbc.globex.example;user=phone>");
    sim.pass(Duration::from_millis(3_100));
    let second = sim.one_to(SECOND);
    sim.receive(SECOND, &response(&second, "503 Full", "g", ""));
    let third = sim.one_to(THIRD);
    let call_ids = [&first, &second, &third].map(|invite| field(invite, "Call-ID"));
    assert!(call_ids[0] != call_ids[1] && call_ids[1] != call_ids[2], "each is a dialog of its own");
    // The network says that nobody is there.
    let flow = Flow::new(0, Transport::Udp, THIRD.parse().unwrap());
    let now = sim.now;
    sim.worker.unreachable(now, flow);
    sim.flush();
    let last = sim.one_to(GLOBEX_2);
    sim.receive(GLOBEX_2, &response(&last, "200 OK", "g", SDP));
    let unreachable = Some(Reason::EndpointUnreachable);
    let named = id::<EndpointId>(21);
    assert_eq!(
        attempts(&sim),
        [
            (named, None, unreachable),
            (named, Some(503), None),
            (named, None, unreachable),
            (id(22), Some(200), None)
        ]
    );
    assert_eq!(sim.kinds_to(ACME), ["100", "200"]);
}

#[test]
fn a_failure_that_is_not_of_one_server_leaves_the_name() {
    for status in ["500 Broken", "501 Not Implemented", "408 Timeout", "302 Moved", "407 Who?"] {
        let mut sim = named(|_| {});
        resolve(&sim, Ok(&[FIRST, SECOND]));
        sim.invite(NUMBER);
        let first = sim.one_to(FIRST);
        sim.receive(FIRST, &response(&first, status, "g", ""));
        assert!(sim.sent_to(SECOND).is_empty(), "{status}");
        assert_eq!(sim.kinds_to(GLOBEX_2), ["INVITE"], "{status}");
    }
    let mut sim = named(|_| {});
    resolve(&sim, Ok(&[FIRST, SECOND]));
    sim.invite(NUMBER);
    let first = sim.one_to(FIRST);
    sim.receive(FIRST, &response(&first, "486 Busy Here", "g", ""));
    assert!(sim.sent_to(SECOND).is_empty() && sim.sent_to(GLOBEX_2).is_empty());
}

#[test]
fn of_many_servers_only_so_many_are_tried_for_one_call() {
    let all: Vec<String> = (1..=20).map(|host| format!("192.0.2.{}:5060", 100 + host)).collect();
    let mut sim = named(|_| {});
    resolve(&sim, Ok(&all.iter().map(String::as_str).collect::<Vec<_>>()));
    sim.invite(NUMBER);
    for address in &all[..MAX_ADDRESSES] {
        let invite = sim.one_to(address);
        sim.receive(address, &response(&invite, "503 Full", "g", ""));
    }
    assert_eq!(sim.kinds_to(GLOBEX_2), ["INVITE"]);
    assert_eq!(attempts(&sim).len(), MAX_ADDRESSES + 1);
}

#[test]
fn a_cancelled_call_tries_no_further_server() {
    let mut sim = named(|_| {});
    resolve(&sim, Ok(&[FIRST, SECOND]));
    let invite = sim.invite(NUMBER);
    sim.one_to(FIRST);
    sim.receive(ACME, &follow_up(&invite, "CANCEL"));
    sim.pass(Duration::from_secs(60));
    assert!(sim.sent_to(SECOND).is_empty() && sim.sent_to(GLOBEX_2).is_empty());
    sim.expect_nothing_left();
}

#[test]
fn any_server_of_the_name_may_speak_in_the_call_and_nobody_else() {
    for restart in [false, true] {
        let mut sim = named(|_| {});
        resolve(&sim, Ok(&[FIRST, SECOND]));
        let ingress = sim.invite(NUMBER);
        let egress = sim.one_to(FIRST);
        // The Contact names an address that is none of the endpoint's: nothing goes there.
        let answered =
            response(&egress, "200 OK", "g", SDP).replace(&format!("bob@{GLOBEX}"), &format!("bob@{THIRD}"));
        sim.receive(FIRST, &answered);
        let answer = sim.sent_to(ACME).pop().unwrap();
        sim.receive(ACME, &ack(&ingress, &answer, ""));
        assert_eq!(kind(&sim.one_to(FIRST)), "ACK");
        // However the name moves on, this call's servers stay.
        resolve(&sim, Ok(&[THIRD]));
        if restart {
            // The journal knows of the ACK by then.
            sim.pass(Duration::from_millis(100));
            sim.restart();
        }
        let bye = from_called("BYE", "1 BYE", &(ingress, answer, egress));
        for stranger in [THIRD, GLOBEX_2, STRANGER] {
            sim.receive(stranger, &bye.replace(GLOBEX, stranger));
            assert!(sim.sent_to(ACME).is_empty(), "{stranger}");
        }
        sim.sent.clear();
        sim.receive(SECOND, &bye.replace(GLOBEX, SECOND));
        assert_eq!(sim.kinds_to(SECOND), ["200"], "restart: {restart}");
        assert_eq!(sim.kinds_to(ACME), ["BYE"]);
        sim.expect_nothing_left();
        let neighbours = &sim.worker.share.common.neighbours;
        assert!(
            ![FIRST, SECOND].iter().any(|it| neighbours.contains(it.parse::<SocketAddr>().unwrap().ip()))
        );
    }
}

#[test]
fn an_in_dialog_request_goes_to_the_server_that_the_contact_names_if_it_is_one_of_the_name() {
    let mut sim = named(|_| {});
    resolve(&sim, Ok(&[FIRST, SECOND]));
    let ingress = sim.invite(NUMBER);
    let egress = sim.one_to(FIRST);
    let answered =
        response(&egress, "200 OK", "g", SDP).replace(&format!("bob@{GLOBEX}"), &format!("bob@{SECOND}"));
    sim.receive(FIRST, &answered);
    let answer = sim.sent_to(ACME).pop().unwrap();
    sim.receive(ACME, &ack(&ingress, &answer, ""));
    assert_eq!(kind(&sim.one_to(SECOND)), "ACK");
}

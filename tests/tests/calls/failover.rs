//! A candidate that cannot take the call is passed over; one whose called party says no is believed.

use std::time::Duration;

use serde_json::Value;
use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Endpoint, Exchange, Hub, PREFIX, Sipp, Socket, peer_address};

const SOON: Duration = Duration::from_secs(60);

const NUMBERS: Numbers<'_> = Numbers { calling: "+88201", called: CALLED };

/// An exchange whose called member has two endpoints, `first` tried before `second`.
fn hub_with(acme: std::net::IpAddr, first: &Endpoint, second: &Endpoint) -> Hub {
    let second = Endpoint { priority: 2, ..second.clone() };
    Hub::start(&Exchange::of_two(acme, &[first.clone(), second]))
}

fn endpoint(name: &str, sipp: &Sipp) -> Endpoint {
    Endpoint::new(name, sipp.address.ip(), &sipp.target(Transport::Udp))
}

/// Places one call that is answered, and returns its CDR in detail.
fn answered_call(hub: &Hub, acme: std::net::IpAddr) -> Value {
    let steps = [caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
    let load = Load::one(Duration::from_millis(500));
    Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, NUMBERS).finish(SOON).assert_all_went_well(1);
    only_call(hub)
}

fn only_call(hub: &Hub) -> Value {
    let cdrs = hub.wait_for_cdrs(1, Duration::from_secs(10));
    assert_eq!(cdrs.len(), 1);
    let id = cdrs[0]["call_id"].as_str().expect("a call has an id");
    let member = hub.api.member_id("acme");
    let detail = hub.api.get(&format!("/members/{member}/calls/{id}"));
    detail.good()
}

fn answering() -> Sipp {
    Sipp::takes_calls(
        peer_address(),
        Transport::Udp,
        &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES],
    )
}

#[test]
fn where_the_first_candidate_is_dead_the_second_takes_the_call_and_both_are_recorded() {
    let acme = peer_address();
    // Bound and silent, as a switch that hangs; a closed port would be told by ICMP.
    let dead = Socket::new();
    let second = answering();
    let silent =
        Endpoint::new("globex-1", dead.address().ip(), &format!("sip:{};transport=udp", dead.address()));
    let hub = hub_with(acme, &silent, &endpoint("globex-2", &second));

    let call = answered_call(&hub, acme);
    second.finish(SOON).assert_all_went_well(1);
    assert!(dead.receive(Duration::from_millis(10)).is_some_and(|invite| invite.starts_with("INVITE ")));
    let attempts = call["attempts"].as_array().expect("a call has attempts");
    assert_eq!(attempts.len(), 2, "{call}");
    assert_eq!(attempts[0]["reason"], "endpoint_unreachable", "{call}");
    assert_eq!(attempts[1]["status"], 200, "{call}");
}

#[test]
fn a_503_is_tried_elsewhere() {
    let acme = peer_address();
    let refuse = gateway::refuse(503);
    let first = Sipp::takes_calls(peer_address(), Transport::Udp, &[gateway::INVITE_COMES, &refuse]);
    let second = answering();
    let hub = hub_with(acme, &endpoint("globex-1", &first), &endpoint("globex-2", &second));

    let call = answered_call(&hub, acme);
    first.finish(SOON).assert_all_went_well(1);
    second.finish(SOON).assert_all_went_well(1);
    let statuses: Vec<_> =
        call["attempts"].as_array().expect("attempts").iter().map(|a| a["status"].clone()).collect();
    assert_eq!(statuses, [503, 200]);
}

#[test]
fn a_486_is_passed_back_and_not_tried_elsewhere() {
    let acme = peer_address();
    let (refuse, refused) = (gateway::refuse(486), caller::refused(486));
    let first = Sipp::takes_calls(peer_address(), Transport::Udp, &[gateway::INVITE_COMES, &refuse]);
    let second = answering();
    let hub = hub_with(acme, &endpoint("globex-1", &first), &endpoint("globex-2", &second));

    let steps = [caller::INVITE, &refused];
    let load = Load::one(Duration::ZERO);
    Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, NUMBERS).finish(SOON).assert_all_went_well(1);
    first.finish(SOON).assert_all_went_well(1);
    second.finish(SOON).assert_all_went_well(0);
    let call = only_call(&hub);
    assert_eq!(call["call"]["outcome"], "busy");
    assert_eq!(call["call"]["status"], 486);
    assert_eq!(call["attempts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn where_two_members_agree_on_it_a_486_is_tried_elsewhere_and_a_503_is_not() {
    let acme = peer_address();
    let (busy, full) = (gateway::refuse(486), gateway::refuse(503));
    let first = Sipp::takes_calls(peer_address(), Transport::Udp, &[gateway::INVITE_COMES, &busy]);
    let second = Sipp::takes_calls(peer_address(), Transport::Udp, &[gateway::INVITE_COMES, &full]);
    let third = answering();
    let (one, two) = (endpoint("globex-1", &first), endpoint("globex-2", &second));
    let last = Endpoint { priority: 3, ..endpoint("globex-3", &third) };
    let exchange = Exchange::default()
        .member("acme", &[Endpoint::sender("acme-1", acme)], &[])
        .member("globex", &[one, Endpoint { priority: 2, ..two }, last], &[PREFIX])
        .agreement("acme", "globex")
        .and("advance_on = { statuses = [486] }");
    let hub = Hub::start(&exchange);

    // Busy leads on, and the full endpoint ends it: 503 is about that endpoint, so that the caller gets 502.
    let steps = [caller::INVITE, &caller::refused(502)];
    let load = Load::one(Duration::ZERO);
    Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, NUMBERS).finish(SOON).assert_all_went_well(1);
    first.finish(SOON).assert_all_went_well(1);
    second.finish(SOON).assert_all_went_well(1);
    third.finish(SOON).assert_all_went_well(0);
    let call = only_call(&hub);
    assert_eq!((&call["call"]["outcome"], &call["call"]["status"]), (&"failed".into(), &502.into()));
    let statuses: Vec<_> =
        call["attempts"].as_array().expect("attempts").iter().map(|a| a["status"].clone()).collect();
    assert_eq!(statuses, [486, 503]);
}

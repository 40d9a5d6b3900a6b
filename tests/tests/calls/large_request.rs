//! An INVITE too large for a datagram reaches a switch that takes TCP, and one that does not.

use std::net::IpAddr;
use std::time::Duration;

use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{Baresip, CALLED, Endpoint, Exchange, Hub, Sipp, peer_address, until};

const SOON: Duration = Duration::from_secs(60);

/// A call with an INVITE of more than 1,300 octets to a switch that is said to take UDP: how many connections the hub
/// has open when the call is over, which was answered at the first attempt.
fn connections_after_a_large_call(switch: IpAddr, target: &str) -> f64 {
    let caller_at = peer_address();
    let hub = Hub::start(&Exchange::of_two(caller_at, &[Endpoint::new("globex-1", switch, target)]));
    let pad = format!("X-Pad: {}\nMax-Forwards", "x".repeat(1_000));
    let invite = caller::INVITE.replacen("Max-Forwards", &pad, 1);
    let says = [&invite, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
    let numbers = Numbers { calling: "+88201", called: CALLED };
    let load = Load::one(Duration::from_millis(300));
    Sipp::calls(caller_at, hub.sip, Transport::Udp, &says, load, numbers)
        .finish(SOON)
        .assert_all_went_well(1);
    let cdrs = hub.wait_for_cdrs(1, Duration::from_secs(10));
    assert_eq!(cdrs[0]["outcome"], "answered", "{}", cdrs[0]);
    let (member, id) = (hub.api.member_id("acme"), cdrs[0]["call_id"].as_str().expect("a call has an id"));
    let call = hub.api.get(&format!("/members/{member}/calls/{id}")).good();
    assert_eq!(call["attempts"].as_array().map(Vec::len), Some(1), "{call}");
    hub.metrics().sum("tandem_sip_connections", &[])
}

#[test]
fn baresip_that_is_said_to_take_udp_gets_a_large_invite_by_tcp() {
    let ip = peer_address();
    let phone = Baresip::answers(ip, 440.0, CALLED);
    assert_eq!(connections_after_a_large_call(ip, &format!("sip:{}", phone.address)), 1.0);
    // The BYE is small, and went as a datagram.
    until("the phone to be hung up", SOON, || phone.printed().contains("session closed").then_some(()));
}

#[test]
fn sipp_that_takes_no_connection_gets_a_large_invite_as_a_datagram() {
    let answers = [gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES];
    let switch = Sipp::takes_calls(peer_address(), Transport::Udp, &answers);
    let target = switch.target(Transport::Udp);
    assert_eq!(connections_after_a_large_call(switch.address.ip(), &target), 0.0);
    switch.finish(SOON).assert_all_went_well(1);
}

//! A member that calls others directly is told where to; the hub does not carry the call, and records it.

use std::time::Duration;

use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Endpoint, Exchange, Hub, PREFIX, Sipp, Socket, peer_address};

const SOON: Duration = Duration::from_secs(60);

/// An endpoint of which the policy says this about calls past the hub.
fn with_direct(endpoint: Endpoint, direct: &str) -> Endpoint {
    Endpoint { more: format!("[member.endpoint.policy.overrides.direct]\n{direct} = true"), ..endpoint }
}

#[test]
fn sipp_is_redirected_to_the_endpoints_that_may_be_called_directly_and_the_call_is_recorded() {
    let acme = peer_address();
    let gateways: Vec<Sipp> = (0..3)
        .map(|_| Sipp::takes_calls(peer_address(), Transport::Udp, &[gateway::INVITE_COMES, gateway::RING]))
        .collect();
    let endpoint = |n: usize| {
        let name = format!("globex-{}", n + 1);
        let target = gateways[n].target(Transport::Udp);
        Endpoint { priority: n as u16 + 1, ..Endpoint::new(&name, gateways[n].address.ip(), &target) }
    };
    // The first would be tried first, and does not want to be called directly.
    let endpoints = [endpoint(0), with_direct(endpoint(1), "called"), with_direct(endpoint(2), "called")];
    let exchange = Exchange::default()
        .member("acme", &[with_direct(Endpoint::sender("acme-1", acme), "calls")], &[])
        .member("globex", &endpoints, &[PREFIX])
        .agreement("acme", "globex");
    let hub = Hub::start(&exchange);
    let before = hub.at_rest();

    let refused = caller::refused(302);
    let numbers = Numbers { calling: "+88201", called: CALLED };
    let load = Load::one(Duration::ZERO);
    Sipp::calls(acme, hub.sip, Transport::Udp, &[caller::INVITE, &refused], load, numbers)
        .finish(SOON)
        .assert_all_went_well(1);
    let socket = Socket::at(acme);
    let response = socket.ask(hub.sip, &socket.invite(hub.sip, CALLED));
    assert_eq!(response.status, 302);
    let contacts: Vec<&str> =
        response.text.lines().filter_map(|line| line.strip_prefix("Contact: ")).collect();
    let expected = |n: usize, q: &str| {
        let target = gateways[n].target(Transport::Udp);
        format!("<sip:{CALLED}@{};user=phone>;q={q}", target.trim_start_matches("sip:"))
    };
    assert_eq!(contacts, [expected(1, "1.0"), expected(2, "0.9")]);

    let cdrs = hub.wait_for_cdrs(2, Duration::from_secs(10));
    for cdr in &cdrs {
        assert_eq!((&cdr["outcome"], &cdr["status"]), (&"redirected".into(), &302.into()), "{cdr}");
    }
    let member = hub.api.member_id("acme");
    let id = cdrs[0]["call_id"].as_str().expect("a call has an id");
    let detail = hub.api.get(&format!("/members/{member}/calls/{id}")).good();
    assert_eq!(detail["selection"]["candidates"].as_array().map(Vec::len), Some(3), "{detail}");
    assert_eq!(detail["attempts"].as_array().map(Vec::len), Some(0), "{detail}");
    assert!(hub.metrics().sum("tandem_calls_total", &["outcome=\"redirected\""]) > 1.5);
    for gateway in gateways {
        gateway.finish(SOON).assert_all_went_well(0);
    }
    hub.wait_until_as(&before, SOON);
}

#[test]
fn where_nobody_may_be_called_directly_the_hub_carries_the_call() {
    let acme = peer_address();
    let steps = [gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES];
    let gateway = Sipp::takes_calls(peer_address(), Transport::Udp, &steps);
    let endpoint = Endpoint::new("globex-1", gateway.address.ip(), &gateway.target(Transport::Udp));
    let exchange = Exchange::default()
        .member("acme", &[with_direct(Endpoint::sender("acme-1", acme), "calls")], &[])
        .member("globex", &[endpoint], &[PREFIX])
        .agreement("acme", "globex");
    let hub = Hub::start(&exchange);
    let steps = [caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
    let numbers = Numbers { calling: "+88201", called: CALLED };
    Sipp::calls(acme, hub.sip, Transport::Udp, &steps, Load::one(Duration::ZERO), numbers)
        .finish(SOON)
        .assert_all_went_well(1);
    gateway.finish(SOON).assert_all_went_well(1);
}

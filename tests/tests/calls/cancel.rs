//! CANCEL before the answer, and what is left of the call.

use std::time::Duration;

use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Endpoint, Exchange, Hub, Sipp, peer_address};

#[test]
fn a_cancelled_call_rings_no_longer_and_is_recorded_as_cancelled() {
    let called = Sipp::takes_calls(
        peer_address(),
        Transport::Udp,
        &[gateway::INVITE_COMES, gateway::RING, gateway::CANCEL_COMES],
    );
    let acme = peer_address();
    let gateways = [Endpoint::new("globex-1", called.address.ip(), &called.target(Transport::Udp))];
    let hub = Hub::start(&Exchange::of_two(acme, &gateways));
    let before = hub.at_rest();

    let calling = Sipp::calls(
        acme,
        hub.sip,
        Transport::Udp,
        &[caller::INVITE, caller::CANCEL],
        Load { rate: 10, calls: 20, hold: Duration::ZERO },
        Numbers { calling: "+88201", called: CALLED },
    );
    calling.finish(Duration::from_secs(40)).assert_all_went_well(20);
    called.finish(Duration::from_secs(40)).assert_all_went_well(20);
    let cdrs = hub.wait_for_cdrs(20, Duration::from_secs(10));
    assert_eq!(cdrs.len(), 20);
    for cdr in &cdrs {
        assert_eq!(cdr["outcome"], "cancelled", "{cdr}");
        assert_eq!(cdr["status"], 487, "{cdr}");
        assert!(cdr["duration_ms"].is_null(), "{cdr}");
    }
    hub.wait_until_as(&before, Duration::from_secs(40));
}

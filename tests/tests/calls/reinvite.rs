//! Hold and resume: re-INVITE crosses the hub from either side, and the called side hangs up.

use std::time::Duration;

use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Endpoint, Exchange, Hub, Sipp, peer_address};

#[test]
fn a_call_is_put_on_hold_from_either_side_and_ended_by_the_called_one() {
    let pause = gateway::pause(200);
    let called = Sipp::takes_calls(
        peer_address(),
        Transport::Udp,
        &[
            gateway::INVITE_COMES,
            gateway::RING,
            gateway::ANSWER,
            gateway::REINVITE_COMES,
            &pause,
            gateway::REINVITE,
            &pause,
            gateway::BYE,
        ],
    );
    let acme = peer_address();
    let gateways = [Endpoint::new("globex-1", called.address.ip(), &called.target(Transport::Udp))];
    let hub = Hub::start(&Exchange::of_two(acme, &gateways));
    let before = hub.at_rest();

    let calling = Sipp::calls(
        acme,
        hub.sip,
        Transport::Udp,
        &[
            caller::INVITE,
            caller::ANSWERED,
            caller::ACK,
            caller::REINVITE,
            caller::ACK,
            caller::REINVITE_COMES,
            caller::BYE_COMES,
        ],
        Load { rate: 10, calls: 20, hold: Duration::ZERO },
        Numbers { calling: "+88201", called: CALLED },
    );
    calling.finish(Duration::from_secs(40)).assert_all_went_well(20);
    called.finish(Duration::from_secs(40)).assert_all_went_well(20);
    let cdrs = hub.wait_for_cdrs(20, Duration::from_secs(10));
    assert_eq!(cdrs.len(), 20, "a re-INVITE is no call of its own");
    assert!(
        cdrs.iter().all(|cdr| cdr["outcome"] == "answered" && cdr["ended_by"] == "terminating"),
        "{cdrs:?}"
    );
    hub.wait_until_as(&before, Duration::from_secs(40));
}

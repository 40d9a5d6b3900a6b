//! baresip to baresip through the hub: what one plays, the other hears.

use std::time::Duration;

use tandem_tests::{Baresip, CALLED, Endpoint, Exchange, Hub, peer_address, tone};

#[test]
fn a_tone_sent_each_way_is_found_in_what_the_other_end_recorded() {
    let (calling, called) = (peer_address(), peer_address());
    let mut answering = Baresip::answers(called, 1_000.0, CALLED);
    let gateways = [Endpoint::new("globex-1", called, &format!("sip:{};transport=udp", answering.address))];
    let hub = Hub::start(&Exchange::of_two(calling, &gateways));

    let mut phone = Baresip::calls(calling, 440.0, CALLED, hub.sip, Duration::from_secs(6));
    phone.wait(Duration::from_secs(20));
    answering.stop();

    assert!(tone::share_of(&phone.heard(), 1_000.0) > 0.9, "{}", phone.printed());
    assert!(tone::share_of(&answering.heard(), 440.0) > 0.9, "{}", answering.printed());
    let cdrs = hub.wait_for_cdrs(1, Duration::from_secs(10));
    assert_eq!(cdrs[0]["outcome"], "answered");
    assert_eq!(cdrs[0]["ended_by"], "originating");
}

//! OPTIONS: how a member's switch sees whether the hub is there.

use tandem_tests::{Exchange, Hub, Socket};

#[test]
fn options_from_a_member_is_answered_with_what_the_hub_takes() {
    let switch = Socket::new();
    let hub = Hub::start(&Exchange::of_two(switch.address().ip(), &[]));
    let response = switch.ask(hub.sip, &switch.request("OPTIONS", hub.sip, "ping"));
    assert_eq!(response.status, 200, "{}", response.text);
    let allow = response.header("Allow").expect("it says what it takes");
    for method in ["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS"] {
        assert!(allow.contains(method), "{allow}");
    }
}

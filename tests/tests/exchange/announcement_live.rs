//! An announcement made in the API routes the next call; withdrawn, the next call is refused. No reload between.

use std::time::Duration;

use serde_json::json;
use tandem_tests::{Endpoint, Exchange, Hub, Socket};

#[test]
fn an_announcement_routes_the_next_call_and_its_withdrawal_refuses_the_one_after() {
    let caller = Socket::new();
    let called = Socket::new();
    let target = format!("sip:{};transport=udp", called.address());
    // The called member holds the range and announces nothing yet.
    let exchange = Exchange::default()
        .member("acme", &[Endpoint::sender("acme-1", caller.address().ip())], &[])
        .member("globex", &[Endpoint::new("globex-1", called.address().ip(), &target)], &[])
        .range("+44207946", "valid")
        .agreement("acme", "globex");
    let hub = Hub::start(&exchange);
    let globex = hub.api.member_id("globex");
    let path = format!("/members/{globex}/announcements");

    let before = caller.ask(hub.sip, &caller.invite(hub.sip, "+442079460001"));
    assert_eq!(before.status, 404, "{}", before.text);
    assert!(before.text.contains("no_route"), "{}", before.text);

    let made = hub.api.post(&path, &json!({"prefix": "+44207946", "endpoints": ["globex-1"]})).good();
    hub.wait_until_current();
    // The gateway is busy: that the call came to it is what matters.
    let call = caller.invite(hub.sip, "+442079460001");
    caller.send(hub.sip, call.as_bytes());
    let invite = called.receive(Duration::from_secs(5)).expect("the call comes to the announcing member");
    assert!(invite.starts_with("INVITE sip:+442079460001@"), "{invite}");
    called.send(hub.sip, called.response(&invite, 486).as_bytes());
    assert_eq!(caller.final_response(hub.sip, &call).status, 486);

    hub.api.delete(&format!("{path}/{}", made["announcement_id"].as_str().expect("it has an id")));
    hub.wait_until_current();
    let after = caller.ask(hub.sip, &caller.invite(hub.sip, "+442079460001"));
    assert!(after.text.contains("no_route"), "{}", after.text);

    let cdrs = hub.wait_for_cdrs(3, Duration::from_secs(15));
    let refused: Vec<_> = cdrs.iter().filter(|cdr| cdr["outcome"] == "refused").collect();
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|cdr| cdr["reason"] == "no_route"), "{refused:?}");
    assert_eq!(cdrs.iter().filter(|cdr| cdr["outcome"] == "busy").count(), 1);
}

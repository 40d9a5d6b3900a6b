//! An announcement made in the API routes the next call; withdrawn, the next call is refused. No reload between.

use std::time::Duration;

use serde_json::json;
use tandem_tests::{Endpoint, Exchange, Hub, Socket, now, until};

/// From the API's answer, which comes after the commit, until the node routes by it: 99 of 100 changes.
const PROPAGATION_P99: Duration = Duration::from_millis(100);

const CHANGES: usize = 200;

#[test]
fn an_announcement_routes_the_next_call_and_its_withdrawal_refuses_the_one_after() {
    let caller = Socket::new();
    let called = Socket::new();
    let hub = hub_without_announcements(&caller, &called);
    let globex = hub.api.member_id("globex");
    let path = format!("/members/{globex}/announcements");

    let before = caller.ask(hub.sip, &caller.invite(hub.sip, "+442079460001"));
    assert_eq!(before.status, 404, "{}", before.text);
    assert!(before.text.contains("no_route"), "{}", before.text);

    let made = hub.api.post(&path, &json!({"prefix": "+44207946", "endpoints": ["globex-1"]})).good();
    hub.wait_until_current();
    // The gateway is busy: that the call came to it is what matters.
    caller.send(hub.sip, caller.invite(hub.sip, "+442079460001").as_bytes());
    let invite = called.receive(Duration::from_secs(5)).expect("the call comes to the announcing member");
    assert!(invite.starts_with("INVITE sip:+442079460001@"), "{invite}");
    called.send(hub.sip, called.response(&invite, 486).as_bytes());

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

#[test]
fn two_hundred_changes_are_each_routed_by_in_a_tenth_of_a_second() {
    let (caller, called) = (Socket::new(), Socket::new());
    let hub = hub_without_announcements(&caller, &called);
    let path = format!("/members/{}/announcements", hub.api.member_id("globex"));
    let (mut from_answer, mut from_request) = (Vec::with_capacity(CHANGES), Vec::with_capacity(CHANGES));
    for change in 0..CHANGES {
        let prefix = format!("+44207946{change:03}");
        let asked = now();
        hub.api.post(&path, &json!({"prefix": prefix, "endpoints": ["globex-1"]})).good();
        let answered = now();
        let probe = format!("{prefix}0");
        until("the announcement to be routed by", Duration::from_secs(5), || {
            caller.would_be_routed(hub.sip, &probe).then_some(())
        });
        from_answer.push(answered.elapsed());
        from_request.push(asked.elapsed());
    }
    // The commit lies between request and answer.
    for (since, took) in [("the API's answer", &mut from_answer), ("the request", &mut from_request)] {
        took.sort_unstable();
        let (median, p99) = (took[CHANGES / 2], took[CHANGES * 99 / 100]);
        #[expect(clippy::print_stderr, reason = "the figure is part of the result")]
        {
            eprintln!("from {since} to routed, {CHANGES} changes: median {median:?}, p99 {p99:?}");
        }
    }
    let p99 = from_answer[CHANGES * 99 / 100];
    assert!(p99 < PROPAGATION_P99, "p99 {p99:?}");
}

/// An exchange whose called member holds +44 20 7946 and announces nothing yet.
fn hub_without_announcements(caller: &Socket, called: &Socket) -> Hub {
    let target = format!("sip:{};transport=udp", called.address());
    let exchange = Exchange::default()
        .member("acme", &[Endpoint::sender("acme-1", caller.address().ip())], &[])
        .member("globex", &[Endpoint::new("globex-1", called.address().ip(), &target)], &[])
        .range("+44207946", "valid")
        .agreement("acme", "globex");
    Hub::start(&exchange)
}

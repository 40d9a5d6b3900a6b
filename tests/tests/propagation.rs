//! How long a change takes from the API to the route table of the node, call after call.

use std::time::Duration;

use serde_json::json;
use tandem_tests::{Endpoint, Exchange, Hub, Socket, now};

/// From the API's answer, which comes after the commit, until the node routes by it: 99 of 100 changes.
const PROPAGATION_P99: Duration = Duration::from_millis(100);

const CHANGES: usize = 200;

#[test]
fn two_hundred_changes_are_each_routed_by_in_a_tenth_of_a_second() {
    let (caller, called) = (Socket::new(), Socket::new());
    let target = format!("sip:{};transport=udp", called.address());
    let exchange = Exchange::default()
        .member("acme", &[Endpoint::sender("acme-1", caller.address().ip())], &[])
        .member("globex", &[Endpoint::new("globex-1", called.address().ip(), &target)], &[])
        .range("+44207946", "valid")
        .agreement("acme", "globex");
    let hub = Hub::start(&exchange);
    let path = format!("/members/{}/announcements", hub.api.member_id("globex"));
    let (mut from_answer, mut from_request) = (Vec::with_capacity(CHANGES), Vec::with_capacity(CHANGES));
    for change in 0..CHANGES {
        let prefix = format!("+44207946{change:03}");
        let asked = now();
        hub.api.post(&path, &json!({"prefix": prefix, "endpoints": ["globex-1"]})).good();
        let answered = now();
        let probe = format!("{prefix}0");
        // One probe after the other, without a pause that would be measured too.
        while !caller.would_be_routed(hub.sip, &probe) {
            assert!(answered.elapsed() < Duration::from_secs(5), "{prefix} is not routed by");
        }
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

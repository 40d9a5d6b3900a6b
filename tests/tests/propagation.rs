//! How long a change takes from the API to the route table of the node, call after call.

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;
use tandem_tests::{Endpoint, Exchange, Hub, Socket, now};

/// From the API's answer, which comes after the commit, until the node routes by it: 99 of 100 changes.
const PROPAGATION_P99: Duration = Duration::from_millis(100);

const CHANGES: usize = 200;

/// How finely the moment is found out.
const BETWEEN_PROBES: Duration = Duration::from_millis(2);

/// Other work on the machine can only add to what is measured, so a round without it decides.
const ROUNDS: usize = 3;

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
    let in_time = (0..ROUNDS).any(|round| measure(&hub, &caller, round) < PROPAGATION_P99);
    assert!(in_time, "p99 is above {PROPAGATION_P99:?} in each of {ROUNDS} rounds");
}

/// Announces [`CHANGES`] prefixes one after the other; the time that 99 of 100 took to be routed by.
fn measure(hub: &Hub, caller: &Socket, round: usize) -> Duration {
    let path = format!("/members/{}/announcements", hub.api.member_id("globex"));
    let (mut from_answer, mut from_request) = (Vec::with_capacity(CHANGES), Vec::with_capacity(CHANGES));
    for change in 0..CHANGES {
        let prefix = format!("+44207946{round}{change:03}");
        let asked = now();
        hub.api.post(&path, &json!({"prefix": prefix, "endpoints": ["globex-1"]})).good();
        let answered = now();
        while !caller.would_be_routed(hub.sip, &prefix) {
            // Each probe is a call that is refused and recorded: without a pause they would be the load.
            sleep(BETWEEN_PROBES);
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
    from_answer[CHANGES * 99 / 100]
}

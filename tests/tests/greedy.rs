//! One member sends ten times what it may: it gets what it may, and another member notices nothing.

use std::time::Duration;

use tandem_tests::traffic::Seen;
use tandem_tests::{Endpoint, Exchange, Hub, Plan, Switch, Traffic, long, now, peer_address};

/// New calls a second that the greedy member may send.
const LIMIT: u32 = 30;

/// What it sends.
const OFFERED: u32 = 10 * LIMIT;

/// Calls a second of the other member.
const RATE: u32 = 20;

/// After this time the greedy member has used up what its first second was good for.
const BURST: Duration = Duration::from_secs(1);

#[test]
fn a_member_at_ten_times_its_limit_gets_its_limit_and_another_loses_nothing() {
    let (quiet_s, greedy_s): (u32, u32) = if long() { (30, 60) } else { (3, 7) };
    let switch = || Switch::at(peer_address());
    let (greedy, sink, modest, called) = (switch(), switch(), switch(), switch());
    let limited =
        Endpoint { max_calls_per_second: Some(LIMIT), ..Endpoint::sender("acme-1", greedy.address().ip()) };
    let gateway = |name: &str, switch: &Switch| Endpoint::new(name, switch.address().ip(), &switch.target());
    let exchange = Exchange::default()
        .member("acme", &[limited], &[])
        .member("initech", &[Endpoint::sender("initech-1", modest.address().ip())], &[])
        .member("globex", &[gateway("globex-1", &sink)], &["+44207946"])
        .member("umbrella", &[gateway("umbrella-1", &called)], &["+4930"])
        .agreement("acme", "globex")
        .agreement("initech", "umbrella");
    let hub = Hub::start(&exchange);
    let before = hub.at_rest();

    let calls = RATE * (quiet_s + greedy_s);
    let plan = Plan {
        calling: "+88202".to_owned(),
        called: "+49305550000".to_owned(),
        ..Plan::new(RATE, calls, Duration::from_secs(1))
    };
    let other = Traffic::start(&plan, hub.sip, modest, called);
    // Not waiting for a condition: this is how long the other member is alone.
    std::thread::sleep(Duration::from_secs(quiet_s.into()));
    let disturbed = now();
    let offered = OFFERED * greedy_s;
    let plan = Plan::new(OFFERED, offered, Duration::from_secs(1));
    let greedy = Traffic::start(&plan, hub.sip, greedy, sink).finish(Duration::from_secs(120));
    let other = other.finish(Duration::from_secs(60));

    let began = |seen: &Seen| seen.began.expect("each call has begun");
    let first = greedy.calling.values().map(began).min().expect("there were calls") + BURST;
    let last = greedy.calling.values().map(began).max().expect("there were calls");
    let answered = greedy.calling.values().filter(|seen| seen.up.is_some() && began(seen) > first).count();
    let goodput = answered as f64 / (last - first).as_secs_f64();
    let (_, quiet, _) = other.setup_where(|seen| began(seen) < disturbed);
    let (_, p99, longest) = other.setup_where(|seen| began(seen) >= disturbed);
    #[expect(clippy::print_stderr, reason = "the figures are part of the result")]
    {
        eprintln!(
            "greedy member: {offered} calls offered at {OFFERED} a second, {goodput:.2} answered a second of {LIMIT} \
             that it may; the other's {calls} calls had set-up {quiet:?} at p99 before and {p99:?} meanwhile, \
             {longest:?} at most"
        );
    }
    other.assert_all_went_well(calls);
    assert!(p99 <= Duration::from_millis(400), "the other member's set-up took {p99:?} at p99");
    assert_eq!(greedy.calling.len(), offered as usize, "calls that were placed");
    for (number, seen) in &greedy.calling {
        match seen.status {
            Some(200) => assert_eq!(greedy.faults_of(*number), Vec::<String>::new()),
            Some(503) => assert!(seen.retry_after_s.is_some(), "call {number}: 503 without Retry-After"),
            status => panic!("call {number} was answered {status:?}"),
        }
    }
    let share = goodput / f64::from(LIMIT);
    assert!((0.95..=1.05).contains(&share), "{goodput:.2} calls a second of {LIMIT}");
    hub.wait_until_as(&before, Duration::from_secs(60));
}

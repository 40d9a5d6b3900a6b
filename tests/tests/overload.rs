//! More calls than the node can handle: how many still get through, and how soon all is well again.
//!
//! `OVERLOAD_SECONDS` says how long each load lasts: see `cargo xtask soak`. Callers and called sides share the machine
//! with the hub, so the capacity is that of all three, and only the shares of it say something of the hub.

use std::net::IpAddr;
use std::time::Duration;

use tandem_tests::traffic::{Seen, Tally};
use tandem_tests::{Endpoint, Exchange, Hub, Plan, Switch, Traffic, peer_address, told, until};

/// Calls a second with which the search for the capacity begins.
const FIRST: u32 = 200;

/// Share of the offered calls that is answered where the node keeps up.
const KEEPS_UP: f64 = 0.98;

/// How long a side waits for an answer: less than SIP has it, so that a load ends soon after its last call.
const PATIENCE: Duration = Duration::from_secs(4);

/// How soon after a load nothing is shed any more.
const RECOVERS: Duration = Duration::from_secs(5);

/// What one load came to.
struct Load {
    offered: u32,
    /// Answered calls for each second of the load.
    goodput: f64,
    refused: usize,
    lost: usize,
    p99: Duration,
}

/// Calls from one member to another at this rate, through to the end of the last.
fn load(hub: &Hub, caller: IpAddr, called: IpAddr, rate: u32, seconds: f64) -> Load {
    until("the node to shed nothing", RECOVERS, || {
        (hub.metrics().sum("tandem_overload_shed_percent", &[]) <= 0.0).then_some(())
    });
    let (caller, called) = (Switch::at(caller), Switch::at(called));
    let gateway = Endpoint::new("globex-1", called.address().ip(), &called.target());
    hub.apply(&Exchange::of_two(caller.address().ip(), &[gateway]));
    let calls = (f64::from(rate) * seconds) as u32;
    let plan = Plan { patience: PATIENCE, ..Plan::new(rate, calls, Duration::from_millis(50)) };
    let tally: Tally =
        Traffic::start(&plan, hub.sip, caller, called).finish(Duration::from_secs(180 + 2 * seconds as u64));
    let began = |seen: &Seen| seen.began.expect("each call has begun");
    let first = tally.calling.values().map(began).min().expect("there were calls");
    let last = tally.calling.values().map(began).max().expect("there were calls");
    let refused = tally.calling.values().filter(|seen| seen.status == Some(503)).count();
    let (_, p99, _) = tally.setup_where(|seen| seen.up.is_some());
    Load {
        offered: rate,
        goodput: tally.answered() as f64 / (last - first).as_secs_f64().max(seconds),
        refused,
        lost: tally.calling.len() - tally.answered() - refused,
        p99,
    }
}

#[expect(clippy::print_stderr, reason = "the table is the result")]
#[test]
fn goodput_at_twice_and_five_times_the_capacity_is_measured() {
    let Some(seconds) = told("OVERLOAD_SECONDS") else {
        eprintln!("left out: cargo xtask soak --overload 10 loads the machine beyond what it can handle");
        return;
    };
    let (caller, called) = (peer_address(), peer_address());
    let hub = Hub::start(&Exchange::of_two(caller, &[]));
    let show = |what: &str, load: &Load, capacity: f64| {
        eprintln!(
            "overload: {what:16} {:>6} calls/s offered, {:>7.0} answered ({:>3.0} %), {} refused, {} lost, p99 {:?}",
            load.offered,
            load.goodput,
            100.0 * load.goodput / capacity,
            load.refused,
            load.lost,
            load.p99
        );
    };
    let mut rate = FIRST;
    let mut capacity: f64 = 0.0;
    loop {
        let step = load(&hub, caller, called, rate, seconds.min(3.0));
        show("capacity?", &step, f64::from(rate));
        capacity = capacity.max(step.goodput);
        if step.goodput < KEEPS_UP * f64::from(rate) {
            break;
        }
        rate = rate * 3 / 2;
    }
    let normal = (capacity / 4.0) as u32;
    show("a quarter", &load(&hub, caller, called, normal, seconds), f64::from(normal));
    for times in [2, 5] {
        let over = load(&hub, caller, called, times * capacity as u32, seconds);
        show(&format!("{times} x {capacity:.0}"), &over, capacity);
        let after = load(&hub, caller, called, normal, seconds);
        show("and after it", &after, f64::from(normal));
        assert!(after.goodput > 0.9 * f64::from(normal), "the node has not recovered");
    }
}

//! Many calls up, many more made, at a steady rate for long: memory flat, no lease leaked, counters exact.
//!
//! `SOAK_MINUTES` says for how long, `SOAK_CALLS_UP` how many calls are up at once, and
//! `SOAK_CALLS` how many are made in that time: see `cargo xtask soak`.

use std::time::Duration;

use tandem_tests::{
    Cluster, Endpoint, Exchange, Hub, Plan, Settings, Socket, Switch, Traffic, long, now, peer_address, told,
};

/// Share by which memory may grow from one half of the steady time to the other, and what any program may take more of
/// for a while.
const MEMORY_SHARE: f64 = 0.02;
const MEMORY_KB: f64 = 8_192.0;

#[expect(clippy::print_stderr, reason = "the table is the result")]
#[test]
fn memory_stays_flat_and_nothing_is_left_after_many_calls() {
    let seconds = told("SOAK_MINUTES").map_or(if long() { 1_200.0 } else { 10.0 }, |m| m * 60.0);
    let calls_up = told("SOAK_CALLS_UP").unwrap_or(if long() { 10_000.0 } else { 200.0 });
    let usual = if long() { 1_000_000.0 } else { 1_000.0 };
    let calls = told("SOAK_CALLS").unwrap_or(usual);
    let rate = calls / seconds;
    let hold = Duration::from_secs_f64(calls_up / rate);
    // What holds the calls up takes its time before the steady state, and again at the end.
    let (rate, calls) = (rate.ceil() as u32, calls as u32);

    let cluster = Cluster::start();
    let (caller, called) = (Switch::at(peer_address()), Switch::at(peer_address()));
    let asking = Socket::new();
    let gateway = Endpoint::new("globex-1", called.address().ip(), &called.target());
    // Leaked leases would fill this place long before the end.
    let most = (calls_up * 1.25) as u32 + 100;
    let exchange = |most: u32| {
        let caller = Endpoint { max_calls: Some(most), ..Endpoint::sender("acme-1", caller.address().ip()) };
        let gateway = Endpoint { max_calls: Some(most), ..gateway.clone() };
        Exchange::default()
            .member("acme", &[caller, Endpoint::sender("acme-2", asking.address().ip())], &[])
            .member("globex", &[gateway], &["+44207946"])
            .agreement("acme", "globex")
    };
    let settings = Settings { database_url: Some(cluster.url()), ..Settings::default() };
    let hub = Hub::with(&settings, &exchange(most));
    let narrow = exchange(1);
    let caller_ip = caller.address().ip();
    let before = hub.at_rest();
    eprintln!(
        "soak: {calls} calls at {rate} a second, {calls_up} up at once, each for {hold:?}; looked at: {}",
        before.names().join(", ")
    );
    let plan = Plan { reinvites: true, ..Plan::new(rate, calls, hold) };
    let started = now();
    let traffic = Traffic::start(&plan, hub.sip, caller, called);
    let step = Duration::from_secs_f64((seconds / 20.0).clamp(0.5, 30.0));
    let mut samples: Vec<(f64, f64, f64)> = Vec::new();
    eprintln!(
        "{:>8} {:>9} {:>8} {:>10} {:>10} {:>10}",
        "s", "placed", "up", "memory kB", "backlog", "journal kB"
    );
    while traffic.placed() < calls || traffic.open() > 0 {
        let wait = now() + step;
        while now() < wait && (traffic.placed() < calls || traffic.open() > 0) {
            // Not waiting for a condition: this is how often memory is looked at.
            std::thread::sleep(Duration::from_millis(50));
        }
        let metrics = hub.metrics();
        let up = metrics.sum("tandem_active_calls", &[]);
        let (at, memory) = (started.elapsed().as_secs_f64(), hub.resident_kb() as f64);
        eprintln!(
            "{at:>8.1} {:>9} {up:>8} {memory:>10} {:>10} {:>10.0}",
            traffic.placed(),
            metrics.sum("tandem_journal_backlog_records", &[]),
            metrics.sum("tandem_journal_bytes", &[]) / 1_024.0
        );
        samples.push((at, up, memory));
        let late = Duration::from_secs_f64(seconds * 1.5) + hold * 2 + Duration::from_secs(120);
        assert!(started.elapsed() < late, "the calls do not end");
    }
    let placing = f64::from(calls) / f64::from(rate);
    let tally = traffic.finish(Duration::from_secs(120));
    let (median, p99, longest) = tally.setup();
    eprintln!("soak: set-up {median:?} at the median, {p99:?} at p99, {longest:?} at most");
    tally.assert_all_went_well(calls);
    let cdrs = || cluster.query("select count(*) from call where ended_at is not null");
    tandem_tests::until("every CDR to be in Postgres", Duration::from_secs(120), || {
        (cdrs() == calls.to_string()).then_some(())
    });
    let twice = cluster
        .query("select count(*) from (select calling from call group by calling having count(*) > 1) t");
    hub.wait_until_all_is_as(&before, Duration::from_secs(90));
    let after = hub.resident_kb();
    let metrics = hub.metrics();
    eprintln!(
        "soak: {calls} calls in {:.1} s; memory {after} kB when all is over; {} refused, {} sent again by the hub",
        started.elapsed().as_secs_f64(),
        metrics.sum("tandem_refusals_total", &[]),
        metrics.sum("tandem_sip_retransmissions_sent_total", &[]),
    );
    assert_eq!(metrics.sum("tandem_calls_total", &["outcome=\"answered\""]), f64::from(calls));
    assert_eq!(metrics.sum("tandem_calls_total", &[]), f64::from(calls));
    assert_eq!(cdrs(), calls.to_string(), "one CDR a call");
    assert_eq!(twice, "0", "each call has its own calling number");
    // The time in which as many calls are up as will be, and have been for a while.
    let steady: Vec<f64> = samples
        .iter()
        .filter(|(at, ..)| *at > hold.as_secs_f64() * 1.2 + placing * 0.2 && *at < placing)
        .map(|(.., memory)| *memory)
        .collect();
    // Batches on their way to Postgres take megabytes for a moment: the least of each half is what stays.
    let least = |half: &[f64]| half.iter().copied().reduce(f64::min);
    let (first, second) = steady.split_at(steady.len() / 2);
    let (Some(first), Some(second)) = (least(first), least(second)) else {
        panic!("memory was looked at {} times while all calls were up", steady.len());
    };
    let grown = second - first;
    eprintln!("soak: memory grew by {grown} kB of {first} kB while {calls_up} calls were up");
    assert!(grown <= first * MEMORY_SHARE + MEMORY_KB, "memory grew by {grown} kB");

    // With room for one call each, one call finds room: no lease of all those calls is left.
    hub.apply(&narrow);
    let socket = Socket::at(caller_ip);
    let invite = socket.invite(hub.sip, tandem_tests::CALLED);
    let refused = socket.ask(hub.sip, &invite);
    assert!(
        !refused.text.contains("calls_exceeded"),
        "a lease of the calling endpoint leaked: {}",
        refused.text
    );
    assert!(
        !refused.text.contains("endpoint_full"),
        "a lease of the called endpoint leaked: {}",
        refused.text
    );
}

//! How long a change takes from the API to the route table of the node, call after call.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use serde_json::json;
use tandem_tests::{Cluster, Endpoint, Exchange, Hub, Settings, Socket, now, until};

/// From the API's answer, which comes after the commit, until the node routes by it: 99 of 100 changes.
const PROPAGATION_P99: Duration = Duration::from_millis(100);

const CHANGES: usize = 200;

/// How often an agreement is stopped.
const STOPS: usize = 200;

/// Nothing is asked any more where the called side hears nothing for so long.
const SILENCE: Duration = Duration::from_secs(6);

/// How finely the moment is found out.
const BETWEEN_PROBES: Duration = Duration::from_millis(2);

/// The same where each of three nodes is asked without end: every probe is a call with a CDR, and more of them would be the
/// load. The pause counts as a part of what is measured.
const BETWEEN_MANY_PROBES: Duration = Duration::from_millis(10);

/// Other work on the machine can only add to what is measured, so a round without it decides.
const ROUNDS: usize = 3;

/// Nodes of the exchange that one change reaches.
const NODES: [&str; 3] = ["first", "second", "third"];

/// Requests for changes that are under way at once.
const MAKERS: usize = 4;

/// Changes a second of the bench, and for how long they are made there.
const RATE: u32 = 100;
const BENCH: Duration = Duration::from_secs(30);

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
    report("routed", &mut from_answer, &mut from_request)
}

/// An agreement that is held up or over routes nothing, as soon as every node has heard of it.
#[test]
fn an_agreement_that_is_suspended_or_ended_lets_no_call_cross_a_tenth_of_a_second_later() {
    let (caller, called) = (Socket::new(), Socket::new());
    let target = format!("sip:{};transport=udp", called.address());
    let exchange = Exchange::default()
        .member("acme", &[Endpoint::sender("acme-1", caller.address().ip())], &[])
        .member("globex", &[Endpoint::new("globex-1", called.address().ip(), &target)], &["+44207946"])
        .agreement("acme", "globex");
    let hub = Hub::start(&exchange);
    let in_time = thread::scope(|scope| {
        // A call that still crosses is over at once, so that the next one is asked soon.
        scope.spawn(|| {
            while let Some((request, from)) = called.receive_from(SILENCE) {
                match request.split(' ').next() {
                    Some("INVITE") => called.send(from, called.response(&request, 486).as_bytes()),
                    Some("CANCEL") => called.send(from, called.response(&request, 200).as_bytes()),
                    _ => {}
                }
            }
        });
        (0..ROUNDS).any(|_| measure_stops(&hub, &caller) < PROPAGATION_P99)
    });
    assert!(in_time, "p99 is above {PROPAGATION_P99:?} in each of {ROUNDS} rounds");
}

/// Holds the agreement up and resumes it again and again, and ends it last and agrees anew; the time that 99 of 100
/// stops took until the node refused calls.
fn measure_stops(hub: &Hub, caller: &Socket) -> Duration {
    let (acme, globex) = (hub.api.member_id("acme"), hub.api.member_id("globex"));
    let agreement = |act: &str| {
        let list = hub.api.get(&format!("/members/{acme}/agreements")).good();
        let id = list["items"][0]["agreement_id"].as_str().expect("an agreement has an id").to_owned();
        format!("/members/{globex}/agreements/{id}/{act}")
    };
    let called = "+442079460001";
    let wait = |is_routed: bool| {
        let since = now();
        while caller.would_be_routed(hub.sip, called) != is_routed {
            sleep(BETWEEN_PROBES);
            assert!(since.elapsed() < Duration::from_secs(5), "routed is still not {is_routed}");
        }
    };
    let (mut from_answer, mut from_request) = (Vec::new(), Vec::new());
    let (suspend, resume) = (agreement("suspend"), agreement("resume"));
    for stop in 0..STOPS {
        wait(true);
        let is_last = stop + 1 == STOPS;
        let path = if is_last { agreement("end") } else { suspend.clone() };
        let asked = now();
        hub.api.post(&path, &json!({})).good();
        let answered = now();
        wait(false);
        from_answer.push(answered.elapsed());
        from_request.push(asked.elapsed());
        if is_last {
            let proposal = json!({ "with": "globex", "direction": "both" });
            hub.api.post(&format!("/members/{acme}/agreements"), &proposal).good();
            hub.api.post(&agreement("accept"), &json!({})).good();
        } else {
            hub.api.post(&resume, &json!({})).good();
        }
    }
    report("refused", &mut from_answer, &mut from_request)
}

/// Every change comes to every node, whole and in the order in which they were made. `cargo xtask bench propagation` makes a
/// hundred a second for half a minute, and prints how long they took.
#[test]
fn three_nodes_route_by_each_change_in_its_order() {
    let is_bench = std::env::var_os("PROPAGATION_BENCH").is_some();
    let lasts = if is_bench { BENCH } else { Duration::from_secs(2) };
    let cluster = Cluster::start();
    let callers: Vec<Socket> = NODES.iter().map(|_| Socket::new()).collect();
    let called = Socket::new();
    let target = format!("sip:{};transport=udp", called.address());
    let senders: Vec<Endpoint> = (1..)
        .zip(&callers)
        .map(|(n, it)| Endpoint::sender(&format!("acme-{n}"), it.address().ip()))
        .collect();
    let exchange = Exchange::default()
        .member("acme", &senders, &[])
        .member("globex", &[Endpoint::new("globex-1", called.address().ip(), &target)], &[])
        .range("+44207946", "valid")
        .agreement("acme", "globex");
    let nodes = NODES.map(|node| {
        let database_url = Some(cluster.url());
        Hub::with(&Settings { node, database_url, ..Settings::default() }, &exchange)
    });
    let number = |change: usize| format!("+44207946{change:04}");
    let path = format!("/members/{}/announcements", nodes[0].api.member_id("globex"));
    let changes = (lasts.as_secs_f64() * f64::from(RATE)) as usize;
    let committed: Mutex<Vec<Option<Change>>> = Mutex::new(vec![None; changes]);
    let (next, made, is_over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let make = |begun: Instant| {
        loop {
            let change = next.fetch_add(1, Ordering::Relaxed);
            if change >= changes {
                return;
            }
            let due = begun + change as u32 * Duration::from_secs(1) / RATE;
            sleep(due.saturating_duration_since(now()));
            let asked = now();
            nodes[0].api.post(&path, &json!({"prefix": number(change), "endpoints": ["globex-1"]})).good();
            let mut committed = committed.lock().expect("nobody panics with it");
            committed[change] = Some(Change { asked, answered: now() });
            // What was begun before and is not answered yet may come later.
            let in_order = committed.iter().take_while(|it| it.is_some()).count();
            made.store(in_order, Ordering::Release);
        }
    };
    let (times, made_in) = thread::scope(|scope| {
        let followers: Vec<_> = nodes
            .iter()
            .zip(&callers)
            .map(|(node, caller)| {
                scope.spawn(|| follow(node, caller, &number, (&made, &committed, &is_over)))
            })
            .collect();
        let begun = now();
        let make = &make;
        let makers: Vec<_> = (0..MAKERS).map(|_| scope.spawn(move || make(begun))).collect();
        makers.into_iter().for_each(|it| it.join().expect("it makes changes"));
        let made_in = begun.elapsed();
        is_over.store(true, Ordering::Release);
        let times: Vec<Vec<Duration>> =
            followers.into_iter().map(|it| it.join().expect("it follows")).collect();
        (times, made_in)
    });
    // What is routed at the end is all that was announced, on each.
    for (node, caller) in nodes.iter().zip(&callers) {
        until("the node to be current", Duration::from_secs(10), || {
            let nodes = node.api.get("/nodes").good();
            let items = nodes["items"].as_array().expect("nodes").clone();
            let is_same = items.iter().all(|it| {
                ["table_version", "table_hash", "table_chain"].iter().all(|key| it[key] == items[0][key])
            });
            (is_same && items.iter().all(|it| it["current"] == true)).then_some(())
        });
        let of_all = node.metrics().sum("tandem_route_table_prefixes", &[]);
        assert!((of_all - changes as f64).abs() < 0.5, "{of_all} prefixes of {changes}");
        assert!(caller.would_be_routed(node.sip, &number(changes - 1)));
        assert!(node.metrics().sum("tandem_route_table_disagreements", &[]) < 0.5);
    }
    for (node, mut times) in NODES.into_iter().zip(times) {
        let samples = times.len();
        times.sort_unstable();
        let (median, p99) = (times[samples / 2], times[samples * 99 / 100]);
        #[expect(clippy::print_stderr, reason = "the figure is part of the result")]
        {
            eprintln!(
                "{changes} changes in {made_in:?}, from the API's answer to routed on the {node} node, {samples} samples: median {median:?}, p99 {p99:?}"
            );
        }
        assert!(!is_bench || p99 < PROPAGATION_P99, "p99 on the {node} node is {p99:?}");
    }
}

/// When a change was asked for, and answered: whatever is asked for later comes after it.
#[derive(Clone, Copy)]
struct Change {
    asked: Instant,
    answered: Instant,
}

/// Waits for the newest change again and again until there are no more, and sees that none before it is missing then. How
/// long each took that was waited for.
fn follow(
    node: &Hub,
    caller: &Socket,
    number: &impl Fn(usize) -> String,
    (made, committed, is_over): (&AtomicUsize, &Mutex<Vec<Option<Change>>>, &AtomicBool),
) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut last = 0;
    while !is_over.load(Ordering::Acquire) {
        let count = made.load(Ordering::Acquire);
        if count == last {
            sleep(Duration::from_micros(200));
            continue;
        }
        let made =
            |change: usize| committed.lock().expect("nobody panics with it")[change].expect("it was made");
        let Change { asked, answered: since } = made(count - 1);
        while !caller.would_be_routed(node.sip, &number(count - 1)) {
            assert!(since.elapsed() < Duration::from_secs(10), "{} is not routed by", number(count - 1));
            sleep(BETWEEN_MANY_PROBES);
        }
        times.push(since.elapsed());
        let earlier = last + (count - last) / 2;
        assert!(
            made(earlier).answered > asked || caller.would_be_routed(node.sip, &number(earlier)),
            "a later change is there before {earlier}"
        );
        last = count;
    }
    times
}

/// Prints how long changes took; of what was measured from the API's answer, what 99 of 100 stay below.
fn report(what: &str, from_answer: &mut [Duration], from_request: &mut [Duration]) -> Duration {
    let count = from_answer.len();
    // The commit lies between request and answer.
    for (since, took) in [("the API's answer", &mut *from_answer), ("the request", from_request)] {
        took.sort_unstable();
        let (median, p99) = (took[count / 2], took[count * 99 / 100]);
        #[expect(clippy::print_stderr, reason = "the figure is part of the result")]
        {
            eprintln!("from {since} to {what}, {count} changes: median {median:?}, p99 {p99:?}");
        }
    }
    from_answer[count * 99 / 100]
}

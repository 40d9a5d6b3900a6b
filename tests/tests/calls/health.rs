//! Endpoints that die, limp and come back: found out by probes and by calls, left out of selection, told to the member.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tandem_tests::gateway::{Gateway, Manner};
use tandem_tests::{
    CALLED, Endpoint, Exchange, Hub, Plan, Settings, Socket, Switch, Traffic, now, peer_address, until,
};

/// Often enough for a scenario.
const PROBED: &str = "interval_s = 1\ntimeout_ms = 500\nramp_s = 2";

/// Only calls tell.
const UNPROBED: &str = "enabled = false";

/// How long anything here may take.
const SOON: Duration = Duration::from_secs(30);

/// As long as a datagram, a lookup and a busy machine take, and far from any time-out.
const AT_ONCE: Duration = Duration::from_millis(400);

fn endpoint(name: &str, gateway: &Gateway, priority: u16, policy: &str) -> Endpoint {
    let more = format!("[member.endpoint.policy.overrides.probe]\n{policy}");
    Endpoint { priority, more, ..Endpoint::new(name, gateway.ip(), &gateway.target()) }
}

/// A hub that sends probes, which those of other scenarios do not.
fn probing(exchange: &Exchange) -> Hub {
    Hub::with(&Settings { probes: true, attempt_timeout_s: 3, ..Settings::default() }, exchange)
}

/// A hub whose called member has `first` and, behind it, `second`.
fn hub_with(caller: IpAddr, first: &Gateway, second: &Gateway, policy: &str) -> Hub {
    let endpoints = [endpoint("globex-1", first, 1, policy), endpoint("globex-2", second, 2, policy)];
    probing(&Exchange::of_two(caller, &endpoints))
}

/// A call, its status and how long it waited for it.
fn call(caller: &Socket, hub: &Hub) -> (u16, Duration) {
    let began = now();
    let status = caller.ask(hub.sip, &caller.invite(hub.sip, CALLED)).status;
    (status, began.elapsed())
}

fn health(hub: &Hub, name: &str) -> Value {
    let member = hub.api.member_id("globex");
    let endpoints = hub.api.all(&format!("/members/{member}/endpoints"));
    let id = endpoints.iter().find(|it| it["name"] == name).expect("it is there")["endpoint_id"].clone();
    let id = id.as_str().expect("an id is a text");
    hub.api.get(&format!("/members/{member}/endpoints/{id}/health")).good()
}

fn state(hub: &Hub, name: &str) -> String {
    health(hub, name)["nodes"][0]["state"].as_str().unwrap_or("").to_owned()
}

fn wait_for(hub: &Hub, name: &str, wanted: &str) {
    until(&format!("{name} to be {wanted}"), SOON, || (state(hub, name) == wanted).then_some(()));
}

fn down(hub: &Hub) -> f64 {
    hub.metrics().sum("tandem_endpoints", &["state=\"down\""])
}

/// Waits until so many endpoints are down, looking often; gives when that was.
fn wait_until_down(hub: &Hub, count: f64) -> Instant {
    until("the endpoint to be down", SOON, || (down(hub) >= count).then(now))
}

#[test]
fn a_dead_endpoint_is_out_within_a_second_of_its_third_failed_probe_and_back_once_it_answers() {
    let caller = Socket::new();
    let (first, second) = (Gateway::start(Manner::Answers), Gateway::start(Manner::Answers));
    let hub = hub_with(caller.address().ip(), &first, &second, PROBED);
    wait_for(&hub, "globex-1", "up");
    wait_for(&hub, "globex-2", "up");
    let before = now();
    assert_eq!(call(&caller, &hub).0, 486);
    assert_eq!((first.came("INVITE", before).len(), second.came("INVITE", before).len()), (1, 0));

    let died = first.become_one_that(Manner::Silent);
    let out = wait_until_down(&hub, 1.0);
    let probes = first.came("OPTIONS", died);
    assert_eq!(probes.len(), 3, "{probes:?}");
    let third_failed = probes[2].at + Duration::from_millis(500);
    assert!(out < third_failed + Duration::from_secs(1), "{:?} after it", out - third_failed);
    let (status, waited) = call(&caller, &hub);
    assert!(status == 486 && waited < AT_ONCE, "{status} after {waited:?}");
    assert_eq!((first.came("INVITE", died).len(), second.came("INVITE", died).len()), (0, 1));

    // The member sees it, and why its calls went elsewhere.
    wait_for(&hub, "globex-1", "down");
    let seen = health(&hub, "globex-1");
    let latest = &seen["history"]["items"][0];
    assert_eq!((&latest["state"], &latest["sign"]), (&"down".into(), &"probe_unanswered".into()), "{seen}");
    let member = hub.api.member_id("globex");
    let listed = hub.api.all(&format!("/members/{member}/endpoints"));
    let listed = listed.iter().find(|it| it["name"] == "globex-1").expect("it is there");
    assert_eq!(listed["health"]["down"], 1, "{listed}");
    let calls = hub.wait_for_cdrs(2, SOON);
    let id = calls[0]["call_id"].as_str().expect("a call has an id");
    let detail = hub.api.get(&format!("/calls/{id}")).good().to_string();
    assert!(detail.contains("endpoint_down"), "{detail}");

    let back = first.become_one_that(Manner::Answers);
    wait_for(&hub, "globex-1", "up");
    let ramped = back.elapsed();
    assert!(ramped > Duration::from_secs(2), "its share grew for two seconds, not {ramped:?}");
    assert_eq!(call(&caller, &hub).0, 486);
    assert_eq!(first.came("INVITE", back).len(), 1);
    // Up, down, and up again: nothing else.
    let seen = health(&hub, "globex-1");
    let items = seen["history"]["items"].as_array().expect("it has a history");
    let states: Vec<_> =
        items.iter().rev().map(|it| it["state"].as_str().expect("a state is a word")).collect();
    assert_eq!(states, ["up", "down", "ramping", "up"], "{seen}");
}

#[test]
fn a_503_with_retry_after_is_honoured_by_the_next_call() {
    let caller = Socket::new();
    let (first, second) = (Gateway::start(Manner::Refuses(Some(3))), Gateway::start(Manner::Answers));
    let hub = hub_with(caller.address().ip(), &first, &second, UNPROBED);
    let began = now();
    assert_eq!(call(&caller, &hub).0, 486);
    let refused = first.came("INVITE", began);
    assert_eq!(refused.len(), 1);
    first.become_one_that(Manner::Answers);
    let mut placed = 0;
    let free = until("a call to go to the first endpoint again", SOON, || {
        placed += 1;
        assert_eq!(call(&caller, &hub).0, 486);
        first.came("INVITE", began).get(1).map(|came| came.at)
    });
    let left_alone = free - refused[0].at;
    assert!(placed > 3 && left_alone >= Duration::from_millis(2_950), "{placed} calls, {left_alone:?}");
    assert!(left_alone < Duration::from_secs(4), "{left_alone:?}");
    let seen = until("the portal to know", SOON, || {
        let seen = health(&hub, "globex-1");
        let happened = seen["history"]["items"].as_array().expect("a page has items");
        happened.iter().any(|it| it["sign"] == "retry_after").then_some(seen)
    });
    assert!(seen["nodes"][0]["state"] != "down", "{seen}");
}

#[test]
fn a_switch_that_drops_options_and_takes_calls_keeps_getting_them() {
    let caller = Socket::new();
    let (first, second) = (Gateway::start(Manner::DropsOptions), Gateway::start(Manner::Answers));
    let hub = hub_with(caller.address().ip(), &first, &second, PROBED);
    let began = now();
    assert_eq!(call(&caller, &hub).0, 486);
    until("five probes to go unanswered", SOON, || (first.came("OPTIONS", began).len() > 5).then_some(()));
    assert_eq!(call(&caller, &hub).0, 486);
    assert_eq!((first.came("INVITE", began).len(), second.came("INVITE", began).len()), (2, 0));
}

/// RELIABILITY D4: a member whose first endpoint is no good costs its own calls at most a time-out each until that is
/// found out, one INVITE more a call and route, and the calls of others nothing.
fn limps(manner: Manner, first_calls: u32, slowest: Duration) {
    let caller = Socket::new();
    let (first, second) = (Gateway::start(manner), Gateway::start(Manner::Answers));
    let (other_caller, other_called) = (Switch::at(peer_address()), Switch::at(peer_address()));
    let umbrella = Endpoint::new("umbrella-1", other_called.address().ip(), &other_called.target());
    let exchange = Exchange::of_two(
        caller.address().ip(),
        &[endpoint("globex-1", &first, 1, UNPROBED), endpoint("globex-2", &second, 2, UNPROBED)],
    )
    .member("initech", &[Endpoint::sender("initech-1", other_caller.address().ip())], &[])
    .member("umbrella", &[umbrella], &["+4930"])
    .agreement("initech", "umbrella");
    let hub = probing(&exchange);
    let calls = 400;
    let plan = Plan { called: "+493012345678".into(), ..Plan::new(50, calls, Duration::from_millis(200)) };
    let others = Traffic::start(&plan, hub.sip, other_caller, other_called);

    let began = now();
    let mut placed = 0;
    until("the endpoint to be found out", SOON, || {
        placed += 1;
        let (status, waited) = call(&caller, &hub);
        assert!(status == 486 && waited < slowest, "{status} after {waited:?}");
        (down(&hub) > 0.0).then_some(())
    });
    assert!(placed >= first_calls, "{placed}");
    let found_out = now();
    for _ in 0..10 {
        let (status, waited) = call(&caller, &hub);
        assert!(status == 486 && waited < AT_ONCE, "{status} after {waited:?}");
    }
    assert_eq!(first.came("INVITE", found_out).len(), 0);
    // Each call asked it once at most.
    assert_eq!(first.came("INVITE", began).len(), placed as usize);
    assert_eq!(second.came("INVITE", began).len(), placed as usize + 10);
    let tally = others.finish(Duration::from_secs(60));
    tally.assert_all_went_well(calls);
    let (_, p99, _) = tally.setup();
    assert!(p99 < AT_ONCE, "the calls of others took {p99:?}");
}

#[test]
fn a_member_that_is_silent_costs_its_own_calls_three_time_outs_and_others_nothing() {
    limps(Manner::Silent, 3, Duration::from_millis(3_900));
}

#[test]
fn a_member_that_answers_after_five_seconds_costs_its_own_calls_three_time_outs_and_others_nothing() {
    limps(Manner::Late(Duration::from_secs(5)), 3, Duration::from_millis(3_900));
}

#[test]
fn a_member_that_refuses_everything_with_503_is_out_and_costs_others_nothing() {
    limps(Manner::Refuses(None), 3, AT_ONCE);
}

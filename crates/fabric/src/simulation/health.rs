//! Endpoints that die, limp and come back: who is probed, who is left out, and who is tried all the same.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tandem_model::{EndpointState, ProbePolicy, Profile};

use super::*;

/// What a member says to a probe: nothing, or a status line.
type Says = Option<&'static str>;

const OK: Says = Some("200 OK");

fn policy() -> ProbePolicy {
    ProbePolicy { interval_s: 10, ..ProbePolicy::default() }
}

fn watched_by(policy: ProbePolicy) -> Policy {
    let overrides = serde_json::json!({ "probe": policy });
    Policy::new(Profile::default(), overrides.as_object().unwrap().clone()).unwrap()
}

/// Both endpoints of globex watched by this policy, that of acme not.
fn facts_with(policy: ProbePolicy) -> Facts {
    let mut facts = facts();
    facts.endpoints[0].policy = watched_by(ProbePolicy { enabled: false, ..policy });
    for endpoint in &mut facts.endpoints[1..] {
        endpoint.policy = watched_by(policy);
    }
    facts
}

impl Simulation {
    fn watching(policy: ProbePolicy, workers: usize) -> Self {
        let mut sim = Self::with_workers(workers);
        sim.change(facts_with(policy));
        sim
    }

    /// The route table is another one from now on.
    fn change(&mut self, facts: Facts) {
        self.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
        let now = self.now;
        for worker in self.workers() {
            worker.settings.probes = true;
            worker.refresh_table();
            worker.watch_table(now);
        }
    }

    /// Time passes; probes are answered as `says` has it, by where they go. Gives how many were answered or not, each
    /// probe once.
    fn live(&mut self, time: Duration, mut says: impl FnMut(&str) -> Says) -> usize {
        let end = self.now.instant + time;
        let mut probes = std::collections::HashSet::new();
        loop {
            let (options, others) =
                std::mem::take(&mut self.sent).into_iter().partition(|(_, it)| kind(it) == "OPTIONS");
            let options: Vec<(String, String)> = options;
            self.sent = others;
            for (to, probe) in options {
                probes.insert(field(&probe, "Call-ID").to_owned());
                if let Some(status) = says(&to) {
                    self.receive(&to, &response(&probe, status, "p", ""));
                }
            }
            match self.next_deadline().filter(|&at| at <= end) {
                Some(at) => {
                    self.set_instant(at.max(self.now.instant));
                    self.fire_due();
                }
                None => break,
            }
        }
        self.set_instant(end);
        probes.len()
    }

    /// Lives until the endpoint at the address is in a state.
    #[track_caller]
    fn live_until(&mut self, state: EndpointState, address: &str, mut says: impl FnMut(&str) -> Says) {
        for _ in 0..600_000 {
            if self.state_of(address) == state {
                return;
            }
            self.live(Duration::from_millis(1), &mut says);
        }
        panic!("{address} is {:?}", self.state_of(address));
    }

    fn state_of(&self, address: &str) -> EndpointState {
        let n = if address == GLOBEX { 21 } else { 22 };
        let watch = self.worker.watch.as_ref().unwrap();
        let watched = watch.of.values().find(|watched| watched.endpoint == id::<EndpointId>(n));
        watched.unwrap().health.state().shown()
    }

    /// A call, and who gets its INVITE at once. It is over after that.
    fn call_goes_to(&mut self, number: &str) -> Vec<&'static str> {
        let invite = self.invite(number);
        let mut asked = Vec::new();
        for address in [GLOBEX, GLOBEX_2] {
            for egress in self.sent_to(address) {
                if kind(&egress) == "INVITE" {
                    asked.push(address);
                    self.receive(address, &response(&egress, "486 Busy Here", "g", ""));
                }
            }
            self.sent_to(address);
        }
        self.receive(ACME, &follow_up(&invite, "ACK"));
        self.sent_to(ACME);
        asked
    }

    /// A call whose first INVITE is answered with a status line at once, with more header fields.
    fn call_refused(&mut self, status: &str, more: &str) -> Vec<&'static str> {
        let invite = self.invite("+442079460000");
        let mut asked = Vec::new();
        while let Some((to, egress)) = self.sent.iter().find(|(_, it)| kind(it) == "INVITE").cloned() {
            let to = if to == GLOBEX { GLOBEX } else { GLOBEX_2 };
            self.sent_to(to);
            asked.push(to);
            let refusal = response(&egress, if asked.len() == 1 { status } else { "486 Busy" }, "g", "");
            self.receive(to, &refusal.replace("Server: ", &format!("{more}Server: ")));
        }
        self.receive(ACME, &follow_up(&invite, "ACK"));
        self.sent.clear();
        asked
    }

    fn transitions(&mut self) -> Vec<EndpointState> {
        let watch = self.worker.watch.as_mut().unwrap();
        let reports = std::iter::from_fn(|| watch.pop_report());
        reports
            .filter(|report| report.change.is_some())
            .map(|report| report.standing.unwrap().state)
            .collect()
    }
}

/// The second endpoint of globex is well, the first is not.
fn first_is_dead(to: &str) -> Says {
    if to == GLOBEX { None } else { OK }
}

#[test]
fn a_dead_endpoint_is_left_out_from_its_third_failed_probe_on_and_the_next_call_waits_for_nothing() {
    let mut sim = Simulation::watching(policy(), 1);
    sim.live(Duration::from_secs(15), |_| OK);
    assert_eq!((sim.state_of(GLOBEX), sim.state_of(GLOBEX_2)), (EndpointState::Up, EndpointState::Up));
    assert_eq!(sim.call_goes_to("+442079460000"), [GLOBEX]);

    let died = sim.now.instant;
    let mut unanswered = 0;
    while sim.state_of(GLOBEX) == EndpointState::Up {
        unanswered += sim.live(Duration::from_millis(1), |to| if to == GLOBEX { None } else { OK });
        assert!(sim.now.instant < died + Duration::from_secs(60));
    }
    let third = sim.worker.wire.metrics.clone();
    assert_eq!(third.probes("unanswered"), 3, "of {unanswered} messages");
    // An interval, three time-outs, two short waits.
    assert!(sim.now.instant < died + Duration::from_millis(11_000 + 3 * 2_000 + 2 * 1_100));
    assert_eq!(sim.call_goes_to("+442079460000"), [GLOBEX_2]);
    let cdr = sim.cdrs().pop().unwrap();
    let left_out = &serde_json::from_str::<serde_json::Value>(&cdr.selection).unwrap()["left_out"];
    assert_eq!(
        (left_out[0]["reason"].as_str(), cdr.attempts.len()),
        (Some("endpoint_down"), 1),
        "{left_out}"
    );
    assert_eq!(cdr.attempts[0].endpoint, id(22));
}

#[test]
fn an_endpoint_that_is_back_takes_a_growing_share_and_then_all() {
    let mut sim = Simulation::watching(policy(), 1);
    sim.live(Duration::from_secs(15), |_| OK);
    sim.live_until(EndpointState::Down, GLOBEX, first_is_dead);
    let back = sim.now.instant;
    sim.live_until(EndpointState::Ramping, GLOBEX, |_| OK);
    assert!(sim.now.instant < back + Duration::from_secs(13), "a watchful probe, and one soon after it");
    let mut shares = Vec::new();
    for _ in 0..4 {
        let firsts = (0..200).filter(|n| sim.call_goes_to(&format!("+44207946{n:04}")) == [GLOBEX]).count();
        shares.push(firsts / 2);
        sim.live(Duration::from_millis(5_001), |_| OK);
    }
    for (share, expected) in shares.iter().zip([20, 40, 60, 80]) {
        assert!(share.abs_diff(expected) <= 9, "{shares:?}");
    }
    assert_eq!(sim.state_of(GLOBEX), EndpointState::Up);
    assert_eq!((0..50).filter(|_| sim.call_goes_to("+442079460000") == [GLOBEX]).count(), 50);
    use EndpointState::{Down, Ramping, Up};
    assert_eq!(sim.transitions(), [Up, Up, Down, Ramping, Up]);
}

#[test]
fn nothing_flaps_where_three_in_ten_messages_are_lost_either_way() {
    let (mut downs, mut most) = (0, 0);
    for seed in 0..10 {
        let mut sim = Simulation::watching(ProbePolicy::default(), 1);
        let mut rng = StdRng::seed_from_u64(seed);
        sim.live(Duration::from_secs(3_600), |_| {
            // There and back again.
            if rng.random_bool(0.3) || rng.random_bool(0.3) { None } else { OK }
        });
        let down = sim.transitions().iter().filter(|state| **state == EndpointState::Down).count();
        downs += down;
        most = most.max(down);
        sim.worker.draining = true;
    }
    // Twenty endpoints over an hour each: by chance, not in a row.
    assert!(downs <= 10 && most <= 3, "{downs} times down, {most} of them in one run");
}

#[test]
fn an_endpoint_that_drops_every_other_burst_of_probes_comes_back_ever_more_slowly() {
    let mut sim = Simulation::watching(policy(), 1);
    let start = sim.now.instant;
    sim.live(Duration::from_secs(20), |_| OK);
    // Twelve seconds there, twelve seconds gone.
    let mut clock = start;
    for _ in 0..150 {
        let is_there = ((clock - start).as_secs() / 12).is_multiple_of(2);
        sim.live(Duration::from_secs(1), |to| if to == GLOBEX && !is_there { None } else { OK });
        clock += Duration::from_secs(1);
    }
    for _ in 0..1_650 {
        let is_there = ((clock - start).as_secs() / 12).is_multiple_of(2);
        sim.live(Duration::from_secs(1), |to| if to == GLOBEX && !is_there { None } else { OK });
        clock += Duration::from_secs(1);
    }
    let downs = sim.transitions().iter().filter(|state| **state == EndpointState::Down).count();
    assert!((1..=8).contains(&downs), "75 outages, {downs} times down");
}

#[test]
fn an_endpoint_that_never_answers_options_but_takes_calls_stays_in_use() {
    let mut sim = Simulation::watching(policy(), 1);
    assert_eq!(sim.call_goes_to("+442079460000"), [GLOBEX]);
    sim.live(Duration::from_secs(600), |_| None);
    assert_eq!(sim.state_of(GLOBEX), EndpointState::Up);
    assert_eq!(sim.call_goes_to("+442079460000"), [GLOBEX]);
}

#[test]
fn an_endpoint_of_which_nothing_was_heard_gets_a_call_each_interval_to_show_that_it_is_there() {
    let mut sim = Simulation::watching(ProbePolicy { ramp_s: 0, ..policy() }, 1);
    sim.live_until(EndpointState::Down, GLOBEX, first_is_dead);
    let mut went = Vec::new();
    for _ in 0..4 {
        sim.live(Duration::from_secs(11), first_is_dead);
        went.push([sim.call_goes_to("+442079460000"), sim.call_goes_to("+442079460001")].concat());
    }
    assert_eq!(went[0], [GLOBEX, GLOBEX_2], "one call in each interval");
    assert_eq!(went[3], [GLOBEX, GLOBEX], "calls get through: its silence to probes means nothing");
}

#[test]
fn where_all_are_down_the_best_bet_is_tried_once() {
    let mut sim = Simulation::watching(policy(), 1);
    sim.live(Duration::from_secs(15), |_| OK);
    // The first is down for longer than the second.
    sim.live_until(EndpointState::Down, GLOBEX, first_is_dead);
    sim.live(Duration::from_secs(60), first_is_dead);
    sim.live_until(EndpointState::Down, GLOBEX_2, |_| None);
    sim.invite("+442079460000");
    sim.live(Duration::from_secs(40), |_| None);
    assert_eq!(sim.kinds_to(GLOBEX), [""; 0]);
    assert!(sim.kinds_to(GLOBEX_2).iter().all(|kind| kind == "INVITE"), "the same one, again");
    assert_eq!(sim.kinds_to(ACME).last().map(String::as_str), Some("503"));
    let cdr = sim.one_cdr();
    assert_eq!((cdr.attempts.len(), cdr.reason.as_deref()), (1, Some("endpoint_unreachable")));
    // One that is there after all gets its call.
    assert_eq!(sim.call_goes_to("+442079460000"), [GLOBEX_2]);
}

#[test]
fn a_503_with_retry_after_is_left_alone_for_as_long_as_it_says_but_for_emergency_calls() {
    let mut sim = Simulation::watching(ProbePolicy { enabled: false, ..policy() }, 1);
    assert_eq!(sim.call_refused("503 Full", "Retry-After: 30 (too busy)\r\n"), [GLOBEX, GLOBEX_2]);
    assert_eq!(sim.call_goes_to("+442079460000"), [GLOBEX_2]);
    assert_eq!(sim.call_goes_to("+44999"), [""; 0], "no route: it is no number of globex");
    sim.live(Duration::from_millis(29_900), |_| None);
    assert_eq!(sim.call_goes_to("+442079460000"), [GLOBEX_2]);
    sim.live(Duration::from_millis(200), |_| None);
    assert_eq!(sim.call_goes_to("+442079460000"), [GLOBEX]);
    let cdr = &sim.cdrs()[1];
    assert!(cdr.selection.contains("endpoint_held"), "{}", cdr.selection);
}

#[test]
fn an_emergency_call_goes_to_an_endpoint_that_asked_to_be_left_alone() {
    let mut sim = Simulation::with_workers(1);
    let mut facts = facts_with(ProbePolicy { enabled: false, ..policy() });
    facts.ranges[0].prefix = "+44".parse().unwrap();
    facts.announcements[0].prefix = "+44".parse().unwrap();
    sim.change(facts);
    assert_eq!(sim.call_refused("503 Full", "Retry-After: 30\r\n"), [GLOBEX, GLOBEX_2]);
    assert_eq!(sim.call_goes_to("+449990000000"), [GLOBEX]);
    assert_eq!(sim.call_goes_to("+442079460000"), [GLOBEX_2]);
}

#[test]
fn a_retry_after_is_believed_up_to_the_endpoints_limit() {
    let mut sim = Simulation::watching(ProbePolicy { max_retry_after_s: 60, ..policy() }, 1);
    sim.live(Duration::from_secs(15), |_| OK);
    sim.call_refused("503 Full", "Retry-After: 86400\r\n");
    sim.live(Duration::from_secs(59), |_| OK);
    assert_eq!(sim.call_goes_to("+442079460000"), [GLOBEX_2]);
    sim.live(Duration::from_secs(2), |_| OK);
    assert_eq!(sim.call_goes_to("+442079460000"), [GLOBEX]);
}

#[test]
fn where_every_candidate_asked_to_be_left_alone_the_call_is_refused_with_503() {
    let mut facts = facts_with(ProbePolicy { enabled: false, ..policy() });
    facts.announcements[0].endpoints.pop();
    let mut sim = Simulation::with_workers(1);
    sim.change(facts);
    sim.call_refused("503 Full", "Retry-After: 30\r\n");
    sim.invite("+442079460000");
    assert!(sim.sent_to(GLOBEX).is_empty());
    let refusal = sim.sent_to(ACME).pop().unwrap();
    assert!(refusal.starts_with("SIP/2.0 503 ") && refusal.contains("endpoint_held"), "{refusal}");
    assert!(refusal.contains("Retry-After: "));
}

#[test]
fn a_member_that_refuses_every_call_with_503_gets_no_more_after_a_second() {
    let mut sim = Simulation::watching(ProbePolicy { enabled: false, ..policy() }, 1);
    assert_eq!(sim.call_goes_to("+442079460000"), [GLOBEX]);
    let mut asked = 0;
    for _ in 0..100 {
        asked += usize::from(sim.call_refused("503 Full", "").contains(&GLOBEX));
        sim.live(Duration::from_millis(20), |_| None);
    }
    assert!((50..=53).contains(&asked), "{asked} of 100 calls in two seconds");
    assert_eq!(sim.state_of(GLOBEX), EndpointState::Down);
}

#[test]
fn a_member_that_answers_after_five_seconds_is_out_after_three_calls() {
    let mut sim = Simulation::watching(ProbePolicy { enabled: false, ..policy() }, 1);
    for call in 1..=4 {
        sim.invite("+442079460000");
        let first = sim.sent_to(GLOBEX);
        if call == 4 {
            assert!(first.is_empty(), "the next call does not wait");
            assert_eq!(sim.kinds_to(GLOBEX_2), ["INVITE"]);
            break;
        }
        sim.pass(Duration::from_millis(3_001));
        let second = sim.one_to(GLOBEX_2);
        sim.receive(GLOBEX_2, &response(&second, "486 Busy", "g", ""));
        sim.pass(Duration::from_secs(2));
        sim.receive(GLOBEX, &response(&first[0], "200 OK", "g", SDP));
        sim.pass(Duration::from_secs(1));
        sim.sent.clear();
    }
    assert_eq!(sim.state_of(GLOBEX), EndpointState::Down);
}

#[test]
fn one_slow_probe_answer_after_another_is_silence() {
    let mut sim = Simulation::watching(policy(), 1);
    sim.live(Duration::from_secs(15), |_| OK);
    // Answered five seconds late, when nobody waits any more.
    let mut late: Vec<(std::time::Instant, String)> = Vec::new();
    for _ in 0..300 {
        let now = sim.now.instant;
        for (at, probe) in std::mem::take(&mut late) {
            match at <= now {
                true => sim.receive(GLOBEX, &response(&probe, "200 OK", "p", "")),
                false => late.push((at, probe)),
            }
        }
        sim.pass(Duration::from_millis(100));
        let at = sim.now.instant + Duration::from_secs(5);
        late.extend(sim.sent_to(GLOBEX).into_iter().map(|probe| (at, probe)));
        for probe in sim.sent_to(GLOBEX_2) {
            sim.receive(GLOBEX_2, &response(&probe, "200 OK", "p", ""));
        }
    }
    assert_eq!((sim.state_of(GLOBEX), sim.state_of(GLOBEX_2)), (EndpointState::Down, EndpointState::Up));
}

#[test]
fn any_answer_but_408_and_503_says_that_an_endpoint_is_there_and_by_policy_no_5xx_does() {
    for (status, server_errors, state) in [
        ("404 Not Found", false, EndpointState::Up),
        ("405 Method Not Allowed", false, EndpointState::Up),
        ("500 Broken", false, EndpointState::Up),
        ("500 Broken", true, EndpointState::Down),
        ("408 Timeout", false, EndpointState::Down),
        ("503 Full", false, EndpointState::Down),
    ] {
        let mut sim = Simulation::watching(ProbePolicy { server_errors, ..policy() }, 1);
        sim.live(Duration::from_secs(30), |_| Some(status));
        assert_eq!(sim.state_of(GLOBEX), state, "{status}");
    }
}

#[test]
fn an_answer_from_elsewhere_is_none() {
    let mut sim = Simulation::watching(policy(), 1);
    for _ in 0..400 {
        sim.pass(Duration::from_millis(100));
        for probe in sim.sent_to(GLOBEX) {
            sim.receive(GLOBEX_2, &response(&probe, "200 OK", "p", ""));
        }
        for probe in sim.sent_to(GLOBEX_2) {
            sim.receive(STRANGER, &response(&probe, "200 OK", "p", ""));
        }
    }
    assert_eq!((sim.state_of(GLOBEX), sim.state_of(GLOBEX_2)), (EndpointState::Down, EndpointState::Down));
}

#[test]
fn calls_that_get_through_take_the_place_of_probes() {
    let mut sim = Simulation::watching(policy(), 1);
    sim.call_goes_to("+442079460000");
    let mut probes = 0;
    for _ in 0..60 {
        probes += sim.live(Duration::from_secs(1), |to| {
            assert_ne!(to, GLOBEX, "calls show that it is there");
            OK
        });
        sim.call_goes_to("+442079460000");
    }
    assert!((4..=7).contains(&probes), "{probes} probes of the one without calls");
}

#[test]
fn nobody_is_probed_by_a_draining_node_nor_for_a_member_that_is_not_approved_nor_where_it_is_disabled() {
    let mut sim = Simulation::watching(policy(), 1);
    sim.worker.draining = true;
    assert_eq!(sim.live(Duration::from_secs(100), |_| OK), 0);
    sim.worker.draining = false;
    let mut facts = facts_with(policy());
    facts.position = 2;
    facts.endpoints[1].enabled = false;
    sim.change(facts.clone());
    let probed = sim.live(Duration::from_secs(100), |to| {
        assert_eq!(to, GLOBEX_2);
        OK
    });
    assert!((9..=12).contains(&probed), "{probed}");
    facts.members[1].state = MemberState::Suspended;
    sim.change(facts);
    assert_eq!(sim.live(Duration::from_secs(100), |_| OK), 0);
    sim.expect_nothing_left();
}

#[test]
fn an_endpoint_that_moved_is_watched_anew() {
    let mut sim = Simulation::watching(policy(), 1);
    sim.live_until(EndpointState::Down, GLOBEX, first_is_dead);
    let mut facts = facts_with(policy());
    facts.endpoints[1].target = "sip:192.0.2.9:5060".parse().unwrap();
    sim.change(facts);
    assert_eq!(sim.state_of(GLOBEX), EndpointState::Unknown);
    let mut probed = std::collections::BTreeSet::new();
    sim.live(Duration::from_secs(30), |to| {
        probed.insert(to.to_owned());
        OK
    });
    assert_eq!(probed.into_iter().collect::<Vec<_>>(), [GLOBEX_2, "192.0.2.9:5060"]);
    assert_eq!(sim.state_of(GLOBEX), EndpointState::Up);
}

#[test]
fn every_worker_of_the_node_goes_by_what_any_of_them_has_seen() {
    let mut sim = Simulation::watching(ProbePolicy { enabled: false, ..policy() }, 4);
    for n in 0..4 {
        sim.receiver = n % 4;
        sim.call_refused("503 Full", "");
        sim.live(Duration::from_secs(2), |_| None);
    }
    assert_eq!(sim.state_of(GLOBEX), EndpointState::Down);
    for n in 0..40 {
        sim.receiver = n % 4;
        assert_eq!(sim.call_goes_to(&format!("+44207946{n:04}")), [GLOBEX_2], "{n}");
    }
}

#[test]
fn a_thousand_endpoints_are_probed_spread_over_the_interval_and_never_too_many_at_once() {
    let mut sim = Simulation::with_workers(1);
    let mut facts = facts_with(ProbePolicy { enabled: false, ..policy() });
    for n in 0..1_000 {
        let mut more = endpoint(1_000 + n, 2, &format!("10.0.{}.{}:5060", n / 250, n % 250 + 1), 1, None);
        more.policy = watched_by(ProbePolicy { interval_s: 1, timeout_ms: 5_000, ..ProbePolicy::default() });
        facts.announcements[0].endpoints.push(more.endpoint_id);
        facts.endpoints.push(more);
    }
    sim.change(facts);
    let mut most = 0;
    for _ in 0..100 {
        sim.live(Duration::from_millis(100), |_| None);
        most = most.max(sim.worker.watch.as_ref().unwrap().probes);
    }
    assert_eq!(most, 256);
    // Each has had its turn.
    sim.live(Duration::from_secs(200), |_| None);
    let watch = sim.worker.watch.as_ref().unwrap();
    let down = watch.of.values().filter(|it| it.health.state().shown() == EndpointState::Down).count();
    assert_eq!(down, 1_000);
}

#[test]
fn who_only_sends_is_not_probed_until_an_announcement_names_it() {
    let mut facts = facts_with(policy());
    facts.endpoints[0].policy = watched_by(policy());
    let mut sim = Simulation::watching(policy(), 1);
    sim.change(facts.clone());
    let probed_within_a_minute = |sim: &mut Simulation| {
        let mut is_probed = false;
        sim.live(Duration::from_secs(60), |to| {
            is_probed |= to == ACME;
            OK
        });
        is_probed
    };
    assert!(!probed_within_a_minute(&mut sim));
    facts.announcements.push(Announcement {
        announcement_id: id::<AnnouncementId>(42),
        member_id: id(1),
        prefix: "+49".parse().unwrap(),
        endpoints: vec![id::<EndpointId>(11)],
        ..facts.announcements[0].clone()
    });
    sim.change(facts.clone());
    assert!(probed_within_a_minute(&mut sim));
    facts.announcements.pop();
    sim.change(facts);
    assert!(!probed_within_a_minute(&mut sim));
}

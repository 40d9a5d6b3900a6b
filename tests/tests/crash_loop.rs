//! `kill -9` of the hub again and again, at random moments under load: no answered call is without its CDR, none
//! has two, and the calls that are up go on.
//!
//! `CRASH_KILLS` says how often, `CRASH_SEED` from which seed; it is printed.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use tandem_tests::{
    Endpoint, Exchange, Hub, Plan, Socket, Switch, Traffic, long, now, peer_address, told, until,
};

/// Calls a second.
const RATE: u32 = 100;

/// How long a call is up: at length, 500 of them are at once.
fn hold() -> Duration {
    tandem_tests::lasting(3, 5)
}

/// How far the end of a call may be off in its CDR, unless it is marked as estimated.
const END_OFF_BY: Duration = Duration::from_secs(1);

/// Spreads a seed (SplitMix64).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Longest that a member may be without the hub at a crash. A program that is not optimised takes longer.
fn serving_again_within() -> Duration {
    if long() { Duration::from_secs(2) } else { Duration::from_secs(5) }
}

#[test]
fn a_hub_that_is_killed_again_and_again_loses_no_answered_call_and_doubles_none() {
    let kills = told("CRASH_KILLS").map(|count| count as u32).unwrap_or(if long() { 200 } else { 3 });
    let seed = told("CRASH_SEED").unwrap_or(1.0) as u64;
    let mut state = seed;
    let (caller, called, pinging) =
        (Switch::at(peer_address()), Switch::at(peer_address()), Socket::at(peer_address()));
    let gateways = [Endpoint::new("globex-1", called.address().ip(), &called.target())];
    let senders = [
        Endpoint::sender("acme-1", caller.address().ip()),
        Endpoint::sender("acme-2", pinging.address().ip()),
    ];
    let exchange = Exchange::default()
        .member("acme", &senders, &[])
        .member("globex", &gateways, &["+44207946"])
        .agreement("acme", "globex");
    let mut hub = Hub::start(&exchange);
    let before = hub.at_rest();
    let plan =
        Plan { reinvites: true, ring: Duration::from_millis(100), ..Plan::new(RATE, u32::MAX, hold()) };
    let traffic = Traffic::start(&plan, hub.sip, caller, called);
    let mut away = Vec::new();
    let mut killed_at = Vec::new();
    for kill in 0..kills {
        // A random moment between 0.4 s and 2.4 s after the hub is back: not waiting for a condition.
        std::thread::sleep(Duration::from_millis(400 + random(&mut state) % 2_000));
        let moment = now();
        hub.kill();
        killed_at.push(moment);
        hub.begin_again();
        let serving =
            until(&format!("the hub after kill {kill} of seed {seed}"), Duration::from_secs(30), || {
                let options = pinging.request("OPTIONS", hub.sip, "ping");
                pinging.send(hub.sip, options.as_bytes());
                let answer = pinging.receive(Duration::from_millis(20))?;
                answer.starts_with("SIP/2.0 200").then(|| moment.elapsed())
            });
        away.push(serving);
        while pinging.receive(Duration::from_millis(1)).is_some() {}
        hub.wait_until_ready();
    }
    traffic.place_no_more();
    let tally = traffic.finish(hold() + Duration::from_secs(60));
    // Both sides have ended all that they had.
    let forgotten = hub.metrics().sum("tandem_active_calls", &[]);

    // Every call that was answered for either side has its one CDR.
    let answered = tally.answered();
    let cdrs = hub.wait_for_quiet_cdrs(answered, tandem_tests::lasting(6, 20));
    let mut by_number: HashMap<u32, Vec<&Value>> = HashMap::new();
    for cdr in &cdrs {
        let calling = cdr["calling"].as_str().unwrap_or("");
        let number = calling.strip_prefix("+88201").and_then(|digits| digits.parse().ok());
        by_number.entry(number.unwrap_or(0)).or_default().push(cdr);
    }
    let (mut without, mut doubled, mut not_answered, mut off, mut still_up) =
        (vec![], vec![], vec![], vec![], vec![]);
    let mut faults = Vec::new();
    let (mut lost_in_setup, mut reinvites_cut_off) = (0, 0);
    let (mut stale, mut one_sided) = (0, vec![]);
    for (&number, seen) in &tally.calling {
        let other = tally.called.get(&number);
        let records = by_number.get(&number).map_or(&[][..], |records| &records[..]);
        let answers =
            records.iter().filter(|cdr| cdr["outcome"] == "answered" || cdr["ended_at"].is_null()).count();
        if seen.up.is_some() || other.is_some_and(|other| other.acknowledged) {
            match answers {
                0 if records.is_empty() => without.push(number),
                0 => not_answered.push(number),
                1 => {}
                _ => doubled.push(number),
            }
            let cdr = records.first().copied().unwrap_or(&Value::Null);
            if seen.up.is_none() || !other.is_some_and(|other| other.acknowledged) {
                one_sided.push(number);
            }
            if cdr["ended_at"].is_null() {
                still_up.push(number);
            }
            if seen.up.is_some() && other.is_some_and(|other| other.acknowledged) {
                // A re-INVITE that had its 100 at the kill is not sent again, and nobody is left to answer it.
                let asked = [Some(seen), other].into_iter().flatten().filter_map(|seen| seen.reinvite_began);
                let cut_off = asked.into_iter().any(|began| {
                    killed_at.iter().any(|kill| *kill >= began && *kill - began < Duration::from_secs(1))
                });
                let of_call = tally.faults_of(number);
                let (cut, left): (Vec<_>, Vec<_>) =
                    of_call.into_iter().partition(|fault| cut_off && fault.contains("re-INVITE"));
                reinvites_cut_off += cut.len();
                faults.extend(left);
                // The call ended between its first BYE and the answer to the last one.
                let began = [Some(seen), other].into_iter().flatten().filter_map(|seen| seen.bye_began).min();
                let over = [Some(seen), other].into_iter().flatten().filter_map(|seen| seen.over).max();
                if let (Some(up), Some(began), Some(over), Some(duration)) =
                    (seen.up, began, over, cdr["duration_ms"].as_u64())
                {
                    let (least, most) = (began - up, over - up);
                    let duration = Duration::from_millis(duration);
                    // An answer that a kill kept from the caller is sent after it, and counts from before it.
                    let placed = seen.began.unwrap_or(up);
                    let kept = killed_at.iter().zip(&away).find(|(kill, _)| (placed..up).contains(*kill));
                    let most = most + kept.map_or(Duration::ZERO, |(_, away)| *away);
                    let by = least.saturating_sub(duration).max(duration.saturating_sub(most));
                    if by > END_OFF_BY && cdr["reason"] != "node_stopped" {
                        off.push((number, by));
                    }
                }
            }
        } else {
            lost_in_setup += 1;
        }
        stale += seen.stale_cseq + other.map_or(0, |other| other.stale_cseq);
    }
    let placed = tally.calling.len();
    away.sort_unstable();
    #[expect(clippy::print_stderr, reason = "the figures are part of the result")]
    {
        eprintln!(
            "crash loop: seed {seed}, {kills} kills, {placed} calls placed, {answered} answered, {lost_in_setup} cut off \
             while being set up; CDRs {}, without {without:?}, doubled {doubled:?}, not as answered {not_answered:?}, \
             still up {still_up:?}, had by one side {one_sided:?}, forgotten {forgotten}, end off {off:?}; re-INVITEs cut off \
             {reinvites_cut_off}, other in-dialog faults {} {:?}; stale CSeq {stale}; serving again after \
             {:?} at the median, {:?} at most",
            cdrs.len(),
            faults.len(),
            faults.iter().take(8).collect::<Vec<_>>(),
            away[away.len() / 2],
            away[away.len() - 1],
        );
    }
    assert!(without.is_empty(), "answered calls without a CDR: {without:?}");
    assert!(doubled.is_empty(), "answered calls with two CDRs: {doubled:?}");
    assert!(not_answered.is_empty(), "answered calls whose CDR says otherwise: {not_answered:?}");
    assert!(off.is_empty(), "ends that are off: {off:?}");
    assert!(still_up.is_empty(), "calls that never end: {still_up:?}");
    assert!(faults.len() * 1_000 <= answered, "{} of {answered} calls: {faults:?}", faults.len());
    assert!(away[away.len() - 1] <= serving_again_within(), "{away:?}");
    assert!(one_sided.is_empty(), "calls that one side only had: {one_sided:?}");
    assert!(forgotten == 0.0, "{forgotten} calls are up that nobody knows");
    hub.wait_until_as(&before, Duration::from_secs(40));
}

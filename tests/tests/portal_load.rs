//! The portal is asked for more than it can do: calls go on as before, and whoever asks gets an answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tandem_tests::{CALLED, Endpoint, Exchange, Hub, Plan, Switch, Traffic, long, peer_address};

/// Clients that ask without a pause.
const CLIENTS: usize = 64;

/// Calls a second.
const RATE: u32 = 20;

#[expect(clippy::print_stderr, reason = "the figures are the result")]
#[test]
fn calls_go_well_while_the_portal_is_flooded_with_requests() {
    let seconds = if long() { 60 } else { 4 };
    let sides: Vec<_> = (0..2).map(|_| (Switch::at(peer_address()), Switch::at(peer_address()))).collect();
    let callers: Vec<Endpoint> = (1..)
        .zip(&sides)
        .map(|(n, (caller, _))| Endpoint::sender(&format!("acme-{n}"), caller.address().ip()))
        .collect();
    let mut exchange = Exchange::default().member("acme", &callers, &[]);
    let numbers = ["+442079460001", "+442079460002"];
    for ((name, number), (_, called)) in ["globex", "umbrella"].into_iter().zip(numbers).zip(&sides) {
        let gateway = Endpoint::new(&format!("{name}-1"), called.address().ip(), &called.target());
        exchange = exchange.member(name, &[gateway], &[number]).agreement("acme", name);
    }
    let hub = Hub::start(&exchange);
    let mut traffic = numbers.into_iter().zip(sides).map(|(number, (caller, called))| {
        let plan =
            Plan { called: number.to_owned(), ..Plan::new(RATE, RATE * seconds, Duration::from_secs(1)) };
        Traffic::start(&plan, hub.sip, caller, called)
    });
    let quiet = traffic.next().expect("there are two").finish(Duration::from_secs(120));
    quiet.assert_all_went_well(RATE * seconds);

    let acme = hub.api.member_id("acme");
    let paths = [
        "/members".to_owned(),
        format!("/members/{acme}/calls"),
        format!("/members/{acme}/endpoints"),
        format!("/members/{acme}/lookup?called=%2B{}", CALLED.trim_start_matches('+')),
    ];
    let asking = AtomicBool::new(true);
    let (flooded, answers) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (api, paths, asking) = (&hub.api, &paths, &asking);
                scope.spawn(move || {
                    let mut answers: BTreeMap<u16, u32> = BTreeMap::new();
                    for n in client.. {
                        if !asking.load(Ordering::Relaxed) {
                            break;
                        }
                        *answers.entry(api.get(&paths[n % paths.len()]).status).or_default() += 1;
                    }
                    answers
                })
            })
            .collect();
        let tally = traffic.next().expect("there are two").finish(Duration::from_secs(120));
        asking.store(false, Ordering::Relaxed);
        let mut answers: BTreeMap<u16, u32> = BTreeMap::new();
        for client in clients {
            for (status, count) in client.join().expect("a client does not panic") {
                *answers.entry(status).or_default() += count;
            }
        }
        (tally, answers)
    });
    flooded.assert_all_went_well(RATE * seconds);
    eprintln!(
        "portal load: {CLIENTS} clients were answered {answers:?}; set-up p99 {:?} before, {:?} meanwhile",
        quiet.setup().1,
        flooded.setup().1
    );
    assert!(answers.keys().all(|status| matches!(status, 200 | 429 | 503)), "{answers:?}");
    assert!(answers.get(&200).is_some_and(|served| *served > 0), "{answers:?}");
}

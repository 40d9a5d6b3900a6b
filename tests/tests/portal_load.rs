//! The portal is asked for more than it can do: calls go on as before, and whoever asks gets an answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tandem_tests::{CALLED, Endpoint, Exchange, Hub, Plan, Switch, Traffic, long, peer_address};

/// Clients that ask without a pause, and those that follow what a member reaches; the many of a long run.
const CLIENTS: [usize; 2] = [64, 200];
const FOLLOWERS: [usize; 2] = [12, 200];

/// Octets of an upload that is larger than any that the portal takes, sent again and again.
const UPLOAD: [usize; 2] = [10_000_000, 100_000_000];

/// Calls a second.
const RATE: u32 = 20;

#[expect(clippy::print_stderr, reason = "the figures are the result")]
#[test]
fn calls_go_well_while_the_portal_is_flooded_with_requests() {
    let seconds = if long() { 60 } else { 4 };
    let [clients, followers, upload] = [CLIENTS, FOLLOWERS, UPLOAD].map(|many| many[usize::from(long())]);
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
    let goes_on = || asking.load(Ordering::Relaxed);
    let (flooded, answers, followed, uploads) = thread::scope(|scope| {
        let (api, paths, goes_on, acme) = (&hub.api, &paths, &goes_on, &acme);
        let start = |n: usize| {
            scope.spawn(move || {
                let mut answers: BTreeMap<u16, u32> = BTreeMap::new();
                for n in (n..).take_while(|_| goes_on()) {
                    *answers.entry(api.get(&paths[n % paths.len()]).status).or_default() += 1;
                }
                answers
            })
        };
        let asking_clients: Vec<_> = (0..clients).map(start).collect();
        let follow = |_| scope.spawn(move || api.follow(&format!("/members/{acme}/reachability"), goes_on));
        let following: Vec<_> = (0..followers).map(follow).collect();
        let uploading = scope.spawn(move || {
            let path = format!("/members/{acme}/announcements/bulk");
            let body = format!("prefix,endpoints\n{}", "+4420,acme-1\n".repeat(upload / 13));
            let mut statuses = BTreeMap::new();
            while goes_on() {
                *statuses.entry(api.upload(&path, body.clone())).or_default() += 1;
            }
            statuses
        });
        let tally = traffic.next().expect("there are two").finish(Duration::from_secs(120));
        asking.store(false, Ordering::Relaxed);
        let mut answers: BTreeMap<u16, u32> = BTreeMap::new();
        for client in asking_clients {
            for (status, count) in client.join().expect("a client does not panic") {
                *answers.entry(status).or_default() += count;
            }
        }
        let mut followed: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for follower in following {
            let (status, octets) = follower.join().expect("a follower does not panic");
            followed.entry(status).or_default().push(octets);
        }
        let uploads: BTreeMap<Option<u16>, u32> = uploading.join().expect("it does not panic");
        (tally, answers, followed, uploads)
    });
    flooded.assert_all_went_well(RATE * seconds);
    eprintln!(
        "portal load: {clients} clients were answered {answers:?}, {followers} followers {:?}, uploads of {upload} \
         octets {uploads:?}; set-up p99 {:?} before, {:?} meanwhile",
        followed.iter().map(|(status, octets)| (status, octets.len())).collect::<Vec<_>>(),
        quiet.setup().1,
        flooded.setup().1
    );
    assert!(answers.keys().all(|status| matches!(status, 200 | 429 | 503)), "{answers:?}");
    assert!(answers.get(&200).is_some_and(|served| *served > 0), "{answers:?}");
    assert!(followed.keys().all(|status| matches!(status, 200 | 429 | 503)), "{followed:?}");
    assert!(followed.get(&200).is_some_and(|sets| sets.iter().all(|octets| *octets > 0)), "{followed:?}");
    assert!(uploads.keys().flatten().all(|status| matches!(status, 413 | 429 | 503)), "{uploads:?}");
}

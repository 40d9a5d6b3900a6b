//! A hub with several workers: every message finds the worker that has its call, whichever received it, also
//! after a crash and with another number of workers.

use std::time::Duration;

use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{Endpoint, Exchange, Hub, Plan, Settings, Sipp, Switch, Traffic, peer_address, until};

/// Called numbers, so many that every worker has some.
const NUMBERS: [&str; 6] =
    ["+442079460001", "+442079460002", "+442079460003", "+442079460004", "+442079460005", "+442079460006"];

/// Calls to each number.
const CALLS: u32 = 40;

const RATE: u32 = 20;

#[test]
fn calls_outlive_a_crash_after_which_there_are_fewer_workers_and_then_one() {
    let sides: Vec<_> =
        NUMBERS.iter().map(|_| (Switch::at(peer_address()), Switch::at(peer_address()))).collect();
    let mut exchange = Exchange::default();
    let callers: Vec<Endpoint> = (1..)
        .zip(&sides)
        .map(|(n, (caller, _))| Endpoint::sender(&format!("acme-{n}"), caller.address().ip()))
        .collect();
    exchange = exchange.member("acme", &callers, &[]);
    for (n, (_, called)) in (1..).zip(&sides) {
        let name = format!("globex{n}");
        let gateway = Endpoint::new(&format!("{name}-1"), called.address().ip(), &called.target());
        exchange = exchange.member(&name, &[gateway], &[NUMBERS[n - 1]]).agreement("acme", &name);
    }
    let mut hub = Hub::with(&Settings { workers: 4, ..Settings::default() }, &exchange);
    let before = hub.at_rest();
    let begin = |first: u32, sides: Vec<(Switch, Switch)>| -> Vec<Traffic> {
        let traffic = NUMBERS.iter().zip(sides).zip(first..).map(|((number, (caller, called)), n)| {
            let plan = Plan {
                reinvites: true,
                calling: format!("+8820{n}"),
                called: (*number).to_owned(),
                ..Plan::new(RATE, CALLS, Duration::from_secs(20))
            };
            Traffic::start(&plan, hub.sip, caller, called)
        });
        traffic.collect()
    };
    let all = NUMBERS.len() as u32 * CALLS;
    let traffic = begin(1, sides);
    let up = |hub: &Hub| hub.metrics().sum("tandem_active_calls", &[]);
    // A call that rings when the hub is killed is not up afterwards.
    until("every call to be answered", Duration::from_secs(20), || {
        (traffic.iter().map(Traffic::answered).sum::<u32>() == all).then_some(())
    });
    for workers in [2, 1] {
        hub.kill();
        hub.set_workers(workers);
        hub.start_again();
        assert_eq!(up(&hub), f64::from(all), "calls that {workers} workers know after the crash");
    }
    for one in traffic {
        one.finish(Duration::from_secs(60)).assert_all_went_well(CALLS);
    }
    let cdrs = hub.wait_for_cdrs(all as usize, Duration::from_secs(30));
    assert!(cdrs.iter().all(|cdr| cdr["outcome"] == "answered" && cdr["ended_by"] != "hub"));
    hub.wait_until_as(&before, Duration::from_secs(60));
}

#[test]
fn streams_and_datagrams_reach_every_worker() {
    let steps = [gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES];
    let called = Sipp::takes_calls(peer_address(), Transport::Tcp, &steps);
    let address = peer_address();
    let gateway = Endpoint::new("globex-1", called.address.ip(), &called.target(Transport::Tcp));
    let exchange = Exchange::default()
        .member("acme", &[Endpoint::sender("acme-1", address)], &[])
        .member("globex", &[gateway], &["+44207946"])
        .agreement("acme", "globex");
    let hub = Hub::with(&Settings { workers: 3, ..Settings::default() }, &exchange);
    let mut expected = 0;
    for (transport, number) in
        [Transport::Udp, Transport::Tcp].into_iter().flat_map(|t| NUMBERS.map(|n| (t, n)))
    {
        let load = Load { rate: 20, calls: 10, hold: Duration::from_millis(200) };
        let calling = Sipp::calls(
            address,
            hub.sip,
            transport,
            &[caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE],
            load,
            Numbers { calling: "+88201", called: number },
        );
        calling.finish(Duration::from_secs(30)).assert_all_went_well(10);
        expected += 10;
    }
    let cdrs = hub.wait_for_cdrs(expected, Duration::from_secs(30));
    assert!(cdrs.iter().all(|cdr| cdr["outcome"] == "answered"));
    assert_eq!(hub.metrics().sum("tandem_handover_errors_total", &[]), 0.0);
}

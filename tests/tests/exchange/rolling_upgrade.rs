//! Two nodes are upgraded in turn while calls are placed: each call goes well at one of them.

use std::time::Duration;

use tandem_tests::{Cluster, Endpoint, Exchange, Hub, Plan, Settings, Switch, Traffic, peer_address, until};

/// Calls a second at each node.
const RATE: u32 = 20;

const HOLD: Duration = Duration::from_millis(1_500);

#[test]
fn no_call_fails_while_two_nodes_are_stopped_and_started_in_turn() {
    let cluster = Cluster::start();
    // For each node: the calls that go to it, and those that it does not take.
    let sides: Vec<_> = (0..4).map(|_| (Switch::at(peer_address()), Switch::at(peer_address()))).collect();
    let callers: Vec<Endpoint> = (1..)
        .zip(&sides)
        .map(|(n, (caller, _))| Endpoint::sender(&format!("acme-{n}"), caller.address().ip()))
        .collect();
    let mut exchange = Exchange::default().member("acme", &callers, &[]);
    let number = |n: usize| format!("+44207946000{n}");
    for (n, (_, called)) in sides.iter().enumerate() {
        let name = format!("globex{n}");
        let gateway = Endpoint::new(&format!("{name}-1"), called.address().ip(), &called.target());
        exchange = exchange.member(&name, &[gateway], &[&number(n)]).agreement("acme", &name);
    }
    let mut nodes = ["first", "second"].map(|node| {
        let database_url = Some(cluster.url());
        Hub::with(&Settings { node, database_url, drain_s: 20, ..Settings::default() }, &exchange)
    });
    // In the order in which they are placed.
    let (mut sides, mut n) = (sides.into_iter(), 0..);
    let mut place = |calls: u32, node: &Hub| {
        let (caller, called) = sides.next().expect("there are two for each node");
        let n = n.next().expect("numbers do not end");
        let plan = Plan { called: number(n), calling: format!("+8820{n}"), ..Plan::new(RATE, calls, HOLD) };
        Traffic::start(&plan, node.sip, caller, called)
    };
    let mut taken = 0;
    for n in 0..nodes.len() {
        let calls = 10 * RATE;
        let traffic = place(calls, &nodes[n]);
        until("calls to be under way", Duration::from_secs(10), || {
            (traffic.placed() >= 2 * RATE).then_some(())
        });
        nodes[n].terminate();
        until("calls to be refused", Duration::from_secs(10), || {
            (traffic.placed() >= 3 * RATE).then_some(())
        });
        traffic.place_no_more();
        let tally = traffic.finish(Duration::from_secs(30));
        let (mut refused, mut good) = (0, 0);
        for (&number, seen) in &tally.calling {
            match seen.status {
                Some(503) => refused += 1,
                _ => {
                    assert_eq!(tally.faults_of(number), Vec::<String>::new());
                    good += 1;
                }
            }
        }
        assert!(refused > 0 && good >= 2 * RATE, "{refused} refused, {good} went well");
        // What one node does not take, the member sends to the other.
        let other = 1 - n;
        place(refused, &nodes[other]).finish(Duration::from_secs(30)).assert_all_went_well(refused);
        assert!(nodes[n].wait_for_end(Duration::from_secs(30)).success());
        nodes[n].start_again();
        taken += good + refused;
    }
    let answered = "select count(*) from call where outcome = 'answered' and ended_by <> 'hub'";
    until("every CDR", Duration::from_secs(30), || {
        (cluster.query(answered) == taken.to_string()).then_some(())
    });
    assert_eq!(cluster.query("select count(*) from call"), taken.to_string());
}

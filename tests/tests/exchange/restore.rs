//! Postgres is restored to an earlier state: the nodes go by what it says then, and lose or double no CDR that is theirs.

use std::time::Duration;

use serde_json::json;
use tandem_tests::{Cluster, Endpoint, Exchange, Hub, Settings, Socket, until};

const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn a_node_goes_by_a_database_that_was_restored_even_where_it_has_come_as_far_again() {
    let (caller, called) = (Socket::new(), Socket::new());
    let target = format!("sip:{};transport=udp", called.address());
    let cluster = Cluster::start();
    let exchange = Exchange::default()
        .member("acme", &[Endpoint::sender("acme-1", caller.address().ip())], &[])
        .member("globex", &[Endpoint::new("globex-1", called.address().ip(), &target)], &[])
        .range("+44207946", "valid")
        .agreement("acme", "globex");
    let hub = Hub::with(&Settings { database_url: Some(cluster.url()), ..Settings::default() }, &exchange);
    let globex = hub.api.member_id("globex");
    let announce = |prefix: &str| {
        let body = json!({ "prefix": prefix, "endpoints": ["globex-1"] });
        hub.api.post(&format!("/members/{globex}/announcements"), &body).good();
        hub.wait_until_current();
    };
    let routed = |number: &str| caller.would_be_routed(hub.sip, number);
    let cdrs = || {
        cluster
            .query("select count(*) from call where ended_at is not null")
            .parse::<usize>()
            .expect("a number")
    };
    let wait_for_cdrs = |count: usize| until("the CDRs", DEADLINE, || (cdrs() == count).then_some(()));

    announce("+442079460");
    assert_eq!([routed("+442079460001"), routed("+442079461001")], [true, false]);
    wait_for_cdrs(2);
    let backup = cluster.back_up();
    announce("+442079461");
    announce("+442079462");
    assert_eq!([routed("+442079461001"), routed("+442079462001")], [true, true]);
    wait_for_cdrs(4);
    let version = hub.metrics().sum("tandem_route_table_version", &[]);

    // While Postgres is away calls are routed by what the node knows, the last changes with it.
    cluster.stop();
    assert_eq!([routed("+442079461001"), routed("+442079469001")], [true, false]);
    // Two changes that nobody made before: the feed is as far as the node knows it, and is another one.
    let insert = |prefix: &str| {
        format!(
            "insert into announcement (member_id, prefix, valid_during, endpoint_ids)
             select member_id, '{prefix}', tstzrange(now(), null)
                  , array(select endpoint_id from endpoint where endpoint.member_id = member.member_id order by endpoint_id)
               from member where name = 'globex'"
        )
    };
    cluster.restore(&backup, &[&insert("442079468"), &insert("442079469")]);
    cluster.start_again();
    let position: f64 = cluster.query("select position from feed_head").parse().expect("a number");
    assert!((position - version).abs() < 0.5, "the feed is as far as it was: {position} and {version}");
    until("what was restored to be routed by", DEADLINE, || routed("+442079469001").then_some(()));
    assert_eq!(
        [routed("+442079460001"), routed("+442079461001"), routed("+442079462001")],
        [true, false, false]
    );
    // A node says by which link it goes once a second.
    let link = cluster.query("select encode(chain, 'hex') from feed_head");
    until("the node to say that it goes by it", DEADLINE, || {
        (hub.api.get("/nodes").good()["items"][0]["table_chain"] == link.as_str()).then_some(())
    });

    // Of the calls those are there that the backup has and those that had not reached the database: each once.
    until("the calls of the outage", DEADLINE, || {
        let outage = "select count(*) from call where called in ('442079461001') and ended_at is not null";
        (cluster.query(outage) == "3").then_some(())
    });
    assert_eq!(cluster.query("select count(*) - count(distinct call_id) from call"), "0");
    assert_eq!(
        cluster.query("select count(*) from call where called = '442079460001' and ended_at is not null"),
        "2"
    );
}

//! A node that is started while Postgres is away routes by the table that it saved, and says so; without one it refuses every call.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use tandem_tests::{CALLED, Cluster, Endpoint, Exchange, Hub, Settings, Socket, now, until};

/// From the start of the program to the first call that is routed.
const SERVES_WITHIN: Duration = Duration::from_secs(2);

#[test]
fn a_node_serves_from_its_saved_table_within_two_seconds_or_says_that_it_has_none() {
    let (caller, called) = (Socket::new(), Socket::new());
    let target = format!("sip:{};transport=udp", called.address());
    let cluster = Cluster::start();
    let gateways = [Endpoint::new("globex-1", called.address().ip(), &target)];
    let exchange = Exchange::of_two(caller.address().ip(), &gateways);
    let mut hub =
        Hub::with(&Settings { database_url: Some(cluster.url()), ..Settings::default() }, &exchange);
    let saved = hub.data_dir().join("routes.json");
    let version = hub.metrics().sum("tandem_route_table_version", &[]);
    until("the table to be saved", Duration::from_secs(60), || {
        let table: Value = serde_json::from_str(&fs::read_to_string(&saved).ok()?).ok()?;
        (table["position"].as_f64() == Some(version)).then_some(())
    });
    hub.kill();
    cluster.stop();

    hub.begin_again();
    let since = now();
    // Nobody answers before the program listens.
    until("a call to be routed", Duration::from_secs(20), || {
        let invite = caller.invite(hub.sip, CALLED);
        caller.send(hub.sip, invite.as_bytes());
        called.receive(Duration::from_millis(50)).filter(|it| it.starts_with("INVITE")).map(drop)
    });
    let took = since.elapsed();
    assert!(took < SERVES_WITHIN, "it took {took:?}");
    // The first asking may find a connection to the program that was killed.
    let page = format!("http://{}/readyz", hub.portal);
    let (status, ready) = until("the portal to answer", Duration::from_secs(10), || hub.api.page(&page));
    assert!(
        status == 503
            && ready.contains("it does not answer")
            && ready.contains(&format!("its version is {version}")),
        "{ready}"
    );
    assert!(hub.logged().contains("routing by the saved table until the database has answered"));
    let metrics = hub.metrics();
    assert!((metrics.sum("tandem_route_table_version", &[]) - version).abs() < 0.5);
    until("the metric to say how old it is", Duration::from_secs(10), || {
        (hub.metrics().sum("tandem_feed_lag_seconds", &[]) > 1.0).then_some(())
    });

    // Without one it knows nobody, and says to whoever calls that it is not ready.
    hub.kill();
    fs::remove_file(&saved).expect("it is there");
    hub.begin_again();
    let refused = until("the node to answer", Duration::from_secs(20), || {
        let invite = caller.invite(hub.sip, CALLED);
        caller.send(hub.sip, invite.as_bytes());
        std::iter::from_fn(|| caller.receive(Duration::from_millis(50))).find(|it| it.contains("not_ready"))
    });
    assert!(refused.starts_with("SIP/2.0 503"), "{refused}");
}

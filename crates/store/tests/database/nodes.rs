//! Nodes and listeners: what they last said, and how far a change has come.

use chrono::TimeDelta;
use tandem_model::{NodeId, Transport};
use tandem_store::listener;
use tandem_store::node::{self, NodeReport, NodeState, Rollout};
use tandem_testkit::Database;

use crate::support::{id, start};

fn report(number: u128, table_version: u64) -> NodeReport {
    NodeReport {
        node_id: NodeId(id(number)),
        name: format!("node-{number}"),
        started_at: start(),
        seen_at: start(),
        state: NodeState::Serving,
        table_version,
        table_hash: "abc".to_owned(),
        table_chain: String::new(),
        active_calls: 3,
        journal_backlog: 0,
        ported_numbers: None,
        ported_serial: None,
        ported_fault: None,
    }
}

#[tokio::test]
async fn a_change_is_live_on_the_nodes_that_run_its_version_and_have_been_seen() {
    let database = Database::new().await;
    let db = database.pool();
    let stopped = NodeReport { state: NodeState::Stopped, ..report(3, 9) };
    let lost = NodeReport { seen_at: start() - TimeDelta::minutes(5), ..report(4, 9) };
    for report in [report(1, 7), report(2, 8), stopped, lost] {
        node::report(db, &report).await.unwrap();
        node::report(db, &report).await.unwrap();
    }
    assert_eq!(node::rollout(db, 8, start()).await.unwrap(), Rollout { live_on: 1, nodes: 2 });
    assert_eq!(node::rollout(db, 7, start()).await.unwrap(), Rollout { live_on: 2, nodes: 2 });
    assert_eq!(node::list(db).await.unwrap()[0], report(1, 7));
}

#[tokio::test]
async fn a_node_that_lost_its_data_directory_takes_its_name_along() {
    let database = Database::new().await;
    let db = database.pool();
    node::report(db, &report(1, 7)).await.unwrap();
    let reborn = NodeReport { node_id: NodeId(id(99)), ..report(1, 8) };
    node::report(db, &reborn).await.unwrap();
    assert_eq!(node::list(db).await.unwrap(), [reborn]);
}

#[tokio::test]
async fn a_listener_is_registered_once_and_moves_with_its_site() {
    let database = Database::new().await;
    let db = database.pool();
    let listeners = [
        ("192.0.2.10:5060".parse().unwrap(), Transport::Udp),
        ("192.0.2.10:5060".parse().unwrap(), Transport::Tcp),
        ("[2001:db8::10]:5060".parse().unwrap(), Transport::Udp),
    ];
    listener::register(db, "ams", &listeners).await.unwrap();
    listener::register(db, "ams", &listeners).await.unwrap();
    let listed = listener::list(db).await.unwrap();
    assert_eq!(listed.len(), 3);
    assert!(listeners.iter().all(|&(address, transport)| {
        listed.iter().any(|it| it.address == address && it.transport == transport && it.site == "ams")
    }));
    listener::register(db, "fra", &listeners[..1]).await.unwrap();
    let sites: Vec<String> = listener::list(db).await.unwrap().into_iter().map(|it| it.site).collect();
    assert_eq!(sites, ["ams", "ams", "fra"]);
}

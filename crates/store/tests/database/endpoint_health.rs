//! What nodes tell of endpoints: the last word counts, what happened is kept for a while, and who is gone is not asked.

use chrono::{DateTime, TimeDelta, Utc};
use tandem_model::{EndpointId, EndpointState, HealthSign, NodeId};
use tandem_store::PgPool;
use tandem_store::endpoint_health::{self, Change, EndpointHealth, MAX_CHANGES, Summary};
use tandem_store::node::{self, NodeReport, NodeState};
use tandem_testkit::Database;

use crate::support::{TWO_MEMBERS, declare, id, one, start};

async fn report_node(db: &PgPool, number: u128, state: NodeState, seen_at: DateTime<Utc>) {
    let report = NodeReport {
        node_id: NodeId(id(number)),
        name: format!("node-{number}"),
        started_at: start(),
        seen_at,
        state,
        table_version: 1,
        table_hash: "abc".to_owned(),
        table_chain: String::new(),
        active_calls: 0,
        journal_backlog: 0,
        ported_numbers: None,
        ported_serial: None,
        ported_fault: None,
    };
    node::report(db, &report).await.unwrap();
}

async fn endpoint_named(db: &PgPool, name: &'static str) -> EndpointId {
    let query = match name {
        "acme-1" => "select endpoint_id from endpoint where name = 'acme-1'",
        _ => "select endpoint_id from endpoint where name = 'globex-1'",
    };
    EndpointId(one(db, query).await)
}

fn health(endpoint_id: EndpointId, state: EndpointState) -> EndpointHealth {
    EndpointHealth {
        endpoint_id,
        state,
        since: start(),
        sign: Some(HealthSign::ProbeAnswered),
        held_until: None,
        probed_at: Some(start()),
        rtt_us: Some(1_250),
        servers: Some(vec!["udp 192.0.2.21:5060".to_owned(), "udp 192.0.2.22:5060".to_owned()]),
        unresolved: None,
    }
}

fn change(endpoint_id: EndpointId, second: i64, state: EndpointState) -> Change {
    Change { endpoint_id, at: start() + TimeDelta::seconds(second), state, sign: HealthSign::ProbeUnanswered }
}

#[tokio::test]
async fn the_last_report_of_a_node_counts_and_an_endpoint_that_is_gone_holds_nothing_up() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    report_node(db, 1, NodeState::Serving, start()).await;
    let (acme, nobody) = (endpoint_named(db, "acme-1").await, EndpointId(id(999)));
    let node = NodeId(id(1));
    let first = [health(acme, EndpointState::Up), health(nobody, EndpointState::Up)];
    let changes = [change(acme, 1, EndpointState::Up), change(nobody, 1, EndpointState::Up)];
    endpoint_health::report(db, node, &first, &changes, &[]).await.unwrap();
    let down = EndpointHealth { rtt_us: None, sign: None, ..health(acme, EndpointState::Down) };
    let changes = [change(acme, 2, EndpointState::Down), change(acme, 3, EndpointState::Ramping)];
    endpoint_health::report(db, node, std::slice::from_ref(&down), &changes, &[nobody]).await.unwrap();

    let seen = endpoint_health::list(db, acme, start()).await.unwrap();
    assert_eq!((seen.len(), &*seen[0].node, &seen[0].health), (1, "node-1", &down));
    let happened = endpoint_health::changes(db, acme, None, 2).await.unwrap();
    let states: Vec<_> = happened.iter().map(|it| it.change.state).collect();
    assert_eq!(states, [EndpointState::Ramping, EndpointState::Down], "newest first");
    let before = endpoint_health::changes(db, acme, Some(happened[1].id), 2).await.unwrap();
    assert_eq!(before.len(), 1);
    assert_eq!((before[0].node.as_deref(), &before[0].change), (Some("node-1"), &changes_of(acme)));

    endpoint_health::report(db, node, &[], &[], &[acme]).await.unwrap();
    assert_eq!(endpoint_health::list(db, acme, start()).await.unwrap(), []);
}

fn changes_of(endpoint: EndpointId) -> Change {
    change(endpoint, 1, EndpointState::Up)
}

#[tokio::test]
async fn only_nodes_that_live_are_counted_and_one_that_begins_anew_knows_nothing() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    let (acme, globex) = (endpoint_named(db, "acme-1").await, endpoint_named(db, "globex-1").await);
    let long_ago = start() - TimeDelta::minutes(5);
    for (number, state, seen_at) in [
        (1, NodeState::Serving, start()),
        (2, NodeState::Draining, start()),
        (3, NodeState::Stopped, start()),
        (4, NodeState::Serving, long_ago),
    ] {
        report_node(db, number, state, seen_at).await;
        let held_until = (number == 2).then(|| start() + TimeDelta::seconds(9));
        let down = EndpointHealth { held_until, ..health(acme, EndpointState::Down) };
        endpoint_health::report(db, NodeId(id(number)), &[down], &[], &[]).await.unwrap();
    }
    let summaries = endpoint_health::summaries(db, &[acme, globex], start()).await.unwrap();
    assert_eq!(summaries.len(), 1, "nothing is known of globex's");
    assert_eq!(summaries[&acme], Summary { up: 0, ramping: 0, down: 2, held: 1 });
    endpoint_health::forget_node(db, NodeId(id(1))).await.unwrap();
    let summaries = endpoint_health::summaries(db, &[acme], start() + TimeDelta::seconds(10)).await.unwrap();
    assert_eq!(summaries[&acme], Summary { up: 0, ramping: 0, down: 1, held: 0 });
}

#[tokio::test]
async fn what_is_old_or_too_much_is_deleted() {
    let database = Database::new().await;
    let db = database.pool();
    declare(db, TWO_MEMBERS).await.unwrap();
    report_node(db, 1, NodeState::Serving, start()).await;
    let (acme, globex) = (endpoint_named(db, "acme-1").await, endpoint_named(db, "globex-1").await);
    let node = NodeId(id(1));
    let many: Vec<Change> = (0..MAX_CHANGES + 5).map(|n| change(acme, n, EndpointState::Up)).collect();
    endpoint_health::report(db, node, &[], &many, &[]).await.unwrap();
    let two = [change(globex, -10, EndpointState::Up), change(globex, 10, EndpointState::Down)];
    endpoint_health::report(db, node, &[], &two, &[]).await.unwrap();
    assert_eq!(endpoint_health::prune(db, start()).await.unwrap(), 6);
    let left = endpoint_health::changes(db, acme, None, 5_000).await.unwrap();
    assert_eq!(left.len() as i64, MAX_CHANGES);
    assert!(left.iter().all(|it| it.change.at >= many[5].at), "the newest are left");
    let left = endpoint_health::changes(db, globex, None, 5).await.unwrap();
    assert_eq!(left.len(), 1);
    // An endpoint takes its history along.
    crate::support::sql(db, "delete from endpoint where name = 'globex-1'").await.unwrap();
    assert_eq!(endpoint_health::changes(db, globex, None, 5).await.unwrap(), []);
}

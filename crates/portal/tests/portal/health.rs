//! How an endpoint fares, as its member sees it.

use chrono::TimeDelta;
use serde_json::json;
use tandem_model::{Clock, EndpointState, HealthSign, NodeId};
use tandem_store::endpoint_health::{self, Change, EndpointHealth};
use tandem_store::node::{self, NodeReport, NodeState};
use uuid::Uuid;

use crate::calls::endpoint_of;
use crate::exchange::Exchange;

async fn report_node(exchange: &Exchange, number: u128) -> NodeId {
    let now = exchange.clock.now();
    let node_id = NodeId(Uuid::from_u128(number));
    let report = NodeReport {
        node_id,
        name: format!("node-{number}"),
        started_at: now,
        seen_at: now,
        state: NodeState::Serving,
        table_version: 1,
        table_hash: "abc".to_owned(),
        table_chain: String::new(),
        active_calls: 0,
        journal_backlog: 0,
        ported_numbers: None,
        ported_serial: None,
        ported_fault: None,
    };
    node::report(exchange.database.pool(), &report).await.unwrap();
    node_id
}

#[tokio::test]
async fn a_member_sees_on_how_many_nodes_its_endpoint_is_down_which_and_what_happened_page_by_page() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let endpoint_id = endpoint_of(&acme).await;
    let health = format!("endpoints/{}/health", endpoint_id.0);

    let unknown = acme.get(&health).await.expect(200).json;
    assert_eq!(unknown["nodes"], json!([]));
    assert_eq!(unknown["history"], json!({ "items": [], "next_cursor": null }));
    let listed = acme.get("endpoints").await.expect(200).items()[0].clone();
    assert_eq!(listed["health"], json!({ "up": 0, "ramping": 0, "down": 0, "held": 0 }));

    let now = exchange.clock.now();
    for (number, state, sign) in
        [(1, EndpointState::Up, HealthSign::CallTaken), (2, EndpointState::Down, HealthSign::ProbeUnanswered)]
    {
        let node = report_node(&exchange, number).await;
        let is_down = state == EndpointState::Down;
        let known = EndpointHealth {
            endpoint_id,
            state,
            since: now,
            sign: Some(sign),
            held_until: is_down.then(|| now + TimeDelta::seconds(5)),
            probed_at: Some(now),
            rtt_us: (!is_down).then_some(1_500),
            servers: (!is_down).then(|| vec!["udp 192.0.2.21:5060".to_owned()]),
            unresolved: is_down.then(|| "target_unresolved".to_owned()),
        };
        let change = Change { endpoint_id, at: now, state, sign };
        endpoint_health::report(exchange.database.pool(), node, &[known], &[change], &[]).await.unwrap();
    }
    let seen = acme.get(&format!("{health}?limit=1")).await.expect(200).json;
    let (up, down) = (&seen["nodes"][0], &seen["nodes"][1]);
    assert_eq!((&up["node"], &up["state"], &up["rtt_ms"]), (&json!("node-1"), &json!("up"), &json!(1.5)));
    assert_eq!((&up["servers"], &up["unresolved"]), (&json!(["udp 192.0.2.21:5060"]), &json!(null)));
    assert_eq!((&down["servers"], &down["unresolved"]), (&json!(null), &json!("target_unresolved")));
    assert_eq!((&down["state"], &down["sign"]), (&json!("down"), &json!("probe_unanswered")));
    assert!(up["held_until"].is_null() && down["held_until"].is_string() && down["rtt_ms"].is_null());
    assert_eq!(seen["history"]["items"][0]["node"], "node-2");
    let cursor = seen["history"]["next_cursor"].as_str().unwrap();
    let rest = acme.get(&format!("{health}?cursor={cursor}")).await.expect(200).json;
    assert_eq!(rest["history"]["items"].as_array().unwrap().len(), 1);
    assert_eq!(rest["history"]["items"][0]["state"], "up");
    let listed = acme.get("endpoints").await.expect(200).items()[0].clone();
    assert_eq!(listed["health"], json!({ "up": 1, "ramping": 0, "down": 1, "held": 1 }));

    // A node that has not been heard for a while says nothing any more, and a hold ends by itself.
    exchange.clock.advance(std::time::Duration::from_secs(6));
    let seen = acme.get(&health).await.expect(200).json;
    assert!(seen["nodes"][1]["held_until"].is_null());
    exchange.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(acme.get(&health).await.expect(200).json["nodes"], json!([]));
}

use std::time::Duration;

use serde_json::json;
use tandem_model::{Clock, NodeId, ObjectId};
use tandem_store::facts::{self, Changes};
use tandem_store::node::{self, NodeReport, NodeState};

use crate::exchange::{Exchange, endpoint};

#[tokio::test]
async fn an_announcement_is_in_the_feed_when_the_answer_is_there() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let before = exchange.feed_position().await;
    let id = acme.announce("+44207").await.expect(201).text("announcement_id");
    let Changes::Since { loaded, .. } = facts::changed(exchange.database.pool(), before, None).await.unwrap()
    else {
        panic!("the feed goes on")
    };
    let changed: Vec<_> =
        loaded.facts.announcements.iter().map(|it| it.announcement_id.to_string()).collect();
    assert_eq!(changed, [id.as_str()]);
    assert_eq!(loaded.facts.announcements[0].endpoints.len(), 1);

    // One that has not begun is removed, one that has is ended.
    let before = exchange.feed_position().await;
    exchange.clock.advance(Duration::from_secs(1));
    acme.delete(&format!("announcements/{id}")).await.expect(204);
    acme.delete(&format!("announcements/{id}")).await.expect(404);
    let later = json!({ "prefix": "+44208", "endpoints": ["acme-1"], "valid_from": "2030-02-01T00:00:00Z" });
    let later = acme.post("announcements", later).await.expect(201).text("announcement_id");
    acme.delete(&format!("announcements/{later}")).await.expect(204);
    let Changes::Since { loaded, .. } = facts::changed(exchange.database.pool(), before, None).await.unwrap()
    else {
        panic!("the feed goes on")
    };
    assert_eq!(loaded.facts.announcements[0].validity.until, Some(exchange.clock.now()));
    assert_eq!(
        loaded.facts.gone,
        [ObjectId::Announcement(tandem_model::AnnouncementId(later.parse().unwrap()))]
    );
    assert_eq!(acme.get("announcements").await.items().len(), 0);
    // A prefix that was withdrawn can be announced again.
    acme.announce("+44207").await.expect(201);
}

#[tokio::test]
async fn an_announcement_says_why_it_does_not_route_and_on_how_many_nodes_it_is_live() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let reason = async |path: &str| {
        let answer = acme.get(path).await.expect(200);
        assert_eq!(answer.json["routable"], answer.json["reason"].is_null());
        answer.json["reason"].as_str().map(str::to_owned)
    };
    let path = |id: String| format!("announcements/{id}");
    let covered = path(acme.announce("+44207").await.expect(201).text("announcement_id"));
    assert_eq!(reason(&covered).await, None);
    let uncovered = path(acme.announce("+4930").await.expect(201).text("announcement_id"));
    assert_eq!(reason(&uncovered).await.as_deref(), Some("range_missing"));
    acme.post("ranges", json!({ "prefix": "+493", "evidence": "" })).await.expect(201);
    assert_eq!(reason(&uncovered).await.as_deref(), Some("range_unverified"));
    let later = json!({ "prefix": "+44208", "endpoints": ["acme-1"], "valid_from": "2030-02-01T00:00:00Z" });
    let later = path(acme.post("announcements", later).await.expect(201).text("announcement_id"));
    assert_eq!(reason(&later).await.as_deref(), Some("not_yet_in_force"));

    let endpoint_id = acme.get("endpoints").await.items()[0]["endpoint_id"].as_str().unwrap().to_owned();
    let mut disabled = endpoint("acme-1", 1);
    disabled["enabled"] = json!(false);
    acme.put(&format!("endpoints/{endpoint_id}"), disabled).await.expect(200);
    assert_eq!(reason(&covered).await.as_deref(), Some("endpoint_disabled"));
    let suspend = json!({ "state": "suspended" });
    exchange.operator.send("PATCH", &format!("/members/{}", acme.id), Some(suspend)).await.expect(200);
    assert_eq!(reason(&covered).await.as_deref(), Some("member_not_approved"));

    let live = acme.get(&covered).await.json["live_on"].clone();
    assert_eq!(live, json!({ "nodes": 0, "of": 0 }));
    for (number, version) in [(1, exchange.feed_position().await), (2, 1)] {
        let report = NodeReport {
            node_id: NodeId(uuid::Uuid::from_u128(number)),
            name: format!("node-{number}"),
            started_at: exchange.clock.now(),
            seen_at: exchange.clock.now(),
            state: NodeState::Serving,
            table_version: version,
            table_hash: "00".to_owned(),
            table_chain: String::new(),
            active_calls: 0,
            journal_backlog: 0,
            ported_numbers: None,
            ported_serial: None,
            ported_fault: None,
        };
        node::report(exchange.database.pool(), &report).await.unwrap();
    }
    assert_eq!(acme.get(&covered).await.json["live_on"], json!({ "nodes": 1, "of": 2 }));
    let nodes = exchange.operator.get("/nodes").await.expect(200);
    assert_eq!(
        nodes.items().iter().map(|it| it["current"].clone()).collect::<Vec<_>>(),
        [json!(true), json!(false)]
    );
    exchange.clock.advance(Duration::from_secs(60));
    assert_eq!(acme.get(&covered).await.json["live_on"], json!({ "nodes": 0, "of": 0 }));
}

#[tokio::test]
async fn an_announcement_changes_its_endpoints_and_keeps_its_prefix() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let second = acme.endpoint("acme-2", 2).await;
    let id = acme.announce("+44207").await.expect(201).text("announcement_id");
    let path = format!("announcements/{id}");
    let other = json!({ "prefix": "+44208", "endpoints": ["acme-1"] });
    assert_eq!(acme.put(&path, other).await.fields(), ["prefix"]);
    let foreign = json!({ "prefix": "+44207", "endpoints": ["globex-1"] });
    assert_eq!(acme.put(&path, foreign).await.fields(), ["endpoints"]);
    let past = json!({ "prefix": "+44207", "endpoints": ["acme-1"], "valid_until": "2029-01-01T00:00:00Z" });
    assert_eq!(acme.put(&path, past).await.fields(), ["valid_until"]);
    // By name and by id, each once.
    let both = json!({ "prefix": "+44207", "endpoints": ["acme-1", second, "acme-2"], "valid_until": "2031-01-01T00:00:00Z" });
    let changed = acme.put(&path, both).await.expect(200);
    assert_eq!(changed.json["endpoints"].as_array().unwrap().len(), 2);
    assert_eq!(changed.json["valid_until"], "2031-01-01T00:00:00Z");
    assert_eq!(changed.json["valid_from"], "2030-01-01T00:00:00Z");

    // An endpoint that only announcements of the past name can be removed.
    acme.delete(&format!("endpoints/{second}")).await.expect(409);
    exchange.clock.advance(Duration::from_secs(1));
    acme.delete(&path).await.expect(204);
    acme.delete(&format!("endpoints/{second}")).await.expect(204);
}

#[tokio::test]
async fn announcements_are_found_by_their_leading_digits() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    for prefix in ["+44207", "+442071", "+4930"] {
        acme.announce(prefix).await.expect(201);
    }
    for (query, found) in [("44207", 2), ("%2B44207", 2), ("+49", 1), ("31", 0), ("", 3)] {
        let page = acme.get(&format!("announcements?prefix={query}")).await.expect(200);
        assert_eq!(page.items().len(), found, "{query}");
    }
}

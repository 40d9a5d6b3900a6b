//! The past of the exchange: what a call would have found at a moment, and each selection made again on its table.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tandem_tests::{Cluster, Endpoint, Exchange, Hub, Settings, Socket};

/// Changes of routes, a call after each.
const CHANGES: usize = 40;

const CALLED: &str = "442079460123";

/// What the operator is told of a look-up, the order of equal endpoints aside.
fn outcome(hub: &Hub, at: &str) -> Value {
    let at = if at.is_empty() { String::new() } else { format!("&at={at}") };
    let seen = hub.api.get(&format!("/lookup?from=acme&called={CALLED}{at}")).good();
    let names = |list: &Value, name: &str| -> BTreeSet<String> {
        list.as_array().expect("a list").iter().map(|it| format!("{} {}", it["prefix"], it[name])).collect()
    };
    json!({
        "version": seen["table_version"], "matched": seen["matched"], "refusal": seen["refusal"]["code"],
        "candidates": names(&seen["candidates"], "endpoint_name"), "left_out": names(&seen["left_out"], "code"),
    })
}

/// Changes the routes of [`CALLED`] in one of several ways.
fn change(hub: &Hub, change: usize) {
    let globex = hub.api.member_id("globex");
    let first = |kind: &str| hub.api.get(&format!("/members/{globex}/{kind}")).good()["items"][0].clone();
    let agreement = || {
        format!(
            "/members/{globex}/agreements/{}",
            first("agreements")["agreement_id"].as_str().expect("an id")
        )
    };
    match change % 8 {
        0 | 3 | 6 => {
            let prefix = format!("+{}", &CALLED[..7 + change % 5]);
            let endpoint = if change.is_multiple_of(2) { "globex-1" } else { "globex-2" };
            let body = json!({ "prefix": prefix, "endpoints": [endpoint, "globex-3"] });
            // One that is announced already is withdrawn.
            if hub.api.post(&format!("/members/{globex}/announcements"), &body).status == 409 {
                let all = hub.api.all(&format!("/members/{globex}/announcements"));
                let there = all.iter().find(|it| it["prefix"] == prefix).expect("it is announced");
                let id = there["announcement_id"].as_str().expect("an id");
                hub.api.delete(&format!("/members/{globex}/announcements/{id}"));
            }
        }
        1 => _ = hub.api.post(&format!("{}/suspend", agreement()), &json!({})).good(),
        2 => _ = hub.api.post(&format!("{}/resume", agreement()), &json!({})).good(),
        _ => {
            let mut endpoint = first("endpoints");
            let path =
                format!("/members/{globex}/endpoints/{}", endpoint["endpoint_id"].as_str().expect("an id"));
            let keep = ["name", "sources", "target", "priority", "weight", "enabled"];
            endpoint.as_object_mut().expect("an object").retain(|key, _| keep.contains(&key.as_str()));
            endpoint["enabled"] = json!(change % 8 != 4);
            endpoint["weight"] = json!(change + 1);
            hub.api.put(&path, &endpoint).good();
        }
    }
    hub.wait_until_current();
}

#[test]
fn each_call_is_explained_by_the_table_of_its_time_and_what_was_tampered_with_shows() {
    let (caller, called) = (Socket::new(), Socket::new());
    let target = format!("sip:{};transport=udp", called.address());
    let gateway = |name: &str, n: u8| Endpoint::new(name, [192, 0, 2, n].into(), &target);
    let cluster = Cluster::start();
    let exchange = Exchange::default()
        .member("acme", &[Endpoint::sender("acme-1", caller.address().ip())], &[])
        .member(
            "globex",
            &[gateway("globex-1", 1), gateway("globex-2", 2), gateway("globex-3", 3)],
            &["+44207946"],
        )
        .agreement("acme", "globex");
    let hub = Hub::with(&Settings { database_url: Some(cluster.url()), ..Settings::default() }, &exchange);
    let now = || {
        cluster.query(
            "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
        )
    };

    let mut seen = Vec::new();
    for number in 0..CHANGES {
        change(&hub, number);
        caller.would_be_routed(hub.sip, &format!("+{CALLED}"));
        seen.push((now(), outcome(&hub, "")));
    }

    // What was looked up then is looked up again.
    for (at, before) in &seen {
        assert_eq!(&outcome(&hub, at), before, "at {at}");
    }
    let outcomes: BTreeSet<String> =
        seen.iter().map(|(_, it)| format!("{} {}", it["candidates"], it["refusal"])).collect();
    assert!(outcomes.len() >= 5, "calls have gone different ways: {outcomes:?}");
    let long_ago = hub.api.get(&format!("/lookup?from=acme&called={CALLED}&at=2020-01-01T00:00:00Z"));
    assert_eq!((long_ago.status, long_ago.code()), (404, "past_forgotten"));
    let (at, before) = &seen[1];
    let said = hub.tandem(&["lookup", "--from", "acme", CALLED, "--at", at]);
    let version = before["version"].as_u64().expect("a version");
    assert!(said.contains("agreement_suspended") && said.contains(&format!("version {version}.")), "{said}");
    let glass = hub.api.get(&format!("/looking-glass?of={CALLED}&from=acme&at={at}")).good();
    assert_eq!(
        (&glass["table_version"], &glass["selection"]["refusal"]["code"]),
        (&before["version"], &before["refusal"])
    );

    // Each selection that was made is made again.
    let calls = hub.wait_for_cdrs(CHANGES, Duration::from_secs(30));
    let id = |call: &Value| call["call_id"].as_str().expect("a call has an id").to_owned();
    let verify = |call: &str| hub.api.get(&format!("/calls/{call}/selection/verify")).good();
    for call in &calls {
        let check = verify(&id(call));
        assert_eq!(
            (&check["verdict"], &check["table_version"]),
            (&json!("same"), &call["table_version"]),
            "{check}"
        );
    }
    let versions: BTreeSet<u64> = calls.iter().filter_map(|call| call["table_version"].as_u64()).collect();
    assert!(versions.len() > CHANGES / 2, "{versions:?}");
    let routed =
        calls.iter().find(|call| call["terminating_member"].is_object()).map(id).expect("a call was routed");
    let said = hub.tandem(&["explain", &routed]);
    assert!(said.contains("Made again") && said.contains(": the same."), "{said}");
    assert!(hub.tandem(&["history"]).contains("Each change follows from the one before it."));

    // Who may read the call of another side may not read why.
    let member = |name: &str| (hub.api_of(name), hub.api.member_id(name));
    let path = |id: &str| format!("/members/{id}/calls/{routed}/selection/verify");
    let ((acme, acme_id), (globex, globex_id)) = (member("acme"), member("globex"));
    assert_eq!(acme.get(&path(&acme_id)).good()["verdict"], "same");
    assert_eq!([globex.get(&path(&globex_id)).status, globex.get(&path(&acme_id)).status], [404, 404]);

    // Whoever writes into the record of the call,
    cluster.query(&format!(
        "update call set selection = jsonb_set(selection::jsonb, '{{candidates,0,endpoint}}', to_jsonb(gen_random_uuid()))::json where call_id = '{routed}'"
    ));
    let check = verify(&routed);
    assert_eq!(check["verdict"], "differs");
    assert!(!check["made_again"]["candidates"].as_array().expect("a list").is_empty());
    assert!(!hub.try_tandem(&["explain", &routed]).status.success());
    // or into the past, is seen.
    let earliest =
        calls.iter().min_by_key(|call| call["table_version"].as_u64()).map(id).expect("there are calls");
    cluster
        .query("update past.row_before set before = before || '{\"weight\": 999}' where before ? 'weight'");
    assert_eq!(verify(&earliest)["verdict"], "table_differs");
    assert!(!hub.try_tandem(&["history"]).status.success());
}

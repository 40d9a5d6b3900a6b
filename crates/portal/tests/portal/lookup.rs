use std::time::Duration;

use serde_json::{Value, json};

use crate::exchange::{Exchange, Member, endpoint};

async fn look(member: &Member, called: &str) -> Value {
    member.get(&format!("lookup?called={called}")).await.expect(200).json
}

fn codes(selection: &Value) -> Vec<&str> {
    selection["left_out"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_lookup_shows_the_candidates_in_order_and_hides_the_others_endpoints() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    globex.announce("+49301").await.expect(201);
    exchange.agree(&acme, &globex, "both").await;
    exchange.route().await;

    let seen = look(&acme, "%2B493012345").await;
    assert_eq!((&seen["matched"], &seen["refusal"]), (&json!("+49301"), &json!(null)));
    let candidate = &seen["candidates"][0];
    assert_eq!((&candidate["member_name"], &candidate["endpoint_name"]), (&json!("globex"), &json!(null)));
    assert_eq!(seen["table_version"], exchange.feed_position().await);
    assert!(!seen.to_string().contains("globex-1") && !seen.to_string().contains("192.0.2."), "{seen}");

    let all = exchange.operator.get("/lookup?from=acme&called=493012345").await.expect(200).json;
    let candidate = &all["candidates"][0];
    assert_eq!((&candidate["endpoint_name"], &candidate["priority"]), (&json!("globex-1"), &json!(1)));
    let unknown = exchange.operator.get("/lookup?from=nobody&called=493012345").await;
    assert_eq!((unknown.problem(), unknown.fields()), ((422, "invalid"), vec!["from"]));
    let short = acme.get("lookup?called=123").await;
    assert_eq!((short.problem(), short.fields()), ((422, "invalid"), vec!["called"]));
}

#[tokio::test]
async fn a_lookup_explains_each_reason() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    let refusal = |selection: &Value| selection["refusal"]["code"].as_str().map(str::to_owned);

    exchange.route().await;
    assert_eq!(refusal(&look(&acme, "33123456").await).as_deref(), Some("no_route"));

    globex.announce("+49301").await.expect(201);
    acme.announce("+44207").await.expect(201);
    globex.announce("+33").await.expect(201);
    globex.post("ranges", json!({ "prefix": "+34", "evidence": "" })).await.expect(201);
    globex.announce("+34").await.expect(201);
    let later =
        json!({ "prefix": "+49302", "endpoints": ["globex-1"], "valid_from": "2030-02-01T00:00:00Z" });
    globex.post("announcements", later).await.expect(201);
    globex.announce("+493").await.expect(201);
    exchange.route().await;
    for (called, code) in [
        ("493012345", "no_agreement"),
        ("442071234", "own_number"),
        ("331234567", "range_missing"),
        ("341234567", "range_unverified"),
        ("493021234", "not_yet_in_force"),
    ] {
        let seen = look(&acme, called).await;
        assert!(codes(&seen).contains(&code), "{called}: {seen}");
        assert_eq!(seen["candidates"], json!([]), "{called}");
    }

    exchange.agree(&acme, &globex, "both").await;
    exchange.route().await;
    assert_eq!(refusal(&look(&acme, "493012345").await), None);
    let id = globex.get("endpoints").await.items()[0]["endpoint_id"].as_str().unwrap().to_owned();
    let mut disabled = endpoint("globex-1", 2);
    disabled["enabled"] = json!(false);
    globex.put(&format!("endpoints/{id}"), disabled).await.expect(200);
    exchange.route().await;
    assert_eq!(refusal(&look(&acme, "493012345").await).as_deref(), Some("endpoint_disabled"));

    exchange.clock.advance(Duration::from_secs(1));
    let held =
        globex.get("ranges").await.items().iter().find(|it| it["authority"] == "valid").unwrap()["range_id"]
            .clone();
    globex.delete(&format!("ranges/{}", held.as_str().unwrap())).await.expect(204);
    exchange.route().await;
    assert_eq!(refusal(&look(&acme, "493012345").await).as_deref(), Some("range_expired"));

    let suspend = json!({ "state": "suspended" });
    exchange.operator.send("PATCH", &format!("/members/{}", globex.id), Some(suspend)).await.expect(200);
    exchange.route().await;
    assert_eq!(refusal(&look(&acme, "493012345").await).as_deref(), Some("member_not_approved"));
    let seen = look(&acme, "493012345").await;
    let left_out = &seen["left_out"][0];
    for field in ["member_name", "prefix", "sentence", "remedy"] {
        assert!(left_out[field].is_string(), "{seen}");
    }
}

#[tokio::test]
async fn an_announcement_and_a_lookup_give_the_same_reason() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    exchange.agree(&acme, &globex, "both").await;
    for prefix in ["+49301", "+33", "+34", "+35"] {
        globex.announce(prefix).await.expect(201);
    }
    for (prefix, verdict) in [("+34", None), ("+35", Some("refuse")), ("+3", Some("verify"))] {
        let claim = globex.post("ranges", json!({ "prefix": prefix, "evidence": "" })).await.expect(201);
        if let Some(verdict) = verdict {
            exchange
                .operator
                .post(&format!("/ranges/{}/{verdict}", claim.text("range_id")), json!({}))
                .await
                .expect(200);
        }
    }
    let over = globex.get("ranges").await.items().iter().find(|it| it["prefix"] == "+3").unwrap()["range_id"]
        .clone();
    exchange.clock.advance(Duration::from_secs(1));
    globex.delete(&format!("ranges/{}", over.as_str().unwrap())).await.expect(204);
    exchange.route().await;
    let announcements = globex.get("announcements").await.expect(200);
    let mut reasons = Vec::new();
    for announcement in announcements.items() {
        let called = format!("{}1234567", &announcement["prefix"].as_str().unwrap()[1..]);
        let seen = look(&acme, &called).await;
        let told =
            seen["left_out"].as_array().unwrap().first().map(|it| it["code"].clone()).unwrap_or(Value::Null);
        assert_eq!(announcement["reason"], told, "{called}: {seen}");
        reasons.push(told);
    }
    assert_eq!(
        reasons,
        [json!("range_unverified"), json!("range_unverified"), json!("range_expired"), Value::Null]
    );
}

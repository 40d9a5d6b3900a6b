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
    for prefix in ["+49301", "+33", "+34", "+36"] {
        globex.announce(prefix).await.expect(201);
    }
    for (prefix, verdict) in [("+34", None), ("+36", Some("refuse")), ("+33", Some("verify"))] {
        let claim = globex.post("ranges", json!({ "prefix": prefix, "evidence": "" })).await.expect(201);
        if let Some(verdict) = verdict {
            exchange
                .operator
                .post(&format!("/ranges/{}/{verdict}", claim.text("range_id")), json!({}))
                .await
                .expect(200);
        }
    }
    let over =
        globex.get("ranges").await.items().iter().find(|it| it["prefix"] == "+33").unwrap()["range_id"]
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

#[tokio::test]
async fn a_batch_answers_each_number_as_a_single_lookup_does_and_a_bad_one_by_itself() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    globex.announce("+49301").await.expect(201);
    acme.announce("+44207").await.expect(201);
    exchange.agree(&acme, &globex, "both").await;
    exchange.route().await;

    let numbers = ["+493012345", "+442071234", "nonsense", "+33123456", "+49302222"];
    let answer = acme.post("lookup", json!({ "called": numbers })).await.expect(200);
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let lines: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), numbers.len());
    for (index, (line, number)) in lines.iter().zip(numbers).enumerate() {
        assert_eq!(line["row"], index + 1);
        if number == "nonsense" {
            assert_eq!((&line["selection"], &line["error"]["field"]), (&json!(null), &json!("called")));
            continue;
        }
        assert_eq!(line["error"], json!(null), "{line}");
        assert_eq!(line["selection"], look(&acme, &number.replace('+', "%2B")).await);
    }
}

#[tokio::test]
async fn a_batch_of_ten_thousand_is_answered_by_one_version_of_the_table_and_a_larger_one_refused() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    globex.announce("+4930").await.expect(201);
    exchange.agree(&acme, &globex, "both").await;
    exchange.route().await;
    let numbers = |count: u32| (0..count).map(|n| format!("+4930{n:06}")).collect::<Vec<_>>();
    let version = exchange.app.table.load().version();

    let answer = acme.post("lookup", json!({ "called": numbers(10_000) })).await.expect(200);
    let lines: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 10_000);
    assert!(lines.iter().all(|line| line["selection"]["table_version"] == version));
    assert!(lines.iter().all(|line| line["selection"]["candidates"][0]["member_name"] == "globex"));

    let larger = acme.post("lookup", json!({ "called": numbers(10_001) })).await;
    assert_eq!(larger.problem(), (413, "too_large"));
    let bad = acme.post("lookup", json!({ "called": ["1", "x"] })).await;
    assert_eq!((bad.problem(), bad.fields()), ((422, "invalid"), vec!["called", "called"]));
    let none = acme.post("lookup", json!({ "called": [] })).await;
    assert_eq!((none.problem(), none.fields()), ((422, "invalid"), vec!["called"]));
}

#[tokio::test]
async fn a_member_has_eight_answers_by_lines_under_way_at_most_and_others_have_theirs() {
    let exchange = Exchange::new().await;
    let (acme, globex) = (exchange.member("acme").await, exchange.member("globex").await);
    let ask = json!({ "called": ["+493012345"] });
    // An answer of some megabytes is not written before it is read.
    let long = json!({ "called": vec!["+493012345"; 10_000] }).to_string();
    let mut unread = Vec::new();
    for _ in 0..8 {
        let path = acme.path("lookup");
        unread.push(acme.caller.begin("POST", &path, "application/json", long.clone().into()).await);
    }
    assert_eq!(acme.post("lookup", ask.clone()).await.problem(), (429, "too_many_requests"));
    globex.post("lookup", ask.clone()).await.expect(200);
    drop(unread);
    // The places are free once the tasks have noticed.
    while acme.post("lookup", ask.clone()).await.status == 429 {
        tokio::task::yield_now().await;
    }
}

use serde_json::{Value, json};

use crate::exchange::{Answer, Exchange, Member};

async fn bulk(member: &Member, body: Value) -> Answer {
    member.post("announcements/bulk", body).await
}

async fn csv(member: &Member, query: &str, text: &str) -> Answer {
    let path = member.path(&format!("announcements/bulk{query}"));
    member.caller.send_octets("POST", &path, "text/csv; charset=utf-8", text.into()).await
}

fn rows(prefixes: &[&str]) -> Vec<Value> {
    prefixes.iter().map(|prefix| json!({ "prefix": prefix, "endpoints": ["acme-1"] })).collect()
}

/// Added, changed, withdrawn, unchanged.
fn counts(answer: &Answer) -> [u64; 4] {
    ["added", "changed", "withdrawn", "unchanged"].map(|field| answer.json[field].as_u64().expect("a count"))
}

async fn prefixes(member: &Member) -> Vec<String> {
    let page = member.get("announcements?limit=500").await.expect(200);
    let mut prefixes: Vec<_> =
        page.items().iter().map(|it| it["prefix"].as_str().unwrap().to_owned()).collect();
    prefixes.sort();
    prefixes
}

#[tokio::test]
async fn a_bulk_change_adds_changes_and_withdraws_in_one_step() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+44").await;
    acme.endpoint("acme-2", 2).await;
    let answer = bulk(&acme, json!({ "announcements": rows(&["+441", "+442", "+443"]) })).await.expect(200);
    assert_eq!(counts(&answer), [3, 0, 0, 0]);
    assert_eq!(answer.json["table_version"], exchange.feed_position().await);
    exchange.clock.advance(std::time::Duration::from_secs(1));

    let mixed = json!({
        "announcements": [
            { "prefix": "+441", "endpoints": ["acme-1"] },
            { "prefix": "+442", "endpoints": ["acme-2"] },
            { "prefix": "+444", "endpoints": ["acme-1", "acme-2"] },
        ],
        "withdraw": ["+443", "+449"],
    });
    assert_eq!(counts(&bulk(&acme, mixed).await.expect(200)), [1, 1, 1, 1]);
    assert_eq!(prefixes(&acme).await, ["+441", "+442", "+444"]);
    exchange.route().await;

    let replace = json!({ "mode": "replace", "announcements": rows(&["+445"]) });
    assert_eq!(counts(&bulk(&acme, replace).await.expect(200)), [1, 0, 3, 0]);
    assert_eq!(prefixes(&acme).await, ["+445"]);
    let entry = acme.caller.get("/audit").await.items()[0].clone();
    assert_eq!(
        (&entry["action"], &entry["after"]["summary"]["withdrawn"]),
        (&json!("announcement.bulk"), &json!(3))
    );
    exchange.route().await;
}

#[tokio::test]
async fn a_bulk_change_with_bad_rows_writes_nothing_and_names_each() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+44").await;
    let feed = exchange.feed_position().await;
    let body = json!({
        "announcements": [
            { "prefix": "+441", "endpoints": ["acme-1"] },
            { "prefix": "0044", "endpoints": ["acme-1"] },
            { "prefix": "+442", "endpoints": [] },
            { "prefix": "+443", "endpoints": ["globex-1"] },
            { "prefix": "+441", "endpoints": ["acme-1"] },
        ],
        "withdraw": ["+441", "x"],
    });
    let answer = bulk(&acme, body).await;
    assert_eq!(answer.problem(), (422, "invalid"));
    let rows: Vec<_> = answer.json["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["row"].as_u64().unwrap(), error["field"].as_str().unwrap()))
        .collect();
    assert_eq!(
        rows,
        [(2, "prefix"), (3, "endpoints"), (4, "endpoints"), (5, "prefix"), (1, "withdraw"), (2, "withdraw")]
    );
    assert_eq!(prefixes(&acme).await, Vec::<String>::new());
    assert_eq!(exchange.feed_position().await, feed);

    // Of many faults the first hundred are shown.
    let many: Vec<Value> = (0..500).map(|_| json!({ "prefix": "x", "endpoints": ["acme-1"] })).collect();
    assert_eq!(bulk(&acme, json!({ "announcements": many })).await.fields().len(), 100);
    let wrong = json!({ "mode": "replace", "withdraw": ["+441"] });
    assert_eq!(bulk(&acme, wrong).await.fields(), ["withdraw"]);
}

#[tokio::test]
async fn a_csv_file_announces_and_its_errors_name_their_lines() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+44").await;
    acme.endpoint("acme-2", 2).await;
    let answer = csv(&acme, "", "prefix,endpoints\r\n+441,acme-1;acme-2\r\n442,\"acme-1 acme-2\"\r\n")
        .await
        .expect(200);
    assert_eq!(counts(&answer), [2, 0, 0, 0]);
    let answer = csv(&acme, "?mode=replace", "prefix,endpoints\n+441,acme-1\n").await.expect(200);
    assert_eq!(counts(&answer), [0, 1, 1, 0]);
    for (text, line) in [
        ("digits\n", 1),
        ("prefix,endpoints\n+441,acme-1\n=cmd|' /C calc'!A0,acme-1\n", 3),
        ("prefix,endpoints\n+441\n", 2),
        ("prefix,endpoints\n\n\n+441,nobody\n", 4),
    ] {
        let answer = csv(&acme, "", text).await;
        assert_eq!(answer.problem(), (422, "invalid"), "{text}");
        assert_eq!(answer.json["errors"][0]["row"], line, "{text}: {}", answer.text);
    }
    let other = acme
        .caller
        .send_octets("POST", &acme.path("announcements/bulk"), "application/xml", Vec::new())
        .await;
    assert_eq!(other.problem(), (400, "bad_request"));
}

#[tokio::test]
async fn fifty_equal_requests_with_one_key_make_one_change_and_get_one_answer() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+44").await;
    let feed = exchange.feed_position().await;
    let keyed = acme.caller.with_header("idempotency-key", "2030-01-01/1");
    let body = || json!({ "announcements": rows(&["+441", "+442"]) });
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (keyed, path) = (keyed.clone(), acme.path("announcements/bulk"));
        tasks.spawn(async move { keyed.post(&path, body()).await.expect(200).text });
    }
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert!(answers[0].contains("\"added\":2"), "{}", answers[0]);
    // Two announcements.
    assert_eq!(exchange.feed_position().await, feed + 2);
    assert_eq!(
        acme.caller
            .get("/audit")
            .await
            .items()
            .iter()
            .filter(|it| it["action"] == "announcement.bulk")
            .count(),
        1
    );

    let other =
        keyed.post(&acme.path("announcements/bulk"), json!({ "announcements": rows(&["+443"]) })).await;
    assert_eq!(other.problem(), (422, "idempotency_mismatch"));
    // A request that was refused has not used its key up, and another member's keys are its own.
    let fresh = acme.caller.with_header("idempotency-key", "2");
    fresh.post(&acme.path("announcements/bulk"), json!({ "announcements": rows(&["x"]) })).await.expect(422);
    fresh
        .post(&acme.path("announcements/bulk"), json!({ "announcements": rows(&["+443"]) }))
        .await
        .expect(200);
    let globex = exchange.provider("globex", 2, "+49").await;
    let theirs = globex.caller.with_header("idempotency-key", "2030-01-01/1");
    let row = json!({ "announcements": [{ "prefix": "+491", "endpoints": ["globex-1"] }] });
    theirs.post(&globex.path("announcements/bulk"), row).await.expect(200);
}

#[tokio::test]
async fn a_hundred_thousand_rows_take_effect_and_one_more_is_refused() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+44").await;
    let lines: String = (0..100_000).map(|number| format!("+44{:06},acme-1\n", 100_000 + number)).collect();
    let answer = csv(&acme, "", &format!("prefix,endpoints\n{lines}")).await.expect(200);
    assert_eq!(counts(&answer), [100_000, 0, 0, 0]);
    let answer = csv(&acme, "", &format!("prefix,endpoints\n{lines}")).await.expect(200);
    assert_eq!(counts(&answer), [0, 0, 0, 100_000]);
    let answer = csv(&acme, "", &format!("prefix,endpoints\n{lines}+45,acme-1\n")).await;
    assert_eq!(answer.problem(), (413, "too_large"));
}

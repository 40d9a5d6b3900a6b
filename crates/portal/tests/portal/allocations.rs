//! Claims that a regulator's file verifies, and what becomes of them when the next file says otherwise.

use serde_json::{Value, json};
use tandem_model::Clock;

use crate::exchange::{Answer, Exchange, Member};

/// Authority, reason and evidence of a range.
fn standing(range: &Value) -> (&str, &str, &str) {
    let word = |field: &str| range[field].as_str().unwrap_or("-");
    (word("authority"), word("reason"), word("verified_by"))
}

/// The range of this prefix, as its member sees it.
async fn range(member: &Member, prefix: &str) -> Value {
    let ranges = member.get("ranges").await.expect(200);
    ranges.items().iter().find(|it| it["prefix"] == prefix).expect("a range").clone()
}

async fn decide(exchange: &Exchange, range: &Value, decision: &str) -> Answer {
    let id = range["range_id"].as_str().expect("an id");
    exchange.operator.post(&format!("/ranges/{id}/{decision}"), json!({})).await
}

#[tokio::test]
async fn a_claim_that_the_file_gives_to_the_member_is_verified_at_once_until_the_allocation_ends() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    acme.endpoint("acme-1", 1).await;
    exchange.name_holder(&acme, &["ACME Telecom Ltd", "CUPID 7"]).await.expect(200);
    let lines = "44207946,Acme telecom LTD,2020-01-01,2031-01-01\n4420711,cupid 7,,\n4420712,cupid 7,,\n4420713,Gone,2001-01-01,2002-01-01";
    assert_eq!(exchange.import("Ofcom%20S1", lines).await.expect(200).json["list"]["rows"], 4);

    let claim = acme.claim("+44207946").await.expect(201);
    assert_eq!(standing(&claim.json), ("valid", "-", "regulator"));
    assert_eq!(claim.text("valid_until"), "2031-01-01T00:00:00Z");
    // Within an allocation, and over several that make it up.
    assert_eq!(standing(&acme.claim("+4420711123").await.expect(201).json), ("valid", "-", "regulator"));
    assert_eq!(acme.claim("+442071").await.expect(201).json["authority"], "pending");
    let more: Vec<String> =
        (0..10).map(|digit| format!("442071{digit},cupid 7,,2030-06-0{}", digit % 8 + 1)).collect();
    exchange.clock.advance(std::time::Duration::from_secs(60));
    acme.delete(&format!("ranges/{}", range(&acme, "+4420711123").await["range_id"].as_str().unwrap()))
        .await
        .expect(204);
    let imported = exchange.import("Ofcom%20S1", &more.join("\n")).await.expect(200);
    assert_eq!(imported.json["verified"], 1, "{}", imported.text);
    let whole = range(&acme, "+442071").await;
    assert_eq!(
        (standing(&whole), &whole["valid_until"]),
        (("valid", "-", "regulator"), &json!("2030-06-01T00:00:00Z"))
    );
    // What the member asks for itself ends first.
    let until = exchange.clock.now() + chrono::TimeDelta::days(30);
    exchange.import("Extra", "4420733,cupid 7,,").await.expect(200);
    let brief = acme.post("ranges", json!({ "prefix": "+4420733", "valid_until": until })).await.expect(201);
    assert_eq!((&brief.json["authority"], &brief.json["valid_until"]), (&json!("valid"), &json!(until)));
    // It is renewed at once as well.
    let renew = format!("ranges/{}/renew", brief.text("range_id"));
    let renewed = acme.post(&renew, json!({ "evidence": "" })).await.expect(200);
    assert_eq!(
        (&renewed.json["valid_until"], &renewed.json["renewal_requested_at"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(acme.announce("+44207331").await.expect(201).json["routable"], true);
}

#[tokio::test]
async fn a_claim_of_what_the_file_gives_to_somebody_else_names_the_holder_and_waits_for_the_operator() {
    let exchange = Exchange::new().await;
    let (acme, globex) = (exchange.member("acme").await, exchange.member("globex").await);
    exchange.name_holder(&globex, &["Globex"]).await.expect(200);
    exchange
        .import("Ofcom", "44207,Globex,,\n442079,Initech,,\n44208,Globex,,\n442081,Globex,,")
        .await
        .expect(200);
    for prefix in ["+44207", "+442071", "+4420791", "+4420"] {
        let claim = acme.claim(prefix).await.expect(201);
        assert_eq!(standing(&claim.json), ("disputed", "range_allocated_to_other", "-"), "{prefix}");
        assert_eq!(claim.json["allocated_to_others"][0]["list"], "Ofcom");
    }
    let holders = range(&acme, "+4420791").await["allocated_to_others"].clone();
    assert_eq!(holders[1], json!({ "list": "Ofcom", "prefix": "+442079", "holder": "Initech" }));
    // A part was handed on: whose it was claims it no more, and claims all around it.
    for (prefix, expected) in [
        ("+4420791", ("disputed", "range_allocated_to_other", "-")),
        ("+44207", ("disputed", "range_allocated_to_other", "-")),
        ("+442072", ("valid", "-", "regulator")),
        ("+44208", ("valid", "-", "regulator")),
    ] {
        assert_eq!(standing(&globex.claim(prefix).await.expect(201).json), expected, "{prefix}");
    }
    let disputed = exchange.operator.get("/ranges?authority=disputed&limit=100").await.expect(200);
    assert_eq!(disputed.items().len(), 6, "{}", disputed.text);
    // The holder of the part that was handed on has it, by its own name.
    exchange.name_holder(&acme, &["initech"]).await.expect(200);
    assert_eq!(standing(&range(&acme, "+4420791").await), ("valid", "-", "regulator"));
    // The operator may see it otherwise.
    let refused = decide(&exchange, &range(&acme, "+4420791").await, "refuse").await.expect(200);
    assert_eq!(standing(&refused.json), ("refused", "range_refused", "-"));
    let taken = exchange.name_holder(&acme, &["GLOBEX"]).await;
    assert_eq!((taken.problem(), taken.fields()), ((409, "conflict"), vec!["names"]));
    assert_eq!(exchange.name_holder(&acme, &["A", "a"]).await.fields(), ["names[1]"]);
    assert_eq!(acme.get("holder-names").await.expect(200).json, json!({ "names": ["initech"] }));
}

#[tokio::test]
async fn a_file_verifies_nothing_against_a_verified_range_of_another_member() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+44207946").await;
    let globex = exchange.member("globex").await;
    exchange.import("Ofcom", "44207,Globex,,").await.expect(200);
    assert_eq!(globex.claim("+44207").await.expect(201).json["authority"], "disputed");
    exchange.name_holder(&globex, &["Globex"]).await.expect(200);
    let held = range(&globex, "+44207").await;
    assert_eq!(standing(&held), ("disputed", "range_disputed", "-"), "{held}");
    assert_eq!(standing(&range(&acme, "+44207946").await), ("valid", "-", "document"));
    // An earlier claim that nobody has verified stands in no proof's way.
    acme.claim("+44161").await.expect(201);
    exchange.import("More", "44161,Globex,,").await.expect(200);
    assert_eq!(standing(&globex.claim("+44161").await.expect(201).json), ("valid", "-", "regulator"));
}

#[tokio::test]
async fn a_range_whose_allocation_is_gone_stands_until_the_operator_decides() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    exchange.name_holder(&acme, &["Acme"]).await.expect(200);
    exchange.import("Ofcom", "44207,Acme,,\n44208,Acme,,\n44161,Acme,,").await.expect(200);
    for prefix in ["+44207", "+44208", "+44161"] {
        assert_eq!(acme.claim(prefix).await.expect(201).json["evidence_gone"], false);
    }
    let undecided =
        async || exchange.operator.get("/ranges?authority=pending").await.expect(200).items().len();
    assert_eq!(undecided().await, 0);
    exchange.import("Ofcom", "44207,Other,,\n44161,Acme,,").await.expect(200);
    assert_eq!(undecided().await, 2);
    for (prefix, others) in [("+44207", 1), ("+44208", 0)] {
        let range = range(&acme, prefix).await;
        assert_eq!((standing(&range), &range["evidence_gone"]), (("valid", "-", "regulator"), &json!(true)));
        assert_eq!(range["allocated_to_others"].as_array().unwrap().len(), others);
    }
    let kept = decide(&exchange, &range(&acme, "+44208").await, "verify").await.expect(200);
    assert_eq!(
        (standing(&kept.json), &kept.json["evidence_gone"]),
        (("valid", "-", "document"), &json!(false))
    );
    assert_eq!(kept.json["valid_until"], Value::Null);
    let gone = decide(&exchange, &range(&acme, "+44207").await, "refuse").await.expect(200);
    assert_eq!(gone.text("authority"), "refused");
    assert_eq!(undecided().await, 0);
    exchange.operator.send("DELETE", "/allocations/Ofcom", None).await.expect(204);
    assert_eq!(undecided().await, 1);
    assert_eq!(exchange.operator.get("/allocations").await.expect(200).json, json!([]));
}

#[tokio::test]
async fn a_file_with_faults_changes_nothing_and_names_their_lines() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    exchange.name_holder(&acme, &["Acme"]).await.expect(200);
    exchange.import("Ofcom", "44207,Acme,,").await.expect(200);
    let before = exchange.operator.get("/allocations").await.expect(200).json;
    let mut lines: Vec<String> = (0..9_000).map(|n| format!("4420{n:04},Acme,,")).collect();
    lines[8_000] = "44 20,Acme,,".to_owned();
    lines[8_500] = "4420,Acme,2030-01-01,2029-01-01".to_owned();
    let refused = exchange.import("Ofcom", &lines.join("\n")).await;
    assert_eq!((refused.problem(), refused.fields()), ((422, "invalid"), vec!["body", "body"]));
    let rows: Vec<_> =
        refused.json["errors"].as_array().unwrap().iter().map(|it| it["row"].as_u64()).collect();
    assert_eq!(rows, [Some(8_002), Some(8_502)]);
    assert_eq!(exchange.operator.get("/allocations").await.expect(200).json, before);
    assert_eq!(standing(&acme.claim("+44207").await.expect(201).json), ("valid", "-", "regulator"));
    let plain = exchange.operator.send("PUT", "/allocations/Ofcom", Some(json!([]))).await;
    assert_eq!(plain.problem(), (400, "bad_request"));
}

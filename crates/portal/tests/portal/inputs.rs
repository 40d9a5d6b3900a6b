use serde_json::json;

use crate::exchange::{Exchange, endpoint};

#[tokio::test]
async fn a_bad_body_is_a_problem_that_names_the_fields() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let good = endpoint("acme-1", 1);
    let with = |field: &str, value: serde_json::Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    for (body, status, fields) in [
        (with("colour", json!("red")), 422, vec!["colour"]),
        (with("priority", json!(70_000)), 422, vec!["priority"]),
        (with("priority", json!("one")), 422, vec!["priority"]),
        (with("max_calls", json!(0)), 422, vec!["max_calls"]),
        (with("max_calls", json!(-1)), 422, vec!["max_calls"]),
        (with("name", json!("Acme 1")), 422, vec!["name"]),
        (with("name", json!("a\r\nX-Evil: 1")), 422, vec!["name"]),
        (with("target", json!("sip:0.0.0.0")), 422, vec!["target"]),
        (with("target", json!("sip:1.2.3.4\r\nX: y")), 422, vec!["target"]),
        (with("sources", json!([{ "net": "192.0.2.1/24" }])), 422, vec!["sources[0].net"]),
        (
            with("sources", json!([{ "net": "192.0.2.1" }, { "net": "192.0.2.0/30" }])),
            422,
            vec!["sources[1].net"],
        ),
        (json!({ "name": "-", "target": "x", "max_calls": 0 }), 422, vec!["name", "target", "max_calls"]),
        (json!({}), 422, vec!["body"]),
        (json!([]), 422, vec!["body"]),
    ] {
        let answer = acme.post("endpoints", body.clone()).await;
        assert_eq!(answer.problem().0, status, "{body}: {}", answer.text);
        assert_eq!(answer.fields(), fields, "{body}: {}", answer.text);
    }
    for (octets, kind) in [
        ("{", "application/json"),
        ("{}", "text/plain"),
        ("", "application/json"),
        ("\u{0}", "application/json"),
    ] {
        let answer = acme.caller.send_octets("POST", &acme.path("endpoints"), kind, octets.into()).await;
        assert_eq!(answer.problem(), (400, "bad_request"), "{octets:?}");
    }
    let huge = vec![b' '; 300 * 1024];
    let answer = acme.caller.send_octets("POST", &acme.path("endpoints"), "application/json", huge).await;
    assert_eq!(answer.problem(), (413, "too_large"));
    assert_eq!(acme.get("endpoints").await.items().len(), 0);
}

#[tokio::test]
async fn a_bad_query_is_a_problem_that_names_the_parameter() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("cursor=abc", "cursor"),
        ("number=12;drop", "number"),
        ("number=1234567890123456", "number"),
        ("cursor=1.00000000000000000000000000000000x", "cursor"),
    ] {
        let answer = acme.get(&format!("calls?{query}")).await;
        assert_eq!((answer.problem(), answer.fields()), ((422, "invalid"), vec![field]), "{query}");
    }
    // Times that are times, but none that the database knows.
    for query in
        ["from=-100000-01-01T00:00:00Z", "cursor=-8000000000000000000.018cc251f40070008000000000000001"]
    {
        assert_eq!(acme.get(&format!("calls?{query}")).await.problem().0 / 100, 4, "{query}");
    }
    for query in ["limit=x", "outcome=lost", "sort=called", "up=maybe", "from=yesterday"] {
        assert_eq!(acme.get(&format!("calls?{query}")).await.problem(), (400, "bad_request"), "{query}");
    }
}

#[tokio::test]
async fn an_id_that_is_none_is_answered_like_one_that_is_missing() {
    let exchange = Exchange::new().await;
    let missing = exchange.operator.get("/members/00000000-0000-7000-8000-000000000000").await;
    for path in ["/members/x", "/members/%00", "/members/..%2f..", "/members/00000000"] {
        let answer = exchange.operator.get(path).await;
        assert_eq!(answer.problem(), (404, "not_found"), "{path}");
        assert_eq!(answer.text, missing.text, "{path}");
    }
}

#[tokio::test]
async fn no_control_character_reaches_what_sip_csv_or_a_page_shows() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    for hostile in ["a\rb", "a\nb", "a\u{0}b", "a\u{2028}b", "a\u{1b}[31m"] {
        let patch = json!({ "display_name": hostile });
        let answer = acme.caller.send("PATCH", &format!("/members/{}", acme.id), Some(patch)).await;
        assert_eq!(answer.fields(), ["display_name"], "{hostile:?}");
        let user = json!({ "email": format!("{hostile}@x.example"), "password": "long enough to be one" });
        assert_eq!(acme.post("users", user).await.fields(), ["email"], "{hostile:?}");
        let token = json!({ "name": hostile, "expires_at": "2030-02-01T00:00:00Z" });
        assert_eq!(acme.caller.post("/tokens", token).await.fields(), ["name"], "{hostile:?}");
    }
    for hostile in ["a\u{0}b", "a\u{202e}b"] {
        let range = json!({ "prefix": "+4420", "evidence": hostile });
        assert_eq!(acme.post("ranges", range).await.fields(), ["evidence"], "{hostile:?}");
        let proposal = json!({ "with": "acme", "direction": "both", "note": hostile });
        assert_eq!(acme.post("agreements", proposal).await.fields(), ["note"], "{hostile:?}");
    }
    for spelling in ["+44 20", "004420", "４４20", "4420;npdi", "", "+", "=1+1"] {
        let range = json!({ "prefix": spelling, "evidence": "" });
        assert_eq!(acme.post("ranges", range).await.fields(), ["prefix"], "{spelling:?}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    for number in 1..=7 {
        acme.endpoint(&format!("e{number}"), number).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = acme.get(&format!("endpoints?limit=3{cursor}")).await.expect(200);
        assert!(page.items().len() <= 3);
        seen.extend(page.items().iter().map(|it| it["name"].as_str().unwrap().to_owned()));
        match page.json["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["e7", "e6", "e5", "e4", "e3", "e2", "e1"]);
}

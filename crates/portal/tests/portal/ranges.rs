//! Which numbers a member may claim and announce, and what the API says of them.

use serde_json::{Value, json};
use tandem_model::Clock;

use crate::exchange::Exchange;

#[tokio::test]
async fn a_prefix_that_begins_no_number_is_neither_claimed_nor_announced() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    for (prefix, code) in [
        ("+999", "prefix_impossible"),
        ("+4", "prefix_impossible"),
        ("+44207946000012", "prefix_impossible"),
        ("+44999", "prefix_emergency"),
        ("+1911", "prefix_emergency"),
    ] {
        let claim = acme.post("ranges", json!({ "prefix": prefix, "evidence": "" })).await;
        assert_eq!((claim.problem(), claim.fields()), ((422, code), vec!["prefix"]), "{prefix}");
        let announced = acme.announce(prefix).await;
        assert_eq!((announced.problem(), announced.fields()), ((422, code), vec!["prefix"]), "{prefix}");
        let row = json!({ "announcements": [{ "prefix": prefix, "endpoints": ["acme-1"] }] });
        assert_eq!(acme.post("announcements/bulk", row).await.problem(), (422, code), "{prefix}");
    }
    // Numbers that the country has given out lately are verified by the operator, and announced before or after.
    let claim = acme.post("ranges", json!({ "prefix": "+44100", "evidence": "" })).await;
    assert_eq!((claim.problem(), claim.fields()), ((422, "prefix_unallocated"), vec!["prefix"]));
    let announced = acme.announce("+44100").await.expect(201);
    assert_eq!((&announced.json["numbering"], &announced.json["routable"]), (&Value::Null, &json!(false)));
    // Of faults of several kinds the problem names none; each field says its own.
    let rows = json!({ "announcements": [
        { "prefix": "+44999", "endpoints": ["acme-1"] }, { "prefix": "+999", "endpoints": ["acme-1"] },
    ] });
    let answer = acme.post("announcements/bulk", rows).await;
    assert_eq!((answer.problem(), answer.fields()), ((422, "invalid"), vec!["prefix", "prefix"]));
    assert_eq!(acme.get("announcements").await.items().len(), 1);
}

#[tokio::test]
async fn ranges_announcements_and_lookups_say_the_country_and_the_type() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+44207946").await;
    let london = json!({ "country_code": 44, "countries": ["GB"], "types": ["fixed_line"] });
    assert_eq!(acme.get("ranges").await.items()[0]["numbering"], london);
    assert_eq!(acme.announce("+442079460").await.expect(201).json["numbering"], london);
    exchange.route().await;
    for (called, expected) in [
        ("442079460000", london),
        ("18005550100", json!(["toll_free"])),
        ("449098790000", json!(["premium_rate"])),
        ("99912345678", Value::Null),
    ] {
        let seen = acme.get(&format!("lookup?called={called}")).await.expect(200).json["numbering"].clone();
        let seen = if expected.is_array() { seen["types"].clone() } else { seen };
        assert_eq!(seen, expected, "{called}");
    }
}

#[tokio::test]
async fn another_spelling_of_a_prefix_is_refused_or_means_the_same() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.member("globex").await;
    globex.endpoint("globex-1", 2).await;
    for spelling in [
        "+44 20",
        "004420",
        "+44-20",
        "４４２０",
        "+４４20",
        "4420;npdi",
        "+4420;rn=+4420",
        "(44)20",
        "tel:+4420",
    ] {
        for member in [&acme, &globex] {
            let claim = member.post("ranges", json!({ "prefix": spelling, "evidence": "" })).await;
            assert_eq!((claim.problem(), claim.fields()), ((422, "invalid"), vec!["prefix"]), "{spelling}");
            assert_eq!(member.announce(spelling).await.problem(), (422, "invalid"), "{spelling}");
        }
    }
    // Without the plus it is the same range: its holder has it already, and another's claim is not verified.
    for spelling in ["4420", "+4420"] {
        let claim = acme.post("ranges", json!({ "prefix": spelling, "evidence": "" })).await;
        assert_eq!(claim.problem(), (409, "conflict"), "{spelling}");
    }
    let claim = globex.post("ranges", json!({ "prefix": "4420", "evidence": "" })).await.expect(201);
    assert_eq!(claim.text("prefix"), "+4420");
    let verify = format!("/ranges/{}/verify", claim.text("range_id"));
    assert_eq!(exchange.operator.post(&verify, json!({})).await.problem(), (409, "range_overlaps"));
}

#[tokio::test]
async fn of_fifty_equal_claims_at_once_one_comes_first_and_each_member_sees_the_dispute() {
    let exchange = Exchange::new().await;
    let mut members = Vec::new();
    for number in 0..50 {
        members.push(exchange.member(&format!("m{number}")).await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for member in members.clone() {
        let claim = json!({ "prefix": "+4420", "evidence": "mine" });
        tasks.spawn(async move { member.post("ranges", claim).await.expect(201) });
    }
    tasks.join_all().await;
    let waiting = exchange.operator.get("/ranges?authority=pending&limit=100").await.expect(200);
    let first: Vec<&Value> = waiting.items().iter().filter(|it| it["authority"] == "pending").collect();
    assert_eq!((waiting.items().len(), first.len()), (50, 1), "{}", waiting.text);
    let disputed = exchange.operator.get("/ranges?authority=disputed&limit=100").await.expect(200);
    assert_eq!(disputed.items().len(), 49);
    for range in disputed.items() {
        assert_eq!(
            (&range["reason"], &range["conflicts"][0]["precedes"]),
            (&json!("range_disputed"), &json!(true))
        );
    }
    // The first one sees who else claims its numbers, and the others see who came first.
    let name = first[0]["member_name"].as_str().unwrap();
    for member in &members {
        let own = member.get("ranges").await.expect(200).items()[0].clone();
        let named = own["conflicts"][0]["member_name"].as_str().unwrap();
        assert_eq!(named == name, member.name != name, "{own}");
        assert_eq!(own["conflicts"].as_array().unwrap().len(), 20);
    }
    // All are verified at once: one is, and it need not be the first.
    let mut tasks = tokio::task::JoinSet::new();
    for range in waiting.items() {
        let (operator, id) = (exchange.operator.clone(), range["range_id"].as_str().unwrap().to_owned());
        tasks.spawn(async move { operator.post(&format!("/ranges/{id}/verify"), json!({})).await.status });
    }
    let mut statuses = tasks.join_all().await;
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (200, &[409; 49][..]));
}

#[tokio::test]
async fn a_claim_is_disputed_while_a_range_of_another_member_stands_in_its_way() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+44207").await;
    let globex = exchange.member("globex").await;
    for prefix in ["+44207", "+4420", "+44207946"] {
        let claim = json!({ "prefix": prefix, "evidence": "ours" });
        let claim = globex.post("ranges", claim).await.expect(201);
        assert_eq!(
            (claim.text("authority"), claim.text("reason")),
            ("disputed".into(), "range_disputed".into())
        );
        assert_eq!(claim.json["conflicts"][0]["member_name"], "acme");
    }
    // What does not overlap is not disputed, and a refused claim stands in nobody's way.
    let claim = json!({ "prefix": "+44208", "evidence": "ours" });
    let sibling = globex.post("ranges", claim.clone()).await.expect(201);
    assert_eq!(sibling.text("authority"), "pending");
    exchange
        .operator
        .post(&format!("/ranges/{}/refuse", sibling.text("range_id")), json!({}))
        .await
        .expect(200);
    let claim = acme.post("ranges", claim).await.expect(201);
    let conflicts = claim.json["conflicts"].as_array().unwrap();
    assert_eq!((conflicts.len(), &conflicts[0]["prefix"]), (1, &json!("+4420")), "{}", claim.text);

    let held = acme.get("ranges").await.items()[1].clone();
    assert_eq!((&held["authority"], held["conflicts"].as_array().unwrap().len()), (&json!("valid"), 3));
    assert_eq!(held["conflicts"][0]["precedes"], false);
    exchange.clock.advance(std::time::Duration::from_secs(60));
    acme.delete(&format!("ranges/{}", held["range_id"].as_str().unwrap())).await.expect(204);
    for range in globex.get("ranges").await.items().iter().filter(|it| it["prefix"] != "+44208") {
        assert_eq!(range["authority"], "pending", "acme has claimed +44208 later: {range}");
    }
}

#[tokio::test]
async fn a_range_ends_unless_it_is_renewed_and_warns_before() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    acme.endpoint("acme-1", 1).await;
    let day = |days| exchange.clock.now() + chrono::TimeDelta::days(days);
    let claim = json!({ "prefix": "+4420", "evidence": "leased", "valid_until": day(40) });
    let id = acme.post("ranges", claim).await.expect(201).text("range_id");
    let (verify, refuse) = (format!("/ranges/{id}/verify"), format!("/ranges/{id}/refuse"));
    let renew = format!("ranges/{id}/renew");
    let renewal = |until| json!({ "evidence": "leased again", "valid_until": until });
    assert_eq!(
        acme.post(&renew, renewal(day(90))).await.problem(),
        (409, "conflict"),
        "it is not verified yet"
    );
    exchange.operator.post(&verify, json!({})).await.expect(200);
    acme.announce("+44207").await.expect(201);
    let range = async || acme.get("ranges").await.items()[0].clone();
    assert_eq!(range().await["expires_soon"], false);
    exchange.clock.advance(std::time::Duration::from_secs(11 * 86_400));
    assert_eq!(range().await["expires_soon"], true);

    // The operator does not renew it: it stands until its end.
    acme.post(&renew, renewal(day(90))).await.expect(200);
    assert_eq!(
        (&range().await["authority"], &range().await["expires_soon"]),
        (&json!("valid"), &json!(false))
    );
    assert_eq!(exchange.operator.get("/ranges?authority=pending").await.items().len(), 1);
    exchange.operator.post(&refuse, json!({})).await.expect(200);
    assert_eq!(
        (&range().await["authority"], &range().await["expires_soon"]),
        (&json!("valid"), &json!(true))
    );
    assert_eq!(exchange.operator.get("/ranges?authority=pending").await.items().len(), 0);

    acme.post(&renew, renewal(day(90))).await.expect(200);
    exchange.operator.post(&verify, json!({})).await.expect(200);
    exchange.clock.advance(std::time::Duration::from_secs(60 * 86_400));
    assert_eq!(range().await["authority"], "valid");
    assert_eq!(acme.get("announcements").await.items()[0]["authority"], "valid");

    exchange.clock.advance(std::time::Duration::from_secs(31 * 86_400));
    assert_eq!(
        (&range().await["authority"], &range().await["reason"]),
        (&json!("expired"), &json!("range_expired"))
    );
    let announced = acme.get("announcements").await.items()[0].clone();
    assert_eq!((&announced["authority"], &announced["routable"]), (&json!("expired"), &json!(false)));
    assert_eq!(acme.post(&renew, renewal(day(9))).await.problem(), (409, "conflict"));
    let past = json!({ "prefix": "+44161", "evidence": "", "valid_until": day(-1) });
    assert_eq!(acme.post("ranges", past).await.fields(), ["valid_until"]);
}

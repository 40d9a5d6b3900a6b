//! Which numbers a member may claim and announce, and what the API says of them.

use serde_json::{Value, json};

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
        ("+44100", "prefix_unallocated"),
    ] {
        let claim = acme.post("ranges", json!({ "prefix": prefix, "evidence": "" })).await;
        assert_eq!((claim.problem(), claim.fields()), ((422, code), vec!["prefix"]), "{prefix}");
        let announced = acme.announce(prefix).await;
        assert_eq!((announced.problem(), announced.fields()), ((422, code), vec!["prefix"]), "{prefix}");
        let row = json!({ "announcements": [{ "prefix": prefix, "endpoints": ["acme-1"] }] });
        assert_eq!(acme.post("announcements/bulk", row).await.problem(), (422, code), "{prefix}");
    }
    // Of faults of several kinds the problem names none; each field says its own.
    let rows = json!({ "announcements": [
        { "prefix": "+44999", "endpoints": ["acme-1"] }, { "prefix": "+999", "endpoints": ["acme-1"] },
    ] });
    let answer = acme.post("announcements/bulk", rows).await;
    assert_eq!((answer.problem(), answer.fields()), ((422, "invalid"), vec!["prefix", "prefix"]));
    assert_eq!(acme.get("announcements").await.items().len(), 0);
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

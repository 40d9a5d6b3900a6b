use std::time::Duration;

use serde_json::{Value, json};

use crate::exchange::{Caller, Exchange, Member, endpoint};

async fn seen_by(caller: &Caller, path: &str) -> Value {
    caller.get(path).await.expect(200).json
}

/// Lines such as `+49301 globex accepted - acme`.
fn lines(glass: &Value) -> Vec<String> {
    let line = |it: &Value| {
        let reaches: Vec<&str> =
            it["reaches"].as_array().unwrap().iter().map(|it| it["member_name"].as_str().unwrap()).collect();
        let what = if it["accepted"] == true { "accepted" } else { "refused" };
        let reason = it["reason"]["code"].as_str().unwrap_or("-");
        if reason != "-" {
            for text in ["sentence", "remedy"] {
                assert!(it["reason"][text].as_str().is_some_and(|text| !text.is_empty()), "{it}");
            }
        }
        let (prefix, member) = (it["prefix"].as_str().unwrap(), it["member_name"].as_str().unwrap());
        format!("{prefix} {member} {what} {reason} {}", reaches.join(",")).trim_end().to_owned()
    };
    glass["announcements"].as_array().unwrap().iter().map(line).collect()
}

async fn own(member: &Member, of: &str) -> Vec<String> {
    lines(&seen_by(&member.caller, &member.path(&format!("looking-glass?of={of}"))).await)
}

#[tokio::test]
async fn the_operator_sees_all_and_a_member_its_own_and_what_gets_its_calls() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    let initech = exchange.provider("initech", 3, "+4940").await;
    globex.announce("+4930").await.expect(201);
    globex.announce("+49301").await.expect(201);
    globex.announce("+495").await.expect(201);
    initech.announce("+4940").await.expect(201);
    exchange.agree(&acme, &globex, "both").await;
    exchange.agree(&globex, &initech, "both").await;
    exchange.route().await;

    let all = seen_by(&exchange.operator, "/looking-glass?of=49&from=acme").await;
    let everything = [
        "+4930 globex accepted - acme,initech",
        "+49301 globex accepted - acme,initech",
        "+4940 initech accepted - globex",
        "+495 globex refused range_missing",
    ];
    let sorted = |mut lines: Vec<String>| {
        for line in &mut lines {
            if let Some(names) = line.strip_suffix("initech,acme") {
                *line = format!("{names}acme,initech");
            }
        }
        lines
    };
    assert_eq!(sorted(lines(&all)), everything);
    assert_eq!((&all["selection"], &all["has_more"]), (&json!(null), &json!(false)));
    assert_eq!(all["table_version"], exchange.feed_position().await);

    assert_eq!(own(&acme, "49").await, ["+4930 globex accepted - acme", "+49301 globex accepted - acme"]);
    assert_eq!(own(&initech, "4940").await, ["+4940 initech accepted - globex"]);
    let globex_sees = sorted(own(&globex, "49").await);
    assert_eq!(globex_sees, everything);
    // How many others a member reaches is its own matter.
    let seen = seen_by(&acme.caller, &acme.path("looking-glass?of=%2B49301")).await;
    assert!(
        seen["announcements"].as_array().unwrap().iter().all(|it| it["reaches_count"].is_null()),
        "{seen}"
    );
    assert!(!seen.to_string().contains("initech"), "{seen}");

    let number = seen_by(&acme.caller, &acme.path("looking-glass?of=493012345")).await;
    assert_eq!(number["selection"]["candidates"][0]["member_name"], "globex");
    assert_eq!(number["selection"]["matched"], "+49301");
    let wrong = acme.get("looking-glass?of=nonsense").await;
    assert_eq!((wrong.problem(), wrong.fields()), ((422, "invalid"), vec!["of"]));
    let unknown = exchange.operator.get("/looking-glass?of=49&from=nobody").await;
    assert_eq!((unknown.problem(), unknown.fields()), ((422, "invalid"), vec!["from"]));
}

/// An exchange in which globex announces +49301, accepted and with an agreement with acme, and one thing is wrong.
struct Scene {
    exchange: Exchange,
    globex: Member,
}

impl Scene {
    async fn new(agreed: bool) -> Self {
        let exchange = Exchange::new().await;
        let acme = exchange.member("acme").await;
        let globex = exchange.provider("globex", 2, "+4930").await;
        if agreed {
            exchange.agree(&acme, &globex, "both").await;
        }
        Self { exchange, globex }
    }

    async fn expect(&self, of: &str, expected: &str) {
        self.exchange.route().await;
        let all = seen_by(&self.exchange.operator, &format!("/looking-glass?of={of}")).await;
        assert_eq!(lines(&all), [expected]);
        assert_eq!(own(&self.globex, of).await, [expected]);
    }
}

#[tokio::test]
async fn it_shows_that_a_range_is_missing() {
    let scene = Scene::new(true).await;
    scene.globex.announce("+33").await.expect(201);
    scene.expect("33", "+33 globex refused range_missing").await;
}

#[tokio::test]
async fn it_shows_that_a_range_is_unverified() {
    let scene = Scene::new(true).await;
    scene.globex.post("ranges", json!({ "prefix": "+34", "evidence": "" })).await.expect(201);
    scene.globex.announce("+34").await.expect(201);
    scene.expect("34", "+34 globex refused range_unverified").await;
}

#[tokio::test]
async fn it_shows_that_a_range_has_expired() {
    let scene = Scene::new(true).await;
    scene.globex.announce("+49301").await.expect(201);
    scene.exchange.clock.advance(Duration::from_secs(1));
    let range = scene.globex.get("ranges").await.items()[0]["range_id"].as_str().unwrap().to_owned();
    scene.globex.delete(&format!("ranges/{range}")).await.expect(204);
    scene.expect("4930", "+49301 globex refused range_expired").await;
}

#[tokio::test]
async fn it_shows_that_an_announcement_is_not_in_force_yet() {
    let scene = Scene::new(true).await;
    let later =
        json!({ "prefix": "+49302", "endpoints": ["globex-1"], "valid_from": "2030-02-01T00:00:00Z" });
    scene.globex.post("announcements", later).await.expect(201);
    scene.expect("4930", "+49302 globex refused not_yet_in_force").await;
}

#[tokio::test]
async fn it_shows_that_the_member_is_not_approved() {
    let scene = Scene::new(true).await;
    scene.globex.announce("+49301").await.expect(201);
    let path = format!("/members/{}", scene.globex.id);
    scene.exchange.operator.send("PATCH", &path, Some(json!({ "state": "suspended" }))).await.expect(200);
    scene.expect("4930", "+49301 globex refused member_not_approved").await;
}

#[tokio::test]
async fn it_shows_that_nobody_has_an_agreement() {
    let scene = Scene::new(false).await;
    scene.globex.announce("+49301").await.expect(201);
    scene.expect("4930", "+49301 globex accepted no_agreement").await;
}

#[tokio::test]
async fn it_shows_that_the_agreement_is_suspended() {
    let scene = Scene::new(true).await;
    scene.globex.announce("+49301").await.expect(201);
    let id = scene.globex.get("agreements").await.items()[0]["agreement_id"].as_str().unwrap().to_owned();
    scene.globex.post(&format!("agreements/{id}/suspend"), json!({})).await.expect(200);
    scene.expect("4930", "+49301 globex accepted agreement_suspended").await;
}

/// An exchange in which globex announces +49301, under an agreement that acme offered with these terms.
async fn with_terms(terms: Value) -> Scene {
    let scene = Scene::new(false).await;
    scene.globex.announce("+49301").await.expect(201);
    let mut proposal = json!({ "with": "acme", "direction": "both" });
    proposal.as_object_mut().unwrap().extend(terms.as_object().unwrap().clone());
    let id = scene.globex.post("agreements", proposal).await.expect(201).text("agreement_id");
    let members = scene.exchange.operator.get("/members").await;
    let acme = members.items().iter().find(|it| it["name"] == "acme").unwrap()["member_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/members/{acme}/agreements/{id}/accept");
    scene.exchange.operator.post(&path, json!({})).await.expect(200);
    scene
}

#[tokio::test]
async fn it_shows_that_the_agreement_covers_other_prefixes() {
    let scene = with_terms(json!({ "own_prefixes": ["+49309"] })).await;
    scene.expect("4930", "+49301 globex accepted agreement_prefix").await;
}

#[tokio::test]
async fn it_shows_that_the_announcement_lacks_tags_that_the_agreement_demands() {
    let scene = with_terms(json!({ "demand": "cli-guaranteed or no-transit" })).await;
    scene.expect("4930", "+49301 globex accepted agreement_tags").await;
}

#[tokio::test]
async fn it_shows_that_the_agreement_lets_no_call_cross_at_this_hour() {
    // The clock of the test stands at the beginning of 2030, a Tuesday.
    let hours = json!({ "zone": "UTC", "windows": [{ "days": ["tue"], "from": "00:01", "until": "24:00" }] });
    let scene = with_terms(json!({ "hours": hours })).await;
    scene.expect("4930", "+49301 globex accepted agreement_hours").await;
    scene.exchange.clock.advance(Duration::from_secs(60));
    scene.expect("4930", "+49301 globex accepted - acme").await;
}

#[tokio::test]
async fn it_shows_that_no_endpoint_is_enabled() {
    let scene = Scene::new(true).await;
    scene.globex.announce("+49301").await.expect(201);
    let id = scene.globex.get("endpoints").await.items()[0]["endpoint_id"].as_str().unwrap().to_owned();
    let mut disabled = endpoint("globex-1", 2);
    disabled["enabled"] = json!(false);
    scene.globex.put(&format!("endpoints/{id}"), disabled).await.expect(200);
    scene.expect("4930", "+49301 globex accepted endpoint_disabled").await;
}

#[tokio::test]
async fn it_shows_that_the_endpoint_is_not_registered() {
    let scene = Scene::new(true).await;
    scene.globex.announce("+49301").await.expect(201);
    let id = scene.globex.get("endpoints").await.items()[0]["endpoint_id"].as_str().unwrap().to_owned();
    let mut registers = endpoint("globex-1", 2);
    registers["target"] = json!("registration");
    scene.globex.put(&format!("endpoints/{id}"), registers).await.expect(200);
    scene.expect("4930", "+49301 globex accepted not_registered").await;
}

#[tokio::test]
async fn it_shows_that_a_longer_prefix_or_the_own_number_decides_for_a_number() {
    let scene = Scene::new(true).await;
    scene.globex.announce("+4930").await.expect(201);
    scene.globex.announce("+49301").await.expect(201);
    scene.exchange.route().await;
    for (from, expected) in [("acme", "longer_prefix"), ("globex", "own_number")] {
        let path = format!("/looking-glass?of=493012345&from={from}");
        let seen = seen_by(&scene.exchange.operator, &path).await;
        let codes: Vec<&Value> =
            seen["selection"]["left_out"].as_array().unwrap().iter().map(|it| &it["code"]).collect();
        assert!(codes.contains(&&json!(expected)), "{seen}");
    }
}

#[tokio::test]
async fn it_shows_that_another_member_holds_the_range() {
    let scene = Scene::new(true).await;
    scene.exchange.provider("initech", 3, "+4940").await;
    scene.globex.announce("+4940").await.expect(201);
    scene.expect("4940", "+4940 globex refused range_of_other").await;
}

#[tokio::test]
async fn it_shows_that_an_announcement_is_too_broad() {
    let scene = Scene::new(true).await;
    scene.globex.announce("+493").await.expect(201);
    scene.expect("493", "+493 globex refused announcement_too_broad").await;
}

#[tokio::test]
async fn it_shows_that_the_number_is_blocked() {
    let scene = Scene::new(true).await;
    scene.globex.announce("+49301").await.expect(201);
    let members = scene.exchange.operator.get("/members").await;
    let acme = members.items().iter().find(|it| it["name"] == "acme").unwrap()["member_id"].clone();
    let of_acme = format!("/members/{}/block-list", acme.as_str().unwrap());
    for (path, expected) in [(of_acme.as_str(), "blocked_by_member"), ("/block-list", "blocked_by_operator")]
    {
        let block = |prefixes: Value| {
            scene.exchange.operator.send("PUT", path, Some(json!({ "prefixes": prefixes })))
        };
        block(json!(["+49301"])).await.expect(200);
        scene.expect("4930", &format!("+49301 globex accepted {expected}")).await;
        block(json!([])).await.expect(200);
        scene.expect("4930", "+49301 globex accepted - acme").await;
    }
}

#[tokio::test]
async fn it_shows_why_an_offer_of_transit_gets_no_calls() {
    let scene = Scene::new(false).await;
    let deck =
        scene.globex.post("rate-decks", json!({ "name": "a-z" })).await.expect(201).text("rate_deck_id");
    let load = json!({ "rates": [{ "prefix": "+33", "per_minute": "0.02" }] });
    scene.globex.put(&format!("rate-decks/{deck}/rates"), load).await.expect(200);
    let offer = json!({ "name": "pstn", "rate_deck_id": deck, "endpoints": ["globex-1"] });
    let offer = scene.globex.post("transit-offers", offer).await.expect(201).text("transit_offer_id");
    scene.expect("33", "+33 globex refused transit_not_permitted").await;
    let permission = format!("/transit-offers/{offer}/permission");
    scene.exchange.operator.send("PUT", &permission, Some(json!({ "permitted": true }))).await.expect(200);
    scene.expect("33", "+33 globex accepted no_agreement").await;
    // What a club asks of transit.
    let operator = &scene.exchange.operator;
    let prices =
        operator.post("/rate-decks", json!({ "name": "prices" })).await.expect(201).text("rate_deck_id");
    let members = operator.get("/members").await;
    let members: Vec<&str> = members.items().iter().map(|it| it["member_id"].as_str().unwrap()).collect();
    for (name, transit, paid, expected) in [
        ("ceiling", json!({ "max_rate": "0.01" }), None, "rate_too_high"),
        ("unpriced", json!({ "rate_deck_id": prices, "margin_floor": "0" }), None, "at_a_loss"),
        ("floor", json!({ "rate_deck_id": prices, "margin_floor": "0.01" }), Some("0.021"), "at_a_loss"),
        ("fair", json!({ "rate_deck_id": prices, "margin_floor": "0.001" }), Some("0.021"), "- acme"),
    ] {
        let rates: Vec<Value> =
            paid.iter().map(|paid| json!({ "prefix": "+33", "per_minute": paid })).collect();
        let load = json!({ "rates": rates });
        operator.send("PUT", &format!("/rate-decks/{prices}/rates"), Some(load)).await.expect(200);
        let club = json!({ "name": name, "display_name": name, "transit": transit });
        let club = operator.post("/clubs", club).await.expect(201).text("club_id");
        for (what, shown) in [("join", expected), ("leave", "no_agreement")] {
            for member in &members {
                operator.post(&format!("/members/{member}/clubs/{club}/{what}"), json!({})).await.expect(200);
            }
            scene.expect("33", &format!("+33 globex accepted {shown}")).await;
            scene.exchange.clock.advance(Duration::from_secs(1));
        }
    }
}

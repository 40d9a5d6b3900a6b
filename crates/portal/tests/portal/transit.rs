//! Transit through the API: decks are loaded, offers permitted, terms asked, numbers blocked; lookups say what comes of it.

use std::time::Duration;

use serde_json::{Value, json};
use tandem_model::Clock;

use crate::calls::answered;
use crate::exchange::{Exchange, Member};

/// A member with an endpoint that offers transit at some rates, permitted, with an agreement with `caller`.
async fn telco(exchange: &Exchange, name: &str, number: u8, caller: &Member, rates: Value) -> Telco {
    let member = exchange.member(name).await;
    member.endpoint(&format!("{name}-1"), number).await;
    let deck = member.post("rate-decks", json!({ "name": "a-z" })).await.expect(201).text("rate_deck_id");
    member.put(&format!("rate-decks/{deck}/rates"), json!({ "rates": rates })).await.expect(200);
    let offer = json!({ "name": "pstn", "rate_deck_id": deck, "endpoints": [format!("{name}-1")] });
    let offer = member.post("transit-offers", offer).await.expect(201).text("transit_offer_id");
    exchange.agree(caller, &member, "both").await;
    let telco = Telco { member, deck, offer };
    telco.permit(exchange, true, 100).await;
    telco
}

struct Telco {
    member: Member,
    deck: String,
    offer: String,
}

impl Telco {
    async fn permit(&self, exchange: &Exchange, permitted: bool, preference: u16) {
        let path = format!("/transit-offers/{}/permission", self.offer);
        let said = json!({ "permitted": permitted, "preference": preference });
        exchange.operator.send("PUT", &path, Some(said)).await.expect(200);
    }
}

/// What a lookup of acme says: the members in order, then what was left out with its code.
async fn look(exchange: &Exchange, acme: &Member, called: &str) -> (Vec<String>, Vec<String>) {
    exchange.route().await;
    let seen = acme.get(&format!("lookup?called={called}")).await.expect(200).json;
    let list =
        |key: &str, line: fn(&Value) -> String| seen[key].as_array().unwrap().iter().map(line).collect();
    (
        list("candidates", |it| {
            format!("{} {}", it["member_name"].as_str().unwrap(), it["kind"].as_str().unwrap())
        }),
        list("left_out", |it| {
            format!("{} {}", it["member_name"].as_str().unwrap(), it["code"].as_str().unwrap())
        }),
    )
}

#[tokio::test]
async fn home_comes_first_then_the_cheapest_transit_and_what_is_not_permitted_is_left_out() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    globex.announce("+4930").await.expect(201);
    exchange.agree(&acme, &globex, "both").await;
    let rate = |rate: &str| json!([{ "prefix": "+49", "per_minute": rate }]);
    let dear = telco(&exchange, "dear", 3, &acme, rate("0.02")).await;
    let cheap = telco(&exchange, "cheap", 4, &acme, rate("0.01")).await;
    let none: Vec<String> = Vec::new();
    assert_eq!(
        look(&exchange, &acme, "493012345").await,
        (vec!["globex home".into(), "cheap transit".into(), "dear transit".into()], none.clone())
    );
    assert_eq!(
        look(&exchange, &acme, "494012345").await,
        (vec!["cheap transit".into(), "dear transit".into()], none)
    );
    cheap.permit(&exchange, false, 100).await;
    assert_eq!(
        look(&exchange, &acme, "494012345").await,
        (vec!["dear transit".into()], vec!["cheap transit_not_permitted".into()])
    );
    cheap.permit(&exchange, true, 100).await;
    // From an instant on the dear one is the cheaper one.
    let from = exchange.clock.now() + Duration::from_secs(60);
    let load = json!({ "valid_from": from, "rates": [{ "prefix": "+49", "per_minute": "0.005" }] });
    dear.member.put(&format!("rate-decks/{}/rates", dear.deck), load).await.expect(200);
    assert_eq!(look(&exchange, &acme, "494012345").await.0, ["cheap transit", "dear transit"]);
    exchange.clock.advance(Duration::from_secs(60));
    assert_eq!(look(&exchange, &acme, "494012345").await.0, ["dear transit", "cheap transit"]);
    dear.member.delete(&format!("transit-offers/{}", dear.offer)).await.expect(204);
    assert_eq!(look(&exchange, &acme, "494012345").await.0, ["cheap transit"]);
    // The rate is whose it is, and the operator's.
    let seen = acme.get("lookup?called=494012345").await.json;
    assert_eq!((&seen["candidates"][0]["rate"], &seen["matched"]), (&Value::Null, &Value::Null));
    let seen = exchange.operator.get("/lookup?from=acme&called=494012345").await.json;
    assert_eq!(
        (&seen["candidates"][0]["rate"], &seen["candidates"][0]["prefix"]),
        (&json!("0.0100"), &json!("+49"))
    );
    let seen = exchange.operator.get("/looking-glass?of=494012345").await.json;
    let offers = seen["announcements"].as_array().unwrap();
    let of_cheap = offers.iter().find(|it| it["member_name"] == "cheap").unwrap();
    assert_eq!(
        (&of_cheap["kind"], &of_cheap["accepted"], &of_cheap["reaches"][0]["member_name"]),
        (&json!("transit"), &json!(true), &json!("acme"))
    );
}

#[tokio::test]
async fn terms_bound_what_transit_costs_and_what_is_left_of_what_is_paid() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let telco = telco(&exchange, "telco", 3, &acme, json!([{ "prefix": "+49", "per_minute": "0.01" }])).await;
    let prices = exchange
        .operator
        .post("/rate-decks", json!({ "name": "prices" }))
        .await
        .expect(201)
        .text("rate_deck_id");
    let club = async |name: &str, transit: Value| {
        let described = json!({ "name": name, "display_name": name, "transit": transit });
        exchange.operator.post("/clubs", described).await
    };
    let agreements = acme.get("agreements").await.items().clone();
    let agreement = agreements[0]["agreement_id"].as_str().unwrap().to_owned();
    acme.post(&format!("agreements/{agreement}/end"), json!({})).await.expect(200);
    exchange.clock.advance(Duration::from_secs(1));
    for (name, transit, rates, expected) in [
        ("ceiling", json!({ "max_rate": "0.009" }), json!([]), "telco rate_too_high"),
        (
            "floor",
            json!({ "rate_deck_id": prices, "margin_floor": "0.002" }),
            json!([{ "prefix": "+4", "per_minute": "0.011" }]),
            "telco at_a_loss",
        ),
        (
            "enough",
            json!({ "rate_deck_id": prices, "margin_floor": "0.001" }),
            json!([{ "prefix": "+4", "per_minute": "0.011" }]),
            "",
        ),
    ] {
        exchange
            .operator
            .send("PUT", &format!("/rate-decks/{prices}/rates"), Some(json!({ "rates": rates })))
            .await
            .expect(200);
        let club = club(name, transit).await.expect(201).text("club_id");
        for member in [&acme, &telco.member] {
            member.post(&format!("clubs/{club}/join"), json!({})).await.expect(200);
        }
        let (routed, left_out) = look(&exchange, &acme, "494012345").await;
        assert_eq!(left_out.first().map_or("", String::as_str), expected);
        assert_eq!(routed.is_empty(), !expected.is_empty());
        let seen = acme.get("clubs").await.items().clone();
        assert!(seen.iter().all(|it| it["transit"]["margin_floor"].is_null()), "the floor is the operator's");
        // Who is to pay by a deck sees what it says; the deck of the one that offers is not theirs to see.
        let said = acme.get(&format!("rate-decks/{prices}/rates")).await;
        match seen.iter().any(|it| it["transit"]["rate_deck_id"] == *prices) {
            true => assert_eq!(said.expect(200).items()[0]["per_minute"], "0.0110"),
            false => assert_eq!(said.problem(), (404, "not_found")),
        }
        assert_eq!(acme.get(&format!("rate-decks/{}/rates", telco.deck)).await.problem(), (404, "not_found"));
        for member in [&acme, &telco.member] {
            member.post(&format!("clubs/{club}/leave"), json!({})).await.expect(200);
        }
        exchange.clock.advance(Duration::from_secs(1));
    }
    for (transit, field) in [
        (json!({ "max_rate": "-1" }), "transit.max_rate"),
        (json!({ "margin_floor": "0.1" }), "transit.rate_deck_id"),
        (json!({ "rate_deck_id": telco.deck }), "transit.rate_deck_id"),
        (json!({ "min_asr_percent": 101 }), "transit.min_asr_percent"),
    ] {
        assert_eq!(club("wrong", transit).await.expect(422).fields(), [field]);
    }
}

#[tokio::test]
async fn a_member_sees_the_rates_by_which_it_would_pay_as_long_as_terms_name_them() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let initech = exchange.member("initech").await;
    let globex = exchange.member("globex").await;
    let deck = globex.post("rate-decks", json!({ "name": "a-z" })).await.expect(201).text("rate_deck_id");
    let rates = json!({ "rates": [{ "prefix": "+49", "per_minute": "0.011" }] });
    let path = format!("rate-decks/{deck}/rates");
    globex.put(&path, rates.clone()).await.expect(200);
    assert_eq!(acme.get(&path).await.problem(), (404, "not_found"));
    let proposal = json!({ "with": "acme", "direction": "both", "transit": { "rate_deck_id": deck } });
    let agreement = globex.post("agreements", proposal).await.expect(201).text("agreement_id");
    assert_eq!(acme.get(&path).await.expect(200).items()[0]["per_minute"], "0.0110");
    assert_eq!(acme.put(&path, rates).await.problem(), (404, "not_found"));
    acme.post(&format!("agreements/{agreement}/accept"), json!({})).await.expect(200);
    acme.get(&path).await.expect(200);
    assert_eq!(initech.get(&path).await.problem(), (404, "not_found"));
    acme.post(&format!("agreements/{agreement}/end"), json!({})).await.expect(200);
    assert_eq!(acme.get(&path).await.problem(), (404, "not_found"));
    // Naming another's deck does not show it, and an offer that was refused shows nothing any more.
    exchange.clock.advance(Duration::from_secs(1));
    for (offering, other, shown) in [(&acme, "globex", 404), (&globex, "acme", 200)] {
        let terms = json!({ "with": other, "direction": "both", "transit": { "rate_deck_id": deck } });
        let offer = offering.post("agreements", terms).await.expect(201).text("agreement_id");
        acme.get(&path).await.expect(shown);
        let answering = if other == "acme" { &acme } else { &globex };
        answering.post(&format!("agreements/{offer}/refuse"), json!({})).await.expect(200);
        assert_eq!(acme.get(&path).await.problem(), (404, "not_found"));
    }
}

#[tokio::test]
async fn what_is_blocked_is_not_called_by_whom_it_is_blocked_for() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let initech = exchange.member("initech").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    globex.announce("+4930").await.expect(201);
    exchange.agree(&acme, &globex, "both").await;
    exchange.agree(&initech, &globex, "both").await;
    let blocked = async |member: &Member| look(&exchange, member, "493012345").await.1;
    assert_eq!(blocked(&acme).await, [""; 0]);
    let list = acme.put("block-list", json!({ "prefixes": ["+49301", "+882", "+882"] })).await.expect(200);
    assert_eq!(list.json["prefixes"], json!(["+882", "+49301"]));
    assert_eq!(blocked(&acme).await, ["globex blocked_by_member"]);
    assert_eq!(blocked(&initech).await, [""; 0]);
    exchange.operator.send("PUT", "/block-list", Some(json!({ "prefixes": ["+493"] }))).await.expect(200);
    assert_eq!(blocked(&initech).await, ["globex blocked_by_operator"]);
    acme.put("block-list", json!({ "prefixes": [] })).await.expect(200);
    assert_eq!(blocked(&acme).await, ["globex blocked_by_operator"]);
    exchange.operator.send("PUT", "/block-list", Some(json!({ "prefixes": [] }))).await.expect(200);
    assert_eq!(blocked(&acme).await, [""; 0]);
    assert_eq!(
        acme.put("block-list", json!({ "prefixes": ["0800"] })).await.expect(422).fields(),
        ["prefixes"]
    );
}

#[tokio::test]
async fn a_deck_is_loaded_from_csv_as_a_whole_or_not_at_all_and_faults_name_their_lines() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let deck = acme.post("rate-decks", json!({ "name": "a-z" })).await.expect(201).text("rate_deck_id");
    let load = async |text: &str| {
        acme.caller
            .send_octets("PUT", &acme.path(&format!("rate-decks/{deck}/rates")), "text/csv", text.into())
            .await
    };
    let loaded = load("prefix,per_minute\n+44,0.01\n4420,0.0045\n").await.expect(200);
    assert_eq!((&loaded.json["rates"], &loaded.json["version"]), (&json!(2), &json!(1)));
    for (text, rows) in [
        ("prefix,rate\n+44,1\n", vec![1]),
        ("prefix,per_minute\n+44,-1\n+45,NaN\n+46,0.01\n+x,0\n", vec![2, 3, 5]),
        ("prefix,per_minute,valid_from\n+44,0.01,tomorrow\n", vec![2]),
        ("prefix,per_minute,valid_from,valid_until\n+44,0.01,2001-01-01T00:00:00Z,\n", vec![2]),
    ] {
        let answer = load(text).await.expect(422);
        let found: Vec<_> =
            answer.json["errors"].as_array().unwrap().iter().map(|it| it["row"].as_u64().unwrap()).collect();
        assert_eq!(found, rows, "{text}");
    }
    let twice = load("prefix,per_minute\n+44,0.01\n+44,0.02\n").await.expect(422);
    assert_eq!(twice.fields(), ["rates"]);
    let rates = acme.get(&format!("rate-decks/{deck}/rates")).await.items().clone();
    let lines: Vec<_> = rates.iter().map(|it| (it["prefix"].clone(), it["per_minute"].clone())).collect();
    assert_eq!(lines, [(json!("+44"), json!("0.0100")), (json!("+4420"), json!("0.0045"))]);
    let page = acme.get(&format!("rate-decks/{deck}/rates?limit=1")).await.expect(200);
    let cursor = page.text("next_cursor");
    let rest = acme.get(&format!("rate-decks/{deck}/rates?limit=1&cursor={cursor}")).await.items().clone();
    assert_eq!(rest[0]["prefix"], "+4420");
}

#[tokio::test]
async fn how_calls_went_is_measured_in_steps_and_a_floor_of_an_agreement_leaves_out_what_is_below() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    let telco = telco(&exchange, "telco", 3, &acme, json!([{ "prefix": "+33", "per_minute": "0.01" }])).await;
    let offers = async || telco.member.get("transit-offers").await.expect(200).items()[0].clone();
    let measure = async || tandem_portal::measure(&exchange.app).await.unwrap();
    // Of the attempts at telco 20 fail, as many as are needed to tell anything beside 12 that are answered.
    let now = exchange.clock.now();
    for number in 0..20 {
        answered(&exchange, &acme, &telco.member, &globex, now, number).await;
    }
    measure().await;
    assert_eq!(offers().await["quality"], Value::Null, "20 attempts tell nothing");
    for number in 20..32 {
        answered(&exchange, &acme, &globex, &telco.member, now, number).await;
    }
    measure().await;
    let quality = offers().await["quality"].clone();
    assert_eq!((&quality["asr_percent"], &quality["ner_percent"]), (&json!(35), &json!(35)));
    let position = exchange.feed_position().await;
    measure().await;
    assert_eq!(exchange.feed_position().await, position, "what has not changed is not told");

    let agreement = acme.get("agreements").await.items()[0]["agreement_id"].as_str().unwrap().to_owned();
    acme.post(&format!("agreements/{agreement}/end"), json!({})).await.expect(200);
    exchange.clock.advance(Duration::from_secs(1));
    for (least, expected) in [(35, ""), (36, "telco quality_too_low")] {
        let terms = json!({ "with": "telco", "direction": "both", "transit": { "min_asr_percent": least } });
        let offered = acme.post("agreements", terms).await.expect(201).text("agreement_id");
        telco.member.post(&format!("agreements/{offered}/accept"), json!({})).await.expect(200);
        exchange.clock.advance(Duration::from_secs(1));
        let (_, left_out) = look(&exchange, &acme, "33123456789").await;
        assert_eq!(left_out.first().map_or("", String::as_str), expected);
        acme.post(&format!("agreements/{offered}/end"), json!({})).await.expect(200);
        exchange.clock.advance(Duration::from_secs(1));
    }
    // Who gets no calls is measured no more, and may be tried again.
    exchange.clock.advance(Duration::from_secs(3600));
    measure().await;
    assert_eq!(offers().await["quality"], Value::Null);
}

//! Calls that go by transit: after home routes, the cheapest first, on to the next, never at a loss, by the rate of the moment.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Endpoint, Exchange, Hub, Sipp, peer_address, until};

const SOON: Duration = Duration::from_secs(60);

/// A switch that takes a call.
fn answering() -> Sipp {
    Sipp::takes_calls(
        peer_address(),
        Transport::Udp,
        &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES],
    )
}

fn endpoint(name: &str, sipp: &Sipp) -> Endpoint {
    Endpoint::new(name, sipp.address.ip(), &sipp.target(Transport::Udp))
}

/// Offers transit of a member by its endpoint, permitted; the path of the deck's rates.
fn offer(hub: &Hub, member: &str, endpoint: &str, rates: &Value) -> String {
    let member = hub.api.member_id(member);
    let deck = hub.api.post(&format!("/members/{member}/rate-decks"), &json!({ "name": "a-z" })).good();
    let deck = deck["rate_deck_id"].as_str().expect("an id").to_owned();
    let path = format!("/members/{member}/rate-decks/{deck}/rates");
    hub.api.put(&path, &json!({ "rates": rates })).good();
    let new = json!({ "name": "pstn", "rate_deck_id": deck, "endpoints": [endpoint] });
    let offer = hub.api.post(&format!("/members/{member}/transit-offers"), &new).good();
    let offer = offer["transit_offer_id"].as_str().expect("an id").to_owned();
    let permission = json!({ "permitted": true });
    hub.api.put(&format!("/transit-offers/{offer}/permission"), &permission).good();
    path
}

/// Places one call that is answered, and returns its CDR in detail.
fn answered_call(hub: &Hub, acme: IpAddr, called: &str, before: usize) -> Value {
    let steps = [caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
    let load = Load::one(Duration::from_millis(200));
    let numbers = Numbers { calling: "+88201", called };
    Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, numbers).finish(SOON).assert_all_went_well(1);
    let cdrs = hub.wait_for_cdrs(before + 1, Duration::from_secs(10));
    // The newest comes first.
    let id = cdrs[0]["call_id"].as_str().expect("a call has an id");
    let member = hub.api.member_id("acme");
    hub.api.get(&format!("/members/{member}/calls/{id}")).good()
}

/// Statuses of the attempts, and the members of candidates and of what was left out with its code.
fn told(call: &Value) -> (Vec<Value>, Vec<String>, Vec<String>) {
    let list =
        |of: &Value, line: fn(&Value) -> String| of.as_array().expect("a list").iter().map(line).collect();
    let selection = &call["selection"];
    (
        call["attempts"].as_array().expect("attempts").iter().map(|it| it["status"].clone()).collect(),
        list(&selection["candidates"], |it| it["member_name"].as_str().expect("a name").to_owned()),
        list(&selection["left_out"], |it| {
            format!(
                "{} {}",
                it["member_name"].as_str().expect("a name"),
                it["code"].as_str().expect("a code")
            )
        }),
    )
}

#[test]
fn a_call_goes_home_first_and_by_the_cheapest_transit_where_it_has_no_home() {
    let acme = peer_address();
    let (home, dear, cheap) = (answering(), answering(), answering());
    let exchange = Exchange::of_two(acme, &[endpoint("globex-1", &home)])
        .member("dear", &[endpoint("dear-1", &dear)], &[])
        .member("cheap", &[endpoint("cheap-1", &cheap)], &[])
        .agreement("acme", "dear")
        .agreement("acme", "cheap");
    let hub = Hub::start(&exchange);
    let rates = |rate: &str| json!([{ "prefix": "+44", "per_minute": rate }, { "prefix": "+33", "per_minute": rate }]);
    offer(&hub, "dear", "dear-1", &rates("0.02"));
    offer(&hub, "cheap", "cheap-1", &rates("0.01"));
    hub.wait_until_current();

    let call = answered_call(&hub, acme, CALLED, 0);
    home.finish(SOON).assert_all_went_well(1);
    assert_eq!(told(&call).1, ["globex", "cheap", "dear"], "{call}");
    let call = answered_call(&hub, acme, "+33123456789", 1);
    cheap.finish(SOON).assert_all_went_well(1);
    assert_eq!(told(&call), (vec![json!(200)], vec!["cheap".into(), "dear".into()], vec![]), "{call}");
}

#[test]
fn transit_that_fails_is_followed_by_the_next_and_what_is_at_a_loss_is_not_tried() {
    let acme = peer_address();
    let refuse = gateway::refuse(503);
    let first = Sipp::takes_calls(peer_address(), Transport::Udp, &[gateway::INVITE_COMES, &refuse]);
    let (second, lossy) = (answering(), answering());
    let exchange = Exchange::of_two(acme, &[])
        .member("first", &[endpoint("first-1", &first)], &[])
        .member("second", &[endpoint("second-1", &second)], &[])
        .member("lossy", &[endpoint("lossy-1", &lossy)], &[]);
    let hub = Hub::start(&exchange);
    let deck = hub.api.post("/rate-decks", &json!({ "name": "prices" })).good();
    let deck = deck["rate_deck_id"].as_str().expect("an id").to_owned();
    let price = json!({ "rates": [{ "prefix": "+33", "per_minute": "0.03" }] });
    hub.api.put(&format!("/rate-decks/{deck}/rates"), &price).good();
    let transit = json!({ "rate_deck_id": deck, "margin_floor": "0.005" });
    let club = json!({ "name": "retail", "display_name": "Retail", "transit": transit });
    let club = hub.api.post("/clubs", &club).good();
    let club = club["club_id"].as_str().expect("an id").to_owned();
    for member in ["acme", "first", "second", "lossy"] {
        let member = hub.api.member_id(member);
        hub.api.post(&format!("/members/{member}/clubs/{club}/join"), &json!({})).good();
    }
    let rates = |rate: &str| json!([{ "prefix": "+33", "per_minute": rate }]);
    offer(&hub, "first", "first-1", &rates("0.01"));
    offer(&hub, "second", "second-1", &rates("0.02"));
    offer(&hub, "lossy", "lossy-1", &rates("0.0251"));
    hub.wait_until_current();

    let call = answered_call(&hub, acme, "+33123456789", 0);
    second.finish(SOON).assert_all_went_well(1);
    let expected =
        (vec![json!(503), json!(200)], vec!["first".into(), "second".into()], vec!["lossy at_a_loss".into()]);
    assert_eq!(told(&call), expected, "{call}");
}

#[test]
fn a_rate_that_ends_changes_the_order_at_its_instant() {
    let acme = peer_address();
    let (one, two) = (answering(), answering());
    let exchange = Exchange::of_two(acme, &[])
        .member("one", &[endpoint("one-1", &one)], &[])
        .member("two", &[endpoint("two-1", &two)], &[])
        .agreement("acme", "one")
        .agreement("acme", "two");
    let hub = Hub::start(&exchange);
    offer(&hub, "two", "two-1", &json!([{ "prefix": "+33", "per_minute": "0.02" }]));
    #[expect(clippy::disallowed_methods, reason = "the hub is a program, whose time cannot be chosen")]
    let ends_at = chrono::Utc::now() + chrono::TimeDelta::seconds(6);
    offer(
        &hub,
        "one",
        "one-1",
        &json!([
            { "prefix": "+33", "per_minute": "0.01", "valid_until": ends_at },
            { "prefix": "+33", "per_minute": "0.03", "valid_from": ends_at },
        ]),
    );
    hub.wait_until_current();
    let first = || {
        let seen = hub.api.get("/lookup?from=acme&called=33123456789").good();
        let version = seen["table_version"].clone();
        (seen["candidates"][0]["member_name"].as_str().unwrap_or_default().to_owned(), version)
    };
    let (name, version) = first();
    assert_eq!(name, "one");
    let call = answered_call(&hub, acme, "+33123456789", 0);
    one.finish(SOON).assert_all_went_well(1);
    assert_eq!(told(&call).1, ["one", "two"], "{call}");
    until("the rate to end", Duration::from_secs(30), || (first().0 == "two").then_some(()));
    assert_eq!(first().1, version, "nothing was told to anybody");
    let call = answered_call(&hub, acme, "+33123456789", 1);
    two.finish(SOON).assert_all_went_well(1);
    assert_eq!(told(&call).1, ["two", "one"], "{call}");
}

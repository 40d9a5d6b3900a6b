//! Claims that calls prove: how long a code is good, how often the hub calls, and what it never calls.

use std::time::Duration;

use serde_json::{Value, json};
use tandem_model::Clock;
use tandem_portal::ChallengeSettings;
use tandem_store::range_challenge;

use crate::exchange::{Answer, Exchange, Member};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// An exchange that calls by telco, and acme.
async fn scene() -> (Exchange, Member) {
    let challenge = ChallengeSettings {
        member: "telco".to_owned(),
        endpoint: "telco-1".to_owned(),
        caller: "+33199".parse().unwrap(),
    };
    let exchange = Exchange::with(|settings| settings.challenge = Some(challenge)).await;
    exchange.member("telco").await.endpoint("telco-1", 9).await;
    exchange.route().await;
    let acme = exchange.member("acme").await;
    (exchange, acme)
}

async fn call(acme: &Member, range: &str) -> Answer {
    acme.post(&format!("ranges/{range}/challenge"), json!({})).await
}

async fn say(acme: &Member, range: &str, code: &str) -> Answer {
    acme.post(&format!("ranges/{range}/challenge/answer"), json!({ "code": code })).await
}

/// The code of the last call, which only who takes it sees.
async fn code(exchange: &Exchange, range: &str) -> String {
    let since = exchange.clock.now() - DAY;
    let range = tandem_model::RangeId(range.parse().unwrap());
    let calls = range_challenge::list(exchange.database.pool(), range, since).await.unwrap();
    calls[0].code.clone()
}

#[tokio::test]
async fn a_code_is_good_for_ten_minutes_and_two_numbers_prove_a_range_for_a_year() {
    let (exchange, acme) = scene().await;
    let range = acme.claim("+442079460").await.expect(201).text("range_id");
    let first = call(&acme, &range).await.expect(202);
    assert!(first.json["calls"][0]["called"].as_str().unwrap().starts_with("+442079460"), "{}", first.text);
    assert!(!first.text.contains(&code(&exchange, &range).await), "the answer does not tell the code");
    exchange.clock.advance(Duration::from_secs(601));
    assert_eq!(say(&acme, &range, &code(&exchange, &range).await).await.problem(), (422, "proof_refused"));
    call(&acme, &range).await.expect(202);
    let seen = say(&acme, &range, &code(&exchange, &range).await).await.expect(200).json;
    assert_eq!(
        (&seen["solved"], &seen["needed"], &seen["range"]["authority"]),
        (&json!(1), &json!(2), &json!("pending"))
    );
    assert_eq!(
        say(&acme, &range, &code(&exchange, &range).await).await.problem(),
        (422, "proof_refused"),
        "twice"
    );
    call(&acme, &range).await.expect(202);
    let proven = say(&acme, &range, &code(&exchange, &range).await).await.expect(200).json;
    let until = exchange.clock.now() + 365 * DAY;
    assert_eq!(
        (&proven["range"]["authority"], &proven["range"]["verified_by"], &proven["range"]["valid_until"]),
        (&json!("valid"), &json!("challenge"), &json!(until))
    );
    let called: Vec<&Value> = proven["calls"].as_array().unwrap().iter().map(|it| &it["called"]).collect();
    assert!(called[0] != called[1] && called[1] != called[2] && called[0] != called[2], "{called:?}");
    assert_eq!(call(&acme, &range).await.problem(), (409, "conflict"), "there is nothing to prove");
}

#[tokio::test]
async fn the_hub_calls_a_range_five_times_a_day_and_nothing_that_costs_its_caller_more() {
    let (exchange, acme) = scene().await;
    let range = acme.claim("+442079460001").await.expect(201).text("range_id");
    for left in (0..5).rev() {
        let called = call(&acme, &range).await.expect(202).json;
        assert_eq!((&called["calls_left"], &called["needed"]), (&json!(left), &json!(1)));
    }
    let refused = call(&acme, &range).await;
    assert_eq!(refused.problem(), (429, "too_many_requests"));
    assert!(refused.headers.contains_key("retry-after"));
    exchange.clock.advance(DAY + Duration::from_secs(1));
    call(&acme, &range).await.expect(202);
    let premium = acme.claim("+44909").await.expect(201).text("range_id");
    assert_eq!(call(&acme, &premium).await.problem(), (409, "conflict"));
}

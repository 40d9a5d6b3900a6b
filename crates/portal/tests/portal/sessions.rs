use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use tandem_model::Clock;
use tandem_store::user;

use crate::exchange::{Caller, Exchange, PASSWORD, entropy};

async fn sign_in(caller: &Caller, email: &str, password: &str) -> crate::exchange::Answer {
    caller.post("/session", json!({ "email": email, "password": password })).await
}

/// The text of the cookie that an answer sets.
fn cookie(answer: &crate::exchange::Answer) -> String {
    let line = answer.headers["set-cookie"].to_str().unwrap();
    line.split(';').next().unwrap().to_owned()
}

async fn exchange_with_operator() -> Exchange {
    let exchange = Exchange::new().await;
    let hash = tandem_portal::hash_password(PASSWORD, &entropy());
    user::create_operator(exchange.database.pool(), "Op@Exchange.example", &hash, exchange.clock.now())
        .await
        .unwrap()
        .expect("the account is the operator's");
    exchange
}

#[tokio::test]
async fn a_session_begins_with_a_log_in_and_ends_with_a_log_out() {
    let exchange = exchange_with_operator().await;
    let nobody = exchange.nobody();
    let answer = sign_in(&nobody, " op@exchange.EXAMPLE ", PASSWORD).await.expect(200);
    assert_eq!(answer.json["role"], "operator");
    let line = answer.headers["set-cookie"].to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!line.contains("Secure"), "{line}");
    let browser = nobody.with_header("cookie", &cookie(&answer)).with_header("x-tandem-csrf", "1");
    browser.get("/session").await.expect(200);
    browser.send("DELETE", "/session", None).await.expect(204);
    assert_eq!(browser.get("/session").await.problem(), (401, "unauthenticated"));
}

#[tokio::test]
async fn behind_https_the_cookie_is_secure() {
    let exchange =
        Exchange::with(|settings| settings.public_url = Some("https://portal.example".into())).await;
    exchange.nobody().post("/join", application("acme")).await.expect(201);
    let answer = sign_in(&exchange.nobody(), "noc@acme.example", PASSWORD).await.expect(200);
    assert!(answer.headers["set-cookie"].to_str().unwrap().ends_with("; Secure"));
}

#[tokio::test]
async fn a_session_ends_after_12_idle_hours_and_after_7_days() {
    let exchange = exchange_with_operator().await;
    let nobody = exchange.nobody();
    let answer = sign_in(&nobody, "op@exchange.example", PASSWORD).await.expect(200);
    let browser = nobody.with_header("cookie", &cookie(&answer));
    for _ in 0..15 {
        exchange.clock.advance(Duration::from_secs(11 * 3600));
        browser.get("/session").await.expect(200);
    }
    exchange.clock.advance(Duration::from_secs(4 * 3600));
    browser.get("/session").await.expect(401);

    let answer = sign_in(&nobody, "op@exchange.example", PASSWORD).await.expect(200);
    let browser = nobody.with_header("cookie", &cookie(&answer));
    exchange.clock.advance(Duration::from_secs(12 * 3600));
    browser.get("/session").await.expect(401);
}

#[tokio::test]
async fn a_log_in_takes_the_place_of_the_session_that_the_browser_had() {
    let exchange = exchange_with_operator().await;
    let first = sign_in(&exchange.nobody(), "op@exchange.example", PASSWORD).await.expect(200);
    let browser = exchange.nobody().with_header("cookie", &cookie(&first));
    let second = sign_in(&browser, "op@exchange.example", PASSWORD).await.expect(200);
    assert_ne!(cookie(&first), cookie(&second));
    browser.get("/session").await.expect(401);
}

#[tokio::test]
async fn a_change_by_cookie_needs_the_csrf_header_and_our_own_origin() {
    let exchange = exchange_with_operator().await;
    let answer = sign_in(&exchange.nobody(), "op@exchange.example", PASSWORD).await.expect(200);
    let browser = exchange.nobody().with_header("cookie", &cookie(&answer));
    let member = || json!({ "name": "acme", "display_name": "Acme", "contact_email": "noc@acme.example" });
    let own = browser.with_header("x-tandem-csrf", "1");
    for refused in [
        browser.clone(),
        browser.with_header("x-tandem-csrf", "0"),
        own.with_header("origin", "https://evil.example"),
        own.with_header("origin", "null"),
        own.with_header("sec-fetch-site", "cross-site"),
        own.with_header("sec-fetch-site", "same-site"),
    ] {
        assert_eq!(refused.post("/members", member()).await.problem(), (403, "forbidden"));
    }
    let own = own.with_header("origin", "http://portal.example").with_header("sec-fetch-site", "same-origin");
    own.post("/members", member()).await.expect(201);

    // Another site's page cannot sign a browser in either.
    let foreign = exchange.nobody().with_header("origin", "https://evil.example");
    sign_in(&foreign, "op@exchange.example", PASSWORD).await.expect(403);
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_are_answered_alike() {
    let exchange = exchange_with_operator().await;
    let unknown = sign_in(&exchange.nobody(), "nobody@exchange.example", PASSWORD).await;
    let wrong = sign_in(&exchange.nobody(), "op@exchange.example", "wrong horse battery").await;
    assert_eq!(unknown.problem(), (401, "unauthenticated"));
    assert_eq!(unknown.text, wrong.text);
}

#[tokio::test]
async fn log_ins_are_slowed_per_account_and_per_address() {
    let exchange = exchange_with_operator().await;
    for host in 1..=5 {
        let caller = exchange.nobody().from(&format!("203.0.113.{host}:1"));
        sign_in(&caller, "op@exchange.example", "wrong horse battery").await.expect(401);
    }
    let elsewhere = exchange.nobody().from("203.0.113.99:1");
    let slowed = sign_in(&elsewhere, "op@exchange.example", PASSWORD).await;
    assert_eq!(slowed.problem(), (429, "too_many_requests"));
    assert_eq!(slowed.headers["retry-after"], "1");
    exchange.clock.advance(Duration::from_secs(1));
    sign_in(&elsewhere, "op@exchange.example", PASSWORD).await.expect(200);

    let guesser = exchange.nobody().from("203.0.113.200:1");
    for account in 0..20 {
        sign_in(&guesser, &format!("user{account}@exchange.example"), PASSWORD).await.expect(401);
    }
    sign_in(&guesser, "another@exchange.example", PASSWORD).await.expect(429);
    sign_in(&elsewhere, "another@exchange.example", PASSWORD).await.expect(401);
}

fn application(name: &str) -> serde_json::Value {
    json!({ "name": name, "display_name": name, "contact_email": format!("noc@{name}.example"), "password": PASSWORD })
}

#[tokio::test]
async fn a_provider_joins_signs_in_and_waits_for_the_operator() {
    let exchange = Exchange::new().await;
    exchange.member("globex").await;
    let joined = exchange.nobody().post("/join", application("acme")).await.expect(201);
    assert_eq!(joined.json["member"]["state"], "applied");
    let answer = sign_in(&exchange.nobody(), "noc@acme.example", PASSWORD).await.expect(200);
    assert_eq!(answer.json["member"]["name"], "acme");
    let browser = exchange.nobody().with_header("cookie", &cookie(&answer)).with_header("x-tandem-csrf", "1");

    // Until it is approved it learns nobody's name and proposes to nobody.
    let names = browser.get("/members").await.expect(200);
    assert_eq!(names.items().iter().map(|it| it["name"].clone()).collect::<Vec<_>>(), ["acme"]);
    let id = joined.json["member"]["member_id"].as_str().unwrap().to_owned();
    let proposals = format!("/members/{id}/agreements");
    let propose = || browser.post(&proposals, json!({ "with": "globex", "direction": "both" }));
    assert_eq!(propose().await.problem(), (403, "member_not_approved"));
    let approve = json!({ "state": "approved" });
    browser.send("PATCH", &format!("/members/{id}"), Some(approve.clone())).await.expect(403);
    exchange.operator.send("PATCH", &format!("/members/{id}"), Some(approve)).await.expect(200);
    assert_eq!(browser.get("/members").await.items().len(), 2);
    propose().await.expect(201);
}

#[tokio::test]
async fn applications_are_slowed_per_address_but_not_for_the_operators_programs() {
    let exchange = Exchange::new().await;
    for number in 0..5 {
        exchange.nobody().post("/join", application(&format!("m{number}"))).await.expect(201);
    }
    exchange.nobody().post("/join", application("m5")).await.expect(429);
    exchange.operator.post("/join", application("m5")).await.expect(201);
}

#[tokio::test]
async fn a_token_is_shown_once_and_ends() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let wanted = |days| json!({ "name": "bot", "expires_at": exchange.clock.now() + TimeDelta::days(days) });
    let made = acme.caller.post("/tokens", wanted(100)).await.expect(201);
    let secret = made.text("token");
    assert!(secret.starts_with("tdm_") && secret.len() == 68, "{secret}");
    for path in ["/tokens", "/audit"] {
        assert!(!acme.caller.get(path).await.expect(200).text.contains(&secret[4..]));
    }
    // A token does not make one that outlives it, nor anyone one for more than a year.
    assert_eq!(acme.caller.post("/tokens", wanted(250)).await.fields(), ["expires_at"]);
    assert_eq!(exchange.operator.post("/tokens", wanted(400)).await.fields(), ["expires_at"]);
    assert_eq!(exchange.operator.post("/tokens", wanted(-1)).await.fields(), ["expires_at"]);

    let bot = exchange.operator.with_token(&secret);
    bot.get("/session").await.expect(200);
    exchange.clock.advance(Duration::from_secs(100 * 86_400));
    bot.get("/session").await.expect(401);
}

#[tokio::test]
async fn a_revoked_token_is_worth_nothing() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let tokens = acme.caller.get("/tokens").await.expect(200);
    let id = tokens.items()[0]["api_token_id"].as_str().unwrap();
    assert_eq!(tokens.items()[0]["last_used_at"].as_str(), Some("2030-01-01T00:00:00Z"));
    acme.caller.send("DELETE", &format!("/tokens/{id}"), None).await.expect(204);
    assert_eq!(acme.caller.get("/session").await.problem(), (401, "unauthenticated"));
}

#[tokio::test]
async fn a_disabled_user_is_signed_out_and_stays_out() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let user = json!({ "email": "noc@acme.example", "password": PASSWORD });
    let user = acme.post("users", user).await.expect(201).text("user_id");
    let answer = sign_in(&exchange.nobody(), "noc@acme.example", PASSWORD).await.expect(200);
    let browser = exchange.nobody().with_header("cookie", &cookie(&answer)).with_header("x-tandem-csrf", "1");
    // Not by itself: someone must be left.
    let itself = browser.send("DELETE", &acme.path(&format!("users/{user}")), None).await;
    assert_eq!(itself.problem(), (409, "conflict"));
    acme.delete(&format!("users/{user}")).await.expect(204);
    browser.get("/session").await.expect(401);
    sign_in(&exchange.nobody(), "noc@acme.example", PASSWORD).await.expect(401);
}

#[tokio::test]
async fn behind_a_proxy_the_address_is_the_clients() {
    let exchange = Exchange::with(|settings| settings.proxies = vec!["10.0.0.0/8".parse().unwrap()]).await;
    let acme = exchange.member("acme").await;
    let source = async |caller: &Caller| {
        let patch = json!({ "display_name": "Acme" });
        caller.send("PATCH", &format!("/members/{}", acme.id), Some(patch)).await.expect(200);
        acme.caller.get("/audit").await.items()[0]["source"].clone()
    };
    let proxied = acme.caller.from("10.0.0.1:1");
    assert_eq!(
        source(&proxied.with_header("x-forwarded-for", "192.0.2.1, 203.0.113.5, 10.0.0.2")).await,
        "203.0.113.5"
    );
    // Who is no proxy can say what it likes.
    let liar = acme.caller.from("203.0.113.9:1").with_header("x-forwarded-for", "192.0.2.1");
    assert_eq!(source(&liar).await, "203.0.113.9");
}

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::BodyDataStream;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::exchange::{Caller, Exchange};

/// How long a line may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// A switch that follows.
struct Switch {
    octets: BodyDataStream,
    text: String,
    /// What it holds: prefixes, and whether they are reached.
    held: BTreeMap<String, bool>,
    serial: String,
}

impl Switch {
    async fn follow(caller: &Caller, path: &str) -> Self {
        let response = caller.begin("GET", path, "", Vec::new()).await;
        assert_eq!(response.status(), 200);
        let octets = response.into_body().into_data_stream();
        Self { octets, text: String::new(), held: BTreeMap::new(), serial: String::new() }
    }

    /// The next line; nothing at the end.
    async fn line(&mut self) -> Option<Value> {
        while !self.text.contains('\n') {
            let next = tokio::time::timeout(SOON, self.octets.next()).await.expect("a line comes in time");
            self.text.push_str(std::str::from_utf8(&next?.expect("octets")).expect("UTF-8"));
        }
        let (line, rest) = self.text.split_once('\n').expect("there is one");
        let line = serde_json::from_str(line).expect("JSON");
        self.text = rest.to_owned();
        Some(line)
    }

    /// Does what the next line says, and those of the same serial; what the first one is.
    async fn step(&mut self) -> Value {
        let mut first = None;
        loop {
            let line = self.line().await.expect("the answer goes on");
            if line["event"] == "full" {
                self.held.clear();
            }
            let prefixes = |list: &str| {
                let all = line[list].as_array().expect("a list").clone();
                all.into_iter().map(|prefix| prefix.as_str().expect("a text").to_owned())
            };
            prefixes("gone").for_each(|prefix| assert!(self.held.remove(&prefix).is_some()));
            self.held.extend(prefixes("reached").map(|prefix| (prefix, true)));
            self.held.extend(prefixes("excepted").map(|prefix| (prefix, false)));
            let is_last = line["more"] == false;
            self.serial = line["serial"].as_str().expect("a serial").to_owned();
            let first = first.get_or_insert(line);
            if is_last {
                return first.clone();
            }
        }
    }

    fn reached(&self) -> Vec<&str> {
        self.held.iter().filter(|(_, is_reached)| **is_reached).map(|(prefix, _)| prefix.as_str()).collect()
    }
}

#[tokio::test]
async fn a_switch_follows_what_its_member_can_reach_and_goes_on_where_it_was() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    globex.announce("+4930").await.expect(201);
    exchange.agree(&acme, &globex, "both").await;
    exchange.route().await;

    let path = acme.path("reachability");
    let mut switch = Switch::follow(&acme.caller, &path).await;
    let first = switch.step().await;
    assert_eq!((&first["event"], &first["why"]), (&json!("full"), &json!(null)));
    assert_eq!(first["table_version"], exchange.feed_position().await);
    assert_eq!(switch.reached(), ["+4930"]);

    globex.announce("+49301").await.expect(201);
    exchange.route().await;
    let change = switch.step().await;
    assert_eq!((&change["event"], &change["reached"]), (&json!("change"), &json!(["+49301"])));
    assert_eq!(change["table_version"], exchange.feed_position().await);
    let serial = switch.serial.clone();

    // The connection breaks; meanwhile a prefix is withdrawn.
    drop(switch);
    let announcements = globex.get("announcements").await;
    let withdrawn = announcements.items().iter().find(|it| it["prefix"] == "+49301").unwrap();
    let id = withdrawn["announcement_id"].as_str().unwrap();
    globex.delete(&format!("announcements/{id}")).await.expect(204);
    exchange.route().await;
    let mut again = Switch::follow(&acme.caller, &format!("{path}?from={serial}")).await;
    again.held = BTreeMap::from([("+4930".into(), true), ("+49301".into(), true)]);
    let change = again.step().await;
    assert_eq!((&change["event"], &change["gone"]), (&json!("change"), &json!(["+49301"])));
    assert_eq!(again.reached(), ["+4930"]);

    for strange in ["0000000000000000-1", "nonsense", "99-99"] {
        let mut anew = Switch::follow(&acme.caller, &format!("{path}?from={strange}")).await;
        let first = anew.step().await;
        assert_eq!(first["event"], "full");
        assert!(first["why"].as_str().is_some_and(|why| why.contains("too old")), "{first}");
        assert_eq!(anew.held, again.held);
    }
}

#[tokio::test]
async fn time_alone_changes_what_is_reached_and_where_it_does_not_there_are_heartbeats() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    let until = exchange.app.clock.now() + chrono::TimeDelta::seconds(100);
    let brief = json!({ "prefix": "+4930", "endpoints": ["globex-1"], "valid_until": until });
    globex.post("announcements", brief).await.expect(201);
    exchange.agree(&acme, &globex, "both").await;
    exchange.route().await;
    let mut switch = Switch::follow(&acme.caller, &acme.path("reachability")).await;
    switch.step().await;
    assert_eq!(switch.reached(), ["+4930"]);
    exchange.clock.advance(Duration::from_secs(20));
    assert_eq!(switch.step().await["event"], "heartbeat");
    exchange.clock.advance(Duration::from_secs(90));
    let change = loop {
        let line = switch.step().await;
        if line["event"] != "heartbeat" {
            break line;
        }
    };
    assert_eq!((&change["event"], &change["gone"]), (&json!("change"), &json!(["+4930"])));
}

#[tokio::test]
async fn the_answer_ends_when_its_token_is_revoked() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    exchange.route().await;
    let mut switch = Switch::follow(&acme.caller, &acme.path("reachability")).await;
    assert_eq!(switch.step().await["event"], "full");
    let tokens = acme.caller.get("/tokens").await;
    let id = tokens.items()[0]["api_token_id"].as_str().unwrap().to_owned();
    acme.caller.send("DELETE", &format!("/tokens/{id}"), None).await.expect(204);
    exchange.clock.advance(Duration::from_secs(2));
    let last = switch.step().await;
    assert_eq!(last["event"], "end", "{last}");
    assert_eq!(switch.line().await, None);
}

#[tokio::test]
async fn nobody_follows_for_another_member_and_no_member_has_more_than_eight_at_once() {
    let exchange = Exchange::new().await;
    let (acme, globex) = (exchange.member("acme").await, exchange.member("globex").await);
    let path = acme.path("reachability");
    assert_eq!(exchange.nobody().get(&path).await.problem(), (401, "unauthenticated"));
    assert_eq!(globex.caller.get(&path).await.problem(), (404, "not_found"));
    let mut switches = Vec::new();
    for _ in 0..8 {
        switches.push(Switch::follow(&acme.caller, &path).await);
    }
    assert_eq!(acme.caller.get(&path).await.problem(), (429, "too_many_requests"));
    let mut other = Switch::follow(&globex.caller, &globex.path("reachability")).await;
    assert_eq!(other.step().await["event"], "full");
}

#[tokio::test]
async fn a_large_set_comes_in_many_lines_of_one_serial() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    let rows: Vec<Value> =
        (0..2_500).map(|n| json!({ "prefix": format!("+4930{n:06}"), "endpoints": ["globex-1"] })).collect();
    globex.post("announcements/bulk", json!({ "announcements": rows })).await.expect(200);
    exchange.agree(&acme, &globex, "both").await;
    exchange.route().await;
    let mut switch = Switch::follow(&acme.caller, &acme.path("reachability")).await;
    let first = switch.step().await;
    assert_eq!((&first["event"], &first["more"]), (&json!("full"), &json!(true)));
    assert_eq!(first["reached"].as_array().unwrap().len(), 1_000);
    assert_eq!(switch.reached().len(), 2_500);
}

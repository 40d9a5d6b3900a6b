//! The life of an agreement, as its two members and the route table see it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::exchange::{Exchange, Member};

/// acme asks globex, which announces +4930.
struct Scene {
    exchange: Exchange,
    acme: Member,
    globex: Member,
    id: String,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Scene {
    async fn new(terms: Value) -> Self {
        let exchange = Exchange::new().await;
        let acme = exchange.member("acme").await;
        let globex = exchange.provider("globex", 2, "+4930").await;
        globex.announce("+4930").await.expect(201);
        let mut proposal = json!({ "with": "globex", "direction": "outgoing" });
        proposal.as_object_mut().unwrap().extend(terms.as_object().unwrap().clone());
        let id = acme.post("agreements", proposal).await.expect(201).text("agreement_id");
        Self { exchange, acme, globex, id }
    }

    /// What a member does; the state that comes out, or the code of the problem.
    async fn act(&self, member: &Member, action: &str) -> String {
        self.act_with(member, action, json!({})).await
    }

    async fn act_with(&self, member: &Member, action: &str, body: Value) -> String {
        let answer = member.post(&format!("agreements/{}/{action}", self.id), body).await;
        let word = if answer.status == 200 { &answer.json["state"] } else { &answer.json["code"] };
        word.as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
    }

    async fn seen_by(&self, member: &Member) -> Value {
        member.get(&format!("agreements/{}", self.id)).await.expect(200).json
    }

    /// Whether a call of acme to globex would be routed, or why not.
    async fn outcome(&self) -> String {
        self.exchange.route().await;
        let seen = self.acme.get("lookup?called=493012345").await.expect(200).json;
        match seen["refusal"]["code"].as_str() {
            Some(code) => code.to_owned(),
            None => format!("{} candidates", seen["candidates"].as_array().unwrap().len()),
        }
    }

    async fn history(&self) -> Vec<String> {
        let events = self.globex.get(&format!("agreements/{}/history", self.id)).await;
        let line = |it: &Value| {
            let who = it["member"]["name"].as_str().unwrap_or("nobody");
            let terms = if it["terms"].is_null() { "" } else { " with terms" };
            format!("{who} {} {}{terms}", it["action"].as_str().unwrap(), it["version"])
        };
        events.items().iter().map(line).collect()
    }
}

#[tokio::test]
async fn terms_go_back_and_forth_until_both_accept_them_and_every_version_is_kept() {
    let scene = Scene::new(json!({ "note": "first", "max_calls": 10 })).await;
    let (acme, globex) = (&scene.acme, &scene.globex);
    let other_terms = json!({ "direction": "both", "note": "second", "max_calls": 20, "notice_days": 30 });
    assert_eq!(scene.act_with(acme, "counter", other_terms.clone()).await, "agreement_awaits_other");
    assert_eq!(scene.act_with(globex, "counter", other_terms).await, "countered");
    assert_eq!(scene.outcome().await, "no_agreement");
    let seen = scene.seen_by(acme).await;
    assert_eq!(
        [&seen["version"], &seen["offered_by"]["name"], &seen["may_answer"], &seen["max_calls"]],
        [&json!(2), &json!("globex"), &json!(true), &json!(20)]
    );
    assert_eq!(scene.act(globex, "accept").await, "agreement_awaits_other");
    // The same words, now of the other side: the direction is who offers it.
    let third = json!({ "direction": "outgoing", "note": "third" });
    assert_eq!(scene.act_with(acme, "counter", third).await, "countered");
    assert_eq!(scene.seen_by(globex).await["direction"], "to_accepting");
    assert_eq!(scene.act_with(globex, "counter", json!({ "direction": "incoming" })).await, "countered");
    assert_eq!(scene.seen_by(globex).await["direction"], "to_accepting");
    assert_eq!(scene.act(acme, "accept").await, "accepted");
    assert_eq!(scene.outcome().await, "1 candidates");
    assert_eq!(
        scene.history().await,
        [
            "acme accept 4",
            "globex counter 4 with terms",
            "acme counter 3 with terms",
            "globex counter 2 with terms",
            "acme propose 1 with terms",
        ]
    );
    let first = acme.get(&format!("agreements/{}/history?limit=1&cursor=2", scene.id)).await;
    assert_eq!(first.items()[0]["terms"]["note"], "first");
    assert_eq!(first.items()[0]["terms"]["max_calls"], 10);
    let wrong = json!({ "direction": "both", "notice_days": 366 });
    let answer = globex.post(&format!("agreements/{}/counter", scene.id), wrong).await.expect(422);
    assert_eq!(answer.fields(), ["notice_days"]);
}

#[tokio::test]
async fn each_side_suspends_for_itself_and_nothing_crosses_until_both_have_resumed() {
    let scene = Scene::new(json!({})).await;
    let (acme, globex) = (&scene.acme, &scene.globex);
    assert_eq!(scene.act(acme, "suspend").await, "agreement_not_accepted");
    assert_eq!(scene.act(globex, "accept").await, "accepted");
    assert_eq!(scene.act(globex, "resume").await, "agreement_not_suspended");
    assert_eq!(scene.act(globex, "suspend").await, "suspended");
    assert_eq!(scene.outcome().await, "agreement_suspended");
    assert_eq!(scene.seen_by(acme).await["suspended_by"][0]["name"], "globex");
    assert_eq!(scene.act(acme, "resume").await, "agreement_not_suspended");
    assert_eq!(scene.act(globex, "suspend").await, "suspended", "twice is once");
    assert_eq!(scene.act(acme, "suspend").await, "suspended");
    assert_eq!(scene.seen_by(acme).await["suspended_by"].as_array().unwrap().len(), 2);
    assert_eq!(scene.act(globex, "resume").await, "suspended");
    assert_eq!(scene.act(acme, "resume").await, "accepted");
    assert_eq!(scene.outcome().await, "1 candidates");
    let history = scene.history().await;
    assert_eq!(history[..4], ["acme resume 1", "globex resume 1", "acme suspend 1", "globex suspend 1"]);
}

#[tokio::test]
async fn with_notice_an_agreement_holds_until_its_end_and_then_another_can_be_proposed() {
    let scene = Scene::new(json!({ "notice_days": 30 })).await;
    let (acme, globex) = (&scene.acme, &scene.globex);
    scene.act(globex, "accept").await;
    assert_eq!(scene.act(acme, "end").await, "ending");
    assert_eq!(scene.act(globex, "end").await, "agreement_ending");
    assert_eq!(scene.seen_by(globex).await["valid_until"], "2030-01-31T00:00:00Z");
    scene.exchange.clock.advance(29 * DAY);
    assert_eq!(scene.outcome().await, "1 candidates");
    let again = json!({ "with": "acme", "direction": "both" });
    assert_eq!(globex.post("agreements", again.clone()).await.problem(), (409, "agreement_exists"));
    // Time alone ends it, also for a node that hears of nothing.
    scene.exchange.clock.advance(DAY);
    assert_eq!(scene.outcome().await, "no_agreement");
    assert_eq!(scene.seen_by(acme).await["state"], "ended");
    assert_eq!(scene.act(acme, "suspend").await, "agreement_over");
    globex.post("agreements", again).await.expect(201);
    scene.exchange.route().await;
}

#[tokio::test]
async fn a_suspended_agreement_ends_at_once_whatever_the_notice() {
    let scene = Scene::new(json!({ "notice_days": 30 })).await;
    let (acme, globex) = (&scene.acme, &scene.globex);
    scene.act(globex, "accept").await;
    scene.exchange.clock.advance(DAY);
    assert_eq!(scene.act(acme, "suspend").await, "suspended");
    assert_eq!(scene.act(globex, "end").await, "ended");
    let seen = scene.seen_by(acme).await;
    assert_eq!((&seen["valid_until"], &seen["suspended_by"]), (&json!("2030-01-02T00:00:00Z"), &json!([])));
    assert_eq!(scene.act(acme, "resume").await, "agreement_over");
}

#[tokio::test]
async fn terms_are_read_back_as_they_were_offered_and_a_lookup_goes_by_them() {
    let hours = json!({ "zone": "Europe/Berlin", "windows": [{ "days": ["mon", "tue"], "from": "00:00", "until": "24:00" }] });
    let scene = Scene::new(json!({
        "other_prefixes": ["+49301", "+49303"], "own_prefixes": ["+4420"], "hours": hours,
        "demand": " cli-guaranteed and(no-transit or premium) ", "sites": [],
    }))
    .await;
    let globex = &scene.globex;
    assert_eq!(scene.act(globex, "accept").await, "accepted");
    let seen = scene.seen_by(globex).await;
    assert_eq!(
        [&seen["prefixes_of_proposing"], &seen["prefixes_of_accepting"], &seen["demand"], &seen["hours"]],
        [
            &json!(["+4420"]),
            &json!(["+49301", "+49303"]),
            &json!("cli-guaranteed and (no-transit or premium)"),
            &hours
        ]
    );
    assert_eq!(scene.outcome().await, "agreement_tags");
    let id = globex.get("announcements").await.items()[0]["announcement_id"].as_str().unwrap().to_owned();
    let announced = |tags: Value| json!({ "prefix": "+4930", "endpoints": ["globex-1"], "tags": tags });
    let path = format!("announcements/{id}");
    let tagged = globex.put(&path, announced(json!(["premium", "cli-guaranteed"]))).await.expect(200);
    assert_eq!(tagged.json["tags"], json!(["cli-guaranteed", "premium"]));
    assert_eq!(scene.outcome().await, "1 candidates");
    let elsewhere = scene.acme.get("lookup?called=493022345").await.expect(200).json;
    assert_eq!(elsewhere["refusal"]["code"], "agreement_prefix");
    scene.exchange.clock.advance(DAY);
    assert_eq!(scene.outcome().await, "agreement_hours", "it is Wednesday");

    assert_eq!(globex.put(&path, announced(json!(["Not a tag"]))).await.expect(422).fields(), ["tags"]);
    let with = |terms: Value| {
        let mut proposal = json!({ "with": "globex", "direction": "both" });
        proposal.as_object_mut().unwrap().extend(terms.as_object().unwrap().clone());
        proposal
    };
    let no_zone =
        json!({ "zone": "Mars", "windows": [{ "days": ["mon"], "from": "00:00", "until": "24:00" }] });
    for (terms, field) in [
        (json!({ "own_prefixes": ["+x"] }), "own_prefixes"),
        (json!({ "demand": "a b" }), "demand"),
        (json!({ "hours": no_zone }), "hours"),
        (json!({ "sites": ["nowhere"] }), "sites"),
    ] {
        assert_eq!(scene.acme.post("agreements", with(terms)).await.expect(422).fields(), [field]);
    }
}

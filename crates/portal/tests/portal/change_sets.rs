//! Change sets: drafted, planned, approved, applied at once or at a time, rolled back; and what of that is refused.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use prometheus::Registry;
use serde_json::{Value, json};
use tandem_model::{ChangeSetId, Clock, UserId};
use tandem_portal::{AppState, ApprovalThreshold, apply_due};

use crate::calls::answered;
use crate::exchange::{Answer, Caller, Exchange, Member, PASSWORD, entropy};

/// acme calls globex, which announces +4930 on globex-1; five calls were answered there. globex has one more endpoint.
async fn scene(threshold: ApprovalThreshold) -> (Exchange, Member, Member) {
    let exchange = Exchange::with(|settings| settings.approval = threshold).await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    globex.announce("+4930").await.expect(201);
    exchange.agree(&acme, &globex, "both").await;
    for number in 1..=5 {
        let at = exchange.clock.now() - TimeDelta::hours(1);
        answered(&exchange, &acme, &globex, &globex, at, number).await;
    }
    globex.endpoint("globex-2", 22).await;
    exchange.clock.advance(Duration::from_secs(1));
    (exchange, acme, globex)
}

/// A change set that sends +4930 to globex-2 and announces +49305 on globex-1.
async fn draft(member: &Member, caller: &Caller) -> String {
    let input = json!({
        "note": "to the new switch",
        "announcements": [
            { "prefix": "+4930", "endpoints": ["globex-2"] },
            { "prefix": "+49305", "endpoints": ["globex-1"] },
        ],
    });
    let made = caller.post(&member.path("change-sets"), input).await.expect(201);
    assert_eq!((&made.json["state"], &made.json["items"]), (&json!("draft"), &json!(2)));
    made.text("change_set_id")
}

async fn act(caller: &Caller, member: &Member, id: &str, action: &str) -> Answer {
    caller.post(&member.path(&format!("change-sets/{id}/{action}")), json!({})).await
}

/// What the member announces, such as `+4930 globex-1`.
async fn announced(member: &Member) -> Vec<String> {
    let page = member.get("announcements").await.expect(200);
    let line = |it: &Value| {
        let endpoints = it["endpoints"].as_array().unwrap().iter();
        let endpoints: Vec<&str> = endpoints.map(|it| it["name"].as_str().unwrap()).collect();
        format!("{} {}", it["prefix"].as_str().unwrap(), endpoints.join(" "))
    };
    let mut lines: Vec<String> = page.items().iter().map(line).collect();
    lines.sort();
    lines
}

/// A person of the member who is signed in.
async fn person(exchange: &Exchange, member: &Member, email: &str) -> Caller {
    member.post("users", json!({ "email": email, "password": PASSWORD })).await.expect(201);
    let signed_in =
        exchange.nobody().post("/session", json!({ "email": email, "password": PASSWORD })).await.expect(200);
    let cookie = signed_in.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    exchange.nobody().with_header("cookie", cookie).with_header("x-tandem-csrf", "1")
}

#[tokio::test]
async fn a_change_set_is_planned_applied_and_rolled_back() {
    let (exchange, _, globex) = scene(ApprovalThreshold::default()).await;
    let id = draft(&globex, &globex.caller).await;
    assert_eq!(act(&globex.caller, &globex, &id, "apply").await.problem(), (409, "plan_missing"));
    let feed = exchange.feed_position().await;
    let planned = act(&globex.caller, &globex, &id, "plan").await.expect(200);
    let plan = &planned.json["plan"];
    let row = |field: &str| plan["announcements"][field].as_u64().unwrap();
    assert_eq!(["added", "changed", "withdrawn", "unchanged"].map(row), [1, 1, 0, 0]);
    let figure = |field: &str| plan[field].as_u64().unwrap();
    let figures = ["prefixes", "routes_added", "routes_changed", "routes_removed", "calls", "moved_calls"];
    // Calls to +49305 go on reaching globex-1, so that is no other route.
    assert_eq!(figures.map(figure), [1, 0, 1, 0, 5, 5]);
    let route = &plan["routes"][0];
    assert_eq!((&route["prefix"], &route["originating_member_name"]), (&json!("+4930"), &json!("acme")));
    assert_eq!(
        (&route["before"][0]["endpoint_name"], &route["after"][0]["endpoint_name"]),
        (&json!("globex-1"), &json!("globex-2"))
    );
    assert_eq!((&plan["needs_approval"], &plan["idle"]), (&json!(false), &json!(0)));
    assert_eq!(announced(&globex).await, ["+4930 globex-1"], "a plan changes nothing");
    assert_eq!(exchange.feed_position().await, feed);

    exchange.clock.advance(Duration::from_secs(1));
    let applied = act(&globex.caller, &globex, &id, "apply").await.expect(200);
    assert_eq!(applied.text("state"), "applied");
    assert_eq!(announced(&globex).await, ["+4930 globex-2", "+49305 globex-1"]);
    assert_eq!(act(&globex.caller, &globex, &id, "apply").await.problem(), (409, "change_set_state"));
    assert_eq!(act(&globex.caller, &globex, &id, "cancel").await.problem(), (409, "change_set_state"));
    exchange.route().await;

    exchange.clock.advance(Duration::from_secs(1));
    let restored = act(&globex.caller, &globex, &id, "roll-back").await.expect(200);
    assert_eq!(restored.text("state"), "rolled_back");
    assert_eq!(announced(&globex).await, ["+4930 globex-1"]);
    assert_eq!(act(&globex.caller, &globex, &id, "roll-back").await.problem(), (409, "change_set_state"));
    let audit = globex.caller.get("/audit").await;
    let actions: Vec<&str> = audit.items().iter().map(|it| it["action"].as_str().unwrap()).collect();
    assert_eq!(actions[..3], ["change_set.roll_back", "change_set.apply", "change_set.create"]);
}

#[tokio::test]
async fn limits_and_later_announcements_are_there_again_after_a_roll_back() {
    let (exchange, _, globex) = scene(ApprovalThreshold::default()).await;
    let limited =
        json!({ "prefix": "+49301", "endpoints": ["globex-1"], "max_calls": 7, "tags": ["cli-guaranteed"] });
    globex.post("announcements", limited).await.expect(201);
    let later = json!({
        "prefix": "+49302", "endpoints": ["globex-1"], "valid_from": exchange.clock.now() + TimeDelta::days(3),
    });
    globex.post("announcements", later).await.expect(201);
    exchange.clock.advance(Duration::from_secs(1));
    let essence = async || {
        let page = globex.get("announcements").await.expect(200);
        let line = |it: &Value| {
            let from: DateTime<Utc> = it["valid_from"].as_str().unwrap().parse().unwrap();
            let later = from > exchange.clock.now();
            format!("{} {} {} {later}", it["prefix"], it["max_calls"], it["tags"])
        };
        let mut lines: Vec<String> = page.items().iter().map(line).collect();
        lines.sort();
        lines
    };
    let before = essence().await;
    let input = json!({
        "announcements": [{ "prefix": "+49302", "endpoints": ["globex-2"] }], "withdraw": ["+49301", "+4930"],
    });
    let id = globex.post("change-sets", input).await.expect(201).text("change_set_id");
    act(&globex.caller, &globex, &id, "plan").await.expect(200);
    act(&globex.caller, &globex, &id, "apply").await.expect(200);
    assert_eq!(announced(&globex).await, ["+49302 globex-2"]);
    exchange.clock.advance(Duration::from_secs(1));
    act(&globex.caller, &globex, &id, "roll-back").await.expect(200);
    assert_eq!(essence().await, before);
}

#[tokio::test]
async fn what_moves_much_needs_a_second_person() {
    let (exchange, _, globex) = scene(ApprovalThreshold { moved_calls: 4, prefixes: 100 }).await;
    let author = person(&exchange, &globex, "author@globex.example").await;
    let second = person(&exchange, &globex, "second@globex.example").await;
    let id = draft(&globex, &author).await;
    assert_eq!(act(&second, &globex, &id, "approve").await.problem(), (409, "plan_missing"));
    let planned = act(&author, &globex, &id, "plan").await.expect(200);
    assert_eq!(planned.json["plan"]["needs_approval"], true);
    assert_eq!(act(&author, &globex, &id, "apply").await.problem(), (409, "approval_missing"));
    let later = json!({ "at": exchange.clock.now() + TimeDelta::hours(1) });
    let path = globex.path(&format!("change-sets/{id}/apply"));
    assert_eq!(author.post(&path, later).await.problem(), (409, "approval_missing"));
    assert_eq!(act(&author, &globex, &id, "approve").await.problem(), (403, "approval_by_author"));
    assert_eq!(act(&globex.caller, &globex, &id, "approve").await.problem(), (403, "forbidden"));
    // The schema says so, too.
    let user = author.get("/session").await.json["user"]["user_id"].as_str().unwrap().parse().unwrap();
    let (pool, set) = (exchange.database.pool(), ChangeSetId(id.parse().unwrap()));
    let error = tandem_store::change_set::approve(pool, set, UserId(user), exchange.clock.now()).await;
    let error = error.expect_err("a rule forbids it");
    assert_eq!(tandem_store::database::constraint(&error), Some("change_set_approved_by_author"));
    let approved = act(&second, &globex, &id, "approve").await.expect(200);
    assert_eq!(
        (&approved.json["approved"], &approved.json["approved_by"]),
        (&json!(true), &json!("second@globex.example"))
    );
    assert_eq!(act(&author, &globex, &id, "apply").await.expect(200).text("state"), "applied");
}

#[tokio::test]
async fn an_approval_does_not_cover_what_grew_since() {
    let (exchange, acme, globex) = scene(ApprovalThreshold { moved_calls: 4, prefixes: 100 }).await;
    let second = person(&exchange, &globex, "second@globex.example").await;
    let id = draft(&globex, &globex.caller).await;
    act(&globex.caller, &globex, &id, "plan").await.expect(200);
    act(&second, &globex, &id, "approve").await.expect(200);
    let initech = exchange.provider("initech", 3, "+4940").await;
    for number in 6..=9 {
        answered(&exchange, &acme, &globex, &initech, exchange.clock.now() - TimeDelta::hours(2), number)
            .await;
    }
    let refused = act(&globex.caller, &globex, &id, "apply").await;
    assert_eq!(refused.problem(), (409, "approval_missing"));
    assert!(refused.text("detail").contains("moves 9"), "{}", refused.text);
    act(&globex.caller, &globex, &id, "plan").await.expect(200);
    act(&second, &globex, &id, "approve").await.expect(200);
    act(&globex.caller, &globex, &id, "apply").await.expect(200);
}

#[tokio::test]
async fn a_change_set_takes_effect_at_its_time_also_after_a_restart() {
    let (exchange, _, globex) = scene(ApprovalThreshold::default()).await;
    let id = draft(&globex, &globex.caller).await;
    act(&globex.caller, &globex, &id, "plan").await.expect(200);
    let path = globex.path(&format!("change-sets/{id}/apply"));
    let at = exchange.clock.now() + TimeDelta::hours(1);
    let far = json!({ "at": exchange.clock.now() + TimeDelta::days(91) });
    assert_eq!(globex.caller.post(&path, far).await.fields(), ["at"]);
    let scheduled = globex.caller.post(&path, json!({ "at": at })).await.expect(200);
    assert_eq!(scheduled.text("state"), "scheduled");
    apply_due(&exchange.app).await.unwrap();
    assert_eq!(announced(&globex).await, ["+4930 globex-1"], "its time has not come");

    exchange.clock.advance(Duration::from_secs(3600));
    // Another portal on the same database finds it due.
    let restarted = AppState::new(
        exchange.app.settings.clone(),
        exchange.database.pool().clone(),
        tandem_routing::shared(tandem_routing::RouteTable::empty()),
        Default::default(),
        std::sync::Arc::new(exchange.clock.clone()),
        entropy(),
        &Registry::new(),
    );
    apply_due(&restarted).await.unwrap();
    apply_due(&exchange.app).await.unwrap();
    assert_eq!(announced(&globex).await, ["+4930 globex-2", "+49305 globex-1"]);
    let set = globex.get(&format!("change-sets/{id}")).await.expect(200);
    assert_eq!(set.text("state"), "applied");
    let audit = globex.caller.get("/audit").await;
    let entry = &audit.items()[0];
    assert_eq!((&entry["action"], &entry["actor"]), (&json!("change_set.apply"), &json!("test")));
}

#[tokio::test]
async fn what_cannot_take_effect_at_its_time_fails_with_its_reason_and_changes_nothing() {
    let (exchange, _, globex) = scene(ApprovalThreshold::default()).await;
    let schedule = async |id: &str| {
        act(&globex.caller, &globex, id, "plan").await.expect(200);
        let at = json!({ "at": exchange.clock.now() + TimeDelta::minutes(5) });
        globex.caller.post(&globex.path(&format!("change-sets/{id}/apply")), at).await.expect(200);
    };
    let (lost, cancelled) = (draft(&globex, &globex.caller).await, draft(&globex, &globex.caller).await);
    schedule(&lost).await;
    schedule(&cancelled).await;
    act(&globex.caller, &globex, &cancelled, "cancel").await.expect(200);
    let endpoints = globex.get("endpoints").await;
    let endpoint = endpoints.items().iter().find(|it| it["name"] == "globex-2").unwrap();
    globex.delete(&format!("endpoints/{}", endpoint["endpoint_id"].as_str().unwrap())).await.expect(204);
    exchange.clock.advance(Duration::from_secs(301));
    apply_due(&exchange.app).await.unwrap();
    let set = globex.get(&format!("change-sets/{lost}")).await.expect(200);
    assert_eq!((&set.json["state"], &set.json["failure"]), (&json!("failed"), &json!("conflict")));
    let set = globex.get(&format!("change-sets/{cancelled}")).await.expect(200);
    assert_eq!(set.text("state"), "cancelled");
    assert_eq!(announced(&globex).await, ["+4930 globex-1"]);
}

#[tokio::test]
async fn what_was_changed_since_is_not_rolled_back() {
    let (exchange, _, globex) = scene(ApprovalThreshold::default()).await;
    let id = draft(&globex, &globex.caller).await;
    act(&globex.caller, &globex, &id, "plan").await.expect(200);
    act(&globex.caller, &globex, &id, "apply").await.expect(200);
    exchange.clock.advance(Duration::from_secs(1));
    let bulk = json!({ "withdraw": ["+49305"] });
    globex.post("announcements/bulk", bulk).await.expect(200);
    let answer = act(&globex.caller, &globex, &id, "roll-back").await;
    assert_eq!(answer.problem(), (409, "roll_back_overtaken"));
    assert!(answer.text("detail").contains("+49305"), "{}", answer.text);
    assert_eq!(announced(&globex).await, ["+4930 globex-2"]);
}

#[tokio::test]
async fn a_draft_names_each_prefix_once_and_one_at_least() {
    let (_exchange, _, globex) = scene(ApprovalThreshold::default()).await;
    let twice =
        json!({ "announcements": [{ "prefix": "+4930", "endpoints": ["globex-1"] }], "withdraw": ["+4930"] });
    for (input, field) in [
        (json!({}), "announcements"),
        (twice, "withdraw"),
        (json!({ "announcements": [{ "prefix": "+4930", "endpoints": ["nobody"] }] }), "endpoints"),
        (json!({ "withdraw": ["x"] }), "withdraw"),
    ] {
        assert_eq!(globex.post("change-sets", input).await.fields(), [field]);
    }
}

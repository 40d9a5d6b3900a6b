//! Clubs: who has joined reaches all that have, and nobody else.

use serde_json::{Value, json};

use crate::exchange::{Exchange, Member};

/// Whether a call of the member to globex's +4930 would be routed, or why not.
async fn outcome(exchange: &Exchange, member: &Member) -> String {
    exchange.route().await;
    let seen = member.get("lookup?called=493012345").await.expect(200).json;
    seen["refusal"]["code"].as_str().unwrap_or("routed").to_owned()
}

fn names(members: &Value) -> Vec<&str> {
    members.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn who_has_joined_a_club_reaches_all_that_have_until_one_of_the_two_leaves_or_is_expelled() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let initech = exchange.member("initech").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    globex.announce("+4930").await.expect(201);
    let described = json!({ "name": "peering", "display_name": "Peering", "max_calls": 100, "note": "free" });
    let club = exchange.operator.post("/clubs", described.clone()).await.expect(201).text("club_id");
    let again = exchange.operator.post("/clubs", described).await;
    assert_eq!((again.problem(), again.fields()), ((409, "conflict"), vec!["name"]));
    acme.caller.post("/clubs", json!({ "name": "own", "display_name": "Own" })).await.expect(403);

    let act = async |member: &Member, act: &str| {
        exchange.clock.advance(std::time::Duration::from_secs(1));
        let answer = member.post(&format!("clubs/{club}/{act}"), json!({})).await;
        answer.json["code"].as_str().unwrap_or("done").to_owned()
    };
    let operate = async |act: &str, member: &str| {
        let answer =
            exchange.operator.post(&format!("/clubs/{club}/{act}"), json!({ "member": member })).await;
        answer.json["code"].as_str().unwrap_or("done").to_owned()
    };
    assert_eq!(act(&globex, "join").await, "done");
    assert_eq!(act(&globex, "join").await, "club_joined");
    assert_eq!(outcome(&exchange, &acme).await, "no_agreement");
    assert_eq!(act(&acme, "join").await, "done");
    assert_eq!(outcome(&exchange, &acme).await, "routed");
    assert_eq!(outcome(&exchange, &initech).await, "no_agreement");
    let seen = initech.get("clubs").await.items()[0].clone();
    assert_eq!((names(&seen["members"]), &seen["max_calls"]), (vec!["acme", "globex"], &json!(100)));

    assert_eq!(act(&acme, "leave").await, "done");
    assert_eq!(act(&acme, "leave").await, "club_not_joined");
    assert_eq!(outcome(&exchange, &acme).await, "no_agreement");
    assert_eq!(act(&acme, "join").await, "done");
    assert_eq!(outcome(&exchange, &acme).await, "routed");

    assert_eq!(operate("readmit", "acme").await, "club_not_joined");
    assert_eq!(operate("expel", "acme").await, "done");
    assert_eq!(outcome(&exchange, &acme).await, "no_agreement");
    assert_eq!(act(&acme, "join").await, "club_expelled");
    assert_eq!(names(&acme.get("clubs").await.items()[0]["expelled"]), ["acme"]);
    assert_eq!(names(&globex.get("clubs").await.items()[0]["expelled"]), [""; 0]);
    assert_eq!(operate("readmit", "acme").await, "done");
    assert_eq!(act(&acme, "join").await, "done");
    assert_eq!(outcome(&exchange, &acme).await, "routed");
}

#[tokio::test]
async fn the_terms_of_a_club_hold_for_all_of_its_members_and_an_agreement_of_two_comes_first() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    globex.announce("+4930").await.expect(201);
    let described = json!({ "name": "premium", "display_name": "Premium", "demand": "premium" });
    let club = exchange.operator.post("/clubs", described).await.expect(201).text("club_id");
    for member in [&acme, &globex] {
        member.post(&format!("clubs/{club}/join"), json!({})).await.expect(200);
    }
    assert_eq!(outcome(&exchange, &acme).await, "agreement_tags");
    exchange.agree(&acme, &globex, "both").await;
    assert_eq!(outcome(&exchange, &acme).await, "routed");
    let wrong = json!({ "name": "wrong", "display_name": "Wrong", "demand": "a or", "sites": ["nowhere"] });
    let answer = exchange.operator.post("/clubs", wrong).await.expect(422);
    assert_eq!(answer.fields(), ["sites", "demand"]);
}

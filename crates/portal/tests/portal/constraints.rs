use serde_json::json;

use crate::exchange::{Answer, Exchange, PASSWORD, endpoint};

#[tokio::test]
async fn each_rule_that_spans_rows_has_its_problem() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.provider("globex", 2, "+4930").await;

    let again = json!({ "name": "acme", "display_name": "Acme", "contact_email": "noc@acme.example" });
    let answer = exchange.operator.post("/members", again).await;
    assert_eq!((answer.problem(), answer.fields()), ((409, "conflict"), vec!["name"]));

    let answer = acme.post("endpoints", endpoint("acme-1", 3)).await;
    assert_eq!((answer.problem(), answer.fields()), ((409, "conflict"), vec!["name"]));

    let answer = globex.post("endpoints", endpoint("globex-2", 1)).await;
    assert_eq!((answer.problem(), answer.fields()), ((409, "source_overlaps"), vec!["sources"]));
    // Whose source it is, is not said.
    assert!(!answer.text.contains("acme"), "{}", answer.text);

    let answer = acme.post("ranges", json!({ "prefix": "+4420", "evidence": "" })).await;
    assert_eq!((answer.problem(), answer.fields()), ((409, "conflict"), vec!["prefix"]));

    // Equal to, inside of and around a verified range: a claim may be made, but not verified.
    for prefix in ["+4420", "+44207", "+44"] {
        let claim = globex.post("ranges", json!({ "prefix": prefix, "evidence": "" })).await.expect(201);
        let path = format!("/ranges/{}/verify", claim.text("range_id"));
        assert_eq!(
            exchange.operator.post(&path, json!({})).await.problem(),
            (409, "range_overlaps"),
            "{prefix}"
        );
    }

    acme.announce("+44207").await.expect(201);
    let answer = acme.announce("+44207").await;
    assert_eq!((answer.problem(), answer.fields()), ((409, "announcement_exists"), vec!["prefix"]));

    let proposal = |with: &str| json!({ "with": with, "direction": "both" });
    acme.post("agreements", proposal("globex")).await.expect(201);
    for (member, other) in [(&acme, "globex"), (&globex, "acme")] {
        assert_eq!(member.post("agreements", proposal(other)).await.problem(), (409, "agreement_exists"));
    }
    assert_eq!(acme.post("agreements", proposal("acme")).await.fields(), ["with"]);
    assert_eq!(acme.post("agreements", proposal("nobody")).await.fields(), ["with"]);

    let user = || json!({ "email": "noc@acme.example", "password": PASSWORD });
    acme.post("users", user()).await.expect(201);
    let answer = globex.post("users", user()).await;
    assert_eq!((answer.problem(), answer.fields()), ((409, "conflict"), vec!["email"]));

    let endpoint_id = acme.get("endpoints").await.items()[0]["endpoint_id"].as_str().unwrap().to_owned();
    let answer = acme.delete(&format!("endpoints/{endpoint_id}")).await;
    assert_eq!((answer.problem(), answer.fields()), ((409, "conflict"), vec!["endpoints"]));
}

#[tokio::test]
async fn one_of_ten_equal_claims_is_verified_when_all_are_at_once() {
    let exchange = Exchange::new().await;
    let mut paths = Vec::new();
    for number in 0..10 {
        let member = exchange.member(&format!("m{number}")).await;
        let claim = member.post("ranges", json!({ "prefix": "+4420", "evidence": "" })).await.expect(201);
        paths.push(format!("/ranges/{}/verify", claim.text("range_id")));
    }
    let mut tasks = tokio::task::JoinSet::new();
    for path in paths {
        let operator = exchange.operator.clone();
        tasks.spawn(async move { operator.post(&path, json!({})).await.status });
    }
    let mut statuses = tasks.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses[..2], [200, 409]);
    assert_eq!(statuses[1..], [409; 9]);
}

#[tokio::test]
async fn numbers_pass_from_one_member_to_another_when_the_first_lets_go() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.member("globex").await;
    let claim = globex.post("ranges", json!({ "prefix": "+44207", "evidence": "ported" })).await.expect(201);
    let verify = format!("/ranges/{}/verify", claim.text("range_id"));
    exchange.operator.post(&verify, json!({})).await.expect(409);
    exchange.clock.advance(std::time::Duration::from_secs(60));
    let held = acme.get("ranges").await.items()[0]["range_id"].as_str().unwrap().to_owned();
    acme.delete(&format!("ranges/{held}")).await.expect(204);
    assert_eq!(acme.get("ranges").await.items()[0]["authority"], "expired");
    assert_eq!(exchange.operator.post(&verify, json!({})).await.expect(200).json["authority"], "valid");
    // What is over is not decided any more.
    let answer = exchange.operator.post(&format!("/ranges/{held}/verify"), json!({})).await;
    assert_eq!(answer.problem(), (409, "conflict"));
}

#[tokio::test]
async fn a_refused_change_leaves_nothing_behind() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    let (feed, audit) =
        (exchange.feed_position().await, exchange.operator.get("/audit?limit=500").await.items().len());
    // The endpoint's own row would be fine; its second source is not.
    let mut body = endpoint("globex-2", 9);
    body["sources"] = json!([{ "net": "192.0.2.9" }, { "net": "192.0.2.1" }]);
    globex.post("endpoints", body).await.expect(409);
    let id = globex.get("endpoints").await.items()[0]["endpoint_id"].as_str().unwrap().to_owned();
    globex.put(&format!("endpoints/{id}"), endpoint("globex-1", 1)).await.expect(409);
    acme.announce("+44x").await.expect(422);
    assert_eq!(globex.get("endpoints").await.items().len(), 1);
    assert_eq!(globex.get("endpoints").await.items()[0]["target"], "sip:192.0.2.2:5060;transport=udp");
    assert_eq!(exchange.feed_position().await, feed);
    assert_eq!(exchange.operator.get("/audit?limit=500").await.items().len(), audit);
}

#[tokio::test]
async fn each_change_has_its_audit_entry_with_before_and_after() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let id = acme.get("endpoints").await.items()[0]["endpoint_id"].as_str().unwrap().to_owned();
    let mut body = endpoint("acme-1", 1);
    body["max_calls"] = json!(10);
    acme.put(&format!("endpoints/{id}"), body).await.expect(200);
    let audit = acme.caller.get("/audit").await.expect(200);
    let entry = &audit.items()[0];
    assert_eq!(entry["action"], "endpoint.update");
    assert_eq!((&entry["actor"], &entry["source"]), (&json!("test"), &json!("198.51.100.7")));
    assert_eq!((&entry["before"]["max_calls"], &entry["after"]["max_calls"]), (&json!(null), &json!(10)));
    // A member sees that the operator acted, not who that is or from where.
    let verified =
        audit.items().iter().find(|it| it["action"] == "range.verify").expect("it was written down");
    assert_eq!((&verified["actor"], &verified["source"]), (&json!("operator"), &json!(null)));
    let all = exchange.operator.get("/audit").await.expect(200);
    let verified = all.items().iter().find(|it| it["action"] == "range.verify").expect("it was written down");
    assert_eq!(verified["source"], "198.51.100.7");
}

#[tokio::test]
async fn an_agreement_is_answered_by_who_was_asked_and_ended_by_either() {
    let exchange = Exchange::new().await;
    let (acme, globex) = (exchange.member("acme").await, exchange.member("globex").await);
    let propose =
        || acme.post("agreements", json!({ "with": "globex", "direction": "outgoing", "note": "hi" }));
    let made = propose().await.expect(201);
    assert_eq!((&made.json["direction"], &made.json["may_answer"]), (&json!("to_accepting"), &json!(false)));
    let id = made.text("agreement_id");
    for (member, action, problem) in [
        (&acme, "accept", (409, "agreement_awaits_other")),
        (&acme, "refuse", (409, "agreement_awaits_other")),
        (&globex, "end", (409, "agreement_awaits_you")),
    ] {
        let answer = member.post(&format!("agreements/{id}/{action}"), json!({})).await;
        assert_eq!(answer.problem(), problem, "{} {action}", member.name);
    }
    assert_eq!(globex.get(&format!("agreements/{id}")).await.json["may_answer"], true);
    exchange.clock.advance(std::time::Duration::from_secs(1));
    let accepted = globex.post(&format!("agreements/{id}/accept"), json!({})).await.expect(200);
    assert_eq!(
        (&accepted.json["state"], &accepted.json["valid_from"]),
        (&json!("accepted"), &json!("2030-01-01T00:00:01Z"))
    );
    exchange.clock.advance(std::time::Duration::from_secs(1));
    let ended = globex.post(&format!("agreements/{id}/end"), json!({})).await.expect(200);
    assert_eq!(
        (&ended.json["state"], &ended.json["valid_until"]),
        (&json!("ended"), &json!("2030-01-01T00:00:02Z"))
    );
    globex.post(&format!("agreements/{id}/end"), json!({})).await.expect(409);

    // A proposal is taken back; what never held has no time at which it did.
    let id = propose().await.expect(201).text("agreement_id");
    let ended = acme.post(&format!("agreements/{id}/end"), json!({})).await.expect(200);
    assert_eq!((&ended.json["state"], &ended.json["valid_from"]), (&json!("ended"), &json!(null)));
    exchange.route().await;
}

#[tokio::test]
async fn limits_on_calls_are_set_by_who_may_and_reach_the_route_table() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.member("globex").await;
    let limits = json!({ "max_calls": 30, "max_calls_per_second": 5 });
    let with = |mut body: serde_json::Value| {
        body.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
        body
    };
    let path = format!("/members/{}", acme.id);
    acme.caller.send("PATCH", &path, Some(limits.clone())).await.expect(403);
    exchange.operator.send("PATCH", &path, Some(limits.clone())).await.expect(200);
    assert_eq!(acme.caller.get(&path).await.json["max_calls"], 30);
    // What is left out stays, null takes the bound away.
    let changed =
        exchange.operator.send("PATCH", &path, Some(json!({ "max_calls": null }))).await.expect(200);
    assert_eq!(
        (&changed.json["max_calls"], &changed.json["max_calls_per_second"]),
        (&json!(null), &json!(5))
    );
    let refused = exchange.operator.send("PATCH", &path, Some(json!({ "max_calls": 0 }))).await.expect(422);
    assert_eq!(refused.fields(), ["max_calls"]);

    let announced = json!({ "prefix": "+44207", "endpoints": ["acme-1"] });
    let made = acme.post("announcements", with(announced.clone())).await.expect(201);
    assert_eq!((&made.json["max_calls"], &made.json["max_calls_per_second"]), (&json!(30), &json!(5)));
    let other = json!({ "prefix": "+44208", "endpoints": ["acme-1"], "max_calls_per_second": 0 });
    assert_eq!(acme.post("announcements", other).await.expect(422).fields(), ["max_calls_per_second"]);

    let advance_on = json!({ "statuses": [486, 503], "causes": [34] });
    let proposal = json!({ "with": "acme", "direction": "outgoing", "advance_on": advance_on });
    for wrong in [json!({ "statuses": [200] }), json!({ "causes": [300] })] {
        let proposal = json!({ "with": "acme", "direction": "outgoing", "advance_on": wrong });
        assert_eq!(globex.post("agreements", proposal).await.expect(422).fields(), ["advance_on"]);
    }
    let id = globex.post("agreements", with(proposal)).await.expect(201).text("agreement_id");
    let accepted = acme.post(&format!("agreements/{id}/accept"), json!({})).await.expect(200);
    assert_eq!(
        (&accepted.json["max_calls"], &accepted.json["max_calls_per_second"]),
        (&json!(30), &json!(5))
    );

    assert_eq!(accepted.json["advance_on"], advance_on);

    let facts = tandem_store::facts::load(&exchange.app.db).await.unwrap().facts;
    let list = facts.agreements[0].advance_on.as_ref().unwrap();
    assert!(list.includes(486, None) && list.includes(500, Some(34)) && !list.includes(500, None));
    let both = tandem_model::CallLimits { max_calls: Some(30), max_calls_per_second: Some(5) };
    assert_eq!((facts.announcements[0].limits, facts.agreements[0].limits), (both, both));
    let member = facts.members.iter().find(|it| it.name == "acme").unwrap();
    assert_eq!(member.limits, tandem_model::CallLimits { max_calls: None, max_calls_per_second: Some(5) });
    // An announcement that is described anew without limits has none.
    let id = made.text("announcement_id");
    let changed = acme.put(&format!("announcements/{id}"), announced).await.expect(200);
    assert_eq!(changed.json["max_calls"], json!(null));
}

#[tokio::test]
async fn only_the_operator_says_whether_an_endpoint_is_trusted_with_identities() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let with_trust = |name: &str, number: u8, trusted: Option<bool>| {
        let mut body = endpoint(name, number);
        body["policy"] = json!({ "profile": "asterisk", "overrides": { "numbers": { "country": "44" } } });
        if let Some(trusted) = trusted {
            body["policy"]["overrides"]["identity"] = json!({ "trusted": trusted });
        }
        body
    };
    let trust = |answer: &Answer| answer.json["policy"]["overrides"]["identity"]["trusted"].as_bool();
    let refused = |answer: Answer| {
        assert_eq!(answer.problem(), (403, "operator_setting"), "{}", answer.text);
        assert_eq!(answer.fields(), ["policy.overrides.identity.trusted"]);
    };

    // A new one is as its profile says, and a member neither lowers nor raises it.
    refused(acme.post("endpoints", with_trust("acme-1", 1, Some(false))).await);
    let id = acme.post("endpoints", with_trust("acme-1", 1, None)).await.expect(201).text("endpoint_id");
    let path = format!("endpoints/{id}");
    refused(acme.put(&path, with_trust("acme-1", 1, Some(false))).await);

    // The operator distrusts it: the member goes on to change the rest, but not that.
    let url = acme.path(&path);
    let body = with_trust("acme-1", 1, Some(false));
    let distrusted = exchange.operator.send("PUT", &url, Some(body.clone())).await.expect(200);
    assert_eq!(trust(&distrusted), Some(false));
    refused(acme.put(&path, with_trust("acme-1", 1, Some(true))).await);
    for again in [None, Some(false)] {
        let after = acme.put(&path, with_trust("acme-one", 1, again)).await.expect(200);
        assert_eq!((after.text("name").as_str(), trust(&after)), ("acme-one", Some(false)));
    }

    // Nor is there a way around: not by another endpoint, and not by a new one in its place.
    refused(acme.post("endpoints", with_trust("acme-2", 2, Some(true))).await);
    let second = acme.post("endpoints", with_trust("acme-2", 2, None)).await.expect(201);
    assert_eq!(trust(&second), Some(false));
    assert_eq!(acme.delete(&path).await.problem(), (403, "operator_setting"));

    let trusted = exchange.operator.send("PUT", &url, Some(with_trust("acme-1", 1, None))).await.expect(200);
    assert_eq!(trust(&trusted), None);
    acme.delete(&path).await.expect(204);
}

#[tokio::test]
async fn only_the_operator_says_whether_an_endpoint_is_trusted_with_routing_numbers() {
    let exchange = Exchange::new().await;
    let acme = exchange.member("acme").await;
    let with = |name: &str, number: u8, numbers: serde_json::Value| {
        let mut body = endpoint(name, number);
        body["policy"] = json!({ "overrides": { "numbers": numbers } });
        body
    };
    let (trusted, told) = (json!({ "routing_number": true }), json!({ "write_routing_number": true }));
    let refused = |answer: Answer| {
        assert_eq!(answer.problem(), (403, "operator_setting"), "{}", answer.text);
        assert_eq!(answer.fields(), ["policy.overrides.numbers.routing_number"]);
    };
    refused(acme.post("endpoints", with("acme-1", 1, trusted.clone())).await);
    let id = acme.post("endpoints", with("acme-1", 1, told.clone())).await.expect(201).text("endpoint_id");
    let path = format!("endpoints/{id}");
    refused(acme.put(&path, with("acme-1", 1, trusted.clone())).await);

    // The operator trusts it, and it stays so while the member changes the rest; another endpoint does not.
    exchange
        .operator
        .send("PUT", &acme.path(&path), Some(with("acme-1", 1, trusted.clone())))
        .await
        .expect(200);
    let after = acme.put(&path, with("acme-1", 1, told.clone())).await.expect(200);
    assert_eq!(
        after.json["policy"]["overrides"]["numbers"],
        json!({ "routing_number": true, "write_routing_number": true })
    );
    refused(acme.put(&path, with("acme-1", 1, json!({ "routing_number": false }))).await);
    let second = acme.post("endpoints", with("acme-2", 2, told.clone())).await.expect(201);
    assert_eq!(second.json["policy"]["overrides"]["numbers"], told);
    refused(acme.post("endpoints", with("acme-3", 3, trusted)).await);
}

#[tokio::test]
async fn two_members_share_an_address_where_each_has_a_tech_prefix() {
    let exchange = Exchange::new().await;
    let (acme, globex) = (exchange.member("acme").await, exchange.member("globex").await);
    let with = |name: &str, marks: serde_json::Value| {
        let mut body = endpoint(name, 1);
        body.as_object_mut().unwrap().extend(marks.as_object().unwrap().clone());
        body
    };
    for (marks, fields) in [
        (json!({ "tech_prefix": "99#" }), ["tech_prefix"]),
        (json!({ "request_domain": "192.0.2.1" }), ["request_domain"]),
        (json!({ "tech_prefix": "99", "request_domain": "acme.example" }), ["request_domain"]),
        (json!({ "tech_prefix": "99", "sources": [] }), ["sources"]),
    ] {
        let answer = acme.post("endpoints", with("acme-1", marks)).await;
        assert_eq!((answer.problem(), answer.fields()), ((422, "invalid"), fields.to_vec()));
    }
    let made = acme.post("endpoints", with("acme-1", json!({ "tech_prefix": "9911" }))).await.expect(201);
    assert_eq!((&made.json["tech_prefix"], &made.json["request_domain"]), (&json!("9911"), &json!(null)));
    for marks in [json!({}), json!({ "tech_prefix": "99" }), json!({ "request_domain": "globex.example" })] {
        let answer = globex.post("endpoints", with("globex-1", marks)).await;
        assert_eq!((answer.problem(), answer.fields()), ((409, "source_overlaps"), vec!["sources"]));
    }
    globex.post("endpoints", with("globex-1", json!({ "tech_prefix": "9922" }))).await.expect(201);

    exchange.route().await;
    let table = exchange.app.table.load();
    let source = "192.0.2.1:5060".parse().unwrap();
    for (user, name) in [("9911442079460000", Some("acme-1")), ("9922+44", Some("globex-1")), ("44", None)] {
        let found = table.endpoint_marked(source, |mark| mark.is_borne_by(user.as_bytes(), b"hub"));
        assert_eq!(found.map(|endpoint| endpoint.name.as_str()), name, "{user}");
    }
}

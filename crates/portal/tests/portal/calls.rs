use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tandem_model::{Attempt, CallId, Cause, Cdr, Clock, EndedBy, EndpointId, MemberId, NodeId, Outcome};
use uuid::Uuid;

use crate::exchange::{Exchange, Member};

/// The id of a call that came at this time.
pub(crate) fn call_id(at: DateTime<Utc>, number: u16) -> CallId {
    let millis = u64::try_from(at.timestamp_millis()).unwrap();
    let mut random = [0; 10];
    random[8..].copy_from_slice(&number.to_be_bytes());
    CallId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}

pub(crate) async fn endpoint_of(member: &Member) -> EndpointId {
    EndpointId(member.get("endpoints").await.items()[0]["endpoint_id"].as_str().unwrap().parse().unwrap())
}

/// A call from one member to another, answered after another one was tried.
pub(crate) async fn answered(
    exchange: &Exchange,
    from: &Member,
    tried: &Member,
    to: &Member,
    at: DateTime<Utc>,
    number: u16,
) -> Cdr {
    let (from_endpoint, tried_endpoint, to_endpoint) =
        (endpoint_of(from).await, endpoint_of(tried).await, endpoint_of(to).await);
    let attempt = |position, member: MemberId, endpoint, status| Attempt {
        position,
        terminating_member: member,
        endpoint,
        attempted_at: at,
        ended_at: Some(at + TimeDelta::seconds(1)),
        status: Some(status),
        reason: None,
        egress_call_id: format!("egress-{position}@hub"),
        called: None,
        cause: Cause::of_status(status),
    };
    let candidate = |member: &Member, endpoint: EndpointId| {
        json!({
            "member": member.id, "endpoint": endpoint, "announcement": Uuid::nil(), "agreement": Uuid::nil(),
            "prefix": "+4930", "range": Uuid::nil(),
        })
    };
    let cdr = Cdr {
        call_id: call_id(at, number),
        node_id: NodeId(Uuid::from_u128(1)),
        started_at: at,
        originating_member: from.member_id(),
        originating_endpoint: from_endpoint,
        calling: "+442071234".to_owned(),
        called: format!("49301{number:05}"),
        terminating_member: Some(to.member_id()),
        terminating_endpoint: Some(to_endpoint),
        agreement: None,
        prefix: Some("+4930".parse().unwrap()),
        outcome: Some(Outcome::Answered),
        status: Some(200),
        reason: None,
        answered_at: Some(at + TimeDelta::seconds(2)),
        ended_at: Some(at + TimeDelta::seconds(92)),
        ended_by: Some(EndedBy::Originating),
        setup_ms: Some(250),
        duration_ms: Some(90_000),
        originating_heard_at: None,
        terminating_heard_at: None,
        cause: Cause { sip: None, q850: Some(16) },
        ingress_call_id: "ingress@member".to_owned(),
        table_version: 7,
        selection: json!({
            "table_version": 7, "called": format!("+49301{number:05}"), "matched": "+4930",
            "candidates": [candidate(tried, tried_endpoint), candidate(to, to_endpoint)], "left_out": [],
        })
        .to_string(),
        attempts: vec![
            attempt(1, tried.member_id(), tried_endpoint, 503),
            attempt(2, to.member_id(), to_endpoint, 200),
        ],
    };
    let rejected =
        tandem_store::cdr::write(exchange.database.pool(), std::slice::from_ref(&cdr)).await.unwrap();
    assert!(rejected.is_empty());
    cdr
}

#[tokio::test]
async fn each_side_sees_the_other_member_and_nothing_of_its_network() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    let initech = exchange.provider("initech", 3, "+4940").await;
    let stranger = exchange.provider("stranger", 4, "+4950").await;
    let cdr = answered(&exchange, &acme, &initech, &globex, exchange.clock.now(), 1).await;
    let path = format!("calls/{}", cdr.call_id);

    let seen = acme.get(&path).await.expect(200);
    let call = &seen.json["call"];
    assert_eq!(
        (&call["side"], &call["terminating_member"]["name"]),
        (&json!("originating"), &json!("globex"))
    );
    assert_eq!(
        (&call["originating_endpoint"]["name"], &call["ingress_call_id"]),
        (&json!("acme-1"), &json!("ingress@member"))
    );
    assert_eq!((&call["terminating_endpoint"], &call["node_id"]), (&Value::Null, &Value::Null));
    let attempts = seen.json["attempts"].as_array().unwrap();
    let names: Vec<_> =
        attempts.iter().map(|it| it["terminating_member"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["initech", "globex"]);
    assert_eq!(seen.json["selection"]["candidates"].as_array().unwrap().len(), 2);
    for hidden in ["globex-1", "initech-1", "egress-", "192.0.2.2", &endpoint_of(&globex).await.to_string()] {
        assert!(!seen.text.contains(hidden), "{hidden} in {}", seen.text);
    }

    let seen = globex.get(&path).await.expect(200);
    let call = &seen.json["call"];
    assert_eq!((&call["side"], &call["originating_member"]["name"]), (&json!("terminating"), &json!("acme")));
    assert_eq!(&call["terminating_endpoint"]["name"], "globex-1");
    assert_eq!((&seen.json["selection"], seen.json["attempts"].as_array().unwrap().len()), (&Value::Null, 1));
    assert_eq!(seen.json["attempts"][0]["egress_call_id"], "egress-2@hub");
    for hidden in ["acme-1", "ingress@", "initech", "egress-1"] {
        assert!(!seen.text.contains(hidden), "{hidden} in {}", seen.text);
    }

    stranger.get(&path).await.expect(404);
    assert_eq!(stranger.get("calls").await.items().len(), 0);
    exchange.operator.get(&stranger.path(&path)).await.expect(404);
    for seen in [
        exchange.operator.get(&format!("/{path}")).await.expect(200),
        exchange.operator.get(&acme.path(&path)).await.expect(200),
    ] {
        for shown in ["acme-1", "globex-1", "initech-1", "ingress@member", "egress-1@hub"] {
            assert!(seen.text.contains(shown), "{shown} in {}", seen.text);
        }
    }
    // The list hides what the call itself hides.
    let list = acme.get("calls").await.expect(200);
    assert!(list.text.contains("globex") && !list.text.contains("globex-1"), "{}", list.text);
    let list = globex.get("calls").await.expect(200);
    assert!(!list.text.contains("acme-1") && !list.text.contains("ingress@"), "{}", list.text);
}

#[tokio::test]
async fn calls_are_found_by_number_outcome_time_and_state_page_by_page() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    let now = exchange.clock.now();
    for number in 0..5 {
        // Two of them at the same microsecond.
        answered(
            &exchange,
            &acme,
            &globex,
            &globex,
            now - TimeDelta::hours(12 * i64::from(number / 2)),
            number,
        )
        .await;
    }
    for (query, found) in [
        ("number=4930100001", 1),
        ("number=%2B49301", 5),
        ("number=44207", 5),
        ("number=33", 0),
        ("outcome=answered", 5),
        ("outcome=busy", 0),
        ("up=true", 0),
        ("up=false", 5),
        ("from=2030-01-01T00:00:00Z", 2),
        ("until=2030-01-01T00:00:00Z&from=2029-12-31T12:00:00Z", 2),
    ] {
        assert_eq!(acme.get(&format!("calls?{query}")).await.expect(200).items().len(), found, "{query}");
        let all = exchange.operator.get(&format!("/calls?{query}")).await.expect(200);
        assert_eq!(all.items().len(), found, "{query}");
    }
    for member in [&acme, &globex] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = member.get(&format!("calls?limit=2{cursor}")).await.expect(200);
            seen.extend(page.items().iter().map(|it| it["called"].as_str().unwrap().to_owned()));
            match page.json["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, ["4930100001", "4930100000", "4930100003", "4930100002", "4930100004"]);
    }
}

#[tokio::test]
async fn a_call_that_is_up_is_among_those_that_are_up_until_it_ends() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    let stranger = exchange.provider("stranger", 4, "+4950").await;
    let over = answered(&exchange, &acme, &globex, &globex, exchange.clock.now(), 1).await;
    let up = Cdr {
        call_id: call_id(exchange.clock.now(), 2),
        outcome: None,
        ended_at: None,
        ended_by: None,
        duration_ms: None,
        attempts: Vec::new(),
        ..over.clone()
    };
    tandem_store::cdr::write(exchange.database.pool(), std::slice::from_ref(&up)).await.unwrap();
    for (member, is_up, is_over) in [(&acme, 1, 1), (&globex, 1, 1), (&stranger, 0, 0)] {
        assert_eq!(member.get("calls?up=true").await.expect(200).items().len(), is_up);
        assert_eq!(member.get("calls?up=false").await.expect(200).items().len(), is_over);
        assert_eq!(member.get("overview").await.expect(200).json["calls_up"], is_up);
    }
    let seen = exchange.operator.get("/calls?up=true").await.expect(200);
    assert_eq!(seen.items()[0]["call_id"], up.call_id.to_string());
    let ended = Cdr { call_id: up.call_id, ..over };
    tandem_store::cdr::write(exchange.database.pool(), std::slice::from_ref(&ended)).await.unwrap();
    assert_eq!(exchange.operator.get("/calls?up=true").await.expect(200).items().len(), 0);
}

#[tokio::test]
async fn the_overview_counts_the_day_and_the_last_hour() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    acme.announce("+44207").await.expect(201);
    exchange.agree(&acme, &globex, "both").await;
    exchange.clock.advance(std::time::Duration::from_secs(7200));
    let now = exchange.clock.now();
    for (number, minutes) in [(0, 0), (1, 5), (2, 90), (3, 3 * 60)] {
        answered(&exchange, &acme, &globex, &globex, now - TimeDelta::minutes(minutes), number).await;
    }
    let seen = acme.get("overview").await.expect(200).json;
    // The last one was yesterday.
    assert_eq!((&seen["today"]["answered"], &seen["today"]["busy"]), (&json!(3), &json!(0)));
    assert_eq!((&seen["minutes_today"], &seen["setup_ms_median"]), (&json!(4.5), &json!(250)));
    assert_eq!(
        (&seen["calls_up"], &seen["endpoints"], &seen["announcements"], &seen["agreements"]),
        (&json!(0), &json!(1), &json!(1), &json!(1))
    );
    let minutes = seen["per_minute"].as_array().unwrap();
    let busy: Vec<_> =
        minutes.iter().enumerate().filter(|(_, it)| it["answered"] == 1).map(|(at, _)| at).collect();
    assert_eq!((minutes.len(), busy), (60, vec![54, 59]));
    assert_eq!(minutes[59]["at"], "2030-01-01T02:00:00Z");
    let all = exchange.operator.get("/overview").await.expect(200).json;
    assert_eq!((&all["members"], &all["endpoints"]), (&json!(2), &json!(2)));
    assert_eq!(seen["members"], Value::Null);
}

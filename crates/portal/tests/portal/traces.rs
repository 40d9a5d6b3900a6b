//! Traces: what a member may select, and what each reader sees of the ladder of a call.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tandem_model::{Cdr, Clock, MemberId, Transport};
use tandem_store::call_message::{self, CallMessage, CallTrace};

use crate::calls::{answered, endpoint_of};
use crate::exchange::{Exchange, Member};

/// A call from acme that initech was tried for and globex took, with two messages on each leg.
async fn traced(exchange: &Exchange, acme: &Member, initech: &Member, globex: &Member) -> Cdr {
    let cdr = answered(exchange, acme, initech, globex, exchange.clock.now(), 1).await;
    let message = |position: u32, member: &Member, attempt: Option<u16>, status: Option<u16>| CallMessage {
        call_id: cdr.call_id,
        position,
        at: cdr.started_at + TimeDelta::milliseconds(i64::from(position)),
        member_id: MemberId(member.id.parse().unwrap()),
        attempt,
        is_received: attempt.is_none() == status.is_none(),
        is_again: false,
        transport: Transport::Udp,
        hub_address: "192.0.2.200:5060".parse().unwrap(),
        member_address: "198.51.100.7:5060".parse().unwrap(),
        method: "INVITE".to_owned(),
        status,
        has_session: false,
        outline: format!("outline {}", status.map_or("INVITE".to_owned(), |it| it.to_string())),
        octets: format!("Call-ID: secret-of-{}\r\n<script>alert(1)</script>", member.name).into_bytes(),
    };
    let messages = [
        message(1, acme, None, None),
        message(2, initech, Some(1), None),
        message(3, initech, Some(1), Some(503)),
        message(4, globex, Some(2), None),
        message(5, globex, Some(2), Some(200)),
        message(6, acme, None, Some(200)),
    ];
    let trace =
        CallTrace { call_id: cdr.call_id, node_id: cdr.node_id, began_at: cdr.started_at, selection: None };
    call_message::write(exchange.database.pool(), &[trace], &messages, &[(cdr.call_id, 2)]).await.unwrap();
    cdr
}

/// Leg, attempt and member of each message, and whether it is whole.
fn rows(ladder: &Value) -> Vec<String> {
    let messages = ladder["messages"].as_array().unwrap();
    let row = |it: &Value| {
        let whole = it["whole"].as_bool().unwrap();
        for known in ["transport", "hub_address", "member_address"] {
            assert_eq!(it[known].is_string(), whole, "{it}");
        }
        format!(
            "{} {} {} {} {}",
            it["position"],
            it["leg"].as_str().unwrap(),
            it["member"]["name"].as_str().unwrap(),
            it["attempt"],
            whole
        )
    };
    messages.iter().map(row).collect()
}

#[tokio::test]
async fn each_side_sees_its_own_leg_whole_and_outlines_of_the_other() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    let initech = exchange.provider("initech", 3, "+4940").await;
    let cdr = traced(&exchange, &acme, &initech, &globex).await;
    let path = format!("calls/{}/ladder", cdr.call_id);

    let seen = acme.get(&path).await.expect(200);
    assert_eq!((&seen.json["traced"], &seen.json["dropped"]), (&json!(true), &json!(2)));
    assert_eq!(
        rows(&seen.json),
        [
            "1 originating acme null true",
            "2 terminating initech 1 false",
            "3 terminating initech 1 false",
            "4 terminating globex 2 false",
            "5 terminating globex 2 false",
            "6 originating acme null true",
        ]
    );
    assert!(seen.text.contains("secret-of-acme"));
    for hidden in ["secret-of-globex", "secret-of-initech"] {
        assert!(!seen.text.contains(hidden), "{hidden} in {}", seen.text);
    }

    let seen = globex.get(&path).await.expect(200);
    assert_eq!(
        rows(&seen.json),
        [
            "1 originating acme null false",
            "4 terminating globex 2 true",
            "5 terminating globex 2 true",
            "6 originating acme null false",
        ]
    );
    for hidden in ["secret-of-acme", "secret-of-initech", "initech"] {
        assert!(!seen.text.contains(hidden), "{hidden} in {}", seen.text);
    }

    assert_eq!(initech.get(&path).await.problem(), (404, "not_found"));
    for path in [acme.path(&path), format!("/calls/{}/ladder", cdr.call_id)] {
        let seen = exchange.operator.get(&path).await.expect(200);
        assert!(rows(&seen.json).iter().all(|row| row.ends_with("true")), "{}", seen.text);
    }
}

#[tokio::test]
async fn a_call_that_was_not_traced_has_no_ladder() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    let cdr = answered(&exchange, &acme, &globex, &globex, exchange.clock.now(), 1).await;
    let seen = acme.get(&format!("calls/{}/ladder", cdr.call_id)).await.expect(200);
    assert_eq!(seen.json, json!({ "traced": false, "dropped": 0, "messages": [] }));
}

#[tokio::test]
async fn a_member_selects_calls_for_a_while_and_ends_that_early() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let endpoint = endpoint_of(&acme).await;
    let body = json!({ "endpoint_id": endpoint, "prefix": "+4420", "minutes": 30 });
    let made = acme.post("traces", body).await.expect(201);
    let until = exchange.clock.now() + TimeDelta::minutes(30);
    assert_eq!(made.json["until"], json!(until));
    assert_eq!((&made.json["max_calls"], &made.json["prefix"]), (&json!(20), &json!("+4420")));
    let path = format!("traces/{}", made.text("trace_selection_id"));
    exchange.clock.advance(std::time::Duration::from_secs(1));
    acme.delete(&path).await.expect(204);
    assert_eq!(acme.delete(&path).await.problem(), (404, "not_found"), "it has ended");
    assert_eq!(acme.get("traces").await.items().len(), 1, "what was traced for it is still there");
    let audit = acme.caller.get("/audit").await.expect(200).text;
    assert!(audit.contains("trace.create") && audit.contains("trace.end"), "{audit}");
}

#[tokio::test]
async fn a_selection_out_of_bounds_is_refused_with_the_field_at_fault() {
    let exchange = Exchange::new().await;
    let acme = exchange.provider("acme", 1, "+4420").await;
    let globex = exchange.provider("globex", 2, "+4930").await;
    for (body, field) in [
        (json!({ "minutes": 0 }), "minutes"),
        (json!({ "minutes": 1441 }), "minutes"),
        (json!({ "minutes": 1, "max_calls": 0 }), "max_calls"),
        (json!({ "minutes": 1, "max_calls": 1001 }), "max_calls"),
        (json!({ "minutes": 1, "prefix": "" }), "prefix"),
        (json!({ "minutes": 1, "prefix": "0044" }), "prefix"),
        (json!({ "minutes": 1, "endpoint_id": endpoint_of(&globex).await }), "endpoint_id"),
    ] {
        let answer = acme.post("traces", body.clone()).await;
        assert_eq!((answer.problem(), answer.fields()), ((422, "invalid"), vec![field]), "{body}");
    }
    for _ in 0..10 {
        acme.post("traces", json!({ "minutes": 1 })).await.expect(201);
    }
    assert_eq!(acme.post("traces", json!({ "minutes": 1 })).await.problem(), (409, "conflict"));
    exchange.clock.advance(std::time::Duration::from_secs(61));
    acme.post("traces", json!({ "minutes": 1 })).await.expect(201);
}

//! What the hub refuses: each with a code, a sentence and a metric, and nothing half-written.

use std::time::Duration;

use serde_json::json;
use tandem_tests::{Endpoint, Exchange, Hub, Socket};

/// The refusal of a call: its status, and the code in the response, in the CDR and in the metric.
fn refused(hub: &Hub, switch: &Socket, called: &str, status: u16, code: &str) {
    let counted = |hub: &Hub| hub.metrics().sum("tandem_refusals_total", &[&format!("reason=\"{code}\"")]);
    let before = counted(hub);
    let response = switch.ask(hub.sip, &switch.invite(hub.sip, called));
    assert_eq!(response.status, status, "{}", response.text);
    let said = response.header("Reason").or(response.header("Warning")).unwrap_or("");
    assert!(said.contains(code), "{code} in {}", response.text);
    assert_eq!(counted(hub), before + 1.0, "{code}");
}

fn cdr_says(hub: &Hub, called: &str, code: &str) {
    let found = tandem_tests::until(&format!("the CDR of {called}"), Duration::from_secs(10), || {
        let calls = hub.calls();
        calls.into_iter().find(|call| call["called"].as_str().is_some_and(|number| called.ends_with(number)))
    });
    assert_eq!(found["outcome"], "refused", "{found}");
    assert_eq!(found["reason"], code, "{found}");
}

#[test]
fn a_call_that_may_not_cross_is_refused_with_its_reason() {
    let switch = Socket::new();
    let globex = Endpoint::sender("globex-1", tandem_tests::peer_address());
    let stranger = Endpoint::sender("initech-1", tandem_tests::peer_address());
    let exchange = Exchange::default()
        .member("acme", &[Endpoint::sender("acme-1", switch.address().ip())], &["+331"])
        .member("globex", &[globex], &["+44207946"])
        .range("+4930", "pending")
        .announcement("+4930", "\"globex-1\"")
        .member("initech", &[stranger], &["+39"])
        .agreement("acme", "globex");
    let hub = Hub::start(&exchange);

    refused(&hub, &switch, "+390612345678", 403, "no_agreement");
    refused(&hub, &switch, "+493012345678", 404, "range_unverified");
    refused(&hub, &switch, "+81312345678", 404, "no_route");
    refused(&hub, &switch, "+33123456789", 482, "own_number");
    cdr_says(&hub, "+390612345678", "no_agreement");
    cdr_says(&hub, "+493012345678", "range_unverified");
    cdr_says(&hub, "+81312345678", "no_route");
    refused(&hub, &switch, "alice", 484, "number_invalid");
    refused(&hub, &switch, "+4420794600001", 484, "number_impossible");
    refused(&hub, &switch, "+99912345678", 484, "number_impossible");
}

#[test]
fn a_stranger_gets_no_answer_and_is_counted() {
    let (switch, stranger) = (Socket::new(), Socket::new());
    let hub = Hub::start(&Exchange::of_two(switch.address().ip(), &[]));
    let counted = || hub.metrics().sum("tandem_drops_total", &["reason=\"unknown_source\""]);
    let before = counted();
    stranger.send(hub.sip, stranger.invite(hub.sip, "+442079460000").as_bytes());
    assert_eq!(stranger.receive(Duration::from_secs(1)), None, "silence");
    assert_eq!(counted(), before + 1.0);
}

#[test]
fn a_call_beyond_the_limits_of_its_endpoint_is_refused() {
    let (few, slow, called) = (Socket::new(), Socket::new(), Socket::new());
    let target = format!("sip:{};transport=udp", called.address());
    let exchange = Exchange::default()
        .member(
            "acme",
            &[
                Endpoint { max_calls: Some(1), ..Endpoint::sender("acme-1", few.address().ip()) },
                Endpoint { max_calls_per_second: Some(1), ..Endpoint::sender("acme-2", slow.address().ip()) },
            ],
            &[],
        )
        .member("globex", &[Endpoint::new("globex-1", called.address().ip(), &target)], &["+44207946"])
        .agreement("acme", "globex");
    let hub = Hub::start(&exchange);

    // The first call rings and stays.
    few.send(hub.sip, few.invite(hub.sip, "+442079460001").as_bytes());
    let invite = called.receive(Duration::from_secs(5)).expect("the first call is let through");
    called.send(hub.sip, called.response(&invite, 180).as_bytes());
    tandem_tests::until("the call to ring", Duration::from_secs(5), || {
        few.receive(Duration::from_secs(1)).filter(|response| response.starts_with("SIP/2.0 180"))
    });
    refused(&hub, &few, "+442079460002", 503, "calls_exceeded");
    called.send(hub.sip, called.response(&invite, 486).as_bytes());
    cdr_says(&hub, "+442079460002", "calls_exceeded");

    // More than a second's worth at once: one of them has to be one too many.
    let statuses: Vec<String> = (0..4)
        .map(|_| {
            let request = slow.invite(hub.sip, "+81312345678");
            slow.ask(hub.sip, &request).text
        })
        .collect();
    assert!(statuses.iter().any(|text| text.contains("call_rate_exceeded")), "{statuses:?}");
    assert!(hub.metrics().sum("tandem_refusals_total", &["reason=\"call_rate_exceeded\""]) >= 1.0);
}

#[test]
fn bad_sip_is_answered_with_what_is_wrong_and_the_hub_goes_on() {
    let switch = Socket::new();
    let hub = Hub::start(&Exchange::of_two(switch.address().ip(), &[]));
    let good = switch.request("OPTIONS", hub.sip, "ping");

    // A CSeq whose method is another: RFC 3261 §8.1.1.5.
    let mismatch = good.replace("CSeq: 1 OPTIONS", "CSeq: 1 BYE");
    let response = switch.ask(hub.sip, &mismatch);
    assert_eq!(response.status, 400, "{}", response.text);
    assert!(response.text.contains("malformed"), "{}", response.text);

    let unknown = switch.request("FROBNICATE", hub.sip, "ping");
    assert_eq!(switch.ask(hub.sip, &unknown).status, 501);

    for octets in [&b"\0\x01\x02\x03 no SIP at all\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", &[0xff; 2_000]] {
        switch.send(hub.sip, octets);
    }
    // The hub is alive and has counted them.
    let response = switch.ask(hub.sip, &switch.request("OPTIONS", hub.sip, "ping"));
    assert_eq!(response.status, 200, "{}", response.text);
    assert!(hub.metrics().sum("tandem_sip_parse_errors_total", &[]) >= 1.0);
}

#[test]
fn a_bad_request_to_the_api_is_explained_and_changes_nothing() {
    let globex = Endpoint::sender("globex-1", tandem_tests::peer_address());
    let exchange = Exchange::default().member("globex", &[globex], &[]).range("+44207946", "valid");
    let hub = Hub::start(&exchange);
    let member = hub.api.member_id("globex");
    let path = format!("/members/{member}/announcements");
    let count = || hub.api.all(&path).len();

    let no_json = hub.api.post_text(&path, "application/json", ("x-test", "1"), "{\"prefix\": ");
    assert_eq!((no_json.status, no_json.code()), (400, "bad_request"), "{}", no_json.body);
    let no_number = hub.api.post(&path, &json!({"prefix": "44 twenty", "endpoints": ["globex-1"]}));
    assert!(matches!(no_number.status, 400 | 422), "{}", no_number.body);
    assert!(no_number.body["errors"][0]["field"].is_string(), "{}", no_number.body);

    let csv = "prefix,endpoints\n+44207946001,globex-1\n+44207946002,nobody\nrubbish,globex-1\n";
    let bulk = format!("{path}/bulk");
    let answer = hub.api.post_text(&bulk, "text/csv", ("idempotency-key", "one"), csv);
    assert_eq!(answer.status, 422, "{}", answer.body);
    let rows: Vec<u64> = answer.body["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|error| error["row"].as_u64())
        .collect();
    assert_eq!(rows.len(), 2, "each bad row is named: {}", answer.body);
    assert_eq!(count(), 0, "all or nothing");

    let good = hub.api.post_text(
        &bulk,
        "text/csv",
        ("idempotency-key", "two"),
        "prefix,endpoints\n+44207946001,globex-1\n",
    );
    assert_eq!(good.good()["added"], 1);
    assert_eq!(count(), 1);
}

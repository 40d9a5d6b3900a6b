//! Traced calls: the ladder that each member sees, what is exported, and that no secret is in any of it.

use std::time::Duration;

use serde_json::{Value, json};
use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Cluster, Endpoint, Exchange, Hub, Settings, Sipp, peer_address, until};

const SOON: Duration = Duration::from_secs(60);

const NUMBERS: Numbers<'_> = Numbers { calling: "+88201", called: CALLED };

/// Begins every secret that the callers below send.
const CANARY: &str = "CANARY";

/// A pressed digit, and its 200.
const INFO: &str = r#"
<send retrans="500"><![CDATA[
INFO [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
[routes]
Max-Forwards: 70
From: <sip:[calling][call_number]@[local_ip]:[local_port]>;tag=c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: [cseq] INFO
Content-Type: application/dtmf-relay
Content-Length: [len]

Signal=CANARYdigit
Duration=160
]]></send>
<recv response="200"/>"#;

const INFO_COMES: &str = r#"
<recv request="INFO"/>
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>"#;

/// An INVITE with every kind of secret in it.
fn telling_invite() -> String {
    let head = "Max-Forwards: 70\nX-Api-Token: CANARYtoken\nAuthorization: Digest username=\"acme\", realm=\"hub\", \
                nonce=\"1\", uri=\"sip:hub\", response=\"CANARYresponse\", cnonce=\"CANARYcnonce\"";
    let keys =
        "a=ptime:20\na=ice-pwd:CANARYpassword\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:CANARYkey|2^20|1:4";
    let invite = caller::INVITE.replacen("Max-Forwards: 70", head, 1).replacen("a=ptime:20", keys, 1);
    let invite = invite.replacen("<sip:caller@", "<sip:caller:CANARYword@", 1);
    assert_eq!(invite.matches(CANARY).count(), 6, "all are planted");
    invite
}

/// What a settings file has under `[trace]`.
fn traced(more: &str) -> Settings {
    Settings { trace: format!("sample = 1.0\n{more}"), ..Settings::default() }
}

/// An exchange whose globex answers calls at a sipp, and that sipp.
fn exchange(acme: std::net::IpAddr, steps: &[&str]) -> (Exchange, Sipp) {
    let called = Sipp::takes_calls(peer_address(), Transport::Udp, steps);
    let gateways = [Endpoint::new("globex-1", called.address.ip(), &called.target(Transport::Udp))];
    (Exchange::of_two(acme, &gateways), called)
}

/// One call with a pressed digit, from the INVITE to the CDR; its id.
fn telling_call(hub: &Hub, acme: std::net::IpAddr, called: Sipp) -> String {
    let invite = telling_invite();
    let steps = [&*invite, caller::ANSWERED, caller::ACK, INFO, caller::HOLD, caller::BYE];
    let load = Load::one(Duration::from_millis(300));
    Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, NUMBERS).finish(SOON).assert_all_went_well(1);
    called.finish(SOON).assert_all_went_well(1);
    let cdrs = hub.wait_for_cdrs(1, SOON);
    cdrs[0]["call_id"].as_str().expect("a call has an id").to_owned()
}

const CALLED_STEPS: [&str; 5] =
    [gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, INFO_COMES, gateway::BYE_COMES];

/// Each message of a ladder: `originating received INVITE`, `terminating sent 200 INVITE`.
fn rungs(ladder: &Value) -> Vec<String> {
    let messages = ladder["messages"].as_array().expect("a ladder has messages");
    let word = |value: &Value| value.as_str().expect("a word").to_owned();
    // On a busy machine a message may be sent twice.
    let first = messages.iter().filter(|message| message["again"] == false);
    let rung = |message: &Value| {
        let mut words = vec![word(&message["leg"]), word(&message["direction"])];
        words.extend(message["status"].as_u64().map(|status| status.to_string()));
        words.push(word(&message["method"]));
        words.join(" ")
    };
    first.map(rung).collect()
}

/// The messages of a call of [`telling_call`].
const RUNGS: [&str; 17] = [
    "originating received INVITE",
    "originating sent 100 INVITE",
    "terminating sent INVITE",
    "terminating received 180 INVITE",
    "originating sent 180 INVITE",
    "terminating received 200 INVITE",
    "originating sent 200 INVITE",
    "originating received ACK",
    "terminating sent ACK",
    "originating received INFO",
    "terminating sent INFO",
    "terminating received 200 INFO",
    "originating sent 200 INFO",
    "originating received BYE",
    "originating sent 200 BYE",
    "terminating sent BYE",
    "terminating received 200 BYE",
];

fn whole_ladder(api: &tandem_tests::Api, path: &str) -> Value {
    until("the ladder to be whole", SOON, || {
        let ladder = api.get(path).good();
        (rungs(&ladder).len() >= RUNGS.len()).then_some(ladder)
    })
}

#[test]
fn both_members_see_every_message_of_a_sampled_call_in_order_and_no_secret() {
    let acme = peer_address();
    let (exchange, called) = exchange(acme, &CALLED_STEPS);
    let globex = called.address.ip();
    let hub = Hub::with(&traced(""), &exchange);
    let call = telling_call(&hub, acme, called);

    let (acme_ip, globex_ip) = (acme.to_string(), globex.to_string());
    for (member, own, other) in [("acme", &acme_ip, &globex_ip), ("globex", &globex_ip, &acme_ip)] {
        let path = format!("/members/{}/calls/{call}/ladder", hub.api.member_id(member));
        let ladder = whole_ladder(&hub.api_of(member), &path);
        assert_eq!(rungs(&ladder), RUNGS, "{member}");
        assert_eq!((&ladder["traced"], &ladder["dropped"]), (&json!(true), &json!(0)));
        let text = ladder.to_string();
        // Where media goes crosses in SDP; where the other one's switch is does not.
        for hidden in [CANARY.to_owned(), format!("{other}:"), format!("@{other}")] {
            assert!(!text.contains(&hidden), "{member} sees {hidden} in {text}");
        }
        assert!(text.contains(own.as_str()), "{member} sees its own address in {text}");
        for message in ladder["messages"].as_array().expect("messages") {
            let is_own = message["member"]["name"] == member;
            assert_eq!(message["whole"], is_own, "{message}");
            let text = message["text"].as_str().expect("a text");
            assert_eq!(text.contains("Call-ID: "), is_own, "{message}");
        }
    }
    let ladder = whole_ladder(&hub.api, &format!("/calls/{call}/ladder"));
    assert_eq!(rungs(&ladder), RUNGS);
    let text = ladder.to_string();
    assert!(text.contains(&acme_ip) && text.contains(&globex_ip) && !text.contains(CANARY), "{text}");
    assert!(text.contains("response=****************"), "{text}");
    assert_eq!(hub.metrics().sum("tandem_trace_messages_dropped_total", &[]), 0.0);
}

#[test]
fn a_member_selects_its_calls_to_a_number_and_no_others_are_kept() {
    let acme = peer_address();
    let (exchange, called) =
        exchange(acme, &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES]);
    let hub = Hub::start(&exchange);
    let api = hub.api_of("globex");
    let traces = format!("/members/{}/traces", hub.api.member_id("globex"));
    let selection = json!({ "prefix": "+442079460000", "minutes": 5, "max_calls": 1 });
    api.post(&traces, &selection).good();
    let steps = [caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
    let place = |called| {
        let load = Load::one(Duration::from_millis(100));
        let numbers = Numbers { called, ..NUMBERS };
        Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, numbers)
            .finish(SOON)
            .assert_all_went_well(1);
    };
    let kept = || {
        let calls = hub.calls();
        let ids = calls.iter().map(|call| call["call_id"].as_str().expect("an id").to_owned());
        let is_kept = |id: &String| hub.api.get(&format!("/calls/{id}/ladder")).good()["traced"] == true;
        ids.filter(is_kept).count()
    };
    // A node hears of the selection within a second or so: calls are placed until one is kept.
    let mut placed = 0;
    until("a call to be kept", SOON, || {
        place("+442079460001");
        place(CALLED);
        placed += 2;
        hub.wait_for_cdrs(placed, SOON);
        (kept() == 1).then_some(())
    });
    place(CALLED);
    hub.wait_for_cdrs(placed + 1, SOON);
    assert_eq!(kept(), 1, "it was for one call");
    let listed = api.get(&traces).good();
    assert_eq!(listed["items"][0]["calls"], 1, "{listed}");
    called.finish(SOON).assert_all_went_well(u32::try_from(placed).expect("a few") + 1);
}

#[test]
fn while_postgres_is_away_calls_go_on_and_what_finds_no_room_is_dropped_and_counted() {
    const RATE: u32 = 25;
    const CALLS: u32 = 750;
    let cluster = Cluster::start();
    let acme = peer_address();
    let (exchange, called) =
        exchange(acme, &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES]);
    let settings = Settings { database_url: Some(cluster.url()), ..traced("") };
    let hub = Hub::with(&settings, &exchange);
    let before = hub.at_rest();
    cluster.stop();
    let resident_kb = hub.resident_kb();
    // Ten times the octets of an ordinary call.
    let large = caller::INVITE.replacen(
        "Max-Forwards: 70",
        &format!("Max-Forwards: 70\nX-Large: {}", "x".repeat(13_000)),
        1,
    );
    let steps = [&*large, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
    let load = Load { rate: RATE, calls: CALLS, hold: Duration::from_millis(200) };
    let calling = Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, NUMBERS);
    calling.finish(Duration::from_secs(120)).assert_all_went_well(CALLS);
    called.finish(SOON).assert_all_went_well(CALLS);
    let dropped = hub.metrics().sum("tandem_trace_messages_dropped_total", &[]);
    assert!(dropped > 0.0, "there was not room for all");
    let grown_kb = hub.resident_kb().saturating_sub(resident_kb);
    assert!(grown_kb < 120 << 10, "memory stays bounded: {grown_kb} kB more");
    cluster.start_again();
    hub.wait_for_cdrs(CALLS as usize, SOON);
    until("what was held to be kept", SOON, || {
        (hub.metrics().sum("tandem_trace_messages_kept_total", &[]) > 1_000.0).then_some(())
    });
    hub.wait_until_as(&before, Duration::from_secs(40));
}

//! MESSAGE and REFER: they cross where the policies of both endpoints let them pass, and are refused elsewhere.

use std::net::IpAddr;
use std::time::Duration;

use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Endpoint, Exchange, Hub, PREFIX, Sipp, peer_address};

const SOON: Duration = Duration::from_secs(60);

const NUMBERS: Numbers<'_> = Numbers { calling: "+88201", called: CALLED };

/// A text to a number; a response follows.
const MESSAGE: &str = r#"
<send retrans="500"><![CDATA[
MESSAGE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
Max-Forwards: 70
From: <sip:[calling][call_number]@[local_ip]:[local_port]>;tag=c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 MESSAGE
Content-Type: text/plain
Content-Length: [len]

At five?
]]></send>
<recv response="100" optional="true"/>"#;

const MESSAGE_COMES: &str = r#"
<recv request="MESSAGE"><action>
<ereg regexp="At five[?]" search_in="body" check_it="true" assign_to="text"/>
</action></recv>
<Reference variables="text"/>
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=g[call_number]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>"#;

/// The caller asks the called side to call another number; a response follows.
const REFER: &str = r#"
<send retrans="500"><![CDATA[
REFER [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
[routes]
Max-Forwards: 70
From: <sip:[calling][call_number]@[local_ip]:[local_port]>;tag=c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: [cseq] REFER
Contact: <sip:caller@[local_ip]:[local_port];transport=[transport]>
Refer-To: <sip:+442079460001@[local_ip]:[local_port]>
Content-Length: 0

]]></send>"#;

/// The called side takes it, and tells what came of it. It is told the number.
const REFER_COMES: &str = r#"
<recv request="REFER"><action>
<ereg regexp="sip:[+]442079460001@" search_in="hdr" header="Refer-To:" check_it="true" assign_to="target"/>
</action></recv>
<Reference variables="target"/>
<send><![CDATA[
SIP/2.0 202 Accepted
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:gateway@[local_ip]:[local_port];transport=[transport]>
Content-Length: 0

]]></send>
<send retrans="500"><![CDATA[
NOTIFY [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
[routes]
Max-Forwards: 70
From: [$us];tag=g[call_number]
To: [$them]
Call-ID: [call_id]
CSeq: [cseq] NOTIFY
Contact: <sip:gateway@[local_ip]:[local_port];transport=[transport]>
Event: refer
Subscription-State: terminated;reason=noresource
Content-Type: message/sipfrag
Content-Length: [len]

SIP/2.0 200 OK
]]></send>
<recv response="200"/>"#;

/// What came of the REFER, and the 200 to it.
const NOTIFY_COMES: &str = r#"
<recv request="NOTIFY"><action>
<ereg regexp="SIP/2.0 200 OK" search_in="body" check_it="true" assign_to="outcome"/>
</action></recv>
<Reference variables="outcome"/>
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>"#;

/// A hub between acme and a switch of globex, of which either says this about a kind of request.
fn hub_with(acme: IpAddr, called: &Sipp, kind: &str, [says, other_says]: [&str; 2]) -> Hub {
    let with = |endpoint: Endpoint, says: &str| Endpoint {
        more: format!("[member.endpoint.policy.overrides.requests]\n{kind} = \"{says}\""),
        ..endpoint
    };
    let sender = with(Endpoint::sender("acme-1", acme), says);
    let target = called.target(Transport::Udp);
    let gateway = with(Endpoint::new("globex-1", called.address.ip(), &target), other_says);
    let exchange = Exchange::default()
        .member("acme", &[sender], &[])
        .member("globex", &[gateway], &[PREFIX])
        .agreement("acme", "globex");
    Hub::start(&exchange)
}

/// Both let the requests pass; then one of them, and then the other, does not.
const PASS: [&str; 2] = ["pass", "pass"];
const ONE_REFUSES: [[&str; 2]; 2] = [["refuse", "pass"], ["pass", "refuse"]];

/// Plays the caller's steps against a switch that plays these; who is called gets `calls`.
fn play(kind: &str, says: [&str; 2], steps: &[&str], called_steps: &[&str], calls: u32) -> Hub {
    let acme = peer_address();
    let called = Sipp::takes_calls(peer_address(), Transport::Udp, called_steps);
    let hub = hub_with(acme, &called, kind, says);
    let load = Load::one(Duration::from_millis(200));
    Sipp::calls(acme, hub.sip, Transport::Udp, steps, load, NUMBERS).finish(SOON).assert_all_went_well(1);
    called.finish(SOON).assert_all_went_well(calls);
    hub
}

#[test]
fn a_message_crosses_where_both_endpoints_let_it_pass() {
    let hub = play("message", PASS, &[MESSAGE, "<recv response=\"200\"/>"], &[MESSAGE_COMES], 1);
    assert_eq!(hub.metrics().sum("tandem_messages_total", &["outcome=\"delivered\""]), 1.0);
    assert!(hub.calls().is_empty(), "a text is no call");
}

#[test]
fn a_message_that_one_endpoint_does_not_let_pass_is_refused_with_405() {
    for says in ONE_REFUSES {
        play("message", says, &[MESSAGE, "<recv response=\"405\"/>"], &[MESSAGE_COMES], 0);
    }
}

#[test]
fn a_refer_crosses_with_what_came_of_it_where_both_endpoints_let_it_pass() {
    let refer = format!("{REFER}\n<recv response=\"202\"/>");
    let steps = [caller::INVITE, caller::ANSWERED, caller::ACK, &refer, NOTIFY_COMES, caller::BYE];
    let called = [gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, REFER_COMES, gateway::BYE_COMES];
    let hub = play("refer", PASS, &steps, &called, 1);
    assert_eq!(hub.wait_for_cdrs(1, SOON)[0]["outcome"], "answered");
}

#[test]
fn a_refer_that_one_endpoint_does_not_let_pass_is_refused_with_405_and_the_call_goes_on() {
    let refer = format!("{REFER}\n<recv response=\"405\"/>");
    let steps = [caller::INVITE, caller::ANSWERED, caller::ACK, &refer, caller::HOLD, caller::BYE];
    let called = [gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES];
    for says in ONE_REFUSES {
        let hub = play("refer", says, &steps, &called, 1);
        assert_eq!(hub.wait_for_cdrs(1, SOON)[0]["outcome"], "answered");
    }
}

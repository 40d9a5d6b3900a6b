//! A PRACK that is sent when the call has been refused already: it is answered 200 all the same (RFC 3262 §3), so that who
//! sent it does not repeat it for half a minute.

use std::time::Duration;

use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Endpoint, Exchange, Hub, Sipp, peer_address};

const SOON: Duration = Duration::from_secs(60);

/// 183 that asks for a PRACK.
const RELIABLE: &str = r#"
<send><![CDATA[
SIP/2.0 183 Session Progress
[last_Via:]
[last_Record-Route:]
[last_From:]
[last_To:];tag=g[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:gateway@[local_ip]:[local_port];transport=[transport]>
Require: 100rel
RSeq: 17
Content-Length: 0

]]></send>"#;

/// The 183, whose number is kept.
const RELIABLE_COMES: &str = r#"
<recv response="100" optional="true"/>
<recv response="183" rrs="true"><action>
<ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" check_it="true" assign_to="rseq"/>
</action></recv>"#;

/// The PRACK of it, and what is answered.
const PRACK: &str = r#"
<send retrans="500"><![CDATA[
PRACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
[routes]
Max-Forwards: 70
From: <sip:[calling][call_number]@[local_ip]:[local_port]>;tag=c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 PRACK
RAck: [$rseq] 1 INVITE
Content-Length: 0

]]></send>
<recv response="200"/>"#;

#[test]
fn a_prack_after_the_refusal_is_answered_200_and_does_not_cross() {
    let acme = peer_address();
    let refuse = gateway::refuse(486);
    // A PRACK that crossed would be a message that fits no step.
    let steps = [gateway::INVITE_COMES, RELIABLE, &refuse];
    let called = Sipp::takes_calls(peer_address(), Transport::Udp, &steps);
    let target = called.target(Transport::Udp);
    let hub = Hub::start(&Exchange::of_two(acme, &[Endpoint::new("globex-1", called.address.ip(), &target)]));
    let before = hub.at_rest();
    let invite = caller::INVITE.replacen("Allow: INVITE", "Supported: 100rel\nAllow: PRACK, INVITE", 1);
    let refused = caller::refused(486);
    let steps = [&*invite, RELIABLE_COMES, &*refused, PRACK];
    let numbers = Numbers { calling: "+88201", called: CALLED };
    let load = Load::one(Duration::ZERO);
    let report = Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, numbers).finish(SOON);
    report.assert_all_went_well(1);
    called.finish(SOON).assert_all_went_well(1);
    assert_eq!(hub.wait_for_cdrs(1, SOON)[0]["outcome"], "busy");
    hub.wait_until_as(&before, SOON);
}

//! A called switch redirects the call (3xx): its endpoint's policy says whether the hub tries the next one or calls the
//! number that the switch names, and never where that leads.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Endpoint, Exchange, Hub, PREFIX, Sipp, Socket, peer_address};

const SOON: Duration = Duration::from_secs(60);

/// A number that initech announces.
const ELSEWHERE: &str = "+33123456789";

const ANSWERS: [&str; 4] = [gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES];

/// globex's first switch, which redirects to [`ELSEWHERE`] at the address of a trap; its second one and that of initech
/// answer.
struct Stage {
    acme: IpAddr,
    redirecting: Sipp,
    second: Sipp,
    elsewhere: Sipp,
    trap: Socket,
    hub: Hub,
}

impl Stage {
    /// The first switch's policy has `redirect`; the Contact names `number`.
    fn set(redirect: &str, number: &str) -> Self {
        let (acme, trap) = (peer_address(), Socket::new());
        let contact = format!("Contact: <sip:{number}@{}>\nContent-Length: 0", trap.address());
        let moved = gateway::refuse(302).replace("Content-Length: 0", &contact);
        let redirecting = Sipp::takes_calls(peer_address(), Transport::Udp, &[gateway::INVITE_COMES, &moved]);
        let second = Sipp::takes_calls(peer_address(), Transport::Udp, &ANSWERS);
        let mut steps = ANSWERS;
        let is_called = format!(
            "<ereg regexp=\"^INVITE sip:[+]{}@\" search_in=\"msg\" check_it=\"true\" assign_to=\"number\"/>\n\
             </action></recv>\n<Reference variables=\"number\"/>",
            &ELSEWHERE[1..]
        );
        let invite_comes = gateway::INVITE_COMES.replacen("</action></recv>", &is_called, 1);
        steps[0] = &invite_comes;
        let elsewhere = Sipp::takes_calls(peer_address(), Transport::Udp, &steps);
        let endpoint = |name: &str, sipp: &Sipp, priority: u16| Endpoint {
            priority,
            ..Endpoint::new(name, sipp.address.ip(), &sipp.target(Transport::Udp))
        };
        let first = Endpoint {
            more: format!("[member.endpoint.policy.overrides.session]\nredirect = \"{redirect}\""),
            ..endpoint("globex-1", &redirecting, 1)
        };
        let exchange = Exchange::default()
            .member("acme", &[Endpoint::sender("acme-1", acme)], &[])
            .member("globex", &[first, endpoint("globex-2", &second, 2)], &[PREFIX])
            .member("initech", &[endpoint("initech-1", &elsewhere, 1)], &["+331"])
            .agreement("acme", "globex")
            .agreement("acme", "initech");
        let hub = Hub::start(&exchange);
        Self { acme, redirecting, second, elsewhere, trap, hub }
    }

    /// Places one call; the calls that the three switches got, and its CDR in detail.
    fn call(self, steps: &[&str]) -> ([u32; 3], Value) {
        let Self { acme, redirecting, second, elsewhere, trap, hub } = self;
        let numbers = Numbers { calling: "+88201", called: CALLED };
        let load = Load::one(Duration::from_millis(200));
        Sipp::calls(acme, hub.sip, Transport::Udp, steps, load, numbers).finish(SOON).assert_all_went_well(1);
        let calls = [redirecting, second, elsewhere].map(|sipp| {
            let report = sipp.finish(SOON);
            let calls = u32::try_from(report.calls).expect("there are few");
            report.assert_all_went_well(calls);
            calls
        });
        assert_eq!(trap.receive(Duration::from_millis(10)), None, "nothing goes where a Contact leads");
        let cdrs = hub.wait_for_cdrs(1, Duration::from_secs(10));
        assert_eq!(cdrs.len(), 1);
        let id = cdrs[0]["call_id"].as_str().expect("a call has an id");
        (calls, hub.api.get(&format!("/calls/{id}")).good())
    }
}

const ANSWERED: [&str; 5] = [caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];

fn attempts(call: &Value) -> Vec<(Value, Value, Value)> {
    let attempts = call["attempts"].as_array().expect("a call has attempts");
    let words = |it: &Value| (it["status"].clone(), it["reason"].clone(), it["called"].clone());
    attempts.iter().map(words).collect()
}

#[test]
fn a_redirection_that_policy_refuses_moves_the_call_on_to_the_next_endpoint() {
    let (calls, call) = Stage::set("refuse", ELSEWHERE).call(&ANSWERED);
    assert_eq!(calls, [1, 1, 0], "{call}");
    let statuses: Vec<Value> = attempts(&call).into_iter().map(|(status, ..)| status).collect();
    assert_eq!(statuses, [302, 200], "{call}");
}

#[test]
fn a_redirection_that_policy_follows_calls_the_number_in_it_under_the_callers_agreements() {
    let (calls, call) = Stage::set("follow", ELSEWHERE).call(&ANSWERED);
    assert_eq!(calls, [1, 0, 1], "{call}");
    let (first, last) = (&attempts(&call)[0], &attempts(&call)[1]);
    assert_eq!((&first.0, &first.1), (&302.into(), &"redirected".into()), "{call}");
    assert_eq!((&last.0, &last.2), (&200.into(), &ELSEWHERE[1..].into()), "{call}");
    assert_eq!(call["call"]["terminating_member"]["name"], "initech", "{call}");
}

#[test]
fn a_followed_redirection_to_no_number_of_the_exchange_ends_the_call() {
    // Of a number that nobody announces, and the second switch of globex is not tried in its place.
    let (calls, call) = Stage::set("follow", "+39061234567").call(&[caller::INVITE, &caller::refused(404)]);
    assert_eq!(calls, [1, 0, 0], "{call}");
    assert_eq!((&call["call"]["status"], &call["call"]["reason"]), (&404.into(), &"no_route".into()));
}

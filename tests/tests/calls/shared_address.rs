//! Two members behind one address, each with a tech-prefix of its own: their calls are told apart, and the number goes on
//! without the prefix.

use std::time::Duration;

use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Endpoint, Exchange, Hub, PREFIX, Sipp, peer_address};

const SOON: Duration = Duration::from_secs(60);

/// Calls of each member.
const CALLS: u32 = 10;

#[test]
fn two_members_behind_one_address_are_told_apart_by_their_tech_prefixes() {
    let (shared, called) = (peer_address(), peer_address());
    let steps = [gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES];
    let gateway = Sipp::takes_calls(called, Transport::Udp, &steps);
    let with = |name: &str, prefix: &str| Endpoint {
        more: format!("tech_prefix = \"{prefix}\""),
        ..Endpoint::sender(name, shared)
    };
    let exchange = Exchange::default()
        .member("acme", &[with("acme-1", "9911")], &[])
        .member("initech", &[with("initech-1", "9922")], &[])
        .member("globex", &[Endpoint::new("globex-1", called, &gateway.target(Transport::Udp))], &[PREFIX])
        .agreement("acme", "globex")
        .agreement("initech", "globex");
    let hub = Hub::start(&exchange);

    let load = Load { calls: CALLS, ..Load::one(Duration::from_millis(200)) };
    for (prefix, calling) in [("9911", "+88201"), ("9922", "+88202")] {
        let called = CALLED.replace('+', prefix);
        let numbers = Numbers { calling, called: &called };
        let steps = [caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
        Sipp::calls(shared, hub.sip, Transport::Udp, &steps, load, numbers)
            .finish(SOON)
            .assert_all_went_well(CALLS);
    }
    // Neither prefix: the hub cannot know whose call it is.
    let numbers = Numbers { calling: "+88203", called: CALLED };
    let steps = [caller::INVITE, &caller::refused(403)];
    Sipp::calls(shared, hub.sip, Transport::Udp, &steps, Load::one(Duration::ZERO), numbers)
        .finish(SOON)
        .assert_all_went_well(1);

    let cdrs = hub.wait_for_cdrs(2 * CALLS as usize, SOON);
    for (member, calling) in [("acme", "+88201"), ("initech", "+88202")] {
        let id = hub.api.member_id(member);
        let own = |cdr: &&serde_json::Value| cdr["originating_member"]["member_id"] == id.as_str();
        let own: Vec<_> = cdrs.iter().filter(own).collect();
        assert_eq!(own.len(), CALLS as usize, "calls of {member}");
        for cdr in own {
            assert!(cdr["calling"].as_str().unwrap_or_default().starts_with(calling), "{cdr}");
            assert_eq!((&cdr["called"], &cdr["outcome"]), (&CALLED[1..].into(), &"answered".into()));
        }
    }
}

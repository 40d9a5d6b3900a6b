//! Session timers: what the hub agrees on with each side, and that a call whose ends have vanished ends.

use std::time::Duration;

use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Endpoint, Exchange, Hub, Sipp, Socket, long, peer_address, until};

/// Policy of an endpoint with this session interval.
fn policy(session_expires_s: u32) -> String {
    format!("[member.endpoint.policy.overrides.session]\nsession_expires_s = {session_expires_s}")
}

#[test]
fn each_side_gets_a_session_interval_of_its_own_and_none_that_is_too_brief() {
    let (switch, gateway) = (Socket::new(), Socket::new());
    let target = format!("sip:{};transport=udp", gateway.address());
    let globex = Endpoint { more: policy(600), ..Endpoint::new("globex-1", gateway.address().ip(), &target) };
    let hub = Hub::start(&Exchange::of_two(switch.address().ip(), &[globex]));
    let asking = |interval: u32| {
        let timer = format!("Supported: timer\r\nSession-Expires: {interval}\r\nMax-Forwards");
        switch.invite(hub.sip, CALLED).replace("Max-Forwards", &timer)
    };

    let refused = switch.ask(hub.sip, &asking(60));
    assert_eq!((refused.status, refused.header("Min-SE")), (422, Some("90")), "{}", refused.text);

    let invite = asking(120);
    switch.send(hub.sip, invite.as_bytes());
    let carried = gateway.receive(Duration::from_secs(10)).expect("the call reaches the gateway");
    assert!(carried.contains("\r\nSession-Expires: 600;refresher=uas\r\n"), "{carried}");
    let agreed = format!(
        "Contact: <sip:gateway@{}>\r\nSession-Expires: 300;refresher=uas\r\nContent-Length",
        gateway.address()
    );
    let answer = gateway.response(&carried, 200).replace("Content-Length", &agreed);
    gateway.send(hub.sip, answer.as_bytes());
    let answered = switch.final_response(hub.sip, &invite);
    let said = (answered.status, answered.header("Session-Expires"), answered.header("Require"));
    assert_eq!(said, (200, Some("120;refresher=uac"), Some("timer")), "{}", answered.text);
}

/// Takes a minute and a half, which is the shortest session there is.
#[test]
fn calls_whose_both_ends_were_killed_end_by_session_timer() {
    if !long() {
        return;
    }
    const CALLS: u32 = 20;
    let called = Sipp::takes_calls(
        peer_address(),
        Transport::Udp,
        &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES],
    );
    let acme = peer_address();
    let globex = Endpoint::new("globex-1", called.address.ip(), &called.target(Transport::Udp));
    let exchange = Exchange::default()
        .member("acme", &[Endpoint { more: policy(90), ..Endpoint::sender("acme-1", acme) }], &[])
        .member("globex", &[Endpoint { more: policy(90), ..globex }], &["+44207946"])
        .agreement("acme", "globex");
    let hub = Hub::start(&exchange);
    let before = hub.at_rest();
    let calling = Sipp::calls(
        acme,
        hub.sip,
        Transport::Udp,
        &[caller::INVITE, caller::ANSWERED, caller::ACK, caller::BYE_COMES],
        Load { rate: 20, calls: CALLS, hold: Duration::ZERO },
        Numbers { calling: "+88201", called: CALLED },
    );
    until("all calls to be up", Duration::from_secs(20), || {
        (hub.metrics().sum("tandem_active_calls", &[]) >= f64::from(CALLS)).then_some(())
    });
    std::thread::sleep(Duration::from_secs(2));
    // Killed, not told: nobody says BYE.
    drop(calling);
    drop(called);

    let cdrs = hub.wait_for_cdrs(CALLS as usize, Duration::from_secs(120));
    assert_eq!(cdrs.len(), CALLS as usize);
    for cdr in &cdrs {
        let ended = (&cdr["outcome"], &cdr["ended_by"], &cdr["reason"], &cdr["sip_cause"]);
        assert_eq!(
            ended,
            (&"answered".into(), &"hub".into(), &"session_expired".into(), &408.into()),
            "{cdr}"
        );
        // Asked after 45 s, and given up 32 s later.
        let seconds = cdr["duration_ms"].as_u64().expect("an answered call lasted") / 1_000;
        assert!((75..=80).contains(&seconds), "{cdr}");
        // The members were last heard from when they set the call up, and the record says so.
        let at = |name: &str| -> chrono::DateTime<chrono::Utc> {
            cdr[name].as_str().unwrap_or_else(|| panic!("no {name}: {cdr}")).parse().expect("it is a time")
        };
        for heard in ["originating_heard_at", "terminating_heard_at"] {
            assert!((at(heard) - at("answered_at")).num_seconds().abs() <= 1, "{cdr}");
        }
    }
    hub.wait_until_as(&before, Duration::from_secs(40));
}

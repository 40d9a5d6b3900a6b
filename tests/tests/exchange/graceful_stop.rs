//! SIGTERM: calls that are up end in their own time, new ones are sent elsewhere.

use std::thread::sleep;
use std::time::Duration;

use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{CALLED, Endpoint, Exchange, Hub, Settings, Sipp, Socket, peer_address, until};

#[test]
fn a_stopping_hub_takes_no_calls_and_lets_those_that_are_up_finish() {
    let called = Sipp::takes_calls(
        peer_address(),
        Transport::Udp,
        &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES],
    );
    let acme = peer_address();
    let switch = Socket::new();
    let gateways = [Endpoint::new("globex-1", called.address.ip(), &called.target(Transport::Udp))];
    let exchange = Exchange::default()
        .member(
            "acme",
            &[Endpoint::sender("acme-1", acme), Endpoint::sender("acme-2", switch.address().ip())],
            &[],
        )
        .member("globex", &gateways, &["+44207946"])
        .agreement("acme", "globex");
    let settings = Settings { drain_s: 30, ..Settings::default() };
    let mut hub = Hub::with(&settings, &exchange);

    let calling = Sipp::calls(
        acme,
        hub.sip,
        Transport::Udp,
        &[caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE],
        Load { rate: 20, calls: 20, hold: Duration::from_secs(5) },
        Numbers { calling: "+88201", called: CALLED },
    );
    until("all calls to be up", Duration::from_secs(4), || {
        (hub.metrics().sum("tandem_active_calls", &[]) >= 20.0).then_some(())
    });
    sleep(Duration::from_millis(300));
    hub.terminate();
    until("OPTIONS to be answered with 503", Duration::from_secs(2), || {
        let options = switch.request("OPTIONS", hub.sip, "ping");
        (switch.ask(hub.sip, &options).status == 503).then_some(())
    });
    let refused = switch.ask(hub.sip, &switch.invite(hub.sip, CALLED));
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(refused.text.contains("draining"), "{}", refused.text);

    calling.finish(Duration::from_secs(30)).assert_all_went_well(20);
    called.finish(Duration::from_secs(30)).assert_all_went_well(20);
    let status = hub.wait_for_end(Duration::from_secs(20));
    assert!(status.success(), "{status}");

    hub.start_again();
    // The call that came while it stopped was sent elsewhere before it was a call of this node's.
    let cdrs = hub.wait_for_cdrs(20, Duration::from_secs(15));
    assert_eq!(cdrs.len(), 20);
    assert!(cdrs.iter().all(|cdr| cdr["outcome"] == "answered"), "{cdrs:?}");
}

//! `kill -9` of the hub with calls up: started again, it knows them.

use std::thread::sleep;
use std::time::Duration;

use tandem_tests::sipp::{Load, Numbers, Report, Transport, assert_durations_are_right, caller, gateway};
use tandem_tests::{Endpoint, Exchange, Hub, Sipp, peer_address, until};

/// Calls up when the hub is killed: half are ended by the caller, half by the called side.
const CALLS: u32 = 500;

/// How long each call is held: longer than the hub needs to be killed and to be ready again.
const HOLD: Duration = Duration::from_secs(30);

#[test]
fn five_hundred_calls_outlive_the_hub_and_end_from_either_side() {
    let hold = gateway::pause(u32::try_from(HOLD.as_millis()).expect("half a minute is short"));
    let waits_for_bye = Sipp::takes_calls(
        peer_address(),
        Transport::Udp,
        &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES],
    );
    let hangs_up = Sipp::takes_calls(
        peer_address(),
        Transport::Udp,
        &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, &hold, gateway::BYE],
    );
    let (acme, initech) = (peer_address(), peer_address());
    let endpoint =
        |name: &str, sipp: &Sipp| Endpoint::new(name, sipp.address.ip(), &sipp.target(Transport::Udp));
    let exchange = Exchange::default()
        .member("acme", &[Endpoint::sender("acme-1", acme), Endpoint::sender("acme-2", initech)], &[])
        .member("globex", &[endpoint("globex-1", &waits_for_bye)], &["+44207946"])
        .member("umbrella", &[endpoint("umbrella-1", &hangs_up)], &["+4930"])
        .agreement("acme", "globex")
        .agreement("acme", "umbrella");
    let mut hub = Hub::start(&exchange);

    let load = Load { rate: 50, calls: CALLS / 2, hold: HOLD };
    let hanging_up = Sipp::calls(
        acme,
        hub.sip,
        Transport::Udp,
        &[caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE],
        load,
        Numbers { calling: "+88201", called: "+442079460000" },
    );
    let waiting_for_bye = Sipp::calls(
        initech,
        hub.sip,
        Transport::Udp,
        &[caller::INVITE, caller::ANSWERED, caller::ACK, caller::BYE_COMES],
        load,
        Numbers { calling: "+88202", called: "+493012345678" },
    );
    until("all calls to be up", HOLD, || {
        (hub.metrics().sum("tandem_active_calls", &[]) >= f64::from(CALLS)).then_some(())
    });
    // The last answers are acknowledged.
    sleep(Duration::from_millis(500));
    hub.kill();
    hub.start_again();
    let known = hub.metrics().sum("tandem_active_calls", &[]);
    assert_eq!(known, f64::from(CALLS), "calls that a ready hub knows after the crash");

    let deadline = HOLD + Duration::from_secs(60);
    let mut up = all_went_well(hanging_up, deadline).up;
    up.extend(all_went_well(waiting_for_bye, deadline).up);
    all_went_well(waits_for_bye, deadline);
    all_went_well(hangs_up, deadline);

    let cdrs = hub.wait_for_cdrs(CALLS as usize, Duration::from_secs(30));
    assert_eq!(cdrs.len(), CALLS as usize, "one CDR a call");
    let mut off = Vec::with_capacity(cdrs.len());
    for cdr in &cdrs {
        assert_eq!(cdr["outcome"], "answered", "{cdr}");
        let calling = cdr["calling"].as_str().expect("a CDR has a calling party");
        let ended_by = if calling.starts_with("+88201") { "originating" } else { "terminating" };
        assert_eq!(cdr["ended_by"], ended_by, "{cdr}");
        let duration = Duration::from_millis(cdr["duration_ms"].as_u64().expect("an answered call lasted"));
        off.push(duration.abs_diff(up[calling]));
    }
    assert_durations_are_right(off);
}

fn all_went_well(sipp: Sipp, deadline: Duration) -> Report {
    let report = sipp.finish(deadline);
    report.assert_all_went_well(CALLS / 2);
    report
}

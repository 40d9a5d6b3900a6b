//! A hundred calls a second by one transport: every call answered and ended, no unexpected message, one CDR
//! each, durations right.

use std::collections::HashSet;
use std::time::Duration;

use tandem_tests::sipp::{Load, Numbers, Transport, assert_durations_are_right, caller, gateway};
use tandem_tests::{CALLED, Endpoint, Exchange, Hub, Sipp, lasting, peer_address};

/// Calls a second.
const RATE: u32 = 100;

pub(crate) fn runs_well(transport: Transport) {
    let lasts = lasting(10, 60);
    let calls = RATE * u32::try_from(lasts.as_secs()).expect("a minute is short");
    let called = Sipp::takes_calls(
        peer_address(),
        transport,
        &[gateway::INVITE_COMES, gateway::RING, &gateway::pause(50), gateway::ANSWER, gateway::BYE_COMES],
    );
    let acme = peer_address();
    let gateways = [Endpoint::new("globex-1", called.address.ip(), &called.target(transport))];
    let hub = Hub::start(&Exchange::of_two(acme, &gateways));
    let before = hub.at_rest();

    let calling = Sipp::calls(
        acme,
        hub.sip,
        transport,
        &[caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE],
        Load { rate: RATE, calls, hold: Duration::from_secs(2) },
        Numbers { calling: "+88201", called: CALLED },
    );
    let report = calling.finish(lasts + Duration::from_secs(60));
    report.assert_all_went_well(calls);
    called.finish(Duration::from_secs(40)).assert_all_went_well(calls);

    let cdrs = hub.wait_for_cdrs(calls as usize, Duration::from_secs(30));
    assert_eq!(cdrs.len(), calls as usize, "one CDR a call");
    let callers: HashSet<&str> = cdrs.iter().filter_map(|cdr| cdr["calling"].as_str()).collect();
    assert_eq!(callers.len(), calls as usize, "each call has its own");
    let mut off = Vec::with_capacity(cdrs.len());
    for cdr in &cdrs {
        assert_eq!(cdr["outcome"], "answered", "{cdr}");
        assert_eq!(cdr["ended_by"], "originating", "{cdr}");
        let calling = cdr["calling"].as_str().expect("a CDR has a calling party");
        let by_caller = report.up.get(calling).unwrap_or_else(|| panic!("sipp did not call from {calling}"));
        let duration = Duration::from_millis(cdr["duration_ms"].as_u64().expect("an answered call lasted"));
        off.push(duration.abs_diff(*by_caller));
    }
    assert_durations_are_right(off);
    let metrics = hub.metrics();
    assert_eq!(metrics.sum("tandem_calls_total", &["outcome=\"answered\""]), f64::from(calls));
    hub.wait_until_as(&before, Duration::from_secs(40));
}

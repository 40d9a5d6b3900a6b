//! The peers without the hub: each sipp scenario of the other files is played against a second sipp, so that a
//! failure there is the hub's.

use std::time::Duration;

use tandem_tests::sipp::{Load, Numbers, Report, Transport, caller, gateway};
use tandem_tests::{Baresip, Sipp, peer_address, tone};

const SOON: Duration = Duration::from_secs(30);

/// Plays both sides of a call ten times.
fn play(transport: Transport, calling_side: &[&str], called_side: &[&str]) -> Report {
    let called = Sipp::takes_calls(peer_address(), transport, called_side);
    let numbers = Numbers { calling: "+88201", called: "+442079460000" };
    let load = Load { rate: 20, calls: 10, hold: Duration::from_millis(300) };
    let calling = Sipp::calls(peer_address(), called.address, transport, calling_side, load, numbers);
    let report = calling.finish(SOON);
    report.assert_all_went_well(10);
    called.finish(SOON).assert_all_went_well(10);
    report
}

#[test]
fn an_answered_call_ends_by_the_caller() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let report = play(
            transport,
            &[caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE],
            &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES],
        );
        assert_eq!(report.up.len(), 10);
        assert!(
            report.up.values().all(|up| up.abs_diff(Duration::from_millis(300)) < Duration::from_millis(100))
        );
    }
}

#[test]
fn an_answered_call_ends_by_the_gateway() {
    let hold = gateway::pause(300);
    let report = play(
        Transport::Udp,
        &[caller::INVITE, caller::ANSWERED, caller::ACK, caller::BYE_COMES],
        &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, &hold, gateway::BYE],
    );
    assert_eq!(report.up.len(), 10);
}

#[test]
fn a_ringing_call_is_cancelled() {
    play(
        Transport::Udp,
        &[caller::INVITE, caller::CANCEL],
        &[gateway::INVITE_COMES, gateway::RING, gateway::CANCEL_COMES],
    );
}

#[test]
fn a_call_is_refused() {
    let (refused, refuse) = (caller::refused(486), gateway::refuse(486));
    play(Transport::Udp, &[caller::INVITE, &refused], &[gateway::INVITE_COMES, &refuse]);
}

#[test]
fn a_call_is_put_on_hold_from_either_side() {
    let pause = gateway::pause(200);
    play(
        Transport::Udp,
        &[
            caller::INVITE,
            caller::ANSWERED,
            caller::ACK,
            caller::REINVITE,
            caller::ACK,
            caller::REINVITE_COMES,
            caller::BYE_COMES,
        ],
        &[
            gateway::INVITE_COMES,
            gateway::RING,
            gateway::ANSWER,
            gateway::REINVITE_COMES,
            &pause,
            gateway::REINVITE,
            &pause,
            gateway::BYE,
        ],
    );
}

#[test]
fn two_phones_hear_each_other() {
    let (calling, called) = (peer_address(), peer_address());
    let mut answering = Baresip::answers(called, 1_000.0, "+442079460000");
    let mut phone =
        Baresip::calls(calling, 440.0, "+442079460000", answering.address, Duration::from_secs(5));
    phone.wait(Duration::from_secs(20));
    answering.stop();
    assert!(tone::share_of(&phone.heard(), 1_000.0) > 0.9, "{}", phone.printed());
    assert!(tone::share_of(&answering.heard(), 440.0) > 0.9, "{}", answering.printed());
}

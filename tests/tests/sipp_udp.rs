//! sipp to sipp through the hub over UDP, 100 calls a second.

use tandem_tests::sipp::Transport;

mod load;

#[test]
fn a_hundred_calls_a_second_over_udp_are_answered_ended_and_recorded() {
    load::runs_well(Transport::Udp);
}

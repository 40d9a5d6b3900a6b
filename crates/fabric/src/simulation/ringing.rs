//! While it rings: how long an endpoint may, and whether media before the answer crosses.

use super::*;
use tandem_model::{EarlyMedia, SessionPolicy};

#[test]
fn an_endpoint_may_ring_for_as_long_as_its_policy_says() {
    let mut sim = Simulation::new();
    sim.set_session_policy(SessionPolicy { ring_timeout_s: Some(20), ..SessionPolicy::default() });
    let invite = sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    for second in [1, 10, 8] {
        sim.pass(Duration::from_secs(second));
        sim.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
    }
    sim.sent.clear();
    sim.pass(Duration::from_millis(999));
    assert!(sim.sent.is_empty());
    sim.pass(Duration::from_millis(1));
    assert_eq!(
        (sim.kinds_to(GLOBEX), sim.kinds_to(ACME)),
        (vec!["CANCEL".to_owned()], vec!["408".to_owned()])
    );
    sim.receive(ACME, &follow_up(&invite, "ACK"));
    assert_eq!(sim.one_cdr().reason.as_deref(), Some("ring_timeout"));
    sim.expect_nothing_left();
}

#[test]
fn early_media_that_is_blocked_is_heard_as_ringing() {
    let mut sim = Simulation::new();
    sim.set_session_policy(SessionPolicy { early_media: EarlyMedia::Block, ..SessionPolicy::default() });
    sim.calls += 1;
    let route = "Record-Route: <sip:192.0.2.1:5070;lr>";
    let ingress = invite(1, "+442079460000").replace("X-Note: kept", route);
    sim.receive(ACME, &ingress);
    let egress = sim.one_to(GLOBEX);
    sim.sent_to(ACME);
    sim.receive(GLOBEX, &response(&egress, "183 Session Progress", "g", SDP));
    let ringing = sim.one_to(ACME);
    assert!(ringing.starts_with("SIP/2.0 180 Ringing\r\n") && ringing.ends_with("\r\n\r\n"), "{ringing}");
    assert!(ringing.contains(route) && !ringing.contains("Content-Type"), "{ringing}");
    assert_eq!(field(&ringing, "Contact"), "<sip:192.0.2.100:5060>");
    // The answer is of the same dialog, and has its session description.
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    let answer = sim.one_to(ACME);
    assert_eq!(field(&answer, "To"), field(&ringing, "To"));
    assert!(answer.ends_with(SDP));
}

#[test]
fn early_media_that_is_part_of_offer_and_answer_crosses_all_the_same() {
    let mut sim = Simulation::new();
    sim.set_session_policy(SessionPolicy { early_media: EarlyMedia::Block, ..SessionPolicy::default() });
    sim.calls += 1;
    sim.receive(ACME, &invite(1, "+442079460000").replace("X-Note: kept", "Supported: 100rel"));
    let egress = sim.one_to(GLOBEX);
    sim.sent_to(ACME);
    let progress = response(&egress, "183 Session Progress", "g", SDP);
    sim.receive(GLOBEX, &progress.replace("Server: ", "Require: 100rel\r\nRSeq: 1\r\nServer: "));
    let progress = sim.one_to(ACME);
    assert!(kind(&progress) == "183" && progress.ends_with(SDP), "{progress}");
}

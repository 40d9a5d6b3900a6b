//! Why calls end: Reason crosses the hub, and the record knows the causes of both legs (RFC 3326, RFC 3398).

use super::*;
use tandem_model::Cause;

/// A message with these header lines too.
fn with(message: &str, lines: &str) -> String {
    message.replacen("Content-Length:", &format!("{lines}\r\nContent-Length:"), 1)
}

fn cause(sip: impl Into<Option<u16>>, q850: u8) -> Cause {
    Cause { sip: sip.into(), q850: Some(q850) }
}

/// The causes of the ingress leg and of the attempts.
fn causes(cdr: &Cdr) -> (Cause, Vec<Cause>) {
    (cdr.cause, cdr.attempts.iter().map(|attempt| attempt.cause).collect())
}

#[test]
fn the_reasons_of_a_bye_cross_and_are_recorded_on_both_legs() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    let bye = with(
        &from_caller("BYE", "2 BYE", &up),
        "Reason: Q.850;cause=31;text=\"Normal\"\r\nReason: SIP;cause=480",
    );
    sim.receive(ACME, &bye);
    assert_eq!(field(&sim.one_to(GLOBEX), "Reason"), "Q.850;cause=31;text=\"Normal\", SIP;cause=480");
    assert_eq!(causes(&sim.one_cdr()), (cause(480, 31), vec![cause(480, 31)]));
}

#[test]
fn a_bye_without_a_reason_is_normal_clearing_in_the_record_only() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.receive(GLOBEX, &from_called("BYE", "1 BYE", &up));
    assert!(!sim.one_to(ACME).contains("\r\nReason:"));
    assert_eq!(causes(&sim.one_cdr()), (cause(None, 16), vec![cause(None, 16)]));
}

#[test]
fn the_reason_of_a_cancel_reaches_the_ringing_side() {
    let mut sim = Simulation::new();
    let invite = sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
    sim.receive(
        ACME,
        &with(&follow_up(&invite, "CANCEL"), "Reason: SIP;cause=200;text=\"Call completed elsewhere\""),
    );
    let cancel = sim.one_to(GLOBEX);
    assert_eq!(
        (kind(&cancel).as_str(), field(&cancel, "Reason")),
        ("CANCEL", "SIP;cause=200;text=\"Call completed elsewhere\"")
    );
    let completed = Cause { sip: Some(200), q850: None };
    assert_eq!(causes(&sim.one_cdr()), (completed, vec![completed]));
}

#[test]
fn a_failure_keeps_its_reason_on_the_way_back_and_each_attempt_its_cause() {
    let mut sim = Simulation::new();
    sim.invite("+442079460000");
    let first = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&first, "503 Full", "g", ""));
    let second = sim.one_to(GLOBEX_2);
    sim.receive(GLOBEX_2, &with(&response(&second, "486 Busy Here", "g", ""), "Reason: Q.850;cause=34"));
    let refusal = sim.sent_to(ACME).pop().unwrap();
    assert_eq!((kind(&refusal).as_str(), field(&refusal, "Reason")), ("486", "Q.850;cause=34"));
    assert_eq!(causes(&sim.one_cdr()), (cause(486, 34), vec![cause(503, 41), cause(486, 34)]));
}

#[test]
fn the_last_failure_gives_its_reason_to_the_response_of_the_hub() {
    let mut sim = Simulation::new();
    sim.invite("+442079460000");
    let first = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &with(&response(&first, "500 No", "g", ""), "Reason: Q.850;cause=41"));
    let second = sim.one_to(GLOBEX_2);
    sim.receive(GLOBEX_2, &with(&response(&second, "503 Full", "g", ""), "Reason: Q.850;cause=42"));
    let refusal = sim.sent_to(ACME).pop().unwrap();
    assert_eq!((kind(&refusal).as_str(), field(&refusal, "Reason")), ("502", "Q.850;cause=42"));
    assert_eq!(causes(&sim.one_cdr()), (cause(502, 42), vec![cause(500, 41), cause(503, 42)]));
}

#[test]
fn what_the_hub_itself_ends_has_its_cause() {
    let mut sim = Simulation::new();
    sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
    sim.pass(Duration::from_secs(60));
    assert!(field(&sim.one_to(GLOBEX), "Reason").starts_with("SIP;cause=408;text=\"ring_timeout: "));
    assert_eq!(causes(&sim.one_cdr()), (cause(408, 102), vec![cause(408, 102)]));
    // Refused before any attempt.
    let mut sim = Simulation::new();
    sim.invite("+12125550100");
    assert_eq!(causes(&sim.one_cdr()), (cause(404, 1), vec![]));
}

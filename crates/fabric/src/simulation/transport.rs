//! Sockets that refuse: what the transport says is told to the transaction (RFC 3261 §18.4), and counts as a 503 (§8.1.3.1).

use super::*;

impl Simulation {
    /// The transport could not bring messages to an address.
    fn refuse(&mut self, address: &str) {
        self.refuse_by(Transport::Udp, address);
    }

    pub(super) fn refuse_by(&mut self, transport: Transport, address: &str) {
        let flow = by(transport, address);
        let now = self.now;
        self.worker.contain(now, |worker| worker.unreachable(now, flow));
        self.flush();
    }
}

#[test]
fn a_socket_that_refuses_is_a_503_at_once_and_the_next_candidate_is_tried() {
    let mut sim = Simulation::new();
    sim.invite("+442079460000");
    assert_eq!(sim.kinds_to(GLOBEX), ["INVITE"]);
    sim.refuse(GLOBEX);
    assert_eq!(sim.kinds_to(GLOBEX_2), ["INVITE"]);
    sim.refuse(GLOBEX_2);
    assert_eq!(sim.kinds_to(ACME), ["100", "503"]);
    let cdr = sim.one_cdr();
    assert_eq!((cdr.outcome, cdr.reason.as_deref()), (Some(Outcome::Failed), Some("endpoint_unreachable")));
    // The transactions know: nothing is sent there again.
    sim.pass(Duration::from_secs(40));
    assert!(sim.sent_to(GLOBEX).is_empty() && sim.sent_to(GLOBEX_2).is_empty());
    sim.expect_nothing_left();
}

#[test]
fn a_request_in_a_call_that_cannot_be_brought_is_answered_and_ends_the_call() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.receive(ACME, &from_caller("INFO", "2 INFO", &up));
    assert_eq!(sim.kinds_to(GLOBEX), ["INFO"]);
    sim.refuse(GLOBEX);
    assert_eq!(sim.kinds_to(ACME), ["504", "BYE"]);
    sim.expect_nothing_left();
}

#[test]
fn where_the_ack_of_a_refused_re_invite_cannot_be_brought_the_call_goes_on() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.receive(ACME, &from_caller("INVITE", "2 INVITE", &up));
    let carried = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&carried, "488 Not Here", "g", ""));
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
    sim.refuse(GLOBEX);
    assert_eq!(sim.kinds_to(ACME), ["100", "488"]);
    sim.pass(Duration::from_secs(40));
    assert_eq!(sim.worker.calls.len(), 1);
    sim.receive(ACME, &from_caller("INFO", "3 INFO", &up));
    assert_eq!(sim.kinds_to(GLOBEX), ["INFO"]);
}

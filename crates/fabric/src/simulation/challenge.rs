//! Calls of the hub's own to numbers of a claimed range, by an endpoint that the operator chose.

use tandem_store::range_challenge::{ChallengeOrder, ChallengeOutcome};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::challenge::ChallengeReport;

use super::*;

struct Scene {
    simulation: Simulation,
    reports: UnboundedReceiver<ChallengeReport>,
}

impl Scene {
    fn new() -> Self {
        Self::of(Simulation::new())
    }

    fn of(mut simulation: Simulation) -> Self {
        let (told, reports) = unbounded_channel();
        simulation.worker.challenges.reports = Some(told);
        Self { simulation, reports }
    }

    /// Has the hub call by globex, and gives its INVITE.
    fn call(&mut self) -> String {
        self.order(21);
        self.simulation.one_to(GLOBEX)
    }

    fn order(&mut self, endpoint: u128) {
        let order = ChallengeOrder {
            challenge_id: Uuid::from_u128(91),
            endpoint_id: id(endpoint),
            called: "+442079460123".parse().unwrap(),
            calling: "+33199042137".parse().unwrap(),
        };
        let now = self.simulation.now;
        self.simulation.worker.receive_parcel(now, Parcel::Challenge(order));
        self.simulation.flush();
    }

    fn reported(&mut self) -> Option<(ChallengeOutcome, Option<u16>)> {
        self.reports.try_recv().ok().map(|report| (report.outcome, report.status))
    }

    /// No transaction, timer or CDR is left after a while.
    fn expect_nothing_left(mut self) {
        self.simulation.pass(Duration::from_secs(60));
        self.simulation.sent.clear();
        assert_eq!(self.reported(), None);
        self.simulation.expect_nothing_left();
    }
}

#[test]
fn a_challenge_call_rings_for_a_while_and_is_cancelled() {
    let mut scene = Scene::new();
    let invite = scene.call();
    assert!(invite.starts_with(&format!("INVITE sip:+442079460123@{GLOBEX}")), "{invite}");
    assert!(field(&invite, "From").starts_with(&format!("<sip:+33199042137@{HUB}")), "{invite}");
    scene.simulation.receive(GLOBEX, &response(&invite, "100 Trying", "g", ""));
    scene.simulation.receive(GLOBEX, &response(&invite, "180 Ringing", "g", ""));
    scene.simulation.pass(Duration::from_secs(24));
    assert_eq!((scene.simulation.kinds_to(GLOBEX), scene.reported()), (vec![], None));
    scene.simulation.pass(Duration::from_millis(1_200));
    let cancel = scene.simulation.one_to(GLOBEX);
    assert_eq!((kind(&cancel).as_str(), field(&cancel, "Via")), ("CANCEL", field(&invite, "Via")));
    assert_eq!(scene.reported(), Some((ChallengeOutcome::Rang, None)));
    scene.simulation.receive(GLOBEX, &response(&cancel, "200 OK", "g", ""));
    scene.simulation.receive(GLOBEX, &response(&invite, "487 Request Terminated", "g", ""));
    assert_eq!(scene.simulation.kinds_to(GLOBEX), ["ACK"]);
    scene.expect_nothing_left();
}

#[test]
fn a_challenge_call_that_is_answered_is_acknowledged_and_ended_at_once() {
    let mut scene = Scene::new();
    let invite = scene.call();
    scene.simulation.receive(GLOBEX, &response(&invite, "180 Ringing", "g", ""));
    scene.simulation.receive(GLOBEX, &response(&invite, "200 OK", "g", SDP));
    let sent = scene.simulation.sent_to(GLOBEX);
    assert_eq!(sent.iter().map(|it| kind(it)).collect::<Vec<_>>(), ["ACK", "BYE"]);
    assert_eq!(scene.reported(), Some((ChallengeOutcome::Answered, Some(200))));
    scene.simulation.receive(GLOBEX, &response(&sent[1], "200 OK", "g", ""));
    scene.expect_nothing_left();
}

#[test]
fn a_challenge_call_that_is_answered_while_it_is_cancelled_is_ended_all_the_same() {
    let mut scene = Scene::new();
    let invite = scene.call();
    scene.simulation.receive(GLOBEX, &response(&invite, "180 Ringing", "g", ""));
    scene.simulation.pass(Duration::from_millis(25_200));
    let cancel = scene.simulation.one_to(GLOBEX);
    scene.simulation.receive(GLOBEX, &response(&invite, "200 OK", "g", SDP));
    let sent = scene.simulation.sent_to(GLOBEX);
    assert_eq!(sent.iter().map(|it| kind(it)).collect::<Vec<_>>(), ["ACK", "BYE"]);
    scene.simulation.receive(GLOBEX, &response(&cancel, "481 Call/Transaction Does Not Exist", "g", ""));
    scene.simulation.receive(GLOBEX, &response(&sent[1], "200 OK", "g", ""));
    assert_eq!(scene.reported(), Some((ChallengeOutcome::Rang, None)));
    scene.expect_nothing_left();
}

#[test]
fn a_challenge_call_that_is_refused_or_meets_silence_says_so() {
    let mut scene = Scene::new();
    let invite = scene.call();
    scene.simulation.receive(GLOBEX, &response(&invite, "404 Not Found", "g", ""));
    assert_eq!(scene.simulation.kinds_to(GLOBEX), ["ACK"]);
    assert_eq!(scene.reported(), Some((ChallengeOutcome::Refused, Some(404))));
    scene.expect_nothing_left();

    let mut scene = Scene::new();
    scene.call();
    scene.simulation.pass(Duration::from_secs(40));
    // Nothing was heard, so that there is nothing to cancel (RFC 3261 §9.1).
    assert!(scene.simulation.kinds_to(GLOBEX).iter().all(|kind| kind == "INVITE"));
    assert_eq!(scene.reported(), Some((ChallengeOutcome::Unanswered, None)));
    scene.expect_nothing_left();

    for (endpoint, draining) in [(99, false), (21, true)] {
        let mut scene = Scene::new();
        scene.simulation.worker.draining = draining;
        scene.order(endpoint);
        assert_eq!(scene.simulation.kinds_to(GLOBEX), [""; 0]);
        assert_eq!(scene.reported(), Some((ChallengeOutcome::Unplaced, None)));
        scene.expect_nothing_left();
    }
}

#[test]
fn a_challenge_call_proves_who_the_hub_is_where_the_endpoint_asks() {
    let mut scene = Scene::of(outbound::simulation(false));
    let invite = scene.call();
    let asked = outbound::challenged(&invite, "407 Proxy Authentication Required", outbound::REALM, "");
    // Its messages come from where calls go, which is no source of an endpoint.
    let mut facts = scene.simulation.table.load().facts();
    facts.endpoints.iter_mut().for_each(|endpoint| endpoint.sources.clear());
    scene.simulation.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    scene.simulation.receive(GLOBEX, &asked);
    let sent = scene.simulation.sent_to(GLOBEX);
    assert_eq!(sent.iter().map(|it| kind(it)).collect::<Vec<_>>(), ["ACK", "INVITE"]);
    assert!(sent[1].contains("Proxy-Authorization: Digest ") && field(&sent[1], "CSeq") == "2 INVITE");
    scene.simulation.receive(GLOBEX, &response(&sent[1], "486 Busy Here", "g", ""));
    assert_eq!(scene.simulation.kinds_to(GLOBEX), ["ACK"]);
    assert_eq!(scene.reported(), Some((ChallengeOutcome::Refused, Some(486))));
    scene.expect_nothing_left();
}

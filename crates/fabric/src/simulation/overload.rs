//! What is shed when more comes in than the node can handle, through a worker.

use super::*;

const LONDON: &str = "+442079460000";

impl Simulation {
    /// The loop has been behind for so many seconds.
    fn be_behind(&mut self, seconds: u32) {
        for _ in 0..seconds * 100 {
            self.worker.overload.note_known();
            self.pass(Duration::from_millis(10));
            self.worker.observe_load(self.now, false, || 1);
        }
    }

    fn keep_up(&mut self, seconds: u32) {
        for _ in 0..seconds * 100 {
            self.pass(Duration::from_millis(10));
            self.worker.observe_load(self.now, true, || 0);
        }
    }
}

#[test]
fn an_overloaded_node_sheds_most_new_calls_and_nothing_of_those_that_are_up() {
    let mut sim = Simulation::new();
    let mut facts = facts();
    facts.endpoints[0].max_calls = None;
    sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    let up = sim.call_up();
    sim.be_behind(3);
    sim.sent.clear();
    for _ in 0..200 {
        sim.invite(LONDON);
    }
    let taken = sim.kinds_to(GLOBEX).len();
    assert!((1..40).contains(&taken), "{taken} of 200 calls taken");
    let refusals: Vec<_> =
        sim.sent_to(ACME).into_iter().filter(|message| message.starts_with("SIP/2.0 503 ")).collect();
    assert_eq!(refusals.len(), 200 - taken);
    assert!(refusals.iter().all(|it| it.contains("hub_overloaded") && it.contains("Retry-After: ")));
    // One that is shed leaves no call, no transaction and no CDR.
    assert_eq!((sim.worker.calls.len(), sim.cdrs().len()), (1 + taken, 0));
    sim.receive(ACME, &from_caller("BYE", "2 BYE", &up));
    assert_eq!((sim.kinds_to(GLOBEX), sim.kinds_to(ACME)), (vec!["BYE".into()], vec!["200".into()]));

    sim.keep_up(5);
    sim.sent.clear();
    for _ in 0..100 {
        let invite = sim.invite(LONDON);
        sim.receive(ACME, &follow_up(&invite, "CANCEL"));
    }
    let shed = sim.sent_to(ACME).iter().filter(|message| message.contains("hub_overloaded")).count();
    assert_eq!(shed, 0, "five seconds later all is as before");
}

#[test]
fn emergency_calls_are_never_shed() {
    let mut sim = Simulation::new();
    let mut facts = facts();
    facts.endpoints[0].max_calls = None;
    facts.ranges[0].prefix = "+44".parse().unwrap();
    facts.announcements[0].prefix = "+44".parse().unwrap();
    sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    sim.be_behind(3);
    sim.sent.clear();
    for _ in 0..60 {
        sim.invite("+449990000000");
    }
    assert_eq!(sim.kinds_to(GLOBEX).len(), 60);
}

#[test]
fn a_neighbour_that_asks_is_told_in_each_response() {
    let mut sim = Simulation::new();
    let told = |message: &str| field(message, "Via").contains("oc=");
    let invite = |n| invite(n, LONDON).replacen(";rport", ";rport;oc;oc-algo=\"loss\"", 1);
    sim.receive(ACME, &invite(1));
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
    sim.receive(GLOBEX, &response(&egress, "486 Busy Here", "g", ""));
    let responses = sim.sent_to(ACME);
    assert_eq!(responses.iter().map(|it| kind(it)).collect::<Vec<_>>(), ["100", "180", "486"]);
    for message in &responses {
        assert!(field(message, "Via").contains("oc=0;oc-algo=\"loss\";oc-validity=0;oc-seq="), "{message}");
    }
    sim.be_behind(3);
    sim.sent.clear();
    sim.receive(ACME, &invite(2));
    assert!(sim.sent_to(ACME).iter().all(|it| field(it, "Via").contains("oc=95;")));
    sim.calls = 2;
    sim.invite(LONDON);
    assert!(!sim.sent_to(ACME).iter().any(|it| told(it)), "who does not ask is not told");
}

//! Calls to ported numbers: whose word decides where they go, and who is told of it (RFC 4694).

use tandem_model::PortedNumber;
use tandem_routing::{Dip, DipSource, PortedLoad};
use tokio::sync::mpsc;

use super::*;
use crate::dipper::{Dipper, Question, UNANSWERED};

const NUMBER: &str = "+442079460000";

/// Beside +4420 at both of its endpoints, globex announces +3319 at the second.
fn exchange(acme: &str, globex: &str) -> Simulation {
    let mut facts = facts();
    for endpoint in &mut facts.endpoints {
        let overrides = if endpoint.member_id == id(1) { acme } else { globex };
        let policy = Policy::new(Profile::Neutral, serde_json::from_str(overrides).unwrap());
        endpoint.policy = policy.unwrap();
    }
    facts.ranges.push(Range {
        range_id: id::<RangeId>(32),
        prefix: "+3319".parse().unwrap(),
        ..facts.ranges[0].clone()
    });
    facts.announcements.push(Announcement {
        announcement_id: id::<AnnouncementId>(42),
        prefix: "+3319".parse().unwrap(),
        endpoints: vec![id::<EndpointId>(22)],
        ..facts.announcements[0].clone()
    });
    let sim = Simulation::new();
    sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    sim
}

/// The node holds these ported numbers, each with its routing number.
fn port(sim: &Simulation, numbers: &[(&str, &str)]) {
    let mut load = PortedLoad::new();
    for (number, rn) in numbers {
        load.push(PortedNumber { number: number.parse().unwrap(), rn: rn.parse().unwrap() }).unwrap();
    }
    tandem_routing::port(&sim.table, &load.finish(1).unwrap());
}

fn request_uri(invite: &str) -> &str {
    invite.split(' ').nth(1).unwrap()
}

/// Ends the call and gives what its CDR has of the look-up.
fn dip(mut sim: Simulation, at: &str, invite: &str) -> serde_json::Value {
    sim.receive(at, &response(invite, "486 Busy Here", "g", ""));
    let selection: serde_json::Value = serde_json::from_str(&sim.one_cdr().selection).unwrap();
    sim.expect_nothing_left();
    selection["dip"].clone()
}

const TRUSTED: &str = r#"{"numbers": {"routing_number": true}}"#;
const TOLD: &str = r#"{"numbers": {"write_routing_number": true}}"#;

#[test]
fn the_routing_number_of_an_endpoint_that_is_trusted_with_it_decides() {
    let mut sim = exchange(TRUSTED, "{}");
    port(&sim, &[(NUMBER, "+4420")]);
    sim.invite("+442079460000;npdi;rn=+33-19");
    let invite = sim.one_to(GLOBEX_2);
    assert_eq!(request_uri(&invite), format!("sip:{NUMBER}@{GLOBEX_2};user=phone"));
    assert_eq!(sim.worker.wire.metrics.routing_numbers("believed"), 1);
    assert_eq!(dip(sim, GLOBEX_2, &invite), serde_json::json!({"rn": "+3319", "source": "call"}));
}

#[test]
fn a_trusted_npdi_alone_says_that_the_number_is_not_ported() {
    let mut sim = exchange(TRUSTED, TOLD);
    port(&sim, &[(NUMBER, "+3319")]);
    sim.invite("+442079460000;npdi");
    let invite = sim.one_to(GLOBEX);
    assert_eq!(request_uri(&invite), format!("sip:{NUMBER};npdi@{GLOBEX};user=phone"));
    assert_eq!(dip(sim, GLOBEX, &invite), serde_json::json!({"rn": null, "source": "call"}));
}

#[test]
fn a_forged_routing_number_is_ignored_and_the_number_looked_up() {
    let mut sim = exchange("{}", TOLD);
    sim.invite("+442079460000;npdi;rn=+3319");
    let invite = sim.one_to(GLOBEX);
    assert_eq!(request_uri(&invite), format!("sip:{NUMBER}@{GLOBEX};user=phone"));
    assert_eq!(dip(sim, GLOBEX, &invite), serde_json::Value::Null);

    let mut sim = exchange("{}", TOLD);
    port(&sim, &[(NUMBER, "+3319")]);
    sim.invite("+442079460000;npdi;rn=+4420");
    let invite = sim.one_to(GLOBEX_2);
    assert_eq!(request_uri(&invite), format!("sip:{NUMBER};npdi;rn=+3319@{GLOBEX_2};user=phone"));
    assert_eq!(field(&invite, "To"), format!("<sip:{NUMBER}@{GLOBEX_2};user=phone>"));
    assert_eq!(sim.worker.wire.metrics.routing_numbers("distrusted"), 1);
    assert_eq!(dip(sim, GLOBEX_2, &invite), serde_json::json!({"rn": "+3319", "source": "node"}));
}

#[test]
fn no_routing_number_of_one_member_reaches_another_however_it_is_written() {
    for (acme, globex) in [("{}", "{}"), ("{}", TOLD), (r#"{"numbers": {"calling": "converted"}}"#, "{}")] {
        for params in [
            ";rn=+33180009999",
            ";RN=+33180009999",
            ";%72n=+33180009999",
            ";r%6E=+33180009999;npdi=yes",
            ";cpc=ordinary;Npdi;rn=33180009999;Rn-Context=+1",
            ";rn=+33180009999:secret",
        ] {
            let mut sim = exchange(acme, globex);
            let from = format!("From: \"Ann\" <sip:+33199001234{params}@{ACME}>;tag=a1");
            let invite = invite(1, &format!("{NUMBER}{params}"));
            let old = format!("From: {}", field(&invite, "From"));
            let asserted = format!("P-Asserted-Identity: <sip:+33199001234{params}@{ACME}>");
            sim.receive(ACME, &invite.replace(&old, &format!("{from}\r\n{asserted}")));
            let carried = sim.one_to(GLOBEX).to_ascii_lowercase();
            assert!(!carried.contains("33180009999") && !carried.contains("npdi"), "{params}: {carried}");
            assert!(carried.contains("p-asserted-identity: <sip:+33199001234"), "{carried}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_looked_up_anew() {
    let mut sim = exchange(TRUSTED, "{}");
    port(&sim, &[(NUMBER, "+3319")]);
    sim.invite("+442079460000;npdi;rn=+4420;rn=+4421");
    let invite = sim.one_to(GLOBEX_2);
    assert_eq!(sim.worker.wire.metrics.routing_numbers("unreadable"), 1);
    assert_eq!(dip(sim, GLOBEX_2, &invite), serde_json::json!({"rn": "+3319", "source": "node"}));
}

#[test]
fn a_redirection_is_looked_up_by_its_own_number_and_its_routing_number_is_no_endpoint_s_to_say() {
    let told = r#"{"numbers": {"write_routing_number": true}, "session": {"redirect": "follow"}}"#;
    let mut sim = exchange("{}", told);
    port(&sim, &[("+442079460001", "+3319")]);
    sim.invite(NUMBER);
    let first = sim.one_to(GLOBEX);
    assert_eq!(request_uri(&first), format!("sip:{NUMBER};npdi@{GLOBEX};user=phone"));
    let moved = response(&first, "302 Moved", "g", "")
        .replace(&format!("<sip:bob@{GLOBEX}>"), &format!("<sip:+442079460001;npdi;rn=+4420@{GLOBEX}>"));
    sim.receive(GLOBEX, &moved);
    let second = sim.one_to(GLOBEX_2);
    assert_eq!(request_uri(&second), format!("sip:+442079460001;npdi;rn=+3319@{GLOBEX_2};user=phone"));
}

/// Gives the hub a service to ask, and what it asks.
fn ask_a_service(sim: &mut Simulation) -> mpsc::Receiver<Question> {
    let (dipper, questions) = Dipper::new(Duration::from_millis(300), &prometheus::Registry::new()).unwrap();
    sim.worker.dipper = Some(dipper);
    questions
}

/// The service answers a question.
fn answer(sim: &mut Simulation, (number, waiter): Question, dip: Dip) {
    let (_, call) = waiter.expect("a call waits");
    let now = sim.now;
    sim.worker.receive_parcel(now, Parcel::Dipped { call, number, dip });
    sim.flush();
}

fn service(rn: Option<&str>) -> Dip {
    Dip { rn: rn.map(|rn| rn.parse().unwrap()), source: DipSource::Service }
}

#[test]
fn a_call_waits_for_the_service_and_no_other_call_for_it() {
    let mut sim = exchange(TRUSTED, TOLD);
    let mut questions = ask_a_service(&mut sim);
    sim.invite(NUMBER);
    assert_eq!((sim.kinds_to(ACME), sim.sent.len()), (vec!["100".to_owned()], 0));
    // One that says itself where its number went is not looked up.
    sim.invite("+442079460001;npdi;rn=+4420");
    let other = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&other, "486 Busy Here", "g", ""));
    sim.pass(Duration::from_millis(299));
    assert!(sim.sent_to(GLOBEX).iter().all(|message| kind(message) == "ACK"));
    let asked = questions.try_recv().unwrap();
    assert!(asked.0 == NUMBER.parse().unwrap() && questions.try_recv().is_err());
    answer(&mut sim, asked, service(Some("+3319")));
    let invite = sim.one_to(GLOBEX_2);
    assert_eq!(request_uri(&invite), format!("sip:{NUMBER};npdi;rn=+3319@{GLOBEX_2};user=phone"));
    // Its answer comes again, and once more with another.
    answer(&mut sim, asked, service(None));
    assert!(sim.sent_to(GLOBEX).is_empty());
    sim.receive(GLOBEX_2, &response(&invite, "486 Busy Here", "g", ""));
    let selection: serde_json::Value = serde_json::from_str(&sim.cdrs()[1].selection).unwrap();
    assert_eq!(selection["dip"], serde_json::json!({"rn": "+3319", "source": "service"}));
    sim.expect_nothing_left();
}

#[test]
fn a_call_whose_number_is_not_looked_up_in_time_goes_by_the_number_itself_and_its_record_says_so() {
    for is_told in [false, true] {
        let mut sim = exchange("{}", TOLD);
        let mut questions = ask_a_service(&mut sim);
        sim.invite(NUMBER);
        let asked = questions.try_recv().unwrap();
        match is_told {
            false => sim.pass(Duration::from_millis(301)),
            true => answer(&mut sim, asked, UNANSWERED),
        }
        let invite = sim.one_to(GLOBEX);
        assert_eq!(request_uri(&invite), format!("sip:{NUMBER}@{GLOBEX};user=phone"));
        answer(&mut sim, asked, service(Some("+3319")));
        assert!(sim.sent_to(GLOBEX_2).is_empty());
        assert_eq!(dip(sim, GLOBEX, &invite), serde_json::json!({"rn": null, "source": "unanswered"}));
    }
}

#[test]
fn a_caller_that_gives_up_while_its_number_is_looked_up_leaves_nothing() {
    let mut sim = exchange("{}", "{}");
    let mut questions = ask_a_service(&mut sim);
    let invite = sim.invite(NUMBER);
    sim.receive(ACME, &follow_up(&invite, "CANCEL"));
    assert_eq!(sim.kinds_to(ACME), ["100", "200", "487"]);
    answer(&mut sim, questions.try_recv().unwrap(), service(Some("+3319")));
    sim.pass(Duration::from_millis(301));
    assert!(sim.sent_to(GLOBEX).is_empty() && sim.sent_to(GLOBEX_2).is_empty());
    assert_eq!(sim.one_cdr().outcome, Some(Outcome::Cancelled));
    sim.expect_nothing_left();
}

#[test]
fn a_node_that_stops_answers_the_calls_that_wait() {
    let mut sim = exchange("{}", "{}");
    let _questions = ask_a_service(&mut sim);
    sim.invite(NUMBER);
    let now = sim.now;
    sim.worker.hang_up_all(now);
    sim.flush();
    assert_eq!(sim.kinds_to(ACME), ["100", "503"]);
    sim.expect_nothing_left();
}

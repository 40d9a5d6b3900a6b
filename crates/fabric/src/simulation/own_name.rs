//! A listener with a public name: who is told it, and who the address.

use tandem_model::Profile;

use super::*;

const NAME: &str = "sip.exchange.example:5060";

/// The listener has a name; acme and globex have these profiles.
fn named(acme: Profile, globex: Profile) -> Simulation {
    let mut facts = facts();
    facts.endpoints[0].policy = Policy::of(acme);
    for endpoint in &mut facts.endpoints[1..] {
        endpoint.policy = Policy::of(globex);
    }
    let mut sim = Simulation::new();
    sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    let local = Local::new("ams", Transport::Udp, HUB.parse().unwrap()).with_name("sip.exchange.example");
    sim.worker.locals[0] = local;
    sim
}

#[test]
fn teams_is_told_the_name_in_contact_and_as_the_callers_host_and_the_other_side_the_address() {
    let mut sim = named(Profile::Neutral, Profile::Teams);
    let up = sim.call_up();
    let (_, answer, egress) = &up;
    assert_eq!(field(egress, "Contact"), format!("<sip:{NAME}>"));
    assert!(field(egress, "From").contains(&format!("<sip:+33199001234@{NAME};user=phone>")), "{egress}");
    assert_eq!(field(answer, "Contact"), format!("<sip:{HUB}>"));
    // Where answers go is the address all the same.
    assert!(field(egress, "Via").starts_with(&format!("SIP/2.0/UDP {HUB};")), "{egress}");

    sim.receive(ACME, &from_caller("UPDATE", "2 UPDATE", &up));
    assert_eq!(field(&sim.one_to(GLOBEX), "Contact"), format!("<sip:{NAME}>"));
}

#[test]
fn teams_that_calls_is_answered_by_the_name_and_its_requests_to_it_are_taken() {
    let mut sim = named(Profile::Teams, Profile::Neutral);
    let up = sim.call_up();
    let (_, answer, egress) = &up;
    assert_eq!(field(answer, "Contact"), format!("<sip:{NAME}>"));
    assert_eq!(field(egress, "Contact"), format!("<sip:{HUB}>"));
    let bye =
        from_caller("BYE", "2 BYE", &up).replacen(&format!("BYE sip:{HUB}"), &format!("BYE sip:{NAME}"), 1);
    sim.receive(ACME, &bye);
    assert_eq!((sim.kinds_to(ACME), sim.kinds_to(GLOBEX)), (vec!["200".to_owned()], vec!["BYE".to_owned()]));
}

#[test]
fn without_a_name_teams_is_told_the_address() {
    let mut sim = named(Profile::Neutral, Profile::Teams);
    sim.worker.locals[0] = Local::new("ams", Transport::Udp, HUB.parse().unwrap());
    sim.invite("+442079460000");
    assert_eq!(field(&sim.one_to(GLOBEX), "Contact"), format!("<sip:{HUB}>"));
}

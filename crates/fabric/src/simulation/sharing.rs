//! Two endpoints behind one address, told apart by what the Request-URI bears.

use tandem_model::CallMark;

use super::*;

/// acme's endpoint and one of globex that calls by the same address, each with a mark.
fn sharing(acme: &str, globex: &str) -> Simulation {
    let mark = |text: &str| Some(text.parse::<CallMark>().unwrap());
    let mut facts = facts();
    facts.endpoints[0].call_mark = mark(acme);
    // A member does not call itself: globex calls what acme holds.
    facts.endpoints.push(Endpoint { call_mark: mark(globex), ..endpoint(23, 2, ACME, 1, None) });
    facts.ranges.push(Range {
        range_id: id::<RangeId>(32),
        member_id: id(1),
        prefix: "+49".parse().unwrap(),
        ..facts.ranges[0].clone()
    });
    facts.announcements.push(Announcement {
        announcement_id: id::<AnnouncementId>(42),
        member_id: id(1),
        prefix: "+49".parse().unwrap(),
        endpoints: vec![id::<EndpointId>(11)],
        ..facts.announcements[0].clone()
    });
    let sim = Simulation::new();
    sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    sim
}

#[test]
fn a_tech_prefix_says_who_calls_and_is_no_part_of_the_number() {
    for user in ["99+442079460000", "99442079460000", "9944-20-7946-0000"] {
        let mut sim = sharing("99", "9811");
        sim.invite(user);
        let egress = sim.one_to(GLOBEX);
        assert!(egress.starts_with("INVITE sip:+442079460000@"), "{egress}");
        assert_eq!(field(&egress, "To"), "<sip:+442079460000@192.0.2.2:5060;user=phone>", "{egress}");
    }
    let mut sim = sharing("99", "9811");
    sim.invite("9811+49301234567");
    let sent = sim.sent_to(ACME);
    assert!(sent.iter().any(|it| it.starts_with("INVITE sip:+49301234567@")), "{sent:?}");
    let up = sim.worker.calls.iter().next().unwrap().1;
    assert_eq!(up.cdr.originating_endpoint, id::<EndpointId>(23));
}

#[test]
fn a_call_that_bears_nobody_s_mark_is_refused_with_the_remedy() {
    for user in ["+442079460000", "442079460000", "+99442079460000", "98442079460000", "ann"] {
        let mut sim = sharing("99", "9811");
        sim.invite(user);
        let refusal = sim.one_to(ACME);
        assert_eq!(kind(&refusal), "403");
        assert!(refusal.contains("call_mark_missing"), "{refusal}");
        assert!(sim.sent.is_empty() && sim.worker.calls.is_empty());
    }
}

#[test]
fn a_request_domain_says_who_calls_whatever_its_case() {
    for (host, endpoint, callee) in [
        ("acme.sip.example", 11, GLOBEX),
        ("ACME.SIP.example:5060", 11, GLOBEX),
        ("globex.sip.example", 23, ACME),
    ] {
        let mut sim = sharing("acme.sip.example", "globex.sip.example");
        let number = if endpoint == 11 { "+442079460000" } else { "+49301234567" };
        let invite = invite(1, number)
            .replace(&format!("INVITE sip:{number}@{HUB}"), &format!("INVITE sip:{number}@{host}"));
        sim.receive(ACME, &invite);
        assert!(sim.sent_to(callee).iter().any(|it| it.starts_with("INVITE")), "{host}");
        let up = sim.worker.calls.iter().next().unwrap().1;
        assert_eq!(up.cdr.originating_endpoint, id::<EndpointId>(endpoint));
    }
    let mut sim = sharing("acme.sip.example", "globex.sip.example");
    sim.invite("+442079460000");
    assert_eq!(sim.kinds_to(ACME), ["403"]);
}

#[test]
fn whoever_shares_a_block_goes_on_with_its_call_from_any_address_in_it() {
    const OTHER: &str = "192.0.2.9:5060";
    let mut sim = sharing("9811", "99");
    let mut facts = sim.table.load().facts();
    for endpoint in facts.endpoints.iter_mut().filter(|it| it.call_mark.is_some()) {
        endpoint.sources.push(Source { net: "192.0.2.8/31".parse().unwrap(), port: None });
    }
    sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    let ingress = sim.invite("9811442079460000");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    let answer = sim.sent_to(ACME).pop().unwrap();
    sim.receive(OTHER, &ack(&ingress, &answer, ""));
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
    let up = (ingress, answer, egress);
    sim.receive(OTHER, &from_caller("BYE", "2 BYE", &up));
    assert_eq!(sim.kinds_to(GLOBEX), ["BYE"]);
}

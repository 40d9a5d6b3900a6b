//! Requests of more than 1,300 octets (RFC 3261 §18.1.1).

use super::interop::{policy, with_policies};
use super::*;

/// The message with so many more octets in a field that is carried across.
fn larger(message: &str, octets: usize) -> String {
    message.replacen("Max-Forwards", &format!("X-Pad: {}\r\nMax-Forwards", "x".repeat(octets)), 1)
}

/// What carried a message that the hub sent.
fn via(message: &str) -> &str {
    field(message, "Via").split(' ').next().unwrap()
}

const TCP: &str = "SIP/2.0/TCP";
const UDP: &str = "SIP/2.0/UDP";

/// acme's large INVITE, and how globex got it.
fn large_call() -> (Simulation, String, String) {
    let mut sim = Simulation::new();
    let ingress = larger(&invite(1, "+442079460000"), 900);
    sim.receive(ACME, &ingress);
    let egress = sim.one_to(GLOBEX);
    assert_eq!(via(&egress), TCP);
    (sim, ingress, egress)
}

#[test]
fn an_invite_that_no_datagram_should_carry_goes_by_tcp_and_its_answers_come_by_it() {
    let (mut sim, ingress, egress) = large_call();
    assert!(
        !egress.split("\r\n").next().unwrap().contains("transport"),
        "the transport of the Via alone changes"
    );
    // What comes from elsewhere than the request went to is no answer to it.
    sim.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
    assert_eq!(sim.kinds_to(ACME), ["100"]);
    sim.receive_by(Transport::Tcp, GLOBEX, &response(&egress, "180 Ringing", "g", ""));
    sim.receive_by(Transport::Tcp, GLOBEX, &response(&egress, "200 OK", "g", SDP));
    let answers = sim.sent_to(ACME);
    assert_eq!(answers.iter().map(|answer| kind(answer)).collect::<Vec<_>>(), ["180", "200"]);
    sim.receive(ACME, &ack(&ingress, &answers[1], ""));
    assert_eq!(via(&sim.one_to(GLOBEX)), UDP, "an ACK is small");
    let up = (ingress, answers[1].clone(), egress);
    sim.receive(ACME, &from_caller("BYE", "2 BYE", &up));
    assert_eq!(via(&sim.one_to(GLOBEX)), UDP);
}

#[test]
fn the_cancel_of_an_invite_by_tcp_goes_by_tcp() {
    let (mut sim, ingress, egress) = large_call();
    sim.receive_by(Transport::Tcp, GLOBEX, &response(&egress, "180 Ringing", "g", ""));
    sim.receive(ACME, &ingress.replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL"));
    let cancel = sim.one_to(GLOBEX);
    assert_eq!((kind(&cancel).as_str(), field(&cancel, "Via")), ("CANCEL", field(&egress, "Via")));
}

#[test]
fn where_no_connection_is_taken_the_same_invite_goes_as_a_datagram_and_so_do_later_ones() {
    let (mut sim, ingress, by_tcp) = large_call();
    sim.refuse_by(Transport::Tcp, GLOBEX);
    let by_udp = sim.one_to(GLOBEX);
    assert_eq!([&by_tcp, &by_udp].map(|invite| via(invite)), [TCP, UDP]);
    let after_via = |invite: &str| invite.split_once(";rport").unwrap().1.to_owned();
    assert_eq!(after_via(&by_tcp), after_via(&by_udp));
    // It is sent again as datagrams are.
    sim.pass(Duration::from_millis(600));
    assert_eq!(sim.one_to(GLOBEX), by_udp);
    sim.receive(GLOBEX, &response(&by_udp, "200 OK", "g", SDP));
    let answer = sim.sent_to(ACME).pop().unwrap();
    assert_eq!(kind(&answer), "200");
    sim.receive(ACME, &ack(&ingress, &answer, ""));
    sim.receive(ACME, &from_caller("BYE", "2 BYE", &(ingress, answer, by_udp)));
    let cdr = sim.one_cdr();
    assert_eq!(cdr.attempts.len(), 1, "one attempt by two ways");
    sim.sent_to(GLOBEX);

    let mut asked = |number: u32, minutes: u64| {
        sim.pass(Duration::from_secs(60 * minutes));
        sim.sent_to(GLOBEX);
        sim.receive(ACME, &larger(&invite(number, "+442079460000"), 900));
        via(&sim.sent_to(GLOBEX)[0]).to_owned()
    };
    assert_eq!([asked(2, 1), asked(3, 10)], [UDP, TCP], "after ten minutes it is asked again");
}

#[test]
fn an_invite_that_was_given_up_before_its_connection_was_refused_does_not_go_as_a_datagram() {
    let (mut sim, ingress, _) = large_call();
    sim.receive(ACME, &ingress.replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL"));
    sim.refuse_by(Transport::Tcp, GLOBEX);
    sim.pass(Duration::from_secs(40));
    assert_eq!(sim.kinds_to(GLOBEX), [""; 0]);
    assert_eq!(sim.one_cdr().outcome, Some(Outcome::Cancelled));
    sim.expect_nothing_left();
}

#[test]
fn a_place_that_takes_a_connection_and_answers_nothing_by_it_gets_datagrams_from_then_on() {
    let (mut sim, ..) = large_call();
    sim.pass(Duration::from_secs(4));
    assert_eq!(sim.kinds_to(GLOBEX_2), ["INVITE"]);
    sim.receive(ACME, &larger(&invite(2, "+442079460000"), 900));
    assert_eq!(via(&sim.one_to(GLOBEX)), UDP);
}

#[test]
fn requests_in_a_dialog_and_the_ack_go_by_tcp_for_their_size_and_as_datagrams_where_it_is_refused() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    for (number, method) in [(2, "INFO"), (3, "UPDATE")] {
        sim.receive(ACME, &larger(&from_caller(method, &format!("{number} {method}"), &up), 1_300));
        let carried = sim.one_to(GLOBEX);
        assert_eq!(via(&carried), TCP, "{carried}");
        sim.receive_by(Transport::Tcp, GLOBEX, &response(&carried, "200 OK", "g", ""));
        assert_eq!(sim.kinds_to(ACME), ["200"]);
    }
    // A late offer: the ACK has the answer.
    let reinvite = from_caller("INVITE", "4 INVITE", &up);
    sim.receive(ACME, &reinvite);
    let carried = sim.one_to(GLOBEX);
    assert_eq!(via(&carried), UDP);
    sim.receive(GLOBEX, &response(&carried, "200 OK", "g", SDP));
    let answer = sim.sent_to(ACME).pop().unwrap();
    let long = format!("{SDP}a=note:{}\r\n", "x".repeat(1_300));
    let body = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{long}", long.len());
    let acknowledged = ack(&reinvite, &answer, "").replace("Content-Length: 0\r\n\r\n", &body);
    sim.receive(ACME, &acknowledged);
    let carried_ack = sim.one_to(GLOBEX);
    assert_eq!((kind(&carried_ack).as_str(), via(&carried_ack)), ("ACK", TCP));
    // It did not arrive: the 200 comes again.
    sim.refuse_by(Transport::Tcp, GLOBEX);
    sim.receive(GLOBEX, &response(&carried, "200 OK", "g", SDP));
    let again = sim.one_to(GLOBEX);
    assert_eq!((kind(&again).as_str(), via(&again)), ("ACK", UDP));
    sim.receive(ACME, &larger(&from_caller("INFO", "5 INFO", &up), 1_300));
    assert_eq!(via(&sim.one_to(GLOBEX)), UDP);
}

#[test]
fn a_request_of_the_hubs_own_is_large_by_the_routes_of_its_dialog_and_goes_by_tcp_too() {
    let mut sim = Simulation::new();
    let ingress = sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    let route = format!("Record-Route: <sip:{GLOBEX};lr;x={}>\r\nContact", "x".repeat(1_300));
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP).replacen("Contact", &route, 1));
    let answer = sim.sent_to(ACME).pop().unwrap();
    sim.receive(ACME, &ack(&ingress, &answer, ""));
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
    sim.receive(ACME, &from_caller("BYE", "2 BYE", &(ingress, answer, egress)));
    let bye = sim.one_to(GLOBEX);
    assert_eq!((kind(&bye).as_str(), via(&bye)), ("BYE", TCP), "{} octets", bye.len());
}

#[test]
fn what_a_member_sends_by_tcp_in_a_call_by_udp_is_of_that_call() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.receive_by(Transport::Tcp, GLOBEX, &larger(&from_called("INFO", "1 INFO", &up), 1_300));
    assert_eq!(sim.kinds_to(ACME), ["INFO"]);
}

#[test]
fn from_which_size_on_is_the_endpoints_policy() {
    let small = invite(1, "+442079460000");
    let large = larger(&small, 900);
    let medium = larger(&small, 400);
    for (size, message, expected) in [
        ("{}", &small, UDP),
        ("{}", &large, TCP),
        (r#"{"tcp_above_bytes": 1000}"#, &medium, TCP),
        (r#"{"tcp_above_bytes": 3000}"#, &large, UDP),
        (r#"{"tcp_above_bytes": null}"#, &large, UDP),
    ] {
        let mut sim = with_policies(&None, &policy("neutral", &format!("{{\"size\": {size}}}")));
        sim.receive(ACME, message);
        let sent = sim.one_to(GLOBEX);
        assert_eq!(via(&sent), expected, "{size}: {} octets", sent.len());
    }
}

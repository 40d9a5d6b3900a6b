//! Calls that are up: re-INVITE, UPDATE, INFO, BYE, and what crosses them.

use super::*;

#[test]
fn a_second_re_invite_is_refused_with_500_and_may_be_tried_again() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.receive(ACME, &from_caller("INVITE", "2 INVITE", &up));
    sim.sent_to(ACME);
    sim.receive(ACME, &from_caller("INVITE", "3 INVITE", &up));
    let refusal = sim.sent_to(ACME).pop().unwrap();
    assert!(kind(&refusal) == "500" && refusal.contains("\r\nRetry-After: "), "{refusal}");
}

#[test]
fn late_offers_and_hold_cross_untouched() {
    let mut sim = Simulation::new();
    sim.calls += 1;
    let ingress =
        invite(1, "+442079460000").replace(SDP, "").replace(&format!("Length: {}", SDP.len()), "Length: 0");
    sim.receive(ACME, &ingress);
    let egress = sim.one_to(GLOBEX);
    assert!(egress.ends_with("\r\n\r\n"));
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    let answer = sim.sent_to(ACME).pop().unwrap();
    assert!(answer.ends_with(SDP));
    let hold = SDP.replace("RTP/AVP 0\r\n", "RTP/AVP 0\r\na=sendonly\r\n");
    sim.receive(
        ACME,
        &ack(&ingress, &answer, &hold)
            .replace("Content-Length", "Content-Type: application/sdp\r\nContent-Length"),
    );
    let carried = sim.one_to(GLOBEX);
    assert!(kind(&carried) == "ACK" && carried.ends_with(&hold), "{carried}");
    // And again in the call.
    let up = (ingress, answer, egress);
    sim.receive(GLOBEX, &from_called("INVITE", "1 INVITE", &up));
    let carried = sim.one_to(ACME);
    assert!(carried.ends_with("\r\n\r\n"));
    sim.receive(ACME, &response(&carried, "200 OK", "", &hold));
    assert!(sim.sent_to(GLOBEX).pop().unwrap().ends_with(&hold));
}

#[test]
fn a_refused_re_invite_leaves_the_call_and_its_targets_as_they_were() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    let moved =
        from_caller("INVITE", "2 INVITE", &up).replace("sip:x@192.0.2.1:5060", "sip:x@192.0.2.1:5099");
    sim.receive(ACME, &moved);
    let carried = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&carried, "488 Not Here", "g", ""));
    assert_eq!(sim.kinds_to(ACME), ["100", "488"]);
    sim.sent_to(GLOBEX);
    sim.receive(GLOBEX, &from_called("INFO", "1 INFO", &up));
    assert!(sim.one_to(ACME).starts_with("INFO sip:ann@192.0.2.1:5060 "));
    assert_eq!(sim.worker.calls.len(), 1);
}

#[test]
fn a_re_invite_that_is_taken_back_at_once_is_cancelled_after_the_first_response() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    let reinvite = from_caller("INVITE", "2 INVITE", &up);
    sim.receive(ACME, &reinvite);
    let carried = sim.one_to(GLOBEX);
    sim.receive(ACME, &reinvite.replace("INVITE sip", "CANCEL sip").replace("2 INVITE", "2 CANCEL"));
    assert!(sim.sent_to(GLOBEX).is_empty());
    sim.receive(GLOBEX, &response(&carried, "100 Trying", "g", ""));
    assert_eq!(sim.kinds_to(GLOBEX), ["CANCEL"]);
    sim.receive(GLOBEX, &response(&carried, "487 Terminated", "g", ""));
    assert_eq!(sim.kinds_to(ACME), ["100", "200", "487"]);
    assert_eq!(sim.worker.calls.len(), 1);
}

#[test]
fn a_re_invite_that_is_never_answered_is_cancelled_and_then_ends_the_call() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.receive(ACME, &from_caller("INVITE", "2 INVITE", &up));
    let carried = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&carried, "100 Trying", "g", ""));
    sim.sent_to(ACME);
    sim.pass(Duration::from_millis(60_100));
    assert_eq!(sim.kinds_to(GLOBEX), ["CANCEL"]);
    sim.pass(Duration::from_secs(33));
    assert_eq!(sim.kinds_to(ACME)[..2], ["504", "BYE"]);
    assert!(sim.kinds_to(GLOBEX).contains(&"BYE".to_owned()));
    sim.expect_nothing_left();
}

#[test]
fn a_slow_info_gets_100_when_its_timer_has_reached_t2_and_504_before_it_is_given_up() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.receive(ACME, &from_caller("INFO", "2 INFO", &up));
    sim.pass(Duration::from_millis(3_490));
    assert!(sim.sent_to(ACME).is_empty());
    sim.pass(Duration::from_millis(20));
    assert_eq!(sim.kinds_to(ACME), ["100"]);
    sim.pass(Duration::from_secs(25));
    assert_eq!(sim.kinds_to(ACME)[..2], ["504", "BYE"]);
    sim.expect_nothing_left();
}

#[test]
fn a_408_to_an_info_goes_back_as_504() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.receive(ACME, &from_caller("INFO", "2 INFO", &up));
    let carried = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&carried, "408 Late", "g", ""));
    assert_eq!(sim.kinds_to(ACME)[..2], ["504", "BYE"]);
}

#[test]
fn a_481_to_what_has_overtaken_the_answer_ends_nothing() {
    let mut sim = Simulation::new();
    let ingress = sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    let answer = sim.sent_to(ACME).pop().unwrap(); // It gets lost.
    let up = (ingress, answer, egress);
    sim.receive(GLOBEX, &from_called("INFO", "1 INFO", &up));
    let carried = sim.one_to(ACME);
    sim.receive(ACME, &response(&carried, "481 No Dialog", "", ""));
    assert_eq!(sim.kinds_to(GLOBEX), ["481"]);
    sim.pass(Duration::from_millis(600));
    assert_eq!(sim.kinds_to(ACME), ["200"]);
    assert_eq!(sim.worker.calls.len(), 1);
}

#[test]
fn byes_that_cross_each_other_and_a_re_invite_are_all_answered() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.receive(ACME, &from_caller("INVITE", "2 INVITE", &up));
    sim.sent_to(ACME);
    sim.receive(GLOBEX, &from_called("BYE", "1 BYE", &up));
    assert_eq!(sim.kinds_to(ACME), ["487", "BYE"]);
    assert!(sim.kinds_to(GLOBEX).contains(&"200".to_owned()));
    sim.receive(ACME, &from_caller("BYE", "3 BYE", &up));
    assert_eq!(sim.kinds_to(ACME), ["481"]);
    assert_eq!(sim.one_cdr().outcome, Some(Outcome::Answered));
    sim.expect_nothing_left();
}

#[test]
fn a_bye_that_comes_before_the_ack_waits_until_the_caller_has_the_answer() {
    let mut sim = Simulation::new();
    let ingress = sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    let answer = sim.sent_to(ACME).pop().unwrap();
    sim.pass(Duration::from_millis(100));
    let up = (ingress, answer, egress);
    sim.receive(GLOBEX, &from_called("BYE", "1 BYE", &up));
    assert_eq!(sim.kinds_to(GLOBEX), ["200", "ACK"]);
    sim.pass(Duration::from_millis(600));
    assert_eq!(sim.kinds_to(ACME), ["200"]);
    sim.receive(ACME, &ack(&up.0, &up.1, ""));
    assert_eq!(sim.kinds_to(ACME), ["BYE"]);
    let cdr = sim.one_cdr();
    assert_eq!((cdr.duration_ms, cdr.ended_by), (Some(100), Some(tandem_model::EndedBy::Terminating)));
    sim.expect_nothing_left();
}

#[test]
fn only_calls_are_served_and_requests_about_others_are_refused_by_table() {
    let refused = ["REGISTER", "MESSAGE", "SUBSCRIBE", "NOTIFY", "REFER", "PUBLISH"];
    for method in refused {
        let mut sim = Simulation::new();
        sim.receive(ACME, &invite(1, "+442079460000").replace("INVITE", method));
        let refusal = sim.one_to(ACME);
        assert!(kind(&refusal) == "405" && field(&refusal, "Allow").contains("PRACK"), "{refusal}");
        let up = sim.call_up_again();
        sim.receive(ACME, &from_caller(method, &format!("2 {method}"), &up));
        assert_eq!(sim.kinds_to(ACME), ["405"], "{method} in a call");
        assert!(sim.sent.is_empty(), "{method} goes nowhere");
    }
}

#[test]
fn options_in_a_call_are_answered_by_the_hub() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.receive(GLOBEX, &from_called("OPTIONS", "1 OPTIONS", &up));
    assert_eq!(sim.kinds_to(GLOBEX), ["200"]);
    assert!(sim.sent.is_empty());
}

impl Simulation {
    fn call_up_again(&mut self) -> (String, String, String) {
        self.sent.clear();
        self.call_up()
    }
}

#[test]
fn a_request_that_outgrows_the_other_leg_is_refused_and_the_call_goes_on() {
    let mut sim = Simulation::new();
    let ingress = sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    let routes: String =
        (0..120).map(|n| format!("Record-Route: <sip:p{n}-{}.example;lr>\r\n", "x".repeat(60))).collect();
    let answer = response(&egress, "200 OK", "g", SDP).replace("Contact:", &format!("{routes}Contact:"));
    sim.receive(GLOBEX, &answer);
    let answer = sim.sent_to(ACME).pop().unwrap();
    sim.receive(ACME, &ack(&ingress, &answer, ""));
    sim.sent_to(GLOBEX);
    let up = (ingress, answer, egress);
    let notes: String = (0..70).map(|n| format!("X-Note-{n}: {}\r\n", "n".repeat(200))).collect();
    let large = from_caller("INFO", "2 INFO", &up).replace("Max-Forwards", &format!("{notes}Max-Forwards"));
    sim.receive(ACME, &large);
    assert_eq!((sim.kinds_to(ACME), sim.kinds_to(GLOBEX)), (vec!["513".to_owned()], vec![]));
    sim.receive(ACME, &from_caller("INFO", "3 INFO", &up));
    assert_eq!(sim.kinds_to(GLOBEX), ["INFO"]);
}

#[test]
fn the_cancel_and_the_ack_of_a_re_invite_go_by_its_routes() {
    let mut sim = Simulation::new();
    let ingress = sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    let routed = "Record-Route: <sip:edge.globex.example;lr>\r\nRecord-Route: <sip:core.globex.example;lr>\r\nContact:";
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP).replace("Contact:", routed));
    let answer = sim.sent_to(ACME).pop().unwrap();
    sim.receive(ACME, &ack(&ingress, &answer, ""));
    sim.sent_to(GLOBEX);
    let up = (ingress, answer, egress);
    let routes = |message: &str| -> Vec<String> {
        message.lines().filter(|line| line.starts_with("Route: ")).map(str::to_owned).collect()
    };
    let reinvite = from_caller("INVITE", "2 INVITE", &up);
    sim.receive(ACME, &reinvite);
    let carried = sim.one_to(GLOBEX);
    assert_eq!(
        routes(&carried),
        ["Route: <sip:core.globex.example;lr>", "Route: <sip:edge.globex.example;lr>"]
    );
    sim.receive(GLOBEX, &response(&carried, "100 Trying", "g", ""));
    sim.receive(ACME, &reinvite.replace("INVITE sip", "CANCEL sip").replace("2 INVITE", "2 CANCEL"));
    let cancel = sim.one_to(GLOBEX);
    assert_eq!((kind(&cancel), routes(&cancel)), ("CANCEL".to_owned(), routes(&carried)));
    sim.receive(GLOBEX, &response(&carried, "487 Terminated", "g", ""));
    let ack = sim.one_to(GLOBEX);
    assert_eq!((kind(&ack), routes(&ack)), ("ACK".to_owned(), routes(&carried)));
}

#[test]
fn a_re_invite_moves_the_targets_as_soon_as_it_is_answered_reliably() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    let moved = from_caller("INVITE", "2 INVITE", &up)
        .replace("sip:x@192.0.2.1:5060", "sip:x@192.0.2.1:5099")
        .replace("Max-Forwards", "Supported: 100rel\r\nMax-Forwards");
    sim.receive(ACME, &moved);
    let carried = sim.one_to(GLOBEX);
    // Where it is not sure to arrive nothing moves (§4.7).
    sim.receive(GLOBEX, &response(&carried, "180 Ringing", "g", "").replace("bob@", "bob2@"));
    sim.receive(GLOBEX, &from_called("INFO", "1 INFO", &up));
    let info = sim.sent_to(ACME).pop().unwrap();
    assert!(info.starts_with("INFO sip:ann@192.0.2.1:5060 "), "{info}");
    let progress = response(&carried, "183 Progress", "g", SDP)
        .replace("bob@", "bob3@")
        .replace("Server: ", "Require: 100rel\r\nRSeq: 9\r\nServer: ");
    sim.receive(GLOBEX, &progress);
    let sent = sim.sent_to(ACME).pop().unwrap();
    assert_eq!(kind(&sent), "183");
    sim.receive(GLOBEX, &from_called("INFO", "2 INFO", &up));
    let info = sim.one_to("192.0.2.1:5099");
    assert!(info.starts_with("INFO sip:x@192.0.2.1:5099 "), "{info}");
    sim.sent_to(GLOBEX);
    sim.receive(ACME, &from_caller("INFO", "3 INFO", &up));
    let info = sim.one_to(GLOBEX);
    assert!(info.starts_with("INFO sip:bob3@"), "{info}");
}

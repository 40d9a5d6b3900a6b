//! The hub dies at an awkward moment and is started again.

use tandem_model::EndedBy;

use super::*;

/// An answer that the hub got while the caller waits for it; gives acme's INVITE and the INVITE that globex got.
fn answered(sim: &mut Simulation) -> (String, String) {
    let ingress = sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
    sim.sent_to(ACME);
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    (ingress, egress)
}

/// The call works: each side can ask the other something and hang up, and nothing of it is left.
fn expect_a_working_call(mut sim: Simulation, up: &(String, String, String), hangs_up: &str) {
    sim.receive(ACME, &from_caller("INFO", "20 INFO", up));
    let info = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&info, "200 OK", "g", ""));
    assert_eq!(sim.kinds_to(ACME), ["200"]);
    let reinvite = from_called("INVITE", "20 INVITE", up);
    sim.receive(GLOBEX, &reinvite);
    let carried = sim.one_to(ACME);
    sim.receive(ACME, &response(&carried, "200 OK", "", SDP));
    assert_eq!(sim.kinds_to(GLOBEX), ["100", "200"]);
    sim.receive(GLOBEX, &reinvite.replace("INVITE", "ACK").replace("z9hG4bK", "z9hG4bKack"));
    assert_eq!(sim.kinds_to(ACME), ["ACK"]);
    let (bye, other) = match hangs_up {
        ACME => (from_caller("BYE", "21 BYE", up), GLOBEX),
        _ => (from_called("BYE", "21 BYE", up), ACME),
    };
    sim.receive(hangs_up, &bye);
    assert_eq!(sim.kinds_to(hangs_up), ["200"]);
    assert_eq!(sim.kinds_to(other), ["BYE"]);
    let cdr = sim.one_cdr();
    assert_eq!((cdr.outcome, cdr.reason), (Some(Outcome::Answered), None));
    sim.expect_nothing_left();
}

#[test]
fn an_answer_that_was_written_and_not_sent_is_sent_after_the_restart() {
    let mut sim = Simulation::new();
    let (ingress, egress) = answered(&mut sim);
    sim.sent.clear(); // It never left.
    sim.pass(Duration::from_millis(10));
    sim.restart();
    sim.pass(Duration::from_millis(1));
    let answer = sim.one_to(ACME);
    assert!(kind(&answer) == "200" && answer.ends_with(SDP), "{answer}");
    sim.receive(ACME, &ack(&ingress, &answer, ""));
    let acknowledged = sim.one_to(GLOBEX);
    assert_eq!((kind(&acknowledged), field(&acknowledged, "CSeq")), ("ACK".to_owned(), "1 ACK"));
    sim.pass(Duration::from_secs(40));
    assert!(sim.sent.is_empty(), "{:#?}", sim.sent);
    expect_a_working_call(sim, &(ingress, answer, egress), ACME);
}

#[test]
fn an_answer_that_was_sent_before_the_crash_can_be_acknowledged_after_it() {
    let mut sim = Simulation::new();
    let (ingress, egress) = answered(&mut sim);
    let answer = sim.one_to(ACME);
    sim.restart();
    sim.receive(
        ACME,
        &ack(&ingress, &answer, SDP).replace("Content-L", "Content-Type: application/sdp\r\nContent-L"),
    );
    let acknowledged = sim.one_to(GLOBEX);
    assert!(kind(&acknowledged) == "ACK" && acknowledged.ends_with(SDP), "{acknowledged}");
    sim.pass(Duration::from_secs(40));
    assert!(sim.sent.is_empty(), "{:#?}", sim.sent);
    expect_a_working_call(sim, &(ingress, answer, egress), GLOBEX);
}

#[test]
fn an_answer_is_sent_again_after_a_crash_as_often_as_without_one_and_then_the_call_ends() {
    let mut sim = Simulation::new();
    answered(&mut sim);
    assert_eq!(sim.kinds_to(ACME), ["200"]);
    sim.pass(Duration::from_secs(2));
    assert_eq!(sim.kinds_to(ACME), ["200", "200"]);
    sim.restart();
    // At 0, 0.5, 1.5, 3.5, 7.5, 11.5 … 27.5 s after the restart; the 64·T1 are those of the first one.
    sim.pass(Duration::from_millis(29_900));
    assert_eq!(sim.kinds_to(ACME), vec!["200"; 10]);
    sim.pass(Duration::from_millis(200));
    assert_eq!(sim.kinds_to(ACME), ["BYE"]);
    assert_eq!(sim.kinds_to(GLOBEX)[..2], ["ACK", "BYE"]);
    let cdr = sim.one_cdr();
    assert_eq!((cdr.outcome, cdr.reason.as_deref()), (Some(Outcome::Answered), Some("no_ack")));
    sim.expect_nothing_left();
}

#[test]
fn an_answer_that_waited_too_long_while_the_hub_was_away_is_sent_once_more_before_the_call_ends() {
    let mut sim = Simulation::new();
    answered(&mut sim);
    sim.sent.clear();
    sim.set_instant(sim.now.instant + Duration::from_secs(600));
    sim.restart();
    sim.pass(Duration::from_secs(3));
    assert_eq!(sim.kinds_to(ACME), ["200", "200", "200"]);
    sim.pass(Duration::from_secs(2));
    assert_eq!(sim.kinds_to(ACME)[..2], ["200", "BYE"]);
    sim.expect_nothing_left();
}

#[test]
fn the_called_sides_answer_that_comes_again_after_a_crash_is_absorbed_until_the_ack_and_then_acknowledged() {
    let mut sim = Simulation::new();
    let (ingress, egress) = answered(&mut sim);
    let answer = sim.one_to(ACME);
    sim.restart();
    let again = response(&egress, "200 OK", "g", SDP);
    sim.receive(GLOBEX, &again);
    sim.receive(GLOBEX, &again);
    assert!(sim.sent.is_empty(), "{:#?}", sim.sent);
    sim.receive(ACME, &ack(&ingress, &answer, ""));
    let acknowledged = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &again);
    assert_eq!(sim.one_to(GLOBEX), acknowledged);
    // The journal knows that it is acknowledged, and the ACK may have been lost.
    sim.pass(Duration::from_millis(100));
    sim.restart();
    sim.receive(GLOBEX, &again);
    let once_more = sim.one_to(GLOBEX);
    assert_eq!((kind(&once_more), field(&once_more, "CSeq")), ("ACK".to_owned(), "1 ACK"));
    sim.receive(GLOBEX_2, &again);
    assert!(sim.sent.is_empty(), "an answer from elsewhere goes nowhere");
    sim.receive(GLOBEX, &again.replace("tag=g", "tag=other"));
    assert!(sim.sent.is_empty(), "an answer of another dialog goes nowhere");
    expect_a_working_call(sim, &(ingress, answer, egress), ACME);
}

#[test]
fn an_ack_that_is_lost_at_the_crash_is_asked_for_again() {
    let mut sim = Simulation::new();
    let (ingress, egress) = answered(&mut sim);
    let answer = sim.one_to(ACME);
    sim.restart(); // The ACK came to a hub that was not there.
    sim.pass(Duration::from_millis(1));
    assert_eq!(sim.one_to(ACME), answer);
    sim.receive(ACME, &ack(&ingress, &answer, ""));
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
    sim.pass(Duration::from_millis(100));
    sim.restart();
    sim.pass(Duration::from_secs(40));
    assert!(sim.sent.is_empty(), "{:#?}", sim.sent);
    expect_a_working_call(sim, &(ingress, answer, egress), GLOBEX);
}

#[test]
fn an_invite_that_comes_again_after_the_crash_is_the_call_that_was_answered() {
    let mut sim = Simulation::new();
    let (ingress, _) = answered(&mut sim);
    sim.sent.clear();
    sim.restart();
    sim.receive(ACME, &ingress);
    assert!(sim.sent.is_empty(), "no second call: {:#?}", sim.sent);
    sim.pass(Duration::from_millis(1));
    assert_eq!(sim.kinds_to(ACME), ["200"]);
    assert_eq!(sim.worker.calls.len(), 1);
}

#[test]
fn a_call_that_was_hung_up_before_the_ack_ends_after_the_crash_as_without_one() {
    let mut sim = Simulation::new();
    let (ingress, egress) = answered(&mut sim);
    let answer = sim.one_to(ACME);
    let up = (ingress, answer, egress);
    sim.pass(Duration::from_millis(100));
    sim.receive(GLOBEX, &from_called("BYE", "1 BYE", &up));
    assert_eq!(sim.kinds_to(GLOBEX), ["200", "ACK"]);
    sim.pass(Duration::from_millis(100));
    sim.restart();
    sim.pass(Duration::from_millis(100));
    assert_eq!(sim.kinds_to(ACME), ["200"]);
    sim.receive(ACME, &ack(&up.0, &up.1, ""));
    assert_eq!(sim.kinds_to(ACME), ["BYE"]);
    assert!(sim.sent.is_empty(), "{:#?}", sim.sent);
    let cdr = sim.one_cdr();
    assert_eq!((cdr.duration_ms, cdr.ended_by), (Some(100), Some(tandem_model::EndedBy::Terminating)));
    sim.expect_nothing_left();
}

#[test]
fn the_answer_to_a_re_invite_outlives_a_crash_too() {
    for (from, to) in [(ACME, GLOBEX), (GLOBEX, ACME)] {
        let mut sim = Simulation::new();
        let up = sim.call_up();
        sim.pass(Duration::from_millis(100));
        let reinvite = match from {
            ACME => from_caller("INVITE", "2 INVITE", &up),
            _ => from_called("INVITE", "1 INVITE", &up),
        };
        sim.receive(from, &reinvite);
        let carried = sim.one_to(to);
        sim.receive(to, &response(&carried, "200 OK", "g", SDP));
        let answer = sim.sent_to(from).pop().unwrap();
        sim.restart();
        sim.pass(Duration::from_millis(1));
        assert_eq!(sim.one_to(from), answer);
        sim.receive(to, &response(&carried, "200 OK", "g", SDP));
        assert!(sim.sent.is_empty(), "{:#?}", sim.sent);
        sim.receive(from, &reinvite.replace("INVITE", "ACK").replace("z9hG4bK", "z9hG4bKack"));
        let ack = sim.one_to(to);
        assert_eq!(field(&ack, "CSeq"), field(&carried, "CSeq").replace("INVITE", "ACK"));
        sim.pass(Duration::from_millis(100));
        sim.restart();
        sim.pass(Duration::from_secs(40));
        assert!(sim.sent.is_empty(), "{:#?}", sim.sent);
        expect_a_working_call(sim, &up, ACME);
    }
}

#[test]
fn a_re_invite_that_was_under_way_at_the_crash_leaves_a_call_that_works() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.pass(Duration::from_millis(100));
    let reinvite = from_caller("INVITE", "2 INVITE", &up);
    sim.receive(ACME, &reinvite);
    assert_eq!(sim.kinds_to(ACME), ["100"]);
    let carried = sim.one_to(GLOBEX);
    sim.restart();
    // Nobody knows the INVITE any more whose answer this is. Without an ACK globex would hang up after 64·T1.
    sim.receive(GLOBEX, &response(&carried, "200 OK", "g", SDP));
    let ack = sim.one_to(GLOBEX);
    assert_eq!(field(&ack, "CSeq"), field(&carried, "CSeq").replace("INVITE", "ACK"));
    // acme hears no more of it, as after its 100 it sends it no more: its own limit ends it.
    assert!(sim.sent.is_empty(), "{:#?}", sim.sent);
    sim.receive(ACME, &reinvite.replace("INVITE sip", "CANCEL sip").replace("2 INVITE", "2 CANCEL"));
    assert_eq!(sim.kinds_to(ACME), ["481"]);
    assert_eq!(sim.worker.calls.len(), 1);
    expect_a_working_call(sim, &up, ACME);
}

#[test]
fn a_request_in_a_call_that_comes_again_after_the_crash_is_carried_across_and_answered() {
    for method in ["INVITE", "UPDATE", "INFO"] {
        let mut sim = Simulation::new();
        let up = sim.call_up();
        sim.pass(Duration::from_millis(100));
        let request = from_caller(method, &format!("2 {method}"), &up);
        sim.receive(ACME, &request);
        let first = sim.one_to(GLOBEX);
        sim.sent.clear(); // Neither the 100 nor anything else has reached acme.
        sim.restart();
        sim.receive(ACME, &request);
        let second = sim.one_to(GLOBEX);
        let number =
            |message: &str| field(message, "CSeq").split(' ').next().unwrap().parse::<u32>().unwrap();
        assert!(number(&second) > number(&first), "{method}");
        sim.sent.clear();
        sim.receive(GLOBEX, &response(&second, "200 OK", "g", SDP));
        assert_eq!(sim.kinds_to(ACME), ["200"], "{method}");
        if method == "INVITE" {
            sim.receive(ACME, &request.replace("INVITE", "ACK").replace("z9hG4bK", "z9hG4bKack"));
            assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
        }
        expect_a_working_call(sim, &up, GLOBEX);
    }
}

#[test]
fn a_call_whose_end_was_written_and_not_told_ends_for_both_sides_after_the_restart() {
    let mut sim = Simulation::new();
    let up = sim.call_up();
    sim.pass(Duration::from_secs(1));
    let bye = from_caller("BYE", "20 BYE", &up);
    sim.receive(ACME, &bye);
    sim.sent.clear(); // Neither the answer nor the hub's own BYE left.
    sim.restart();
    let told = sim.one_to(GLOBEX);
    assert_eq!(kind(&told), "BYE");
    sim.receive(GLOBEX, &response(&told, "200 OK", "g", ""));
    assert_eq!(sim.kinds_to(ACME), ["BYE"]);
    sim.receive(ACME, &bye);
    assert_eq!(sim.kinds_to(ACME), ["200"]);
    sim.pass(Duration::from_millis(500));
    let cdr = sim.one_cdr();
    assert_eq!((cdr.ended_by, cdr.duration_ms), (Some(EndedBy::Originating), Some(1_000)));
    // After another crash it is no call any more.
    sim.restart();
    assert_eq!(sim.worker.calls.len(), 0);
    assert!(sim.sent_to(GLOBEX).is_empty());
    sim.expect_nothing_left();
}

#[test]
fn a_call_that_ended_long_before_the_crash_is_not_heard_of_again() {
    let mut sim = Simulation::new();
    let (first, second) = (sim.call_up(), sim.call_up());
    sim.receive(ACME, &from_caller("BYE", "20 BYE", &first));
    sim.pass(Duration::from_secs(10));
    sim.receive(ACME, &from_caller("BYE", "20 BYE", &second));
    sim.sent.clear();
    sim.restart();
    assert_eq!(sim.worker.calls.len(), 1);
    assert_eq!(field(&sim.one_to(ACME), "Call-ID"), field(&second.0, "Call-ID"));
}

//! Calls that are not answered yet: early dialogs, forks, reliable provisional responses, time-outs.

use super::*;

/// acme's INVITE with an option that it offers.
pub(super) fn invite_with(sim: &mut Simulation, header: &str) -> String {
    sim.calls += 1;
    let invite = invite(sim.calls, "+442079460000").replace("X-Note: kept", header);
    sim.receive(ACME, &invite);
    assert_eq!(sim.kinds_to(ACME), ["100"]);
    invite
}

/// A provisional response that asks for a PRACK.
pub(super) fn reliable(egress: &str, status: &str, tag: &str, rseq: u32, body: &str) -> String {
    response(egress, status, tag, body)
        .replace("Server: ", &format!("Require: 100rel\r\nRSeq: {rseq}\r\nServer: "))
}

/// A request of acme in the early dialog of a response that it got.
pub(super) fn from_acme(
    method: &str,
    number: u32,
    (ingress, progress): (&str, &str),
    extra: &str,
    body: &str,
) -> String {
    let cseq = format!("{number} {method}");
    in_dialog(method, &cseq, field(ingress, "From"), field(progress, "To"), progress, body)
        .replace(GLOBEX, ACME)
        .replace("Max-Forwards: 70\r\n", &format!("Max-Forwards: 70\r\n{extra}"))
}

pub(super) fn prack(number: u32, dialog: (&str, &str), rack: &str) -> String {
    from_acme("PRACK", number, dialog, &format!("RAck: {rack}\r\n"), "")
}

/// A request of globex in its early dialog with this tag.
pub(super) fn from_globex(method: &str, number: u32, egress: &str, tag: &str, body: &str) -> String {
    let from = format!("{};tag={tag}", field(egress, "To"));
    in_dialog(method, &format!("{number} {method}"), &from, field(egress, "From"), egress, body)
        .replace(ACME, GLOBEX)
        .replace("z9hG4bK", &format!("z9hG4bK{tag}"))
}

#[test]
fn a_reliable_ringing_is_numbered_anew_and_its_prack_finds_the_way_back() {
    let mut sim = Simulation::new();
    let ingress = invite_with(&mut sim, "Supported: replaces, 100rel");
    let egress = sim.one_to(GLOBEX);
    assert_eq!(field(&egress, "Supported"), "timer, 100rel");
    sim.receive(GLOBEX, &reliable(&egress, "183 Progress", "g", 77, SDP));
    let progress = sim.one_to(ACME);
    let number: u32 = field(&progress, "RSeq").parse().unwrap();
    assert_eq!(field(&progress, "Require"), "100rel");
    // It is sent again after 0.5, 1 and 2 s, and what globex sends again is not.
    sim.receive(GLOBEX, &reliable(&egress, "183 Progress", "g", 77, SDP));
    sim.pass(Duration::from_millis(3_600));
    assert_eq!(sim.sent_to(ACME), [&progress, &progress, &progress].map(Clone::clone));
    // One that has overtaken another is left until it comes again.
    sim.receive(GLOBEX, &reliable(&egress, "180 Ringing", "g", 79, ""));
    let dialog = (&*ingress, &*progress);
    sim.receive(ACME, &prack(2, dialog, &format!("{} 1 INVITE", number + 1)));
    assert_eq!(sim.kinds_to(ACME), ["481"]);
    assert!(sim.sent_to(GLOBEX).is_empty());
    sim.receive(ACME, &prack(3, dialog, &format!("{number} 1 INVITE")));
    let carried = sim.one_to(GLOBEX);
    assert_eq!((kind(&carried).as_str(), field(&carried, "RAck")), ("PRACK", "77 1 INVITE"));
    assert_eq!(field(&carried, "To"), format!("{};tag=g", field(&egress, "To")));
    sim.receive(GLOBEX, &response(&carried, "200 OK", "g", ""));
    assert_eq!(sim.kinds_to(ACME), ["200"]);
    sim.receive(GLOBEX, &reliable(&egress, "180 Ringing", "g", 78, ""));
    assert_eq!(field(&sim.one_to(ACME), "RSeq"), (number + 1).to_string());
}

#[test]
fn without_100rel_on_both_sides_nothing_is_numbered() {
    let mut sim = Simulation::new();
    invite_with(&mut sim, "Supported: replaces");
    let egress = sim.one_to(GLOBEX);
    assert!(!egress.contains("100rel"));
    sim.receive(GLOBEX, &reliable(&egress, "183 Progress", "g", 77, SDP));
    let progress = sim.one_to(ACME);
    assert!(!progress.contains("RSeq") && !progress.contains("Require"), "{progress}");
}

#[test]
fn a_reliable_ringing_that_is_never_acknowledged_ends_the_call_with_504() {
    let mut sim = Simulation::new();
    invite_with(&mut sim, "Require: 100rel");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &reliable(&egress, "180 Ringing", "g", 1, ""));
    sim.pass(Duration::from_millis(31_900));
    assert_eq!(sim.kinds_to(ACME), ["180"; 7]); // At 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s.
    sim.pass(Duration::from_millis(200));
    assert_eq!(sim.kinds_to(ACME), ["504"]);
    assert_eq!(sim.kinds_to(GLOBEX), ["CANCEL"]);
    assert_eq!(sim.one_cdr().reason.as_deref(), Some("no_prack"));
    sim.expect_nothing_left();
}

#[test]
fn a_prack_that_comes_after_the_refusal_is_still_answered_once() {
    let mut sim = Simulation::new();
    let ingress = invite_with(&mut sim, "Supported: 100rel");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &reliable(&egress, "183 Progress", "g", 5, SDP));
    let progress = sim.one_to(ACME);
    let number: u32 = field(&progress, "RSeq").parse().unwrap();
    sim.receive(GLOBEX, &response(&egress, "486 Busy Here", "g", ""));
    assert_eq!((sim.kinds_to(ACME), sim.kinds_to(GLOBEX)), (vec!["486".into()], vec!["ACK".into()]));
    // The wrong one, and the right one from somewhere else.
    let dialog = (&*ingress, &*progress);
    sim.receive(ACME, &prack(2, dialog, &format!("{} 1 INVITE", number + 1)));
    assert_eq!(sim.kinds_to(ACME), ["481"]);
    sim.receive(GLOBEX_2, &prack(3, dialog, &format!("{number} 1 INVITE")).replace(ACME, GLOBEX_2));
    assert_eq!(sim.kinds_to(GLOBEX_2), ["481"]);
    sim.receive(ACME, &prack(4, dialog, &format!("{number} 1 INVITE")));
    assert_eq!(sim.kinds_to(ACME), ["200"]);
    sim.receive(ACME, &prack(5, dialog, &format!("{number} 1 INVITE")));
    assert_eq!(sim.kinds_to(ACME), ["481"]);
    assert!(sim.sent_to(GLOBEX).is_empty(), "nobody is left there to tell");
    sim.expect_nothing_left();
}

#[test]
fn a_prack_to_a_candidate_that_was_left_is_answered_while_the_next_one_rings() {
    let mut sim = Simulation::new();
    let ingress = invite_with(&mut sim, "Supported: 100rel");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &reliable(&egress, "183 Progress", "g", 5, SDP));
    let progress = sim.one_to(ACME);
    sim.receive(GLOBEX, &response(&egress, "503 Full", "g", ""));
    assert_eq!(sim.kinds_to(GLOBEX_2), ["INVITE"]);
    let rack = format!("{} 1 INVITE", field(&progress, "RSeq"));
    sim.receive(ACME, &prack(2, (&ingress, &progress), &rack));
    assert_eq!(sim.kinds_to(ACME), ["200"]);
    // It is not waited for longer than it can be sent again.
    let mut sim = Simulation::new();
    invite_with(&mut sim, "Supported: 100rel");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &reliable(&egress, "183 Progress", "g", 5, SDP));
    sim.receive(GLOBEX, &response(&egress, "603 Decline", "g", ""));
    assert_eq!(sim.worker.late_pracks.len(), 1);
    sim.pass(Duration::from_millis(32_100));
    assert!(sim.worker.late_pracks.is_empty());
}

#[test]
fn an_answer_waits_for_the_prack_of_what_it_would_overtake() {
    let mut sim = Simulation::new();
    let ingress = invite_with(&mut sim, "Supported: 100rel");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &reliable(&egress, "183 Progress", "g", 5, SDP));
    let progress = sim.one_to(ACME);
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", ""));
    assert!(sim.sent.is_empty());
    let rack = format!("{} 1 INVITE", field(&progress, "RSeq"));
    sim.receive(ACME, &prack(2, (&ingress, &progress), &rack));
    assert_eq!(sim.kinds_to(GLOBEX), ["PRACK"]);
    let answer = sim.one_to(ACME);
    assert_eq!((kind(&answer).as_str(), field(&answer, "To")), ("200", field(&progress, "To")));
}

#[test]
fn each_fork_has_a_dialog_of_its_own_and_the_first_answer_wins() {
    let mut sim = Simulation::new();
    let ingress = invite_with(&mut sim, "Supported: 100rel");
    let egress = sim.one_to(GLOBEX);
    let mut progress = Vec::new();
    for (tag, rseq) in [("one", 10), ("two", 20)] {
        sim.receive(GLOBEX, &reliable(&egress, "183 Progress", tag, rseq, SDP));
        progress.push(sim.one_to(ACME));
    }
    assert_ne!(field(&progress[0], "To"), field(&progress[1], "To"));
    for (fork, tag, rseq) in [(1, "two", 20), (0, "one", 10)] {
        let rack = format!("{} 1 INVITE", field(&progress[fork], "RSeq"));
        sim.receive(
            ACME,
            &prack(2, (&ingress, &progress[fork]), &rack).replace("z9hG4bK", &format!("z9hG4bK{tag}")),
        );
        let carried = sim.one_to(GLOBEX);
        assert_eq!(field(&carried, "RAck"), format!("{rseq} 1 INVITE"));
        assert!(field(&carried, "To").ends_with(&format!(";tag={tag}")), "{carried}");
        sim.receive(GLOBEX, &response(&carried, "200 OK", tag, ""));
        assert_eq!(sim.kinds_to(ACME), ["200"]);
    }
    let update = from_acme("UPDATE", 3, (&ingress, &progress[1]), "", SDP);
    sim.receive(ACME, &update);
    let carried = sim.one_to(GLOBEX);
    assert!(field(&carried, "To").ends_with(";tag=two") && carried.ends_with(SDP));
    sim.receive(GLOBEX, &response(&carried, "200 OK", "two", SDP));
    assert_eq!(sim.kinds_to(ACME), ["200"]);

    sim.receive(GLOBEX, &response(&egress, "200 OK", "two", ""));
    let answer = sim.one_to(ACME);
    assert_eq!(field(&answer, "To"), field(&progress[1], "To"));
    sim.receive(ACME, &ack(&ingress, &answer, ""));
    assert!(field(&sim.one_to(GLOBEX), "To").ends_with(";tag=two"));
    // What the other fork still says.
    sim.receive(GLOBEX, &response(&egress, "180 Ringing", "one", ""));
    assert!(sim.sent.is_empty());
    sim.receive(GLOBEX, &response(&egress, "200 OK", "one", SDP));
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK", "BYE"]);
    sim.receive(ACME, &from_acme("INFO", 9, (&ingress, &progress[0]), "", ""));
    assert_eq!(sim.kinds_to(ACME), ["481"]);
    assert_eq!(sim.worker.tags.len(), 2);
}

#[test]
fn updates_cross_an_early_dialog_either_way_and_glare_is_answered() {
    let mut sim = Simulation::new();
    let ingress = invite_with(&mut sim, "Supported: 100rel");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
    let progress = sim.one_to(ACME);
    sim.receive(GLOBEX, &from_globex("UPDATE", 1, &egress, "g", SDP));
    let carried = sim.one_to(ACME);
    assert_eq!((kind(&carried).as_str(), field(&carried, "To")), ("UPDATE", field(&ingress, "From")));
    // A second one before the answer to the first, and one that crosses it.
    sim.receive(GLOBEX, &from_globex("UPDATE", 2, &egress, "g", SDP));
    let refusal = sim.one_to(GLOBEX);
    assert!(kind(&refusal) == "500" && refusal.contains("\r\nRetry-After: "), "{refusal}");
    sim.receive(ACME, &from_acme("UPDATE", 2, (&ingress, &progress), "", SDP));
    assert_eq!(sim.kinds_to(ACME), ["491"]);
    sim.receive(ACME, &response(&carried, "200 OK", "", SDP));
    assert_eq!(sim.kinds_to(GLOBEX), ["200"]);
}

#[test]
fn a_bye_of_the_caller_before_the_answer_ends_one_fork_and_with_the_last_the_call() {
    let mut sim = Simulation::new();
    let ingress = invite_with(&mut sim, "X-Note: kept");
    let egress = sim.one_to(GLOBEX);
    let progress = ["one", "two"].map(|tag| {
        sim.receive(GLOBEX, &response(&egress, "180 Ringing", tag, ""));
        sim.one_to(ACME)
    });
    sim.receive(ACME, &from_acme("BYE", 2, (&ingress, &progress[0]), "", ""));
    assert_eq!(sim.kinds_to(ACME), ["200"]);
    assert!(field(&sim.one_to(GLOBEX), "To").ends_with(";tag=one"));
    sim.receive(ACME, &from_acme("BYE", 3, (&ingress, &progress[1]), "", ""));
    assert_eq!(sim.kinds_to(ACME), ["200", "487"]);
    assert_eq!(sim.kinds_to(GLOBEX), ["CANCEL"]);
    sim.receive(GLOBEX, &response(&egress, "487 Terminated", "two", ""));
    assert_eq!(sim.one_cdr().outcome, Some(Outcome::Cancelled));
    sim.expect_nothing_left();
}

#[test]
fn the_next_candidate_rings_in_a_dialog_of_its_own() {
    let mut sim = Simulation::new();
    let ingress = invite_with(&mut sim, "X-Note: kept");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "183 Progress", "g", SDP));
    let first = sim.one_to(ACME);
    sim.receive(ACME, &from_acme("INFO", 2, (&ingress, &first), "", ""));
    sim.sent_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "503 Full", "g", ""));
    // The INFO is not left without an answer.
    assert_eq!(sim.kinds_to(ACME), ["481"]);
    let egress = sim.one_to(GLOBEX_2);
    sim.receive(GLOBEX_2, &response(&egress, "180 Ringing", "g", ""));
    let second = sim.one_to(ACME);
    assert_ne!(field(&first, "To"), field(&second, "To"));
    sim.receive(ACME, &from_acme("INFO", 3, (&ingress, &first), "", ""));
    assert_eq!(sim.kinds_to(ACME), ["481"]);
    // The call is cancelled while it is with its second candidate.
    let cancel = follow_up(&ingress, "CANCEL").replace("X-Note: kept\r\n", "");
    sim.receive(ACME, &cancel);
    assert_eq!(sim.kinds_to(ACME), ["200", "487"]);
    assert_eq!(sim.kinds_to(GLOBEX_2), ["CANCEL"]);
    assert_eq!(sim.one_cdr().attempts.len(), 2);
    sim.expect_nothing_left();
}

#[test]
fn a_cancel_before_any_response_waits_for_one() {
    let mut sim = Simulation::new();
    let ingress = invite_with(&mut sim, "X-Note: kept");
    let egress = sim.one_to(GLOBEX);
    sim.receive(ACME, &follow_up(&ingress, "CANCEL"));
    assert_eq!(sim.kinds_to(ACME), ["200", "487"]);
    assert!(sim.sent_to(GLOBEX).is_empty());
    sim.receive(GLOBEX, &response(&egress, "100 Trying", "g", ""));
    assert_eq!(sim.kinds_to(GLOBEX), ["CANCEL"]);
    sim.receive(GLOBEX, &response(&egress, "486 Busy", "g", "")); // It crosses the CANCEL.
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
    sim.expect_nothing_left();
}

#[test]
fn challenges_and_redirections_of_an_egress_move_the_call_on() {
    for status in ["302 Moved", "401 Unauthorized", "407 Proxy", "408 Late"] {
        let mut sim = Simulation::new();
        invite_with(&mut sim, "X-Note: kept");
        let egress = sim.one_to(GLOBEX);
        sim.receive(GLOBEX, &response(&egress, status, "g", ""));
        let egress = sim.one_to(GLOBEX_2);
        sim.receive(GLOBEX_2, &response(&egress, status, "g", ""));
        let last = if status.starts_with("408") { "408" } else { "502" };
        assert_eq!(sim.kinds_to(ACME), [last], "{status}");
    }
}

#[test]
fn ringing_goes_on_as_long_as_something_comes_and_never_beyond_the_budget() {
    let mut sim = Simulation::new();
    invite_with(&mut sim, "X-Note: kept");
    let egress = sim.one_to(GLOBEX);
    // ring_timeout is 60 s and setup_timeout 150 s.
    for _ in 0..3 {
        sim.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
        assert_eq!(sim.kinds_to(ACME), ["180"]);
        sim.pass(Duration::from_millis(49_900));
    }
    assert!(sim.sent.is_empty());
    sim.pass(Duration::from_millis(400));
    assert_eq!(sim.kinds_to(ACME), ["408"]);
    assert_eq!(sim.kinds_to(GLOBEX), ["CANCEL"]);
    assert_eq!(sim.one_cdr().outcome, Some(Outcome::NoAnswer));
    sim.expect_nothing_left();
}

#[test]
fn the_number_of_a_reliable_response_begins_where_it_cannot_wrap() {
    let mut sim = Simulation::new();
    for _ in 0..64 {
        let ingress = invite_with(&mut sim, "Supported: 100rel");
        let egress = sim.one_to(GLOBEX);
        sim.receive(GLOBEX, &reliable(&egress, "183 Progress", "g", u32::MAX - 1, SDP));
        let progress = sim.one_to(ACME);
        let number: u32 = field(&progress, "RSeq").parse().unwrap();
        assert!((1..1 << 31).contains(&number), "{number}");
        let rack = format!("{number} 1 INVITE");
        sim.receive(ACME, &prack(2, (&ingress, &progress), &rack));
        let carried = sim.sent_to(GLOBEX).pop().unwrap();
        sim.receive(GLOBEX, &response(&carried, "200 OK", "g", ""));
        // What the far side sends at the end of its own numbers does not wrap here, and what wraps there is not taken.
        sim.receive(GLOBEX, &reliable(&egress, "180 Ringing", "g", u32::MAX, ""));
        let ringing = sim.sent_to(ACME).pop().unwrap();
        assert_eq!(field(&ringing, "RSeq"), (number + 1).to_string());
        sim.receive(ACME, &prack(3, (&ingress, &progress), &format!("{} 1 INVITE", number + 1)));
        let carried = sim.one_to(GLOBEX);
        sim.receive(GLOBEX, &response(&carried, "200 OK", "g", ""));
        sim.sent.clear();
        sim.receive(GLOBEX, &reliable(&egress, "180 Ringing", "g", 0, ""));
        sim.receive(GLOBEX, &response(&egress, "486 Busy", "g", ""));
        assert_eq!(sim.kinds_to(ACME), ["486"]);
        sim.sent.clear();
    }
}

#[test]
fn the_caller_hears_each_minute_that_it_still_rings() {
    let mut facts = facts();
    for endpoint in &mut facts.endpoints {
        endpoint.policy =
            session_policy(SessionPolicy { ring_timeout_s: Some(140), ..SessionPolicy::default() });
    }
    let mut sim = Simulation::new();
    sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    invite_with(&mut sim, "X-Note: kept");
    let egress = sim.one_to(GLOBEX);
    sim.pass(Duration::from_secs(2));
    sim.sent_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "183 Progress", "g", SDP));
    let progress = sim.one_to(ACME);
    for _ in 0..2 {
        sim.pass(Duration::from_millis(59_700));
        assert!(sim.sent.is_empty());
        sim.pass(Duration::from_millis(300));
        assert_eq!(sim.one_to(ACME), progress);
    }
    sim.pass(Duration::from_millis(18_100));
    assert_eq!(sim.kinds_to(ACME), ["408"]);
    sim.expect_nothing_left();
}

#[test]
fn no_bye_reaches_a_caller_whose_call_was_never_answered() {
    type End = fn(&mut Simulation, &str);
    let ends: [(End, &str); 4] = [
        (|sim, egress| sim.receive(GLOBEX, &from_globex("BYE", 1, egress, "g", "")), "INVITE"),
        (|sim, egress| sim.receive(GLOBEX, &response(egress, "486 Busy", "g", "")), "486"),
        (|sim, _| sim.pass(Duration::from_secs(61)), "408"),
        (|sim, _| sim.worker.hang_up_all(sim.now), "503"),
    ];
    for (end, last) in ends {
        let mut sim = Simulation::new();
        invite_with(&mut sim, "X-Note: kept");
        let egress = sim.one_to(GLOBEX);
        for tag in ["g", "h"] {
            sim.receive(GLOBEX, &response(&egress, "180 Ringing", tag, ""));
        }
        sim.sent_to(ACME);
        end(&mut sim, &egress);
        sim.flush();
        let told = sim.kinds_to(ACME);
        let next = sim.kinds_to(GLOBEX_2);
        assert!(told.last().or(next.first()).is_none_or(|kind| kind == last), "{told:?} {next:?}");
        sim.pass(Duration::from_secs(200));
        let all = [told, sim.kinds_to(ACME)].concat();
        assert!(!all.is_empty() && all.iter().all(|kind| kind != "BYE"), "{all:?}");
    }
}

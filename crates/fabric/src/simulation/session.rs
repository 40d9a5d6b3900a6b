//! Session timers (RFC 4028): what each leg agrees on, who refreshes it, and how a call ends whose ends have vanished.

use super::*;
use tandem_model::{
    Access, Credential, CredentialId, EndedBy, Ha1, OutboundCredential, SessionPolicy, SessionTimer,
};

/// The texts of a call: acme's INVITE, the 200 that it got, the INVITE that globex got.
type Up = (String, String, String);

const MEMBERS: [&str; 2] = [ACME, GLOBEX];

/// A call that is up, with header lines of acme's in its INVITE and of globex's in its 200.
fn call_up_with(sim: &mut Simulation, offer: &str, accepted: &str) -> Up {
    sim.calls += 1;
    let ingress = invite(sim.calls, "+442079460000").replace("X-Note: kept", offer);
    sim.receive(ACME, &ingress);
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &with(&response(&egress, "200 OK", "g", SDP), accepted));
    let answer = sim.sent_to(ACME).pop().unwrap();
    sim.receive(ACME, &ack(&ingress, &answer, ""));
    sim.sent_to(GLOBEX);
    (ingress, answer, egress)
}

/// A message with these header lines too.
fn with(message: &str, lines: &str) -> String {
    match lines {
        "" => message.to_owned(),
        lines => message.replacen("Content-Length:", &format!("{lines}\r\nContent-Length:"), 1),
    }
}

fn optional<'m>(message: &'m str, name: &str) -> Option<&'m str> {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

impl Simulation {
    /// The members answer every request of the hub's as `status`, for so long, second by second; gives the methods and
    /// when they came, in seconds since the beginning.
    fn answering(&mut self, status: &str, time: u64) -> Vec<(u64, &'static str, String)> {
        let mut asked = Vec::new();
        for second in 1..=time {
            self.pass(seconds(1));
            for member in MEMBERS {
                for request in self.sent_to(member) {
                    let name = if member == ACME { "acme" } else { "globex" };
                    asked.push((second, name, kind(&request)));
                    self.receive(member, &response(&request, status, "", ""));
                }
            }
        }
        asked.dedup(); // One that came between two seconds has come again.
        asked
    }
}

fn asked(second: u64, member: &'static str, method: &str) -> (u64, &'static str, String) {
    (second, member, method.to_owned())
}

#[test]
fn each_leg_has_a_session_timer_of_its_own() {
    let mut sim = Simulation::new();
    let (_, answer, egress) = call_up_with(
        &mut sim,
        "Supported: timer\r\nSession-Expires: 600\r\nMin-SE: 120",
        "Require: timer\r\nSession-Expires: 300;refresher=uas",
    );
    assert_eq!(field(&egress, "Supported"), "timer");
    assert_eq!(field(&egress, "Session-Expires"), "1800;refresher=uas");
    assert_eq!(optional(&egress, "Min-SE"), None, "it is the default");
    assert_eq!(field(&answer, "Session-Expires"), "600;refresher=uac");
    assert_eq!(field(&answer, "Require"), "timer");
}

#[test]
fn a_caller_without_session_timers_hears_nothing_of_them() {
    let mut sim = Simulation::new();
    let (_, answer, _) = call_up_with(&mut sim, "Supported: replaces", "Session-Expires: 300;refresher=uas");
    assert_eq!((optional(&answer, "Session-Expires"), optional(&answer, "Require")), (None, None));
}

#[test]
fn a_leg_that_its_member_does_not_refresh_ends_the_call_before_its_interval_does() {
    for (interval, ends_after) in [(90, 60), (120, 88), (1_800, 1_768)] {
        let mut sim = Simulation::new();
        let offer = format!("Supported: timer\r\nSession-Expires: {interval}");
        call_up_with(&mut sim, &offer, "Session-Expires: 1800;refresher=uas");
        sim.pass(seconds(ends_after) - Duration::from_millis(1));
        assert!(sim.sent.is_empty(), "{interval}");
        sim.pass(Duration::from_millis(1));
        for member in MEMBERS {
            let bye = sim.one_to(member);
            assert!(
                kind(&bye) == "BYE" && bye.contains("\r\nReason: SIP;cause=408;text=\"session_expired: "),
                "{bye}"
            );
        }
        let cdr = sim.one_cdr();
        assert_eq!((cdr.reason.as_deref(), cdr.ended_by), (Some("session_expired"), Some(EndedBy::Hub)));
        assert_eq!(cdr.duration_ms, Some(ends_after * 1_000));
        assert_eq!((cdr.originating_heard_at, cdr.terminating_heard_at), (cdr.answered_at, cdr.answered_at));
        assert_eq!((cdr.cause.sip, cdr.cause.q850), (Some(408), Some(102)));
        sim.expect_nothing_left();
    }
}

#[test]
fn what_crosses_the_hub_refreshes_both_legs() {
    for method in ["INVITE", "UPDATE"] {
        let mut sim = Simulation::new();
        let offer = "Supported: timer\r\nSession-Expires: 90";
        let up = call_up_with(&mut sim, offer, "Session-Expires: 90;refresher=uas");
        for round in 0..3 {
            sim.pass(seconds(50));
            let number = round + 2;
            let refresh = from_caller(method, &format!("{number} {method}"), &up);
            let lines = format!("{offer};refresher=uac");
            sim.receive(ACME, &with(&refresh, &lines));
            let carried = sim.one_to(GLOBEX);
            assert_eq!(field(&carried, "Session-Expires"), "90;refresher=uas", "globex refreshes, as before");
            assert_eq!(field(&carried, "Supported"), "timer");
            sim.receive(
                GLOBEX,
                &with(&response(&carried, "200 OK", "g", ""), "Session-Expires: 90;refresher=uas"),
            );
            let answer = sim.sent_to(ACME).pop().unwrap();
            assert_eq!(field(&answer, "Session-Expires"), "90;refresher=uac");
            assert_eq!(field(&answer, "Require"), "timer");
            if method == "INVITE" {
                sim.receive(
                    ACME,
                    &with(&refresh.replace("INVITE", "ACK").replace("z9hG4bK", "z9hG4bKa"), ""),
                );
                assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
            }
        }
        assert_eq!(sim.worker.calls.len(), 1, "{method}");
        sim.pass(seconds(60));
        assert_eq!(sim.one_cdr().duration_ms, Some(210_000));
    }
}

#[test]
fn a_refused_refresh_refreshes_nothing() {
    let mut sim = Simulation::new();
    let up = call_up_with(
        &mut sim,
        "Supported: timer\r\nSession-Expires: 90",
        "Session-Expires: 1800;refresher=uas",
    );
    sim.pass(seconds(50));
    sim.receive(ACME, &from_caller("UPDATE", "2 UPDATE", &up));
    let carried = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&carried, "488 No", "g", ""));
    assert_eq!(optional(&sim.one_to(ACME), "Session-Expires"), None);
    sim.pass(seconds(10));
    assert_eq!(sim.one_cdr().duration_ms, Some(60_000));
}

#[test]
fn members_without_session_timers_are_asked_half_way_through_the_interval() {
    let mut sim = Simulation::new();
    call_up_with(&mut sim, "X-Note: kept", "Allow: INVITE, ACK, BYE, UPDATE");
    let asked_so = sim.answering("200 OK", 2_000);
    let expected = [
        asked(900, "acme", "OPTIONS"),
        asked(900, "globex", "UPDATE"),
        asked(1_800, "acme", "OPTIONS"),
        asked(1_800, "globex", "UPDATE"),
    ];
    assert_eq!(asked_so, expected);
    assert_eq!(sim.worker.calls.len(), 1);
}

#[test]
fn a_call_whose_both_ends_have_vanished_ends_with_an_honest_cdr() {
    let mut sim = Simulation::new();
    let up = call_up_with(&mut sim, "X-Note: kept", "X-Note: kept");
    sim.pass(seconds(100));
    sim.receive(ACME, &from_caller("INFO", "2 INFO", &up));
    let carried = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&carried, "200 OK", "g", ""));
    // Nobody says anything any more.
    sim.pass(seconds(833));
    let cdr = sim.one_cdr();
    assert_eq!((cdr.reason.as_deref(), cdr.ended_by), (Some("session_expired"), Some(EndedBy::Hub)));
    assert_eq!((cdr.outcome, cdr.duration_ms), (Some(Outcome::Answered), Some(932_000)));
    let heard_at = cdr.answered_at.map(|at| at + seconds(100));
    assert_eq!((cdr.originating_heard_at, cdr.terminating_heard_at), (heard_at, heard_at));
    sim.expect_nothing_left();
}

#[test]
fn a_member_that_does_not_know_the_call_any_more_ends_it() {
    for (status, reason) in [("481 No Dialog", "no_dialog"), ("408 Timeout", "session_expired")] {
        let mut sim = Simulation::new();
        call_up_with(&mut sim, "Allow: UPDATE", "X-Note: kept");
        sim.pass(seconds(900));
        let refresh = sim.sent_to(ACME).pop().unwrap();
        assert_eq!(kind(&refresh), "UPDATE");
        sim.receive(ACME, &response(&refresh, status, "", ""));
        assert_eq!(
            (sim.kinds_to(ACME), sim.kinds_to(GLOBEX)),
            (vec!["BYE".into()], vec!["OPTIONS".into(), "BYE".into()])
        );
        assert_eq!(sim.one_cdr().reason.as_deref(), Some(reason));
        sim.expect_nothing_left();
    }
}

#[test]
fn the_hub_refreshes_a_leg_that_asks_for_it() {
    let mut sim = Simulation::new();
    let (_, answer, _) = call_up_with(
        &mut sim,
        "Supported: timer\r\nAllow: INVITE, UPDATE\r\nSession-Expires: 90;refresher=uas",
        "Session-Expires: 1800;refresher=uas",
    );
    assert_eq!(field(&answer, "Session-Expires"), "90;refresher=uas");
    assert_eq!(optional(&answer, "Require"), None);
    sim.pass(seconds(45));
    let refresh = sim.one_to(ACME);
    assert!(kind(&refresh) == "UPDATE" && refresh.ends_with("\r\n\r\n"), "{refresh}");
    assert_eq!(field(&refresh, "Session-Expires"), "90;refresher=uac");
    assert_eq!(
        (field(&refresh, "Supported"), field(&refresh, "Contact")),
        ("timer", "<sip:192.0.2.100:5060>")
    );
    sim.receive(ACME, &with(&response(&refresh, "200 OK", "", ""), "Session-Expires: 90;refresher=uac"));
    sim.pass(seconds(44));
    assert!(sim.sent.is_empty());
    sim.pass(seconds(1));
    // It is busy: soon again.
    let refresh = sim.one_to(ACME);
    sim.receive(ACME, &response(&refresh, "491 Pending", "", ""));
    sim.pass(seconds(5));
    let refresh = sim.one_to(ACME);
    // It does not take UPDATE after all.
    sim.receive(ACME, &response(&refresh, "405 Not Allowed", "", ""));
    assert_eq!(sim.answering("200 OK", 90), [asked(45, "acme", "OPTIONS"), asked(90, "acme", "OPTIONS")]);
}

#[test]
fn the_hub_does_not_promise_refreshes_that_it_cannot_send() {
    let mut sim = Simulation::new();
    let offer = "Supported: timer\r\nAllow: INVITE, ACK, BYE\r\nSession-Expires: 90;refresher=uas";
    let (_, answer, _) = call_up_with(&mut sim, offer, "Session-Expires: 1800;refresher=uas");
    assert_eq!(optional(&answer, "Session-Expires"), None);
    assert_eq!(sim.answering("200 OK", 901), [asked(900, "acme", "OPTIONS")]);
}

#[test]
fn a_refresh_waits_for_the_re_invite_that_is_under_way() {
    let mut sim = Simulation::new();
    let offer = "Supported: timer\r\nAllow: INVITE, UPDATE\r\nSession-Expires: 90;refresher=uas";
    let up = call_up_with(&mut sim, offer, "Session-Expires: 1800;refresher=uas");
    sim.pass(seconds(44));
    let reinvite = from_called("INVITE", "1 INVITE", &up);
    sim.receive(GLOBEX, &reinvite);
    let carried = sim.one_to(ACME);
    assert_eq!(field(&carried, "Session-Expires"), "90;refresher=uac", "the hub refreshes, as before");
    sim.receive(ACME, &response(&carried, "180 Ringing", "", ""));
    sim.pass(seconds(4));
    assert!(sim.sent_to(ACME).is_empty());
    sim.receive(ACME, &with(&response(&carried, "200 OK", "", ""), "Session-Expires: 90;refresher=uac"));
    sim.receive(GLOBEX, &reinvite.replace("INVITE", "ACK").replace("z9hG4bK", "z9hG4bKa"));
    assert_eq!(sim.kinds_to(ACME), ["ACK"]);
    sim.pass(seconds(44));
    assert!(sim.sent_to(ACME).is_empty(), "the re-INVITE has refreshed it");
    sim.pass(seconds(1));
    assert_eq!(sim.kinds_to(ACME), ["UPDATE"]);
}

#[test]
fn a_caller_that_asks_for_too_short_an_interval_gets_422() {
    let mut sim = Simulation::new();
    sim.calls += 1;
    let brief = invite(1, "+442079460000").replace("X-Note: kept", "Supported: timer\r\nSession-Expires: 60");
    sim.receive(ACME, &brief);
    let refusal = sim.sent_to(ACME).pop().unwrap();
    assert_eq!((kind(&refusal).as_str(), field(&refusal, "Min-SE")), ("422", "90"));
    assert!(refusal.contains("session_too_brief") && sim.sent_to(GLOBEX).is_empty(), "{refusal}");
    assert!(sim.worker.calls.is_empty());
    // In a call, too; that goes on.
    let up = call_up_with(
        &mut sim,
        "Supported: timer\r\nSession-Expires: 90",
        "Session-Expires: 1800;refresher=uas",
    );
    sim.receive(
        ACME,
        &with(&from_caller("UPDATE", "2 UPDATE", &up), "Supported: timer\r\nSession-Expires: 60"),
    );
    let refusal = sim.one_to(ACME);
    assert_eq!((kind(&refusal).as_str(), field(&refusal, "Min-SE")), ("422", "90"));
    assert!(sim.sent.is_empty() && sim.worker.calls.len() == 1);
}

#[test]
fn a_candidate_that_wants_longer_sessions_is_asked_again_once() {
    let mut sim = Simulation::new();
    let ingress = sim.invite("+442079460000");
    let first = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &with(&response(&first, "422 Too Small", "g", ""), "Min-SE: 3600"));
    let [ack_, second] = &sim.sent_to(GLOBEX)[..] else { panic!("an ACK and another INVITE") };
    assert_eq!((kind(ack_).as_str(), field(second, "Session-Expires")), ("ACK", "3600;refresher=uas"));
    assert_eq!(field(second, "Min-SE"), "3600");
    assert_ne!(field(&first, "Call-ID"), field(second, "Call-ID"), "each attempt is a dialog of its own");
    sim.receive(GLOBEX, &with(&response(second, "422 Too Small", "g", ""), "Min-SE: 7200"));
    assert_eq!(sim.kinds_to(GLOBEX), ["ACK"]);
    let third = sim.one_to(GLOBEX_2);
    assert_eq!(field(&third, "Session-Expires"), "3600;refresher=uas", "what is learned stays for the call");
    sim.receive(GLOBEX_2, &with(&response(&third, "422 Too Small", "g", ""), "Min-SE: 1800"));
    // It is nothing that the caller could mend.
    let refusal = sim.sent_to(ACME).pop().unwrap();
    assert_eq!((kind(&refusal).as_str(), optional(&refusal, "Min-SE")), ("502", None));
    let statuses: Vec<_> = sim.one_cdr().attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [Some(422); 3]);
    sim.receive(ACME, &follow_up(&ingress, "ACK"));
    sim.expect_nothing_left();
}

#[test]
fn a_422_in_a_call_stays_on_its_leg_and_lengthens_the_next_offer() {
    let mut sim = Simulation::new();
    let up = call_up_with(&mut sim, "Supported: timer", "Session-Expires: 300;refresher=uas");
    sim.receive(ACME, &from_caller("UPDATE", "2 UPDATE", &up));
    let carried = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &with(&response(&carried, "422 Too Small", "g", ""), "Min-SE: 400"));
    let refusal = sim.one_to(ACME);
    assert_eq!((kind(&refusal).as_str(), optional(&refusal, "Min-SE")), ("500", None));
    sim.receive(ACME, &from_caller("UPDATE", "3 UPDATE", &up));
    let carried = sim.one_to(GLOBEX);
    assert_eq!((field(&carried, "Session-Expires"), field(&carried, "Min-SE")), ("400;refresher=uas", "400"));
}

#[test]
fn the_policy_of_an_endpoint_says_whether_and_how_long() {
    let hour = SessionPolicy { session_expires_s: 3_600, min_se_s: 600, ..SessionPolicy::default() };
    let accept = SessionPolicy { timer: SessionTimer::Accept, ..hour };
    let off = SessionPolicy { timer: SessionTimer::Off, ..hour };
    let asks = "Supported: timer\r\nSession-Expires: 900;refresher=uac";
    let table = [
        (
            hour,
            "Supported: timer",
            Some("3600;refresher=uas"),
            Some("600"),
            Some("timer"),
            Some("3600;refresher=uac"),
        ),
        (hour, asks, Some("3600;refresher=uas"), Some("600"), Some("timer"), Some("900;refresher=uac")),
        (accept, "Supported: timer", None, None, Some("timer"), None),
        (accept, asks, None, None, Some("timer"), Some("900;refresher=uac")),
        (off, asks, None, None, None, None),
    ];
    for (policy, offer, to_globex, min_se, supported, to_acme) in table {
        let mut sim = Simulation::new();
        sim.set_session_policy(policy);
        let (_, answer, egress) = call_up_with(&mut sim, offer, "X-Note: kept");
        assert_eq!(optional(&egress, "Session-Expires"), to_globex, "{policy:?} {offer}");
        assert_eq!((optional(&egress, "Min-SE"), optional(&egress, "Supported")), (min_se, supported));
        assert_eq!(optional(&answer, "Session-Expires"), to_acme, "{policy:?} {offer}");
        sim.pass(seconds(860));
        assert!(sim.sent.is_empty(), "nobody is asked without need");
    }
}

#[test]
fn session_timers_go_on_after_a_crash() {
    // The member refreshes: it gets its whole time again, and no more.
    let mut sim = Simulation::new();
    let offer = "Supported: timer\r\nSession-Expires: 90";
    call_up_with(&mut sim, offer, "Session-Expires: 1800;refresher=uas");
    let answered_at = sim.now.utc;
    sim.pass(seconds(50));
    sim.restart();
    sim.pass(seconds(59));
    assert!(sim.sent.is_empty());
    sim.pass(seconds(1));
    assert_eq!((sim.kinds_to(ACME), sim.kinds_to(GLOBEX)), (vec!["BYE".to_owned()], vec!["BYE".to_owned()]));
    let cdr = sim.one_cdr();
    assert_eq!((cdr.reason.as_deref(), cdr.duration_ms), (Some("session_expired"), Some(110_000)));
    assert_eq!(cdr.originating_heard_at, Some(answered_at));
    sim.expect_nothing_left();
    // The hub refreshes: earlier than it would have, since it does not know when it did last.
    let mut sim = Simulation::new();
    let offer = "Supported: timer\r\nAllow: UPDATE\r\nSession-Expires: 90;refresher=uas";
    call_up_with(&mut sim, offer, "Session-Expires: 1800;refresher=uas");
    sim.pass(seconds(40));
    sim.restart();
    let asked_so = sim.answering("200 OK", 16);
    assert_eq!(asked_so.len(), 1, "{asked_so:?}");
    assert_eq!(asked_so[0].2, "UPDATE");
}

#[test]
fn a_call_that_has_been_up_for_too_long_is_ended() {
    let mut sim = Simulation::new();
    call_up_with(&mut sim, "X-Note: kept", "X-Note: kept");
    sim.answering("200 OK", 3_599);
    assert_eq!(sim.worker.calls.len(), 1);
    sim.pass(seconds(1));
    let cdr = sim.one_cdr();
    assert_eq!((cdr.reason, cdr.duration_ms, cdr.ended_by), (None, Some(3_600_000), Some(EndedBy::Hub)));
}

/// Every request that the hub sends under this policy, of each kind that it makes or carries.
fn requests_under(timer: SessionTimer) -> Vec<String> {
    let overrides = serde_json::json!({ "session": { "timer": timer }, "requests": { "message": "pass" } });
    let policy = Policy::new(Profile::Neutral, overrides.as_object().unwrap().clone()).unwrap();
    let mut facts = facts();
    facts.endpoints.iter_mut().for_each(|endpoint| endpoint.policy = policy.clone());
    let credential = Credential {
        credential_id: id::<CredentialId>(81),
        username: "tandem".into(),
        realm: "globex.example".into(),
        ha1: Ha1::new("tandem", "globex.example", "a password"),
    };
    let outbound = Some(OutboundCredential { credential, registers: true });
    facts.endpoints[1].access = Access { outbound, ..Access::default() };
    let table = std::sync::Arc::new(RouteTable::from_facts(facts));

    // Between calls: probes and registrations.
    let mut sim = Simulation::new();
    sim.table.store(table.clone());
    sim.worker.settings.probes = true;
    sim.worker.refresh_table();
    sim.worker.watch_table(sim.now);
    sim.watch();
    sim.pass(seconds(31));
    let mut sent: Vec<String> = sim.sent.drain(..).map(|(_, message)| message).collect();

    let mut sim = Simulation::new();
    sim.table.store(table);
    let mut take = |sim: &mut Simulation| sent.extend(sim.sent.drain(..).map(|(_, message)| message));
    sim.receive(ACME, &super::requests::text(1, "hello"));
    let text = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&text, "200 OK", "g", ""));
    sim.sent.push((GLOBEX.into(), text));
    take(&mut sim);
    // Asked half-way, forked, and hung up.
    let up = call_up_with(&mut sim, "X-Note: kept", "X-Note: kept");
    sim.receive(GLOBEX, &response(&up.2, "200 OK", "another", SDP));
    take(&mut sim);
    sim.pass(seconds(901));
    sim.receive(ACME, &from_caller("BYE", "2 BYE", &up));
    take(&mut sim);
    // Cancelled, and answered all the same.
    let ingress = sim.invite("+442079460000");
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "180 Ringing", "g", ""));
    sim.receive(ACME, &follow_up(&ingress, "CANCEL"));
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", SDP));
    sim.sent.push((GLOBEX.into(), egress));
    take(&mut sim);
    sent.retain(|message| !message.starts_with("SIP/2.0 "));
    sent
}

#[test]
fn every_request_but_ack_says_that_the_hub_has_session_timers_unless_the_policy_has_none() {
    for timer in [SessionTimer::Ask, SessionTimer::Accept, SessionTimer::Off] {
        let requests = requests_under(timer);
        let kinds: std::collections::BTreeSet<String> = requests.iter().map(|it| kind(it)).collect();
        let expected = ["ACK", "BYE", "CANCEL", "INVITE", "MESSAGE", "OPTIONS", "REGISTER"];
        assert_eq!(kinds, expected.map(str::to_owned).into(), "{timer:?}");
        for request in &requests {
            let is_told = kind(request) != "ACK" && timer != SessionTimer::Off;
            assert_eq!(optional(request, "Supported"), is_told.then_some("timer"), "{timer:?}: {request}");
        }
    }
}

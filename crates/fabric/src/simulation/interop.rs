//! What the terminating switch is told for what the originating one said, by the profile and policy of each: the
//! cases of `interop.cases`, written by hand from the standards.

use std::collections::BTreeMap;

use tandem_model::Policy;

use super::*;

const CASES: &str = include_str!("interop.cases");

/// Header fields of which a case names every one that arrives.
const NAMED: [&str; 10] = [
    "From",
    "To",
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Remote-Party-ID",
    "Privacy",
    "Diversion",
    "History-Info",
    "Subject",
    "Identity",
];

/// One case of the table.
#[derive(Debug, Default)]
struct Case {
    title: String,
    from: Option<Policy>,
    to: Option<Policy>,
    /// The Request-URI that acme sends.
    uri: Option<String>,
    /// The header fields that acme sends beside those of every INVITE, or in their place.
    sends: Vec<(String, String)>,
    /// What globex gets: the Request-URI and the fields of [`NAMED`].
    takes: BTreeMap<String, String>,
    /// What acme gets instead.
    refused: Option<String>,
}

fn cases() -> Vec<Case> {
    let text = CASES.replace("{hub}", HUB).replace("{peer}", GLOBEX);
    let lines = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
    lines.split(|line| line.is_empty()).filter(|lines| !lines.is_empty()).map(Case::read).collect()
}

impl Case {
    fn read(lines: &[&str]) -> Self {
        let mut case = Self { title: lines[0].to_owned(), ..Self::default() };
        for line in &lines[1..] {
            let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            let field = || {
                let (name, value) = rest.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
                (name.to_owned(), value.to_owned())
            };
            let policy = || {
                let (profile, overrides) = rest.split_once(' ').unwrap_or((rest, "{}"));
                let text = format!("{{\"profile\": \"{profile}\", \"overrides\": {overrides}}}");
                Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line:?}: {error}")))
            };
            match word {
                "from" => case.from = policy(),
                "to" => case.to = policy(),
                "dials" => case.uri = Some(rest.to_owned()),
                "sends" => case.sends.push(field()),
                "takes" => {
                    let (name, value) = field();
                    assert!(case.takes.insert(name, value).is_none(), "{line:?} twice");
                }
                "refused" => case.refused = Some(rest.to_owned()),
                _ => panic!("{line:?}"),
            }
        }
        let mut expect = |name: &str, value: String| {
            case.takes.entry(name.to_owned()).or_insert(value);
        };
        expect("INVITE", format!("sip:+442079460000@{GLOBEX};user=phone"));
        expect("To", format!("<sip:+442079460000@{GLOBEX};user=phone>"));
        expect("From", format!("\"Ann\" <sip:+33199001234@{HUB};user=phone>"));
        case
    }

    fn invite(&self) -> String {
        let mut invite = invite(1, "+442079460000");
        if let Some(uri) = &self.uri {
            let (_, rest) = invite.split_once("\r\n").unwrap();
            invite = format!("INVITE {uri} SIP/2.0\r\n{rest}");
        }
        let mut lines = String::new();
        for (name, value) in &self.sends {
            if name == "From" {
                let from = invite.lines().find(|line| line.starts_with("From: ")).unwrap().to_owned();
                invite = invite.replace(&from, &format!("From: {value};tag=a1"));
            } else {
                lines += &format!("{name}: {value}\r\n");
            }
        }
        invite.replacen("X-Note: kept\r\n", &format!("X-Note: kept\r\n{lines}"), 1)
    }
}

/// The Request-URI and the fields of [`NAMED`] in an INVITE; several of one name are joined as RFC 3261 §7.3.1 says.
fn taken(invite: &str) -> BTreeMap<String, String> {
    let mut taken = BTreeMap::<String, String>::new();
    let head = invite.split("\r\n\r\n").next().unwrap();
    for (index, line) in head.lines().enumerate() {
        let (name, value) = match index {
            0 => ("INVITE", line.split(' ').nth(1).unwrap()),
            _ => line.split_once(": ").unwrap(),
        };
        if index > 0 && !NAMED.contains(&name) {
            continue;
        }
        let value = value.split(";tag=").next().unwrap();
        let place = taken.entry(name.to_owned()).or_default();
        if !place.is_empty() {
            place.push_str(", ");
        }
        place.push_str(value);
    }
    taken
}

pub(super) fn with_policies(from: &Option<Policy>, to: &Option<Policy>) -> Simulation {
    let sim = Simulation::new();
    let mut facts = facts();
    facts.endpoints[0].policy = from.clone().unwrap_or_default();
    facts.endpoints[1].policy = to.clone().unwrap_or_default();
    sim.table.store(std::sync::Arc::new(RouteTable::from_facts(facts)));
    sim
}

#[test]
fn each_case_of_the_table_reaches_the_other_switch_as_the_standards_say() {
    let mut failures = Vec::new();
    for case in cases() {
        let mut sim = with_policies(&case.from, &case.to);
        sim.receive(ACME, &case.invite());
        if let Some(status) = &case.refused {
            let kinds = sim.kinds_to(ACME);
            if kinds != ["100".to_owned(), status.clone()] || !sim.sent_to(GLOBEX).is_empty() {
                failures.push(format!("{}: {kinds:?} and not {status}", case.title));
            }
            continue;
        }
        let sent = sim.sent_to(GLOBEX);
        let Some(invite) = sent.first() else {
            failures.push(format!("{}: {:?}", case.title, sim.sent_to(ACME)));
            continue;
        };
        let taken = taken(invite);
        if taken != case.takes {
            failures.push(format!("{}\n  took {taken:#?}\n  not {:#?}", case.title, case.takes));
        }
    }
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_table_has_a_hundred_cases_and_every_profile_on_both_sides() {
    let cases = cases();
    assert!(cases.len() >= 100, "{}", cases.len());
    let titles: std::collections::BTreeSet<&str> = cases.iter().map(|case| &*case.title).collect();
    assert_eq!(titles.len(), cases.len(), "each has its own title");
    for profile in tandem_model::Profile::ALL {
        let is = |policy: &Option<Policy>| policy.as_ref().is_some_and(|it| it.profile() == profile);
        assert!(cases.iter().filter(|case| is(&case.from)).count() >= 2, "{profile:?} sends");
        assert!(cases.iter().filter(|case| is(&case.to)).count() >= 4, "{profile:?} takes");
    }
}

pub(super) fn policy(profile: &str, overrides: &str) -> Option<Policy> {
    let text = format!("{{\"profile\": \"{profile}\", \"overrides\": {overrides}}}");
    Some(serde_json::from_str(&text).unwrap())
}

#[test]
fn a_switch_gets_the_status_that_it_knows_and_the_cause_as_it_came() {
    let mut sim =
        with_policies(&policy("asterisk", r#"{"failures": {"statuses": {"603": 486, "404": 480}}}"#), &None);
    sim.invite("+442079460000");
    let invite = sim.one_to(GLOBEX);
    let decline = response(&invite, "603 No thanks", "g", "")
        .replace("Server:", "Reason: Q.850;cause=21;text=\"Call Rejected\"\r\nServer:");
    sim.receive(GLOBEX, &decline);
    let told = sim.sent_to(ACME).pop().unwrap();
    assert!(told.starts_with("SIP/2.0 486 Busy Here\r\n"), "{told}");
    assert!(told.contains("Reason: Q.850;cause=21;text=\"Call Rejected\"\r\n"), "{told}");
    let cdr = sim.one_cdr();
    assert_eq!((cdr.status, cdr.outcome), (Some(603), Some(Outcome::Rejected)), "what the called party said");

    // The hub's own refusal: nobody holds the number.
    sim.invite("+33900000000");
    assert!(sim.sent_to(ACME).pop().unwrap().starts_with("SIP/2.0 480 Temporarily Unavailable\r\n"));
}

#[test]
fn header_rules_keep_drop_and_set_in_either_direction() {
    let with_headers = |overrides: &str| policy("neutral", &format!("{{\"headers\": {overrides}}}"));
    let table = [
        ("{}", "{}", &["X-Note: kept", "X-Site: a"][..], &["X-Account"][..]),
        ("{}", r#"{"sent": {"rules": {"x-note": "drop"}}}"#, &["X-Site: a"], &["X-Note"]),
        (r#"{"received": {"rules": {"X-SITE": "drop"}}}"#, "{}", &["X-Note: kept"], &["X-Site"]),
        ("{}", r#"{"sent": {"others": "drop"}}"#, &["Date: Mon"], &["X-Note", "X-Site"]),
        (
            "{}",
            r#"{"sent": {"others": "drop", "rules": {"X-Site": "keep", "Date": "drop"}}}"#,
            &["X-Site: a"],
            &["X-Note", "Date"],
        ),
        (
            "{}",
            r#"{"sent": {"rules": {"X-Site": {"set": "b"}}}}"#,
            &["X-Note: kept", "X-Site: b"],
            &["X-Site: a"],
        ),
        (
            r#"{"received": {"rules": {"X-Account": {"set": "7"}, "X-Site": {"set": "c"}}}}"#,
            r#"{"sent": {"rules": {"X-Site": {"set": "b"}, "User-Agent": {"set": "hub"}}}}"#,
            &["X-Account: 7", "X-Site: b", "User-Agent: hub"],
            &["X-Site: a", "X-Site: c", "PBX of acme"],
        ),
    ];
    for (from, to, has, has_not) in table {
        let mut sim = with_policies(&with_headers(from), &with_headers(to));
        let invite = invite(1, "+442079460000").replace(
            "X-Note: kept\r\n",
            "X-Note: kept\r\nX-Site: a\r\nDate: Mon, 01 Jan 2029 00:00:00 GMT\r\n",
        );
        sim.receive(ACME, &invite);
        let sent = sim.one_to(GLOBEX);
        for line in has {
            assert!(sent.contains(&format!("\r\n{line}")), "{from} {to}: no {line} in {sent}");
        }
        for line in has_not {
            assert!(!sent.contains(line), "{from} {to}: {line} in {sent}");
        }
    }
}

#[test]
fn a_set_header_field_is_in_requests_of_the_call_and_not_in_its_answers() {
    let set = r#"{"headers": {"sent": {"rules": {"X-Account": {"set": "7"}}}}}"#;
    let mut sim = with_policies(&policy("neutral", set), &policy("neutral", set));
    let up = sim.call_up();
    assert!(!up.1.contains("X-Account"), "{}", up.1);
    sim.receive(GLOBEX, &from_called("INVITE", "1 INVITE", &up));
    assert!(sim.sent_to(ACME).pop().unwrap().contains("\r\nX-Account: 7\r\n"));
}

#[test]
fn only_codecs_that_both_switches_allow_are_offered_in_the_order_of_the_one_that_is_called() {
    let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.50\r\ns=-\r\nc=IN IP4 192.0.2.50\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 18 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";
    let expected = offer.replace("18 0 8 101", "8 0 101");
    let mut sim = with_policies(
        &policy("neutral", r#"{"codecs": {"allow": ["PCMU", "PCMA"]}}"#),
        &policy("neutral", r#"{"codecs": {"allow": ["G729", "PCMA", "PCMU"], "order": "listed"}}"#),
    );
    let with_offer = |body: &str| {
        invite(1, "+442079460000")
            .replace(SDP, body)
            .replace(&format!("Content-Length: {}", SDP.len()), &format!("Content-Length: {}", body.len()))
    };
    sim.receive(ACME, &with_offer(offer));
    let sent = sim.one_to(GLOBEX);
    let length = format!("Content-Length: {}\r\n\r\n{expected}", expected.len());
    assert!(sent.ends_with(&length), "{sent}");

    // The answer keeps its order and loses what was not offered.
    let answer = offer.replace("18 0 8 101", "0 8 18 101");
    sim.receive(GLOBEX, &response(&sent, "200 OK", "g", &answer));
    let told = sim.sent_to(ACME).pop().unwrap();
    assert!(told.ends_with(&offer.replace("18 0 8 101", "0 8 101")), "{told}");
}

#[test]
fn codecs_that_are_not_allowed_are_answered_neither_in_an_ack_nor_in_a_part_of_a_body() {
    let with = |formats: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.50\r\ns=-\r\nc=IN IP4 192.0.2.50\r\nt=0 0\r\nm=audio 4000 RTP/AVP {formats}\r\n"
        )
    };
    let in_part = |sdp: &str| {
        format!(
            "--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b\r\nContent-Type: application/isup\r\n\r\n\u{1}\r\n--b--\r\n"
        )
    };
    let policies =
        [r#"{"codecs": {"allow": ["PCMU", "PCMA"]}}"#, r#"{"codecs": {"allow": ["PCMA", "G729"]}}"#];
    let mut sim = with_policies(&policy("neutral", policies[0]), &policy("neutral", policies[1]));
    // Without an offer: that comes in the answer, and its answer in the ACK.
    let ingress =
        invite(1, "+442079460000").replace(SDP, "").replace(&format!("Length: {}", SDP.len()), "Length: 0");
    sim.receive(ACME, &ingress);
    let egress = sim.one_to(GLOBEX);
    sim.receive(GLOBEX, &response(&egress, "200 OK", "g", &with("18 8")));
    let answer = sim.sent_to(ACME).pop().unwrap();
    assert!(answer.ends_with(&with("8")), "{answer}");
    for (kind, body, expected) in [
        ("application/sdp", with("8 0"), with("8")),
        ("multipart/mixed;boundary=b", in_part(&with("0 8")), in_part(&with("8"))),
    ] {
        let mut sim = with_policies(&policy("neutral", policies[0]), &policy("neutral", policies[1]));
        sim.receive(ACME, &ingress);
        let egress = sim.one_to(GLOBEX);
        sim.receive(GLOBEX, &response(&egress, "200 OK", "g", &with("8 18")));
        let answer = sim.sent_to(ACME).pop().unwrap();
        let kind = format!("Content-Type: {kind}\r\nContent-Length");
        sim.receive(ACME, &ack(&ingress, &answer, &body).replace("Content-Length", &kind));
        let carried = sim.one_to(GLOBEX);
        let end = format!("{kind}: {}\r\n\r\n{expected}", expected.len());
        assert!(carried.starts_with("ACK ") && carried.ends_with(&end), "{carried}");
    }
    // A part of an INVITE, beside what only the switches understand.
    let mut sim = with_policies(&policy("neutral", policies[0]), &policy("neutral", policies[1]));
    let (body, expected) = (in_part(&with("0 18 8")), in_part(&with("8")));
    let mixed = invite(1, "+442079460000")
        .replace("Content-Type: application/sdp", "Content-Type: multipart/mixed; boundary=\"b\"")
        .replace(SDP, &body)
        .replace(&format!("Content-Length: {}", SDP.len()), &format!("Content-Length: {}", body.len()));
    sim.receive(ACME, &mixed);
    let sent = sim.one_to(GLOBEX);
    assert!(sent.ends_with(&format!("Content-Length: {}\r\n\r\n{expected}", expected.len())), "{sent}");
}

#[test]
fn who_answered_is_told_in_the_field_that_the_caller_reads() {
    let mut sim = with_policies(&policy("cisco-cube", "{}"), &policy("teams", "{}"));
    sim.receive(ACME, &invite(1, "442079460000").replace("From: \"Ann\" <sip:+", "From: \"Ann\" <sip:"));
    let invite = sim.one_to(GLOBEX);
    let answer = response(&invite, "200 OK", "g", SDP)
        .replace("Server:", "P-Asserted-Identity: \"Bob\" <sip:+442079460009@10.9.9.9>\r\nServer:");
    sim.receive(GLOBEX, &answer);
    let told = sim.sent_to(ACME).pop().unwrap();
    let party = format!(
        "\r\nRemote-Party-ID: \"Bob\" <sip:442079460009@{HUB}>;party=called;privacy=off;screen=yes\r\n"
    );
    assert!(told.contains(&party) && !told.contains("P-Asserted-Identity"), "{told}");
}

#[test]
fn an_invite_that_a_switch_cannot_take_goes_to_the_next() {
    let mut sim = with_policies(&None, &policy("neutral", r#"{"size": {"max_bytes": 1000}}"#));
    let long = invite(1, "+442079460000").replace("X-Note: kept", &format!("X-Note: {}", "x".repeat(600)));
    sim.receive(ACME, &long);
    assert!(sim.sent_to(GLOBEX).is_empty());
    assert_eq!(sim.kinds_to(GLOBEX_2), ["INVITE"]);
}

/// What no policy may undo: the other member's addresses, whatever the spelling, and the dialog's own fields.
#[test]
fn no_profile_carries_an_address_of_the_other_member_across() {
    // Between them they write every field.
    for profile in [tandem_model::Profile::Freeswitch, tandem_model::Profile::Sipconnect] {
        for (name, value) in super::trust::KEPT_BACK {
            for line in super::trust::spellings(name, &value.replace("MARK", super::trust::MARK)) {
                let mut sim = with_policies(&Some(Policy::of(profile)), &Some(Policy::of(profile)));
                let invite = invite(1, "+442079460000")
                    .replace("X-Note: kept\r\n", &format!("X-Note: kept\r\n{line}\r\n"));
                sim.receive(ACME, &invite);
                for message in sim.sent_to(GLOBEX) {
                    assert!(!message.contains(super::trust::MARK), "{profile:?}: {line:?} in {message}");
                }
            }
        }
    }
}

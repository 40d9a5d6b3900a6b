//! Endpoints that are known by a user name and a password, and those that say by REGISTER where they are.

use std::sync::Arc;

use tandem_model::{Access, Credential, CredentialId, Ha1, Registration, Target};

use super::*;
use crate::digest::Challenge;
use crate::identity::Unproven;

const REALM: &str = "sip.exchange.example";
const USER: &str = "globex-home";
const PASSWORD: &str = "correct horse battery";
/// Behind a NAT: what globex's home switch sends comes from here.
const HOME: &str = "198.51.100.7:40001";
const MOVED: &str = "198.51.100.99:51234";

fn access(n: u128, username: &str) -> Access {
    let inbound = Credential {
        credential_id: id::<CredentialId>(n),
        username: username.into(),
        realm: REALM.into(),
        ha1: Ha1::new(username, REALM, PASSWORD),
    };
    Access { inbound: Some(inbound), ..Access::default() }
}

/// Also: globex takes +4430 at its home switch, which registers; acme calls from wherever it is, with a password.
fn simulation() -> Simulation {
    let mut facts = facts();
    let mut home = endpoint(23, 2, "192.0.2.4:5060", 1, None);
    (home.sources, home.target, home.access) = (Vec::new(), Target::registration(), access(71, USER));
    let mut roaming = endpoint(12, 1, "192.0.2.5:5060", 1, None);
    (roaming.sources, roaming.access) = (Vec::new(), access(72, "acme-roaming"));
    facts.endpoints.extend([home, roaming]);
    facts.ranges.push(Range {
        range_id: id(32),
        prefix: "+4430".parse().unwrap(),
        ..facts.ranges[0].clone()
    });
    facts.announcements.push(Announcement {
        announcement_id: id(42),
        prefix: "+4430".parse().unwrap(),
        endpoints: vec![id(23)],
        ..facts.announcements[0].clone()
    });
    let simulation = Simulation::new();
    simulation.table.store(Arc::new(RouteTable::from_facts(facts)));
    simulation
}

/// A switch that registers.
struct Switch {
    user: &'static str,
    password: &'static str,
    address: &'static str,
    cseq: u32,
    /// The last challenge.
    challenge: Option<String>,
}

impl Switch {
    fn new() -> Self {
        Self { user: USER, password: PASSWORD, address: HOME, cseq: 0, challenge: None }
    }

    fn request(&mut self, lines: &str) -> String {
        self.cseq += 1;
        let Self { user, address, cseq, .. } = self;
        format!(
            "REGISTER sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK{user}{cseq}x{address};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{REALM}>;tag=r1\r\nTo: <sip:{user}@{REALM}>\r\n\
             Call-ID: register@{user}\r\nCSeq: {cseq} REGISTER\r\n{lines}Content-Length: 0\r\n\r\n"
        )
    }

    /// The header line that answers the last challenge.
    fn authorization(&self, method: &str, uri: &str) -> String {
        let text = self.challenge.as_ref().expect("it was challenged");
        let challenged = Message::parse(text.as_bytes()).unwrap();
        let challenge = Challenge::of(&challenged, REALM).expect("it asks in the realm");
        let secret = Ha1::new(self.user, REALM, self.password);
        let (name, value) = challenge.answer(self.user, &secret, method.as_bytes(), uri.as_bytes(), 7);
        format!("{name}: {}\r\n", String::from_utf8(value).unwrap())
    }

    /// Sends a REGISTER, answers the challenge, and gives what comes back.
    fn register(&mut self, simulation: &mut Simulation, lines: &str) -> String {
        let request = self.request(lines);
        simulation.receive(self.address, &request);
        let answer = simulation.one_to(self.address);
        assert_eq!(kind(&answer), "401");
        self.challenge = Some(answer);
        self.answer(simulation, lines)
    }

    /// Sends a REGISTER that answers the last challenge.
    fn answer(&mut self, simulation: &mut Simulation, lines: &str) -> String {
        let authorization = self.authorization("REGISTER", &format!("sip:{REALM}"));
        let request = self.request(&format!("{lines}{authorization}"));
        simulation.receive(self.address, &request);
        simulation.sent_to(self.address).pop().unwrap_or_default()
    }
}

const CONTACT: &str = "Contact: <sip:line@10.0.0.5:5060>\r\n";

fn binding(simulation: &Simulation) -> Option<Registration> {
    let table = simulation.table.load();
    table.endpoint(id(23)).unwrap().access.binding(simulation.now.utc).cloned()
}

#[test]
fn a_switch_that_registers_is_called_where_its_register_came_from() {
    let mut simulation = simulation();
    let answer = Switch::new().register(&mut simulation, CONTACT);
    assert_eq!(kind(&answer), "200");
    assert_eq!(field(&answer, "Contact"), "<sip:line@10.0.0.5:5060>;expires=3600");
    assert!(field(&answer, "Via").contains("rport=40001;received=198.51.100.7"), "{answer}");
    simulation.invite("+443012345678");
    let invite = simulation.one_to(HOME);
    assert!(invite.starts_with("INVITE sip:line@10.0.0.5:5060 SIP/2.0\r\n"), "{invite}");
    assert!(field(&invite, "To").contains("+443012345678"), "{invite}");
    // All that follows comes from there and goes there, whatever the Contact says.
    let answered = response(&invite, "200 OK", "h", SDP).replace(GLOBEX, "10.0.0.5:5060");
    simulation.receive(HOME, &answered);
    let answer = simulation.sent_to(ACME).pop().unwrap();
    let ingress = super::invite(1, "+443012345678");
    simulation.receive(ACME, &ack(&ingress, &answer, ""));
    assert_eq!(kind(&simulation.one_to(HOME)), "ACK");
    // It moves in the midst of the call, and hangs up from where it is now.
    let mut switch = Switch { address: MOVED, cseq: 10, ..Switch::new() };
    assert_eq!(kind(&switch.register(&mut simulation, CONTACT)), "200");
    let bye = in_dialog("BYE", "1 BYE", field(&answered, "To"), field(&answered, "From"), &invite, "");
    simulation.receive(MOVED, &bye.replacen(";branch", ";rport;branch", 1));
    assert_eq!(simulation.kinds_to(MOVED), ["200"]);
    assert_eq!(simulation.kinds_to(ACME), ["BYE"]);
}

#[test]
fn a_call_to_a_switch_that_has_moved_is_ended_where_it_is_now() {
    let mut simulation = simulation();
    Switch::new().register(&mut simulation, CONTACT);
    let ingress = simulation.invite("+443012345678");
    let invite = simulation.one_to(HOME);
    simulation.receive(HOME, &response(&invite, "200 OK", "h", SDP));
    let answer = simulation.sent_to(ACME).pop().unwrap();
    simulation.receive(ACME, &ack(&ingress, &answer, ""));
    simulation.sent_to(HOME);
    let mut switch = Switch { address: MOVED, cseq: 10, ..Switch::new() };
    switch.register(&mut simulation, CONTACT);
    simulation.receive(
        ACME,
        &in_dialog("BYE", "2 BYE", field(&ingress, "From"), field(&answer, "To"), &answer, ""),
    );
    assert_eq!(simulation.kinds_to(MOVED), ["BYE"]);
    assert_eq!(simulation.kinds_to(HOME), [""; 0]);
}

#[test]
fn a_switch_that_registers_from_another_address_is_called_there_with_the_next_call() {
    let mut simulation = simulation();
    let mut switch = Switch::new();
    switch.register(&mut simulation, CONTACT);
    switch.address = MOVED;
    assert_eq!(kind(&switch.register(&mut simulation, "Contact: <sip:line@10.9.9.9>\r\n")), "200");
    simulation.invite("+443012345678");
    assert_eq!(simulation.kinds_to(MOVED), ["INVITE"]);
    assert_eq!(simulation.kinds_to(HOME), [""; 0]);
    // What still comes from the old address is a stranger's.
    simulation.receive(HOME, &invite(2, "+442079460000").replace(ACME, HOME));
    simulation.pass(Duration::from_secs(80));
    simulation.receive(HOME, &invite(3, "+442079460000").replace(ACME, HOME));
    assert_eq!(simulation.kinds_to(HOME), [""; 0]);
}

#[test]
fn a_switch_whose_registration_has_ended_is_called_no_more_and_the_caller_is_told_why() {
    for end in
        [None, Some("Contact: *\r\nExpires: 0\r\n"), Some("Contact: <sip:line@10.0.0.5:5060>;expires=0\r\n")]
    {
        let mut simulation = simulation();
        let mut switch = Switch::new();
        switch.register(&mut simulation, "Contact: <sip:line@10.0.0.5:5060>;expires=120\r\n");
        match end {
            None => simulation.pass(Duration::from_secs(120)),
            Some(lines) => {
                let answer = switch.register(&mut simulation, lines);
                assert_eq!(kind(&answer), "200");
                assert!(!answer.contains("Contact:"), "{answer}");
            }
        }
        simulation.invite("+443012345678");
        assert_eq!(simulation.kinds_to(HOME), [""; 0]);
        let refusal = simulation.sent_to(ACME).pop().unwrap();
        assert!(refusal.starts_with("SIP/2.0 480 ") && refusal.contains("not_registered"), "{refusal}");
        assert_eq!(simulation.one_cdr().reason.as_deref(), Some("not_registered"));
    }
}

#[test]
fn who_has_registered_calls_from_there_without_a_password() {
    let mut simulation = simulation();
    Switch::new().register(&mut simulation, CONTACT);
    let mut facts = simulation.table.load().facts();
    facts.announcements[0].member_id = id(1);
    facts.announcements[0].endpoints = vec![id(11)];
    facts.ranges[0].member_id = id(1);
    simulation.table.store(Arc::new(RouteTable::from_facts(facts)));
    simulation.receive(HOME, &invite(1, "+442079460000").replace(ACME, HOME));
    assert_eq!(simulation.kinds_to(ACME), ["INVITE"]);
    assert_eq!(simulation.kinds_to(HOME), ["100"]);
    // Another port of the same address is not the switch.
    simulation.receive("198.51.100.7:40002", &invite(2, "+442079460000").replace(ACME, HOME));
    assert_eq!(simulation.kinds_to(ACME), [""; 0]);
}

#[test]
fn a_register_is_judged_in_the_order_of_the_standard() {
    for (lines, status, needle) in [
        ("Contact: <sip:a@h>;expires=59\r\n", "423", "Min-Expires: 60"),
        ("Contact: <sip:a@h>\r\nExpires: 30\r\n", "423", "Min-Expires: 60"),
        ("Contact: <sip:a@h>;expires=7200\r\n", "200", "expires=3600"),
        ("Contact: <sip:a@h>;expires=soon\r\n", "200", "expires=3600"),
        ("Contact: <sip:a@h>\r\nExpires: 90\r\n", "200", "<sip:a@h>;expires=90"),
        ("Contact: <sip:a@h>;q=0.2, <sip:b@h>;q=0.7\r\n", "200", "<sip:b@h>;expires="),
        ("Contact: <sip:a@h>;expires=0\r\nContact: <sip:b@h>\r\n", "200", "<sip:b@h>;expires="),
        ("Contact: *\r\n", "400", "malformed"),
        ("Contact: *\r\nContact: <sip:a@h>\r\nExpires: 0\r\n", "400", "malformed"),
        ("Contact: <sips:a@h>\r\n", "400", "contact_unusable"),
        ("Contact: <tel:+44>\r\n", "400", "contact_unusable"),
        ("Require: gruu\r\nContact: <sip:a@h>\r\n", "420", "Unsupported: gruu"),
        ("Require: gin\r\nProxy-Require: gin\r\nContact: <sip:h;bnc>\r\n", "200", "<sip:h;bnc>;expires="),
        ("", "200", "Supported: gin"),
    ] {
        let mut simulation = simulation();
        let answer = Switch::new().register(&mut simulation, lines);
        assert_eq!(kind(&answer), status, "{lines}{answer}");
        assert!(answer.contains(needle), "{lines}{answer}");
        assert_eq!(binding(&simulation).is_some(), answer.contains("Contact:"), "{lines}");
    }
}

#[test]
fn a_switch_that_registers_for_all_its_numbers_finds_the_called_one_in_the_request_uri() {
    for (contact, uri) in [
        ("<sip:10.0.0.5:5080;bnc>", "sip:+443012345678@10.0.0.5:5080;user=phone"),
        ("<sip:10.0.0.5>", "sip:+443012345678@10.0.0.5;user=phone"),
        ("<sip:[2001:db8::5]:5080>", "sip:+443012345678@[2001:db8::5]:5080;user=phone"),
        ("<sip:line@10.0.0.5;ob>", "sip:line@10.0.0.5;ob"),
    ] {
        let mut simulation = simulation();
        Switch::new().register(&mut simulation, &format!("Contact: {contact}\r\n"));
        simulation.invite("+443012345678");
        let invite = simulation.one_to(HOME);
        assert!(invite.starts_with(&format!("INVITE {uri} SIP/2.0\r\n")), "{invite}");
    }
}

#[test]
fn an_older_register_of_the_same_call_id_changes_nothing() {
    let mut simulation = simulation();
    let mut switch = Switch { cseq: 10, ..Switch::new() };
    switch.register(&mut simulation, CONTACT);
    let mut late = Switch { cseq: 8, ..Switch::new() };
    let answer = late.register(&mut simulation, "Contact: <sip:late@10.0.0.6>\r\n");
    assert!(answer.starts_with("SIP/2.0 500 ") && answer.contains("cseq_too_low"), "{answer}");
    assert_eq!(binding(&simulation).unwrap().contact, "sip:line@10.0.0.5:5060");
}

#[test]
fn nobody_registers_the_address_of_another_user() {
    let mut simulation = simulation();
    let mut switch = Switch { user: "acme-roaming", ..Switch::new() };
    switch.register(&mut simulation, CONTACT);
    let authorization =
        switch.authorization("REGISTER", &format!("sip:{REALM}")).replace("00000001", "00000002");
    // The answer is acme's own; To is another's.
    let fresh = switch.request("");
    simulation.receive(HOME, &fresh);
    switch.challenge = simulation.sent_to(HOME).pop();
    let authorization = match switch.authorization("REGISTER", &format!("sip:{REALM}")) {
        same if same == authorization => panic!("a challenge is another each time"),
        other => other,
    };
    let request = switch.request(&format!("{CONTACT}{authorization}"));
    let request = request.replace("To: <sip:acme-roaming@", "To: <sip:globex-home@");
    simulation.receive(HOME, &request);
    let answer = simulation.one_to(HOME);
    assert!(answer.starts_with("SIP/2.0 403 ") && answer.contains("address_of_other"), "{answer}");
    assert_eq!(binding(&simulation), None);
}

#[test]
fn a_stranger_hears_nothing_unless_it_names_a_realm_in_which_somebody_has_a_user_name() {
    let named = Switch::new().request(CONTACT);
    let by_address = named.replace(&format!("REGISTER sip:{REALM}"), "REGISTER sip:192.0.2.100");
    let options = named.replace("REGISTER", "OPTIONS");
    let message = named.replace("REGISTER", "MESSAGE");
    let broken = named.replace("To:", "T0:");
    let in_dialog =
        named.replace(&format!("To: <sip:{USER}@{REALM}>"), &format!("To: <sip:{USER}@{REALM}>;tag=1"));
    for (text, hears) in
        [(&named, 1), (&by_address, 0), (&options, 0), (&message, 0), (&broken, 0), (&in_dialog, 0)]
    {
        let mut simulation = simulation();
        simulation.receive(HOME, text);
        assert_eq!(simulation.sent_to(HOME).len(), hears, "{text}");
        assert_eq!(simulation.worker.transactions.len(), 0, "nothing is kept of a stranger");
    }
    // Where nobody has a user name, nobody is asked for one.
    let mut simulation = Simulation::new();
    simulation.receive(HOME, &named);
    assert_eq!(simulation.sent.len(), 0);
}

#[test]
fn a_challenge_is_hardly_longer_than_its_question_and_no_stranger_gets_many() {
    let mut simulation = simulation();
    let request = Switch::new().request(CONTACT);
    simulation.receive(HOME, &request);
    let answer = simulation.one_to(HOME);
    assert!(answer.len() <= 2 * request.len(), "{} for {}", answer.len(), request.len());
    // The strongest first (RFC 8760 §2.3).
    let challenges: Vec<_> = answer.lines().filter(|line| line.starts_with("WWW-Authenticate")).collect();
    assert!(challenges[0].contains("SHA-256") && challenges[1].contains("MD5"), "{challenges:?}");
    // Where only old switches are, they see nothing that they do not know.
    let mut facts = simulation.table.load().facts();
    let old = format!("md5.{REALM}");
    facts.endpoints.last_mut().unwrap().access.inbound.as_mut().unwrap().realm = old.clone();
    simulation.table.store(Arc::new(RouteTable::from_facts(facts)));
    simulation.receive(HOME, &request.replace(REALM, &old).replace("z9hG4bK", "z9hG4bKold"));
    let answer = simulation.one_to(HOME);
    assert!(answer.contains("algorithm=MD5") && !answer.contains("SHA-256"), "{answer}");
    // A bare question gets nothing rather than more than it is long.
    let bare = format!(
        "REGISTER sip:{REALM} SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nMax-Forwards: 1\r\nf: <sip:a@b>;tag=1\r\n\
         t: <sip:a@b>\r\ni: 1\r\nCSeq: 1 REGISTER\r\n\r\n"
    );
    simulation.receive("198.51.100.8:5060", &bare);
    assert_eq!(simulation.sent.len(), 0);
    // A flood from forged addresses.
    for n in 0..2_000 {
        simulation.receive(&format!("203.0.{}.{}:5060", 100 + n / 250, n % 250), &request);
    }
    assert!(simulation.sent.len() <= 300, "{}", simulation.sent.len());
}

#[test]
fn a_user_that_is_there_and_one_that_is_not_get_the_same_octets() {
    /// What is another each time is one word.
    fn masked(text: &str) -> String {
        let nonce = text.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
        let tag = field(text, "To").split("tag=").nth(1).unwrap();
        text.replace(nonce, "NONCE").replace(tag, "TAG")
    }
    let heard = |user: &'static str| {
        let mut simulation = simulation();
        let mut switch = Switch { user, password: "wrong horse battery", ..Switch::new() };
        let first = switch.request(CONTACT);
        simulation.receive(HOME, &first);
        let challenge = simulation.one_to(HOME);
        switch.challenge = Some(challenge.clone());
        let second = switch.answer(&mut simulation, CONTACT);
        assert_eq!(
            (kind(&second).as_str(), simulation.worker.wire.metrics.unproven(Unproven::Wrong)),
            ("401", 1)
        );
        (masked(&challenge).replace(user, "USER"), masked(&second).replace(user, "USER"))
    };
    assert_eq!(heard(USER), heard("globex-none"));
}

#[test]
fn an_answer_counts_once_and_only_from_where_it_was_asked() {
    let mut simulation = simulation();
    let mut switch = Switch::new();
    let request = switch.request(CONTACT);
    simulation.receive(HOME, &request);
    switch.challenge = Some(simulation.one_to(HOME));
    let uri = format!("sip:{REALM}");
    let proof = switch.authorization("REGISTER", &uri);
    // Whoever saw it pass sends it from elsewhere: nothing is bound there.
    let stolen = switch.request(&format!("{CONTACT}{proof}"));
    simulation.receive(MOVED, &stolen);
    let answer = simulation.one_to(MOVED);
    assert!(kind(&answer) == "401" && answer.contains("stale=true"), "{answer}");
    assert_eq!(binding(&simulation), None);
    let own = switch.request(&format!("{CONTACT}{proof}"));
    simulation.receive(HOME, &own);
    assert_eq!(simulation.kinds_to(HOME), ["200"]);
    // A retransmission gets the same answer again; another request with the same proof does not get through.
    simulation.receive(HOME, &own);
    assert_eq!(simulation.kinds_to(HOME), ["200"]);
    let again = switch.request(&format!("Contact: <sip:thief@10.0.0.6>\r\n{proof}"));
    simulation.receive(HOME, &again);
    assert_eq!(simulation.kinds_to(HOME), ["401"]);
    assert_eq!(simulation.worker.wire.metrics.unproven(Unproven::Replayed), 1);
    assert_eq!(binding(&simulation).unwrap().contact, "sip:line@10.0.0.5:5060");
    // Nor is a proof for one method one for another.
    let proof = switch.authorization("INVITE", &uri);
    let request = switch.request(&format!("{CONTACT}{proof}"));
    simulation.receive(HOME, &request);
    assert_eq!(simulation.kinds_to(HOME), ["401"]);
    assert_eq!(simulation.worker.wire.metrics.unproven(Unproven::Wrong), 1);
}

#[test]
fn a_switch_whose_nonce_is_too_old_is_told_so_and_gets_through_with_the_next() {
    let mut simulation = simulation();
    let mut switch = Switch::new();
    let request = switch.request(CONTACT);
    simulation.receive(HOME, &request);
    switch.challenge = Some(simulation.one_to(HOME));
    simulation.pass(Duration::from_secs(301));
    let answer = switch.answer(&mut simulation, CONTACT);
    assert!(kind(&answer) == "401" && answer.contains("stale=true"), "{answer}");
    switch.challenge = Some(answer);
    assert_eq!(kind(&switch.answer(&mut simulation, CONTACT)), "200");
    assert_eq!(simulation.worker.wire.metrics.unproven(Unproven::Wrong), 0);
}

#[test]
fn who_guesses_passwords_is_not_listened_to_for_a_while() {
    let mut simulation = simulation();
    let mut thief = Switch { password: "123456789012", address: MOVED, ..Switch::new() };
    let mut heard = 0;
    for _ in 0..30 {
        let request = thief.request(CONTACT);
        simulation.receive(MOVED, &request);
        let Some(challenge) = simulation.sent_to(MOVED).pop() else { break };
        thief.challenge = Some(challenge);
        heard += usize::from(!thief.answer(&mut simulation, CONTACT).is_empty());
        simulation.pass(Duration::from_secs(1));
    }
    assert_eq!(heard, 10);
    // The right password would do no better now; elsewhere the switch is not disturbed.
    thief.password = PASSWORD;
    assert_eq!(thief.answer(&mut simulation, CONTACT), "");
    assert_eq!(kind(&Switch::new().register(&mut simulation, CONTACT)), "200");
    simulation.pass(Duration::from_secs(300));
    assert_eq!(kind(&thief.register(&mut simulation, CONTACT)), "200");
}

#[test]
fn answers_to_what_the_hub_never_asked_are_no_answers() {
    for line in [
        "Authorization: Digest username=\"globex-home\", realm=\"never.challenged\", nonce=\"n\", uri=\"sip:x\", response=\"0\"\r\n",
        "Authorization: Digest username=\"globex-home\", realm=\"sip.exchange.example\", nonce=\"\", uri=\"\", response=\"\"\r\n",
        "Authorization: Digest username=\"globex-home\", realm=\"sip.exchange.example\", nonce=\"n\", uri=\"sip:x\", \
         response=\"0\", algorithm=AKAv1-MD5\r\n",
        "Authorization: Digest realm=\"sip.exchange.example\"\r\n",
        "Authorization: Basic Z2xvYmV4OmhvbWU=\r\n",
        "Authorization: \r\n",
        "Proxy-Authorization: Digest username=\"globex-home\", realm=\"sip.exchange.example\"\r\n",
    ] {
        let mut simulation = simulation();
        let request = Switch::new().request(&format!("{CONTACT}{line}"));
        simulation.receive(HOME, &request);
        assert_eq!(simulation.kinds_to(HOME), ["401"], "{line}");
        assert_eq!(binding(&simulation), None);
    }
}

/// acme's INVITE from wherever it is.
fn roaming_invite(switch: &mut Switch, number: &str, lines: &str) -> String {
    switch.cseq += 1;
    let n = switch.cseq;
    invite(n, number)
        .replace(&format!("@{HUB};user=phone"), &format!("@{REALM}"))
        .replace(ACME, switch.address)
        .replace("X-Note: kept\r\n", lines)
}

#[test]
fn a_caller_that_proves_its_password_calls_from_wherever_it_is() {
    let mut simulation = simulation();
    let mut switch = Switch { user: "acme-roaming", ..Switch::new() };
    let question = roaming_invite(&mut switch, "+442079460000", "");
    simulation.receive(HOME, &question);
    let challenge = simulation.one_to(HOME);
    assert_eq!((kind(&challenge).as_str(), simulation.worker.transactions.len()), ("401", 0));
    switch.challenge = Some(challenge);
    let proof = switch.authorization("INVITE", &format!("sip:+442079460000@{REALM}"));
    let request = roaming_invite(&mut switch, "+442079460000", &proof);
    simulation.receive(HOME, &request);
    assert_eq!(simulation.kinds_to(HOME), ["100"]);
    let egress = simulation.one_to(GLOBEX);
    assert!(!egress.contains("Authorization"), "what proves it stays here: {egress}");
    // It is refused, and the ACK is heard though no leg is left.
    simulation.receive(GLOBEX, &response(&egress, "486 Busy Here", "g", ""));
    assert_eq!(simulation.kinds_to(HOME), ["486"]);
    simulation.receive(HOME, &follow_up(&request, "ACK"));
    simulation.pass(Duration::from_secs(2));
    assert_eq!(simulation.kinds_to(HOME), [""; 0]);
    assert_eq!(simulation.one_cdr().originating_endpoint, id(12));
    // The next call needs a proof of its own.
    let next = roaming_invite(&mut switch, "+442079460000", &proof);
    simulation.receive(HOME, &next);
    assert_eq!(simulation.kinds_to(HOME), ["401"]);
    simulation.sent.clear();
    simulation.expect_nothing_left();
}

#[test]
fn another_password_or_a_disabled_endpoint_ends_a_registration() {
    for change in [0, 1] {
        let mut simulation = simulation();
        Switch::new().register(&mut simulation, CONTACT);
        let mut facts = simulation.table.load().facts();
        let home = facts.endpoints.iter_mut().find(|it| it.endpoint_id == id(23)).unwrap();
        match change {
            0 => home.access.inbound.as_mut().unwrap().credential_id = id(99),
            _ => home.enabled = false,
        }
        simulation.table.store(Arc::new(RouteTable::from_facts(facts)));
        simulation.invite("+443012345678");
        assert_eq!(simulation.kinds_to(HOME), [""; 0]);
        simulation.receive(HOME, &invite(2, "+442079460000").replace(ACME, HOME));
        assert_eq!(simulation.kinds_to(GLOBEX), [""; 0]);
    }
}

#[test]
fn a_registration_is_on_its_way_to_the_database_at_once() {
    let mut simulation = simulation();
    Switch::new().register(&mut simulation, CONTACT);
    let pending = simulation.worker.share.common.registrar.some();
    assert_eq!(pending, [(id(23), binding(&simulation).unwrap())]);
}

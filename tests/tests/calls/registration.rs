//! A member whose address changes registers, and takes its calls wherever it is; one without an address of its own
//! calls with a password.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tandem_tests::baresip::User;
use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{
    Baresip, CALLED, Cluster, Endpoint, Exchange, Hub, Linphone, PREFIX, Settings, Sipp, Socket,
    peer_address, until,
};

const SOON: Duration = Duration::from_secs(60);

const NUMBERS: Numbers<'_> = Numbers { calling: "+88201", called: CALLED };

/// baresip and sipp know only MD5.
const HOME: User<'_> =
    User { name: "globex-home", realm: "md5.sip.exchange.example", password: "correct-horse-battery" };

/// acme calls, and globex takes its calls wherever its phone registers.
fn exchange(acme: IpAddr) -> Exchange {
    let User { name, realm, password } = HOME;
    Exchange::default()
        .member("acme", &[Endpoint::sender("acme-1", acme)], &[])
        .and(&format!(
            "[[member]]\nname = \"globex\"\n[[member.endpoint]]\nname = \"home\"\ntarget = \"registration\"\n\
             [member.endpoint.inbound]\nusername = \"{name}\"\nrealm = \"{realm}\"\npassword = \"{password}\""
        ))
        .range(PREFIX, "valid")
        .announcement(PREFIX, "\"home\"")
        .agreement("acme", "globex")
}

/// Where the API says that globex's phone is.
fn registered_at(hub: &Hub) -> Option<String> {
    let member = hub.api.member_id("globex");
    let endpoints = hub.api.all(&format!("/members/{member}/endpoints"));
    let id = endpoints[0]["endpoint_id"].as_str().expect("an endpoint has an id");
    let access = hub.api.get(&format!("/members/{member}/endpoints/{id}/access")).good();
    Some(access["registration"]["source"].as_str()?.to_owned())
}

fn wait_for_registration(hub: &Hub, from: SocketAddr) {
    until(&format!("a registration from {from}"), SOON, || {
        registered_at(hub).filter(|source| source.starts_with(&format!("{}:", from.ip())))
    });
}

fn call(hub: &Hub, acme: IpAddr) {
    let steps = [caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
    let load = Load::one(Duration::from_millis(500));
    Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, NUMBERS).finish(SOON).assert_all_went_well(1);
}

fn refused_call(hub: &Hub, acme: IpAddr, status: u16) {
    let steps = [caller::INVITE, &caller::refused(status)];
    let load = Load::one(Duration::ZERO);
    Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, NUMBERS).finish(SOON).assert_all_went_well(1);
}

#[test]
fn a_phone_that_registers_is_called_wherever_it_is_also_after_the_hub_was_killed() {
    let acme = peer_address();
    let mut hub = Hub::start(&exchange(acme));
    refused_call(&hub, acme, 480);
    assert_eq!(hub.wait_for_cdrs(1, SOON)[0]["reason"], "not_registered");

    let mut phone = Baresip::registers(peer_address(), 440.0, &HOME, hub.sip, "udp");
    wait_for_registration(&hub, phone.address);
    assert!((hub.metrics().sum("tandem_registrations", &[]) - 1.0).abs() < 0.1);
    call(&hub, acme);

    // It comes up elsewhere, as after a new address from its provider, and the old one says nothing more.
    let mut moved = Baresip::registers(peer_address(), 440.0, &HOME, hub.sip, "udp");
    wait_for_registration(&hub, moved.address);
    call(&hub, acme);
    assert!(phone.printed().matches("Call established").count() == 1, "{}", phone.printed());
    assert!(moved.printed().matches("Call established").count() == 1, "{}", moved.printed());

    hub.kill();
    hub.start_again();
    call(&hub, acme);
    phone.stop();
    moved.stop();
    // It takes its registration back before it ends.
    until("the registration to end", SOON, || {
        (hub.metrics().sum("tandem_registrations", &[]) < 0.5).then_some(())
    });
    refused_call(&hub, acme, 480);
}

#[test]
fn a_phone_that_registers_by_tcp_is_called_over_the_same_connection() {
    let acme = peer_address();
    let hub = Hub::start(&exchange(acme));
    let mut phone = Baresip::registers(peer_address(), 440.0, &HOME, hub.sip, "tcp");
    // Its address is whichever the system gives a connection, and its port that of the connection.
    let source = until("a registration", SOON, || registered_at(&hub));
    assert!(!source.ends_with(":5060"), "{source}");
    call(&hub, acme);
    assert!(phone.printed().contains("Call established"), "{}", phone.printed());
    phone.stop();
}

/// linphone is offered both digests, and knows them.
const PHONE: User<'_> =
    User { name: "globex-phone", realm: "sip.exchange.example", password: "correct-horse-battery" };

/// globex has a phone that proves who it is, and acme a gateway that takes calls.
fn with_phone(acme: &Sipp) -> Exchange {
    let User { name, realm, password } = PHONE;
    Exchange::default()
        .member("acme", &[Endpoint::new("acme-1", acme.address.ip(), &acme.target(Transport::Udp))], &[PREFIX])
        .and(&format!(
            "[[member]]\nname = \"globex\"\n[[member.endpoint]]\nname = \"phone\"\ntarget = \"registration\"\n\
             [member.endpoint.inbound]\nusername = \"{name}\"\nrealm = \"{realm}\"\npassword = \"{password}\""
        ))
        .range("+4930123456", "valid")
        .announcement("+4930123456", "\"phone\"")
        .agreement("acme", "globex")
}

/// Calls through the hub, and hangs up once the other side has answered. The phone has had so many calls before, and
/// begins no other one while it has not seen the end of the last.
fn dial_out(phone: &mut Linphone, earlier: usize) {
    let times = |phone: &Linphone, word: &str| phone.printed().matches(word).count();
    until("the phone to be idle", SOON, || (times(phone, " ended (") == earlier).then_some(()));
    phone.types(&format!("call sip:{CALLED}@{}", PHONE.realm));
    until("the call to be up", SOON, || (times(phone, " connected.") > earlier).then_some(()));
    phone.types("terminate");
}

#[test]
fn a_phone_that_is_offered_two_digests_registers_by_sha_256_calls_and_is_called() {
    let steps = [gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES];
    let acme = Sipp::takes_calls(peer_address(), Transport::Udp, &steps);
    let hub = Hub::start(&with_phone(&acme));
    let mut phone = Linphone::start(&PHONE, hub.sip, true);
    until("the registration", SOON, || (hub.metrics().sum("tandem_registrations", &[]) > 0.5).then_some(()));
    let messages = phone.messages();
    assert!(messages.contains("algorithm=SHA-256") && messages.contains("algorithm=MD5"), "both are offered");
    let proofs: Vec<&str> = messages.lines().filter(|line| line.starts_with("Authorization:")).collect();
    assert!(!proofs.is_empty(), "it proved who it is");
    assert!(proofs.iter().all(|line| line.contains("algorithm=SHA-256")), "{proofs:?}");

    let steps = [caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
    let numbers = Numbers { called: "+49301234567", ..NUMBERS };
    let load = Load::one(Duration::from_millis(500));
    Sipp::calls(acme.address.ip(), hub.sip, Transport::Udp, &steps, load, numbers)
        .finish(SOON)
        .assert_all_went_well(1);
    dial_out(&mut phone, 1);
    acme.finish(SOON).assert_all_went_well(1);
    let cdrs = hub.wait_for_cdrs(2, SOON);
    assert!(cdrs.iter().all(|cdr| cdr["outcome"] == "answered"), "{cdrs:?}");
}

#[test]
fn a_phone_that_does_not_register_calls_by_sha_256() {
    let steps = [gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES];
    let acme = Sipp::takes_calls(peer_address(), Transport::Udp, &steps);
    let hub = Hub::start(&with_phone(&acme));
    let mut phone = Linphone::start(&PHONE, hub.sip, false);
    dial_out(&mut phone, 0);
    acme.finish(SOON).assert_all_went_well(1);
    let messages = phone.messages();
    let mut proofs = messages.lines().filter(|line| line.starts_with("Authorization:")).peekable();
    assert!(proofs.peek().is_some() && proofs.all(|line| line.contains("algorithm=SHA-256")), "{messages}");
    assert_eq!(hub.wait_for_cdrs(1, SOON)[0]["outcome"], "answered");
}

#[test]
fn registrations_count_at_once_while_postgres_is_away_and_reach_it_when_it_is_back() {
    let cluster = Cluster::start();
    let acme = peer_address();
    let settings = Settings { database_url: Some(cluster.url()), ..Settings::default() };
    let hub = Hub::with(&settings, &exchange(acme));
    cluster.stop();
    let mut phone = Baresip::registers(peer_address(), 440.0, &HOME, hub.sip, "udp");
    until("the registration", SOON, || (hub.metrics().sum("tandem_registrations", &[]) > 0.5).then_some(()));
    call(&hub, acme);
    cluster.start_again();
    wait_for_registration(&hub, phone.address);
    phone.stop();
}

/// INVITE with the answer to a challenge, where one came.
fn invite_with_password(number: u32, password: &str) -> String {
    let proof = match number {
        1 => String::new(),
        _ => format!("[authentication username={} password={password}]\n", HOME.name),
    };
    caller::INVITE
        .replace(
            "INVITE sip:[service]@[remote_ip]:[remote_port]",
            &format!("INVITE sip:[service]@{}", HOME.realm),
        )
        .replace("CSeq: 1 INVITE\n", &format!("CSeq: {number} INVITE\n{proof}"))
}

/// The challenge, and its ACK.
fn challenged(number: u32) -> String {
    caller::refused(401)
        .replace("<recv response=\"401\"/>", "<recv response=\"401\" auth=\"true\"/>")
        .replace("CSeq: 1 ACK", &format!("CSeq: {number} ACK"))
        .replace("ACK sip:[service]@[remote_ip]:[remote_port]", &format!("ACK sip:[service]@{}", HOME.realm))
        .replace("branch=[branch-4]", "branch=[branch]")
}

#[test]
fn a_caller_without_an_address_of_its_own_gets_through_with_its_password_and_not_without() {
    let called = Sipp::takes_calls(
        peer_address(),
        Transport::Udp,
        &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES],
    );
    let User { name, realm, password } = HOME;
    let exchange = Exchange::default()
        .and(&format!(
            "[[member]]\nname = \"acme\"\n[[member.endpoint]]\nname = \"roaming\"\ntarget = \"registration\"\n\
             [member.endpoint.inbound]\nusername = \"{name}\"\nrealm = \"{realm}\"\npassword = \"{password}\""
        ))
        .member(
            "globex",
            &[Endpoint::new("globex-1", called.address.ip(), &called.target(Transport::Udp))],
            &[PREFIX],
        )
        .agreement("acme", "globex");
    let hub = Hub::start(&exchange);
    let load = Load::one(Duration::from_millis(500));
    let steps = [
        &invite_with_password(1, password),
        &challenged(1),
        &invite_with_password(2, password),
        caller::ANSWERED,
        caller::ACK,
        caller::HOLD,
        caller::BYE,
    ];
    let calls = Sipp::calls(peer_address(), hub.sip, Transport::Udp, &steps, load, NUMBERS);
    calls.finish(SOON).assert_all_went_well(1);
    called.finish(SOON).assert_all_went_well(1);

    let guesses = [
        invite_with_password(1, password),
        challenged(1),
        invite_with_password(2, "another-password"),
        challenged(2),
    ];
    let steps: Vec<&str> = guesses.iter().map(String::as_str).collect();
    let calls = Sipp::calls(peer_address(), hub.sip, Transport::Udp, &steps, load, NUMBERS);
    calls.finish(SOON).assert_all_went_well(1);
    let metrics = hub.metrics();
    assert!(metrics.sum("tandem_digest_unproven_total", &["cause=\"wrong\""]) >= 1.0);
    assert_eq!(hub.wait_for_cdrs(1, SOON).len(), 1);

    // Whoever does not name the realm hears nothing.
    let stranger = Socket::new();
    let invite = stranger.invite(hub.sip, CALLED);
    stranger.send(hub.sip, invite.as_bytes());
    stranger.send(hub.sip, invite.replace("INVITE", "REGISTER").as_bytes());
    assert_eq!(stranger.receive(Duration::from_secs(1)), None);
}

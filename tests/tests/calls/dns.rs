//! Calls go where the DNS says (RFC 3263), and on where it said when it is away; whatever it does, no call waits.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use tandem_tests::sipp::{Load, Numbers, Report, Transport, caller, gateway};
use tandem_tests::{
    CALLED, Dnsmasq, Endpoint, Exchange, Hub, NameServer, PREFIX, Settings, Sipp, Socket, now, peer_address,
    until,
};

const SOON: Duration = Duration::from_secs(60);

/// Announced by the member whose endpoint is at an address.
const BY_ADDRESS: &str = "+493012345";

fn answering(transport: Transport) -> Sipp {
    Sipp::takes_calls(
        peer_address(),
        transport,
        &[gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES],
    )
}

/// Begins calls that are answered and hung up.
fn call(acme: IpAddr, hub: &Hub, rate: u32, calls: u32, called: &str) -> Sipp {
    let steps = [caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
    let load = Load { rate, calls, hold: Duration::from_millis(300) };
    Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, Numbers { calling: "+88201", called })
}

fn one_call(acme: IpAddr, hub: &Hub) -> Report {
    call(acme, hub, 1, 1, CALLED).finish(SOON)
}

/// A hub that asks `name_server`, on which `globex` has one endpoint, with the name `target`, that sends from `sources`.
fn hub(acme: IpAddr, dns: std::net::SocketAddr, target: &str, gateways: &[&Sipp]) -> Hub {
    let settings = Settings { name_server: Some(dns), attempt_timeout_s: 1, ..Settings::default() };
    // The first gateway's address is the source; those of the others need not be: the name leads there.
    let endpoint = Endpoint::new("globex-1", gateways[0].address.ip(), target);
    let hub = Hub::with(&settings, &Exchange::of_two(acme, &[endpoint]));
    wait_until_resolved(&hub, 1);
    hub
}

fn wait_until_resolved(hub: &Hub, names: u32) {
    until("the names to be resolved", Duration::from_secs(20), || {
        (hub.metrics().sum("tandem_dns_names", &["state=\"resolved\""]) >= f64::from(names)).then_some(())
    });
}

fn host(name: &str, sipp: &Sipp) -> String {
    format!("host-record={name},{}", sipp.address.ip())
}

fn srv(service: &str, name: &str, port: u16, priority: u16, weight: u16) -> String {
    format!("srv-host={service},{name},{port},{priority},{weight}")
}

fn attempts(hub: &Hub) -> Vec<Value> {
    let cdrs = hub.wait_for_cdrs(1, Duration::from_secs(10));
    let id = cdrs[0]["call_id"].as_str().expect("a call has an id");
    let member = hub.api.member_id("acme");
    let detail = hub.api.get(&format!("/members/{member}/calls/{id}")).good();
    detail["attempts"].as_array().expect("a call has attempts").clone()
}

#[test]
fn naptr_chooses_the_transport_and_srv_the_server() {
    let acme = peer_address();
    let (by_tcp, by_udp) = (answering(Transport::Tcp), answering(Transport::Udp));
    let dns = Dnsmasq::start(
        60,
        &[
            "naptr-record=globex.test,90,50,s,SIP+D2U,,_sip._udp.globex.test".into(),
            "naptr-record=globex.test,50,50,s,SIP+D2T,,_sip._tcp.globex.test".into(),
            "naptr-record=globex.test,10,50,s,SIPS+D2T,,_sips._tcp.globex.test".into(),
            "naptr-record=globex.test,10,10,u,E2U+sip,!^.*$!sip:info@globex.test!".into(),
            srv("_sip._tcp.globex.test", "pbx.globex.test", by_tcp.address.port(), 1, 1),
            srv("_sip._udp.globex.test", "pbx2.globex.test", by_udp.address.port(), 1, 1),
            host("pbx.globex.test", &by_tcp),
            host("pbx2.globex.test", &by_udp),
        ],
    );
    let hub = hub(acme, dns.address, "sip:globex.test", &[&by_tcp]);
    one_call(acme, &hub).assert_all_went_well(1);
    by_tcp.finish(SOON).assert_all_went_well(1);
    by_udp.finish(SOON).assert_all_went_well(0);
}

#[test]
fn the_member_is_shown_where_its_name_leads() {
    let by_udp = answering(Transport::Udp);
    let target = format!("sip:pbx.globex.test:{};transport=udp", by_udp.address.port());
    let dns = Dnsmasq::start(60, &[host("pbx.globex.test", &by_udp)]);
    let hub = hub(peer_address(), dns.address, &target, &[&by_udp]);
    let member = hub.api.member_id("globex");
    let endpoints = hub.api.all(&format!("/members/{member}/endpoints"));
    let id = endpoints[0]["endpoint_id"].as_str().expect("an endpoint has an id");
    let path = format!("/members/{member}/endpoints/{id}/health");
    let servers = until("the servers to be shown", SOON, || {
        let health = hub.api_of("globex").get(&path).good();
        health["nodes"][0]["servers"].as_array().cloned().filter(|servers| !servers.is_empty())
    });
    assert_eq!(servers, [format!("udp {}", by_udp.address)]);
}

#[test]
fn where_the_first_server_is_silent_the_second_of_the_name_takes_the_call_and_may_hang_up() {
    let acme = peer_address();
    let silent = Socket::new();
    let steps = [gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, &gateway::pause(300), gateway::BYE];
    let second = Sipp::takes_calls(peer_address(), Transport::Udp, &steps);
    let dns = Dnsmasq::start(
        60,
        &[
            srv("_sip._udp.globex.test", "one.globex.test", silent.address().port(), 10, 0),
            srv("_sip._udp.globex.test", "two.globex.test", second.address.port(), 20, 0),
            format!("host-record=one.globex.test,{}", silent.address().ip()),
            host("two.globex.test", &second),
        ],
    );
    // It sends from neither address, so that who hangs up is known by the name alone.
    let elsewhere = answering(Transport::Udp);
    let hub = hub(acme, dns.address, "sip:globex.test;transport=udp", &[&elsewhere]);
    let steps = [caller::INVITE, caller::ANSWERED, caller::ACK, caller::BYE_COMES];
    let numbers = Numbers { calling: "+88201", called: CALLED };
    let load = Load::one(Duration::ZERO);
    Sipp::calls(acme, hub.sip, Transport::Udp, &steps, load, numbers).finish(SOON).assert_all_went_well(1);
    second.finish(SOON).assert_all_went_well(1);

    let invite = silent.receive(Duration::from_secs(1)).expect("the first server was tried");
    assert!(
        invite.starts_with(&format!("INVITE sip:{CALLED}@globex.test;transport=udp;user=phone ")),
        "{invite}"
    );
    let attempts = attempts(&hub);
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert_eq!(attempts[0]["endpoint"]["name"], attempts[1]["endpoint"]["name"]);
    assert_eq!(attempts[0]["reason"], "endpoint_unreachable");
    assert_eq!(attempts[1]["status"], 200);
}

#[test]
fn servers_of_one_priority_share_calls_by_their_weights() {
    const CALLS: u32 = 200;
    let acme = peer_address();
    let (three, one) = (answering(Transport::Udp), answering(Transport::Udp));
    let dns = Dnsmasq::start(
        60,
        &[
            srv("_sip._udp.globex.test", "three.globex.test", three.address.port(), 1, 75),
            srv("_sip._udp.globex.test", "one.globex.test", one.address.port(), 1, 25),
            host("three.globex.test", &three),
            host("one.globex.test", &one),
        ],
    );
    let hub = hub(acme, dns.address, "sip:globex.test", &[&three]);
    call(acme, &hub, 50, CALLS, CALLED).finish(SOON).assert_all_went_well(CALLS);
    let (three, one) = (three.finish(SOON), one.finish(SOON));
    assert_eq!((three.successful + one.successful, three.failed + one.failed), (CALLS.into(), 0));
    // 150 are expected, and 999 of 1,000 times it is within 20 of that.
    assert!((130..=170).contains(&three.successful), "{} of {CALLS}", three.successful);
}

#[test]
fn calls_move_to_a_new_address_when_the_time_of_the_old_one_is_over() {
    let acme = peer_address();
    let (old, new) = (answering(Transport::Udp), answering(Transport::Udp));
    // Each has a name of its own: the two records of one name are renewed one after the other.
    let records = |name: &str, sipp: &Sipp| {
        [srv("_sip._udp.globex.test", name, sipp.address.port(), 1, 1), host(name, sipp)]
    };
    let mut dns = Dnsmasq::start(1, &records("old.globex.test", &old));
    let hub = hub(acme, dns.address, "sip:globex.test", &[&old]);
    one_call(acme, &hub).assert_all_went_well(1);
    assert_eq!(new.calls_so_far(), 0);
    dns.start_again(1, &records("new.globex.test", &new));
    let mut calls = 1;
    until("a call to reach the new address", Duration::from_secs(30), || {
        one_call(acme, &hub).assert_all_went_well(1);
        calls += 1;
        (new.calls_so_far() > 0).then_some(())
    });
    let (old, new) = (old.finish(SOON), new.finish(SOON));
    assert_eq!((old.successful + new.successful, old.failed + new.failed), (calls, 0));
}

#[test]
fn while_no_dns_server_answers_calls_go_on_by_its_last_answer_and_by_address_as_ever() {
    const RATE: u32 = 20;
    const CALLS: u32 = 300;
    let acme = peer_address();
    let (by_name, by_address) = (answering(Transport::Udp), answering(Transport::Udp));
    let mut dns = Dnsmasq::start(
        1,
        &[
            srv("_sip._udp.globex.test", "pbx.globex.test", by_name.address.port(), 1, 1),
            host("pbx.globex.test", &by_name),
        ],
    );
    let settings = Settings { name_server: Some(dns.address), ..Settings::default() };
    let globex = Endpoint::new("globex-1", by_name.address.ip(), "sip:globex.test");
    let initech = Endpoint::new("initech-1", by_address.address.ip(), &by_address.target(Transport::Udp));
    let exchange = Exchange::default()
        .member("acme", &[Endpoint::sender("acme-1", acme)], &[])
        .member("globex", &[globex], &[PREFIX])
        .member("initech", &[initech], &[BY_ADDRESS])
        .agreement("acme", "globex")
        .agreement("acme", "initech");
    let hub = Hub::with(&settings, &exchange);
    wait_until_resolved(&hub, 1);

    let to_name = call(acme, &hub, RATE, CALLS, CALLED);
    let to_address = call(acme, &hub, RATE, CALLS, &format!("{BY_ADDRESS}67"));
    // Not waiting for a condition: the load before, and then most of it without DNS, for longer than its answers hold.
    sleep(Duration::from_secs(2));
    dns.stop();
    let stale = ["state=\"stale\""];
    until("the answer to be an old one", Duration::from_secs(12), || {
        (hub.metrics().sum("tandem_dns_names", &stale) == 1.0).then_some(())
    });
    to_name.finish(SOON).assert_all_went_well(CALLS);
    to_address.finish(SOON).assert_all_went_well(CALLS);
    by_name.finish(SOON).assert_all_went_well(CALLS);
    by_address.finish(SOON).assert_all_went_well(CALLS);
    let metrics = hub.metrics();
    assert!(metrics.sum("tandem_dns_stale_seconds", &[]) > 5.0, "the age of the answer is shown");
    assert!(metrics.sum("tandem_dns_questions_total", &["outcome=\"failed\""]) > 0.0);
}

#[test]
fn a_hub_that_is_started_while_no_dns_server_answers_goes_by_the_answers_of_before() {
    let acme = peer_address();
    let by_name = answering(Transport::Udp);
    let mut dns = Dnsmasq::start(
        60,
        &[
            srv("_sip._udp.globex.test", "pbx.globex.test", by_name.address.port(), 1, 1),
            host("pbx.globex.test", &by_name),
        ],
    );
    let mut hub = hub(acme, dns.address, "sip:globex.test", &[&by_name]);
    let saved = hub.data_dir().join("names.json");
    until("the answers to be saved", SOON, || {
        std::fs::read_to_string(&saved).is_ok_and(|text| text.contains("pbx.globex.test")).then_some(())
    });
    hub.kill();
    dns.stop();
    hub.start_again();
    assert!(hub.metrics().sum("tandem_dns_questions_total", &["outcome=\"answered\""]) < 0.5);
    one_call(acme, &hub).assert_all_went_well(1);
    assert!((hub.metrics().sum("tandem_dns_names", &["state=\"stale\""]) - 1.0).abs() < 0.1);
    by_name.finish(SOON).assert_all_went_well(1);
}

#[test]
fn a_dns_server_that_takes_five_seconds_delays_no_call() {
    const CALLS: u32 = 200;
    let acme = peer_address();
    let (by_name, by_address) = (answering(Transport::Udp), answering(Transport::Udp));
    let dns = NameServer::start(
        Duration::from_secs(5),
        &format!(
            "_sip._udp.globex.test 60 SRV 1 1 {} pbx.globex.test\npbx.globex.test 60 A {}",
            by_name.address.port(),
            by_name.address.ip()
        ),
    );
    let settings = Settings {
        name_server: Some(dns.address),
        dns_timeout_s: 10,
        // With one worker, whatever waited would be seen by every call.
        workers: 1,
        ..Settings::default()
    };
    let globex = Endpoint::new("globex-1", by_name.address.ip(), "sip:globex.test;transport=udp");
    let initech = Endpoint::new("initech-1", by_address.address.ip(), &by_address.target(Transport::Udp));
    let exchange = Exchange::default()
        .member("acme", &[Endpoint::sender("acme-1", acme)], &[])
        .member("globex", &[globex], &[PREFIX])
        .member("initech", &[initech], &[BY_ADDRESS])
        .agreement("acme", "globex")
        .agreement("acme", "initech");
    let hub = Hub::with(&settings, &exchange);
    until("the answer to be on its way", Duration::from_secs(4), || {
        (hub.metrics().sum("tandem_dns_names", &["state=\"asking\""]) == 1.0).then_some(())
    });

    let to_address = call(acme, &hub, 50, CALLS, &format!("{BY_ADDRESS}67"));
    let caller = Socket::at(acme);
    let asked_at = now();
    let refused = caller.ask(hub.sip, &caller.invite(hub.sip, CALLED));
    assert!(asked_at.elapsed() < Duration::from_secs(1), "{:?}", asked_at.elapsed());
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(refused.text.contains("399 tandem \"target_unresolved: "), "{}", refused.text);

    let report = to_address.finish(SOON);
    report.assert_all_went_well(CALLS);
    // An INVITE that is not answered within half a second is sent again.
    assert_eq!(report.retransmissions, 0, "no call waited");
    assert!(dns.asked("_sip._udp.globex.test") > 0);
    wait_until_resolved(&hub, 1);
    one_call(acme, &hub).assert_all_went_well(1);
    by_name.finish(SOON).assert_all_went_well(1);
    by_address.finish(SOON).assert_all_went_well(CALLS);
}

#[test]
fn a_dns_that_lies_has_the_hub_send_nowhere_and_calls_say_why() {
    let acme = peer_address();
    let trap = Socket::new();
    let port = trap.address().port();
    // Name, what it leads to, and what a call there is refused with.
    let lies = [
        ("cnames", "pbx.cnames.test 60 CNAME a.cnames.test\na.cnames.test 60 CNAME pbx.cnames.test".to_owned(), "target_unresolved"),
        ("self", "pbx.self.test 60 CNAME pbx.self.test".to_owned(), "target_unresolved"),
        ("srvs", "_sip._udp.pbx.srvs.test 60 SRV 0 0 5060 _sip._udp.pbx.srvs.test".to_owned(), "target_unresolved"),
        (
            "naptrs",
            "pbx.naptrs.test 60 NAPTR 1 1 SIP+D2U pbx.naptrs.test\npbx.naptrs.test 60 SRV 0 0 5060 pbx.naptrs.test".to_owned(),
            "target_unresolved",
        ),
        (
            "inside",
            format!("_sip._udp.pbx.inside.test 0 SRV 0 0 {port} a.inside.test\na.inside.test 0 A {}", trap.address().ip()),
            "target_forbidden",
        ),
        ("metadata", "pbx.metadata.test 0 A 169.254.169.254".to_owned(), "target_forbidden"),
        ("many", "pbx.many.test 60 A 224.0.0.1\npbx.many.test 60 A 255.255.255.255".to_owned(), "target_forbidden"),
        ("private", "pbx.private.test 60 A 10.0.0.1\npbx.private.test 60 A 192.168.1.1".to_owned(), "target_forbidden"),
        ("nothing", String::new(), "target_unresolved"),
    ];
    let zone: Vec<&str> = lies.iter().map(|(_, records, _)| &**records).collect();
    let dns = NameServer::start(Duration::ZERO, &zone.join("\n"));
    let mut exchange = Exchange::default().member("acme", &[Endpoint::sender("acme-1", acme)], &[]);
    let prefix = |index: usize| format!("+4930{index}");
    for (index, (name, ..)) in lies.iter().enumerate() {
        let endpoint = Endpoint::new(&format!("{name}-1"), peer_address(), &format!("sip:pbx.{name}.test"));
        exchange = exchange.member(name, &[endpoint], &[&prefix(index)]).agreement("acme", name);
    }
    let settings =
        Settings { name_server: Some(dns.address), private_addresses: false, ..Settings::default() };
    let hub = Hub::with(&settings, &exchange);
    let unresolved = ["state=\"unresolved\""];
    until("every name to be looked up", Duration::from_secs(20), || {
        (hub.metrics().sum("tandem_dns_names", &unresolved) == lies.len() as f64).then_some(())
    });
    let caller = Socket::at(acme);
    for (index, (name, _, reason)) in lies.iter().enumerate() {
        let refused = caller.ask(hub.sip, &caller.invite(hub.sip, &format!("{}1234567", prefix(index))));
        assert_eq!(refused.status, 503, "{name}: {}", refused.text);
        assert!(refused.text.contains(&format!("399 tandem \"{reason}: ")), "{name}: {}", refused.text);
    }
    assert_eq!(trap.receive(Duration::from_millis(200)), None, "nothing was sent inside");

    // A time to live of 0 does not have the DNS asked without end.
    let before = dns.asked("pbx.metadata.test");
    sleep(Duration::from_secs(12));
    let asked = dns.asked("pbx.metadata.test") - before;
    // NAPTR and the addresses, every 3.5 to 5 s.
    assert!((2..=8).contains(&asked), "{asked} questions in 12 s");
}

#[test]
fn no_name_leads_the_hub_to_itself() {
    let acme = peer_address();
    let mut dns = Dnsmasq::start(60, &[]);
    let settings = Settings { name_server: Some(dns.address), ..Settings::default() };
    let hub = Hub::with(&settings, &Exchange::of_two(acme, &[]));
    dns.start_again(
        60,
        &[
            srv("_sip._udp.globex.test", "hub.globex.test", hub.sip.port(), 1, 1),
            format!("host-record=hub.globex.test,{}", hub.sip.ip()),
        ],
    );
    let endpoint = Endpoint::new("globex-1", peer_address(), "sip:globex.test");
    hub.apply(&Exchange::of_two(acme, &[endpoint]));
    until("the name to be looked up", Duration::from_secs(20), || {
        (hub.metrics().sum("tandem_dns_names", &["state=\"unresolved\""]) == 1.0).then_some(())
    });
    let caller = Socket::at(acme);
    let refused = caller.ask(hub.sip, &caller.invite(hub.sip, CALLED));
    assert!(refused.text.contains("399 tandem \"target_forbidden: "), "{}", refused.text);
}

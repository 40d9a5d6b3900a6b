//! Any leg to any leg: UDP, TCP, TLS and mutual TLS over IPv4 and IPv6; and certificates that come and go while
//! calls are up.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tandem_tests::address::free_port;
use tandem_tests::pki::{Authority, Certificate, replace};
use tandem_tests::proxy::{Places, Proxy};
use tandem_tests::sipp::{Load, Numbers, Transport, caller, gateway};
use tandem_tests::{Endpoint, Exchange, Hub, Settings, Sipp, now, peer_address, until};

const SOON: Duration = Duration::from_secs(60);

const CALLER: [&str; 5] = [caller::INVITE, caller::ANSWERED, caller::ACK, caller::HOLD, caller::BYE];
const GATEWAY: [&str; 4] = [gateway::INVITE_COMES, gateway::RING, gateway::ANSWER, gateway::BYE_COMES];

const SIX: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A hub that speaks everything, and the authority of all certificates.
struct Place {
    authority: Authority,
    own: Certificate,
    four: SocketAddr,
    six: SocketAddr,
    four_tls: SocketAddr,
    six_tls: SocketAddr,
}

impl Place {
    fn new() -> Self {
        let authority = Authority::new();
        let four = peer_address();
        // Switches that look at it as a client's want it to be one for clients too.
        let own = authority.issue_with(1, &["hub.example", &four.to_string(), "::1"], for_both);
        let port = |ip| free_port(ip);
        Self { four: port(four), six: port(SIX), four_tls: port(four), six_tls: port(SIX), own, authority }
    }

    fn settings(&self) -> Settings {
        let listener = |address: SocketAddr, transport: &str| {
            format!("[[listener]]\nsite = \"test\"\naddress = \"{address}\"\ntransport = \"{transport}\"\n")
        };
        let mut more = format!(
            "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\ntrust = \"{}\"\nrevoked = \"{}\"\n",
            self.own.certificate.display(),
            self.own.key.display(),
            self.authority.trust().display(),
            self.authority.revoked().display(),
        );
        for (address, transport) in [
            (self.four, "udp"),
            (self.four, "tcp"),
            (self.four_tls, "tls"),
            (self.six, "udp"),
            (self.six, "tcp"),
            (self.six_tls, "tls"),
        ] {
            more += &listener(address, transport);
        }
        Settings { more, ..Settings::default() }
    }
}

/// For servers and for clients, as the hub's own must be where a switch asks for it.
fn for_both(params: &mut rcgen::CertificateParams) {
    params.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
}

fn certificate(name: &str) -> String {
    format!("certificate = [\"{name}\"]")
}

#[test]
fn a_call_goes_from_every_transport_to_every_other_over_both_families() {
    let place = Place::new();
    let Place { authority, four, six, four_tls, six_tls, .. } = &place;
    let (plain_ip, mutual_ip) = (peer_address(), peer_address());
    let plain = authority.issue(2, &["plain.example", &plain_ip.to_string(), "::1"]);
    let mutual = authority.issue(3, &["mutual.example", &mutual_ip.to_string(), "::1"]);

    let gateways = [
        Sipp::takes_calls(peer_address(), Transport::Udp, &GATEWAY),
        Sipp::takes_calls(peer_address(), Transport::Tcp, &GATEWAY),
        Sipp::takes_calls(SIX, Transport::Udp, &GATEWAY),
        Sipp::takes_calls(SIX, Transport::Tcp, &GATEWAY),
    ];
    let behind = Sipp::takes_calls(peer_address(), Transport::Udp, &GATEWAY);
    let places = |four_ip: IpAddr| {
        [(four_ip, *four_tls), (SIX, *six_tls)].map(|(outside, hub)| Places {
            inside: free_port(peer_address()),
            outside: free_port(outside),
            hub,
            gateway: behind.address,
        })
    };
    let (plain_places, mutual_places) = (places(plain_ip), places(mutual_ip));
    let _plain = Proxy::start(&plain_places, authority, &plain, false);
    let _mutual = Proxy::start(&mutual_places, authority, &mutual, true);

    // One called number for each kind of called switch.
    let tls = |address: SocketAddr| format!("sip:{address};transport=tls");
    let targets = [
        gateways[0].target(Transport::Udp),
        gateways[1].target(Transport::Tcp),
        gateways[2].target(Transport::Udp),
        gateways[3].target(Transport::Tcp),
        tls(plain_places[0].outside),
        tls(plain_places[1].outside),
        tls(mutual_places[0].outside),
        tls(mutual_places[1].outside),
    ];
    let callers = [peer_address(), peer_address()];
    let sender = |name: &str, ip: IpAddr| Endpoint::sender(name, ip);
    let mutual_sender =
        Endpoint { source: None, more: certificate("mutual.example"), ..sender("acme-4", SIX) };
    let mut exchange = Exchange::default().member(
        "acme",
        &[
            sender("acme-1", callers[0]),
            sender("acme-2", callers[1]),
            sender("acme-3", plain_ip),
            mutual_sender,
            sender("acme-6", SIX),
        ],
        &[],
    );
    for (n, target) in targets.iter().enumerate() {
        // Over TLS the far side proves the endpoint's name, or the address where it has none.
        let more = if n == 4 { certificate("plain.example") } else { String::new() };
        let name = format!("called-{n}");
        let endpoint = Endpoint { source: None, more, ..Endpoint::new(&name, SIX, target) };
        let prefix = format!("+4420{n}");
        exchange = exchange.member(&name, &[endpoint], &[&prefix]).agreement("acme", &name);
    }
    let hub = Hub::with(&place.settings(), &exchange);

    let load = Load::one(Duration::from_millis(50));
    let mut failures = Vec::new();
    for (n, target) in targets.iter().enumerate() {
        let called = format!("+4420{n}7946000");
        let numbers = Numbers { calling: "+88201", called: &called };
        let call = |ip, to, transport| Sipp::calls(ip, to, transport, &CALLER, load, numbers);
        let calls = [
            ("UDP over IPv4", call(callers[0], *four, Transport::Udp)),
            ("TCP over IPv4", call(callers[1], *four, Transport::Tcp)),
            ("UDP over IPv6", call(SIX, *six, Transport::Udp)),
            ("TCP over IPv6", call(SIX, *six, Transport::Tcp)),
            ("TLS over IPv4", call(peer_address(), plain_places[0].inside, Transport::Udp)),
            ("TLS over IPv6", call(peer_address(), plain_places[1].inside, Transport::Udp)),
            ("mutual TLS over IPv4", call(peer_address(), mutual_places[0].inside, Transport::Udp)),
            ("mutual TLS over IPv6", call(peer_address(), mutual_places[1].inside, Transport::Udp)),
        ];
        for (kind, sipp) in calls {
            let report = sipp.finish(SOON);
            if (report.successful, report.failed, report.unexpected) != (1, 0, 0) {
                failures.push(format!("{kind} to {target}: {}", report.errors));
            }
        }
    }
    assert!(failures.is_empty(), "{} of 64 failed:\n{}", failures.len(), failures.join("\n"));
    let handshakes = hub.metrics().sum("tandem_tls_handshakes_total", &["outcome=\"done\""]);
    assert!(handshakes >= 8.0, "{handshakes} handshakes");
}

/// A mutual proxy of acme in front of `caller`s, and globex at a gateway over UDP.
fn exchange_over(place: &Place, gateway: &Sipp, mutual: &Certificate) -> (Hub, Proxy, Places, Exchange) {
    let ip = peer_address();
    let places = Places {
        inside: free_port(peer_address()),
        outside: free_port(ip),
        hub: place.four_tls,
        gateway: gateway.address,
    };
    let proxy = Proxy::start(&[places], &place.authority, mutual, true);
    let acme = Endpoint { source: None, more: certificate("acme.example"), ..Endpoint::sender("acme-1", ip) };
    let target = gateway.target(Transport::Udp);
    let exchange = Exchange::default()
        .member("acme", &[acme, Endpoint::sender("acme-2", peer_address())], &[])
        .member("globex", &[Endpoint::new("globex-1", gateway.address.ip(), &target)], &["+44207946"])
        .agreement("acme", "globex");
    (Hub::with(&place.settings(), &exchange), proxy, places, exchange)
}

#[test]
fn certificates_are_rolled_over_and_revoked_while_calls_are_up() {
    let place = Place::new();
    let gateway = Sipp::takes_calls(peer_address(), Transport::Udp, &GATEWAY);
    let mutual = place.authority.issue(2, &["acme.example"]);
    let (hub, _proxy, places, _) = exchange_over(&place, &gateway, &mutual);
    let numbers = Numbers { calling: "+88201", called: tandem_tests::CALLED };
    let call =
        |hold| Sipp::calls(peer_address(), places.inside, Transport::Udp, &CALLER, Load::one(hold), numbers);
    let up = || hub.metrics().sum("tandem_active_calls", &[]);

    let lasting = call(Duration::from_secs(20));
    until("the call to be up", SOON, || (up() >= 1.0).then_some(()));
    // The hub's next certificate, with its key, in the place of the one it has.
    let expires = || hub.metrics().sum("tandem_tls_certificate_expires_timestamp_seconds", &[]);
    let names = ["hub.example", &place.four_tls.ip().to_string()];
    let (before, next) = (expires(), place.authority.issue_with(7, &names, for_both));
    for (new, old) in [(&next.key, &place.own.key), (&next.certificate, &place.own.certificate)] {
        replace(old, &fs::read_to_string(new).expect("it was issued"));
    }
    until("the next certificate to be in use", Duration::from_secs(30), || {
        (expires() > before).then_some(())
    });
    call(Duration::from_millis(50)).finish(SOON).assert_all_went_well(1);

    // The member's is revoked: it is not known by it any more, and the call that is up goes on.
    place.authority.revoke(&[&mutual]);
    let unknown = || hub.metrics().sum("tandem_drops_total", &["reason=\"unknown_source\""]);
    let refused = until("a call of the revoked member to be dropped", Duration::from_secs(30), || {
        let attempt = call(Duration::from_millis(50));
        let began = now();
        while began.elapsed() < Duration::from_secs(2) {
            if unknown() > 0.0 {
                return Some(attempt);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    });
    drop(refused);
    lasting.finish(SOON).assert_all_went_well(1);
}

/// Handshakes that go no further than a few octets.
const HALF_DONE: usize = 500;

#[test]
fn half_done_handshakes_are_shed_while_calls_go_on() {
    let place = Place::new();
    let gateway = Sipp::takes_calls(peer_address(), Transport::Udp, &GATEWAY);
    let mutual = place.authority.issue(2, &["acme.example"]);
    let (hub, _proxy, places, _) = exchange_over(&place, &gateway, &mutual);
    let memory = hub.resident_kb();
    let (rate, calls) = (10, 100);
    let load = Load { rate, calls, hold: Duration::from_millis(500) };
    let numbers = Numbers { calling: "+88201", called: tandem_tests::CALLED };
    let traffic = Sipp::calls(peer_address(), places.inside, Transport::Udp, &CALLER, load, numbers);

    let sources: Vec<IpAddr> = (0..20).map(|_| peer_address()).collect();
    let mut open: Vec<TcpStream> = (0..HALF_DONE)
        .map(|n| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let socket = socket.expect("the system gives a socket");
            socket.bind(&SocketAddr::new(sources[n % sources.len()], 0).into()).expect("it is ours");
            socket.connect(&place.four_tls.into()).expect("the hub listens");
            socket.set_nonblocking(true).expect("a socket can be told not to wait");
            TcpStream::from(socket)
        })
        .collect();
    let opened = now();
    let is_open = |mut stream: &TcpStream| match stream.read(&mut [0; 64]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    };
    // The beginning of a TLS record that would hold a ClientHello, an octet a second.
    for octet in [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0] {
        for mut stream in &open {
            let _ = stream.write(&[octet]);
        }
        open.retain(is_open);
        if open.is_empty() {
            break;
        }
        // Not waiting for a condition: this is how fast it drips.
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(open.is_empty(), "{} handshakes drip on after {:?}", open.len(), opened.elapsed());
    traffic.finish(SOON).assert_all_went_well(calls);
    let grown = hub.resident_kb().saturating_sub(memory);
    assert!(grown <= 100 << 10, "memory grew by {grown} kB");
    let late = hub.metrics().sum("tandem_tls_handshakes_total", &["outcome=\"timed_out\""]);
    assert!(late >= HALF_DONE as f64, "{late} handshakes ended for their slowness");
}

/// Sends OPTIONS over TLS from `from` with openssl's own client; the first line that comes back, if one does.
fn options_by_openssl(from: IpAddr, hub: SocketAddr, trust: &Path, more: &[&str]) -> Option<String> {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-quiet", "-no_ign_eof", "-verify_return_error", "-connect", &hub.to_string()]);
    client
        .args(["-bind", &format!("{from}:0"), "-verify_ip", &hub.ip().to_string(), "-CAfile"])
        .arg(trust)
        .args(more);
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = client.spawn().expect("openssl is there");
    let request = format!(
        "OPTIONS sip:{hub} SIP/2.0\r\nVia: SIP/2.0/TLS {from}:5061;branch=z9hG4bKo\r\nMax-Forwards: 70\r\n\
         From: <sip:o@{from}>;tag=o\r\nTo: <sip:{hub}>\r\nCall-ID: o@{from}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let mut input = client.stdin.take().expect("it is piped");
    let _ = input.write_all(request.as_bytes());
    let mut output = client.stdout.take().expect("it is piped");
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut octets = [0; 1_024];
        let count = output.read(&mut octets).unwrap_or(0);
        let _ = sender.send(String::from_utf8_lossy(&octets[..count]).lines().next().map(str::to_owned));
    });
    let line = receiver.recv_timeout(Duration::from_secs(10)).ok().flatten();
    drop(input);
    let _ = client.kill();
    let _ = client.wait();
    let _ = reader.join();
    line
}

#[test]
fn only_a_certificate_that_holds_makes_a_peer_known_and_only_modern_tls_is_spoken() {
    let place = Place::new();
    let (authority, foreign) = (&place.authority, Authority::new());
    let known = peer_address();
    let revoked = authority.issue(20, &["acme.example"]);
    authority.revoke(&[&revoked]);
    let year = rcgen::date_time_ymd;
    let acme = &["acme.example"][..];
    let certificates = [
        ("good", authority.issue(21, acme), true),
        ("good among other names", authority.issue(22, &["other.example", "acme.example"]), true),
        ("revoked", revoked, false),
        ("ended", authority.issue_with(23, acme, |it| it.not_after = year(2020, 1, 1)), false),
        ("not begun", authority.issue_with(24, acme, |it| it.not_before = year(2090, 1, 1)), false),
        (
            "for mail",
            authority.issue_with(25, acme, |it| {
                it.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::EmailProtection];
            }),
            false,
        ),
        ("of a foreign authority", foreign.issue(26, acme), false),
        ("of nobody here", authority.issue(27, &["initech.example"]), false),
        ("a wildcard", authority.issue(28, &["*.example"]), false),
    ];
    let endpoint = Endpoint { more: certificate("acme.example"), ..Endpoint::sender("acme-1", known) };
    let hub = Hub::with(&place.settings(), &Exchange::default().member("acme", &[endpoint], &[]));
    let ask =
        |from: IpAddr, more: &[&str]| options_by_openssl(from, place.four_tls, &authority.trust(), more);
    for (what, shown, is_known) in &certificates {
        let (file, key) = (shown.certificate.to_str().expect("UTF-8"), shown.key.to_str().expect("UTF-8"));
        let answer = ask(peer_address(), &["-cert", file, "-key", key]);
        let answered = answer.as_deref() == Some("SIP/2.0 200 OK");
        assert_eq!(answered, *is_known, "a certificate that is {what}: {answer:?}");
    }
    // Without one, the address decides; and nothing older than TLS 1.2 is spoken.
    let ok = Some("SIP/2.0 200 OK".to_owned());
    assert_eq!(ask(peer_address(), &[]), None, "an address of no endpoint");
    for (version, answer) in [("-tls1_3", &ok), ("-tls1_2", &ok), ("-tls1_1", &None), ("-tls1", &None)] {
        assert_eq!(&ask(known, &[version, "-cipher", "DEFAULT@SECLEVEL=0"]), answer, "{version}");
    }
    let strangers = hub.metrics().sum("tandem_tls_handshakes_total", &["outcome=\"stranger\""]);
    assert!(strangers >= 2.0, "{strangers} strangers shook hands");
}

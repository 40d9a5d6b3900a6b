//! Whom the hub calls over TLS: a switch that proves the endpoint's name by a certificate that holds, on a connection that
//! was opened for that endpoint (RFC 5922 §7, CVE-2020-15260). openssl's own server stands for the switches.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use tandem_tests::address::free_port;
use tandem_tests::child::Child;
use tandem_tests::pki::{Authority, Certificate};
use tandem_tests::{Endpoint, Exchange, Hub, Settings, Socket, peer_address, until};

/// The name of a switch.
fn name_of(n: usize) -> String {
    format!("switch-{n}.example")
}

/// A TLS server that writes down what it is sent, and answers nothing.
struct Server {
    address: SocketAddr,
    log: PathBuf,
    _child: Child,
    /// It ends when its input does.
    _input: std::io::PipeWriter,
}

impl Server {
    fn start(place: &Authority, name: &str, certificate: &PathBuf, key: &PathBuf, more: &[&str]) -> Self {
        let address = free_port(peer_address());
        let log = place.file(&format!("{name}.log"));
        let mut server = Command::new("openssl");
        server.args(["s_server", "-quiet", "-accept", &address.to_string()]).args(more);
        server.arg("-cert").arg(certificate).arg("-key").arg(key);
        let (reader, input) = std::io::pipe().expect("the system gives a pipe");
        let child = Child::start_reading(reader, "openssl s_server", &mut server, &log);
        until("the server to listen", Duration::from_secs(10), || {
            // Looked for in the system's table: a connection would be the one that it serves.
            let entry = format!(":{:04X} ", address.port());
            let table = fs::read_to_string("/proc/net/tcp").ok()?;
            table.lines().any(|line| line.contains(&entry) && line.contains(" 0A ")).then_some(())
        });
        Self { address, log, _child: child, _input: input }
    }

    fn got(&self, called: &str) -> bool {
        let text = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text).contains(&format!("INVITE sip:{called}@"))
    }
}

/// The hub's settings, with TLS by this authority.
fn settings(authority: &Authority, own: &Certificate, listener: SocketAddr) -> Settings {
    let more = format!(
        "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\ntrust = \"{}\"\nrevoked = \"{}\"\n\
         [[listener]]\nsite = \"test\"\naddress = \"{listener}\"\ntransport = \"tls\"\n",
        own.certificate.display(),
        own.key.display(),
        authority.trust().display(),
        authority.revoked().display(),
    );
    Settings { more, ..Settings::default() }
}

/// A member at each address, whose switch has the name of its place; with the numbers that lead to them.
fn exchange(caller: &Socket, switches: &[SocketAddr]) -> (Exchange, Vec<String>) {
    let ip = caller.address().ip();
    let mut exchange = Exchange::default().member("acme", &[Endpoint::sender("acme-1", ip)], &[]);
    let mut numbers = Vec::new();
    for (n, address) in switches.iter().enumerate() {
        let (name, prefix) = (format!("called-{n}"), format!("+44207946{n:02}"));
        let target = format!("sip:{address};transport=tls");
        let more = format!("certificate = [\"{}\"]", name_of(n));
        let endpoint = Endpoint { source: None, more, ..Endpoint::new(&name, address.ip(), &target) };
        exchange = exchange.member(&name, &[endpoint], &[&prefix]).agreement("acme", &name);
        numbers.push(format!("{prefix}00"));
    }
    (exchange, numbers)
}

#[test]
fn only_a_switch_that_proves_its_name_by_a_certificate_that_holds_is_called() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let own = authority.issue(1, &["hub.example"]);
    let usage = |usage: ExtendedKeyUsagePurpose| {
        move |it: &mut CertificateParams| it.extended_key_usages = vec![usage.clone()]
    };
    let good = |n| authority.issue(10 + n as u64, &[&name_of(n)]);
    let with = |n, change: &dyn Fn(&mut CertificateParams)| {
        authority.issue_with(10 + n as u64, &[&name_of(n)], |params| change(params))
    };
    let revoked = good(8);
    authority.revoke(&[&revoked]);
    let signed_by_itself = {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name_of(10)]).expect("a DNS name is ASCII");
        let certificate = params.self_signed(&key).expect("it signs itself");
        let (own, own_key) = (authority.file("own.pem"), authority.file("own-key.pem"));
        fs::write(&own, certificate.pem()).expect("the folder is ours");
        fs::write(&own_key, key.serialize_pem()).expect("the folder is ours");
        (own, own_key)
    };
    let files = |it: Certificate| (it.certificate, it.key);
    let old: &[&str] = &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"];
    let none: &[&str] = &[];
    // The place of each is the number in its name.
    let cases = [
        ("good", files(good(0)), none, true),
        (
            "good among others",
            files(authority.issue(11, &["other.example", &name_of(1)])),
            &["-no_tls1_3"],
            true,
        ),
        ("of another name", files(authority.issue(12, &["other.example"])), none, false),
        ("of no name", files(with(3, &|it| it.subject_alt_names.clear())), none, false),
        ("ended", files(with(4, &|it| it.not_after = date_time_ymd(2020, 1, 1))), none, false),
        ("not begun", files(with(5, &|it| it.not_before = date_time_ymd(2090, 1, 1))), none, false),
        ("for mail", files(with(6, &usage(ExtendedKeyUsagePurpose::EmailProtection))), none, false),
        ("for clients", files(with(7, &usage(ExtendedKeyUsagePurpose::ClientAuth))), none, false),
        ("revoked", files(revoked), none, false),
        ("of a foreign authority", files(foreign.issue(19, &[&name_of(9)])), none, false),
        ("signed by itself", signed_by_itself, none, false),
        ("of an old version", files(good(11)), old, false),
    ];
    let start = |(n, (_, (certificate, key), more, _)): (usize, &(_, _, &[&str], _))| {
        Server::start(&authority, &format!("server-{n}"), certificate, key, more)
    };
    let servers: Vec<Server> = cases.iter().enumerate().map(start).collect();
    let switches: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let caller = Socket::new();
    let (exchange, numbers) = exchange(&caller, &switches);
    let hub = Hub::with(&settings(&authority, &own, free_port(peer_address())), &exchange);
    for ((server, called), (what, _, _, is_called)) in servers.iter().zip(&numbers).zip(&cases) {
        let refused = caller.ask(hub.sip, &caller.invite(hub.sip, called));
        assert!(refused.status >= 500, "{what}: nobody answers: {}", refused.text);
        assert_eq!(server.got(called), *is_called, "{what}: {}", refused.text);
    }
    let failed = hub.metrics().sum("tandem_tls_handshakes_total", &["outcome=\"failed\""]);
    assert!(failed >= 10.0, "{failed} handshakes failed");
}

#[test]
fn a_connection_that_was_opened_for_one_endpoint_carries_no_call_to_another() {
    let authority = Authority::new();
    let own = authority.issue(1, &["hub.example"]);
    let Certificate { certificate, key, .. } = authority.issue(2, &[&name_of(0)]);
    let server = Server::start(&authority, "shared", &certificate, &key, &[]);
    // Two members at one address, of which the server proves one name.
    let caller = Socket::new();
    let (exchange, numbers) = exchange(&caller, &[server.address; 2]);
    let hub = Hub::with(&settings(&authority, &own, free_port(peer_address())), &exchange);
    for (called, is_called) in numbers.iter().zip([true, false]) {
        let refused = caller.ask(hub.sip, &caller.invite(hub.sip, called));
        assert!(refused.status >= 500, "nobody answers: {}", refused.text);
        assert_eq!(server.got(called), is_called, "{called}: {}", refused.text);
    }
    // That of the first one is still open, and takes its next call.
    let done = || hub.metrics().sum("tandem_tls_handshakes_total", &["outcome=\"done\""]);
    assert_eq!(done(), 1.0);
    let refused = caller.ask(hub.sip, &caller.invite(hub.sip, &numbers[0]));
    assert_eq!((refused.status >= 500, done()), (true, 1.0), "{}", refused.text);
}

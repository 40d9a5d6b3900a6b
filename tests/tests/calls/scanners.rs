//! The programs with which strangers look for SIP servers, sipsak and SIPVicious as Debian has them: they find a hub only
//! from an address of a member, and hear nothing from anywhere else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Output, Stdio};

use tandem_tests::address::free_port;
use tandem_tests::{Exchange, Hub, peer_address};

/// From where sipsak sends: it takes no address.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Asks the hub by OPTIONS; where nothing comes back sipsak gives up after 64 times 20 ms.
fn sipsak(hub: SocketAddr) -> Output {
    let uri = format!("sip:{hub}");
    Command::new("sipsak").args(["-vv", "--timer-t1=20", "-s", &uri]).output().expect("sipsak is there")
}

/// What a scanner of SIPVicious printed and logged, which sent from `from`.
fn scan(program: &str, from: IpAddr, hub: SocketAddr, more: &[&str]) -> (String, String) {
    let port = free_port(from).port().to_string();
    let (from, hub_port) = (from.to_string(), hub.port().to_string());
    let mut scanner = Command::new(program);
    scanner.args(["-b", &from, "-P", &port, "-p", &hub_port]).args(more).arg(hub.ip().to_string());
    let output = scanner.stdin(Stdio::null()).output();
    let Output { stdout, stderr, .. } = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}

/// How many messages of strangers were dropped, the one for which a source is banned included.
fn dropped(hub: &Hub) -> f64 {
    let metrics = hub.metrics();
    let drops = ["reason=\"unknown_source\"", "reason=\"source_banned\""];
    let drops: f64 = drops.iter().map(|reason| metrics.sum("tandem_drops_total", &[reason])).sum();
    drops + metrics.sum("tandem_source_bans_total", &[])
}

#[test]
fn sipsak_of_a_member_is_answered() {
    let hub = Hub::start(&Exchange::of_two(LOOPBACK, &[]));
    let output = sipsak(hub.sip);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("SIP/2.0 200 OK"), "{said}");
}

#[test]
fn sipsak_of_a_stranger_gets_nothing_back() {
    let hub = Hub::start(&Exchange::of_two(peer_address(), &[]));
    let output = sipsak(hub.sip);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !said.contains("SIP/2.0 "), "{said}");
    assert!(dropped(&hub) >= 2.0, "it was heard");
}

#[test]
fn scanners_of_strangers_find_nothing_and_one_of_a_member_finds_the_hub() {
    let member = peer_address();
    let hub = Hub::start(&Exchange::of_two(member, &[]));
    let (found, logged) = scan("svmap", member, hub.sip, &[]);
    assert!(found.contains(&hub.sip.to_string()), "{found}{logged}");
    for (program, more) in [
        ("svmap", &[][..]),
        ("svmap", &["-m", "INVITE"]),
        ("svwar", &["-e", "100-102"]),
        ("svcrack", &["-u", "100", "-r", "1-3"]),
    ] {
        let before = dropped(&hub);
        let (found, logged) = scan(program, peer_address(), hub.sip, more);
        assert!(found.is_empty() && logged.contains("found nothing"), "{program}: {found}{logged}");
        assert!(dropped(&hub) > before, "{program} was heard");
    }
}

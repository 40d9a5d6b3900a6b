//! A member's switch asks the hub by ENUM (RFC 6116) where a number leads, with `dig` as the one that asks.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use tandem_tests::address::free_port;
use tandem_tests::{CALLED, Endpoint, Exchange, Hub, PREFIX, Settings, peer_address, until};

/// Announced by nobody.
const NOWHERE: &str = "+493012345678";

/// A hub with an ENUM listener, in which `acme` sends from an address and may call `globex`.
fn hub(acme: IpAddr, globex: IpAddr) -> (Hub, SocketAddr) {
    let listener = free_port(peer_address());
    let more = format!("[enum]\naddress = \"{listener}\"\nsuffix = \"e164.test\"\nttl_s = 7");
    let settings = Settings { more, ..Settings::default() };
    let endpoint = Endpoint::new("globex-1", globex, &format!("sip:{globex}:5060;transport=udp"));
    (Hub::with(&settings, &Exchange::of_two(acme, &[endpoint])), listener)
}

/// The name under which a number is asked for.
fn name(number: &str) -> String {
    let digits: Vec<String> = number.trim_start_matches('+').chars().rev().map(String::from).collect();
    format!("{}.e164.test", digits.join("."))
}

/// What dig prints: the whole answer.
fn dig(from: IpAddr, server: SocketAddr, words: &[&str]) -> String {
    let mut dig = Command::new("dig");
    dig.arg(format!("@{}", server.ip())).args(["-p", &server.port().to_string(), "-b", &from.to_string()]);
    let output = dig.args(["+tries=1", "+timeout=2", "+norecurse"]).args(words).output().expect("dig runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn dig_gets_a_naptr_that_leads_to_the_hub_where_the_member_has_a_route() {
    let (acme, globex) = (peer_address(), peer_address());
    let (hub, listener) = hub(acme, globex);
    for carrier in ["+notcp", "+tcp"] {
        let text = dig(acme, listener, &[carrier, &name(CALLED), "NAPTR"]);
        assert!(text.contains("status: NOERROR") && text.contains("flags: qr aa;"), "{text}");
        let record = text.lines().find(|line| line.contains("IN\tNAPTR\t") && !line.starts_with(';'));
        let record = record.unwrap_or_else(|| panic!("no record:\n{text}"));
        let words: Vec<&str> = record.split_whitespace().skip(1).collect();
        let uri = format!("\"!^.*$!sip:{CALLED}@{};user=phone!\"", hub.sip);
        assert_eq!(words, ["7", "IN", "NAPTR", "100", "10", "\"u\"", "\"E2U+sip\"", &uri, "."], "{text}");
        assert!(!text.contains(&globex.to_string()), "another member's address: {text}");

        let text = dig(acme, listener, &[carrier, &name(NOWHERE), "NAPTR"]);
        assert!(text.contains("status: NXDOMAIN") && text.contains("ANSWER: 0"), "{text}");
        let text = dig(acme, listener, &[carrier, &name(CALLED), "AAAA"]);
        assert!(text.contains("status: NOERROR") && text.contains("ANSWER: 0"), "{text}");
    }
    // The holder's own number has no route through the exchange.
    let text = dig(globex, listener, &[&name(CALLED), "NAPTR"]);
    assert!(text.contains("status: NXDOMAIN"), "{text}");
    // Nor has one that is longer than a number can be: a call to it would be refused.
    let text = dig(acme, listener, &[&name(&format!("{CALLED}12")), "NAPTR"]);
    assert!(text.contains("status: NXDOMAIN"), "{text}");
    let counted = |outcome: &str| hub.metrics().sum("tandem_enum_questions_total", &[outcome]);
    assert!((counted("outcome=\"answered\"") - 2.0).abs() < 0.1);
    assert!((counted("outcome=\"no_route\"") - 4.0).abs() < 0.1);
    assert!((counted("outcome=\"no_data\"") - 2.0).abs() < 0.1);
}

#[test]
fn a_stranger_gets_nothing_back_by_udp_or_tcp() {
    let (hub, listener) = hub(peer_address(), peer_address());
    let stranger = peer_address();
    for carrier in ["+notcp", "+tcp"] {
        let text = dig(stranger, listener, &[carrier, &name(CALLED), "NAPTR"]);
        assert!(!text.contains("status:"), "{text}");
    }
    assert!(hub.metrics().sum("tandem_enum_questions_total", &["outcome=\"stranger\""]) >= 2.0);
}

#[test]
fn a_withdrawn_announcement_is_seen_at_once() {
    let acme = peer_address();
    let (hub, listener) = hub(acme, peer_address());
    let ask = || dig(acme, listener, &[&name(CALLED), "NAPTR"]);
    assert!(ask().contains("status: NOERROR"));
    let globex = hub.api_of("globex");
    let member = hub.api.member_id("globex");
    let announcements = globex.all(&format!("/members/{member}/announcements"));
    let announcement = announcements.iter().find(|it| it["prefix"] == PREFIX).expect("it is announced");
    let id = announcement["announcement_id"].as_str().expect("it has an id");
    globex.delete(&format!("/members/{member}/announcements/{id}"));
    until("the number to be gone", Duration::from_secs(5), || {
        ask().contains("status: NXDOMAIN").then_some(())
    });
}

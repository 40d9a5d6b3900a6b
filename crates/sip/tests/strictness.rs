//! Where two readers could take a message in two ways, and where others broke: one row for each, with the verdict.
//!
//! The numbers behind some rows are those of public incidents. What is refused is answered too, by a clean
//! message; each test sees to that.

use tandem_sip::judge::{MAX_HOPS, MAX_IDENTIFIER, MAX_NAME};
use tandem_sip::{Fault, MAX_BODY, MAX_HEAD, MAX_HEADERS, Message, Name, judge, refuse};

const ORDINARY: &[(&str, &str)] = &[
    ("Via", "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport"),
    ("Max-Forwards", "Max-Forwards: 70"),
    ("From", "From: \"A\" <sip:a@acme.example>;tag=1"),
    ("To", "To: <sip:b@hub.example>"),
    ("Call-ID", "Call-ID: x@acme.example"),
    ("CSeq", "CSeq: 1 INVITE"),
    ("Contact", "Contact: <sip:a@192.0.2.1>"),
    ("Content-Length", "Content-Length: 4"),
];

/// An INVITE in which one header line is another, or one more where it has none of that name.
fn invite(name: &str, line: &str) -> Vec<u8> {
    let mut octets = b"INVITE sip:+442079460000@hub.example SIP/2.0\r\n".to_vec();
    for (ordinary, text) in ORDINARY {
        octets.extend_from_slice(if *ordinary == name { line.as_bytes() } else { text.as_bytes() });
        octets.extend_from_slice(b"\r\n");
    }
    if !ORDINARY.iter().any(|(ordinary, _)| *ordinary == name) {
        octets.extend_from_slice(line.as_bytes());
        octets.extend_from_slice(b"\r\n");
    }
    octets.extend_from_slice(b"\r\nbody");
    octets
}

/// The verdict on a request; where it is refused, that its refusal is clean and can be matched with it.
fn verdict_of(octets: &[u8]) -> Result<(), Fault> {
    let message = Message::parse(octets).unwrap();
    let verdict = judge(&message);
    let Err(fault) = verdict else { return verdict };
    let mut out = Vec::new();
    if refuse(&mut out, &message, "192.0.2.1:5060".parse().unwrap(), fault, b"t", |_| {}) {
        let refusal = Message::parse(&out).unwrap();
        assert_eq!(judge(&refusal), Ok(()), "{}", out.escape_ascii());
        assert_eq!(refusal.status(), Some(fault.status()));
        // A branch that is no word cannot be repeated.
        if let Ok(via) = message.top_via()
            && via.branch.is_none_or(|branch| !branch.contains(&b'<'))
        {
            assert_eq!(refusal.top_via().unwrap().branch, via.branch, "{}", out.escape_ascii());
        }
    }
    verdict
}

fn verdict(name: &str, line: &str) -> Result<(), Fault> {
    verdict_of(&invite(name, line))
}

/// Each line, in place of the one of that name, has that fault.
fn all_refused(name: &str, fault: Fault, lines: &[&str]) {
    for line in lines {
        assert_eq!(verdict(name, line), Err(fault), "{line:?}");
    }
}

#[test]
fn what_there_may_be_one_of_is_refused_in_every_spelling_of_the_second() {
    assert_eq!(verdict("Contact", ORDINARY[6].1), Ok(()));
    for (name, full, compact) in [
        (Name::From, "From", "f"),
        (Name::To, "To", "t"),
        (Name::CallId, "Call-ID", "i"),
        (Name::Contact, "Contact", "m"),
        (Name::ContentLength, "Content-Length", "l"),
        (Name::CSeq, "CSeq", "CSEQ"),
        (Name::MaxForwards, "Max-Forwards", "mAX-fORWARDS"),
    ] {
        let value =
            ORDINARY.iter().find(|(ordinary, _)| *ordinary == full).unwrap().1.split_once(": ").unwrap().1;
        // The lengths may both be there when they agree.
        let value = if name == Name::ContentLength { "5" } else { value };
        for spelling in [full, compact, &full.to_ascii_uppercase(), &full.to_ascii_lowercase()] {
            for colon in [":", ": ", " :", "\t: ", " \t :\r\n "] {
                let line = format!("{spelling}{colon}{value}");
                assert_eq!(verdict("another", &line), Err(Fault::Repeated(name)), "{line:?}");
            }
        }
    }
}

#[test]
fn control_octets_are_no_blanks() {
    // Asterisk CVE-2016-9938.
    for octet in (0..0x20).chain([0x7f]).filter(|octet| !matches!(octet, b'\t')) {
        let octet = char::from(octet);
        for (name, line) in [
            ("Content-Length", format!("Content-Length{octet}: 4")),
            ("Content-Length", format!("Content-Length:{octet}4")),
            ("another", format!("{octet}X: 1")),
            ("another", format!("X{octet}: 1")),
            ("another", format!("X: 1{octet}")),
            ("another", format!("X: \"\\\\{octet}\"")),
            ("From", format!("From: <sip:a{octet}@h>;tag=1")),
            ("To", format!("To: <sip:b@h>;{octet}tag=1")),
            ("Call-ID", format!("Call-ID: a{octet}b")),
            ("CSeq", format!("CSeq: 1{octet}INVITE")),
            ("Via", format!("Via: SIP/2.0/UDP{octet}h")),
        ] {
            assert!(
                matches!(verdict(name, &line), Err(Fault::ControlOctet | Fault::HeaderLine)),
                "{line:?}: {:?}",
                verdict(name, &line)
            );
        }
    }
}

#[test]
fn a_lone_cr_or_lf_ends_no_line_and_hides_none() {
    for line in ["X: 1\nVia: SIP/2.0/UDP evil", "X: 1\rVia: SIP/2.0/UDP evil", "X: 1\n\n", "X: 1\r\r\nY: 2"] {
        assert_eq!(verdict("another", line), Err(Fault::ControlOctet), "{line:?}");
    }
}

#[test]
fn numbers_that_wrap_or_are_none_are_refused() {
    let malformed = |name| Fault::Malformed(name);
    for digits in ["+5", "-5", "0x5", "5,5", "5.0", "5 5", "", "٥", "５", "5;a", "1e1", "5_0"] {
        for (text, name) in [("Max-Forwards", Name::MaxForwards), ("Content-Length", Name::ContentLength)] {
            assert_eq!(verdict(text, &format!("{text}: {digits}")), Err(malformed(name)), "{text}: {digits}");
        }
        let line = format!("CSeq: {digits} INVITE");
        assert_eq!(verdict("CSeq", &line), Err(malformed(Name::CSeq)), "{line}");
        // `;a` is a parameter after the port.
        if digits != "5;a" {
            let via = format!("Via: SIP/2.0/UDP h:{digits};branch=z9hG4bK1");
            assert_eq!(verdict("Via", &via), Err(malformed(Name::Via)), "{via}");
            let contact = format!("Contact: <sip:a@h:{digits}>");
            assert!(verdict("Contact", &contact).is_err(), "{contact}");
        }
    }
    all_refused(
        "Max-Forwards",
        Fault::OutOfRange(Name::MaxForwards),
        &["Max-Forwards: 256", "Max-Forwards: 4294967366"],
    );
    all_refused(
        "CSeq",
        Fault::OutOfRange(Name::CSeq),
        &["CSeq: 2147483648 INVITE", "CSeq: 4294967297 INVITE", "CSeq: 18446744073709551617 INVITE"],
    );
    // FreeSWITCH CVE-2026-49840, OpenSIPS CVE-2023-28097.
    all_refused(
        "Content-Length",
        Fault::OutOfRange(Name::ContentLength),
        &["Content-Length: 4294967300", "Content-Length: 18446744073709551620"],
    );
    // Sippy 2.5.0.
    for port in ["0", "65536", "99999", "65537060"] {
        let line = format!("Via: SIP/2.0/UDP 192.0.2.1:{port};branch=z9hG4bK1");
        assert_eq!(verdict("Via", &line), Err(malformed(Name::Via)), "{line}");
        assert_eq!(verdict("Contact", &format!("Contact: <sip:a@h:{port}>")), Err(malformed(Name::Contact)));
    }
}

#[test]
fn a_length_beyond_the_datagram_is_refused_and_one_below_cuts_the_rest_off() {
    assert_eq!(verdict("Content-Length", "Content-Length: 5"), Err(Fault::BodyTooShort));
    let octets = invite("Content-Length", "Content-Length: 2");
    let message = Message::parse(&octets).unwrap();
    assert_eq!((judge(&message), message.body()), (Ok(()), &b"bo"[..]));
    let octets = invite("Content-Length", "X: 1");
    assert_eq!(Message::parse(&octets).unwrap().body(), b"body");
}

#[test]
fn what_is_too_much_is_refused_with_513() {
    let many = |line: &str, count: usize| vec![line; count].join("\r\n");
    for (name, line, fault) in [
        ("another", format!("{}: 1", "X".repeat(MAX_NAME + 1)), Fault::TooLong(Name::Other)),
        ("another", many("Z: 1", MAX_HEADERS - 7), Fault::TooManyHeaders),
        ("another", many("Z: 1", 2_000), Fault::TooManyHeaders),
        ("another", format!("X: {}", "x".repeat(MAX_HEAD)), Fault::TooLarge),
        ("another", many("Via: SIP/2.0/UDP h", MAX_HOPS), Fault::TooMany(Name::Via)),
        (
            "another",
            format!("Route: {}<sip:h;lr>", "<sip:h;lr>,".repeat(MAX_HOPS)),
            Fault::TooMany(Name::Route),
        ),
        ("Call-ID", format!("Call-ID: {}", "x".repeat(MAX_IDENTIFIER + 1)), Fault::TooLong(Name::CallId)),
        (
            "From",
            format!("From: <sip:a@h>;tag={}", "x".repeat(MAX_IDENTIFIER + 1)),
            Fault::TooLong(Name::From),
        ),
        (
            "Via",
            format!("Via: SIP/2.0/UDP h;branch=z9hG4bK{}", "x".repeat(MAX_IDENTIFIER)),
            Fault::TooLong(Name::Via),
        ),
    ] {
        assert_eq!(verdict(name, &line), Err(fault), "{}", &line[..line.len().min(60)]);
        assert_eq!(fault.status(), 513);
    }
    let body = [&invite("Content-Length", "X: 1")[..], &[b'x'; MAX_BODY]].concat();
    assert_eq!(verdict_of(&body), Err(Fault::TooLarge));
    // As much as may be. Kamailio issue 4920 was a Call-ID of 256 octets, OpenSIPS CVE-2026-45538 a name of 256.
    for (name, line) in [
        ("another", format!("{}: 1", "X".repeat(MAX_NAME))),
        ("another", many("Z: 1", MAX_HEADERS - 8)),
        ("another", many("Via: SIP/2.0/UDP h", MAX_HOPS - 1)),
        ("Call-ID", format!("Call-ID: {}", "x".repeat(256))),
        ("Call-ID", format!("Call-ID: {}", "x".repeat(MAX_IDENTIFIER))),
    ] {
        assert_eq!(verdict(name, &line), Ok(()), "{}", &line[..line.len().min(60)]);
    }
}

#[test]
fn tags_are_one_word_and_there_once() {
    // Kamailio CVE-2018-14767: a second To, with an empty tag, and the local reply.
    assert_eq!(verdict("To", "To: <sip:b@h>;tag=1\r\nTo: <sip:b@h>;tag="), Err(Fault::Repeated(Name::To)));
    all_refused(
        "To",
        Fault::EmptyTag(Name::To),
        &["To: <sip:b@h>;tag=", "To: <sip:b@h>;tag", "To: sip:b@h;TAG = "],
    );
    all_refused(
        "To",
        Fault::RepeatedTag(Name::To),
        &["To: <sip:b@h>;tag=1;tag=2", "To: sip:b@h;tag=1;Tag=1"],
    );
    all_refused(
        "From",
        Fault::Malformed(Name::From),
        &[
            "From: <sip:a@h>;tag=1 2",
            "From: <sip:a@h>;tag=\"1",
            "From: <sip:a@h>;;tag=1",
            "From: <sip:a@h>;=1",
        ],
    );
}

#[test]
fn vias_are_of_sip_2_and_whole() {
    // Kamailio CVE-2018-16657, OpenSIPS CVE-2023-27598.
    all_refused(
        "Via",
        Fault::Malformed(Name::Via),
        &[
            "Via: SIP/3.0/UDP h;branch=z9hG4bK1",
            "Via: HTTP/2.0/UDP h;branch=z9hG4bK1",
            "Via: SIP/2.0/UDP",
            "Via: SIP/2.0/UDP ;branch=z9hG4bK1",
            "Via: SIP/2.0/ h;branch=z9hG4bK1",
            "Via: /2.0/UDP h",
            "Via: SIP/2.0/UDP h;branch",
            "Via: SIP/2.0/UDP h;branch=z9hG4bK1<;rport",
            "Via: SIP/2.0/UDP h;branch=z9hG4bK1;branch=z9hG4bK2",
            "Via: SIP/2.0/UDP h;branch=z9hG4bK",
            "Via: ,SIP/2.0/UDP h",
            "Via: SIP/2.0/UDP h, ",
            "Via:",
        ],
    );
    assert_eq!(verdict("Via", "Via: SIP/2.0/UDP h;rport"), Ok(()), "of RFC 2543");
    assert_eq!(verdict("Via", "X: 1"), Err(Fault::Missing(Name::Via)));
}

#[test]
fn hosts_are_names_or_addresses() {
    // Asterisk CVE-2024-42491.
    for host in
        [".1", "[.1]", "[1]", "[::1", "::1", "1", "192.0.2.256", "192.0.2", "a..b", "-a", "[::ffff:1.2.3]"]
    {
        for (name, line) in [
            (Name::Contact, format!("Contact: <sip:a@{host}>")),
            (Name::From, format!("From: <sip:a@{host}>;tag=1")),
            (Name::Via, format!("Via: SIP/2.0/UDP {host};branch=z9hG4bK1")),
        ] {
            assert_eq!(verdict(name.as_str(), &line), Err(Fault::Malformed(name)), "{line}");
        }
    }
    for host in ["[2001:db8::1]", "192.0.2.1", "a-b.example", "h_1.example."] {
        assert_eq!(verdict("Contact", &format!("Contact: <sip:a@{host}:5060>")), Ok(()), "{host}");
    }
}

#[test]
fn names_before_the_colon_are_tokens() {
    all_refused(
        "another",
        Fault::HeaderLine,
        &[
            ": 1",
            "X",
            "X Y: 1",
            "X\u{a0}: 1",
            "X(y): 1",
            "\"X\": 1",
            "X/y: 1",
            "X@y: 1",
            "P-Asserted-Identity;: <sip:a@h>",
        ],
    );
    // Kamailio CVE-2020-28361: it is the header field that it looks like.
    let octets = invite("another", "P-Asserted-Identity \t : <sip:a@h>");
    let message = Message::parse(&octets).unwrap();
    assert_eq!((judge(&message), message.all(Name::PAssertedIdentity).count()), (Ok(()), 1));
}

#[test]
fn each_refusal_can_be_matched_with_its_request_whatever_is_wrong_with_it() {
    let answer = |octets: &[u8]| {
        let message = Message::parse(octets).unwrap();
        let fault = judge(&message).unwrap_err();
        let mut out = Vec::new();
        let answered = refuse(&mut out, &message, "192.0.2.1:5060".parse().unwrap(), fault, b"t", |_| {});
        answered.then(|| String::from_utf8(out).unwrap())
    };
    assert_eq!(
        answer(b"INVITE sip:b@h SIP/2.0\r\nVia: SIP/7.0/UDP c.example.com:99999 ; branch=z9hG4bK1\r\n\r\n")
            .unwrap(),
        "SIP/2.0 400 Malformed Via\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n\
         From: <sip:anonymous@anonymous.invalid>\r\nTo: <sip:anonymous@anonymous.invalid>;tag=t\r\n\
         Call-ID: unreadable@anonymous.invalid\r\nCSeq: 0 INVITE\r\nContent-Length: 0\r\n\r\n"
    );
    assert_eq!(
        answer(
            b"BYE sip:b@h SIP/2.0\r\nVia: SIP/7.0/UDP h;branch=z9hG4bK1;rport;;x=\"\x01\", SIP/2.0/UDP j\r\n\
              From: \"a <sip:a@h>;tag=1\r\nTo: \"b <sip:b@h>;tag=2\r\nCall-ID: a b\r\nCSeq: 99999999999 BYE\r\n\r\n"
        )
        .unwrap(),
        "SIP/2.0 400 Control Octet In Header\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1;rport=5060;received=192.0.2.1\r\n\
         Via: SIP/2.0/UDP j\r\n\
         From: <sip:anonymous@anonymous.invalid>\r\nTo: <sip:anonymous@anonymous.invalid>;tag=t\r\n\
         Call-ID: unreadable@anonymous.invalid\r\nCSeq: 0 BYE\r\nContent-Length: 0\r\n\r\n"
    );
    // An ACK has no answer, nor has a response, nor what came from nowhere.
    assert_eq!(answer(b"ACK sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\r\n"), None);
    assert_eq!(answer(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\r\n"), None);
    assert_eq!(answer(b"BYE sip:b@h SIP/2.0\r\nVia: h\r\n\r\n"), None);
}

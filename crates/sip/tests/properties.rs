//! What holds for every message: no octets panic, what is written is read again, no value becomes a header line.

use proptest::prelude::*;
use tandem_sip::transaction::key;
use tandem_sip::{
    Dialog, Edit, Fault, Frame, Framer, Message, Method, NameAddr, RequestLine, StartLine, Uri, Via, Writer,
    judge, refuse, respond, rewrite,
};

const SEEDS: &[&[u8]] = &[
    include_bytes!("torture/rfc4475/wsinv.dat"),
    include_bytes!("torture/rfc4475/intmeth.dat"),
    include_bytes!("torture/rfc4475/longreq.dat"),
    include_bytes!("torture/rfc4475/mpart01.dat"),
    include_bytes!("torture/rfc4475/unreason.dat"),
    include_bytes!("torture/rfc4475/badinv01.dat"),
    include_bytes!("torture/rfc4475/multi01.dat"),
    include_bytes!("torture/rfc5118/ipv4-mapped-ipv6.dat"),
    b"INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
      From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: x\r\n\
      CSeq: 1 INVITE\r\nContact: <sip:a@h>\r\nRecord-Route: <sip:p;lr>\r\nContent-Length: 4\r\n\r\nbody",
];

/// A real message with some of its octets replaced, doubled or cut out.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let special = prop::sample::select(b"\r\n \t,;:<>\"\\=%@[]0\0".to_vec());
    let edit = (any::<prop::sample::Index>(), 0..4u8, prop_oneof![any::<u8>(), special]);
    (prop::sample::select(SEEDS), prop::collection::vec(edit, 0..12)).prop_map(|(seed, edits)| {
        let mut octets = seed.to_vec();
        for (index, kind, octet) in edits {
            if octets.is_empty() {
                break;
            }
            let at = index.index(octets.len());
            match kind {
                0 => octets[at] = octet,
                1 => octets.insert(at, octet),
                2 => drop(octets.remove(at)),
                _ => octets.truncate(at),
            }
        }
        octets
    })
}

/// Reads all that can be read; the values are of no interest.
fn read_everything(octets: &[u8]) {
    let _ = (Uri::parse(octets), NameAddr::parse(octets), Via::parse(octets));
    let mut framer = Framer::new();
    framer.push(octets);
    while let Ok(Some(_)) = framer.next() {}
    let Ok(message) = Message::parse(octets) else { return };
    let verdict = judge(&message);
    for header in message.headers() {
        let _ = (
            message.values(header.name).count(),
            NameAddr::parse(header.value).map(|address| address.tag().map(<[u8]>::len)),
        );
    }
    let _ = (message.top_via(), message.cseq(), message.max_forwards(), message.contact(), message.call_id());
    let _ = (key::server_key(&message), key::client_branch(&message), Dialog::from_request(&message, b"t"));
    let mut out = Vec::new();
    respond(&mut out, &message, "192.0.2.1:5060".parse().unwrap(), 400, "Bad Request", Some(b"t"), |_| {});
    let answer = Message::parse(&out).expect("a response is a message");
    // The answer to a good request is a good response, and so is the refusal of a bad one.
    if verdict.is_ok() && message.request().is_some() {
        assert_eq!(judge(&answer), Ok(()), "{}", out.escape_ascii());
    }
    let fault = verdict.err().unwrap_or(Fault::StartLine);
    let source = "192.0.2.1:5060".parse().unwrap();
    let add = |writer: &mut Writer<'_>| {
        writer.header("Server", "hub");
    };
    if refuse(&mut out, &message, source, fault, b"t", add) {
        let refusal = Message::parse(&out).expect("a refusal is a message");
        assert_eq!(judge(&refusal), Ok(()), "{}", out.escape_ascii());
        assert_eq!(refusal.status(), Some(fault.status()));
    } else {
        assert!(out.is_empty());
    }
    rewrite(&mut out, &message, message.start(), &[("X-Top", b"1")], |_| Edit::Keep);
    if verdict.is_ok() {
        let again = Message::parse(&out).expect("a rewritten message is a message");
        assert_eq!(judge(&again), Ok(()), "{}", out.escape_ascii());
        assert_eq!(again.body(), message.body());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutated_message_panics_and_what_is_judged_good_stays_good(octets in mutated()) {
        read_everything(&octets);
    }

    #[test]
    fn no_octets_panic(octets in prop::collection::vec(any::<u8>(), 0..400)) {
        read_everything(&octets);
        read_everything(&[b"INVITE sip:h SIP/2.0\r\n", &octets[..], b"\r\n\r\n"].concat());
    }

    #[test]
    fn what_is_written_is_read_again(
        user in "[a-zA-Z0-9+._-]{1,20}",
        display in "[^\"\\\\\\x00-\\x1f\\x7f]{0,20}",
        tag in "[a-z0-9]{1,12}",
        number in 0..0x8000_0000u32,
        values in prop::collection::vec(("X-[A-Za-z]{1,10}", "[!-~]([ -~]{0,30}[!-~])?"), 0..40),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let uri = format!("sip:{user}@example.com");
        let mut out = Vec::new();
        let mut writer = Writer::request(&mut out, Method::Invite, uri.as_bytes());
        writer.header("Via", "SIP/2.0/UDP h;branch=z9hG4bK1");
        writer.header("From", format_args!("\"{display}\" <{uri}>;tag={tag}"));
        writer.header("To", format_args!("<{uri}>"));
        writer.header("Call-ID", &tag);
        writer.header("CSeq", format_args!("{number} INVITE"));
        for (name, value) in &values {
            writer.header_bytes(name, value.as_bytes());
        }
        writer.finish(Some(b"application/octet-stream"), &body);
        let message = Message::parse(&out).unwrap();
        prop_assert_eq!(judge(&message), Ok(()));
        let line = RequestLine { method: Method::Invite, uri: uri.as_bytes() };
        prop_assert_eq!(message.request(), Some(line));
        prop_assert_eq!(message.from().unwrap().display, display.as_bytes());
        prop_assert_eq!(message.from_tag(), Some(tag.as_bytes()));
        prop_assert_eq!(message.cseq().unwrap().number, number);
        prop_assert_eq!(message.body(), &body[..]);
        let lines = message.headers().skip(5).take(values.len());
        let read: Vec<_> = lines.map(|header| (header.raw_name, header.value)).collect();
        let written: Vec<_> = values.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        prop_assert_eq!(read, written);
        // Written once more from what was read, it is the same.
        let mut again = Vec::new();
        rewrite(&mut again, &message, message.start(), &[], |_| Edit::Keep);
        prop_assert_eq!(&again, &out);
    }

    #[test]
    fn no_value_becomes_a_header_line(evil in "[ -~\r\n\\x00]{0,60}", name in "[ -~\r\n]{0,20}") {
        let mut out = Vec::new();
        let octets = evil.as_bytes();
        let mut writer = Writer::request(&mut out, Method::Other(octets), octets);
        writer.header("A", &evil);
        writer.header_bytes("B", octets);
        writer.header_parts("C", &[octets, b"\n", octets]);
        writer.line(format!("D: {evil}").as_bytes());
        writer.header(&name, "E");
        writer.finish(Some(octets), b"body");
        let head = out.strip_suffix(b"body").unwrap();
        let begins_line = |at: usize| !matches!(head.get(at + 2), Some(b' ' | b'\t'));
        let lines = head.windows(2).enumerate().filter(|(at, pair)| *pair == b"\r\n" && begins_line(*at));
        // The start line, A to D, the evil name, Content-Type, Content-Length, the empty line.
        prop_assert_eq!(lines.count(), 9, "{}", out.escape_ascii());
    }

    #[test]
    fn frames_are_the_same_however_a_stream_is_cut(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let stream = [SEEDS[8], b"\r\n\r\n", SEEDS[3], b"\r\n", SEEDS[8]].concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        let mut framer = Framer::new();
        let mut frames = Vec::new();
        for piece in cuts.windows(2) {
            framer.push(&stream[piece[0]..piece[1]]);
            while let Some(frame) = framer.next().unwrap() {
                frames.push(match frame {
                    Frame::Message(octets) => octets.to_vec(),
                    Frame::Ping => b"ping".to_vec(),
                });
            }
        }
        prop_assert_eq!(frames, [SEEDS[8], b"ping", SEEDS[3], SEEDS[8]]);
    }
}

#[test]
fn a_status_line_is_written_and_read_alike() {
    let mut out = Vec::new();
    Writer::response(&mut out, 486, "Busy Here").finish(None, b"");
    let message = Message::parse(&out).unwrap();
    assert!(
        matches!(message.start(), StartLine::Status(line) if (line.status, line.reason) == (486, b"Busy Here"))
    );
}

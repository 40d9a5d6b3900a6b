//! The torture tests of RFC 4475 and RFC 5118, each with the verdict of its RFC.

use tandem_sip::{Fault, Message, Name, judge};

#[derive(Debug, PartialEq)]
enum Verdict {
    /// Well-formed, whatever the core then says to it.
    Accept,
    Refuse(Fault),
}
use Verdict::{Accept, Refuse};

macro_rules! corpus {
    ($folder:literal: $($file:literal $section:literal $verdict:expr,)*) => {
        &[$((
            concat!($file, " (§", $section, ")"),
            include_bytes!(concat!("torture/", $folder, "/", $file, ".dat")),
            $verdict,
        ),)*]
    };
}

const RFC_4475: &[(&str, &[u8], Verdict)] = corpus! { "rfc4475":
    "wsinv" "3.1.1.1" Accept,
    "intmeth" "3.1.1.2" Accept,
    "esc01" "3.1.1.3" Accept,
    "escnull" "3.1.1.4" Accept,
    "esc02" "3.1.1.5" Accept,
    "lwsdisp" "3.1.1.6" Accept,
    "longreq" "3.1.1.7" Accept,
    "dblreq" "3.1.1.8" Accept,
    "semiuri" "3.1.1.9" Accept,
    "transports" "3.1.1.10" Accept,
    "mpart01" "3.1.1.11" Accept,
    "unreason" "3.1.1.12" Accept,
    "noreason" "3.1.1.13" Accept,
    "badinv01" "3.1.2.1" Refuse(Fault::Malformed(Name::Via)),
    "clerr" "3.1.2.2" Refuse(Fault::BodyTooShort),
    "ncl" "3.1.2.3" Refuse(Fault::Malformed(Name::ContentLength)),
    "scalar02" "3.1.2.4" Refuse(Fault::OutOfRange(Name::CSeq)),
    "scalarlg" "3.1.2.5" Refuse(Fault::OutOfRange(Name::CSeq)),
    "quotbal" "3.1.2.6" Refuse(Fault::Malformed(Name::To)),
    "ltgtruri" "3.1.2.7" Refuse(Fault::RequestUri),
    "lwsruri" "3.1.2.8" Refuse(Fault::StartLine),
    "lwsstart" "3.1.2.9" Refuse(Fault::StartLine),
    "trws" "3.1.2.10" Refuse(Fault::StartLine),
    "escruri" "3.1.2.11" Refuse(Fault::RequestUri),
    // "It is acceptable to reject", but not for an element that makes no use of Date.
    "baddate" "3.1.2.12" Accept,
    "regbadct" "3.1.2.13" Refuse(Fault::Malformed(Name::Contact)),
    "badaspec" "3.1.2.14" Refuse(Fault::Malformed(Name::To)),
    "baddn" "3.1.2.15" Refuse(Fault::Malformed(Name::From)),
    "badvers" "3.1.2.16" Refuse(Fault::Version),
    "mismatch01" "3.1.2.17" Refuse(Fault::CSeqMethod),
    "mismatch02" "3.1.2.18" Refuse(Fault::CSeqMethod),
    "bigcode" "3.1.2.19" Refuse(Fault::StatusCode),
    "badbranch" "3.2.1" Refuse(Fault::Malformed(Name::Via)),
    "insuf" "3.3.1" Refuse(Fault::Missing(Name::From)),
    // What follows is well-formed but for multi01 and mcl01: the core answers it.
    "unkscm" "3.3.2" Accept,
    "novelsc" "3.3.3" Accept,
    "unksm2" "3.3.4" Accept,
    "bext01" "3.3.5" Accept,
    "invut" "3.3.6" Accept,
    "regaut01" "3.3.7" Accept,
    "multi01" "3.3.8" Refuse(Fault::Repeated(Name::CSeq)),
    "mcl01" "3.3.9" Refuse(Fault::Repeated(Name::ContentLength)),
    "bcast" "3.3.10" Accept,
    "zeromf" "3.3.11" Accept,
    "cparam01" "3.3.12" Accept,
    "cparam02" "3.3.13" Accept,
    "regescrt" "3.3.14" Accept,
    "sdp01" "3.3.15" Accept,
    "inv2543" "3.4.1" Accept,
};

const RFC_5118: &[(&str, &[u8], Verdict)] = corpus! { "rfc5118":
    "ipv6-good" "4.1" Accept,
    "ipv6-bad" "4.2" Refuse(Fault::RequestUri),
    "port-ambiguous" "4.3" Accept,
    "port-unambiguous" "4.4" Accept,
    "via-received-param-with-delim" "4.5" Accept,
    "via-received-param-no-delim" "4.5" Accept,
    "ipv6-in-sdp" "4.6" Accept,
    "mult-ip-in-header" "4.7" Accept,
    "mult-ip-in-sdp" "4.8" Accept,
    "ipv4-mapped-ipv6" "4.9" Accept,
    "ipv6-bug-abnf-3-colons" "4.10" Accept,
    "ipv6-correct-abnf-2-colons" "4.10" Accept,
};

fn check(corpus: &[(&str, &[u8], Verdict)]) {
    let wrong: Vec<String> = corpus
        .iter()
        .filter_map(|(name, octets, expected)| {
            let message = Message::parse(octets).unwrap();
            let verdict = judge(&message).map_or_else(Refuse, |()| Accept);
            (verdict != *expected).then(|| format!("{name}: {verdict:?}, expected {expected:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_49_messages_of_rfc_4475_get_its_verdicts() {
    assert_eq!(RFC_4475.len(), 49);
    check(RFC_4475);
}

#[test]
fn the_messages_of_rfc_5118_get_its_verdicts() {
    check(RFC_5118);
}

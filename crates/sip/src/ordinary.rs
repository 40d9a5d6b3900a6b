//! Recognises values in their ordinary spelling in one pass: what [`judge`](crate::judge()) need not take apart.
//!
//! Nearly every Via, address and URI on the wire is written in the same few ways. What is found ordinary here is
//! right by the grammar of RFC 3261 §25.1; what is not may be right all the same, and is read in full. So each
//! function may say no to anything, and must never say yes to what the full reading refuses: a test holds it to that.

use crate::judge::MAX_IDENTIFIER;
use crate::octets::host_len;
use crate::via::MAGIC_COOKIE;

/// Octets of a `token` without `%`, which in a URI begins an escape.
const TOKEN: u8 = 1;
/// Octets of a user without a password and without escapes.
const USER: u8 = 2;
/// Octets of a parameter's value that need no quotes and separate nothing.
const VALUE: u8 = 4;
/// Octets that a quoted string may hold as they are.
const QUOTED: u8 = 8;

static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < table.len() {
        let byte = octet as u8;
        let alphanumeric = byte.is_ascii_alphanumeric();
        if crate::octets::is_token_octet(byte) && byte != b'%' {
            table[octet] |= TOKEN;
        }
        let mark = matches!(byte, b'-' | b'.' | b'_' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')');
        if alphanumeric || mark || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/') {
            table[octet] |= USER;
        }
        if alphanumeric || mark || matches!(byte, b'+' | b'$' | b'&' | b'/' | b'[' | b']' | b':' | b'=') {
            table[octet] |= VALUE;
        }
        if byte >= b' ' && byte != 0x7f && byte != b'"' && byte != b'\\' {
            table[octet] |= QUOTED;
        }
        octet += 1;
    }
    table
};

/// The octets after those of `class` at the start of `octets`.
fn after(octets: &[u8], class: u8) -> &[u8] {
    let mut rest = octets;
    while let [first, more @ ..] = rest
        && CLASS[usize::from(*first)] & class != 0
    {
        rest = more;
    }
    rest
}

/// The octets of `class` at the start of `octets`, at least one, and the rest.
fn some(octets: &[u8], class: u8) -> Option<(&[u8], &[u8])> {
    let len = octets.len() - after(octets, class).len();
    (len > 0).then(|| octets.split_at(len))
}

/// True for an ordinary Via value, without blanks but for the one before the host.
pub(crate) fn is_via(value: &[u8]) -> bool {
    via(value).is_some()
}

fn via(value: &[u8]) -> Option<()> {
    let (_transport, rest) = some(value.strip_prefix(b"SIP/2.0/")?, TOKEN)?;
    let mut params = host_port(rest.strip_prefix(b" ")?)?;
    let mut branches = 0;
    while let [b';', rest @ ..] = params {
        let (name, value, rest) = param(rest)?;
        if name.eq_ignore_ascii_case(b"branch") {
            branches += 1;
            if value.is_none_or(|branch| branch.len() > MAX_IDENTIFIER || branch == MAGIC_COOKIE) {
                return None;
            }
        }
        params = rest;
    }
    (params.is_empty() && branches <= 1).then_some(())
}

/// True for an ordinary `<sip:…>` with or without a display name and parameters; with one tag at most.
pub(crate) fn is_address(value: &[u8]) -> bool {
    address(value).is_some()
}

fn address(value: &[u8]) -> Option<()> {
    let rest = match value {
        [b'"', quoted @ ..] => {
            let rest = after(quoted, QUOTED).strip_prefix(b"\"")?;
            rest.strip_prefix(b" ").unwrap_or(rest)
        }
        _ => value,
    };
    let mut params = uri_before(rest.strip_prefix(b"<")?)?.strip_prefix(b">")?;
    let mut tags = 0;
    while let [b';', rest @ ..] = params {
        let (name, value, rest) = param(rest)?;
        if name.eq_ignore_ascii_case(b"tag") {
            tags += 1;
            if value.is_none_or(|tag| tag.len() > MAX_IDENTIFIER) {
                return None;
            }
        }
        params = rest;
    }
    (params.is_empty() && tags <= 1).then_some(())
}

/// True for an ordinary `sip:` URI without escapes, password and header fields.
pub(crate) fn is_uri(uri: &[u8]) -> bool {
    uri_before(uri).is_some_and(<[u8]>::is_empty)
}

/// What follows an ordinary URI at the start of `octets`.
fn uri_before(octets: &[u8]) -> Option<&[u8]> {
    let rest = octets.strip_prefix(b"sip:")?;
    let mut params = match some(rest, USER) {
        Some((_user, [b'@', after @ ..])) => host_port(after)?,
        _ => host_port(rest)?,
    };
    while let [b';', rest @ ..] = params {
        (_, _, params) = param(rest)?;
    }
    Some(params)
}

/// What follows a host that is no IPv6 address and its port, both at the start of `octets`.
fn host_port(octets: &[u8]) -> Option<&[u8]> {
    let rest = &octets[host_len(octets)?..];
    let Some(after_colon) = rest.strip_prefix(b":") else { return Some(rest) };
    let digits = after_colon.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let (port, rest) = after_colon.split_at(digits);
    let number = crate::octets::decimal(port, u64::from(u16::MAX))?;
    (number > 0).then_some(rest)
}

/// A parameter at the start of `octets`, name and value, and what follows it.
#[expect(clippy::type_complexity, reason = "three parts of one slice")]
fn param(octets: &[u8]) -> Option<(&[u8], Option<&[u8]>, &[u8])> {
    let (name, rest) = some(octets, TOKEN)?;
    let Some(rest) = rest.strip_prefix(b"=") else { return Some((name, None, rest)) };
    let (value, rest) = some(rest, VALUE)?;
    Some((name, Some(value), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Name, Uri, judge};

    const VIAS: &[&str] = &[
        "SIP/2.0/UDP 192.0.2.21:5060;branch=z9hG4bK-524287-1---a3c5;rport",
        "SIP/2.0/TLS sbc-1.acme.example;branch=z9hG4bK1;received=192.0.2.1;rport=5061;alias",
    ];
    const ADDRESSES: &[&str] = &[
        "\"Alice, of Acme\" <sip:+14155550100@192.0.2.21;user=phone>;tag=a73kszlfl",
        "<sip:+442079460000;rn=+442079460999;npdi@192.0.2.10:5060>",
        "<sip:192.0.2.10:5060;transport=udp;lr>;expires=60",
    ];

    #[test]
    fn ordinary_values_are_recognised() {
        assert!(VIAS.iter().all(|value| is_via(value.as_bytes())));
        assert!(ADDRESSES.iter().all(|value| is_address(value.as_bytes())));
        assert!(is_uri(b"sip:+442079460000@192.0.2.10:5060;user=phone"));
    }

    /// Ordinary values with octets replaced, put in or taken out.
    fn bent(seeds: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        let special = prop::sample::select(b"\r\n \t,;:<>\"\\=%@[]0.-?/\0\x7f".to_vec());
        let edit = (any::<prop::sample::Index>(), 0..3u8, prop_oneof![any::<u8>(), special]);
        (prop::sample::select(seeds), prop::collection::vec(edit, 1..4)).prop_map(|(seed, edits)| {
            let mut octets = seed.as_bytes().to_vec();
            for (index, kind, octet) in edits {
                let at = index.index(octets.len());
                match kind {
                    0 => octets[at] = octet,
                    1 => octets.insert(at, octet),
                    _ => drop(octets.remove(at)),
                }
            }
            octets
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_ordinary_is_right_when_it_is_read_in_full(via in bent(VIAS), address in bent(ADDRESSES)) {
            if is_via(&via) {
                prop_assert_eq!(judge::via(&via, true), Ok(()), "{}", via.escape_ascii());
            }
            if is_address(&address) {
                for name in [Name::From, Name::Contact] {
                    prop_assert_eq!(judge::address_in_full(name, &address), Ok(()), "{}", address.escape_ascii());
                }
            }
            let uri = address.split(|&octet| matches!(octet, b'<' | b'>')).nth(1).unwrap_or_default();
            if is_uri(uri) {
                prop_assert!(Uri::parse(uri).is_ok_and(|uri| uri.headers.is_empty()), "{}", uri.escape_ascii());
            }
        }
    }
}

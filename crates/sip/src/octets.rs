//! Which octets SIP's grammar allows, and how lists and parameters are cut: RFC 3261 §25.1.
//!
//! Linear in the octets given, whatever they are; nothing is copied. What a value means is left to the
//! modules named after it.

use std::net::Ipv6Addr;

/// True for what separates tokens: blank, tab and the CR and LF of a folded line.
pub(crate) const fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// True for the octets of `token`.
pub(crate) const fn is_token_octet(octet: u8) -> bool {
    TOKEN[octet as usize]
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < table.len() {
        let byte = octet as u8;
        table[octet] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        octet += 1;
    }
    table
};

/// True for a non-empty `token`.
pub(crate) fn is_token(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|&octet| is_token_octet(octet))
}

/// The octets without white space, folds included, at either end.
pub(crate) fn trim(mut octets: &[u8]) -> &[u8] {
    let len = octets.len();
    while let [first, rest @ ..] = octets
        && is_space(*first)
    {
        octets = rest;
    }
    while let [rest @ .., last] = octets
        && is_space(*last)
    {
        octets = rest;
    }
    work::add(len - octets.len());
    octets
}

/// A decimal number of ASCII digits and nothing else; `None` when it is empty, signed or larger than `max`.
pub(crate) fn decimal(octets: &[u8], max: u64) -> Option<u64> {
    if octets.is_empty() {
        return None;
    }
    let mut number = 0u64;
    for octet in octets {
        if !octet.is_ascii_digit() {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(octet - b'0'))?;
        if number > max {
            return None;
        }
    }
    Some(number)
}

/// Length of the quoted string that `octets` begin with, quotes included; `None` when it never ends.
pub(crate) fn quoted_len(octets: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', octets.get(at..)?)?;
        if octets[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The first octet of `octets` for which `wanted` holds, outside quoted strings and outside `<` and `>`.
///
/// A quoted string or bracket that never ends hides the rest.
fn find_outside(octets: &[u8], wanted: u8) -> Option<usize> {
    let found = search_outside(octets, wanted);
    work::add(found.unwrap_or(octets.len()));
    found
}

fn search_outside(octets: &[u8], wanted: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr3(wanted, b'"', b'<', &octets[at..])?;
        at += match octets[at] {
            b'"' => quoted_len(&octets[at..])?,
            b'<' => memchr::memchr(b'>', &octets[at..])? + 1,
            _ => return Some(at),
        };
    }
}

/// The comma-separated values of one header line, trimmed; empty ones are kept.
#[derive(Clone, Debug)]
pub(crate) struct Values<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Values<'a> {
    pub(crate) fn new(line: &'a [u8]) -> Self {
        Self { rest: Some(line) }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.rest?;
        match find_outside(line, b',') {
            Some(comma) => {
                self.rest = Some(&line[comma + 1..]);
                Some(trim(&line[..comma]))
            }
            None => {
                self.rest = None;
                Some(trim(line))
            }
        }
    }
}

/// The `;`-separated parameters of a header value or URI: name, and value where there is one.
///
/// Quoted values keep their quotes. An empty parameter (`;;`) has an empty name.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Params<'a> {
    /// Reads parameters written without the `;` that comes before the first one; none when empty.
    pub fn new(params: &'a [u8]) -> Self {
        Self { rest: if trim(params).is_empty() { None } else { Some(params) } }
    }

    /// The first parameter of that name, compared without case: `Some(None)` when it has no value.
    pub fn find(params: &'a [u8], name: &[u8]) -> Option<Option<&'a [u8]>> {
        Params::new(params).find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let params = self.rest?;
        let param = match find_outside(params, b';') {
            Some(end) => {
                self.rest = Some(&params[end + 1..]);
                &params[..end]
            }
            None => {
                self.rest = None;
                params
            }
        };
        Some(match memchr::memchr(b'=', param) {
            Some(equals) => (trim(&param[..equals]), Some(trim(&param[equals + 1..]))),
            None => (trim(param), None),
        })
    }
}

/// A host as SIP writes it, read from the start of `octets`: the host with its brackets off, the port, the rest.
///
/// In brackets stands an IPv6 address, else what [`is_host`] takes. White space is allowed around the colon, as
/// `Via` has it. `None` when there is no host or the port is no number from 1 to 65535.
pub(crate) fn host_port(octets: &[u8]) -> Option<(&[u8], Option<u16>, &[u8])> {
    let (host, rest) = match octets {
        [b'[', inside @ ..] => {
            let end = memchr::memchr(b']', inside)?;
            ipv6(&inside[..end])?;
            (&inside[..end], &inside[end + 1..])
        }
        _ => octets.split_at(host_len(octets)?),
    };
    match trim_start(rest) {
        [b':', after @ ..] => {
            let after = trim_start(after);
            let digits = after.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(after.len());
            let port = decimal(&after[..digits], u64::from(u16::MAX)).filter(|&port| port > 0)?;
            Some((host, Some(u16::try_from(port).ok()?), &after[digits..]))
        }
        _ => Some((host, None, rest)),
    }
}

/// How long the host is that `octets` begin with, by [`is_host`]; `None` where they begin with none.
pub(crate) fn host_len(octets: &[u8]) -> Option<usize> {
    if let Some(len) = ipv4_len(octets) {
        return Some(len);
    }
    let len = octets.iter().position(|&octet| !is_host_octet(octet)).unwrap_or(octets.len());
    is_host(&octets[..len]).then_some(len)
}

const fn is_host_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_')
}

/// How long the IPv4 address is that `octets` begin with, which most hosts on the wire are: told in one pass. `None`
/// may still be a host.
fn ipv4_len(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    for part in 0..4 {
        if part > 0 {
            if octets.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
        let start = at;
        let mut number = 0;
        while let Some(digit @ b'0'..=b'9') = octets.get(at)
            && at - start < 3
        {
            number = number * 10 + u32::from(digit - b'0');
            at += 1;
        }
        let has_leading_zero = at - start > 1 && octets[start] == b'0';
        if at == start || number > 255 || has_leading_zero {
            return None;
        }
    }
    octets.get(at).is_none_or(|&octet| !is_host_octet(octet)).then_some(at)
}

/// Octets of the longest host name (RFC 1035 §2.3.4).
const MAX_HOST: usize = 255;

/// True for a host name or an IPv4 address, of octets that may stand in one (RFC 3261 §25.1).
///
/// Labels are not empty and begin with no `-`; `_` is tolerated. What ends in a number is an IPv4 address and
/// nothing else: four numbers up to 255 without zeros before them, which some would read as octal.
pub(crate) fn is_host(host: &[u8]) -> bool {
    let (mut dots, mut len, mut number, mut is_number, mut all_numbers) = (0, 0, 0u32, true, true);
    for &octet in host {
        if octet == b'.' {
            if len == 0 {
                return false;
            }
            all_numbers &= is_number && number <= 255;
            (dots, len, number, is_number) = (dots + 1, 0, 0, true);
            continue;
        }
        if octet.is_ascii_digit() {
            // A number with a zero before it is none that may stand in an address.
            let leading_zero = len > 0 && number == 0;
            number = if leading_zero {
                256
            } else {
                number.saturating_mul(10).saturating_add(u32::from(octet - b'0'))
            };
        } else if len == 0 && octet == b'-' {
            return false;
        } else {
            is_number = false;
        }
        len += 1;
    }
    if len == 0 {
        // A name may end in one dot, an address may not.
        return dots > 0 && !all_numbers && host.len() <= MAX_HOST;
    }
    if is_number { dots == 3 && all_numbers && number <= 255 } else { host.len() <= MAX_HOST }
}

/// An IPv6 address without brackets.
///
/// The three colons before an IPv4 part that RFC 3261's grammar asks for by mistake count as two (RFC 5118 §4.10).
pub(crate) fn ipv6(host: &[u8]) -> Option<Ipv6Addr> {
    /// Octets of the longest address, by RFC 4291 §2.2, and one colon too many.
    const LONGEST: usize = 46;
    let text = std::str::from_utf8(host).ok().filter(|text| text.len() <= LONGEST)?;
    if let Some((before, after)) = text.split_once(":::") {
        let mut fixed = [0; LONGEST];
        let len = text.len() - 1;
        fixed[..before.len()].copy_from_slice(before.as_bytes());
        fixed[before.len()..before.len() + 2].copy_from_slice(b"::");
        fixed[before.len() + 2..len].copy_from_slice(after.as_bytes());
        return std::str::from_utf8(&fixed[..len]).ok()?.parse().ok();
    }
    text.parse().ok()
}

fn trim_start(mut octets: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = octets
        && is_space(*first)
    {
        octets = rest;
    }
    octets
}

/// Counts the octets that lists, parameters and blanks cost to read, so that tests can hold them to linear work.
pub(crate) mod work {
    #[cfg(test)]
    thread_local!(static DONE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });

    #[cfg(not(test))]
    pub(crate) const fn add(_octets: usize) {}

    #[cfg(test)]
    pub(crate) fn add(octets: usize) {
        DONE.set(DONE.get() + octets);
    }

    #[cfg(test)]
    pub(crate) fn reset() {
        DONE.set(0);
    }

    #[cfg(test)]
    pub(crate) fn done() -> usize {
        DONE.get()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_has_a_dot_between_its_numbers() {
        for text in ["0.1000.0", "1234.1.1", "123123123123", "1.2.34567"] {
            assert_eq!(host_len(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]
        #[test]
        fn a_host_read_in_one_pass_is_the_one_that_is_read_in_full(
            text in "([0-9]{1,4}\\.){0,4}[0-9]{1,3}[-_.a:; ]?[0-9a.]{0,3}"
        ) {
            let octets = text.as_bytes();
            let end = octets.iter().position(|&octet| !is_host_octet(octet)).unwrap_or(octets.len());
            prop_assert_eq!(host_len(octets), is_host(&octets[..end]).then_some(end));
        }
    }

    fn values(line: &str) -> Vec<&str> {
        Values::new(line.as_bytes()).map(|value| std::str::from_utf8(value).unwrap()).collect()
    }

    #[test]
    fn commas_in_quotes_and_brackets_do_not_separate() {
        assert_eq!(values(r#""a, \" b" <sip:x,y@h>, <sip:z>"#), [r#""a, \" b" <sip:x,y@h>"#, "<sip:z>"]);
        assert_eq!(values("a,,b"), ["a", "", "b"]);
    }

    #[test]
    fn a_quote_that_never_ends_hides_the_rest() {
        assert_eq!(values(r#"a, "b, c"#), ["a", r#""b, c"#]);
        assert_eq!(values(r#"a, "b\"#), ["a", r#""b\"#]);
    }

    #[test]
    fn parameters_are_found_without_case() {
        assert_eq!(Params::find(b"a;TAG = x ;b=\"q;z\"", b"tag"), Some(Some(&b"x"[..])));
        assert_eq!(Params::find(b"a;tag=x;b=\"q;z\"", b"b"), Some(Some(&b"\"q;z\""[..])));
        assert_eq!(Params::find(b"a;tag", b"tag"), Some(None));
        assert_eq!(Params::find(b"", b"tag"), None);
    }

    #[test]
    fn a_colon_too_many_before_an_ipv4_part_is_forgiven() {
        assert_eq!(ipv6(b"2001:db8:::192.0.2.1"), ipv6(b"2001:db8::192.0.2.1"));
        assert!(ipv6(b"2001:db8:::192.0.2.1").is_some());
        for text in
            ["", ":::", "1:::2:::3", "1::::2", "zz", ".1", "2001:db8:::192.0.2.1.2.3.4.5.6.7.8.9.10.11.12.13"]
        {
            assert_eq!(ipv6(text.as_bytes()).is_some(), text == ":::", "{text}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_ipv4_address() {
        for host in [
            "h",
            "hub-1.example.com",
            "example.com.",
            "_sip.example.com",
            "1and1.com",
            "192.0.2.1",
            "0.0.0.0",
            "a.1b",
            "3com",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        let long = format!("{}.com", "a".repeat(MAX_HOST));
        for host in [
            "",
            ".",
            ".1",
            "..",
            "a..b",
            ".a",
            "-a",
            "a.-b",
            "1",
            "1.2.3",
            "1.2.3.4.5",
            "256.0.0.1",
            "192.0.2.1.",
            "192.0.2.300",
            "192.0.2.01",
            "00.0.0.0",
            "0x7f.1",
            "a.1",
            "99999999999999999999.0.0.1",
            long.as_str(),
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn signs_blanks_and_wrapping_numbers_are_no_decimals() {
        for text in ["", "+5", "-1", "0x5", "5,5", " 5", "99999999999999999999999"] {
            assert_eq!(decimal(text.as_bytes(), u64::MAX), None, "{text}");
        }
        assert_eq!(decimal(b"0068", 255), Some(68));
        assert_eq!(decimal(b"256", 255), None);
    }
}

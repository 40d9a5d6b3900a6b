//! Whether a message is what RFC 3261 allows; RFC 4475 and RFC 5118 are the cases.
//!
//! Strict where two readers could take a message in two ways: header fields there twice, lengths that
//! disagree, control octets, numbers that wrap. Lenient where all readers agree and RFC 2543 or common
//! gear leaves something out: a From tag, Max-Forwards, Contact, a branch. Header fields that the hub does
//! not act on are not judged beyond their name. What a method or URI scheme means is for the core.

use crate::message::{CSeq, MAX_BODY, MAX_HEAD, MAX_HEADERS};
use crate::octets::{self, Params, Values};
use crate::{Fault, Header, Message, Method, Name, NameAddr, StartLine, Uri, Via, ordinary};

/// Octets of the longest name of a header field.
pub const MAX_NAME: usize = 255;

/// Octets of the longest Call-ID, tag or branch.
pub const MAX_IDENTIFIER: usize = 512;

/// Values that Via, Route, Record-Route, Path or Service-Route may have: the hops that a message may have made.
pub const MAX_HOPS: usize = 128;

/// The first fault of a message, by the order of its octets; those of the whole message come last, but for its
/// size, which comes first.
///
/// Reads each octet a bounded number of times, whatever they are, and allocates nothing.
pub fn judge(message: &Message<'_>) -> Result<(), Fault> {
    size(message)?;
    contents(message)
}

/// Bounds of what is taken at all; RFC 3261 §21.5.7 has a response for it.
fn size(message: &Message<'_>) -> Result<(), Fault> {
    if message.head().len() > MAX_HEAD || message.body().len() > MAX_BODY {
        return Err(Fault::TooLarge);
    }
    if message.header_count() > MAX_HEADERS {
        return Err(Fault::TooManyHeaders);
    }
    Ok(())
}

fn contents(message: &Message<'_>) -> Result<(), Fault> {
    start_line(message)?;
    control_octets(message)?;
    let method = match message.start() {
        StartLine::Request(line) => Some(line.method),
        StartLine::Status(_) => None,
    };
    let mut reading = Reading { method, cseq: None, vias: 0, routes: 0, record_routes: 0 };
    let mut seen = Seen::default();
    for header in message.headers() {
        // A name that is known is a token, and none of them is long.
        if header.name == Name::Other {
            if !octets::is_token(header.raw_name) {
                return Err(Fault::HeaderLine);
            }
            if header.raw_name.len() > MAX_NAME {
                return Err(Fault::TooLong(Name::Other));
            }
            continue;
        }
        if seen.again(header.name) && is_single(header.name, method) {
            // Content-Length alone may be repeated, as long as both say the same.
            let same =
                octets::decimal(header.value, u64::from(u32::MAX)) == message.content_length().map(u64::from);
            if header.name != Name::ContentLength || !same {
                return Err(Fault::Repeated(header.name));
            }
        }
        reading.value(header)?;
    }
    for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
        if !seen.has(name) {
            return Err(Fault::Missing(name));
        }
    }
    if method.is_some_and(|method| reading.cseq.is_some_and(|cseq| cseq.method != method)) {
        return Err(Fault::CSeqMethod);
    }
    if message.content_length().is_some_and(|length| length > message.received_body_len()) {
        return Err(Fault::BodyTooShort);
    }
    Ok(())
}

/// The start line, octet by octet: one blank between its parts, none around them (RFC 3261 §7.1, §7.2).
fn start_line(message: &Message<'_>) -> Result<(), Fault> {
    let first = message.first_line();
    match message.start() {
        StartLine::Request(line) => {
            let mut parts = first.splitn(3, |&octet| octet == b' ');
            let (method, uri, version) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
            if uri != Some(line.uri) || !method.is_some_and(octets::is_token) {
                return Err(Fault::StartLine);
            }
            self::version(version)?;
            if ordinary::is_uri(line.uri) {
                return Ok(());
            }
            let uri = Uri::parse(line.uri).map_err(|_| Fault::RequestUri)?;
            // Header fields have no place in a Request-URI (RFC 3261 §19.1.1 table 1).
            if uri.headers.is_empty() { Ok(()) } else { Err(Fault::RequestUri) }
        }
        StartLine::Status(line) => {
            let mut parts = first.splitn(3, |&octet| octet == b' ');
            self::version(parts.next().unwrap_or_default())?;
            let code = parts.next().unwrap_or_default();
            if code.len() == 3 && (100..=699).contains(&line.status) {
                Ok(())
            } else {
                Err(Fault::StatusCode)
            }
        }
    }
}

fn version(version: &[u8]) -> Result<(), Fault> {
    let Some((sip, number)) = version.split_at_checked(4) else { return Err(Fault::StartLine) };
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    if !sip.eq_ignore_ascii_case(b"SIP/")
        || number.split(|&octet| octet == b'.').take(3).filter(|&part| digits(part)).count() != 2
    {
        return Err(Fault::StartLine);
    }
    if number == b"2.0" { Ok(()) } else { Err(Fault::Version) }
}

/// True for an octet that may stand nowhere in a head but escaped in quotes; CR and LF as part of a line end only.
const fn is_control(octet: u8) -> bool {
    (octet < b' ' && octet != b'\t') || octet == 0x7f
}

/// Refuses control octets in the head but for tabs, line ends and what a quoted string escapes (§25.1).
fn control_octets(message: &Message<'_>) -> Result<(), Fault> {
    // Counted in an octet for each chunk, which is what the compiler needs to count many at once.
    let count = |chunk: &[u8]| chunk.iter().fold(0u8, |count, &octet| count + u8::from(is_control(octet)));
    let controls: usize = message.head().chunks(255).map(|chunk| usize::from(count(chunk))).sum();
    // The ordinary message has CR and LF at the end of each line and no other.
    if controls == 2 * (message.header_count() + 1) {
        return Ok(());
    }
    if message.first_line().iter().any(|&octet| is_control(octet)) {
        return Err(Fault::ControlOctet);
    }
    for header in message.headers() {
        // Of the whole line: what stands around the name and the value is not theirs.
        if has_control(header.line.strip_suffix(b"\r\n").unwrap_or(header.line)) {
            return Err(Fault::ControlOctet);
        }
    }
    Ok(())
}

/// True where a value holds a control octet that is neither part of a fold nor escaped in a quoted string.
fn has_control(value: &[u8]) -> bool {
    let (mut quoted, mut rest) = (false, value);
    loop {
        rest = match rest {
            [] => return false,
            [b'\\', escaped, rest @ ..] if quoted && !matches!(escaped, b'\r' | b'\n') => rest,
            [b'\r', b'\n', b' ' | b'\t', rest @ ..] => rest,
            [b'"', rest @ ..] => {
                quoted = !quoted;
                rest
            }
            [octet, ..] if is_control(*octet) => return true,
            [_, rest @ ..] => rest,
        };
    }
}

/// True for the value of a header line that may be written into a message as it is, once its folds are gone.
pub(crate) fn is_good(name: Name, value: &[u8]) -> bool {
    let mut reading = Reading { method: None, cseq: None, vias: 0, routes: 0, record_routes: 0 };
    !has_control(value) && reading.value(Header { name, raw_name: &[], value, line: &[] }).is_ok()
}

/// The header fields met so far, one bit for each name.
#[derive(Default)]
struct Seen(u128);

impl Seen {
    /// Notes a name; true when it was noted before. [`Name::Other`] is many names, and never was.
    fn again(&mut self, name: Name) -> bool {
        let again = self.has(name);
        self.0 |= Seen::bit(name);
        again
    }

    fn has(&self, name: Name) -> bool {
        self.0 & Seen::bit(name) != 0
    }

    fn bit(name: Name) -> u128 {
        const { assert!((Name::Other as u8) < 128) };
        if name == Name::Other { 0 } else { 1 << (name as u8) }
    }
}

/// True for header fields of which a message has one (RFC 3261 §7.3.1 and the grammar of each).
fn is_single(name: Name, method: Option<Method<'_>>) -> bool {
    use Name::*;
    match name {
        From | To | CallId | CSeq | MaxForwards | ContentLength | ContentType | ContentDisposition => true,
        Expires | MinExpires | SessionExpires | MinSe | RAck | RSeq | Event | SubscriptionState => true,
        ReferTo | ReferredBy | Replaces | Join | Date | RetryAfter | Timestamp | SipEtag | SipIfMatch => true,
        Contact => {
            use Method::{Invite, Notify, Refer, Subscribe, Update};
            matches!(method, Some(Invite | Update | Subscribe | Notify | Refer))
        }
        _ => false,
    }
}

/// What was read so far that the rest of the message has to agree with.
struct Reading<'a> {
    /// Of a request.
    method: Option<Method<'a>>,
    cseq: Option<CSeq<'a>>,
    vias: usize,
    routes: usize,
    record_routes: usize,
}

impl<'a> Reading<'a> {
    /// The value of one header line, as far as the hub acts on it.
    fn value(&mut self, header: Header<'a>) -> Result<(), Fault> {
        match header.name {
            Name::Via => {
                if ordinary::is_via(header.value) {
                    self.vias += 1;
                } else {
                    for value in Values::new(header.value) {
                        via(value, self.method.is_some())?;
                        self.vias += 1;
                    }
                }
                within(self.vias, header.name)
            }
            Name::Route | Name::RecordRoute | Name::Path | Name::ServiceRoute => {
                let count =
                    if header.name == Name::RecordRoute { &mut self.record_routes } else { &mut self.routes };
                for value in Values::new(header.value) {
                    if !ordinary::is_address(value) {
                        address(header.name, value)?;
                    }
                    *count += 1;
                }
                within(*count, header.name)
            }
            Name::CSeq => {
                self.cseq = Some(CSeq::parse(header.value)?);
                Ok(())
            }
            _ => value(header, self.method),
        }
    }
}

fn within(values: usize, name: Name) -> Result<(), Fault> {
    if values > MAX_HOPS { Err(Fault::TooMany(name)) } else { Ok(()) }
}

/// The value of a header line that agrees with no other.
fn value(header: Header<'_>, method: Option<Method<'_>>) -> Result<(), Fault> {
    let malformed = Err(Fault::Malformed(header.name));
    match header.name {
        Name::From | Name::To | Name::Contact if ordinary::is_address(header.value) => Ok(()),
        Name::From | Name::To => address_in_full(header.name, header.value),
        Name::Contact if header.value == b"*" => {
            if matches!(method, Some(Method::Register)) {
                Ok(())
            } else {
                malformed
            }
        }
        Name::Contact => {
            let mut contacts = Values::new(header.value);
            contacts.try_for_each(|value| address(Name::Contact, value).map(drop))?;
            if is_single(Name::Contact, method) && Values::new(header.value).nth(1).is_some() {
                return Err(Fault::Repeated(Name::Contact));
            }
            Ok(())
        }
        Name::CallId => {
            let visible = |octet: &u8| !octets::is_space(*octet) && *octet != 0;
            if header.value.is_empty() || !header.value.iter().all(visible) {
                return malformed;
            }
            if header.value.len() > MAX_IDENTIFIER { Err(Fault::TooLong(Name::CallId)) } else { Ok(()) }
        }
        Name::MaxForwards => number(header, u64::from(u8::MAX)),
        Name::ContentLength | Name::Expires | Name::MinExpires | Name::RSeq => {
            number(header, u64::from(u32::MAX))
        }
        Name::SessionExpires | Name::MinSe | Name::RetryAfter => leading_number(header),
        Name::RAck => {
            let mut parts =
                header.value.split(|&octet| octets::is_space(octet)).filter(|part| !part.is_empty());
            let numbers = [parts.next(), parts.next()];
            let numbers = numbers.map(|part| octets::decimal(part.unwrap_or_default(), u64::from(u32::MAX)));
            let method = parts.next().is_some_and(octets::is_token) && parts.next().is_none();
            if numbers.iter().all(Option::is_some) && method { Ok(()) } else { malformed }
        }
        Name::ContentType => {
            if is_media_type(header.value) {
                Ok(())
            } else {
                malformed
            }
        }
        _ => Ok(()),
    }
}

/// One Via value. A response brings back what the request had, be its branch good or not.
pub(crate) fn via(value: &[u8], of_request: bool) -> Result<(), Fault> {
    let malformed = Fault::Malformed(Name::Via);
    let via = Via::parse(value)?;
    let mut branches = 0;
    for param in Params::new(via.params) {
        if !is_param(param) {
            return Err(malformed);
        }
        let is_branch = param.0.eq_ignore_ascii_case(b"branch");
        if is_branch && param.1.is_none() {
            return Err(malformed);
        }
        branches += usize::from(is_branch);
    }
    // The magic cookie promises an identifier after it (RFC 4475 §3.2.1).
    if branches > 1 || (of_request && via.branch.is_some_and(|branch| branch == crate::via::MAGIC_COOKIE)) {
        return Err(malformed);
    }
    let too_long = of_request && via.branch.is_some_and(|branch| branch.len() > MAX_IDENTIFIER);
    if too_long { Err(Fault::TooLong(Name::Via)) } else { Ok(()) }
}

fn address<'a>(name: Name, value: &'a [u8]) -> Result<NameAddr<'a>, Fault> {
    let malformed = Fault::Malformed(name);
    let address = NameAddr::parse(value).map_err(|_| malformed)?;
    Uri::parse(address.uri).map_err(|_| malformed)?;
    // Without quotes only tokens may stand; what could end the name or begin another value is refused.
    let plain = !address.address.starts_with(b"\"");
    if plain && address.display.iter().any(|octet| matches!(octet, b'"' | b',' | b';' | b'\\' | b'>')) {
        return Err(malformed);
    }
    let after = octets::trim(value).get(address.address.len()..).unwrap_or_default();
    let ends_in_separator = address.params.is_empty() && !octets::trim(after).is_empty();
    if ends_in_separator || !Params::new(address.params).all(is_param) {
        return Err(malformed);
    }
    Ok(address)
}

/// A From or To.
pub(crate) fn address_in_full(name: Name, value: &[u8]) -> Result<(), Fault> {
    let address = address(name, value)?;
    tag(name, &address)
}

fn tag(name: Name, address: &NameAddr<'_>) -> Result<(), Fault> {
    let mut tags = Params::new(address.params).filter(|(param, _)| param.eq_ignore_ascii_case(b"tag"));
    match (tags.next(), tags.next()) {
        (_, Some(_)) => Err(Fault::RepeatedTag(name)),
        (Some((_, None | Some([]))), None) => Err(Fault::EmptyTag(name)),
        (Some((_, Some(tag))), None)
            if tag.iter().any(|octet| matches!(octet, b'"' | b'<' | b'>' | b',')) =>
        {
            Err(Fault::Malformed(name))
        }
        (Some((_, Some(tag))), None) if tag.len() > MAX_IDENTIFIER => Err(Fault::TooLong(name)),
        (Some((_, Some(_))) | None, None) => Ok(()),
    }
}

/// True for a parameter with a token for its name and, where there is one, a value of one word or quoted string.
pub(crate) fn is_param((name, value): (&[u8], Option<&[u8]>)) -> bool {
    octets::is_token(name)
        && match value {
            None => true,
            Some(value @ [b'"', ..]) => octets::quoted_len(value) == Some(value.len()),
            Some(value) => {
                !value.iter().any(|&octet| octets::is_space(octet) || matches!(octet, b'"' | b'<' | b'>'))
                    // An empty tag has a fault of its own.
                    && (!value.is_empty() || name.eq_ignore_ascii_case(b"tag"))
            }
        }
}

fn number(header: Header<'_>, max: u64) -> Result<(), Fault> {
    if header.value.is_empty() || !header.value.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Malformed(header.name));
    }
    octets::decimal(header.value, max).map(drop).ok_or(Fault::OutOfRange(header.name))
}

/// A number that parameters or a comment may follow.
fn leading_number(header: Header<'_>) -> Result<(), Fault> {
    let end = header.value.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(header.value.len());
    let (value, rest) = header.value.split_at(end);
    if !matches!(octets::trim(rest), [] | [b';' | b'(', ..]) {
        return Err(Fault::Malformed(header.name));
    }
    number(Header { value, ..header }, u64::from(u32::MAX))
}

/// True for `type/subtype` with parameters (RFC 3261 §20.15).
fn is_media_type(value: &[u8]) -> bool {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let mut parts = value[..end].split(|&octet| octet == b'/').map(octets::trim);
    let named = parts.next().is_some_and(octets::is_token) && parts.next().is_some_and(octets::is_token);
    named && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "INVITE sip:+442079460000@hub;user=phone SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport\r\nMax-Forwards: 70\r\nFrom: \"A\" <sip:a@h>;tag=1\r\n\
        To: <sip:b@hub>\r\nCall-ID: x@y\r\nCSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.1>\r\nContent-Length: 0\r\n\r\n";

    /// The verdict on the valid message with one line replaced; with a new line at the end where there is none.
    fn verdict(name: &str, line: &str) -> Result<(), Fault> {
        judge(&Message::parse(with(name, line).as_bytes()).unwrap())
    }

    /// The valid message with one line replaced; with a new line at the end where there is none.
    fn with(name: &str, line: &str) -> String {
        let (head, found) =
            VALID.trim_end().split("\r\n").fold((String::new(), false), |(head, found), old| {
                let hit = old.starts_with(name);
                let new = if hit { line } else { old };
                (if new.is_empty() { head } else { head + new + "\r\n" }, found || hit)
            });
        if found { head + "\r\n" } else { head + line + "\r\n\r\n" }
    }

    #[test]
    fn each_mandatory_header_field_must_be_there() {
        assert_eq!(verdict("X", "X: 1"), Ok(()));
        let mandatory = [
            ("Via", Name::Via),
            ("From", Name::From),
            ("To", Name::To),
            ("Call-ID", Name::CallId),
            ("CSeq", Name::CSeq),
        ];
        for (text, name) in mandatory {
            assert_eq!(verdict(text, ""), Err(Fault::Missing(name)));
        }
        assert_eq!(verdict("Max-Forwards", ""), Ok(()));
        assert_eq!(verdict("Contact", ""), Ok(()));
    }

    #[test]
    fn what_may_occur_once_is_refused_when_it_occurs_again() {
        for (line, name) in [
            ("f: <sip:a@h>;tag=1", Name::From),
            ("TO : <sip:b@hub>", Name::To),
            ("i: x@y", Name::CallId),
            ("cseq: 1 INVITE", Name::CSeq),
            ("max-forwards: 70", Name::MaxForwards),
            ("m: <sip:a@192.0.2.1>", Name::Contact),
            ("l: 1", Name::ContentLength),
        ] {
            assert_eq!(verdict("X", line), Err(Fault::Repeated(name)), "{line}");
        }
        assert_eq!(verdict("X", "l: 00"), Ok(()));
        assert_eq!(verdict("Contact", "Contact: <sip:a@h>, <sip:b@h>"), Err(Fault::Repeated(Name::Contact)));
    }

    #[test]
    fn malformed_values_are_refused_by_the_name_of_their_header_field() {
        for (text, name, values) in [
            (
                "Via",
                Name::Via,
                &[
                    "",
                    "SIP/2.0/UDP",
                    "SIP/2.0/UDP h;branch=z9hG4bK",
                    "SIP/2.0/UDP h;branch=a;branch=b",
                    "SIP/2.0/UDP h;;rport",
                    "SIP/2.0/UDP h,",
                    "SIP/2.0/UDP h;a=\"b",
                    "SIP/2.0/UDP h:70000",
                    "SIP/2.0/UDP h;branch=",
                ][..],
            ),
            (
                "From",
                Name::From,
                &[
                    "",
                    "<sip:a@h",
                    "sip:a b@h;tag=1",
                    "<sip:a@h>;;tag=1",
                    "<sip:a@h>;tag=1;",
                    "<sip:a@h>,<sip:b@h>",
                    "a\"b <sip:a@h>",
                    "*",
                    "<a@h>",
                    "<sip:a@h>;tag=a\"b",
                    "<sip:a@h>;tag=<x>",
                ],
            ),
            ("To", Name::To, &["\"b <sip:b@h>", "<sip:b@h> x", "<sip:b@[::1>", "<sip:b@h:99999>"]),
            (
                "Contact",
                Name::Contact,
                &["*", "<>", "sip:a@h?b=c", "<sip:%zz@h>", "<sip:a@h>;expires=\"", "\"a\r\n b"],
            ),
            ("Route", Name::Route, &["", "<sip:h;lr>,", "<sip:h;lr", "h"]),
            ("Call-ID", Name::CallId, &["", "a b"]),
            ("CSeq", Name::CSeq, &["", "1", "-1 INVITE", "1INVITE", "1 INVITE x"]),
            ("Max-Forwards", Name::MaxForwards, &["", "-1", "+70", "7 0", "70;x", "7,0"]),
            ("Content-Length", Name::ContentLength, &["", "-1", "0x0", "0 0", "+0"]),
            ("Expires", Name::Expires, &["soon", ""]),
            ("Session-Expires", Name::SessionExpires, &["", "x", "90 x"]),
            ("RAck", Name::RAck, &["1 1", "1 INVITE", "1 1 INVITE x", "x 1 INVITE"]),
            ("Content-Type", Name::ContentType, &["", "sdp", "application/", "a/b/c", "a b/c"]),
        ] {
            for value in values {
                let line = format!("{text}: {value}");
                assert_eq!(verdict(text, &line), Err(Fault::Malformed(name)), "{line}");
            }
        }
    }

    #[test]
    fn ordinary_values_of_other_gear_are_accepted() {
        for line in [
            "From: Joe's PBX (home) <sip:a@h>;tag=1",
            "From: J\u{f6}rg <sip:a@h>;tag=1",
            "From: sip:a@h",
            "From: <tel:+44>;tag=a@b=c",
            "To: \"b\"<sip:b@h>;tag=2;x=\"y;z\"",
            "Session-Expires: 1800;refresher=uac",
            "RAck: 1 1 INVITE",
            "Expires: 0",
            "Via: SIP/2.0/UDP h_1.example.com;branch=1;received=2001:db8::1;rport=5;ttl=1;x",
            "Content-Type: application/sdp ; charset=utf-8",
            "Contact: <sip:a@h>;expires=60;+sip.instance=\"<urn:uuid:1>\"",
            "Subject:",
            "Foo: \u{1F4DE} ,;\"<",
        ] {
            assert_eq!(verdict(line.split(':').next().unwrap(), line), Ok(()), "{line}");
        }
    }

    #[test]
    fn numbers_that_would_wrap_are_refused() {
        for (line, name) in [
            ("Max-Forwards: 256", Name::MaxForwards),
            ("CSeq: 2147483648 INVITE", Name::CSeq),
            ("Content-Length: 4294967296", Name::ContentLength),
            ("Content-Length: 18446744073709551616", Name::ContentLength),
            ("Expires: 99999999999999999999999999", Name::Expires),
            ("Min-SE: 4294967296", Name::MinSe),
        ] {
            assert_eq!(
                verdict(line.split(':').next().unwrap(), line),
                Err(Fault::OutOfRange(name)),
                "{line}"
            );
        }
    }

    #[test]
    fn control_octets_are_refused_but_for_escaped_ones_in_quotes() {
        for line in [
            "Subject: a\0b",
            "Subject: a\x08",
            "Subject: a\rb",
            "Subject: a\nb",
            "Subject: a\nFrom: b",
            "Sub\x01ject: a",
            "From: \"a\0\" <sip:a@h>;tag=1",
            "Subject: \\\0",
            "From: \"a\\\n\" <sip:a@h>;tag=1",
            "Subject: a\x7f",
        ] {
            let name = line.split(':').next().unwrap();
            assert!(matches!(verdict(name, line), Err(Fault::ControlOctet | Fault::HeaderLine)), "{line:?}");
        }
        assert_eq!(verdict("From", "From: \"a\\\0\\\x07\" <sip:a@h>;tag=1"), Ok(()));
        assert_eq!(verdict("Subject", "Subject: a\tb\r\n\tc"), Ok(()));
    }

    #[test]
    fn tags_are_there_once_and_not_empty() {
        assert_eq!(verdict("From", "From: <sip:a@h>;tag="), Err(Fault::EmptyTag(Name::From)));
        assert_eq!(verdict("To", "To: <sip:a@h>;tag"), Err(Fault::EmptyTag(Name::To)));
        assert_eq!(verdict("To", "To: <sip:a@h>;tag=1;TAG=1"), Err(Fault::RepeatedTag(Name::To)));
    }

    #[test]
    fn start_lines_are_judged_octet_by_octet() {
        for (line, fault) in [
            ("INVITE sip:b@hub SIP/3.0", Fault::Version),
            ("INVITE sip:b@hub SIP/2.00", Fault::Version),
            ("INVITE sip:b@hub SIP/2", Fault::StartLine),
            ("INVITE sip:b@hub SIP/x.y", Fault::StartLine),
            (" INVITE sip:b@hub SIP/2.0", Fault::StartLine),
            ("INV{}ITE sip:b@hub SIP/2.0", Fault::StartLine),
            ("INVITE b@hub SIP/2.0", Fault::RequestUri),
            ("INVITE sip:b@hub?a=b SIP/2.0", Fault::RequestUri),
            ("INVITE sip:b\0@hub SIP/2.0", Fault::RequestUri),
            ("BYE sip:b@hub SIP/2.0", Fault::CSeqMethod),
            ("SIP/2.0 099 x", Fault::StatusCode),
            ("SIP/2.0 700 x", Fault::StatusCode),
            ("SIP/2.0 0200 x", Fault::StatusCode),
            ("SIP/1.0 200 x", Fault::Version),
            ("SIP/2.0 200 a\0", Fault::ControlOctet),
        ] {
            assert_eq!(verdict("INVITE", line), Err(fault), "{line:?}");
        }
        assert_eq!(verdict("INVITE", "SIP/2.0 699 caf\u{e9}"), Ok(()));
        assert_eq!(verdict("INVITE", "sip/2.0 100"), Ok(()));
    }

    #[test]
    fn content_length_beyond_the_datagram_is_refused() {
        assert_eq!(verdict("Content-Length", "Content-Length: 1"), Err(Fault::BodyTooShort));
        assert_eq!(verdict("Content-Length", ""), Ok(()));
    }

    #[test]
    fn phrases_are_short_ascii_and_name_the_header_field() {
        assert_eq!(Fault::Missing(Name::CallId).phrase(), "Missing Call-ID");
        assert_eq!(Fault::OutOfRange(Name::MaxForwards).phrase(), "Max-Forwards Out Of Range");
        assert_eq!((Fault::Version.status(), Fault::StartLine.status()), (505, 400));
        let longest = Fault::RepeatedTag(Name::PAccessNetworkInfo).phrase();
        assert!(longest.len() < 64 && longest.is_ascii());
    }

    #[test]
    fn a_message_of_64_kb_is_judged_in_work_linear_in_its_size() {
        let work = |name: &str, unit: &str, len: usize| {
            let line = format!("{name}: {}", unit.repeat(len / unit.len()));
            let octets = with(name, &line);
            octets::work::reset();
            // Without the bound on the head, which would end it at once.
            let _ = contents(&Message::parse(octets.as_bytes()).unwrap());
            octets::work::done()
        };
        for name in ["Via", "From", "To", "Contact", "Route", "Call-ID", "CSeq", "Session-Expires", "Subject"]
        {
            for unit in [
                ",",
                "\"",
                "\"\"",
                "\\\"",
                ";",
                ";a=b",
                "<",
                ">",
                "<>",
                "(",
                "a,",
                "\r\n ",
                "<sip:h>,",
                "SIP/2.0/UDP h,",
                "=",
                " ",
                "[",
                "%",
            ] {
                let (half, whole) = (work(name, unit, 32_000), work(name, unit, 64_000));
                assert!(whole <= 8 * 64_000, "{name} {unit:?}: {whole}");
                assert!(whole <= half * 5 / 2 + 1_000, "{name} {unit:?}: {half}, {whole}");
            }
        }
    }
}

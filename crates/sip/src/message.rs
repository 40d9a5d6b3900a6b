//! What a message says: a reader over borrowed octets (RFC 3261 §7).
//!
//! [`Message::parse`] walks the head once and keeps where each header line is; values are read when they
//! are asked for. An ordinary message costs no allocation. Reading is lenient where an answer is still
//! possible; whether the message is right is for [`judge`](crate::judge()) to say.

use smallvec::SmallVec;

use crate::octets::{self, Values};
use crate::{Fault, Name, NameAddr, Via};

/// Octets of the largest message that is read (RFC 3261 §18.1.1): what one UDP datagram can hold.
pub const MAX_MESSAGE: usize = 65_535;

/// Octets of the longest head, start line to empty line, that is taken.
pub const MAX_HEAD: usize = 16 * 1024;

/// Octets of the longest body that is taken.
pub const MAX_BODY: usize = 32 * 1024;

/// Header lines of the largest message that is taken.
pub const MAX_HEADERS: usize = 256;

/// Header lines that are kept: those of a message that was taken and those that the hub adds to it.
const KEPT_HEADERS: usize = MAX_HEADERS + 32;

/// Header lines that a message may have before its table of them is allocated.
const INLINE_HEADERS: usize = 48;

/// Why octets are no message at all. There is nothing to answer: over UDP they are dropped, a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Nothing but CR and LF: a keep-alive (RFC 5626 §3.5.1).
    #[error("no octets but line ends")]
    Empty,
    /// More than [`MAX_MESSAGE`] octets.
    #[error("more than {MAX_MESSAGE} octets")]
    TooLong,
    /// The first line is neither a request line nor a status line of any SIP version.
    #[error("the first line is not SIP's")]
    NotSip,
    /// The empty line that ends the head is missing: the message was cut.
    #[error("the head never ends")]
    NoBlankLine,
}

/// Where one header line is. Offsets are from the start line; the line ends where the next one begins.
#[derive(Clone, Copy, Debug)]
struct Span {
    line: u16,
    name_len: u16,
    value: u16,
    value_end: u16,
    name: Name,
}

/// A SIP message: borrowed octets and the places of its header lines.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    octets: &'a [u8],
    start: StartLine<'a>,
    /// The first line without its CRLF.
    first_line: &'a [u8],
    spans: SmallVec<[Span; INLINE_HEADERS]>,
    /// Where the empty line is.
    head_end: u16,
    declared: Option<u32>,
    received_len: u32,
    /// Header lines as they were counted, those that are not kept too.
    header_count: usize,
}

impl<'a> Message<'a> {
    /// Reads one message from the whole of a datagram, or from one frame of a stream.
    ///
    /// CRLFs before the start line are skipped (RFC 3261 §7.5). Folded lines and blanks before the colon are
    /// understood. The body is what follows the empty line, cut to Content-Length where that is shorter
    /// (RFC 3261 §18.3); where it is longer, or no number, all is kept and `judge` reports it. Header lines far
    /// beyond [`MAX_HEADERS`] are counted, for `judge`, and not kept.
    pub fn parse(datagram: &'a [u8]) -> Result<Message<'a>, ParseError> {
        let mut octets = datagram;
        while let [b'\r', b'\n', rest @ ..] = octets {
            octets = rest;
        }
        if octets.is_empty() {
            return Err(ParseError::Empty);
        }
        if octets.len() > MAX_MESSAGE {
            return Err(ParseError::TooLong);
        }
        let first_end = line_end(octets, 0).ok_or(ParseError::NoBlankLine)?;
        let first_line = &octets[..first_end - 2];
        let start = StartLine::parse(first_line).ok_or(ParseError::NotSip)?;

        let mut spans = SmallVec::new();
        let mut declared = None;
        let mut header_count = 0;
        let mut at = first_end;
        loop {
            if octets[at..].starts_with(b"\r\n") {
                break;
            }
            let mut end = line_end(octets, at).ok_or(ParseError::NoBlankLine)?;
            while let Some(b' ' | b'\t') = octets.get(end) {
                end = line_end(octets, end).ok_or(ParseError::NoBlankLine)?;
            }
            header_count += 1;
            if spans.len() == KEPT_HEADERS {
                at = end;
                continue;
            }
            let span = Span::read(octets, at, end);
            if span.name == Name::ContentLength && declared.is_none() {
                let value = &octets[usize::from(span.value)..usize::from(span.value_end)];
                declared = octets::decimal(value, u64::from(u32::MAX)).and_then(|n| u32::try_from(n).ok());
            }
            spans.push(span);
            at = end;
        }
        let body = at + 2;
        let received_len = octets.len() - body;
        let body_len = declared.map_or(received_len, |len| received_len.min(len as usize));
        Ok(Message {
            octets: &octets[..body + body_len],
            start,
            first_line,
            spans,
            head_end: at as u16,
            declared,
            received_len: received_len as u32,
            header_count,
        })
    }

    /// The octets of the message, from its start line to the end of its body.
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// The start line, read.
    pub fn start(&self) -> StartLine<'a> {
        self.start
    }

    /// The start line as it was written, without its CRLF.
    pub fn first_line(&self) -> &'a [u8] {
        self.first_line
    }

    /// The request line; `None` for a response.
    pub fn request(&self) -> Option<RequestLine<'a>> {
        match self.start {
            StartLine::Request(line) => Some(line),
            StartLine::Status(_) => None,
        }
    }

    /// The status code, 0 where it was no number that fits; `None` for a request.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Request(_) => None,
            StartLine::Status(line) => Some(line.status),
        }
    }

    /// Value of the first header line of that name, trimmed; it may contain folds.
    pub fn header(&self, name: Name) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The header lines in the order in which they were written.
    pub fn headers(&self) -> impl Iterator<Item = Header<'a>> + '_ {
        (0..self.spans.len()).map(|index| self.header_at(index))
    }

    /// Value of each header line of that name, trimmed; each may hold a comma-separated list.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &'a [u8]> + use<'a, '_> {
        let octets = self.octets;
        self.spans
            .iter()
            .filter(move |span| span.name == name)
            .map(move |span| &octets[usize::from(span.value)..usize::from(span.value_end)])
    }

    /// The comma-separated values of that name over all its header lines; quotes, `<` and `>` are respected.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &'a [u8]> + use<'a, '_> {
        self.all(name).flat_map(Values::new)
    }

    /// The octets after the empty line.
    pub fn body(&self) -> &'a [u8] {
        &self.octets[usize::from(self.head_end) + 2..]
    }

    /// The topmost Via (RFC 3261 §20.42).
    pub fn top_via(&self) -> Result<Via<'a>, Fault> {
        Via::parse(self.top_via_value()?)
    }

    /// The topmost Via as it was written, without those beside it on its line.
    pub fn top_via_value(&self) -> Result<&'a [u8], Fault> {
        self.values(Name::Via).next().ok_or(Fault::Missing(Name::Via))
    }

    /// The From header field (RFC 3261 §20.20).
    pub fn from(&self) -> Result<NameAddr<'a>, Fault> {
        self.name_addr(Name::From)
    }

    /// The To header field (RFC 3261 §20.39).
    pub fn to(&self) -> Result<NameAddr<'a>, Fault> {
        self.name_addr(Name::To)
    }

    /// The tag of From; `None` when there is none or From cannot be read.
    pub fn from_tag(&self) -> Option<&'a [u8]> {
        self.from().ok()?.tag()
    }

    /// The tag of To; `None` when there is none or To cannot be read.
    pub fn to_tag(&self) -> Option<&'a [u8]> {
        self.to().ok()?.tag()
    }

    /// The CSeq header field (RFC 3261 §20.16).
    pub fn cseq(&self) -> Result<CSeq<'a>, Fault> {
        CSeq::parse(self.header(Name::CSeq).ok_or(Fault::Missing(Name::CSeq))?)
    }

    /// The Call-ID, compared octet by octet (RFC 3261 §20.8).
    pub fn call_id(&self) -> Result<&'a [u8], Fault> {
        self.header(Name::CallId).filter(|id| !id.is_empty()).ok_or(Fault::Missing(Name::CallId))
    }

    /// Max-Forwards where it is there (RFC 3261 §20.22).
    pub fn max_forwards(&self) -> Result<Option<u8>, Fault> {
        let Some(value) = self.header(Name::MaxForwards) else { return Ok(None) };
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Fault::Malformed(Name::MaxForwards));
        }
        let hops = octets::decimal(value, u64::from(u8::MAX)).and_then(|hops| u8::try_from(hops).ok());
        hops.map(Some).ok_or(Fault::OutOfRange(Name::MaxForwards))
    }

    /// The first Contact that can be read; `None` for `*` too.
    pub fn contact(&self) -> Option<NameAddr<'a>> {
        NameAddr::parse(self.values(Name::Contact).next()?).ok()
    }

    /// What Content-Length says; `None` when it is absent or no number.
    pub fn content_length(&self) -> Option<u32> {
        self.declared
    }

    /// Octets received after the empty line, those beyond Content-Length too.
    pub(crate) fn received_body_len(&self) -> u32 {
        self.received_len
    }

    /// Number of header lines, those that are not kept too.
    pub(crate) fn header_count(&self) -> usize {
        self.header_count
    }

    /// The octets before the empty line.
    pub(crate) fn head(&self) -> &'a [u8] {
        &self.octets[..usize::from(self.head_end)]
    }

    fn name_addr(&self, name: Name) -> Result<NameAddr<'a>, Fault> {
        let value = self.header(name).ok_or(Fault::Missing(name))?;
        NameAddr::parse(value).map_err(Fault::of(name))
    }

    fn header_at(&self, index: usize) -> Header<'a> {
        let span = self.spans[index];
        let line = usize::from(span.line);
        let end = self.spans.get(index + 1).map_or(self.head_end, |next| next.line);
        Header {
            name: span.name,
            raw_name: &self.octets[line..line + usize::from(span.name_len)],
            value: &self.octets[usize::from(span.value)..usize::from(span.value_end)],
            line: &self.octets[line..usize::from(end)],
        }
    }
}

impl Span {
    /// Reads the header line at `start..end`. One without a colon has no name, and all of it is its value.
    fn read(octets: &[u8], start: usize, end: usize) -> Span {
        let line = &octets[start..end];
        // A name is short: a search would cost more before it begins.
        let (name_len, after_colon) = match line.iter().position(|&octet| octet == b':') {
            Some(colon) => {
                let mut len = colon;
                while len > 0 && matches!(line[len - 1], b' ' | b'\t') {
                    len -= 1;
                }
                (len, colon + 1)
            }
            None => (0, 0),
        };
        let mut value = after_colon;
        let mut value_end = line.len();
        while value_end > value && octets::is_space(line[value_end - 1]) {
            value_end -= 1;
        }
        while value < value_end && octets::is_space(line[value]) {
            value += 1;
        }
        Span {
            line: start as u16,
            name_len: name_len as u16,
            value: (start + value) as u16,
            value_end: (start + value_end) as u16,
            name: Name::from_bytes(&line[..name_len]),
        }
    }
}

/// Where the line at `start` ends, after its CRLF. A lone LF does not end a line.
fn line_end(octets: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        at += memchr::memchr(b'\n', &octets[at..])?;
        if at > start && octets[at - 1] == b'\r' {
            return Some(at + 1);
        }
        at += 1;
    }
}

/// One header line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The header field.
    pub name: Name,
    /// Its name as it was written; empty when the line has no colon.
    pub raw_name: &'a [u8],
    /// The value, trimmed; it may contain folds.
    pub value: &'a [u8],
    /// The whole line, or lines when it is folded, with the last CRLF.
    pub line: &'a [u8],
}

/// The first line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// Of a request (RFC 3261 §7.1).
    Request(RequestLine<'a>),
    /// Of a response (RFC 3261 §7.2).
    Status(StatusLine<'a>),
}

/// Method and Request-URI of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// What the request asks for.
    pub method: Method<'a>,
    /// The Request-URI as it was written.
    pub uri: &'a [u8],
}

/// Status code and reason phrase of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusLine<'a> {
    /// The status code; 0 where it was no number that fits.
    pub status: u16,
    /// The reason phrase; UTF-8 by RFC 3261, any octets in the field.
    pub reason: &'a [u8],
}

impl<'a> StartLine<'a> {
    /// Reads leniently, so that a wrong line can be answered; `None` when it names no SIP version.
    pub(crate) fn parse(line: &'a [u8]) -> Option<StartLine<'a>> {
        if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
            let (_, rest) = split_at_space(line);
            let (status, reason) = split_at_space(rest);
            let status = octets::decimal(status, u64::from(u16::MAX)).and_then(|n| u16::try_from(n).ok());
            return Some(StartLine::Status(StatusLine { status: status.unwrap_or(0), reason }));
        }
        let line = octets::trim(line);
        let version = memchr::memrchr(b' ', line)? + 1;
        if !line.get(version..version + 4)?.eq_ignore_ascii_case(b"SIP/") {
            return None;
        }
        let (method, uri) = split_at_space(&line[..version - 1]);
        let uri = octets::trim(uri);
        if method.is_empty() || uri.is_empty() {
            return None;
        }
        Some(StartLine::Request(RequestLine { method: Method::from_bytes(method), uri }))
    }
}

fn split_at_space(octets: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', octets) {
        Some(space) => (&octets[..space], &octets[space + 1..]),
        None => (octets, &[]),
    }
}

/// The method of a request; compared with case (RFC 3261 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the method of that name")]
pub enum Method<'a> {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Prack,
    Update,
    Info,
    Message,
    Subscribe,
    Notify,
    Refer,
    Publish,
    Other(&'a [u8]),
}

impl<'a> Method<'a> {
    /// The method of that name.
    pub fn from_bytes(name: &'a [u8]) -> Method<'a> {
        match name {
            b"INVITE" => Method::Invite,
            b"ACK" => Method::Ack,
            b"BYE" => Method::Bye,
            b"CANCEL" => Method::Cancel,
            b"OPTIONS" => Method::Options,
            b"REGISTER" => Method::Register,
            b"PRACK" => Method::Prack,
            b"UPDATE" => Method::Update,
            b"INFO" => Method::Info,
            b"MESSAGE" => Method::Message,
            b"SUBSCRIBE" => Method::Subscribe,
            b"NOTIFY" => Method::Notify,
            b"REFER" => Method::Refer,
            b"PUBLISH" => Method::Publish,
            other => Method::Other(other),
        }
    }

    /// The name as it is written.
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Method::Invite => b"INVITE",
            Method::Ack => b"ACK",
            Method::Bye => b"BYE",
            Method::Cancel => b"CANCEL",
            Method::Options => b"OPTIONS",
            Method::Register => b"REGISTER",
            Method::Prack => b"PRACK",
            Method::Update => b"UPDATE",
            Method::Info => b"INFO",
            Method::Message => b"MESSAGE",
            Method::Subscribe => b"SUBSCRIBE",
            Method::Notify => b"NOTIFY",
            Method::Refer => b"REFER",
            Method::Publish => b"PUBLISH",
            Method::Other(name) => name,
        }
    }
}

impl std::fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_bytes().utf8_chunks().try_for_each(|chunk| f.write_str(chunk.valid()))
    }
}

/// The CSeq header field: the order of requests within a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// The sequence number, under 2³¹ by RFC 3261 §8.1.1.5.
    pub number: u32,
    /// The method of the request that it numbers.
    pub method: Method<'a>,
}

impl<'a> CSeq<'a> {
    /// Reads a value: a number up to 2³¹ − 1, white space, a method.
    pub fn parse(value: &'a [u8]) -> Result<CSeq<'a>, Fault> {
        let malformed = Fault::Malformed(Name::CSeq);
        let end = value.iter().position(|octet| octets::is_space(*octet)).ok_or(malformed)?;
        let (digits, method) = (&value[..end], octets::trim(&value[end..]));
        if !digits.iter().all(u8::is_ascii_digit) || !octets::is_token(method) {
            return Err(malformed);
        }
        let number = octets::decimal(digits, u64::from(u32::MAX / 2)).and_then(|n| u32::try_from(n).ok());
        Ok(CSeq { number: number.ok_or(Fault::OutOfRange(Name::CSeq))?, method: Method::from_bytes(method) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request with these header lines, which end with CRLF, and body.
    fn request(lines: &str, body: &[u8]) -> Vec<u8> {
        [b"INVITE sip:+442079460000@hub SIP/2.0\r\n", lines.as_bytes(), b"\r\n", body].concat()
    }

    fn text(octets: &[u8]) -> &str {
        std::str::from_utf8(octets).unwrap()
    }

    fn error(octets: &[u8]) -> ParseError {
        Message::parse(octets).map(|message| message.octets().len()).unwrap_err()
    }

    #[test]
    fn compact_names_stand_for_full_ones() {
        let octets = request(
            "v: SIP/2.0/UDP a;branch=z9hG4bK1\r\nF: <sip:a@h>;tag=1\r\nt: <sip:b@h>\r\ni: x@y\r\n",
            b"",
        );
        let message = Message::parse(&octets).unwrap();
        assert_eq!(message.top_via().unwrap().branch, Some(&b"z9hG4bK1"[..]));
        assert_eq!(message.from_tag(), Some(&b"1"[..]));
        assert_eq!(message.to().unwrap().uri, b"sip:b@h");
        assert_eq!(message.call_id(), Ok(&b"x@y"[..]));
    }

    #[test]
    fn folded_lines_are_one_header_line() {
        let octets = request(
            "Subject: a\r\n b\r\n\tc\r\nFrom:\r\n <sip:a@h>\r\n ;tag=1\r\nCSeq: 1\r\n INVITE\r\n",
            b"",
        );
        let message = Message::parse(&octets).unwrap();
        assert_eq!(text(message.header(Name::Subject).unwrap()), "a\r\n b\r\n\tc");
        assert_eq!(message.from_tag(), Some(&b"1"[..]));
        assert_eq!(message.cseq().unwrap().method, Method::Invite);
        assert_eq!(message.headers().count(), 3);
    }

    #[test]
    fn blanks_before_the_colon_hide_no_header() {
        let octets = request("P-Asserted-Identity \t : <sip:a@h>\r\n", b"");
        let message = Message::parse(&octets).unwrap();
        assert_eq!(message.header(Name::PAssertedIdentity), Some(&b"<sip:a@h>"[..]));
        assert_eq!(message.headers().next().unwrap().raw_name, b"P-Asserted-Identity");
    }

    #[test]
    fn several_vias_on_one_line_are_several_values() {
        let octets =
            request("Via: SIP/2.0/UDP a;branch=z9hG4bK1 , SIP/2.0/TCP b\r\nv: SIP/2.0/TLS c\r\n", b"");
        let message = Message::parse(&octets).unwrap();
        let vias: Vec<_> = message.values(Name::Via).map(text).collect();
        assert_eq!(vias, ["SIP/2.0/UDP a;branch=z9hG4bK1", "SIP/2.0/TCP b", "SIP/2.0/TLS c"]);
        assert_eq!(message.top_via_value().map(text), Ok(vias[0]));
        assert_eq!(message.all(Name::Via).count(), 2);
    }

    #[test]
    fn quoted_display_names_may_hold_separators() {
        let octets =
            request("To: \"a, b; <c> \\\" :\" <sip:d@h>;tag=1\r\nm: \"x, y\" <sip:e@h>, <sip:f@h>\r\n", b"");
        let message = Message::parse(&octets).unwrap();
        assert_eq!(text(message.to().unwrap().display), "a, b; <c> \\\" :");
        assert_eq!(message.to_tag(), Some(&b"1"[..]));
        assert_eq!(message.values(Name::Contact).count(), 2);
        assert_eq!(message.contact().unwrap().uri, b"sip:e@h");
    }

    #[test]
    fn latin_1_in_a_display_name_is_kept() {
        let octets = [&b"BYE sip:h SIP/2.0\r\nFrom: J\xf6rg <sip:a@h>;tag=1\r\n\r\n"[..]].concat();
        let message = Message::parse(&octets).unwrap();
        assert_eq!(message.from().unwrap().display, b"J\xf6rg");
        assert_eq!(message.from_tag(), Some(&b"1"[..]));
    }

    #[test]
    fn a_binary_body_of_several_parts_stays_intact() {
        let body = b"--x\r\nContent-Type: application/isup\r\n\r\n\x01\0\xff\r\n\r\n\x80\r\n--x--\r\n";
        let octets =
            request(&format!("Content-Type: multipart/mixed;boundary=x\r\nl: {}\r\n", body.len()), body);
        assert_eq!(Message::parse(&octets).unwrap().body(), body);
    }

    #[test]
    fn the_body_is_cut_to_content_length() {
        let octets = request("l: 3\r\n", b"bodyBYE sip:h SIP/2.0\r\n\r\n");
        let message = Message::parse(&octets).unwrap();
        assert_eq!((message.body(), message.content_length()), (&b"bod"[..], Some(3)));
        assert!(message.octets().ends_with(b"\r\n\r\nbod"));
        let octets = request("l: 9\r\n", b"body");
        assert_eq!(Message::parse(&octets).unwrap().body(), b"body");
        assert_eq!(Message::parse(&request("", b"body")).unwrap().body(), b"body");
    }

    #[test]
    fn request_uris_of_any_kind_are_kept() {
        for uri in [
            "sip:john.doe@example.com",
            "sip:+14155550100;rn=+14155550199;npdi=yes@h;user=phone",
            "sip:+16305550100;tgrp=TG-1;trunk-context=example.com@h",
            "sip:[2001:db8::10]:5070",
            "tel:+442079460000;rn=+442079460999",
            "urn:service:sos",
            "sip:a%20b@h;x=a:b",
        ] {
            let octets = format!("INVITE {uri} SIP/2.0\r\n\r\n");
            let message = Message::parse(octets.as_bytes()).unwrap();
            assert_eq!(text(message.request().unwrap().uri), uri);
            assert!(crate::Uri::parse(uri.as_bytes()).is_ok(), "{uri}");
        }
    }

    #[test]
    fn methods_are_compared_with_case_and_unknown_ones_kept() {
        let method = |octets: &'static [u8]| Message::parse(octets).unwrap().request().unwrap().method;
        assert_eq!(method(b"FETCH sip:h SIP/2.0\r\n\r\n"), Method::Other(b"FETCH"));
        assert_eq!(method(b"invite sip:h SIP/2.0\r\n\r\n"), Method::Other(b"invite"));
        assert_eq!(method(b"INVITE sip:h SIP/2.0\r\n\r\n"), Method::Invite);
    }

    #[test]
    fn a_status_line_keeps_its_reason_phrase() {
        let status = |octets: &'static [u8]| match Message::parse(octets).unwrap().start() {
            StartLine::Status(line) => (line.status, line.reason),
            StartLine::Request(_) => panic!("a request"),
        };
        assert_eq!(status(b"SIP/2.0 404 No Such Number Here\r\n\r\n"), (404, &b"No Such Number Here"[..]));
        assert_eq!(status(b"SIP/2.0 200\r\n\r\n"), (200, &b""[..]));
        assert_eq!(status(b"SIP/2.0 4294967301 x\r\n\r\n"), (0, &b"x"[..]));
    }

    #[test]
    fn line_ends_before_the_start_line_are_skipped() {
        let message = Message::parse(b"\r\n\r\nBYE sip:h SIP/2.0\r\nX: 1\r\n\r\n").unwrap();
        assert_eq!(message.octets(), b"BYE sip:h SIP/2.0\r\nX: 1\r\n\r\n");
        assert_eq!(error(b"\r\n\r\n"), ParseError::Empty);
    }

    #[test]
    fn names_keep_their_case_and_lines_their_order() {
        let octets = request("x-B: 1\r\nA: 2\r\nX-b: 3\r\nFROM: <sip:a@h>\r\n", b"");
        let message = Message::parse(&octets).unwrap();
        let names: Vec<_> = message.headers().map(|header| text(header.raw_name)).collect();
        assert_eq!(names, ["x-B", "A", "X-b", "FROM"]);
        assert_eq!(message.headers().nth(1).unwrap().line, b"A: 2\r\n");
    }

    #[test]
    fn a_cut_message_is_refused_wherever_its_head_is_cut() {
        let octets = request("Via: SIP/2.0/UDP a\r\nSubject: a\r\n b\r\nl: 0\r\n", b"");
        for len in 0..octets.len() {
            assert!(Message::parse(&octets[..len]).is_err(), "{len}");
        }
        assert!(Message::parse(&octets).is_ok());
    }

    #[test]
    fn a_lone_lf_ends_no_line() {
        assert_eq!(error(b"BYE sip:h SIP/2.0\nX: 1\n\n"), ParseError::NoBlankLine);
        let message = Message::parse(b"BYE sip:h SIP/2.0\r\nX: 1\nFrom: <sip:a@h>\n\nY: 2\r\n\r\n").unwrap();
        assert_eq!(message.headers().count(), 1);
        assert_eq!(message.header(Name::From), None);
    }

    #[test]
    fn a_line_without_a_colon_is_kept_for_judge_to_refuse() {
        let octets = request("Foobar roobar\r\nA: b\r\n", b"");
        let message = Message::parse(&octets).unwrap();
        let header = message.headers().next().unwrap();
        assert_eq!((header.raw_name, header.value), (&b""[..], &b"Foobar roobar"[..]));
        assert_eq!(crate::judge(&message), Err(Fault::HeaderLine));
    }

    #[test]
    fn what_is_too_large_or_not_sip_is_refused() {
        assert_eq!(error(b"GET / HTTP/1.1\r\n\r\n"), ParseError::NotSip);
        assert_eq!(error(b"SIP/2.0"), ParseError::NoBlankLine);
        let many = request(&"A: b\r\n".repeat(10_000), b"body");
        let message = Message::parse(&many).unwrap();
        assert_eq!((message.headers().count(), message.header_count()), (KEPT_HEADERS, 10_000));
        assert_eq!(message.body(), b"body");
        assert_eq!(crate::judge(&message), Err(Fault::TooLarge));
        let mut octets = request("", b"");
        octets.resize(MAX_MESSAGE, b'x');
        assert_eq!(Message::parse(&octets).unwrap().octets().len(), MAX_MESSAGE);
        octets.push(b'x');
        assert_eq!(error(&octets), ParseError::TooLong);
    }

    #[test]
    fn numbers_that_do_not_fit_are_out_of_range() {
        let hops = |value: &str| {
            Message::parse(&request(&format!("Max-Forwards: {value}\r\n"), b"")).unwrap().max_forwards()
        };
        assert_eq!(hops("0068"), Ok(Some(68)));
        assert_eq!(hops("256"), Err(Fault::OutOfRange(Name::MaxForwards)));
        for wrong in ["", "-1", "+5", "7 0", "0x5"] {
            assert_eq!(hops(wrong), Err(Fault::Malformed(Name::MaxForwards)), "{wrong}");
        }
        let cseq = |value: &'static str| CSeq::parse(value.as_bytes()).map(|cseq| cseq.number);
        assert_eq!(cseq("2147483647 BYE"), Ok(2_147_483_647));
        assert_eq!(cseq("2147483648 BYE"), Err(Fault::OutOfRange(Name::CSeq)));
        for wrong in ["", "1", "BYE", "1BYE", "+1 BYE", "1 B E"] {
            assert_eq!(cseq(wrong), Err(Fault::Malformed(Name::CSeq)), "{wrong}");
        }
    }
}

//! Writes a message, line by line, into octets that the caller uses again (RFC 3261 §7).
//!
//! Every value passes through one filter that leaves out CR and LF and blanks NUL, so nothing that came from a
//! database, the API or another message becomes a header line of its own.

use std::fmt::{self, Display, Write as _};
use std::net::SocketAddr;

use crate::octets;
use crate::via::write_stamped_via;
use crate::{Message, Method, Name};

/// A message being written. The order of the calls is the order of the lines; [`Writer::finish`] ends it.
#[derive(Debug)]
#[must_use = "a message is whole once `finish` has written its body"]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    finished: bool,
}

impl<'o> Writer<'o> {
    /// Empties `out` and writes a request line. White space and control octets in `uri` are left out.
    pub fn request(out: &'o mut Vec<u8>, method: Method<'_>, uri: &[u8]) -> Writer<'o> {
        out.clear();
        write_request_line(out, method, uri);
        Writer { out, finished: false }
    }

    /// Empties `out` and writes a status line.
    pub fn response(out: &'o mut Vec<u8>, status: u16, phrase: &str) -> Writer<'o> {
        out.clear();
        write_status_line(out, status, phrase.as_bytes());
        Writer { out, finished: false }
    }

    /// Goes on after a start line that is there already.
    pub(crate) fn after_start_line(out: &'o mut Vec<u8>) -> Writer<'o> {
        Writer { out, finished: false }
    }

    /// Writes a header line from text, a number, or `format_args!`.
    pub fn header(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.name(name);
        extend_text(self.out, format_args!("{value}"));
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Writes a header line from octets; folds in them become the blank that they stand for.
    pub fn header_bytes(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.name(name);
        extend_clean(self.out, value);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Writes a header line from several pieces of octets, one after the other.
    pub fn header_parts(&mut self, name: &str, parts: &[&[u8]]) -> &mut Self {
        self.name(name);
        for part in parts {
            extend_clean(self.out, part);
        }
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Writes a whole header line as it stands, folds included; its last CRLF may be left out.
    ///
    /// What is not one header line, a CR or LF that folds nothing or a NUL, is written without it.
    pub fn line(&mut self, line: &[u8]) -> &mut Self {
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        if line.is_empty() {
            return self;
        }
        if is_one_line(line) {
            self.out.extend_from_slice(line);
        } else {
            extend_clean(self.out, line);
        }
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Writes each header line of that name as it stands in `message`.
    pub fn copy(&mut self, message: &Message<'_>, name: Name) -> &mut Self {
        for header in message.headers().filter(|header| header.name == name) {
            self.line(header.line);
        }
        self
    }

    /// Ends the message: Content-Type where there is one, Content-Length, the empty line, the body.
    ///
    /// A second call does nothing.
    pub fn finish(&mut self, content_type: Option<&[u8]>, body: &[u8]) {
        if self.finished {
            return;
        }
        self.finished = true;
        if let Some(content_type) = content_type {
            self.header_bytes("Content-Type", content_type);
        }
        self.header("Content-Length", body.len());
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(body);
    }

    fn name(&mut self, name: &str) {
        self.out.extend(name.bytes().filter(|&octet| octets::is_token_octet(octet)));
        self.out.extend_from_slice(b": ");
    }
}

/// Writes a response as RFC 3261 §8.2.6.2 builds it: the Vias of the request, its From, To, Call-ID and CSeq.
///
/// The topmost Via is stamped with `source` (RFC 3261 §18.2.1, RFC 3581 §4). `to_tag` is added unless To has
/// a tag. A 100 takes the request's Timestamp along (§8.2.6.1). `extra` adds what the response needs besides,
/// and may call [`Writer::finish`] with a body; otherwise the body is empty.
pub fn respond(
    out: &mut Vec<u8>,
    request: &Message<'_>,
    source: SocketAddr,
    status: u16,
    phrase: &str,
    to_tag: Option<&[u8]>,
    extra: impl FnOnce(&mut Writer<'_>),
) {
    let mut writer = Writer::response(out, status, phrase);
    for (index, via) in request.values(Name::Via).enumerate() {
        writer.name("Via");
        match index {
            0 => write_stamped_via(writer.out, via, source),
            _ => extend_clean(writer.out, via),
        }
        writer.out.extend_from_slice(b"\r\n");
    }
    if let Some(from) = request.header(Name::From) {
        writer.header_bytes("From", from);
    }
    if let Some(to) = request.header(Name::To) {
        match to_tag {
            Some(tag) if request.to().is_ok_and(|to| to.param("tag").is_none()) => {
                writer.header_parts("To", &[to, b";tag=", tag])
            }
            _ => writer.header_bytes("To", to),
        };
    }
    if let Some(call_id) = request.header(Name::CallId) {
        writer.header_bytes("Call-ID", call_id);
    }
    if let Some(cseq) = request.header(Name::CSeq) {
        writer.header_bytes("CSeq", cseq);
    }
    if status == 100
        && let Some(timestamp) = request.header(Name::Timestamp)
    {
        writer.header_bytes("Timestamp", timestamp);
    }
    extra(&mut writer);
    writer.finish(None, b"");
}

pub(crate) fn write_request_line(out: &mut Vec<u8>, method: Method<'_>, uri: &[u8]) {
    out.extend(method.as_bytes().iter().filter(|&&octet| octets::is_token_octet(octet)));
    out.push(b' ');
    out.extend(uri.iter().filter(|&&octet| octet > b' ' && octet != 0x7f));
    out.extend_from_slice(b" SIP/2.0\r\n");
}

pub(crate) fn write_status_line(out: &mut Vec<u8>, status: u16, phrase: &[u8]) {
    extend_text(out, format_args!("SIP/2.0 {status} "));
    extend_clean(out, phrase);
    out.extend_from_slice(b"\r\n");
}

/// Appends octets without CR and LF, and with a blank for NUL: dropped, it would let `"\\NUL"` never close.
pub(crate) fn extend_clean(out: &mut Vec<u8>, mut octets: &[u8]) {
    /// Most octets that are looked at all at once: a search costs more before it begins.
    const SHORT: usize = 64;
    let is_bad = |octet: u8| matches!(octet, b'\r' | b'\n' | 0);
    if octets.len() <= SHORT && !octets.iter().fold(false, |bad, &octet| bad | is_bad(octet)) {
        out.extend_from_slice(octets);
        return;
    }
    while let Some(at) = memchr::memchr3(b'\r', b'\n', 0, octets) {
        out.extend_from_slice(&octets[..at]);
        if octets[at] == 0 {
            out.push(b' ');
        }
        octets = &octets[at + 1..];
    }
    out.extend_from_slice(octets);
}

/// Appends text through [`extend_clean`].
pub(crate) fn extend_text(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // A `Display` that fails leaves what it wrote so far; the line is whole all the same.
    let _ = Clean(out).write_fmt(text);
}

/// True when each CR and LF in the line is part of a fold and no octet is NUL.
fn is_one_line(line: &[u8]) -> bool {
    memchr::memchr3_iter(b'\r', b'\n', 0, line).all(|at| match line[at] {
        b'\r' => matches!(line.get(at + 1..at + 3), Some([b'\n', b' ' | b'\t'])),
        b'\n' => at > 0 && line[at - 1] == b'\r',
        _ => false,
    })
}

/// Text on its way into a message, through [`extend_clean`].
struct Clean<'o>(&'o mut Vec<u8>);

impl fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        extend_clean(self.0, text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "OPTIONS sip:b@h SIP/2.0\r\nv: SIP/2.0/UDP c:5070;branch=z9hG4bK1;rport, SIP/2.0/TCP d\r\n\
                           Via: SIP/2.0/UDP e\r\nf: \"A\"\r\n <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\ni: x@y\r\n\
                           CSeq: 7 OPTIONS\r\nTimestamp: 54\r\nl: 0\r\n\r\n";

    fn answer(
        request: &str,
        status: u16,
        to_tag: Option<&[u8]>,
        extra: impl FnOnce(&mut Writer<'_>),
    ) -> String {
        let mut out = b"what was there before".to_vec();
        let request = Message::parse(request.as_bytes()).unwrap();
        respond(&mut out, &request, "192.0.2.1:4321".parse().unwrap(), status, "Fine", to_tag, extra);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_response_takes_vias_from_to_call_id_and_cseq_of_its_request() {
        assert_eq!(
            answer(REQUEST, 200, Some(b"t"), |writer| {
                writer.header("Server", "Tandem").finish(Some(b"text/plain"), b"hello");
            }),
            "SIP/2.0 200 Fine\r\nVia: SIP/2.0/UDP c:5070;branch=z9hG4bK1;rport=4321;received=192.0.2.1\r\n\
             Via: SIP/2.0/TCP d\r\nVia: SIP/2.0/UDP e\r\nFrom: \"A\" <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=t\r\n\
             Call-ID: x@y\r\nCSeq: 7 OPTIONS\r\nServer: Tandem\r\nContent-Type: text/plain\r\n\
             Content-Length: 5\r\n\r\nhello"
        );
    }

    #[test]
    fn a_response_without_a_body_says_so() {
        let trying = answer(REQUEST, 100, None, |_| {});
        assert!(
            trying.ends_with("CSeq: 7 OPTIONS\r\nTimestamp: 54\r\nContent-Length: 0\r\n\r\n"),
            "{trying}"
        );
        assert!(trying.contains("To: <sip:b@h>\r\n"));
    }

    #[test]
    fn a_tag_that_is_there_stays() {
        let request = REQUEST.replace("To: <sip:b@h>", "To: <sip:b@h>;tag=old");
        assert!(answer(&request, 200, Some(b"new"), |_| {}).contains("To: <sip:b@h>;tag=old\r\n"));
    }

    #[test]
    fn no_value_becomes_a_header_line() {
        let evil = "a\r\nX-Evil: 1\n\0b";
        let mut out = Vec::new();
        let mut writer =
            Writer::request(&mut out, Method::Other(b"IN VITE\r\n"), b"sip:a@h SIP/2.0\r\nX-Evil: 1");
        writer.header("Subject", evil).header_bytes("X\r\nX-Evil: 2", evil.as_bytes());
        writer.line(b"A: b\r\nX-Evil: 3\r\n").line(b"A: b\r\n\tfold\r\n").line(b"A: b\0").line(b"\r\n");
        writer.header_parts("P", &[b"\r", b"\nX-Evil: 4"]).finish(Some(b"text/plain\r\n\r\n"), b"\r\n");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "INVITE sip:a@hSIP/2.0X-Evil:1 SIP/2.0\r\nSubject: aX-Evil: 1 b\r\nXX-Evil2: aX-Evil: 1 b\r\n\
             A: bX-Evil: 3\r\nA: b\r\n\tfold\r\nA: b \r\nP: X-Evil: 4\r\nContent-Type: text/plain\r\n\
             Content-Length: 2\r\n\r\n\r\n"
        );
    }
}

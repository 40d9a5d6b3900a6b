//! Carries a message across a back-to-back user agent: what is not edited leaves octet for octet as it came.
//!
//! Unknown header fields, compact names, folds, order and body are kept; spans that stay are copied in one
//! piece. Which header fields may cross is the caller's policy.

use crate::writer::{Writer, extend_clean, write_request_line, write_status_line};
use crate::{Header, Message, Name, StartLine};

/// What happens to one header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit<'e> {
    /// It stays, octet for octet.
    Keep,
    /// It is left out.
    Drop,
    /// It keeps its name, as it was written, and its place, and gets this value.
    Replace(&'e [u8]),
}

/// Writes `message` with another start line, `top` put first, and each header line as `edit` says.
///
/// `out` is emptied first. The body is copied. Content-Length is not offered to `edit`: it is corrected where
/// it is wrong, left out where it is repeated, added where it is absent. CR, LF and NUL in new values are
/// left out.
pub fn rewrite<'a, 'e>(
    out: &mut Vec<u8>,
    message: &Message<'a>,
    start_line: StartLine<'_>,
    top: &[(&str, &[u8])],
    edit: impl FnMut(Header<'a>) -> Edit<'e>,
) {
    rewrite_with_body(out, message, start_line, top, edit, message.body());
}

/// [`rewrite`] with another body; its Content-Type is for `top` and `edit` to say.
pub fn rewrite_with_body<'a, 'e>(
    out: &mut Vec<u8>,
    message: &Message<'a>,
    start_line: StartLine<'_>,
    top: &[(&str, &[u8])],
    mut edit: impl FnMut(Header<'a>) -> Edit<'e>,
    body: &[u8],
) {
    out.clear();
    match start_line {
        StartLine::Request(line) => write_request_line(out, line.method, line.uri),
        StartLine::Status(line) => write_status_line(out, line.status, line.reason),
    }
    let mut writer = Writer::after_start_line(out);
    for (name, value) in top {
        writer.header_bytes(name, value);
    }
    let octets = message.octets();
    let length_is_right = message.content_length().is_some_and(|length| length as usize == body.len());
    let mut length_written = false;
    // Octets that stay and are not copied yet.
    let mut kept = message.first_line().len() + 2..message.first_line().len() + 2;
    for header in message.headers() {
        let line = kept.end..kept.end + header.line.len();
        let keep = if header.name == Name::ContentLength {
            let first = !length_written;
            length_written |= length_is_right;
            first && length_is_right
        } else {
            match edit(header) {
                Edit::Keep => true,
                Edit::Drop => false,
                Edit::Replace(value) => {
                    out.extend_from_slice(&octets[kept.clone()]);
                    out.extend_from_slice(header.raw_name);
                    out.extend_from_slice(b": ");
                    extend_clean(out, value);
                    out.extend_from_slice(b"\r\n");
                    kept = line.end..line.end;
                    continue;
                }
            }
        };
        if keep {
            kept.end = line.end;
        } else {
            out.extend_from_slice(&octets[kept.clone()]);
            kept = line.end..line.end;
        }
    }
    out.extend_from_slice(&octets[kept]);
    if length_written {
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
    } else {
        Writer::after_start_line(out).finish(None, body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Method, RequestLine};

    const INVITE: &[u8] = b"INVITE sip:b@hub SIP/2.0\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1\r\nX-odd :\tkept\r\n\tfolded \r\n\
        from: <sip:a@h>;tag=1\r\nsUbJeCt: Gr\xfc\xdfe\r\nTo: <sip:b@hub>\r\nl:   4\r\nX-Last: 1\r\n\r\n\0\xff\r\n";

    fn crossed(
        octets: &[u8],
        top: &[(&str, &[u8])],
        edit: impl FnMut(Header<'_>) -> Edit<'static>,
    ) -> Vec<u8> {
        let message = Message::parse(octets).unwrap();
        let mut out = b"rest".to_vec();
        let line = RequestLine { method: Method::Invite, uri: b"sip:b@egress" };
        rewrite(&mut out, &message, StartLine::Request(line), top, edit);
        out
    }

    #[test]
    fn what_is_not_edited_stays_octet_for_octet() {
        let out = crossed(INVITE, &[], |_| Edit::Keep);
        let (_, kept) = INVITE.split_at(INVITE.iter().position(|&octet| octet == b'\n').unwrap());
        assert_eq!(out, [b"INVITE sip:b@egress SIP/2.0\r", kept].concat());
    }

    #[test]
    fn lines_are_dropped_replaced_and_put_first() {
        let out = crossed(INVITE, &[("Via", b"SIP/2.0/UDP hub\r\nX-Evil: 1")], |header| match header.name {
            Name::Via => Edit::Drop,
            Name::From => Edit::Replace(b"<sip:hub>\r\n;tag=2"),
            _ => Edit::Keep,
        });
        let expected: &[u8] = b"INVITE sip:b@egress SIP/2.0\r\nVia: SIP/2.0/UDP hubX-Evil: 1\r\n\
            X-odd :\tkept\r\n\tfolded \r\nfrom: <sip:hub>;tag=2\r\nsUbJeCt: Gr\xfc\xdfe\r\nTo: <sip:b@hub>\r\n\
            l:   4\r\nX-Last: 1\r\n\r\n\0\xff\r\n";
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn a_content_length_that_is_absent_repeated_or_wrong_is_put_right() {
        let length = |lines: &str| {
            let octets = format!("INVITE sip:b@hub SIP/2.0\r\n{lines}\r\nbody");
            let out = String::from_utf8(crossed(octets.as_bytes(), &[], |_| Edit::Keep)).unwrap();
            out.split_once("\r\n").unwrap().1.to_owned()
        };
        assert_eq!(length("A: 1\r\n"), "A: 1\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(length("l: 4\r\nl: 4\r\nA: 1\r\n"), "l: 4\r\nA: 1\r\n\r\nbody");
        assert_eq!(length("l: 9\r\nA: 1\r\n"), "A: 1\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(length("l: 2\r\n"), "l: 2\r\n\r\nbo");
    }

    #[test]
    fn another_body_gets_its_own_length() {
        let message = Message::parse(INVITE).unwrap();
        let mut out = Vec::new();
        rewrite_with_body(&mut out, &message, message.start(), &[], |_| Edit::Drop, b"sdp");
        assert_eq!(out, b"INVITE sip:b@hub SIP/2.0\r\nContent-Length: 3\r\n\r\nsdp");
    }
}

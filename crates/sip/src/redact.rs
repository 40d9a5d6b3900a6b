//! Hides what a message has for one reader alone: what is kept of it for people to look at holds no secret.
//!
//! [`redact`] masks secrets octet by octet, so that what is left is a message of the same length: responses to
//! digest challenges (RFC 8760), passwords in URIs (RFC 3261 §19.1.1), keys in SDP (RFC 4568, RFC 8839), pressed
//! digits and every other body that is not known to be harmless. What cannot be read for sure is masked whole.

use std::ops::Range;

use crate::message::Method;
use crate::octets::{self, Values};
use crate::{Message, Name};

/// What stands for each octet of a secret.
pub const MASK: u8 = b'*';

/// Parameters of credentials that may be shown (RFC 3261 §20.7, §20.6); every other one is masked.
const HARMLESS_CREDENTIALS: [&[u8]; 11] = [
    b"username",
    b"userhash",
    b"realm",
    b"nonce",
    b"nextnonce",
    b"uri",
    b"algorithm",
    b"opaque",
    b"qop",
    b"nc",
    b"stale",
];

/// Parts of names, of header fields that the hub does not know and of SDP attributes, that promise a secret.
const SECRET_WORDS: [&[u8]; 10] = [
    b"auth",
    b"cookie",
    b"credential",
    b"crypto",
    b"key",
    b"pass",
    b"pwd",
    b"secret",
    b"signature",
    b"token",
];

/// The octets of a message without its secrets: as many, in the same places.
pub fn redact(message: &Message<'_>) -> Vec<u8> {
    let whole = message.octets();
    let mut out = whole.to_vec();
    let place = |part: &[u8]| {
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        start..start + part.len()
    };
    // Lines beyond those that are kept are not read: nobody knows what they hold.
    let read_to = message.headers().last().map_or(message.first_line().len(), |last| place(last.value).end);
    mask(&mut out, read_to..message.head().len());
    for header in message.headers() {
        let value = place(header.value);
        match header.name {
            Name::Authorization | Name::ProxyAuthorization => mask_credentials(&mut out, value, true),
            Name::AuthenticationInfo => mask_credentials(&mut out, value, false),
            Name::Other if header.raw_name.is_empty() || has_secret_word(header.raw_name) => {
                mask(&mut out, value);
            }
            Name::Via | Name::CallId => {}
            _ => mask_uris(&mut out, value),
        }
    }
    mask_uris(&mut out, place(message.first_line()));
    if !message.body().is_empty() {
        mask_body(&mut out, message, place(message.body()));
    }
    out
}

/// White space stays, so that lines and folds are where they were.
fn mask(out: &mut [u8], range: Range<usize>) {
    if let Some(part) = out.get_mut(range) {
        part.iter_mut().filter(|octet| !octets::is_space(**octet)).for_each(|octet| *octet = MASK);
    }
}

fn has_secret_word(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| memchr::memmem::find(&name, word).is_some())
}

/// Masks the parameters of credentials that are not known to be harmless and well written.
fn mask_credentials(out: &mut [u8], value: Range<usize>, has_scheme: bool) {
    let text = out[value.clone()].to_vec();
    let mut params = &text[..];
    if has_scheme {
        let scheme = text.iter().position(|&octet| octets::is_space(octet)).unwrap_or(0);
        params = &text[scheme..];
        if !text[..scheme].eq_ignore_ascii_case(b"Digest") {
            return mask(out, value.start + scheme..value.end);
        }
    }
    for param in Values::new(params) {
        let start = value.start + (param.as_ptr() as usize - text.as_ptr() as usize);
        let Some(equals) = memchr::memchr(b'=', param) else {
            mask(out, start..start + param.len());
            continue;
        };
        let (name, content) = (octets::trim(&param[..equals]), octets::trim(&param[equals + 1..]));
        let is_harmless = HARMLESS_CREDENTIALS.iter().any(|known| known.eq_ignore_ascii_case(name));
        let is_well_written = match content {
            [b'"', ..] => octets::quoted_len(content) == Some(content.len()),
            _ => octets::is_token(content),
        };
        if !is_harmless || !is_well_written {
            // A name that is no token may be the rest of a value.
            let from = if octets::is_token(name) { equals + 1 } else { 0 };
            mask(out, start + from..start + param.len());
        } else {
            mask_uris(out, start + equals + 1..start + param.len());
        }
    }
}

/// Masks the passwords of SIP URIs, and credentials among their header fields (RFC 3261 §19.1.1).
fn mask_uris(out: &mut [u8], range: Range<usize>) {
    let text = out[range.clone()].to_ascii_lowercase();
    for scheme in [&b"sip:"[..], b"sips:"] {
        for found in memchr::memmem::find_iter(&text, scheme) {
            let user = found + scheme.len();
            let ends = |octet: &u8| matches!(octet, b'<' | b'>' | b'"') || octets::is_space(*octet);
            let uri_len = text[user..].iter().position(ends).unwrap_or(text.len() - user);
            let Some(at) = memchr::memchr(b'@', &text[user..user + uri_len]) else { continue };
            if let Some(colon) = memchr::memchr(b':', &text[user..user + at]) {
                mask(out, range.start + user + colon + 1..range.start + user + at);
            }
        }
    }
    for found in memchr::memmem::find_iter(&text, b"authorization=") {
        let start = found + b"authorization=".len();
        let ends = |octet: &u8| matches!(octet, b'<' | b'>' | b'"' | b'&') || octets::is_space(*octet);
        let len = text[start..].iter().position(ends).unwrap_or(text.len() - start);
        mask(out, range.start + start..range.start + start + len);
    }
}

/// Masks a body, save what is known to be harmless in it.
fn mask_body(out: &mut [u8], message: &Message<'_>, body: Range<usize>) {
    let is_encoded = message.values(Name::ContentEncoding).any(|it| !it.eq_ignore_ascii_case(b"identity"));
    let mut types = message.all(Name::ContentType);
    match (types.next(), types.next()) {
        (Some(one), None) if !is_encoded => mask_content(out, one, body, true),
        _ => mask(out, body),
    }
}

fn mask_content(out: &mut [u8], content_type: &[u8], body: Range<usize>, may_nest: bool) {
    let (kind, params) = match memchr::memchr(b';', content_type) {
        Some(end) => (octets::trim(&content_type[..end]), &content_type[end + 1..]),
        None => (octets::trim(content_type), &b""[..]),
    };
    if kind.eq_ignore_ascii_case(b"application/sdp") {
        return mask_sdp(out, body);
    }
    let is_multipart = kind.len() > 10 && kind[..10].eq_ignore_ascii_case(b"multipart/");
    let boundary = octets::Params::find(params, b"boundary").flatten().filter(|_| is_multipart && may_nest);
    match boundary.map(|boundary| boundary.strip_prefix(b"\"").unwrap_or(boundary)) {
        Some(boundary) => {
            let boundary = boundary.strip_suffix(b"\"").unwrap_or(boundary);
            mask_parts(out, boundary, body);
        }
        None => mask(out, body),
    }
}

/// Masks each part of a multipart body (RFC 2046 §5.1.1), and what is in no part.
fn mask_parts(out: &mut [u8], boundary: &[u8], body: Range<usize>) {
    let text = out[body.clone()].to_vec();
    let delimiter = [b"--", boundary].concat();
    let marks: Vec<usize> =
        memchr::memmem::find_iter(&text, &delimiter).filter(|&at| at == 0 || text[at - 1] == b'\n').collect();
    if boundary.is_empty() || marks.is_empty() {
        return mask(out, body);
    }
    mask(out, body.start..body.start + marks[0]);
    for (index, &mark) in marks.iter().enumerate() {
        let start = mark + delimiter.len();
        let end = marks.get(index + 1).copied().unwrap_or(text.len());
        let part = &text[start..end];
        let head_len = memchr::memmem::find(part, b"\r\n\r\n").map(|at| at + 4);
        let (Some(head_len), false) = (head_len, part.starts_with(b"--")) else {
            mask(out, body.start + start..body.start + end);
            continue;
        };
        let mut content_type = None;
        let mut is_plain = true;
        for line in part[..head_len].split(|&octet| octet == b'\n').map(octets::trim) {
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (name, value) = (octets::trim(&line[..colon]), octets::trim(&line[colon + 1..]));
            if name.eq_ignore_ascii_case(b"Content-Type") {
                is_plain &= content_type.is_none();
                content_type = Some(value);
            } else if name.eq_ignore_ascii_case(b"Content-Transfer-Encoding") {
                is_plain &=
                    [&b"7bit"[..], b"8bit", b"binary"].iter().any(|it| it.eq_ignore_ascii_case(value));
            } else if name.eq_ignore_ascii_case(b"Content-Encoding") || has_secret_word(name) {
                is_plain = false;
            }
        }
        let content = body.start + start + head_len..body.start + end;
        match content_type.filter(|_| is_plain) {
            Some(content_type) => mask_content(out, content_type, content, false),
            None => mask(out, body.start + start..body.start + end),
        }
    }
}

/// Masks keys and passwords in SDP, whatever ends its lines.
fn mask_sdp(out: &mut [u8], body: Range<usize>) {
    let text = out[body.clone()].to_vec();
    let mut start = body.start;
    for line in text.split(|octet| matches!(octet, b'\r' | b'\n')) {
        let end = start + line.len();
        if let Some(keep) = secret_in_sdp(line) {
            mask(out, start + keep..end);
        }
        start = end + 1;
    }
}

/// How much of a line of SDP may be shown, where that is not all of it.
fn secret_in_sdp(line: &[u8]) -> Option<usize> {
    let blank = line.iter().take_while(|&&octet| octets::is_space(octet)).count();
    let (kind, rest) = (line.get(blank)?.to_ascii_lowercase(), &line[blank + 1..]);
    let equals = rest.iter().position(|&octet| !octets::is_space(octet))?;
    let content = blank + 1 + equals + 1;
    match (kind, rest[equals]) {
        (b'k', b'=') => Some(content),
        (b'u', b'=') if line.contains(&b'@') => Some(content),
        (b'a', b'=') => {
            let name_len = memchr::memchr(b':', &line[content..])?;
            let name = octets::trim(&line[content..content + name_len]);
            let value = content + name_len + 1;
            if name.eq_ignore_ascii_case(b"crypto") {
                // The tag and the suite (RFC 4568 §9.1) say what both sides can do.
                let mut words = 0;
                let shown = line[value..].iter().position(|&octet| {
                    words += usize::from(octet == b' ');
                    words == 2
                });
                return Some(value + shown.unwrap_or(0));
            }
            has_secret_word(name).then_some(value)
        }
        // No line of SDP.
        (_, b'=') => None,
        _ => Some(0),
    }
}

/// What a member may see of a message of the other leg: what it is, and header fields that name nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Of the request, or of the one that the response is to.
    pub method: String,
    /// Of a response.
    pub status: Option<u16>,
    /// Whether the body describes a session.
    pub has_session: bool,
    /// Start line and header fields as they may be shown.
    pub text: String,
}

/// Header fields whose values are lists of words that the standards define.
const NEUTRAL: [Name; 9] = [
    Name::Supported,
    Name::Require,
    Name::ProxyRequire,
    Name::Unsupported,
    Name::Allow,
    Name::SessionExpires,
    Name::MinSe,
    Name::Expires,
    Name::Privacy,
];

/// What may be shown of a message to who must not learn where it came from or went to.
///
/// No octet of it is copied that could be part of an address: values are numbers, or words without dots.
pub fn outline(message: &Message<'_>) -> Outline {
    let cseq = message.cseq().ok();
    let named = message.request().map(|line| line.method).or(cseq.map(|cseq| cseq.method));
    let method = named.map_or("UNKNOWN", |method| match method {
        Method::Other(_) => "UNKNOWN",
        known => std::str::from_utf8(known.as_bytes()).unwrap_or("UNKNOWN"),
    });
    let status = message.status();
    let mut text = match status {
        Some(status) => format!("SIP/2.0 {status} {}\r\n", phrase(status)),
        None => format!("{method} … SIP/2.0\r\n"),
    };
    let mut add = |name: Name, value: &str| {
        text.push_str(name.as_str());
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    };
    if let Some(cseq) = cseq {
        add(Name::CSeq, &format!("{} {method}", cseq.number));
    }
    if let Ok(Some(hops)) = message.max_forwards() {
        add(Name::MaxForwards, &hops.to_string());
    }
    for header in message.headers().filter(|header| NEUTRAL.contains(&header.name)) {
        let is_neutral = |octet: &u8| octet.is_ascii_alphanumeric() || b" ,;=-".contains(octet);
        let value = Some(header.value).filter(|value| value.iter().all(is_neutral));
        if let Some(value) = value.and_then(|value| std::str::from_utf8(value).ok()) {
            add(header.name, value);
        }
    }
    for value in message.values(Name::Reason) {
        let protocol = value.split(|&octet| octet == b';').next().map(octets::trim);
        let protocol = ["SIP", "Q.850"].into_iter().find(|it| protocol == Some(it.as_bytes()));
        let cause = memchr::memchr(b';', value)
            .and_then(|at| octets::Params::find(&value[at + 1..], b"cause").flatten())
            .and_then(|cause| octets::decimal(cause, 999));
        if let (Some(protocol), Some(cause)) = (protocol, cause) {
            add(Name::Reason, &format!("{protocol};cause={cause}"));
        }
    }
    let content_type = message.header(Name::ContentType).unwrap_or_default();
    let kind = octets::trim(content_type.split(|&octet| octet == b';').next().unwrap_or_default());
    let is_session = kind.eq_ignore_ascii_case(b"application/sdp");
    if !message.body().is_empty() {
        if is_session {
            add(Name::ContentType, "application/sdp");
        }
        add(Name::ContentLength, &message.body().len().to_string());
    }
    let has_session = !message.body().is_empty()
        && (is_session || memchr::memmem::find(message.body(), b"\nm=audio").is_some());
    Outline { method: method.to_owned(), status, has_session, text }
}

/// The phrase of RFC 3261 §21 and its successors, whatever stood in the message.
fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        199 => "Early Dialog Terminated",
        200 => "OK",
        202 => "Accepted",
        204 => "No Notification",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        428 => "Use Identity Header",
        433 => "Anonymity Disallowed",
        436 => "Bad Identity Info",
        437 => "Unsupported Credential",
        438 => "Invalid Identity Header",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        580 => "Precondition Failure",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        607 => "Unwanted",
        608 => "Rejected",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with one header line and one body more.
    fn message(line: &str, body: &str) -> String {
        format!(
            "INVITE sip:+44@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n\
             From: <sip:a@192.0.2.9>;tag=1\r\nTo: <sip:b@192.0.2.1>\r\nCall-ID: 1@192.0.2.9\r\n\
             CSeq: 7 INVITE\r\n{line}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn redacted(message: &str) -> String {
        let read = Message::parse(message.as_bytes()).unwrap();
        String::from_utf8(redact(&read)).unwrap()
    }

    #[test]
    fn what_is_secret_is_masked_and_the_rest_stays() {
        let table = [
            (
                "Authorization: Digest username=\"acme\", realm=\"hub\", nonce=\"n\", uri=\"sip:hub\", \
                 response=\"SECRET\", cnonce=\"SECRET\", nc=00000001, qop=auth, algorithm=MD5",
                Some(
                    "Authorization: Digest username=\"acme\", realm=\"hub\", nonce=\"n\", uri=\"sip:hub\", \
                     response=********, cnonce=********, nc=00000001, qop=auth, algorithm=MD5",
                ),
            ),
            ("Proxy-Authorization: Basic SECRET=", Some("Proxy-Authorization: Basic *******")),
            ("Proxy-Authorization: SECRET", None),
            ("authorization : digest\r\n response=\"SECRET\"", None),
            ("Authorization: Digest username=\"a, response=\"SECRET\"", None),
            ("Authorization: Digest username=a response=SECRET", None),
            ("Authorization: Digest SECRET", None),
            ("Authorization: Digest uri=\"sip:a:SECRET@h\"", None),
            ("Authentication-Info: rspauth=\"SECRET\", nextnonce=\"n\"", None),
            ("Proxy-Authentication-Info: rspauth=SECRET", None),
            ("Authentication-Info: cnonce=\"SECRET", None),
            ("X-Api-Key: SECRET", None),
            ("Cookie: a=SECRET", None),
            ("no colon SECRET", None),
            ("Contact: <sip:a:SECRET@192.0.2.9>", Some("Contact: <sip:a:******@192.0.2.9>")),
            ("Contact: sips:a;x=y:SECRET@h", None),
            ("Refer-To: <SIP:b@h?Proxy-Authorization=SECRET&X=1>", None),
            ("Subject: call <sip:x@h> or <sip:y:SECRET@h>", None),
            ("Contact: <sip:[2001:db8::1]:5060;ob>", Some("Contact: <sip:[2001:db8::1]:5060;ob>")),
            (
                "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"",
                Some("WWW-Authenticate: Digest realm=\"r\", nonce=\"n\""),
            ),
            ("Identity: eyJ.sig;info=<https://x>", Some("Identity: eyJ.sig;info=<https://x>")),
        ];
        for (line, expected) in table {
            let whole = message(line, "");
            let shown = redacted(&whole);
            assert_eq!(shown.len(), whole.len(), "{line}");
            assert!(!shown.contains("SECRET"), "{shown}");
            if let Some(expected) = expected {
                assert!(shown.contains(&format!("\r\n{expected}\r\n")), "{shown}");
            }
            assert!(shown.starts_with("INVITE sip:+44@192.0.2.1 SIP/2.0\r\n"), "{shown}");
            let read = Message::parse(shown.as_bytes()).unwrap();
            assert_eq!(read.cseq().unwrap().number, 7, "it is still the same message: {shown}");
        }
    }

    #[test]
    fn a_password_in_the_request_uri_is_masked() {
        let whole = message("X: y", "").replace("sip:+44@", "sip:+44:SECRET@");
        assert!(redacted(&whole).starts_with("INVITE sip:+44:******@192.0.2.1 SIP/2.0\r\n"));
    }

    #[test]
    fn header_lines_beyond_those_that_are_read_are_masked() {
        let lines = "X: y\r\n".repeat(400) + "Authorization: Digest response=SECRET";
        let shown = redacted(&message(&lines, ""));
        assert!(!shown.contains("SECRET"));
    }

    #[test]
    fn keys_in_a_session_description_are_masked() {
        let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.50\r\nk=clear:SECRET\r\nu=http://a:SECRET@h\r\nm=audio 4000 RTP/SAVP 0\n\
                   a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:SECRET|2^20|1:4\ra=CRYPTO:2 X inline:SECRET\r\n\
                   a=crypto:3\tY inline:SECRET\r\na=ice-ufrag:abcd\r\na=ice-pwd:SECRET\r\na = ice-pwd :SECRET\r\n\
                   a=key-mgmt:mikey SECRET\r\na=sendrecv\r\na=fingerprint:sha-256 AB:CD\r\nSECRET\r\n";
        let shown = redacted(&message("Content-Type: application/sdp", sdp));
        assert!(!shown.contains("SECRET"), "{shown}");
        for kept in [
            "o=- 1 1 IN IP4 192.0.2.50\r\n",
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 *",
            "a=ice-ufrag:abcd\r\n",
            "a=sendrecv\r\n",
            "a=fingerprint:sha-256 AB:CD\r\n",
            "m=audio 4000 RTP/SAVP 0\n",
        ] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
    }

    #[test]
    fn of_other_bodies_nothing_is_shown() {
        for (line, body) in [
            ("Content-Type: application/dtmf-relay", "Signal=SECRET\r\nDuration=160"),
            ("Content-Type: application/dtmf", "SECRET"),
            ("Content-Type: message/sipfrag", "SIP/2.0 200 OK\r\nX: SECRET"),
            ("X-No-Type: 1", "SECRET"),
            ("Content-Type: application/sdp\r\nContent-Encoding: gzip", "SECRET"),
            ("Content-Type: application/sdp\r\nContent-Type: text/plain", "SECRET"),
            ("Content-Type: multipart/mixed", "--b\r\nContent-Type: application/sdp\r\n\r\nSECRET\r\n--b--"),
            ("Content-Type: multipart/mixed;boundary=\"\"", "SECRET"),
        ] {
            let shown = redacted(&message(line, body));
            assert!(!shown.contains("SECRET"), "{shown}");
        }
    }

    #[test]
    fn of_a_multipart_body_only_session_descriptions_are_shown_without_their_keys() {
        let body = "SECRET\r\n--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\na=ice-pwd:SECRET\r\na=sendonly\r\n\
                    --b1\r\nContent-Type: application/isup\r\n\r\nSECRET\r\n\
                    --b1\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\nv=SECRET\r\n\
                    --b1\r\nContent-Type: multipart/mixed;boundary=b2\r\n\r\n--b2\r\nContent-Type: application/sdp\r\n\r\nv=SECRET\r\n\
                    --b1\r\nno blank line SECRET\r\n--b1--\r\nSECRET";
        for boundary in ["b1", "\"b1\""] {
            let line = format!("Content-Type: multipart/mixed ; Boundary={boundary}");
            let shown = redacted(&message(&line, body));
            assert!(!shown.contains("SECRET"), "{shown}");
            assert!(shown.contains("v=0\r\na=ice-pwd:******\r\na=sendonly\r\n"), "{shown}");
        }
    }

    #[test]
    fn an_outline_says_what_a_message_is_and_nothing_of_who_sent_it() {
        let request = "Supported: timer, 100rel\r\nAllow: INVITE, BYE\r\nSession-Expires: 1800;refresher=uac\r\n\
                       Require: 192.0.2.9\r\nUser-Agent: PBX\r\nContent-Type: application/sdp\r\n\
                       Reason: Q.850;cause=16;text=\"192.0.2.9\"\r\nMax-Forwards: 69";
        let whole = message(request, "v=0\r\nc=IN IP4 192.0.2.50\r\n");
        let outline = outline(&Message::parse(whole.as_bytes()).unwrap());
        assert_eq!((&*outline.method, outline.status, outline.has_session), ("INVITE", None, true));
        assert_eq!(
            outline.text,
            "INVITE … SIP/2.0\r\nCSeq: 7 INVITE\r\nMax-Forwards: 69\r\nSupported: timer, 100rel\r\n\
             Allow: INVITE, BYE\r\nSession-Expires: 1800;refresher=uac\r\nReason: Q.850;cause=16\r\n\
             Content-Type: application/sdp\r\nContent-Length: 26\r\n"
        );
    }

    #[test]
    fn an_outline_has_the_phrase_of_the_standard_and_no_unknown_method() {
        let response = "SIP/2.0 503 ask 192.0.2.9\r\nCSeq: 2 BYE\r\n\r\n";
        let outlined = outline(&Message::parse(response.as_bytes()).unwrap());
        assert_eq!(outlined.text, "SIP/2.0 503 Service Unavailable\r\nCSeq: 2 BYE\r\n");
        assert_eq!((&*outlined.method, outlined.status), ("BYE", Some(503)));
        let request = message("X: y", "").replace("INVITE", "192.0.2.9");
        let outlined = outline(&Message::parse(request.as_bytes()).unwrap());
        assert!(!outlined.text.contains("192.0.2"), "{}", outlined.text);
    }
}

//! The session descriptions in a body: the whole of it, or parts of a multipart one (RFC 2046 §5.1, RFC 5621).
//!
//! Edits by parts: what is no session description, and what cannot be read for sure, stays octet for octet.

use smallvec::SmallVec;

use crate::octets::{Params, trim};

/// How deep multipart bodies in multipart bodies are read.
const MAX_DEPTH: u8 = 3;

/// A body with its session descriptions as `edit` makes them; `None` when that changes nothing.
///
/// A part that is encoded, in transfer or by Content-Encoding, stays as it is. Where a part says its own length, it says
/// the new one.
pub fn edit_sessions(
    content_type: &[u8],
    body: &[u8],
    mut edit: impl FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    edit_content(content_type, body, MAX_DEPTH, &mut edit)
}

fn edit_content(
    content_type: &[u8],
    body: &[u8],
    depth: u8,
    edit: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let (kind, params) = match memchr::memchr(b';', content_type) {
        Some(end) => (trim(&content_type[..end]), &content_type[end + 1..]),
        None => (trim(content_type), &b""[..]),
    };
    if kind.eq_ignore_ascii_case(b"application/sdp") {
        return edit(body);
    }
    let is_multipart = kind.get(..10).is_some_and(|it| it.eq_ignore_ascii_case(b"multipart/"));
    let boundary = Params::find(params, b"boundary").flatten().filter(|_| is_multipart && depth > 0)?;
    let boundary = match boundary {
        [b'"', quoted @ .., b'"'] => quoted,
        _ => boundary,
    };
    edit_parts(boundary, body, depth - 1, edit)
}

fn edit_parts(
    boundary: &[u8],
    body: &[u8],
    depth: u8,
    edit: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut written = 0;
    for part in parts(boundary, body) {
        let Some((head, content)) = Head::read(&body[part.clone()]) else { continue };
        let edited = head.content_type.and_then(|kind| edit_content(kind, content, depth, edit));
        let Some(edited) = edited else { continue };
        out.extend_from_slice(&body[written..part.start]);
        head.write(&mut out, edited.len());
        out.extend_from_slice(&edited);
        written = part.end;
    }
    (written > 0).then(|| {
        out.extend_from_slice(&body[written..]);
        out
    })
}

/// Where the parts of a body are: what is between two delimiter lines, without the line end before the second one,
/// which belongs to that. A last part that nothing ends is none; and there are none at all where a bare LF comes before a
/// delimiter: some take it for one, and it would become one for all when the line before it is taken out.
fn parts(boundary: &[u8], body: &[u8]) -> SmallVec<[std::ops::Range<usize>; 4]> {
    let mut parts = SmallVec::new();
    if boundary.is_empty() {
        return parts;
    }
    let delimiter = [b"--", boundary].concat();
    let mut begun = None;
    for at in memchr::memmem::find_iter(body, &delimiter) {
        let is_at_line = at == 0 || body[at - 1] == b'\n';
        let rest = &body[at + delimiter.len()..];
        let is_last = rest.starts_with(b"--");
        let line = memchr::memmem::find(&rest[..rest.len().min(MAX_PADDING)], b"\r\n");
        // Blanks may follow the boundary; with anything else after it, it is another one.
        let next = line.filter(|&end| rest[..end].iter().all(|octet| matches!(octet, b' ' | b'\t')));
        if !is_at_line || (!is_last && next.is_none()) {
            continue;
        }
        if at > 0 && !body[..at].ends_with(b"\r\n") {
            return SmallVec::new();
        }
        if let Some(begin) = begun {
            // An empty part has no line end of its own.
            parts.push(begin..at.saturating_sub(2).max(begin));
        }
        begun = next.map(|end| at + delimiter.len() + end + 2);
        if is_last {
            break;
        }
    }
    parts
}

/// Most octets of blanks after a boundary, with the line end.
const MAX_PADDING: usize = 64;

/// The header fields of a part.
struct Head<'a> {
    octets: &'a [u8],
    content_type: Option<&'a [u8]>,
    /// Where the value of Content-Length is, if there is one.
    length: Option<std::ops::Range<usize>>,
}

impl<'a> Head<'a> {
    /// The head of a part and its content; `None` where that is encoded or the head cannot be read for sure.
    fn read(part: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let end = match part.starts_with(b"\r\n") {
            true => 2,
            false => memchr::memmem::find(part, b"\r\n\r\n")? + 4,
        };
        let (octets, content) = part.split_at(end);
        let mut head = Self { octets, content_type: None, length: None };
        for line in octets.split(|&octet| octet == b'\n') {
            if line.first().is_some_and(|octet| matches!(octet, b' ' | b'\t')) {
                return None; // Folded: rare enough.
            }
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (name, value) = (trim(&line[..colon]), trim(&line[colon + 1..]));
            let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
            if is(b"Content-Type") {
                if head.content_type.replace(value).is_some() {
                    return None;
                }
            } else if is(b"Content-Length") {
                let start = value.as_ptr() as usize - octets.as_ptr() as usize;
                if head.length.replace(start..start + value.len()).is_some() {
                    return None;
                }
            } else if is(b"Content-Transfer-Encoding") {
                let plain = [&b"7bit"[..], b"8bit", b"binary"];
                plain.iter().find(|it| it.eq_ignore_ascii_case(value))?;
            } else if is(b"Content-Encoding") && !value.eq_ignore_ascii_case(b"identity") {
                return None;
            }
        }
        Some((head, content))
    }

    /// Writes it over content of so many octets.
    fn write(&self, out: &mut Vec<u8>, content_len: usize) {
        match &self.length {
            Some(length) => {
                out.extend_from_slice(&self.octets[..length.start]);
                out.extend_from_slice(content_len.to_string().as_bytes());
                out.extend_from_slice(&self.octets[length.end..]);
            }
            None => out.extend_from_slice(self.octets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body with `v=0` made `v=one` in every session description.
    fn edited(content_type: &str, body: &str) -> Option<String> {
        let body = body.replace('\n', "\r\n");
        let out = edit_sessions(content_type.as_bytes(), body.as_bytes(), |sdp| {
            let sdp = String::from_utf8(sdp.to_vec()).unwrap();
            sdp.contains("v=0").then(|| sdp.replace("v=0", "v=one").into_bytes())
        })?;
        Some(String::from_utf8(out).unwrap().replace("\r\n", "\n"))
    }

    /// As a gateway with SIP-I sends it (ITU-T Q.1912.5).
    const ISUP: &str = "preamble\n--b 1\nContent-Type: application/sdp\nContent-Length: 10\n\nv=0\ns=-\n\n--b 1  \n\
        Content-Type: application/isup;version=itu-t92+\nContent-Disposition: signal;handling=optional\n\nv=0\u{1}\n\
        --b 1--\nepilogue v=0";

    #[test]
    fn a_session_description_is_the_whole_body_or_a_part_of_it() {
        assert_eq!(edited("application/sdp", "v=0\n").as_deref(), Some("v=one\n"));
        assert_eq!(edited("Application/SDP ; x=y", "v=0\n").as_deref(), Some("v=one\n"));
        let expected = ISUP.replacen("Content-Length: 10\n\nv=0", "Content-Length: 12\n\nv=one", 1);
        assert_eq!(edited("multipart/mixed;boundary=\"b 1\"", ISUP).unwrap(), expected);
    }

    #[test]
    fn multipart_bodies_may_be_nested() {
        let nested = "--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\nv=0\n--b\n\
            Content-Type: application/sdp\n\nv=0\n--b--\n--a--\n";
        let expected = nested.replacen("sdp\n\nv=0", "sdp\n\nv=one", 1);
        assert_eq!(edited("multipart/mixed; boundary=a", nested).unwrap(), expected);
        let mut deep = "v=0\n".to_owned();
        let mut kind = "application/sdp".to_owned();
        for depth in 0..9 {
            deep = format!("--x{depth}\nContent-Type: {kind}\n\n{deep}\n--x{depth}--\n");
            kind = format!("multipart/mixed;boundary=x{depth}");
            let is_read = depth < i32::from(MAX_DEPTH);
            assert_eq!(edited(&kind, &deep).is_some(), is_read, "{depth}");
        }
    }

    #[test]
    fn what_is_no_plain_session_description_stays_octet_for_octet() {
        let part = |head: &str| format!("--b\n{head}\n\nv=0\n--b--\n");
        for head in [
            "Content-Type: application/isup",
            "Content-Disposition: session",
            "Content-Type: application/sdp\nContent-Encoding: gzip",
            "Content-Type: application/sdp\nContent-Transfer-Encoding: base64",
            "Content-Type: application/sdp\nContent-Type: application/sdp",
            "Content-Type: application/sdp;\n charset=x",
            "Content-Type: application/sdp\nContent-Length: 3\nContent-Length: 3",
            "Content-Type: multipart/mixed",
        ] {
            assert_eq!(edited("multipart/mixed;boundary=b", &part(head)), None, "{head}");
        }
        let plain = part("Content-Type: application/sdp\nContent-Transfer-Encoding: 8bit");
        assert!(edited("multipart/mixed;boundary=b", &plain).is_some());
        for (kind, body) in [
            ("multipart/mixed", plain.clone()),
            ("multipart/mixed;boundary=", plain.clone()),
            ("multipart/mixed;boundary=c", plain.clone()),
            ("text/plain;boundary=b", plain.clone()),
            ("", plain.clone()),
            // Nothing ends it, the boundary is not at the beginning of a line, or begins another one.
            ("multipart/mixed;boundary=b", plain.replace("--b--", "--c--")),
            ("multipart/mixed;boundary=b", plain.replacen("--b\n", "x--b\n", 1)),
            ("multipart/mixed;boundary=b", plain.replacen("--b\n", "--bc\n", 1)),
            ("multipart/mixed;boundary=b", "--b\n--b\n\n--b--".into()),
            ("multipart/mixed;boundary=b", "--b--\nContent-Type: application/sdp\n\nv=0\n--b--".into()),
        ] {
            assert_eq!(edited(kind, &body), None, "{kind}: {body}");
        }
        let bare = plain.replace('\n', "\r\n").replace("v=0\r\n", "v=0\n");
        assert_eq!(edit_sessions(b"multipart/mixed;boundary=b", bare.as_bytes(), |_| Some(vec![])), None);
    }
}

//! As much of a SIP message as the two ends need: which one it is, and the headers that an answer repeats.
//!
//! Not the hub's own parser: what loads it shares none of its code, nor of its faults.

/// Most headers of one name that are kept.
const FEW: usize = 8;

/// What was found in a message. Absent headers are empty.
#[derive(Default)]
pub(crate) struct Message<'a> {
    /// Request or status line.
    pub(crate) start: &'a [u8],
    vias: [&'a [u8]; FEW],
    record_routes: [&'a [u8]; FEW],
    pub(crate) from: &'a [u8],
    pub(crate) to: &'a [u8],
    pub(crate) call_id: &'a [u8],
    pub(crate) cseq: &'a [u8],
    pub(crate) contact: &'a [u8],
}

impl<'a> Message<'a> {
    pub(crate) fn read(octets: &'a [u8]) -> Self {
        let mut message = Self::default();
        let (mut vias, mut record_routes) = (0, 0);
        let mut lines = octets.split(|&octet| octet == b'\n').map(<[u8]>::trim_ascii);
        message.start = lines.next().unwrap_or_default();
        for line in lines.take_while(|line| !line.is_empty()) {
            // Most headers are none of ours, which their first letter says.
            if !matches!(line[0] | 0x20, b'v' | b'r' | b'f' | b't' | b'i' | b'c' | b'm') {
                continue;
            }
            let Some(colon) = line.iter().position(|&octet| octet == b':') else { continue };
            let (name, value) = (line[..colon].trim_ascii_end(), line[colon + 1..].trim_ascii_start());
            let is = |long: &str, short: &str| {
                name.eq_ignore_ascii_case(long.as_bytes()) || name.eq_ignore_ascii_case(short.as_bytes())
            };
            if is("via", "v") {
                if let Some(via) = message.vias.get_mut(vias) {
                    *via = value;
                    vias += 1;
                }
            } else if is("record-route", "record-route") {
                if let Some(route) = message.record_routes.get_mut(record_routes) {
                    *route = value;
                    record_routes += 1;
                }
            } else if is("from", "f") {
                message.from = value;
            } else if is("to", "t") {
                message.to = value;
            } else if is("call-id", "i") {
                message.call_id = value;
            } else if is("cseq", "cseq") {
                message.cseq = value;
            } else if is("contact", "m") {
                message.contact = value;
            }
        }
        message
    }

    pub(crate) fn vias(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.vias.into_iter().filter(|value| !value.is_empty())
    }

    pub(crate) fn record_routes(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.record_routes.into_iter().filter(|value| !value.is_empty())
    }

    /// The status of a response; none for a request.
    pub(crate) fn status(&self) -> Option<u16> {
        number(self.start.strip_prefix(b"SIP/2.0 ")?).map(|(status, _)| status as u16)
    }

    /// Whether it is such a request.
    pub(crate) fn is_request(&self, method: &str) -> bool {
        self.start.strip_prefix(method.as_bytes()).is_some_and(|rest| rest.starts_with(b" "))
    }
}

/// What stands between `<` and `>`.
pub(crate) fn within_brackets(value: &[u8]) -> Option<&[u8]> {
    let start = value.iter().position(|&octet| octet == b'<')? + 1;
    let end = start + value[start..].iter().position(|&octet| octet == b'>')?;
    Some(&value[start..end])
}

/// What follows `mark`.
pub(crate) fn after<'a>(value: &'a [u8], mark: &str) -> Option<&'a [u8]> {
    let mark = mark.as_bytes();
    let start = value.windows(mark.len()).position(|window| window == mark)?;
    Some(&value[start + mark.len()..])
}

/// The number that `text` begins with, and what follows it.
pub(crate) fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let value = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    Some((value, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_an_answer_are_found_in_their_order() {
        let message = Message::read(
            b"SIP/2.0 180 Ringing\r\nVia: a\r\nv : b\r\nRecord-Route: <sip:x;lr>\r\nRECORD-ROUTE: <sip:y;lr>\r\n\
              f: <sip:+8820000120070@127.0.0.1>;tag=c12g7\r\nTo: <sip:+44@x>;tag=s12g7\r\ni: 12-7-ab@c\r\nCSeq: 1 INVITE\r\n\
              m: <sip:gw@127.77.0.21:5060>\r\n\r\nv=0\r\n",
        );
        assert_eq!(message.status(), Some(180));
        assert!(message.vias().eq([b"a", b"b"]));
        assert!(message.record_routes().eq([b"<sip:x;lr>", b"<sip:y;lr>"]));
        assert_eq!(within_brackets(message.contact), Some(&b"sip:gw@127.77.0.21:5060"[..]));
        assert_eq!(number(message.call_id), Some((12, &b"-7-ab@c"[..])));
        assert_eq!(after(message.to, ";tag=s"), Some(&b"12g7"[..]));
    }

    #[test]
    fn a_request_is_known_by_its_whole_method() {
        let message = Message::read(b"BYE sip:x SIP/2.0\r\n\r\n");
        assert!(message.is_request("BYE") && !message.is_request("B") && !message.is_request("INVITE"));
        assert_eq!(message.status(), None);
    }
}

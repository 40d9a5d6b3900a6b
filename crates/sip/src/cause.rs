//! Why a request or response says that a call ends: the Reason header field (RFC 3326; in responses RFC 6432).

use crate::octets::{self, Params};
use crate::{Message, Name};

/// The causes that a message gives; of several of one protocol the first counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Causes {
    /// A status code of SIP.
    pub sip: Option<u16>,
    /// A cause value of ITU-T Q.850, 1 to 127.
    pub q850: Option<u8>,
}

impl Causes {
    /// What the Reason header fields of a message say. What cannot be read says nothing.
    pub fn of(message: &Message<'_>) -> Self {
        let mut causes = Self::default();
        for value in message.values(Name::Reason) {
            let end = value.iter().position(|&octet| octet == b';').unwrap_or(value.len());
            let protocol = octets::trim(&value[..end]);
            let Some(Some(cause)) = Params::find(value.get(end + 1..).unwrap_or_default(), b"cause") else {
                continue;
            };
            if protocol.eq_ignore_ascii_case(b"SIP") {
                let status = octets::decimal(cause, 699).filter(|status| *status >= 100);
                causes.sip = causes.sip.or(status.map(|status| status as u16));
            } else if protocol.eq_ignore_ascii_case(b"Q.850") {
                let cause = octets::decimal(cause, 127).filter(|cause| *cause >= 1);
                causes.q850 = causes.q850.or(cause.map(|cause| cause as u8));
            }
        }
        causes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_of_each_protocol_counts_and_what_cannot_be_read_does_not() {
        let table = [
            ("Reason: Q.850;cause=16;text=\"Terminated\"", (None, Some(16))),
            ("Reason: SIP ; cause=600 ; text=\"Busy, everywhere\", q.850;CAUSE=17", (Some(600), Some(17))),
            ("Reason: Q.850;cause=1\r\nReason: sip;cause=404\r\nReason: SIP;cause=500", (Some(404), Some(1))),
            ("Reason: preemption;cause=1;text=\"x\"", (None, None)),
            ("Reason: Q.850;cause=0, Q.850;cause=128, Q.850;cause=34", (None, Some(34))),
            ("Reason: SIP;text=\"cause=404\"", (None, None)),
            ("Reason: SIP;cause=99", (None, None)),
            ("Reason: Q.850", (None, None)),
            ("Reason: ", (None, None)),
            ("X: y", (None, None)),
        ];
        for (lines, (sip, q850)) in table {
            let octets = format!("BYE sip:h SIP/2.0\r\n{lines}\r\n\r\n");
            let message = Message::parse(octets.as_bytes()).unwrap();
            assert_eq!(Causes::of(&message), Causes { sip, q850 }, "{lines}");
        }
    }
}

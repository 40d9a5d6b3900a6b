//! To which transaction a message belongs: RFC 3261 §17.1.3 and §17.2.3.

use std::hash::{Hash, Hasher};

use crate::{Fault, Message, Method, Name};

/// What tells one server transaction from another; equal for a request and its retransmissions.
///
/// An ACK has the key of its INVITE, except an ACK to a 2xx, whose branch is its own.
#[derive(Clone, Copy, Debug)]
pub enum Match<'a> {
    /// The top Via has a branch of RFC 3261.
    Branch {
        /// The whole branch, compared octet by octet.
        branch: &'a [u8],
        /// Host of sent-by, compared without case.
        host: &'a [u8],
        /// Port of sent-by, or the transport's default.
        port: u16,
        /// The method; INVITE for an ACK.
        method: Method<'a>,
    },
    /// The sender knows only RFC 2543: what it says otherwise must do.
    Rfc2543 {
        /// The Request-URI.
        uri: &'a [u8],
        /// The tag of To; `None` for INVITE and its ACK, as the ACK has the tag of the response.
        to_tag: Option<&'a [u8]>,
        /// The tag of From.
        from_tag: Option<&'a [u8]>,
        /// The Call-ID.
        call_id: &'a [u8],
        /// The number in CSeq.
        cseq: u32,
        /// The top Via as it was written.
        via: &'a [u8],
        /// The method; INVITE for an ACK.
        method: Method<'a>,
    },
}

/// The key of the server transaction that a request belongs to.
pub fn server_key<'a>(request: &Message<'a>) -> Result<Match<'a>, Fault> {
    let method = request.request().ok_or(Fault::StartLine)?.method;
    server_key_of(request, method)
}

/// The key as if the request had another method: with INVITE, what a CANCEL cancels (RFC 3261 §9.2).
pub fn server_key_of<'a>(request: &Message<'a>, method: Method<'a>) -> Result<Match<'a>, Fault> {
    let method = if method == Method::Ack { Method::Invite } else { method };
    let via = request.top_via()?;
    if via.has_magic_cookie() {
        let branch = via.branch.unwrap_or_default();
        return Ok(Match::Branch { branch, host: via.host, port: via.port_or_default(), method });
    }
    let line = request.request().ok_or(Fault::StartLine)?;
    Ok(Match::Rfc2543 {
        uri: line.uri,
        to_tag: if method == Method::Invite { None } else { request.to_tag() },
        from_tag: request.from_tag(),
        call_id: request.call_id()?,
        cseq: request.cseq()?.number,
        via: request.top_via_value()?,
        method,
    })
}

/// Branch of the top Via and method in CSeq: which client transaction a response belongs to (§17.1.3).
pub fn client_branch<'a>(response: &Message<'a>) -> Result<(&'a [u8], Method<'a>), Fault> {
    let branch = response.top_via()?.branch.ok_or(Fault::Malformed(Name::Via))?;
    Ok((branch, response.cseq()?.method))
}

impl Match<'_> {
    /// Appends the key as octets that are equal exactly when the keys are: for tables that own their keys.
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Match::Branch { branch, host, port, method } => {
                out.push(b'B');
                piece(out, branch);
                let start = out.len();
                piece(out, host);
                out[start + 2..].make_ascii_lowercase();
                out.extend_from_slice(&port.to_be_bytes());
                piece(out, method.as_bytes());
            }
            Match::Rfc2543 { uri, to_tag, from_tag, call_id, cseq, via, method } => {
                out.push(b'2');
                out.push(u8::from(to_tag.is_some()) | u8::from(from_tag.is_some()) << 1);
                for octets in [uri, to_tag.unwrap_or_default(), from_tag.unwrap_or_default(), call_id, via] {
                    piece(out, octets);
                }
                out.extend_from_slice(&cseq.to_be_bytes());
                piece(out, method.as_bytes());
            }
        }
    }
}

/// Appends octets with their length before them, so that no two lists of pieces are written alike.
fn piece(out: &mut Vec<u8>, octets: &[u8]) {
    // A message is no longer than a u16 says.
    out.extend_from_slice(&u16::try_from(octets.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(octets);
}

impl PartialEq for Match<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (*self, *other) {
            (
                Match::Branch { branch, host, port, method },
                Match::Branch { branch: branch2, host: host2, port: port2, method: method2 },
            ) => (branch, port, method) == (branch2, port2, method2) && host.eq_ignore_ascii_case(host2),
            (
                Match::Rfc2543 { uri, to_tag, from_tag, call_id, cseq, via, method },
                Match::Rfc2543 {
                    uri: uri2,
                    to_tag: to_tag2,
                    from_tag: from_tag2,
                    call_id: call_id2,
                    cseq: cseq2,
                    via: via2,
                    method: method2,
                },
            ) => {
                (uri, to_tag, from_tag, call_id, cseq, via, method)
                    == (uri2, to_tag2, from_tag2, call_id2, cseq2, via2, method2)
            }
            (Match::Branch { .. }, Match::Rfc2543 { .. }) | (Match::Rfc2543 { .. }, Match::Branch { .. }) => {
                false
            }
        }
    }
}

impl Eq for Match<'_> {}

impl Hash for Match<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match *self {
            // The host is left to `eq`: it is compared without case, and branches hardly ever collide.
            Match::Branch { branch, port, method, .. } => (branch, port, method).hash(state),
            Match::Rfc2543 { call_id, cseq, via, method, .. } => (call_id, cseq, via, method).hash(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::DefaultHasher;

    /// A request with this top Via, To parameters and Request-URI.
    fn request(method: &str, via: &str, to: &str, uri: &str) -> Vec<u8> {
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: {via}, SIP/2.0/UDP other\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>{to}\r\n\
             Call-ID: x@y\r\nCSeq: 1 {method}\r\n\r\n"
        );
        text.into_bytes()
    }

    /// True when both requests are of one transaction, by `Eq`, `Hash` and `write` alike.
    fn same(one: &[u8], two: &[u8]) -> bool {
        let (one, two) = (Message::parse(one).unwrap(), Message::parse(two).unwrap());
        let (one, two) = (server_key(&one).unwrap(), server_key(&two).unwrap());
        let written = |key: &Match<'_>| {
            let mut out = Vec::new();
            key.write(&mut out);
            out
        };
        let hashed = |key: &Match<'_>| {
            let mut hasher = DefaultHasher::new();
            key.hash(&mut hasher);
            hasher.finish()
        };
        assert_eq!(one == two, written(&one) == written(&two));
        assert!(one != two || hashed(&one) == hashed(&two));
        one == two
    }

    const VIA: &str = "SIP/2.0/UDP Host:5060;branch=z9hG4bKabc";

    #[test]
    fn branch_sent_by_and_method_tell_transactions_apart() {
        let invite = request("INVITE", VIA, "", "sip:b@h");
        let others = [
            "SIP/2.0/UDP Host;branch=z9hG4bKabd",
            "SIP/2.0/UDP Host2;branch=z9hG4bKabc",
            "SIP/2.0/UDP Host:5061;branch=z9hG4bKabc",
        ];
        for via in others {
            assert!(!same(&invite, &request("INVITE", via, "", "sip:b@h")), "{via}");
        }
        assert!(same(
            &invite,
            &request("INVITE", "SIP / 2.0/UDP  hOST ;rport;branch=z9hG4bKabc", ";tag=9", "sip:c@h")
        ));
        assert!(!same(&invite, &request("BYE", VIA, "", "sip:b@h")));
    }

    #[test]
    fn an_ack_belongs_to_its_invite_and_a_cancel_finds_it() {
        let invite = request("INVITE", VIA, "", "sip:b@h");
        assert!(same(&invite, &request("ACK", VIA, ";tag=9", "sip:b@h")));
        let cancel = request("CANCEL", VIA, "", "sip:b@h");
        assert!(!same(&invite, &cancel));
        let (invite, cancel) = (Message::parse(&invite).unwrap(), Message::parse(&cancel).unwrap());
        assert_eq!(server_key_of(&cancel, Method::Invite), server_key(&invite));
    }

    #[test]
    fn without_the_magic_cookie_what_rfc_2543_has_is_compared() {
        for via in ["SIP/2.0/UDP h", "SIP/2.0/UDP h;branch=1", "SIP/2.0/UDP h;branch=z9hG4bK"] {
            let invite = request("INVITE", via, "", "sip:b@h");
            assert!(same(&invite, &invite.clone()));
            assert!(same(&invite, &request("ACK", via, ";tag=9", "sip:b@h")), "{via}");
            assert!(!same(&invite, &request("INVITE", via, "", "sip:c@h")));
            assert!(!same(&invite, &request("INVITE", "SIP/2.0/UDP h2", "", "sip:b@h")));
            assert!(!same(
                &request("BYE", via, ";tag=1", "sip:b@h"),
                &request("BYE", via, ";tag=2", "sip:b@h")
            ));
        }
    }

    #[test]
    fn a_response_is_known_by_branch_and_cseq_method() {
        let response = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKabc\r\nCSeq: 2 CANCEL\r\n\r\n";
        let response = Message::parse(response).unwrap();
        assert_eq!(client_branch(&response), Ok((&b"z9hG4bKabc"[..], Method::Cancel)));
        assert_eq!(server_key(&response), Err(Fault::StartLine));
    }
}

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

//! The messages of the simulated switches, read and written by `rsip` through [`tandem_sip::witness`]: the
//! hub's own message code has no part in them, so that one author's mistakes do not hide on both sides.

use std::net::SocketAddr;

use tandem_model::Transport;
use tandem_sip::witness::{self, Invite, Later};

/// The state of a dialog (RFC 3261 §12), as far as a user agent without routes needs it.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    /// Its Call-ID.
    pub(crate) call_id: String,
    /// URI of this side, its tag, and where it is.
    pub(crate) local: String,
    pub(crate) local_tag: String,
    pub(crate) address: SocketAddr,
    /// URI of the other side, and its tag once it has one.
    pub(crate) remote: String,
    pub(crate) remote_tag: String,
    /// Where the INVITE is addressed, and the branch that it was sent with.
    pub(crate) uri: String,
    pub(crate) branch: String,
    /// Where requests in the dialog are addressed: the other side's Contact.
    pub(crate) target: String,
    /// This side's Contact.
    pub(crate) contact: String,
    /// By what it speaks.
    pub(crate) transport: Transport,
    /// The last CSeq number that this side has used.
    pub(crate) cseq: u32,
}

impl Dialog {
    /// The INVITE that begins it.
    pub(crate) fn invite(&self, offer: &str) -> Vec<u8> {
        self.written(|invite| witness::invite(&Invite { sdp: offer, ..*invite }))
    }

    /// ACK of the 2xx.
    pub(crate) fn ack(&self, branch: &str) -> Vec<u8> {
        // It has the number of the INVITE, which is the first request of this side.
        self.written(|invite| witness::ack(invite, &self.later(branch, 1)))
    }

    /// ACK of a final response that is no 2xx: it belongs to the transaction (RFC 3261 §17.1.1.3).
    pub(crate) fn ack_of_failure(&self, to_tag: &str) -> Vec<u8> {
        let later = Later { uri: &self.uri, branch: &self.branch, to_tag, cseq: 1 };
        self.written(|invite| witness::ack(invite, &later))
    }

    /// CANCEL of the INVITE.
    pub(crate) fn cancel(&self) -> Vec<u8> {
        self.written(witness::cancel)
    }

    /// BYE, with the next number.
    pub(crate) fn bye(&self, branch: &str) -> Vec<u8> {
        self.written(|invite| witness::bye(invite, &self.later(branch, self.cseq)))
    }

    fn later<'a>(&'a self, branch: &'a str, cseq: u32) -> Later<'a> {
        Later { uri: &self.target, branch, to_tag: &self.remote_tag, cseq }
    }

    fn written(&self, write: impl FnOnce(&Invite<'_>) -> Vec<u8>) -> Vec<u8> {
        write(&Invite {
            uri: &self.uri,
            transport: self.transport.as_via(),
            sent_by: &self.address.to_string(),
            branch: &self.branch,
            from: &format!("<{}>", self.local),
            from_tag: &self.local_tag,
            to: &format!("<{}>", self.remote),
            call_id: &self.call_id,
            cseq: 1,
            contact: &self.contact,
            sdp: "",
        })
    }
}

/// A message that came, as far as a user agent looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    /// Status of a response; `None` for a request.
    pub(crate) status: Option<u16>,
    /// Method of the request, or that a response is for.
    pub(crate) method: String,
    /// Its Call-ID.
    pub(crate) call_id: String,
    /// User part and tag of From.
    pub(crate) from_user: String,
    pub(crate) from_tag: Option<String>,
    /// Tag of To.
    pub(crate) to_tag: Option<String>,
    /// User part of the Request-URI.
    pub(crate) called_user: String,
    /// URI of its Contact, where it has one.
    pub(crate) contact: Option<String>,
    /// All of it.
    pub(crate) octets: Vec<u8>,
}

/// Reads a message; the error is what `rsip` says.
pub(crate) fn read(octets: &[u8]) -> Result<Incoming, String> {
    let reading = witness::read(octets)?;
    let text = String::from_utf8_lossy(octets);
    let mut lines = text.lines();
    let called_user = user(lines.next().unwrap_or_default());
    let from = lines.find(|line| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("from:")));
    Ok(Incoming {
        status: reading.status,
        method: reading.method.unwrap_or(reading.cseq_method),
        call_id: reading.call_id.trim().to_owned(),
        from_user: user(from.unwrap_or_default()),
        from_tag: reading.from_tag,
        to_tag: reading.to_tag,
        called_user,
        contact: reading.contact,
        octets: octets.to_vec(),
    })
}

/// User part of the first `sip:` URI in a line; the witness does not show it.
fn user(line: &str) -> String {
    let uri = line.split_once("sip:").map_or("", |(_, uri)| uri);
    uri.split_once('@').map_or("", |(user, _)| user).split(';').next().unwrap_or_default().to_owned()
}

/// A response to `request`, with a tag of ours in To where it has none.
pub(crate) fn respond(request: &[u8], status: u16, tag: &str, contact: &str, body: &str) -> Vec<u8> {
    witness::response(request, status, tag, contact, body).expect("only what rsip has read is answered")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dialog_writes_is_read_back() {
        let dialog = Dialog {
            call_id: "a@127.42.1.1".to_owned(),
            local: "sip:+442079460001@127.42.1.1:5060;user=phone".to_owned(),
            local_tag: "one".to_owned(),
            address: "127.42.1.1:5060".parse().expect("an address"),
            remote: "sip:+12125550101@127.0.0.1:5060;user=phone".to_owned(),
            remote_tag: "other".to_owned(),
            uri: "sip:+12125550101@127.0.0.1:5060;user=phone".to_owned(),
            branch: "z9hG4bK1".to_owned(),
            target: "sip:hub@127.0.0.1:5060".to_owned(),
            contact: "<sip:acme@127.42.1.1:5060;transport=udp>".to_owned(),
            transport: Transport::Udp,
            cseq: 2,
        };
        let invite = read(&dialog.invite("v=0\r\n")).expect("readable");
        assert_eq!(
            (invite.from_user.as_str(), invite.called_user.as_str()),
            ("+442079460001", "+12125550101")
        );
        assert_eq!((invite.to_tag, invite.from_tag.as_deref()), (None, Some("one")));
        let ok = read(&respond(&invite.octets, 200, "other", "<sip:hub@127.0.0.1:5060>", "v=0\r\n"))
            .expect("readable");
        assert_eq!(
            (ok.status, ok.to_tag.as_deref(), ok.method.as_str()),
            (Some(200), Some("other"), "INVITE")
        );
        for (octets, method) in
            [(dialog.ack("b"), "ACK"), (dialog.bye("b"), "BYE"), (dialog.cancel(), "CANCEL")]
        {
            let read = read(&octets).expect("readable");
            assert_eq!((read.method.as_str(), read.to_tag.is_some()), (method, method != "CANCEL"));
        }
    }
}

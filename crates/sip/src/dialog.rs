//! What two user agents share while a call lasts: RFC 3261 §12.

use std::borrow::Cow;

use crate::{Fault, Message, Name, NameAddr, Uri};

/// One side's view of a dialog, early or confirmed; owned, so that it outlives the messages it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialog {
    /// The Call-ID.
    pub call_id: Box<[u8]>,
    /// Our tag.
    pub local_tag: Box<[u8]>,
    /// The peer's tag; empty when the peer, of RFC 2543, has none.
    pub remote_tag: Box<[u8]>,
    /// Our name and URI as From or To has them, without parameters: `"A" <sip:a@h>`.
    pub local_uri: Box<[u8]>,
    /// The peer's name and URI as From or To has them, without parameters.
    pub remote_uri: Box<[u8]>,
    /// URI of the peer's Contact: where requests in the dialog are meant for.
    pub remote_target: Box<[u8]>,
    /// Route values in the order in which requests carry them.
    pub route_set: Vec<Box<[u8]>>,
    /// CSeq number of the last request that we sent; 0 before the first.
    pub local_cseq: u32,
    /// CSeq number of the last request that the peer sent.
    pub remote_cseq: Option<u32>,
}

/// Why a request of the peer does not fit into the dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CSeqError {
    /// The number is not above the last one: answered with 500 (RFC 3261 §12.2.2).
    #[error("CSeq {received} does not follow {last}")]
    OutOfOrder {
        /// The number in the request.
        received: u32,
        /// The highest number so far.
        last: u32,
    },
}

impl Dialog {
    /// The callee's dialog by the request that makes it (§12.1.1): Record-Route gives the routes in its order.
    ///
    /// Call-ID, From, CSeq or Contact that is missing or malformed is a [`Fault`].
    pub fn from_request(request: &Message<'_>, local_tag: &[u8]) -> Result<Dialog, Fault> {
        let (from, to) = (request.from()?, request.to()?);
        Ok(Dialog {
            call_id: request.call_id()?.into(),
            local_tag: local_tag.into(),
            remote_tag: from.tag().unwrap_or_default().into(),
            local_uri: to.address.into(),
            remote_uri: from.address.into(),
            remote_target: contact_uri(request)?.into(),
            route_set: request.values(Name::RecordRoute).map(Box::from).collect(),
            local_cseq: 0,
            remote_cseq: Some(request.cseq()?.number),
        })
    }

    /// The caller's dialog by its request, as it was sent, and a response with a To tag (§12.1.2).
    ///
    /// Record-Route gives the routes in reverse order. A response without Contact leaves the Request-URI as
    /// the target, as early ones may come without it.
    pub fn from_response(request: &Message<'_>, response: &Message<'_>) -> Result<Dialog, Fault> {
        let (from, to) = (request.from()?, response.to()?);
        let mut route_set: Vec<Box<[u8]>> = response.values(Name::RecordRoute).map(Box::from).collect();
        route_set.reverse();
        let remote_target = match response.header(Name::Contact) {
            Some(_) => contact_uri(response)?,
            None => request.request().ok_or(Fault::StartLine)?.uri,
        };
        Ok(Dialog {
            call_id: request.call_id()?.into(),
            local_tag: from.tag().unwrap_or_default().into(),
            remote_tag: to.tag().unwrap_or_default().into(),
            local_uri: from.address.into(),
            remote_uri: to.address.into(),
            remote_target: remote_target.into(),
            route_set,
            local_cseq: request.cseq()?.number,
            remote_cseq: None,
        })
    }

    /// Takes the Contact of a target refresh, INVITE or UPDATE, or of its 2xx, as the new target (§12.2).
    ///
    /// True when the target changed. A message without a Contact that can be read changes nothing.
    pub fn update_target(&mut self, message: &Message<'_>) -> bool {
        match contact_uri(message) {
            Ok(uri) if *uri != *self.remote_target => {
                self.remote_target = uri.into();
                true
            }
            _ => false,
        }
    }

    /// The caller's early dialog is confirmed by this 2xx: the routes are those of the 2xx, and so is the
    /// target where it has a Contact (§13.2.2.4).
    pub fn confirm(&mut self, success: &Message<'_>) {
        self.route_set = success.values(Name::RecordRoute).map(Box::from).collect();
        self.route_set.reverse();
        self.update_target(success);
    }

    /// Takes the CSeq number of a request of the peer, not ACK or CANCEL (§12.2.2).
    pub fn accept_cseq(&mut self, number: u32) -> Result<(), CSeqError> {
        match self.remote_cseq {
            Some(last) if number <= last => Err(CSeqError::OutOfOrder { received: number, last }),
            _ => {
                self.remote_cseq = Some(number);
                Ok(())
            }
        }
    }

    /// The CSeq number of the next request that we send, not ACK or CANCEL (§12.2.1.1).
    pub fn next_cseq(&mut self) -> u32 {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.local_cseq
    }

    /// Request-URI and Route values of a request in the dialog (§12.2.1.1).
    ///
    /// Where the first route has no `lr`, its URI is the Request-URI and the target goes last.
    pub fn request_target(&self) -> (&[u8], Vec<Cow<'_, [u8]>>) {
        let Some((first, others)) = self.route_set.split_first() else {
            return (&self.remote_target, Vec::new());
        };
        match NameAddr::parse(first) {
            Ok(route) if !is_loose(route.uri) => {
                let target = [b"<", &*self.remote_target, b">"].concat();
                let others = others.iter().map(|route| Cow::Borrowed(&**route));
                (without_headers(route.uri), others.chain([Cow::Owned(target)]).collect())
            }
            _ => (&self.remote_target, self.route_set.iter().map(|route| Cow::Borrowed(&**route)).collect()),
        }
    }

    /// True when a message that came in belongs to this dialog: Call-ID and both tags (§12.2.2, §13.2.2.4).
    pub fn matches(&self, message: &Message<'_>) -> bool {
        let (ours, theirs) = match message.request() {
            Some(_) => (message.to_tag(), message.from_tag()),
            None => (message.from_tag(), message.to_tag()),
        };
        message.call_id().is_ok_and(|id| *id == *self.call_id)
            && *ours.unwrap_or_default() == *self.local_tag
            && *theirs.unwrap_or_default() == *self.remote_tag
    }

    /// Value of From in a request that we send.
    pub fn from_value(&self) -> Vec<u8> {
        with_tag(&self.local_uri, &self.local_tag)
    }

    /// Value of To in a request that we send.
    pub fn to_value(&self) -> Vec<u8> {
        with_tag(&self.remote_uri, &self.remote_tag)
    }
}

fn with_tag(address: &[u8], tag: &[u8]) -> Vec<u8> {
    match tag {
        [] => address.to_vec(),
        _ => [address, b";tag=", tag].concat(),
    }
}

fn contact_uri<'a>(message: &Message<'a>) -> Result<&'a [u8], Fault> {
    let value = message.values(Name::Contact).next().ok_or(Fault::Missing(Name::Contact))?;
    let contact = NameAddr::parse(value).map_err(Fault::of(Name::Contact))?;
    contact.parse_uri().map_err(Fault::of(Name::Contact))?;
    Ok(contact.uri)
}

fn is_loose(uri: &[u8]) -> bool {
    // A route that cannot be read is passed on as it is rather than made the Request-URI.
    Uri::parse(uri).map_or(true, |uri| uri.param("lr").is_some())
}

/// A URI as a Request-URI: without header fields (§19.1.1 table 1).
fn without_headers(uri: &[u8]) -> &[u8] {
    match Uri::parse(uri) {
        Ok(parsed) if !parsed.headers.is_empty() => &uri[..uri.len() - parsed.headers.len() - 1],
        _ => uri,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &[u8] = b"INVITE sip:b@callee SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n\
        From: \"A, a\" <sip:a@caller>;tag=from;x=y\r\nTo: sip:b@callee\r\nCall-ID: x@y\r\nCSeq: 7 INVITE\r\n\
        Contact: <sip:a@192.0.2.1;ob>;expires=9\r\n\
        Record-Route: <sip:p2;lr>, <sip:p1;lr>\r\nRecord-Route: <sip:p0;lr>\r\n\r\n";
    const OK: &[u8] = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\n\
        From: \"A, a\" <sip:a@caller>;tag=from\r\nTo: sip:b@callee;tag=to\r\nCall-ID: x@y\r\nCSeq: 7 INVITE\r\n\
        Contact: <sip:b@192.0.2.2>\r\n\
        Record-Route: <sip:p2;lr>, <sip:p1;lr>\r\nRecord-Route: <sip:p0;lr>\r\n\r\n";

    fn message(octets: &[u8]) -> Message<'_> {
        Message::parse(octets).unwrap()
    }

    fn callee() -> Dialog {
        Dialog::from_request(&message(INVITE), b"to").unwrap()
    }

    fn caller() -> Dialog {
        Dialog::from_response(&message(INVITE), &message(OK)).unwrap()
    }

    fn texts(routes: &[impl AsRef<[u8]>]) -> Vec<String> {
        routes.iter().map(|route| String::from_utf8_lossy(route.as_ref()).into_owned()).collect()
    }

    /// Request-URI and Route values with this route set.
    fn target(routes: &[&str]) -> (String, Vec<String>) {
        let route_set = routes.iter().map(|route| route.as_bytes().into()).collect();
        let dialog = Dialog { route_set, ..callee() };
        let (uri, routes) = dialog.request_target();
        (String::from_utf8_lossy(uri).into_owned(), texts(&routes))
    }

    #[test]
    fn the_callee_takes_the_routes_in_order_and_the_caller_in_reverse() {
        assert_eq!(texts(&callee().route_set), ["<sip:p2;lr>", "<sip:p1;lr>", "<sip:p0;lr>"]);
        assert_eq!(texts(&caller().route_set), ["<sip:p0;lr>", "<sip:p1;lr>", "<sip:p2;lr>"]);
    }

    #[test]
    fn both_sides_know_themselves_and_each_other() {
        let (callee, mut caller) = (callee(), caller());
        assert_eq!(callee.from_value(), b"sip:b@callee;tag=to");
        assert_eq!(callee.to_value(), br#""A, a" <sip:a@caller>;tag=from"#);
        assert_eq!((caller.from_value(), caller.to_value()), (callee.to_value(), callee.from_value()));
        assert_eq!(*callee.remote_target, b"sip:a@192.0.2.1;ob"[..]);
        assert_eq!(*caller.remote_target, b"sip:b@192.0.2.2"[..]);
        assert_eq!((callee.local_cseq, callee.remote_cseq), (0, Some(7)));
        assert_eq!((caller.next_cseq(), caller.local_cseq, caller.remote_cseq), (8, 8, None));
    }

    #[test]
    fn messages_match_by_call_id_and_both_tags() {
        let bye = |from: &str, to: &str, id: &str| {
            format!(
                "BYE sip:h SIP/2.0\r\nFrom: <sip:a@h>;tag={from}\r\nTo: <sip:b@h>;tag={to}\r\nCall-ID: {id}\r\n\r\n"
            )
        };
        assert!(callee().matches(&message(bye("from", "to", "x@y").as_bytes())));
        assert!(caller().matches(&message(bye("to", "from", "x@y").as_bytes())));
        assert!(caller().matches(&message(OK)));
        assert!(!callee().matches(&message(INVITE)));
        for (from, to, id) in [("from", "to", "X@y"), ("FROM", "to", "x@y"), ("to", "from", "x@y")] {
            assert!(!callee().matches(&message(bye(from, to, id).as_bytes())), "{from} {to} {id}");
        }
    }

    #[test]
    fn a_peer_of_rfc_2543_has_an_empty_tag() {
        let invite = String::from_utf8_lossy(INVITE).replace(";tag=from", "");
        let dialog = Dialog::from_request(&message(invite.as_bytes()), b"to").unwrap();
        assert_eq!(
            (&*dialog.remote_tag, dialog.to_value()),
            (&b""[..], br#""A, a" <sip:a@caller>"#.to_vec())
        );
        let bye = b"BYE sip:h SIP/2.0\r\nFrom: <sip:a@h>\r\nTo: <sip:b@h>;tag=to\r\nCall-ID: x@y\r\n\r\n";
        assert!(dialog.matches(&message(bye)));
    }

    #[test]
    fn loose_routes_leave_the_target_as_request_uri() {
        assert_eq!(target(&[]), ("sip:a@192.0.2.1;ob".into(), vec![]));
        let (uri, routes) = target(&["<sip:p1;lr>", "<sip:p2>"]);
        assert_eq!(
            (uri.as_str(), routes),
            ("sip:a@192.0.2.1;ob", vec!["<sip:p1;lr>".into(), "<sip:p2>".into()])
        );
    }

    #[test]
    fn a_strict_first_route_becomes_the_request_uri_and_the_target_goes_last() {
        let (uri, routes) = target(&["<sip:p1;x=y?a=b>", "<sip:p2;lr>"]);
        assert_eq!(
            (uri.as_str(), routes),
            ("sip:p1;x=y", vec!["<sip:p2;lr>".into(), "<sip:a@192.0.2.1;ob>".into()])
        );
    }

    #[test]
    fn requests_of_the_peer_come_in_rising_order() {
        let mut dialog = callee();
        assert_eq!(dialog.accept_cseq(8), Ok(()));
        assert_eq!(dialog.accept_cseq(20), Ok(()));
        assert_eq!(dialog.accept_cseq(20), Err(CSeqError::OutOfOrder { received: 20, last: 20 }));
        assert_eq!(caller().accept_cseq(0), Ok(()));
    }

    #[test]
    fn a_target_refresh_moves_the_target_and_a_bad_contact_does_not() {
        let mut dialog = callee();
        let update = |contact: &str| format!("UPDATE sip:h SIP/2.0\r\n{contact}\r\n");
        assert!(dialog.update_target(&message(update("Contact: <sip:a@192.0.2.9>\r\n").as_bytes())));
        assert_eq!(*dialog.remote_target, b"sip:a@192.0.2.9"[..]);
        for contact in ["", "Contact: *\r\n", "Contact: <sip:a b@h>\r\n", "Contact: <sip:a@192.0.2.9>\r\n"] {
            assert!(!dialog.update_target(&message(update(contact).as_bytes())), "{contact}");
        }
        assert_eq!(*dialog.remote_target, b"sip:a@192.0.2.9"[..]);
    }

    #[test]
    fn the_answer_confirms_an_early_dialog_with_its_own_routes_and_target() {
        let early =
            String::from_utf8_lossy(OK).replace("sip:p2", "sip:old").replace("192.0.2.2", "192.0.2.3");
        let mut dialog = Dialog::from_response(&message(INVITE), &message(early.as_bytes())).unwrap();
        dialog.next_cseq();
        dialog.confirm(&message(OK));
        assert_eq!(dialog, Dialog { local_cseq: 8, ..caller() });
    }

    #[test]
    fn no_dialog_without_a_contact_from_the_caller() {
        let invite = String::from_utf8_lossy(INVITE).replace("Contact:", "X:");
        assert_eq!(
            Dialog::from_request(&message(invite.as_bytes()), b"to"),
            Err(Fault::Missing(Name::Contact))
        );
        let early = String::from_utf8_lossy(OK).replace("Contact:", "X:");
        let dialog = Dialog::from_response(&message(INVITE), &message(early.as_bytes())).unwrap();
        assert_eq!(*dialog.remote_target, b"sip:b@callee"[..]);
    }
}

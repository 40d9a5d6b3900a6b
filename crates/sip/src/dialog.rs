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

//! The messages of the simulated switches, read and written by `rsip`: the hub's own message code has no part
//! in them, so that one author's mistakes are not hidden by the same mistakes on the other side.

use std::net::SocketAddr;

use rsip::headers::{self, ToTypedHeader, UntypedHeader};
use rsip::prelude::{HasHeaders, HeadersExt};
use rsip::{Header, Headers, Param, SipMessage, Uri, Version};
use tandem_model::Transport;

pub(crate) use rsip::{Method, Request};

/// One of the two parties of a dialog.
#[derive(Clone, Debug)]
pub(crate) struct Party {
    /// User part of its URI.
    pub(crate) user: String,
    /// Host part of its URI.
    pub(crate) host: SocketAddr,
    /// Its tag, once it has one.
    pub(crate) tag: Option<String>,
}

/// The state of a dialog (RFC 3261 §12), as far as a user agent without routes needs it.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    /// Its Call-ID.
    pub(crate) call_id: String,
    /// This side.
    pub(crate) local: Party,
    /// The other side.
    pub(crate) remote: Party,
    /// Where requests in the dialog are addressed: a URI.
    pub(crate) target: String,
    /// This side's Contact.
    pub(crate) contact: String,
    /// By what it speaks.
    pub(crate) transport: Transport,
    /// The last CSeq number that this side has used.
    pub(crate) cseq: u32,
}

/// A message that came, as far as a user agent looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    /// Status of a response; `None` for a request.
    pub(crate) status: Option<u16>,
    /// Method of the request, or that a response is for.
    pub(crate) method: Method,
    /// Its Call-ID.
    pub(crate) call_id: String,
    /// User part and tag of From.
    pub(crate) from_user: String,
    pub(crate) from_tag: Option<String>,
    /// User part and tag of To.
    pub(crate) to_user: String,
    pub(crate) to_tag: Option<String>,
    /// User part of the Request-URI.
    pub(crate) called_user: String,
    /// URI of its Contact, where it has one.
    pub(crate) contact: Option<String>,
    /// The request itself.
    pub(crate) request: Option<Request>,
}

/// Reads a message.
pub(crate) fn read(octets: &[u8]) -> Result<Incoming, rsip::Error> {
    let message = SipMessage::try_from(octets)?;
    let cseq = message.cseq_header()?.typed()?;
    let from = message.from_header()?.typed()?;
    let to = message.to_header()?.typed()?;
    let contact = match message.headers().iter().find(|header| matches!(header, Header::Contact(_))) {
        Some(_) => Some(message.contact_header()?.typed()?.uri.to_string()),
        None => None,
    };
    let tag = |params: &[Param]| {
        params.iter().find_map(|param| match param {
            Param::Tag(tag) => Some(tag.value().to_owned()),
            _ => None,
        })
    };
    let user = |uri: &Uri| uri.user().unwrap_or_default().to_owned();
    let call_id = message.call_id_header()?.value().trim().to_owned();
    let (status, method, called_user, request) = match message {
        SipMessage::Response(response) => {
            (Some(response.status_code.code()), cseq.method, String::new(), None)
        }
        SipMessage::Request(request) => (None, request.method, user(&request.uri), Some(request)),
    };
    Ok(Incoming {
        status,
        method,
        call_id,
        from_user: user(&from.uri),
        from_tag: tag(&from.params),
        to_user: user(&to.uri),
        to_tag: tag(&to.params),
        called_user,
        contact,
        request,
    })
}

/// INVITE that begins `dialog`, with an offer.
pub(crate) fn invite(dialog: &Dialog, branch: &str, offer: &str) -> Request {
    let mut invite = in_dialog(dialog, Method::Invite, dialog.cseq, branch);
    invite.headers.push(headers::Contact::new(dialog.contact.as_str()).into());
    invite.headers.push(headers::Allow::new("INVITE, ACK, CANCEL, BYE, OPTIONS").into());
    invite.headers.push(headers::UserAgent::new(USER_AGENT).into());
    with_body(&mut invite.headers, offer);
    invite.body = offer.as_bytes().to_vec();
    invite
}

/// ACK of the 2xx to the INVITE of `dialog`.
pub(crate) fn ack(dialog: &Dialog, branch: &str) -> Request {
    // ACK has the number of the INVITE, which is the first request of this side.
    let mut ack = in_dialog(dialog, Method::Ack, 1, branch);
    ack.headers.push(headers::ContentLength::new("0").into());
    ack
}

/// BYE in `dialog`.
pub(crate) fn bye(dialog: &Dialog, branch: &str) -> Request {
    let mut bye = in_dialog(dialog, Method::Bye, dialog.cseq, branch);
    bye.headers.push(headers::ContentLength::new("0").into());
    bye
}

/// CANCEL of `invite` (RFC 3261 §9.1).
pub(crate) fn cancel(invite: &Request) -> Request {
    of_transaction(invite, Method::Cancel, None)
}

/// ACK of a final response to `invite` that is no 2xx (RFC 3261 §17.1.1.3).
pub(crate) fn ack_of_failure(invite: &Request, to_tag: Option<&str>) -> Request {
    of_transaction(invite, Method::Ack, to_tag)
}

/// A response to `request`, with a tag of ours in To where it has none; written.
pub(crate) fn respond(
    request: &Request,
    status: u16,
    tag: Option<&str>,
    contact: &str,
    body: Option<&str>,
) -> Vec<u8> {
    let mut headers = Headers::default();
    for header in request.headers.iter() {
        match header {
            Header::Via(_)
            | Header::From(_)
            | Header::CallId(_)
            | Header::CSeq(_)
            | Header::RecordRoute(_) => {
                headers.push(header.clone());
            }
            Header::To(to) => headers.push(with_tag(to, tag).into()),
            _ => {}
        }
    }
    if !contact.is_empty() && status < 300 {
        headers.push(headers::Contact::new(contact).into());
    }
    with_body(&mut headers, body.unwrap_or_default());
    let body = body.unwrap_or_default().as_bytes().to_vec();
    let response = rsip::Response { status_code: status.into(), version: Version::V2, headers, body };
    response.into()
}

/// The octets of a request.
pub(crate) fn write_request(request: &Request) -> Vec<u8> {
    request.clone().into()
}

const USER_AGENT: &str = concat!("tandem-simulate/", env!("CARGO_PKG_VERSION"));

fn in_dialog(dialog: &Dialog, method: Method, cseq: u32, branch: &str) -> Request {
    let Dialog { call_id, local, remote, target, transport, .. } = dialog;
    let mut headers = Headers::default();
    let via = format!("SIP/2.0/{} {};rport;branch={branch}", transport.as_via(), local.host);
    headers.push(headers::Via::new(via).into());
    headers.push(headers::MaxForwards::new("70").into());
    headers.push(headers::From::new(name_addr(local)).into());
    headers.push(headers::To::new(name_addr(remote)).into());
    headers.push(headers::CallId::new(call_id.as_str()).into());
    headers.push(headers::CSeq::new(format!("{cseq} {method}")).into());
    let uri =
        Uri::try_from(target.as_str()).expect("a target is a URI that rsip has read or that is written here");
    Request { method, uri, version: Version::V2, headers, body: Vec::new() }
}

/// A request that belongs to the transaction of `invite`.
fn of_transaction(invite: &Request, method: Method, to_tag: Option<&str>) -> Request {
    let mut headers = Headers::default();
    for header in invite.headers.iter() {
        match header {
            Header::Via(_)
            | Header::From(_)
            | Header::CallId(_)
            | Header::MaxForwards(_)
            | Header::Route(_) => {
                headers.push(header.clone());
            }
            Header::To(to) => headers.push(with_tag(to, to_tag).into()),
            Header::CSeq(cseq) => {
                let number = cseq.value().split_whitespace().next().unwrap_or("1");
                headers.push(headers::CSeq::new(format!("{number} {method}")).into());
            }
            _ => {}
        }
    }
    headers.push(headers::ContentLength::new("0").into());
    Request { method, uri: invite.uri.clone(), version: Version::V2, headers, body: Vec::new() }
}

fn name_addr(party: &Party) -> String {
    let Party { user, host, tag } = party;
    let tag = tag.as_ref().map(|tag| format!(";tag={tag}")).unwrap_or_default();
    format!("<sip:{user}@{host};user=phone>{tag}")
}

fn with_tag(to: &headers::To, tag: Option<&str>) -> headers::To {
    match tag {
        Some(tag) if !to.value().contains(";tag=") => headers::To::new(format!("{};tag={tag}", to.value())),
        _ => to.clone(),
    }
}

fn with_body(headers: &mut Headers, body: &str) {
    if !body.is_empty() {
        headers.push(headers::ContentType::new("application/sdp").into());
    }
    headers.push(headers::ContentLength::new(body.len().to_string()).into());
}

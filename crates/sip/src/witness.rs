//! A second opinion: messages read and written by `rsip`, another author's crate, behind the feature `witness`.
//!
//! For the simulator, the user agents of tests and differential tests, and the only place that names `rsip`.
//! Never for octets of a member: it reads no compact or folded header fields, no IPv6 and no `tel:`, stops a
//! user at its first dot, and takes cut messages for whole ones.

use rsip::headers::untyped::{ToTypedHeader, UntypedHeader};
use rsip::message::{HasHeaders, HeadersExt};
use rsip::{Header, Headers, SipMessage};

/// What `rsip` makes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Method of a request.
    pub method: Option<String>,
    /// Status code of a response.
    pub status: Option<u16>,
    /// The Call-ID.
    pub call_id: String,
    /// The number in CSeq.
    pub cseq: u32,
    /// The method in CSeq.
    pub cseq_method: String,
    /// The tag of From.
    pub from_tag: Option<String>,
    /// The tag of To.
    pub to_tag: Option<String>,
    /// URI of the first Contact.
    pub contact: Option<String>,
    /// Branch of the first Via.
    pub branch: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Reads a message; the error is what `rsip` says.
pub fn read(octets: &[u8]) -> Result<Reading, String> {
    let said = |error: rsip::Error| error.to_string();
    let message = SipMessage::try_from(octets).map_err(said)?;
    let cseq = message.cseq_header().and_then(|cseq| cseq.typed()).map_err(said)?;
    let from = message.from_header().and_then(|from| from.typed()).map_err(said)?;
    let to = message.to_header().and_then(|to| to.typed()).map_err(said)?;
    let via = message.via_header().and_then(|via| via.typed()).map_err(said)?;
    let contact = match message.contact_header() {
        Ok(contact) => Some(contact.typed().map_err(said)?.uri.to_string()),
        Err(_) => None,
    };
    let (method, status) = match &message {
        SipMessage::Request(request) => (Some(request.method.to_string()), None),
        SipMessage::Response(response) => (None, Some(response.status_code.code())),
    };
    Ok(Reading {
        method,
        status,
        call_id: message.call_id_header().map_err(said)?.value().to_owned(),
        cseq: cseq.seq,
        cseq_method: cseq.method.to_string(),
        from_tag: from.tag().map(|tag| tag.value().to_owned()),
        to_tag: to.tag().map(|tag| tag.value().to_owned()),
        contact,
        branch: via.branch().map(|branch| branch.value().to_owned()),
        body: message.body().clone(),
    })
}

/// The INVITE of a simple user agent, and what its later requests take from it.
#[derive(Clone, Copy, Debug)]
pub struct Invite<'a> {
    /// The Request-URI.
    pub uri: &'a str,
    /// `UDP`, `TCP` or `TLS`.
    pub transport: &'a str,
    /// Host and port of Via.
    pub sent_by: &'a str,
    /// Branch of Via, with the magic cookie.
    pub branch: &'a str,
    /// From without its tag: `"A" <sip:a@h>`.
    pub from: &'a str,
    /// The tag of From.
    pub from_tag: &'a str,
    /// To: `<sip:b@h>`.
    pub to: &'a str,
    /// The Call-ID.
    pub call_id: &'a str,
    /// The number in CSeq.
    pub cseq: u32,
    /// Contact: `<sip:a@192.0.2.1>`.
    pub contact: &'a str,
    /// The offer; empty for none.
    pub sdp: &'a str,
}

/// Where a later request of an [`Invite`]'s dialog goes.
#[derive(Clone, Copy, Debug)]
pub struct Later<'a> {
    /// The Request-URI: the Contact of the 2xx.
    pub uri: &'a str,
    /// The branch of Via; of the INVITE itself for an ACK to a failure.
    pub branch: &'a str,
    /// The tag of To.
    pub to_tag: &'a str,
    /// The number in CSeq; the INVITE's for an ACK.
    pub cseq: u32,
}

/// The INVITE.
pub fn invite(invite: &Invite<'_>) -> Vec<u8> {
    let mut headers = request_headers(invite, invite.branch, None, invite.cseq, rsip::Method::Invite);
    headers.push(Header::Contact(invite.contact.into()));
    request(rsip::Method::Invite, invite.uri, headers, ("application/sdp", invite.sdp))
}

/// The ACK to a final response.
pub fn ack(invite: &Invite<'_>, later: &Later<'_>) -> Vec<u8> {
    in_dialog(rsip::Method::Ack, invite, later)
}

/// The BYE of the caller.
pub fn bye(invite: &Invite<'_>, later: &Later<'_>) -> Vec<u8> {
    in_dialog(rsip::Method::Bye, invite, later)
}

/// The CANCEL of the INVITE (RFC 3261 §9.1).
pub fn cancel(invite: &Invite<'_>) -> Vec<u8> {
    let headers = request_headers(invite, invite.branch, None, invite.cseq, rsip::Method::Cancel);
    request(rsip::Method::Cancel, invite.uri, headers, ("", ""))
}

/// A response of a simple user agent; the error is what `rsip` says of the request.
///
/// `to_tag` is added unless To has one; an empty `contact` or `sdp` is left out.
pub fn response(
    request: &[u8],
    status: u16,
    to_tag: &str,
    contact: &str,
    sdp: &str,
) -> Result<Vec<u8>, String> {
    let request = rsip::Request::try_from(request).map_err(|error| error.to_string())?;
    let mut headers = Headers::default();
    for header in request.headers().iter() {
        match header {
            Header::Via(_)
            | Header::From(_)
            | Header::CallId(_)
            | Header::CSeq(_)
            | Header::RecordRoute(_) => {
                headers.push(header.clone());
            }
            Header::To(to) if !to_tag.is_empty() && !to.value().contains(";tag=") => {
                headers.push(Header::To(format!("{};tag={to_tag}", to.value()).into()));
            }
            Header::To(_) => headers.push(header.clone()),
            _ => {}
        }
    }
    if !contact.is_empty() {
        headers.push(Header::Contact(contact.into()));
    }
    let body = body(&mut headers, ("application/sdp", sdp));
    let response = rsip::Response { status_code: status.into(), version: rsip::Version::V2, headers, body };
    Ok(response.into())
}

fn in_dialog(method: rsip::Method, invite: &Invite<'_>, later: &Later<'_>) -> Vec<u8> {
    let headers = request_headers(invite, later.branch, Some(later.to_tag), later.cseq, method);
    request(method, later.uri, headers, ("", ""))
}

fn request_headers(
    invite: &Invite<'_>,
    branch: &str,
    to_tag: Option<&str>,
    cseq: u32,
    method: rsip::Method,
) -> Headers {
    let to = to_tag.map_or_else(|| invite.to.to_owned(), |tag| format!("{};tag={tag}", invite.to));
    vec![
        Header::Via(format!("SIP/2.0/{} {};branch={branch};rport", invite.transport, invite.sent_by).into()),
        Header::MaxForwards(70.into()),
        Header::From(format!("{};tag={}", invite.from, invite.from_tag).into()),
        Header::To(to.into()),
        Header::CallId(invite.call_id.into()),
        Header::CSeq(format!("{cseq} {method}").into()),
    ]
    .into()
}

fn request(method: rsip::Method, uri: &str, mut headers: Headers, content: (&str, &str)) -> Vec<u8> {
    let body = body(&mut headers, content);
    // `rsip` cannot read every URI, but writes what it is told is a host.
    let host = rsip::Host::Domain(uri.into());
    let uri = rsip::Uri {
        scheme: None,
        auth: None,
        host_with_port: rsip::HostWithPort { host, port: None },
        ..rsip::Uri::default()
    };
    rsip::Request { method, uri, version: rsip::Version::V2, headers, body }.into()
}

fn body(headers: &mut Headers, (content_type, body): (&str, &str)) -> Vec<u8> {
    if !body.is_empty() {
        headers.push(Header::ContentType(content_type.into()));
    }
    headers.push(Header::ContentLength((body.len() as u32).into()));
    body.as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialog, Message, judge, respond};

    const INVITE: Invite<'static> = Invite {
        uri: "sip:+442079460000@192.0.2.10;user=phone",
        transport: "UDP",
        sent_by: "192.0.2.21:5060",
        branch: "z9hG4bK1",
        from: "\"Alice\" <sip:+14155550100@acme.example>",
        from_tag: "from",
        to: "<sip:+442079460000@192.0.2.10>",
        call_id: "x@acme.example",
        cseq: 7,
        contact: "<sip:acme@192.0.2.21:5060>",
        sdp: "v=0\r\no=- 1 1 IN IP4 192.0.2.21\r\ns=-\r\n",
    };
    const LATER: Later<'static> =
        Later { uri: "sip:b@192.0.2.10:5060", branch: "z9hG4bK2", to_tag: "to", cseq: 8 };

    /// What our reader makes of a message, in the witness's shape.
    fn ours(octets: &[u8]) -> Reading {
        let message = Message::parse(octets).unwrap();
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let cseq = message.cseq().unwrap();
        Reading {
            method: message.request().map(|line| text(line.method.as_bytes())),
            status: message.status(),
            call_id: text(message.call_id().unwrap()),
            cseq: cseq.number,
            cseq_method: text(cseq.method.as_bytes()),
            from_tag: message.from_tag().map(text),
            to_tag: message.to_tag().map(text),
            contact: message.contact().map(|contact| text(contact.uri)),
            branch: message.top_via().unwrap().branch.map(text),
            body: message.body().to_vec(),
        }
    }

    #[test]
    fn what_a_simple_user_agent_sends_is_judged_good_and_read_alike() {
        let call = invite(&INVITE);
        let answer = response(&call, 200, "to", "<sip:b@192.0.2.10>", INVITE.sdp).unwrap();
        let ringing = response(&call, 180, "to", "", "").unwrap();
        for octets in [call, answer, ringing, ack(&INVITE, &LATER), bye(&INVITE, &LATER), cancel(&INVITE)] {
            let message = Message::parse(&octets).unwrap();
            assert_eq!(judge(&message), Ok(()), "{}", octets.escape_ascii());
            assert_eq!(read(&octets), Ok(ours(&octets)));
        }
    }

    #[test]
    fn what_we_answer_is_read_alike() {
        let call = invite(&INVITE);
        let request = Message::parse(&call).unwrap();
        let mut out = Vec::new();
        respond(
            &mut out,
            &request,
            "192.0.2.21:5060".parse().unwrap(),
            183,
            "Session Progress",
            Some(b"to"),
            |writer| {
                writer
                    .header("Contact", "<sip:hub@192.0.2.10:5060>")
                    .finish(Some(b"application/sdp"), b"v=0\r\n");
            },
        );
        assert_eq!(read(&out), Ok(ours(&out)));
        let dialog = Dialog::from_response(&request, &Message::parse(&out).unwrap()).unwrap();
        assert_eq!(*dialog.remote_target, b"sip:hub@192.0.2.10:5060"[..]);
    }

    macro_rules! torture {
        ($($file:literal)*) => {
            &[$(($file, include_bytes!(concat!("../tests/torture/rfc4475/", $file, ".dat")) as &[u8])),*]
        };
    }

    #[test]
    fn torture_messages_that_the_witness_reads_are_read_alike() {
        let corpus: &[(&str, &[u8])] = torture! {
            "lwsdisp" "semiuri" "transports" "unreason" "noreason" "insuf" "unkscm" "novelsc" "bext01" "invut"
            "regaut01" "bcast" "zeromf" "cparam01" "cparam02" "regescrt" "sdp01" "inv2543" "dblreq" "esc01"
            "escnull" "badbranch"
        };
        let mut both = 0;
        for (name, octets) in corpus {
            let message = Message::parse(octets).unwrap();
            // Its known faults aside: dots in a user, compact Content-Length, lengths it does not act on.
            if let (Ok(theirs), Ok(())) = (read(octets), judge(&message)) {
                let ours = ours(octets);
                assert_eq!(
                    Reading { contact: None, body: vec![], ..theirs },
                    Reading { contact: None, body: vec![], ..ours },
                    "{name}"
                );
                both += 1;
            }
        }
        assert!(both >= 8, "the witness reads only {both}");
    }
}

//! Answers a request that breaks the grammar with a message that does not (RFC 3261 §8.2.6, §18.2.1).
//!
//! What a response takes from its request is copied where it is right. Where it is not, something harmless of
//! the same kind is put in its place: the sender still finds its transaction by the branch and the method in
//! CSeq (§17.1.3), and no malformed octets leave in our name.

use std::net::SocketAddr;

use crate::judge::{self, MAX_HOPS, MAX_IDENTIFIER};
use crate::octets::{self, Params};
use crate::via::write_stamp;
use crate::writer::{Writer, extend_clean, extend_text};
use crate::{CSeq, Fault, MAX_HEAD, Message, Name, NameAddr, Via};

/// Stands for a From or To that cannot be repeated (RFC 3323 §4.1.1.3).
const ANONYMOUS: &[u8] = b"<sip:anonymous@anonymous.invalid>";

/// Stands for a Call-ID that cannot be repeated.
const NO_CALL_ID: &[u8] = b"unreadable@anonymous.invalid";

/// Octets of the longest value that is repeated, but for lower Vias.
const MAX_VALUE: usize = 1_024;

/// Writes the response to a request that [`judge`](crate::judge()) refused: status and phrase are the fault's.
///
/// False, with nothing written, where no response could find its way: for an ACK, for a response, and for a
/// request whose topmost Via names neither a host nor a branch. `to_tag` is added unless To has a tag; `extra`
/// adds header lines. What is written is judged good, whatever the request is.
pub fn refuse(
    out: &mut Vec<u8>,
    request: &Message<'_>,
    source: SocketAddr,
    fault: Fault,
    to_tag: &[u8],
    extra: impl FnOnce(&mut Writer<'_>),
) -> bool {
    out.clear();
    let Some(line) = request.request() else { return false };
    let Some(top) = request.values(Name::Via).next() else { return false };
    let mut top_via = Vec::new();
    if line.method == crate::Method::Ack || !write_top_via(&mut top_via, top, source) {
        return false;
    }
    let mut writer = Writer::response(out, fault.status(), &fault.phrase());
    writer.header_bytes("Via", &top_via);
    let mut room = MAX_HEAD / 2;
    for via in request.values(Name::Via).take(MAX_HOPS).skip(1) {
        if via.len() > room {
            break;
        }
        if judge::via(via, false).is_ok() && judge::is_good(Name::Via, via) {
            room -= via.len();
            writer.header_bytes("Via", via);
        }
    }
    for (name, own_tag) in [(Name::From, &b""[..]), (Name::To, to_tag)] {
        let value = request.header(name).unwrap_or_default();
        let good = value.len() <= MAX_VALUE && judge::is_good(name, value);
        let address = NameAddr::parse(value).ok();
        let tag =
            address.and_then(|address| address.tag()).filter(|tag| is_identifier(tag)).unwrap_or(own_tag);
        let has_tag = address.is_some_and(|address| address.param("tag").is_some());
        match (good, tag) {
            (true, _) if has_tag => writer.header_bytes(name.as_str(), value),
            (true, b"") => writer.header_bytes(name.as_str(), value),
            (true, tag) => writer.header_parts(name.as_str(), &[value, b";tag=", tag]),
            (false, b"") => writer.header_bytes(name.as_str(), ANONYMOUS),
            (false, tag) => writer.header_parts(name.as_str(), &[ANONYMOUS, b";tag=", tag]),
        };
    }
    let call_id = request.header(Name::CallId).filter(|id| judge::is_good(Name::CallId, id));
    writer.header_bytes("Call-ID", call_id.unwrap_or(NO_CALL_ID));
    match request.header(Name::CSeq).map(CSeq::parse) {
        Some(Ok(cseq)) if cseq.method.as_bytes().len() <= MAX_VALUE => {
            writer.header("CSeq", format_args!("{} {}", cseq.number, cseq.method));
        }
        _ => {
            let method = line.method.as_bytes();
            let is_method = octets::is_token(method) && method.len() <= MAX_VALUE;
            writer.header_parts("CSeq", &[b"0 ", if is_method { method } else { b"UNKNOWN" }]);
        }
    }
    extra(&mut writer);
    writer.finish(None, b"");
    true
}

/// Writes the topmost Via with what is right in it; false where that is neither a host nor a branch.
fn write_top_via(out: &mut Vec<u8>, value: &[u8], source: SocketAddr) -> bool {
    if let Some(via) = Via::read(value).filter(|via| via.transport.len() <= MAX_VALUE) {
        extend_text(out, format_args!("SIP/2.0/"));
        extend_clean(out, via.transport);
        let is_ipv6 = memchr::memchr(b':', via.host).is_some();
        out.push(b' ');
        extend_clean(out, if is_ipv6 { b"[" } else { b"" });
        extend_clean(out, via.host);
        extend_clean(out, if is_ipv6 { b"]" } else { b"" });
        if let Some(port) = via.port {
            extend_text(out, format_args!(":{port}"));
        }
        let mut branches = 0;
        let params = Params::new(via.params).filter(|&(name, value)| {
            branches += usize::from(name.eq_ignore_ascii_case(b"branch"));
            let short = name.len() + value.map_or(0, <[u8]>::len) <= MAX_VALUE;
            let plain = value.unwrap_or_default().iter().all(|&octet| octet > b' ' && octet != 0x7f);
            let odd = name.eq_ignore_ascii_case(b"branch") && (branches > 1 || value.is_none());
            short && plain && !odd && judge::is_param((name, value))
        });
        write_stamp(out, &via, params.take(32), source);
        return true;
    }
    let branch = memchr::memchr(b';', value)
        .and_then(|at| Params::find(&value[at + 1..], b"branch").flatten())
        .filter(|branch| is_identifier(branch));
    if let Some(branch) = branch {
        extend_text(out, format_args!("SIP/2.0/UDP {source};branch="));
        extend_clean(out, branch);
        return true;
    }
    false
}

fn is_identifier(octets: &[u8]) -> bool {
    octets::is_token(octets) && octets.len() <= MAX_IDENTIFIER
}

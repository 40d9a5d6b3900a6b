//! Which header fields cross the hub, and how: a back-to-back user agent makes its own of everything that
//! names a leg (RFC 7092), so that no member sees another's addresses, and carries the rest octet for octet.

use std::borrow::Cow;

use crate::passes::is_token;
use smallvec::SmallVec;
use tandem_sip::{Edit, Header, Message, Name, NameAddr, Scheme, StartLine, Uri, rewrite};

/// Methods that the hub takes, for Allow.
pub(crate) const ALLOW: &str = ALLOWED[7];

/// Allow of a member as the other one sees it, by which of UPDATE (1), INFO (2) and PRACK (4) it has: only what
/// the hub carries, and only what the member takes.
const ALLOWED: [&str; 8] = [
    "INVITE, ACK, CANCEL, BYE, OPTIONS",
    "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE",
    "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO",
    "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO",
    "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK",
    "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK",
    "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK",
    "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, PRACK",
];

/// Session timers (RFC 4028) pass from end to end.
const TIMER: &[u8] = b"timer";

/// Reliable provisional responses (RFC 3262): numbered anew on each leg, acknowledged from end to end.
pub(crate) const RELIABLE: &[u8] = b"100rel";

/// The extensions that two members may use through the hub, for Supported.
pub(crate) const SUPPORTED: &str = "timer, 100rel";

/// Writes a message on its way across the hub: `top` first, then what may cross, then the body.
pub(crate) fn cross(
    out: &mut Vec<u8>,
    message: &Message<'_>,
    start: StartLine<'_>,
    top: &[(&str, &[u8])],
    host: &str,
) {
    // A response that asks for a PRACK does so by an RSeq of the hub's; without one it must not ask.
    let asks_for_prack = message.status().is_none() || top.iter().any(|&(name, _)| name == "RSeq");
    let fates: SmallVec<[Fate; 32]> = message
        .headers()
        .filter(|header| header.name != Name::ContentLength) // `rewrite` sees to that one.
        .map(|header| fate(header, host, asks_for_prack))
        .collect();
    let mut fates = fates.iter();
    rewrite(out, message, start, top, |_| match fates.next() {
        Some(Fate::Keep) => Edit::Keep,
        Some(Fate::Replace(value)) => Edit::Replace(value),
        Some(Fate::Drop) | None => Edit::Drop,
    });
}

/// More of what one network notes for itself.
const OWN_NETWORK: [&[u8]; 4] =
    [b"P-Charging-Function-Addresses", b"P-Visited-Network-ID", b"P-Called-Party-ID", b"P-Associated-URI"];

/// What happens to a header line that comes to the hub.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Keep,
    Drop,
    Replace(Cow<'static, [u8]>),
}

fn fate(header: Header<'_>, host: &str, asks_for_prack: bool) -> Fate {
    match header.name {
        // The leg's own: written anew.
        Name::Via
        | Name::From
        | Name::To
        | Name::CallId
        | Name::CSeq
        | Name::Contact
        | Name::MaxForwards
        | Name::Route
        | Name::RecordRoute
        | Name::Path
        | Name::ServiceRoute => Fate::Drop,
        // Between a member and the hub, never between members.
        Name::Authorization
        | Name::ProxyAuthorization
        | Name::WwwAuthenticate
        | Name::ProxyAuthenticate
        | Name::AuthenticationInfo
        | Name::ProxyRequire
        | Name::Timestamp
        | Name::UserAgent
        | Name::Server
        | Name::Organization
        | Name::Warning => Fate::Drop,
        // They name dialogs of the other leg, or list the addresses that were passed.
        Name::Replaces | Name::Join | Name::TargetDialog | Name::HistoryInfo | Name::RSeq | Name::RAck => {
            Fate::Drop
        }
        Name::Allow => Fate::Replace(Cow::Borrowed(allowed(header.value).as_bytes())),
        Name::Supported | Name::Require => {
            let reliable =
                lists(header.value, RELIABLE) && (header.name == Name::Supported || asks_for_prack);
            match (lists(header.value, TIMER), reliable) {
                (true, true) => Fate::Replace(Cow::Borrowed(SUPPORTED.as_bytes())),
                (true, false) => Fate::Replace(Cow::Borrowed(TIMER)),
                (false, true) => Fate::Replace(Cow::Borrowed(RELIABLE)),
                (false, false) => Fate::Drop,
            }
        }
        Name::PAssertedIdentity | Name::PPreferredIdentity | Name::RemotePartyId | Name::Diversion => {
            masked_identity(header.value, host).map_or(Fate::Drop, |value| Fate::Replace(Cow::Owned(value)))
        }
        // What one network notes for itself (RFC 7315 §4).
        Name::PChargingVector | Name::PAccessNetworkInfo => Fate::Drop,
        Name::Other if OWN_NETWORK.iter().any(|name| header.raw_name.eq_ignore_ascii_case(name)) => {
            Fate::Drop
        }
        // The hub writes its own.
        Name::Other if is_token(header.raw_name) => Fate::Drop,
        _ => Fate::Keep,
    }
}

/// What the hub carries of the methods that a member lists.
fn allowed(value: &[u8]) -> &'static str {
    let bit = |method: &[u8], bit: usize| if lists(value, method) { bit } else { 0 };
    ALLOWED[bit(b"UPDATE", 1) | bit(b"INFO", 2) | bit(b"PRACK", 4)]
}

/// Option tags of Require that the hub does not have (RFC 3261 §8.2.2.3).
pub(crate) fn unsupported(request: &Message<'_>) -> Option<Vec<u8>> {
    let unknown: Vec<&[u8]> = request
        .values(Name::Require)
        .chain(request.values(Name::ProxyRequire))
        .filter(|tag| !tag.eq_ignore_ascii_case(TIMER) && !tag.eq_ignore_ascii_case(RELIABLE))
        .collect();
    (!unknown.is_empty()).then(|| unknown.join(&b", "[..]))
}

pub(crate) fn lists(value: &[u8], tag: &[u8]) -> bool {
    value.split(|&octet| octet == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(tag))
}

/// Identities with the hub's host in place of the member's; parameters stay. None when one cannot be read.
fn masked_identity(value: &[u8], host: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(value.len() + host.len());
    for identity in split_values(value) {
        let identity = NameAddr::parse(identity).ok()?;
        if !out.is_empty() {
            out.extend_from_slice(b", ");
        }
        if !write_masked(&identity, host, &mut out) {
            return None;
        }
        if !identity.params.is_empty() {
            out.push(b';');
            out.extend_from_slice(identity.params);
        }
    }
    Some(out)
}

/// The values of one header line: commas separate them, save within quotes and angle brackets.
fn split_values(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
    line.split(move |&octet| {
        let was_escaped = escaped;
        escaped = quoted && octet == b'\\' && !was_escaped;
        match octet {
            b'"' if !was_escaped => quoted = !quoted,
            b'<' if !quoted => bracketed = true,
            b'>' if !quoted => bracketed = false,
            _ => {}
        }
        octet == b',' && !quoted && !bracketed
    })
}

/// A From or To value without its tag, with the hub's host in place of the member's.
pub(crate) fn masked_address(address: &NameAddr<'_>, host: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(address.address.len() + host.len());
    if !write_masked(address, host, &mut out) {
        out.clear();
        out.extend_from_slice(format!("<sip:anonymous@{ANONYMOUS_HOST}>").as_bytes());
    }
    out
}

/// The host of a caller who wishes to stay unknown (RFC 3323 §4.1.1.3); it names nobody.
const ANONYMOUS_HOST: &str = "anonymous.invalid";

fn write_masked(address: &NameAddr<'_>, host: &str, out: &mut Vec<u8>) -> bool {
    let Ok(uri) = address.parse_uri() else { return false };
    if !address.display.is_empty() {
        out.push(b'"');
        out.extend_from_slice(address.display);
        out.extend_from_slice(b"\" ");
    }
    match uri.scheme {
        Scheme::Sip | Scheme::Sips => {
            let Some(user) = uri.user else { return false };
            let host =
                if uri.host.eq_ignore_ascii_case(ANONYMOUS_HOST.as_bytes()) { ANONYMOUS_HOST } else { host };
            out.extend_from_slice(b"<sip:");
            out.extend_from_slice(user);
            out.push(b'@');
            out.extend_from_slice(host.as_bytes());
            if uri.param("user").flatten().is_some_and(|kind| kind.eq_ignore_ascii_case(b"phone")) {
                out.extend_from_slice(b";user=phone");
            }
            out.push(b'>');
        }
        Scheme::Tel => {
            out.push(b'<');
            out.extend_from_slice(address.uri);
            out.push(b'>');
        }
        Scheme::Other => return false,
    }
    true
}

/// The user part of a URI as text, for the CDR; what is no text is shown as a replacement character.
pub(crate) fn user_text(uri: Option<Uri<'_>>) -> String {
    let user = uri.and_then(|uri| uri.user_number()).unwrap_or_default();
    let text: String = String::from_utf8_lossy(user).chars().filter(|c| !c.is_control()).take(64).collect();
    if text.is_empty() { "anonymous".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(value: &str) -> Option<String> {
        masked_identity(value.as_bytes(), "hub:5060").map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn an_identity_keeps_its_number_and_loses_its_host() {
        let table = [
            ("<sip:+4420@10.0.0.1:5080;user=phone>", Some("<sip:+4420@hub:5060;user=phone>")),
            (
                "\"A, \\\"B\\\"\" <sip:+4420@pbx.acme.example>;party=calling",
                Some("\"A, \\\"B\\\"\" <sip:+4420@hub:5060>;party=calling"),
            ),
            ("<tel:+4420>", Some("<tel:+4420>")),
            ("sip:+4420@[2001:db8::1]", Some("<sip:+4420@hub:5060>")),
            (
                "\"Anonymous\" <sip:anonymous@anonymous.invalid>",
                Some("\"Anonymous\" <sip:anonymous@anonymous.invalid>"),
            ),
            ("\"A, B\" <sip:+44@h1>, <tel:+4420>", Some("\"A, B\" <sip:+44@hub:5060>, <tel:+4420>")),
            ("<sip:10.0.0.1>", None),
            ("<urn:service:sos>", None),
        ];
        for (value, expected) in table {
            assert_eq!(masked(value).as_deref(), expected, "{value}");
        }
    }
}

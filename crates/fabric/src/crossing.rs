//! Which header fields cross the hub, and how: a back-to-back user agent makes its own of everything that
//! names a leg (RFC 7092), so that no member sees another's addresses, and carries the rest octet for octet.
//!
//! Where both endpoints are neutral that is all. Where one is not, the header fields that its policy governs are
//! left out and written anew, by the modules in here.

use std::borrow::Cow;

use smallvec::SmallVec;
use tandem_model::{CallingForm, HeaderRule, OtherHeaders, PassOrRefuse, Policy, Settings};
use tandem_sip::{Edit, Header, Message, Name, StartLine, Uri, rewrite_with_body};

use crate::passes::is_token;
use crate::redirect::Redirection;
use crate::refer;

mod address;
pub(crate) mod codecs;
mod diversion;
mod identity;

pub(crate) use identity::write_caller;

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

/// Session timers (RFC 4028): the hub's own on each leg, see [`session`](crate::session).
pub(crate) const TIMER: &[u8] = b"timer";

/// Reliable provisional responses (RFC 3262): numbered anew on each leg, acknowledged from end to end.
pub(crate) const RELIABLE: &[u8] = b"100rel";

/// The extensions that the hub has, for Supported.
pub(crate) const SUPPORTED: &str = "timer, 100rel";

/// Whom a message comes from and goes to, while it crosses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passage<'p> {
    /// How the hub calls itself on the leg by which the message leaves.
    host: &'p str,
    sender: &'p Settings,
    receiver: &'p Settings,
    /// Whether it crosses as it came, save what a back-to-back user agent makes anew.
    is_plain: bool,
    /// Whether who gets it is told of session timers.
    has_timer: bool,
    /// Who redirected the call within the hub, in that order.
    redirections: &'p [Redirection],
    /// The body that it gets instead of its own.
    body: Option<&'p [u8]>,
}

impl<'p> Passage<'p> {
    /// From the endpoint of one policy to that of another, by a leg on which the hub is `host`.
    pub(crate) fn new(host: &'p str, sender: &'p Policy, receiver: &'p Policy) -> Self {
        let is_plain = sender.carries_as_received() && receiver.carries_as_received();
        Self { host, sender, receiver, is_plain, has_timer: false, redirections: &[], body: None }
    }

    /// The same, and whoever gets the message may be told of session timers.
    pub(crate) fn with_timer(self, has_timer: bool) -> Self {
        Self { has_timer, ..self }
    }

    /// The same, and the message has another body.
    pub(crate) fn with_body(self, body: &'p [u8]) -> Self {
        Self { body: Some(body), ..self }
    }

    /// Whether REFER crosses.
    fn passes_refer(&self) -> bool {
        [self.sender, self.receiver].iter().all(|it| it.requests.refer == PassOrRefuse::Pass)
    }

    /// The same, of a call that these numbers redirected.
    pub(crate) fn with_redirections(self, redirections: &'p [Redirection]) -> Self {
        Self { redirections, ..self }
    }
}

/// Header lines that are written anew: name and value.
type Lines<'p> = SmallVec<[(&'p str, Vec<u8>); 4]>;

/// Writes a message on its way across the hub: `top` first, then what may cross, then the body.
pub(crate) fn cross(
    out: &mut Vec<u8>,
    message: &Message<'_>,
    start: StartLine<'_>,
    top: &[(&str, &[u8])],
    passage: &Passage<'_>,
) {
    // A response that asks for a PRACK does so by an RSeq of the hub's; without one it must not ask.
    let asks_for_prack = message.status().is_none() || top.iter().any(|&(name, _)| name == "RSeq");
    let is_reliable = message.all(Name::Supported).any(|tags| lists(tags, RELIABLE));
    let supported = match (passage.has_timer, is_reliable) {
        (true, true) => Some(SUPPORTED.as_bytes()),
        (true, false) => Some(TIMER),
        (false, true) => Some(RELIABLE),
        (false, false) => None,
    };
    let supported = supported.map(|tags| ("Supported", tags));
    let top: SmallVec<[(&str, &[u8]); 16]> = top.iter().copied().chain(supported).collect();
    if !passage.is_plain {
        return adapt(out, message, start, &top, passage, asks_for_prack);
    }
    let fates = message
        .headers()
        .filter(|header| header.name != Name::ContentLength) // `rewrite` sees to that one.
        .map(|header| fate(header, passage, asks_for_prack));
    let fates: SmallVec<[Fate; 32]> = fates.collect();
    let mut fates = fates.iter();
    rewrite_with_body(
        out,
        message,
        start,
        &top,
        |_| edit(fates.next()),
        passage.body.unwrap_or(message.body()),
    );
}

fn edit(fate: Option<&Fate>) -> Edit<'_> {
    match fate {
        Some(Fate::Keep) => Edit::Keep,
        Some(Fate::Replace(value)) => Edit::Replace(value),
        Some(Fate::Drop) | None => Edit::Drop,
    }
}

/// [`cross`], with what the policies of the two endpoints govern written anew.
fn adapt(
    out: &mut Vec<u8>,
    message: &Message<'_>,
    start: StartLine<'_>,
    top: &[(&str, &[u8])],
    passage: &Passage<'_>,
    asks_for_prack: bool,
) {
    let mut lines = Lines::new();
    let is_withheld = identity::write(message, passage, &mut lines);
    diversion::write(message, &start, passage, &mut lines);
    if message.status().is_none() {
        let rules = [&passage.sender.headers.received, &passage.receiver.headers.sent];
        // Where both set a field the receiver's value is the one that is sent.
        let set = rules[0].set().filter(|(name, _)| rules[1].rule(name.as_bytes()).is_none());
        lines.extend(set.chain(rules[1].set()).map(|(name, value)| (name, value.into())));
    }
    let fates = message.headers().filter(|header| header.name != Name::ContentLength).map(|header| {
        let is_told_anew = identity::is_governed(header.name) || diversion::is_governed(header.name);
        let is_told = identity::tells_of_caller(header.name) && is_withheld;
        match is_told_anew || is_told || !passes_rules(&header, passage) {
            true => Fate::Drop,
            false => fate(header, passage, asks_for_prack),
        }
    });
    let fates: SmallVec<[Fate; 32]> = fates.collect();
    let mut fates = fates.iter();
    let lines = lines.iter().map(|(name, value)| (*name, value.as_slice()));
    let top: SmallVec<[(&str, &[u8]); 16]> = top.iter().copied().chain(lines).collect();
    let restricted = codecs::restrict(message, passage.sender, passage.receiver);
    let body = restricted.as_deref().or(passage.body).unwrap_or(message.body());
    rewrite_with_body(out, message, start, &top, |_| edit(fates.next()), body);
}

/// Whether the header rules of both endpoints let a header field cross.
fn passes_rules(header: &Header<'_>, passage: &Passage<'_>) -> bool {
    let name = if header.name == Name::Other { header.raw_name } else { header.name.as_str().as_bytes() };
    [&passage.sender.headers.received, &passage.receiver.headers.sent].iter().all(|rules| {
        match rules.rule(name) {
            Some(HeaderRule::Keep) => true,
            Some(HeaderRule::Drop | HeaderRule::Set(_)) => false,
            None => header.name != Name::Other || rules.others == OtherHeaders::Keep,
        }
    })
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

fn fate(header: Header<'_>, passage: &Passage<'_>, asks_for_prack: bool) -> Fate {
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
        // Written anew where the leg has a session timer or the message lists what crosses.
        Name::SessionExpires | Name::MinSe | Name::Supported => Fate::Drop,
        // They name dialogs of the other leg, or list the addresses that were passed.
        Name::Replaces | Name::Join | Name::TargetDialog | Name::HistoryInfo | Name::RSeq | Name::RAck => {
            Fate::Drop
        }
        Name::Allow if passage.passes_refer() && lists(header.value, b"REFER") => {
            Fate::Replace(Cow::Owned([allowed(header.value).as_bytes(), b", REFER, NOTIFY"].concat()))
        }
        Name::Allow => Fate::Replace(Cow::Borrowed(allowed(header.value).as_bytes())),
        Name::ReferTo => {
            refer_to(header.value, passage).map_or(Fate::Drop, |value| Fate::Replace(Cow::Owned(value)))
        }
        // Written anew: it may name a REFER by its number, which is another on each leg.
        Name::Event => Fate::Drop,
        Name::Require if asks_for_prack && lists(header.value, RELIABLE) => {
            Fate::Replace(Cow::Borrowed(RELIABLE))
        }
        Name::Require => Fate::Drop,
        Name::PAssertedIdentity
        | Name::PPreferredIdentity
        | Name::RemotePartyId
        | Name::Diversion
        | Name::ReferredBy => address::write_all(header.value, passage)
            .map_or(Fate::Drop, |value| Fate::Replace(Cow::Owned(value))),
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

/// Refer-To with the number as the receiver dials it, at the hub: the call that it asks for is one of the exchange.
fn refer_to(value: &[u8], passage: &Passage<'_>) -> Option<Vec<u8>> {
    let number = refer::number(value, &passage.sender.numbers)?;
    let phone = if passage.receiver.numbers.user_phone { ";user=phone" } else { "" };
    let number = passage.receiver.numbers.write(number);
    Some(format!("<sip:{number}@{}{phone}>", passage.host).into_bytes())
}

/// What the hub carries of the methods that a member lists.
fn allowed(value: &[u8]) -> &'static str {
    let bits = value.split(|&octet| octet == b',').map(|item| {
        let item = item.trim_ascii();
        let (method, bit): (&[u8], usize) = match item.len() {
            4 => (b"INFO", 2),
            5 => (b"PRACK", 4),
            6 => (b"UPDATE", 1),
            _ => return 0,
        };
        if item.eq_ignore_ascii_case(method) { bit } else { 0 }
    });
    ALLOWED[bits.fold(0, |bits, bit| bits | bit)]
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

/// The calling number for the CDR: E.164 where the endpoint's numbers are converted, else as it came.
pub(crate) fn calling_text(uri: Option<Uri<'_>>, sender: &Settings) -> String {
    if sender.numbers.calling == CallingForm::Converted
        && let Some(user) = uri.and_then(|uri| uri.user_number())
        && let Ok(number) = sender.numbers.read(user)
    {
        return number.to_string();
    }
    user_text(uri)
}

/// The user part of a URI as text, for the CDR; what is no text is shown as a replacement character.
pub(crate) fn user_text(uri: Option<Uri<'_>>) -> String {
    let user = uri.and_then(|uri| uri.user_number()).unwrap_or_default();
    let text: String = String::from_utf8_lossy(user).chars().filter(|c| !c.is_control()).take(64).collect();
    if text.is_empty() { "anonymous".to_owned() } else { text }
}

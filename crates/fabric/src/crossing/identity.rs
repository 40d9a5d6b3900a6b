//! Who calls, or who answered, as the receiver of a message is told: privacy of RFC 3323, asserted identities of
//! RFC 3325, Remote-Party-ID of draft-ietf-sip-privacy-04.
//!
//! What an endpoint outside the trust domain asserts is not believed, and what a caller wishes to withhold is not
//! told to it. Between those inside, an identity crosses in the field that the receiver reads.

use smallvec::SmallVec;
use tandem_model::IdentityField;
use tandem_sip::{Message, Name, NameAddr, Scheme};

use super::address::{self, ANONYMOUS};
use super::{Lines, Passage};

/// Header fields that are written anew in here.
pub(super) fn is_governed(name: Name) -> bool {
    matches!(name, Name::PAssertedIdentity | Name::PPreferredIdentity | Name::RemotePartyId | Name::Privacy)
}

/// Header fields that tell of the caller too: one that withholds its identity withholds them (RFC 3323 §5.3), and
/// the signature over its number.
pub(super) fn tells_of_caller(name: Name) -> bool {
    matches!(
        name,
        Name::CallInfo
            | Name::ReplyTo
            | Name::InReplyTo
            | Name::Subject
            | Name::ReferredBy
            | Name::Identity
            | Name::IdentityInfo
            | Name::Geolocation
    )
}

/// Privacy that was asked for.
struct Privacy<'m> {
    /// The values of Privacy, as they came.
    values: SmallVec<[&'m [u8]; 4]>,
    /// Whether the identity is to be withheld.
    is_asked: bool,
    /// Whether only Remote-Party-ID says so.
    is_by_party: bool,
}

impl<'m> Privacy<'m> {
    fn of(message: &Message<'m>) -> Self {
        let separated = |line: &'m [u8]| line.split(|octet| matches!(octet, b';' | b','));
        let values: SmallVec<[&[u8]; 4]> = message
            .all(Name::Privacy)
            .flat_map(separated)
            .map(<[u8]>::trim_ascii)
            .filter(|value| !value.is_empty())
            .collect();
        let has = |names: &[&str]| values.iter().any(|value| is_one_of(value, names));
        let is_open = has(&["none"]);
        let is_by_field = !is_open && has(&["id", "user", "header"]);
        let is_by_party = !is_open
            && !is_by_field
            && message.values(Name::RemotePartyId).filter_map(|value| NameAddr::parse(value).ok()).any(
                |party| {
                    let privacy = party.param("privacy").flatten();
                    privacy.is_some_and(|privacy| is_one_of(privacy, &["full", "uri", "name"]))
                },
            );
        Self { values, is_asked: is_by_field || is_by_party, is_by_party }
    }

    /// Privacy as it goes on. What the hub has done itself is not asked for again (RFC 3323 §5).
    fn line(&self, is_withheld: bool) -> Vec<u8> {
        let by_party = self.is_by_party.then_some(&b"id"[..]);
        let is_left = |value: &&[u8]| !is_withheld || !is_one_of(value, &["user", "header"]);
        let left: SmallVec<[&[u8]; 4]> =
            by_party.into_iter().chain(self.values.iter().copied().filter(is_left)).collect();
        // Alone it asks for nothing.
        if left.iter().all(|value| is_one_of(value, &["critical"])) { Vec::new() } else { left.join(&b';') }
    }
}

fn is_one_of(value: &[u8], names: &[&str]) -> bool {
    names.iter().any(|name| value.eq_ignore_ascii_case(name.as_bytes()))
}

/// Whether the receiver is not to know who the sender of a message is.
fn is_withheld(privacy: &Privacy<'_>, passage: &Passage<'_>) -> bool {
    privacy.is_asked && !passage.receiver.identity.trusted
}

/// From of the INVITE that begins a call, without its tag.
pub(crate) fn write_caller(request: &Message<'_>, from: &NameAddr<'_>, passage: &Passage<'_>) -> Vec<u8> {
    if !passage.is_plain && is_withheld(&Privacy::of(request), passage) {
        return ANONYMOUS.to_vec();
    }
    let mut out = Vec::with_capacity(from.address.len() + passage.host.len());
    if !address::write(from, passage, &mut out) {
        out.clear();
        out.extend_from_slice(b"<sip:anonymous@anonymous.invalid>");
    }
    out
}

/// Writes Privacy and the identities for the receiver. True when they are withheld from it.
pub(super) fn write(message: &Message<'_>, passage: &Passage<'_>, lines: &mut Lines<'_>) -> bool {
    let privacy = Privacy::of(message);
    let is_withheld = is_withheld(&privacy, passage);
    if passage.sender.identity.trusted && !is_withheld {
        let asserted = Asserted::of(message);
        match passage.receiver.identity.write {
            IdentityField::Received => write_as_received(message, passage, lines),
            IdentityField::PAssertedIdentity => asserted.write(passage, lines),
            IdentityField::RemotePartyId => asserted.write_party(message, &privacy, passage, lines),
            IdentityField::Both => {
                asserted.write(passage, lines);
                asserted.write_party(message, &privacy, passage, lines);
            }
            IdentityField::Nowhere => {}
        }
    }
    let line = privacy.line(is_withheld);
    if !line.is_empty() {
        lines.push(("Privacy", line));
    }
    is_withheld
}

fn write_as_received(message: &Message<'_>, passage: &Passage<'_>, lines: &mut Lines<'_>) {
    for name in [Name::PAssertedIdentity, Name::PPreferredIdentity, Name::RemotePartyId] {
        let values = message.all(name).filter_map(|line| address::write_all(line, passage));
        lines.extend(values.map(|value| (name.as_str(), value)));
    }
}

/// Most identities of one message: one as `sip:`, one as `tel:` (RFC 3325 §9.1).
const MAX_IDENTITIES: usize = 2;

/// What a trusted sender says of who it is.
struct Asserted<'m> {
    identities: SmallVec<[NameAddr<'m>; MAX_IDENTITIES]>,
}

impl<'m> Asserted<'m> {
    /// P-Asserted-Identity, else the party of Remote-Party-ID, else what the sender would prefer: a trusted one
    /// may vouch for it.
    fn of(message: &Message<'m>) -> Self {
        let read =
            |name| message.values(name).filter_map(|value| NameAddr::parse(value).ok()).filter(is_nameable);
        let mut identities: SmallVec<_> = read(Name::PAssertedIdentity).take(MAX_IDENTITIES).collect();
        if identities.is_empty() {
            identities.extend(read(Name::RemotePartyId).find(|party| is_sender(party, message)));
        }
        if identities.is_empty() {
            identities.extend(read(Name::PPreferredIdentity).take(MAX_IDENTITIES));
        }
        Self { identities }
    }

    fn write(&self, passage: &Passage<'_>, lines: &mut Lines<'_>) {
        let mut value = Vec::new();
        for identity in &self.identities {
            if !value.is_empty() {
                value.extend_from_slice(b", ");
            }
            address::write(identity, passage, &mut value);
        }
        if !value.is_empty() {
            lines.push((Name::PAssertedIdentity.as_str(), value));
        }
    }

    fn write_party(
        &self,
        message: &Message<'_>,
        privacy: &Privacy<'_>,
        passage: &Passage<'_>,
        lines: &mut Lines<'_>,
    ) {
        let Some(identity) = self.identities.first() else { return };
        let mut value = Vec::new();
        address::write(identity, passage, &mut value);
        let party = if message.status().is_none() { "calling" } else { "called" };
        let asked = if privacy.is_asked { "full" } else { "off" };
        value.extend_from_slice(format!(";party={party};privacy={asked};screen=yes").as_bytes());
        lines.push((Name::RemotePartyId.as_str(), value));
    }
}

fn is_nameable(identity: &NameAddr<'_>) -> bool {
    identity.parse_uri().is_ok_and(|uri| match uri.scheme {
        Scheme::Sip | Scheme::Sips => uri.user.is_some(),
        Scheme::Tel => true,
        Scheme::Other => false,
    })
}

/// Whether a Remote-Party-ID is about the sender of its message: the calling party of a request, the called one of
/// a response.
fn is_sender(party: &NameAddr<'_>, message: &Message<'_>) -> bool {
    let own = if message.status().is_none() { "calling" } else { "called" };
    party.param("party").flatten().is_none_or(|party| is_one_of(party, &[own]))
}

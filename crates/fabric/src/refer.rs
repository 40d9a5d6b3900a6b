//! REFER within a call that is up (RFC 3515): one side asks the other to call a number instead. It crosses, with the NOTIFY
//! of its subscription, where the policies of both endpoints let it.
//!
//! The hub follows no Refer-To: whoever takes the REFER calls the number through the hub, under its own agreements. A
//! REFER into another dialog (Replaces) is refused, since that dialog is known on one leg only.

use tandem_model::{E164, NumberPolicy, Reason};
use tandem_sip::{Message, Name, NameAddr, Scheme};

use crate::call::Call;
use crate::leg::Side;

/// The last REFER of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refer {
    /// The leg that it came from.
    pub(crate) from: Side,
    /// Number in its CSeq, there: the `id` of its subscription (§2.4.6).
    pub(crate) server_cseq: u32,
    /// Number in its CSeq on the other leg.
    pub(crate) client_cseq: u32,
}

/// Whether a REFER may cross: it leads to a telephone number and nowhere else.
pub(crate) fn judge(request: &Message<'_>, numbers: &NumberPolicy) -> Result<(), Reason> {
    // Exactly one (§2.4.1).
    let refer_to = request.header(Name::ReferTo).ok_or(Reason::Malformed)?;
    number(refer_to, numbers).map(drop).ok_or(Reason::ReferToUnusable)
}

/// The number in a Refer-To; none where it asks for another method, or for another dialog's place.
pub(crate) fn number(refer_to: &[u8], numbers: &NumberPolicy) -> Option<E164> {
    let address = NameAddr::parse(refer_to).ok()?;
    let uri = address.parse_uri().ok()?;
    let is_call = uri.param("method").flatten().is_none_or(|method| method.eq_ignore_ascii_case(b"INVITE"));
    let is_local = uri.number_param("phone-context").is_some();
    let is_number = matches!(uri.scheme, Scheme::Sip | Scheme::Sips | Scheme::Tel);
    if !is_call || is_local || !is_number || !uri.headers.is_empty() {
        return None;
    }
    numbers.read(uri.user_number()?).ok()
}

/// Event of a NOTIFY as it reads on the other leg; none where it is about no REFER from there.
pub(crate) fn subscription(call: &Call, side: Side, request: &Message<'_>) -> Option<String> {
    let refer = call.refer.as_ref().filter(|refer| refer.from == side.other())?;
    let mut parts = request.header(Name::Event)?.split(|&octet| octet == b';').map(<[u8]>::trim_ascii);
    if !parts.next()?.eq_ignore_ascii_case(b"refer") {
        return None;
    }
    match parts.find_map(|part| part.strip_prefix(b"id=")) {
        None => Some("refer".to_owned()),
        Some(id) if std::str::from_utf8(id).ok()?.parse() == Ok(refer.client_cseq) => {
            Some(format!("refer;id={}", refer.server_cseq))
        }
        Some(_) => None,
    }
}

/// The first line of a body, with its end.
pub(crate) fn first_line(body: &[u8]) -> &[u8] {
    let end = body.iter().position(|&octet| octet == b'\n').map_or(body.len(), |at| at + 1);
    &body[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_telephone_number_can_be_referred_to() {
        for (refer_to, expected) in [
            ("<sip:+442079460001@10.0.0.1>", Some("+442079460001")),
            ("<tel:+442079460001>", Some("+442079460001")),
            ("<sip:+442079460001@h;method=INVITE>", Some("+442079460001")),
            ("<sip:+442079460001@h;method=BYE>", None),
            ("<sip:+442079460001@h?Replaces=1%40h%3Bto-tag%3D2>", None),
            ("<sip:ann@h>", None),
            ("<http://example.org/>", None),
        ] {
            let number = number(refer_to.as_bytes(), &NumberPolicy::default());
            assert_eq!(number.map(|number| number.to_string()).as_deref(), expected, "{refer_to}");
        }
    }
}

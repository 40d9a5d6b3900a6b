//! Addresses of callers and called on their way across: the hub's host takes the place of the member's, and a
//! number takes the form that the receiver's policy says.

use tandem_model::CallingForm;
use tandem_sip::{NameAddr, Scheme, Uri};

use super::Passage;
use crate::routing_number;

/// The host of a caller who wishes to stay unknown (RFC 3323 §4.1.1.3); it names nobody.
pub(super) const ANONYMOUS_HOST: &str = "anonymous.invalid";

/// From of a caller who wishes to stay unknown (RFC 3323 §4.1.1.3).
pub(super) const ANONYMOUS: &[u8] = b"\"Anonymous\" <sip:anonymous@anonymous.invalid>";

impl Passage<'_> {
    /// A number of the sender in the receiver's form; none where it stays as it is.
    pub(super) fn number(&self, uri: &Uri<'_>) -> Option<String> {
        let is_converted = |numbers: &tandem_model::NumberPolicy| numbers.calling == CallingForm::Converted;
        if !is_converted(&self.sender.numbers) && !is_converted(&self.receiver.numbers) {
            return None;
        }
        // With a phone-context it is local to somewhere else (RFC 3966 §5.1.5).
        if uri.number_param("phone-context").is_some() {
            return None;
        }
        let number = self.sender.numbers.read(uri.user_number()?).ok()?;
        match uri.scheme {
            // Local forms need a context in it; the global one does not (RFC 3966 §5.1.4).
            Scheme::Tel => Some(number.to_string()),
            Scheme::Sip | Scheme::Sips | Scheme::Other => Some(self.receiver.numbers.write(number)),
        }
    }
}

/// The values of one header line, masked; parameters stay. None when one cannot be read.
pub(super) fn write_all(line: &[u8], passage: &Passage<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(line.len() + passage.host.len());
    for value in split_values(line) {
        let address = NameAddr::parse(value).ok()?;
        if !out.is_empty() {
            out.extend_from_slice(b", ");
        }
        if !write(&address, passage, &mut out) {
            return None;
        }
        if !address.params.is_empty() {
            out.push(b';');
            out.extend_from_slice(address.params);
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

/// Writes display name and URI without what follows them. False when it names nobody that may be named.
pub(super) fn write(address: &NameAddr<'_>, passage: &Passage<'_>, out: &mut Vec<u8>) -> bool {
    let Ok(uri) = address.parse_uri() else { return false };
    if !address.display.is_empty() {
        out.push(b'"');
        out.extend_from_slice(address.display);
        out.extend_from_slice(b"\" ");
    }
    out.push(b'<');
    let is_written = write_uri(&uri, address.uri, passage, out);
    out.push(b'>');
    is_written
}

/// Writes a URI that was read from `text`.
pub(super) fn write_uri(uri: &Uri<'_>, text: &[u8], passage: &Passage<'_>, out: &mut Vec<u8>) -> bool {
    let number = passage.number(uri);
    match uri.scheme {
        Scheme::Sip | Scheme::Sips => {
            let Some(user) = uri.user else { return false };
            let mut is_phone =
                uri.param("user").flatten().is_some_and(|kind| kind.eq_ignore_ascii_case(b"phone"));
            out.extend_from_slice(b"sip:");
            match &number {
                Some(number) => {
                    is_phone = passage.receiver.numbers.user_phone;
                    out.extend_from_slice(number.as_bytes());
                }
                None => out.extend_from_slice(uri.user_number().unwrap_or(user)),
            }
            write_params(uri, out);
            out.push(b'@');
            let is_anonymous = uri.host.eq_ignore_ascii_case(ANONYMOUS_HOST.as_bytes());
            let host = if is_anonymous { ANONYMOUS_HOST } else { passage.host };
            out.extend_from_slice(host.as_bytes());
            if is_phone {
                out.extend_from_slice(b";user=phone");
            }
        }
        Scheme::Tel => match &number {
            Some(number) => {
                out.extend_from_slice(b"tel:");
                out.extend_from_slice(number.as_bytes());
                write_params(uri, out);
            }
            None if uri.params.is_empty() => out.extend_from_slice(text),
            None => {
                out.extend_from_slice(b"tel:");
                out.extend_from_slice(uri.user.unwrap_or_default());
                write_params(uri, out);
            }
        },
        Scheme::Other => return false,
    }
    true
}

/// Writes the parameters of a number. Where it was ported to is no member's to tell another (see [`routing_number`]).
fn write_params(uri: &Uri<'_>, out: &mut Vec<u8>) {
    let params = match uri.scheme {
        Scheme::Tel => uri.params,
        _ => {
            let len = uri.user_number().map_or(0, <[u8]>::len);
            uri.user.unwrap_or_default().get(len + 1..).unwrap_or_default()
        }
    };
    if params.is_empty() {
        return;
    }
    for param in params.split(|&octet| octet == b';').filter(|param| !routing_number::is_about_porting(param))
    {
        out.push(b';');
        out.extend_from_slice(param);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_model::{Policy, Profile};

    fn written(value: &str, sender: Profile, receiver: Profile) -> Option<String> {
        let (sender, receiver) = (Policy::of(sender), Policy::of(receiver));
        let passage = Passage::new("hub:5060", &sender, &receiver);
        write_all(value.as_bytes(), &passage).map(|value| String::from_utf8(value).unwrap())
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
            // Where a number was ported to is nothing that one member tells another, however it is written.
            ("<sip:+4420;rn=+3319;npdi;cpc=ordinary@h>", Some("<sip:+4420;cpc=ordinary@hub:5060>")),
            ("<sip:+4420;RN=+3319;Npdi=yes;%72n=+3318;rn-context=+33@h>", Some("<sip:+4420@hub:5060>")),
            ("<sip:+4420;rnx=1;xrn=2@h>", Some("<sip:+4420;rnx=1;xrn=2@hub:5060>")),
            ("<tel:+4420;npdi;rn=+3319>", Some("<tel:+4420>")),
            ("<tel:+4420;ext=1;rn=+3319>", Some("<tel:+4420;ext=1>")),
        ];
        for (value, expected) in table {
            assert_eq!(written(value, Profile::Neutral, Profile::Neutral).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_number_takes_the_form_of_the_receiver() {
        let table = [
            ("<sip:+442079460000@h;user=phone>", "<sip:442079460000@hub:5060>"),
            ("<sip:442079460000;cpc=ordinary@h>", "<sip:442079460000;cpc=ordinary@hub:5060>"),
            ("<sip:201;phone-context=acme.example@h>", "<sip:201;phone-context=acme.example@hub:5060>"),
            ("<tel:+44-20-7946-0000>", "<tel:+442079460000>"),
            ("<tel:201;phone-context=+4420>", "<tel:201;phone-context=+4420>"),
            ("\"Ann\" <sip:ann@h>", "\"Ann\" <sip:ann@hub:5060>"),
        ];
        for (value, expected) in table {
            let written = written(value, Profile::Neutral, Profile::CiscoCube);
            assert_eq!(written.as_deref(), Some(expected), "{value}");
        }
        let back = written("<sip:442079460000@h>", Profile::CiscoCube, Profile::Teams);
        assert_eq!(back.as_deref(), Some("<sip:+442079460000@hub:5060;user=phone>"));
    }
}

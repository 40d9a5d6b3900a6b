//! What a URI is made of: `sip:` and `sips:` by RFC 3261 §19.1, `tel:` by RFC 3966, others unread.

use crate::Fault;
use crate::octets::{self, Params};

/// How a URI is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`, over TLS at each hop.
    Sips,
    /// `tel:`, a telephone number.
    Tel,
    /// Any other, such as `urn:`.
    Other,
}

/// A URI cut into its parts; escapes (`%2B`) stay as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// `sip:`: what comes before `@`, without a password, with the user's own parameters (`;rn=`, `;npdi`).
    /// `tel:`: the number without its parameters.
    pub user: Option<&'a [u8]>,
    /// What follows the user's `:` before `@`; RFC 3261 §19.1.1 advises against it.
    pub password: Option<&'a [u8]>,
    /// `sip:`: the host, IPv6 without its brackets. `tel:`: empty. Others: all that follows the scheme.
    pub host: &'a [u8],
    /// The port where it is written.
    pub port: Option<u16>,
    /// The parameters, without the `;` before the first.
    pub params: &'a [u8],
    /// The header fields, without the `?`.
    pub headers: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Reads a URI that stands alone: no brackets, no white space.
    ///
    /// Control octets, `<`, `>`, `"` and what is not ASCII are refused with [`Fault::Uri`].
    pub fn parse(uri: &'a [u8]) -> Result<Uri<'a>, Fault> {
        if uri.iter().any(|&octet| octet <= b' ' || octet >= 0x7f || matches!(octet, b'<' | b'>' | b'"')) {
            return Err(Fault::Uri);
        }
        let colon = memchr::memchr(b':', uri).ok_or(Fault::Uri)?;
        let (scheme, rest) = (&uri[..colon], &uri[colon + 1..]);
        if !is_scheme(scheme) || rest.is_empty() {
            return Err(Fault::Uri);
        }
        if scheme.eq_ignore_ascii_case(b"sip") {
            Uri::parse_sip(Scheme::Sip, rest)
        } else if scheme.eq_ignore_ascii_case(b"sips") {
            Uri::parse_sip(Scheme::Sips, rest)
        } else if scheme.eq_ignore_ascii_case(b"tel") {
            let (number, params) = cut(rest, b';');
            if number.is_empty() || !number.iter().all(|&octet| is_telephone_octet(octet)) {
                return Err(Fault::Uri);
            }
            Ok(Uri { user: Some(number), params, ..Uri::empty(Scheme::Tel) })
        } else {
            Ok(Uri { host: rest, ..Uri::empty(Scheme::Other) })
        }
    }

    fn parse_sip(scheme: Scheme, rest: &'a [u8]) -> Result<Uri<'a>, Fault> {
        // A user may hold `;` and `?`; no part after it may hold `@`.
        let (user, password, after) = match memchr::memchr(b'@', rest) {
            Some(at) => {
                let (user, after) = (&rest[..at], &rest[at + 1..]);
                let (user, password) = match memchr::memchr(b':', user) {
                    Some(colon) => (&user[..colon], Some(&user[colon + 1..])),
                    None => (user, None),
                };
                if user.is_empty() || memchr::memchr(b'@', after).is_some() {
                    return Err(Fault::Uri);
                }
                (Some(user), password, after)
            }
            None => (None, None, rest),
        };
        if !user.is_none_or(escapes_are_whole) || !password.is_none_or(escapes_are_whole) {
            return Err(Fault::Uri);
        }
        let (host, port, tail) = octets::host_port(after).ok_or(Fault::Uri)?;
        let (params, headers) = match tail {
            [] => (&[][..], &[][..]),
            [b';', tail @ ..] => cut(tail, b'?'),
            [b'?', headers @ ..] => (&[][..], headers),
            _ => return Err(Fault::Uri),
        };
        if !escapes_are_whole(params) || !escapes_are_whole(headers) {
            return Err(Fault::Uri);
        }
        Ok(Uri { scheme, user, password, host, port, params, headers })
    }

    fn empty(scheme: Scheme) -> Uri<'a> {
        Uri { scheme, user: None, password: None, host: &[], port: None, params: &[], headers: &[] }
    }

    /// The URI parameter of that name: `Some(None)` when it is there without a value.
    pub fn param(&self, name: &str) -> Option<Option<&'a [u8]>> {
        Params::find(self.params, name.as_bytes())
    }

    /// The user, or number, without the parameters that may follow it.
    pub fn user_number(&self) -> Option<&'a [u8]> {
        self.user.map(|user| cut(user, b';').0)
    }

    /// The parameter of the telephone number: of the user in `sip:+1…;rn=…@host`, of the URI in `tel:`.
    pub fn number_param(&self, name: &str) -> Option<Option<&'a [u8]>> {
        self.number_params()
            .find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// All parameters of the telephone number, with their values, escapes as they were written.
    pub fn number_params(&self) -> Params<'a> {
        Params::new(match self.scheme {
            Scheme::Tel => self.params,
            Scheme::Sip | Scheme::Sips => cut(self.user.unwrap_or_default(), b';').1,
            Scheme::Other => &[],
        })
    }
}

/// What stands before and after the first `at`; nothing after when there is none.
fn cut(octets: &[u8], at: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(at, octets) {
        Some(found) => (&octets[..found], &octets[found + 1..]),
        None => (octets, &[]),
    }
}

fn is_scheme(scheme: &[u8]) -> bool {
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.'))
}

/// Digits of RFC 3966 §3, global and local, with the visual separators.
fn is_telephone_octet(octet: u8) -> bool {
    octet.is_ascii_hexdigit() || matches!(octet, b'+' | b'-' | b'.' | b'(' | b')' | b'*' | b'#')
}

/// True when each `%` is followed by two hexadecimal digits.
fn escapes_are_whole(octets: &[u8]) -> bool {
    memchr::memchr_iter(b'%', octets)
        .all(|at| octets.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_sip_uri_is_cut_into_its_parts() {
        let uri =
            uri("sip:+14155550100;rn=+14155550199;npdi:secret@[2001:db8::1]:5070;transport=tcp;lr?a=b&c=d");
        assert_eq!(uri.scheme, Scheme::Sip);
        assert_eq!(uri.user, Some(&b"+14155550100;rn=+14155550199;npdi"[..]));
        assert_eq!(uri.user_number(), Some(&b"+14155550100"[..]));
        assert_eq!(uri.number_param("rn"), Some(Some(&b"+14155550199"[..])));
        assert_eq!(uri.number_param("npdi"), Some(None));
        assert_eq!(uri.password, Some(&b"secret"[..]));
        assert_eq!((uri.host, uri.port), (&b"2001:db8::1"[..], Some(5070)));
        assert_eq!(uri.param("TRANSPORT"), Some(Some(&b"tcp"[..])));
        assert_eq!(uri.param("lr"), Some(None));
        assert_eq!(uri.headers, b"a=b&c=d");
    }

    #[test]
    fn a_dot_in_the_user_stays_in_the_user() {
        assert_eq!(uri("sip:john.doe@example.com").user, Some(&b"john.doe"[..]));
    }

    #[test]
    fn a_user_may_hold_question_marks_and_escapes() {
        let uri = uri("sips:a?b;c%40d@example.com");
        assert_eq!((uri.scheme, uri.user), (Scheme::Sips, Some(&b"a?b;c%40d"[..])));
        assert_eq!(uri.host, b"example.com");
    }

    #[test]
    fn a_tel_uri_is_a_number_with_parameters() {
        let uri = uri("tel:+1-201-555-0123;npdi;rn=+12015550199");
        assert_eq!((uri.scheme, uri.user), (Scheme::Tel, Some(&b"+1-201-555-0123"[..])));
        assert_eq!(uri.number_param("rn"), Some(Some(&b"+12015550199"[..])));
    }

    #[test]
    fn other_schemes_are_kept_whole() {
        let uri = uri("urn:service:sos");
        assert_eq!((uri.scheme, uri.host, uri.user), (Scheme::Other, &b"service:sos"[..], None));
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for text in [
            "",
            "sip",
            "sip:",
            ":a",
            "1sip:a",
            "sip:@h",
            "sip:a@",
            "sip:a@b@c",
            "sip:a b@c",
            "sip:a@h:",
            "sip:a@h:65536",
            "sip:a@h:5x",
            "sip:a@[::1",
            "sip:a@[zz]",
            "sip:a@[.1]",
            "sip:%4@h",
            "sip:%zz@h",
            "<sip:a@h>",
            "sip:a@h\r\n",
            "tel:",
            "tel:xyz",
            "sip:a@h/x",
        ] {
            assert!(Uri::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}

//! Who a From, To, Contact or Route names: `name-addr` and `addr-spec` of RFC 3261 §20.10 and §25.1.

use crate::octets::{self, Params};
use crate::{Fault, Uri};

/// A display name, a URI and parameters; nothing is unescaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name without its quotes; escapes in it (`\"`) stay, so it can be quoted again as it is.
    pub display: &'a [u8],
    /// The URI without its brackets.
    pub uri: &'a [u8],
    /// The parameters of the header field, without the `;` before the first.
    pub params: &'a [u8],
    /// Display name and URI as they were written, without the parameters.
    pub address: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Reads one value; [`Fault::Uri`] when it is none. The URI itself is not read: see [`NameAddr::uri`].
    ///
    /// Without brackets all parameters are the header field's, and a URI with `?` or `,` is refused, as
    /// RFC 3261 §20.10 demands brackets for it.
    pub fn parse(value: &'a [u8]) -> Result<NameAddr<'a>, Fault> {
        let value = octets::trim(value);
        let (display, open) = match value {
            [b'"', ..] => {
                let end = octets::quoted_len(value).ok_or(Fault::Uri)?;
                let space =
                    value[end..].iter().position(|octet| !octets::is_space(*octet)).ok_or(Fault::Uri)?;
                if value[end + space] != b'<' {
                    return Err(Fault::Uri);
                }
                (&value[1..end - 1], Some(end + space))
            }
            _ => match memchr::memchr(b'<', value) {
                Some(open) => (octets::trim(&value[..open]), Some(open)),
                None => (&[][..], None),
            },
        };
        let (uri, address, rest) = match open {
            Some(open) => {
                let close = open + memchr::memchr(b'>', &value[open..]).ok_or(Fault::Uri)?;
                (&value[open + 1..close], &value[..close + 1], &value[close + 1..])
            }
            None => {
                let end = memchr::memchr(b';', value).unwrap_or(value.len());
                let uri = octets::trim(&value[..end]);
                if memchr::memchr3(b'?', b',', b'"', uri).is_some() {
                    return Err(Fault::Uri);
                }
                (uri, uri, &value[end..])
            }
        };
        if uri.is_empty() {
            return Err(Fault::Uri);
        }
        let params = match octets::trim(rest) {
            [] => &[][..],
            [b';', params @ ..] => params,
            _ => return Err(Fault::Uri),
        };
        Ok(NameAddr { display, uri, params, address })
    }

    /// The URI, read.
    pub fn parse_uri(&self) -> Result<Uri<'a>, Fault> {
        Uri::parse(self.uri)
    }

    /// The tag, where it is there and not empty (RFC 3261 §19.3).
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.param("tag").flatten().filter(|tag| !tag.is_empty())
    }

    /// The parameter of that name: `Some(None)` when it is there without a value.
    pub fn param(&self, name: &str) -> Option<Option<&'a [u8]>> {
        Params::find(self.params, name.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(value: &str) -> Option<(String, String, String)> {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let parsed = NameAddr::parse(value.as_bytes()).ok()?;
        Some((text(parsed.display), text(parsed.uri), text(parsed.params)))
    }

    fn some(display: &str, uri: &str, params: &str) -> Option<(String, String, String)> {
        Some((display.into(), uri.into(), params.into()))
    }

    #[test]
    fn quoted_plain_and_absent_display_names_are_read() {
        assert_eq!(
            parts(r#""A, \"B\"; <C>" <sip:a;x@h;lr?b=c>;tag=1"#),
            some(r#"A, \"B\"; <C>"#, "sip:a;x@h;lr?b=c", "tag=1")
        );
        assert_eq!(parts("Alice Smith <sip:a@h> ; tag=1"), some("Alice Smith", "sip:a@h", " tag=1"));
        assert_eq!(parts("<sip:a@h>"), some("", "sip:a@h", ""));
        assert_eq!(parts("\"A\"\r\n <sip:a@h>"), some("A", "sip:a@h", ""));
    }

    #[test]
    fn without_brackets_parameters_are_the_header_fields() {
        assert_eq!(parts("sip:a@h;tag=1"), some("", "sip:a@h", "tag=1"));
        assert_eq!(parts("sip:a@h?Route=x"), None);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for value in
            ["", "<>", "<sip:a@h", "\"A <sip:a@h>", "\"A\" sip:a@h", "\"A\"", "<sip:a@h> x", "<sip:a@h>,x"]
        {
            assert_eq!(parts(value), None, "{value:?}");
        }
    }

    #[test]
    fn the_tag_is_found_among_parameters() {
        let tag = |value: &'static str| NameAddr::parse(value.as_bytes()).unwrap().tag();
        assert_eq!(tag("<sip:a@h;tag=no>;x=\";tag=no\";Tag=yes"), Some(&b"yes"[..]));
        assert_eq!(tag("<sip:a@h>;tag="), None);
        assert_eq!(tag("<sip:a@h>;tag"), None);
    }
}

//! What tells the calls of an endpoint from those of another that sends from the same address.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Host;

/// Most digits of a tech-prefix.
const MAX_DIGITS: usize = 8;

/// Where several endpoints send from one address, how a call says whose it is. Those who share an address have marks
/// of one kind, and no tech-prefix begins with another, so that a call has one owner at most.
///
/// Text form `9911` or `sip.acme.example`: a domain never is all digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum CallMark {
    /// One to eight digits before the called number. They are no part of it.
    TechPrefix(Box<str>),
    /// The host of the Request-URI: a DNS name in lower case.
    RequestDomain(Box<str>),
}

/// Why there is no such mark.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallMarkError {
    /// The tech-prefix is none.
    #[error("{0:?} is no tech-prefix; write 1 to 8 digits, which come before the called number")]
    TechPrefix(String),
    /// The domain is none.
    #[error("{0:?} is no domain; write a DNS name, such as acme.sip.exchange.example")]
    RequestDomain(String),
    /// There are both.
    #[error("an endpoint is told by a tech-prefix or by a request domain, not by both; leave one out")]
    Both,
}

impl CallMark {
    /// The mark of an endpoint of which one of these is set, or neither.
    ///
    /// # Errors
    /// When one of them is none of its kind, or both are set.
    pub fn of(
        tech_prefix: Option<&str>,
        request_domain: Option<&str>,
    ) -> Result<Option<Self>, CallMarkError> {
        match (tech_prefix, request_domain) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(CallMarkError::Both),
            (Some(digits), None) => {
                let is_one = (1..=MAX_DIGITS).contains(&digits.len())
                    && digits.bytes().all(|octet| octet.is_ascii_digit());
                match is_one {
                    true => Ok(Some(Self::TechPrefix(digits.into()))),
                    false => Err(CallMarkError::TechPrefix(digits.to_owned())),
                }
            }
            (None, Some(domain)) => match domain.parse() {
                Ok(Host::Name(name)) => Ok(Some(Self::RequestDomain(name))),
                _ => Err(CallMarkError::RequestDomain(domain.to_owned())),
            },
        }
    }

    /// The digits before the called number.
    pub fn tech_prefix(&self) -> Option<&str> {
        match self {
            Self::TechPrefix(digits) => Some(digits),
            Self::RequestDomain(_) => None,
        }
    }

    /// The host of the Request-URI.
    pub fn request_domain(&self) -> Option<&str> {
        match self {
            Self::TechPrefix(_) => None,
            Self::RequestDomain(domain) => Some(domain),
        }
    }

    /// Whether a call with this user and host in its Request-URI bears the mark.
    pub fn is_borne_by(&self, user: &[u8], host: &[u8]) -> bool {
        match self {
            Self::TechPrefix(digits) => user.starts_with(digits.as_bytes()),
            Self::RequestDomain(domain) => host.eq_ignore_ascii_case(domain.as_bytes()),
        }
    }

    /// The called number as the endpoint means it: without the tech-prefix.
    pub fn strip_from<'u>(&self, user: &'u [u8]) -> &'u [u8] {
        self.tech_prefix().and_then(|digits| user.strip_prefix(digits.as_bytes())).unwrap_or(user)
    }
}

impl FromStr for CallMark {
    type Err = CallMarkError;

    fn from_str(text: &str) -> Result<Self, CallMarkError> {
        let is_digits = text.bytes().all(|octet| octet.is_ascii_digit());
        let mark = if is_digits { Self::of(Some(text), None) } else { Self::of(None, Some(text)) };
        mark.map(|mark| mark.expect("one of the two is set"))
    }
}

impl fmt::Display for CallMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TechPrefix(text) | Self::RequestDomain(text) => f.write_str(text),
        }
    }
}

impl From<CallMark> for String {
    fn from(mark: CallMark) -> Self {
        mark.to_string()
    }
}

impl TryFrom<String> for CallMark {
    type Error = CallMarkError;

    fn try_from(text: String) -> Result<Self, CallMarkError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_and_written_alike() {
        for text in ["9911", "0", "3com.example", "sip.acme.example"] {
            assert_eq!(text.parse::<CallMark>().unwrap().to_string(), text);
        }
        assert_eq!("SIP.Acme.example.".parse::<CallMark>(), "sip.acme.example".parse());
    }

    #[test]
    fn a_text_that_is_no_mark_says_what_to_write() {
        use CallMarkError::{Both, RequestDomain, TechPrefix};
        for (prefix, domain, error) in [
            (Some(""), None, TechPrefix("".into())),
            (Some("123456789"), None, TechPrefix("123456789".into())),
            (Some("99#"), None, TechPrefix("99#".into())),
            (Some("٣"), None, TechPrefix("٣".into())),
            (None, Some("192.0.2.1"), RequestDomain("192.0.2.1".into())),
            (None, Some("acme example"), RequestDomain("acme example".into())),
            (Some("99"), Some("acme.example"), Both),
        ] {
            assert_eq!(CallMark::of(prefix, domain), Err(error));
        }
        assert_eq!(CallMark::of(None, None), Ok(None));
    }

    #[test]
    fn a_call_bears_a_mark_by_its_first_digits_or_by_its_host() {
        let (prefix, domain) =
            ("99".parse::<CallMark>().unwrap(), "acme.example".parse::<CallMark>().unwrap());
        assert!(prefix.is_borne_by(b"99442079460000", b"hub") && !prefix.is_borne_by(b"+99442", b"hub"));
        assert_eq!(prefix.strip_from(b"99+442079460000"), b"+442079460000");
        assert!(domain.is_borne_by(b"99", b"ACME.example") && !domain.is_borne_by(b"99", b"a.acme.example"));
        assert_eq!(domain.strip_from(b"99442"), b"99442");
    }
}

//! Digest credentials (RFC 7616, for SIP RFC 8760): by what a member is known whose address is not, and what the
//! hub answers where a member's switch asks for it.
//!
//! Passwords are not kept. For one user name and one realm, which are known beforehand, digest needs only the
//! hashes of the three, and these are of no use in another realm. They are secrets all the same: nothing prints them.

use std::fmt;
use std::str::FromStr;

use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::CredentialId;

/// `H(username:realm:password)` by both hash functions (RFC 7616 §3.4.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1 {
    /// By SHA-256.
    pub sha256: [u8; 32],
    /// By MD5, for switches that know nothing else.
    pub md5: [u8; 16],
}

impl Ha1 {
    /// The hashes of a password.
    pub fn new(username: &str, realm: &str, password: &str) -> Self {
        let text = format!("{username}:{realm}:{password}");
        Self { sha256: Sha256::digest(text.as_bytes()).into(), md5: Md5::digest(text.as_bytes()).into() }
    }

    /// The hashes as lower-case hexadecimal digits, SHA-256 first: as they are stored.
    pub fn to_hex(&self) -> String {
        self.sha256.iter().chain(&self.md5).map(|octet| format!("{octet:02x}")).collect()
    }
}

impl fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ha1(secret)")
    }
}

/// A text is not what [`Ha1::to_hex`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hashes of a credential are 96 hexadecimal digits")]
pub struct Ha1Error;

impl FromStr for Ha1 {
    type Err = Ha1Error;

    fn from_str(text: &str) -> Result<Self, Ha1Error> {
        if text.len() != 96 || !text.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Ha1Error);
        }
        let octet = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("they are digits");
        Ok(Self { sha256: std::array::from_fn(octet), md5: std::array::from_fn(|at| octet(32 + at)) })
    }
}

impl Serialize for Ha1 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Ha1 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A user name and what proves it in one realm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Another one each time that it is replaced.
    pub credential_id: CredentialId,
    /// The user name; it is also the user of the address that registers with it.
    pub username: String,
    /// The realm.
    pub realm: String,
    /// What proves it.
    pub ha1: Ha1,
}

/// What the hub answers to an endpoint that asks who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboundCredential {
    /// The hub's name over there. Its realm is the only one that it is used in.
    pub credential: Credential,
    /// Whether the hub registers there, so that the endpoint knows where to send calls.
    pub registers: bool,
}

/// Most octets of a user name or a realm.
const MAX_NAME: usize = 64;

/// Fewest octets of a password that a member or an operator chose.
pub const MIN_PASSWORD: usize = 12;

/// Most octets of a password.
pub const MAX_PASSWORD: usize = 128;

/// How a realm begins in which only MD5 is asked for. Switches that know nothing of RFC 8760 (libre before 3, sipp)
/// give up where they see another algorithm beside it; and what a challenge offers must not depend on the user.
pub const MD5_REALM: &str = "md5.";

/// Whether a text can be a user name: it is written into URIs and quoted strings as it is.
pub fn is_username(text: &str) -> bool {
    let is_allowed = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b'-' | b'+');
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// Whether a text can be the realm of the exchange: a domain name or an address, as in a Request-URI.
pub fn is_own_realm(text: &str) -> bool {
    let is_allowed =
        |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || matches!(octet, b'.' | b'-');
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// Whether a text can be the realm of a member's switch, which may say what it likes in a quoted string.
pub fn is_realm(text: &str) -> bool {
    let is_allowed = |octet: u8| matches!(octet, b' '..=b'~') && !matches!(octet, b'"' | b'\\');
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1 has them in the clear up to here.
    fn mufasa() -> Ha1 {
        Ha1::new("Mufasa", "http-auth@example.org", "Circle of Life")
    }

    #[test]
    fn the_hashes_are_those_of_user_realm_and_password() {
        // `printf 'Mufasa:http-auth@example.org:Circle of Life' | sha256sum` and `md5sum`.
        assert_eq!(
            mufasa().to_hex(),
            "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232\
             3d78807defe7de2157e2b0b6573a855f"
        );
    }

    #[test]
    fn hashes_are_read_as_they_are_written_and_never_printed() {
        let ha1 = mufasa();
        assert_eq!(ha1.to_hex().parse(), Ok(ha1.clone()));
        assert_eq!(format!("{ha1:?}"), "Ha1(secret)");
        for bad in ["", "00", &"g".repeat(96), &"A".repeat(96), &"é".repeat(48)] {
            assert_eq!(bad.parse::<Ha1>(), Err(Ha1Error), "{bad}");
        }
    }

    #[test]
    fn names_that_could_end_a_quoted_string_or_a_uri_are_none() {
        for good in ["acme-1", "+442079460000", "a.b_c"] {
            assert!(is_username(good), "{good}");
        }
        for bad in ["", "a b", "a\"", "a\\", "a@b", "a;b", "é", "a\r\n", "a%41"] {
            assert!(!is_username(bad), "{bad}");
        }
        assert!(is_own_realm("sip.exchange.example") && !is_own_realm("Exchange") && !is_own_realm("a b"));
        assert!(is_realm("FreeSWITCH of acme") && !is_realm("a\"b") && !is_realm("a\r\nb") && !is_realm(""));
    }
}

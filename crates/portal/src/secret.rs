//! Secrets that are shown once: session cookies and bearer tokens. The exchange keeps their hashes.
//!
//! A secret has 256 random bits, so a plain hash of it cannot be turned back.

use sha2::{Digest, Sha256};

use crate::app::Entropy;

/// How the text of a bearer token begins, so that scanners for leaked secrets know it.
pub const TOKEN_PREFIX: &str = "tdm_";

/// A new secret: the text to hand out and the hash to keep.
pub struct Secret {
    /// What its holder sends.
    pub text: String,
    /// SHA-256 of the text.
    pub hash: [u8; 32],
}

impl Secret {
    /// A new bearer token.
    pub fn new_token(entropy: &Entropy) -> Self {
        Self::new(TOKEN_PREFIX, entropy)
    }

    /// A new session cookie.
    pub(crate) fn new_cookie(entropy: &Entropy) -> Self {
        Self::new("", entropy)
    }

    fn new(prefix: &str, entropy: &Entropy) -> Self {
        let mut bits = [0; 32];
        entropy(&mut bits);
        let text = format!("{prefix}{}", hex(&bits));
        Self { hash: hash(&text), text }
    }
}

/// A new password for a member's switch, of 128 random bits.
pub(crate) fn new_password(entropy: &Entropy) -> String {
    new_nonce(entropy)
}

/// 128 random bits as text, never the same again.
pub(crate) fn new_nonce(entropy: &Entropy) -> String {
    let mut bits = [0; 16];
    entropy(&mut bits);
    hex(&bits)
}

/// SHA-256 of a secret's text.
pub(crate) fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

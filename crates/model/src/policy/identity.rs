//! Which header fields say who calls or is called, and whether they are believed: RFC 3323, RFC 3325, and
//! Remote-Party-ID of draft-ietf-sip-privacy-04, which many switches still speak.

use serde::{Deserialize, Serialize};

/// Who calls, for one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityPolicy {
    /// Whether it belongs to the trust domain of RFC 3325 §2.3: the identities that it asserts are believed, and
    /// it is told identities that callers wish to withhold, since it withholds them itself. To one that does
    /// not, a caller who asked for privacy is anonymous, and what it asserts goes nowhere. The operator's to set.
    pub trusted: bool,
    /// The field in which it is told an asserted identity.
    pub write: IdentityField,
}

/// Where an identity is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityField {
    /// In the fields in which the other member wrote it.
    Received,
    /// In P-Asserted-Identity (RFC 3325 §9.1), whichever field the other member wrote.
    PAssertedIdentity,
    /// In Remote-Party-ID.
    RemotePartyId,
    /// In both.
    Both,
    /// Nowhere: the switch knows From alone.
    Nowhere,
}

impl Default for IdentityPolicy {
    fn default() -> Self {
        Self { trusted: true, write: IdentityField::Received }
    }
}

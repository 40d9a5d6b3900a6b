//! A block of numbers that a member holds.

use serde::{Deserialize, Serialize};

use crate::{MemberId, Prefix, RangeId, Validity};

/// The evidence that a member holds a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authority {
    /// Claimed; nobody has verified it.
    Pending,
    /// Verified: announcements within it route.
    Valid,
    /// Looked at and refused.
    Refused,
}

/// A block of E.164 numbers: every number that begins with the prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Its id.
    pub range_id: RangeId,
    /// Who holds it.
    pub member_id: MemberId,
    /// The leading digits of its numbers.
    pub prefix: Prefix,
    /// Whether the holding is proven.
    pub authority: Authority,
    /// When the authority holds. A valid range past its end is *expired*.
    pub validity: Validity,
}

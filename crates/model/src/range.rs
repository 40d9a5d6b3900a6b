//! A block of numbers that a member holds.

use serde::{Deserialize, Serialize};

use crate::{MemberId, Prefix, RangeId, Reason, Validity};

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

/// The kind of evidence by which a range was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// What the member wrote or showed, on the operator's word.
    Document,
    /// A regulator's file, which gives the numbers to the member.
    Regulator,
    /// The TN list of an STI certificate (RFC 8226 §9) whose key the member has.
    Certificate,
    /// A call to a number of the range that the member was seen to take.
    Challenge,
}

/// What the authority of an announcement is: by the ranges of its member and those of all others.
///
/// The rule, for an announced prefix and an instant:
///
/// 1. A number has one holder: the member with a verified range in force that has the number.
/// 2. The announcement is *valid* where one range of its member has all its numbers. Nothing else is ever routed.
/// 3. It is *invalid* where another member holds all its numbers, or some of them while its own holds none.
/// 4. It is *expired* where a range of its member had all its numbers and is over.
/// 5. It is *too broad* where its member holds only a part of its numbers.
/// 6. Else it is *unknown*: nobody has claimed the numbers, or the claim is not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnnouncementAuthority {
    /// A verified range of its member covers it.
    Valid,
    /// Another member holds its numbers.
    Invalid,
    /// No range covers it, or none that is verified.
    Unknown,
    /// Its member holds only a part of its numbers.
    TooBroad,
    /// The range that covered it is over.
    Expired,
}

impl AnnouncementAuthority {
    /// What a reason says of the authority; `None` where it is about something else.
    pub fn of(reason: Reason) -> Option<Self> {
        match reason {
            Reason::RangeOfOther => Some(Self::Invalid),
            Reason::RangeMissing | Reason::RangeUnverified => Some(Self::Unknown),
            Reason::AnnouncementTooBroad => Some(Self::TooBroad),
            Reason::RangeExpired => Some(Self::Expired),
            _ => None,
        }
    }
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

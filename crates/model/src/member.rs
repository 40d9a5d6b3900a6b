//! A SIP service provider that joined the exchange.

use serde::{Deserialize, Serialize};

use crate::{CallLimits, MemberId};

/// How far a member has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It asked to join; the operator has not decided.
    Applied,
    /// It may exchange calls.
    Approved,
    /// The operator stopped it: no call from it or to it is set up.
    Suspended,
}

/// What routing knows of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub member_id: MemberId,
    /// Its short name: lower-case letters, digits and hyphens, unique on the exchange.
    pub name: String,
    /// How far it has come.
    pub state: MemberState,
    /// What the operator lets it carry: calls at once in both directions together, new calls a second from it.
    #[serde(default)]
    pub limits: CallLimits,
}

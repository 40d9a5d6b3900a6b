//! Numbers that nobody calls, whatever route there is.

use serde::{Deserialize, Serialize};

use crate::{MemberId, Prefix};

/// Prefixes to which no calls of a member go, or those of nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockList {
    /// Whose calls; everybody's in the list of the operator, which is `None`.
    pub member_id: Option<MemberId>,
    /// Calls to numbers that begin with one of these are refused.
    pub prefixes: Vec<Prefix>,
}

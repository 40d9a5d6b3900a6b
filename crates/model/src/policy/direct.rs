//! Calls that go from one member's switch to another's without the hub, once it has said where to.

use serde::{Deserialize, Serialize};

/// Calls past the hub, for one endpoint: it redirects them (302, RFC 3261 §21.3.3) where both sides want that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectPolicy {
    /// Whether its calls are redirected to the endpoints that may be called directly, where there are any; the hub
    /// carries the others.
    pub calls: bool,
    /// Whether it may be called directly: a member with an agreement is shown its target, then.
    pub called: bool,
}

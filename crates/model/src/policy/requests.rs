//! Which requests cross the hub beside those that set a call up, change it and end it.

use serde::{Deserialize, Serialize};

/// Further requests, for one endpoint: those of a kind cross where both endpoints let them pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RequestPolicy {
    /// MESSAGE (RFC 3428): a text to a number, or within a call.
    pub message: PassOrRefuse,
    /// REFER within a call (RFC 3515), by which one side asks the other to call a number instead, and the NOTIFY that
    /// says what came of it.
    pub refer: PassOrRefuse,
}

/// Whether a request crosses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassOrRefuse {
    /// It is refused with 405.
    #[default]
    Refuse,
    /// It crosses, in both directions, where the other endpoint says the same.
    Pass,
}

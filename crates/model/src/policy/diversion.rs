//! Where it is written who diverted a call, and why: Diversion of RFC 5806, History-Info of RFC 7044, and the one
//! made of the other by RFC 7544.

use serde::{Deserialize, Serialize};

/// Diverted calls, for one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiversionPolicy {
    /// The field in which it is told of diversions.
    pub write: DiversionField,
}

/// Where diversions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiversionField {
    /// Diversion as the other member wrote it; History-Info not at all.
    Received,
    /// In Diversion, whichever field the other member wrote.
    Diversion,
    /// In History-Info, whichever field the other member wrote.
    HistoryInfo,
    /// In both.
    Both,
    /// Nowhere: who diverted a call is nothing to this switch.
    Nowhere,
}

impl Default for DiversionPolicy {
    fn default() -> Self {
        Self { write: DiversionField::Received }
    }
}

//! The dip of a call: what was found when its called number was looked up among the ported ones (RFC 4694 §4).

use serde::{Deserialize, Serialize};
use tandem_model::{E164, RoutingNumber};

use crate::{PortedNumbers, RouteTable};

/// What a look-up of the called number among ported numbers has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dip {
    /// The number by which the call is routed; `None` where the called one is not ported.
    pub rn: Option<RoutingNumber>,
    /// Who looked it up.
    pub source: DipSource,
}

/// Who looked a called number up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DipSource {
    /// Whoever sent the call: it came with `rn` or `npdi`, and its endpoint is trusted with them.
    Call,
    /// The node, among the ported numbers that it holds.
    Node,
    /// A service that the node asks.
    Service,
    /// Nobody: the service did not answer in time, and the called number decides.
    Unanswered,
}

impl Dip {
    /// For a question about a prefix: what is known of the one number with the same digits says nothing of it.
    pub(crate) const OF_PREFIX: Self = Self { rn: None, source: DipSource::Node };
}

impl DipSource {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Node => "node",
            Self::Service => "service",
            Self::Unanswered => "unanswered",
        }
    }
}

impl RouteTable {
    /// The ported numbers that the node holds beside the table's facts. They are no part of its version and hash.
    pub fn ported(&self) -> &PortedNumbers {
        &self.ported
    }

    /// The same facts beside other ported numbers.
    pub(crate) fn with_ported(mut self, ported: &PortedNumbers) -> Self {
        self.ported = ported.clone();
        self
    }

    /// Looks a number up among them; `None` where the node holds none.
    pub(crate) fn dip(&self, called: E164) -> Option<Dip> {
        (!self.ported.is_empty()).then(|| Dip { rn: self.ported.get(called), source: DipSource::Node })
    }
}

//! Settings that say whether a switch is believed, which are the operator's of the exchange to set.

use super::Settings;

/// With what a switch is trusted, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// `identity.trusted`
    Identities,
    /// `numbers.routing_number`
    RoutingNumbers,
}

impl Trust {
    /// Each.
    pub const ALL: [Self; 2] = [Self::Identities, Self::RoutingNumbers];

    /// Group and name of the setting.
    pub fn setting(self) -> (&'static str, &'static str) {
        match self {
            Self::Identities => ("identity", "trusted"),
            Self::RoutingNumbers => ("numbers", "routing_number"),
        }
    }
}

impl Settings {
    /// Whether the switch is trusted with that.
    pub fn trusts(&self, with: Trust) -> bool {
        match with {
            Trust::Identities => self.identity.trusted,
            Trust::RoutingNumbers => self.numbers.routing_number,
        }
    }
}

//! Which calls an agreement lets cross, beyond who may call whom.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Hours, Party, Prefix, Reason, Tag, TagDemand, TransitTerms};

/// Most prefixes of each side in the terms.
pub const MAX_TERM_PREFIXES: usize = 200;

/// Most sites in the terms.
pub const MAX_TERM_SITES: usize = 16;

/// What two members agreed on about calls; the default lets every call cross.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgreementTerms {
    /// Numbers of the proposing member that the other one may call begin with one of these; all where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes_of_proposing: Vec<Prefix>,
    /// Numbers of the accepting member that the other one may call begin with one of these; all where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes_of_accepting: Vec<Prefix>,
    /// When calls cross; always where it is `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// Names of sites: endpoints there take calls before all others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<String>,
    /// Which tags an announcement must bear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub demand: Option<TagDemand>,
    /// What is asked of transit routes.
    #[serde(skip_serializing_if = "TransitTerms::is_default")]
    pub transit: TransitTerms,
}

impl AgreementTerms {
    /// Whether they let every call cross, and prefer no site.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The prefixes of the numbers of one of the two.
    pub fn prefixes_of(&self, party: Party) -> &[Prefix] {
        match party {
            Party::Proposing => &self.prefixes_of_proposing,
            Party::Accepting => &self.prefixes_of_accepting,
        }
    }

    /// Whether a call to a number of `terminating` crosses now by an announcement with these tags, or why it does not.
    /// `leading` gives as many leading digits of the number, where it has so many.
    pub fn admit(
        &self,
        terminating: Party,
        leading: impl Fn(usize) -> Option<Prefix>,
        tags: &[Tag],
        now: DateTime<Utc>,
    ) -> Result<(), Reason> {
        let prefixes = self.prefixes_of(terminating);
        if !prefixes.is_empty() && !prefixes.iter().any(|prefix| leading(prefix.len()) == Some(*prefix)) {
            return Err(Reason::AgreementPrefix);
        }
        if self.demand.as_ref().is_some_and(|demand| !demand.is_met_by(tags)) {
            return Err(Reason::AgreementTags);
        }
        if self.hours.as_ref().is_some_and(|hours| !hours.contains(now)) {
            return Err(Reason::AgreementHours);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_that_say_nothing_are_written_as_nothing_and_let_every_call_cross() {
        let terms: AgreementTerms = serde_json::from_str("{}").unwrap();
        assert!(terms.is_default());
        assert_eq!(serde_json::to_string(&terms).unwrap(), "{}");
        let now = DateTime::from_timestamp(0, 0).unwrap();
        assert_eq!(terms.admit(Party::Accepting, |_| None, &[], now), Ok(()));
    }
}

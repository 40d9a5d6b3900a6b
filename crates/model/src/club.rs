//! An agreement of many.

use serde::{Deserialize, Serialize};

use crate::{AdvanceOn, AgreementId, AgreementTerms, CallLimits, MemberId};

/// What many members agreed on: each that has joined may call each other one, by terms that are the same for all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Club {
    /// Its id; a call under it names it as its agreement.
    pub agreement_id: AgreementId,
    /// Who has joined, in order of their ids.
    pub members: Vec<MemberId>,
    /// The most that crosses under it, among all of its members together.
    #[serde(default)]
    pub limits: CallLimits,
    /// After which failures a call under it goes on to the next candidate; by the hub's own rule where it is `None`.
    #[serde(default)]
    pub advance_on: Option<AdvanceOn>,
    /// Which calls cross under it, of no side in particular; `None` where they say nothing.
    #[serde(default)]
    pub terms: Option<Box<AgreementTerms>>,
}

impl Club {
    /// Whether the member has joined.
    pub fn has(&self, member: MemberId) -> bool {
        self.members.binary_search(&member).is_ok()
    }
}

//! What two members may send to each other, and when.

use serde::{Deserialize, Serialize};

use crate::{AdvanceOn, AgreementId, AgreementState, AgreementTerms, CallLimits, MemberId, Party, Validity};

/// Who may call whom under an agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgreementDirection {
    /// Each may call the other.
    Both,
    /// The proposing member may call the accepting one.
    ToAccepting,
    /// The accepting member may call the proposing one.
    ToProposing,
}

/// What two members agreed. Only one that both have accepted, and that none of them suspended, lets a call
/// cross, within its validity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Its id.
    pub agreement_id: AgreementId,
    /// Who offered it.
    pub proposing_member: MemberId,
    /// Who was asked to accept it.
    pub accepting_member: MemberId,
    /// Who may call whom.
    pub direction: AgreementDirection,
    /// How far it has come.
    pub state: AgreementState,
    /// When it holds; `None` until both have accepted.
    pub validity: Option<Validity>,
    /// What the two agreed on as the most that crosses under it, both directions together.
    #[serde(default)]
    pub limits: CallLimits,
    /// After which failures a call under it goes on to the next candidate; by the hub's own rule where it is `None`.
    #[serde(default)]
    pub advance_on: Option<AdvanceOn>,
    /// Which calls cross under it; `None` where they say nothing.
    #[serde(default)]
    pub terms: Option<Box<AgreementTerms>>,
}

impl Agreement {
    /// Which of its two members this is.
    pub fn party(&self, member: MemberId) -> Party {
        if member == self.proposing_member { Party::Proposing } else { Party::Accepting }
    }

    /// Whether it lets `originating` call `terminating`, its state and validity aside.
    pub fn permits(&self, originating: MemberId, terminating: MemberId) -> bool {
        let (proposing, accepting) = (self.proposing_member, self.accepting_member);
        let forward = originating == proposing && terminating == accepting;
        let backward = originating == accepting && terminating == proposing;
        match self.direction {
            AgreementDirection::Both => forward || backward,
            AgreementDirection::ToAccepting => forward,
            AgreementDirection::ToProposing => backward,
        }
    }
}

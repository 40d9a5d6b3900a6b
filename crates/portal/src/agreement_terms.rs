//! The terms of an agreement, as members offer and read them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tandem_model::{AdvanceOn, AgreementDirection, MAX_NOTICE_DAYS, Party};
use tandem_store::agreement::Offer;
use utoipa::ToSchema;

use crate::call_limits;
use crate::problem::Faults;
use crate::text;
use crate::vocabulary;

/// The final responses to an attempt after which a call goes on to the next candidate; one of the two lists is enough.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdvanceLists {
    /// Status codes of SIP, 300 to 699 without 487.
    #[serde(default)]
    #[schema(value_type = Vec<u16>, example = json!([486, 503]))]
    statuses: BTreeSet<u16>,
    /// Cause values of Q.850, 1 to 127, as the Reason header field of the response gives them.
    #[serde(default)]
    #[schema(value_type = Vec<u16>, example = json!([34]))]
    causes: BTreeSet<u16>,
}

impl From<AdvanceOn> for AdvanceLists {
    fn from(AdvanceOn { statuses, causes }: AdvanceOn) -> Self {
        Self { statuses, causes: causes.into_iter().map(u16::from).collect() }
    }
}

impl AdvanceLists {
    /// The lists, once looked at; what is at fault is noted.
    fn read(self, faults: &mut Faults) -> Option<AdvanceOn> {
        AdvanceOn::new(self.statuses, self.causes).map_err(|fault| faults.note("advance_on", fault)).ok()
    }
}

/// What one member offered the other.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct TermsView {
    #[schema(value_type = vocabulary::AgreementDirection)]
    direction: AgreementDirection,
    note: String,
    /// How many days it goes on after one of the two has ended it.
    notice_days: u32,
    /// Most calls up at once under it, both directions together; no bound where it is null.
    #[schema(required)]
    max_calls: Option<u32>,
    /// Most new calls a second under it, both directions together; no bound where it is null.
    #[schema(required)]
    max_calls_per_second: Option<u32>,
    /// After which failures a call under it goes on to the next candidate; by the rule of the hub where it is null: after
    /// those that mean that the endpoint cannot, never after the called party's own no.
    #[schema(required)]
    advance_on: Option<AdvanceLists>,
}

impl From<Offer> for TermsView {
    fn from(Offer { direction, note, notice_days, limits, advance_on }: Offer) -> Self {
        Self {
            direction,
            note,
            notice_days,
            max_calls: limits.max_calls,
            max_calls_per_second: limits.max_calls_per_second,
            advance_on: advance_on.map(AdvanceLists::from),
        }
    }
}

/// Who may call whom, as the member that offers it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProposedDirection {
    /// Each may call the other.
    Both,
    /// The offering member may call the other.
    Outgoing,
    /// The other may call the offering member.
    Incoming,
}

/// An agreement that a member proposes to another.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgreementInput {
    /// Name or id of the other member.
    #[schema(example = "globex")]
    with: String,
    direction: ProposedDirection,
    /// What the other member should know. At most 2000 characters.
    #[serde(default)]
    note: String,
    /// How many days the agreement goes on after one of the two has ended it.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 365)]
    notice_days: u32,
    /// Most calls up at once under it, both directions together; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls: Option<u32>,
    /// Most new calls a second under it, both directions together; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls_per_second: Option<u32>,
    /// After which failures a call under it goes on to the next candidate; by the rule of the hub where it is left out
    /// or null.
    #[serde(default)]
    advance_on: Option<AdvanceLists>,
}

/// Other terms, with which a member answers an offer. They replace the offered ones as a whole.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CounterInput {
    direction: ProposedDirection,
    /// What the other member should know. At most 2000 characters.
    #[serde(default)]
    note: String,
    /// How many days the agreement goes on after one of the two has ended it.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 365)]
    notice_days: u32,
    /// Most calls up at once under it, both directions together; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls: Option<u32>,
    /// Most new calls a second under it, both directions together; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls_per_second: Option<u32>,
    /// After which failures a call under it goes on to the next candidate; by the rule of the hub where it is left out
    /// or null.
    #[serde(default)]
    advance_on: Option<AdvanceLists>,
}

impl CounterInput {
    /// The terms, once looked at, as `party` offers them; what is at fault is noted.
    pub(crate) fn read(self, faults: &mut Faults, party: Party) -> Option<Offer> {
        let note = text::lines(faults, "note", &self.note, 2000);
        if self.notice_days > MAX_NOTICE_DAYS {
            faults.note("notice_days", format!("write a number from 0 to {MAX_NOTICE_DAYS}"));
        }
        let limits = call_limits::read(faults, self.max_calls, self.max_calls_per_second);
        let advance_on = self.advance_on.and_then(|lists| lists.read(faults));
        let direction = self.direction.of(party);
        note.map(|note| Offer { direction, note, notice_days: self.notice_days, limits, advance_on })
    }
}

impl AgreementInput {
    /// With whom, and the terms.
    pub(crate) fn split(self) -> (String, CounterInput) {
        let Self { with, direction, note, notice_days, max_calls, max_calls_per_second, advance_on } = self;
        (with, CounterInput { direction, note, notice_days, max_calls, max_calls_per_second, advance_on })
    }
}

impl ProposedDirection {
    /// The same, seen from outside, where `party` offers it.
    fn of(self, party: Party) -> AgreementDirection {
        match (self, party) {
            (Self::Both, _) => AgreementDirection::Both,
            (Self::Outgoing, Party::Proposing) | (Self::Incoming, Party::Accepting) => {
                AgreementDirection::ToAccepting
            }
            (Self::Incoming, Party::Proposing) | (Self::Outgoing, Party::Accepting) => {
                AgreementDirection::ToProposing
            }
        }
    }
}

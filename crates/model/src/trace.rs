//! Which calls people want to see message by message.

use chrono::{DateTime, Utc};

use crate::{EndpointId, MemberId, Prefix, TraceSelectionId};

/// A member's wish that its calls be traced, those of one endpoint or number alone where it says so: for a while,
/// and so many at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSelection {
    /// Its id.
    pub trace_selection_id: TraceSelectionId,
    /// Whose calls: those that it sends and those that it takes.
    pub member_id: MemberId,
    /// Only calls from or to this endpoint of the member.
    pub endpoint_id: Option<EndpointId>,
    /// Only calls whose calling or called number begins so.
    pub prefix: Option<Prefix>,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Most calls that are traced for it.
    pub max_calls: u32,
}

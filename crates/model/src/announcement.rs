//! A member's wish that a prefix be routed to its endpoints.

use serde::{Deserialize, Serialize};

use crate::{AnnouncementId, CallLimits, EndpointId, MemberId, Prefix, Tag, Validity};

/// It becomes a route only while a valid range of the same member covers the prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Its id.
    pub announcement_id: AnnouncementId,
    /// Who announces.
    pub member_id: MemberId,
    /// Which numbers.
    pub prefix: Prefix,
    /// The endpoints of the member that take the calls; at least one.
    pub endpoints: Vec<EndpointId>,
    /// When it holds; withdrawing ends it.
    pub validity: Validity,
    /// The most that the announcing member takes for the prefix, over all its endpoints.
    #[serde(default)]
    pub limits: CallLimits,
    /// What the announcing member promises of the route, sorted; agreements may demand it.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

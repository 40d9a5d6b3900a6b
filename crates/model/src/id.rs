//! Identifiers: one type for each noun, so that a member's id never stands where an endpoint's should.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    )*};
}

ids! {
    /// A member of the exchange.
    MemberId
    /// A person who signs in to the portal.
    UserId
    /// A bearer token of the API.
    ApiTokenId
    /// An interconnection point.
    SiteId
    /// An address, port and transport on which the hub receives SIP.
    ListenerId
    /// One SIP address of a member.
    EndpointId
    /// A digest credential of an endpoint.
    CredentialId
    /// A block of numbers that a member holds.
    RangeId
    /// A member's wish that a prefix be routed to its endpoints, or its offer of transit.
    AnnouncementId
    /// A dated list of prefixes and rates.
    RateDeckId
    /// What two members may send to each other.
    AgreementId
    /// One call through the hub.
    CallId
    /// One running node of the hub.
    NodeId
    /// One line of the audit log.
    AuditEntryId
    /// A wish that calls be traced.
    TraceSelectionId
    /// Changes of announcements that take effect together.
    ChangeSetId
    /// A file of announcements.
    ImportId
}

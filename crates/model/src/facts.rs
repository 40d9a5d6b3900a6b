//! What routing is built from, as it leaves the database: all of it, or what changed.

use serde::{Deserialize, Serialize};

use crate::{
    Agreement, AgreementId, Announcement, AnnouncementId, Club, Endpoint, EndpointId, Member, MemberId,
    Range, RangeId,
};

/// Names one object that routing depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "id")]
pub enum ObjectId {
    /// A member.
    Member(MemberId),
    /// An endpoint, its sources with it.
    Endpoint(EndpointId),
    /// A range.
    Range(RangeId),
    /// An announcement, its endpoints with it.
    Announcement(AnnouncementId),
    /// An agreement.
    Agreement(AgreementId),
    /// A club, its members with it.
    Club(AgreementId),
}

/// Objects as they stand at one position of the change feed.
///
/// For a whole load it has every object and `gone` is empty; for a change it has the objects that changed
/// as they are now, and names those that no longer exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Position of the change feed up to which this is true; a route table's version.
    pub position: u64,
    /// Members.
    pub members: Vec<Member>,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Ranges, whatever their authority.
    pub ranges: Vec<Range>,
    /// Announcements that are in force or will be.
    pub announcements: Vec<Announcement>,
    /// Agreements, whatever their state.
    pub agreements: Vec<Agreement>,
    /// Clubs.
    #[serde(default)]
    pub clubs: Vec<Club>,
    /// What is no longer there (or, for an announcement, no longer in force).
    pub gone: Vec<ObjectId>,
}

//! What routing is built from, as it leaves the database: all of it, or what changed.

use serde::{Deserialize, Serialize};

use crate::{
    Agreement, AgreementId, Announcement, AnnouncementId, BlockList, Club, Endpoint, EndpointId, Member,
    MemberId, Range, RangeId, RateDeck, RateDeckId, TransitOffer,
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
    /// An offer of transit, its endpoints with it.
    TransitOffer(AnnouncementId),
    /// A rate deck, its rates with it.
    RateDeck(RateDeckId),
    /// What a member blocks; `None` is what the operator does.
    BlockList(Option<MemberId>),
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
    /// Offers of transit that are in force or will be.
    #[serde(default)]
    pub transit_offers: Vec<TransitOffer>,
    /// Rate decks, without the rates of the past.
    #[serde(default)]
    pub rate_decks: Vec<RateDeck>,
    /// Block lists.
    #[serde(default)]
    pub block_lists: Vec<BlockList>,
    /// What is no longer there (or, for an announcement, no longer in force).
    pub gone: Vec<ObjectId>,
}

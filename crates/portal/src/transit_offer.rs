//! Offers of transit: a member makes them, the operator permits them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{AnnouncementId, MemberId, RateDeckId, Reason};
use tandem_store::transit_offer::{self, NewOffer, StoredOffer};
use tandem_store::{PgConnection, endpoint, member, rate_deck};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::announcement::{EndpointNames, read_tags};
use crate::app::App;
use crate::call_limits;
use crate::endpoint::EndpointRef;
use crate::page::{Page, PageQuery};
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id, Query};
use crate::session::{Change, Session};
use crate::text;

/// How calls by an offer went lately; in coarse steps.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct QualityView {
    /// Answer-seizure ratio, in percent.
    asr_percent: u8,
    /// Network effectiveness ratio, in percent.
    ner_percent: u8,
    /// Post-dial delay, in milliseconds.
    pdd_ms: u32,
}

/// A member's offer to carry calls onward.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct TransitOfferView {
    #[schema(value_type = Uuid)]
    transit_offer_id: AnnouncementId,
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    member_name: String,
    name: String,
    #[schema(value_type = Uuid)]
    rate_deck_id: RateDeckId,
    rate_deck_name: String,
    /// The endpoints that take the calls.
    endpoints: Vec<EndpointRef>,
    valid_from: DateTime<Utc>,
    /// Whether the operator permits it; it takes no calls before.
    permitted: bool,
    /// Among offers of the same rate the operator prefers the lower one.
    preference: u16,
    /// Most calls up at once by it; no bound where it is null.
    #[schema(required)]
    max_calls: Option<u32>,
    /// Most new calls a second by it; no bound where it is null.
    #[schema(required)]
    max_calls_per_second: Option<u32>,
    /// What the member promises of it; agreements may demand it.
    tags: Vec<String>,
    /// Null where too few calls went by it lately to tell.
    #[schema(required)]
    quality: Option<QualityView>,
}

/// What a member offers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransitOfferInput {
    /// Lower-case letters, digits and hyphens; unique with the member.
    #[schema(example = "pstn")]
    name: String,
    /// A deck of the member: each number that has a rate is offered.
    #[schema(value_type = Uuid)]
    rate_deck_id: RateDeckId,
    /// Names or ids of endpoints of the member.
    #[schema(min_items = 1, max_items = 64)]
    endpoints: Vec<String>,
    /// Most calls up at once by it; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls: Option<u32>,
    /// Most new calls a second by it; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls_per_second: Option<u32>,
    /// What the member promises of it: lower-case letters, digits and hyphens. Agreements may demand it.
    #[serde(default)]
    #[schema(max_items = 16, example = json!(["cli-guaranteed"]))]
    tags: Vec<String>,
}

/// What the operator says of an offer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PermissionInput {
    permitted: bool,
    /// Among offers of the same rate the lower one comes first.
    #[serde(default = "default_preference")]
    #[schema(default = 100)]
    preference: u16,
}

fn default_preference() -> u16 {
    100
}

impl From<StoredOffer> for TransitOfferView {
    fn from(offer: StoredOffer) -> Self {
        Self {
            transit_offer_id: offer.announcement_id,
            member_id: offer.member_id,
            member_name: offer.member_name,
            name: offer.name,
            rate_deck_id: offer.rate_deck,
            rate_deck_name: offer.rate_deck_name,
            endpoints: offer.endpoints.into_iter().map(EndpointRef::from).collect(),
            valid_from: offer.validity.from,
            permitted: offer.is_permitted,
            preference: offer.preference,
            max_calls: offer.limits.max_calls,
            max_calls_per_second: offer.limits.max_calls_per_second,
            tags: offer.tags,
            quality: offer.quality.map(|it| QualityView {
                asr_percent: it.asr_percent,
                ner_percent: it.ner_percent,
                pdd_ms: it.pdd_ms,
            }),
        }
    }
}

impl TransitOfferInput {
    async fn read(
        self,
        db: &mut PgConnection,
        member: MemberId,
        now: DateTime<Utc>,
    ) -> Result<NewOffer, ApiError> {
        let names = EndpointNames::of(endpoint::names_of_member(&mut *db, member).await?);
        let deck = rate_deck::list(db, Some(member), Some(self.rate_deck_id), None, 1, now).await?;
        let mut faults = Faults::default();
        if deck.is_empty() {
            faults.note("rate_deck_id", "the member has no such rate deck");
        }
        let limits = call_limits::read(&mut faults, self.max_calls, self.max_calls_per_second);
        let tags = read_tags(&mut faults, &self.tags);
        let name = text::name(&mut faults, "name", &self.name, "-", 40);
        let endpoints = names.read(&mut faults, "endpoints", &self.endpoints);
        let (name, endpoints) = faults.hold(name.zip(endpoints))?;
        Ok(NewOffer { name, rate_deck: self.rate_deck_id, endpoints, limits, tags })
    }
}

async fn find(
    db: &mut PgConnection,
    member: Option<MemberId>,
    id: AnnouncementId,
    now: DateTime<Utc>,
) -> Result<TransitOfferView, ApiError> {
    let found = transit_offer::list(db, member, Some(id), None, 1, now).await?.pop();
    found.map(TransitOfferView::from).ok_or_else(|| ApiError::new(Reason::NotFound))
}

/// `GET /api/v1/members/{member_id}/transit-offers`: what the member offers.
#[utoipa::path(get, path = "/members/{member_id}/transit-offers", tag = "transit",
    params(("member_id" = Uuid, Path), PageQuery), responses((status = 200, body = Page<TransitOfferView>)))]
pub(crate) async fn list_transit_offers(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<TransitOfferView>>, ApiError> {
    session.may_read(member)?;
    list(app, Some(member), query).await
}

/// `GET /api/v1/transit-offers`: what all members offer (operator).
#[utoipa::path(get, path = "/transit-offers", tag = "transit", params(PageQuery),
    responses((status = 200, body = Page<TransitOfferView>)))]
pub(crate) async fn list_all_transit_offers(
    State(app): State<App>,
    session: Session,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<TransitOfferView>>, ApiError> {
    session.must_be_operator()?;
    list(app, None, query).await
}

async fn list(
    app: App,
    member: Option<MemberId>,
    query: PageQuery,
) -> Result<Json<Page<TransitOfferView>>, ApiError> {
    let place = query.read::<Uuid>()?;
    let (before, now) = (place.after.map(AnnouncementId), app.clock.now());
    let offers = transit_offer::list(&app.db, member, None, before, place.reads(), now).await?;
    Ok(Json(place.page(offers, |it| it.announcement_id.0, TransitOfferView::from)))
}

/// `POST /api/v1/members/{member_id}/transit-offers`: offers to carry calls at the rates of a deck, once the operator permits it.
#[utoipa::path(post, path = "/members/{member_id}/transit-offers", tag = "transit",
    params(("member_id" = Uuid, Path)), request_body = TransitOfferInput,
    responses((status = 201, body = TransitOfferView)))]
pub(crate) async fn create_transit_offer(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Body(input): Body<TransitOfferInput>,
) -> Result<(StatusCode, Json<TransitOfferView>), ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    member::lock(&mut *transaction, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let offer = input.read(&mut transaction, member, now).await?;
    let id = transit_offer::insert(&mut transaction, member, &offer, now).await?;
    let view = find(&mut transaction, Some(member), id, now).await?;
    let change = Change::of("transit_offer.create", Some(member), id.0, None, Some(&view));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// `PUT /api/v1/members/{member_id}/transit-offers/{transit_offer_id}`: changes an offer; the operator's permission stays.
#[utoipa::path(put, path = "/members/{member_id}/transit-offers/{transit_offer_id}", tag = "transit",
    params(("member_id" = Uuid, Path), ("transit_offer_id" = Uuid, Path)), request_body = TransitOfferInput,
    responses((status = 200, body = TransitOfferView)))]
pub(crate) async fn update_transit_offer(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, AnnouncementId)>,
    Body(input): Body<TransitOfferInput>,
) -> Result<Json<TransitOfferView>, ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let before = find(&mut transaction, Some(member), id, now).await?;
    let offer = input.read(&mut transaction, member, now).await?;
    transit_offer::update(&mut transaction, member, id, &offer, now).await?;
    let after = find(&mut transaction, Some(member), id, now).await?;
    let change = Change::of("transit_offer.update", Some(member), id.0, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(Json(after))
}

/// `DELETE /api/v1/members/{member_id}/transit-offers/{transit_offer_id}`: withdraws an offer now.
#[utoipa::path(delete, path = "/members/{member_id}/transit-offers/{transit_offer_id}", tag = "transit",
    params(("member_id" = Uuid, Path), ("transit_offer_id" = Uuid, Path)),
    responses((status = 204, description = "withdrawn")))]
pub(crate) async fn withdraw_transit_offer(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, AnnouncementId)>,
) -> Result<StatusCode, ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let before = find(&mut transaction, Some(member), id, now).await?;
    transit_offer::withdraw(&mut transaction, member, id, now).await?;
    let change = Change::of("transit_offer.withdraw", Some(member), id.0, Some(&before), None);
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT /api/v1/transit-offers/{transit_offer_id}/permission`: permits an offer or not, and prefers it (operator).
#[utoipa::path(put, path = "/transit-offers/{transit_offer_id}/permission", tag = "transit",
    params(("transit_offer_id" = Uuid, Path)), request_body = PermissionInput,
    responses((status = 200, body = TransitOfferView)))]
pub(crate) async fn permit_transit_offer(
    State(app): State<App>,
    session: Session,
    Id(id): Id<AnnouncementId>,
    Body(input): Body<PermissionInput>,
) -> Result<Json<TransitOfferView>, ApiError> {
    session.must_be_operator()?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let before = find(&mut transaction, None, id, now).await?;
    transit_offer::permit(&mut *transaction, id, input.permitted, input.preference, now).await?;
    let after = find(&mut transaction, None, id, now).await?;
    let change = Change::of("transit_offer.permit", Some(after.member_id), id.0, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(Json(after))
}

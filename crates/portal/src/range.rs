//! Which blocks of numbers a member holds, and the operator's word on it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{MemberId, Prefix, RangeId};
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::page::{Page, PageQuery};
use crate::problem::ApiError;
use crate::request::{Body, Id, Query};
use crate::session::Session;
use crate::vocabulary;

/// Evidence that a member holds a range, as it stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthorityNow {
    Pending,
    Valid,
    Refused,
    Expired,
}

/// A block of E.164 numbers that a member holds or claims.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RangeView {
    #[schema(value_type = Uuid)]
    range_id: RangeId,
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    member_name: String,
    #[schema(value_type = String, example = "+44207946")]
    prefix: Prefix,
    #[schema(value_type = vocabulary::Authority)]
    authority: AuthorityNow,
    /// What the member says in support.
    evidence: String,
    valid_from: DateTime<Utc>,
    #[schema(required)]
    valid_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    /// When the operator decided.
    #[schema(required)]
    decided_at: Option<DateTime<Utc>>,
}

/// A range that a member claims.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RangeInput {
    /// The leading digits of its numbers, internationally.
    #[schema(example = "+44207946")]
    prefix: String,
    /// Why the operator should believe it: an allocation, a link, a reference. At most 2000 characters.
    #[serde(default)]
    evidence: String,
}

/// Which ranges to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RangeQuery {
    /// Only ranges of this authority.
    #[param(value_type = Option<vocabulary::Authority>)]
    authority: Option<AuthorityNow>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Most items of the page; 50 where it is not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// `GET /api/v1/members/{member_id}/ranges`: what the member holds and claims.
#[utoipa::path(get, path = "/members/{member_id}/ranges", tag = "ranges", params(("member_id" = Uuid, Path), PageQuery),
    responses((status = 200, body = Page<RangeView>)))]
pub(crate) async fn list_ranges(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
    Query(_page): Query<PageQuery>,
) -> Result<Json<Page<RangeView>>, ApiError> {
    todo!()
}

/// `POST /api/v1/members/{member_id}/ranges`: claims a range; the operator verifies it.
#[utoipa::path(post, path = "/members/{member_id}/ranges", tag = "ranges", params(("member_id" = Uuid, Path)),
    request_body = RangeInput, responses((status = 201, body = RangeView)))]
pub(crate) async fn claim_range(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
    Body(_input): Body<RangeInput>,
) -> Result<(StatusCode, Json<RangeView>), ApiError> {
    todo!()
}

/// `DELETE /api/v1/members/{member_id}/ranges/{range_id}`: ends the claim or the holding now.
#[utoipa::path(delete, path = "/members/{member_id}/ranges/{range_id}", tag = "ranges",
    params(("member_id" = Uuid, Path), ("range_id" = Uuid, Path)), responses((status = 204, description = "ended")))]
pub(crate) async fn withdraw_range(
    State(_app): State<App>,
    _session: Session,
    Id(_ids): Id<(MemberId, RangeId)>,
) -> Result<StatusCode, ApiError> {
    todo!()
}

/// `GET /api/v1/ranges`: ranges of every member, oldest first: the operator's queue.
#[utoipa::path(get, path = "/ranges", tag = "ranges", params(RangeQuery), responses((status = 200, body = Page<RangeView>)))]
pub(crate) async fn list_all_ranges(
    State(_app): State<App>,
    _session: Session,
    Query(_query): Query<RangeQuery>,
) -> Result<Json<Page<RangeView>>, ApiError> {
    todo!()
}

/// `POST /api/v1/ranges/{range_id}/verify`: the operator believes the claim; announcements within it route.
#[utoipa::path(post, path = "/ranges/{range_id}/verify", tag = "ranges", params(("range_id" = Uuid, Path)),
    responses((status = 200, body = RangeView)))]
pub(crate) async fn verify_range(
    State(_app): State<App>,
    _session: Session,
    Id(_range): Id<RangeId>,
) -> Result<Json<RangeView>, ApiError> {
    todo!()
}

/// `POST /api/v1/ranges/{range_id}/refuse`: the operator does not believe the claim, or no longer does.
#[utoipa::path(post, path = "/ranges/{range_id}/refuse", tag = "ranges", params(("range_id" = Uuid, Path)),
    responses((status = 200, body = RangeView)))]
pub(crate) async fn refuse_range(
    State(_app): State<App>,
    _session: Session,
    Id(_range): Id<RangeId>,
) -> Result<Json<RangeView>, ApiError> {
    todo!()
}

//! What a member announces, one at a time or in bulk.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{AnnouncementId, MemberId, Prefix, Reason};
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::endpoint::EndpointRef;
use crate::page::Page;
use crate::problem::ApiError;
use crate::request::{Body, Id, Query};
use crate::session::Session;
use crate::vocabulary;

/// On how many nodes a change is in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LiveOnView {
    /// Nodes whose route table has it.
    nodes: u32,
    /// Nodes that serve.
    of: u32,
}

/// A member's wish that a prefix be routed to its endpoints.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AnnouncementView {
    #[schema(value_type = Uuid)]
    announcement_id: AnnouncementId,
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    #[schema(value_type = String, example = "+44207946")]
    prefix: Prefix,
    /// The endpoints that take the calls.
    endpoints: Vec<EndpointRef>,
    valid_from: DateTime<Utc>,
    #[schema(required)]
    valid_until: Option<DateTime<Utc>>,
    /// Whether calls can be routed by it now.
    routable: bool,
    /// Why not.
    #[schema(required, value_type = Option<vocabulary::ReasonCode>)]
    reason: Option<Reason>,
    live_on: LiveOnView,
}

/// What a member announces.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnnouncementInput {
    /// The leading digits of the numbers, internationally.
    #[schema(example = "+44207946")]
    prefix: String,
    /// Names or ids of endpoints of the member.
    #[schema(min_items = 1, max_items = 64)]
    endpoints: Vec<String>,
    /// From now where it is left out.
    #[serde(default)]
    valid_from: Option<DateTime<Utc>>,
    /// Until further notice where it is left out.
    #[serde(default)]
    valid_until: Option<DateTime<Utc>>,
}

/// What a bulk request does with announcements that it does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BulkMode {
    /// They stay.
    #[default]
    Merge,
    /// They are withdrawn.
    Replace,
}

/// One row of a bulk request.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkRow {
    #[schema(example = "+44207946")]
    prefix: String,
    /// Names or ids of endpoints of the member.
    #[schema(min_items = 1, max_items = 64)]
    endpoints: Vec<String>,
}

/// Announcements that take effect together, or not at all.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkInput {
    #[serde(default)]
    mode: BulkMode,
    /// What is announced from now on. At most 100,000 rows together with `withdraw`.
    #[serde(default)]
    #[schema(max_items = 100_000)]
    announcements: Vec<BulkRow>,
    /// Prefixes that are withdrawn. Not with `replace`.
    #[serde(default)]
    #[schema(max_items = 100_000)]
    withdraw: Vec<String>,
}

/// What a bulk request did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct BulkView {
    added: u64,
    changed: u64,
    withdrawn: u64,
    unchanged: u64,
    /// Version of the route table that has all of it.
    table_version: u64,
}

/// How to read a CSV file.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BulkQuery {
    /// For a CSV body, which cannot say it itself.
    #[param(inline)]
    mode: Option<BulkMode>,
}

/// Which announcements to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AnnouncementQuery {
    /// Only prefixes that begin with these digits.
    prefix: Option<String>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Most items of the page; 50 where it is not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// `GET /api/v1/members/{member_id}/announcements`: what the member announces, now or later.
#[utoipa::path(get, path = "/members/{member_id}/announcements", tag = "announcements",
    params(("member_id" = Uuid, Path), AnnouncementQuery), responses((status = 200, body = Page<AnnouncementView>)))]
pub(crate) async fn list_announcements(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
    Query(_query): Query<AnnouncementQuery>,
) -> Result<Json<Page<AnnouncementView>>, ApiError> {
    todo!()
}

/// `POST /api/v1/members/{member_id}/announcements`: announces a prefix.
#[utoipa::path(post, path = "/members/{member_id}/announcements", tag = "announcements",
    params(("member_id" = Uuid, Path)), request_body = AnnouncementInput, responses((status = 201, body = AnnouncementView)))]
pub(crate) async fn create_announcement(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
    Body(_input): Body<AnnouncementInput>,
) -> Result<(StatusCode, Json<AnnouncementView>), ApiError> {
    todo!()
}

/// `GET /api/v1/members/{member_id}/announcements/{announcement_id}`: one announcement.
#[utoipa::path(get, path = "/members/{member_id}/announcements/{announcement_id}", tag = "announcements",
    params(("member_id" = Uuid, Path), ("announcement_id" = Uuid, Path)), responses((status = 200, body = AnnouncementView)))]
pub(crate) async fn get_announcement(
    State(_app): State<App>,
    _session: Session,
    Id(_ids): Id<(MemberId, AnnouncementId)>,
) -> Result<Json<AnnouncementView>, ApiError> {
    todo!()
}

/// `PUT /api/v1/members/{member_id}/announcements/{announcement_id}`: changes its endpoints and validity; the prefix stays.
#[utoipa::path(put, path = "/members/{member_id}/announcements/{announcement_id}", tag = "announcements",
    params(("member_id" = Uuid, Path), ("announcement_id" = Uuid, Path)), request_body = AnnouncementInput,
    responses((status = 200, body = AnnouncementView)))]
pub(crate) async fn update_announcement(
    State(_app): State<App>,
    _session: Session,
    Id(_ids): Id<(MemberId, AnnouncementId)>,
    Body(_input): Body<AnnouncementInput>,
) -> Result<Json<AnnouncementView>, ApiError> {
    todo!()
}

/// `DELETE /api/v1/members/{member_id}/announcements/{announcement_id}`: withdraws it now.
#[utoipa::path(delete, path = "/members/{member_id}/announcements/{announcement_id}", tag = "announcements",
    params(("member_id" = Uuid, Path), ("announcement_id" = Uuid, Path)), responses((status = 204, description = "withdrawn")))]
pub(crate) async fn withdraw_announcement(
    State(_app): State<App>,
    _session: Session,
    Id(_ids): Id<(MemberId, AnnouncementId)>,
) -> Result<StatusCode, ApiError> {
    todo!()
}

/// `POST /api/v1/members/{member_id}/announcements/bulk`: many announcements at once, all or nothing.
///
/// A CSV body begins with the line `prefix,endpoints`; endpoints are separated by `;` or spaces. The same
/// idempotency key with the same body has one effect and the same answer.
#[utoipa::path(post, path = "/members/{member_id}/announcements/bulk", tag = "announcements",
    params(("member_id" = Uuid, Path), BulkQuery,
        ("idempotency-key" = Option<String>, Header, description = "Any text of 1 to 200 characters, new for each change", max_length = 200)),
    request_body(content((BulkInput = "application/json"), (String = "text/csv"))),
    responses((status = 200, body = BulkView)))]
pub(crate) async fn bulk_announcements(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
    Query(_query): Query<BulkQuery>,
    _request: Request,
) -> Result<Json<BulkView>, ApiError> {
    todo!()
}

//! Members: who is on the exchange, who asks to join, and what the operator decides about them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{MemberId, MemberState};
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::page::Page;
use crate::problem::ApiError;
use crate::request::{Body, Id, Query};
use crate::session::Session;
use crate::user::UserView;
use crate::vocabulary;

/// A SIP service provider that joined the exchange, or asks to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct MemberView {
    #[schema(value_type = Uuid)]
    pub(crate) member_id: MemberId,
    /// Short name, unique on the exchange.
    #[schema(example = "acme")]
    pub(crate) name: String,
    #[schema(example = "Acme Telecom")]
    pub(crate) display_name: String,
    pub(crate) contact_email: String,
    #[schema(value_type = vocabulary::MemberState)]
    pub(crate) state: MemberState,
    pub(crate) created_at: DateTime<Utc>,
}

/// A member in a list: what every approved member may know of another.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct MemberItemView {
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    name: String,
    display_name: String,
    #[schema(value_type = vocabulary::MemberState)]
    state: MemberState,
    /// Null where the member is not the reader's own.
    #[schema(required)]
    contact_email: Option<String>,
    /// Null where the member is not the reader's own.
    #[schema(required)]
    created_at: Option<DateTime<Utc>>,
}

/// Names a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct MemberRef {
    #[schema(value_type = Uuid)]
    pub(crate) member_id: MemberId,
    pub(crate) name: String,
    pub(crate) display_name: String,
}

/// A member as the operator makes it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberInput {
    /// Lower-case letters, digits and hyphens; at most 40. It cannot change later.
    #[schema(example = "acme")]
    name: String,
    display_name: String,
    contact_email: String,
}

/// What of a member changes; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberPatch {
    #[serde(default)]
    #[schema(nullable = false)]
    display_name: Option<String>,
    #[serde(default)]
    #[schema(nullable = false)]
    contact_email: Option<String>,
    /// Only the operator changes it.
    #[serde(default)]
    #[schema(value_type = Option<vocabulary::MemberState>, nullable = false)]
    state: Option<MemberState>,
}

/// A provider that asks to join, and its first user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JoinInput {
    /// Lower-case letters, digits and hyphens; at most 40. It cannot change later.
    #[schema(example = "acme")]
    name: String,
    display_name: String,
    /// Also the address with which the first user signs in.
    contact_email: String,
    /// 12 to 256 characters.
    password: String,
}

/// The member that asks to join, and its first user.
#[derive(Serialize, ToSchema)]
pub(crate) struct JoinView {
    member: MemberView,
    user: UserView,
}

/// Which members to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MemberQuery {
    /// Only members in this state (operator).
    #[param(value_type = Option<vocabulary::MemberState>)]
    state: Option<MemberState>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Most items of the page.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// `POST /api/v1/join`: a provider asks to join; the operator must approve it.
#[utoipa::path(post, path = "/join", tag = "members", request_body = JoinInput, security(()),
    responses((status = 201, body = JoinView)))]
pub(crate) async fn join(
    State(_app): State<App>,
    Body(_input): Body<JoinInput>,
) -> Result<(StatusCode, Json<JoinView>), ApiError> {
    todo!()
}

/// `GET /api/v1/members`: every member for the operator; approved ones for an approved member, by name.
#[utoipa::path(get, path = "/members", tag = "members", params(MemberQuery),
    responses((status = 200, body = Page<MemberItemView>)))]
pub(crate) async fn list_members(
    State(_app): State<App>,
    _session: Session,
    Query(_query): Query<MemberQuery>,
) -> Result<Json<Page<MemberItemView>>, ApiError> {
    todo!()
}

/// `POST /api/v1/members`: the operator makes a member, approved at once.
#[utoipa::path(post, path = "/members", tag = "members", request_body = MemberInput,
    responses((status = 201, body = MemberView)))]
pub(crate) async fn create_member(
    State(_app): State<App>,
    _session: Session,
    Body(_input): Body<MemberInput>,
) -> Result<(StatusCode, Json<MemberView>), ApiError> {
    todo!()
}

/// `GET /api/v1/members/{member_id}`: one member.
#[utoipa::path(get, path = "/members/{member_id}", tag = "members", params(("member_id" = Uuid, Path)),
    responses((status = 200, body = MemberView)))]
pub(crate) async fn get_member(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
) -> Result<Json<MemberView>, ApiError> {
    todo!()
}

/// `PATCH /api/v1/members/{member_id}`: changes how it is shown and reached, and (operator) its state.
#[utoipa::path(patch, path = "/members/{member_id}", tag = "members", params(("member_id" = Uuid, Path)),
    request_body = MemberPatch, responses((status = 200, body = MemberView)))]
pub(crate) async fn update_member(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
    Body(_patch): Body<MemberPatch>,
) -> Result<Json<MemberView>, ApiError> {
    todo!()
}

//! The people who act for a member.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{MemberId, UserId};
use utoipa::ToSchema;

use crate::App;
use crate::page::{Page, PageQuery};
use crate::problem::ApiError;
use crate::request::{Body, Id, Query};
use crate::session::Session;

/// A person who signs in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserView {
    #[schema(value_type = Uuid)]
    pub(crate) user_id: UserId,
    /// The member it acts for; null for the operator's people.
    #[schema(required, value_type = Option<Uuid>)]
    pub(crate) member_id: Option<MemberId>,
    pub(crate) email: String,
    pub(crate) created_at: DateTime<Utc>,
    /// Since when it can no longer sign in.
    #[schema(required)]
    pub(crate) disabled_at: Option<DateTime<Utc>>,
}

/// A new user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserInput {
    email: String,
    /// 12 to 256 characters.
    password: String,
}

/// `GET /api/v1/members/{member_id}/users`: the people who act for the member.
#[utoipa::path(get, path = "/members/{member_id}/users", tag = "users", params(("member_id" = Uuid, Path), PageQuery),
    responses((status = 200, body = Page<UserView>)))]
pub(crate) async fn list_users(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
    Query(_page): Query<PageQuery>,
) -> Result<Json<Page<UserView>>, ApiError> {
    todo!()
}

/// `POST /api/v1/members/{member_id}/users`: one more person may act for the member.
#[utoipa::path(post, path = "/members/{member_id}/users", tag = "users", params(("member_id" = Uuid, Path)),
    request_body = UserInput, responses((status = 201, body = UserView)))]
pub(crate) async fn create_user(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
    Body(_input): Body<UserInput>,
) -> Result<(StatusCode, Json<UserView>), ApiError> {
    todo!()
}

/// `DELETE /api/v1/members/{member_id}/users/{user_id}`: the person can no longer sign in.
#[utoipa::path(delete, path = "/members/{member_id}/users/{user_id}", tag = "users",
    params(("member_id" = Uuid, Path), ("user_id" = Uuid, Path)), responses((status = 204, description = "disabled")))]
pub(crate) async fn disable_user(
    State(_app): State<App>,
    _session: Session,
    Id(_ids): Id<(MemberId, UserId)>,
) -> Result<StatusCode, ApiError> {
    todo!()
}

//! todo

use axum::Json;
use axum::extract::FromRequestParts;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tandem_model::UserId;
use utoipa::ToSchema;

use crate::App;
use crate::member::MemberView;
use crate::problem::ApiError;
use crate::request::Body;

pub(crate) const COOKIE: &str = "tandem_session";

pub(crate) struct Session;

impl FromRequestParts<App> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(_: &mut Parts, _: &App) -> Result<Self, ApiError> {
        todo!()
    }
}

/// What signs a person in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionInput {
    /// The address that the user was made with.
    email: String,
    password: String,
}

/// For whom a session or token acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// For the exchange's operator: sees every member.
    Operator,
    /// For one member.
    Member,
}

/// The person who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionUserView {
    #[schema(value_type = Uuid)]
    user_id: UserId,
    email: String,
}

/// Who is asking, and for whom.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// The person; null where a token asks.
    #[schema(required)]
    user: Option<SessionUserView>,
    role: Role,
    /// The member it acts for; null for the operator.
    #[schema(required)]
    member: Option<MemberView>,
}

/// `POST /api/v1/session`: signs a person in and sets the cookie.
#[utoipa::path(post, path = "/session", tag = "session", request_body = SessionInput, security(()),
    responses((status = 200, body = SessionView)))]
pub(crate) async fn create_session(
    State(_app): State<App>,
    Body(_input): Body<SessionInput>,
) -> Result<Response, ApiError> {
    todo!()
}

/// `GET /api/v1/session`: who is asking, and for whom.
#[utoipa::path(get, path = "/session", tag = "session", responses((status = 200, body = SessionView)))]
pub(crate) async fn get_session(
    State(_app): State<App>,
    _session: Session,
) -> Result<Json<SessionView>, ApiError> {
    todo!()
}

/// `DELETE /api/v1/session`: signs out; the cookie is worth nothing afterwards.
#[utoipa::path(delete, path = "/session", tag = "session", responses((status = 204, description = "signed out")))]
pub(crate) async fn delete_session(
    State(_app): State<App>,
    _session: Session,
) -> Result<StatusCode, ApiError> {
    todo!()
}

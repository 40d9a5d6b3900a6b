//! Bearer tokens of programs.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{ApiTokenId, MemberId};
use utoipa::ToSchema;

use crate::App;
use crate::page::{Page, PageQuery};
use crate::problem::ApiError;
use crate::request::{Body, Id, Query};
use crate::session::Session;

/// A program's bearer token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenView {
    #[schema(value_type = Uuid)]
    api_token_id: ApiTokenId,
    /// The member it acts for; null for the operator.
    #[schema(required, value_type = Option<Uuid>)]
    member_id: Option<MemberId>,
    name: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// Written at most once a minute.
    #[schema(required)]
    last_used_at: Option<DateTime<Utc>>,
    #[schema(required)]
    revoked_at: Option<DateTime<Utc>>,
}

/// A token just made: the only time that its secret is shown.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewTokenView {
    /// What to send after `Authorization: Bearer`. The exchange keeps only its hash.
    #[schema(example = "tdm_…")]
    token: String,
    #[serde(flatten)]
    view: TokenView,
}

/// A new token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenInput {
    name: String,
    /// At most one year ahead.
    expires_at: DateTime<Utc>,
    /// The member it acts for. The operator may name one; a member's token is always its own.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    member_id: Option<MemberId>,
}

/// `GET /api/v1/tokens`: the tokens of the member, or every token for the operator.
#[utoipa::path(get, path = "/tokens", tag = "tokens", params(PageQuery), responses((status = 200, body = Page<TokenView>)))]
pub(crate) async fn list_tokens(
    State(_app): State<App>,
    _session: Session,
    Query(_page): Query<PageQuery>,
) -> Result<Json<Page<TokenView>>, ApiError> {
    todo!()
}

/// `POST /api/v1/tokens`: makes a token and shows it this once.
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = TokenInput, responses((status = 201, body = NewTokenView)))]
pub(crate) async fn create_token(
    State(_app): State<App>,
    _session: Session,
    Body(_input): Body<TokenInput>,
) -> Result<(StatusCode, Json<NewTokenView>), ApiError> {
    todo!()
}

/// `DELETE /api/v1/tokens/{api_token_id}`: the token is worth nothing from now on.
#[utoipa::path(delete, path = "/tokens/{api_token_id}", tag = "tokens", params(("api_token_id" = Uuid, Path)),
    responses((status = 204, description = "revoked")))]
pub(crate) async fn revoke_token(
    State(_app): State<App>,
    _session: Session,
    Id(_token): Id<ApiTokenId>,
) -> Result<StatusCode, ApiError> {
    todo!()
}

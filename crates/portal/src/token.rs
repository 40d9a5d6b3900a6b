//! Bearer tokens of programs.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{ApiTokenId, MemberId, Reason};
use tandem_store::{api_token, member};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::page::{Page, PageQuery};
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id, Query};
use crate::secret::Secret;
use crate::session::{Change, Session};
use crate::text;

/// Longest life of a token. A leap year has its last day too.
const LONGEST: TimeDelta = TimeDelta::days(366);

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

impl From<api_token::ApiToken> for TokenView {
    fn from(token: api_token::ApiToken) -> Self {
        Self {
            api_token_id: token.api_token_id,
            member_id: token.member_id,
            name: token.name,
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
            revoked_at: token.revoked_at,
        }
    }
}

/// `GET /api/v1/tokens`: the tokens of the member, or every token for the operator.
#[utoipa::path(get, path = "/tokens", tag = "tokens", params(PageQuery),
    responses((status = 200, body = Page<TokenView>)))]
pub(crate) async fn list_tokens(
    State(app): State<App>,
    session: Session,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<TokenView>>, ApiError> {
    let place = query.read::<Uuid>()?;
    let tokens = api_token::list(&app.db, session.member, place.after.map(ApiTokenId), place.reads()).await?;
    Ok(Json(place.page(tokens, |it| it.api_token_id.0, TokenView::from)))
}

/// `POST /api/v1/tokens`: makes a token and shows it this once.
///
/// A token that makes another cannot make one that outlives it.
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = TokenInput,
    responses((status = 201, body = NewTokenView)))]
pub(crate) async fn create_token(
    State(app): State<App>,
    session: Session,
    Body(input): Body<TokenInput>,
) -> Result<(StatusCode, Json<NewTokenView>), ApiError> {
    let member = match (session.member, input.member_id) {
        (Some(own), Some(other)) if own != other => return Err(ApiError::new(Reason::NotFound)),
        (own, named) => own.or(named),
    };
    let now = app.clock.now();
    let mut faults = Faults::default();
    let name = text::line(&mut faults, "name", &input.name, 1, 80);
    if input.expires_at <= now || input.expires_at > now + LONGEST {
        faults.note("expires_at", "write a time from now to one year ahead");
    } else if session.api_token_id().is_some() && input.expires_at > session.expires_at {
        faults.note(
            "expires_at",
            format!("this token ends at {}; sign in to make a longer one", session.expires_at),
        );
    }
    let name = faults.hold(name)?;
    if let Some(member) = member
        && member::get(&app.db, member).await?.is_none()
    {
        return Err(ApiError::field("member_id", "there is no such member"));
    }

    let (secret, mut transaction) = (Secret::new_token(&app.entropy), app.db.begin().await?);
    let new = api_token::NewApiToken {
        member_id: member,
        name: &name,
        hash: secret.hash,
        created_by: session.user_id(),
        expires_at: input.expires_at,
    };
    let view: TokenView = api_token::insert(&mut *transaction, &new, now).await?.into();
    let change = Change::of("token.create", member, view.api_token_id.0, None, Some(&view));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(NewTokenView { token: secret.text, view })))
}

/// `DELETE /api/v1/tokens/{api_token_id}`: the token is worth nothing from now on.
#[utoipa::path(delete, path = "/tokens/{api_token_id}", tag = "tokens", params(("api_token_id" = Uuid, Path)),
    responses((status = 204, description = "revoked")))]
pub(crate) async fn revoke_token(
    State(app): State<App>,
    session: Session,
    Id(token): Id<ApiTokenId>,
) -> Result<StatusCode, ApiError> {
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let revoked = api_token::revoke(&mut *transaction, session.member, token, now).await?;
    let after: TokenView = revoked.ok_or_else(|| ApiError::new(Reason::NotFound))?.into();
    let change = Change::of("token.revoke", after.member_id, token.0, None, Some(&after));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

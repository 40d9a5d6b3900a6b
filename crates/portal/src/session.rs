//! Who is asking: a person with a cookie or a program with a token, for one member or for the operator.

use std::net::IpAddr;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, OptionalFromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{ApiTokenId, MemberId, Reason, UserId};
use tandem_store::audit::{self, NewAuditEntry};
use tandem_store::{PgConnection, api_token, member, session, user};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::{App, AppState};
use crate::member::MemberView;
use crate::origin;
use crate::problem::ApiError;
use crate::request::Body;
use crate::secret::{self, Secret, TOKEN_PREFIX};
use crate::throttle::Key;

/// The cookie of a signed-in browser.
pub(crate) const COOKIE: &str = "tandem_session";

/// The header that a browser's page sends with a change, and another site's page cannot.
pub(crate) const CSRF_HEADER: &str = "x-tandem-csrf";

/// A session that was not used for so long is over.
pub(crate) const IDLE: TimeDelta = TimeDelta::hours(12);

/// A session is over after so long, used or not.
const LONGEST: TimeDelta = TimeDelta::days(7);

/// How often the use of a session or token is noted in the database.
const NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);

/// Most octets of a password that is looked at.
const MAX_PASSWORD: usize = 1024;

/// Who is asking, and for whom.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    user: Option<(UserId, String)>,
    api_token: Option<ApiTokenId>,
    /// The member it acts for; `None` for the operator.
    pub(crate) member: Option<MemberId>,
    /// When it ends, used or not.
    pub(crate) expires_at: DateTime<Utc>,
    cookie_hash: Option<[u8; 32]>,
    token_hash: Option<[u8; 32]>,
    source: Option<IpAddr>,
}

impl Session {
    /// The one that stands for a person who has just been made and is not signed in yet.
    pub(crate) fn of_new_user(user: &user::User, source: Option<IpAddr>, now: DateTime<Utc>) -> Self {
        Self {
            user: Some((user.user_id, user.email.clone())),
            api_token: None,
            member: user.member_id,
            expires_at: now,
            cookie_hash: None,
            token_hash: None,
            source,
        }
    }

    /// Whether it acts for the operator.
    pub(crate) fn is_operator(&self) -> bool {
        self.member.is_none()
    }

    /// What concerns another member is not there.
    pub(crate) fn may_read(&self, member: MemberId) -> Result<(), ApiError> {
        match self.member {
            Some(own) if own != member => Err(ApiError::new(Reason::NotFound)),
            _ => Ok(()),
        }
    }

    /// Who may read what concerns a member may change it, for now.
    pub(crate) fn may_change(&self, member: MemberId) -> Result<(), ApiError> {
        self.may_read(member)
    }

    /// Only the operator may.
    pub(crate) fn must_be_operator(&self) -> Result<(), ApiError> {
        if self.is_operator() {
            return Ok(());
        }
        Err(ApiError::new(Reason::Forbidden).detail("Only the operator of the exchange may do this."))
    }

    /// Whether the session or token is still good, for an answer that goes on. While the database does not say, it is
    /// until it would end.
    pub(crate) async fn still_holds(&self, app: &AppState) -> bool {
        let now = app.clock.now();
        let found = match (&self.token_hash, &self.cookie_hash) {
            (Some(hash), _) => api_token::find(&app.db, hash, now).await.map(|found| found.is_some()),
            (None, Some(hash)) => session::find(&app.db, hash, now, IDLE).await.map(|found| found.is_some()),
            (None, None) => Ok(false),
        };
        now < self.expires_at && found.unwrap_or(true)
    }

    /// The person, where one asks.
    pub(crate) fn user_id(&self) -> Option<UserId> {
        self.user.as_ref().map(|(id, _)| *id)
    }

    /// The token, where a program asks.
    pub(crate) fn api_token_id(&self) -> Option<ApiTokenId> {
        self.api_token
    }

    /// Writes a change into the audit log, in the transaction that makes it.
    pub(crate) async fn record(
        &self,
        db: &mut PgConnection,
        at: DateTime<Utc>,
        change: Change<'_>,
    ) -> Result<(), ApiError> {
        let entry = NewAuditEntry {
            at,
            user: self.user_id(),
            api_token: self.api_token,
            member: change.member,
            action: change.action,
            object_kind: change.action.split('.').next().unwrap_or(change.action),
            object_id: change.object_id,
            before: change.before,
            after: change.after,
            source: self.source,
        };
        Ok(audit::append(db, &entry).await?)
    }
}

/// A change, as the audit log keeps it.
pub(crate) struct Change<'a> {
    /// The kind of the object, a dot, and what was done.
    pub(crate) action: &'a str,
    /// The member that it concerns.
    pub(crate) member: Option<MemberId>,
    pub(crate) object_id: Option<Uuid>,
    /// The object's view before; never with a secret in it.
    pub(crate) before: Option<serde_json::Value>,
    /// The object's view after.
    pub(crate) after: Option<serde_json::Value>,
}

impl<'a> Change<'a> {
    /// A change of an object from one view to another.
    pub(crate) fn of<V: Serialize>(
        action: &'a str,
        member: Option<MemberId>,
        id: Uuid,
        before: Option<&V>,
        after: Option<&V>,
    ) -> Self {
        let json = |view: &V| serde_json::to_value(view).expect("a view is JSON");
        Self { action, member, object_id: Some(id), before: before.map(json), after: after.map(json) }
    }
}

impl FromRequestParts<App> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let source = origin::client_address(parts, &app.settings.proxies);
        if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
            return by_token(app, value, source).await;
        }
        let cookie = cookie_hash(&parts.headers).ok_or_else(|| ApiError::new(Reason::Unauthenticated))?;
        let session = by_cookie(app, cookie, source).await?;
        if !parts.method.is_safe() {
            check_csrf(&parts.headers, app)?;
        }
        Ok(session)
    }
}

impl OptionalFromRequestParts<App> for Session {
    type Rejection = ApiError;

    /// `None` where there is no token: a browser's cookie counts for nothing where no session is needed. A
    /// token that is no good is refused all the same.
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>, ApiError> {
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Ok(None);
        }
        <Self as FromRequestParts<App>>::from_request_parts(parts, app).await.map(Some)
    }
}

async fn by_token(app: &AppState, value: &HeaderValue, source: Option<IpAddr>) -> Result<Session, ApiError> {
    let text = value.to_str().ok().and_then(|value| value.split_once(' '));
    let token = match text {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && token.starts_with(TOKEN_PREFIX) => {
            token
        }
        _ => return Err(ApiError::new(Reason::Unauthenticated)),
    };
    let now = app.clock.now();
    let token_hash = secret::hash(token.trim());
    let found = api_token::find(&app.db, &token_hash, now).await?;
    let token = found.ok_or_else(|| ApiError::new(Reason::Unauthenticated))?;
    if token.last_used_at.is_none_or(|at| at + NOTED_EVERY <= now) {
        api_token::touch(&app.db, token.api_token_id, now).await?;
    }
    Ok(Session {
        user: None,
        api_token: Some(token.api_token_id),
        member: token.member_id,
        expires_at: token.expires_at,
        cookie_hash: None,
        token_hash: Some(token_hash),
        source,
    })
}

async fn by_cookie(app: &AppState, hash: [u8; 32], source: Option<IpAddr>) -> Result<Session, ApiError> {
    let now = app.clock.now();
    let found = session::find(&app.db, &hash, now, IDLE).await?;
    let user = found.ok_or_else(|| ApiError::new(Reason::Unauthenticated))?;
    if user.last_seen_at + NOTED_EVERY <= now {
        session::touch(&app.db, &hash, now).await?;
    }
    Ok(Session {
        user: Some((user.user_id, user.email)),
        api_token: None,
        member: user.member_id,
        expires_at: user.expires_at,
        cookie_hash: Some(hash),
        token_hash: None,
        source,
    })
}

fn check_csrf(headers: &HeaderMap, app: &AppState) -> Result<(), ApiError> {
    if headers.get(CSRF_HEADER).is_none_or(|value| value != "1") {
        return Err(ApiError::new(Reason::Forbidden)
            .detail(format!("A change that is signed in by a cookie needs the header {CSRF_HEADER}: 1.")));
    }
    origin::check_same_origin(headers, &app.settings)
}

/// The hash of the session cookie that a request carries.
fn cookie_hash(headers: &HeaderMap) -> Option<[u8; 32]> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut cookies =
        lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    cookies.find(|(name, _)| *name == COOKIE).map(|(_, text)| secret::hash(text))
}

fn set_cookie(text: &str, max_age: TimeDelta, app: &AppState) -> HeaderValue {
    let secure = if app.settings.is_https() { "; Secure" } else { "" };
    let max_age = max_age.num_seconds();
    HeaderValue::try_from(format!(
        "{COOKIE}={text}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}"
    ))
    .expect("a secret is hexadecimal")
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

impl SessionView {
    async fn of(
        app: &AppState,
        user: Option<(UserId, String)>,
        member: Option<MemberId>,
    ) -> Result<Self, ApiError> {
        let role = if member.is_none() { Role::Operator } else { Role::Member };
        let member = match member {
            Some(id) => member::get(&app.db, id).await?.map(MemberView::from),
            None => None,
        };
        Ok(Self { user: user.map(|(user_id, email)| SessionUserView { user_id, email }), role, member })
    }
}

/// Where an application or a log-in comes from, and that it is not another site's.
pub(crate) struct Visitor {
    /// The address of the client, where it is known.
    pub(crate) source: Option<IpAddr>,
    cookie_hash: Option<[u8; 32]>,
}

impl FromRequestParts<App> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        origin::check_same_origin(&parts.headers, &app.settings)?;
        Ok(Self {
            source: origin::client_address(parts, &app.settings.proxies),
            cookie_hash: cookie_hash(&parts.headers),
        })
    }
}

/// The refusal of who must wait.
pub(crate) fn must_wait(wait: Duration) -> ApiError {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    ApiError::new(Reason::TooManyRequests).retry_after_s(seconds)
}

/// `POST /api/v1/session`: signs a person in and sets the cookie.
///
/// The answer to an unknown address and to a wrong password is the same, and takes as long.
#[utoipa::path(post, path = "/session", tag = "session", request_body = SessionInput, security(()),
    responses((status = 200, body = SessionView)))]
pub(crate) async fn create_session(
    State(app): State<App>,
    visitor: Visitor,
    Body(input): Body<SessionInput>,
) -> Result<Response, ApiError> {
    let email = input.email.trim().to_lowercase();
    let mut keys = vec![Key::Account(secret::hash(&email))];
    keys.extend(visitor.source.map(Key::address));
    app.throttle.attempt(&keys, app.clock.instant()).map_err(must_wait)?;

    let found = if email.contains('\0') { None } else { user::credentials(&app.db, &email).await? };
    let hash = found.as_ref().map(|found| found.password_hash.clone());
    let password = if input.password.len() <= MAX_PASSWORD { input.password } else { String::new() };
    let matches = app.hashing.verify(password, hash).await?;
    let (Some(found), true) = (found, matches) else {
        return Err(
            ApiError::new(Reason::Unauthenticated).detail("The e-mail address or the password is wrong.")
        );
    };
    app.throttle.forgive(&keys, app.clock.instant());

    let (now, cookie) = (app.clock.now(), Secret::new_cookie(&app.entropy));
    if let Some(old) = visitor.cookie_hash {
        session::delete(&app.db, &old).await?;
    }
    session::insert(&app.db, &cookie.hash, found.user_id, now, now + LONGEST).await?;
    let view = SessionView::of(&app, Some((found.user_id, email)), found.member_id).await?;
    Ok(([(header::SET_COOKIE, set_cookie(&cookie.text, LONGEST, &app))], Json(view)).into_response())
}

/// `GET /api/v1/session`: who is asking, and for whom.
#[utoipa::path(get, path = "/session", tag = "session", responses((status = 200, body = SessionView)))]
pub(crate) async fn get_session(
    State(app): State<App>,
    session: Session,
) -> Result<Json<SessionView>, ApiError> {
    let member = session.member;
    SessionView::of(&app, session.user, member).await.map(Json)
}

/// `DELETE /api/v1/session`: signs out; the cookie is worth nothing afterwards.
#[utoipa::path(delete, path = "/session", tag = "session",
    responses((status = 204, description = "signed out")))]
pub(crate) async fn delete_session(State(app): State<App>, session: Session) -> Result<Response, ApiError> {
    if let Some(hash) = session.cookie_hash {
        session::delete(&app.db, &hash).await?;
    }
    let gone = set_cookie("", TimeDelta::zero(), &app);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

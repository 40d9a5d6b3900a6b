//! The people who act for a member.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{MemberId, Reason, UserId};
use tandem_store::{session, user};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::page::{Page, PageQuery};
use crate::password;
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id, Query};
use crate::session::{Change, Session};
use crate::text;

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

impl From<user::User> for UserView {
    fn from(user: user::User) -> Self {
        Self {
            user_id: user.user_id,
            member_id: user.member_id,
            email: user.email,
            created_at: user.created_at,
            disabled_at: user.disabled_at,
        }
    }
}

/// `GET /api/v1/members/{member_id}/users`: the people who act for the member.
#[utoipa::path(get, path = "/members/{member_id}/users", tag = "users",
    params(("member_id" = Uuid, Path), PageQuery), responses((status = 200, body = Page<UserView>)))]
pub(crate) async fn list_users(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<UserView>>, ApiError> {
    session.may_read(member)?;
    let place = query.read::<Uuid>()?;
    let users = user::list(&app.db, member, place.after.map(UserId), place.reads()).await?;
    Ok(Json(place.page(users, |it| it.user_id.0, UserView::from)))
}

/// `POST /api/v1/members/{member_id}/users`: one more person may act for the member.
#[utoipa::path(post, path = "/members/{member_id}/users", tag = "users", params(("member_id" = Uuid, Path)),
    request_body = UserInput, responses((status = 201, body = UserView)))]
pub(crate) async fn create_user(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Body(input): Body<UserInput>,
) -> Result<(StatusCode, Json<UserView>), ApiError> {
    session.may_change(member)?;
    let mut faults = Faults::default();
    let email = text::email(&mut faults, "email", &input.email);
    password::check(&mut faults, &input.password, &input.email);
    let email = faults.hold(email)?;
    let password_hash = app.hashing.hash(input.password, &app.entropy).await?;

    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let view: UserView =
        user::insert(&mut *transaction, Some(member), &email, &password_hash, now).await?.into();
    let change = Change::of("user.create", Some(member), view.user_id.0, None, Some(&view));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// `DELETE /api/v1/members/{member_id}/users/{user_id}`: the person can no longer sign in, and is signed out.
#[utoipa::path(delete, path = "/members/{member_id}/users/{user_id}", tag = "users",
    params(("member_id" = Uuid, Path), ("user_id" = Uuid, Path)),
    responses((status = 204, description = "disabled")))]
pub(crate) async fn disable_user(
    State(app): State<App>,
    session: Session,
    Id((member, user)): Id<(MemberId, UserId)>,
) -> Result<StatusCode, ApiError> {
    session.may_change(member)?;
    if session.user_id() == Some(user) {
        return Err(
            ApiError::new(Reason::Conflict).detail("Nobody disables the account that they are using.")
        );
    }
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let missing = || ApiError::new(Reason::NotFound);
    let before: UserView = user::get(&mut *transaction, member, user).await?.ok_or_else(missing)?.into();
    if user::disable(&mut *transaction, member, user, now).await? {
        session::delete_of_user(&mut *transaction, user).await?;
        let after = user::get(&mut *transaction, member, user).await?.map(UserView::from);
        let change = Change::of("user.disable", Some(member), user.0, Some(&before), after.as_ref());
        session.record(&mut transaction, now, change).await?;
    }
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

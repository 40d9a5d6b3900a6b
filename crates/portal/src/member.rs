//! Members: who is on the exchange, who asks to join, and what the operator decides about them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{MemberId, MemberState, Reason};

use tandem_store::{member, user};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::call_limits;
use crate::page::{Page, Place};
use crate::password;
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id, Query};
use crate::session::{Change, Session, Visitor, must_wait};
use crate::text;
use crate::throttle::Key;
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
    /// Most calls up at once, in both directions together; no bound where it is null.
    #[schema(required)]
    max_calls: Option<u32>,
    /// Most new calls a second from it; no bound where it is null.
    #[schema(required)]
    max_calls_per_second: Option<u32>,
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
    /// Most calls up at once, in both directions together; null for no bound. Only the operator changes it.
    #[serde(default, deserialize_with = "call_limits::present")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    max_calls: Option<Option<u32>>,
    /// Most new calls a second from it; null for no bound. Only the operator changes it.
    #[serde(default, deserialize_with = "call_limits::present")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    max_calls_per_second: Option<Option<u32>>,
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

impl From<member::Member> for MemberView {
    fn from(member: member::Member) -> Self {
        Self {
            member_id: member.member_id,
            name: member.name,
            display_name: member.display_name,
            contact_email: member.contact_email,
            state: member.state,
            created_at: member.created_at,
            max_calls: member.limits.max_calls,
            max_calls_per_second: member.limits.max_calls_per_second,
        }
    }
}

impl MemberItemView {
    /// A member as someone sees it: all of it, or what others may know.
    fn of(member: member::Member, sees_all: bool) -> Self {
        Self {
            member_id: member.member_id,
            name: member.name,
            display_name: member.display_name,
            state: member.state,
            contact_email: sees_all.then_some(member.contact_email),
            created_at: sees_all.then_some(member.created_at),
        }
    }
}

impl From<member::MemberName> for MemberRef {
    fn from(name: member::MemberName) -> Self {
        Self { member_id: name.member_id, name: name.name, display_name: name.display_name }
    }
}

/// What a member is called and how it is reached, once looked at.
struct Description {
    name: String,
    display_name: String,
    contact_email: String,
}

impl Description {
    fn read(faults: &mut Faults, name: &str, display_name: &str, contact_email: &str) -> Option<Self> {
        let name = text::name(faults, "name", name, "-", 40);
        let display_name = text::line(faults, "display_name", display_name, 1, 120);
        let contact_email = text::email(faults, "contact_email", contact_email);
        Some(Self { name: name?, display_name: display_name?, contact_email: contact_email? })
    }

    fn as_new(&self, state: MemberState) -> member::NewMember<'_> {
        let Self { name, display_name, contact_email } = self;
        member::NewMember { name, display_name, contact_email, state }
    }
}

/// Which members to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MemberQuery {
    /// Only members in this state.
    #[param(value_type = Option<vocabulary::MemberState>)]
    state: Option<MemberState>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Most items of the page; 50 where it is not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// `POST /api/v1/join`: a provider asks to join; the operator must approve it.
#[utoipa::path(post, path = "/join", tag = "members", request_body = JoinInput, security(()),
    responses((status = 201, body = JoinView)))]
pub(crate) async fn join(
    State(app): State<App>,
    visitor: Visitor,
    session: Option<Session>,
    Body(input): Body<JoinInput>,
) -> Result<(StatusCode, Json<JoinView>), ApiError> {
    let mut faults = Faults::default();
    let described = Description::read(&mut faults, &input.name, &input.display_name, &input.contact_email);
    password::check(&mut faults, &input.password, &input.contact_email);
    let described = faults.hold(described)?;
    // An operator's program that brings in many need not wait.
    let by_operator = session.as_ref().is_some_and(Session::is_operator);
    if let (Some(source), false) = (visitor.source, by_operator) {
        app.throttle.attempt(&[Key::join(source)], app.clock.instant()).map_err(must_wait)?;
    }
    let password_hash = app.hashing.hash(input.password, &app.entropy).await?;

    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let member = member::insert(&mut *transaction, &described.as_new(MemberState::Applied), now).await?;
    let (id, email) = (member.member_id, &described.contact_email);
    let user = user::insert(&mut *transaction, Some(id), email, &password_hash, now).await?;
    let session = session.unwrap_or_else(|| Session::of_new_user(&user, visitor.source, now));
    let view = JoinView { member: member.into(), user: user.into() };
    let change = Change::of("member.apply", Some(id), id.0, None, Some(&view));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// `GET /api/v1/members`: every member for the operator; itself and approved ones for an approved member.
#[utoipa::path(get, path = "/members", tag = "members", params(MemberQuery),
    responses((status = 200, body = Page<MemberItemView>)))]
pub(crate) async fn list_members(
    State(app): State<App>,
    session: Session,
    Query(query): Query<MemberQuery>,
) -> Result<Json<Page<MemberItemView>>, ApiError> {
    let place: Place<Uuid> = Place::read(query.cursor.as_deref(), query.limit)?;
    let Some(own) = session.member else {
        let members = member::list(&app.db, query.state, place.after.map(MemberId), place.reads()).await?;
        return Ok(Json(place.page(members, |it| it.member_id.0, |it| MemberItemView::of(it, true))));
    };
    // Who is not approved learns nobody's name.
    let itself = member::get(&app.db, own).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let members = if itself.state != MemberState::Approved {
        let first = place.after.is_none() && query.state.is_none_or(|state| state == itself.state);
        if first { vec![itself] } else { Vec::new() }
    } else if query.state.is_none_or(|state| state == MemberState::Approved) {
        member::list(&app.db, Some(MemberState::Approved), place.after.map(MemberId), place.reads()).await?
    } else {
        Vec::new()
    };
    Ok(Json(place.page(
        members,
        |it| it.member_id.0,
        |it| {
            let sees_all = it.member_id == own;
            MemberItemView::of(it, sees_all)
        },
    )))
}

/// `POST /api/v1/members`: the operator makes a member, approved at once.
#[utoipa::path(post, path = "/members", tag = "members", request_body = MemberInput,
    responses((status = 201, body = MemberView)))]
pub(crate) async fn create_member(
    State(app): State<App>,
    session: Session,
    Body(input): Body<MemberInput>,
) -> Result<(StatusCode, Json<MemberView>), ApiError> {
    session.must_be_operator()?;
    let mut faults = Faults::default();
    let described = Description::read(&mut faults, &input.name, &input.display_name, &input.contact_email);
    let described = faults.hold(described)?;

    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let view: MemberView =
        member::insert(&mut *transaction, &described.as_new(MemberState::Approved), now).await?.into();
    let id = view.member_id;
    session
        .record(&mut transaction, now, Change::of("member.create", Some(id), id.0, None, Some(&view)))
        .await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// `GET /api/v1/members/{member_id}`: one member.
#[utoipa::path(get, path = "/members/{member_id}", tag = "members", params(("member_id" = Uuid, Path)),
    responses((status = 200, body = MemberView)))]
pub(crate) async fn get_member(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
) -> Result<Json<MemberView>, ApiError> {
    session.may_read(member)?;
    let found = member::get(&app.db, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    Ok(Json(found.into()))
}

/// `PATCH /api/v1/members/{member_id}`: changes how it is shown and reached, and (operator) its state and limits.
#[utoipa::path(patch, path = "/members/{member_id}", tag = "members", params(("member_id" = Uuid, Path)),
    request_body = MemberPatch, responses((status = 200, body = MemberView)))]
pub(crate) async fn update_member(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Body(patch): Body<MemberPatch>,
) -> Result<Json<MemberView>, ApiError> {
    session.may_change(member)?;
    if patch.state.is_some() || patch.max_calls.is_some() || patch.max_calls_per_second.is_some() {
        session.must_be_operator()?;
    }
    let mut faults = Faults::default();
    let display_name = patch.display_name.and_then(|it| text::line(&mut faults, "display_name", &it, 1, 120));
    let contact_email = patch.contact_email.and_then(|it| text::email(&mut faults, "contact_email", &it));
    if patch.state == Some(MemberState::Applied) {
        faults.note("state", "a member applies once; approve or suspend it");
    }
    call_limits::read(&mut faults, patch.max_calls.flatten(), patch.max_calls_per_second.flatten());
    faults.check()?;

    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let mut stored =
        member::lock(&mut *transaction, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let before = MemberView::from(stored.clone());
    stored.display_name = display_name.unwrap_or(stored.display_name);
    stored.contact_email = contact_email.unwrap_or(stored.contact_email);
    stored.state = patch.state.unwrap_or(stored.state);
    stored.limits.max_calls = patch.max_calls.unwrap_or(stored.limits.max_calls);
    stored.limits.max_calls_per_second =
        patch.max_calls_per_second.unwrap_or(stored.limits.max_calls_per_second);
    member::update(&mut *transaction, &stored).await?;
    let after = MemberView::from(stored);
    let change = Change::of("member.update", Some(member), member.0, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(Json(after))
}

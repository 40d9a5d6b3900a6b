//! Change sets: several changes of a member's announcements, planned before they are made, approved by a second person
//! where they move much, applied together at once or at a time, and rolled back together.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{ChangeSetId, MemberId, Prefix, Reason};
use tandem_store::change_set::{
    self, ChangeSet, ChangeSetFilter, ChangeSetState, Item, ItemAction, NewChangeSet,
};
use tandem_store::{PgConnection, Transaction, endpoint, member};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::announcement::EndpointNames;
use crate::app::{App, AppState};
use crate::bulk::{BulkMode, BulkRow, Input};
use crate::change_application::{self, Actor};
use crate::change_plan::{ChangePlan, PlanView};
use crate::endpoint::EndpointRef;
use crate::page::{Page, PageQuery};
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id, Query};
use crate::session::{Change, Session};
use crate::text;
use crate::vocabulary;
use crate::wish::Wish;

/// Most prefixes of a change set; more at once are the matter of an upload.
const MAX_ITEMS: usize = 10_000;

/// Most prefixes that are shown of one.
const MAX_SHOWN: i64 = 500;

/// Longest wait of a change set for its time.
const LONGEST_WAIT: TimeDelta = TimeDelta::days(90);

/// What a change set does with one prefix.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ChangeItemView {
    #[schema(value_type = vocabulary::ItemAction)]
    action: ItemAction,
    #[schema(value_type = String, example = "+44207946")]
    prefix: Prefix,
    /// The endpoints that are to take the calls; none where it is withdrawn.
    endpoints: Vec<EndpointRef>,
}

/// Changes of a member's announcements that take effect together.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ChangeSetView {
    #[schema(value_type = Uuid)]
    change_set_id: ChangeSetId,
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    member_name: String,
    /// What it is for.
    note: String,
    #[schema(value_type = vocabulary::ChangeSetState)]
    state: ChangeSetState,
    /// Who wrote it: an address, the name of a token, or "operator".
    author: String,
    created_at: DateTime<Utc>,
    /// How many prefixes it names.
    items: u32,
    /// The first 500 of them; in a list, none.
    changes: Vec<ChangeItemView>,
    /// What it was last found to change, and once it is applied what it changed; null before it is planned.
    #[schema(required)]
    plan: Option<PlanView>,
    /// Whether somebody's approval covers the plan.
    approved: bool,
    #[schema(required)]
    approved_by: Option<String>,
    #[schema(required)]
    approved_at: Option<DateTime<Utc>>,
    /// When it is to take effect; null where that is when it is applied.
    #[schema(required)]
    apply_at: Option<DateTime<Utc>>,
    #[schema(required)]
    applied_at: Option<DateTime<Utc>>,
    #[schema(required)]
    rolled_back_at: Option<DateTime<Utc>>,
    /// When it was cancelled or failed.
    #[schema(required)]
    ended_at: Option<DateTime<Utc>>,
    /// Why it failed when its time came.
    #[schema(required, value_type = Option<vocabulary::ReasonCode>)]
    failure: Option<Reason>,
}

/// What to change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeSetInput {
    /// What it is for.
    #[serde(default)]
    #[schema(max_length = 2000)]
    note: String,
    /// What is announced, until further notice, on the endpoints named: prefixes that are new, and those that change their
    /// endpoints. At most 10,000 together with `withdraw`.
    #[serde(default)]
    #[schema(max_items = 10_000)]
    announcements: Vec<BulkRow>,
    /// Prefixes that are withdrawn.
    #[serde(default)]
    #[schema(max_items = 10_000)]
    withdraw: Vec<String>,
}

/// When to apply a change set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplyInput {
    /// At once where it is left out or null; at most 90 days ahead.
    #[serde(default)]
    at: Option<DateTime<Utc>>,
}

/// The plan of a change set, as far as this program can still read it.
pub(crate) fn plan_of(plan: Option<&serde_json::Value>) -> Option<PlanView> {
    plan.and_then(|plan| serde_json::from_value(plan.clone()).ok())
}

impl ChangeSetView {
    fn of(set: ChangeSet, changes: Vec<ChangeItemView>, session: &Session) -> Self {
        let hides = |is_operators: bool| is_operators && !session.is_operator();
        let plan = plan_of(set.plan.as_ref());
        let approved = plan.as_ref().is_some_and(|plan| change_application::is_approved(&set, plan));
        Self {
            change_set_id: set.change_set_id,
            member_id: set.member_id,
            member_name: set.member_name,
            note: set.note,
            state: set.state,
            author: if hides(set.is_operators) { "operator".to_owned() } else { set.author_name },
            created_at: set.created_at,
            items: set.items,
            changes,
            plan: plan.map(|plan| plan.seen_by(session.member)),
            approved,
            approved_by: match set.approved_by {
                Some(_) if hides(set.is_approved_by_operator) => Some("operator".to_owned()),
                by => by,
            },
            approved_at: set.approved_at,
            apply_at: set.apply_at,
            applied_at: set.applied_at,
            rolled_back_at: set.rolled_back_at,
            ended_at: set.ended_at,
            failure: set.failure.as_deref().and_then(Reason::from_code),
        }
    }

    async fn read(
        db: &mut PgConnection,
        session: &Session,
        member: MemberId,
        id: ChangeSetId,
    ) -> Result<Self, ApiError> {
        let set = find(&mut *db, member, id).await?;
        let items = change_set::items(&mut *db, id, MAX_SHOWN).await?;
        let names = endpoint::names_of_member(&mut *db, member).await?;
        let endpoint = |id| EndpointRef {
            endpoint_id: id,
            name: names
                .iter()
                .find(|it| it.endpoint_id == id)
                .map_or_else(|| id.to_string(), |it| it.name.clone()),
        };
        let changes = items.into_iter().map(|item| ChangeItemView {
            action: item.action,
            prefix: item.prefix,
            endpoints: item.endpoints.into_iter().map(endpoint).collect(),
        });
        Ok(Self::of(set, changes.collect(), session))
    }
}

/// A change set of the member.
pub(crate) async fn find(
    db: &mut PgConnection,
    member: MemberId,
    id: ChangeSetId,
) -> Result<ChangeSet, ApiError> {
    let filter = ChangeSetFilter { member: Some(member), change_set: Some(id), before: None };
    change_set::list(db, filter, 1).await?.pop().ok_or_else(|| ApiError::new(Reason::NotFound))
}

/// What the items of a change set come to.
pub(crate) fn wish_of(items: &[Item]) -> Wish {
    let (mut announce, mut withdraw) = (Vec::new(), Vec::new());
    for item in items {
        match item.action {
            ItemAction::Announce => announce.push((item.prefix, item.endpoints.clone())),
            ItemAction::Withdraw => withdraw.push(item.prefix),
        }
    }
    Wish { mode: BulkMode::Merge, announce, withdraw }
}

/// `GET /api/v1/members/{member_id}/change-sets`: change sets of the member.
#[utoipa::path(get, path = "/members/{member_id}/change-sets", tag = "change sets",
    params(("member_id" = Uuid, Path), PageQuery), responses((status = 200, body = Page<ChangeSetView>)))]
pub(crate) async fn list_change_sets(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ChangeSetView>>, ApiError> {
    session.may_read(member)?;
    list(&app, &session, Some(member), &query).await
}

/// `GET /api/v1/change-sets`: change sets of every member (operator).
#[utoipa::path(get, path = "/change-sets", tag = "change sets", params(PageQuery),
    responses((status = 200, body = Page<ChangeSetView>)))]
pub(crate) async fn list_all_change_sets(
    State(app): State<App>,
    session: Session,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ChangeSetView>>, ApiError> {
    session.must_be_operator()?;
    list(&app, &session, None, &query).await
}

async fn list(
    app: &AppState,
    session: &Session,
    member: Option<MemberId>,
    query: &PageQuery,
) -> Result<Json<Page<ChangeSetView>>, ApiError> {
    let place = query.read::<Uuid>()?;
    let filter = ChangeSetFilter { member, change_set: None, before: place.after.map(ChangeSetId) };
    let sets = change_set::list(&app.db, filter, place.reads()).await?;
    let view = |set| ChangeSetView::of(set, Vec::new(), session);
    Ok(Json(place.page(sets, |set| set.change_set_id.0, view)))
}

/// `POST /api/v1/members/{member_id}/change-sets`: writes a change set down; nothing changes yet.
#[utoipa::path(post, path = "/members/{member_id}/change-sets", tag = "change sets",
    params(("member_id" = Uuid, Path)), request_body = ChangeSetInput,
    responses((status = 201, body = ChangeSetView)))]
pub(crate) async fn create_change_set(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Body(input): Body<ChangeSetInput>,
) -> Result<(StatusCode, Json<ChangeSetView>), ApiError> {
    session.may_change(member)?;
    let mut faults = Faults::default();
    let note = text::lines(&mut faults, "note", &input.note, 2000);
    let count = input.announcements.len() + input.withdraw.len();
    if !(1..=MAX_ITEMS).contains(&count) {
        faults.note("announcements", format!("there are {count} prefixes; name 1 to {MAX_ITEMS}"));
    }
    let note = faults.hold(note)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    member::lock(&mut *transaction, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let names = EndpointNames::of(endpoint::names_of_member(&mut *transaction, member).await?);
    let rows = input.announcements.into_iter().enumerate().map(|(index, row)| (index + 1, row)).collect();
    let wish = Wish::read(Input { mode: BulkMode::Merge, rows, withdraw: input.withdraw }, &names)?;
    let announced = wish.announce.into_iter().map(|(prefix, endpoints)| Item {
        action: ItemAction::Announce,
        prefix,
        endpoints,
        before: None,
    });
    let mut items: Vec<Item> = announced.collect();
    items.extend(wish.withdraw.into_iter().map(|prefix| Item {
        action: ItemAction::Withdraw,
        prefix,
        endpoints: Vec::new(),
        before: None,
    }));
    let new = NewChangeSet {
        member,
        note: &note,
        user: session.user_id(),
        api_token: session.api_token_id(),
        items: &items,
    };
    let id = change_set::insert(&mut transaction, &new, now).await?;
    let view = ChangeSetView::read(&mut transaction, &session, member, id).await?;
    let change = Change::of("change_set.create", Some(member), id.0, None, Some(&view));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// `GET /api/v1/members/{member_id}/change-sets/{change_set_id}`: one change set.
#[utoipa::path(get, path = "/members/{member_id}/change-sets/{change_set_id}", tag = "change sets",
    params(("member_id" = Uuid, Path), ("change_set_id" = Uuid, Path)),
    responses((status = 200, body = ChangeSetView)))]
pub(crate) async fn get_change_set(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, ChangeSetId)>,
) -> Result<Json<ChangeSetView>, ApiError> {
    session.may_read(member)?;
    let mut db = app.db.acquire().await?;
    ChangeSetView::read(&mut db, &session, member, id).await.map(Json)
}

/// `POST /api/v1/members/{member_id}/change-sets/{change_set_id}/plan`: works out what it would change now, or at its time.
#[utoipa::path(post, path = "/members/{member_id}/change-sets/{change_set_id}/plan", tag = "change sets",
    params(("member_id" = Uuid, Path), ("change_set_id" = Uuid, Path)),
    responses((status = 200, body = ChangeSetView)))]
pub(crate) async fn plan_change_set(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, ChangeSetId)>,
) -> Result<Json<ChangeSetView>, ApiError> {
    session.may_change(member)?;
    let mut db = app.db.acquire().await?;
    let set = find(&mut db, member, id).await?;
    must_be(set.state, &[ChangeSetState::Draft, ChangeSetState::Scheduled])?;
    let wish = wish_of(&change_set::items(&mut *db, id, i64::MAX).await?);
    drop(db);
    let now = app.clock.now();
    let plan = ChangePlan::make(&app, member, &wish, set.apply_at.unwrap_or(now).max(now)).await?;
    let mut transaction = app.db.begin().await?;
    let state = change_set::lock(&mut *transaction, member, id).await?;
    must_be(state.unwrap_or(set.state), &[ChangeSetState::Draft, ChangeSetState::Scheduled])?;
    let plan = serde_json::to_value(&plan.view).expect("a plan is JSON");
    change_set::set_plan(&mut *transaction, id, &plan).await?;
    let view = ChangeSetView::read(&mut transaction, &session, member, id).await?;
    transaction.commit().await?;
    Ok(Json(view))
}

/// `POST /api/v1/members/{member_id}/change-sets/{change_set_id}/approve`: a second person says yes to its plan.
///
/// A person who signed in, of the member or the operator's, and not its author.
#[utoipa::path(post, path = "/members/{member_id}/change-sets/{change_set_id}/approve", tag = "change sets",
    params(("member_id" = Uuid, Path), ("change_set_id" = Uuid, Path)),
    responses((status = 200, body = ChangeSetView)))]
pub(crate) async fn approve_change_set(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, ChangeSetId)>,
) -> Result<Json<ChangeSetView>, ApiError> {
    session.may_change(member)?;
    let approver = session.user_id().ok_or_else(|| {
        ApiError::new(Reason::Forbidden)
            .detail("A person approves, signed in to the portal; a token does not.")
    })?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let state = change_set::lock(&mut *transaction, member, id).await?;
    must_be(
        state.ok_or_else(|| ApiError::new(Reason::NotFound))?,
        &[ChangeSetState::Draft, ChangeSetState::Scheduled],
    )?;
    let set = find(&mut transaction, member, id).await?;
    if [set.author, set.token_made_by].contains(&Some(approver)) {
        return Err(ApiError::new(Reason::ApprovalByAuthor));
    }
    if set.plan.is_none() {
        return Err(ApiError::new(Reason::PlanMissing));
    }
    change_set::approve(&mut *transaction, id, approver, now).await?;
    let view = finish(transaction, &session, member, id, "change_set.approve", now).await?;
    Ok(Json(view))
}

/// `POST /api/v1/members/{member_id}/change-sets/{change_set_id}/apply`: all of it takes effect, at once or at a time.
///
/// It is planned anew when it takes effect. Where it moves more calls or prefixes than the operator's threshold, it needs
/// an approval, and the plan must not have grown by more than a tenth since.
#[utoipa::path(post, path = "/members/{member_id}/change-sets/{change_set_id}/apply", tag = "change sets",
    params(("member_id" = Uuid, Path), ("change_set_id" = Uuid, Path)), request_body = ApplyInput,
    responses((status = 200, body = ChangeSetView)))]
pub(crate) async fn apply_change_set(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, ChangeSetId)>,
    Body(input): Body<ApplyInput>,
) -> Result<Json<ChangeSetView>, ApiError> {
    session.may_change(member)?;
    let now = app.clock.now();
    let mut db = app.db.acquire().await?;
    let set = find(&mut db, member, id).await?;
    must_be(set.state, &[ChangeSetState::Draft])?;
    let plan = plan_of(set.plan.as_ref()).ok_or_else(|| ApiError::new(Reason::PlanMissing))?;
    let Some(at) = input.at.filter(|at| *at > now) else {
        drop(db);
        let actor = Actor::Session(&session);
        change_application::take_effect(&app, member, id, &actor, ChangeSetState::Draft).await?;
        let mut db = app.db.acquire().await?;
        return ChangeSetView::read(&mut db, &session, member, id).await.map(Json);
    };
    drop(db);
    if at > now + LONGEST_WAIT {
        return Err(ApiError::field("at", "write a time of the next 90 days"));
    }
    change_application::check_approval(&set, &plan)?;
    let mut transaction = app.db.begin().await?;
    let state = change_set::lock(&mut *transaction, member, id).await?;
    must_be(state.unwrap_or(set.state), &[ChangeSetState::Draft])?;
    change_set::schedule(&mut *transaction, id, at).await?;
    let view = finish(transaction, &session, member, id, "change_set.schedule", now).await?;
    Ok(Json(view))
}

/// `POST /api/v1/members/{member_id}/change-sets/{change_set_id}/cancel`: it will not take effect.
#[utoipa::path(post, path = "/members/{member_id}/change-sets/{change_set_id}/cancel", tag = "change sets",
    params(("member_id" = Uuid, Path), ("change_set_id" = Uuid, Path)),
    responses((status = 200, body = ChangeSetView)))]
pub(crate) async fn cancel_change_set(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, ChangeSetId)>,
) -> Result<Json<ChangeSetView>, ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let state = change_set::lock(&mut *transaction, member, id).await?;
    must_be(
        state.ok_or_else(|| ApiError::new(Reason::NotFound))?,
        &[ChangeSetState::Draft, ChangeSetState::Scheduled],
    )?;
    change_set::end(&mut *transaction, id, None, now).await?;
    let view = finish(transaction, &session, member, id, "change_set.cancel", now).await?;
    Ok(Json(view))
}

/// `POST /api/v1/members/{member_id}/change-sets/{change_set_id}/roll-back`: what stood for its prefixes stands again.
#[utoipa::path(post, path = "/members/{member_id}/change-sets/{change_set_id}/roll-back", tag = "change sets",
    params(("member_id" = Uuid, Path), ("change_set_id" = Uuid, Path)),
    responses((status = 200, body = ChangeSetView)))]
pub(crate) async fn roll_back_change_set(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, ChangeSetId)>,
) -> Result<Json<ChangeSetView>, ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let state = change_set::lock(&mut *transaction, member, id).await?;
    must_be(state.ok_or_else(|| ApiError::new(Reason::NotFound))?, &[ChangeSetState::Applied])?;
    change_application::restore(&mut transaction, member, id, now).await?;
    change_set::set_rolled_back(&mut *transaction, id, now).await?;
    let view = finish(transaction, &session, member, id, "change_set.roll_back", now).await?;
    Ok(Json(view))
}

/// Whether it is in one of the states in which that can be done.
pub(crate) fn must_be(state: ChangeSetState, states: &[ChangeSetState]) -> Result<(), ApiError> {
    if states.contains(&state) { Ok(()) } else { Err(ApiError::new(Reason::ChangeSetState)) }
}

/// Writes down what was done, and commits.
async fn finish(
    mut transaction: Transaction<'_>,
    session: &Session,
    member: MemberId,
    id: ChangeSetId,
    action: &str,
    now: DateTime<Utc>,
) -> Result<ChangeSetView, ApiError> {
    let view = ChangeSetView::read(&mut transaction, session, member, id).await?;
    let change = Change::of(action, Some(member), id.0, None, Some(&view));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(view)
}

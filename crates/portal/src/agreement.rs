//! What two members agree to send to each other.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tandem_model::{AgreementAction, AgreementId, AgreementState, MemberId, MemberState, Party, Reason};
use tandem_store::agreement::{self, AgreementEvent, AgreementEventKind, StoredAgreement};
use tandem_store::{PgConnection, listener, member};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::agreement_terms::{AgreementInput, CounterInput, TermsView};
use crate::app::App;
use crate::member::MemberRef;
use crate::page::{Page, PageQuery};
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id, Query};
use crate::session::{Change, Session};
use crate::text;
use crate::transit_terms::check_deck;
use crate::vocabulary;

/// An agreement between two members, or the proposal of one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AgreementView {
    #[schema(value_type = Uuid)]
    agreement_id: AgreementId,
    /// Who offered it first.
    proposing_member: MemberRef,
    /// Who was asked to accept it.
    accepting_member: MemberRef,
    #[schema(value_type = vocabulary::AgreementState)]
    state: AgreementState,
    /// Whose offer the terms are; while the agreement is proposed or countered, the other one answers it.
    offered_by: MemberRef,
    /// The how manieth offer the terms are, from 1. Earlier ones are in its history.
    version: u32,
    /// Who holds it up while it is suspended; each resumes it for itself.
    suspended_by: Vec<MemberRef>,
    /// Since when it holds; null until it is accepted.
    #[schema(required)]
    valid_from: Option<DateTime<Utc>>,
    /// When it ends, once notice was given, or ended.
    #[schema(required)]
    valid_until: Option<DateTime<Utc>>,
    proposed_at: DateTime<Utc>,
    #[schema(required)]
    decided_at: Option<DateTime<Utc>>,
    /// When it was ended, or notice was given.
    #[schema(required)]
    ended_at: Option<DateTime<Utc>>,
    #[serde(flatten)]
    terms: TermsView,
    /// Whether the member in the path may accept it, refuse it or answer with other terms now.
    may_answer: bool,
}

impl AgreementView {
    /// The agreement as `member`, one of the two, sees it.
    fn of(stored: StoredAgreement, member: MemberId) -> Self {
        let life = stored.life;
        let suspending =
            [Party::Proposing, Party::Accepting].into_iter().filter(|party| life.is_suspended_by(*party));
        let member_ref = |party| MemberRef::from(stored.member(party).clone());
        Self {
            agreement_id: stored.agreement_id,
            state: life.state,
            offered_by: member_ref(life.offered_by),
            version: life.version,
            suspended_by: suspending.map(member_ref).collect(),
            valid_from: life.validity.map(|validity| validity.from),
            valid_until: life.validity.and_then(|validity| validity.until),
            proposed_at: stored.proposed_at,
            decided_at: stored.decided_at,
            ended_at: stored.ended_at,
            may_answer: life.state.is_open() && life.offered_by != stored.party(member),
            proposing_member: stored.proposing_member.into(),
            accepting_member: stored.accepting_member.into(),
            terms: stored.offer.into(),
        }
    }
}

/// The agreement as it is now, if the member has a part in it; kept so until the transaction ends.
async fn lock(
    db: &mut PgConnection,
    member: MemberId,
    id: AgreementId,
    now: DateTime<Utc>,
) -> Result<StoredAgreement, ApiError> {
    agreement::lock(db, member, id, now).await?.ok_or_else(|| ApiError::new(Reason::NotFound))
}

/// `GET /api/v1/members/{member_id}/agreements`: the member's agreements and proposals, in both directions.
#[utoipa::path(get, path = "/members/{member_id}/agreements", tag = "agreements",
    params(("member_id" = Uuid, Path), PageQuery), responses((status = 200, body = Page<AgreementView>)))]
pub(crate) async fn list_agreements(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<AgreementView>>, ApiError> {
    session.may_read(member)?;
    let place = query.read::<Uuid>()?;
    let (after, now) = (place.after.map(AgreementId), app.clock.now());
    let agreements = agreement::list(&app.db, member, after, place.reads(), now).await?;
    Ok(Json(place.page(agreements, |it| it.agreement_id.0, |it| AgreementView::of(it, member))))
}

/// `POST /api/v1/members/{member_id}/agreements`: proposes an agreement to another member.
#[utoipa::path(post, path = "/members/{member_id}/agreements", tag = "agreements",
    params(("member_id" = Uuid, Path)), request_body = AgreementInput,
    responses((status = 201, body = AgreementView)))]
pub(crate) async fn propose_agreement(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Body(input): Body<AgreementInput>,
) -> Result<(StatusCode, Json<AgreementView>), ApiError> {
    session.may_change(member)?;
    let mut faults = Faults::default();
    let (with, terms) = input.split();
    let offer = terms.read(&mut faults, Party::Proposing, &listener::sites(&app.db).await?);
    let with = text::line(&mut faults, "with", &with, 1, 40);
    let (offer, with) = faults.hold(offer.zip(with))?;

    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let proposing =
        member::lock(&mut *transaction, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    // Who is not approved learns nobody's name.
    if proposing.state != MemberState::Approved {
        return Err(ApiError::new(Reason::MemberNotApproved));
    }
    let with = member::find(&mut *transaction, &with).await?;
    let accepting = match with.filter(|with| with.state == MemberState::Approved) {
        None => return Err(ApiError::field("with", "there is no approved member of this name")),
        Some(with) if with.member_id == member => {
            return Err(ApiError::field("with", "name another member; this one is your own"));
        }
        Some(with) => with.member_id,
    };
    check_deck(&mut transaction, &offer.terms.transit, &[member, accepting]).await?;
    agreement::close_ended(&mut *transaction, member, accepting, now).await?;
    let id = agreement::insert(&mut *transaction, member, accepting, &offer, now).await?;
    let view = AgreementView::of(lock(&mut transaction, member, id, now).await?, member);
    let change = Change::of("agreement.propose", Some(member), id.0, None, Some(&view));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// `GET /api/v1/members/{member_id}/agreements/{agreement_id}`: one agreement.
#[utoipa::path(get, path = "/members/{member_id}/agreements/{agreement_id}", tag = "agreements",
    params(("member_id" = Uuid, Path), ("agreement_id" = Uuid, Path)),
    responses((status = 200, body = AgreementView)))]
pub(crate) async fn get_agreement(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, AgreementId)>,
) -> Result<Json<AgreementView>, ApiError> {
    session.may_read(member)?;
    let mut db = app.db.acquire().await?;
    let stored = lock(&mut db, member, id, app.clock.now()).await?;
    Ok(Json(AgreementView::of(stored, member)))
}

/// `GET /api/v1/members/{member_id}/agreements/{agreement_id}/history`: what was done about it, the last first.
#[utoipa::path(get, path = "/members/{member_id}/agreements/{agreement_id}/history", tag = "agreements",
    params(("member_id" = Uuid, Path), ("agreement_id" = Uuid, Path), PageQuery),
    responses((status = 200, body = Page<AgreementEventView>)))]
pub(crate) async fn list_agreement_history(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, AgreementId)>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<AgreementEventView>>, ApiError> {
    session.may_read(member)?;
    let place = query.read::<u32>()?;
    let mut db = app.db.acquire().await?;
    lock(&mut db, member, id, app.clock.now()).await?;
    let events = agreement::history(&mut *db, id, place.after, place.reads()).await?;
    Ok(Json(place.page(events, |it| it.position, AgreementEventView::from)))
}

/// Something that was done about an agreement.
#[derive(Serialize, ToSchema)]
pub(crate) struct AgreementEventView {
    at: DateTime<Utc>,
    /// Who did it; null for what the operator declared in a file, and where it is not known any more.
    #[schema(required)]
    member: Option<MemberRef>,
    #[schema(value_type = vocabulary::AgreementEventKind)]
    action: AgreementEventKind,
    /// The version of the terms that it was about.
    version: u32,
    /// The terms, where they were offered or declared; else null.
    #[schema(required)]
    terms: Option<TermsView>,
}

impl From<AgreementEvent> for AgreementEventView {
    fn from(AgreementEvent { position: _, at, member, action, version, offer }: AgreementEvent) -> Self {
        Self { at, member: member.map(MemberRef::from), action, version, terms: offer.map(TermsView::from) }
    }
}

/// `POST /api/v1/members/{member_id}/agreements/{agreement_id}/counter`: the asked member answers with other terms, which the other one answers.
#[utoipa::path(post, path = "/members/{member_id}/agreements/{agreement_id}/counter", tag = "agreements",
    params(("member_id" = Uuid, Path), ("agreement_id" = Uuid, Path)), request_body = CounterInput,
    responses((status = 200, body = AgreementView)))]
pub(crate) async fn counter_agreement(
    State(app): State<App>,
    session: Session,
    Id(ids): Id<(MemberId, AgreementId)>,
    Body(input): Body<CounterInput>,
) -> Result<Json<AgreementView>, ApiError> {
    act(app, session, ids, AgreementAction::Counter, Some(input)).await
}

/// `POST /api/v1/members/{member_id}/agreements/{agreement_id}/accept`: the asked member says yes; calls cross from now.
#[utoipa::path(post, path = "/members/{member_id}/agreements/{agreement_id}/accept", tag = "agreements",
    params(("member_id" = Uuid, Path), ("agreement_id" = Uuid, Path)),
    responses((status = 200, body = AgreementView)))]
pub(crate) async fn accept_agreement(
    State(app): State<App>,
    session: Session,
    Id(ids): Id<(MemberId, AgreementId)>,
) -> Result<Json<AgreementView>, ApiError> {
    act(app, session, ids, AgreementAction::Accept, None).await
}

/// `POST /api/v1/members/{member_id}/agreements/{agreement_id}/refuse`: the asked member says no.
#[utoipa::path(post, path = "/members/{member_id}/agreements/{agreement_id}/refuse", tag = "agreements",
    params(("member_id" = Uuid, Path), ("agreement_id" = Uuid, Path)),
    responses((status = 200, body = AgreementView)))]
pub(crate) async fn refuse_agreement(
    State(app): State<App>,
    session: Session,
    Id(ids): Id<(MemberId, AgreementId)>,
) -> Result<Json<AgreementView>, ApiError> {
    act(app, session, ids, AgreementAction::Refuse, None).await
}

/// `POST /api/v1/members/{member_id}/agreements/{agreement_id}/suspend`: either member holds it up; no new call crosses until it resumes it.
#[utoipa::path(post, path = "/members/{member_id}/agreements/{agreement_id}/suspend", tag = "agreements",
    params(("member_id" = Uuid, Path), ("agreement_id" = Uuid, Path)),
    responses((status = 200, body = AgreementView)))]
pub(crate) async fn suspend_agreement(
    State(app): State<App>,
    session: Session,
    Id(ids): Id<(MemberId, AgreementId)>,
) -> Result<Json<AgreementView>, ApiError> {
    act(app, session, ids, AgreementAction::Suspend, None).await
}

/// `POST /api/v1/members/{member_id}/agreements/{agreement_id}/resume`: who suspended it holds it up no more.
#[utoipa::path(post, path = "/members/{member_id}/agreements/{agreement_id}/resume", tag = "agreements",
    params(("member_id" = Uuid, Path), ("agreement_id" = Uuid, Path)),
    responses((status = 200, body = AgreementView)))]
pub(crate) async fn resume_agreement(
    State(app): State<App>,
    session: Session,
    Id(ids): Id<(MemberId, AgreementId)>,
) -> Result<Json<AgreementView>, ApiError> {
    act(app, session, ids, AgreementAction::Resume, None).await
}

/// `POST /api/v1/members/{member_id}/agreements/{agreement_id}/end`: either member ends it, with the notice that the terms ask for, at once where it is suspended; who made an offer also takes it back.
#[utoipa::path(post, path = "/members/{member_id}/agreements/{agreement_id}/end", tag = "agreements",
    params(("member_id" = Uuid, Path), ("agreement_id" = Uuid, Path)),
    responses((status = 200, body = AgreementView)))]
pub(crate) async fn end_agreement(
    State(app): State<App>,
    session: Session,
    Id(ids): Id<(MemberId, AgreementId)>,
) -> Result<Json<AgreementView>, ApiError> {
    act(app, session, ids, AgreementAction::End, None).await
}

/// Does what one of the two wants, if [`AgreementLife::step`](tandem_model::AgreementLife::step) lets it.
async fn act(
    app: App,
    session: Session,
    (member, id): (MemberId, AgreementId),
    action: AgreementAction,
    input: Option<CounterInput>,
) -> Result<Json<AgreementView>, ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let before = lock(&mut transaction, member, id, now).await?;
    let party = before.party(member);
    let offer = match input {
        Some(input) => {
            let mut faults = Faults::default();
            let offer = input.read(&mut faults, party, &listener::sites(&mut *transaction).await?);
            let offer = faults.hold(offer)?;
            let parties = [before.proposing_member.member_id, before.accepting_member.member_id];
            check_deck(&mut transaction, &offer.terms.transit, &parties).await?;
            offer
        }
        None => before.offer.clone(),
    };
    let notice = TimeDelta::days(before.offer.notice_days.into());
    let life = before.life.step(action, party, notice, now).map_err(ApiError::new)?;
    if matches!(action, AgreementAction::Counter | AgreementAction::Accept) {
        let stored = member::get(&mut *transaction, member).await?;
        if stored.is_none_or(|stored| stored.state != MemberState::Approved) {
            return Err(ApiError::new(Reason::MemberNotApproved));
        }
    }
    // To suspend what one has suspended already changes nothing.
    if life != before.life {
        agreement::act(&mut *transaction, id, member, action, &life, &offer, now).await?;
        let after = AgreementView::of(lock(&mut transaction, member, id, now).await?, member);
        let before = AgreementView::of(before, member);
        let change = Change::of(audited(action), Some(member), id.0, Some(&before), Some(&after));
        session.record(&mut transaction, now, change).await?;
        transaction.commit().await?;
        return Ok(Json(after));
    }
    Ok(Json(AgreementView::of(before, member)))
}

/// What the audit log calls it.
fn audited(action: AgreementAction) -> &'static str {
    match action {
        AgreementAction::Counter => "agreement.counter",
        AgreementAction::Accept => "agreement.accept",
        AgreementAction::Refuse => "agreement.refuse",
        AgreementAction::Suspend => "agreement.suspend",
        AgreementAction::Resume => "agreement.resume",
        AgreementAction::End => "agreement.end",
    }
}

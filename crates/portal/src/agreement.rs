//! What two members agree to send to each other.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{
    AdvanceOn, AgreementDirection, AgreementId, AgreementState, MemberId, MemberState, Reason,
};
use tandem_store::agreement::{self, Proposal, StoredAgreement};
use tandem_store::{PgConnection, member};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::call_limits;
use crate::member::MemberRef;
use crate::page::{Page, PageQuery};
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id, Query};
use crate::session::{Change, Session};
use crate::text;
use crate::vocabulary;

/// The final responses to an attempt after which a call goes on to the next candidate; one of the two lists is enough.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdvanceLists {
    /// Status codes of SIP, 300 to 699 without 487.
    #[serde(default)]
    #[schema(value_type = Vec<u16>, example = json!([486, 503]))]
    statuses: BTreeSet<u16>,
    /// Cause values of Q.850, 1 to 127, as the Reason header field of the response gives them.
    #[serde(default)]
    #[schema(value_type = Vec<u16>, example = json!([34]))]
    causes: BTreeSet<u16>,
}

impl From<AdvanceOn> for AdvanceLists {
    fn from(AdvanceOn { statuses, causes }: AdvanceOn) -> Self {
        Self { statuses, causes: causes.into_iter().map(u16::from).collect() }
    }
}

impl AdvanceLists {
    /// The lists, once looked at; what is at fault is noted.
    fn read(self, faults: &mut Faults) -> Option<AdvanceOn> {
        AdvanceOn::new(self.statuses, self.causes).map_err(|fault| faults.note("advance_on", fault)).ok()
    }
}

/// An agreement between two members, or the proposal of one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AgreementView {
    #[schema(value_type = Uuid)]
    agreement_id: AgreementId,
    /// Who offered it.
    proposing_member: MemberRef,
    /// Who was asked to accept it.
    accepting_member: MemberRef,
    #[schema(value_type = vocabulary::AgreementDirection)]
    direction: AgreementDirection,
    #[schema(value_type = vocabulary::AgreementState)]
    state: AgreementState,
    note: String,
    /// Since when it holds; null until it is accepted.
    #[schema(required)]
    valid_from: Option<DateTime<Utc>>,
    #[schema(required)]
    valid_until: Option<DateTime<Utc>>,
    proposed_at: DateTime<Utc>,
    #[schema(required)]
    decided_at: Option<DateTime<Utc>>,
    #[schema(required)]
    ended_at: Option<DateTime<Utc>>,
    /// Most calls up at once under it, both directions together; no bound where it is null.
    #[schema(required)]
    max_calls: Option<u32>,
    /// Most new calls a second under it, both directions together; no bound where it is null.
    #[schema(required)]
    max_calls_per_second: Option<u32>,
    /// After which failures a call under it goes on to the next candidate; by the rule of the hub where it is null: after
    /// those that mean that the endpoint cannot, never after the called party's own no.
    #[schema(required)]
    advance_on: Option<AdvanceLists>,
    /// Whether the member in the path may accept or refuse it now.
    may_answer: bool,
}

/// Who may call whom, as the proposing member sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProposedDirection {
    /// Each may call the other.
    Both,
    /// The proposing member may call the other.
    Outgoing,
    /// The other may call the proposing member.
    Incoming,
}

/// An agreement that a member proposes to another.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgreementInput {
    /// Name or id of the other member.
    #[schema(example = "globex")]
    with: String,
    direction: ProposedDirection,
    /// What the other member should know. At most 2000 characters.
    #[serde(default)]
    note: String,
    /// Most calls up at once under it, both directions together; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls: Option<u32>,
    /// Most new calls a second under it, both directions together; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls_per_second: Option<u32>,
    /// After which failures a call under it goes on to the next candidate; by the rule of the hub where it is left out
    /// or null.
    #[serde(default)]
    advance_on: Option<AdvanceLists>,
}

impl AgreementView {
    /// The agreement as `member`, one of the two, sees it.
    fn of(stored: StoredAgreement, member: MemberId) -> Self {
        let asked = stored.accepting_member.member_id == member;
        Self {
            agreement_id: stored.agreement_id,
            proposing_member: stored.proposing_member.into(),
            accepting_member: stored.accepting_member.into(),
            direction: stored.direction,
            state: stored.state,
            note: stored.note,
            valid_from: stored.valid_from,
            valid_until: stored.valid_until,
            proposed_at: stored.proposed_at,
            decided_at: stored.decided_at,
            ended_at: stored.ended_at,
            max_calls: stored.limits.max_calls,
            max_calls_per_second: stored.limits.max_calls_per_second,
            advance_on: stored.advance_on.map(AdvanceLists::from),
            may_answer: asked && stored.state == AgreementState::Proposed,
        }
    }

    async fn read(db: &mut PgConnection, member: MemberId, id: AgreementId) -> Result<Self, ApiError> {
        let stored = agreement::lock(db, member, id).await?;
        Ok(Self::of(stored.ok_or_else(|| ApiError::new(Reason::NotFound))?, member))
    }
}

impl ProposedDirection {
    /// The same, seen from outside.
    fn of_proposal(self) -> AgreementDirection {
        match self {
            Self::Both => AgreementDirection::Both,
            Self::Outgoing => AgreementDirection::ToAccepting,
            Self::Incoming => AgreementDirection::ToProposing,
        }
    }
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
    let agreements = agreement::list(&app.db, member, place.after.map(AgreementId), place.reads()).await?;
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
    let note = text::lines(&mut faults, "note", &input.note, 2000);
    let with = text::line(&mut faults, "with", &input.with, 1, 40);
    let limits = call_limits::read(&mut faults, input.max_calls, input.max_calls_per_second);
    let advance_on = input.advance_on.and_then(|lists| lists.read(&mut faults));
    let (note, with) = faults.hold(note.zip(with))?;

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
    let proposal = Proposal {
        proposing_member: member,
        accepting_member: accepting,
        direction: input.direction.of_proposal(),
        note: &note,
        limits,
        advance_on: advance_on.as_ref(),
    };
    let id = agreement::insert(&mut *transaction, &proposal, now).await?;
    let view = AgreementView::read(&mut transaction, member, id).await?;
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
    AgreementView::read(&mut db, member, id).await.map(Json)
}

/// What one of the two says about an agreement.
#[derive(Clone, Copy)]
enum Answer {
    Accept,
    Refuse,
    End,
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
    answer(app, session, ids, Answer::Accept).await
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
    answer(app, session, ids, Answer::Refuse).await
}

/// `POST /api/v1/members/{member_id}/agreements/{agreement_id}/end`: either member ends it; the proposing one also takes back a proposal.
#[utoipa::path(post, path = "/members/{member_id}/agreements/{agreement_id}/end", tag = "agreements",
    params(("member_id" = Uuid, Path), ("agreement_id" = Uuid, Path)),
    responses((status = 200, body = AgreementView)))]
pub(crate) async fn end_agreement(
    State(app): State<App>,
    session: Session,
    Id(ids): Id<(MemberId, AgreementId)>,
) -> Result<Json<AgreementView>, ApiError> {
    answer(app, session, ids, Answer::End).await
}

async fn answer(
    app: App,
    session: Session,
    (member, id): (MemberId, AgreementId),
    answer: Answer,
) -> Result<Json<AgreementView>, ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let before = AgreementView::read(&mut transaction, member, id).await?;
    let refuse = |reason, detail: &str| Err(ApiError::new(reason).detail(detail));
    let asked = before.accepting_member.member_id == member;
    let action = match (answer, before.state) {
        (Answer::Accept | Answer::Refuse, AgreementState::Proposed) if !asked => {
            return refuse(Reason::Forbidden, "Only the member that was asked can answer the proposal.");
        }
        (Answer::Accept, AgreementState::Proposed) => {
            let stored = member::get(&mut *transaction, member).await?;
            if stored.is_none_or(|stored| stored.state != MemberState::Approved) {
                return Err(ApiError::new(Reason::MemberNotApproved));
            }
            agreement::accept(&mut *transaction, id, now).await?;
            "agreement.accept"
        }
        (Answer::Refuse, AgreementState::Proposed) => {
            agreement::refuse(&mut *transaction, id, now).await?;
            "agreement.refuse"
        }
        (Answer::End, AgreementState::Proposed) if asked => {
            return refuse(Reason::Conflict, "It is a proposal to you: accept or refuse it.");
        }
        (Answer::End, AgreementState::Proposed | AgreementState::Accepted) => {
            agreement::end(&mut *transaction, id, now).await?;
            "agreement.end"
        }
        (Answer::Accept | Answer::Refuse, AgreementState::Accepted) => {
            return refuse(Reason::Conflict, "It is accepted already; end it if you want it no more.");
        }
        (_, AgreementState::Refused | AgreementState::Ended) => {
            return refuse(Reason::Conflict, "It is over; propose another one.");
        }
    };
    let after = AgreementView::read(&mut transaction, member, id).await?;
    let change = Change::of(action, Some(member), id.0, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(Json(after))
}

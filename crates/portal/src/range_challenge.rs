//! Challenge calls: a member shows that it takes calls to numbers of a range, by saying the code that it sees as the last six
//! digits of who calls.
//!
//! The call leaves by an endpoint that the operator named for it, another carrier's or a gateway into the telephone
//! network, and never by one of the claimant's own: so it proves more than that the claimant's switch answers the hub.
//! Two different numbers prove a range, one a range of one number. What a call has proven is good for a year.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{Authority, E164, Endpoint, Evidence, MemberId, NumberType, Prefix, RangeId, Reason};
use tandem_store::number_range::{self, NumberRange};
use tandem_store::range_challenge::{self, ChallengeOutcome, NewChallenge, RangeChallenge};
use tandem_store::{PgConnection, member};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::{App, AppState, ChallengeSettings};
use crate::evidence;
use crate::problem::ApiError;
use crate::range::RangeView;
use crate::request::{Body, Id};
use crate::session::{Change, Session};
use crate::vocabulary;

/// How long a code may be said.
const CODE_LASTS: TimeDelta = TimeDelta::minutes(10);

/// Time over which calls are counted, and within which the numbers of a range must be proven.
const DAY: TimeDelta = TimeDelta::hours(24);

/// Most calls to a range, and to all ranges of a member, in a [`DAY`].
const CALLS_PER_RANGE: usize = 5;
const CALLS_PER_MEMBER: i64 = 30;

/// Most wrong codes for one call.
const MAX_WRONG: i32 = 3;

/// How long a range is verified that was proven by calls.
const PROVEN_FOR: TimeDelta = TimeDelta::days(365);

/// Draws for a number that a country has given out; ranges of few such numbers take many.
const DRAWS: usize = 10_000;

/// A challenge call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ChallengeView {
    challenge_id: Uuid,
    /// Which number the hub calls.
    #[schema(value_type = String, example = "+442079460123")]
    called: E164,
    created_at: DateTime<Utc>,
    /// Until when its code may be said.
    ends_at: DateTime<Utc>,
    /// What became of the call; null while it is under way.
    #[schema(required, value_type = Option<vocabulary::ChallengeOutcome>)]
    outcome: Option<ChallengeOutcome>,
    /// The status of the SIP response that ended it.
    #[schema(required)]
    status: Option<i32>,
    /// How often another code may still be said.
    tries_left: i32,
    /// When the code was said.
    #[schema(required)]
    solved_at: Option<DateTime<Utc>>,
}

/// How far a range is proven by calls.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ChallengesView {
    /// How many different numbers must be proven within 24 hours.
    needed: usize,
    /// How many are.
    solved: usize,
    /// How many calls to the range may still be asked for within 24 hours.
    calls_left: usize,
    /// The calls of the last 24 hours, newest first.
    calls: Vec<ChallengeView>,
    range: RangeView,
}

/// The code that a member has seen.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChallengeAnswerInput {
    /// The last six digits of the calling number.
    #[schema(example = "042137")]
    code: String,
}

impl From<RangeChallenge> for ChallengeView {
    fn from(of: RangeChallenge) -> Self {
        Self {
            challenge_id: of.challenge_id,
            called: of.called,
            created_at: of.created_at,
            ends_at: of.ends_at,
            outcome: of.outcome,
            status: of.status,
            tries_left: (MAX_WRONG - of.wrong_answers).max(0),
            solved_at: of.solved_at,
        }
    }
}

impl ChallengesView {
    async fn read(db: &mut PgConnection, range: NumberRange, now: DateTime<Utc>) -> Result<Self, ApiError> {
        let calls = range_challenge::list(&mut *db, range.range_id, now - DAY).await?;
        Ok(Self {
            needed: needed(range.prefix),
            solved: solved(&calls),
            calls_left: CALLS_PER_RANGE.saturating_sub(calls.len()),
            calls: calls.into_iter().map(ChallengeView::from).collect(),
            range: RangeView::of(range, now),
        })
    }
}

/// How many numbers prove a range: one where it is one number.
fn needed(prefix: Prefix) -> usize {
    let whole = E164::from_value(prefix.value()).is_ok_and(|number| number.numbering().is_ok());
    if whole { 1 } else { 2 }
}

/// How many different numbers were proven.
fn solved(calls: &[RangeChallenge]) -> usize {
    let mut numbers: Vec<_> = calls.iter().filter(|it| it.solved_at.is_some()).map(|it| it.called).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.len()
}

/// A number of the range by chance, none of `but`, that a country has given out and that costs its caller nothing
/// unusual; `None` where none was found.
fn draw_number(app: &AppState, prefix: Prefix, but: &[E164]) -> Option<E164> {
    let shortest = prefix.len().max(8);
    (0..DRAWS).find_map(|_| {
        let further = (shortest + (draw(app) % (16 - shortest as u64)) as usize) - prefix.len();
        let unit = 10_u64.pow(further as u32);
        let number = E164::from_value(prefix.value() * unit + draw(app) % unit).ok()?;
        let numbering = number.numbering().ok().filter(|_| !but.contains(&number))?;
        let is_dear = |it: &NumberType| matches!(it, NumberType::PremiumRate | NumberType::SharedCost);
        (!numbering.types.iter().any(is_dear)).then_some(number)
    })
}

fn draw(app: &AppState) -> u64 {
    let mut octets = [0; 8];
    (app.entropy)(&mut octets);
    u64::from_le_bytes(octets)
}

/// By which endpoint the hub calls for a claim of `member`.
fn endpoint_for<'a>(
    settings: &ChallengeSettings,
    table: &'a tandem_routing::RouteTable,
    claimant: MemberId,
) -> Result<&'a Endpoint, ApiError> {
    let named = |endpoint: &&Endpoint| {
        endpoint.name == settings.endpoint
            && table.member(endpoint.member_id).is_some_and(|member| member.name == settings.member)
    };
    let not_taken = |detail: &str| ApiError::new(Reason::EvidenceNotTaken).detail(detail);
    let Some(endpoint) = table.endpoints().find(named).filter(|endpoint| endpoint.enabled) else {
        return Err(not_taken(
            "The endpoint that the operator named for challenge calls is not there, or disabled.",
        ));
    };
    if endpoint.member_id == claimant {
        return Err(not_taken("Challenge calls would leave by an endpoint of your own, and prove nothing."));
    }
    Ok(endpoint)
}

async fn claimed(
    db: &mut PgConnection,
    member: MemberId,
    range: RangeId,
    now: DateTime<Utc>,
) -> Result<NumberRange, ApiError> {
    let range = number_range::lock(db, Some(member), range, now).await?;
    range.ok_or_else(|| ApiError::new(Reason::NotFound))
}

/// Refuses a range that no call could verify.
fn must_be_open(range: &NumberRange, now: DateTime<Utc>) -> Result<(), ApiError> {
    let is_over = range.validity.until.is_some_and(|until| until <= now);
    let waits = match range.authority {
        Authority::Pending => !is_over,
        Authority::Valid => !is_over && range.renewal_requested_at.is_some(),
        Authority::Refused => false,
    };
    if !waits {
        let detail = "A call proves a claim that is not decided yet, or a range that you ask to renew.";
        return Err(ApiError::new(Reason::Conflict).detail(detail));
    }
    if range.allocation.others.is_empty() { Ok(()) } else { Err(Reason::RangeAllocatedToOther.into()) }
}

/// `GET /api/v1/members/{member_id}/ranges/{range_id}/challenge`: how far the range is proven by calls.
#[utoipa::path(get, path = "/members/{member_id}/ranges/{range_id}/challenge", tag = "ranges",
    params(("member_id" = Uuid, Path), ("range_id" = Uuid, Path)),
    responses((status = 200, body = ChallengesView)))]
pub(crate) async fn get_challenge(
    State(app): State<App>,
    session: Session,
    Id((member, range)): Id<(MemberId, RangeId)>,
) -> Result<Json<ChallengesView>, ApiError> {
    session.may_read(member)?;
    let (now, mut db) = (app.clock.now(), app.db.acquire().await?);
    let range = claimed(&mut db, member, range, now).await?;
    Ok(Json(ChallengesView::read(&mut db, range, now).await?))
}

/// `POST /api/v1/members/{member_id}/ranges/{range_id}/challenge`: has the hub call a number of the range, chosen by chance.
///
/// The last six digits of the calling number are a code. Say it at `answer` within ten minutes: let the call ring, or take
/// it; the hub ends it. At most five calls to a range in 24 hours.
#[utoipa::path(post, path = "/members/{member_id}/ranges/{range_id}/challenge", tag = "ranges",
    params(("member_id" = Uuid, Path), ("range_id" = Uuid, Path)),
    responses((status = 202, body = ChallengesView)))]
pub(crate) async fn start_challenge(
    State(app): State<App>,
    session: Session,
    Id((member, range)): Id<(MemberId, RangeId)>,
) -> Result<(StatusCode, Json<ChallengesView>), ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    member::lock(&mut *transaction, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let range = claimed(&mut transaction, member, range, now).await?;
    let settings = app.settings.challenge.as_ref().ok_or_else(|| {
        ApiError::new(Reason::EvidenceNotTaken)
            .detail("The operator has named no endpoint for challenge calls.")
    })?;
    let table = app.table.load_full();
    let endpoint = endpoint_for(settings, &table, member)?;
    must_be_open(&range, now)?;
    let calls = range_challenge::list(&mut *transaction, range.range_id, now - DAY).await?;
    let of_member = range_challenge::count(&mut *transaction, member, now - DAY).await?;
    if calls.len() >= CALLS_PER_RANGE || of_member >= CALLS_PER_MEMBER {
        let oldest = calls.last().map_or(now, |call| call.created_at);
        let wait = (oldest + DAY - now).num_seconds().max(1);
        let detail = format!(
            "The hub calls a range at most {CALLS_PER_RANGE} times in 24 hours, and all of a member's {CALLS_PER_MEMBER} times."
        );
        return Err(ApiError::new(Reason::TooManyRequests).detail(detail).retry_after_s(wait.unsigned_abs()));
    }
    let called_before: Vec<E164> = match needed(range.prefix) {
        1 => Vec::new(),
        _ => calls.iter().map(|call| call.called).collect(),
    };
    let called = draw_number(&app, range.prefix, &called_before).ok_or_else(|| {
        ApiError::new(Reason::Conflict)
            .detail("The range has no number that the hub can call; ask the operator to decide.")
    })?;
    let code = draw(&app) % 1_000_000;
    let calling = E164::from_value(settings.caller.value() * 1_000_000 + code)
        .map_err(|_| ApiError::new(Reason::InternalError))?;
    let new = NewChallenge {
        range_id: range.range_id,
        endpoint_id: endpoint.endpoint_id,
        called,
        calling,
        code: format!("{code:06}"),
        ends_at: now + CODE_LASTS,
    };
    let id = range_challenge::insert(&mut *transaction, &new, now).await?;
    let range_id = range.range_id;
    let view = ChallengesView::read(&mut transaction, range, now).await?;
    let placed = view.calls.iter().find(|call| call.challenge_id == id);
    let change = Change::of("range.challenge", Some(member), range_id.0, None, placed);
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// `POST /api/v1/members/{member_id}/ranges/{range_id}/challenge/answer`: says the code of the last call. With as many
/// numbers proven as are needed, the range is verified at once, for a year at most.
#[utoipa::path(post, path = "/members/{member_id}/ranges/{range_id}/challenge/answer", tag = "ranges",
    params(("member_id" = Uuid, Path), ("range_id" = Uuid, Path)), request_body = ChallengeAnswerInput,
    responses((status = 200, body = ChallengesView)))]
pub(crate) async fn answer_challenge(
    State(app): State<App>,
    session: Session,
    Id((member, range)): Id<(MemberId, RangeId)>,
    Body(input): Body<ChallengeAnswerInput>,
) -> Result<Json<ChallengesView>, ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let range = claimed(&mut transaction, member, range, now).await?;
    must_be_open(&range, now)?;
    let refused = |detail: &str| ApiError::new(Reason::ProofRefused).detail(detail);
    let calls = range_challenge::list(&mut *transaction, range.range_id, now - DAY).await?;
    let Some(call) = calls.first().filter(|it| it.solved_at.is_none() && it.ends_at > now) else {
        return Err(refused(
            "No call waits for its code, or its ten minutes are over; ask for another call.",
        ));
    };
    if call.wrong_answers >= MAX_WRONG {
        return Err(refused("The code was said wrongly three times; ask for another call."));
    }
    let is_right = input.code.trim() == call.code;
    range_challenge::note_answer(&mut *transaction, call.challenge_id, is_right, now).await?;
    if !is_right {
        transaction.commit().await?;
        let left = MAX_WRONG - call.wrong_answers - 1;
        return Err(refused(&format!(
            "That is not the code: the last six digits of who called. {left} tries are left."
        )));
    }
    let before = ChallengeView::from(call.clone());
    let after = ChallengeView { solved_at: Some(now), ..before.clone() };
    let change = Change::of("range.answer", Some(member), range.range_id.0, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    let calls = range_challenge::list(&mut *transaction, range.range_id, now - DAY).await?;
    if solved(&calls) >= needed(range.prefix) {
        let (range, until) = (range.clone(), Some(now + PROVEN_FOR));
        evidence::accept(&mut transaction, &session, range, Evidence::Challenge, until, now).await?;
    }
    let range = claimed(&mut transaction, member, range.range_id, now).await?;
    let view = ChallengesView::read(&mut transaction, range, now).await?;
    transaction.commit().await?;
    Ok(Json(view))
}

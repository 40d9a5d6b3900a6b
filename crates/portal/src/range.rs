//! Which blocks of numbers a member holds, by which evidence, and the operator's word on it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{Authority, Evidence, MemberId, Prefix, RangeId, Reason};
use tandem_store::allocation::AllocatedToOther;
use tandem_store::number_range::{self, NumberRange, RangeFilter};
use tandem_store::{PgConnection, member};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::evidence;
use crate::numbering::NumberingView;
use crate::page::{Page, PageQuery, Place};
use crate::problem::{ApiError, Faults};
use crate::request::{Body, BodyOrDefault, Id, Query};
use crate::session::{Change, Session};
use crate::text;
use crate::vocabulary;

/// Most ranges that a member holds and claims.
const MAX_RANGES: i64 = 10_000;

/// Time before its end in which a range is shown as about to end.
const EXPIRES_SOON: TimeDelta = TimeDelta::days(30);

/// Evidence that a member holds a range, as it stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthorityNow {
    Pending,
    Disputed,
    Valid,
    Refused,
    Expired,
}

/// A range of another member that has some of the same numbers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ConflictView {
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    member_name: String,
    #[schema(value_type = String, example = "+44207946")]
    prefix: Prefix,
    /// Whether it stands in the way: it is verified, or was claimed earlier.
    precedes: bool,
}

/// What a regulator's file says of some of the numbers: that somebody else has them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AllocatedToOtherView {
    /// Name of the list of allocations that says so.
    list: String,
    #[schema(value_type = String, example = "+44207946")]
    prefix: Prefix,
    /// To whom the numbers were given, as the regulator writes it.
    holder: String,
}

/// A block of E.164 numbers that a member holds or claims.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RangeView {
    #[schema(value_type = Uuid)]
    range_id: RangeId,
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    member_name: String,
    #[schema(value_type = String, example = "+44207946")]
    prefix: Prefix,
    /// Country and type of its numbers; null where no number is known to begin so.
    #[schema(required)]
    numbering: Option<NumberingView>,
    #[schema(value_type = vocabulary::Authority)]
    authority: AuthorityNow,
    /// Why announcements in it are not routed, where they are not for its sake.
    #[schema(required, value_type = Option<vocabulary::ReasonCode>)]
    reason: Option<Reason>,
    /// Ranges of other members that have some of its numbers, at most 20; those that stand in its way first.
    conflicts: Vec<ConflictView>,
    /// Allocations of some of its numbers to others, at most 20: while there are any, only the operator verifies it.
    allocated_to_others: Vec<AllocatedToOtherView>,
    /// By which evidence it was verified.
    #[schema(required, value_type = Option<vocabulary::Evidence>)]
    pub(crate) verified_by: Option<Evidence>,
    /// Whether the list of allocations or the certificate that it was verified by no longer gives its numbers to the
    /// member. It stands until the operator decides.
    evidence_gone: bool,
    /// What the member says in support.
    evidence: String,
    valid_from: DateTime<Utc>,
    #[schema(required)]
    valid_until: Option<DateTime<Utc>>,
    /// Whether it ends within 30 days and nobody has asked to renew it.
    expires_soon: bool,
    /// When the member asked to renew it, while that is undecided.
    #[schema(required)]
    renewal_requested_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    /// When the operator decided.
    #[schema(required)]
    decided_at: Option<DateTime<Utc>>,
}

/// A range that a member claims.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RangeInput {
    /// The leading digits of its numbers, internationally.
    #[schema(example = "+44207946")]
    prefix: String,
    /// Why the operator should believe it: an allocation, a link, a reference. At most 2000 characters.
    #[serde(default)]
    evidence: String,
    /// Until when the member holds it; until further notice where it is left out.
    #[serde(default)]
    valid_until: Option<DateTime<Utc>>,
}

/// How a member asks to go on holding a range.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenewalInput {
    /// Why the operator should believe it. At most 2000 characters.
    evidence: String,
    /// Until when the member will hold it; until further notice where it is left out.
    #[serde(default)]
    valid_until: Option<DateTime<Utc>>,
}

/// What the operator adds to a verification.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerificationInput {
    /// Until when the range is valid; as its member has claimed where it is left out.
    #[serde(default)]
    valid_until: Option<DateTime<Utc>>,
}

/// Which ranges to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RangeQuery {
    /// Only ranges of this authority; with `pending` all that waits for a decision: disputed claims, renewals and ranges
    /// whose evidence is gone too.
    #[param(value_type = Option<vocabulary::Authority>)]
    authority: Option<AuthorityNow>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Most items of the page; 50 where it is not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

impl AuthorityNow {
    /// What a decision is worth at `at`: whatever is over, unless it was refused, has expired.
    fn of(range: &NumberRange, at: DateTime<Utc>) -> Self {
        let ended = range.validity.until.is_some_and(|until| until <= at);
        match range.authority {
            Authority::Refused => Self::Refused,
            Authority::Pending | Authority::Valid if ended => Self::Expired,
            Authority::Pending if range.is_disputed() || !range.allocation.others.is_empty() => {
                Self::Disputed
            }
            Authority::Pending => Self::Pending,
            Authority::Valid => Self::Valid,
        }
    }

    fn reason(self) -> Option<Reason> {
        match self {
            Self::Pending => Some(Reason::RangeUnverified),
            Self::Disputed => Some(Reason::RangeDisputed),
            Self::Valid => None,
            Self::Refused => Some(Reason::RangeRefused),
            Self::Expired => Some(Reason::RangeExpired),
        }
    }
}

/// An end of validity that lies ahead, where there is one; or notes what is wrong with it.
fn check_end(faults: &mut Faults, until: Option<DateTime<Utc>>, now: DateTime<Utc>) {
    // Postgres counts years of four digits here.
    if until.is_some_and(|until| until <= now || chrono::Datelike::year(&until) >= 10_000) {
        faults.note("valid_until", "it must be later than now, and before the year 10000");
    }
}

impl AllocatedToOtherView {
    fn of(allocation: &AllocatedToOther) -> Self {
        let AllocatedToOther { list, prefix, holder } = allocation.clone();
        Self { list, prefix, holder }
    }
}

impl RangeView {
    pub(crate) fn of(range: NumberRange, at: DateTime<Utc>) -> Self {
        let authority = AuthorityNow::of(&range, at);
        let others: Vec<_> = range.allocation.others.iter().map(AllocatedToOtherView::of).collect();
        let reason = match authority {
            AuthorityNow::Disputed if !others.is_empty() => Some(Reason::RangeAllocatedToOther),
            _ => authority.reason(),
        };
        let evidence_gone = authority == AuthorityNow::Valid && range.evidence_is_gone();
        let ends_soon = range.validity.until.is_some_and(|until| until - at <= EXPIRES_SOON);
        let conflicts = range.conflicts.into_iter().map(|it| ConflictView {
            member_id: it.member_id,
            member_name: it.member_name,
            prefix: it.prefix,
            precedes: it.precedes,
        });
        Self {
            range_id: range.range_id,
            member_id: range.member_id,
            member_name: range.member_name,
            prefix: range.prefix,
            numbering: NumberingView::of(range.prefix.numbering()),
            authority,
            reason,
            conflicts: conflicts.collect(),
            allocated_to_others: others,
            verified_by: range.verified_by,
            evidence_gone,
            evidence: range.evidence,
            valid_from: range.validity.from,
            valid_until: range.validity.until,
            expires_soon: authority == AuthorityNow::Valid
                && ends_soon
                && range.renewal_requested_at.is_none(),
            renewal_requested_at: range.renewal_requested_at,
            created_at: range.created_at,
            decided_at: range.decided_at,
        }
    }

    pub(crate) async fn read(
        db: &mut PgConnection,
        member: Option<MemberId>,
        range: RangeId,
        at: DateTime<Utc>,
    ) -> Result<Self, ApiError> {
        let range = number_range::lock(db, member, range, at).await?;
        Ok(Self::of(range.ok_or_else(|| ApiError::new(Reason::NotFound))?, at))
    }
}

/// `GET /api/v1/members/{member_id}/ranges`: what the member holds and claims.
#[utoipa::path(get, path = "/members/{member_id}/ranges", tag = "ranges",
    params(("member_id" = Uuid, Path), PageQuery), responses((status = 200, body = Page<RangeView>)))]
pub(crate) async fn list_ranges(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<RangeView>>, ApiError> {
    session.may_read(member)?;
    let (now, place) = (app.clock.now(), query.read::<Uuid>()?);
    let filter = RangeFilter { member: Some(member), ..RangeFilter::default() };
    let ranges = number_range::list(&app.db, filter, now, place.after.map(RangeId), place.reads()).await?;
    Ok(Json(place.page(ranges, |it| it.range_id.0, |it| RangeView::of(it, now))))
}

/// `POST /api/v1/members/{member_id}/ranges`: claims a range. Where there is evidence for it already, it is verified at
/// once; else the operator decides.
#[utoipa::path(post, path = "/members/{member_id}/ranges", tag = "ranges", params(("member_id" = Uuid, Path)),
    request_body = RangeInput, responses((status = 201, body = RangeView)))]
pub(crate) async fn claim_range(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Body(input): Body<RangeInput>,
) -> Result<(StatusCode, Json<RangeView>), ApiError> {
    session.may_change(member)?;
    let mut faults = Faults::default();
    let prefix = text::claimed(&mut faults, "prefix", &input.prefix);
    let evidence = text::lines(&mut faults, "evidence", &input.evidence, 2000);
    let now = app.clock.now();
    check_end(&mut faults, input.valid_until, now);
    let (prefix, evidence) = faults.hold(prefix.zip(evidence))?;

    let mut transaction = app.db.begin().await?;
    member::lock(&mut *transaction, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    if number_range::count(&mut *transaction, member, now).await? >= MAX_RANGES {
        let detail = format!("A member has at most {MAX_RANGES} ranges.");
        return Err(ApiError::new(Reason::Conflict).detail(detail));
    }
    let id =
        number_range::insert(&mut *transaction, member, prefix, &evidence, input.valid_until, now).await?;
    let view = RangeView::read(&mut transaction, Some(member), id, now).await?;
    let change = Change::of("range.claim", Some(member), id.0, None, Some(&view));
    session.record(&mut transaction, now, change).await?;
    let view = evidence::settle(&mut transaction, &session, id, now).await?.unwrap_or(view);
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// `POST /api/v1/members/{member_id}/ranges/{range_id}/renew`: asks to go on holding a verified range; it stands as it
/// does until the operator has decided, or is renewed at once where there is evidence for it.
#[utoipa::path(post, path = "/members/{member_id}/ranges/{range_id}/renew", tag = "ranges",
    params(("member_id" = Uuid, Path), ("range_id" = Uuid, Path)), request_body = RenewalInput,
    responses((status = 200, body = RangeView)))]
pub(crate) async fn renew_range(
    State(app): State<App>,
    session: Session,
    Id((member, range)): Id<(MemberId, RangeId)>,
    Body(input): Body<RenewalInput>,
) -> Result<Json<RangeView>, ApiError> {
    session.may_change(member)?;
    let (now, mut faults) = (app.clock.now(), Faults::default());
    let evidence = text::lines(&mut faults, "evidence", &input.evidence, 2000);
    check_end(&mut faults, input.valid_until, now);
    let evidence = faults.hold(evidence)?;
    let mut transaction = app.db.begin().await?;
    let before = RangeView::read(&mut transaction, Some(member), range, now).await?;
    if before.authority != AuthorityNow::Valid {
        return Err(
            ApiError::new(Reason::Conflict).detail("Only a verified range is renewed; claim this one again.")
        );
    }
    number_range::request_renewal(&mut *transaction, range, &evidence, input.valid_until, now).await?;
    let after = RangeView::read(&mut transaction, Some(member), range, now).await?;
    let change = Change::of("range.renew", Some(member), range.0, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    let after = evidence::settle(&mut transaction, &session, range, now).await?.unwrap_or(after);
    transaction.commit().await?;
    Ok(Json(after))
}

/// `DELETE /api/v1/members/{member_id}/ranges/{range_id}`: ends the claim or the holding now.
#[utoipa::path(delete, path = "/members/{member_id}/ranges/{range_id}", tag = "ranges",
    params(("member_id" = Uuid, Path), ("range_id" = Uuid, Path)),
    responses((status = 204, description = "ended")))]
pub(crate) async fn withdraw_range(
    State(app): State<App>,
    session: Session,
    Id((member, range)): Id<(MemberId, RangeId)>,
) -> Result<StatusCode, ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let before = RangeView::read(&mut transaction, Some(member), range, now).await?;
    number_range::end(&mut *transaction, range, now).await?;
    let after = RangeView::read(&mut transaction, Some(member), range, now).await?;
    let change = Change::of("range.withdraw", Some(member), range.0, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/ranges`: ranges of every member (operator); with `authority=pending`, what is to be verified.
#[utoipa::path(get, path = "/ranges", tag = "ranges", params(RangeQuery),
    responses((status = 200, body = Page<RangeView>)))]
pub(crate) async fn list_all_ranges(
    State(app): State<App>,
    session: Session,
    Query(query): Query<RangeQuery>,
) -> Result<Json<Page<RangeView>>, ApiError> {
    session.must_be_operator()?;
    let place: Place<Uuid> = Place::read(query.cursor.as_deref(), query.limit)?;
    let all = RangeFilter::default();
    let filter = match query.authority {
        None => all,
        Some(AuthorityNow::Pending) => RangeFilter { undecided: true, ..all },
        Some(AuthorityNow::Disputed) => RangeFilter { disputed: true, ..all },
        Some(AuthorityNow::Valid) => {
            RangeFilter { authority: Some(Authority::Valid), ended: Some(false), ..all }
        }
        Some(AuthorityNow::Refused) => RangeFilter { authority: Some(Authority::Refused), ..all },
        Some(AuthorityNow::Expired) => {
            RangeFilter { authority: Some(Authority::Valid), ended: Some(true), ..all }
        }
    };
    let now = app.clock.now();
    let ranges = number_range::list(&app.db, filter, now, place.after.map(RangeId), place.reads()).await?;
    Ok(Json(place.page(ranges, |it| it.range_id.0, |it| RangeView::of(it, now))))
}

/// What the operator says of a claim.
#[derive(Clone, Copy)]
enum Decision {
    Verify { until: Option<DateTime<Utc>> },
    Refuse,
}

/// `POST /api/v1/ranges/{range_id}/verify`: the operator believes the claim or the renewal, or holds on to a range whose
/// evidence is gone; announcements within it route.
#[utoipa::path(post, path = "/ranges/{range_id}/verify", tag = "ranges", params(("range_id" = Uuid, Path)),
    request_body = Option<VerificationInput>, responses((status = 200, body = RangeView)))]
pub(crate) async fn verify_range(
    State(app): State<App>,
    session: Session,
    Id(range): Id<RangeId>,
    BodyOrDefault(input): BodyOrDefault<VerificationInput>,
) -> Result<Json<RangeView>, ApiError> {
    session.must_be_operator()?;
    let mut faults = Faults::default();
    check_end(&mut faults, input.valid_until, app.clock.now());
    faults.check()?;
    decide(app, session, range, Decision::Verify { until: input.valid_until }).await
}

/// `POST /api/v1/ranges/{range_id}/refuse`: the operator does not believe the claim, or no longer does. Where a renewal
/// is asked for, only that is refused.
#[utoipa::path(post, path = "/ranges/{range_id}/refuse", tag = "ranges", params(("range_id" = Uuid, Path)),
    responses((status = 200, body = RangeView)))]
pub(crate) async fn refuse_range(
    State(app): State<App>,
    session: Session,
    Id(range): Id<RangeId>,
) -> Result<Json<RangeView>, ApiError> {
    decide(app, session, range, Decision::Refuse).await
}

async fn decide(
    app: App,
    session: Session,
    range: RangeId,
    decision: Decision,
) -> Result<Json<RangeView>, ApiError> {
    session.must_be_operator()?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let before = RangeView::read(&mut transaction, None, range, now).await?;
    if before.valid_until.is_some_and(|until| until <= now) {
        return Err(ApiError::new(Reason::Conflict).detail("The member has withdrawn the range."));
    }
    let by = session.user_id();
    let asks = before.renewal_requested_at.is_some();
    let action = match (decision, before.authority) {
        (Decision::Verify { until }, AuthorityNow::Valid)
            if asks || until.is_some() || before.evidence_gone =>
        {
            number_range::renew(&mut *transaction, range, Evidence::Document, until, by, now).await?;
            "range.verify"
        }
        (Decision::Refuse, AuthorityNow::Valid) if asks => {
            number_range::refuse_renewal(&mut *transaction, range, by, now).await?;
            "range.refuse"
        }
        // To say again what was said changes nothing.
        (Decision::Verify { .. }, AuthorityNow::Valid) | (Decision::Refuse, AuthorityNow::Refused) => {
            return Ok(Json(before));
        }
        (Decision::Verify { until }, _) => {
            number_range::verify(&mut *transaction, range, Evidence::Document, until, by, now).await?;
            "range.verify"
        }
        (Decision::Refuse, _) => {
            number_range::refuse(&mut *transaction, range, by, now).await?;
            "range.refuse"
        }
    };
    let after = RangeView::read(&mut transaction, None, range, now).await?;
    let change = Change::of(action, Some(after.member_id), range.0, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(Json(after))
}

//! Which blocks of numbers a member holds, and the operator's word on it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{Authority, MemberId, Prefix, RangeId, Reason, Validity};
use tandem_store::number_range::{self, NumberRange, RangeFilter};
use tandem_store::{PgConnection, member};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::numbering::NumberingView;
use crate::page::{Page, PageQuery, Place};
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id, Query};
use crate::session::{Change, Session};
use crate::text;
use crate::vocabulary;

/// Most ranges that a member holds and claims.
const MAX_RANGES: i64 = 10_000;

/// Evidence that a member holds a range, as it stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthorityNow {
    Pending,
    Valid,
    Refused,
    Expired,
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
    /// What the member says in support.
    evidence: String,
    valid_from: DateTime<Utc>,
    #[schema(required)]
    valid_until: Option<DateTime<Utc>>,
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
}

/// Which ranges to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RangeQuery {
    /// Only ranges of this authority.
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
    fn of(authority: Authority, validity: Validity, at: DateTime<Utc>) -> Self {
        let ended = validity.until.is_some_and(|until| until <= at);
        match authority {
            Authority::Refused => Self::Refused,
            Authority::Pending | Authority::Valid if ended => Self::Expired,
            Authority::Pending => Self::Pending,
            Authority::Valid => Self::Valid,
        }
    }
}

impl RangeView {
    fn of(range: NumberRange, at: DateTime<Utc>) -> Self {
        Self {
            range_id: range.range_id,
            member_id: range.member_id,
            member_name: range.member_name,
            prefix: range.prefix,
            numbering: NumberingView::of(range.prefix.numbering()),
            authority: AuthorityNow::of(range.authority, range.validity, at),
            evidence: range.evidence,
            valid_from: range.validity.from,
            valid_until: range.validity.until,
            created_at: range.created_at,
            decided_at: range.decided_at,
        }
    }

    async fn read(
        db: &mut PgConnection,
        member: Option<MemberId>,
        range: RangeId,
        at: DateTime<Utc>,
    ) -> Result<Self, ApiError> {
        let range = number_range::lock(db, member, range).await?;
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

/// `POST /api/v1/members/{member_id}/ranges`: claims a range; the operator verifies it.
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
    let prefix = text::numbers(&mut faults, "prefix", &input.prefix);
    let evidence = text::lines(&mut faults, "evidence", &input.evidence, 2000);
    let (prefix, evidence) = faults.hold(prefix.zip(evidence))?;

    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    member::lock(&mut *transaction, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    if number_range::count(&mut *transaction, member, now).await? >= MAX_RANGES {
        let detail = format!("A member has at most {MAX_RANGES} ranges.");
        return Err(ApiError::new(Reason::Conflict).detail(detail));
    }
    let id = number_range::insert(&mut *transaction, member, prefix, &evidence, now).await?;
    let view = RangeView::read(&mut transaction, Some(member), id, now).await?;
    let change = Change::of("range.claim", Some(member), id.0, None, Some(&view));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
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
    let (authority, ended) = match query.authority {
        None => (None, None),
        Some(AuthorityNow::Pending) => (Some(Authority::Pending), Some(false)),
        Some(AuthorityNow::Valid) => (Some(Authority::Valid), Some(false)),
        Some(AuthorityNow::Refused) => (Some(Authority::Refused), None),
        Some(AuthorityNow::Expired) => (Some(Authority::Valid), Some(true)),
    };
    let (now, filter) = (app.clock.now(), RangeFilter { member: None, authority, ended });
    let ranges = number_range::list(&app.db, filter, now, place.after.map(RangeId), place.reads()).await?;
    Ok(Json(place.page(ranges, |it| it.range_id.0, |it| RangeView::of(it, now))))
}

/// What the operator says of a claim.
#[derive(Clone, Copy)]
enum Decision {
    Verify,
    Refuse,
}

/// `POST /api/v1/ranges/{range_id}/verify`: the operator believes the claim; announcements within it route.
#[utoipa::path(post, path = "/ranges/{range_id}/verify", tag = "ranges", params(("range_id" = Uuid, Path)),
    responses((status = 200, body = RangeView)))]
pub(crate) async fn verify_range(
    State(app): State<App>,
    session: Session,
    Id(range): Id<RangeId>,
) -> Result<Json<RangeView>, ApiError> {
    decide(app, session, range, Decision::Verify).await
}

/// `POST /api/v1/ranges/{range_id}/refuse`: the operator does not believe the claim, or no longer does.
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
    let action = match (decision, before.authority) {
        // To say again what was said changes nothing.
        (Decision::Verify, AuthorityNow::Valid) | (Decision::Refuse, AuthorityNow::Refused) => {
            return Ok(Json(before));
        }
        (Decision::Verify, _) => {
            number_range::verify(&mut *transaction, range, session.user_id(), now).await?;
            "range.verify"
        }
        (Decision::Refuse, _) => {
            number_range::refuse(&mut *transaction, range, session.user_id(), now).await?;
            "range.refuse"
        }
    };
    let after = RangeView::read(&mut transaction, None, range, now).await?;
    let change = Change::of(action, Some(after.member_id), range.0, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(Json(after))
}

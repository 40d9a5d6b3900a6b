//! The first page: what is up now and how today went.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tandem_model::{MemberId, Outcome, Reason};
use tandem_store::{member, overview as figures};
use utoipa::ToSchema;

use crate::app::{App, AppState};
use crate::problem::ApiError;
use crate::request::Id;
use crate::session::Session;

/// Calls of the UTC day by how they ended.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(crate) struct OutcomesView {
    answered: u64,
    busy: u64,
    no_answer: u64,
    cancelled: u64,
    rejected: u64,
    refused: u64,
    failed: u64,
    redirected: u64,
}

/// Calls that started within one minute.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct MinuteView {
    /// The start of the minute.
    at: DateTime<Utc>,
    answered: u64,
    not_answered: u64,
}

/// What is up now and how the UTC day went.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct OverviewView {
    calls_up: u64,
    today: OutcomesView,
    /// Median time from INVITE to the first response above 100, of today's calls; null while there are none.
    #[schema(required)]
    setup_ms_median: Option<u32>,
    /// Minutes of today's answered calls.
    minutes_today: f64,
    /// The last 60 minutes, oldest first.
    per_minute: Vec<MinuteView>,
    endpoints: u64,
    announcements: u64,
    /// Agreements in force.
    agreements: u64,
    /// Approved members (operator only).
    #[schema(required)]
    members: Option<u64>,
}

/// Minutes that the chart shows.
const MINUTES: i32 = 60;

/// `GET /api/v1/members/{member_id}/overview`: the member's calls now and today.
#[utoipa::path(get, path = "/members/{member_id}/overview", tag = "overview",
    params(("member_id" = Uuid, Path)), responses((status = 200, body = OverviewView)))]
pub(crate) async fn member_overview(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
) -> Result<Json<OverviewView>, ApiError> {
    session.may_read(member)?;
    if member::get(&app.db, member).await?.is_none() {
        return Err(ApiError::new(Reason::NotFound));
    }
    show(&app, Some(member)).await
}

/// `GET /api/v1/overview`: the exchange's calls now and today (operator).
#[utoipa::path(get, path = "/overview", tag = "overview", responses((status = 200, body = OverviewView)))]
pub(crate) async fn overview(
    State(app): State<App>,
    session: Session,
) -> Result<Json<OverviewView>, ApiError> {
    session.must_be_operator()?;
    show(&app, None).await
}

async fn show(app: &AppState, member: Option<MemberId>) -> Result<Json<OverviewView>, ApiError> {
    let now = app.clock.now();
    let midnight = now.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    let tomorrow = midnight + TimeDelta::days(1);
    let mut today = OutcomesView::default();
    let mut answered_ms = 0;
    for count in figures::outcomes(&app.db, member, midnight, tomorrow).await? {
        let calls = match count.outcome {
            Outcome::Answered => {
                answered_ms = count.duration_ms;
                &mut today.answered
            }
            Outcome::Busy => &mut today.busy,
            Outcome::NoAnswer => &mut today.no_answer,
            Outcome::Cancelled => &mut today.cancelled,
            Outcome::Rejected => &mut today.rejected,
            Outcome::Refused => &mut today.refused,
            Outcome::Failed => &mut today.failed,
            Outcome::Redirected => &mut today.redirected,
        };
        *calls = count.calls;
    }
    let per_minute = figures::per_minute(&app.db, member, now, MINUTES).await?.into_iter();
    let objects = figures::objects(&app.db, member, now).await?;
    Ok(Json(OverviewView {
        calls_up: figures::calls_up(&app.db, member).await?,
        today,
        setup_ms_median: figures::setup_ms_median(&app.db, member, midnight, tomorrow).await?,
        minutes_today: answered_ms as f64 / 60_000.0,
        per_minute: per_minute
            .map(|it| MinuteView { at: it.at, answered: it.answered, not_answered: it.not_answered })
            .collect(),
        endpoints: objects.endpoints,
        announcements: objects.announcements,
        agreements: objects.agreements,
        members: member.is_none().then_some(objects.members),
    }))
}

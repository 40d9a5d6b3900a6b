//! The first page: what is up now and how today went.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tandem_model::MemberId;
use utoipa::ToSchema;

use crate::App;
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

/// `GET /api/v1/members/{member_id}/overview`: the member's calls now and today.
#[utoipa::path(get, path = "/members/{member_id}/overview", tag = "overview", params(("member_id" = Uuid, Path)),
    responses((status = 200, body = OverviewView)))]
pub(crate) async fn member_overview(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
) -> Result<Json<OverviewView>, ApiError> {
    todo!()
}

/// `GET /api/v1/overview`: the exchange's calls now and today (operator).
#[utoipa::path(get, path = "/overview", tag = "overview", responses((status = 200, body = OverviewView)))]
pub(crate) async fn overview(
    State(_app): State<App>,
    _session: Session,
) -> Result<Json<OverviewView>, ApiError> {
    todo!()
}

//! The looking glass: where a call would go now, and why not elsewhere.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tandem_model::{MemberId, Prefix};
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::problem::ApiError;
use crate::reason::ReasonView;
use crate::request::{Id, Query};
use crate::session::Session;
use crate::vocabulary;

/// A route that can take the call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct CandidateView {
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    member_name: String,
    /// Null where the endpoint is another member's.
    #[schema(required)]
    endpoint_name: Option<String>,
    #[schema(value_type = String)]
    prefix: Prefix,
}

/// A route that cannot take the call, and why.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LeftOutView {
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    member_name: String,
    /// Null where the endpoint is another member's, or the whole announcement is left out.
    #[schema(required)]
    endpoint_name: Option<String>,
    #[schema(value_type = String)]
    prefix: Prefix,
    #[schema(value_type = vocabulary::ReasonCode)]
    code: &'static str,
    sentence: &'static str,
    remedy: &'static str,
}

/// The outcome of one lookup: candidates in the order to try them, and everything left out with its reason.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct SelectionView {
    /// The called number.
    called: String,
    /// Version of the route table that was asked.
    table_version: u64,
    /// The longest announced prefix that matches the number.
    #[schema(required, value_type = Option<String>)]
    matched: Option<Prefix>,
    candidates: Vec<CandidateView>,
    left_out: Vec<LeftOutView>,
    /// Why the call would be refused, where there is no candidate.
    #[schema(required)]
    refusal: Option<ReasonView>,
}

/// What to look up.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LookupQuery {
    /// The called number, internationally. A `+` is `%2B` in a URL and may be left out.
    #[param(example = "+442079460000")]
    called: String,
}

/// What to look up, and for whom.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OperatorLookupQuery {
    /// Name or id of the originating member.
    from: String,
    /// The called number, internationally. A `+` is `%2B` in a URL and may be left out.
    #[param(example = "+442079460000")]
    called: String,
}

/// `GET /api/v1/members/{member_id}/lookup`: where a call of the member would go now.
#[utoipa::path(get, path = "/members/{member_id}/lookup", tag = "lookup", params(("member_id" = Uuid, Path), LookupQuery),
    responses((status = 200, body = SelectionView)))]
pub(crate) async fn lookup(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
    Query(_query): Query<LookupQuery>,
) -> Result<Json<SelectionView>, ApiError> {
    todo!()
}

/// `GET /api/v1/lookup`: where a call of any member would go now (operator).
#[utoipa::path(get, path = "/lookup", tag = "lookup", params(OperatorLookupQuery), responses((status = 200, body = SelectionView)))]
pub(crate) async fn lookup_from(
    State(_app): State<App>,
    _session: Session,
    Query(_query): Query<OperatorLookupQuery>,
) -> Result<Json<SelectionView>, ApiError> {
    todo!()
}

//! Calls: which there were, how each ended and why it went where it went.
//!
//! Each side sees the other member's name, never its endpoint or its Call-ID; the operator sees all.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{AgreementId, CallId, EndedBy, MemberId, NodeId, Outcome, Prefix};
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::endpoint::EndpointRef;
use crate::lookup::SelectionView;
use crate::member::MemberRef;
use crate::page::Page;
use crate::problem::ApiError;
use crate::request::{Id, Query};
use crate::session::Session;
use crate::vocabulary;

/// Which side of the call the reading member is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallSide {
    /// The member in the path sent the call.
    Originating,
    /// The member in the path took it, or was tried.
    Terminating,
}

/// The record of one call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct CallView {
    #[schema(value_type = Uuid)]
    call_id: CallId,
    /// The side of the member in the path; null in the operator's list.
    #[schema(required)]
    side: Option<CallSide>,
    started_at: DateTime<Utc>,
    /// The calling party's user part, as it was sent: not always a number.
    calling: String,
    /// The called number, or the called user part where it is no number.
    called: String,
    originating_member: MemberRef,
    /// Null for the terminating member.
    #[schema(required)]
    originating_endpoint: Option<EndpointRef>,
    /// Who took it, or was tried last.
    #[schema(required)]
    terminating_member: Option<MemberRef>,
    /// Null for the originating member.
    #[schema(required)]
    terminating_endpoint: Option<EndpointRef>,
    #[schema(required, value_type = Option<Uuid>)]
    agreement_id: Option<AgreementId>,
    /// The announced prefix that matched.
    #[schema(required, value_type = Option<String>)]
    prefix: Option<Prefix>,
    /// Null while it is up.
    #[schema(required, value_type = Option<vocabulary::Outcome>)]
    outcome: Option<Outcome>,
    /// The final status that was sent to the originating member.
    #[schema(required)]
    status: Option<u16>,
    /// Why the hub refused or ended it.
    #[schema(required, value_type = Option<vocabulary::ReasonCode>)]
    reason: Option<String>,
    #[schema(required)]
    answered_at: Option<DateTime<Utc>>,
    #[schema(required)]
    ended_at: Option<DateTime<Utc>>,
    #[schema(required, value_type = Option<vocabulary::EndedBy>)]
    ended_by: Option<EndedBy>,
    /// From INVITE to the first response above 100, in milliseconds.
    #[schema(required)]
    setup_ms: Option<u32>,
    /// From answer to end, in milliseconds.
    #[schema(required)]
    duration_ms: Option<u64>,
    /// Call-ID of the ingress dialog; null for the terminating member.
    #[schema(required)]
    ingress_call_id: Option<String>,
    /// Version of the route table that was asked.
    table_version: u64,
    /// The node that carried it; null for members.
    #[schema(required, value_type = Option<Uuid>)]
    node_id: Option<NodeId>,
}

/// One INVITE that was sent toward one candidate.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// 1 for the first.
    position: u16,
    terminating_member: MemberRef,
    /// Null where the endpoint is another member's.
    #[schema(required)]
    endpoint: Option<EndpointRef>,
    attempted_at: DateTime<Utc>,
    #[schema(required)]
    ended_at: Option<DateTime<Utc>>,
    /// The final status, where one came.
    #[schema(required)]
    status: Option<u16>,
    /// Why the hub itself ended it.
    #[schema(required, value_type = Option<vocabulary::ReasonCode>)]
    reason: Option<String>,
    /// Call-ID of the egress dialog; null where the endpoint is another member's.
    #[schema(required)]
    egress_call_id: Option<String>,
}

/// One call with its attempts and the selection that was made.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct CallDetailView {
    call: CallView,
    /// In order. The terminating member sees only those toward itself.
    attempts: Vec<AttemptView>,
    /// Why it went where it went; null for the terminating member.
    #[schema(required)]
    selection: Option<SelectionView>,
}

/// Which calls to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CallQuery {
    /// Only calls whose calling or called number begins with these digits.
    number: Option<String>,
    /// Only calls that ended so.
    #[param(value_type = Option<vocabulary::Outcome>)]
    outcome: Option<Outcome>,
    /// Only calls that are up, or only calls that are over.
    up: Option<bool>,
    /// Only calls that started at this time or later.
    from: Option<DateTime<Utc>>,
    /// Only calls that started before this time.
    until: Option<DateTime<Utc>>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Most items of the page; 50 where it is not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// `GET /api/v1/members/{member_id}/calls`: calls that the member sent or took.
#[utoipa::path(get, path = "/members/{member_id}/calls", tag = "calls", params(("member_id" = Uuid, Path), CallQuery),
    responses((status = 200, body = Page<CallView>)))]
pub(crate) async fn list_calls(
    State(_app): State<App>,
    _session: Session,
    Id(_member): Id<MemberId>,
    Query(_query): Query<CallQuery>,
) -> Result<Json<Page<CallView>>, ApiError> {
    todo!()
}

/// `GET /api/v1/members/{member_id}/calls/{call_id}`: one call, attempt by attempt.
#[utoipa::path(get, path = "/members/{member_id}/calls/{call_id}", tag = "calls",
    params(("member_id" = Uuid, Path), ("call_id" = Uuid, Path)), responses((status = 200, body = CallDetailView)))]
pub(crate) async fn get_call(
    State(_app): State<App>,
    _session: Session,
    Id(_ids): Id<(MemberId, CallId)>,
) -> Result<Json<CallDetailView>, ApiError> {
    todo!()
}

/// `GET /api/v1/calls`: every call of the exchange (operator).
#[utoipa::path(get, path = "/calls", tag = "calls", params(CallQuery), responses((status = 200, body = Page<CallView>)))]
pub(crate) async fn list_all_calls(
    State(_app): State<App>,
    _session: Session,
    Query(_query): Query<CallQuery>,
) -> Result<Json<Page<CallView>>, ApiError> {
    todo!()
}

/// `GET /api/v1/calls/{call_id}`: one call with everything that is known of it (operator).
#[utoipa::path(get, path = "/calls/{call_id}", tag = "calls", params(("call_id" = Uuid, Path)),
    responses((status = 200, body = CallDetailView)))]
pub(crate) async fn get_any_call(
    State(_app): State<App>,
    _session: Session,
    Id(_call): Id<CallId>,
) -> Result<Json<CallDetailView>, ApiError> {
    todo!()
}

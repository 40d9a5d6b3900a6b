//! Calls: which there were, how each ended and why it went where it went.
//!
//! Each side sees the other member's name, never its endpoint or its Call-ID; the operator sees all.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{
    AgreementId, Attempt, CallId, Cdr, EndedBy, EndpointId, MemberId, NodeId, Outcome, Prefix, Reason,
};
use tandem_routing::Selection;
use tandem_store::call::{self, CallFilter};
use utoipa::{IntoParams, ToSchema};

use crate::app::{App, AppState};
use crate::endpoint::EndpointRef;
use crate::lookup::{Names, SelectionView};
use crate::member::MemberRef;
use crate::page::{CallCursor, Page, Place};
use crate::problem::{ApiError, Faults};
use crate::request::{Id, Query};
use crate::session::Session;
use crate::text;
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
    /// When the originating member was last heard from, in a call that the exchange ended.
    #[schema(required)]
    originating_heard_at: Option<DateTime<Utc>>,
    /// When the terminating member was last heard from, in a call that the exchange ended.
    #[schema(required)]
    terminating_heard_at: Option<DateTime<Utc>>,
    /// Why the originating leg ended, as a status of SIP: as it was said there, or as it follows.
    #[schema(required)]
    sip_cause: Option<u16>,
    /// The same as a cause value of ITU-T Q.850; 16 is that a party hung up.
    #[schema(required)]
    q850_cause: Option<u8>,
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
    /// The number that it was made for, where the endpoint before redirected the call to another.
    #[schema(required)]
    called: Option<String>,
    /// Why this leg ended, as a status of SIP: as it was said there, or as it follows.
    #[schema(required)]
    sip_cause: Option<u16>,
    /// The same as a cause value of ITU-T Q.850; 16 is that a party hung up.
    #[schema(required)]
    q850_cause: Option<u8>,
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

/// Whose eyes a call is shown to.
#[derive(Clone, Copy)]
enum Reader {
    /// The operator's: everything.
    Operator,
    /// A member's, which has a side in the call.
    Member(MemberId),
}

impl Reader {
    /// Whether it may see what belongs to this member alone.
    fn sees(self, member: MemberId) -> bool {
        match self {
            Self::Operator => true,
            Self::Member(own) => own == member,
        }
    }

    /// The side of the member in a call.
    fn side(self, cdr: &Cdr) -> Option<CallSide> {
        match self {
            Self::Operator => None,
            Self::Member(own) if own == cdr.originating_member => Some(CallSide::Originating),
            Self::Member(_) => Some(CallSide::Terminating),
        }
    }

    fn member(self) -> Option<MemberId> {
        match self {
            Self::Operator => None,
            Self::Member(own) => Some(own),
        }
    }
}

impl CallView {
    fn of(cdr: Cdr, names: &Names, reader: Reader) -> Self {
        let endpoint = |member: MemberId, id: EndpointId| {
            reader.sees(member).then(|| EndpointRef { endpoint_id: id, name: names.endpoint(id) })
        };
        let terminating = cdr.terminating_member.zip(cdr.terminating_endpoint);
        Self {
            call_id: cdr.call_id,
            side: reader.side(&cdr),
            started_at: cdr.started_at,
            originating_member: names.member(cdr.originating_member),
            originating_endpoint: endpoint(cdr.originating_member, cdr.originating_endpoint),
            terminating_member: cdr.terminating_member.map(|id| names.member(id)),
            terminating_endpoint: terminating.and_then(|(member, id)| endpoint(member, id)),
            ingress_call_id: reader.sees(cdr.originating_member).then_some(cdr.ingress_call_id),
            node_id: matches!(reader, Reader::Operator).then_some(cdr.node_id),
            calling: cdr.calling,
            called: cdr.called,
            agreement_id: cdr.agreement,
            prefix: cdr.prefix,
            outcome: cdr.outcome,
            status: cdr.status,
            reason: cdr.reason,
            answered_at: cdr.answered_at,
            ended_at: cdr.ended_at,
            ended_by: cdr.ended_by,
            setup_ms: cdr.setup_ms,
            duration_ms: cdr.duration_ms,
            originating_heard_at: cdr.originating_heard_at,
            terminating_heard_at: cdr.terminating_heard_at,
            sip_cause: cdr.cause.sip,
            q850_cause: cdr.cause.q850,
            table_version: cdr.table_version,
        }
    }
}

impl AttemptView {
    fn of(attempt: Attempt, names: &Names, reader: Reader) -> Self {
        let sees = reader.sees(attempt.terminating_member);
        let endpoint = EndpointRef { endpoint_id: attempt.endpoint, name: names.endpoint(attempt.endpoint) };
        Self {
            position: attempt.position,
            terminating_member: names.member(attempt.terminating_member),
            endpoint: sees.then_some(endpoint),
            attempted_at: attempt.attempted_at,
            ended_at: attempt.ended_at,
            status: attempt.status,
            reason: attempt.reason,
            called: attempt.called,
            sip_cause: attempt.cause.sip,
            q850_cause: attempt.cause.q850,
            egress_call_id: sees.then_some(attempt.egress_call_id),
        }
    }
}

/// `GET /api/v1/members/{member_id}/calls`: calls that the member sent or took.
#[utoipa::path(get, path = "/members/{member_id}/calls", tag = "calls",
    params(("member_id" = Uuid, Path), CallQuery), responses((status = 200, body = Page<CallView>)))]
pub(crate) async fn list_calls(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<CallQuery>,
) -> Result<Json<Page<CallView>>, ApiError> {
    session.may_read(member)?;
    let reader = if session.is_operator() { Reader::Operator } else { Reader::Member(member) };
    show_list(&app, query, Some(member), reader).await
}

/// `GET /api/v1/members/{member_id}/calls/{call_id}`: one call, attempt by attempt.
#[utoipa::path(get, path = "/members/{member_id}/calls/{call_id}", tag = "calls",
    params(("member_id" = Uuid, Path), ("call_id" = Uuid, Path)),
    responses((status = 200, body = CallDetailView)))]
pub(crate) async fn get_call(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, CallId)>,
) -> Result<Json<CallDetailView>, ApiError> {
    session.may_read(member)?;
    let reader = if session.is_operator() { Reader::Operator } else { Reader::Member(member) };
    show(&app, id, Some(member), reader).await
}

/// `GET /api/v1/calls`: every call of the exchange (operator).
#[utoipa::path(get, path = "/calls", tag = "calls", params(CallQuery),
    responses((status = 200, body = Page<CallView>)))]
pub(crate) async fn list_all_calls(
    State(app): State<App>,
    session: Session,
    Query(query): Query<CallQuery>,
) -> Result<Json<Page<CallView>>, ApiError> {
    session.must_be_operator()?;
    show_list(&app, query, None, Reader::Operator).await
}

/// `GET /api/v1/calls/{call_id}`: one call with everything that is known of it (operator).
#[utoipa::path(get, path = "/calls/{call_id}", tag = "calls", params(("call_id" = Uuid, Path)),
    responses((status = 200, body = CallDetailView)))]
pub(crate) async fn get_any_call(
    State(app): State<App>,
    session: Session,
    Id(id): Id<CallId>,
) -> Result<Json<CallDetailView>, ApiError> {
    session.must_be_operator()?;
    show(&app, id, None, Reader::Operator).await
}

async fn show_list(
    app: &AppState,
    query: CallQuery,
    member: Option<MemberId>,
    reader: Reader,
) -> Result<Json<Page<CallView>>, ApiError> {
    let place: Place<CallCursor> = Place::read(query.cursor.as_deref(), query.limit)?;
    let mut faults = Faults::default();
    let number = text::digits(&mut faults, "number", query.number.as_deref());
    faults.check()?;
    let filter = CallFilter {
        number: number.as_deref(),
        outcome: query.outcome,
        over: query.up == Some(false),
        from: query.from,
        until: query.until,
        after: place.after.map(|CallCursor(at, id)| (at, id)),
    };
    let calls = match member {
        _ if query.up == Some(true) => call::list_up(&app.db, member, &filter, place.reads()).await?,
        Some(member) => call::list_of_member(&app.db, member, &filter, place.reads()).await?,
        None => call::list(&app.db, &filter, place.reads()).await?,
    };
    let (mut members, mut endpoints) = (Vec::new(), Vec::new());
    calls.iter().for_each(|call| mention(call, &mut members, &mut endpoints));
    let names = Names::read(&app.db, &members, &endpoints).await?;
    let cursor = |call: &Cdr| CallCursor(call.started_at, call.call_id);
    Ok(Json(place.page(calls, cursor, |call| CallView::of(call, &names, reader))))
}

async fn show(
    app: &AppState,
    id: CallId,
    member: Option<MemberId>,
    reader: Reader,
) -> Result<Json<CallDetailView>, ApiError> {
    let mut cdr = call::get(&app.db, member, id).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let attempts = std::mem::take(&mut cdr.attempts);
    // What else the originating member might have done is not the terminating member's business.
    let sees_selection = reader.sees(cdr.originating_member);
    let selection = std::mem::take(&mut cdr.selection);
    let selection: Option<Selection> = serde_json::from_str(&selection).ok().filter(|_| sees_selection);

    let (mut members, mut endpoints) = selection.as_ref().map(SelectionView::mentions).unwrap_or_default();
    mention(&cdr, &mut members, &mut endpoints);
    members.extend(attempts.iter().map(|attempt| attempt.terminating_member));
    endpoints.extend(attempts.iter().map(|attempt| attempt.endpoint));
    let names = Names::read(&app.db, &members, &endpoints).await?;

    let attempts = attempts.into_iter().filter(|it| sees_selection || reader.sees(it.terminating_member));
    let attempts = attempts.map(|attempt| AttemptView::of(attempt, &names, reader)).collect();
    let selection = selection.map(|it| SelectionView::of(&it, &names, reader.member(), &app.table.load()));
    Ok(Json(CallDetailView { call: CallView::of(cdr, &names, reader), attempts, selection }))
}

/// Adds the members and endpoints that a call names.
fn mention(cdr: &Cdr, members: &mut Vec<MemberId>, endpoints: &mut Vec<EndpointId>) {
    members.push(cdr.originating_member);
    members.extend(cdr.terminating_member);
    endpoints.push(cdr.originating_endpoint);
    endpoints.extend(cdr.terminating_endpoint);
}

//! Traces: which calls a member wants to see message by message, and the ladder of one that was traced.
//!
//! What another member's leg looked like is not in the answer: its messages are outlines, without addresses,
//! Call-IDs or bodies. Secrets are masked before a message is stored.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{CallId, EndpointId, MemberId, Prefix, Reason, TraceSelectionId, Transport};
use tandem_store::call_message::SeenMessage;
use tandem_store::trace_selection::{self, NewTraceSelection, StoredTraceSelection};
use tandem_store::{call, call_message, member};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::{App, AppState};
use crate::lookup::Names;
use crate::member::MemberRef;
use crate::page::{Page, PageQuery};
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id, Query};
use crate::session::{Change, Session};
use crate::text;
use crate::vocabulary;

/// Most selections of a member that are in force at once.
const MAX_SELECTIONS: i64 = 10;

/// Longest time that a selection lasts.
const MAX_MINUTES: u32 = 24 * 60;

/// Most calls of a selection.
const MAX_CALLS: u32 = 1_000;

/// Which calls of a member are traced, and for how long.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct TraceSelectionView {
    #[schema(value_type = Uuid)]
    trace_selection_id: TraceSelectionId,
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    /// Only calls from or to this endpoint; calls of every endpoint where it is null.
    #[schema(required, value_type = Option<Uuid>)]
    endpoint_id: Option<EndpointId>,
    /// Only calls whose calling or called number begins so; any where it is null.
    #[schema(required, value_type = Option<String>)]
    prefix: Option<Prefix>,
    created_at: DateTime<Utc>,
    /// Until when calls that begin are traced.
    until: DateTime<Utc>,
    /// Most calls that are traced for it.
    max_calls: u32,
    /// Calls that were traced for it and are still kept.
    calls: u32,
}

/// Which calls of the member to trace.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TraceSelectionInput {
    /// Only calls from or to this endpoint of the member; calls of every endpoint where it is left out or null.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    endpoint_id: Option<EndpointId>,
    /// Only calls whose calling or called number begins so; any where it is left out or null.
    #[serde(default)]
    #[schema(example = "+442079")]
    prefix: Option<String>,
    /// For how long calls that begin are traced.
    #[schema(minimum = 1, maximum = 1440)]
    minutes: u32,
    /// Most calls that are traced.
    #[serde(default = "default_max_calls")]
    #[schema(default = 20, minimum = 1, maximum = 1000)]
    max_calls: u32,
}

fn default_max_calls() -> u32 {
    20
}

/// Which leg of a call a message is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LadderLeg {
    /// Between the originating member and the hub.
    Originating,
    /// Between the hub and the terminating member of an attempt.
    Terminating,
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MessageDirection {
    /// The hub received it.
    Received,
    /// The hub sent it.
    Sent,
}

/// One message of a traced call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct MessageView {
    /// Its place in the order of the call's messages; the place of one that found no room is empty.
    position: u32,
    /// When it came or left.
    at: DateTime<Utc>,
    leg: LadderLeg,
    /// On the terminating leg: of which attempt, from 1.
    #[schema(required)]
    attempt: Option<u16>,
    /// The member of that leg.
    member: MemberRef,
    direction: MessageDirection,
    /// Whether the same message was there before: a retransmission.
    again: bool,
    /// Of the request, or of the one that the response is to.
    method: String,
    /// Of a response.
    #[schema(required)]
    status: Option<u16>,
    /// Whether it describes a session (SDP).
    has_session: bool,
    /// Whether `text` is the message; otherwise it is an outline, since the leg is another member's.
    whole: bool,
    /// Null for an outline, like both addresses.
    #[schema(required, value_type = Option<vocabulary::Transport>)]
    transport: Option<Transport>,
    /// The hub's address and port.
    #[schema(required)]
    hub_address: Option<String>,
    /// The member's address and port.
    #[schema(required)]
    member_address: Option<String>,
    /// The message with a `*` for each octet of a secret, or its outline.
    text: String,
}

/// The messages of a call in their order.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LadderView {
    /// Whether the call was traced. Of one that was not there are no messages.
    traced: bool,
    /// Messages that found no room.
    dropped: u32,
    messages: Vec<MessageView>,
}

impl From<StoredTraceSelection> for TraceSelectionView {
    fn from(stored: StoredTraceSelection) -> Self {
        let StoredTraceSelection { selection, created_at, calls } = stored;
        Self {
            trace_selection_id: selection.trace_selection_id,
            member_id: selection.member_id,
            endpoint_id: selection.endpoint_id,
            prefix: selection.prefix,
            created_at,
            until: selection.until,
            max_calls: selection.max_calls,
            calls,
        }
    }
}

impl MessageView {
    fn of(message: SeenMessage, names: &Names) -> Self {
        let whole = message.way.is_some();
        let (transport, hub_address, member_address) = match message.way {
            Some(way) => (Some(way.transport), Some(way.hub_address), Some(way.member_address)),
            None => (None, None, None),
        };
        Self {
            position: message.position,
            at: message.at,
            leg: if message.attempt.is_none() { LadderLeg::Originating } else { LadderLeg::Terminating },
            attempt: message.attempt,
            member: names.member(message.member_id),
            direction: match message.is_received {
                true => MessageDirection::Received,
                false => MessageDirection::Sent,
            },
            again: message.is_again,
            method: message.method,
            status: message.status,
            has_session: message.has_session,
            whole,
            transport,
            hub_address,
            member_address,
            text: message.text,
        }
    }
}

/// `GET /api/v1/members/{member_id}/traces`: which calls of the member are traced, and which were.
#[utoipa::path(get, path = "/members/{member_id}/traces", tag = "traces",
    params(("member_id" = Uuid, Path), PageQuery), responses((status = 200, body = Page<TraceSelectionView>)))]
pub(crate) async fn list_traces(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<TraceSelectionView>>, ApiError> {
    session.may_read(member)?;
    let place = query.read::<Uuid>()?;
    let after = place.after.map(TraceSelectionId);
    let traces = trace_selection::list_of_member(&app.db, member, after, place.reads()).await?;
    Ok(Json(place.page(traces, |it| it.selection.trace_selection_id.0, TraceSelectionView::from)))
}

/// `POST /api/v1/members/{member_id}/traces`: calls of the member are traced from now on, for a while.
#[utoipa::path(post, path = "/members/{member_id}/traces", tag = "traces",
    params(("member_id" = Uuid, Path)), request_body = TraceSelectionInput,
    responses((status = 201, body = TraceSelectionView)))]
pub(crate) async fn create_trace(
    State(app): State<App>,
    session: Session,
    Id(member_id): Id<MemberId>,
    Body(input): Body<TraceSelectionInput>,
) -> Result<(StatusCode, Json<TraceSelectionView>), ApiError> {
    session.may_change(member_id)?;
    let now = app.clock.now();
    let mut faults = Faults::default();
    let prefix = input.prefix.as_deref().map(|prefix| text::prefix(&mut faults, "prefix", prefix));
    if !(1..=MAX_MINUTES).contains(&input.minutes) {
        faults.note("minutes", format!("write 1 to {MAX_MINUTES}"));
    }
    if !(1..=MAX_CALLS).contains(&input.max_calls) {
        faults.note("max_calls", format!("write 1 to {MAX_CALLS}"));
    }
    faults.check()?;
    let new = NewTraceSelection {
        member_id,
        endpoint_id: input.endpoint_id,
        prefix: prefix.flatten(),
        until: now + TimeDelta::minutes(input.minutes.into()),
        max_calls: input.max_calls,
    };
    let mut transaction = app.db.begin().await?;
    member::lock(&mut *transaction, member_id).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    if trace_selection::count_in_force(&mut *transaction, member_id, now).await? >= MAX_SELECTIONS {
        let detail = format!("{MAX_SELECTIONS} selections are in force already. End one of them first.");
        return Err(ApiError::new(Reason::Conflict).detail(detail));
    }
    let view: TraceSelectionView = trace_selection::insert(&mut *transaction, &new, now).await?.into();
    let change = Change::of("trace.create", Some(member_id), view.trace_selection_id.0, None, Some(&view));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// `DELETE /api/v1/members/{member_id}/traces/{trace_selection_id}`: no further call is traced for it.
#[utoipa::path(delete, path = "/members/{member_id}/traces/{trace_selection_id}", tag = "traces",
    params(("member_id" = Uuid, Path), ("trace_selection_id" = Uuid, Path)),
    responses((status = 204, description = "ended; what was traced stays")))]
pub(crate) async fn end_trace(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, TraceSelectionId)>,
) -> Result<StatusCode, ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let ended = trace_selection::end(&mut *transaction, member, id, now).await?;
    let after: TraceSelectionView = ended.ok_or_else(|| ApiError::new(Reason::NotFound))?.into();
    let change = Change::of("trace.end", Some(member), id.0, None, Some(&after));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/members/{member_id}/calls/{call_id}/ladder`: the messages of a traced call.
///
/// A member sees its own leg whole and outlines of the other one.
#[utoipa::path(get, path = "/members/{member_id}/calls/{call_id}/ladder", tag = "traces",
    params(("member_id" = Uuid, Path), ("call_id" = Uuid, Path)), responses((status = 200, body = LadderView)))]
pub(crate) async fn get_ladder(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, CallId)>,
) -> Result<Json<LadderView>, ApiError> {
    session.may_read(member)?;
    let reader = if session.is_operator() { None } else { Some(member) };
    show(&app, id, Some(member), reader).await
}

/// `GET /api/v1/calls/{call_id}/ladder`: the messages of a traced call on all its legs (operator).
#[utoipa::path(get, path = "/calls/{call_id}/ladder", tag = "traces", params(("call_id" = Uuid, Path)),
    responses((status = 200, body = LadderView)))]
pub(crate) async fn get_any_ladder(
    State(app): State<App>,
    session: Session,
    Id(id): Id<CallId>,
) -> Result<Json<LadderView>, ApiError> {
    session.must_be_operator()?;
    show(&app, id, None, None).await
}

/// The ladder of a call, one of `member` where that is given, as `reader` may see it; the operator where it is none.
async fn show(
    app: &AppState,
    id: CallId,
    member: Option<MemberId>,
    reader: Option<MemberId>,
) -> Result<Json<LadderView>, ApiError> {
    let cdr = call::get(&app.db, member, id).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let dropped = call_message::dropped(&app.db, id).await?;
    let messages = call_message::ladder(&app.db, id, cdr.originating_member, reader).await?;
    let mut members: Vec<MemberId> = messages.iter().map(|message| message.member_id).collect();
    members.dedup();
    let names = Names::read(&app.db, &members, &[]).await?;
    let messages = messages.into_iter().map(|message| MessageView::of(message, &names)).collect();
    Ok(Json(LadderView { traced: dropped.is_some(), dropped: dropped.unwrap_or(0), messages }))
}

//! The messages of traced calls. They come without secrets; what the member of the other leg may see of each is
//! beside it, so that the whole message never leaves the database for it.

use std::collections::HashMap;
use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use sqlx::types::Uuid;
use sqlx::{PgExecutor, Result};
use tandem_model::{CallId, MemberId, NodeId, TraceSelectionId, Transport};

use crate::word;

/// A call that is traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallTrace {
    /// Which call.
    pub call_id: CallId,
    /// The node that carries it.
    pub node_id: NodeId,
    /// When its first message came.
    pub began_at: DateTime<Utc>,
    /// For which selection; `None` where chance selected it.
    pub selection: Option<TraceSelectionId>,
}

/// One message of a traced call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallMessage {
    /// Of which call.
    pub call_id: CallId,
    /// Its place in the order of the call's messages, from 1.
    pub position: u32,
    /// When it came or left.
    pub at: DateTime<Utc>,
    /// On whose leg.
    pub member_id: MemberId,
    /// On the egress leg: of which attempt, from 1. `None` on the ingress leg.
    pub attempt: Option<u16>,
    /// Whether the hub received it; otherwise it sent it.
    pub is_received: bool,
    /// Whether the same message was there before.
    pub is_again: bool,
    /// By what it travelled.
    pub transport: Transport,
    /// The hub's address on that leg.
    pub hub_address: SocketAddr,
    /// The member's.
    pub member_address: SocketAddr,
    /// Of the request, or of the one that the response is to.
    pub method: String,
    /// Of a response.
    pub status: Option<u16>,
    /// Whether it carries a session description.
    pub has_session: bool,
    /// What the member of the other leg may see.
    pub outline: String,
    /// The message, secrets masked.
    pub octets: Vec<u8>,
}

/// A message as one reader may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenMessage {
    /// Its place in the order of the call's messages, from 1.
    pub position: u32,
    /// When it came or left.
    pub at: DateTime<Utc>,
    /// On whose leg.
    pub member_id: MemberId,
    /// On the egress leg: of which attempt, from 1. `None` on the ingress leg.
    pub attempt: Option<u16>,
    /// Whether the hub received it; otherwise it sent it.
    pub is_received: bool,
    /// Whether the same message was there before.
    pub is_again: bool,
    /// Of the request, or of the one that the response is to.
    pub method: String,
    /// Of a response.
    pub status: Option<u16>,
    /// Whether it carries a session description.
    pub has_session: bool,
    /// By what it travelled, from or to which addresses of the hub and of the member; `None` where the reader sees
    /// the outline alone.
    pub way: Option<Way>,
    /// The message, or its outline.
    pub text: String,
}

/// How a message travelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Its transport.
    pub transport: Transport,
    /// The hub's address.
    pub hub_address: String,
    /// The member's.
    pub member_address: String,
}

/// Writes messages and the calls that they belong to. Written twice is written once.
pub async fn write(
    db: impl PgExecutor<'_>,
    traces: &[CallTrace],
    messages: &[CallMessage],
    dropped: &[(CallId, u32)],
) -> Result<()> {
    let mut octets: HashMap<CallId, i64> = HashMap::new();
    for message in messages {
        let size = i64::try_from(message.octets.len() + message.outline.len()).unwrap_or(i64::MAX);
        let sum = octets.entry(message.call_id).or_default();
        *sum = sum.saturating_add(size);
    }
    let dropped: HashMap<CallId, u32> = dropped.iter().copied().collect();
    let of_traces = |call: &CallTrace| octets.get(&call.call_id).copied().unwrap_or(0);
    sqlx::query!(
        r#"
        with trace as (
            insert into call_trace (call_id, node_id, began_at, trace_selection_id, octets, dropped)
            select *
              from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::uuid[], $5::bigint[], $6::int[])
            on conflict (call_id) do update
               set octets = call_trace.octets + excluded.octets
                 , dropped = greatest(call_trace.dropped, excluded.dropped)
        )
        insert into call_message (call_id, position, at, member_id, side, attempt, is_received, is_again
                                , transport, hub_address, member_address, method, status, has_session
                                , outline, octets)
        select call_id, position, at, member_id
             , case when attempt is null then 'ingress' else 'egress' end, attempt, is_received, is_again
             , transport, hub_address, member_address, method, status, has_session, outline, octets
          from unnest($7::uuid[], $8::int[], $9::timestamptz[], $10::uuid[], $11::smallint[], $12::boolean[]
                    , $13::boolean[], $14::text[], $15::text[], $16::text[], $17::text[], $18::int[]
                    , $19::boolean[], $20::text[], $21::bytea[])
            as t (call_id, position, at, member_id, attempt, is_received, is_again, transport, hub_address
                , member_address, method, status, has_session, outline, octets)
        on conflict (call_id, position) do nothing
        "#,
        &column(traces, |it| it.call_id.0),
        &column(traces, |it| it.node_id.0),
        &column(traces, |it| it.began_at),
        &column(traces, |it| it.selection.map(|id| id.0)) as &[Option<Uuid>],
        &column(traces, of_traces),
        &column(traces, |it| dropped.get(&it.call_id).map_or(0, |&n| i32::try_from(n).unwrap_or(i32::MAX))),
        &column(messages, |it| it.call_id.0),
        &column(messages, |it| i32::try_from(it.position).unwrap_or(i32::MAX)),
        &column(messages, |it| it.at),
        &column(messages, |it| it.member_id.0),
        &column(messages, |it| it.attempt.map(|it| i16::try_from(it).unwrap_or(i16::MAX)))
            as &[Option<i16>],
        &column(messages, |it| it.is_received),
        &column(messages, |it| it.is_again),
        &column(messages, |it| it.transport.as_str()) as &[&str],
        &column(messages, |it| it.hub_address.to_string()),
        &column(messages, |it| it.member_address.to_string()),
        &column(messages, |it| it.method.as_str()) as &[&str],
        &column(messages, |it| it.status.map(i32::from)) as &[Option<i32>],
        &column(messages, |it| it.has_session),
        &column(messages, |it| it.outline.as_str()) as &[&str],
        &column(messages, |it| it.octets.as_slice()) as &[&[u8]],
    )
    .execute(db)
    .await
    .map(|_| ())
}

fn column<'a, T, C>(rows: &'a [T], of: impl Fn(&'a T) -> C) -> Vec<C> {
    rows.iter().map(of).collect()
}

struct Row {
    position: i32,
    at: DateTime<Utc>,
    member_id: Uuid,
    attempt: Option<i16>,
    is_received: bool,
    is_again: bool,
    method: String,
    status: Option<i32>,
    has_session: bool,
    transport: Option<String>,
    hub_address: Option<String>,
    member_address: Option<String>,
    text: Vec<u8>,
}

impl Row {
    fn read(self) -> Result<SeenMessage> {
        let way = match (self.transport, self.hub_address, self.member_address) {
            (Some(transport), Some(hub_address), Some(member_address)) => {
                Some(Way { transport: word::read(&transport)?, hub_address, member_address })
            }
            _ => None,
        };
        Ok(SeenMessage {
            position: word::fits(self.position)?,
            at: self.at,
            member_id: MemberId(self.member_id),
            attempt: self.attempt.map(word::fits).transpose()?,
            is_received: self.is_received,
            is_again: self.is_again,
            method: self.method,
            status: self.status.map(word::fits).transpose()?,
            has_session: self.has_session,
            way,
            text: String::from_utf8_lossy(&self.text).into_owned(),
        })
    }
}

/// How many messages of a call found no room; `None` where it was not traced.
pub async fn dropped(db: impl PgExecutor<'_>, call: CallId) -> Result<Option<u32>> {
    let row = sqlx::query_scalar!("select dropped from call_trace where call_id = $1", call.0)
        .fetch_optional(db)
        .await?;
    row.map(word::fits).transpose()
}

/// The messages of a call in their order, as `reader` may see them: those of its own leg whole, of the other leg
/// the outlines. Where the reader is not `originating`, legs of third members are left out. `None` sees all whole.
pub async fn ladder(
    db: impl PgExecutor<'_>,
    call: CallId,
    originating: MemberId,
    reader: Option<MemberId>,
) -> Result<Vec<SeenMessage>> {
    sqlx::query_as!(
        Row,
        r#"
        select position, at, member_id, attempt, is_received, is_again, method, status, has_session
             , case when $2::uuid is null or member_id = $2 then transport end as transport
             , case when $2::uuid is null or member_id = $2 then hub_address end as hub_address
             , case when $2::uuid is null or member_id = $2 then member_address end as member_address
             , case when $2::uuid is null or member_id = $2 then octets
                    else convert_to(outline, 'UTF8') end as "text!"
          from call_message
         where call_id = $1 and ($2::uuid is null or $2 = $3 or side = 'ingress' or member_id = $2)
         order by position
        "#,
        call.0,
        reader.map(|id| id.0),
        originating.0,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// Deletes the oldest traces: those that began before `before`, and those beyond `most_octets` over all. At most
/// `limit` at once; how many there were.
pub async fn prune(
    db: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most_octets: i64,
    limit: i64,
) -> Result<u64> {
    sqlx::query!(
        r#"
        delete from call_trace
         where call_id in (
            select call_id
              from (select call_id, began_at
                         , (sum(octets) over (order by began_at desc, call_id desc))::bigint as octets_from_here_on
                      from call_trace) t
             where began_at < $1 or octets_from_here_on > $2
             order by began_at
             limit $3)
        "#,
        before,
        most_octets,
        limit,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}

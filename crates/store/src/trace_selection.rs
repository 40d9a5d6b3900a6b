//! Which calls members want traced, and for how long.

use chrono::{DateTime, Utc};
use sqlx::types::Uuid;
use sqlx::{PgExecutor, Result};
use tandem_model::{EndpointId, MemberId, NodeId, Prefix, TraceSelection, TraceSelectionId};

use crate::word;

/// A selection with what has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTraceSelection {
    /// The selection.
    pub selection: TraceSelection,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Calls that were traced for it and are still kept.
    pub calls: u32,
}

/// What is needed to make a selection.
#[derive(Clone, Copy, Debug)]
pub struct NewTraceSelection {
    /// Whose calls.
    pub member_id: MemberId,
    /// Only calls from or to this endpoint of the member.
    pub endpoint_id: Option<EndpointId>,
    /// Only calls whose calling or called number begins so.
    pub prefix: Option<Prefix>,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Most calls that are traced for it.
    pub max_calls: u32,
}

struct Row {
    trace_selection_id: Uuid,
    member_id: Uuid,
    endpoint_id: Option<Uuid>,
    prefix: Option<String>,
    created_at: DateTime<Utc>,
    until: DateTime<Utc>,
    max_calls: i32,
    calls: i64,
}

impl Row {
    fn read(self) -> Result<StoredTraceSelection> {
        Ok(StoredTraceSelection {
            selection: TraceSelection {
                trace_selection_id: TraceSelectionId(self.trace_selection_id),
                member_id: MemberId(self.member_id),
                endpoint_id: self.endpoint_id.map(EndpointId),
                prefix: self.prefix.as_deref().map(word::prefix).transpose()?,
                until: self.until,
                max_calls: word::fits(self.max_calls)?,
            },
            created_at: self.created_at,
            calls: word::fits(self.calls)?,
        })
    }
}

/// How many selections of a member have not ended at `at`.
pub async fn count_in_force(db: impl PgExecutor<'_>, member: MemberId, at: DateTime<Utc>) -> Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from trace_selection where member_id = $1 and until > $2"#,
        member.0,
        at,
    )
    .fetch_one(db)
    .await
}

/// Makes a selection. An endpoint must be the member's own: `trace_selection_endpoint_own`.
pub async fn insert(
    db: impl PgExecutor<'_>,
    new: &NewTraceSelection,
    at: DateTime<Utc>,
) -> Result<StoredTraceSelection> {
    sqlx::query_as!(
        Row,
        r#"
        insert into trace_selection (member_id, endpoint_id, prefix, created_at, until, max_calls)
        values ($1, $2, $3, $4, $5, $6)
        returning trace_selection_id, member_id, endpoint_id, prefix, created_at, until, max_calls
                , 0::bigint as "calls!"
        "#,
        new.member_id.0,
        new.endpoint_id.map(|id| id.0),
        new.prefix.map(|prefix| prefix.digits()),
        at,
        new.until,
        word::fits::<i32, _>(new.max_calls)?,
    )
    .fetch_one(db)
    .await?
    .read()
}

/// Selections of a member, newest first; those before `before`.
pub async fn list_of_member(
    db: impl PgExecutor<'_>,
    member: MemberId,
    before: Option<TraceSelectionId>,
    limit: i64,
) -> Result<Vec<StoredTraceSelection>> {
    sqlx::query_as!(
        Row,
        r#"
        select s.trace_selection_id, s.member_id, s.endpoint_id, s.prefix, s.created_at, s.until, s.max_calls
             , (select count(*) from call_trace t where t.trace_selection_id = s.trace_selection_id) as "calls!"
          from trace_selection s
         where s.member_id = $1 and ($2::uuid is null or s.trace_selection_id < $2)
         order by s.trace_selection_id desc
         limit $3
        "#,
        member.0,
        before.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// Ends a selection of the member at `at`; as it is now, if it had not ended.
pub async fn end(
    db: impl PgExecutor<'_>,
    member: MemberId,
    selection: TraceSelectionId,
    at: DateTime<Utc>,
) -> Result<Option<StoredTraceSelection>> {
    let row = sqlx::query_as!(
        Row,
        r#"
        update trace_selection s
           set until = greatest($3, created_at + interval '1 microsecond')
         where member_id = $1 and trace_selection_id = $2 and until > $3
        returning s.trace_selection_id, s.member_id, s.endpoint_id, s.prefix, s.created_at, s.until, s.max_calls
             , (select count(*) from call_trace t where t.trace_selection_id = s.trace_selection_id) as "calls!"
        "#,
        member.0,
        selection.0,
        at,
    )
    .fetch_optional(db)
    .await?;
    row.map(Row::read).transpose()
}

/// Selections that have not ended at `at`, at most `limit`, each with how many calls were traced for it elsewhere:
/// by other nodes, and by this one before `since`.
pub async fn in_force(
    db: impl PgExecutor<'_>,
    node: NodeId,
    since: DateTime<Utc>,
    at: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<StoredTraceSelection>> {
    sqlx::query_as!(
        Row,
        r#"
        select s.trace_selection_id, s.member_id, s.endpoint_id, s.prefix, s.created_at, s.until, s.max_calls
             , (select count(*)
                  from call_trace t
                 where t.trace_selection_id = s.trace_selection_id
                   and (t.node_id <> $1 or t.began_at < $2)) as "calls!"
          from trace_selection s
         where s.until > $3
         order by s.trace_selection_id
         limit $4
        "#,
        node.0,
        since,
        at,
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// Forgets selections that ended before `before`.
pub async fn forget(db: impl PgExecutor<'_>, before: DateTime<Utc>) -> Result<u64> {
    sqlx::query!("delete from trace_selection where until < $1", before)
        .execute(db)
        .await
        .map(|done| done.rows_affected())
}

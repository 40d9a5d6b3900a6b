//! Calls and their attempts as they were recorded. Writing them is the matter of [`crate::cdr`].

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::types::Uuid;
use sqlx::{PgExecutor, Result};
use tandem_model::{AgreementId, Attempt, CallId, Cause, Cdr, EndpointId, MemberId, NodeId, Outcome};

use crate::word;

/// Which calls to list.
#[derive(Clone, Debug, Default)]
pub struct CallFilter<'a> {
    /// Only calls whose calling or called number begins with these digits.
    pub number: Option<&'a str>,
    /// Only calls that ended so.
    pub outcome: Option<Outcome>,
    /// Leave out calls that are up.
    pub over: bool,
    /// Only calls that started at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Only calls that started before this time.
    pub until: Option<DateTime<Utc>>,
    /// Only calls that come after this one in the list: earlier, or of the same time and a lower id.
    pub after: Option<(DateTime<Utc>, CallId)>,
}

struct Row {
    call_id: Uuid,
    started_at: DateTime<Utc>,
    node_id: Uuid,
    originating_member_id: Uuid,
    originating_endpoint_id: Uuid,
    calling: String,
    called: String,
    terminating_member_id: Option<Uuid>,
    terminating_endpoint_id: Option<Uuid>,
    agreement_id: Option<Uuid>,
    prefix: Option<String>,
    outcome: Option<String>,
    status: Option<i32>,
    reason: Option<String>,
    answered_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    ended_by: Option<String>,
    setup_ms: Option<i32>,
    duration_ms: Option<i64>,
    originating_heard_at: Option<DateTime<Utc>>,
    terminating_heard_at: Option<DateTime<Utc>>,
    sip_cause: Option<i32>,
    q850_cause: Option<i16>,
    ingress_call_id: String,
    table_version: i64,
    selection: String,
}

impl Row {
    fn read(self) -> Result<Cdr> {
        Ok(Cdr {
            call_id: CallId(self.call_id),
            node_id: NodeId(self.node_id),
            started_at: self.started_at,
            originating_member: MemberId(self.originating_member_id),
            originating_endpoint: EndpointId(self.originating_endpoint_id),
            calling: self.calling,
            called: self.called,
            terminating_member: self.terminating_member_id.map(MemberId),
            terminating_endpoint: self.terminating_endpoint_id.map(EndpointId),
            agreement: self.agreement_id.map(AgreementId),
            prefix: self.prefix.as_deref().map(word::prefix).transpose()?,
            outcome: self.outcome.as_deref().map(word::read).transpose()?,
            status: self.status.map(word::fits).transpose()?,
            reason: self.reason,
            answered_at: self.answered_at,
            ended_at: self.ended_at,
            ended_by: self.ended_by.as_deref().map(word::read).transpose()?,
            setup_ms: self.setup_ms.map(word::fits).transpose()?,
            duration_ms: self.duration_ms.map(word::fits).transpose()?,
            originating_heard_at: self.originating_heard_at,
            terminating_heard_at: self.terminating_heard_at,
            cause: cause(self.sip_cause, self.q850_cause)?,
            ingress_call_id: self.ingress_call_id,
            table_version: word::fits(self.table_version)?,
            selection: self.selection,
            attempts: Vec::new(),
        })
    }
}

/// Calls that the member sent or took, newest first, at most `limit`, without their attempts and selections.
pub async fn list_of_member(
    db: impl PgExecutor<'_>,
    member: MemberId,
    filter: &CallFilter<'_>,
    limit: i64,
) -> Result<Vec<Cdr>> {
    let (after_at, after_id) = filter.after.unzip();
    sqlx::query_as!(
        Row,
        r#"
        (select call_id as "call_id!", started_at as "started_at!", node_id as "node_id!"
             , originating_member_id as "originating_member_id!"
             , originating_endpoint_id as "originating_endpoint_id!", calling as "calling!", called as "called!"
             , terminating_member_id, terminating_endpoint_id, agreement_id, prefix, outcome, status, reason
             , answered_at, ended_at, ended_by, setup_ms, duration_ms
             , originating_heard_at, terminating_heard_at, sip_cause, q850_cause, ingress_call_id as "ingress_call_id!"
             , table_version as "table_version!", 'null' as "selection!"
           from call
          where originating_member_id = $1
            and ($2::text is null or starts_with(called, $2) or starts_with(ltrim(calling, '+'), $2))
            and ($3::text is null or outcome = $3)
            and (not $4::boolean or ended_at is not null)
            and ($5::timestamptz is null or started_at >= $5)
            and ($6::timestamptz is null or started_at < $6)
            and ($7::timestamptz is null or (started_at, call_id) < ($7, $8::uuid))
          order by started_at desc, call_id desc
          limit $9)
        union all
        (select call_id, started_at, node_id, originating_member_id, originating_endpoint_id, calling, called
             , terminating_member_id, terminating_endpoint_id, agreement_id, prefix, outcome, status, reason
             , answered_at, ended_at, ended_by, setup_ms, duration_ms
             , originating_heard_at, terminating_heard_at, sip_cause, q850_cause, ingress_call_id, table_version, 'null'
           from call
          where terminating_member_id = $1 and originating_member_id <> $1
            and ($2::text is null or starts_with(called, $2) or starts_with(ltrim(calling, '+'), $2))
            and ($3::text is null or outcome = $3)
            and (not $4::boolean or ended_at is not null)
            and ($5::timestamptz is null or started_at >= $5)
            and ($6::timestamptz is null or started_at < $6)
            and ($7::timestamptz is null or (started_at, call_id) < ($7, $8::uuid))
          order by started_at desc, call_id desc
          limit $9)
         order by 2 desc, 1 desc
         limit $9
        "#,
        member.0,
        filter.number,
        filter.outcome.map(Outcome::as_str),
        filter.over,
        filter.from,
        filter.until,
        after_at,
        after_id.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// Calls of the exchange, newest first, at most `limit`, without their attempts and selections.
pub async fn list(db: impl PgExecutor<'_>, filter: &CallFilter<'_>, limit: i64) -> Result<Vec<Cdr>> {
    let (after_at, after_id) = filter.after.unzip();
    sqlx::query_as!(
        Row,
        r#"
        select call_id, started_at, node_id, originating_member_id, originating_endpoint_id, calling, called
             , terminating_member_id, terminating_endpoint_id, agreement_id, prefix, outcome, status, reason
             , answered_at, ended_at, ended_by, setup_ms, duration_ms
             , originating_heard_at, terminating_heard_at, sip_cause, q850_cause, ingress_call_id, table_version
             , 'null' as "selection!"
          from call
         where ($1::text is null or starts_with(called, $1) or starts_with(ltrim(calling, '+'), $1))
           and ($2::text is null or outcome = $2)
           and (not $3::boolean or ended_at is not null)
           and ($4::timestamptz is null or started_at >= $4)
           and ($5::timestamptz is null or started_at < $5)
           and ($6::timestamptz is null or (started_at, call_id) < ($6, $7::uuid))
         order by started_at desc, call_id desc
         limit $8
        "#,
        filter.number,
        filter.outcome.map(Outcome::as_str),
        filter.over,
        filter.from,
        filter.until,
        after_at,
        after_id.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// Calls that are up, newest first, at most `limit`, without their attempts and selections: those that the
/// member sent or takes or, where `member` is `None`, all. They are few among many, and have an index.
pub async fn list_up(
    db: impl PgExecutor<'_>,
    member: Option<MemberId>,
    filter: &CallFilter<'_>,
    limit: i64,
) -> Result<Vec<Cdr>> {
    let (after_at, after_id) = filter.after.unzip();
    sqlx::query_as!(
        Row,
        r#"
        select call_id, started_at, node_id, originating_member_id, originating_endpoint_id, calling, called
             , terminating_member_id, terminating_endpoint_id, agreement_id, prefix, outcome, status, reason
             , answered_at, ended_at, ended_by, setup_ms, duration_ms
             , originating_heard_at, terminating_heard_at, sip_cause, q850_cause, ingress_call_id, table_version
             , 'null' as "selection!"
          from call
         where ended_at is null
           and ($1::uuid is null or $1 in (originating_member_id, terminating_member_id))
           and ($2::text is null or starts_with(called, $2) or starts_with(ltrim(calling, '+'), $2))
           and ($3::text is null or outcome = $3)
           and ($4::timestamptz is null or started_at >= $4)
           and ($5::timestamptz is null or started_at < $5)
           and ($6::timestamptz is null or (started_at, call_id) < ($6, $7::uuid))
         order by started_at desc, call_id desc
         limit $8
        "#,
        member.map(|id| id.0),
        filter.number,
        filter.outcome.map(Outcome::as_str),
        filter.from,
        filter.until,
        after_at,
        after_id.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// A call that was answered, as far as it can be routed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnsweredCall {
    /// Its id.
    pub call_id: CallId,
    /// When it came.
    pub started_at: DateTime<Utc>,
    /// Who sent it.
    pub originating_member: MemberId,
    /// From which endpoint.
    pub originating_endpoint: EndpointId,
    /// The called number as digits, or what was called where that is no number.
    pub called: String,
    /// The endpoint that answered.
    pub terminating_endpoint: Option<EndpointId>,
    /// What its selection says of portability, as JSON.
    pub dip: Option<serde_json::Value>,
}

/// Answered calls that started from `from` to before `until`, the first first, at most `limit`; only those after
/// `after`, where that is given.
pub async fn answered(
    db: impl PgExecutor<'_>,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    after: Option<(DateTime<Utc>, CallId)>,
    limit: i64,
) -> Result<Vec<AnsweredCall>> {
    let (after_at, after_id) = after.unzip();
    let rows = sqlx::query!(
        r#"
        select call_id, started_at, originating_member_id, originating_endpoint_id, called, terminating_endpoint_id
             , selection -> 'dip' as dip
          from call
         where started_at >= $1 and started_at < $2 and answered_at is not null
           and ($3::timestamptz is null or (started_at, call_id) > ($3, $4::uuid))
         order by started_at, call_id
         limit $5
        "#,
        from,
        until,
        after_at,
        after_id.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await?;
    let calls = rows.into_iter().map(|row| AnsweredCall {
        call_id: CallId(row.call_id),
        started_at: row.started_at,
        originating_member: MemberId(row.originating_member_id),
        originating_endpoint: EndpointId(row.originating_endpoint_id),
        called: row.called,
        terminating_endpoint: row.terminating_endpoint_id.map(EndpointId),
        dip: row.dip.filter(|dip| !dip.is_null()),
    });
    Ok(calls.collect())
}

/// How far the time within a call's id may be from the time at which it started.
const ID_TIME_SLACK: TimeDelta = TimeDelta::seconds(10);

/// A call with its attempts and selection: one that the member sent or took or, where `member` is `None`, any.
///
/// Its id holds the time at which the call came (RFC 9562 §5.7), so only one day's partition is read.
pub async fn get(db: &sqlx::PgPool, member: Option<MemberId>, call: CallId) -> Result<Option<Cdr>> {
    let Some(at) = call.0.get_timestamp().and_then(|stamp| {
        let (seconds, nanoseconds) = stamp.to_unix();
        DateTime::from_timestamp(seconds.try_into().ok()?, nanoseconds)
    }) else {
        return Ok(None);
    };
    let row = sqlx::query_as!(
        Row,
        r#"
        select call_id, started_at, node_id, originating_member_id, originating_endpoint_id, calling, called
             , terminating_member_id, terminating_endpoint_id, agreement_id, prefix, outcome, status, reason
             , answered_at, ended_at, ended_by, setup_ms, duration_ms
             , originating_heard_at, terminating_heard_at, sip_cause, q850_cause, ingress_call_id, table_version, selection::text as "selection!"
          from call
         where call_id = $1 and started_at between $2 and $3
           and ($4::uuid is null or $4 in (originating_member_id, terminating_member_id))
        "#,
        call.0,
        at - ID_TIME_SLACK,
        at + ID_TIME_SLACK,
        member.map(|id| id.0),
    )
    .fetch_optional(db)
    .await?;
    let Some(mut cdr) = row.map(Row::read).transpose()? else { return Ok(None) };
    cdr.attempts = attempts(db, cdr.started_at, call).await?;
    Ok(Some(cdr))
}

async fn attempts(db: impl PgExecutor<'_>, started_at: DateTime<Utc>, call: CallId) -> Result<Vec<Attempt>> {
    let rows = sqlx::query!(
        r#"
        select position, terminating_member_id, endpoint_id, attempted_at, ended_at, status, reason
             , egress_call_id, called, sip_cause, q850_cause
          from attempt
         where started_at = $1 and call_id = $2
         order by position
        "#,
        started_at,
        call.0,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Attempt {
                position: word::fits(row.position)?,
                terminating_member: MemberId(row.terminating_member_id),
                endpoint: EndpointId(row.endpoint_id),
                attempted_at: row.attempted_at,
                ended_at: row.ended_at,
                status: row.status.map(word::fits).transpose()?,
                reason: row.reason,
                egress_call_id: row.egress_call_id,
                called: row.called,
                cause: cause(row.sip_cause, row.q850_cause)?,
            })
        })
        .collect()
}

fn cause(sip: Option<i32>, q850: Option<i16>) -> Result<Cause> {
    Ok(Cause { sip: sip.map(word::fits).transpose()?, q850: q850.map(word::fits).transpose()? })
}

//! Writes CDRs: one row for each call and one for each attempt.
//!
//! The journal of a node may send the same record any number of times, late and out of order: a record of
//! a call that is up never replaces that of its answer, and nothing replaces that of its end.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::types::Uuid;
use sqlx::{PgPool, Result};
use tandem_model::{CallId, Cdr, EndedBy, Outcome};

use crate::database;

/// Longest wait for one batch.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// A CDR that the database will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Which call.
    pub call_id: CallId,
    /// What is wrong with its record, for the operator.
    pub why: String,
}

/// Writes a batch, in one transaction where all of it is sound, and returns the records that are not.
///
/// After an error nothing is known of the batch; the caller writes it again, as often as it takes.
pub async fn write(db: &PgPool, cdrs: &[Cdr]) -> Result<Vec<Rejected>> {
    let latest = latest(cdrs);
    if latest.is_empty() {
        return Ok(Vec::new());
    }
    database::within(WRITE_TIMEOUT, async {
        let mut rejected = Vec::new();
        ensure_partitions(db, &latest).await?;
        // What is still to be written, the next on top. A part that fails is halved until the bad record
        // stands alone.
        let mut parts: Vec<&[&Cdr]> = vec![&latest];
        while let Some(part) = parts.pop() {
            match write_part(db, part).await {
                Ok(()) => {}
                Err(error) if database::is_data_error(&error) => match part {
                    [cdr] => rejected.push(Rejected { call_id: cdr.call_id, why: error.to_string() }),
                    _ => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                },
                Err(error) => return Err(error),
            }
        }
        Ok(rejected)
    })
    .await
}

/// The furthest record of each call, as one statement must not touch a row twice.
fn latest(cdrs: &[Cdr]) -> Vec<&Cdr> {
    let progress = |cdr: &Cdr| (cdr.ended_at.is_some(), cdr.answered_at.is_some(), cdr.attempts.len());
    let mut places: HashMap<CallId, usize> = HashMap::with_capacity(cdrs.len());
    let mut latest: Vec<&Cdr> = Vec::with_capacity(cdrs.len());
    for cdr in cdrs {
        let place = *places.entry(cdr.call_id).or_insert(latest.len());
        match latest.get_mut(place) {
            None => latest.push(cdr),
            // The first record of an end stays.
            Some(known) if known.ended_at.is_none() && progress(known) <= progress(cdr) => *known = cdr,
            Some(_) => {}
        }
    }
    latest
}

/// Makes the missing partitions, before the transaction: the lock that it takes is held for a moment only.
async fn ensure_partitions(db: &PgPool, cdrs: &[&Cdr]) -> Result<()> {
    let mut days: Vec<NaiveDate> = cdrs.iter().map(|cdr| cdr.started_at.date_naive()).collect();
    days.sort_unstable();
    days.dedup();
    sqlx::query!("select ensure_call_partitions(day) from unnest($1::date[]) as t (day)", &days)
        .execute(db)
        .await
        .map(|_| ())
}

/// Both tables in one statement, so in one transaction and one round trip.
async fn write_part(db: &PgPool, cdrs: &[&Cdr]) -> Result<()> {
    let calls = Calls::of(cdrs);
    let attempts = Attempts::of(cdrs);
    sqlx::query!(
        r#"
        with written as (
            insert into call (call_id, started_at, node_id, originating_member_id, originating_endpoint_id
                            , calling, called, terminating_member_id, terminating_endpoint_id, agreement_id
                            , prefix, outcome, status, reason, answered_at, ended_at, ended_by, setup_ms
                            , duration_ms, originating_heard_at, terminating_heard_at, sip_cause, q850_cause
                            , ingress_call_id, table_version, selection)
            select call_id, started_at, node_id, originating_member_id, originating_endpoint_id
                 , calling, called, terminating_member_id, terminating_endpoint_id, agreement_id
                 , prefix, outcome, status, reason, answered_at, ended_at, ended_by, setup_ms
                 , duration_ms, originating_heard_at, terminating_heard_at, sip_cause, q850_cause
                 , ingress_call_id, table_version, selection::json
              from unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[]
                        , $7::text[], $8::uuid[], $9::uuid[], $10::uuid[], $11::text[], $12::text[]
                        , $13::int[], $14::text[], $15::timestamptz[], $16::timestamptz[], $17::text[]
                        , $18::int[], $19::bigint[], $33::timestamptz[], $34::timestamptz[], $35::int[]
                        , $36::smallint[], $20::text[], $21::bigint[], $22::text[])
                as t (call_id, started_at, node_id, originating_member_id, originating_endpoint_id
                    , calling, called, terminating_member_id, terminating_endpoint_id, agreement_id
                    , prefix, outcome, status, reason, answered_at, ended_at, ended_by, setup_ms
                    , duration_ms, originating_heard_at, terminating_heard_at, sip_cause, q850_cause
                    , ingress_call_id, table_version, selection)
            on conflict (started_at, call_id) do update
               set calling = excluded.calling, called = excluded.called
                 , terminating_member_id = excluded.terminating_member_id
                 , terminating_endpoint_id = excluded.terminating_endpoint_id
                 , agreement_id = excluded.agreement_id, prefix = excluded.prefix
                 , outcome = excluded.outcome, status = excluded.status, reason = excluded.reason
                 , answered_at = excluded.answered_at, ended_at = excluded.ended_at
                 , ended_by = excluded.ended_by, setup_ms = excluded.setup_ms
                 , duration_ms = excluded.duration_ms
                 , originating_heard_at = excluded.originating_heard_at
                 , terminating_heard_at = excluded.terminating_heard_at
                 , sip_cause = excluded.sip_cause, q850_cause = excluded.q850_cause
                 , table_version = excluded.table_version
                 , selection = excluded.selection
             where call.ended_at is null
               and (excluded.ended_at is not null or excluded.answered_at is not null or call.answered_at is null)
        )
        insert into attempt (call_id, started_at, position, terminating_member_id, endpoint_id, attempted_at
                           , ended_at, status, reason, egress_call_id, called, sip_cause, q850_cause)
        select *
          from unnest($23::uuid[], $24::timestamptz[], $25::smallint[], $26::uuid[], $27::uuid[]
                    , $28::timestamptz[], $29::timestamptz[], $30::int[], $31::text[], $32::text[], $37::text[]
                    , $38::int[], $39::smallint[])
        on conflict (started_at, call_id, position) do update
           set ended_at = coalesce(attempt.ended_at, excluded.ended_at)
             , status = coalesce(attempt.status, excluded.status)
             , reason = coalesce(attempt.reason, excluded.reason)
             , sip_cause = excluded.sip_cause, q850_cause = excluded.q850_cause
         where excluded.ended_at is not null and attempt.sip_cause is null and attempt.q850_cause is null
           and (attempt.ended_at is null or excluded.sip_cause is not null or excluded.q850_cause is not null)
        "#,
        &calls.call_id,
        &calls.started_at,
        &calls.node_id,
        &calls.originating_member_id,
        &calls.originating_endpoint_id,
        &calls.calling as &[Cow<'_, str>],
        &calls.called as &[Cow<'_, str>],
        &calls.terminating_member_id as &[Option<Uuid>],
        &calls.terminating_endpoint_id as &[Option<Uuid>],
        &calls.agreement_id as &[Option<Uuid>],
        &calls.prefix as &[Option<String>],
        &calls.outcome as &[Option<&str>],
        &calls.status as &[Option<i32>],
        &calls.reason as &[Option<Cow<'_, str>>],
        &calls.answered_at as &[Option<DateTime<Utc>>],
        &calls.ended_at as &[Option<DateTime<Utc>>],
        &calls.ended_by as &[Option<&str>],
        &calls.setup_ms as &[Option<i32>],
        &calls.duration_ms as &[Option<i64>],
        &calls.ingress_call_id as &[Cow<'_, str>],
        &calls.table_version,
        &calls.selection as &[Cow<'_, str>],
        &attempts.call_id,
        &attempts.started_at,
        &attempts.position,
        &attempts.terminating_member_id,
        &attempts.endpoint_id,
        &attempts.attempted_at,
        &attempts.ended_at as &[Option<DateTime<Utc>>],
        &attempts.status as &[Option<i32>],
        &attempts.reason as &[Option<Cow<'_, str>>],
        &attempts.egress_call_id as &[Cow<'_, str>],
        &calls.originating_heard_at as &[Option<DateTime<Utc>>],
        &calls.terminating_heard_at as &[Option<DateTime<Utc>>],
        &calls.sip_cause as &[Option<i32>],
        &calls.q850_cause as &[Option<i16>],
        &attempts.called as &[Option<Cow<'_, str>>],
        &attempts.sip_cause as &[Option<i32>],
        &attempts.q850_cause as &[Option<i16>],
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// The columns of `call`.
#[derive(Default)]
struct Calls<'a> {
    call_id: Vec<Uuid>,
    started_at: Vec<DateTime<Utc>>,
    node_id: Vec<Uuid>,
    originating_member_id: Vec<Uuid>,
    originating_endpoint_id: Vec<Uuid>,
    calling: Vec<Cow<'a, str>>,
    called: Vec<Cow<'a, str>>,
    terminating_member_id: Vec<Option<Uuid>>,
    terminating_endpoint_id: Vec<Option<Uuid>>,
    agreement_id: Vec<Option<Uuid>>,
    prefix: Vec<Option<String>>,
    outcome: Vec<Option<&'static str>>,
    status: Vec<Option<i32>>,
    reason: Vec<Option<Cow<'a, str>>>,
    answered_at: Vec<Option<DateTime<Utc>>>,
    ended_at: Vec<Option<DateTime<Utc>>>,
    ended_by: Vec<Option<&'static str>>,
    setup_ms: Vec<Option<i32>>,
    duration_ms: Vec<Option<i64>>,
    originating_heard_at: Vec<Option<DateTime<Utc>>>,
    terminating_heard_at: Vec<Option<DateTime<Utc>>>,
    sip_cause: Vec<Option<i32>>,
    q850_cause: Vec<Option<i16>>,
    ingress_call_id: Vec<Cow<'a, str>>,
    table_version: Vec<i64>,
    selection: Vec<Cow<'a, str>>,
}

impl<'a> Calls<'a> {
    fn of(cdrs: &[&'a Cdr]) -> Self {
        let mut columns = Self::default();
        for cdr in cdrs {
            columns.call_id.push(cdr.call_id.0);
            columns.started_at.push(cdr.started_at);
            columns.node_id.push(cdr.node_id.0);
            columns.originating_member_id.push(cdr.originating_member.0);
            columns.originating_endpoint_id.push(cdr.originating_endpoint.0);
            columns.calling.push(storable(&cdr.calling));
            columns.called.push(storable(&cdr.called));
            columns.terminating_member_id.push(cdr.terminating_member.map(|id| id.0));
            columns.terminating_endpoint_id.push(cdr.terminating_endpoint.map(|id| id.0));
            columns.agreement_id.push(cdr.agreement.map(|id| id.0));
            columns.prefix.push(cdr.prefix.map(|prefix| prefix.digits()));
            columns.outcome.push(cdr.outcome.map(Outcome::as_str));
            columns.status.push(cdr.status.map(i32::from));
            columns.reason.push(cdr.reason.as_deref().map(storable));
            columns.answered_at.push(cdr.answered_at);
            columns.ended_at.push(cdr.ended_at);
            columns.ended_by.push(cdr.ended_by.map(EndedBy::as_str));
            columns.setup_ms.push(cdr.setup_ms.map(|ms| i32::try_from(ms).unwrap_or(i32::MAX)));
            columns.duration_ms.push(cdr.duration_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)));
            columns.originating_heard_at.push(cdr.originating_heard_at);
            columns.terminating_heard_at.push(cdr.terminating_heard_at);
            columns.sip_cause.push(cdr.cause.sip.map(i32::from));
            columns.q850_cause.push(cdr.cause.q850.map(i16::from));
            columns.ingress_call_id.push(storable(&cdr.ingress_call_id));
            columns.table_version.push(i64::try_from(cdr.table_version).unwrap_or(i64::MAX));
            columns.selection.push(storable_json(&cdr.selection));
        }
        columns
    }
}

/// The columns of `attempt`.
#[derive(Default)]
struct Attempts<'a> {
    call_id: Vec<Uuid>,
    started_at: Vec<DateTime<Utc>>,
    position: Vec<i16>,
    terminating_member_id: Vec<Uuid>,
    endpoint_id: Vec<Uuid>,
    attempted_at: Vec<DateTime<Utc>>,
    ended_at: Vec<Option<DateTime<Utc>>>,
    status: Vec<Option<i32>>,
    reason: Vec<Option<Cow<'a, str>>>,
    egress_call_id: Vec<Cow<'a, str>>,
    called: Vec<Option<Cow<'a, str>>>,
    sip_cause: Vec<Option<i32>>,
    q850_cause: Vec<Option<i16>>,
}

impl<'a> Attempts<'a> {
    fn of(cdrs: &[&'a Cdr]) -> Self {
        let mut columns = Self::default();
        for (cdr, attempt) in
            cdrs.iter().flat_map(|cdr| cdr.attempts.iter().map(move |attempt| (cdr, attempt)))
        {
            columns.call_id.push(cdr.call_id.0);
            columns.started_at.push(cdr.started_at);
            columns.position.push(i16::try_from(attempt.position).unwrap_or(i16::MAX));
            columns.terminating_member_id.push(attempt.terminating_member.0);
            columns.endpoint_id.push(attempt.endpoint.0);
            columns.attempted_at.push(attempt.attempted_at);
            columns.ended_at.push(attempt.ended_at);
            columns.status.push(attempt.status.map(i32::from));
            columns.reason.push(attempt.reason.as_deref().map(storable));
            columns.egress_call_id.push(storable(&attempt.egress_call_id));
            columns.called.push(attempt.called.as_deref().map(storable));
            columns.sip_cause.push(attempt.cause.sip.map(i32::from));
            columns.q850_cause.push(attempt.cause.q850.map(i16::from));
        }
        columns
    }
}

/// Text without U+0000, the one character that Postgres cannot store.
fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// JSON text of which Postgres can take any part: it has no U+0000 either. What is no JSON at all is left for it to refuse.
fn storable_json(text: &str) -> Cow<'_, str> {
    if !text.contains(r"\u0000") {
        return Cow::Borrowed(text);
    }
    fn mend(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => *text = storable(text).into_owned(),
            serde_json::Value::Array(values) => values.iter_mut().for_each(mend),
            serde_json::Value::Object(fields) => {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(name, mut value)| {
                        mend(&mut value);
                        (storable(&name).into_owned(), value)
                    })
                    .collect();
            }
            serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
        }
    }
    match serde_json::from_str(text) {
        Ok(mut value) => {
            mend(&mut value);
            Cow::Owned(value.to_string())
        }
        Err(_) => Cow::Borrowed(text),
    }
}

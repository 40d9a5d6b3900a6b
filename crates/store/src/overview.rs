//! Figures of the first page: what is up and how the day went, for one member or for the exchange.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgExecutor, Result};
use tandem_model::{MemberId, Outcome};

use crate::word;

/// Calls of one outcome.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutcomeCount {
    /// How they ended.
    pub outcome: Outcome,
    /// How many.
    pub calls: u64,
    /// Milliseconds from answer to end, of all together.
    pub duration_ms: u64,
}

/// Calls that started within one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinuteCount {
    /// The start of the minute.
    pub at: DateTime<Utc>,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that ended otherwise.
    pub not_answered: u64,
}

/// What there is of a member's, or of the exchange's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectCounts {
    /// Endpoints.
    pub endpoints: u64,
    /// Announcements in force.
    pub announcements: u64,
    /// Agreements in force.
    pub agreements: u64,
    /// Approved members.
    pub members: u64,
}

/// Calls that are up.
pub async fn calls_up(db: impl PgExecutor<'_>, member: Option<MemberId>) -> Result<u64> {
    let count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!"
          from call
         where ended_at is null
           and ($1::uuid is null or $1 in (originating_member_id, terminating_member_id))
        "#,
        member.map(|id| id.0),
    )
    .fetch_one(db)
    .await?;
    word::fits(count)
}

/// Calls that started in `[from, until)`, by outcome.
pub async fn outcomes(
    db: impl PgExecutor<'_>,
    member: Option<MemberId>,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<OutcomeCount>> {
    let rows = sqlx::query!(
        r#"
        select outcome as "outcome!", count(*) as "calls!", coalesce(sum(duration_ms), 0)::bigint as "duration_ms!"
          from call
         where outcome is not null and started_at >= $2 and started_at < $3
           and ($1::uuid is null or originating_member_id = $1 or terminating_member_id = $1)
         group by outcome
        "#,
        member.map(|id| id.0),
        from,
        until,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(OutcomeCount {
                outcome: word::read(&row.outcome)?,
                calls: word::fits(row.calls)?,
                duration_ms: word::fits(row.duration_ms)?,
            })
        })
        .collect()
}

/// Median set-up time of calls that started in `[from, until)`, in milliseconds.
pub async fn setup_ms_median(
    db: impl PgExecutor<'_>,
    member: Option<MemberId>,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Option<u32>> {
    let median = sqlx::query_scalar!(
        r#"
        select percentile_disc(0.5) within group (order by setup_ms)
          from call
         where setup_ms is not null and started_at >= $2 and started_at < $3
           and ($1::uuid is null or originating_member_id = $1 or terminating_member_id = $1)
        "#,
        member.map(|id| id.0),
        from,
        until,
    )
    .fetch_one(db)
    .await?;
    median.map(word::fits).transpose()
}

/// Calls of the `minutes` whole minutes up to the one that `at` lies in, oldest first, the empty ones too.
pub async fn per_minute(
    db: impl PgExecutor<'_>,
    member: Option<MemberId>,
    at: DateTime<Utc>,
    minutes: i32,
) -> Result<Vec<MinuteCount>> {
    let rows = sqlx::query!(
        r#"
        with counted as (
            select date_trunc('minute', started_at) as minute
                 , count(*) filter (where outcome = 'answered') as answered
                 , count(*) filter (where outcome <> 'answered') as not_answered
              from call
             where started_at >= $2 and started_at < $3
               and ($1::uuid is null or originating_member_id = $1 or terminating_member_id = $1)
             group by 1
        )
        select minute as "minute!", coalesce(answered, 0) as "answered!", coalesce(not_answered, 0) as "not_answered!"
          from generate_series(date_trunc('minute', $2::timestamptz), $3::timestamptz - interval '1 microsecond'
                             , interval '1 minute') as t (minute)
          left join counted using (minute)
         order by minute
        "#,
        member.map(|id| id.0),
        start_of_minute(at) - TimeDelta::minutes(i64::from(minutes) - 1),
        start_of_minute(at) + TimeDelta::minutes(1),
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(MinuteCount {
                at: row.minute,
                answered: word::fits(row.answered)?,
                not_answered: word::fits(row.not_answered)?,
            })
        })
        .collect()
}

fn start_of_minute(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(at.timestamp().div_euclid(60) * 60, 0).unwrap_or(at)
}

/// What there is at `at`.
pub async fn objects(
    db: impl PgExecutor<'_>,
    member: Option<MemberId>,
    at: DateTime<Utc>,
) -> Result<ObjectCounts> {
    let row = sqlx::query!(
        r#"
        select (select count(*) from endpoint where $1::uuid is null or member_id = $1) as "endpoints!"
             , (select count(*) from announcement
                 where valid_during @> $2::timestamptz and ($1::uuid is null or member_id = $1)) as "announcements!"
             , (select count(*) from agreement
                 where state in ('accepted', 'ending') and valid_during @> $2::timestamptz
                   and ($1::uuid is null or $1 in (proposing_member_id, accepting_member_id))) as "agreements!"
             , (select count(*) from member
                 where state = 'approved' and ($1::uuid is null or member_id = $1)) as "members!"
        "#,
        member.map(|id| id.0),
        at,
    )
    .fetch_one(db)
    .await?;
    Ok(ObjectCounts {
        endpoints: word::fits(row.endpoints)?,
        announcements: word::fits(row.announcements)?,
        agreements: word::fits(row.agreements)?,
        members: word::fits(row.members)?,
    })
}

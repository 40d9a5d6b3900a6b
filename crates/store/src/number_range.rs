//! Which blocks of numbers members hold or claim, and by what authority.

use chrono::{DateTime, Utc};
use sqlx::types::Uuid;
use sqlx::{PgExecutor, Result};
use tandem_model::{Authority, MemberId, Prefix, RangeId, UserId, Validity};

use crate::word;

/// A range as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberRange {
    /// Its id.
    pub range_id: RangeId,
    /// Who holds or claims it.
    pub member_id: MemberId,
    /// The short name of that member.
    pub member_name: String,
    /// The leading digits of its numbers.
    pub prefix: Prefix,
    /// What was decided about it.
    pub authority: Authority,
    /// What the member says in support.
    pub evidence: String,
    /// When it holds.
    pub validity: Validity,
    /// When it was claimed.
    pub created_at: DateTime<Utc>,
    /// When the operator decided.
    pub decided_at: Option<DateTime<Utc>>,
}

/// Which ranges to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct RangeFilter {
    /// Only those of this member.
    pub member: Option<MemberId>,
    /// Only those of this authority.
    pub authority: Option<Authority>,
    /// Only those that are over (`true`) or not yet over (`false`).
    pub ended: Option<bool>,
}

struct Row {
    range_id: Uuid,
    member_id: Uuid,
    member_name: String,
    prefix: String,
    authority: String,
    evidence: String,
    valid_from: DateTime<Utc>,
    valid_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
}

impl Row {
    fn read(self) -> Result<NumberRange> {
        Ok(NumberRange {
            range_id: RangeId(self.range_id),
            member_id: MemberId(self.member_id),
            member_name: self.member_name,
            prefix: word::prefix(&self.prefix)?,
            authority: word::read(&self.authority)?,
            evidence: self.evidence,
            validity: Validity { from: self.valid_from, until: self.valid_until },
            created_at: self.created_at,
            decided_at: self.decided_at,
        })
    }
}

/// Ranges, newest first; those before `before`, at most `limit`.
pub async fn list(
    db: impl PgExecutor<'_>,
    filter: RangeFilter,
    at: DateTime<Utc>,
    before: Option<RangeId>,
    limit: i64,
) -> Result<Vec<NumberRange>> {
    sqlx::query_as!(
        Row,
        r#"
        select r.range_id, r.member_id, m.name as member_name, r.prefix, r.authority, r.evidence
             , lower(r.valid_during) as "valid_from!", upper(r.valid_during) as valid_until
             , r.created_at, r.decided_at
          from number_range r join member m using (member_id)
         where ($1::uuid is null or r.member_id = $1)
           and ($2::text is null or r.authority = $2)
           and ($3::boolean is null or coalesce(upper(r.valid_during) <= $4, false) = $3)
           and ($5::uuid is null or r.range_id < $5)
         order by r.range_id desc
         limit $6
        "#,
        filter.member.map(|id| id.0),
        filter.authority.map(word::text),
        filter.ended,
        at,
        before.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// The range, one of `member` or, where that is `None`, any; kept as it is until the transaction ends.
pub async fn lock(
    db: impl PgExecutor<'_>,
    member: Option<MemberId>,
    range: RangeId,
) -> Result<Option<NumberRange>> {
    sqlx::query_as!(
        Row,
        r#"
        select r.range_id, r.member_id, m.name as member_name, r.prefix, r.authority, r.evidence
             , lower(r.valid_during) as "valid_from!", upper(r.valid_during) as valid_until
             , r.created_at, r.decided_at
          from number_range r join member m using (member_id)
         where ($1::uuid is null or r.member_id = $1) and r.range_id = $2
           for update of r
        "#,
        member.map(|id| id.0),
        range.0,
    )
    .fetch_optional(db)
    .await?
    .map(Row::read)
    .transpose()
}

/// How many ranges of the member are not over.
pub async fn count(db: impl PgExecutor<'_>, member: MemberId, at: DateTime<Utc>) -> Result<i64> {
    sqlx::query_scalar!(
        r#"
        select count(*) as "count!" from number_range
         where member_id = $1 and authority <> 'refused' and valid_during && tstzrange($2, null)
        "#,
        member.0,
        at,
    )
    .fetch_one(db)
    .await
}

/// Claims a range from `at` on. The member may have claimed it already: `number_range_claimed_twice`.
pub async fn insert(
    db: impl PgExecutor<'_>,
    member: MemberId,
    prefix: Prefix,
    evidence: &str,
    at: DateTime<Utc>,
) -> Result<RangeId> {
    sqlx::query_scalar!(
        r#"
        insert into number_range (member_id, prefix, evidence, valid_during, created_at)
        values ($1, $2, $3, tstzrange($4, null), $4)
        returning range_id
        "#,
        member.0,
        prefix.digits(),
        evidence,
        at,
    )
    .fetch_one(db)
    .await
    .map(RangeId)
}

/// Ends a range at `at`.
pub async fn end(db: impl PgExecutor<'_>, range: RangeId, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"
        update number_range
           set valid_during = tstzrange(lower(valid_during)
                                      , greatest($2::timestamptz, lower(valid_during) + interval '1 microsecond'))
         where range_id = $1 and (upper(valid_during) is null or upper(valid_during) > $2)
        "#,
        range.0,
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Verifies a range: it is held from `at` on. Another member may hold part of it: `number_range_overlaps`.
pub async fn verify(
    db: impl PgExecutor<'_>,
    range: RangeId,
    decided_by: Option<UserId>,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"
        update number_range
           set authority = 'valid', decided_by = $2, decided_at = $3
             , valid_during = tstzrange($3, upper(valid_during))
         where range_id = $1
        "#,
        range.0,
        decided_by.map(|id| id.0),
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Refuses a range, pending or once verified.
pub async fn refuse(
    db: impl PgExecutor<'_>,
    range: RangeId,
    decided_by: Option<UserId>,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "update number_range set authority = 'refused', decided_by = $2, decided_at = $3 where range_id = $1",
        range.0,
        decided_by.map(|id| id.0),
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

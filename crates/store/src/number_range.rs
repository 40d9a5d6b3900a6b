//! Which blocks of numbers members hold or claim, and by what authority.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::types::{Json, Uuid};
use sqlx::{Acquire, PgConnection, PgExecutor, Result};
use tandem_model::{Authority, Evidence, MemberId, Prefix, RangeId, UserId, Validity};

use crate::allocation::{AllocatedToOther, AllocationStanding};
use crate::{database, word};

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
    /// By which evidence it is verified, where it is.
    pub verified_by: Option<Evidence>,
    /// What the lists of allocations say of it.
    pub allocation: AllocationStanding,
    /// Until when a certificate of the member gives it all the numbers.
    pub certified_until: Option<DateTime<Utc>>,
    /// What the member says in support.
    pub evidence: String,
    /// When it holds.
    pub validity: Validity,
    /// When it was last asked to be renewed, while that is undecided.
    pub renewal_requested_at: Option<DateTime<Utc>>,
    /// Until when it was asked to be renewed; until further notice where that is `None`.
    pub renewal_until: Option<DateTime<Utc>>,
    /// Ranges of other members that have some of its numbers, those first that stand in its way.
    pub conflicts: Vec<Conflict>,
    /// When it was claimed.
    pub created_at: DateTime<Utc>,
    /// When the operator decided.
    pub decided_at: Option<DateTime<Utc>>,
}

/// A range of another member that has some of the same numbers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Conflict {
    /// Whose range.
    pub member_id: MemberId,
    /// The short name of that member.
    pub member_name: String,
    /// The leading digits of its numbers.
    pub prefix: Prefix,
    /// What was decided about it.
    pub authority: Authority,
    /// Whether it stands in the way: it is verified, or was claimed earlier.
    pub precedes: bool,
}

impl NumberRange {
    /// Whether it is a claim that another member's range stands in the way of.
    pub fn is_disputed(&self) -> bool {
        self.conflicts.iter().any(|conflict| conflict.precedes)
    }

    /// Whether the list of allocations, or the certificate, that it was verified by no longer gives its numbers to the
    /// member.
    pub fn evidence_is_gone(&self) -> bool {
        match self.verified_by {
            Some(Evidence::Regulator) => !self.allocation.covers,
            Some(Evidence::Certificate) => self.certified_until.is_none(),
            Some(Evidence::Document | Evidence::Challenge) | None => false,
        }
    }
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
    /// Only those that the operator has something to decide about: claims, ranges to be renewed, and those whose
    /// evidence is gone.
    pub undecided: bool,
    /// Only claims that are disputed.
    pub disputed: bool,
}

struct Row {
    range_id: Uuid,
    member_id: Uuid,
    member_name: String,
    prefix: String,
    authority: String,
    verified_by: String,
    allocation_covers: bool,
    allocation_ends_at: Option<DateTime<Utc>>,
    allocated_to_others: Json<Vec<AllocatedToOther>>,
    certified_until: Option<DateTime<Utc>>,
    evidence: String,
    valid_from: DateTime<Utc>,
    valid_until: Option<DateTime<Utc>>,
    renewal_requested_at: Option<DateTime<Utc>>,
    renewal_until: Option<DateTime<Utc>>,
    conflicts: Json<Vec<Conflict>>,
    created_at: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
}

impl Row {
    fn read(self) -> Result<NumberRange> {
        let authority = word::read(&self.authority)?;
        let evidence = word::read(&self.verified_by)?;
        Ok(NumberRange {
            range_id: RangeId(self.range_id),
            member_id: MemberId(self.member_id),
            member_name: self.member_name,
            prefix: word::prefix(&self.prefix)?,
            authority,
            verified_by: (authority == Authority::Valid).then_some(evidence),
            allocation: AllocationStanding {
                covers: self.allocation_covers,
                ends_at: self.allocation_ends_at,
                others: self.allocated_to_others.0,
            },
            certified_until: self.certified_until,
            evidence: self.evidence,
            validity: Validity { from: self.valid_from, until: self.valid_until },
            renewal_requested_at: self.renewal_requested_at,
            renewal_until: self.renewal_until,
            conflicts: self.conflicts.0,
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
        select r.range_id, r.member_id, m.name as member_name, r.prefix, r.authority, r.evidence, r.verified_by
             , s.covers as "allocation_covers!", s.ends_at as allocation_ends_at
             , s.others as "allocated_to_others!: Json<Vec<AllocatedToOther>>", c.ends_at as certified_until
             , lower(r.valid_during) as "valid_from!", upper(r.valid_during) as valid_until
             , r.created_at, r.decided_at, r.renewal_requested_at, r.renewal_until
             , conflicts_of(r, $4) as "conflicts!: Json<Vec<Conflict>>"
          from number_range r join member m using (member_id)
         cross join lateral allocation_standing(r.member_id, r.prefix, $4) s
         cross join lateral certificate_ends_at(r.member_id, r.prefix, $4) c (ends_at)
         where ($1::uuid is null or r.member_id = $1)
           and ($2::text is null or r.authority = $2)
           and ($3::boolean is null or coalesce(upper(r.valid_during) <= $4, false) = $3)
           and ($5::uuid is null or r.range_id < $5)
           and (not $7 or ((r.authority = 'pending' or r.renewal_requested_at is not null
                            or (r.authority = 'valid' and r.verified_by = 'regulator' and not s.covers)
                            or (r.authority = 'valid' and r.verified_by = 'certificate' and c.ends_at is null))
                           and r.valid_during && tstzrange($4, null)))
           and (not $8 or conflicts_of(r, $4) @> '[{"precedes": true}]'
                or (r.authority = 'pending' and s.others <> '[]' and r.valid_during && tstzrange($4, null)))
         order by r.range_id desc
         limit $6
        "#,
        filter.member.map(|id| id.0),
        filter.authority.map(word::text),
        filter.ended,
        at,
        before.map(|id| id.0),
        limit,
        filter.undecided,
        filter.disputed,
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
    at: DateTime<Utc>,
) -> Result<Option<NumberRange>> {
    sqlx::query_as!(
        Row,
        r#"
        select r.range_id, r.member_id, m.name as member_name, r.prefix, r.authority, r.evidence, r.verified_by
             , s.covers as "allocation_covers!", s.ends_at as allocation_ends_at
             , s.others as "allocated_to_others!: Json<Vec<AllocatedToOther>>", c.ends_at as certified_until
             , lower(r.valid_during) as "valid_from!", upper(r.valid_during) as valid_until
             , r.created_at, r.decided_at, r.renewal_requested_at, r.renewal_until
             , conflicts_of(r, $3) as "conflicts!: Json<Vec<Conflict>>"
          from number_range r join member m using (member_id)
         cross join lateral allocation_standing(r.member_id, r.prefix, $3) s
         cross join lateral certificate_ends_at(r.member_id, r.prefix, $3) c (ends_at)
         where ($1::uuid is null or r.member_id = $1) and r.range_id = $2
           for update of r
        "#,
        member.map(|id| id.0),
        range.0,
        at,
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

/// Claims a range from `at` on, until further notice or `until`. The member may have claimed it already: `number_range_claimed_twice`.
pub async fn insert(
    db: impl PgExecutor<'_>,
    member: MemberId,
    prefix: Prefix,
    evidence: &str,
    until: Option<DateTime<Utc>>,
    at: DateTime<Utc>,
) -> Result<RangeId> {
    sqlx::query_scalar!(
        r#"
        insert into number_range (member_id, prefix, evidence, valid_during, created_at)
        values ($1, $2, $3, tstzrange($4, $5), $4)
        returning range_id
        "#,
        member.0,
        prefix.digits(),
        evidence,
        at,
        until,
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

/// Asks for a range to be renewed, until further notice or `until`, by new evidence. Until the operator decides, it
/// stands as it does.
pub async fn request_renewal(
    db: impl PgExecutor<'_>,
    range: RangeId,
    evidence: &str,
    until: Option<DateTime<Utc>>,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"
        update number_range set evidence = $2, renewal_requested_at = $3, renewal_until = $4
         where range_id = $1
        "#,
        range.0,
        evidence,
        at,
        until,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Verifies a valid range anew by `evidence`: as its member has asked where it has, or until `until` where that is given.
/// Another member may hold part of it later: `number_range_overlaps`.
pub async fn renew(
    db: impl PgExecutor<'_>,
    range: RangeId,
    evidence: Evidence,
    until: Option<DateTime<Utc>>,
    decided_by: Option<UserId>,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"
        update number_range
           set valid_during = tstzrange(lower(valid_during), coalesce($2, case
                   when renewal_requested_at is null then upper(valid_during) else renewal_until end))
             , renewal_requested_at = null, renewal_until = null, decided_by = $3, decided_at = $4, verified_by = $5
         where range_id = $1
        "#,
        range.0,
        until,
        decided_by.map(|id| id.0),
        at,
        word::text(evidence),
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Does not renew a range: it ends when it would have.
pub async fn refuse_renewal(
    db: impl PgExecutor<'_>,
    range: RangeId,
    decided_by: Option<UserId>,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"
        update number_range
           set renewal_requested_at = null, renewal_until = null, decided_by = $2, decided_at = $3
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

/// Verifies a range by `evidence`: it is held from `at` on, until what was claimed or `until` where that is given. Another
/// member may hold part of it: `number_range_overlaps`.
pub async fn verify(
    db: impl PgExecutor<'_>,
    range: RangeId,
    evidence: Evidence,
    until: Option<DateTime<Utc>>,
    decided_by: Option<UserId>,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"
        update number_range
           set authority = 'valid', decided_by = $2, decided_at = $3
             , valid_during = tstzrange($3, coalesce($4, upper(valid_during))), verified_by = $5
         where range_id = $1
        "#,
        range.0,
        decided_by.map(|id| id.0),
        at,
        until,
        word::text(evidence),
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// [`verify`], or [`renew`] for a range that is valid already, without anybody's hand; says whether it did: not where
/// another member holds some of its numbers.
pub async fn verify_by_itself(
    db: &mut PgConnection,
    range: &NumberRange,
    evidence: Evidence,
    until: Option<DateTime<Utc>>,
    at: DateTime<Utc>,
) -> Result<bool> {
    let (id, mut savepoint) = (range.range_id, db.begin().await?);
    let verified = match range.authority {
        Authority::Valid => renew(&mut *savepoint, id, evidence, until, None, at).await,
        Authority::Pending | Authority::Refused => {
            verify(&mut *savepoint, id, evidence, until, None, at).await
        }
    };
    match verified {
        Ok(()) => savepoint.commit().await.map(|()| true),
        Err(error) if database::constraint(&error) == Some("number_range_overlaps") => {
            savepoint.rollback().await.map(|()| false)
        }
        Err(error) => Err(error),
    }
}

/// Claims, of one member or of all, that lists of allocations or certificates verify now; the earliest first.
pub async fn verifiable(
    db: impl PgExecutor<'_>,
    member: Option<MemberId>,
    at: DateTime<Utc>,
) -> Result<Vec<RangeId>> {
    let ids = sqlx::query_scalar!(
        r#"
        select r.range_id
          from number_range r
         cross join lateral allocation_standing(r.member_id, r.prefix, $2) s
         cross join lateral certificate_ends_at(r.member_id, r.prefix, $2) c (ends_at)
         where r.authority = 'pending' and r.valid_during @> $2::timestamptz
           and ($1::uuid is null or r.member_id = $1) and (s.covers or c.ends_at is not null)
         order by r.range_id
        "#,
        member.map(|id| id.0),
        at,
    )
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(RangeId).collect())
}

/// Refuses a range, pending or once verified.
pub async fn refuse(
    db: impl PgExecutor<'_>,
    range: RangeId,
    decided_by: Option<UserId>,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"
        update number_range
           set authority = 'refused', renewal_requested_at = null, renewal_until = null
             , decided_by = $2, decided_at = $3
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

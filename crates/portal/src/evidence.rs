//! Verifies claims by evidence that needs nobody's hand: when they are made, and when the evidence comes.
//!
//! The rule: a claim is verified where the lists of allocations give all its numbers to its member, where an STI
//! certificate whose key the member has does, or where the member has taken calls to it. Where the lists give some of the
//! numbers to somebody else, only the operator verifies it, whatever else speaks for it; and a verified range of another
//! member stands in its way until the operator has decided.

use chrono::{DateTime, Utc};
use tandem_model::{Authority, Evidence, MemberId, RangeId, Reason};
use tandem_store::number_range::{self, NumberRange};
use tandem_store::{PgConnection, Transaction};

use crate::problem::ApiError;
use crate::range::RangeView;
use crate::session::{Change, Session};

/// Verifies or renews a range that waits for it, where there is evidence now; says what it is like then, or `None`
/// where nothing has changed.
pub(crate) async fn settle(
    db: &mut PgConnection,
    session: &Session,
    range: RangeId,
    now: DateTime<Utc>,
) -> Result<Option<RangeView>, ApiError> {
    let found = number_range::lock(&mut *db, None, range, now).await?;
    let range = found.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let (evidence, ends_at) = match (range.allocation.covers, range.certified_until) {
        (true, _) => (Evidence::Regulator, range.allocation.ends_at),
        (false, Some(ends_at)) => (Evidence::Certificate, Some(ends_at)),
        (false, None) => return Ok(None),
    };
    accept(db, session, range, evidence, ends_at, now).await
}

/// Verifies or renews a range that waits for it by `evidence`, which is good until `ends_at`.
pub(crate) async fn accept(
    db: &mut PgConnection,
    session: &Session,
    range: NumberRange,
    evidence: Evidence,
    ends_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Option<RangeView>, ApiError> {
    let claimed_until = match range.authority {
        Authority::Pending => range.validity.until,
        Authority::Valid if range.renewal_requested_at.is_some() => range.renewal_until,
        Authority::Valid | Authority::Refused => return Ok(None),
    };
    let is_over = range.validity.until.is_some_and(|until| until <= now);
    if is_over || !range.allocation.others.is_empty() {
        return Ok(None);
    }
    let until = match (claimed_until, ends_at) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    if !number_range::verify_by_itself(&mut *db, &range, evidence, until, now).await? {
        return Ok(None);
    }
    let (id, member) = (range.range_id, range.member_id);
    let before = RangeView::of(range, now);
    let after = RangeView::read(&mut *db, None, id, now).await?;
    let change = Change::of("range.verify", Some(member), id.0, Some(&before), Some(&after));
    session.record(db, now, change).await?;
    Ok(Some(after))
}

/// Verifies the claims, of one member or of all, that lists of allocations or certificates verify now; says how many.
pub(crate) async fn settle_all(
    transaction: &mut Transaction<'_>,
    session: &Session,
    member: Option<MemberId>,
    now: DateTime<Utc>,
) -> Result<u64, ApiError> {
    let mut verified = 0;
    for range in number_range::verifiable(&mut **transaction, member, now).await? {
        verified += u64::from(settle(transaction, session, range, now).await?.is_some());
    }
    Ok(verified)
}

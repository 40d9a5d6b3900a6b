//! How an import takes effect: a few statements over all of its rows, in one transaction.
//!
//! Nothing of it is seen, and no node routes by it, before the transaction commits; after a crash it is as if it had
//! not begun. The order of the statements keeps the rule `announcement_exists` at each step, and the change feed is
//! written last, since whoever writes it makes all other writers wait.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::types::Uuid;
use sqlx::{PgConnection, PgExecutor, Result};
use tandem_model::{ImportId, MemberId, Reason};

use crate::import::{ImportCounts, ImportMode, ImportState};
use crate::word;

/// Lets the planner know of what has been uploaded. Outside of a transaction, which would keep others from it.
pub async fn analyze(db: impl PgExecutor<'_>) -> Result<()> {
    sqlx::query!("analyze import_row").execute(db).await.map(|_| ())
}

/// Longest run of one statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(600);

/// Memory of one sort or hash table: the rows of an import are sorted without files.
const WORK_MEMORY: &str = "128MB";

/// Faults that one look at the rows writes down; there may be more, and all are counted.
const MAX_FAULTS: i64 = 100_000;

/// Takes an import for this transaction, which may now last; its state, or `None` where another one has it.
pub async fn claim(db: &mut PgConnection, id: ImportId) -> Result<Option<ImportState>> {
    sqlx::query!(
        r#"
        select set_config('statement_timeout', $1, true) as timeout, set_config('work_mem', $2, true) as memory
             , set_config('tandem.feed', 'by_hand', true) as feed
        "#,
        STATEMENT_TIMEOUT.as_millis().to_string(),
        WORK_MEMORY,
    )
    .fetch_one(&mut *db)
    .await?;
    let free = sqlx::query_scalar!(
        r#"select pg_try_advisory_xact_lock(hashtextextended($1::uuid::text, 0)) as "free!""#,
        id.0
    );
    if !free.fetch_one(&mut *db).await? {
        return Ok(None);
    }
    let state = sqlx::query_scalar!("select state from import where import_id = $1", id.0);
    state.fetch_optional(db).await?.map(|state| word::read(&state)).transpose()
}

/// Shows how far it has come: by another connection than that of its transaction.
pub async fn show_applying(db: impl PgExecutor<'_>, id: ImportId, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update import set state = 'applying', checked_at = $2 where import_id = $1 and state = 'checking'",
        id.0,
        at
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Looks at the rows beside each other and beside the ranges that the member holds at `at`. Those that cannot be taken
/// are written down and removed; how many there are.
pub async fn check(db: &mut PgConnection, id: ImportId, member: MemberId, at: DateTime<Utc>) -> Result<u32> {
    let repeated = sqlx::query_scalar!(
        r#"
        with repeated as (
            select prefix, min(line) as first from import_row where import_id = $1 group by prefix having count(*) > 1
        ), bad as (
            delete from import_row r using repeated d
             where r.import_id = $1 and r.prefix = d.prefix and r.line <> d.first
            returning r.line, r.prefix, d.first
        ), noted as (
            insert into import_fault (import_id, line, content, reason, detail)
            select $1, line, '+' || prefix, 'conflict', format('line %s has the prefix, too', first)
              from bad
             order by line
             limit $2
        )
        select count(*) as "count!" from bad
        "#,
        id.0,
        MAX_FAULTS,
    )
    .fetch_one(&mut *db)
    .await?;
    let not_held = sqlx::query_scalar!(
        r#"
        with held as materialized (
            select distinct prefix::bigint as prefix, length(prefix) as digits
              from number_range
             where member_id = $2 and authority = 'valid' and valid_during @> $3::timestamptz
        ), covered as (
            select r.line
              from import_row r
              cross join (select distinct digits from held) as d
              join held h on h.prefix = left(r.prefix::text, d.digits)::bigint
             where r.import_id = $1 and r.announces
        ), bad as (
            delete from import_row r
             where r.import_id = $1 and r.announces and not exists (select from covered c where c.line = r.line)
            returning r.line, r.prefix::text as prefix
        ), noted as (
            insert into import_fault (import_id, line, content, reason)
            select $1, line, '+' || prefix, coalesce(announcement_lack($2, prefix, $3), 'range_missing')
              from (select line, prefix from bad order by line limit $4) as shown
        )
        select count(*) as "count!" from bad
        "#,
        id.0,
        member.0,
        at,
        MAX_FAULTS,
    )
    .fetch_one(&mut *db)
    .await?;
    word::fits(repeated + not_held)
}

/// Writes what the rows say, from `at` on; what that changed, and the position of the feed that has all of it.
pub async fn apply(
    db: &mut PgConnection,
    id: ImportId,
    member: MemberId,
    mode: ImportMode,
    at: DateTime<Utc>,
) -> Result<(ImportCounts, u64)> {
    let replaces = mode == ImportMode::Replace;
    // What was planned for a prefix of the file is superseded, and what is replaced had better not begin.
    let planned = sqlx::query!(
        r#"
        delete from announcement a
         where a.member_id = $2 and lower(a.valid_during) >= $3
           and ($4 or exists (select from import_row r where r.import_id = $1 and r.prefix = a.prefix::bigint))
        returning a.announcement_id
             , not exists (select from import_row r
                            where r.import_id = $1 and r.announces and r.prefix = a.prefix::bigint)
               and not exists (select from announcement o
                                where o.member_id = $2 and o.prefix = a.prefix and lower(o.valid_during) < $3
                                  and o.valid_during @> $3::timestamptz) as "is_withdrawn!"
        "#,
        id.0,
        member.0,
        at,
        replaces,
    )
    .fetch_all(&mut *db)
    .await?;
    let changed = change(&mut *db, id, member, at).await?;
    let withdrawn = sqlx::query!(
        r#"
        update announcement a
           set valid_during = tstzrange(lower(a.valid_during), $3), import_id = $1
         where a.member_id = $2 and a.valid_during @> $3::timestamptz and lower(a.valid_during) < $3
           and case when $4 then not exists (select from import_row r
                                              where r.import_id = $1 and r.announces and r.prefix = a.prefix::bigint)
                    else exists (select from import_row r
                                  where r.import_id = $1 and not r.announces and r.prefix = a.prefix::bigint) end
        "#,
        id.0,
        member.0,
        at,
        replaces,
    )
    .execute(&mut *db)
    .await?
    .rows_affected();
    let added = add(&mut *db, id, member, at).await?;
    let announced = sqlx::query_scalar!(
        r#"select count(*) as "count!" from import_row where import_id = $1 and announces"#,
        id.0
    );
    let announced: u64 = word::fits(announced.fetch_one(&mut *db).await?)?;
    let superseded = planned.iter().filter(|row| row.is_withdrawn).count() as u64;
    let counts = ImportCounts {
        added: word::fits(added)?,
        changed: word::fits(changed)?,
        withdrawn: word::fits(withdrawn + superseded)?,
        unchanged: word::fits(announced.saturating_sub(added + changed))?,
    };
    let gone: Vec<Uuid> = planned.into_iter().map(|row| row.announcement_id).collect();
    let position = append_to_feed(db, id, &gone).await?;
    Ok((counts, word::fits(position)?))
}

/// Notes the end of an import in the transaction that brought it about: that it was applied, with what it changed, or
/// that it failed. Rows that [`check`] has removed are counted as faulty.
pub async fn end(
    db: impl PgExecutor<'_>,
    id: ImportId,
    faulty_rows: u32,
    outcome: std::result::Result<(ImportCounts, u64), Reason>,
    at: DateTime<Utc>,
) -> Result<()> {
    let (counts, position) = outcome.ok().unzip();
    let counts = counts.unwrap_or_default();
    sqlx::query!(
        r#"
        update import
           set state = case when $3::text is null then 'applied' else 'failed' end, failure = $3, feed_position = $4
             , good_rows = good_rows - $2, faulty_rows = faulty_rows + $2
             , added = $5, changed = $6, withdrawn = $7, unchanged = $8, ended_at = $9
         where import_id = $1
        "#,
        id.0,
        word::fits::<i32, _>(faulty_rows)?,
        outcome.err().map(Reason::code),
        position.map(word::fits::<i64, _>).transpose()?,
        word::fits::<i32, _>(counts.added)?,
        word::fits::<i32, _>(counts.changed)?,
        word::fits::<i32, _>(counts.withdrawn)?,
        word::fits::<i32, _>(counts.unchanged)?,
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Gives announcements that are in force other endpoints, and no end, where the file says so; how many.
async fn change(db: impl PgExecutor<'_>, id: ImportId, member: MemberId, at: DateTime<Utc>) -> Result<u64> {
    sqlx::query!(
        r#"
        update announcement a
           set valid_during = tstzrange(lower(a.valid_during), null), endpoint_ids = r.endpoint_ids, import_id = $1
          from import_row r
         where r.import_id = $1 and r.announces and a.member_id = $2 and a.prefix = r.prefix::text
           and a.valid_during @> $3::timestamptz
           and (upper(a.valid_during) is not null or r.endpoint_ids <> a.endpoint_ids)
        "#,
        id.0,
        member.0,
        at,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}

/// Announces the prefixes of the file that are not announced at `at`; how many.
async fn add(db: impl PgExecutor<'_>, id: ImportId, member: MemberId, at: DateTime<Utc>) -> Result<u64> {
    // In the order of the index on them: its pages are written one after the other.
    sqlx::query!(
        r#"
        insert into announcement (announcement_id, member_id, prefix, valid_during, created_at, endpoint_ids, import_id)
        select r.announcement_id, $2, r.prefix::text, tstzrange($3, null), $3, r.endpoint_ids, $1
          from import_row r
         where r.import_id = $1 and r.announces
           and not exists (select from announcement a
                            where a.member_id = $2 and a.prefix = r.prefix::text
                              and a.valid_during @> $3::timestamptz)
         order by r.prefix::text
        "#,
        id.0,
        member.0,
        at,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}

/// Appends the import, and what it removed, to the change feed; the position of the last entry.
async fn append_to_feed(db: &mut PgConnection, id: ImportId, gone: &[Uuid]) -> Result<i64> {
    if !gone.is_empty() {
        sqlx::query!("select append_objects_to_feed('announcement', $1)", gone).fetch_one(&mut *db).await?;
    }
    sqlx::query_scalar!(r#"select append_objects_to_feed('import', array[$1::uuid]) as "position!""#, id.0)
        .fetch_one(db)
        .await
}

//! The exchange as it was: facts of any version of the route table since the horizon of what is kept.
//!
//! What stands is where it always was; the schema `past` keeps what each change took the place of, and shows each table as
//! it was at a position of the feed. So the past is read by the very statements that read the present ([`crate::facts`]).

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool, Result};
use tandem_model::Facts;

use crate::database;
use crate::facts::{self, LOAD_TIMEOUT, Loaded, ObjectIds, to_i64, to_u64};

/// Changes beyond which tables are read as a whole rather than row by row.
const MANY: usize = 20_000;

/// Longest run of a search through all that is kept.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(3_600);

/// From where on the past is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// The first version that can be told.
    pub position: u64,
    /// Since when it stood.
    pub at: DateTime<Utc>,
}

/// From where on the past is known.
pub async fn horizon(db: impl PgExecutor<'_>) -> Result<Horizon> {
    let row = sqlx::query!("select position, at from past.horizon").fetch_one(db).await?;
    Ok(Horizon { position: to_u64(row.position), at: row.at })
}

/// The version of the route table that stood at a moment: that of the last change which was committed whole by then.
/// `None` where that is before the [`horizon`].
pub async fn version_at(db: impl PgExecutor<'_>, at: DateTime<Utc>) -> Result<Option<u64>> {
    let position = sqlx::query_scalar!(
        r#"
        with last as (
            select position, transaction_id from past.step
             where recorded_at <= $1
             order by position desc
             limit 1
        ), whole as (
            -- Of a transaction that was still at work nothing was there yet.
            select case when exists (select from past.step s
                                      where s.transaction_id = last.transaction_id and s.position > last.position)
                        then (select max(s.position) from past.step s
                               where s.position < last.position and s.transaction_id <> last.transaction_id)
                        else last.position
                   end as position
              from last
        )
        select coalesce((select position from whole), h.position)
          from past.horizon h
         where h.at <= $1
        "#,
        at,
    )
    .fetch_optional(db)
    .await?;
    Ok(position.flatten().map(to_u64))
}

/// What makes the table of the version `from` that of the earlier version `to`: the objects that have changed since, as they
/// were, and in `gone` those that were not there yet. `None` where `to` is before the [`horizon`] or after `from`.
pub async fn undo(db: &PgPool, from: u64, to: u64) -> Result<Option<Loaded>> {
    database::within(LOAD_TIMEOUT, async {
        let mut snapshot = facts::snapshot(db).await?;
        if to > from || horizon(&mut *snapshot).await?.position > to {
            return Ok(None);
        }
        let entries = sqlx::query!(
            "select distinct kind, object_id from feed_entry where position > $1 and position <= $2",
            to_i64(to),
            to_i64(from),
        )
        .fetch_all(&mut *snapshot)
        .await?;
        let mut wanted = ObjectIds::default();
        entries.into_iter().for_each(|entry| wanted.add(&entry.kind, entry.object_id));
        wanted.add_imported_between(&mut snapshot, to, from).await?;
        let count = wanted.len();
        turn_back(&mut snapshot, to, count).await?;
        let mut loaded = facts::read(&mut snapshot, Some(&wanted)).await?;
        snapshot.commit().await?;
        loaded.facts.position = to;
        loaded.facts.gone = wanted.missing_from(&loaded.facts);
        Ok(Some(loaded))
    })
    .await
}

/// Everything that routing was built from at a version. `None` where that is before the [`horizon`] or yet to come.
pub async fn load(db: &PgPool, version: u64) -> Result<Option<Facts>> {
    database::within(LOAD_TIMEOUT, async {
        let mut snapshot = facts::snapshot(db).await?;
        let (end, _) = facts::head(&mut snapshot).await?;
        if version > end || horizon(&mut *snapshot).await?.position > version {
            return Ok(None);
        }
        turn_back(&mut snapshot, version, usize::MAX).await?;
        let mut facts = facts::read(&mut snapshot, None).await?.facts;
        snapshot.commit().await?;
        facts.position = version;
        Ok(Some(facts))
    })
    .await
}

/// Lets the transaction see the tables as they were, where so many rows are to be read.
async fn turn_back(snapshot: &mut PgConnection, version: u64, rows: usize) -> Result<()> {
    if rows > MANY {
        facts::without_nested_loops(snapshot).await?;
    }
    sqlx::query!(
        "select set_config('search_path', 'past, public', true) as path, set_config('tandem.as_of', $1, true) as as_of",
        version.to_string(),
    )
    .fetch_one(snapshot)
    .await
    .map(|_| ())
}

/// Sees to it that every table which routing depends on leaves its past, whichever migrations there were.
pub(crate) async fn watch(db: &PgPool) -> Result<()> {
    sqlx::query("select past.watch()").execute(db).await.map(|_| ())
}

/// Forgets what was before a moment. It says from which position on the past is known, where that has changed.
pub async fn forget(db: &PgPool, before: DateTime<Utc>) -> Result<Option<u64>> {
    let position =
        sqlx::query_scalar!(r#"select past.forget($1) as "position!""#, before).fetch_one(db).await?;
    Ok(Some(to_u64(position)).filter(|position| *position > 0))
}

/// The first position of the feed at which what is kept of the past is not what was written: somebody or something has
/// changed it since. It reads all that is kept.
pub async fn first_broken(db: &PgPool) -> Result<Option<u64>> {
    let mut transaction = db.begin().await?;
    let limit = CHECK_TIMEOUT.as_millis().to_string();
    sqlx::query_scalar!("select set_config('statement_timeout', $1, true)", limit)
        .fetch_one(&mut *transaction)
        .await?;
    let position = sqlx::query_scalar!("select past.first_broken()").fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(position.map(to_u64))
}

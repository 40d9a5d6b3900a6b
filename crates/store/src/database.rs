//! Connections to the hub's database, its migrations, and what a failed statement means.
//!
//! Postgres is never on the call path and every wait for it has an end: for a connection, for a lock, for a
//! statement, and, where the server itself stands still, for its answer ([`within`]).

use std::future::Future;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Result};
use tandem_model::Reason;

use crate::past;

/// Longest wait for a connection of the pool, a new one included.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest run of a statement, as Postgres counts it. Longer jobs raise it for their own transaction.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait of a statement for a lock, as Postgres counts it.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest that a transaction may stand open without a statement; then Postgres ends its connection.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections of one node at most.
const MAX_CONNECTIONS: u32 = 16;

static MIGRATOR: Migrator = {
    let mut migrator = sqlx::migrate!("../../migrations");
    // During an upgrade the old program still starts on the schema of the new one.
    migrator.ignore_missing = true;
    migrator
};

/// A pool of connections to the database at `url`, of which one has been tried.
pub async fn connect(url: &str) -> Result<PgPool> {
    connect_with(url, MAX_CONNECTIONS).await
}

/// [`connect`], with at most `max_connections`.
pub async fn connect_with(url: &str, max_connections: u32) -> Result<PgPool> {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options(url)?)
        .await
}

/// A pool for the database at `url`, whether or not it can be reached yet.
pub fn connect_later(url: &str) -> Result<PgPool> {
    Ok(PgPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options(url)?))
}

fn options(url: &str) -> Result<PgConnectOptions> {
    let ms = |limit: Duration| limit.as_millis().to_string();
    Ok(PgConnectOptions::from_str(url)?.application_name("tandem").options([
        ("statement_timeout", ms(STATEMENT_TIMEOUT)),
        ("lock_timeout", ms(LOCK_TIMEOUT)),
        ("idle_in_transaction_session_timeout", ms(IDLE_IN_TRANSACTION_TIMEOUT)),
        ("timezone", "UTC".to_owned()),
    ]))
}

/// Brings the schema up to what this program needs. Safe to run from several nodes at once.
pub async fn migrate(db: &PgPool) -> Result<()> {
    MIGRATOR.run(db).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(error) => error,
        other => sqlx::Error::Migrate(Box::new(other)),
    })?;
    past::watch(db).await
}

/// Hexadecimal digest that changes with any migration.
pub fn migrations_digest() -> String {
    // FNV-1a over the checksums: it names a template database, nothing more.
    let digest = MIGRATOR
        .iter()
        .flat_map(|migration| migration.checksum.iter())
        .fold(0xcbf2_9ce4_8422_2325_u64, |digest, &octet| {
            (digest ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{digest:016x}")
}

/// The outcome of `work`, or a time-out where it takes longer than `limit`: a server that stands still
/// ends no statement by itself.
pub async fn within<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(sqlx::Error::Io(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the database did not answer within {} s", limit.as_secs()),
        ))),
    }
}

/// Name of the constraint that a failed statement would have broken.
pub fn constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.constraint()
}

/// What the broken constraint means to the one who asked, where it is a matter of theirs.
pub fn reason(error: &sqlx::Error) -> Option<Reason> {
    Some(match constraint(error)? {
        "number_range_overlaps" => Reason::RangeOverlaps,
        "endpoint_source_overlaps" | "endpoint_source_marks_differ_in_kind" => Reason::SourceOverlaps,
        "announcement_exists" | "announcement_exists_for_a_time" => Reason::AnnouncementExists,
        "agreement_exists" => Reason::AgreementExists,
        _ => match error.as_database_error()?.kind() {
            sqlx::error::ErrorKind::UniqueViolation | sqlx::error::ErrorKind::ExclusionViolation => {
                Reason::Conflict
            }
            _ => Reason::Invalid,
        },
    })
}

/// Whether the data itself is at fault, so that the same statement fails again however often it is tried.
pub fn is_data_error(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // SQLSTATE classes: data exception, integrity constraint violation, program limit exceeded,
            // cardinality violation.
            ["22", "23", "54", "21"].iter().any(|class| code.starts_with(class))
        }),
        sqlx::Error::Encode(_) => true,
        _ => false,
    }
}

/// Whether two transactions stood in each other's way, so that trying again is the remedy.
pub(crate) fn is_clash(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| code == "40001" || code == "40P01")
}

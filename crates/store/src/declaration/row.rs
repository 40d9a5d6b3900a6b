//! Rows that are written with many others in one statement; one that is at fault is found and named.

use std::future::Future;

use sqlx::{Connection, PgConnection};

use super::{ApplyError, wrong};
use crate::database;

/// A row that is written with many others in one statement, and named alone where it is at fault.
pub(super) trait Row: Sized + Sync {
    fn insert(rows: &[Self], db: &mut PgConnection) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// As a message about it begins.
    fn name(&self) -> String;
}

/// Writes the rows; where one of them cannot be, finds out which.
pub(super) async fn insert<R: Row>(db: &mut PgConnection, rows: &[R]) -> Result<(), ApplyError> {
    let mut suspects = rows;
    let mut failure = None;
    loop {
        // After a failure, the first half is tried: what is sound stays written, what is not is halved again.
        let (part, rest) = match failure {
            None => (suspects, &suspects[..0]),
            Some(_) => suspects.split_at(suspects.len() / 2),
        };
        if !part.is_empty() {
            let mut savepoint = db.begin().await?;
            match R::insert(part, &mut savepoint).await {
                Ok(()) => savepoint.commit().await?,
                Err(error) if database::is_data_error(&error) => {
                    savepoint.rollback().await?;
                    failure = Some(error);
                    suspects = part;
                    if part.len() > 1 {
                        continue;
                    }
                    return Err(explain(&part[0].name(), failure));
                }
                Err(error) => return Err(error.into()),
            }
        }
        match rest {
            [] => return Ok(()),
            // The whole failed and its first half did not, so the second one does.
            [alone] if failure.is_some() => {
                let mut savepoint = db.begin().await?;
                let outcome = R::insert(rest, &mut savepoint).await;
                savepoint.rollback().await?;
                return Err(explain(&alone.name(), outcome.err().or(failure)));
            }
            rest => suspects = rest,
        }
    }
}

/// What Postgres says of the row, and what it means.
pub(super) fn explain(row: &str, error: Option<sqlx::Error>) -> ApplyError {
    let Some(error) = error else { return wrong(row, "it conflicts with another row of the file") };
    let mut why = match database::reason(&error) {
        Some(reason) => format!("{}; {}", reason.sentence(), reason.remedy().trim_end_matches('.')),
        None => "the database does not take it".to_owned(),
    };
    if let Some(database) = error.as_database_error() {
        let detail = database
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .and_then(|error| error.detail())
            .map_or_else(|| database.message().to_owned(), str::to_owned);
        why.push_str(&format!(" ({}: {detail})", database.constraint().unwrap_or("postgres")));
    }
    wrong(row, why)
}

/// A limit as a column holds it.
pub(super) fn bound(max: Option<u32>) -> Option<i32> {
    max.map(|max| i32::try_from(max).unwrap_or(i32::MAX))
}

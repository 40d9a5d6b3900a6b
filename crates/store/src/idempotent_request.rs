//! Requests that have one effect however often they are sent, and the answers that they were given.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, Result};

/// A request that came before.
#[derive(Clone, Debug, PartialEq)]
pub struct IdempotentRequest {
    /// SHA-256 of what was asked.
    pub request_hash: Vec<u8>,
    /// What was answered.
    pub response: Option<serde_json::Value>,
}

/// Takes a key of a scope for this transaction; whether it was free. Waits while another transaction has it.
pub async fn claim(
    db: impl PgExecutor<'_>,
    scope: &str,
    key: &str,
    request_hash: &[u8; 32],
    at: DateTime<Utc>,
) -> Result<bool> {
    sqlx::query!(
        r#"
        insert into idempotent_request (scope, key, request_hash, created_at)
        values ($1, $2, $3, $4)
        on conflict do nothing
        "#,
        scope,
        key,
        request_hash.as_slice(),
        at,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// The request that took a key before.
pub async fn find(db: impl PgExecutor<'_>, scope: &str, key: &str) -> Result<Option<IdempotentRequest>> {
    sqlx::query_as!(
        IdempotentRequest,
        "select request_hash, response from idempotent_request where scope = $1 and key = $2",
        scope,
        key,
    )
    .fetch_optional(db)
    .await
}

/// Keeps the answer, in the transaction that took the key.
pub async fn answer(
    db: impl PgExecutor<'_>,
    scope: &str,
    key: &str,
    response: &serde_json::Value,
) -> Result<()> {
    sqlx::query!(
        "update idempotent_request set response = $3 where scope = $1 and key = $2",
        scope,
        key,
        response,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Forgets what was asked before `before`.
pub async fn delete_older(db: impl PgExecutor<'_>, before: DateTime<Utc>) -> Result<u64> {
    sqlx::query!("delete from idempotent_request where created_at < $1", before)
        .execute(db)
        .await
        .map(|done| done.rows_affected())
}

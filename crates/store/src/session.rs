//! Signed-in browsers. Only the hash of a cookie is here.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgExecutor, Result};
use tandem_model::{MemberId, UserId};

/// Who a session belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionUser {
    /// The person.
    pub user_id: UserId,
    /// Its address.
    pub email: String,
    /// The member it acts for; `None` for the operator.
    pub member_id: Option<MemberId>,
    /// When it was last seen; written now and then.
    pub last_seen_at: DateTime<Utc>,
    /// When it ends, seen or not.
    pub expires_at: DateTime<Utc>,
}

/// Begins a session.
pub async fn insert(
    db: impl PgExecutor<'_>,
    hash: &[u8; 32],
    user: UserId,
    at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"
        insert into session (session_hash, user_id, created_at, last_seen_at, expires_at)
        values ($1, $2, $3, $3, $4)
        "#,
        hash.as_slice(),
        user.0,
        at,
        expires_at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Whose session it is, if it is good at `at` and was seen within `idle`.
pub async fn find(
    db: impl PgExecutor<'_>,
    hash: &[u8; 32],
    at: DateTime<Utc>,
    idle: TimeDelta,
) -> Result<Option<SessionUser>> {
    let row = sqlx::query!(
        r#"
        select u.user_id, u.email, u.member_id, s.last_seen_at, s.expires_at
          from session s join user_account u using (user_id)
         where s.session_hash = $1 and s.expires_at > $2 and s.last_seen_at > $3 and u.disabled_at is null
        "#,
        hash.as_slice(),
        at,
        at - idle,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| SessionUser {
        user_id: UserId(row.user_id),
        email: row.email,
        member_id: row.member_id.map(MemberId),
        last_seen_at: row.last_seen_at,
        expires_at: row.expires_at,
    }))
}

/// Notes that a session was used.
pub async fn touch(db: impl PgExecutor<'_>, hash: &[u8; 32], at: DateTime<Utc>) -> Result<()> {
    sqlx::query!("update session set last_seen_at = $2 where session_hash = $1", hash.as_slice(), at)
        .execute(db)
        .await
        .map(|_| ())
}

/// Ends a session.
pub async fn delete(db: impl PgExecutor<'_>, hash: &[u8; 32]) -> Result<()> {
    sqlx::query!("delete from session where session_hash = $1", hash.as_slice()).execute(db).await.map(|_| ())
}

/// Ends every session of a person.
pub async fn delete_of_user(db: impl PgExecutor<'_>, user: UserId) -> Result<()> {
    sqlx::query!("delete from session where user_id = $1", user.0).execute(db).await.map(|_| ())
}

/// Removes sessions that are over at `at`.
pub async fn delete_expired(db: impl PgExecutor<'_>, at: DateTime<Utc>, idle: TimeDelta) -> Result<u64> {
    sqlx::query!("delete from session where expires_at <= $1 or last_seen_at <= $2", at, at - idle)
        .execute(db)
        .await
        .map(|done| done.rows_affected())
}

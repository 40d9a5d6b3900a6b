//! The people who act for a member or for the operator.

use chrono::{DateTime, Utc};
use sqlx::types::Uuid;
use sqlx::{PgExecutor, Result};
use tandem_model::{MemberId, UserId};

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub user_id: UserId,
    /// The member it acts for; `None` for the operator's people.
    pub member_id: Option<MemberId>,
    /// The address with which it signs in.
    pub email: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Since when it can no longer sign in.
    pub disabled_at: Option<DateTime<Utc>>,
}

/// What a log-in is checked against.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Whose they are.
    pub user_id: UserId,
    /// The member it acts for.
    pub member_id: Option<MemberId>,
    /// The password's hash, in PHC form.
    pub password_hash: String,
}

struct Row {
    user_id: Uuid,
    member_id: Option<Uuid>,
    email: String,
    created_at: DateTime<Utc>,
    disabled_at: Option<DateTime<Utc>>,
}

impl From<Row> for User {
    fn from(row: Row) -> Self {
        Self {
            user_id: UserId(row.user_id),
            member_id: row.member_id.map(MemberId),
            email: row.email,
            created_at: row.created_at,
            disabled_at: row.disabled_at,
        }
    }
}

/// What a log-in with this address is checked against, if someone may sign in with it.
pub async fn credentials(db: impl PgExecutor<'_>, email: &str) -> Result<Option<Credentials>> {
    let row = sqlx::query!(
        "select user_id, member_id, password_hash from user_account where email = $1 and disabled_at is null",
        email,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Credentials {
        user_id: UserId(row.user_id),
        member_id: row.member_id.map(MemberId),
        password_hash: row.password_hash,
    }))
}

/// The people of a member, newest first; those before `before`, at most `limit`.
pub async fn list(
    db: impl PgExecutor<'_>,
    member: MemberId,
    before: Option<UserId>,
    limit: i64,
) -> Result<Vec<User>> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select user_id, member_id, email, created_at, disabled_at
          from user_account
         where member_id = $1 and ($2::uuid is null or user_id < $2)
         order by user_id desc
         limit $3
        "#,
        member.0,
        before.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(User::from).collect())
}

/// The person, if it acts for this member.
pub async fn get(db: impl PgExecutor<'_>, member: MemberId, user: UserId) -> Result<Option<User>> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select user_id, member_id, email, created_at, disabled_at
          from user_account
         where member_id = $1 and user_id = $2
        "#,
        member.0,
        user.0,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(User::from))
}

/// Makes a person who acts for a member, or for the operator where `member` is `None`. `email` is in lower
/// case and may be taken: `user_account_email_unique`.
pub async fn insert(
    db: impl PgExecutor<'_>,
    member: Option<MemberId>,
    email: &str,
    password_hash: &str,
    at: DateTime<Utc>,
) -> Result<User> {
    sqlx::query_as!(
        Row,
        r#"
        insert into user_account (member_id, email, password_hash, created_at)
        values ($1, $2, $3, $4)
        returning user_id, member_id, email, created_at, disabled_at
        "#,
        member.map(|id| id.0),
        email,
        password_hash,
        at,
    )
    .fetch_one(db)
    .await
    .map(User::from)
}

/// Makes the operator's account of this address, or gives it this password if it is there: how an operator
/// gets in at first, and again. An account that acts for a member is left alone; `None` says so.
pub async fn create_operator(
    db: impl PgExecutor<'_>,
    email: &str,
    password_hash: &str,
    at: DateTime<Utc>,
) -> Result<Option<User>> {
    let row = sqlx::query_as!(
        Row,
        r#"
        insert into user_account (email, password_hash, created_at)
        values (lower($1), $2, $3)
        on conflict (email) do update
           set password_hash = excluded.password_hash, disabled_at = null
         where user_account.member_id is null
        returning user_id, member_id, email, created_at, disabled_at
        "#,
        email,
        password_hash,
        at,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(User::from))
}

/// Whether anyone can sign in for the operator.
pub async fn has_operator(db: impl PgExecutor<'_>) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select exists(select from user_account where member_id is null and disabled_at is null) as "exists!""#
    )
    .fetch_one(db)
    .await
}

/// Keeps a person of the member from signing in; whether it still could.
pub async fn disable(
    db: impl PgExecutor<'_>,
    member: MemberId,
    user: UserId,
    at: DateTime<Utc>,
) -> Result<bool> {
    sqlx::query!(
        "update user_account set disabled_at = $3 where member_id = $1 and user_id = $2 and disabled_at is null",
        member.0,
        user.0,
        at,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected() == 1)
}

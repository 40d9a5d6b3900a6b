//! Bearer tokens of programs. Only their hashes are here.

use chrono::{DateTime, Utc};
use sqlx::types::Uuid;
use sqlx::{PgExecutor, Result};
use tandem_model::{ApiTokenId, MemberId, UserId};

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Its id.
    pub api_token_id: ApiTokenId,
    /// The member it acts for; `None` for the operator.
    pub member_id: Option<MemberId>,
    /// What it is for.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// When it was last used; written now and then.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Since when it is worth nothing.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// What is needed to make a token.
#[derive(Clone, Debug)]
pub struct NewApiToken<'a> {
    /// The member it acts for; `None` for the operator.
    pub member_id: Option<MemberId>,
    /// What it is for.
    pub name: &'a str,
    /// SHA-256 of its text.
    pub hash: [u8; 32],
    /// Who made it, where it was a person.
    pub created_by: Option<UserId>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

struct Row {
    api_token_id: Uuid,
    member_id: Option<Uuid>,
    name: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl From<Row> for ApiToken {
    fn from(row: Row) -> Self {
        Self {
            api_token_id: ApiTokenId(row.api_token_id),
            member_id: row.member_id.map(MemberId),
            name: row.name,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// Makes a token.
pub async fn insert(db: impl PgExecutor<'_>, new: &NewApiToken<'_>, at: DateTime<Utc>) -> Result<ApiToken> {
    sqlx::query_as!(
        Row,
        r#"
        insert into api_token (member_id, name, token_hash, created_by, created_at, expires_at)
        values ($1, $2, $3, $4, $5, $6)
        returning api_token_id, member_id, name, created_at, expires_at, last_used_at, revoked_at
        "#,
        new.member_id.map(|id| id.0),
        new.name,
        new.hash.as_slice(),
        new.created_by.map(|id| id.0),
        at,
        new.expires_at,
    )
    .fetch_one(db)
    .await
    .map(ApiToken::from)
}

/// The token of this hash, if it is good at `at`.
pub async fn find(db: impl PgExecutor<'_>, hash: &[u8; 32], at: DateTime<Utc>) -> Result<Option<ApiToken>> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select api_token_id, member_id, name, created_at, expires_at, last_used_at, revoked_at
          from api_token
         where token_hash = $1 and expires_at > $2 and revoked_at is null
        "#,
        hash.as_slice(),
        at,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(ApiToken::from))
}

/// Notes that a token was used.
pub async fn touch(db: impl PgExecutor<'_>, token: ApiTokenId, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!("update api_token set last_used_at = $2 where api_token_id = $1", token.0, at)
        .execute(db)
        .await
        .map(|_| ())
}

/// Tokens of a member, or every token where `member` is `None`, newest first; those before `before`.
pub async fn list(
    db: impl PgExecutor<'_>,
    member: Option<MemberId>,
    before: Option<ApiTokenId>,
    limit: i64,
) -> Result<Vec<ApiToken>> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select api_token_id, member_id, name, created_at, expires_at, last_used_at, revoked_at
          from api_token
         where ($1::uuid is null or member_id = $1) and ($2::uuid is null or api_token_id < $2)
         order by api_token_id desc
         limit $3
        "#,
        member.map(|id| id.0),
        before.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(ApiToken::from).collect())
}

/// Makes a token worth nothing, one of `member` or, where that is `None`, any; the token, if there was one
/// that still was worth something.
pub async fn revoke(
    db: impl PgExecutor<'_>,
    member: Option<MemberId>,
    token: ApiTokenId,
    at: DateTime<Utc>,
) -> Result<Option<ApiToken>> {
    let row = sqlx::query_as!(
        Row,
        r#"
        update api_token
           set revoked_at = $3
         where api_token_id = $2 and ($1::uuid is null or member_id = $1) and revoked_at is null
        returning api_token_id, member_id, name, created_at, expires_at, last_used_at, revoked_at
        "#,
        member.map(|id| id.0),
        token.0,
        at,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(ApiToken::from))
}

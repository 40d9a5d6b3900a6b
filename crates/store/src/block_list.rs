//! What is never called: a list for each member, and one of the operator for everybody.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, Result};
use tandem_model::{MemberId, Prefix};

use crate::word;

/// The prefixes to which no calls of the member go; the operator's list where it is `None`.
pub async fn get(db: impl PgExecutor<'_>, member: Option<MemberId>) -> Result<Vec<Prefix>> {
    let prefixes = sqlx::query_scalar!(
        "select prefix from blocked_prefix where member_id is not distinct from $1 order by prefix",
        member.map(|member| member.0) as _,
    )
    .fetch_all(db)
    .await?;
    prefixes.iter().map(|prefix| word::prefix(prefix)).collect()
}

/// Makes the list one of just these prefixes. Within a transaction.
pub async fn put(
    db: &mut PgConnection,
    member: Option<MemberId>,
    prefixes: &[Prefix],
    at: DateTime<Utc>,
) -> Result<()> {
    let digits: Vec<String> = prefixes.iter().map(|prefix| prefix.digits()).collect();
    let member = member.map(|member| member.0);
    sqlx::query!(
        "delete from blocked_prefix where member_id is not distinct from $1 and prefix <> all ($2)",
        member as _,
        &digits,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        r#"
        insert into blocked_prefix (member_id, prefix, created_at)
        select $1, prefix, $3 from unnest($2::text[]) as t (prefix)
        on conflict do nothing
        "#,
        member as _,
        &digits,
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

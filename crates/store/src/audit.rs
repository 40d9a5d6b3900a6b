//! The audit log: who changed what, from where. It only grows.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use sqlx::types::Uuid;
use sqlx::types::ipnet::IpNet;
use sqlx::{PgExecutor, Result};
use tandem_model::{ApiTokenId, AuditEntryId, MemberId, UserId};

/// A change to be written down, in the transaction that makes it.
#[derive(Clone, Debug)]
pub struct NewAuditEntry<'a> {
    /// When.
    pub at: DateTime<Utc>,
    /// The person who did it, where one did.
    pub user: Option<UserId>,
    /// The token that did it, where one did.
    pub api_token: Option<ApiTokenId>,
    /// The member that it concerns.
    pub member: Option<MemberId>,
    /// What was done, such as `endpoint.create`.
    pub action: &'a str,
    /// What it was done to, such as `endpoint`.
    pub object_kind: &'a str,
    /// Its id.
    pub object_id: Option<Uuid>,
    /// As it was. The member `rows` of a bulk change is stored but not listed.
    pub before: Option<serde_json::Value>,
    /// As it is now.
    pub after: Option<serde_json::Value>,
    /// From where the request came.
    pub source: Option<IpAddr>,
}

/// A change that was written down.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Its id.
    pub audit_entry_id: AuditEntryId,
    /// When.
    pub at: DateTime<Utc>,
    /// Address of the person who did it.
    pub email: Option<String>,
    /// Name of the token that did it.
    pub token_name: Option<String>,
    /// Whether it was done for the operator.
    pub by_operator: bool,
    /// The member that it concerns.
    pub member_id: Option<MemberId>,
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub object_kind: String,
    /// Its id.
    pub object_id: Option<Uuid>,
    /// As it was.
    pub before: Option<serde_json::Value>,
    /// As it was afterwards.
    pub after: Option<serde_json::Value>,
    /// From where the request came.
    pub source: Option<IpAddr>,
}

/// Writes a change down.
pub async fn append(db: impl PgExecutor<'_>, entry: &NewAuditEntry<'_>) -> Result<()> {
    sqlx::query!(
        r#"
        insert into audit_entry (at, user_id, api_token_id, member_id, action, object_kind, object_id
                               , before, after, source)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        "#,
        entry.at,
        entry.user.map(|id| id.0),
        entry.api_token.map(|id| id.0),
        entry.member.map(|id| id.0),
        entry.action,
        entry.object_kind,
        entry.object_id,
        entry.before,
        entry.after,
        entry.source.map(IpNet::from),
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Changes that concern a member, or every change where `member` is `None`, newest first; those before `before`.
pub async fn list(
    db: impl PgExecutor<'_>,
    member: Option<MemberId>,
    before: Option<AuditEntryId>,
    limit: i64,
) -> Result<Vec<AuditEntry>> {
    let rows = sqlx::query!(
        r#"
        select e.audit_entry_id, e.at, u.email as "email?", t.name as "token_name?"
             , coalesce(case when u.user_id is not null then u.member_id is null
                             when t.api_token_id is not null then t.member_id is null end, true) as "by_operator!"
             , e.member_id, e.action, e.object_kind, e.object_id
             , e.before - 'rows' as before, e.after - 'rows' as after, e.source
          from audit_entry e
          left join user_account u using (user_id)
          left join api_token t using (api_token_id)
         where ($1::uuid is null or e.member_id = $1) and ($2::uuid is null or e.audit_entry_id < $2)
         order by e.audit_entry_id desc
         limit $3
        "#,
        member.map(|id| id.0),
        before.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| AuditEntry {
            audit_entry_id: AuditEntryId(row.audit_entry_id),
            at: row.at,
            email: row.email,
            token_name: row.token_name,
            by_operator: row.by_operator,
            member_id: row.member_id.map(MemberId),
            action: row.action,
            object_kind: row.object_kind,
            object_id: row.object_id,
            before: row.before,
            after: row.after,
            source: row.source.map(|net| net.addr()),
        })
        .collect())
}

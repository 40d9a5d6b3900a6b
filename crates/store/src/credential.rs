//! By which user name and password an endpoint is known to the hub, or the hub to an endpoint.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, Result};
use tandem_model::{EndpointId, Ha1, MemberId};

/// Who proves itself to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The endpoint to the hub.
    Inbound,
    /// The hub to the endpoint.
    Outbound,
}

impl Direction {
    /// As its column holds it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// A credential as it is shown: without what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCredential {
    /// The user name.
    pub username: String,
    /// The realm in which it counts.
    pub realm: String,
    /// Whether the hub registers with it.
    pub registers: bool,
    /// Since when it is what it is.
    pub created_at: DateTime<Utc>,
}

/// What a credential is to be.
#[derive(Clone, Copy, Debug)]
pub struct NewCredential<'a> {
    /// The user name.
    pub username: &'a str,
    /// The realm in which it counts.
    pub realm: &'a str,
    /// What proves it.
    pub ha1: &'a Ha1,
    /// Whether the hub registers with it.
    pub registers: bool,
}

/// The credential of an endpoint of the member, one way.
pub async fn get(
    db: impl PgExecutor<'_>,
    member: MemberId,
    endpoint: EndpointId,
    direction: Direction,
) -> Result<Option<StoredCredential>> {
    sqlx::query_as!(
        StoredCredential,
        r#"
        select c.username, c.realm, c.registers, c.created_at
          from endpoint_credential c join endpoint e using (endpoint_id)
         where e.member_id = $1 and e.endpoint_id = $2 and c.direction = $3
        "#,
        member.0,
        endpoint.0,
        direction.as_str(),
    )
    .fetch_optional(db)
    .await
}

/// Gives an endpoint a credential, one way, in place of the one that it has.
pub async fn put(
    db: impl PgExecutor<'_>,
    endpoint: EndpointId,
    direction: Direction,
    new: NewCredential<'_>,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"
        insert into endpoint_credential (endpoint_id, direction, username, realm, ha1, registers, created_at)
        values ($1, $2, $3, $4, $5, $6, $7)
            on conflict (endpoint_id, direction) do update
           set credential_id = uuid_v7(), username = excluded.username, realm = excluded.realm
             , ha1 = excluded.ha1, registers = excluded.registers, created_at = excluded.created_at
        "#,
        endpoint.0,
        direction.as_str(),
        new.username,
        new.realm,
        new.ha1.to_hex(),
        new.registers,
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Takes a credential away, one way; whether there was one.
pub async fn remove(db: impl PgExecutor<'_>, endpoint: EndpointId, direction: Direction) -> Result<bool> {
    sqlx::query!(
        "delete from endpoint_credential where endpoint_id = $1 and direction = $2",
        endpoint.0,
        direction.as_str(),
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected() > 0)
}

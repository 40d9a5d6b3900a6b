//! The digest credentials of declared endpoints. One that the file does not name stays as it is: a secret need not
//! stand in a file.

use std::collections::HashMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx::types::Uuid;
use tandem_model::credential::{MAX_PASSWORD, MIN_PASSWORD, is_own_realm, is_realm, is_username};
use tandem_model::{EndpointId, Ha1};

use super::row::explain;
use super::{Action, Applied, ApplyError, Declaration, Members, wrong};
use crate::credential::{self, Direction, NewCredential};

/// A password, which nothing prints.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(secret)")
    }
}

/// By what an endpoint proves to the hub who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboundDeclaration {
    /// The user name, unique in the realm.
    pub username: String,
    /// The realm of the exchange: the domain that the endpoint's switch is told to register at.
    pub realm: String,
    /// The password.
    pub password: Password,
}

/// By what the hub proves to an endpoint who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundDeclaration {
    /// The hub's user name over there.
    pub username: String,
    /// The realm that the endpoint's switch asks in.
    pub realm: String,
    /// The password.
    pub password: Password,
    /// Whether the hub registers there.
    #[serde(default)]
    pub registers: bool,
}

/// One credential of the file.
struct Declared<'a> {
    endpoint: String,
    member: Uuid,
    name: &'a str,
    direction: Direction,
    username: &'a str,
    realm: &'a str,
    ha1: Ha1,
    registers: bool,
}

/// What can be seen without the database.
pub(super) fn check(declaration: &Declaration) -> Result<(), ApplyError> {
    for member in &declaration.members {
        for endpoint in &member.endpoints {
            let row = |way| format!("endpoint {}/{}, {way}", member.name, endpoint.name);
            if let Some(inbound) = &endpoint.inbound {
                let InboundDeclaration { username, realm, password } = inbound;
                check_one(&row("inbound"), username, is_own_realm(realm), password)?;
            }
            if let Some(outbound) = &endpoint.outbound {
                let OutboundDeclaration { username, realm, password, registers: _ } = outbound;
                check_one(&row("outbound"), username, is_realm(realm), password)?;
            }
        }
    }
    Ok(())
}

fn check_one(row: &str, username: &str, is_realm: bool, password: &Password) -> Result<(), ApplyError> {
    if !is_username(username) {
        return Err(wrong(row, "a username is 1 to 64 letters, digits, '.', '_', '-' and '+'"));
    }
    if !is_realm {
        return Err(wrong(row, "the realm is a domain in lower case, or for outbound any text without '\"'"));
    }
    if !(MIN_PASSWORD..=MAX_PASSWORD).contains(&password.0.len()) {
        return Err(wrong(row, format!("a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")));
    }
    Ok(())
}

/// Gives the declared endpoints, which are there by now, their credentials.
pub(super) async fn put(
    db: &mut PgConnection,
    declaration: &Declaration,
    members: &Members,
    at: DateTime<Utc>,
    applied: &mut Applied,
) -> Result<(), ApplyError> {
    let mut declared = Vec::new();
    for member in &declaration.members {
        for it in &member.endpoints {
            let (endpoint, id) = (format!("{}/{}", member.name, it.name), members[&member.name]);
            let inbound = it
                .inbound
                .as_ref()
                .map(|it| (Direction::Inbound, &*it.username, &*it.realm, &it.password, false));
            let outbound = it
                .outbound
                .as_ref()
                .map(|it| (Direction::Outbound, &*it.username, &*it.realm, &it.password, it.registers));
            for (direction, username, realm, password, registers) in inbound.into_iter().chain(outbound) {
                declared.push(Declared {
                    endpoint: endpoint.clone(),
                    member: id,
                    name: &it.name,
                    direction,
                    username,
                    realm,
                    ha1: Ha1::new(username, realm, &password.0),
                    registers,
                });
            }
        }
    }
    if declared.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = members.values().copied().collect();
    let rows = sqlx::query!(
        r#"
        select e.member_id as "member_id!", e.name as "name!", e.endpoint_id as "endpoint_id!"
             , c.direction as "direction?", c.username as "username?"
             , c.realm as "realm?", c.ha1 as "ha1?", c.registers as "registers?"
          from endpoint e left join endpoint_credential c using (endpoint_id)
         where e.member_id = any ($1)
        "#,
        &ids,
    )
    .fetch_all(&mut *db)
    .await?;
    let mut endpoints = HashMap::new();
    let mut present = HashMap::new();
    for row in rows {
        endpoints.insert((row.member_id, row.name), row.endpoint_id);
        if let Some(direction) = row.direction {
            let known = (row.username, row.realm, row.ha1, row.registers);
            present.insert((row.endpoint_id, direction), known);
        }
    }
    for it in declared {
        let endpoint = endpoints[&(it.member, it.name.to_owned())];
        let text = |text: &str| Some(text.to_owned());
        let wanted = (text(it.username), text(it.realm), Some(it.ha1.to_hex()), Some(it.registers));
        let known = present.get(&(endpoint, it.direction.as_str().to_owned()));
        if known == Some(&wanted) {
            continue;
        }
        let action = if known.is_some() { Action::Changed } else { Action::Added };
        let object = format!("{} {}", it.endpoint, it.direction.as_str());
        let new =
            NewCredential { username: it.username, realm: it.realm, ha1: &it.ha1, registers: it.registers };
        let put = credential::put(&mut *db, EndpointId(endpoint), it.direction, new, at).await;
        put.map_err(|error| explain(&format!("credential {object}"), Some(error)))?;
        applied.note("credential", action, object);
    }
    Ok(())
}

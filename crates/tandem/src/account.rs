//! `tandem token create` and `tandem operator create`: the first keys to a new exchange.

use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};
use tandem_portal::{Entropy, Secret, hash_password, new_password};
use tandem_store::{PgPool, api_token, member, user};

use crate::say;

/// Longest that a token may hold, in days.
pub const MOST_DAYS: i64 = 365;

/// For whom a token acts.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Scope {
    /// It acts for the operator of the exchange
    #[arg(long)]
    pub operator: bool,
    /// It acts for the member of this name
    #[arg(long, value_name = "NAME")]
    pub member: Option<String>,
}

/// Makes a bearer token of the API and prints it, and nothing else.
pub async fn create_token(
    db: &PgPool,
    scope: &Scope,
    name: &str,
    days: i64,
    entropy: &Entropy,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let member_id = match &scope.member {
        None => None,
        Some(name) => match member::find(db, name).await? {
            Some(member) => Some(member.member_id),
            None => bail!("there is no member {name:?}"),
        },
    };
    let secret = Secret::new_token(entropy);
    let expires_at = now + TimeDelta::days(days);
    let new = api_token::NewApiToken { member_id, name, hash: secret.hash, created_by: None, expires_at };
    api_token::insert(db, &new, now).await.context("the token was not made")?;
    say(secret.text);
    Ok(())
}

/// Makes a person who acts for the operator, or gives one a new password; prints the password, and nothing else.
pub async fn create_operator(
    db: &PgPool,
    email: &str,
    entropy: &Entropy,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let password = new_password(entropy);
    let (hashing, entropy) = (password.clone(), entropy.clone());
    let hash = tokio::task::spawn_blocking(move || hash_password(&hashing, &entropy)).await?;
    match user::create_operator(db, email, &hash, now).await.context("the user was not made")? {
        Some(_) => say(password),
        None => bail!("{email} signs in for a member already; use another address"),
    }
    Ok(())
}

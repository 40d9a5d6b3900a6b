//! What the tests of this package share: an exchange in a few lines, raw SQL, and names of broken rules.

use chrono::{DateTime, Utc};
use tandem_store::PgPool;
use tandem_store::declaration::{Applied, ApplyError, Declaration, apply};
use uuid::Uuid;

/// A time in the past of every test, so that what begins then is in force.
pub(crate) fn start() -> DateTime<Utc> {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// Two members that have agreed, acme with numbers and an endpoint, globex with an endpoint.
pub(crate) const TWO_MEMBERS: &str = r#"
    [[member]]
    name = "acme"
    endpoint = [{ name = "acme-1", source = ["192.0.2.21"], target = "sip:192.0.2.21:5060" }]
    range = [{ prefix = "+44207946", authority = "valid" }]
    announcement = [{ prefix = "+44207946", endpoints = ["acme-1"] }]
    [[member]]
    name = "globex"
    endpoint = [{ name = "globex-1", source = ["198.51.100.0/24"], target = "sip:198.51.100.1" }]
    [[agreement]]
    members = ["acme", "globex"]
"#;

pub(crate) fn declaration(toml: &str) -> Declaration {
    toml::from_str(toml).unwrap()
}

pub(crate) async fn declare(db: &PgPool, toml: &str) -> Result<Applied, ApplyError> {
    declare_at(db, toml, start()).await
}

pub(crate) async fn declare_at(db: &PgPool, toml: &str, at: DateTime<Utc>) -> Result<Applied, ApplyError> {
    apply(db, &declaration(toml), at).await
}

/// Runs a statement as a superuser with `psql` would.
pub(crate) async fn sql(db: &PgPool, statement: &'static str) -> sqlx::Result<()> {
    sqlx::raw_sql(statement).execute(db).await.map(|_| ())
}

/// Name of the rule that a statement breaks.
pub(crate) async fn rule_broken_by(db: &PgPool, statement: &'static str) -> String {
    let error = sql(db, statement).await.expect_err("the statement breaks a rule");
    tandem_store::database::constraint(&error).unwrap_or_else(|| panic!("{error}")).to_owned()
}

pub(crate) async fn one<T>(db: &PgPool, query: &'static str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::query_scalar(query).fetch_one(db).await.unwrap()
}

/// An id that is nobody's.
pub(crate) fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

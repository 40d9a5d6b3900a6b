//! Databases that live as long as a test: copies of a template that has the schema. For the testkit.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Result};

/// Makes the template database `name` on the cluster at `url` and migrates it, unless it is there.
pub async fn ensure_template(url: &str, name: &str) -> Result<()> {
    let mut db = open(url).await?;
    let ready: Option<bool> = sqlx::query_scalar("select datistemplate from pg_database where datname = $1")
        .bind(name)
        .fetch_optional(&mut db)
        .await?;
    if ready == Some(true) {
        return db.close().await;
    }
    if ready == Some(false) {
        // Someone was interrupted half-way.
        execute(&mut db, format!(r#"drop database "{name}" with (force)"#)).await?;
    }
    execute(&mut db, format!(r#"create database "{name}" template template0"#)).await?;
    let pool = crate::database::connect_with(&with_database(url, name), 1).await?;
    crate::migrate(&pool).await?;
    pool.close().await;
    execute(&mut db, format!(r#"alter database "{name}" with is_template true allow_connections false"#))
        .await?;
    db.close().await
}

/// Makes the database `name` as a copy of `template`.
pub async fn create(url: &str, name: &str, template: &str) -> Result<()> {
    let mut db = open(url).await?;
    // Before version 15 a database was always copied file by file, and there was no word for it.
    let strategy = match db.server_version_num() {
        Some(version) if version >= 150_000 => " strategy file_copy",
        _ => "",
    };
    execute(&mut db, format!(r#"create database "{name}" template "{template}"{strategy}"#)).await?;
    db.close().await
}

/// Drops the database `name`, whoever is connected to it.
pub async fn drop(url: &str, name: &str) -> Result<()> {
    let mut db = open(url).await?;
    execute(&mut db, format!(r#"drop database if exists "{name}" with (force)"#)).await?;
    db.close().await
}

/// `url` with the database replaced by `name`: `postgres:///template1?host=…` becomes `postgres:///name?host=…`.
pub fn with_database(url: &str, name: &str) -> String {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let authority = base.rsplit_once('/').map_or(base, |(authority, _)| authority);
    format!("{authority}/{name}?{query}")
}

async fn open(url: &str) -> Result<PgConnection> {
    PgConnectOptions::from_str(url)?.connect().await
}

async fn execute(db: &mut PgConnection, sql: String) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(db).await.map(|_| ())
}

//! The running nodes of the hub: what each last said of itself, and how many run a route table.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgExecutor, Result};
use tandem_model::{NodeId, Reason};

use crate::word;

/// A node that has not reported for so long does not count as live.
pub const LIVE_WITHIN: Duration = Duration::from_secs(15);

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It has no route table yet.
    Starting,
    /// It takes calls.
    Serving,
    /// It takes no new calls; those that are up go on.
    Draining,
    /// It has stopped in good order.
    Stopped,
}

/// What a node says of itself, every few seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Its id; the same one after a restart.
    pub node_id: NodeId,
    /// Its name, unique on the exchange.
    pub name: String,
    /// When its process started.
    pub started_at: DateTime<Utc>,
    /// When it said so.
    pub seen_at: DateTime<Utc>,
    /// What it does.
    pub state: NodeState,
    /// Version of the route table that it runs.
    pub table_version: u64,
    /// Hash of the route table that it runs.
    pub table_hash: String,
    /// The link of the chain of changes at that version; empty where it is not known, as for a table from disk.
    pub table_chain: String,
    /// Calls that it carries.
    pub active_calls: u32,
    /// CDRs in its journal that are not yet in the database.
    pub journal_backlog: u64,
    /// How many ported numbers it holds; none where it is told of none, or has not read them yet.
    pub ported_numbers: Option<u64>,
    /// Serial of the state that they are in.
    pub ported_serial: Option<u64>,
    /// Why it does not use the newest file of them.
    pub ported_fault: Option<Reason>,
}

/// Puts a report in the place of the node's last one. A node that lost its id takes its name along.
///
/// It says how many other live nodes run a table of the same version that is another one, or that came about otherwise.
pub async fn report(db: &sqlx::PgPool, report: &NodeReport) -> Result<u32> {
    let limit = crate::database::STATEMENT_TIMEOUT;
    crate::database::within(limit, async {
        let mut transaction = db.begin().await?;
        sqlx::query!("delete from node where name = $1 and node_id <> $2", report.name, report.node_id.0)
            .execute(&mut *transaction)
            .await?;
        sqlx::query!(
            r#"
            insert into node (node_id, name, started_at, seen_at, state, table_version, table_hash
                            , active_calls, journal_backlog, ported_numbers, ported_serial, ported_fault
                            , table_chain)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
            on conflict (node_id) do update
               set name = excluded.name, started_at = excluded.started_at, seen_at = excluded.seen_at
                 , state = excluded.state, table_version = excluded.table_version
                 , table_hash = excluded.table_hash, active_calls = excluded.active_calls
                 , journal_backlog = excluded.journal_backlog
                 , ported_numbers = excluded.ported_numbers, ported_serial = excluded.ported_serial
                 , ported_fault = excluded.ported_fault, table_chain = excluded.table_chain
            "#,
            report.node_id.0,
            report.name,
            report.started_at,
            report.seen_at,
            word::text(report.state),
            i64::try_from(report.table_version).unwrap_or(i64::MAX),
            report.table_hash,
            i32::try_from(report.active_calls).unwrap_or(i32::MAX),
            i64::try_from(report.journal_backlog).unwrap_or(i64::MAX),
            report.ported_numbers.map(|numbers| i64::try_from(numbers).unwrap_or(i64::MAX)),
            report.ported_serial.map(|serial| i64::try_from(serial).unwrap_or(i64::MAX)),
            report.ported_fault.map(Reason::code),
            report.table_chain,
        )
        .execute(&mut *transaction)
        .await?;
        let others = sqlx::query_scalar!(
            r#"
            select count(*) as "others!"
              from node
             where node_id <> $1 and state <> 'stopped' and seen_at > $2 and table_version = $3
               and (table_hash <> $4 or (table_chain <> $5 and '' not in (table_chain, $5)))
            "#,
            report.node_id.0,
            report.seen_at - LIVE_WITHIN,
            i64::try_from(report.table_version).unwrap_or(i64::MAX),
            report.table_hash,
            report.table_chain,
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(others.try_into().unwrap_or(u32::MAX))
    })
    .await
}

/// Every node that ever reported, by name.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<NodeReport>> {
    let rows = sqlx::query!(
        r#"
        select node_id, name, started_at, seen_at, state, table_version, table_hash, active_calls
             , journal_backlog, ported_numbers, ported_serial, ported_fault, table_chain
          from node
         order by name
        "#
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(NodeReport {
                node_id: NodeId(row.node_id),
                name: row.name,
                started_at: row.started_at,
                seen_at: row.seen_at,
                state: word::read(&row.state)?,
                table_version: row.table_version.try_into().unwrap_or(0),
                table_hash: row.table_hash,
                table_chain: row.table_chain,
                active_calls: row.active_calls.try_into().unwrap_or(0),
                journal_backlog: row.journal_backlog.try_into().unwrap_or(0),
                ported_numbers: row.ported_numbers.map(|numbers| numbers.try_into().unwrap_or(0)),
                ported_serial: row.ported_serial.map(|serial| serial.try_into().unwrap_or(0)),
                // One that a later version of the program knows says at least that there is one.
                ported_fault: row
                    .ported_fault
                    .map(|code| Reason::from_code(&code).unwrap_or(Reason::PortedFileMalformed)),
            })
        })
        .collect()
}

/// How many of the live nodes run a version of the route table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Nodes that run this version or a later one.
    pub live_on: u32,
    /// Nodes that run.
    pub nodes: u32,
}

/// How many of the nodes that are live at `at` run `table_version` or a later one.
pub async fn rollout(db: impl PgExecutor<'_>, table_version: u64, at: DateTime<Utc>) -> Result<Rollout> {
    let row = sqlx::query!(
        r#"
        select count(*) filter (where table_version >= $1) as "live_on!", count(*) as "nodes!"
          from node
         where state <> 'stopped' and seen_at > $2
        "#,
        i64::try_from(table_version).unwrap_or(i64::MAX),
        at - LIVE_WITHIN,
    )
    .fetch_one(db)
    .await?;
    Ok(Rollout {
        live_on: row.live_on.try_into().unwrap_or(u32::MAX),
        nodes: row.nodes.try_into().unwrap_or(u32::MAX),
    })
}

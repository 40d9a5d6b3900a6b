//! How the nodes find the endpoints, and what happened to each: written by nodes, shown by the API.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::types::Uuid;
use sqlx::{PgExecutor, PgPool, Result};
use tandem_model::{EndpointId, EndpointState, HealthSign, NodeId};

use crate::word;

/// How long it is known what happened to an endpoint.
pub const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Changes of one endpoint that are kept at most.
pub const MAX_CHANGES: i64 = 1_000;

/// What a node knows of an endpoint now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointHealth {
    /// Which endpoint.
    pub endpoint_id: EndpointId,
    /// Its state.
    pub state: EndpointState,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The sign after which it was so.
    pub sign: Option<HealthSign>,
    /// Until when the node sends it no new calls because it asked for that.
    pub held_until: Option<DateTime<Utc>>,
    /// When it was probed last.
    pub probed_at: Option<DateTime<Utc>>,
    /// How long the answer to that probe took, in microseconds; none where there was no answer.
    pub rtt_us: Option<u32>,
    /// The servers that its DNS name leads to; none where its target is no name, or leads nowhere.
    pub servers: Option<Vec<String>>,
    /// The code of the reason why its DNS name leads nowhere.
    pub unresolved: Option<String>,
}

/// Something that happened to an endpoint, as a node saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which endpoint.
    pub endpoint_id: EndpointId,
    /// When.
    pub at: DateTime<Utc>,
    /// The state that it was in from then on.
    pub state: EndpointState,
    /// Why.
    pub sign: HealthSign,
}

/// Forgets what a node knew of the endpoints: it begins anew.
pub async fn forget_node(db: &PgPool, node: NodeId) -> Result<()> {
    crate::database::within(crate::database::STATEMENT_TIMEOUT, async {
        sqlx::query!("delete from endpoint_health where node_id = $1", node.0).execute(db).await.map(|_| ())
    })
    .await
}

/// Writes what a node knows now, what happened since it last did, and which endpoints it watches no more. Endpoints that
/// are deleted meanwhile are passed over.
pub async fn report(
    db: &PgPool,
    node: NodeId,
    now: &[EndpointHealth],
    changes: &[Change],
    gone: &[EndpointId],
) -> Result<()> {
    crate::database::within(crate::database::STATEMENT_TIMEOUT, async {
        let mut transaction = db.begin().await?;
        upsert(&mut *transaction, node, now).await?;
        append(&mut *transaction, node, changes).await?;
        let gone: Vec<Uuid> = gone.iter().map(|id| id.0).collect();
        sqlx::query!(
            "delete from endpoint_health where node_id = $1 and endpoint_id = any ($2)",
            node.0,
            &gone,
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    })
    .await
}

async fn upsert(db: impl PgExecutor<'_>, node: NodeId, now: &[EndpointHealth]) -> Result<()> {
    let ids: Vec<Uuid> = now.iter().map(|it| it.endpoint_id.0).collect();
    let states: Vec<String> = now.iter().map(|it| word::text(it.state)).collect();
    let since: Vec<DateTime<Utc>> = now.iter().map(|it| it.since).collect();
    let signs: Vec<Option<String>> = now.iter().map(|it| it.sign.map(word::text)).collect();
    let held_until: Vec<Option<DateTime<Utc>>> = now.iter().map(|it| it.held_until).collect();
    let probed_at: Vec<Option<DateTime<Utc>>> = now.iter().map(|it| it.probed_at).collect();
    let rtt_us: Vec<Option<i32>> =
        now.iter().map(|it| it.rtt_us.map(|us| i32::try_from(us).unwrap_or(i32::MAX))).collect();
    // An array of arrays of different lengths is none: each is a text here.
    let servers: Vec<Option<String>> =
        now.iter().map(|it| it.servers.as_ref().map(|servers| servers.join(","))).collect();
    let unresolved: Vec<Option<&str>> = now.iter().map(|it| it.unresolved.as_deref()).collect();
    sqlx::query!(
        r#"
        insert into endpoint_health (endpoint_id, node_id, state, since, sign, held_until, probed_at, rtt_us
                                   , servers, unresolved)
        select endpoint_id, $1, t.state, t.since, t.sign, t.held_until, t.probed_at, t.rtt_us
             , string_to_array(t.servers, ','), t.unresolved
          from unnest($2::uuid[], $3::text[], $4::timestamptz[], $5::text[], $6::timestamptz[], $7::timestamptz[]
                    , $8::int[], $9::text[], $10::text[])
            as t (endpoint_id, state, since, sign, held_until, probed_at, rtt_us, servers, unresolved)
          join endpoint using (endpoint_id)
        on conflict (endpoint_id, node_id) do update
           set state = excluded.state, since = excluded.since, sign = excluded.sign
             , held_until = excluded.held_until, probed_at = excluded.probed_at, rtt_us = excluded.rtt_us
             , servers = excluded.servers, unresolved = excluded.unresolved
        "#,
        node.0,
        &ids,
        &states,
        &since,
        &signs as &[Option<String>],
        &held_until as &[Option<DateTime<Utc>>],
        &probed_at as &[Option<DateTime<Utc>>],
        &rtt_us as &[Option<i32>],
        &servers as &[Option<String>],
        &unresolved as &[Option<&str>],
    )
    .execute(db)
    .await
    .map(|_| ())
}

async fn append(db: impl PgExecutor<'_>, node: NodeId, changes: &[Change]) -> Result<()> {
    let ids: Vec<Uuid> = changes.iter().map(|it| it.endpoint_id.0).collect();
    let at: Vec<DateTime<Utc>> = changes.iter().map(|it| it.at).collect();
    let states: Vec<String> = changes.iter().map(|it| word::text(it.state)).collect();
    let signs: Vec<String> = changes.iter().map(|it| word::text(it.sign)).collect();
    sqlx::query!(
        r#"
        insert into endpoint_health_change (endpoint_id, node_id, at, state, sign)
        select endpoint_id, $1, t.at, t.state, t.sign
          from unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::text[])
               with ordinality as t (endpoint_id, at, state, sign, position)
          join endpoint using (endpoint_id)
         order by position
        "#,
        node.0,
        &ids,
        &at,
        &states,
        &signs,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Deletes what happened before `before`, and of each endpoint what is older than its last [`MAX_CHANGES`].
pub async fn prune(db: &PgPool, before: DateTime<Utc>) -> Result<u64> {
    crate::database::within(crate::database::STATEMENT_TIMEOUT, async {
        sqlx::query!(
            r#"
            delete from endpoint_health_change
             where at < $1
                or endpoint_health_change_id in (
                       select endpoint_health_change_id
                         from (select endpoint_health_change_id
                                    , row_number() over (partition by endpoint_id
                                                             order by at desc, endpoint_health_change_id desc) as place
                                 from endpoint_health_change) as placed
                        where place > $2)
            "#,
            before,
            MAX_CHANGES,
        )
        .execute(db)
        .await
        .map(|done| done.rows_affected())
    })
    .await
}

/// What one node knows of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// The node's name.
    pub node: String,
    /// When the node last reported anything: what it knows is not newer.
    pub seen_at: DateTime<Utc>,
    /// What it knows.
    pub health: EndpointHealth,
}

/// What the nodes that are live at `at` know of an endpoint, by the node's name.
pub async fn list(db: impl PgExecutor<'_>, endpoint: EndpointId, at: DateTime<Utc>) -> Result<Vec<NodeView>> {
    let rows = sqlx::query!(
        r#"
        select n.name, n.seen_at, h.endpoint_id, h.state, h.since, h.sign, h.held_until, h.probed_at, h.rtt_us
             , h.servers, h.unresolved
          from endpoint_health h
          join node n using (node_id)
         where h.endpoint_id = $1 and n.state <> 'stopped' and n.seen_at > $2
         order by n.name
        "#,
        endpoint.0,
        at - crate::node::LIVE_WITHIN,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(NodeView {
                node: row.name,
                seen_at: row.seen_at,
                health: EndpointHealth {
                    endpoint_id: EndpointId(row.endpoint_id),
                    state: word::read(&row.state)?,
                    since: row.since,
                    sign: row.sign.as_deref().map(word::read).transpose()?,
                    held_until: row.held_until,
                    probed_at: row.probed_at,
                    rtt_us: row.rtt_us.map(word::fits).transpose()?,
                    servers: row.servers,
                    unresolved: row.unresolved,
                },
            })
        })
        .collect()
}

/// A change with its id and the node that saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChange {
    /// Its id: later changes have higher ones.
    pub id: Uuid,
    /// The node's name, where the node is still known.
    pub node: Option<String>,
    /// What happened.
    pub change: Change,
}

/// What happened to an endpoint, newest first; what came before `before`, at most `limit`.
pub async fn changes(
    db: impl PgExecutor<'_>,
    endpoint: EndpointId,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<StoredChange>> {
    let rows = sqlx::query!(
        r#"
        select c.endpoint_health_change_id, c.endpoint_id, c.at, c.state, c.sign, n.name as "node?"
          from endpoint_health_change c
          left join node n using (node_id)
         where c.endpoint_id = $1
           and ($2::uuid is null
                or (c.at, c.endpoint_health_change_id)
                   < (select p.at, p.endpoint_health_change_id
                        from endpoint_health_change p
                       where p.endpoint_health_change_id = $2))
         order by c.at desc, c.endpoint_health_change_id desc
         limit $3
        "#,
        endpoint.0,
        before,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(StoredChange {
                id: row.endpoint_health_change_id,
                node: row.node,
                change: Change {
                    endpoint_id: EndpointId(row.endpoint_id),
                    at: row.at,
                    state: word::read(&row.state)?,
                    sign: word::read(&row.sign)?,
                },
            })
        })
        .collect()
}

/// How an endpoint fares over the live nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Nodes on which it is up.
    pub up: u32,
    /// Nodes on which it takes a growing share of its calls.
    pub ramping: u32,
    /// Nodes on which it is down.
    pub down: u32,
    /// Nodes that hold new calls back because it asked for that.
    pub held: u32,
}

/// How these endpoints fare over the nodes that are live at `at`; those of which nothing is known are left out.
pub async fn summaries(
    db: impl PgExecutor<'_>,
    endpoints: &[EndpointId],
    at: DateTime<Utc>,
) -> Result<HashMap<EndpointId, Summary>> {
    let ids: Vec<Uuid> = endpoints.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"
        select h.endpoint_id
             , count(*) filter (where h.state = 'up') as "up!"
             , count(*) filter (where h.state = 'ramping') as "ramping!"
             , count(*) filter (where h.state = 'down') as "down!"
             , count(*) filter (where h.held_until > $2) as "held!"
          from endpoint_health h
          join node n using (node_id)
         where h.endpoint_id = any ($1) and n.state <> 'stopped' and n.seen_at > $3
         group by h.endpoint_id
        "#,
        &ids,
        at,
        at - crate::node::LIVE_WITHIN,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let summary = Summary {
                up: word::fits(row.up)?,
                ramping: word::fits(row.ramping)?,
                down: word::fits(row.down)?,
                held: word::fits(row.held)?,
            };
            Ok((EndpointId(row.endpoint_id), summary))
        })
        .collect()
}

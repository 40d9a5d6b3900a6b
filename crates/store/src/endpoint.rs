//! The SIP addresses of members, and from where each may send.

use chrono::{DateTime, Utc};
use sqlx::types::ipnet::IpNet;
use sqlx::types::{Json, JsonValue, Uuid};
use sqlx::{PgConnection, PgExecutor, Result};
use tandem_model::{Access, Endpoint, EndpointId, MemberId, Policy, Source};

use crate::target::TargetColumns;
use crate::word;

/// An endpoint as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEndpoint {
    /// What routing knows of it, but for its access: that is `credential`'s and `registration`'s.
    pub endpoint: Endpoint,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// How an endpoint is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointName {
    /// Its id.
    pub endpoint_id: EndpointId,
    /// The member that it belongs to.
    pub member_id: MemberId,
    /// Its name, unique among its member's endpoints.
    pub name: String,
}

struct Row {
    endpoint_id: Uuid,
    member_id: Uuid,
    name: String,
    target_address: Option<IpNet>,
    target_name: Option<String>,
    target_port: Option<i32>,
    target_transport: Option<String>,
    priority: i32,
    weight: i32,
    max_calls: Option<i32>,
    max_calls_per_second: Option<i32>,
    enabled: bool,
    policy: JsonValue,
    call_mark: String,
    created_at: DateTime<Utc>,
    certificate_names: Vec<String>,
    sites: Vec<String>,
    source_nets: Vec<IpNet>,
    source_ports: Vec<Option<i32>>,
}

impl Row {
    fn read(self) -> Result<StoredEndpoint> {
        let sources = self.source_nets.into_iter().zip(self.source_ports);
        let sources = sources.map(|(net, port)| Ok(Source { net, port: port.map(word::fits).transpose()? }));
        let target = TargetColumns {
            address: self.target_address,
            name: self.target_name,
            port: self.target_port,
            transport: self.target_transport,
        };
        Ok(StoredEndpoint {
            endpoint: Endpoint {
                endpoint_id: EndpointId(self.endpoint_id),
                member_id: MemberId(self.member_id),
                name: self.name,
                sources: sources.collect::<Result<_>>()?,
                call_mark: word::call_mark(&self.call_mark)?,
                certificate_names: self.certificate_names,
                target: target.read()?,
                sites: self.sites,
                access: Access::default(),
                priority: word::fits(self.priority)?,
                weight: word::fits(self.weight)?,
                max_calls: self.max_calls.map(word::fits).transpose()?,
                max_calls_per_second: self.max_calls_per_second.map(word::fits).transpose()?,
                enabled: self.enabled,
                policy: Policy::from_stored(&self.policy),
            },
            created_at: self.created_at,
        })
    }
}

/// The member's endpoints, newest first; those before `before`, at most `limit`.
pub async fn list(
    db: impl PgExecutor<'_>,
    member: MemberId,
    before: Option<EndpointId>,
    limit: i64,
) -> Result<Vec<StoredEndpoint>> {
    sqlx::query_as!(
        Row,
        r#"
        select e.endpoint_id, e.member_id, e.name, e.target_address, e.target_name, e.target_port
             , e.target_transport, e.priority, e.weight, e.max_calls, e.max_calls_per_second, e.enabled
             , e.policy, e.call_mark, e.created_at
             , array(select c.name from endpoint_certificate_name c where c.endpoint_id = e.endpoint_id
                      order by c.name) as "certificate_names!: Vec<String>"
             , array(select site.name from endpoint_site a join site using (site_id)
                      where a.endpoint_id = e.endpoint_id order by site.name) as "sites!: Vec<String>"
             , array(select net from endpoint_source s where s.endpoint_id = e.endpoint_id
                      order by net) as "source_nets!: Vec<IpNet>"
             , array(select port from endpoint_source s where s.endpoint_id = e.endpoint_id
                      order by net) as "source_ports!: Vec<Option<i32>>"
          from endpoint e
         where e.member_id = $1 and ($2::uuid is null or e.endpoint_id < $2)
         order by e.endpoint_id desc
         limit $3
        "#,
        member.0,
        before.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// The endpoint, if it belongs to this member.
pub async fn get(
    db: impl PgExecutor<'_>,
    member: MemberId,
    endpoint: EndpointId,
) -> Result<Option<StoredEndpoint>> {
    sqlx::query_as!(
        Row,
        r#"
        select e.endpoint_id, e.member_id, e.name, e.target_address, e.target_name, e.target_port
             , e.target_transport, e.priority, e.weight, e.max_calls, e.max_calls_per_second, e.enabled
             , e.policy, e.call_mark, e.created_at
             , array(select c.name from endpoint_certificate_name c where c.endpoint_id = e.endpoint_id
                      order by c.name) as "certificate_names!: Vec<String>"
             , array(select site.name from endpoint_site a join site using (site_id)
                      where a.endpoint_id = e.endpoint_id order by site.name) as "sites!: Vec<String>"
             , array(select net from endpoint_source s where s.endpoint_id = e.endpoint_id
                      order by net) as "source_nets!: Vec<IpNet>"
             , array(select port from endpoint_source s where s.endpoint_id = e.endpoint_id
                      order by net) as "source_ports!: Vec<Option<i32>>"
          from endpoint e
         where e.member_id = $1 and e.endpoint_id = $2
        "#,
        member.0,
        endpoint.0,
    )
    .fetch_optional(db)
    .await?
    .map(Row::read)
    .transpose()
}

/// Keeps the endpoint as it is until the transaction ends; whether the member has it.
pub async fn lock(db: impl PgExecutor<'_>, member: MemberId, endpoint: EndpointId) -> Result<bool> {
    sqlx::query_scalar!(
        "select endpoint_id from endpoint where member_id = $1 and endpoint_id = $2 for update",
        member.0,
        endpoint.0,
    )
    .fetch_optional(db)
    .await
    .map(|row| row.is_some())
}

/// How many endpoints the member has.
pub async fn count(db: impl PgExecutor<'_>, member: MemberId) -> Result<i64> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from endpoint where member_id = $1"#, member.0)
        .fetch_one(db)
        .await
}

/// Whether the member has an endpoint that the operator does not trust with identities.
pub async fn has_distrusted(db: impl PgExecutor<'_>, member: MemberId) -> Result<bool> {
    sqlx::query_scalar!(
        r#"
        select exists (select from endpoint
                        where member_id = $1 and policy @? '$.overrides.identity.trusted ? (@ == false)') as "it!"
        "#,
        member.0,
    )
    .fetch_one(db)
    .await
}

/// The names of all endpoints of a member.
pub async fn names_of_member(db: impl PgExecutor<'_>, member: MemberId) -> Result<Vec<EndpointName>> {
    let rows = sqlx::query!("select endpoint_id, name from endpoint where member_id = $1", member.0)
        .fetch_all(db)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| EndpointName {
            endpoint_id: EndpointId(row.endpoint_id),
            member_id: member,
            name: row.name,
        })
        .collect())
}

/// The names of these endpoints, whoever has them.
pub async fn names(db: impl PgExecutor<'_>, endpoints: &[EndpointId]) -> Result<Vec<EndpointName>> {
    let ids: Vec<Uuid> = endpoints.iter().map(|id| id.0).collect();
    let rows =
        sqlx::query!("select endpoint_id, member_id, name from endpoint where endpoint_id = any ($1)", &ids)
            .fetch_all(db)
            .await?;
    Ok(rows
        .into_iter()
        .map(|row| EndpointName {
            endpoint_id: EndpointId(row.endpoint_id),
            member_id: MemberId(row.member_id),
            name: row.name,
        })
        .collect())
}

/// Makes an endpoint with its sources; `endpoint.endpoint_id` is not used, the new id is returned. Within a
/// transaction.
pub async fn insert(db: &mut PgConnection, endpoint: &Endpoint, at: DateTime<Utc>) -> Result<EndpointId> {
    let target = TargetColumns::of(&endpoint.target);
    let id = sqlx::query_scalar!(
        r#"
        insert into endpoint (member_id, name, target_address, target_name, target_port, target_transport
                            , priority, weight, max_calls, max_calls_per_second, enabled, policy, call_mark
                            , created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        returning endpoint_id
        "#,
        endpoint.member_id.0,
        endpoint.name,
        target.address,
        target.name,
        target.port,
        target.transport,
        i32::from(endpoint.priority),
        i32::from(endpoint.weight),
        endpoint.max_calls.map(word::fits::<i32, _>).transpose()?,
        endpoint.max_calls_per_second.map(word::fits::<i32, _>).transpose()?,
        endpoint.enabled,
        Json(&endpoint.policy) as _,
        mark_text(endpoint),
        at,
    )
    .fetch_one(&mut *db)
    .await
    .map(EndpointId)?;
    insert_sources(db, id, endpoint).await?;
    insert_certificate_names(db, id, &endpoint.certificate_names).await?;
    attach(db, id, &endpoint.sites).await?;
    Ok(id)
}

/// Describes the endpoint of this id and member anew, its sources with it. Within a transaction.
pub async fn update(db: &mut PgConnection, endpoint: &Endpoint) -> Result<()> {
    // First, since a new mark would be that of the old sources, too.
    sqlx::query!("delete from endpoint_source where endpoint_id = $1", endpoint.endpoint_id.0)
        .execute(&mut *db)
        .await?;
    let target = TargetColumns::of(&endpoint.target);
    sqlx::query!(
        r#"
        update endpoint
           set name = $3, target_address = $4, target_name = $5, target_port = $6, target_transport = $7
             , priority = $8, weight = $9, max_calls = $10, max_calls_per_second = $11, enabled = $12
             , policy = $13, call_mark = $14
         where endpoint_id = $1 and member_id = $2
        "#,
        endpoint.endpoint_id.0,
        endpoint.member_id.0,
        endpoint.name,
        target.address,
        target.name,
        target.port,
        target.transport,
        i32::from(endpoint.priority),
        i32::from(endpoint.weight),
        endpoint.max_calls.map(word::fits::<i32, _>).transpose()?,
        endpoint.max_calls_per_second.map(word::fits::<i32, _>).transpose()?,
        endpoint.enabled,
        Json(&endpoint.policy) as _,
        mark_text(endpoint),
    )
    .execute(&mut *db)
    .await?;
    insert_sources(db, endpoint.endpoint_id, endpoint).await?;
    sqlx::query!("delete from endpoint_certificate_name where endpoint_id = $1", endpoint.endpoint_id.0)
        .execute(&mut *db)
        .await?;
    insert_certificate_names(db, endpoint.endpoint_id, &endpoint.certificate_names).await?;
    sqlx::query!("delete from endpoint_site where endpoint_id = $1", endpoint.endpoint_id.0)
        .execute(&mut *db)
        .await?;
    attach(db, endpoint.endpoint_id, &endpoint.sites).await
}

/// Attaches an endpoint to sites that there are.
async fn attach(db: &mut PgConnection, endpoint: EndpointId, sites: &[String]) -> Result<()> {
    sqlx::query!(
        "insert into endpoint_site (endpoint_id, site_id) select $1, site_id from site where name = any ($2)",
        endpoint.0,
        sites,
    )
    .execute(db)
    .await
    .map(|_| ())
}

async fn insert_certificate_names(
    db: &mut PgConnection,
    endpoint: EndpointId,
    names: &[String],
) -> Result<()> {
    sqlx::query!(
        "insert into endpoint_certificate_name (endpoint_id, name) select $1, name from unnest($2::text[]) as t (name)",
        endpoint.0,
        names,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// The mark as it is stored: an empty text where there is none.
fn mark_text(endpoint: &Endpoint) -> String {
    endpoint.call_mark.as_ref().map_or_else(String::new, ToString::to_string)
}

async fn insert_sources(db: &mut PgConnection, id: EndpointId, endpoint: &Endpoint) -> Result<()> {
    let nets: Vec<IpNet> = endpoint.sources.iter().map(|source| source.net).collect();
    let ports: Vec<Option<i32>> = endpoint.sources.iter().map(|source| source.port.map(i32::from)).collect();
    sqlx::query!(
        r#"
        insert into endpoint_source (endpoint_id, net, port, call_mark)
        select $1, net, port, $4 from unnest($2::inet[], $3::int[]) as t (net, port)
        "#,
        id.0,
        &nets,
        &ports as &[Option<i32>],
        mark_text(endpoint),
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Removes an endpoint of the member. An announcement may name it: `announcement_endpoint_own`.
pub async fn delete(db: impl PgExecutor<'_>, member: MemberId, endpoint: EndpointId) -> Result<bool> {
    sqlx::query!("delete from endpoint where member_id = $1 and endpoint_id = $2", member.0, endpoint.0)
        .execute(db)
        .await
        .map(|done| done.rows_affected() == 1)
}

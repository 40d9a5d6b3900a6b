//! Where endpoints have registered.

use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use sqlx::types::Uuid;
use sqlx::types::ipnet::IpNet;
use sqlx::{PgExecutor, Result};
use tandem_model::{CredentialId, EndpointId, MemberId, NodeId, Registration};

use crate::word;

/// Writes the last registration of some endpoints, each once. One that is there and later stays; that of an endpoint
/// that is gone is left out.
pub async fn write(db: impl PgExecutor<'_>, registrations: &[(EndpointId, Registration)]) -> Result<()> {
    let all = || registrations.iter().map(|(_, registration)| registration);
    let endpoints: Vec<Uuid> = registrations.iter().map(|(id, _)| id.0).collect();
    let credentials: Vec<Uuid> = all().map(|it| it.credential_id.0).collect();
    let contacts: Vec<&str> = all().map(|it| &*it.contact).collect();
    let source_addresses: Vec<IpNet> = all().map(|it| it.source.ip().into()).collect();
    let source_ports: Vec<i32> = all().map(|it| it.source.port().into()).collect();
    let transports: Vec<&str> = all().map(|it| it.transport.as_str()).collect();
    let listener_addresses: Vec<IpNet> = all().map(|it| it.listener.ip().into()).collect();
    let listener_ports: Vec<i32> = all().map(|it| it.listener.port().into()).collect();
    let call_ids: Vec<&str> = all().map(|it| &*it.call_id).collect();
    let cseqs: Vec<i64> = all().map(|it| it.cseq.into()).collect();
    let registered: Vec<DateTime<Utc>> = all().map(|it| it.registered_at).collect();
    let expires: Vec<DateTime<Utc>> = all().map(|it| it.expires_at).collect();
    let nodes: Vec<Uuid> = all().map(|it| it.node_id.0).collect();
    sqlx::query!(
        r#"
        insert into registration (endpoint_id, credential_id, contact, source_address, source_port, transport
             , listener_address, listener_port, call_id, cseq, registered_at, expires_at, node_id)
        select t.*
          from unnest($1::uuid[], $2::uuid[], $3::text[], $4::inet[], $5::int[], $6::text[], $7::inet[]
                    , $8::int[], $9::text[], $10::bigint[], $11::timestamptz[], $12::timestamptz[], $13::uuid[])
               as t (endpoint_id, credential_id, contact, source_address, source_port, transport
                   , listener_address, listener_port, call_id, cseq, registered_at, expires_at, node_id)
          join endpoint using (endpoint_id)
            on conflict (endpoint_id) do update
           set credential_id = excluded.credential_id, contact = excluded.contact
             , source_address = excluded.source_address, source_port = excluded.source_port
             , transport = excluded.transport, listener_address = excluded.listener_address
             , listener_port = excluded.listener_port, call_id = excluded.call_id, cseq = excluded.cseq
             , registered_at = excluded.registered_at, expires_at = excluded.expires_at
             , node_id = excluded.node_id
         where registration.registered_at < excluded.registered_at
        "#,
        &endpoints,
        &credentials,
        &contacts as &[&str],
        &source_addresses,
        &source_ports,
        &transports as &[&str],
        &listener_addresses,
        &listener_ports,
        &call_ids as &[&str],
        &cseqs,
        &registered,
        &expires,
        &nodes,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Where an endpoint of the member registered last, also when that is over.
pub async fn get(
    db: impl PgExecutor<'_>,
    member: MemberId,
    endpoint: EndpointId,
) -> Result<Option<Registration>> {
    let row = sqlx::query!(
        r#"
        select r.credential_id, r.contact, r.source_address, r.source_port, r.transport, r.listener_address
             , r.listener_port, r.call_id, r.cseq, r.registered_at, r.expires_at, r.node_id
          from registration r join endpoint e using (endpoint_id)
         where e.member_id = $1 and e.endpoint_id = $2
        "#,
        member.0,
        endpoint.0,
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(Registration {
            credential_id: CredentialId(row.credential_id),
            contact: row.contact,
            source: SocketAddr::new(IpNet::addr(&row.source_address), word::fits(row.source_port)?),
            transport: word::read(&row.transport)?,
            listener: SocketAddr::new(IpNet::addr(&row.listener_address), word::fits(row.listener_port)?),
            call_id: row.call_id,
            cseq: word::fits(row.cseq)?,
            registered_at: row.registered_at,
            expires_at: row.expires_at,
            node_id: NodeId(row.node_id),
        })
    })
    .transpose()
}

//! Sites and the listeners at them: where members meet the hub.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use sqlx::types::ipnet::IpNet;
use sqlx::{PgExecutor, PgPool, Result};
use tandem_model::{ListenerId, SiteId, Transport};

/// An address, port and transport on which the hub receives SIP at a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Its id.
    pub listener_id: ListenerId,
    /// The site where it is.
    pub site_id: SiteId,
    /// Name of the site.
    pub site: String,
    /// Address and port.
    pub address: SocketAddr,
    /// Transport.
    pub transport: Transport,
}

/// Makes the site `site` if there is none, and tells its id.
pub async fn ensure_site(db: impl PgExecutor<'_>, site: &str) -> Result<SiteId> {
    sqlx::query_scalar!(
        r#"
        insert into site (name) values ($1)
        on conflict (name) do update set name = excluded.name
        returning site_id
        "#,
        site,
    )
    .fetch_one(db)
    .await
    .map(SiteId)
}

/// Says that the hub receives SIP at `site` on these addresses; a listener that stood elsewhere moves.
pub async fn register(db: &PgPool, site: &str, listeners: &[(SocketAddr, Transport)]) -> Result<()> {
    let work = async {
        let site_id = ensure_site(db, site).await?;
        let addresses: Vec<IpNet> = listeners.iter().map(|(address, _)| address.ip().into()).collect();
        let ports: Vec<i32> = listeners.iter().map(|(address, _)| address.port().into()).collect();
        let transports: Vec<String> =
            listeners.iter().map(|(_, transport)| transport.as_str().into()).collect();
        sqlx::query!(
            r#"
            insert into listener (site_id, address, port, transport)
            select distinct $1::uuid, address, port, transport
              from unnest($2::inet[], $3::int[], $4::text[]) as t (address, port, transport)
            on conflict (address, port, transport) do update set site_id = excluded.site_id
             where listener.site_id <> excluded.site_id
            "#,
            site_id.0,
            &addresses,
            &ports,
            &transports,
        )
        .execute(db)
        .await?;
        Ok(())
    };
    crate::database::within(crate::database::STATEMENT_TIMEOUT, work).await
}

/// Every listener, by site and address.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<Listener>> {
    let rows = sqlx::query!(
        r#"
        select l.listener_id, l.site_id, s.name as site, l.address, l.port, l.transport
          from listener l join site s using (site_id)
         order by s.name, l.address, l.port, l.transport
        "#
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            Some(Listener {
                listener_id: ListenerId(row.listener_id),
                site_id: SiteId(row.site_id),
                site: row.site,
                address: SocketAddr::new(row.address.addr(), row.port.try_into().ok()?),
                transport: row.transport.parse().ok()?,
            })
        })
        .collect())
}

/// The names of all sites.
pub async fn sites(db: impl PgExecutor<'_>) -> Result<Vec<String>> {
    sqlx::query_scalar!("select name from site order by name").fetch_all(db).await
}

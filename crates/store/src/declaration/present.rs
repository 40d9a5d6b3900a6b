//! What the declared members have before the file is applied.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Uuid;
use sqlx::types::ipnet::IpNet;

use super::row::bound;
use super::{EndpointDeclaration, Members};
use crate::target::TargetColumns;

/// What the declared members have.
pub(super) struct Present {
    pub(super) endpoints: HashMap<(Uuid, String), PresentEndpoint>,
    pub(super) ranges: Vec<PresentRange>,
    pub(super) announcements: Vec<PresentAnnouncement>,
}

pub(super) struct PresentEndpoint {
    pub(super) endpoint_id: Uuid,
    pub(super) settings: EndpointSettings,
    pub(super) sources: BTreeSet<(IpNet, Option<i32>)>,
    pub(super) certificate_names: BTreeSet<String>,
    pub(super) sites: BTreeSet<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct EndpointSettings {
    pub(super) target: TargetColumns,
    pub(super) priority: i32,
    pub(super) weight: i32,
    pub(super) max_calls: Option<i32>,
    pub(super) max_calls_per_second: Option<i32>,
    pub(super) enabled: bool,
    pub(super) policy: serde_json::Value,
    pub(super) call_mark: String,
}

impl EndpointSettings {
    pub(super) fn of(endpoint: &EndpointDeclaration) -> Self {
        Self {
            target: TargetColumns::of(&endpoint.target),
            priority: endpoint.priority.into(),
            weight: endpoint.weight.into(),
            max_calls: bound(endpoint.max_calls),
            max_calls_per_second: bound(endpoint.max_calls_per_second),
            enabled: endpoint.enabled,
            policy: serde_json::to_value(&endpoint.policy).expect("a policy is JSON"),
            call_mark: match endpoint.call_mark().expect("it was checked") {
                Some(mark) => mark.to_string(),
                None => String::new(),
            },
        }
    }
}

pub(super) struct PresentRange {
    pub(super) range_id: Uuid,
    pub(super) member_id: Uuid,
    pub(super) prefix: String,
    pub(super) authority: String,
    /// Whether it holds now and until further notice.
    pub(super) standing: bool,
}

pub(super) struct PresentAnnouncement {
    pub(super) tags: Vec<String>,
    pub(super) announcement_id: Uuid,
    pub(super) member_id: Uuid,
    pub(super) prefix: String,
    pub(super) endpoint_ids: Vec<Uuid>,
    pub(super) max_calls: Option<i32>,
    pub(super) max_calls_per_second: Option<i32>,
    /// Whether it holds now and until further notice.
    pub(super) standing: bool,
}

impl Present {
    pub(super) async fn read(
        db: &mut PgConnection,
        members: &Members,
        at: DateTime<Utc>,
    ) -> sqlx::Result<Self> {
        let ids: Vec<Uuid> = members.values().copied().collect();
        let rows = sqlx::query!(
            r#"
            select e.endpoint_id, e.member_id, e.name, e.target_address, e.target_name, e.target_port
                 , e.target_transport
                 , e.priority, e.weight, e.max_calls, e.max_calls_per_second, e.enabled, e.policy, e.call_mark
                 , array(select c.name from endpoint_certificate_name c
                          where c.endpoint_id = e.endpoint_id) as "certificate_names!: Vec<String>"
                 , array(select site.name from endpoint_site a join site using (site_id)
                          where a.endpoint_id = e.endpoint_id) as "sites!: Vec<String>"
              from endpoint e
             where e.member_id = any ($1)
            "#,
            &ids,
        )
        .fetch_all(&mut *db)
        .await?;
        let mut sources: HashMap<Uuid, BTreeSet<(IpNet, Option<i32>)>> = HashMap::new();
        let source_rows = sqlx::query!(
            r#"
            select s.endpoint_id, s.net, s.port
              from endpoint_source s join endpoint e using (endpoint_id)
             where e.member_id = any ($1)
            "#,
            &ids,
        );
        for row in source_rows.fetch_all(&mut *db).await? {
            sources.entry(row.endpoint_id).or_default().insert((row.net, row.port));
        }
        let endpoints = rows.into_iter().map(|row| {
            let settings = EndpointSettings {
                target: TargetColumns {
                    address: row.target_address,
                    name: row.target_name,
                    port: row.target_port,
                    transport: row.target_transport,
                },
                priority: row.priority,
                weight: row.weight,
                max_calls: row.max_calls,
                max_calls_per_second: row.max_calls_per_second,
                enabled: row.enabled,
                policy: row.policy,
                call_mark: row.call_mark,
            };
            let present = PresentEndpoint {
                endpoint_id: row.endpoint_id,
                settings,
                sources: sources.remove(&row.endpoint_id).unwrap_or_default(),
                certificate_names: row.certificate_names.into_iter().collect(),
                sites: row.sites.into_iter().collect(),
            };
            ((row.member_id, row.name), present)
        });
        let ranges = sqlx::query_as!(
            PresentRange,
            r#"
            select range_id, member_id, prefix, authority
                 , (lower(valid_during) <= $2 and upper_inf(valid_during)) as "standing!"
              from number_range
             where member_id = any ($1) and authority <> 'refused' and valid_during && tstzrange($2, null)
             order by prefix
            "#,
            &ids,
            at,
        );
        let announcements = sqlx::query_as!(
            PresentAnnouncement,
            r#"
            select a.announcement_id, a.member_id, a.prefix, a.max_calls, a.max_calls_per_second, a.tags
                 , (lower(a.valid_during) <= $2 and upper_inf(a.valid_during)) as "standing!"
                 , a.endpoint_ids
              from announcement a
             where a.member_id = any ($1) and a.valid_during && tstzrange($2, null)
             order by a.prefix
            "#,
            &ids,
            at,
        );
        Ok(Self {
            endpoints: endpoints.collect(),
            ranges: ranges.fetch_all(&mut *db).await?,
            announcements: announcements.fetch_all(&mut *db).await?,
        })
    }
}

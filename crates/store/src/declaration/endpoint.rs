//! The rows of declared endpoints: what they are, their sources, certificate names and sites.

use sqlx::PgConnection;
use sqlx::types::Uuid;
use sqlx::types::ipnet::IpNet;

use super::present::EndpointSettings;
use super::row::Row;

pub(super) struct EndpointRow<'a> {
    pub(super) member: &'a str,
    pub(super) member_id: Uuid,
    pub(super) name: &'a str,
    pub(super) settings: EndpointSettings,
}

impl Row for EndpointRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        fn column<'a, T>(rows: &'a [EndpointRow<'_>], of: impl Fn(&'a EndpointRow<'_>) -> T) -> Vec<T> {
            rows.iter().map(of).collect()
        }
        sqlx::query!(
            r#"
            insert into endpoint (member_id, name, target_address, target_name, target_port, target_transport
                                , priority, weight, max_calls, max_calls_per_second, enabled, policy, call_mark)
            select member_id, name, target_address, target_name, target_port, target_transport
                 , priority, weight, max_calls, max_calls_per_second, enabled, policy, call_mark
              from unnest($1::uuid[], $2::text[], $3::inet[], $4::text[], $5::int[], $6::text[], $7::int[]
                        , $8::int[], $9::int[], $10::int[], $11::boolean[], $12::jsonb[]
                        , $13::text[])
                as t (member_id, name, target_address, target_name, target_port, target_transport, priority
                    , weight, max_calls, max_calls_per_second, enabled, policy, call_mark)
            on conflict (member_id, name) do update
               set target_address = excluded.target_address, target_name = excluded.target_name
                 , target_port = excluded.target_port, target_transport = excluded.target_transport
                 , priority = excluded.priority, weight = excluded.weight
                 , max_calls = excluded.max_calls, max_calls_per_second = excluded.max_calls_per_second
                 , enabled = excluded.enabled, policy = excluded.policy, call_mark = excluded.call_mark
            "#,
            &column(rows, |row| row.member_id),
            &column(rows, |row| row.name) as &[&str],
            &column(rows, |row| row.settings.target.address) as &[Option<IpNet>],
            &column(rows, |row| row.settings.target.name.as_deref()) as &[Option<&str>],
            &column(rows, |row| row.settings.target.port) as &[Option<i32>],
            &column(rows, |row| row.settings.target.transport.as_deref()) as &[Option<&str>],
            &column(rows, |row| row.settings.priority),
            &column(rows, |row| row.settings.weight),
            &column(rows, |row| row.settings.max_calls) as &[Option<i32>],
            &column(rows, |row| row.settings.max_calls_per_second) as &[Option<i32>],
            &column(rows, |row| row.settings.enabled),
            &column(rows, |row| row.settings.policy.clone()),
            &column(rows, |row| row.settings.call_mark.as_str()) as &[&str],
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("endpoint {}/{}", self.member, self.name)
    }
}

pub(super) struct SourceRow<'a> {
    pub(super) member: &'a str,
    pub(super) member_id: Uuid,
    pub(super) name: &'a str,
    pub(super) net: IpNet,
    pub(super) port: Option<i32>,
}

impl Row for SourceRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        let member_ids: Vec<Uuid> = rows.iter().map(|row| row.member_id).collect();
        let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
        let nets: Vec<IpNet> = rows.iter().map(|row| row.net).collect();
        let ports: Vec<Option<i32>> = rows.iter().map(|row| row.port).collect();
        sqlx::query!(
            r#"
            insert into endpoint_source (endpoint_id, net, port, call_mark)
            select e.endpoint_id, t.net, t.port, e.call_mark
              from unnest($1::uuid[], $2::text[], $3::inet[], $4::int[]) as t (member_id, name, net, port)
              join endpoint e using (member_id, name)
            "#,
            &member_ids,
            &names as &[&str],
            &nets,
            &ports as &[Option<i32>],
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("endpoint {}/{}, source {}", self.member, self.name, self.net)
    }
}

pub(super) struct CertificateNameRow<'a> {
    pub(super) member: &'a str,
    pub(super) member_id: Uuid,
    pub(super) name: &'a str,
    pub(super) certificate: String,
}

impl Row for CertificateNameRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        let member_ids: Vec<Uuid> = rows.iter().map(|row| row.member_id).collect();
        let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
        let certificates: Vec<&str> = rows.iter().map(|row| row.certificate.as_str()).collect();
        sqlx::query!(
            r#"
            insert into endpoint_certificate_name (endpoint_id, name)
            select e.endpoint_id, t.certificate
              from unnest($1::uuid[], $2::text[], $3::text[]) as t (member_id, name, certificate)
              join endpoint e using (member_id, name)
            "#,
            &member_ids,
            &names as &[&str],
            &certificates as &[&str],
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("endpoint {}/{}, certificate {}", self.member, self.name, self.certificate)
    }
}

pub(super) struct SiteRow<'a> {
    pub(super) member: &'a str,
    pub(super) member_id: Uuid,
    pub(super) name: &'a str,
    pub(super) site: String,
}

impl Row for SiteRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        let member_ids: Vec<Uuid> = rows.iter().map(|row| row.member_id).collect();
        let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
        let sites: Vec<&str> = rows.iter().map(|row| row.site.as_str()).collect();
        sqlx::query!(
            r#"
            insert into endpoint_site (endpoint_id, site_id)
            select e.endpoint_id, s.site_id
              from unnest($1::uuid[], $2::text[], $3::text[]) as t (member_id, name, site)
              join endpoint e using (member_id, name)
              join site s on s.name = t.site
            "#,
            &member_ids,
            &names as &[&str],
            &sites as &[&str],
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("endpoint {}/{}, site {}", self.member, self.name, self.site)
    }
}

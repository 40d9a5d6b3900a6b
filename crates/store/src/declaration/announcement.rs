//! The rows of declared announcements.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Uuid;

use super::row::Row;

pub(super) struct AnnouncementRow<'a> {
    pub(super) member: &'a str,
    pub(super) member_id: Uuid,
    pub(super) prefix: String,
    pub(super) endpoints: &'a [String],
    pub(super) max_calls: Option<i32>,
    pub(super) max_calls_per_second: Option<i32>,
    /// With a space between each two.
    pub(super) tags: String,
    pub(super) from: DateTime<Utc>,
}

impl Row for AnnouncementRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        let Some(from) = rows.first().map(|row| row.from) else { return Ok(()) };
        let member_ids: Vec<Uuid> = rows.iter().map(|row| row.member_id).collect();
        let prefixes: Vec<&str> = rows.iter().map(|row| row.prefix.as_str()).collect();
        // With a space between each two: no name of an endpoint has one.
        let endpoints: Vec<String> = rows.iter().map(|row| row.endpoints.join(" ")).collect();
        let tags: Vec<&str> = rows.iter().map(|row| row.tags.as_str()).collect();
        let max_calls: Vec<Option<i32>> = rows.iter().map(|row| row.max_calls).collect();
        let rates: Vec<Option<i32>> = rows.iter().map(|row| row.max_calls_per_second).collect();
        sqlx::query!(
            r#"
            insert into announcement (member_id, prefix, valid_during, endpoint_ids, max_calls, max_calls_per_second, tags)
            select t.member_id, t.prefix, tstzrange($4, null), named.endpoint_ids, t.max_calls, t.max_calls_per_second
                 , string_to_array(t.tags, ' ')
              from unnest($1::uuid[], $2::text[], $3::text[], $5::int[], $6::int[], $7::text[])
                as t (member_id, prefix, endpoints, max_calls, max_calls_per_second, tags)
              join (select member_id, endpoints
                         , array(select e.endpoint_id from endpoint e
                                  where e.member_id = d.member_id and e.name = any (string_to_array(d.endpoints, ' '))
                                  order by e.endpoint_id) as endpoint_ids
                      from (select distinct member_id, endpoints
                              from unnest($1::uuid[], $3::text[]) as t (member_id, endpoints)) d) named
                using (member_id, endpoints)
            "#,
            &member_ids,
            &prefixes as &[&str],
            &endpoints,
            from,
            &max_calls as &[Option<i32>],
            &rates as &[Option<i32>],
            &tags as &[&str],
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("announcement {}/+{}", self.member, self.prefix)
    }
}

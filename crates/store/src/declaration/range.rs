//! The rows of declared ranges.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Uuid;

use super::row::Row;

pub(super) struct RangeRow<'a> {
    pub(super) member: &'a str,
    pub(super) member_id: Uuid,
    pub(super) prefix: String,
    pub(super) authority: &'static str,
    pub(super) from: DateTime<Utc>,
}

impl Row for RangeRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        let Some(from) = rows.first().map(|row| row.from) else { return Ok(()) };
        let member_ids: Vec<Uuid> = rows.iter().map(|row| row.member_id).collect();
        let prefixes: Vec<&str> = rows.iter().map(|row| row.prefix.as_str()).collect();
        let authorities: Vec<&str> = rows.iter().map(|row| row.authority).collect();
        sqlx::query!(
            r#"
            insert into number_range (member_id, prefix, authority, evidence, valid_during, decided_at)
            select member_id, prefix, authority, 'declared by the operator', tstzrange($4, null)
                 , case authority when 'valid' then $4 end
              from unnest($1::uuid[], $2::text[], $3::text[]) as t (member_id, prefix, authority)
            "#,
            &member_ids,
            &prefixes as &[&str],
            &authorities as &[&str],
            from,
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("range {}/+{}", self.member, self.prefix)
    }
}

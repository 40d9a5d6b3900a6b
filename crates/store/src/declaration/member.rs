//! The declared members themselves.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::row::{Row, bound, insert};
use super::{Action, Applied, ApplyError, Declaration, MemberDeclaration, Members};

struct MemberRow<'a> {
    name: &'a str,
    display_name: String,
    contact_email: String,
    max_calls: Option<i32>,
    max_calls_per_second: Option<i32>,
}

impl Row for MemberRow<'_> {
    async fn insert(rows: &[Self], db: &mut PgConnection) -> sqlx::Result<()> {
        let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
        let display_names: Vec<&str> = rows.iter().map(|row| row.display_name.as_str()).collect();
        let contact_emails: Vec<&str> = rows.iter().map(|row| row.contact_email.as_str()).collect();
        let max_calls: Vec<Option<i32>> = rows.iter().map(|row| row.max_calls).collect();
        let rates: Vec<Option<i32>> = rows.iter().map(|row| row.max_calls_per_second).collect();
        sqlx::query!(
            r#"
            insert into member (name, display_name, contact_email, state, max_calls, max_calls_per_second)
            select name, display_name, contact_email, 'approved', max_calls, max_calls_per_second
              from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[])
                as t (name, display_name, contact_email, max_calls, max_calls_per_second)
            on conflict (name) do update
               set display_name = excluded.display_name, contact_email = excluded.contact_email
                 , state = excluded.state, max_calls = excluded.max_calls
                 , max_calls_per_second = excluded.max_calls_per_second
            "#,
            &names as &[&str],
            &display_names as &[&str],
            &contact_emails as &[&str],
            &max_calls as &[Option<i32>],
            &rates as &[Option<i32>],
        )
        .execute(db)
        .await
        .map(|_| ())
    }

    fn name(&self) -> String {
        format!("member {}", self.name)
    }
}

pub(super) async fn put_members(
    db: &mut PgConnection,
    declaration: &Declaration,
    applied: &mut Applied,
) -> Result<Members, ApplyError> {
    let names: Vec<String> = declaration.members.iter().map(|member| member.name.clone()).collect();
    let before = sqlx::query!(
        r#"
        select name, display_name, contact_email, state, max_calls, max_calls_per_second
          from member
         where name = any ($1)
        "#,
        &names,
    )
    .fetch_all(&mut *db)
    .await?;
    let before: HashMap<&str, _> = before.iter().map(|row| (row.name.as_str(), row)).collect();
    let mut rows = Vec::new();
    for member in &declaration.members {
        let MemberDeclaration { name, display_name, contact_email, .. } = member;
        let known = before.get(name.as_str());
        let display_name = display_name.clone().or_else(|| Some(known?.display_name.clone()));
        let contact_email = contact_email.clone().or_else(|| Some(known?.contact_email.clone()));
        let row = MemberRow {
            name,
            display_name: display_name.unwrap_or_else(|| name.clone()),
            contact_email: contact_email.unwrap_or_else(|| format!("noc@{name}.invalid")),
            max_calls: bound(member.max_calls),
            max_calls_per_second: bound(member.max_calls_per_second),
        };
        let action = match known {
            None => Action::Added,
            Some(known)
                if known.display_name == row.display_name
                    && known.contact_email == row.contact_email
                    && known.max_calls == row.max_calls
                    && known.max_calls_per_second == row.max_calls_per_second
                    && known.state == "approved" =>
            {
                continue;
            }
            Some(_) => Action::Changed,
        };
        applied.note("member", action, name);
        rows.push(row);
    }
    insert(db, &rows).await?;
    let members = sqlx::query!("select name, member_id from member where name = any ($1)", &names);
    Ok(members.fetch_all(db).await?.into_iter().map(|row| (row.name, row.member_id)).collect())
}

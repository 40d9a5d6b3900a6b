//! What regulators have given to whom, as the operator imported it, and the names under which they know the members.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::types::Uuid;
use sqlx::{PgConnection, PgExecutor, Result};
use tandem_model::{MemberId, Prefix, UserId, Validity};
use tokio::sync::mpsc;

/// Longest work on one statement of an import.
const LONGEST_IMPORT: Duration = Duration::from_secs(55);

/// A block of numbers that a regulator has given to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The leading digits of its numbers.
    pub prefix: Prefix,
    /// To whom it was given, by the name or code that the regulator uses. No control characters.
    pub holder: String,
    /// When it is given.
    pub validity: Validity,
}

/// What the lists say of a claim at an instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllocationStanding {
    /// Whether they give all its numbers to the member, and none of them to anybody else.
    pub covers: bool,
    /// When the first of those allocations ends.
    pub ends_at: Option<DateTime<Utc>>,
    /// Allocations of some of its numbers to others, at most 20.
    pub others: Vec<AllocatedToOther>,
}

/// An allocation to somebody else than who claims the numbers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AllocatedToOther {
    /// Name of the list that says so.
    pub list: String,
    /// The leading digits of its numbers.
    pub prefix: Prefix,
    /// To whom it was given.
    pub holder: String,
}

/// A list of allocations, imported as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationList {
    /// What the operator calls it.
    pub name: String,
    /// How many allocations it has.
    pub row_count: i64,
    /// When it was imported last.
    pub imported_at: DateTime<Utc>,
}

/// Every list, by name.
pub async fn lists(db: impl PgExecutor<'_>) -> Result<Vec<AllocationList>> {
    sqlx::query_as!(AllocationList, "select name, row_count, imported_at from allocation_list order by name",)
        .fetch_all(db)
        .await
}

/// The list of this name, kept as it is until the transaction ends.
pub async fn lock_list(db: impl PgExecutor<'_>, name: &str) -> Result<Option<AllocationList>> {
    sqlx::query_as!(
        AllocationList,
        "select name, row_count, imported_at from allocation_list where name = $1 for update",
        name,
    )
    .fetch_optional(db)
    .await
}

/// Puts `rows`, which come in parts until their sender is gone, in the place of all that the list of this name had. To
/// be rolled back where they turn out not to be whole. Whoever imports the same list meanwhile waits.
pub async fn replace(
    db: &mut PgConnection,
    name: &str,
    mut rows: mpsc::Receiver<Vec<Allocation>>,
    imported_by: Option<UserId>,
    at: DateTime<Utc>,
) -> Result<AllocationList> {
    let limit = LONGEST_IMPORT.as_millis().to_string();
    sqlx::query_scalar!("select set_config('statement_timeout', $1, true)", limit)
        .fetch_one(&mut *db)
        .await?;
    let list = sqlx::query_scalar!(
        r#"
        insert into allocation_list (name, row_count, imported_by, imported_at) values ($1, 0, $2, $3)
        on conflict (name) do update set imported_by = excluded.imported_by, imported_at = excluded.imported_at
        returning list_id
        "#,
        name,
        imported_by.map(|id| id.0),
        at,
    )
    .fetch_one(&mut *db)
    .await?;
    sqlx::query!("delete from allocation where list_id = $1", list).execute(&mut *db).await?;
    let mut copy =
        db.copy_in_raw("copy allocation (list_id, prefix, holder, valid_during) from stdin").await?;
    let mut lines = String::new();
    while let Some(part) = rows.recv().await {
        lines.clear();
        part.iter().for_each(|row| write_line(&mut lines, list, row));
        copy.send(lines.as_bytes()).await?;
    }
    copy.finish().await?;
    sqlx::query_as!(
        AllocationList,
        r#"
        update allocation_list set row_count = (select count(*) from allocation where list_id = $1)
         where list_id = $1
        returning name, row_count, imported_at
        "#,
        list,
    )
    .fetch_one(db)
    .await
}

/// A row in the text format of COPY.
fn write_line(lines: &mut String, list: Uuid, row: &Allocation) {
    let holder = row.holder.replace('\\', "\\\\");
    let until = row.validity.until.map(|until| until.to_rfc3339()).unwrap_or_default();
    let (prefix, from) = (row.prefix.digits(), row.validity.from.to_rfc3339());
    writeln!(lines, "{list}\t{prefix}\t{holder}\t[{from},{until})").expect("a text can be written to");
}

/// Removes a list with all that it has.
pub async fn delete(db: &mut PgConnection, name: &str) -> Result<()> {
    sqlx::query!(
        "delete from allocation where list_id = (select list_id from allocation_list where name = $1)",
        name
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!("delete from allocation_list where name = $1", name).execute(db).await.map(|_| ())
}

/// The names under which lists know the member, in alphabetical order.
pub async fn holder_names(db: impl PgExecutor<'_>, member: MemberId) -> Result<Vec<String>> {
    sqlx::query_scalar!("select holder from member_holder where member_id = $1 order by holder", member.0)
        .fetch_all(db)
        .await
}

/// Says under which names lists know the member, in place of those that were said before. One of them may be another
/// member's: `member_holder_unique`.
pub async fn set_holder_names(db: &mut PgConnection, member: MemberId, names: &[String]) -> Result<()> {
    sqlx::query!("delete from member_holder where member_id = $1", member.0).execute(&mut *db).await?;
    sqlx::query!(
        "insert into member_holder (member_id, holder) select $1, unnest($2::text[])",
        member.0,
        names
    )
    .execute(db)
    .await
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_with_a_backslash_is_one_column() {
        let from = DateTime::UNIX_EPOCH;
        let row = Allocation {
            prefix: "44207".parse().unwrap(),
            holder: r"A\B, Ltd".to_owned(),
            validity: Validity { from, until: None },
        };
        let mut lines = String::new();
        write_line(&mut lines, Uuid::nil(), &row);
        assert_eq!(
            lines,
            "00000000-0000-0000-0000-000000000000\t44207\tA\\\\B, Ltd\t[1970-01-01T00:00:00+00:00,)\n"
        );
    }
}

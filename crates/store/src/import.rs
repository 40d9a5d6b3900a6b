//! Imports: files of announcements that come in parts, with their rows until they take effect together.
//!
//! How they take effect is in [`crate::import_application`].

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Uuid;
use sqlx::{PgConnection, PgExecutor, Result};
use tandem_model::{ApiTokenId, ImportId, MemberId, Reason, UserId};

use crate::word;

/// How far an import has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportState {
    /// Its file is being uploaded.
    Receiving,
    /// The file is there whole; its rows are looked at beside each other and beside the ranges of the member.
    Checking,
    /// What it changes is being written; none of it counts yet.
    Applying,
    /// All of it took effect in one moment.
    Applied,
    /// Nothing of it took effect.
    Failed,
}

/// How the rows of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportFormat {
    /// Lines of cells (RFC 4180), the first one names the columns.
    Csv,
    /// A JSON object on each line.
    Ndjson,
}

/// What an import does with announcements that its file does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportMode {
    /// They stay.
    Merge,
    /// They are withdrawn.
    Replace,
}

/// What becomes of an import with rows that cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadRows {
    /// Nothing of it takes effect.
    Refuse,
    /// The other rows take effect.
    Skip,
}

/// An import without its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its id.
    pub import_id: ImportId,
    /// Whose announcements.
    pub member_id: MemberId,
    /// What its sender calls the file.
    pub file_name: String,
    /// How the file is written.
    pub format: ImportFormat,
    /// What becomes of what the file does not name.
    pub mode: ImportMode,
    /// What becomes of the import where rows cannot be taken.
    pub bad_rows: BadRows,
    /// How far it has come.
    pub state: ImportState,
    /// The person who began it, where one did.
    pub author: Option<UserId>,
    /// The token that began it, where one did.
    pub author_token: Option<ApiTokenId>,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// Size of the file.
    pub octets: u64,
    /// How many of them are here, up to the end of a line: the upload goes on from there.
    pub received_octets: u64,
    /// How many lines those are.
    pub received_lines: u32,
    /// Rows that can be taken, as far as is known.
    pub good_rows: u32,
    /// Rows that cannot.
    pub faulty_rows: u32,
    /// When the last part came.
    pub received_at: Option<DateTime<Utc>>,
    /// When all rows had been looked at.
    pub checked_at: Option<DateTime<Utc>>,
    /// When it took effect or failed.
    pub ended_at: Option<DateTime<Utc>>,
    /// What it changed.
    pub counts: ImportCounts,
    /// Version of the route table that has all of it.
    pub feed_position: Option<u64>,
    /// Code of the reason why it failed.
    pub failure: Option<Reason>,
}

/// What an import changed, in prefixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportCounts {
    /// Those that were not announced.
    pub added: u32,
    /// Those whose endpoints or validity changed.
    pub changed: u32,
    /// Those that are no longer announced.
    pub withdrawn: u32,
    /// Those that were announced so already.
    pub unchanged: u32,
}

/// What is needed to begin one.
#[derive(Clone, Copy, Debug)]
pub struct NewImport<'a> {
    /// Whose announcements.
    pub member: MemberId,
    /// What its sender calls the file.
    pub file_name: &'a str,
    /// How the file is written.
    pub format: ImportFormat,
    /// What becomes of what the file does not name.
    pub mode: ImportMode,
    /// What becomes of the import where rows cannot be taken.
    pub bad_rows: BadRows,
    /// Size of the file.
    pub octets: u64,
    /// The person who begins it, where one does.
    pub user: Option<UserId>,
    /// The token that does, where one does.
    pub api_token: Option<ApiTokenId>,
}

/// Begins an import.
pub async fn insert(db: impl PgExecutor<'_>, new: &NewImport<'_>, at: DateTime<Utc>) -> Result<ImportId> {
    sqlx::query_scalar!(
        r#"
        insert into import (member_id, file_name, format, mode, bad_rows, octets, author_user_id, author_token_id, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        returning import_id
        "#,
        new.member.0,
        new.file_name,
        word::text(new.format),
        word::text(new.mode),
        word::text(new.bad_rows),
        word::fits::<i64, _>(new.octets)?,
        new.user.map(|id| id.0),
        new.api_token.map(|id| id.0),
        at,
    )
    .fetch_one(db)
    .await
    .map(ImportId)
}

struct Row {
    import_id: Uuid,
    member_id: Uuid,
    file_name: String,
    format: String,
    mode: String,
    bad_rows: String,
    state: String,
    author_user_id: Option<Uuid>,
    author_token_id: Option<Uuid>,
    created_at: DateTime<Utc>,
    octets: i64,
    received_octets: i64,
    received_lines: i32,
    good_rows: i32,
    faulty_rows: i32,
    received_at: Option<DateTime<Utc>>,
    checked_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    added: i32,
    changed: i32,
    withdrawn: i32,
    unchanged: i32,
    feed_position: Option<i64>,
    failure: Option<String>,
}

impl Row {
    fn read(self) -> Result<Import> {
        Ok(Import {
            import_id: ImportId(self.import_id),
            member_id: MemberId(self.member_id),
            file_name: self.file_name,
            format: word::read(&self.format)?,
            mode: word::read(&self.mode)?,
            bad_rows: word::read(&self.bad_rows)?,
            state: word::read(&self.state)?,
            author: self.author_user_id.map(UserId),
            author_token: self.author_token_id.map(ApiTokenId),
            created_at: self.created_at,
            octets: word::fits(self.octets)?,
            received_octets: word::fits(self.received_octets)?,
            received_lines: word::fits(self.received_lines)?,
            good_rows: word::fits(self.good_rows)?,
            faulty_rows: word::fits(self.faulty_rows)?,
            received_at: self.received_at,
            checked_at: self.checked_at,
            ended_at: self.ended_at,
            counts: ImportCounts {
                added: word::fits(self.added)?,
                changed: word::fits(self.changed)?,
                withdrawn: word::fits(self.withdrawn)?,
                unchanged: word::fits(self.unchanged)?,
            },
            feed_position: self.feed_position.map(word::fits).transpose()?,
            failure: self.failure.as_deref().and_then(Reason::from_code),
        })
    }
}

/// Imports of a member, newest first, at most `limit`: all, or `only` one, or those before one.
pub async fn list(
    db: impl PgExecutor<'_>,
    member: MemberId,
    only: Option<ImportId>,
    before: Option<ImportId>,
    limit: i64,
) -> Result<Vec<Import>> {
    sqlx::query_as!(
        Row,
        r#"
        select import_id, member_id, file_name, format, mode, bad_rows, state, author_user_id, author_token_id, created_at
             , octets, received_octets, received_lines, good_rows, faulty_rows, received_at, checked_at, ended_at
             , added, changed, withdrawn, unchanged, feed_position, failure
          from import
         where member_id = $1 and ($2::uuid is null or import_id = $2) and ($3::uuid is null or import_id < $3)
         order by import_id desc
         limit $4
        "#,
        member.0,
        only.map(|id| id.0),
        before.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// How many imports of a member have not ended.
pub async fn count_open(db: impl PgExecutor<'_>, member: MemberId) -> Result<u64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from import where member_id = $1 and state in ('receiving', 'checking', 'applying')"#,
        member.0,
    );
    word::fits(count.fetch_one(db).await?)
}

/// Imports whose file is there and that have not taken effect, the oldest first.
pub async fn due(db: impl PgExecutor<'_>) -> Result<Vec<(MemberId, ImportId)>> {
    let rows = sqlx::query!(
        "select member_id, import_id from import where state in ('checking', 'applying') order by import_id"
    );
    let rows = rows.fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (MemberId(row.member_id), ImportId(row.import_id))).collect())
}

/// A part of a file, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Its size.
    pub octets: u64,
    /// Its lines.
    pub lines: u32,
    /// Its rows, as COPY takes them; see [`Part::push`].
    rows: String,
    good_rows: u32,
    faults: String,
    faulty_rows: u32,
}

/// Most characters of a row that are kept with its fault.
const MAX_CONTENT: usize = 200;

impl Part {
    /// A part of so many octets, before any line of it has been read.
    pub fn new(octets: u64) -> Self {
        Self { octets, ..Self::default() }
    }

    /// Adds a row: on endpoints the prefix is announced by this id; on none it is withdrawn.
    pub fn push(
        &mut self,
        import: ImportId,
        line: u32,
        prefix: tandem_model::Prefix,
        endpoints: &[tandem_model::EndpointId],
        announcement: tandem_model::AnnouncementId,
    ) {
        use std::fmt::Write;
        let announces = if endpoints.is_empty() { 'f' } else { 't' };
        let (prefix, rows) = (prefix.value(), &mut self.rows);
        _ = write!(rows, "{import}\t{line}\t{announces}\t{prefix}\t{{");
        for (index, endpoint) in endpoints.iter().enumerate() {
            _ = write!(rows, "{}{endpoint}", if index > 0 { "," } else { "" });
        }
        _ = writeln!(rows, "}}\t{announcement}");
        self.good_rows += 1;
    }

    /// Adds a row that cannot be taken, with what is wrong with it.
    pub fn push_fault(&mut self, import: ImportId, line: u32, content: &str, reason: Reason, detail: &str) {
        use std::fmt::Write;
        let content: String = content.chars().take(MAX_CONTENT).collect();
        let (content, detail) = (copied(&content), copied(detail));
        _ = writeln!(self.faults, "{import}\t{line}\t{content}\t{reason}\t{detail}");
        self.faulty_rows += 1;
    }

    /// The rows that can be taken, as COPY takes them.
    pub fn rows(&self) -> &str {
        &self.rows
    }

    /// How many of its rows can be taken.
    pub fn good_rows(&self) -> u32 {
        self.good_rows
    }

    /// How many of its rows cannot.
    pub fn faulty_rows(&self) -> u32 {
        self.faulty_rows
    }
}

/// A text as COPY takes it; NUL, which no text of Postgres holds, is replaced.
fn copied(text: &str) -> String {
    text.replace('\\', "\\\\").replace(['\t', '\r', '\n'], " ").replace('\0', "\u{fffd}")
}

/// Adds a part to a file that has come to `from`, and ends the upload where that makes it whole; whether it had come to
/// there and is being received. Within a transaction.
pub async fn receive(
    db: &mut PgConnection,
    id: ImportId,
    from: u64,
    part: &Part,
    at: DateTime<Utc>,
) -> Result<bool> {
    let advanced = sqlx::query!(
        r#"
        update import
           set received_octets = received_octets + $3, received_lines = received_lines + $4
             , good_rows = good_rows + $5, faulty_rows = faulty_rows + $6
             , state = case when received_octets + $3 = octets then 'checking' else state end
             , received_at = case when received_octets + $3 = octets then $7 else received_at end
         where import_id = $1 and received_octets = $2 and state = 'receiving'
        "#,
        id.0,
        word::fits::<i64, _>(from)?,
        word::fits::<i64, _>(part.octets)?,
        word::fits::<i32, _>(part.lines)?,
        word::fits::<i32, _>(part.good_rows)?,
        word::fits::<i32, _>(part.faulty_rows)?,
        at,
    );
    if advanced.execute(&mut *db).await?.rows_affected() == 0 {
        return Ok(false);
    }
    for (columns, rows) in [
        ("import_row (import_id, line, announces, prefix, endpoint_ids, announcement_id)", &part.rows),
        ("import_fault (import_id, line, content, reason, detail)", &part.faults),
    ] {
        if !rows.is_empty() {
            let mut copy = db.copy_in_raw(&format!("copy {columns} from stdin")).await?;
            copy.send(rows.as_bytes()).await?;
            copy.finish().await?;
        }
    }
    Ok(true)
}

/// A row that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportFault {
    /// Where it is in the file, from 1.
    pub line: u32,
    /// As it was sent, shortened.
    pub content: String,
    /// Why it cannot be taken.
    pub reason: Reason,
    /// What is wrong with it, where there is more to say.
    pub detail: String,
}

/// Rows of an import that cannot be taken, beyond a line, in the order of the file, at most `limit`.
pub async fn faults(
    db: impl PgExecutor<'_>,
    id: ImportId,
    beyond: u32,
    limit: i64,
) -> Result<Vec<ImportFault>> {
    let rows = sqlx::query!(
        r#"
        select line, content, reason, detail
          from import_fault
         where import_id = $1 and line > $2
         order by line
         limit $3
        "#,
        id.0,
        word::fits::<i32, _>(beyond)?,
        limit,
    );
    rows.fetch_all(db)
        .await?
        .into_iter()
        .map(|row| {
            Ok(ImportFault {
                line: word::fits(row.line)?,
                content: row.content,
                reason: Reason::from_code(&row.reason).unwrap_or(Reason::Invalid),
                detail: row.detail,
            })
        })
        .collect()
}

/// Ends an import that has not ended without any effect; whether it had not.
pub async fn fail(db: impl PgExecutor<'_>, id: ImportId, reason: Reason, at: DateTime<Utc>) -> Result<bool> {
    sqlx::query!(
        r#"
        update import set state = 'failed', failure = $2, ended_at = $3
         where import_id = $1 and state in ('receiving', 'checking', 'applying')
        "#,
        id.0,
        reason.code(),
        at,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Ends imports that were begun before `before` and are still not whole.
pub async fn fail_abandoned(
    db: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    at: DateTime<Utc>,
) -> Result<u64> {
    sqlx::query!(
        r#"
        update import set state = 'failed', failure = $2, ended_at = $3
         where state = 'receiving' and created_at < $1
        "#,
        before,
        Reason::ImportAbandoned.code(),
        at,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}

/// Forgets an import that is being received; whether it was.
pub async fn delete(db: impl PgExecutor<'_>, id: ImportId) -> Result<bool> {
    sqlx::query!("delete from import where import_id = $1 and state = 'receiving'", id.0)
        .execute(db)
        .await
        .map(|done| done.rows_affected() == 1)
}

/// Forgets the rows of imports that have ended.
pub async fn delete_rows_of_ended(db: impl PgExecutor<'_>) -> Result<u64> {
    sqlx::query!(
        r#"
        delete from import_row
         where import_id not in (select import_id from import where state in ('receiving', 'checking', 'applying'))
        "#
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}

/// Forgets the faults of imports that ended before `before`.
pub async fn delete_old_faults(db: impl PgExecutor<'_>, before: DateTime<Utc>) -> Result<u64> {
    sqlx::query!(
        "delete from import_fault f using import i where i.import_id = f.import_id and i.ended_at < $1",
        before,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}

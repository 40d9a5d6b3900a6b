//! Members: who is on the exchange and who asks to join.

use chrono::{DateTime, Utc};
use sqlx::types::Uuid;
use sqlx::{PgExecutor, Result};
use tandem_model::{CallLimits, MemberId, MemberState};

use crate::word;

/// A member as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub member_id: MemberId,
    /// Its short name, unique on the exchange.
    pub name: String,
    /// How it is shown.
    pub display_name: String,
    /// Where the operator writes to.
    pub contact_email: String,
    /// How far it has come.
    pub state: MemberState,
    /// When it asked to join, or was made.
    pub created_at: DateTime<Utc>,
    /// What the operator lets it carry.
    pub limits: CallLimits,
}

/// How a member is named to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberName {
    /// Its id.
    pub member_id: MemberId,
    /// Its short name.
    pub name: String,
    /// How it is shown.
    pub display_name: String,
}

/// What is needed to make a member.
#[derive(Clone, Debug)]
pub struct NewMember<'a> {
    /// Its short name.
    pub name: &'a str,
    /// How it is shown.
    pub display_name: &'a str,
    /// Where the operator writes to.
    pub contact_email: &'a str,
    /// How far it has come.
    pub state: MemberState,
}

struct Row {
    member_id: Uuid,
    name: String,
    display_name: String,
    contact_email: String,
    state: String,
    created_at: DateTime<Utc>,
    max_calls: Option<i32>,
    max_calls_per_second: Option<i32>,
}

impl Row {
    fn read(self) -> Result<Member> {
        Ok(Member {
            member_id: MemberId(self.member_id),
            name: self.name,
            display_name: self.display_name,
            contact_email: self.contact_email,
            state: word::read(&self.state)?,
            created_at: self.created_at,
            limits: word::limits(self.max_calls, self.max_calls_per_second)?,
        })
    }
}

/// The member, if there is one of this id.
pub async fn get(db: impl PgExecutor<'_>, member: MemberId) -> Result<Option<Member>> {
    sqlx::query_as!(
        Row,
        r#"
        select member_id, name, display_name, contact_email, state, created_at, max_calls, max_calls_per_second
          from member
         where member_id = $1
        "#,
        member.0,
    )
    .fetch_optional(db)
    .await?
    .map(Row::read)
    .transpose()
}

/// The member, kept as it is until the transaction ends.
pub async fn lock(db: impl PgExecutor<'_>, member: MemberId) -> Result<Option<Member>> {
    sqlx::query_as!(
        Row,
        r#"
        select member_id, name, display_name, contact_email, state, created_at, max_calls, max_calls_per_second
          from member
         where member_id = $1
           for no key update
        "#,
        member.0,
    )
    .fetch_optional(db)
    .await?
    .map(Row::read)
    .transpose()
}

/// The member of this short name or, written as text, this id.
pub async fn find(db: impl PgExecutor<'_>, name_or_id: &str) -> Result<Option<Member>> {
    sqlx::query_as!(
        Row,
        r#"
        select member_id, name, display_name, contact_email, state, created_at, max_calls, max_calls_per_second
          from member
         where name = $1 or member_id = $2
         order by name = $1 desc
         limit 1
        "#,
        name_or_id,
        name_or_id.parse::<Uuid>().ok(),
    )
    .fetch_optional(db)
    .await?
    .map(Row::read)
    .transpose()
}

/// Members in `state`, or in any, newest first; those before `before`, at most `limit`.
pub async fn list(
    db: impl PgExecutor<'_>,
    state: Option<MemberState>,
    before: Option<MemberId>,
    limit: i64,
) -> Result<Vec<Member>> {
    sqlx::query_as!(
        Row,
        r#"
        select member_id, name, display_name, contact_email, state, created_at, max_calls, max_calls_per_second
          from member
         where ($1::text is null or state = $1) and ($2::uuid is null or member_id < $2)
         order by member_id desc
         limit $3
        "#,
        state.map(word::text),
        before.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// How members of these ids are named.
pub async fn names(db: impl PgExecutor<'_>, members: &[MemberId]) -> Result<Vec<MemberName>> {
    let ids: Vec<Uuid> = members.iter().map(|id| id.0).collect();
    let rows =
        sqlx::query!("select member_id, name, display_name from member where member_id = any ($1)", &ids)
            .fetch_all(db)
            .await?;
    Ok(rows
        .into_iter()
        .map(|row| MemberName {
            member_id: MemberId(row.member_id),
            name: row.name,
            display_name: row.display_name,
        })
        .collect())
}

/// Makes a member. Its name may be taken: `member_name_unique`.
pub async fn insert(db: impl PgExecutor<'_>, new: &NewMember<'_>, at: DateTime<Utc>) -> Result<Member> {
    sqlx::query_as!(
        Row,
        r#"
        insert into member (name, display_name, contact_email, state, created_at)
        values ($1, $2, $3, $4, $5)
        returning member_id, name, display_name, contact_email, state, created_at, max_calls, max_calls_per_second
        "#,
        new.name,
        new.display_name,
        new.contact_email,
        word::text(new.state),
        at,
    )
    .fetch_one(db)
    .await?
    .read()
}

/// Writes what may change of a member.
pub async fn update(db: impl PgExecutor<'_>, member: &Member) -> Result<()> {
    sqlx::query!(
        r#"
        update member
           set display_name = $2, contact_email = $3, state = $4, max_calls = $5, max_calls_per_second = $6
         where member_id = $1
        "#,
        member.member_id.0,
        member.display_name,
        member.contact_email,
        word::text(member.state),
        word::limit(member.limits.max_calls)?,
        word::limit(member.limits.max_calls_per_second)?,
    )
    .execute(db)
    .await
    .map(|_| ())
}

//! Change sets: changes of a member's announcements that take effect together, with what was planned for them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Uuid;
use sqlx::{PgConnection, PgExecutor, Result};
use tandem_model::{ApiTokenId, ChangeSetId, EndpointId, MemberId, Prefix, UserId};

use crate::word;

/// How far a change set has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeSetState {
    /// It is written.
    Draft,
    /// It takes effect at its time.
    Scheduled,
    /// It took effect.
    Applied,
    /// It took effect, and what was there before is there again.
    RolledBack,
    /// It was given up before it took effect.
    Cancelled,
    /// Its time came and it could not take effect.
    Failed,
}

/// What a change set does with a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemAction {
    /// It is announced, until further notice, on the endpoints of the item; whatever stood for it is replaced.
    Announce,
    /// It is no longer announced.
    Withdraw,
}

/// One prefix of a change set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What to do with it.
    pub action: ItemAction,
    /// Which numbers.
    pub prefix: Prefix,
    /// The endpoints that take the calls, in the order of their ids; none where it is withdrawn.
    pub endpoints: Vec<EndpointId>,
    /// What stood for the prefix when the set was applied.
    pub before: Option<serde_json::Value>,
}

/// A change set without its items.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeSet {
    /// Its id.
    pub change_set_id: ChangeSetId,
    /// Whose announcements.
    pub member_id: MemberId,
    /// Its name.
    pub member_name: String,
    /// What it is for.
    pub note: String,
    /// How far it has come.
    pub state: ChangeSetState,
    /// The person who wrote it, where one did.
    pub author: Option<UserId>,
    /// The token that wrote it, where one did.
    pub author_token: Option<ApiTokenId>,
    /// Who made that token.
    pub token_made_by: Option<UserId>,
    /// Address of the person, or name of the token, that wrote it.
    pub author_name: String,
    /// Whether the author acts for the operator.
    pub is_operators: bool,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// What it was last found to change.
    pub plan: Option<serde_json::Value>,
    /// Address of the person who approved it.
    pub approved_by: Option<String>,
    /// Whether that person acts for the operator.
    pub is_approved_by_operator: bool,
    /// When.
    pub approved_at: Option<DateTime<Utc>>,
    /// The plan that was approved.
    pub approved_plan: Option<serde_json::Value>,
    /// When it takes effect.
    pub apply_at: Option<DateTime<Utc>>,
    /// When it took effect.
    pub applied_at: Option<DateTime<Utc>>,
    /// When it was rolled back.
    pub rolled_back_at: Option<DateTime<Utc>>,
    /// When it was given up or failed.
    pub ended_at: Option<DateTime<Utc>>,
    /// Code of the reason why it failed.
    pub failure: Option<String>,
    /// How many prefixes it names.
    pub items: u32,
}

/// What is needed to write one.
#[derive(Clone, Copy, Debug)]
pub struct NewChangeSet<'a> {
    /// Whose announcements.
    pub member: MemberId,
    /// What it is for.
    pub note: &'a str,
    /// The person who writes it, where one does.
    pub user: Option<UserId>,
    /// The token that does, where one does.
    pub api_token: Option<ApiTokenId>,
    /// Its prefixes, each once.
    pub items: &'a [Item],
}

/// Writes a change set down. Within a transaction.
pub async fn insert(db: &mut PgConnection, new: &NewChangeSet<'_>, at: DateTime<Utc>) -> Result<ChangeSetId> {
    let id = sqlx::query_scalar!(
        r#"
        insert into change_set (member_id, note, author_user_id, author_token_id, created_at)
        values ($1, $2, $3, $4, $5)
        returning change_set_id
        "#,
        new.member.0,
        new.note,
        new.user.map(|id| id.0),
        new.api_token.map(|id| id.0),
        at,
    )
    .fetch_one(&mut *db)
    .await?;
    let actions: Vec<String> = new.items.iter().map(|item| word::text(item.action)).collect();
    let prefixes: Vec<String> = new.items.iter().map(|item| item.prefix.digits()).collect();
    let endpoints: Vec<String> = new.items.iter().map(|item| array(&item.endpoints)).collect();
    sqlx::query!(
        r#"
        insert into change_set_item (change_set_id, position, action, prefix, endpoint_ids)
        select $1, t.position, t.action, t.prefix, t.endpoint_ids::uuid[]
          from unnest($2::text[], $3::text[], $4::text[]) with ordinality
            as t (action, prefix, endpoint_ids, position)
        "#,
        id,
        &actions,
        &prefixes,
        &endpoints,
    )
    .execute(db)
    .await?;
    Ok(ChangeSetId(id))
}

/// Ids as the text of an array: arrays of arrays have rows of one length only.
fn array(ids: &[EndpointId]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
    format!("{{{}}}", ids.join(","))
}

/// Which change sets to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChangeSetFilter {
    /// Only those of this member.
    pub member: Option<MemberId>,
    /// Only this one.
    pub change_set: Option<ChangeSetId>,
    /// Only those before this one.
    pub before: Option<ChangeSetId>,
}

struct Row {
    change_set_id: Uuid,
    member_id: Uuid,
    member_name: String,
    note: String,
    state: String,
    author_user_id: Option<Uuid>,
    author_token_id: Option<Uuid>,
    token_made_by: Option<Uuid>,
    author_name: Option<String>,
    is_operators: bool,
    created_at: DateTime<Utc>,
    plan: Option<serde_json::Value>,
    approved_by: Option<String>,
    is_approved_by_operator: bool,
    approved_at: Option<DateTime<Utc>>,
    approved_plan: Option<serde_json::Value>,
    apply_at: Option<DateTime<Utc>>,
    applied_at: Option<DateTime<Utc>>,
    rolled_back_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    failure: Option<String>,
    items: i64,
}

impl Row {
    fn read(self) -> Result<ChangeSet> {
        Ok(ChangeSet {
            change_set_id: ChangeSetId(self.change_set_id),
            member_id: MemberId(self.member_id),
            member_name: self.member_name,
            note: self.note,
            state: word::read(&self.state)?,
            author: self.author_user_id.map(UserId),
            author_token: self.author_token_id.map(ApiTokenId),
            token_made_by: self.token_made_by.map(UserId),
            author_name: self.author_name.unwrap_or_default(),
            is_operators: self.is_operators,
            created_at: self.created_at,
            plan: self.plan,
            approved_by: self.approved_by,
            is_approved_by_operator: self.is_approved_by_operator,
            approved_at: self.approved_at,
            approved_plan: self.approved_plan,
            apply_at: self.apply_at,
            applied_at: self.applied_at,
            rolled_back_at: self.rolled_back_at,
            ended_at: self.ended_at,
            failure: self.failure,
            items: word::fits(self.items)?,
        })
    }
}

/// Change sets, newest first, at most `limit`.
pub async fn list(db: impl PgExecutor<'_>, filter: ChangeSetFilter, limit: i64) -> Result<Vec<ChangeSet>> {
    sqlx::query_as!(
        Row,
        r#"
        select s.change_set_id, s.member_id, m.name as member_name, s.note, s.state, s.author_user_id
             , s.author_token_id, t.created_by as "token_made_by?", coalesce(u.email, t.name) as author_name
             , coalesce(case when u.user_id is not null then u.member_id is null
                             when t.api_token_id is not null then t.member_id is null end, true) as "is_operators!"
             , s.created_at, s.plan, a.email as "approved_by?"
             , (a.user_id is not null and a.member_id is null) as "is_approved_by_operator!", s.approved_at, s.approved_plan, s.apply_at
             , s.applied_at, s.rolled_back_at, s.ended_at, s.failure
             , (select count(*) from change_set_item i where i.change_set_id = s.change_set_id) as "items!"
          from change_set s
          join member m using (member_id)
          left join user_account u on u.user_id = s.author_user_id
          left join api_token t on t.api_token_id = s.author_token_id
          left join user_account a on a.user_id = s.approved_by
         where ($1::uuid is null or s.member_id = $1)
           and ($2::uuid is null or s.change_set_id = $2)
           and ($3::uuid is null or s.change_set_id < $3)
         order by s.change_set_id desc
         limit $4
        "#,
        filter.member.map(|id| id.0),
        filter.change_set.map(|id| id.0),
        filter.before.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// Keeps a change set as it is until the transaction ends; its state, if the member has it.
pub async fn lock(
    db: impl PgExecutor<'_>,
    member: MemberId,
    id: ChangeSetId,
) -> Result<Option<ChangeSetState>> {
    let state = sqlx::query_scalar!(
        "select state from change_set where change_set_id = $1 and member_id = $2 for update",
        id.0,
        member.0
    );
    state.fetch_optional(db).await?.map(|state| word::read(&state)).transpose()
}

/// The prefixes of a change set, in the order in which they were written, at most `limit`.
pub async fn items(db: impl PgExecutor<'_>, id: ChangeSetId, limit: i64) -> Result<Vec<Item>> {
    let rows = sqlx::query!(
        r#"
        select action, prefix, endpoint_ids, before
          from change_set_item
         where change_set_id = $1
         order by position
         limit $2
        "#,
        id.0,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Item {
                action: word::read(&row.action)?,
                prefix: word::prefix(&row.prefix)?,
                endpoints: row.endpoint_ids.into_iter().map(EndpointId).collect(),
                before: row.before,
            })
        })
        .collect()
}

/// Notes what a change set was found to change.
pub async fn set_plan(db: impl PgExecutor<'_>, id: ChangeSetId, plan: &serde_json::Value) -> Result<()> {
    sqlx::query!("update change_set set plan = $2 where change_set_id = $1", id.0, plan)
        .execute(db)
        .await
        .map(|_| ())
}

/// Notes that somebody approves a change set as it is planned.
pub async fn approve(db: impl PgExecutor<'_>, id: ChangeSetId, by: UserId, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"
        update change_set set approved_by = $2, approved_at = $3, approved_plan = plan
         where change_set_id = $1
        "#,
        id.0,
        by.0,
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Lets a change set take effect at a time.
pub async fn schedule(db: impl PgExecutor<'_>, id: ChangeSetId, apply_at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update change_set set state = 'scheduled', apply_at = $2 where change_set_id = $1",
        id.0,
        apply_at
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Notes that a change set took effect, and what stood for each of its prefixes before.
pub async fn set_applied(
    db: &mut PgConnection,
    id: ChangeSetId,
    plan: &serde_json::Value,
    before: &[(Prefix, serde_json::Value)],
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "update change_set set state = 'applied', applied_at = $2, plan = $3 where change_set_id = $1",
        id.0,
        at,
        plan,
    )
    .execute(&mut *db)
    .await?;
    let prefixes: Vec<String> = before.iter().map(|(prefix, _)| prefix.digits()).collect();
    let states: Vec<serde_json::Value> = before.iter().map(|(_, before)| before.clone()).collect();
    sqlx::query!(
        r#"
        update change_set_item i set before = t.before
          from unnest($2::text[], $3::jsonb[]) as t (prefix, before)
         where i.change_set_id = $1 and i.prefix = t.prefix
        "#,
        id.0,
        &prefixes,
        &states,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Notes that what stood before a change set stands again.
pub async fn set_rolled_back(db: impl PgExecutor<'_>, id: ChangeSetId, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update change_set set state = 'rolled_back', rolled_back_at = $2 where change_set_id = $1",
        id.0,
        at
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Notes that a change set was given up, or with the code of a reason that it failed.
pub async fn end(
    db: impl PgExecutor<'_>,
    id: ChangeSetId,
    failure: Option<&str>,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"
        update change_set
           set state = case when $2::text is null then 'cancelled' else 'failed' end, failure = $2, ended_at = $3
         where change_set_id = $1
        "#,
        id.0,
        failure,
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Change sets whose time has come, the longest due first, at most `limit`.
pub async fn due(
    db: impl PgExecutor<'_>,
    at: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<(MemberId, ChangeSetId)>> {
    let rows = sqlx::query!(
        r#"
        select member_id, change_set_id
          from change_set
         where state = 'scheduled' and apply_at <= $1
         order by apply_at, change_set_id
         limit $2
        "#,
        at,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (MemberId(row.member_id), ChangeSetId(row.change_set_id))).collect())
}

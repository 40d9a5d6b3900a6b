//! Challenge calls: which numbers of claimed ranges the hub is to call, and what became of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Uuid;
use sqlx::{PgExecutor, Result};
use tandem_model::{E164, EndpointId, MemberId, NodeId, RangeId};

use crate::word;

/// What became of a challenge call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChallengeOutcome {
    /// It rang, and the hub cancelled it.
    Rang,
    /// It was answered, and the hub ended it.
    Answered,
    /// It was refused.
    Refused,
    /// Nothing was heard of it.
    Unanswered,
    /// The node had no way to the endpoint.
    Unplaced,
}

/// A call that a node is to place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeOrder {
    /// Its id.
    pub challenge_id: Uuid,
    /// By which endpoint.
    pub endpoint_id: EndpointId,
    /// Which number is called.
    pub called: E164,
    /// By which number it calls; it ends with the code.
    pub calling: E164,
}

/// A challenge as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeChallenge {
    /// Its id.
    pub challenge_id: Uuid,
    /// Which number is called.
    pub called: E164,
    /// What the member is to read from the calling number.
    pub code: String,
    /// How often another code was said.
    pub wrong_answers: i32,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// Until when its code may be said.
    pub ends_at: DateTime<Utc>,
    /// What became of the call, once that is known.
    pub outcome: Option<ChallengeOutcome>,
    /// The status of the response that ended it.
    pub status: Option<i32>,
    /// When the member said the code.
    pub solved_at: Option<DateTime<Utc>>,
}

/// A challenge as it is asked for.
#[derive(Clone, Debug)]
pub struct NewChallenge {
    /// Of which range.
    pub range_id: RangeId,
    /// By which endpoint the call leaves.
    pub endpoint_id: EndpointId,
    /// Which number is called.
    pub called: E164,
    /// By which number it calls.
    pub calling: E164,
    /// The code at its end.
    pub code: String,
    /// Until when the code may be said.
    pub ends_at: DateTime<Utc>,
}

/// Asks for a call.
pub async fn insert(db: impl PgExecutor<'_>, new: &NewChallenge, at: DateTime<Utc>) -> Result<Uuid> {
    sqlx::query_scalar!(
        r#"
        insert into range_challenge (range_id, endpoint_id, called, calling, code, created_at, ends_at)
        values ($1, $2, $3, $4, $5, $6, $7)
        returning challenge_id
        "#,
        new.range_id.0,
        new.endpoint_id.0,
        new.called.digits(),
        new.calling.digits(),
        new.code,
        at,
        new.ends_at,
    )
    .fetch_one(db)
    .await
}

/// Challenges of the range that were asked for after `since`, newest first.
pub async fn list(
    db: impl PgExecutor<'_>,
    range: RangeId,
    since: DateTime<Utc>,
) -> Result<Vec<RangeChallenge>> {
    let rows = sqlx::query!(
        r#"
        select challenge_id, called, code, wrong_answers, created_at, ends_at, outcome, status, solved_at
          from range_challenge
         where range_id = $1 and created_at > $2
         order by challenge_id desc
        "#,
        range.0,
        since,
    )
    .fetch_all(db)
    .await?;
    let read = rows.into_iter().map(|row| {
        Ok(RangeChallenge {
            challenge_id: row.challenge_id,
            called: word::number(&row.called)?,
            code: row.code,
            wrong_answers: row.wrong_answers,
            created_at: row.created_at,
            ends_at: row.ends_at,
            outcome: row.outcome.as_deref().map(word::read).transpose()?,
            status: row.status,
            solved_at: row.solved_at,
        })
    });
    read.collect()
}

/// Notes a code that was said: the right one, or another.
pub async fn note_answer(
    db: impl PgExecutor<'_>,
    challenge: Uuid,
    is_right: bool,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"
        update range_challenge
           set wrong_answers = wrong_answers + case when $2 then 0 else 1 end
             , solved_at = case when $2 then $3 else solved_at end
         where challenge_id = $1
        "#,
        challenge,
        is_right,
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Gives a node at most `limit` of the calls that no node has taken.
pub async fn take(
    db: impl PgExecutor<'_>,
    node: NodeId,
    limit: i64,
    at: DateTime<Utc>,
) -> Result<Vec<ChallengeOrder>> {
    let rows = sqlx::query!(
        r#"
        update range_challenge set node_id = $1, taken_at = $2
         where challenge_id in (select challenge_id from range_challenge
                                 where taken_at is null and ends_at > $2
                                 order by challenge_id
                                 limit $3
                                   for update skip locked)
        returning challenge_id, endpoint_id, called, calling
        "#,
        node.0,
        at,
        limit,
    )
    .fetch_all(db)
    .await?;
    let read = rows.into_iter().map(|row| {
        Ok(ChallengeOrder {
            challenge_id: row.challenge_id,
            endpoint_id: EndpointId(row.endpoint_id),
            called: word::number(&row.called)?,
            calling: word::number(&row.calling)?,
        })
    });
    read.collect()
}

/// Notes what became of a call.
pub async fn conclude(
    db: impl PgExecutor<'_>,
    challenge: Uuid,
    outcome: ChallengeOutcome,
    status: Option<u16>,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "update range_challenge set outcome = $2, status = $3, ended_at = $4 where challenge_id = $1",
        challenge,
        word::text(outcome),
        status.map(i32::from),
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// How many calls to ranges of the member were asked for after `since`.
pub async fn count(db: impl PgExecutor<'_>, member: MemberId, since: DateTime<Utc>) -> Result<i64> {
    sqlx::query_scalar!(
        r#"
        select count(*) as "count!" from range_challenge join number_range using (range_id)
         where member_id = $1 and range_challenge.created_at > $2
        "#,
        member.0,
        since,
    )
    .fetch_one(db)
    .await
}

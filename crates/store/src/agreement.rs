//! What two members agree to send to each other.

use chrono::{DateTime, Utc};
use sqlx::types::Uuid;
use sqlx::{PgExecutor, Result};
use tandem_model::{AdvanceOn, AgreementDirection, AgreementId, AgreementState, CallLimits, MemberId};

use crate::member::MemberName;
use crate::word;

/// An agreement as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAgreement {
    /// Its id.
    pub agreement_id: AgreementId,
    /// Who offered it.
    pub proposing_member: MemberName,
    /// Who was asked to accept it.
    pub accepting_member: MemberName,
    /// Who may call whom.
    pub direction: AgreementDirection,
    /// How far it has come.
    pub state: AgreementState,
    /// What the one told the other.
    pub note: String,
    /// Since when it holds; `None` until it is accepted, or where it never was.
    pub valid_from: Option<DateTime<Utc>>,
    /// When it ends or ended.
    pub valid_until: Option<DateTime<Utc>>,
    /// When it was offered.
    pub proposed_at: DateTime<Utc>,
    /// When it was accepted or refused.
    pub decided_at: Option<DateTime<Utc>>,
    /// When it was ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The most that crosses under it, both directions together.
    pub limits: CallLimits,
    /// After which failures a call under it goes on to the next candidate; by the hub's own rule where it is `None`.
    pub advance_on: Option<AdvanceOn>,
}

/// An agreement that one member offers another.
#[derive(Clone, Copy, Debug)]
pub struct Proposal<'a> {
    /// Who offers it.
    pub proposing_member: MemberId,
    /// Who is asked to accept it.
    pub accepting_member: MemberId,
    /// Who may call whom.
    pub direction: AgreementDirection,
    /// What the one tells the other.
    pub note: &'a str,
    /// The most that crosses under it, both directions together.
    pub limits: CallLimits,
    /// After which failures a call under it goes on to the next candidate.
    pub advance_on: Option<&'a AdvanceOn>,
}

struct Row {
    agreement_id: Uuid,
    proposing_member_id: Uuid,
    proposing_name: String,
    proposing_display_name: String,
    accepting_member_id: Uuid,
    accepting_name: String,
    accepting_display_name: String,
    direction: String,
    state: String,
    note: String,
    valid_from: Option<DateTime<Utc>>,
    valid_until: Option<DateTime<Utc>>,
    proposed_at: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    max_calls: Option<i32>,
    max_calls_per_second: Option<i32>,
    advance_on: Option<serde_json::Value>,
}

impl Row {
    fn read(self) -> Result<StoredAgreement> {
        Ok(StoredAgreement {
            agreement_id: AgreementId(self.agreement_id),
            proposing_member: MemberName {
                member_id: MemberId(self.proposing_member_id),
                name: self.proposing_name,
                display_name: self.proposing_display_name,
            },
            accepting_member: MemberName {
                member_id: MemberId(self.accepting_member_id),
                name: self.accepting_name,
                display_name: self.accepting_display_name,
            },
            direction: word::read(&self.direction)?,
            state: word::read(&self.state)?,
            note: self.note,
            valid_from: self.valid_from,
            valid_until: self.valid_until,
            proposed_at: self.proposed_at,
            decided_at: self.decided_at,
            ended_at: self.ended_at,
            limits: word::limits(self.max_calls, self.max_calls_per_second)?,
            advance_on: self.advance_on.map(word::json).transpose()?,
        })
    }
}

/// Agreements and proposals of the member, in whichever part, newest first; those before `before`.
pub async fn list(
    db: impl PgExecutor<'_>,
    member: MemberId,
    before: Option<AgreementId>,
    limit: i64,
) -> Result<Vec<StoredAgreement>> {
    sqlx::query_as!(
        Row,
        r#"
        select g.agreement_id
             , p.member_id as proposing_member_id, p.name as proposing_name, p.display_name as proposing_display_name
             , a.member_id as accepting_member_id, a.name as accepting_name, a.display_name as accepting_display_name
             , g.direction, g.state, g.note
             , lower(g.valid_during) as valid_from, upper(g.valid_during) as valid_until
             , g.proposed_at, g.decided_at, g.ended_at, g.max_calls, g.max_calls_per_second, g.advance_on
          from agreement g
          join member p on p.member_id = g.proposing_member_id
          join member a on a.member_id = g.accepting_member_id
         where $1 in (g.proposing_member_id, g.accepting_member_id) and ($2::uuid is null or g.agreement_id < $2)
         order by g.agreement_id desc
         limit $3
        "#,
        member.0,
        before.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// The agreement, if the member has a part in it; kept as it is until the transaction ends.
pub async fn lock(
    db: impl PgExecutor<'_>,
    member: MemberId,
    agreement: AgreementId,
) -> Result<Option<StoredAgreement>> {
    sqlx::query_as!(
        Row,
        r#"
        select g.agreement_id
             , p.member_id as proposing_member_id, p.name as proposing_name, p.display_name as proposing_display_name
             , a.member_id as accepting_member_id, a.name as accepting_name, a.display_name as accepting_display_name
             , g.direction, g.state, g.note
             , lower(g.valid_during) as valid_from, upper(g.valid_during) as valid_until
             , g.proposed_at, g.decided_at, g.ended_at, g.max_calls, g.max_calls_per_second, g.advance_on
          from agreement g
          join member p on p.member_id = g.proposing_member_id
          join member a on a.member_id = g.accepting_member_id
         where $1 in (g.proposing_member_id, g.accepting_member_id) and g.agreement_id = $2
           for update of g
        "#,
        member.0,
        agreement.0,
    )
    .fetch_optional(db)
    .await?
    .map(Row::read)
    .transpose()
}

/// Proposes an agreement. The two may have one or a proposal: `agreement_exists`.
pub async fn insert(
    db: impl PgExecutor<'_>,
    proposal: &Proposal<'_>,
    at: DateTime<Utc>,
) -> Result<AgreementId> {
    sqlx::query_scalar!(
        r#"
        insert into agreement (proposing_member_id, accepting_member_id, direction, note, proposed_at
                             , max_calls, max_calls_per_second, advance_on)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        returning agreement_id
        "#,
        proposal.proposing_member.0,
        proposal.accepting_member.0,
        word::text(proposal.direction),
        proposal.note,
        at,
        word::limit(proposal.limits.max_calls)?,
        word::limit(proposal.limits.max_calls_per_second)?,
        word::to_json(proposal.advance_on),
    )
    .fetch_one(db)
    .await
    .map(AgreementId)
}

/// A proposal becomes an agreement that holds from `at`.
pub async fn accept(db: impl PgExecutor<'_>, agreement: AgreementId, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"
        update agreement set state = 'accepted', decided_at = $2, valid_during = tstzrange($2, null)
         where agreement_id = $1 and state = 'proposed'
        "#,
        agreement.0,
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// A proposal is turned down.
pub async fn refuse(db: impl PgExecutor<'_>, agreement: AgreementId, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update agreement set state = 'refused', decided_at = $2 where agreement_id = $1 and state = 'proposed'",
        agreement.0,
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// An agreement ends at `at`; one that was only proposed never held.
pub async fn end(db: impl PgExecutor<'_>, agreement: AgreementId, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"
        update agreement
           set state = 'ended', ended_at = $2
             , valid_during = case when valid_during is null or lower(valid_during) >= $2 then 'empty'::tstzrange
                                   else tstzrange(lower(valid_during), $2) end
         where agreement_id = $1 and state in ('proposed', 'accepted')
        "#,
        agreement.0,
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

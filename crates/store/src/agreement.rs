//! What two members agree to send to each other.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Uuid;
use sqlx::{PgExecutor, Result};
use tandem_model::{
    AdvanceOn, AgreementAction, AgreementDirection, AgreementId, AgreementLife, AgreementTerms, CallLimits,
    MemberId, Party, Validity,
};

use crate::member::MemberName;
use crate::word;

/// The terms that one member offers another, as they are stored with each offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Who may call whom.
    pub direction: AgreementDirection,
    /// What the one tells the other.
    pub note: String,
    /// How many days an accepted agreement goes on after one of the two has ended it.
    pub notice_days: u32,
    /// The most that crosses under it, both directions together.
    #[serde(flatten)]
    pub limits: CallLimits,
    /// After which failures a call under it goes on to the next candidate; by the hub's own rule where it is `None`.
    pub advance_on: Option<AdvanceOn>,
    /// Which calls cross under it.
    #[serde(default)]
    pub terms: AgreementTerms,
}

impl Offer {
    /// The terms as the column holds them: nothing where they say nothing.
    fn terms(&self) -> Option<serde_json::Value> {
        word::to_json(Some(&self.terms).filter(|terms| !terms.is_default()))
    }
}

/// An agreement as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAgreement {
    /// Its id.
    pub agreement_id: AgreementId,
    /// Who offered it first.
    pub proposing_member: MemberName,
    /// Who was asked to accept it.
    pub accepting_member: MemberName,
    /// The terms, as they were offered last.
    pub offer: Offer,
    /// How far it had come at the time that was asked about.
    pub life: AgreementLife,
    /// When it was first offered.
    pub proposed_at: DateTime<Utc>,
    /// When it was accepted or refused.
    pub decided_at: Option<DateTime<Utc>>,
    /// When it was ended, or notice was given.
    pub ended_at: Option<DateTime<Utc>>,
}

impl StoredAgreement {
    /// Which of the two the member is.
    ///
    /// # Panics
    /// If it is neither.
    pub fn party(&self, member: MemberId) -> Party {
        match member {
            _ if member == self.proposing_member.member_id => Party::Proposing,
            _ if member == self.accepting_member.member_id => Party::Accepting,
            _ => unreachable!("an agreement is read for one of its members"),
        }
    }

    /// The member that is one of the two.
    pub fn member(&self, party: Party) -> &MemberName {
        match party {
            Party::Proposing => &self.proposing_member,
            Party::Accepting => &self.accepting_member,
        }
    }
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
    offered_by: String,
    version: i32,
    suspended_by_proposing: bool,
    suspended_by_accepting: bool,
    note: String,
    notice_days: i32,
    valid_from: Option<DateTime<Utc>>,
    valid_until: Option<DateTime<Utc>>,
    proposed_at: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    max_calls: Option<i32>,
    max_calls_per_second: Option<i32>,
    advance_on: Option<serde_json::Value>,
    terms: Option<serde_json::Value>,
}

impl Row {
    fn read(self, now: DateTime<Utc>) -> Result<StoredAgreement> {
        // Where it never held, its interval is empty and has no start.
        let validity = self.valid_from.map(|from| Validity { from, until: self.valid_until });
        let life = AgreementLife {
            state: word::read(&self.state)?,
            offered_by: word::read(&self.offered_by)?,
            version: word::fits(self.version)?,
            suspended_by_proposing: self.suspended_by_proposing,
            suspended_by_accepting: self.suspended_by_accepting,
            validity,
        };
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
            offer: Offer {
                direction: word::read(&self.direction)?,
                note: self.note,
                notice_days: word::fits(self.notice_days)?,
                limits: word::limits(self.max_calls, self.max_calls_per_second)?,
                advance_on: self.advance_on.map(word::json).transpose()?,
                terms: self.terms.map(word::json).transpose()?.unwrap_or_default(),
            },
            life: life.at(now),
            proposed_at: self.proposed_at,
            decided_at: self.decided_at,
            ended_at: self.ended_at,
        })
    }
}

/// Agreements and proposals of the member, in whichever part, as they are at `now`; newest first, those before `before`.
pub async fn list(
    db: impl PgExecutor<'_>,
    member: MemberId,
    before: Option<AgreementId>,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<StoredAgreement>> {
    sqlx::query_as!(
        Row,
        r#"
        select g.agreement_id
             , p.member_id as proposing_member_id, p.name as proposing_name, p.display_name as proposing_display_name
             , a.member_id as accepting_member_id, a.name as accepting_name, a.display_name as accepting_display_name
             , g.direction, g.state, g.offered_by, g.version, g.suspended_by_proposing, g.suspended_by_accepting
             , g.note, g.notice_days, lower(g.valid_during) as valid_from, upper(g.valid_during) as valid_until
             , g.proposed_at, g.decided_at, g.ended_at, g.max_calls, g.max_calls_per_second, g.advance_on, g.terms
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
    .map(|row| row.read(now))
    .collect()
}

/// The agreement as it is at `now`, if the member has a part in it; kept so until the transaction ends.
pub async fn lock(
    db: impl PgExecutor<'_>,
    member: MemberId,
    agreement: AgreementId,
    now: DateTime<Utc>,
) -> Result<Option<StoredAgreement>> {
    sqlx::query_as!(
        Row,
        r#"
        select g.agreement_id
             , p.member_id as proposing_member_id, p.name as proposing_name, p.display_name as proposing_display_name
             , a.member_id as accepting_member_id, a.name as accepting_name, a.display_name as accepting_display_name
             , g.direction, g.state, g.offered_by, g.version, g.suspended_by_proposing, g.suspended_by_accepting
             , g.note, g.notice_days, lower(g.valid_during) as valid_from, upper(g.valid_during) as valid_until
             , g.proposed_at, g.decided_at, g.ended_at, g.max_calls, g.max_calls_per_second, g.advance_on, g.terms
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
    .map(|row| row.read(now))
    .transpose()
}

/// What has reached its end between two members is over, so that they can propose anew.
pub async fn close_ended(
    db: impl PgExecutor<'_>,
    one: MemberId,
    other: MemberId,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"
        update agreement set state = 'ended', suspended_by_proposing = false, suspended_by_accepting = false
         where least(proposing_member_id, accepting_member_id) = least($1::uuid, $2::uuid)
           and greatest(proposing_member_id, accepting_member_id) = greatest($1::uuid, $2::uuid)
           and state in ('suspended', 'ending') and upper(valid_during) <= $3
        "#,
        one.0,
        other.0,
        now,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Proposes an agreement. The two may have one or a proposal: `agreement_exists`.
pub async fn insert(
    db: impl PgExecutor<'_>,
    proposing: MemberId,
    accepting: MemberId,
    offer: &Offer,
    at: DateTime<Utc>,
) -> Result<AgreementId> {
    sqlx::query_scalar!(
        r#"
        with proposed as (
            insert into agreement (proposing_member_id, accepting_member_id, direction, note, notice_days, proposed_at
                                 , max_calls, max_calls_per_second, advance_on, terms)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $11)
            returning agreement_id
        )
        insert into agreement_event (agreement_id, position, at, member_id, action, version, terms)
        select agreement_id, 1, $6, $1, 'propose', 1, $10 from proposed
        returning agreement_id
        "#,
        proposing.0,
        accepting.0,
        word::text(offer.direction),
        offer.note,
        word::fits::<i32, _>(offer.notice_days)?,
        at,
        word::limit(offer.limits.max_calls)?,
        word::limit(offer.limits.max_calls_per_second)?,
        word::to_json(offer.advance_on.as_ref()),
        word::to_json(Some(offer)),
        offer.terms(),
    )
    .fetch_one(db)
    .await
    .map(AgreementId)
}

/// One of the two has acted: the life is as it came out, and where the act was an offer, the terms are those.
pub async fn act(
    db: impl PgExecutor<'_>,
    agreement: AgreementId,
    by: MemberId,
    action: AgreementAction,
    life: &AgreementLife,
    offer: &Offer,
    at: DateTime<Utc>,
) -> Result<()> {
    let offered = (action == AgreementAction::Counter).then_some(offer);
    sqlx::query!(
        r#"
        with changed as (
            update agreement
               set state = $2, offered_by = $3, version = $4
                 , suspended_by_proposing = $5, suspended_by_accepting = $6
                 , valid_during = case when $7::timestamptz is not null then tstzrange($7, $8)
                                       when $2 = 'ended' then 'empty'::tstzrange end
                 , decided_at = case when $9 in ('accept', 'refuse') then $10 else decided_at end
                 , ended_at = case when $9 = 'end' then $10 else ended_at end
                 , direction = $11, note = $12, notice_days = $13
                 , max_calls = $14, max_calls_per_second = $15, advance_on = $16, terms = $19
             where agreement_id = $1
            returning agreement_id
        )
        insert into agreement_event (agreement_id, position, at, member_id, action, version, terms)
        select agreement_id
             , (select coalesce(max(e.position), 0) + 1 from agreement_event e where e.agreement_id = $1)
             , $10, $17, $9, $4, $18
          from changed
        "#,
        agreement.0,
        word::text(life.state),
        word::text(life.offered_by),
        word::fits::<i32, _>(life.version)?,
        life.suspended_by_proposing,
        life.suspended_by_accepting,
        life.validity.map(|validity| validity.from),
        life.validity.and_then(|validity| validity.until),
        word::text(action),
        at,
        word::text(offer.direction),
        offer.note,
        word::fits::<i32, _>(offer.notice_days)?,
        word::limit(offer.limits.max_calls)?,
        word::limit(offer.limits.max_calls_per_second)?,
        word::to_json(offer.advance_on.as_ref()),
        by.0,
        word::to_json(offered),
        offer.terms(),
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Something that was done about an agreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreementEvent {
    /// The how manieth it was, from 1.
    pub position: u32,
    /// When.
    pub at: DateTime<Utc>,
    /// Who did it; `None` for what the operator declared, and where it is not known any more.
    pub member: Option<MemberName>,
    /// What was done.
    pub action: AgreementEventKind,
    /// The version of the terms that it was about.
    pub version: u32,
    /// The terms, where they were offered or declared.
    pub offer: Option<Offer>,
}

/// What was done about an agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgreementEventKind {
    /// The first offer.
    Propose,
    /// The operator declared it in a file.
    Declare,
    /// An offer of other terms.
    Counter,
    /// The offer was accepted.
    Accept,
    /// The offer was turned down.
    Refuse,
    /// One of the two holds it up.
    Suspend,
    /// One of the two holds it up no more.
    Resume,
    /// The offer was taken back, or the agreement ended, or notice was given.
    End,
}

/// What was done about an agreement, the last first, from before `before`. Who may see the agreement is not asked here.
pub async fn history(
    db: impl PgExecutor<'_>,
    agreement: AgreementId,
    before: Option<u32>,
    limit: i64,
) -> Result<Vec<AgreementEvent>> {
    sqlx::query!(
        r#"
        select e.position, e.at, e.action, e.version, e.terms
             , m.member_id as "member_id?", m.name as "name?", m.display_name as "display_name?"
          from agreement_event e
          left join member m using (member_id)
         where e.agreement_id = $1 and ($2::int is null or e.position < $2)
         order by e.position desc
         limit $3
        "#,
        agreement.0,
        before.map(word::fits::<i32, _>).transpose()?,
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(|row| {
        let member = row.member_id.zip(row.name).zip(row.display_name);
        Ok(AgreementEvent {
            position: word::fits(row.position)?,
            at: row.at,
            member: member.map(|((id, name), display_name)| MemberName {
                member_id: MemberId(id),
                name,
                display_name,
            }),
            action: word::read(&row.action)?,
            version: word::fits(row.version)?,
            offer: row.terms.map(word::json).transpose()?,
        })
    })
    .collect()
}

//! Agreements of many: clubs, and who has joined them.

use chrono::{DateTime, Utc};
use sqlx::types::Uuid;
use sqlx::{PgExecutor, Result};
use tandem_model::{AdvanceOn, AgreementId, AgreementTerms, CallLimits, MemberId};

use crate::member::MemberName;
use crate::word;

/// What the operator describes of a club.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClub {
    /// Its short name, unique on the exchange.
    pub name: String,
    /// How it is shown.
    pub display_name: String,
    /// What it is for.
    pub note: String,
    /// The most that crosses under it, among all of its members together.
    pub limits: CallLimits,
    /// After which failures a call under it goes on to the next candidate; by the hub's own rule where it is `None`.
    pub advance_on: Option<AdvanceOn>,
    /// Which calls cross under it; prefixes of a side are for agreements of two.
    pub terms: AgreementTerms,
}

/// A club as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredClub {
    /// Its id.
    pub agreement_id: AgreementId,
    /// What the operator describes.
    pub club: NewClub,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who has joined, by name.
    pub members: Vec<MemberName>,
    /// Whom the operator expelled, by name.
    pub expelled: Vec<MemberName>,
}

impl StoredClub {
    /// Whether the member has joined.
    pub fn has(&self, member: MemberId) -> bool {
        self.members.iter().any(|it| it.member_id == member)
    }

    /// Whether the operator expelled the member.
    pub fn has_expelled(&self, member: MemberId) -> bool {
        self.expelled.iter().any(|it| it.member_id == member)
    }
}

/// Clubs in the order of their names, those after `after`; or only the one with this id.
pub async fn list(
    db: impl PgExecutor<'_>,
    only: Option<AgreementId>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<StoredClub>> {
    sqlx::query!(
        r#"
        select c.agreement_id, c.name, c.display_name, c.note, c.max_calls, c.max_calls_per_second, c.advance_on, c.terms
             , c.created_at
             , array_agg(m.member_id order by m.name) filter (where m.member_id is not null) as "ids?: Vec<Uuid>"
             , array_agg(m.name order by m.name) filter (where m.member_id is not null) as "names?: Vec<String>"
             , array_agg(m.display_name order by m.name) filter (where m.member_id is not null) as "display_names?: Vec<String>"
             , array_agg(s.is_expelled order by m.name) filter (where m.member_id is not null) as "are_expelled?: Vec<bool>"
          from club c
          left join club_membership s on s.agreement_id = c.agreement_id and (s.left_at is null or s.is_expelled)
          left join member m using (member_id)
         where ($1::uuid is null or c.agreement_id = $1) and ($2::text is null or c.name > $2)
         group by c.agreement_id
         order by c.name
         limit $3
        "#,
        only.map(|id| id.0),
        after,
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(|row| {
        let names = row.names.unwrap_or_default().into_iter().zip(row.display_names.unwrap_or_default());
        let named = row.ids.unwrap_or_default().into_iter().zip(names).map(|(id, (name, display_name))| {
            MemberName { member_id: MemberId(id), name, display_name }
        });
        let (expelled, members): (Vec<_>, Vec<_>) =
            named.zip(row.are_expelled.unwrap_or_default()).partition(|(_, is_expelled)| *is_expelled);
        Ok(StoredClub {
            agreement_id: AgreementId(row.agreement_id),
            club: NewClub {
                name: row.name,
                display_name: row.display_name,
                note: row.note,
                limits: word::limits(row.max_calls, row.max_calls_per_second)?,
                advance_on: row.advance_on.map(word::json).transpose()?,
                terms: row.terms.map(word::json).transpose()?.unwrap_or_default(),
            },
            created_at: row.created_at,
            members: members.into_iter().map(|(name, _)| name).collect(),
            expelled: expelled.into_iter().map(|(name, _)| name).collect(),
        })
    })
    .collect()
}

/// Makes a club. Another one may have the name: `club_name_unique`.
pub async fn insert(db: impl PgExecutor<'_>, club: &NewClub, at: DateTime<Utc>) -> Result<AgreementId> {
    sqlx::query_scalar!(
        r#"
        insert into club (name, display_name, note, max_calls, max_calls_per_second, advance_on, terms, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        returning agreement_id
        "#,
        club.name,
        club.display_name,
        club.note,
        word::limit(club.limits.max_calls)?,
        word::limit(club.limits.max_calls_per_second)?,
        word::to_json(club.advance_on.as_ref()),
        word::to_json(Some(&club.terms).filter(|terms| !terms.is_default())),
        at,
    )
    .fetch_one(db)
    .await
    .map(AgreementId)
}

/// The member joins. It may have joined already, or be expelled: `club_membership_once`.
pub async fn join(
    db: impl PgExecutor<'_>,
    club: AgreementId,
    member: MemberId,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into club_membership (agreement_id, member_id, joined_at) values ($1, $2, $3)",
        club.0,
        member.0,
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// The member leaves, or is expelled; whether it had joined.
pub async fn leave(
    db: impl PgExecutor<'_>,
    club: AgreementId,
    member: MemberId,
    is_expelled: bool,
    at: DateTime<Utc>,
) -> Result<bool> {
    sqlx::query!(
        r#"
        update club_membership set left_at = $3, is_expelled = $4
         where agreement_id = $1 and member_id = $2 and left_at is null
        "#,
        club.0,
        member.0,
        at,
        is_expelled,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected() > 0)
}

/// The member may join again; whether it was expelled.
pub async fn readmit(db: impl PgExecutor<'_>, club: AgreementId, member: MemberId) -> Result<bool> {
    sqlx::query!(
        "update club_membership set is_expelled = false where agreement_id = $1 and member_id = $2 and is_expelled",
        club.0,
        member.0,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected() > 0)
}

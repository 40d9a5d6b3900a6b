//! Rate decks: who has which, and their rates, loaded as a whole from an instant on.

use chrono::{DateTime, Utc};
use sqlx::types::Uuid;
use sqlx::{PgConnection, PgExecutor, Result};
use tandem_model::{Currency, DeckRate, MemberId, Prefix, RateDeckId, Validity};

use crate::word;

/// A deck as it is stored, without its rates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDeck {
    /// Its id.
    pub rate_deck_id: RateDeckId,
    /// Whose it is; the operator's where it is `None`.
    pub member_id: Option<MemberId>,
    /// Its name, unique with its owner.
    pub name: String,
    /// Of its rates.
    pub currency: Currency,
    /// How often rates were loaded.
    pub version: u32,
    /// How many rates are in force.
    pub rates: u64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Decks of the member, or of the operator, by name: those after `after`, or only the one with this id.
pub async fn list(
    db: impl PgExecutor<'_>,
    member: Option<MemberId>,
    only: Option<RateDeckId>,
    after: Option<&str>,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<StoredDeck>> {
    sqlx::query!(
        r#"
        select d.rate_deck_id, d.member_id, d.name, d.currency, d.version, d.created_at
             , (select count(*) from rate r where r.rate_deck_id = d.rate_deck_id and r.valid_during @> $5::timestamptz)
               as "rates!"
          from rate_deck d
         where d.member_id is not distinct from $1
           and ($2::uuid is null or d.rate_deck_id = $2) and ($3::text is null or d.name > $3)
         order by d.name
         limit $4
        "#,
        member.map(|member| member.0) as _,
        only.map(|id| id.0),
        after,
        limit,
        now,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(|row| {
        Ok(StoredDeck {
            rate_deck_id: RateDeckId(row.rate_deck_id),
            member_id: row.member_id.map(MemberId),
            name: row.name,
            currency: row.currency.parse().map_err(|error: &str| sqlx::Error::Decode(error.into()))?,
            version: word::fits(row.version)?,
            rates: word::fits(row.rates)?,
            created_at: row.created_at,
        })
    })
    .collect()
}

/// Makes a deck without rates, in the currency of the exchange. Its owner may have one of the name:
/// `rate_deck_name_unique`.
pub async fn insert(
    db: impl PgExecutor<'_>,
    member: Option<MemberId>,
    name: &str,
    at: DateTime<Utc>,
) -> Result<RateDeckId> {
    sqlx::query_scalar!(
        r#"
        insert into rate_deck (member_id, name, currency, created_at)
        select $1, $2, currency, $3 from exchange_currency
        returning rate_deck_id
        "#,
        member.map(|member| member.0) as _,
        name,
        at,
    )
    .fetch_one(db)
    .await
    .map(RateDeckId)
}

/// Removes a deck with its rates; whether it was there. An offer may name it: `transit_offer_deck_own`.
pub async fn delete(db: impl PgExecutor<'_>, member: Option<MemberId>, deck: RateDeckId) -> Result<bool> {
    sqlx::query!(
        "delete from rate_deck where rate_deck_id = $2 and member_id is not distinct from $1",
        member.map(|member| member.0) as _,
        deck.0,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Of these decks, those that belong to the operator or to one of `members`.
pub async fn owned(
    db: impl PgExecutor<'_>,
    decks: &[RateDeckId],
    members: &[MemberId],
) -> Result<Vec<RateDeckId>> {
    let decks: Vec<Uuid> = decks.iter().map(|id| id.0).collect();
    let members: Vec<Uuid> = members.iter().map(|id| id.0).collect();
    let ids = sqlx::query_scalar!(
        r#"
        select rate_deck_id from rate_deck
         where rate_deck_id = any ($1) and (member_id is null or member_id = any ($2))
        "#,
        &decks,
        &members,
    )
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(RateDeckId).collect())
}

/// Whether a member sees the rates of a deck: it is its own, or the terms of an agreement that it has or is offered name it,
/// or, where the member is approved, those of a club. Who names another member's deck in an offer does not see it by that.
pub async fn is_shown(db: impl PgExecutor<'_>, member: MemberId, deck: RateDeckId) -> Result<bool> {
    sqlx::query_scalar!(
        r#"
        select exists (select from rate_deck where rate_deck_id = $2 and member_id = $1)
            or exists (select from agreement g
                         join rate_deck d on d.rate_deck_id = $2
                        where $1 in (g.proposing_member_id, g.accepting_member_id)
                          and g.terms #>> '{transit,rate_deck}' = $2::uuid::text
                          and (g.state in ('accepted', 'suspended', 'ending')
                               or g.state in ('proposed', 'countered')
                                  and (d.member_id is null
                                       or d.member_id = case g.offered_by when 'proposing' then g.proposing_member_id
                                                                          else g.accepting_member_id end)))
            or exists (select from club c
                        cross join member m
                        where m.member_id = $1 and m.state = 'approved'
                          and c.terms #>> '{transit,rate_deck}' = $2::uuid::text) as "is_shown!"
        "#,
        member.0,
        deck.0,
    )
    .fetch_one(db)
    .await
}

/// From `from` on the deck has just these rates, each within its own validity, which begins no earlier; the number of
/// its version. Within a transaction. Two of a prefix at a time: `rate_one_at_a_time`.
pub async fn load(
    db: &mut PgConnection,
    deck: RateDeckId,
    rates: &[DeckRate],
    from: DateTime<Utc>,
) -> Result<u32> {
    let version = sqlx::query_scalar!(
        "update rate_deck set version = version + 1 where rate_deck_id = $1 returning version",
        deck.0,
    )
    .fetch_one(&mut *db)
    .await?;
    sqlx::query!("delete from rate where rate_deck_id = $1 and lower(valid_during) >= $2", deck.0, from)
        .execute(&mut *db)
        .await?;
    sqlx::query!(
        r#"
        update rate set valid_during = tstzrange(lower(valid_during), $2)
         where rate_deck_id = $1 and valid_during @> $2::timestamptz
        "#,
        deck.0,
        from,
    )
    .execute(&mut *db)
    .await?;
    let prefixes: Vec<String> = rates.iter().map(|rate| rate.prefix.digits()).collect();
    let millionths: Vec<i64> = rates.iter().map(|rate| rate.per_minute.millionths() as i64).collect();
    let begins: Vec<DateTime<Utc>> = rates.iter().map(|rate| rate.validity.from).collect();
    let ends: Vec<Option<DateTime<Utc>>> = rates.iter().map(|rate| rate.validity.until).collect();
    sqlx::query!(
        r#"
        insert into rate (rate_deck_id, version, prefix, per_minute, valid_during)
        select $1, $2, prefix, millionths / 1000000.0, tstzrange(begins, ends)
          from unnest($3::text[], $4::bigint[], $5::timestamptz[], $6::timestamptz[]) as t (prefix, millionths, begins, ends)
        "#,
        deck.0,
        version,
        &prefixes,
        &millionths,
        &begins,
        &ends as &[Option<DateTime<Utc>>],
    )
    .execute(db)
    .await?;
    word::fits(version)
}

/// A rate and the version of the deck that brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRate {
    /// The rate.
    pub rate: DeckRate,
    /// The version.
    pub version: u32,
}

/// Rates of a deck that are in force at `now` or later, by prefix and begin: those with prefixes that begin with some
/// digits, after a place in the order.
pub async fn rates(
    db: impl PgExecutor<'_>,
    deck: RateDeckId,
    digits: Option<&str>,
    after: Option<&(String, DateTime<Utc>)>,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<StoredRate>> {
    sqlx::query!(
        r#"
        select prefix, per_minute::text as "per_minute!", version
             , lower(valid_during) as "valid_from!", upper(valid_during) as valid_until
          from rate
         where rate_deck_id = $1 and valid_during && tstzrange($6, null)
           and ($2::text is null or starts_with(prefix, $2))
           and ($3::text is null or (prefix, lower(valid_during)) > ($3, $4::timestamptz))
         order by prefix, lower(valid_during)
         limit $5
        "#,
        deck.0,
        digits,
        after.map(|(prefix, _)| prefix.as_str()),
        after.map(|(_, from)| *from),
        limit,
        now,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(|row| {
        let prefix: Prefix = word::prefix(&row.prefix)?;
        let per_minute = row.per_minute.parse();
        let per_minute =
            per_minute.map_err(|error: tandem_model::RateError| sqlx::Error::Decode(error.into()))?;
        let validity = Validity { from: row.valid_from, until: row.valid_until };
        Ok(StoredRate { rate: DeckRate { prefix, per_minute, validity }, version: word::fits(row.version)? })
    })
    .collect()
}

/// The currency of all decks.
pub async fn currency(db: impl PgExecutor<'_>) -> Result<Currency> {
    let currency = sqlx::query_scalar!("select currency from exchange_currency").fetch_one(db).await?;
    currency.parse().map_err(|error: &str| sqlx::Error::Decode(error.into()))
}

/// Changes the currency of all decks. There may be a deck: `rate_deck_currency_of_exchange`.
pub async fn set_currency(db: impl PgExecutor<'_>, currency: Currency) -> Result<()> {
    sqlx::query!("update exchange_currency set currency = $1", currency.as_str())
        .execute(db)
        .await
        .map(|_| ())
}

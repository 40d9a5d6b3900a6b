//! Offers to carry calls onward: by members, permitted by the operator.

use chrono::{DateTime, Utc};
use sqlx::types::Uuid;
use sqlx::{PgConnection, PgExecutor, Result};
use tandem_model::{
    AnnouncementId, CallLimits, EndpointId, MemberId, Quality, RateDeckId, Sample, Tag, Validity,
};

use crate::endpoint::EndpointName;
use crate::word;

/// What a member describes of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOffer {
    /// Its name, unique with the member.
    pub name: String,
    /// A deck of the member.
    pub rate_deck: RateDeckId,
    /// Endpoints of the member, each once.
    pub endpoints: Vec<EndpointId>,
    /// The most that is taken by it.
    pub limits: CallLimits,
    /// What its member promises of it.
    pub tags: Vec<Tag>,
}

/// An offer as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOffer {
    /// Its id.
    pub announcement_id: AnnouncementId,
    /// Who offers, with its name.
    pub member_id: MemberId,
    /// The name of that member.
    pub member_name: String,
    /// Its name.
    pub name: String,
    /// What it costs.
    pub rate_deck: RateDeckId,
    /// The name of the deck.
    pub rate_deck_name: String,
    /// The endpoints that take the calls, by name.
    pub endpoints: Vec<EndpointName>,
    /// When it holds.
    pub validity: Validity,
    /// Whether the operator permits it.
    pub is_permitted: bool,
    /// The operator's preference; the lower one comes first.
    pub preference: u16,
    /// The most that is taken by it.
    pub limits: CallLimits,
    /// What its member promises of it.
    pub tags: Vec<String>,
    /// How its calls went lately.
    pub quality: Option<Quality>,
}

/// Offers in force at `now`, of one member or of all, newest first: those before `before`, or only the one with this id.
pub async fn list(
    db: impl PgExecutor<'_>,
    member: Option<MemberId>,
    only: Option<AnnouncementId>,
    before: Option<AnnouncementId>,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<StoredOffer>> {
    sqlx::query!(
        r#"
        select o.announcement_id, o.member_id, m.name as member_name, o.name, o.rate_deck_id, d.name as deck_name
             , lower(o.valid_during) as "valid_from!", upper(o.valid_during) as valid_until
             , o.is_permitted, o.preference, o.max_calls, o.max_calls_per_second, o.tags
             , o.asr_percent, o.ner_percent, o.pdd_ms
             , array(select e.endpoint_id from transit_offer_endpoint oe join endpoint e using (endpoint_id)
                      where oe.announcement_id = o.announcement_id order by e.name) as "endpoint_ids!: Vec<Uuid>"
             , array(select e.name from transit_offer_endpoint oe join endpoint e using (endpoint_id)
                      where oe.announcement_id = o.announcement_id order by e.name) as "endpoint_names!: Vec<String>"
          from transit_offer o
          join member m on m.member_id = o.member_id
          join rate_deck d on d.rate_deck_id = o.rate_deck_id
         where ($1::uuid is null or o.member_id = $1) and ($2::uuid is null or o.announcement_id = $2)
           and ($3::uuid is null or o.announcement_id < $3) and o.valid_during && tstzrange($5, null)
         order by o.announcement_id desc
         limit $4
        "#,
        member.map(|member| member.0),
        only.map(|id| id.0),
        before.map(|id| id.0),
        limit,
        now,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(|row| {
        let member_id = MemberId(row.member_id);
        let named = row.endpoint_ids.into_iter().zip(row.endpoint_names);
        let endpoints = named.map(|(id, name)| EndpointName { endpoint_id: EndpointId(id), member_id, name });
        Ok(StoredOffer {
            announcement_id: AnnouncementId(row.announcement_id),
            member_id,
            member_name: row.member_name,
            name: row.name,
            rate_deck: RateDeckId(row.rate_deck_id),
            rate_deck_name: row.deck_name,
            endpoints: endpoints.collect(),
            validity: Validity { from: row.valid_from, until: row.valid_until },
            is_permitted: row.is_permitted,
            preference: word::fits(row.preference)?,
            limits: word::limits(row.max_calls, row.max_calls_per_second)?,
            tags: row.tags,
            quality: quality(row.asr_percent, row.ner_percent, row.pdd_ms)?,
        })
    })
    .collect()
}

fn quality(asr: Option<i32>, ner: Option<i32>, pdd: Option<i32>) -> Result<Option<Quality>> {
    let (Some(asr), Some(ner), Some(pdd)) = (asr, ner, pdd) else { return Ok(None) };
    let (asr_percent, ner_percent, pdd_ms) = (word::fits(asr)?, word::fits(ner)?, word::fits(pdd)?);
    Ok(Some(Quality { asr_percent, ner_percent, pdd_ms }))
}

/// Makes an offer that holds from `at` on, once the operator permits it. Within a transaction. The member may have one
/// of the name: `transit_offer_name_unique`; the deck may be another's: `transit_offer_deck_own`.
pub async fn insert(
    db: &mut PgConnection,
    member: MemberId,
    offer: &NewOffer,
    at: DateTime<Utc>,
) -> Result<AnnouncementId> {
    let tags: Vec<String> = offer.tags.iter().map(Tag::to_string).collect();
    let id = sqlx::query_scalar!(
        r#"
        insert into transit_offer (member_id, name, rate_deck_id, valid_during, max_calls, max_calls_per_second, tags, created_at)
        values ($1, $2, $3, tstzrange($7, null), $4, $5, $6, $7)
        returning announcement_id
        "#,
        member.0,
        offer.name,
        offer.rate_deck.0,
        word::limit(offer.limits.max_calls)?,
        word::limit(offer.limits.max_calls_per_second)?,
        &tags,
        at,
    )
    .fetch_one(&mut *db)
    .await?;
    insert_endpoints(db, member, AnnouncementId(id), &offer.endpoints).await?;
    Ok(AnnouncementId(id))
}

/// Changes what the member describes of an offer, which stays permitted as it is; whether it was there. Within a
/// transaction.
pub async fn update(
    db: &mut PgConnection,
    member: MemberId,
    id: AnnouncementId,
    offer: &NewOffer,
    now: DateTime<Utc>,
) -> Result<bool> {
    let tags: Vec<String> = offer.tags.iter().map(Tag::to_string).collect();
    let done = sqlx::query!(
        r#"
        update transit_offer
           set name = $3, rate_deck_id = $4, max_calls = $5, max_calls_per_second = $6, tags = $7
         where member_id = $1 and announcement_id = $2 and valid_during && tstzrange($8, null)
        "#,
        member.0,
        id.0,
        offer.name,
        offer.rate_deck.0,
        word::limit(offer.limits.max_calls)?,
        word::limit(offer.limits.max_calls_per_second)?,
        &tags,
        now,
    )
    .execute(&mut *db)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    delete_endpoints(&mut *db, member, id).await?;
    insert_endpoints(db, member, id, &offer.endpoints).await?;
    Ok(true)
}

/// Withdraws an offer and lets go of its endpoints; whether it was there. Within a transaction.
pub async fn withdraw(
    db: &mut PgConnection,
    member: MemberId,
    id: AnnouncementId,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query!(
        r#"
        update transit_offer set valid_during = tstzrange(lower(valid_during), greatest($3, lower(valid_during) + interval '1 microsecond'))
         where member_id = $1 and announcement_id = $2 and valid_during && tstzrange($3, null)
        "#,
        member.0,
        id.0,
        now,
    )
    .execute(&mut *db)
    .await?;
    delete_endpoints(db, member, id).await?;
    Ok(done.rows_affected() > 0)
}

/// What the operator says of an offer; whether it was there.
pub async fn permit(
    db: impl PgExecutor<'_>,
    id: AnnouncementId,
    is_permitted: bool,
    preference: u16,
    now: DateTime<Utc>,
) -> Result<bool> {
    sqlx::query!(
        r#"
        update transit_offer set is_permitted = $2, preference = $3
         where announcement_id = $1 and valid_during && tstzrange($4, null)
        "#,
        id.0,
        is_permitted,
        i32::from(preference),
        now,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected() > 0)
}

/// How the calls of each offer in force went that began after `since`, and the quality that is shown of it. Calls to an
/// endpoint of the offer count, whatever brought them there.
pub async fn samples(
    db: impl PgExecutor<'_>,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<(AnnouncementId, Sample, Option<Quality>)>> {
    sqlx::query!(
        r#"
        select o.announcement_id, o.asr_percent, o.ner_percent, o.pdd_ms
             , count(a.call_id) as "attempts!"
             , count(a.call_id) filter (where a.status between 200 and 299) as "answered!"
             , count(a.call_id) filter (where a.status between 200 and 299 or a.status in (480, 486, 487, 600, 603))
               as "reached!"
             , percentile_disc(0.5) within group (order by c.setup_ms)
               filter (where a.position = 1 and c.terminating_endpoint_id = a.endpoint_id) as median_ms
          from transit_offer o
          left join transit_offer_endpoint e on e.announcement_id = o.announcement_id
          left join attempt a on a.endpoint_id = e.endpoint_id and a.started_at >= $1 and a.ended_at is not null
          left join call c on c.started_at = a.started_at and c.call_id = a.call_id
         where o.valid_during @> $2::timestamptz
         group by o.announcement_id
        "#,
        since,
        now,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(|row| {
        let sample = Sample {
            attempts: word::fits(row.attempts)?,
            answered: word::fits(row.answered)?,
            reached: word::fits(row.reached)?,
            pdd_ms: word::fits(row.median_ms.unwrap_or(0))?,
        };
        let last = quality(row.asr_percent, row.ner_percent, row.pdd_ms)?;
        Ok((AnnouncementId(row.announcement_id), sample, last))
    })
    .collect()
}

/// Shows a quality of an offer, or none.
pub async fn set_quality(
    db: impl PgExecutor<'_>,
    id: AnnouncementId,
    quality: Option<Quality>,
) -> Result<()> {
    sqlx::query!(
        "update transit_offer set asr_percent = $2, ner_percent = $3, pdd_ms = $4 where announcement_id = $1",
        id.0,
        quality.map(|it| i32::from(it.asr_percent)),
        quality.map(|it| i32::from(it.ner_percent)),
        quality.map(|it| i32::try_from(it.pdd_ms).unwrap_or(i32::MAX)),
    )
    .execute(db)
    .await
    .map(|_| ())
}

async fn delete_endpoints(db: impl PgExecutor<'_>, member: MemberId, id: AnnouncementId) -> Result<()> {
    sqlx::query!(
        "delete from transit_offer_endpoint where announcement_id = $2 and member_id = $1",
        member.0,
        id.0,
    )
    .execute(db)
    .await
    .map(|_| ())
}

async fn insert_endpoints(
    db: impl PgExecutor<'_>,
    member: MemberId,
    id: AnnouncementId,
    endpoints: &[EndpointId],
) -> Result<()> {
    let endpoints: Vec<Uuid> = endpoints.iter().map(|id| id.0).collect();
    sqlx::query!(
        r#"
        insert into transit_offer_endpoint (announcement_id, member_id, endpoint_id)
        select $2, $1, endpoint_id from unnest($3::uuid[]) as t (endpoint_id)
        "#,
        member.0,
        id.0,
        &endpoints,
    )
    .execute(db)
    .await
    .map(|_| ())
}

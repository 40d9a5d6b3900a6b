//! Offers of transit, rate decks and block lists.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use sqlx::types::Uuid;
use sqlx::{PgConnection, Result};
use tandem_model::{
    AnnouncementId, BlockList, DeckRate, EndpointId, MemberId, ObjectId, Quality, RateDeck, RateDeckId,
    TransitOffer,
};

use super::row::{fits, limits, prefix, required, validity};
use super::{Loaded, Skipped, collect, list_of};

/// Reads offers, or `only` some.
pub(super) async fn read_offers(
    db: &mut PgConnection,
    only: Option<&[Uuid]>,
    loaded: &mut Loaded,
) -> Result<()> {
    let rows = sqlx::query_as!(
        OfferRow,
        r#"
        select announcement_id, member_id as "member_id?", rate_deck_id as "rate_deck_id?"
             , case when lower_inc(valid_during) then greatest(lower(valid_during), '0001-01-01') end as "valid_from?"
             , case when upper(valid_during) < '10000-01-01' then upper(valid_during) end as valid_until
             , is_permitted as "is_permitted?", preference as "preference?", max_calls, max_calls_per_second
             , tags as "tags?", asr_percent, ner_percent, pdd_ms
             , array(select endpoint_id from transit_offer_endpoint e
                      where e.announcement_id = o.announcement_id order by endpoint_id) as "endpoint_ids!: Vec<Uuid>"
          from transit_offer o
         where ($1::uuid[] is null or announcement_id = any ($1))
           and (upper(valid_during) is null
                or upper(valid_during) > (select coalesce(max(f.changed_at) + interval '1 second', now())
                                            from feed_entry f where f.object_id = o.announcement_id))
        "#,
        only,
    )
    .fetch(&mut *db);
    let id = |row: &OfferRow| ObjectId::TransitOffer(AnnouncementId(row.announcement_id));
    collect(rows, id, &mut loaded.facts.transit_offers, &mut loaded.skipped).await
}

/// Reads decks with their rates, or `only` some.
pub(super) async fn read_rate_decks(
    db: &mut PgConnection,
    only: Option<&[Uuid]>,
    loaded: &mut Loaded,
) -> Result<()> {
    let mut decks: BTreeMap<Uuid, RateDeck> = BTreeMap::new();
    let rows = sqlx::query!(
        "select rate_deck_id, member_id from rate_deck where $1::uuid[] is null or rate_deck_id = any ($1)",
        only,
    )
    .fetch_all(&mut *db)
    .await?;
    for row in rows {
        let (rate_deck_id, member_id) = (RateDeckId(row.rate_deck_id), row.member_id.map(MemberId));
        decks.insert(row.rate_deck_id, RateDeck { rate_deck_id, member_id, rates: Vec::new() });
    }
    let mut rows = sqlx::query_as!(
        RateRow,
        r#"
        select rate_deck_id as "rate_deck_id?", prefix as "prefix?", per_minute::text as per_minute
             , case when lower_inc(valid_during) then greatest(lower(valid_during), '0001-01-01') end as "valid_from?"
             , case when upper(valid_during) < '10000-01-01' then upper(valid_during) end as valid_until
          from rate r
         where ($1::uuid[] is null or rate_deck_id = any ($1))
           and (upper(valid_during) is null
                or upper(valid_during) > (select coalesce(max(f.changed_at) + interval '1 second', now())
                                            from feed_entry f where f.object_id = r.rate_deck_id))
         order by prefix, lower(valid_during)
        "#,
        only,
    )
    .fetch(db);
    while let Some(row) = rows.try_next().await? {
        let Some(deck) = row.rate_deck_id.and_then(|id| decks.get_mut(&id)) else { continue };
        match DeckRate::try_from(row) {
            Ok(rate) => deck.rates.push(rate),
            Err(why) => {
                let object = ObjectId::RateDeck(deck.rate_deck_id);
                tracing::warn!(?object, why, "left a rate out of routing that breaks the rules");
                loaded.skipped.push(Skipped { object, why });
            }
        }
    }
    loaded.facts.rate_decks = decks.into_values().collect();
    Ok(())
}

/// Reads block lists, or `only` some.
pub(super) async fn read_block_lists(
    db: &mut PgConnection,
    only: Option<&[Uuid]>,
    loaded: &mut Loaded,
) -> Result<()> {
    let rows = sqlx::query!(
        r#"
        select list_id as "list_id!", prefix as "prefix?"
          from blocked_prefix
         where $1::uuid[] is null or list_id = any ($1)
         order by list_id, prefix
        "#,
        only,
    )
    .fetch_all(db)
    .await?;
    let mut lists: BTreeMap<Uuid, BlockList> = BTreeMap::new();
    for row in rows {
        let member_id = list_of(row.list_id);
        match prefix(row.prefix) {
            Ok(prefix) => {
                let list = lists.entry(row.list_id);
                list.or_insert(BlockList { member_id, prefixes: Vec::new() }).prefixes.push(prefix);
            }
            Err(why) => loaded.skipped.push(Skipped { object: ObjectId::BlockList(member_id), why }),
        }
    }
    loaded.facts.block_lists = lists.into_values().collect();
    Ok(())
}

struct OfferRow {
    announcement_id: Uuid,
    member_id: Option<Uuid>,
    rate_deck_id: Option<Uuid>,
    valid_from: Option<DateTime<Utc>>,
    valid_until: Option<DateTime<Utc>>,
    is_permitted: Option<bool>,
    preference: Option<i32>,
    max_calls: Option<i32>,
    max_calls_per_second: Option<i32>,
    tags: Option<Vec<String>>,
    asr_percent: Option<i32>,
    ner_percent: Option<i32>,
    pdd_ms: Option<i32>,
    endpoint_ids: Vec<Uuid>,
}

impl TryFrom<OfferRow> for TransitOffer {
    type Error = String;

    fn try_from(row: OfferRow) -> Result<Self, String> {
        let quality = match (row.asr_percent, row.ner_percent, row.pdd_ms) {
            (Some(asr), Some(ner), Some(pdd)) => Some(Quality {
                asr_percent: fits("asr_percent", asr)?,
                ner_percent: fits("ner_percent", ner)?,
                pdd_ms: fits("pdd_ms", pdd)?,
            }),
            _ => None,
        };
        Ok(Self {
            announcement_id: AnnouncementId(row.announcement_id),
            member_id: MemberId(required("member_id", row.member_id)?),
            rate_deck: RateDeckId(required("rate_deck_id", row.rate_deck_id)?),
            endpoints: row.endpoint_ids.into_iter().map(EndpointId).collect(),
            validity: validity(row.valid_from, row.valid_until)?,
            is_permitted: required("is_permitted", row.is_permitted)?,
            preference: fits("preference", required("preference", row.preference)?)?,
            limits: limits(row.max_calls, row.max_calls_per_second)?,
            tags: row.tags.iter().flatten().map(|tag| tag.parse()).collect::<Result<_, _>>()?,
            quality,
        })
    }
}

struct RateRow {
    rate_deck_id: Option<Uuid>,
    prefix: Option<String>,
    per_minute: Option<String>,
    valid_from: Option<DateTime<Utc>>,
    valid_until: Option<DateTime<Utc>>,
}

impl TryFrom<RateRow> for DeckRate {
    type Error = String;

    fn try_from(row: RateRow) -> Result<Self, String> {
        let per_minute = required("per_minute", row.per_minute)?;
        Ok(Self {
            prefix: prefix(row.prefix)?,
            per_minute: per_minute.parse().map_err(|error| format!("per_minute is {per_minute}: {error}"))?,
            validity: validity(row.valid_from, row.valid_until)?,
        })
    }
}

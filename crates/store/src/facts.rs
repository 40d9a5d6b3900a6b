//! What routing is built from: all of it at once ([`load`]), or what changed since ([`changed`]).
//!
//! Each call reads one snapshot of the database, so the rows and the position of the feed belong together.
//! A row that the model does not admit (a constraint was switched off, or a newer program wrote it) is
//! left out, reported in [`Loaded::skipped`] and logged; all others load.

mod row;
mod transit;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use sqlx::types::Uuid;
use sqlx::types::ipnet::IpNet;
use sqlx::{PgConnection, PgPool, Result};
use tandem_model::{AgreementId, AnnouncementId, EndpointId, Facts, MemberId, ObjectId, RangeId, RateDeckId};

use crate::database;
use row::{AgreementRow, AnnouncementRow, ClubRow, EndpointRow, MemberRow, RangeRow};

/// Most entries of the feed that one [`changed`] reads; the caller asks again at once where more remain.
pub const CHANGES_AT_ONCE: u32 = 20_000;

/// Changes beyond which a whole load is quicker than reading them: after an import of a million announcements a node is
/// up to date in seconds.
pub const FAR_BEHIND: u64 = 500_000;

/// Longest run of a whole load.
pub const LOAD_TIMEOUT: Duration = Duration::from_secs(300);

/// Facts, and the rows that were no facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// What is to be routed by.
    pub facts: Facts,
    /// What was left out of it. [`changed`] names these in `facts.gone` too, as a whole load has none of them.
    pub skipped: Vec<Skipped>,
    /// The link of the chain of changes at that position, 64 hexadecimal digits; nothing where more is to be read first.
    pub chain: String,
}

/// A row that the model does not admit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Which object it is.
    pub object: ObjectId,
    /// What is wrong with it, for the operator.
    pub why: String,
}

/// The rows that a node's table is made without, and what is wrong with each: kept by who loads them, read by who shows them.
pub type LeftOut = Arc<Mutex<HashMap<ObjectId, String>>>;

/// What happened since a position of the feed.
#[expect(
    clippy::large_enum_variant,
    reason = "a reading lives for a moment, and the common one is not boxed for it"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// The objects that changed, as they are now.
    Since {
        /// True up to `facts.position`, which is the position asked about where nothing changed.
        loaded: Loaded,
        /// Whether the feed goes on beyond `facts.position`.
        more: bool,
    },
    /// The feed does not lead from that position to its end: the database was restored to an earlier
    /// state, whether or not it has come further again since, old entries were removed, or it is [`FAR_BEHIND`]. The
    /// caller loads everything anew.
    Lost {
        /// Where the feed ends now.
        position: u64,
    },
}

/// Everything that routing is built from.
pub async fn load(db: &PgPool) -> Result<Loaded> {
    database::within(LOAD_TIMEOUT, async {
        let mut snapshot = snapshot(db).await?;
        without_nested_loops(&mut snapshot).await?;
        let (position, chain) = head(&mut snapshot).await?;
        let mut loaded = read(&mut snapshot, None).await?;
        snapshot.commit().await?;
        (loaded.facts.position, loaded.chain) = (position, chain);
        Ok(loaded)
    })
    .await
}

/// What changed after the position `since`, or as much of it as one reading takes. Where `chain` is known, the link of the
/// chain there, a feed that has another one is lost.
pub async fn changed(db: &PgPool, since: u64, chain: Option<&str>) -> Result<Changes> {
    database::within(LOAD_TIMEOUT, async {
        let mut snapshot = snapshot(db).await?;
        let (end, last) = head(&mut snapshot).await?;
        if end < since || end - since > FAR_BEHIND {
            return Ok(Changes::Lost { position: end });
        }
        if let Some(chain) = chain
            && (since == end && chain != last || since < end && !is_link(&mut snapshot, since, chain).await?)
        {
            return Ok(Changes::Lost { position: end });
        }
        let entries = sqlx::query!(
            r#"
            select position, kind, object_id
              from feed_entry
             where position > $1
             order by position
             limit $2
            "#,
            to_i64(since),
            i64::from(CHANGES_AT_ONCE),
        )
        .fetch_all(&mut *snapshot)
        .await?;
        // Positions have no gaps, so a first entry that is not the next one means that some were removed.
        let first = entries.first().map_or(end + 1, |entry| to_u64(entry.position));
        if first != since + 1 {
            return Ok(Changes::Lost { position: end });
        }
        let reached = entries.last().map_or(since, |entry| to_u64(entry.position));
        let mut wanted = ObjectIds::default();
        for entry in entries {
            wanted.add(&entry.kind, entry.object_id);
        }
        if !wanted.add_imported(&mut snapshot, FAR_BEHIND).await? {
            return Ok(Changes::Lost { position: end });
        }
        let mut loaded = read(&mut snapshot, Some(&wanted)).await?;
        snapshot.commit().await?;
        loaded.facts.position = reached;
        loaded.facts.gone = wanted.missing_from(&loaded.facts);
        if reached == end {
            loaded.chain = last;
        }
        Ok(Changes::Since { loaded, more: reached < end })
    })
    .await
}

/// What changed after the position `since`, up to `until`, as this transaction sees it; `None` where the feed does not
/// lead from the one to the other, or leads over more than so many changes.
pub(crate) async fn between(
    db: &mut PgConnection,
    since: u64,
    until: u64,
    most: u64,
) -> Result<Option<Facts>> {
    if until < since || until - since > most {
        return Ok(None);
    }
    let entries = sqlx::query!(
        "select kind, object_id from feed_entry where position > $1 and position <= $2",
        to_i64(since),
        to_i64(until),
    )
    .fetch_all(&mut *db)
    .await?;
    if entries.len() as u64 != until - since {
        return Ok(None);
    }
    let mut wanted = ObjectIds::default();
    entries.into_iter().for_each(|entry| wanted.add(&entry.kind, entry.object_id));
    if !wanted.add_imported(&mut *db, most).await? {
        return Ok(None);
    }
    let mut facts = read(db, Some(&wanted)).await?.facts;
    facts.position = until;
    facts.gone = wanted.missing_from(&facts);
    Ok(Some(facts))
}

pub(crate) async fn snapshot(db: &PgPool) -> Result<sqlx::Transaction<'static, sqlx::Postgres>> {
    let mut transaction = db.begin_with("begin isolation level repeatable read, read only").await?;
    sqlx::query_scalar!(
        "select set_config('statement_timeout', $1, true)",
        LOAD_TIMEOUT.as_millis().to_string()
    )
    .fetch_one(&mut *transaction)
    .await?;
    Ok(transaction)
}

pub(crate) async fn position(db: &mut PgConnection) -> Result<u64> {
    sqlx::query_scalar!("select position from feed_head").fetch_one(db).await.map(to_u64)
}

/// For the reading of whole tables: of one that was just filled the planner knows nothing yet, and of two that have a million
/// rows a nested loop would take for ever.
pub(crate) async fn without_nested_loops(snapshot: &mut PgConnection) -> Result<()> {
    let setting = sqlx::query_scalar!("select set_config('enable_nestloop', 'off', true)");
    setting.fetch_one(snapshot).await.map(|_| ())
}

/// Where the feed ends, and the link of the chain there.
pub(crate) async fn head(db: &mut PgConnection) -> Result<(u64, String)> {
    let row = sqlx::query!(r#"select position, encode(chain, 'hex') as "chain!" from feed_head"#);
    row.fetch_one(db).await.map(|row| (to_u64(row.position), row.chain))
}

/// Whether the chain had this link at a position; also where that is forgotten.
async fn is_link(db: &mut PgConnection, position: u64, chain: &str) -> Result<bool> {
    sqlx::query_scalar!(
        r#"
        select coalesce(
                 (select encode(chain, 'hex') from past.step where position <= $1
                   order by position desc, step_id desc limit 1)
               , (select encode(chain, 'hex') from past.horizon where position <= $1)
               , $2) = $2 as "is_link!"
        "#,
        to_i64(position),
        chain,
    )
    .fetch_one(db)
    .await
}

/// Objects that changed.
#[derive(Default)]
pub(crate) struct ObjectIds {
    members: HashSet<Uuid>,
    endpoints: HashSet<Uuid>,
    ranges: HashSet<Uuid>,
    announcements: HashSet<Uuid>,
    agreements: HashSet<Uuid>,
    clubs: HashSet<Uuid>,
    /// Each of them stands for the announcements that it wrote last.
    imports: HashSet<Uuid>,
    transit_offers: HashSet<Uuid>,
    rate_decks: HashSet<Uuid>,
    /// Those of members by these, the operator's by the nil UUID.
    block_lists: HashSet<Uuid>,
}

impl ObjectIds {
    /// How many objects they are; an import counts as one.
    pub(crate) fn len(&self) -> usize {
        let all = [
            &self.members,
            &self.endpoints,
            &self.ranges,
            &self.announcements,
            &self.agreements,
            &self.clubs,
            &self.imports,
            &self.transit_offers,
            &self.rate_decks,
            &self.block_lists,
        ];
        all.iter().map(|ids| ids.len()).sum()
    }

    pub(crate) fn add(&mut self, kind: &str, id: Uuid) {
        match kind {
            "member" => self.members.insert(id),
            "endpoint" => self.endpoints.insert(id),
            "range" => self.ranges.insert(id),
            "announcement" => self.announcements.insert(id),
            "agreement" => self.agreements.insert(id),
            "club" => self.clubs.insert(id),
            "import" => self.imports.insert(id),
            "transit_offer" => self.transit_offers.insert(id),
            "rate_deck" => self.rate_decks.insert(id),
            "block_list" => self.block_lists.insert(id),
            other => {
                tracing::warn!(
                    kind = other,
                    "the change feed has an entry of a kind that this program does not know"
                );
                false
            }
        };
    }

    /// Adds the announcements that imports changed between two versions, `to` and the later `from`: those that are there,
    /// and those that are no more.
    pub(crate) async fn add_imported_between(
        &mut self,
        db: &mut PgConnection,
        to: u64,
        from: u64,
    ) -> Result<()> {
        if self.imports.is_empty() {
            return Ok(());
        }
        self.imports.clear();
        let ids = sqlx::query_scalar!(
            r#"
            select unnest(s.came) as "id!"
              from past.step s
             where s.table_name = 'announcement' and s.position > $1 and s.position <= $2
             union
            select b.key
              from past.step s
              join past.row_before b using (step_id)
             where s.table_name = 'announcement' and s.position > $1 and s.position <= $2
            "#,
            to_i64(to),
            to_i64(from),
        )
        .fetch_all(db)
        .await?;
        self.announcements.extend(ids);
        Ok(())
    }

    /// Adds the announcements of the imports; whether they are no more than `most`.
    async fn add_imported(&mut self, db: &mut PgConnection, most: u64) -> Result<bool> {
        if self.imports.is_empty() {
            return Ok(true);
        }
        let imports: Vec<Uuid> = self.imports.drain().collect();
        let limit = to_i64(most.saturating_add(1));
        let ids = sqlx::query_scalar!(
            "select announcement_id from announcement where import_id = any ($1) limit $2",
            &imports,
            limit,
        )
        .fetch_all(db)
        .await?;
        let are_few = ids.len() as u64 <= most;
        self.announcements.extend(ids);
        Ok(are_few)
    }

    pub(crate) fn missing_from(self, facts: &Facts) -> Vec<ObjectId> {
        let mut ids = self;
        facts.members.iter().for_each(|it| _ = ids.members.remove(&it.member_id.0));
        facts.endpoints.iter().for_each(|it| _ = ids.endpoints.remove(&it.endpoint_id.0));
        facts.ranges.iter().for_each(|it| _ = ids.ranges.remove(&it.range_id.0));
        facts.announcements.iter().for_each(|it| _ = ids.announcements.remove(&it.announcement_id.0));
        facts.agreements.iter().for_each(|it| _ = ids.agreements.remove(&it.agreement_id.0));
        facts.clubs.iter().for_each(|it| _ = ids.clubs.remove(&it.agreement_id.0));
        facts.transit_offers.iter().for_each(|it| _ = ids.transit_offers.remove(&it.announcement_id.0));
        facts.rate_decks.iter().for_each(|it| _ = ids.rate_decks.remove(&it.rate_deck_id.0));
        facts.block_lists.iter().for_each(|it| _ = ids.block_lists.remove(&list_id(it.member_id)));
        let mut gone: Vec<ObjectId> = Vec::new();
        gone.extend(ids.members.into_iter().map(|id| ObjectId::Member(MemberId(id))));
        gone.extend(ids.endpoints.into_iter().map(|id| ObjectId::Endpoint(EndpointId(id))));
        gone.extend(ids.ranges.into_iter().map(|id| ObjectId::Range(RangeId(id))));
        gone.extend(ids.announcements.into_iter().map(|id| ObjectId::Announcement(AnnouncementId(id))));
        gone.extend(ids.agreements.into_iter().map(|id| ObjectId::Agreement(AgreementId(id))));
        gone.extend(ids.clubs.into_iter().map(|id| ObjectId::Club(AgreementId(id))));
        gone.extend(ids.transit_offers.into_iter().map(|id| ObjectId::TransitOffer(AnnouncementId(id))));
        gone.extend(ids.rate_decks.into_iter().map(|id| ObjectId::RateDeck(RateDeckId(id))));
        gone.extend(ids.block_lists.into_iter().map(|id| ObjectId::BlockList(list_of(id))));
        gone
    }
}

/// What names a block list in the feed.
fn list_id(member: Option<MemberId>) -> Uuid {
    member.map_or(Uuid::nil(), |member| member.0)
}

/// Whose block list has this name.
fn list_of(id: Uuid) -> Option<MemberId> {
    (!id.is_nil()).then_some(MemberId(id))
}

/// Reads the objects, or `only` some. Columns are taken as if each could be null, for the sake of bad rows.
///
/// An announcement that had ended when it was last changed is none any more; one that ends by the clock stays, so that what
/// is read depends on the version of the table alone. An end within a second of the change counts as one at once.
pub(crate) async fn read(db: &mut PgConnection, only: Option<&ObjectIds>) -> Result<Loaded> {
    // Of what kind nothing changed, nothing is asked: most changes are of one kind.
    let wanted = |of: fn(&ObjectIds) -> &HashSet<Uuid>| match only.map(of) {
        None => Some(None),
        Some(ids) if ids.is_empty() => None,
        Some(ids) => Some(Some(ids.iter().copied().collect::<Vec<Uuid>>())),
    };
    let mut loaded = Loaded::default();
    if let Some(ids) = wanted(|ids| &ids.members) {
        read_members(db, ids.as_deref(), &mut loaded).await?;
    }
    if let Some(ids) = wanted(|ids| &ids.endpoints) {
        read_endpoints(db, ids.as_deref(), &mut loaded).await?;
    }
    if let Some(ids) = wanted(|ids| &ids.ranges) {
        read_ranges(db, ids.as_deref(), &mut loaded).await?;
    }
    if let Some(ids) = wanted(|ids| &ids.announcements) {
        read_announcements(db, ids.as_deref(), &mut loaded).await?;
    }
    if let Some(ids) = wanted(|ids| &ids.agreements) {
        read_agreements(db, ids.as_deref(), &mut loaded).await?;
    }
    if let Some(ids) = wanted(|ids| &ids.clubs) {
        read_clubs(db, ids.as_deref(), &mut loaded).await?;
    }
    if let Some(ids) = wanted(|ids| &ids.transit_offers) {
        transit::read_offers(db, ids.as_deref(), &mut loaded).await?;
    }
    if let Some(ids) = wanted(|ids| &ids.rate_decks) {
        transit::read_rate_decks(db, ids.as_deref(), &mut loaded).await?;
    }
    if let Some(ids) = wanted(|ids| &ids.block_lists) {
        transit::read_block_lists(db, ids.as_deref(), &mut loaded).await?;
    }
    Ok(loaded)
}

/// Reads members, or `only` some.
async fn read_members(db: &mut PgConnection, only: Option<&[Uuid]>, loaded: &mut Loaded) -> Result<()> {
    let rows = sqlx::query_as!(
        MemberRow,
        r#"
        select member_id, name as "name?", state as "state?", max_calls, max_calls_per_second
          from member
         where $1::uuid[] is null or member_id = any ($1)
        "#,
        only,
    )
    .fetch(&mut *db);
    collect(
        rows,
        |row| ObjectId::Member(MemberId(row.member_id)),
        &mut loaded.facts.members,
        &mut loaded.skipped,
    )
    .await
}

/// Reads endpoints with what belongs to them, or `only` some.
async fn read_endpoints(db: &mut PgConnection, only: Option<&[Uuid]>, loaded: &mut Loaded) -> Result<()> {
    let rows = sqlx::query_as!(
        EndpointRow,
        r#"
        select e.endpoint_id as "endpoint_id!", e.member_id as "member_id?", e.name as "name?"
             , e.target_address, e.target_name, e.target_port, e.target_transport
             , e.priority as "priority?", e.weight as "weight?", e.max_calls, e.max_calls_per_second
             , e.enabled as "enabled?", e.policy as "policy?", e.call_mark as "call_mark?"
             , i.credential_id as "inbound_id?", i.username as "inbound_username?", i.realm as "inbound_realm?"
             , i.ha1 as "inbound_ha1?"
             , o.credential_id as "outbound_id?", o.username as "outbound_username?", o.realm as "outbound_realm?"
             , o.ha1 as "outbound_ha1?", o.registers as "outbound_registers?"
             , r.credential_id as "registered_with?", r.contact as "contact?"
             , r.source_address as "source_address?", r.source_port as "source_port?"
             , r.transport as "transport?", r.listener_address as "listener_address?"
             , r.listener_port as "listener_port?", r.call_id as "call_id?", r.cseq as "cseq?"
             , r.registered_at as "registered_at?", r.expires_at as "expires_at?", r.node_id as "node_id?"
             , array(select c.name from endpoint_certificate_name c where c.endpoint_id = e.endpoint_id
                      order by c.name) as "certificate_names!: Vec<String>"
             , array(select site.name from endpoint_site a join site using (site_id)
                      where a.endpoint_id = e.endpoint_id order by site.name) as "sites!: Vec<String>"
             , array(select net from endpoint_source s where s.endpoint_id = e.endpoint_id
                      order by net, port) as "source_nets!: Vec<Option<IpNet>>"
             , array(select port from endpoint_source s where s.endpoint_id = e.endpoint_id
                      order by net, port) as "source_ports!: Vec<Option<i32>>"
          from endpoint e
          left join endpoint_credential i on i.endpoint_id = e.endpoint_id and i.direction = 'inbound'
          left join endpoint_credential o on o.endpoint_id = e.endpoint_id and o.direction = 'outbound'
          left join registration r on r.endpoint_id = e.endpoint_id
         where $1::uuid[] is null or e.endpoint_id = any ($1)
        "#,
        only,
    )
    .fetch(&mut *db);
    collect(
        rows,
        |row| ObjectId::Endpoint(EndpointId(row.endpoint_id)),
        &mut loaded.facts.endpoints,
        &mut loaded.skipped,
    )
    .await
}

/// Reads ranges, or `only` some.
async fn read_ranges(db: &mut PgConnection, only: Option<&[Uuid]>, loaded: &mut Loaded) -> Result<()> {
    let rows = sqlx::query_as!(
        RangeRow,
        r#"
        select range_id, member_id as "member_id?", prefix as "prefix?", authority as "authority?"
             , case when lower_inc(valid_during) then greatest(lower(valid_during), '0001-01-01') end as "valid_from?"
             , case when upper(valid_during) < '10000-01-01' then upper(valid_during) end as valid_until
          from number_range
         where $1::uuid[] is null or range_id = any ($1)
        "#,
        only,
    )
    .fetch(&mut *db);
    collect(rows, |row| ObjectId::Range(RangeId(row.range_id)), &mut loaded.facts.ranges, &mut loaded.skipped)
        .await
}

/// Reads announcements with their endpoints, or `only` some.
async fn read_announcements(db: &mut PgConnection, only: Option<&[Uuid]>, loaded: &mut Loaded) -> Result<()> {
    let rows = match only {
        None => sqlx::query_as!(
            AnnouncementRow,
            r#"
            select a.announcement_id as "announcement_id!", a.member_id as "member_id?", a.prefix as "prefix?"
                 , case when lower_inc(a.valid_during) then greatest(lower(a.valid_during), '0001-01-01') end as "valid_from?"
                 , case when upper(a.valid_during) < '10000-01-01' then upper(a.valid_during) end as valid_until
                 , a.endpoint_ids as "endpoint_ids?", a.max_calls, a.max_calls_per_second, a.tags as "tags?"
              from announcement a
             where upper(a.valid_during) is null
                or upper(a.valid_during) > (select coalesce(max(f.changed_at) + interval '1 second', now())
                                              from feed_entry f where f.object_id in (a.announcement_id, a.import_id))
            "#,
        )
        .fetch(&mut *db),
        Some(ids) => sqlx::query_as!(
            AnnouncementRow,
            r#"
            select a.announcement_id as "announcement_id!", a.member_id as "member_id?", a.prefix as "prefix?"
                 , case when lower_inc(a.valid_during) then greatest(lower(a.valid_during), '0001-01-01') end as "valid_from?"
                 , case when upper(a.valid_during) < '10000-01-01' then upper(a.valid_during) end as valid_until
                 , a.endpoint_ids as "endpoint_ids?", a.max_calls, a.max_calls_per_second, a.tags as "tags?"
              from unnest($1::uuid[]) as wanted (announcement_id)
              join announcement a using (announcement_id)
             where upper(a.valid_during) is null
                or upper(a.valid_during) > (select coalesce(max(f.changed_at) + interval '1 second', now())
                                              from feed_entry f where f.object_id in (a.announcement_id, a.import_id))
            "#,
            ids,
        )
        .fetch(&mut *db),
    };
    let id = |row: &AnnouncementRow| ObjectId::Announcement(AnnouncementId(row.announcement_id));
    collect(rows, id, &mut loaded.facts.announcements, &mut loaded.skipped).await
}

/// Reads agreements of two members, or `only` some.
async fn read_agreements(db: &mut PgConnection, only: Option<&[Uuid]>, loaded: &mut Loaded) -> Result<()> {
    let rows = sqlx::query_as!(
        AgreementRow,
        r#"
        select agreement_id, proposing_member_id as "proposing_member_id?"
             , accepting_member_id as "accepting_member_id?", direction as "direction?", state as "state?"
             , case when lower_inc(valid_during) then greatest(lower(valid_during), '0001-01-01') end as "valid_from?"
             , case when upper(valid_during) < '10000-01-01' then upper(valid_during) end as valid_until
             , max_calls, max_calls_per_second, advance_on, terms
          from agreement
         where $1::uuid[] is null or agreement_id = any ($1)
        "#,
        only,
    )
    .fetch(&mut *db);
    collect(
        rows,
        |row| ObjectId::Agreement(AgreementId(row.agreement_id)),
        &mut loaded.facts.agreements,
        &mut loaded.skipped,
    )
    .await
}

/// Reads clubs with their members, or `only` some.
async fn read_clubs(db: &mut PgConnection, only: Option<&[Uuid]>, loaded: &mut Loaded) -> Result<()> {
    let rows = sqlx::query_as!(
        ClubRow,
        r#"
        select c.agreement_id, c.max_calls, c.max_calls_per_second, c.advance_on, c.terms
             , array(select m.member_id from club_membership m
                      where m.agreement_id = c.agreement_id and m.left_at is null
                      order by m.member_id) as "member_ids!: Vec<Uuid>"
          from club c
         where $1::uuid[] is null or c.agreement_id = any ($1)
        "#,
        only,
    )
    .fetch(&mut *db);
    collect(
        rows,
        |row| ObjectId::Club(AgreementId(row.agreement_id)),
        &mut loaded.facts.clubs,
        &mut loaded.skipped,
    )
    .await
}

async fn collect<R, T: TryFrom<R, Error = String>>(
    mut rows: BoxStream<'_, Result<R>>,
    id: impl Fn(&R) -> ObjectId,
    objects: &mut Vec<T>,
    skipped: &mut Vec<Skipped>,
) -> Result<()> {
    while let Some(row) = rows.next().await {
        let row = row?;
        let object = id(&row);
        match T::try_from(row) {
            Ok(fact) => objects.push(fact),
            Err(why) => {
                tracing::warn!(?object, why, "left a row out of routing that breaks the rules");
                skipped.push(Skipped { object, why });
            }
        }
    }
    Ok(())
}

pub(crate) fn to_i64(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

pub(crate) fn to_u64(position: i64) -> u64 {
    u64::try_from(position).unwrap_or(0)
}

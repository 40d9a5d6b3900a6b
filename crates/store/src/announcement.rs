//! What members announce: one at a time, and in bulk by statements over arrays.

use chrono::{DateTime, Utc};
use sqlx::types::Uuid;
use sqlx::{PgConnection, PgExecutor, Result};
use tandem_model::{AnnouncementId, CallLimits, EndpointId, MemberId, Prefix, Reason, Tag, Validity};

use crate::endpoint::EndpointName;
use crate::word;

/// An announcement as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnnouncement {
    /// Its id.
    pub announcement_id: AnnouncementId,
    /// Who announces.
    pub member_id: MemberId,
    /// Which numbers.
    pub prefix: Prefix,
    /// When it holds.
    pub validity: Validity,
    /// The most that is taken for the prefix.
    pub limits: CallLimits,
    /// What its member promises of the route.
    pub tags: Vec<String>,
    /// The endpoints that take the calls, by name.
    pub endpoints: Vec<EndpointName>,
    /// What its member lacks to have its numbers routed, by the rule of [`tandem_model::AnnouncementAuthority`];
    /// `None` where it lacks nothing.
    pub authority: Option<Reason>,
    /// Why no call can be routed by it; `None` where one can.
    pub reason: Option<Reason>,
    /// Position of the change feed at which it last changed; 0 where the feed no longer knows.
    pub changed_at_position: u64,
}

struct Row {
    announcement_id: Uuid,
    member_id: Uuid,
    prefix: String,
    valid_from: DateTime<Utc>,
    valid_until: Option<DateTime<Utc>>,
    max_calls: Option<i32>,
    max_calls_per_second: Option<i32>,
    tags: Vec<String>,
    endpoint_ids: Vec<Uuid>,
    endpoint_names: Vec<String>,
    authority: Option<String>,
    reason: Option<String>,
    position: i64,
}

impl Row {
    fn read(self) -> Result<StoredAnnouncement> {
        let member_id = MemberId(self.member_id);
        let endpoints = self.endpoint_ids.into_iter().zip(self.endpoint_names);
        Ok(StoredAnnouncement {
            announcement_id: AnnouncementId(self.announcement_id),
            member_id,
            prefix: word::prefix(&self.prefix)?,
            validity: Validity { from: self.valid_from, until: self.valid_until },
            limits: word::limits(self.max_calls, self.max_calls_per_second)?,
            tags: self.tags,
            endpoints: endpoints
                .map(|(id, name)| EndpointName { endpoint_id: EndpointId(id), member_id, name })
                .collect(),
            authority: self.authority.as_deref().and_then(Reason::from_code),
            reason: self.reason.as_deref().and_then(Reason::from_code),
            changed_at_position: word::fits(self.position)?,
        })
    }
}

/// Which announcements of a member to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnnouncementFilter<'a> {
    /// Only this one.
    pub announcement: Option<AnnouncementId>,
    /// Only prefixes that begin with these digits.
    pub prefix: Option<&'a str>,
    /// Only those before this one.
    pub before: Option<AnnouncementId>,
}

/// What the member announces at `at` or later, newest first, at most `limit`.
///
/// The reason is found by the rules of `tandem_routing`: in force, member approved, a verified range covers it,
/// an endpoint takes part. Routing asks about one number, this about all that begin with the prefix.
pub async fn list(
    db: impl PgExecutor<'_>,
    member: MemberId,
    filter: AnnouncementFilter<'_>,
    at: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<StoredAnnouncement>> {
    sqlx::query_as!(
        Row,
        r#"
        with shown as (
            select announcement_id, member_id, prefix, valid_during, endpoint_ids, max_calls, max_calls_per_second, tags
                 , import_id
              from announcement
             where member_id = $1 and valid_during && tstzrange($2, null)
               and ($3::uuid is null or announcement_id = $3)
               and ($4::text is null or starts_with(prefix, $4))
               and ($5::uuid is null or announcement_id < $5)
             order by announcement_id desc
             limit $6
        )
        select a.announcement_id as "announcement_id!", a.member_id as "member_id!", a.prefix as "prefix!"
             , lower(a.valid_during) as "valid_from!", upper(a.valid_during) as valid_until
             , a.max_calls, a.max_calls_per_second, a.tags as "tags!"
             , array(select endpoint_id from endpoint where endpoint_id = any (a.endpoint_ids) order by name)
               as "endpoint_ids!: Vec<Uuid>"
             , array(select name from endpoint where endpoint_id = any (a.endpoint_ids) order by name)
               as "endpoint_names!: Vec<String>"
             , case when not a.valid_during @> $2::timestamptz then 'not_yet_in_force'
                    when m.state <> 'approved' then 'member_not_approved'
                    when r.authority is not null then r.authority
                    when not exists (select from endpoint where endpoint_id = any (a.endpoint_ids) and enabled)
                         then 'endpoint_disabled'
               end as reason
             , r.authority
             , coalesce((select max(f.position) from feed_entry f
                          where f.object_id in (a.announcement_id, a.import_id)), 0) as "position!"
          from shown a
          join member m using (member_id)
          cross join lateral announcement_lack(a.member_id, a.prefix, $2) as r (authority)
         order by a.announcement_id desc
        "#,
        member.0,
        at,
        filter.announcement.map(|id| id.0),
        filter.prefix,
        filter.before.map(|id| id.0),
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// Keeps the announcement as it is until the transaction ends; its prefix and validity, if the member has
/// it and it is not over at `at`.
pub async fn lock(
    db: impl PgExecutor<'_>,
    member: MemberId,
    announcement: AnnouncementId,
    at: DateTime<Utc>,
) -> Result<Option<(Prefix, Validity)>> {
    let row = sqlx::query!(
        r#"
        select prefix, lower(valid_during) as "valid_from!", upper(valid_during) as valid_until
          from announcement
         where member_id = $1 and announcement_id = $2 and valid_during && tstzrange($3, null)
           for update
        "#,
        member.0,
        announcement.0,
        at,
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| Ok((word::prefix(&row.prefix)?, Validity { from: row.valid_from, until: row.valid_until })))
        .transpose()
}

/// What a member announces, as it describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Which numbers.
    pub prefix: Prefix,
    /// The endpoints that take the calls.
    pub endpoints: Vec<EndpointId>,
    /// When it holds.
    pub validity: Validity,
    /// The most that is taken for the prefix.
    pub limits: CallLimits,
    /// What the member promises of the route.
    pub tags: Vec<Tag>,
}

fn texts(tags: &[Tag]) -> Vec<String> {
    tags.iter().map(Tag::to_string).collect()
}

/// Endpoints as an announcement names them: in the order of their ids, each once.
fn ids(endpoints: &[EndpointId]) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = endpoints.iter().map(|id| id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The same as the text of an array: a statement over many announcements has an array of such, since Postgres has none of
/// arrays that differ in length.
fn ids_text(endpoints: &[EndpointId]) -> String {
    let ids: Vec<String> = ids(endpoints).iter().map(Uuid::to_string).collect();
    format!("{{{}}}", ids.join(","))
}

/// Announces a prefix on endpoints of the member. The prefix may be announced at that time already:
/// `announcement_exists`.
pub async fn insert(
    db: impl PgExecutor<'_>,
    member: MemberId,
    described: &Described,
    at: DateTime<Utc>,
) -> Result<AnnouncementId> {
    let Described { prefix, endpoints, validity, limits, tags } = described;
    sqlx::query_scalar!(
        r#"
        insert into announcement (member_id, prefix, valid_during, created_at, max_calls, max_calls_per_second, tags
             , endpoint_ids)
        values ($1, $2, tstzrange($3, $4), $5, $6, $7, $8, $9)
        returning announcement_id
        "#,
        member.0,
        prefix.digits(),
        validity.from,
        validity.until,
        at,
        word::limit(limits.max_calls)?,
        word::limit(limits.max_calls_per_second)?,
        &texts(tags),
        &ids(endpoints),
    )
    .fetch_one(db)
    .await
    .map(AnnouncementId)
}

/// Takes announcements that ended by the clock before a moment out of what routing is built from, at most so many: a change
/// for every node alike. It says how many.
pub async fn retire_ended(db: impl PgExecutor<'_>, before: DateTime<Utc>, limit: i64) -> Result<u64> {
    sqlx::query!(
        r#"
        update announcement
           set valid_during = valid_during
         where announcement_id in (
               select announcement_id
                 from announcement a
                where upper(valid_during) < $1
                  and upper(valid_during) > (select max(f.changed_at) + interval '1 second'
                                               from feed_entry f where f.object_id = a.announcement_id)
                limit $2)
        "#,
        before,
        limit,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}

/// Gives an announcement of the member other endpoints, another validity, other limits and other tags.
pub async fn update(
    db: impl PgExecutor<'_>,
    member: MemberId,
    announcement: AnnouncementId,
    described: &Described,
) -> Result<()> {
    let Described { prefix: _, endpoints, validity, limits, tags } = described;
    sqlx::query!(
        r#"
        update announcement
           set valid_during = tstzrange($3, $4), max_calls = $5, max_calls_per_second = $6, tags = $7, endpoint_ids = $8
         where announcement_id = $1 and member_id = $2
           and (valid_during, max_calls, max_calls_per_second, tags, endpoint_ids)
               is distinct from (tstzrange($3, $4), $5, $6, $7, $8)
        "#,
        announcement.0,
        member.0,
        validity.from,
        validity.until,
        word::limit(limits.max_calls)?,
        word::limit(limits.max_calls_per_second)?,
        &texts(tags),
        &ids(endpoints),
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Ends announcements of the member at `at`; those that have not begun are removed. Within a transaction.
pub async fn withdraw(
    db: &mut PgConnection,
    member: MemberId,
    announcements: &[AnnouncementId],
    at: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<Uuid> = announcements.iter().map(|id| id.0).collect();
    sqlx::query!(
        r#"
        delete from announcement
         where member_id = $1 and announcement_id = any ($2) and lower(valid_during) >= $3
        "#,
        member.0,
        &ids,
        at,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        r#"
        update announcement
           set valid_during = tstzrange(lower(valid_during), $3)
         where member_id = $1 and announcement_id = any ($2)
           and (upper(valid_during) is null or upper(valid_during) > $3)
        "#,
        member.0,
        &ids,
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// One announcement of a member, as a bulk change compares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its id.
    pub announcement_id: AnnouncementId,
    /// Which numbers.
    pub prefix: Prefix,
    /// When it holds.
    pub validity: Validity,
    /// The endpoints that take the calls, in the order of their ids.
    pub endpoints: Vec<EndpointId>,
    /// Most calls that it takes.
    pub limits: CallLimits,
    /// What the member promises of the route.
    pub tags: Vec<Tag>,
}

/// What the member announces at `at` or later: all of it, or only these prefixes.
pub async fn standing(
    db: impl PgExecutor<'_>,
    member: MemberId,
    prefixes: Option<&[Prefix]>,
    at: DateTime<Utc>,
) -> Result<Vec<Standing>> {
    let prefixes: Option<Vec<String>> =
        prefixes.map(|prefixes| prefixes.iter().map(|prefix| prefix.digits()).collect());
    let rows = sqlx::query!(
        r#"
        select a.announcement_id, a.prefix
             , lower(a.valid_during) as "valid_from!", upper(a.valid_during) as valid_until
             , a.endpoint_ids, a.max_calls, a.max_calls_per_second, a.tags
          from announcement a
         where a.member_id = $1 and a.valid_during && tstzrange($3, null)
           and ($2::text[] is null or a.prefix = any ($2))
        "#,
        member.0,
        prefixes.as_deref(),
        at,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Standing {
                announcement_id: AnnouncementId(row.announcement_id),
                prefix: word::prefix(&row.prefix)?,
                validity: Validity { from: row.valid_from, until: row.valid_until },
                endpoints: row.endpoint_ids.into_iter().map(EndpointId).collect(),
                limits: word::limits(row.max_calls, row.max_calls_per_second)?,
                tags: row.tags.iter().map(|tag| read_tag(tag)).collect::<Result<_>>()?,
            })
        })
        .collect()
}

/// A tag that a constraint of the schema keeps well-formed.
fn read_tag(text: &str) -> Result<Tag> {
    text.parse().map_err(|error: <Tag as std::str::FromStr>::Err| sqlx::Error::Decode(error.into()))
}

/// Announces many prefixes from `at` on, until further notice, each on its endpoints.
pub async fn insert_many(
    db: impl PgExecutor<'_>,
    member: MemberId,
    announcements: &[(Prefix, Vec<EndpointId>)],
    at: DateTime<Utc>,
) -> Result<()> {
    let prefixes: Vec<String> = announcements.iter().map(|(prefix, _)| prefix.digits()).collect();
    let endpoints: Vec<String> = announcements.iter().map(|(_, endpoints)| ids_text(endpoints)).collect();
    sqlx::query!(
        r#"
        insert into announcement (member_id, prefix, valid_during, created_at, endpoint_ids)
        select $1, prefix, tstzrange($4, null), $4, endpoint_ids::uuid[]
          from unnest($2::text[], $3::text[]) as t (prefix, endpoint_ids)
        "#,
        member.0,
        &prefixes,
        &endpoints,
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Gives announcements of the member other endpoints, and no end.
pub async fn update_many(
    db: impl PgExecutor<'_>,
    member: MemberId,
    announcements: &[(AnnouncementId, Vec<EndpointId>)],
) -> Result<()> {
    let uuids: Vec<Uuid> = announcements.iter().map(|(id, _)| id.0).collect();
    let endpoints: Vec<String> = announcements.iter().map(|(_, endpoints)| ids_text(endpoints)).collect();
    sqlx::query!(
        r#"
        update announcement a
           set valid_during = tstzrange(lower(a.valid_during), null), endpoint_ids = t.endpoint_ids::uuid[]
          from unnest($2::uuid[], $3::text[]) as t (announcement_id, endpoint_ids)
         where a.member_id = $1 and a.announcement_id = t.announcement_id
        "#,
        member.0,
        &uuids,
        &endpoints,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Lets go of an endpoint in announcements of the member that are over at `at`, so that it can be removed.
pub async fn forget_endpoint(
    db: impl PgExecutor<'_>,
    member: MemberId,
    endpoint: EndpointId,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"
        update announcement
           set endpoint_ids = array_remove(endpoint_ids, $2)
         where member_id = $1 and upper(valid_during) <= $3 and endpoint_ids @> array[$2::uuid]
        "#,
        member.0,
        endpoint.0,
        at,
    )
    .execute(db)
    .await
    .map(|_| ())
}

/// Position of the change feed, as this transaction would leave it.
pub async fn feed_position(db: impl PgExecutor<'_>) -> Result<u64> {
    word::fits(sqlx::query_scalar!("select position from feed_head").fetch_one(db).await?)
}

//! What a member announces, one prefix at a time. Many at once are the matter of [`crate::bulk`].

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{
    AnnouncementAuthority, AnnouncementId, EndpointId, MAX_TAGS, MemberId, Prefix, Reason, Tag, Validity,
};
use tandem_store::announcement::{self, AnnouncementFilter, Described, StoredAnnouncement};
use tandem_store::endpoint::EndpointName;
use tandem_store::node::NodeReport;
use tandem_store::{PgConnection, endpoint, node};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::call_limits;
use crate::endpoint::EndpointRef;
use crate::node::is_live;
use crate::numbering::NumberingView;
use crate::page::{Page, Place};
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id, Query};
use crate::session::{Change, Session};
use crate::text;
use crate::vocabulary;

/// Most endpoints of an announcement.
const MAX_ENDPOINTS: usize = 64;

/// On how many nodes a change is in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LiveOnView {
    /// Nodes whose route table has it.
    nodes: u32,
    /// Nodes that serve.
    of: u32,
}

impl LiveOnView {
    /// Of a change that the route table has from a version on.
    pub(crate) fn of(position: u64, nodes: &[NodeReport], at: DateTime<Utc>) -> Self {
        let live: Vec<_> = nodes.iter().filter(|node| is_live(node, at)).collect();
        let have_it = live.iter().filter(|node| node.table_version >= position).count();
        Self { nodes: have_it as u32, of: live.len() as u32 }
    }
}

/// A member's wish that a prefix be routed to its endpoints.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AnnouncementView {
    #[schema(value_type = Uuid)]
    announcement_id: AnnouncementId,
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    #[schema(value_type = String, example = "+44207946")]
    prefix: Prefix,
    /// Country and type of its numbers; null where no number is known to begin so.
    #[schema(required)]
    numbering: Option<NumberingView>,
    /// The endpoints that take the calls.
    endpoints: Vec<EndpointRef>,
    valid_from: DateTime<Utc>,
    #[schema(required)]
    valid_until: Option<DateTime<Utc>>,
    /// Most calls up at once that it takes for the prefix; no bound where it is null.
    #[schema(required)]
    max_calls: Option<u32>,
    /// Most new calls a second that it takes for the prefix; no bound where it is null.
    #[schema(required)]
    max_calls_per_second: Option<u32>,
    /// What the member promises of the route; agreements may demand it.
    tags: Vec<String>,
    /// Whether its numbers are its member's.
    #[schema(value_type = vocabulary::AnnouncementAuthority)]
    authority: AnnouncementAuthority,
    /// Why they are not known to be.
    #[schema(required, value_type = Option<vocabulary::ReasonCode>)]
    authority_reason: Option<Reason>,
    /// Whether calls can be routed by it now.
    routable: bool,
    /// Why not.
    #[schema(required, value_type = Option<vocabulary::ReasonCode>)]
    reason: Option<Reason>,
    live_on: LiveOnView,
}

/// What a member announces.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnnouncementInput {
    /// The leading digits of the numbers, internationally.
    #[schema(example = "+44207946")]
    prefix: String,
    /// Names or ids of endpoints of the member.
    #[schema(min_items = 1, max_items = 64)]
    endpoints: Vec<String>,
    /// From now where it is left out.
    #[serde(default)]
    valid_from: Option<DateTime<Utc>>,
    /// Until further notice where it is left out.
    #[serde(default)]
    valid_until: Option<DateTime<Utc>>,
    /// Most calls up at once that it takes for the prefix; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls: Option<u32>,
    /// Most new calls a second that it takes for the prefix; no bound where it is left out or null.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_calls_per_second: Option<u32>,
    /// What the member promises of the route: lower-case letters, digits and hyphens. Agreements may demand it.
    #[serde(default)]
    #[schema(max_items = 16, example = json!(["cli-guaranteed", "no-transit"]))]
    tags: Vec<String>,
}

impl AnnouncementView {
    fn of(stored: StoredAnnouncement, nodes: &[NodeReport], at: DateTime<Utc>) -> Self {
        let live_on = LiveOnView::of(stored.changed_at_position, nodes, at);
        Self {
            announcement_id: stored.announcement_id,
            member_id: stored.member_id,
            prefix: stored.prefix,
            numbering: NumberingView::of(stored.prefix.numbering()),
            endpoints: stored.endpoints.into_iter().map(EndpointRef::from).collect(),
            valid_from: stored.validity.from,
            valid_until: stored.validity.until,
            max_calls: stored.limits.max_calls,
            max_calls_per_second: stored.limits.max_calls_per_second,
            tags: stored.tags,
            authority: stored
                .authority
                .and_then(AnnouncementAuthority::of)
                .unwrap_or(AnnouncementAuthority::Valid),
            authority_reason: stored.authority,
            routable: stored.reason.is_none(),
            reason: stored.reason,
            live_on,
        }
    }

    async fn read(
        db: &mut PgConnection,
        member: MemberId,
        id: AnnouncementId,
        at: DateTime<Utc>,
    ) -> Result<Self, ApiError> {
        let filter = AnnouncementFilter { announcement: Some(id), ..AnnouncementFilter::default() };
        let found = announcement::list(&mut *db, member, filter, at, 1).await?.pop();
        let nodes = node::list(db).await?;
        Ok(Self::of(found.ok_or_else(|| ApiError::new(Reason::NotFound))?, &nodes, at))
    }
}

/// The endpoints of a member by name and by id, as requests name them.
pub(crate) struct EndpointNames(std::collections::HashMap<String, EndpointId>);

impl EndpointNames {
    pub(crate) fn of(endpoints: Vec<EndpointName>) -> Self {
        let ids = endpoints
            .into_iter()
            .flat_map(|it| [(it.endpoint_id.to_string(), it.endpoint_id), (it.name, it.endpoint_id)]);
        Self(ids.collect())
    }

    /// The ids in order, each once; or notes which name is none.
    pub(crate) fn read(&self, faults: &mut Faults, field: &str, names: &[String]) -> Option<Vec<EndpointId>> {
        if names.is_empty() {
            faults.note(field, "name at least one endpoint");
            return None;
        }
        if names.len() > MAX_ENDPOINTS {
            faults.note(field, format!("there are {}; name at most {MAX_ENDPOINTS}", names.len()));
            return None;
        }
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            match self.0.get(name.as_str()) {
                Some(&id) => ids.push(id),
                None => {
                    let shown: String = name.chars().take(80).collect();
                    faults.note(field, format!("{shown:?} is no endpoint of the member"));
                    return None;
                }
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Some(ids)
    }
}

impl AnnouncementInput {
    /// What is announced, or every field that is at fault. `starts` is when it begins where that is left out.
    fn read(
        &self,
        names: &EndpointNames,
        starts: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Described, ApiError> {
        let mut faults = Faults::default();
        let limits = call_limits::read(&mut faults, self.max_calls, self.max_calls_per_second);
        let tags = read_tags(&mut faults, &self.tags);
        let prefix = text::announced(&mut faults, "prefix", &self.prefix);
        let endpoints = names.read(&mut faults, "endpoints", &self.endpoints);
        let validity = Validity { from: self.valid_from.unwrap_or(starts), until: self.valid_until };
        if validity.until.is_some_and(|until| until <= validity.from || until <= now) {
            faults.note("valid_until", "it must be later than now and than valid_from");
        }
        // Postgres counts microseconds, in years of four digits.
        let years = [Some(validity.from), validity.until];
        if years.into_iter().flatten().any(|at| !(2000..10_000).contains(&chrono::Datelike::year(&at))) {
            faults.note("valid_from", "write times from the year 2000 on");
        }
        let (prefix, endpoints) = faults.hold(prefix.zip(endpoints))?;
        Ok(Described { prefix, endpoints, validity, limits, tags })
    }
}

/// The tags in order, each once; what is at fault is noted.
pub(crate) fn read_tags(faults: &mut Faults, inputs: &[String]) -> Vec<Tag> {
    if inputs.len() > MAX_TAGS {
        faults.note("tags", format!("there are {}; write at most {MAX_TAGS}", inputs.len()));
        return Vec::new();
    }
    let mut tags: Vec<Tag> =
        inputs.iter().filter_map(|input| faults.take("tags", input.parse::<Tag>())).collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// Which announcements to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AnnouncementQuery {
    /// Only prefixes that begin with these digits.
    prefix: Option<String>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Most items of the page; 50 where it is not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// `GET /api/v1/members/{member_id}/announcements`: what the member announces, now or later.
#[utoipa::path(get, path = "/members/{member_id}/announcements", tag = "announcements",
    params(("member_id" = Uuid, Path), AnnouncementQuery),
    responses((status = 200, body = Page<AnnouncementView>)))]
pub(crate) async fn list_announcements(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<AnnouncementQuery>,
) -> Result<Json<Page<AnnouncementView>>, ApiError> {
    session.may_read(member)?;
    let place: Place<Uuid> = Place::read(query.cursor.as_deref(), query.limit)?;
    let mut faults = Faults::default();
    let prefix = text::digits(&mut faults, "prefix", query.prefix.as_deref());
    faults.check()?;
    let now = app.clock.now();
    let before = place.after.map(AnnouncementId);
    let filter = AnnouncementFilter { announcement: None, prefix: prefix.as_deref(), before };
    let announcements = announcement::list(&app.db, member, filter, now, place.reads()).await?;
    let nodes = node::list(&app.db).await?;
    Ok(Json(place.page(announcements, |it| it.announcement_id.0, |it| AnnouncementView::of(it, &nodes, now))))
}

/// `POST /api/v1/members/{member_id}/announcements`: announces a prefix.
#[utoipa::path(post, path = "/members/{member_id}/announcements", tag = "announcements",
    params(("member_id" = Uuid, Path)), request_body = AnnouncementInput,
    responses((status = 201, body = AnnouncementView)))]
pub(crate) async fn create_announcement(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Body(input): Body<AnnouncementInput>,
) -> Result<(StatusCode, Json<AnnouncementView>), ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let names = EndpointNames::of(endpoint::names_of_member(&mut *transaction, member).await?);
    let described = input.read(&names, now, now)?;
    let id = announcement::insert(&mut *transaction, member, &described, now).await?;
    let view = AnnouncementView::read(&mut transaction, member, id, now).await?;
    let change = Change::of("announcement.create", Some(member), id.0, None, Some(&view));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// `GET /api/v1/members/{member_id}/announcements/{announcement_id}`: one announcement.
#[utoipa::path(get, path = "/members/{member_id}/announcements/{announcement_id}", tag = "announcements",
    params(("member_id" = Uuid, Path), ("announcement_id" = Uuid, Path)),
    responses((status = 200, body = AnnouncementView)))]
pub(crate) async fn get_announcement(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, AnnouncementId)>,
) -> Result<Json<AnnouncementView>, ApiError> {
    session.may_read(member)?;
    let mut db = app.db.acquire().await?;
    AnnouncementView::read(&mut db, member, id, app.clock.now()).await.map(Json)
}

/// `PUT /api/v1/members/{member_id}/announcements/{announcement_id}`: changes its endpoints, validity, limits and tags; the prefix stays.
#[utoipa::path(put, path = "/members/{member_id}/announcements/{announcement_id}", tag = "announcements",
    params(("member_id" = Uuid, Path), ("announcement_id" = Uuid, Path)), request_body = AnnouncementInput,
    responses((status = 200, body = AnnouncementView)))]
pub(crate) async fn update_announcement(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, AnnouncementId)>,
    Body(input): Body<AnnouncementInput>,
) -> Result<Json<AnnouncementView>, ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let stands = announcement::lock(&mut *transaction, member, id, now).await?;
    let (prefix, validity) = stands.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let names = EndpointNames::of(endpoint::names_of_member(&mut *transaction, member).await?);
    let described = input.read(&names, validity.from, now)?;
    if described.prefix != prefix {
        return Err(ApiError::field(
            "prefix",
            format!("it is {prefix} and stays so; announce another prefix anew"),
        ));
    }
    let before = AnnouncementView::read(&mut transaction, member, id, now).await?;
    announcement::update(&mut *transaction, member, id, &described).await?;
    let after = AnnouncementView::read(&mut transaction, member, id, now).await?;
    let change = Change::of("announcement.update", Some(member), id.0, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(Json(after))
}

/// `DELETE /api/v1/members/{member_id}/announcements/{announcement_id}`: withdraws it now.
#[utoipa::path(delete, path = "/members/{member_id}/announcements/{announcement_id}", tag = "announcements",
    params(("member_id" = Uuid, Path), ("announcement_id" = Uuid, Path)),
    responses((status = 204, description = "withdrawn")))]
pub(crate) async fn withdraw_announcement(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, AnnouncementId)>,
) -> Result<StatusCode, ApiError> {
    session.may_change(member)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    announcement::lock(&mut *transaction, member, id, now).await?;
    let before = AnnouncementView::read(&mut transaction, member, id, now).await?;
    announcement::withdraw(&mut transaction, member, &[id], now).await?;
    let change = Change::of("announcement.withdraw", Some(member), id.0, Some(&before), None);
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

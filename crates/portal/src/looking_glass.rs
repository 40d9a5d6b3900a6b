//! The looking glass: what is announced around a number or prefix, whether it counts, and whose calls it gets.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{AnnouncementId, E164, MemberId, Prefix, Reason};
use tandem_routing::{CallRequest, Glass, RouteTable, Seen, select};
use tandem_store::member;
use utoipa::{IntoParams, ToSchema};

use crate::app::{App, AppState};
use crate::lookup::{Names, RouteKind, SelectionView};
use crate::past;
use crate::problem::ApiError;
use crate::reason::ReasonView;
use crate::request::{Id, Query};
use crate::session::Session;
use crate::vocabulary;

/// Most announcements that are shown.
const MAX_SEEN: usize = 100;

/// Most members that are named for one announcement.
const MAX_REACHES: usize = 100;

/// A member that an announcement reaches.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ReachedView {
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    member_name: String,
}

/// One announcement, and what became of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct SeenView {
    #[schema(value_type = Uuid)]
    announcement_id: AnnouncementId,
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    member_name: String,
    #[schema(value_type = vocabulary::RouteKind)]
    kind: RouteKind,
    /// What is announced; of an offer of transit the prefix by which the number has a rate.
    #[schema(value_type = String, example = "+4420")]
    prefix: Prefix,
    /// Whether it counts: it is in force, and a verified range of its member covers it; of transit, the operator permits
    /// it and a rate is in force.
    accepted: bool,
    /// Why it does not count; or, where it does and gets nobody's calls, why not.
    #[schema(required)]
    reason: Option<ReasonView>,
    /// Members whose calls it gets, at most 100; of another member's announcement the reader alone.
    reaches: Vec<ReachedView>,
    /// How many members' calls it gets; null where the announcement is another member's.
    #[schema(required)]
    reaches_count: Option<usize>,
}

/// What is announced around a number or prefix, by one version of the route table.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct GlassView {
    /// What was asked for.
    #[schema(value_type = String, example = "+4420")]
    of: Prefix,
    table_version: u64,
    /// What is announced above it, then at it and beneath it: a member's own announcements, and those of others that
    /// get its calls.
    announcements: Vec<SeenView>,
    /// Whether there are more announcements beneath it than are looked at.
    has_more: bool,
    /// Where a call of the member would go now; null where what was asked for is no full number.
    #[schema(required)]
    selection: Option<SelectionView>,
}

/// What to look at.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GlassQuery {
    /// A number or its leading digits, internationally. A `+` is `%2B` in a URL and may be left out.
    #[param(example = "+4420")]
    of: String,
    /// As it was at this moment; now where it is left out. Ported numbers are those of now.
    #[serde(default)]
    at: Option<DateTime<Utc>>,
}

/// What to look at, and for whom.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OperatorGlassQuery {
    /// A number or its leading digits, internationally. A `+` is `%2B` in a URL and may be left out.
    #[param(example = "+4420")]
    of: String,
    /// Name or id of the member whose calls are looked up; nobody's where it is left out.
    #[serde(default)]
    from: Option<String>,
    /// As it was at this moment; now where it is left out. Ported numbers are those of now.
    #[serde(default)]
    at: Option<DateTime<Utc>>,
}

/// `GET /api/v1/members/{member_id}/looking-glass`: what is announced around a number or prefix, now or at a moment before, as the member may see it.
///
/// It sees its own announcements, whatever became of them, and of others those that get its calls.
#[utoipa::path(get, path = "/members/{member_id}/looking-glass", tag = "lookup",
    params(("member_id" = Uuid, Path), GlassQuery), responses((status = 200, body = GlassView)))]
pub(crate) async fn look(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<GlassQuery>,
) -> Result<Json<GlassView>, ApiError> {
    session.may_read(member)?;
    if member::get(&app.db, member).await?.is_none() {
        return Err(ApiError::new(Reason::NotFound));
    }
    show(&app, Some(member), Some(member), session.member, &query.of, query.at).await
}

/// `GET /api/v1/looking-glass`: what is announced around a number or prefix, now or at a moment before, all of it (operator).
#[utoipa::path(get, path = "/looking-glass", tag = "lookup", params(OperatorGlassQuery),
    responses((status = 200, body = GlassView)))]
pub(crate) async fn look_at_all(
    State(app): State<App>,
    session: Session,
    Query(query): Query<OperatorGlassQuery>,
) -> Result<Json<GlassView>, ApiError> {
    session.must_be_operator()?;
    let from = match query.from.as_deref() {
        None => None,
        Some(name) => {
            let unknown = || ApiError::field("from", "there is no member of this name or id");
            let found = if name.contains('\0') { None } else { member::find(&app.db, name).await? };
            Some(found.ok_or_else(unknown)?.member_id)
        }
    };
    show(&app, None, from, None, &query.of, query.at).await
}

/// `viewer` sees what concerns it, or everything where it is nobody; endpoints of the selection are named to `reader`.
async fn show(
    app: &AppState,
    viewer: Option<MemberId>,
    originating_member: Option<MemberId>,
    reader: Option<MemberId>,
    of: &str,
    at: Option<DateTime<Utc>>,
) -> Result<Json<GlassView>, ApiError> {
    // A blank is what becomes of a `+` that was not escaped in a URL.
    let text = of.trim_start_matches(' ');
    let prefix: Prefix = text.parse().map_err(|error| ApiError::field("of", format!("{error}")))?;
    let mut draw = [0; 8];
    (app.entropy)(&mut draw);
    let draw = u64::from_le_bytes(draw);
    let (table, now) = past::table_at(app, at).await?;
    let number: Option<E164> = text.parse().ok();
    let call = number.zip(originating_member).map(|(called, originating_member)| CallRequest {
        originating_member,
        called,
        dip: None,
        site: None,
        draw,
    });
    let view = move || {
        let glass = Glass::look(&table, prefix, MAX_SEEN, now);
        let selection = call.map(|call| {
            let selection = select(&table, &call, now);
            let (members, endpoints) = SelectionView::mentions(&selection);
            let names = Names::in_table(&table, &members, &endpoints);
            SelectionView::of(&selection, &names, reader, &table)
        });
        GlassView {
            of: prefix,
            table_version: glass.table_version,
            announcements: glass.seen.iter().filter_map(|seen| SeenView::of(seen, viewer, &table)).collect(),
            has_more: glass.has_more,
            selection,
        }
    };
    // With many members and announcements it takes milliseconds.
    let view = tokio::task::spawn_blocking(view).await.map_err(|_| ApiError::new(Reason::InternalError))?;
    Ok(Json(view))
}

impl SeenView {
    /// The announcement as `viewer` may see it, if it concerns it.
    fn of(seen: &Seen, viewer: Option<MemberId>, table: &RouteTable) -> Option<Self> {
        let sees_all = viewer.is_none_or(|viewer| viewer == seen.member);
        let reaches: BTreeSet<MemberId> =
            seen.reaches.iter().copied().filter(|member| sees_all || Some(*member) == viewer).collect();
        if !sees_all && reaches.is_empty() {
            return None;
        }
        let name =
            |id: MemberId| table.member(id).map_or_else(|| id.to_string(), |member| member.name.clone());
        let reached = |&member_id: &MemberId| ReachedView { member_id, member_name: name(member_id) };
        Some(Self {
            announcement_id: seen.announcement,
            member_id: seen.member,
            member_name: name(seen.member),
            kind: match table.transit_offer(seen.announcement) {
                Some(_) => RouteKind::Transit,
                None => RouteKind::Home,
            },
            prefix: seen.prefix,
            accepted: seen.is_accepted,
            reason: seen.reason.map(ReasonView::from),
            reaches: reaches.iter().take(MAX_REACHES).map(reached).collect(),
            reaches_count: sees_all.then_some(reaches.len()),
        })
    }
}

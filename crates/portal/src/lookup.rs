//! The looking glass: where a call would go now, and why not elsewhere.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{AnnouncementAuthority, E164, EndpointId, MemberId, Prefix, Rate, Reason};
use tandem_routing::{CallRequest, Dip, RouteTable, Selection, select};
use tandem_store::{PgPool, endpoint, member};
use utoipa::{IntoParams, ToSchema};

use crate::app::{App, AppState};
use crate::member::MemberRef;
use crate::numbering::NumberingView;
use crate::past;
use crate::problem::ApiError;
use crate::reason::ReasonView;
use crate::request::{Id, Query};
use crate::session::Session;
use crate::vocabulary;

/// Whether a route leads to who holds the number, or onward by who offers that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RouteKind {
    Home,
    Transit,
}

/// A route that can take the call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct CandidateView {
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    member_name: String,
    #[schema(value_type = vocabulary::RouteKind)]
    kind: RouteKind,
    /// What transit costs a minute, in the currency of the exchange; null for a home route, and for who neither offers it
    /// nor is the operator.
    #[schema(required, value_type = Option<String>, example = "0.0045")]
    rate: Option<Rate>,
    /// Null where the endpoint is another member's.
    #[schema(required)]
    endpoint_name: Option<String>,
    #[schema(value_type = String)]
    prefix: Prefix,
    /// Lower is tried first; null where the endpoint is another member's.
    #[schema(required)]
    priority: Option<u16>,
    /// Share of the calls at the same priority; null where the endpoint is another member's.
    #[schema(required)]
    weight: Option<u16>,
}

/// A route that cannot take the call, and why.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LeftOutView {
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    member_name: String,
    /// Null where the endpoint is another member's, or the whole announcement is left out.
    #[schema(required)]
    endpoint_name: Option<String>,
    #[schema(value_type = String)]
    prefix: Prefix,
    /// What the reason says of its authority; null where it is about something else.
    #[schema(required, value_type = Option<vocabulary::AnnouncementAuthority>)]
    authority: Option<AnnouncementAuthority>,
    #[schema(value_type = vocabulary::ReasonCode)]
    code: &'static str,
    sentence: &'static str,
    remedy: &'static str,
}

/// What was found when the called number was looked up among the ported ones.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct DipView {
    /// The number by which the call is routed; null where the called one is not ported.
    #[schema(required)]
    routing_number: Option<String>,
    /// Who looked it up: the sender of the call, the node, or a service that it asks; `unanswered` where that did not
    /// answer in time and the called number decides.
    #[schema(value_type = vocabulary::DipSource)]
    source: &'static str,
}

/// The outcome of one lookup: candidates in the order to try them, and everything left out with its reason.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct SelectionView {
    /// The called number.
    called: String,
    /// Its country and type; null where no country is known to have given it out.
    #[schema(required)]
    numbering: Option<NumberingView>,
    /// Null where nobody looked the number up among the ported ones.
    #[schema(required)]
    dip: Option<DipView>,
    /// Version of the route table that was asked.
    table_version: u64,
    /// The longest announced prefix that matches the number, or its routing number; null where no home route does.
    #[schema(required, value_type = Option<String>)]
    matched: Option<Prefix>,
    candidates: Vec<CandidateView>,
    left_out: Vec<LeftOutView>,
    /// Why the call would be refused, where there is no candidate.
    #[schema(required)]
    refusal: Option<ReasonView>,
}

/// What to look up.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LookupQuery {
    /// The called number, internationally. A `+` is `%2B` in a URL and may be left out.
    #[param(example = "+442079460000")]
    called: String,
    /// As it was at this moment; now where it is left out. Ported numbers are those of now.
    #[serde(default)]
    at: Option<DateTime<Utc>>,
}

/// What to look up, and for whom.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OperatorLookupQuery {
    /// Name or id of the originating member.
    from: String,
    /// The called number, internationally. A `+` is `%2B` in a URL and may be left out.
    #[param(example = "+442079460000")]
    called: String,
    /// As it was at this moment; now where it is left out. Ported numbers are those of now.
    #[serde(default)]
    at: Option<DateTime<Utc>>,
}

/// Names of the members and endpoints that a view mentions.
pub(crate) struct Names {
    members: HashMap<MemberId, MemberRef>,
    endpoints: HashMap<EndpointId, String>,
}

impl Names {
    /// Reads the names of these.
    pub(crate) async fn read(
        db: &PgPool,
        members: &[MemberId],
        endpoints: &[EndpointId],
    ) -> Result<Self, ApiError> {
        let members = member::names(db, members).await?;
        let endpoints = endpoint::names(db, endpoints).await?;
        Ok(Self {
            members: members.into_iter().map(|name| (name.member_id, name.into())).collect(),
            endpoints: endpoints.into_iter().map(|name| (name.endpoint_id, name.name)).collect(),
        })
    }

    /// Those names that a table has; it knows a member by its short name only.
    pub(crate) fn in_table(table: &RouteTable, members: &[MemberId], endpoints: &[EndpointId]) -> Self {
        let member = |&id: &MemberId| {
            let name = &table.member(id)?.name;
            Some((id, MemberRef { member_id: id, name: name.clone(), display_name: name.clone() }))
        };
        let endpoint = |&id: &EndpointId| Some((id, table.endpoint(id)?.name.clone()));
        Self {
            members: members.iter().filter_map(member).collect(),
            endpoints: endpoints.iter().filter_map(endpoint).collect(),
        }
    }

    /// How a member is named.
    pub(crate) fn member(&self, id: MemberId) -> MemberRef {
        let gone = || MemberRef { member_id: id, name: id.to_string(), display_name: id.to_string() };
        self.members.get(&id).cloned().unwrap_or_else(gone)
    }

    /// How an endpoint is named; one that is no longer there by its id.
    pub(crate) fn endpoint(&self, id: EndpointId) -> String {
        self.endpoints.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }
}

impl SelectionView {
    /// Members and endpoints that a selection names.
    pub(crate) fn mentions(selection: &Selection) -> (Vec<MemberId>, Vec<EndpointId>) {
        let candidates = selection.candidates.iter().map(|it| (it.member, Some(it.endpoint)));
        let all = candidates.chain(selection.left_out.iter().map(|it| (it.member, it.endpoint)));
        let (members, endpoints): (Vec<_>, Vec<_>) = all.unzip();
        (members, endpoints.into_iter().flatten().collect())
    }

    /// The selection as `reader` may see it: every endpoint for the operator (`None`), its own for a member.
    ///
    /// Priorities and weights are those of `table`.
    pub(crate) fn of(
        selection: &Selection,
        names: &Names,
        reader: Option<MemberId>,
        table: &RouteTable,
    ) -> Self {
        let shows = |member: MemberId| reader.is_none_or(|reader| reader == member);
        let candidates = selection.candidates.iter().map(|it| {
            let endpoint = table.endpoint(it.endpoint).filter(|_| shows(it.member));
            CandidateView {
                member_id: it.member,
                member_name: names.member(it.member).name,
                kind: if it.rate.is_some() { RouteKind::Transit } else { RouteKind::Home },
                rate: it.rate.filter(|_| shows(it.member)),
                endpoint_name: shows(it.member).then(|| names.endpoint(it.endpoint)),
                prefix: it.prefix,
                priority: endpoint.map(|endpoint| endpoint.priority),
                weight: endpoint.map(|endpoint| endpoint.weight),
            }
        });
        let left_out = selection.left_out.iter().map(|it| LeftOutView {
            member_id: it.member,
            member_name: names.member(it.member).name,
            endpoint_name: it.endpoint.filter(|_| shows(it.member)).map(|id| names.endpoint(id)),
            prefix: it.prefix,
            authority: AnnouncementAuthority::of(it.reason),
            code: it.reason.code(),
            sentence: it.reason.sentence(),
            remedy: it.reason.remedy(),
        });
        Self {
            called: selection.called.to_string(),
            numbering: NumberingView::of(selection.called.numbering()),
            dip: selection.dip.map(|Dip { rn, source }| DipView {
                routing_number: rn.map(|rn| rn.to_string()),
                source: source.as_str(),
            }),
            table_version: selection.table_version,
            matched: selection.matched,
            candidates: candidates.collect(),
            left_out: left_out.collect(),
            refusal: selection.refusal().map(ReasonView::from),
        }
    }
}

/// `GET /api/v1/members/{member_id}/lookup`: where a call of the member would go now, or would have gone.
#[utoipa::path(get, path = "/members/{member_id}/lookup", tag = "lookup",
    params(("member_id" = Uuid, Path), LookupQuery), responses((status = 200, body = SelectionView)))]
pub(crate) async fn lookup(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<LookupQuery>,
) -> Result<Json<SelectionView>, ApiError> {
    session.may_read(member)?;
    look(&app, session.member, member, &query.called, query.at).await
}

/// `GET /api/v1/lookup`: where a call of any member would go now, or would have gone (operator).
#[utoipa::path(get, path = "/lookup", tag = "lookup", params(OperatorLookupQuery),
    responses((status = 200, body = SelectionView)))]
pub(crate) async fn lookup_from(
    State(app): State<App>,
    session: Session,
    Query(query): Query<OperatorLookupQuery>,
) -> Result<Json<SelectionView>, ApiError> {
    session.must_be_operator()?;
    let unknown = || ApiError::field("from", "there is no member of this name or id");
    if query.from.contains('\0') {
        return Err(unknown());
    }
    let from = member::find(&app.db, &query.from).await?.ok_or_else(unknown)?;
    look(&app, None, from.member_id, &query.called, query.at).await
}

async fn look(
    app: &AppState,
    reader: Option<MemberId>,
    originating_member: MemberId,
    called: &str,
    at: Option<DateTime<Utc>>,
) -> Result<Json<SelectionView>, ApiError> {
    if member::get(&app.db, originating_member).await?.is_none() {
        return Err(ApiError::new(Reason::NotFound));
    }
    // A blank is what becomes of a `+` that was not escaped in a URL.
    let called: E164 = called
        .trim_start_matches(' ')
        .parse()
        .map_err(|error| ApiError::field("called", format!("{error}")))?;
    let mut draw = [0; 8];
    (app.entropy)(&mut draw);
    let call =
        CallRequest { originating_member, called, dip: None, site: None, draw: u64::from_le_bytes(draw) };
    let (table, at) = past::table_at(app, at).await?;
    let selection = select(&table, &call, at);
    let (members, endpoints) = SelectionView::mentions(&selection);
    let names = Names::read(&app.db, &members, &endpoints).await?;
    Ok(Json(SelectionView::of(&selection, &names, reader, &table)))
}

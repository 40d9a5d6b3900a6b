//! How the nodes find an endpoint, and what happened to it.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tandem_model::{EndpointId, EndpointState, HealthSign, MemberId, Reason};
use tandem_store::endpoint_health::{self, NodeView, StoredChange, Summary};
use tandem_store::{PgPool, endpoint};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::page::{Page, PageQuery};
use crate::problem::ApiError;
use crate::request::{Id, Query};
use crate::session::Session;
use crate::vocabulary;

/// How an endpoint fares: on how many of the live nodes it is in each state. A node that knows nothing of it yet is not
/// counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct HealthSummary {
    /// Nodes on which it takes its calls.
    up: u32,
    /// Nodes on which it has come back and takes a growing share of its calls.
    ramping: u32,
    /// Nodes on which it takes calls only where no other endpoint can.
    down: u32,
    /// Nodes that send it no new calls for a while because it answered 503 with Retry-After.
    held: u32,
}

/// An endpoint as one node finds it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct NodeHealthView {
    /// The node's name.
    node: String,
    #[schema(value_type = vocabulary::EndpointState)]
    state: EndpointState,
    since: DateTime<Utc>,
    /// After which sign it was so; null where there was none yet.
    #[schema(value_type = Option<vocabulary::HealthSign>, required)]
    sign: Option<HealthSign>,
    /// Until when it gets no new calls because it asked for that; null where it did not, or the time is over.
    #[schema(required)]
    held_until: Option<DateTime<Utc>>,
    /// When a probe was sent last, as far as the node has told; null where none was.
    #[schema(required)]
    probed_at: Option<DateTime<Utc>>,
    /// How long its answer took, in milliseconds; null where there was no answer.
    #[schema(required)]
    rtt_ms: Option<f64>,
    /// The servers that the DNS name of its target leads to, such as `udp 192.0.2.21:5060`, first those that are tried
    /// first; null where its target is no name, or leads nowhere.
    #[schema(required)]
    servers: Option<Vec<String>>,
    /// The code of the reason why the name leads nowhere; null where it leads somewhere, or is none.
    #[schema(required)]
    unresolved: Option<String>,
}

/// Something that happened to an endpoint, as one node saw it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct HealthChangeView {
    at: DateTime<Utc>,
    /// The node's name; null where the node is no more.
    #[schema(required)]
    node: Option<String>,
    #[schema(value_type = vocabulary::EndpointState)]
    state: EndpointState,
    #[schema(value_type = vocabulary::HealthSign)]
    sign: HealthSign,
}

/// How the live nodes find an endpoint, and a page of what happened to it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndpointHealthView {
    #[schema(value_type = Uuid)]
    endpoint_id: EndpointId,
    /// Live nodes that know anything of it, by name.
    nodes: Vec<NodeHealthView>,
    /// What happened, newest first, for thirty days.
    history: Page<HealthChangeView>,
}

impl From<Summary> for HealthSummary {
    fn from(Summary { up, ramping, down, held }: Summary) -> Self {
        Self { up, ramping, down, held }
    }
}

impl NodeHealthView {
    fn new(NodeView { node, health, .. }: NodeView, now: DateTime<Utc>) -> Self {
        Self {
            node,
            state: health.state,
            since: health.since,
            sign: health.sign,
            held_until: health.held_until.filter(|until| *until > now),
            probed_at: health.probed_at,
            servers: health.servers,
            unresolved: health.unresolved,
            rtt_ms: health.rtt_us.map(|us| f64::from(us) / 1_000.0),
        }
    }
}

impl From<StoredChange> for HealthChangeView {
    fn from(StoredChange { node, change, .. }: StoredChange) -> Self {
        Self { at: change.at, node, state: change.state, sign: change.sign }
    }
}

/// How these endpoints fare at `at`.
pub(crate) async fn summaries(
    db: &PgPool,
    endpoints: &[EndpointId],
    at: DateTime<Utc>,
) -> Result<HashMap<EndpointId, HealthSummary>, ApiError> {
    let summaries = endpoint_health::summaries(db, endpoints, at).await?;
    Ok(summaries.into_iter().map(|(id, summary)| (id, summary.into())).collect())
}

/// `GET /api/v1/members/{member_id}/endpoints/{endpoint_id}/health`: how the nodes find an endpoint, with its history.
#[utoipa::path(get, path = "/members/{member_id}/endpoints/{endpoint_id}/health", tag = "endpoints",
    params(("member_id" = Uuid, Path), ("endpoint_id" = Uuid, Path), PageQuery),
    responses((status = 200, body = EndpointHealthView)))]
pub(crate) async fn get_endpoint_health(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, EndpointId)>,
    Query(query): Query<PageQuery>,
) -> Result<Json<EndpointHealthView>, ApiError> {
    session.may_read(member)?;
    let place = query.read::<Uuid>()?;
    endpoint::get(&app.db, member, id).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let now = app.clock.now();
    let nodes = endpoint_health::list(&app.db, id, now).await?;
    let changes = endpoint_health::changes(&app.db, id, place.after, place.reads()).await?;
    Ok(Json(EndpointHealthView {
        endpoint_id: id,
        nodes: nodes.into_iter().map(|node| NodeHealthView::new(node, now)).collect(),
        history: place.page(changes, |it| it.id, HealthChangeView::from),
    }))
}

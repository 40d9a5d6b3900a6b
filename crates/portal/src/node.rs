//! The nodes of the hub and the route table that each runs.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tandem_model::NodeId;
use tandem_store::announcement;
use tandem_store::node::{self, LIVE_WITHIN, NodeReport, NodeState};
use utoipa::ToSchema;

use crate::app::App;
use crate::problem::ApiError;
use crate::reason::ReasonView;
use crate::session::Session;
use crate::vocabulary;

/// A node as it last reported.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct NodeView {
    #[schema(value_type = Uuid)]
    node_id: NodeId,
    name: String,
    #[schema(value_type = vocabulary::NodeState)]
    state: NodeState,
    started_at: DateTime<Utc>,
    seen_at: DateTime<Utc>,
    table_version: u64,
    table_hash: String,
    active_calls: u32,
    /// Call events that it has yet to write to the database.
    journal_backlog: u64,
    /// How many ported numbers it holds; null where it is told of none, or has not read them yet.
    #[schema(required)]
    ported_numbers: Option<u64>,
    /// Serial of the state that they are in.
    #[schema(required)]
    ported_serial: Option<u64>,
    /// Why it does not use the newest file of them; calls go by the last state.
    #[schema(required)]
    ported_fault: Option<ReasonView>,
    /// Whether it reported lately and its route table has every change.
    current: bool,
}

/// Every node, and how far the change feed is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct NodesView {
    items: Vec<NodeView>,
    /// Position of the database's change feed: the version of a route table that has every change.
    feed_position: u64,
}

/// Whether a node counts: it reported lately and has not stopped. The same rule as [`node::rollout`].
pub(crate) fn is_live(node: &NodeReport, at: DateTime<Utc>) -> bool {
    node.state != NodeState::Stopped && node.seen_at > at - LIVE_WITHIN
}

/// `GET /api/v1/nodes`: the nodes of the hub (operator).
#[utoipa::path(get, path = "/nodes", tag = "nodes", responses((status = 200, body = NodesView)))]
pub(crate) async fn list_nodes(
    State(app): State<App>,
    session: Session,
) -> Result<Json<NodesView>, ApiError> {
    session.must_be_operator()?;
    let now = app.clock.now();
    let feed_position = announcement::feed_position(&app.db).await?;
    let nodes = node::list(&app.db).await?.into_iter();
    let items = nodes.map(|node| NodeView {
        current: is_live(&node, now) && node.table_version >= feed_position,
        node_id: node.node_id,
        name: node.name,
        state: node.state,
        started_at: node.started_at,
        seen_at: node.seen_at,
        table_version: node.table_version,
        table_hash: node.table_hash,
        active_calls: node.active_calls,
        journal_backlog: node.journal_backlog,
        ported_numbers: node.ported_numbers,
        ported_serial: node.ported_serial,
        ported_fault: node.ported_fault.map(ReasonView::from),
    });
    Ok(Json(NodesView { items: items.collect(), feed_position }))
}

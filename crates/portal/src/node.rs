//! The nodes of the hub and the route table that each runs.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tandem_model::NodeId;
use utoipa::ToSchema;

use crate::App;
use crate::problem::ApiError;
use crate::session::Session;

/// A node as it last reported.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct NodeView {
    #[schema(value_type = Uuid)]
    node_id: NodeId,
    name: String,
    /// starting, serving, draining or stopped.
    state: String,
    started_at: DateTime<Utc>,
    seen_at: DateTime<Utc>,
    table_version: u64,
    table_hash: String,
    active_calls: u32,
    /// Call events that it has yet to write to the database.
    journal_backlog: u64,
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

/// `GET /api/v1/nodes`: the nodes of the hub (operator).
#[utoipa::path(get, path = "/nodes", tag = "nodes", responses((status = 200, body = NodesView)))]
pub(crate) async fn list_nodes(
    State(_app): State<App>,
    _session: Session,
) -> Result<Json<NodesView>, ApiError> {
    todo!()
}

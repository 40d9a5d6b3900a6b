//! The nodes of the hub and the route table that each runs.

use std::sync::PoisonError;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tandem_model::{NodeId, ObjectId};
use tandem_store::announcement;
use tandem_store::node::{self, LIVE_WITHIN, NodeReport, NodeState};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::problem::ApiError;
use crate::reason::ReasonView;
use crate::session::Session;
use crate::vocabulary;

/// Most rows that are shown.
const MAX_ROWS: usize = 100;

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
    /// Hash of the table's content: nodes that run the same version have the same.
    table_hash: String,
    /// The link of the chain of changes at that version; empty where it is not known, as for a table from disk.
    table_chain: String,
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

/// A row of the database that is against the rules.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RowLeftOutView {
    /// What it says of itself: `member`, `endpoint`, `range`, `announcement`, `agreement` or `club`.
    kind: String,
    #[schema(value_type = Uuid)]
    id: Uuid,
    /// What is wrong with it.
    why: String,
}

/// Every node, and how far the change feed is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct NodesView {
    items: Vec<NodeView>,
    /// Position of the database's change feed: the version of a route table that has every change.
    feed_position: u64,
    /// Rows that the route table of the node which answers is made without, at most 100. What they said before is not in
    /// force any more; all others are.
    rows_left_out: Vec<RowLeftOutView>,
    /// How many there are.
    rows_left_out_count: usize,
}

impl RowLeftOutView {
    fn of(object: ObjectId, why: &str) -> Self {
        let (kind, id) = match object {
            ObjectId::Member(id) => ("member", id.0),
            ObjectId::Endpoint(id) => ("endpoint", id.0),
            ObjectId::Range(id) => ("range", id.0),
            ObjectId::Announcement(id) => ("announcement", id.0),
            ObjectId::Agreement(id) => ("agreement", id.0),
            ObjectId::Club(id) => ("club", id.0),
            ObjectId::TransitOffer(id) => ("transit_offer", id.0),
            ObjectId::RateDeck(id) => ("rate_deck", id.0),
            ObjectId::BlockList(member) => ("block_list", member.map_or(Uuid::nil(), |id| id.0)),
        };
        Self { kind: kind.to_owned(), id, why: why.to_owned() }
    }
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
        table_chain: node.table_chain,
        active_calls: node.active_calls,
        journal_backlog: node.journal_backlog,
        ported_numbers: node.ported_numbers,
        ported_serial: node.ported_serial,
        ported_fault: node.ported_fault.map(ReasonView::from),
    });
    let items = items.collect();
    let left_out = app.left_out.lock().unwrap_or_else(PoisonError::into_inner);
    let rows_left_out_count = left_out.len();
    let mut rows: Vec<_> = left_out.iter().map(|(object, why)| RowLeftOutView::of(*object, why)).collect();
    drop(left_out);
    rows.sort_by(|one, other| (&one.kind, one.id).cmp(&(&other.kind, other.id)));
    rows.truncate(MAX_ROWS);
    Ok(Json(NodesView { items, feed_position, rows_left_out: rows, rows_left_out_count }))
}

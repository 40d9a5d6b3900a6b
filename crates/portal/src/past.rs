//! The route table as it was: what a look-up of a past moment asks, and what a call's selection is checked against.
//!
//! It is made of the table in memory and of what has changed since. Ported numbers are those of now: they come from files,
//! of which the exchange keeps no past.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tandem_model::Reason;
use tandem_routing::RouteTable;
use tandem_store::past;

use crate::app::AppState;
use crate::problem::ApiError;

/// Tables of the past that are made at once.
pub(crate) const AT_ONCE: usize = 1;

/// The table, and the moment at which to ask it: of now, or of `at`.
pub(crate) async fn table_at(
    app: &AppState,
    at: Option<DateTime<Utc>>,
) -> Result<(Arc<RouteTable>, DateTime<Utc>), ApiError> {
    let Some(at) = at else { return Ok((app.table.load_full(), app.clock.now())) };
    let version = past::version_at(&app.db, at).await?.ok_or_else(|| ApiError::new(Reason::PastForgotten))?;
    // What this node has not heard of yet it does not know of the past either.
    let version = version.min(app.table.load().version());
    Ok((table_of(app, version).await?, at))
}

/// The table of that version.
pub(crate) async fn table_of(app: &AppState, version: u64) -> Result<Arc<RouteTable>, ApiError> {
    let table = app.table.load_full();
    if table.version() == version {
        return Ok(table);
    }
    if table.version() < version {
        return Err(ApiError::new(Reason::Unavailable)
            .detail(format!("This node has not come to version {version} of the route table yet.")));
    }
    let _turn = app.past_turn.acquire().await.map_err(|_| ApiError::new(Reason::InternalError))?;
    let past = past::undo(&app.db, table.version(), version).await?;
    let past = past.ok_or_else(|| ApiError::new(Reason::PastForgotten))?;
    let turn_back = move || Arc::new(table.turned_back(past.facts));
    tokio::task::spawn_blocking(turn_back).await.map_err(|_| ApiError::new(Reason::InternalError))
}

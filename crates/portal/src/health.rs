//! Whether the process lives, and whether it is ready to serve.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::app::App;

/// Longest wait for the database.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// One thing that must be right.
#[derive(Serialize)]
struct CheckView {
    name: &'static str,
    ok: bool,
    detail: String,
}

/// Whether the process is ready, and what each check found.
#[derive(Serialize)]
pub(crate) struct ReadyView {
    ready: bool,
    checks: Vec<CheckView>,
}

/// `GET /healthz`: the process lives.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the database answers and the route table is loaded; 503 where not.
pub(crate) async fn readyz(State(app): State<App>) -> (StatusCode, Json<ReadyView>) {
    let asked =
        tandem_store::database::within(LONGEST_WAIT, tandem_store::announcement::feed_position(&app.db));
    let position = asked.await.ok();
    let version = app.table.load().version();
    let database = CheckView {
        name: "database",
        ok: position.is_some(),
        detail: match position {
            Some(position) => format!("it answers; its change feed is at {position}"),
            None => "it does not answer".to_owned(),
        },
    };
    let table = CheckView {
        name: "route_table",
        // A table of a new exchange has version 0 and nothing in it.
        ok: version > 0 || position == Some(0),
        detail: format!("its version is {version}"),
    };
    let ready = database.ok && table.ok;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ReadyView { ready, checks: vec![database, table] }))
}

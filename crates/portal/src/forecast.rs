//! What a planned change would have done to the calls of the last day: their records are read and routed again.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::from_value;
use tandem_routing::{PastCall, Replay, RouteTable};
use tandem_store::call::{self, AnsweredCall};
use tandem_store::{Error, PgPool};

/// Calls from how long before the plan are replayed.
const REPLAYED: TimeDelta = TimeDelta::hours(24);

/// Records that are read at once.
const BATCH: i64 = 5_000;

/// Routes the calls that were answered in the 24 hours before `now` by the table as it is and as it would be, both as
/// at `effective_at`.
pub async fn replay(
    db: &PgPool,
    before: Arc<RouteTable>,
    after: Arc<RouteTable>,
    effective_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Replay, Error> {
    let mut replay = Replay::default();
    let mut last = None;
    loop {
        let calls = call::answered(db, now - REPLAYED, now, last, BATCH).await?;
        let Some(end) = calls.last() else { return Ok(replay) };
        last = Some((end.started_at, end.call_id));
        let (before, after) = (Arc::clone(&before), Arc::clone(&after));
        let route = move || {
            let calls = calls.into_iter().filter_map(past_call);
            calls.for_each(|call| replay.add(&before, &after, &call, effective_at));
            replay
        };
        replay = tokio::task::spawn_blocking(route).await.expect("a selection does not panic");
    }
}

/// The call as routing asks about it; none where no number was called.
fn past_call(call: AnsweredCall) -> Option<PastCall> {
    Some(PastCall {
        call_id: call.call_id,
        originating_member: call.originating_member,
        originating_endpoint: call.originating_endpoint,
        called: call.called.parse().ok()?,
        dip: call.dip.and_then(|dip| from_value(dip).ok()),
        taken_by: call.terminating_endpoint,
    })
}

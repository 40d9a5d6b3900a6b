//! Tells the database what this node finds out about the health of endpoints.
//!
//! The node's reports are taken at once and kept here until the database has them: the last standing of each endpoint,
//! and a bounded number of changes. A database that is away costs the oldest changes at worst, and calls nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tandem_fabric::HealthReport;
use tandem_model::{Clock, EndpointId, NodeId};
use tandem_store::PgPool;
use tandem_store::endpoint_health::{self, Change, EndpointHealth};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// Time between two writes at least.
const EVERY: Duration = Duration::from_millis(250);

/// Pause after a write that failed.
const PAUSE: Duration = Duration::from_secs(2);

/// Standings, changes and endpoints of one write at most.
const BATCH: usize = 500;

/// Changes that wait for the database at most; the oldest are lost then.
const MAX_WAITING: usize = 10_000;

/// Time between two sweeps of old changes.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// Reports one node.
pub struct HealthReporter {
    /// Where to.
    pub db: PgPool,
    /// The node's id.
    pub node_id: NodeId,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What the node tells.
    pub reports: mpsc::Receiver<HealthReport>,
}

/// What the database has not been told yet.
#[derive(Debug, Default)]
struct Waiting {
    /// The standing of each endpoint; none where it is not watched any more.
    standings: HashMap<EndpointId, Option<EndpointHealth>>,
    changes: VecDeque<Change>,
    /// Changes that there was no room for.
    lost: u64,
}

impl Waiting {
    fn take(&mut self, report: HealthReport) {
        let HealthReport { endpoint_id, at, standing, change } = report;
        if let (Some(standing), Some(sign)) = (&standing, change) {
            if self.changes.len() == MAX_WAITING {
                self.changes.pop_front();
                self.lost += 1;
            }
            self.changes.push_back(Change { endpoint_id, at, state: standing.state, sign });
        }
        let standing = standing.map(|it| EndpointHealth {
            endpoint_id,
            state: it.state,
            since: it.since,
            sign: it.sign,
            held_until: it.held_until,
            probed_at: it.probed_at,
            servers: it.name.as_ref().and_then(|name| name.as_ref().ok().cloned()),
            unresolved: it.name.and_then(|name| name.err().map(|why| why.code().to_owned())),
            rtt_us: it.rtt.map(|rtt| rtt.as_micros().min(u128::from(u32::MAX)) as u32),
        });
        self.standings.insert(endpoint_id, standing);
    }

    fn is_empty(&self) -> bool {
        self.standings.is_empty() && self.changes.is_empty()
    }
}

impl HealthReporter {
    /// Reports for as long as the node does. What the node knew before it was started does not count any more.
    pub async fn run(mut self) {
        let mut waiting = Waiting::default();
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut begun, mut failing) = (false, false);
        let mut try_at = self.clock.instant();
        let mut sweep_at = try_at + SWEEP_EVERY;
        loop {
            tokio::select! {
                report = self.reports.recv() => match report {
                    Some(report) => {
                        waiting.take(report);
                        continue;
                    }
                    // The node has stopped.
                    None => std::future::pending().await,
                },
                _ = tick.tick() => {}
            }
            if self.clock.instant() < try_at || begun && waiting.is_empty() && self.clock.instant() < sweep_at
            {
                continue;
            }
            let written = async {
                if !begun {
                    endpoint_health::forget_node(&self.db, self.node_id).await?;
                    begun = true;
                }
                if self.clock.instant() >= sweep_at {
                    endpoint_health::prune(&self.db, self.clock.now() - endpoint_health::KEPT_FOR).await?;
                    sweep_at = self.clock.instant() + SWEEP_EVERY;
                }
                self.write(&mut waiting).await
            };
            match written.await {
                Ok(()) if failing => {
                    failing = false;
                    let lost = std::mem::take(&mut waiting.lost);
                    tracing::info!(lost, "the database takes the health of endpoints again");
                }
                Ok(()) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "cannot write the health of endpoints; the portal shows what it was");
                    }
                    try_at = self.clock.instant() + PAUSE;
                }
            }
        }
    }

    /// Writes a batch of what waits; what was not written waits on.
    async fn write(&self, waiting: &mut Waiting) -> Result<(), tandem_store::Error> {
        if waiting.is_empty() {
            return Ok(());
        }
        let ids: Vec<EndpointId> = waiting.standings.keys().copied().take(BATCH).collect();
        let changes: Vec<Change> = waiting.changes.iter().take(BATCH).cloned().collect();
        let known: Vec<EndpointHealth> = ids.iter().filter_map(|id| waiting.standings[id].clone()).collect();
        let gone: Vec<EndpointId> =
            ids.iter().copied().filter(|id| waiting.standings[id].is_none()).collect();
        endpoint_health::report(&self.db, self.node_id, &known, &changes, &gone).await?;
        for id in &ids {
            waiting.standings.remove(id);
        }
        waiting.changes.drain(..changes.len());
        Ok(())
    }
}

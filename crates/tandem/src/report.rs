//! Tells the database what this node does: every two seconds, and at once after a swap of the route table, so
//! that the API can say on how many nodes a change is live.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus::{IntGauge, Registry};
use tandem_model::{Clock, NodeId};
use tandem_routing::SharedTable;
use tandem_store::PgPool;
use tandem_store::node::{self, NodeReport, NodeState};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::follower::Swap;
use crate::portability::{PortedState, SharedState};

/// Time between two reports when nothing happens.
const EVERY: Duration = Duration::from_secs(2);

/// How long a report after a swap waits for further swaps.
const COALESCE: Duration = Duration::from_millis(3);

/// Reports one node.
pub struct Reporter {
    /// Where to.
    pub db: PgPool,
    /// The node's id.
    pub node_id: NodeId,
    /// The node's name.
    pub name: String,
    /// When its process started.
    pub started_at: DateTime<Utc>,
    /// The table that it routes by.
    pub table: SharedTable,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What it does.
    pub state: watch::Receiver<NodeState>,
    /// Tells of swaps of the table.
    pub swaps: watch::Receiver<Swap>,
    /// How many other nodes run another table of the same version.
    pub disagreements: IntGauge,
    /// Which ported numbers it holds.
    pub ported: SharedState,
    /// Calls that are up, and records that are not yet in the database.
    pub load: Box<dyn Fn() -> (u32, u64) + Send + Sync>,
}

impl Reporter {
    /// The metric of nodes that disagree.
    ///
    /// # Errors
    /// When `registry` has it already.
    pub fn disagreements(registry: &Registry) -> prometheus::Result<IntGauge> {
        let gauge = IntGauge::new(
            "tandem_route_table_disagreements",
            "Other live nodes that run a route table of the same version with another hash or another past.",
        )?;
        registry.register(Box::new(gauge.clone())).map(|()| gauge)
    }

    /// Reports until it has said that the node is stopped.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                // Both senders live as long as the process; when one is gone the tick goes on.
                Ok(()) = self.swaps.changed() => tokio::time::sleep(COALESCE).await,
                Ok(()) = self.state.changed() => {}
            }
            match self.report().await {
                // What it is by now may be more than what was reported.
                Ok(NodeState::Stopped) => return,
                Ok(_) => failing = false,
                Err(error) if failing => tracing::debug!(%error, "cannot report this node"),
                Err(error) => {
                    failing = true;
                    tracing::warn!(%error, "cannot report this node; the portal shows it as away");
                }
            }
        }
    }

    /// Reports once, and returns the state that the database has of this node now.
    ///
    /// # Errors
    /// What the database says.
    pub async fn report(&mut self) -> Result<NodeState, tandem_store::Error> {
        let state = *self.state.borrow_and_update();
        let swap = self.swaps.borrow_and_update().clone();
        let (active_calls, journal_backlog) = (self.load)();
        let (table_version, table_hash) = {
            let table = self.table.load();
            (table.version(), table.hash().to_string())
        };
        let PortedState { held, fault } = PortedState::clone(&self.ported.load());
        let report = NodeReport {
            node_id: self.node_id,
            name: self.name.clone(),
            started_at: self.started_at,
            seen_at: self.clock.now(),
            state,
            table_version,
            table_hash,
            table_chain: if swap.version == table_version { swap.chain } else { String::new() },
            active_calls,
            journal_backlog,
            ported_numbers: held.map(|(numbers, _)| numbers),
            ported_serial: held.map(|(_, serial)| serial),
            ported_fault: fault,
        };
        let others = node::report(&self.db, &report).await?;
        self.disagreements.set(others.into());
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use tandem_routing::RouteTable;
    use tandem_testkit::{Database, ManualClock};

    use super::*;

    #[tokio::test]
    async fn a_node_that_stops_while_it_is_reported_is_reported_once_more() {
        let database = Database::new().await;
        let clock = Arc::new(ManualClock::new());
        let (stop, state) = watch::channel(NodeState::Draining);
        let (_swap, swaps) = watch::channel(Swap::default());
        let reporter = Reporter {
            db: database.pool().clone(),
            node_id: NodeId(uuid::Uuid::from_u128(1)),
            name: "t".to_owned(),
            started_at: clock.now(),
            table: tandem_routing::shared(RouteTable::empty()),
            clock,
            state,
            swaps,
            disagreements: IntGauge::new("disagreements", "disagreements").expect("a name"),
            ported: SharedState::default(),
            // Asked between the state that a report tells and its writing.
            load: Box::new(move || {
                stop.send_replace(NodeState::Stopped);
                (0, 0)
            }),
        };
        tokio::time::timeout(Duration::from_secs(30), reporter.run()).await.expect("it ends");
        let nodes = node::list(database.pool()).await.expect("it lists");
        assert_eq!(nodes.iter().map(|node| node.state).collect::<Vec<_>>(), [NodeState::Stopped]);
    }
}

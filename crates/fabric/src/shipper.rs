//! Brings the journal to Postgres: reads what the worker wrote, writes CDRs in batches, and remembers how far
//! it has come. While Postgres is away it waits and the journal grows; calls go on.
//!
//! Delivery is at least once; `store` makes it exactly once by the call's id.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tandem_model::{CallId, Cdr, NodeId};
use tandem_store::PgPool;

use crate::journal::{self, Position};
use crate::metrics::{Metrics, Part};
use crate::record::{CallRecord, Record};
use crate::tap::Tap;

/// Time between two looks at a journal that has been shipped to its end. A short call is one row written once
/// when its answer and its end lie between the same two looks, and a batch costs one commit however many it holds.
const PACE: Duration = Duration::from_millis(500);

/// Time to wait after Postgres failed to take a batch.
const RETRY: Duration = Duration::from_millis(500);

/// Most octets of journal read for one batch: some hundred calls, which take ten times the memory as rows.
const BATCH_BYTES: usize = 512 << 10;

/// A batch of so many octets may have been cut: more is there to be read at once.
const FULL_BATCH: u64 = (BATCH_BYTES - (64 << 10)) as u64;

/// Longest time that Postgres may take for a batch before it counts as away.
const BATCH_TIMEOUT: Duration = Duration::from_secs(20);

/// Ships the journal of one node.
pub struct Shipper {
    node_id: NodeId,
    dir: PathBuf,
    metrics: Metrics,
    /// Who is told what is shipped.
    tap: Option<Arc<Tap>>,
}

impl Shipper {
    pub(crate) fn new(node_id: NodeId, dir: PathBuf, metrics: Metrics) -> Self {
        Self { node_id, dir, metrics, tap: None }
    }

    /// The same, telling `tap` which calls are shipped.
    pub(crate) fn telling(self, tap: Arc<Tap>) -> Self {
        Self { tap: Some(tap), ..self }
    }

    /// How many records of an earlier run are still to be shipped.
    pub(crate) fn backlog(&self) -> io::Result<u64> {
        let (mut at, mut count) = (self.load_position(), 0);
        loop {
            let (records, next) = journal::read(&self.dir, at, BATCH_BYTES)?;
            if records.is_empty() {
                return Ok(count);
            }
            count += backlog(&records);
            at = next;
        }
    }

    /// Ships for ever; drop the future to stop. What was not shipped is shipped by the next run.
    pub async fn run(self, db: PgPool) {
        let mut at = self.load_position();
        let mut cleared = 0;
        let mut size = Part::of(&self.metrics.journal_bytes);
        loop {
            let (records, next) = match journal::read(&self.dir, at, BATCH_BYTES) {
                Ok(read) => read,
                Err(error) => {
                    tracing::error!(%error, "cannot read the journal");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            if records.is_empty() {
                at = next;
                tokio::time::sleep(PACE).await;
                continue;
            }
            let drained = next.segment == at.segment && next.offset - at.offset < FULL_BATCH;
            let count = backlog(&records) as i64;
            let checkpointed = records.iter().any(|record| matches!(record, Record::Checkpoint));
            self.write(&db, coalesce(self.node_id, records)).await;
            self.metrics.journal_backlog.sub(count);
            at = next;
            if let Err(error) = self.save_position(at) {
                tracing::warn!(%error, "cannot remember how much of the journal is shipped; it will be shipped again");
            }
            // A checkpoint is read only after all before it, so what lies before its segment is shipped.
            if checkpointed && at.segment > cleared {
                cleared = at.segment;
                if let Err(error) = journal::discard_before(&self.dir, at.segment) {
                    tracing::warn!(%error, "cannot delete shipped journal segments");
                }
            }
            size.set(journal::size(&self.dir).unwrap_or(0) as usize);
            if drained {
                tokio::time::sleep(PACE).await;
            }
        }
    }

    /// Writes a batch, as often as it takes.
    async fn write(&self, db: &PgPool, cdrs: Vec<Cdr>) {
        if cdrs.is_empty() {
            return;
        }
        let mut away = false;
        loop {
            match tokio::time::timeout(BATCH_TIMEOUT, tandem_store::cdr::write(db, &cdrs)).await {
                Ok(Ok(refused)) => {
                    for rejected in refused {
                        self.metrics.cdr_errors.inc();
                        tracing::error!(call = %rejected.call_id, why = rejected.why, "Postgres refuses this CDR");
                    }
                    if let Some(tap) = &self.tap {
                        let over = cdrs.iter().filter(|cdr| cdr.ended_at.is_some());
                        tap.tell_shipped(|| over.map(|cdr| cdr.call_id).collect());
                    }
                    if away {
                        tracing::info!("Postgres takes CDRs again");
                    }
                    return;
                }
                failed => {
                    if !away {
                        let error = match failed {
                            Ok(Err(error)) => error.to_string(),
                            _ => format!("no answer in {} s", BATCH_TIMEOUT.as_secs()),
                        };
                        tracing::warn!(error, "Postgres does not take CDRs; they wait in the journal");
                    }
                    away = true;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn position_path(&self) -> PathBuf {
        self.dir.join("shipped")
    }

    /// Where the last run stopped, or the beginning.
    fn load_position(&self) -> Position {
        let beginning = journal::beginning(&self.dir).unwrap_or(Position { segment: 1, offset: 0 });
        let saved = fs::read_to_string(self.position_path()).ok().and_then(|text| {
            let (segment, offset) = text.trim().split_once(' ')?;
            Some(Position { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
        });
        saved.unwrap_or(beginning).max(beginning)
    }

    fn save_position(&self, at: Position) -> io::Result<()> {
        let new = self.dir.join("shipped.new");
        fs::write(&new, format!("{} {}\n", at.segment, at.offset))?;
        fs::rename(new, self.position_path())
    }
}

/// How many records say something that Postgres is to know.
fn backlog(records: &[Record<'_>]) -> u64 {
    records.iter().filter(|record| !matches!(record, Record::Acked(..))).count() as u64
}

/// The last state of each call: a call that began and ended in one batch is one row written once.
fn coalesce(node_id: NodeId, records: Vec<Record<'static>>) -> Vec<Cdr> {
    let mut calls: Vec<CallRecord> = Vec::with_capacity(records.len());
    let mut index: HashMap<CallId, usize> = HashMap::with_capacity(records.len());
    for record in records {
        let call = match record {
            Record::Up(up) => up.cdr.into_owned(),
            Record::Over(call) => call.into_owned(),
            Record::Acked(..) | Record::Checkpoint => continue,
        };
        match index.get(&call.call_id) {
            Some(&at) => calls[at] = call,
            None => {
                index.insert(call.call_id, calls.len());
                calls.push(call);
            }
        }
    }
    calls.iter().map(|call| call.to_cdr(node_id)).collect()
}

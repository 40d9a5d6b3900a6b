//! Keeps a node's route table in step with the database: whole at start, then by the change feed.
//!
//! A notification only wakes the follower; what it applies is read from its last position, after every wake,
//! every reconnection and at least once a second. So nothing is missed and nothing is applied twice.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntGauge, Registry};
use tandem_model::{Clock, Facts, ObjectId};
use tandem_routing::{RouteTable, SharedTable, replace};
use tandem_store::facts::{self, Changes, LeftOut, Skipped};
use tandem_store::feed::Feed;
use tandem_store::{Error, PgPool};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::snapshot;

/// Longest time between two readings of the feed, in case a notification was lost.
const POLL: Duration = Duration::from_secs(1);

/// Pause after the first failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause while the database is away: how late a node notices that it is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Changes of more objects than this are applied on a thread for blocking work.
const MANY: usize = 500;

/// Shortest time between two savings of the table to disk.
const SAVE_EVERY: Duration = Duration::from_secs(30);

/// What the table was swapped for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swap {
    /// Its version.
    pub version: u64,
    /// The link of the chain of changes at that version; empty where it is not known, as for a table from disk.
    pub chain: String,
}

/// Follows the change feed.
pub struct Follower {
    db: PgPool,
    table: SharedTable,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    swapped: watch::Sender<Swap>,
    /// Rows that the table is made without.
    left_out: LeftOut,
    /// Where the table is saved, and which version was saved when.
    saved: Option<(PathBuf, u64, Instant)>,
    /// Whether the table was read from this database, and not from disk or nowhere.
    loaded: bool,
}

impl Follower {
    /// A follower that swaps `table`, and saves it at `saved` where that is given.
    ///
    /// # Errors
    /// When `registry` has metrics of these names already.
    pub fn new(
        db: PgPool,
        table: SharedTable,
        clock: Arc<dyn Clock>,
        saved: Option<PathBuf>,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        let metrics = Metrics::register(registry, clock.clone())?;
        let version = table.load().version();
        let swapped = watch::Sender::new(Swap { version, chain: String::new() });
        let saved = saved.map(|path| (path, 0, clock.instant()));
        let left_out = LeftOut::default();
        Ok(Self { db, table, clock, metrics, swapped, left_out, saved, loaded: false })
    }

    /// Tells what the table was swapped for, each time.
    pub fn swaps(&self) -> watch::Receiver<Swap> {
        self.swapped.subscribe()
    }

    /// The rows that the table is made without.
    pub fn left_out(&self) -> LeftOut {
        self.left_out.clone()
    }

    /// Follows for ever; drop the future to stop.
    pub async fn run(mut self) -> Infallible {
        let mut pause = FIRST_PAUSE;
        loop {
            let Err(error) = self.follow(&mut pause).await;
            if pause == FIRST_PAUSE {
                tracing::warn!(%error, "cannot read the change feed; calls are routed by the last table meanwhile");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn follow(&mut self, pause: &mut Duration) -> Result<Infallible, Error> {
        let mut feed = Feed::listen(&self.db).await?;
        if !self.loaded {
            self.load().await?;
        }
        loop {
            self.read().await?;
            if *pause != FIRST_PAUSE {
                tracing::info!(version = self.table.load().version(), "the change feed is read again");
                *pause = FIRST_PAUSE;
            }
            self.metrics.lag.in_step();
            self.save();
            feed.wait(POLL).await?;
        }
    }

    /// Replaces the table by all that the database holds now.
    async fn load(&mut self) -> Result<(), Error> {
        let loaded = facts::load(&self.db).await?;
        self.note_left_out(|left_out| left_out.clear(), &loaded.skipped);
        let last = self.table.load_full();
        let known = last.clone();
        // What has registered here may not have reached the database yet.
        let chain = loaded.chain;
        let build = move || RouteTable::from_facts(loaded.facts).with_registrations_of(&known);
        let table = blocking(build).await;
        tracing::info!(version = table.version(), hash = %table.hash(), counts = ?table.counts(), "loaded the route table");
        self.loaded = true;
        self.swap(last, table, chain);
        Ok(())
    }

    /// Applies what the feed says since the table's version: all of it at once, so that each version that is routed by is one
    /// that transactions left behind, none half-way.
    async fn read(&mut self) -> Result<(), Error> {
        let last = self.table.load_full();
        let mut table = RouteTable::clone(&last);
        let mut chain = Some(self.swapped.borrow().chain.clone()).filter(|chain| !chain.is_empty());
        loop {
            let since = table.version();
            match facts::changed(&self.db, since, chain.as_deref()).await? {
                Changes::Since { loaded, more } => {
                    if loaded.facts.position != since {
                        let changed = |left_out: &mut HashMap<ObjectId, String>| {
                            changed_objects(&loaded.facts).for_each(|id| _ = left_out.remove(&id));
                        };
                        self.note_left_out(changed, &loaded.skipped);
                        table = match count(&loaded.facts) {
                            0..MANY => table.apply(loaded.facts),
                            _ => blocking(move || table.apply(loaded.facts)).await,
                        };
                    }
                    if more {
                        chain = None;
                        continue;
                    }
                    if table.version() != last.version() {
                        self.swap(last, table, loaded.chain);
                    }
                    return Ok(());
                }
                Changes::Lost { position } => {
                    let version = table.version();
                    tracing::warn!(
                        position,
                        version,
                        "the change feed does not go on from here; loading everything anew"
                    );
                    return self.load().await;
                }
            }
        }
    }

    /// Notes which rows are left out, after those that are said anew were forgotten.
    fn note_left_out(&self, forget: impl FnOnce(&mut HashMap<ObjectId, String>), skipped: &[Skipped]) {
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        forget(&mut left_out);
        left_out.extend(skipped.iter().map(|row| (row.object, row.why.clone())));
        self.metrics.left_out.set(left_out.len() as i64);
    }

    /// Puts `table` in the place of `last`, from which it was made.
    fn swap(&self, last: Arc<RouteTable>, table: RouteTable, chain: String) {
        let counts = table.counts();
        let version = table.version();
        self.metrics.version.set(version.cast_signed());
        self.metrics.prefixes.set(counts.prefixes as i64);
        self.metrics.bytes.set(counts.bytes as i64);
        let last = replace(&self.table, last, table);
        // A table that shares little with the next one takes long to free.
        drop(spawn_blocking(move || drop(last)));
        self.swapped.send_replace(Swap { version, chain });
    }

    /// Routes by the table that an earlier run saved, until the database has answered.
    pub async fn restore(&self) {
        let Some((path, ..)) = self.saved.clone() else { return };
        match blocking(move || snapshot::load(&path).map(|facts| facts.map(RouteTable::from_facts))).await {
            Ok(Some(table)) => {
                tracing::info!(
                    version = table.version(),
                    "routing by the saved table until the database has answered"
                );
                self.swap(self.table.load_full(), table, String::new());
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "cannot read the saved route table"),
        }
    }

    /// Saves the table in the background, if it has changed and was not saved lately.
    fn save(&mut self) {
        let now = self.clock.instant();
        let Some((path, version, at)) = &mut self.saved else { return };
        let table = self.table.load_full();
        if table.version() == *version || (*version != 0 && now.duration_since(*at) < SAVE_EVERY) {
            return;
        }
        (*version, *at) = (table.version(), now);
        let path = path.clone();
        drop(spawn_blocking(move || {
            if let Err(error) = snapshot::save(&path, &table.facts()) {
                tracing::warn!(%error, "cannot save the route table");
            }
        }));
    }
}

fn count(facts: &Facts) -> usize {
    let rates: usize = facts.rate_decks.iter().map(|deck| deck.rates.len()).sum();
    changed_objects(facts).count() + rates
}

/// The objects of a change, those that are gone or were left out too.
fn changed_objects(facts: &Facts) -> impl Iterator<Item = ObjectId> {
    let Facts { position: _, members, endpoints, ranges, announcements, agreements, clubs, .. } = facts;
    let Facts { transit_offers, rate_decks, block_lists, gone, .. } = facts;
    (members.iter().map(|it| ObjectId::Member(it.member_id)))
        .chain(endpoints.iter().map(|it| ObjectId::Endpoint(it.endpoint_id)))
        .chain(ranges.iter().map(|it| ObjectId::Range(it.range_id)))
        .chain(announcements.iter().map(|it| ObjectId::Announcement(it.announcement_id)))
        .chain(agreements.iter().map(|it| ObjectId::Agreement(it.agreement_id)))
        .chain(clubs.iter().map(|it| ObjectId::Club(it.agreement_id)))
        .chain(transit_offers.iter().map(|it| ObjectId::TransitOffer(it.announcement_id)))
        .chain(rate_decks.iter().map(|it| ObjectId::RateDeck(it.rate_deck_id)))
        .chain(block_lists.iter().map(|it| ObjectId::BlockList(it.member_id)))
        .chain(gone.iter().copied())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.expect("building a route table does not panic")
}

struct Metrics {
    version: IntGauge,
    prefixes: IntGauge,
    bytes: IntGauge,
    left_out: IntGauge,
    lag: Lag,
}

impl Metrics {
    fn register(registry: &Registry, clock: Arc<dyn Clock>) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        let metrics = Self {
            version: gauge(
                "tandem_route_table_version",
                "Position of the change feed that the route table is true for.",
            )?,
            prefixes: gauge("tandem_route_table_prefixes", "Distinct prefixes in the route table.")?,
            bytes: gauge("tandem_route_table_bytes", "Memory of the route table, estimated.")?,
            left_out: gauge(
                "tandem_route_table_rows_left_out",
                "Rows of the database that are against the rules and that the route table is made without.",
            )?,
            lag: Lag::new(clock)?,
        };
        registry.register(Box::new(metrics.lag.clone()))?;
        Ok(metrics)
    }
}

/// How long ago the table was known to be in step with the database, worked out when it is asked for.
#[derive(Clone)]
struct Lag {
    gauge: Gauge,
    clock: Arc<dyn Clock>,
    last: Arc<Mutex<Instant>>,
}

impl Lag {
    fn new(clock: Arc<dyn Clock>) -> prometheus::Result<Self> {
        let help =
            "Seconds since the route table was known to be in step with the database; up to 1 in good order.";
        let last = Arc::new(Mutex::new(clock.instant()));
        Ok(Self { gauge: Gauge::new("tandem_feed_lag_seconds", help)?, clock, last })
    }

    fn in_step(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = self.clock.instant();
    }
}

impl Collector for Lag {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        self.gauge.set(self.clock.instant().duration_since(last).as_secs_f64());
        self.gauge.collect()
    }
}

#[cfg(test)]
mod tests {
    use tandem_model::{Authority, Prefix};
    use tandem_store::declaration::{
        self, AnnouncementDeclaration, Declaration, EndpointDeclaration, MemberDeclaration, RangeDeclaration,
    };
    use tandem_testkit::Database;

    use super::*;
    use crate::clock::SystemClock;

    const DEADLINE: Duration = Duration::from_secs(10);

    /// A member that announces the first `count` of the prefixes of its range.
    fn exchange(count: u32) -> Declaration {
        let prefix = |text: String| text.parse::<Prefix>().expect("a prefix");
        let announced = (0..count).map(|index| AnnouncementDeclaration {
            prefix: prefix(format!("4420794{index:04}")),
            endpoints: vec!["acme-1".to_owned()],
            max_calls: None,
            max_calls_per_second: None,
            tags: Default::default(),
        });
        let member = MemberDeclaration {
            name: "acme".to_owned(),
            endpoints: vec![EndpointDeclaration {
                sources: vec!["192.0.2.1".parse().expect("a source")],
                ..EndpointDeclaration::new("acme-1", "sip:192.0.2.1:5060".parse().expect("a target"))
            }],
            ranges: vec![RangeDeclaration {
                prefix: prefix("4420794".to_owned()),
                authority: Authority::Valid,
            }],
            announcements: announced.collect(),
            ..MemberDeclaration::default()
        };
        Declaration { members: vec![member], agreements: Vec::new() }
    }

    async fn apply(database: &Database, count: u32) {
        declaration::apply(database.pool(), &exchange(count), SystemClock.now())
            .await
            .expect("it is applied");
    }

    fn follow(database: &Database, saved: Option<PathBuf>) -> (Follower, SharedTable) {
        let table = tandem_routing::shared(RouteTable::empty());
        let follower = Follower::new(
            database.pool().clone(),
            table.clone(),
            Arc::new(SystemClock),
            saved,
            &Registry::new(),
        );
        (follower.expect("a new registry"), table)
    }

    async fn until_prefixes(count: usize, table: &SharedTable, swaps: &mut watch::Receiver<Swap>) {
        let wait = swaps.wait_for(|_| table.load().counts().prefixes == count);
        tokio::time::timeout(DEADLINE, wait)
            .await
            .expect("the table follows in time")
            .expect("the follower runs");
    }

    #[tokio::test]
    async fn a_committed_change_is_in_the_table_soon() {
        const CHANGES: u32 = 200;
        let database = Database::new().await;
        apply(&database, 0).await;
        let (follower, table) = follow(&database, None);
        let mut swaps = follower.swaps();
        let following = tokio::spawn(follower.run());
        swaps.wait_for(|swap| swap.version > 0).await.expect("the follower runs");
        let mut times = Vec::new();
        for count in 1..=CHANGES {
            apply(&database, count).await;
            let committed = SystemClock.instant();
            until_prefixes(count as usize, &table, &mut swaps).await;
            times.push(SystemClock.instant().duration_since(committed));
        }
        following.abort();
        times.sort_unstable();
        let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        crate::say(format_args!("from commit to swapped, {CHANGES} changes: median {median:?}, p99 {p99:?}"));
        assert!(p99 < Duration::from_millis(100), "p99 {p99:?}");
    }

    #[tokio::test]
    async fn a_table_that_is_ahead_of_the_feed_is_loaded_anew() {
        let database = Database::new().await;
        apply(&database, 3).await;
        let (mut follower, table) = follow(&database, None);
        // As after the database was restored to an earlier state.
        table.store(Arc::new(RouteTable::from_facts(Facts { position: 1_000_000, ..Facts::default() })));
        follower.loaded = true;
        let mut swaps = follower.swaps();
        let following = tokio::spawn(follower.run());
        until_prefixes(3, &table, &mut swaps).await;
        assert!(table.load().version() < 1_000_000);
        following.abort();
    }

    #[tokio::test]
    async fn a_node_without_a_database_routes_by_the_saved_table() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = snapshot::path(dir.path());
        let database = Database::new().await;
        apply(&database, 5).await;
        let facts = facts::load(database.pool()).await.expect("it loads").facts;
        snapshot::save(&path, &facts).expect("writable");
        let away = tandem_store::database::connect_later("postgres://127.0.0.1:1/nowhere").expect("a URL");
        let table = tandem_routing::shared(RouteTable::empty());
        let follower =
            Follower::new(away, table.clone(), Arc::new(SystemClock), Some(path), &Registry::new())
                .expect("a new registry");
        follower.restore().await;
        assert_eq!((table.load().counts().prefixes, table.load().version()), (5, facts.position));
    }
}

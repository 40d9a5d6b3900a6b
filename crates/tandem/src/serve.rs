//! `tandem serve`: one node of the exchange, from its start to its graceful end.
//!
//! The fabric starts first, with the last saved route table: whether the database answers decides about
//! nothing that is on the call path. Everything that needs the database tries until it is there.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use chrono::TimeDelta;
use prometheus::Registry;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tandem_fabric::{ListenerSettings, Node, NodeSettings};
use tandem_model::Clock;
use tandem_portal::{AppState, TrustAnchors};
use tandem_routing::RouteTable;
use tandem_store::node::NodeState;
use tandem_store::{Error, PgPool, listener};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::clock::entropy;
use crate::data_dir::DataDir;
use crate::database::Database;
use crate::follower::{Follower, Swap};
use crate::health::HealthReporter;
use crate::history::HistoryKeeper;
use crate::portability::PortabilityKeeper;
use crate::report::Reporter;
use crate::settings::Settings;
use crate::{metrics, say, snapshot};

/// Pause before the database is asked again at start; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Pause between two looks at how many calls are left.
const LOOK: Duration = Duration::from_millis(50);

/// How long a stopped node waits for its last CDRs to reach the database; what does not, waits in the journal.
const LAST_CDRS: Duration = Duration::from_secs(5);

/// How long a stopped node tries to say so.
const LAST_REPORT: Duration = Duration::from_secs(2);

/// Time between two looks at whether the node's thread still runs.
const WATCH: Duration = Duration::from_secs(1);

/// Reports of the health of endpoints that may wait to be taken.
const HEALTH_REPORTS: usize = 1_024;

/// Name of the task that ends in good order.
const REPORTS: &str = "the reports";

/// What runs beside the fabric: each says its name and how it ended, which none should.
type Tasks = JoinSet<(&'static str, anyhow::Result<()>)>;

/// Runs a node until `signals` asks it to stop: once for in good order, twice for at once.
pub async fn run(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    seed: [u8; 32],
    mut signals: mpsc::Receiver<()>,
) -> anyhow::Result<()> {
    let mut rng = StdRng::from_seed(seed);
    tandem_model::numbering::load();
    let data_dir = DataDir::open(&settings.data_dir)?;
    let node_id = data_dir.node_id(&mut rng)?;
    let registry = Registry::new();
    let table = tandem_routing::shared(RouteTable::empty());
    let started_at = clock.now();

    // What can fail for good fails here, before anything is promised to anyone.
    let sti_trust_anchors = trust_anchors(settings.portal.sti_trust_anchors.as_deref())?;
    let metrics_listener = metrics::bind("metrics.address", settings.metrics.address).await?;
    let portal_listener = match settings.roles.portal {
        true => Some(metrics::bind("portal.address", settings.portal.address).await?),
        false => None,
    };
    let database = Database::open(settings).await?;
    let db = database.pool.clone();
    if !settings.roles.portal {
        // The portal has this metric of its own.
        metrics::Pool::register(db.clone(), &registry)?;
    }
    let saved = snapshot::path(data_dir.path());
    let follower = Follower::new(db.clone(), table.clone(), clock.clone(), Some(saved), &registry)?;
    follower.restore().await;
    let keeper = PortabilityKeeper::new(settings.portability.clone(), table.clone(), &registry)?;
    let (health_sender, health_reports) = mpsc::channel(HEALTH_REPORTS);
    let node = match settings.roles.fabric {
        true => {
            let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
            let settings = NodeSettings {
                tls: settings.tls.clone(),
                workers: settings.fabric.workers.unwrap_or(cores.div_ceil(2).min(64)),
                max_calls: settings.fabric.max_calls as usize,
                source_messages_per_second: settings.fabric.source_messages_per_second,
                emergency_numbers: settings.fabric.emergency_numbers.clone(),
                attempt_timeout: settings.fabric.attempt_timeout,
                ring_timeout: settings.fabric.ring_timeout,
                setup_timeout: settings.fabric.setup_timeout,
                flush_interval: settings.fabric.flush_interval,
                dns: settings.dns.clone(),
                enum_listener: settings.enum_listener.clone(),
                dip: settings.dip.clone(),
                trace: settings.trace.clone(),
                probes: settings.fabric.probes,
                health_reports: Some(health_sender),
                ..NodeSettings::new(node_id, settings.listeners.clone(), data_dir.path().to_owned())
            };
            Some(Arc::new(Node::start(settings, table.clone(), clock.clone(), rng.random(), &registry)?))
        }
        false => None,
    };

    if settings.database.url.is_none() {
        // It runs already, so its schema need not be waited for later on.
        tandem_store::migrate(&db).await.context("the private database does not take the migrations")?;
    }

    let (state, states) = watch::channel(NodeState::Starting);
    let migrated = watch::Sender::new(false);
    let is_migrated = migrated.subscribe();
    let (swaps, left_out) = (follower.swaps(), follower.left_out());
    let mut tasks = Tasks::new();
    if let Some(node) = &node {
        for (listener, bound) in node.listeners() {
            say(format_args!("sip      {} {bound} at site {}", listener.transport.as_str(), listener.site));
        }
        let reporter = Reporter {
            db: db.clone(),
            node_id,
            name: settings.node.clone(),
            started_at,
            table: table.clone(),
            clock: clock.clone(),
            state: states.clone(),
            swaps: swaps.clone(),
            disagreements: Reporter::disagreements(&registry)?,
            ported: keeper.state(),
            load: Box::new({
                let node = Arc::downgrade(node);
                move || node.upgrade().map_or((0, 0), |node| (node.active_calls(), node.journal_backlog()))
            }),
        };
        let health =
            HealthReporter { db: db.clone(), node_id, clock: clock.clone(), reports: health_reports };
        let mut ready = migrated.subscribe();
        tasks.spawn(async move {
            ready.wait_for(|migrated| *migrated).await.expect("the sender outlives the tasks");
            health.run().await;
            ("the reports of health", Ok(()))
        });
        let shippers = node.shippers();
        let reported_db = db.clone();
        let listeners = node.listeners().to_vec();
        let migrated = migrated.subscribe();
        let mut ready = migrated.clone();
        tasks.spawn(async move {
            ready.wait_for(|migrated| *migrated).await.expect("the sender outlives the tasks");
            persist("say where the node listens", || register(&reported_db, &listeners)).await;
            reporter.run().await;
            (REPORTS, Ok(()))
        });
        if let Some(recorder) = node.recorder() {
            let db = db.clone();
            tasks.spawn(async move {
                recorder.run(db).await;
                ("the recorder of traces", Ok(()))
            });
        }
        if let Some(challenger) = node.challenger() {
            let (db, mut migrated) = (db.clone(), migrated.clone());
            tasks.spawn(async move {
                migrated.wait_for(|migrated| *migrated).await.expect("the sender outlives the tasks");
                challenger.run(db).await;
                ("the challenge calls", Ok(()))
            });
        }
        let registrations = node.registration_writer();
        tasks.spawn({
            let (db, mut migrated) = (db.clone(), migrated.clone());
            async move {
                migrated.wait_for(|migrated| *migrated).await.expect("the sender outlives the tasks");
                registrations.run(db).await;
                ("the registrations", Ok(()))
            }
        });
        for shipper in shippers {
            let db = db.clone();
            tasks.spawn(async move {
                shipper.run(db).await;
                ("the journal's shipper", Ok(()))
            });
        }
    }
    tasks.spawn({
        let db = db.clone();
        async move {
            persist("bring the schema up to date", || tandem_store::migrate(&db)).await;
            migrated.send_replace(true);
            match follower.run().await {}
        }
    });
    let history = HistoryKeeper {
        db: db.clone(),
        clock: clock.clone(),
        keep: TimeDelta::days(settings.history.keep_days.into()),
    };
    tasks.spawn({
        let mut migrated = is_migrated;
        async move {
            migrated.wait_for(|migrated| *migrated).await.expect("the sender outlives the tasks");
            match history.run().await {}
        }
    });
    if settings.portability.file.is_some() {
        tasks.spawn(async move { match keeper.run().await {} });
    }
    say(format_args!("metrics  http://{}/metrics", metrics_listener.local_addr()?));
    tasks.spawn({
        let registry = registry.clone();
        async move {
            ("the metrics listener", metrics::serve(metrics_listener, registry).await.map_err(Into::into))
        }
    });
    if let Some(portal_listener) = portal_listener {
        say(format_args!("portal   http://{}/", portal_listener.local_addr()?));
        let portal = tandem_portal::PortalSettings {
            address: settings.portal.address,
            public_url: settings.portal.public_url.clone(),
            proxies: settings.portal.proxies.clone(),
            realm: settings.portal.realm.clone(),
            approval: settings.portal.approval,
            sti_trust_anchors,
            challenge: settings.portal.challenge.clone(),
        };
        let app =
            AppState::new(portal, db.clone(), table.clone(), left_out, clock.clone(), entropy(), &registry);
        tasks.spawn(async move {
            (
                "the portal",
                tandem_portal::serve(portal_listener, app, std::future::pending()).await.map_err(Into::into),
            )
        });
    }

    let outcome = wait(node.as_deref(), &mut tasks, &mut signals, swaps, &state).await;
    if let Some(node) = node {
        state.send_replace(NodeState::Draining);
        drain(&node, settings.fabric.drain, clock.as_ref(), &mut signals).await;
        stop(node).await;
        settle(&registry, clock.as_ref(), &mut signals).await;
        state.send_replace(NodeState::Stopped);
        let reported = async {
            while let Some(ended) = tasks.join_next().await {
                if matches!(ended, Ok((REPORTS, _))) {
                    return;
                }
            }
        };
        if tokio::time::timeout(LAST_REPORT, reported).await.is_err() {
            tracing::warn!("the database was not told that this node has stopped");
        }
    }
    tasks.shutdown().await;
    database.close().await?;
    outcome
}

/// The authorities in the file whose certificates are evidence; none without a file.
fn trust_anchors(path: Option<&Path>) -> anyhow::Result<TrustAnchors> {
    let Some(path) = path else { return Ok(TrustAnchors::default()) };
    let shown = path.display();
    let pem =
        std::fs::read(path).with_context(|| format!("cannot read portal.sti_trust_anchors, {shown}"))?;
    TrustAnchors::read(&pem).map_err(|fault| {
        anyhow!("portal.sti_trust_anchors, {shown}: {fault}; write certificates in PEM form")
    })
}

/// Waits for the first signal, or for something that should never end to do so.
async fn wait(
    node: Option<&Node>,
    tasks: &mut Tasks,
    signals: &mut mpsc::Receiver<()>,
    mut swaps: watch::Receiver<Swap>,
    state: &watch::Sender<NodeState>,
) -> anyhow::Result<()> {
    let mut is_starting = true;
    loop {
        tokio::select! {
            _ = signals.recv() => return Ok(()),
            () = tokio::time::sleep(WATCH) => {
                if node.is_some_and(Node::has_stopped) {
                    bail!("the thread of the node ended by itself");
                }
            }
            Some(ended) = tasks.join_next() => {
                let (name, outcome) = ended.context("a task of the node panicked")?;
                return outcome.and_then(|()| bail!("it ended by itself")).context(name);
            }
            Ok(()) = swaps.changed(), if is_starting => {
                is_starting = false;
                state.send_replace(NodeState::Serving);
            }
        }
    }
}

/// Tries until the database does it.
async fn persist<T: Future<Output = Result<(), Error>>>(what: &str, work: impl Fn() -> T) {
    let mut pause = FIRST_PAUSE;
    while let Err(error) = work().await {
        tracing::warn!(%error, "cannot {what} yet; trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Puts the listeners into the database, for members to see where to send calls.
async fn register(db: &PgPool, listeners: &[(ListenerSettings, SocketAddr)]) -> Result<(), Error> {
    for (settings, bound) in listeners {
        let address = settings.advertised.unwrap_or(*bound);
        listener::register(db, &settings.site, &[(address, settings.transport)]).await?;
    }
    Ok(())
}

/// Takes no new calls, and waits for those that are up, for `limit` or until the next signal.
async fn drain(node: &Node, limit: Duration, clock: &dyn Clock, signals: &mut mpsc::Receiver<()>) {
    let deadline = clock.instant() + limit;
    tracing::info!(
        calls = node.active_calls(),
        limit_s = limit.as_secs(),
        "taking no new calls; a second signal stops at once"
    );
    node.drain();
    while node.active_calls() > 0 && clock.instant() < deadline {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = signals.recv() => return,
        }
    }
}

/// Ends the calls that are left, and the node.
async fn stop(node: Arc<Node>) {
    tracing::info!(calls = node.active_calls(), "stopping");
    // The reporter looks at the node for an instant only.
    let mut node = node;
    let node = loop {
        match Arc::try_unwrap(node) {
            Ok(node) => break node,
            Err(shared) => node = shared,
        }
        tokio::time::sleep(LOOK).await;
    };
    if tokio::task::spawn_blocking(move || node.stop()).await.is_err() {
        tracing::error!("the node panicked while it stopped; its journal has the calls");
    }
}

/// Waits until the journal is in the database, if that is soon: what is not is shipped by the next start.
async fn settle(registry: &Registry, clock: &dyn Clock, signals: &mut mpsc::Receiver<()>) {
    let deadline = clock.instant() + LAST_CDRS;
    while clock.instant() < deadline
        && metrics::value(registry, "tandem_journal_backlog_records").is_some_and(|n| n > 0.0)
    {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = signals.recv() => return,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tandem_store::node;

    use super::*;
    use crate::clock::SystemClock;

    /// Runs a node on `database_url` while `work` does.
    pub(crate) async fn while_serving<T>(
        database_url: &str,
        roles: &str,
        work: impl Future<Output = T>,
    ) -> T {
        let dir = tempfile::tempdir().expect("a directory");
        let variables = [
            ("TANDEM_NODE", "t"),
            ("TANDEM_DATA_DIR", dir.path().to_str().expect("UTF-8")),
            ("TANDEM_ROLES", roles),
            ("TANDEM_DATABASE_URL", database_url),
            ("TANDEM_LISTENER", "t/udp/127.0.0.1:0,t/tcp/127.0.0.1:0"),
            ("TANDEM_PORTAL_ADDRESS", "127.0.0.1:0"),
            ("TANDEM_METRICS_ADDRESS", "127.0.0.1:0"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Settings::read(None, variables).expect("valid");
        let (stop, signals) = mpsc::channel(1);
        let work = async {
            let outcome = work.await;
            stop.send(()).await.expect("the node runs");
            outcome
        };
        let (served, outcome) = tokio::join!(run(&settings, Arc::new(SystemClock), [1; 32], signals), work);
        served.expect("it ends in good order");
        outcome
    }

    pub(crate) async fn until<T, F: Future<Output = Option<T>>>(look: impl Fn() -> F) -> T {
        let looking = async {
            loop {
                match look().await {
                    Some(seen) => return seen,
                    None => tokio::time::sleep(LOOK).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), looking).await.expect("it is seen in time")
    }

    #[tokio::test]
    async fn a_node_says_where_it_listens_that_it_serves_and_that_it_has_stopped() {
        let database = tandem_testkit::Database::new().await;
        let db = database.pool();
        let state = async || node::list(db).await.expect("it lists").first().map(|node| node.state);
        let seen = until(async || state().await.filter(|state| *state == NodeState::Serving));
        while_serving(database.url(), "fabric,portal", seen).await;
        let listeners = listener::list(db).await.expect("it lists");
        assert_eq!(listeners.len(), 2);
        assert!(listeners.iter().all(|listener| listener.address.port() != 0 && listener.site == "t"));
        assert_eq!(state().await, Some(NodeState::Stopped));
    }

    #[tokio::test]
    async fn a_node_starts_and_stops_while_the_database_is_away() {
        let nothing = tokio::time::sleep(Duration::from_millis(300));
        while_serving("postgres://127.0.0.1:1/nowhere", "fabric", nothing).await;
    }
}

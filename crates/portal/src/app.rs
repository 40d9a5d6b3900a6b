//! What every handler has at hand.

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;
use prometheus::Registry;
use tandem_model::{Clock, Prefix};
use tandem_routing::SharedTable;
use tandem_store::PgPool;
use tandem_store::facts::LeftOut;
use tokio::sync::{Notify, Semaphore};

use crate::http_metrics::HttpMetrics;
use crate::lines::Streams;
use crate::password::Hashing;
use crate::past;
use crate::reachability::Reachabilities;
use crate::sti_certificate::TrustAnchors;
use crate::throttle::Throttle;

/// Bulk changes that are worked on at once; others wait their turn.
const BULK_AT_ONCE: usize = 1;

/// Bodies of bulk changes that are in memory at once.
const BULK_BODIES: usize = 8;

/// Fills octets with randomness that nobody can guess.
pub type Entropy = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// The operator's settings of the portal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalSettings {
    /// Address to listen on.
    pub address: SocketAddr,
    /// How browsers reach it, such as `https://portal.example`; `None` for the address itself. Cookies are
    /// marked `Secure` where it begins with `https://`.
    pub public_url: Option<String>,
    /// Proxies in front of the portal: what they say in `X-Forwarded-For` is believed.
    pub proxies: Vec<IpNet>,
    /// In which members' switches have user names: the domain at which they register; `None` where none is to have one.
    pub realm: Option<String>,
    /// From when on a change set needs a second person.
    pub approval: ApprovalThreshold,
    /// Authorities whose certificates are evidence of whose numbers are whose.
    pub sti_trust_anchors: TrustAnchors,
    /// How the hub calls numbers of claimed ranges; `None` where it does not.
    pub challenge: Option<ChallengeSettings>,
}

/// How the hub calls numbers of claimed ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeSettings {
    /// The short name of the member by whose endpoint the calls leave.
    pub member: String,
    /// The name of that endpoint.
    pub endpoint: String,
    /// The first digits of the calling number; six digits of code follow, 15 in all at most.
    pub caller: Prefix,
}

/// How much a change set moves at most without a second person's approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApprovalThreshold {
    /// Of the calls that were answered in the last 24 hours.
    pub moved_calls: u64,
    /// Of the prefixes that some member's calls find otherwise.
    pub prefixes: u64,
}

impl Default for ApprovalThreshold {
    fn default() -> Self {
        Self { moved_calls: 1_000, prefixes: 100 }
    }
}

impl PortalSettings {
    /// Settings for an address that browsers reach directly.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            public_url: None,
            proxies: Vec::new(),
            realm: None,
            approval: ApprovalThreshold::default(),
            sti_trust_anchors: TrustAnchors::default(),
            challenge: None,
        }
    }

    /// Whether browsers come by https.
    pub(crate) fn is_https(&self) -> bool {
        self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }
}

/// What every handler has at hand.
pub struct AppState {
    /// The hub's database.
    pub db: PgPool,
    /// The route table that lookups ask.
    pub table: SharedTable,
    /// The rows that it is made without.
    pub left_out: LeftOut,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Entropy,
    /// The operator's settings.
    pub settings: PortalSettings,
    pub(crate) hashing: Hashing,
    pub(crate) throttle: Throttle,
    pub(crate) streams: Streams,
    pub(crate) reachabilities: Reachabilities,
    pub(crate) bulk_room: Semaphore,
    pub(crate) bulk_turn: Semaphore,
    /// Told when the file of an import is there.
    pub(crate) import_due: Notify,
    pub(crate) past_turn: Semaphore,
    pub(crate) metrics: HttpMetrics,
}

/// The state as handlers share it.
pub type App = Arc<AppState>;

impl AppState {
    /// The state of a portal, its metrics registered in `registry`.
    ///
    /// # Panics
    /// If the registry has a portal's metrics already.
    pub fn new(
        settings: PortalSettings,
        db: PgPool,
        table: SharedTable,
        left_out: LeftOut,
        clock: Arc<dyn Clock>,
        entropy: Entropy,
        registry: &Registry,
    ) -> App {
        let metrics = HttpMetrics::register(registry, &db).expect("a registry holds one portal's metrics");
        let hashing = Hashing::new(&entropy);
        Arc::new(Self {
            db,
            table,
            left_out,
            clock,
            entropy,
            settings,
            hashing,
            throttle: Throttle::default(),
            streams: Streams::default(),
            reachabilities: Reachabilities::default(),
            bulk_room: Semaphore::new(BULK_BODIES),
            bulk_turn: Semaphore::new(BULK_AT_ONCE),
            import_due: Notify::new(),
            past_turn: Semaphore::new(past::AT_ONCE),
            metrics,
        })
    }
}

//! Figures of the portal: requests by route, their time, and the connections to the database.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use tandem_store::PgPool;

use crate::app::App;

/// Upper bounds of the histogram's buckets, in seconds.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Counters of requests.
pub(crate) struct HttpMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
}

impl HttpMetrics {
    pub(crate) fn register(registry: &Registry, db: &PgPool) -> prometheus::Result<Self> {
        let requests = IntCounterVec::new(
            Opts::new("tandem_http_requests_total", "Requests that the portal answered."),
            &["method", "route", "status"],
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "tandem_http_request_seconds",
                "Time from a request to the head of its answer.",
            )
            .buckets(SECONDS.to_vec()),
            &["route"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(PoolMetrics::new(db.clone())?))?;
        Ok(Self { requests, seconds })
    }
}

/// Counts and times a request by the pattern of its route, never by its path.
pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = app.clock.instant();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.as_deref().unwrap_or("other").to_owned();
    let method = match request.method().as_str() {
        method @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => method.to_owned(),
        _ => "other".to_owned(),
    };
    let response = next.run(request).await;
    let seconds = app.clock.instant().saturating_duration_since(begun).as_secs_f64();
    app.metrics.requests.with_label_values(&[method.as_str(), &route, response.status().as_str()]).inc();
    app.metrics.seconds.with_label_values(&[route.as_str()]).observe(seconds);
    response
}

/// Connections to the database, counted when someone asks.
struct PoolMetrics {
    db: PgPool,
    connections: IntGaugeVec,
}

impl PoolMetrics {
    fn new(db: PgPool) -> prometheus::Result<Self> {
        let options = Opts::new("tandem_database_pool", "Connections of this process to the database.");
        Ok(Self { db, connections: IntGaugeVec::new(options, &["state"])? })
    }
}

impl Collector for PoolMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.connections.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (all, idle) = (i64::from(self.db.size()), i64::try_from(self.db.num_idle()).unwrap_or(i64::MAX));
        self.connections.with_label_values(&["idle"]).set(idle);
        self.connections.with_label_values(&["used"]).set((all - idle).max(0));
        self.connections.collect()
    }
}

//! `/metrics`, in Prometheus' text format, on an address of its own; and how far the database pool is in use.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};
use tandem_store::PgPool;
use tokio::net::TcpListener;

/// Serves the metrics of `registry` for ever.
pub async fn serve(listener: TcpListener, registry: Registry) -> std::io::Result<()> {
    let router = Router::new().route("/metrics", get(metrics)).with_state(registry);
    axum::serve(listener, router).await
}

/// `GET /metrics`.
async fn metrics(State(registry): State<Registry>) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot write the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The value of a metric without labels; `None` where there is none of that name.
pub(crate) fn value(registry: &Registry, name: &str) -> Option<f64> {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name)?;
    family.get_metric().first().map(|metric| metric.get_gauge().get_value())
}

/// Connections of the pool, looked at when they are asked for. For a node without a portal, which has the same metric.
pub struct Pool {
    db: PgPool,
    connections: IntGaugeVec,
}

impl Pool {
    /// Registers the metric.
    ///
    /// # Errors
    /// When the registry has a metric of this name already.
    pub fn register(db: PgPool, registry: &Registry) -> prometheus::Result<()> {
        let options = Opts::new("tandem_database_pool", "Connections of this process to the database.");
        let connections = IntGaugeVec::new(options, &["state"])?;
        registry.register(Box::new(Self { db, connections }))
    }
}

impl Collector for Pool {
    fn desc(&self) -> Vec<&Desc> {
        self.connections.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (all, idle) = (self.db.size() as usize, self.db.num_idle());
        self.connections.with_label_values(&["idle"]).set(idle as i64);
        self.connections.with_label_values(&["used"]).set(all.saturating_sub(idle) as i64);
        self.connections.collect()
    }
}

/// Listens on `address`; the error names the setting.
pub(crate) async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| anyhow::anyhow!("cannot listen on {address} ({key}): {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn metrics_are_served_as_text() {
        let registry = Registry::new();
        let gauge = prometheus::IntGauge::new("tandem_active_calls", "Calls.").expect("a gauge");
        registry.register(Box::new(gauge.clone())).expect("a new registry");
        gauge.set(7);
        assert_eq!(value(&registry, "tandem_active_calls"), Some(7.0));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/metrics", listener.local_addr().expect("it is bound"));
        let serving = tokio::spawn(serve(listener, registry));
        let answer = reqwest::get(url).await.expect("it answers");
        assert!(answer.text().await.expect("text").contains("\ntandem_active_calls 7\n"));
        serving.abort();
    }
}

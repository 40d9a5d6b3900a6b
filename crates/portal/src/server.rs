//! The server: the routes within their bounds of time, size and number.

use std::any::Any;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::TimeDelta;
use tandem_model::Reason;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};

use crate::api;
use crate::app::{App, PortalSettings};
use crate::change_set_job;
use crate::health::{healthz, readyz};
use crate::http_metrics;
use crate::import_job;
use crate::lines;
use crate::problem::ApiError;
use crate::session::IDLE;
use crate::transit_quality_job;
use crate::web;

/// Requests that are worked on at once; what comes on top is answered with 503.
const MAX_REQUESTS: usize = 256;

/// Longest work on a request, its body's arrival included.
const LONGEST_REQUEST: Duration = Duration::from_secs(60);

/// Most octets of a body, where an operation does not say otherwise.
const MAX_BODY: usize = 256 * 1024;

/// How often what is over is removed from the database.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// How long the answer to an idempotency key is kept.
const IDEMPOTENCY_KEPT: TimeDelta = TimeDelta::hours(24);

/// How long an import may take to be uploaded.
const UPLOAD_LASTS: TimeDelta = TimeDelta::hours(24);

/// How long the faults of an import are kept.
const FAULTS_KEPT: TimeDelta = TimeDelta::days(30);

/// The whole portal as one router.
pub fn router(app: App) -> Router {
    let (operations, document) = api::operations();
    let document = document.to_json().expect("the OpenAPI document is JSON");
    let bound = std::sync::Arc::new(Semaphore::new(MAX_REQUESTS));
    Router::new()
        .merge(operations)
        .route(
            "/api/openapi.json",
            get(|| async move { ([(header::CONTENT_TYPE, "application/json")], document) }),
        )
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(web::serve_client)
        .method_not_allowed_fallback(|| async { ApiError::new(Reason::OperationUnknown) })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(middleware::from_fn_with_state(bound, bound_requests))
        .layer(middleware::from_fn_with_state(app.clone(), http_metrics::observe))
        .layer(middleware::from_fn(web::set_security_headers))
        // A line is sent when it is written, which a compressor would put off.
        .layer(
            CompressionLayer::new()
                .compress_when(DefaultPredicate::new().and(NotForContentType::const_new(lines::MEDIA_TYPE))),
        )
        .with_state(app)
}

/// Works on a bounded number of requests, each for a bounded time.
async fn bound_requests(
    State(bound): State<std::sync::Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Response {
    // Whether the process lives must be seen even when it is busy.
    let is_health = matches!(request.uri().path(), "/healthz" | "/readyz");
    let turn = bound.try_acquire();
    if turn.is_err() && !is_health {
        return ApiError::new(Reason::Overloaded).retry_after_s(1).into_response();
    }
    match tokio::time::timeout(LONGEST_REQUEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(Reason::Overloaded).retry_after_s(5).into_response(),
    }
}

fn answer_panic(panic: Box<dyn Any + Send>) -> Response {
    let message =
        panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(message = message.unwrap_or("no text"), "a handler of the portal panicked");
    ApiError::new(Reason::InternalError).into_response()
}

/// Takes the portal's address.
pub async fn bind(settings: &PortalSettings) -> std::io::Result<TcpListener> {
    TcpListener::bind(settings.address).await
}

/// Serves the portal until `shutdown`, then ends what is under way.
pub async fn serve(
    listener: TcpListener,
    app: App,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let tidying = tokio::spawn(tidy(app.clone()));
    let applying = tokio::spawn(change_set_job::run(app.clone()));
    let importing = tokio::spawn(import_job::run(app.clone()));
    let measuring = tokio::spawn(transit_quality_job::run(app.clone()));
    let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(shutdown).await;
    tidying.abort();
    applying.abort();
    importing.abort();
    measuring.abort();
    served
}

/// Removes sessions that are over, answers that nobody asks for again and what is left of imports, now and then.
async fn tidy(app: App) {
    let mut every = tokio::time::interval(TIDY_EVERY);
    loop {
        every.tick().await;
        let now = app.clock.now();
        let done = async {
            tandem_store::session::delete_expired(&app.db, now, IDLE).await?;
            tandem_store::idempotent_request::delete_older(&app.db, now - IDEMPOTENCY_KEPT).await?;
            tandem_store::import::fail_abandoned(&app.db, now - UPLOAD_LASTS, now).await?;
            tandem_store::import::delete_rows_of_ended(&app.db).await?;
            tandem_store::import::delete_old_faults(&app.db, now - FAULTS_KEPT).await
        };
        if let Err(error) = done.await {
            tracing::warn!(%error, "cannot remove what is over; will try again");
        }
    }
}

//! Where members point their switches.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tandem_model::Transport;
use tandem_store::listener;
use utoipa::ToSchema;

use crate::app::App;
use crate::problem::ApiError;
use crate::session::Session;
use crate::vocabulary;

/// An address on which the hub receives SIP.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ListenerView {
    /// Name of the site.
    site: String,
    #[schema(example = "192.0.2.10")]
    address: String,
    port: u16,
    #[schema(value_type = vocabulary::Transport)]
    transport: Transport,
}

/// Where members point their switches.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ConnectView {
    listeners: Vec<ListenerView>,
}

/// `GET /api/v1/connect`: the addresses on which the hub receives SIP.
#[utoipa::path(get, path = "/connect", tag = "connect", responses((status = 200, body = ConnectView)))]
pub(crate) async fn connect(
    State(app): State<App>,
    _session: Session,
) -> Result<Json<ConnectView>, ApiError> {
    let listeners = listener::list(&app.db).await?.into_iter();
    let listeners = listeners.map(|it| ListenerView {
        site: it.site,
        address: it.address.ip().to_string(),
        port: it.address.port(),
        transport: it.transport,
    });
    Ok(Json(ConnectView { listeners: listeners.collect() }))
}

//! The registry of reasons, for whoever reads a code.

use axum::Json;
use serde::Serialize;
use tandem_model::Reason;
use utoipa::ToSchema;

use crate::vocabulary;

/// Why the hub refuses or leaves out something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ReasonView {
    #[schema(value_type = vocabulary::ReasonCode)]
    code: &'static str,
    /// Status of the SIP response or of the HTTP problem that carries it.
    status: u16,
    /// What happened, without a full stop.
    sentence: &'static str,
    /// What to do about it.
    remedy: &'static str,
}

impl From<Reason> for ReasonView {
    fn from(reason: Reason) -> Self {
        Self {
            code: reason.code(),
            status: reason.status(),
            sentence: reason.sentence(),
            remedy: reason.remedy(),
        }
    }
}

/// Every reason.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReasonsView {
    items: Vec<ReasonView>,
}

/// `GET /api/v1/reasons`: every code with its sentence and remedy.
#[utoipa::path(get, path = "/reasons", tag = "reasons", security(()), responses((status = 200, body = ReasonsView)))]
pub(crate) async fn list_reasons() -> Json<ReasonsView> {
    Json(ReasonsView { items: Reason::ALL.iter().map(|&reason| reason.into()).collect() })
}

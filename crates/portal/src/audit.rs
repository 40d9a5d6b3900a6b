//! The audit log: who changed what, from where.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tandem_model::{AuditEntryId, MemberId};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::App;
use crate::page::{Page, PageQuery};
use crate::problem::ApiError;
use crate::request::Query;
use crate::session::Session;

/// One change.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AuditView {
    #[schema(value_type = Uuid)]
    audit_entry_id: AuditEntryId,
    at: DateTime<Utc>,
    /// E-mail of the user, or name of the token; "operator" where a member reads what the operator did.
    actor: String,
    /// The member that it concerns; null for the exchange itself.
    #[schema(required, value_type = Option<Uuid>)]
    member_id: Option<MemberId>,
    /// What was done, such as `endpoint.create`.
    action: String,
    /// What it was done to.
    object_kind: String,
    #[schema(required)]
    object_id: Option<Uuid>,
    /// The object before; null where there was none.
    #[schema(required, value_type = Option<std::collections::HashMap<String, serde_json::Value>>)]
    before: Option<serde_json::Value>,
    /// The object after; null where there is none.
    #[schema(required, value_type = Option<std::collections::HashMap<String, serde_json::Value>>)]
    after: Option<serde_json::Value>,
    /// The address that the request came from; null where a member reads what the operator did.
    #[schema(required)]
    source: Option<String>,
}

/// `GET /api/v1/audit`: the changes of the member, or every change for the operator.
#[utoipa::path(get, path = "/audit", tag = "audit", params(PageQuery), responses((status = 200, body = Page<AuditView>)))]
pub(crate) async fn list_audit(
    State(_app): State<App>,
    _session: Session,
    Query(_page): Query<PageQuery>,
) -> Result<Json<Page<AuditView>>, ApiError> {
    todo!()
}

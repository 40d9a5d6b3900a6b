//! The audit log: who changed what, from where.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tandem_model::{AuditEntryId, MemberId};
use tandem_store::audit::{self, AuditEntry};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
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

impl AuditView {
    /// The change as someone sees it: a member does not learn who the operator's people are.
    fn of(entry: AuditEntry, reader_is_operator: bool) -> Self {
        let hides = entry.by_operator && !reader_is_operator;
        let actor = entry.email.or(entry.token_name).filter(|_| !hides);
        Self {
            audit_entry_id: entry.audit_entry_id,
            at: entry.at,
            actor: actor.unwrap_or_else(|| "operator".to_owned()),
            member_id: entry.member_id,
            action: entry.action,
            object_kind: entry.object_kind,
            object_id: entry.object_id,
            before: entry.before,
            after: entry.after,
            source: entry.source.filter(|_| !hides).map(|source| source.to_string()),
        }
    }
}

/// `GET /api/v1/audit`: the changes of the member, or every change for the operator.
#[utoipa::path(get, path = "/audit", tag = "audit", params(PageQuery),
    responses((status = 200, body = Page<AuditView>)))]
pub(crate) async fn list_audit(
    State(app): State<App>,
    session: Session,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<AuditView>>, ApiError> {
    let place = query.read::<Uuid>()?;
    let entries = audit::list(&app.db, session.member, place.after.map(AuditEntryId), place.reads()).await?;
    let operator = session.is_operator();
    Ok(Json(place.page(entries, |it| it.audit_entry_id.0, |it| AuditView::of(it, operator))))
}

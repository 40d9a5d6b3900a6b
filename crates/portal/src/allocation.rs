//! What regulators have given to whom: the lists that the operator imports, and the names under which they know members.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{MemberId, Reason};
use tandem_store::{allocation, member};
use utoipa::ToSchema;

use crate::allocation_csv;
use crate::app::App;
use crate::evidence;
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id, media_type};
use crate::session::{Change, Session};
use crate::text;

/// Most names of a member.
const MAX_HOLDER_NAMES: usize = 50;

/// Longest name or code of a holder, in characters.
pub(crate) const MAX_HOLDER: usize = 200;

/// A list of allocations.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AllocationListView {
    /// What the operator calls it.
    #[schema(example = "Ofcom S1 2026-11")]
    name: String,
    /// How many allocations it has.
    rows: i64,
    /// When it was imported last.
    imported_at: DateTime<Utc>,
}

/// What the import of a list of allocations did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AllocationImportView {
    list: AllocationListView,
    /// Claims that it verified.
    verified: u64,
}

/// Under which names the lists of allocations know a member.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HolderNames {
    /// Names or codes as they stand in the column `holder`, whatever their case; at most 50.
    #[schema(max_items = 50, example = json!(["Acme Telecom Ltd", "CUPID 123"]))]
    names: Vec<String>,
}

impl From<allocation::AllocationList> for AllocationListView {
    fn from(list: allocation::AllocationList) -> Self {
        Self { name: list.name, rows: list.row_count, imported_at: list.imported_at }
    }
}

/// `GET /api/v1/allocations`: the lists of allocations (operator).
#[utoipa::path(get, path = "/allocations", tag = "ranges", responses((status = 200, body = Vec<AllocationListView>)))]
pub(crate) async fn list_allocations(
    State(app): State<App>,
    session: Session,
) -> Result<Json<Vec<AllocationListView>>, ApiError> {
    session.must_be_operator()?;
    let lists = allocation::lists(&app.db).await?;
    Ok(Json(lists.into_iter().map(AllocationListView::from).collect()))
}

/// `PUT /api/v1/allocations/{name}`: imports a regulator's list in the place of the one of this name, all or nothing
/// (operator).
///
/// The body is CSV. It begins with the line `prefix,holder` or `prefix,holder,from,until`; the two times are days such as
/// 2026-11-30 or instants, and may be empty. At most 5,000,000 lines. Claims that it proves are verified at once; a range
/// that rested on the list before and no longer does is shown to the operator, who decides.
#[utoipa::path(put, path = "/allocations/{name}", tag = "ranges", params(("name" = String, Path)),
    request_body(content((String = "text/csv"))), responses((status = 200, body = AllocationImportView)))]
pub(crate) async fn put_allocations(
    State(app): State<App>,
    session: Session,
    Id(name): Id<String>,
    request: Request,
) -> Result<Json<AllocationImportView>, ApiError> {
    session.must_be_operator()?;
    let mut faults = Faults::default();
    let name = text::line(&mut faults, "name", &name, 1, 80);
    let name = faults.hold(name)?;
    if media_type(request.headers()) != "text/csv" {
        return Err(ApiError::new(Reason::BadRequest).detail("Send Content-Type: text/csv."));
    }
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let before = allocation::lock_list(&mut *transaction, &name).await?.map(AllocationListView::from);
    let (rows, reading) = allocation_csv::read(request.into_body());
    let written = allocation::replace(&mut transaction, &name, rows, session.user_id(), now).await;
    // What is wrong with the file explains why it was not written.
    reading.await?;
    let list = AllocationListView::from(written?);
    let verified = evidence::settle_all(&mut transaction, &session, None, now).await?;
    let view = AllocationImportView { list, verified };
    let change = Change {
        action: "allocation.import",
        member: None,
        object_id: None,
        before: before.map(|list| serde_json::to_value(list).expect("a view is JSON")),
        after: Some(serde_json::to_value(&view).expect("a view is JSON")),
    };
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(Json(view))
}

/// `DELETE /api/v1/allocations/{name}`: removes a list; ranges that rested on it are shown to the operator, who decides
/// (operator).
#[utoipa::path(delete, path = "/allocations/{name}", tag = "ranges", params(("name" = String, Path)),
    responses((status = 204, description = "removed")))]
pub(crate) async fn delete_allocations(
    State(app): State<App>,
    session: Session,
    Id(name): Id<String>,
) -> Result<StatusCode, ApiError> {
    session.must_be_operator()?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let list = allocation::lock_list(&mut *transaction, &name).await?;
    let list = AllocationListView::from(list.ok_or_else(|| ApiError::new(Reason::NotFound))?);
    allocation::delete(&mut transaction, &name).await?;
    let change = Change {
        action: "allocation.delete",
        member: None,
        object_id: None,
        before: Some(serde_json::to_value(list).expect("a view is JSON")),
        after: None,
    };
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/members/{member_id}/holder-names`: under which names the lists of allocations know the member.
#[utoipa::path(get, path = "/members/{member_id}/holder-names", tag = "ranges",
    params(("member_id" = Uuid, Path)), responses((status = 200, body = HolderNames)))]
pub(crate) async fn get_holder_names(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
) -> Result<Json<HolderNames>, ApiError> {
    session.may_read(member)?;
    Ok(Json(HolderNames { names: allocation::holder_names(&app.db, member).await? }))
}

/// `PUT /api/v1/members/{member_id}/holder-names`: says under which names the lists of allocations know the member, in
/// place of those before (operator). Claims that are proven thereby are verified at once.
#[utoipa::path(put, path = "/members/{member_id}/holder-names", tag = "ranges",
    params(("member_id" = Uuid, Path)), request_body = HolderNames,
    responses((status = 200, body = HolderNames)))]
pub(crate) async fn put_holder_names(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Body(input): Body<HolderNames>,
) -> Result<Json<HolderNames>, ApiError> {
    session.must_be_operator()?;
    let names = input.read()?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    member::lock(&mut *transaction, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let before = HolderNames { names: allocation::holder_names(&mut *transaction, member).await? };
    allocation::set_holder_names(&mut transaction, member, &names).await?;
    let after = HolderNames { names: allocation::holder_names(&mut *transaction, member).await? };
    let change = Change::of("holder_names.set", Some(member), member.0, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    evidence::settle_all(&mut transaction, &session, Some(member), now).await?;
    transaction.commit().await?;
    Ok(Json(after))
}

impl HolderNames {
    fn read(self) -> Result<Vec<String>, ApiError> {
        let mut faults = Faults::default();
        if self.names.len() > MAX_HOLDER_NAMES {
            faults.note("names", format!("there are {}; write at most {MAX_HOLDER_NAMES}", self.names.len()));
        }
        let mut names = Vec::new();
        for (index, name) in self.names.iter().enumerate() {
            let field = format!("names[{index}]");
            let Some(name) = text::line(&mut faults, &field, name, 1, MAX_HOLDER) else { continue };
            if names.iter().any(|known: &String| known.to_lowercase() == name.to_lowercase()) {
                faults.note(&field, "the name is there twice");
            }
            names.push(name);
        }
        faults.check()?;
        Ok(names)
    }
}

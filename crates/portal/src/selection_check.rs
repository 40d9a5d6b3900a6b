//! Whether a call's selection comes out the same when it is made again: on the table that it names, as the exchange keeps
//! its past.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tandem_model::{CallId, MemberId, Reason};
use tandem_routing::{Mismatch, Selection};
use tandem_store::call;
use utoipa::ToSchema;

use crate::app::{App, AppState};
use crate::lookup::{Names, SelectionView};
use crate::past;
use crate::problem::ApiError;
use crate::request::Id;
use crate::session::Session;

/// What became of a selection that was made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SelectionVerdict {
    /// The same, bit for bit.
    Same,
    /// Another one: the selection is not the one that was made.
    Differs,
    /// The table of that version has another hash than the selection names: the past of the exchange, or the hash, is not
    /// what it was.
    TableDiffers,
    /// Nothing can be said: the call was refused before a selection was made, or an earlier release made it.
    NotSaid,
}

/// A selection that was made again.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct SelectionCheckView {
    verdict: SelectionVerdict,
    /// Version of the route table that it was made on.
    table_version: u64,
    /// Hash of that table, as the selection names it; null where it does not.
    #[schema(required)]
    table_hash: Option<String>,
    /// Hash of the table of that version, as the exchange keeps its past; null where that is the same.
    #[schema(required)]
    found_hash: Option<String>,
    /// What comes of that table; null where it is the same or cannot be said.
    #[schema(required)]
    made_again: Option<SelectionView>,
}

/// `GET /api/v1/members/{member_id}/calls/{call_id}/selection/verify`: makes the selection of a call of the member again.
#[utoipa::path(get, path = "/members/{member_id}/calls/{call_id}/selection/verify", tag = "calls",
    params(("member_id" = Uuid, Path), ("call_id" = Uuid, Path)),
    responses((status = 200, body = SelectionCheckView)))]
pub(crate) async fn verify_selection(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, CallId)>,
) -> Result<Json<SelectionCheckView>, ApiError> {
    session.may_read(member)?;
    verify(&app, Some(member), id, session.member).await
}

/// `GET /api/v1/calls/{call_id}/selection/verify`: makes the selection of any call again (operator).
#[utoipa::path(get, path = "/calls/{call_id}/selection/verify", tag = "calls", params(("call_id" = Uuid, Path)),
    responses((status = 200, body = SelectionCheckView)))]
pub(crate) async fn verify_any_selection(
    State(app): State<App>,
    session: Session,
    Id(id): Id<CallId>,
) -> Result<Json<SelectionCheckView>, ApiError> {
    session.must_be_operator()?;
    verify(&app, None, id, None).await
}

/// The selection is the originating member's, and the operator's.
async fn verify(
    app: &AppState,
    member: Option<MemberId>,
    id: CallId,
    reader: Option<MemberId>,
) -> Result<Json<SelectionCheckView>, ApiError> {
    let not_found = || ApiError::new(Reason::NotFound);
    let cdr = call::get(&app.db, member, id).await?.ok_or_else(not_found)?;
    if reader.is_some_and(|reader| reader != cdr.originating_member) {
        return Err(not_found());
    }
    let mut view = SelectionCheckView {
        verdict: SelectionVerdict::NotSaid,
        table_version: cdr.table_version,
        table_hash: None,
        found_hash: None,
        made_again: None,
    };
    let Some(selection) = serde_json::from_str::<Option<Selection>>(&cdr.selection).ok().flatten() else {
        return Ok(Json(view));
    };
    // A call that was redirected asked more than once.
    for (index, asked) in selection.asked.iter().enumerate() {
        view.table_version = asked.table_version;
        view.table_hash = Some(asked.table_hash.to_string());
        let table = past::table_of(app, asked.table_version).await?;
        match selection.verify(index, cdr.originating_member, &table) {
            Ok(()) => view.verdict = SelectionVerdict::Same,
            Err(Mismatch::NotSaid) => view.verdict = SelectionVerdict::NotSaid,
            Err(Mismatch::OtherTable { found, .. }) => {
                (view.verdict, view.found_hash) = (SelectionVerdict::TableDiffers, Some(found.to_string()));
            }
            Err(Mismatch::OtherAnswer(answer)) => {
                let (members, endpoints) = SelectionView::mentions(&answer);
                let names = Names::read(&app.db, &members, &endpoints).await?;
                view.verdict = SelectionVerdict::Differs;
                view.made_again = Some(SelectionView::of(&answer, &names, reader, &table));
            }
        }
        if view.verdict != SelectionVerdict::Same {
            break;
        }
    }
    Ok(Json(view))
}

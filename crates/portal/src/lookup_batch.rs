//! Many lookups at once, all by one version of the route table; a number that cannot be read spoils no other.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tandem_model::{E164, MemberId, Reason};
use tandem_routing::{CallRequest, select};
use tandem_store::member;
use utoipa::ToSchema;

use crate::app::App;
use crate::lines::{Gone, Lines};
use crate::lookup::{Names, SelectionView};
use crate::problem::{ApiError, Faults, FieldError};
use crate::request::{Body, Id};
use crate::session::Session;
use crate::text;

/// Most numbers of a request.
const MAX_ROWS: usize = 10_000;

/// Most octets of a request.
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// Numbers to look up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LookupBatchInput {
    /// The called numbers, internationally.
    #[schema(example = json!(["+442079460000", "+493012345678"]), min_items = 1, max_items = 10_000)]
    called: Vec<String>,
}

/// One line of the answer: the selection for a number, or why it cannot be looked up.
#[derive(Serialize, ToSchema)]
pub(crate) struct LookupLineView {
    /// Which number it is about, counted from 1.
    row: usize,
    /// Null where the number cannot be read.
    #[schema(required)]
    selection: Option<SelectionView>,
    /// Null where it can.
    #[schema(required)]
    error: Option<FieldError>,
}

/// `POST /api/v1/members/{member_id}/lookup`: where calls of the member would go now, for up to 10,000 numbers.
///
/// The answer has a line of JSON for each number, in their order, all by the same version of the route table. A number
/// that cannot be read has its error in its line; where none can be read, the request is refused.
#[utoipa::path(post, path = "/members/{member_id}/lookup", tag = "lookup",
    params(("member_id" = Uuid, Path)), request_body = LookupBatchInput,
    responses((status = 200, body = LookupLineView, content_type = "application/x-ndjson")))]
pub(crate) async fn lookup_batch(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Body(input): Body<LookupBatchInput>,
) -> Result<Response, ApiError> {
    session.may_read(member)?;
    if member::get(&app.db, member).await?.is_none() {
        return Err(ApiError::new(Reason::NotFound));
    }
    let numbers = read(&input)?;
    let (lines, response) = Lines::begin(app.streams.take(session.member)?);
    tokio::spawn(async move {
        // Who does not read the answer to its end misses the rest: there is nobody to tell.
        let _ = answer(&app, session.member, member, numbers, lines).await;
    });
    Ok(response)
}

/// Each number, or what is wrong with it; refused where none can be read.
fn read(input: &LookupBatchInput) -> Result<Vec<Result<E164, String>>, ApiError> {
    let count = input.called.len();
    if count > MAX_ROWS {
        let detail = format!("There are {count} numbers; send at most {MAX_ROWS} at once.");
        return Err(ApiError::new(Reason::TooLarge).detail(detail));
    }
    let read = |text: &String| text.parse::<E164>().map_err(|error| text::quoted(&error.to_string()));
    let numbers: Vec<_> = input.called.iter().map(read).collect();
    if numbers.iter().all(Result::is_err) {
        let mut faults = Faults::default();
        if numbers.is_empty() {
            faults.note("called", "write at least one number");
        }
        for (index, number) in numbers.iter().enumerate() {
            faults.at_row(index + 1);
            if let Err(error) = number {
                faults.note("called", error);
            }
        }
        faults.check()?;
    }
    Ok(numbers)
}

async fn answer(
    app: &App,
    reader: Option<MemberId>,
    originating_member: MemberId,
    numbers: Vec<Result<E164, String>>,
    mut lines: Lines,
) -> Result<(), Gone> {
    let (table, now) = (app.table.load_full(), app.clock.now());
    for (index, number) in numbers.into_iter().enumerate() {
        let row = index + 1;
        let line = match number {
            Ok(called) => {
                let mut draw = [0; 8];
                (app.entropy)(&mut draw);
                let draw = u64::from_le_bytes(draw);
                let call = CallRequest { originating_member, called, dip: None, site: None, draw };
                let selection = select(&table, &call, now);
                let (members, endpoints) = SelectionView::mentions(&selection);
                let names = Names::in_table(&table, &members, &endpoints);
                let view = SelectionView::of(&selection, &names, reader, &table);
                LookupLineView { row, selection: Some(view), error: None }
            }
            Err(message) => {
                let error = FieldError { field: "called".to_owned(), message, row: Some(row) };
                LookupLineView { row, selection: None, error: Some(error) }
            }
        };
        lines.write(&line).await?;
    }
    lines.flush().await
}

//! Many announcements at once: all rows are looked at first, then all take effect together, or none.
//!
//! A named prefix is announced from now on, until further notice, on the endpoints of its row, whatever was
//! planned for it. With an idempotency key the same request has one effect and the same answer.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tandem_model::{MemberId, Prefix, Reason};
use tandem_store::announcement;
use tandem_store::{PgConnection, endpoint, idempotent_request, member};
use utoipa::{IntoParams, ToSchema};

use crate::announcement::EndpointNames;
use crate::app::App;
use crate::csv;
use crate::problem::ApiError;
use crate::request::{Id, Query, media_type, parse_json, read_body};
use crate::session::{Change, Session};
use crate::wish::{Edits, Wish};

/// Most rows of a request.
const MAX_ROWS: usize = 100_000;

/// Most octets of a request.
pub(crate) const MAX_BODY: usize = 32 * 1024 * 1024;

/// Longest arrival of a body: its memory is taken meanwhile.
const LONGEST_ARRIVAL: Duration = Duration::from_secs(30);

/// The header that names a request.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What a bulk request does with announcements that it does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BulkMode {
    /// They stay.
    #[default]
    Merge,
    /// They are withdrawn.
    Replace,
}

/// One row of a bulk request.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkRow {
    /// The leading digits of the numbers, internationally.
    #[schema(example = "+44207946")]
    pub(crate) prefix: String,
    /// Names or ids of endpoints of the member.
    #[schema(min_items = 1, max_items = 64)]
    pub(crate) endpoints: Vec<String>,
}

/// Announcements that take effect together, or not at all.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkInput {
    #[serde(default)]
    mode: BulkMode,
    /// What is announced from now on. At most 100,000 rows together with `withdraw`.
    #[serde(default)]
    #[schema(max_items = 100_000)]
    announcements: Vec<BulkRow>,
    /// Prefixes that are withdrawn. Not with `replace`.
    #[serde(default)]
    #[schema(max_items = 100_000)]
    withdraw: Vec<String>,
}

/// What a bulk request did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct BulkView {
    /// Prefixes that were not announced.
    pub(crate) added: u64,
    /// Prefixes whose endpoints or validity changed.
    pub(crate) changed: u64,
    /// Prefixes that are no longer announced.
    pub(crate) withdrawn: u64,
    /// Prefixes that were announced so already.
    pub(crate) unchanged: u64,
    /// Version of the route table that has all of it.
    pub(crate) table_version: u64,
}

/// How to read a CSV file.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BulkQuery {
    /// For a CSV body, which cannot say it itself.
    #[param(inline)]
    mode: Option<BulkMode>,
}

/// `POST /api/v1/members/{member_id}/announcements/bulk`: many announcements at once, all or nothing.
///
/// A CSV body begins with the line `prefix,endpoints`; endpoints are separated by `;` or spaces. The same
/// idempotency key with the same body has one effect and the same answer for 24 hours.
#[utoipa::path(post, path = "/members/{member_id}/announcements/bulk", tag = "announcements",
    params(("member_id" = Uuid, Path), BulkQuery,
        ("idempotency-key" = Option<String>, Header,
            description = "Any text of 1 to 200 characters, new for each change", max_length = 200)),
    request_body(content((BulkInput = "application/json"), (String = "text/csv"))),
    responses((status = 200, body = BulkView)))]
pub(crate) async fn bulk_announcements(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<BulkQuery>,
    request: Request,
) -> Result<Json<BulkView>, ApiError> {
    session.may_change(member)?;
    let key = read_key(request.headers())?;
    let kind = media_type(request.headers());
    let _room = app.bulk_room.acquire().await.map_err(|_| ApiError::new(Reason::Overloaded))?;
    let arrives = tokio::time::timeout(LONGEST_ARRIVAL, read_body(request, &app)).await;
    let octets =
        arrives.map_err(|_| ApiError::new(Reason::BadRequest).detail("The body came too slowly."))??;

    // One at a time: they are long, and those with the same key find its answer.
    let _turn = app.bulk_turn.acquire().await.map_err(|_| ApiError::new(Reason::Overloaded))?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let scope = format!("announcements.bulk {member}");
    if let Some(key) = &key {
        let hash = request_hash(query.mode, &kind, &octets);
        if !idempotent_request::claim(&mut *transaction, &scope, key, &hash, now).await? {
            return answer_again(&mut transaction, &scope, key, &hash).await;
        }
    }
    let input = read_input(query.mode, &kind, &octets)?;
    member::lock(&mut *transaction, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let names = EndpointNames::of(endpoint::names_of_member(&mut *transaction, member).await?);
    let wish = Wish::read(input, &names)?;
    let prefixes: Vec<Prefix> = wish.prefixes().collect();
    let named = (wish.mode == BulkMode::Merge).then_some(prefixes.as_slice());
    let standing = announcement::standing(&mut *transaction, member, named, now).await?;
    let edits = Edits::make(&wish, &standing, now);
    edits.carry_out(&mut transaction, member, now).await?;

    let table_version = announcement::feed_position(&mut *transaction).await?;
    let view = BulkView { table_version, ..edits.summary() };
    if edits.changes_something() {
        let (before, after) = edits.audited(&view, &standing);
        let change = Change {
            action: "announcement.bulk",
            member: Some(member),
            object_id: None,
            before: Some(before),
            after: Some(after),
        };
        session.record(&mut transaction, now, change).await?;
    }
    if let Some(key) = &key {
        let response = serde_json::to_value(&view).expect("a view is JSON");
        idempotent_request::answer(&mut *transaction, &scope, key, &response).await?;
    }
    transaction.commit().await?;
    Ok(Json(view))
}

/// The idempotency key of a request, where it has one.
pub(crate) fn read_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=200).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(ApiError::field(IDEMPOTENCY_KEY, "write 1 to 200 characters of ASCII")),
    }
}

fn request_hash(mode: Option<BulkMode>, kind: &str, octets: &[u8]) -> [u8; 32] {
    let mode = match mode {
        None => "-",
        Some(BulkMode::Merge) => "merge",
        Some(BulkMode::Replace) => "replace",
    };
    Sha256::new()
        .chain_update(mode)
        .chain_update([0])
        .chain_update(kind)
        .chain_update([0])
        .chain_update(octets)
        .finalize()
        .into()
}

/// The answer that the same request had before.
async fn answer_again(
    db: &mut PgConnection,
    scope: &str,
    key: &str,
    hash: &[u8; 32],
) -> Result<Json<BulkView>, ApiError> {
    let Some(before) = idempotent_request::find(db, scope, key).await? else {
        return Err(ApiError::new(Reason::Unavailable).retry_after_s(1));
    };
    if before.request_hash != hash {
        return Err(ApiError::new(Reason::IdempotencyMismatch));
    }
    let view = before.response.and_then(|response| serde_json::from_value(response).ok());
    view.map(Json).ok_or_else(|| ApiError::new(Reason::Unavailable).retry_after_s(1))
}

/// A body as it was sent: the rows with what an error calls each of them.
pub(crate) struct Input {
    pub(crate) mode: BulkMode,
    pub(crate) rows: Vec<(usize, BulkRow)>,
    pub(crate) withdraw: Vec<String>,
}

fn read_input(mode: Option<BulkMode>, kind: &str, octets: &[u8]) -> Result<Input, ApiError> {
    match kind {
        "text/csv" => {
            let rows = csv::read(octets, MAX_ROWS)?;
            Ok(Input { mode: mode.unwrap_or_default(), rows, withdraw: Vec::new() })
        }
        "application/json" => {
            let input: BulkInput = parse_json(octets)?;
            if mode.is_some_and(|mode| mode != input.mode) {
                return Err(ApiError::field("mode", "the query and the body say different things"));
            }
            let count = input.announcements.len() + input.withdraw.len();
            if count > MAX_ROWS {
                return Err(ApiError::new(Reason::TooLarge)
                    .detail(format!("There are {count} rows; send at most {MAX_ROWS} at once.")));
            }
            let rows =
                input.announcements.into_iter().enumerate().map(|(index, row)| (index + 1, row)).collect();
            Ok(Input { mode: input.mode, rows, withdraw: input.withdraw })
        }
        _ => Err(ApiError::new(Reason::BadRequest)
            .detail("Send Content-Type: application/json or Content-Type: text/csv.")),
    }
}

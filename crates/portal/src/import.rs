//! Imports: files of announcements, uploaded in parts and taken up where they broke off, that take effect as a whole.
//!
//! What a part brings is read line by line as it comes and kept in the database up to its last whole line, so memory
//! does not grow with the file and any portal takes the next part. How an import takes effect is in
//! [`crate::import_job`].

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tandem_model::{ImportId, MemberId, Reason};
use tandem_store::import::{self, BadRows, Import, ImportFormat, ImportMode, ImportState, NewImport};
use tandem_store::node::NodeReport;
use tandem_store::{PgConnection, endpoint, idempotent_request, member, node};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::announcement::{EndpointNames, LiveOnView};
use crate::app::{App, AppState};
use crate::bulk::{BulkMode, read_key};
use crate::import_errors;
use crate::import_reader::{Ids, ImportReader, ImportRow};
use crate::page::{Page, PageQuery};
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id, Query};
use crate::session::Session;
use crate::text;
use crate::vocabulary;

/// Most octets of a file.
const MAX_OCTETS: u64 = 256 * 1024 * 1024;

/// Most lines of a file.
const MAX_LINES: u32 = 3_000_000;

/// Imports of a member that have not ended, at most: each may hold millions of rows.
const MAX_OPEN: u64 = 4;

/// Octets that are read and kept at once: what an upload that breaks off loses at most.
const PART: usize = 1024 * 1024;

/// Longest wait for the next octets of a part.
const LONGEST_STALL: Duration = Duration::from_secs(20);

/// What to import.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportInput {
    /// What you call the file.
    #[serde(default)]
    #[schema(max_length = 200, example = "routes.csv")]
    file_name: String,
    /// How the file is written: lines `prefix,endpoints` or `prefix,endpoints,action` below a first line that says so, or
    /// a JSON object on each line.
    #[schema(value_type = vocabulary::ImportFormat)]
    format: ImportFormat,
    /// Size of the file.
    #[schema(minimum = 1, maximum = 268_435_456)]
    octets: u64,
    /// What becomes of announcements that the file does not name.
    #[serde(default)]
    mode: BulkMode,
    /// What becomes of the import where rows cannot be taken: nothing of it takes effect (`refuse`), or the other rows do.
    #[serde(default)]
    #[schema(value_type = vocabulary::BadRows)]
    bad_rows: BadRowsInput,
}

/// [`BadRows`], and which of them counts where nothing is said.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(transparent)]
struct BadRowsInput(BadRows);

impl Default for BadRowsInput {
    fn default() -> Self {
        Self(BadRows::Refuse)
    }
}

/// A file of announcements, and how far it has come.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportView {
    #[schema(value_type = Uuid)]
    import_id: ImportId,
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    file_name: String,
    #[schema(value_type = vocabulary::ImportFormat)]
    format: ImportFormat,
    mode: BulkMode,
    #[schema(value_type = vocabulary::BadRows)]
    bad_rows: BadRows,
    #[schema(value_type = vocabulary::ImportState)]
    state: ImportState,
    created_at: DateTime<Utc>,
    /// Size of the file.
    octets: u64,
    /// How many of them have been kept: the next part begins here.
    received_octets: u64,
    /// Rows that can be taken, as far as is known.
    good_rows: u32,
    /// Rows that cannot; the errors of the import name them.
    faulty_rows: u32,
    /// When the last part came.
    #[schema(required)]
    received_at: Option<DateTime<Utc>>,
    /// When all rows had been looked at.
    #[schema(required)]
    checked_at: Option<DateTime<Utc>>,
    /// When it took effect or failed.
    #[schema(required)]
    ended_at: Option<DateTime<Utc>>,
    /// Prefixes that were not announced.
    added: u32,
    /// Prefixes whose endpoints or validity changed.
    changed: u32,
    /// Prefixes that are no longer announced.
    withdrawn: u32,
    /// Prefixes that were announced so already.
    unchanged: u32,
    /// Version of the route table that has all of it; null until it has taken effect.
    #[schema(required)]
    table_version: Option<u64>,
    /// On how many nodes it is in effect; null until it has taken effect.
    #[schema(required)]
    live_on: Option<LiveOnView>,
    /// Why it failed.
    #[schema(required, value_type = Option<vocabulary::ReasonCode>)]
    reason: Option<Reason>,
}

impl ImportView {
    fn of(import: Import, nodes: &[NodeReport], at: DateTime<Utc>) -> Self {
        Self {
            import_id: import.import_id,
            member_id: import.member_id,
            file_name: import.file_name,
            format: import.format,
            mode: match import.mode {
                ImportMode::Merge => BulkMode::Merge,
                ImportMode::Replace => BulkMode::Replace,
            },
            bad_rows: import.bad_rows,
            state: import.state,
            created_at: import.created_at,
            octets: import.octets,
            received_octets: import.received_octets,
            good_rows: import.good_rows,
            faulty_rows: import.faulty_rows,
            received_at: import.received_at,
            checked_at: import.checked_at,
            ended_at: import.ended_at,
            added: import.counts.added,
            changed: import.counts.changed,
            withdrawn: import.counts.withdrawn,
            unchanged: import.counts.unchanged,
            table_version: import.feed_position,
            live_on: import.feed_position.map(|position| LiveOnView::of(position, nodes, at)),
            reason: import.failure,
        }
    }

    async fn read(
        app: &AppState,
        db: &mut PgConnection,
        member: MemberId,
        id: ImportId,
    ) -> Result<Self, ApiError> {
        let import = find(&mut *db, member, id).await?;
        Ok(Self::of(import, &node::list(db).await?, app.clock.now()))
    }
}

/// An import of the member.
pub(crate) async fn find(db: &mut PgConnection, member: MemberId, id: ImportId) -> Result<Import, ApiError> {
    let found = import::list(db, member, Some(id), None, 1).await?.pop();
    found.ok_or_else(|| ApiError::new(Reason::NotFound))
}

/// `GET /api/v1/members/{member_id}/imports`: files of announcements that the member has uploaded.
#[utoipa::path(get, path = "/members/{member_id}/imports", tag = "imports",
    params(("member_id" = Uuid, Path), PageQuery), responses((status = 200, body = Page<ImportView>)))]
pub(crate) async fn list_imports(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ImportView>>, ApiError> {
    session.may_read(member)?;
    let place = query.read::<Uuid>()?;
    let imports = import::list(&app.db, member, None, place.after.map(ImportId), place.reads()).await?;
    let (nodes, now) = (node::list(&app.db).await?, app.clock.now());
    Ok(Json(place.page(imports, |it| it.import_id.0, |it| ImportView::of(it, &nodes, now))))
}

/// `POST /api/v1/members/{member_id}/imports`: begins an import; its file is then sent to `…/content`.
///
/// The same idempotency key with the same body is the same import for 24 hours, however far it has come: so a file
/// that is sent twice takes effect once, and an upload that broke off is found again.
#[utoipa::path(post, path = "/members/{member_id}/imports", tag = "imports",
    params(("member_id" = Uuid, Path),
        ("idempotency-key" = Option<String>, Header,
            description = "Any text of 1 to 200 characters, such as a digest of the file", max_length = 200)),
    request_body = ImportInput, responses((status = 201, body = ImportView)))]
pub(crate) async fn create_import(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    headers: HeaderMap,
    Body(input): Body<ImportInput>,
) -> Result<(StatusCode, Json<ImportView>), ApiError> {
    session.may_change(member)?;
    let key = read_key(&headers)?;
    let mut faults = Faults::default();
    let file_name = text::line(&mut faults, "file_name", &input.file_name, 0, 200);
    if !(1..=MAX_OCTETS).contains(&input.octets) {
        faults.note("octets", format!("write the size of the file, 1 to {MAX_OCTETS}"));
    }
    let file_name = faults.hold(file_name)?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let scope = format!("imports {member}");
    if let Some(key) = &key {
        let body = serde_json::to_vec(&input).expect("what was JSON is JSON");
        let hash: [u8; 32] = Sha256::digest(body).into();
        if !idempotent_request::claim(&mut *transaction, &scope, key, &hash, now).await? {
            let id = begun_before(&mut transaction, &scope, key, &hash).await?;
            let view = ImportView::read(&app, &mut transaction, member, id).await?;
            return Ok((StatusCode::CREATED, Json(view)));
        }
    }
    member::lock(&mut *transaction, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    if import::count_open(&mut *transaction, member).await? >= MAX_OPEN {
        return Err(ApiError::new(Reason::ImportsTooMany).detail(format!("There may be {MAX_OPEN}.")));
    }
    let new = NewImport {
        member,
        file_name: &file_name,
        format: input.format,
        mode: match input.mode {
            BulkMode::Merge => ImportMode::Merge,
            BulkMode::Replace => ImportMode::Replace,
        },
        bad_rows: input.bad_rows.0,
        octets: input.octets,
        user: session.user_id(),
        api_token: session.api_token_id(),
    };
    let id = import::insert(&mut *transaction, &new, now).await?;
    if let Some(key) = &key {
        let answer = serde_json::to_value(id).expect("an id is JSON");
        idempotent_request::answer(&mut *transaction, &scope, key, &answer).await?;
    }
    let view = ImportView::read(&app, &mut transaction, member, id).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// The import that the same request began.
async fn begun_before(
    db: &mut PgConnection,
    scope: &str,
    key: &str,
    hash: &[u8; 32],
) -> Result<ImportId, ApiError> {
    let before = idempotent_request::find(db, scope, key).await?;
    let before = before.ok_or_else(|| ApiError::new(Reason::Unavailable).retry_after_s(1))?;
    if before.request_hash != hash {
        return Err(ApiError::new(Reason::IdempotencyMismatch));
    }
    let id = before.response.and_then(|response| serde_json::from_value(response).ok());
    id.ok_or_else(|| ApiError::new(Reason::Unavailable).retry_after_s(1))
}

/// `GET /api/v1/members/{member_id}/imports/{import_id}`: how far an import has come.
#[utoipa::path(get, path = "/members/{member_id}/imports/{import_id}", tag = "imports",
    params(("member_id" = Uuid, Path), ("import_id" = Uuid, Path)),
    responses((status = 200, body = ImportView)))]
pub(crate) async fn get_import(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, ImportId)>,
) -> Result<Json<ImportView>, ApiError> {
    session.may_read(member)?;
    let mut db = app.db.acquire().await?;
    ImportView::read(&app, &mut db, member, id).await.map(Json)
}

/// `DELETE /api/v1/members/{member_id}/imports/{import_id}`: gives up an import that is still being received.
#[utoipa::path(delete, path = "/members/{member_id}/imports/{import_id}", tag = "imports",
    params(("member_id" = Uuid, Path), ("import_id" = Uuid, Path)),
    responses((status = 204, description = "given up")))]
pub(crate) async fn delete_import(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, ImportId)>,
) -> Result<StatusCode, ApiError> {
    session.may_change(member)?;
    let mut db = app.db.acquire().await?;
    find(&mut db, member, id).await?;
    if !import::delete(&mut *db, id).await? {
        return Err(ApiError::new(Reason::ImportState));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/members/{member_id}/imports/{import_id}/errors`: the rows that cannot be taken, as CSV.
///
/// The columns are line, row, reason, detail and remedy; at most 100,000 rows for each kind of fault. They are kept for
/// 30 days.
#[utoipa::path(get, path = "/members/{member_id}/imports/{import_id}/errors", tag = "imports",
    params(("member_id" = Uuid, Path), ("import_id" = Uuid, Path)),
    responses((status = 200, content_type = "text/csv", body = String)))]
pub(crate) async fn get_import_errors(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, ImportId)>,
) -> Result<Response, ApiError> {
    session.may_read(member)?;
    let mut db = app.db.acquire().await?;
    find(&mut db, member, id).await?;
    drop(db);
    let pages = stream::unfold(Some(import_errors::Cursor::default()), move |cursor| {
        let app = app.clone();
        async move { import_errors::next_page(&app, id, cursor?).await }
    });
    // Compression asks once more after the end.
    let pages = pages.fuse();
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"import-errors.csv\""),
    ];
    Ok((headers, HttpBody::from_stream(pages)).into_response())
}

/// `PUT /api/v1/members/{member_id}/imports/{import_id}/content`: the file, or a part of it.
///
/// A part says where it begins with `Content-Range: bytes FIRST-LAST/SIZE`; what has been kept already is passed over,
/// so the whole file may be sent again as well. Where a connection breaks, `received_octets` says what has been kept.
/// When the last octet is there, the rows are looked at, and take effect together.
#[utoipa::path(put, path = "/members/{member_id}/imports/{import_id}/content", tag = "imports",
    params(("member_id" = Uuid, Path), ("import_id" = Uuid, Path),
        ("content-range" = Option<String>, Header, description = "Which octets of the file these are; all of them where it is left out")),
    request_body(content((String = "text/csv"), (ImportRow = "application/x-ndjson"))),
    responses((status = 200, body = ImportView)))]
pub(crate) async fn put_import_content(
    State(app): State<App>,
    session: Session,
    Id((member, id)): Id<(MemberId, ImportId)>,
    request: Request,
) -> Result<Json<ImportView>, ApiError> {
    session.may_change(member)?;
    // Each upload has a part in memory.
    let _room = app.bulk_room.acquire().await.map_err(|_| ApiError::new(Reason::Overloaded))?;
    let mut db = app.db.acquire().await?;
    let import = find(&mut db, member, id).await?;
    if import.state != ImportState::Receiving {
        return Err(ApiError::new(Reason::ImportState));
    }
    let names = EndpointNames::of(endpoint::names_of_member(&mut *db, member).await?);
    drop(db);
    let first = first_octet(request.headers(), import.octets)?;
    let Some(passed_over) = import.received_octets.checked_sub(first) else {
        let detail = format!("It has come to {} of {} octets.", import.received_octets, import.octets);
        return Err(ApiError::new(Reason::ImportOffset).detail(detail));
    };
    let mut upload = Upload { app: &app, import, names: Arc::new(names), gathered: Vec::new(), passed_over };
    let outcome = upload.take(request.into_body()).await;
    app.import_due.notify_one();
    outcome?;
    let mut db = app.db.acquire().await?;
    ImportView::read(&app, &mut db, member, id).await.map(Json)
}

/// The first octet of a part (RFC 9110 §14.4); 0 where the request does not say.
fn first_octet(headers: &HeaderMap, octets: u64) -> Result<u64, ApiError> {
    let Some(value) = headers.get(header::CONTENT_RANGE) else { return Ok(0) };
    let read = || {
        let (range, size) = value.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        (size.parse() == Ok(octets) && first <= last && last < octets).then_some(first)
    };
    read().ok_or_else(|| {
        ApiError::field(
            "content-range",
            format!("write bytes FIRST-LAST/{octets}, where LAST is less than {octets}"),
        )
    })
}

/// A part of a file that is coming in.
struct Upload<'a> {
    app: &'a AppState,
    import: Import,
    names: Arc<EndpointNames>,
    /// Octets that have come and are not kept yet.
    gathered: Vec<u8>,
    /// How many octets that are kept already are still to come.
    passed_over: u64,
}

impl Upload<'_> {
    /// Takes what comes; also of a body that breaks off, the whole lines are kept.
    async fn take(&mut self, body: HttpBody) -> Result<(), ApiError> {
        let mut body = body.into_data_stream();
        let broken = loop {
            match tokio::time::timeout(LONGEST_STALL, body.next()).await {
                Ok(Some(Ok(octets))) => self.gather(octets).await?,
                Ok(None) => break None,
                Ok(Some(Err(_))) => break Some("The upload broke off; go on from received_octets."),
                Err(_) => break Some("The upload came too slowly; go on from received_octets."),
            }
        };
        self.keep().await?;
        broken.map_or(Ok(()), |detail| Err(ApiError::new(Reason::BadRequest).detail(detail)))
    }

    async fn gather(&mut self, octets: Bytes) -> Result<(), ApiError> {
        let passed_over = self.passed_over.min(octets.len() as u64);
        self.passed_over -= passed_over;
        self.gathered.extend_from_slice(&octets[passed_over as usize..]);
        let come = self.import.received_octets + self.gathered.len() as u64;
        if come > self.import.octets {
            let detail =
                format!("The file was said to have {} octets, and there are more.", self.import.octets);
            return Err(ApiError::new(Reason::BadRequest).detail(detail));
        }
        if self.gathered.len() < PART {
            return Ok(());
        }
        if !self.gathered.contains(&b'\n') {
            return self.give_up(ApiError::new(Reason::ImportUnreadable)).await;
        }
        self.keep().await
    }

    /// Keeps the lines that are there whole.
    async fn keep(&mut self) -> Result<(), ApiError> {
        let is_last = self.import.received_octets + self.gathered.len() as u64 == self.import.octets;
        let end = self.gathered.iter().rposition(|octet| *octet == b'\n').map_or(0, |last| last + 1);
        let rest = if is_last { Vec::new() } else { self.gathered.split_off(end) };
        let octets = std::mem::replace(&mut self.gathered, rest);
        if octets.is_empty() {
            return Ok(());
        }
        let now = self.app.clock.now();
        let mut random = [0; 6];
        (self.app.entropy)(&mut random);
        let ids = Ids { unix_ms: now.timestamp_millis().unsigned_abs(), random };
        let (names, import) = (self.names.clone(), self.import.import_id);
        let (format, lines_before) = (self.import.format, self.import.received_lines);
        let read = move || ImportReader { import, format, lines_before, names: &names, ids }.read(&octets);
        let part = match tokio::task::spawn_blocking(read).await.expect("reading lines does not panic") {
            Ok(part) => part,
            Err(error) => return self.give_up(error).await,
        };
        if lines_before + part.lines > MAX_LINES {
            let detail = format!("There are more than {MAX_LINES} lines.");
            return self.give_up(ApiError::new(Reason::TooLarge).detail(detail)).await;
        }
        let mut transaction = self.app.db.begin().await?;
        let from = self.import.received_octets;
        if !import::receive(&mut transaction, import, from, &part, now).await? {
            // Another upload of the same file was quicker, or somebody gave it up.
            return Err(ApiError::new(Reason::ImportOffset));
        }
        transaction.commit().await?;
        self.import.received_octets += part.octets;
        self.import.received_lines += part.lines;
        Ok(())
    }

    /// Ends an import whose file is none.
    async fn give_up(&self, error: ApiError) -> Result<(), ApiError> {
        import::fail(&self.app.db, self.import.import_id, error.reason(), self.app.clock.now()).await?;
        Err(error)
    }
}

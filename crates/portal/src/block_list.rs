//! What is never called: a list for each member, and one of the operator for everybody.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tandem_model::{MemberId, Prefix, Reason};
use tandem_store::{block_list, member};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::problem::{ApiError, Faults};
use crate::request::{Body, Id};
use crate::session::{Change, Session};
use crate::text;

/// Most prefixes of a list.
const MAX_BLOCKED: usize = 10_000;

/// Numbers to which no calls go.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct BlockListView {
    /// Calls to numbers that begin with one of these are refused, whoever would take them.
    #[schema(value_type = Vec<String>, example = json!(["+44909", "+882"]))]
    prefixes: Vec<Prefix>,
}

/// A block list as it shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlockListInput {
    /// All of its prefixes; those that are not named are taken off it.
    #[schema(max_items = 10_000, example = json!(["+44909", "+882"]))]
    prefixes: Vec<String>,
}

impl BlockListInput {
    fn read(&self) -> Result<Vec<Prefix>, ApiError> {
        if self.prefixes.len() > MAX_BLOCKED {
            let count = self.prefixes.len();
            return Err(ApiError::field(
                "prefixes",
                format!("there are {count}; write at most {MAX_BLOCKED}"),
            ));
        }
        let mut faults = Faults::default();
        let read = self.prefixes.iter().filter_map(|input| text::prefix(&mut faults, "prefixes", input));
        let mut prefixes: Vec<Prefix> = read.collect();
        faults.check()?;
        prefixes.sort_unstable();
        prefixes.dedup();
        Ok(prefixes)
    }
}

/// `GET /api/v1/members/{member_id}/block-list`: what the member never calls.
#[utoipa::path(get, path = "/members/{member_id}/block-list", tag = "block lists",
    params(("member_id" = Uuid, Path)), responses((status = 200, body = BlockListView)))]
pub(crate) async fn get_block_list(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
) -> Result<Json<BlockListView>, ApiError> {
    session.may_read(member)?;
    Ok(Json(BlockListView { prefixes: block_list::get(&app.db, Some(member)).await? }))
}

/// `PUT /api/v1/members/{member_id}/block-list`: makes it a list of just these prefixes.
#[utoipa::path(put, path = "/members/{member_id}/block-list", tag = "block lists",
    params(("member_id" = Uuid, Path)), request_body = BlockListInput,
    responses((status = 200, body = BlockListView)))]
pub(crate) async fn put_block_list(
    State(app): State<App>,
    session: Session,
    Id(member): Id<MemberId>,
    Body(input): Body<BlockListInput>,
) -> Result<Json<BlockListView>, ApiError> {
    session.may_change(member)?;
    put(app, session, Some(member), input).await
}

/// `GET /api/v1/block-list`: what nobody calls.
#[utoipa::path(get, path = "/block-list", tag = "block lists", responses((status = 200, body = BlockListView)))]
pub(crate) async fn get_common_block_list(
    State(app): State<App>,
    session: Session,
) -> Result<Json<BlockListView>, ApiError> {
    session.must_be_operator()?;
    Ok(Json(BlockListView { prefixes: block_list::get(&app.db, None).await? }))
}

/// `PUT /api/v1/block-list`: makes it a list of just these prefixes.
#[utoipa::path(put, path = "/block-list", tag = "block lists", request_body = BlockListInput,
    responses((status = 200, body = BlockListView)))]
pub(crate) async fn put_common_block_list(
    State(app): State<App>,
    session: Session,
    Body(input): Body<BlockListInput>,
) -> Result<Json<BlockListView>, ApiError> {
    session.must_be_operator()?;
    put(app, session, None, input).await
}

async fn put(
    app: App,
    session: Session,
    member: Option<MemberId>,
    input: BlockListInput,
) -> Result<Json<BlockListView>, ApiError> {
    let prefixes = input.read()?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    if let Some(member) = member {
        member::lock(&mut *transaction, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    }
    let before = BlockListView { prefixes: block_list::get(&mut *transaction, member).await? };
    block_list::put(&mut transaction, member, &prefixes, now).await?;
    let after = BlockListView { prefixes };
    let object = member.map_or(Uuid::nil(), |member| member.0);
    let change = Change::of("block_list.put", member, object, Some(&before), Some(&after));
    session.record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(Json(after))
}

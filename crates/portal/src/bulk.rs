//! Many announcements at once: all rows are looked at first, then all take effect together, or none.
//!
//! A named prefix is announced from now on, until further notice, on the endpoints of its row, whatever was
//! planned for it. With an idempotency key the same request has one effect and the same answer.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use tandem_model::{AnnouncementId, EndpointId, MemberId, Prefix, Reason};
use tandem_store::announcement::{self, Standing};
use tandem_store::{PgConnection, endpoint, idempotent_request, member};
use utoipa::{IntoParams, ToSchema};

use crate::announcement::EndpointNames;
use crate::app::App;
use crate::csv;
use crate::problem::{ApiError, Faults};
use crate::request::{Id, Query, media_type, parse_json, read_body};
use crate::session::{Change, Session};
use crate::text;

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct BulkView {
    /// Prefixes that were not announced.
    added: u64,
    /// Prefixes whose endpoints or validity changed.
    changed: u64,
    /// Prefixes that are no longer announced.
    withdrawn: u64,
    /// Prefixes that were announced so already.
    unchanged: u64,
    /// Version of the route table that has all of it.
    table_version: u64,
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
    let key = read_key(&request)?;
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
    let plan = Plan::make(&wish, &standing, now);
    plan.carry_out(&mut transaction, member, now).await?;

    let table_version = announcement::feed_position(&mut *transaction).await?;
    let view = BulkView { table_version, ..plan.summary() };
    if plan.changes_something() {
        let (before, after) = plan.audited(&view, &standing);
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
fn read_key(request: &Request) -> Result<Option<String>, ApiError> {
    let Some(value) = request.headers().get(IDEMPOTENCY_KEY) else { return Ok(None) };
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
struct Input {
    mode: BulkMode,
    rows: Vec<(usize, BulkRow)>,
    withdraw: Vec<String>,
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

/// What is to be announced and withdrawn, every row looked at.
#[derive(Debug, PartialEq)]
struct Wish {
    mode: BulkMode,
    announce: Vec<(Prefix, Vec<EndpointId>)>,
    withdraw: Vec<Prefix>,
}

impl Wish {
    fn read(input: Input, names: &EndpointNames) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let mut seen: HashMap<Prefix, usize> = HashMap::with_capacity(input.rows.len());
        let mut announce = Vec::with_capacity(input.rows.len());
        for (row, BulkRow { prefix, endpoints }) in &input.rows {
            faults.at_row(*row);
            let prefix = text::announced(&mut faults, "prefix", prefix);
            let endpoints = names.read(&mut faults, "endpoints", endpoints);
            let Some((prefix, endpoints)) = prefix.zip(endpoints) else { continue };
            match seen.insert(prefix, *row) {
                Some(other) => faults.note("prefix", format!("{prefix} is in row {other} too")),
                None => announce.push((prefix, endpoints)),
            }
        }
        let mut withdraw = Vec::with_capacity(input.withdraw.len());
        for (index, text) in input.withdraw.iter().enumerate() {
            faults.at_row(index + 1);
            let Some(prefix) = text::prefix(&mut faults, "withdraw", text) else { continue };
            match seen.get(&prefix) {
                Some(row) => faults.note("withdraw", format!("{prefix} is announced in row {row}")),
                None => withdraw.push(prefix),
            }
        }
        if input.mode == BulkMode::Replace && !input.withdraw.is_empty() {
            faults.at_row(1);
            faults.note("withdraw", "with replace, what is not named is withdrawn; leave this out");
        }
        faults.check()?;
        Ok(Self { mode: input.mode, announce, withdraw })
    }

    /// Every prefix that is named.
    fn prefixes(&self) -> impl Iterator<Item = Prefix> + '_ {
        self.announce.iter().map(|(prefix, _)| *prefix).chain(self.withdraw.iter().copied())
    }
}

/// What must happen for a wish to come true.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    add: Vec<(Prefix, Vec<EndpointId>)>,
    change: Vec<(AnnouncementId, Prefix, Vec<EndpointId>)>,
    withdraw: Vec<(AnnouncementId, Prefix)>,
    /// Announcements that were planned for a prefix that is now announced otherwise.
    supersede: Vec<AnnouncementId>,
    unchanged: u64,
}

impl Plan {
    fn make(wish: &Wish, standing: &[Standing], now: DateTime<Utc>) -> Self {
        let mut plan = Self::default();
        let mut by_prefix: HashMap<Prefix, Vec<&Standing>> = HashMap::with_capacity(standing.len());
        for stands in standing {
            by_prefix.entry(stands.prefix).or_default().push(stands);
        }
        for (prefix, endpoints) in &wish.announce {
            let stands = by_prefix.remove(prefix).unwrap_or_default();
            let (now_in_force, planned): (Vec<&Standing>, Vec<_>) =
                stands.into_iter().partition(|it| it.validity.contains(now));
            plan.supersede.extend(planned.iter().map(|it| it.announcement_id));
            match now_in_force.first() {
                Some(it)
                    if it.endpoints == *endpoints && it.validity.until.is_none() && planned.is_empty() =>
                {
                    plan.unchanged += 1;
                }
                Some(it) => plan.change.push((it.announcement_id, *prefix, endpoints.clone())),
                None => plan.add.push((*prefix, endpoints.clone())),
            }
        }
        let ended: Vec<&Standing> = match wish.mode {
            BulkMode::Replace => by_prefix.into_values().flatten().collect(),
            BulkMode::Merge => {
                wish.withdraw.iter().flat_map(|prefix| by_prefix.remove(prefix).unwrap_or_default()).collect()
            }
        };
        plan.withdraw = ended.into_iter().map(|it| (it.announcement_id, it.prefix)).collect();
        plan
    }

    fn changes_something(&self) -> bool {
        !(self.add.is_empty() && self.change.is_empty() && self.withdraw.is_empty())
    }

    fn summary(&self) -> BulkView {
        let withdrawn: std::collections::HashSet<Prefix> =
            self.withdraw.iter().map(|(_, prefix)| *prefix).collect();
        BulkView {
            added: self.add.len() as u64,
            changed: self.change.len() as u64,
            withdrawn: withdrawn.len() as u64,
            unchanged: self.unchanged,
            table_version: 0,
        }
    }

    async fn carry_out(
        &self,
        db: &mut PgConnection,
        member: MemberId,
        now: DateTime<Utc>,
    ) -> Result<(), ApiError> {
        let ended = self.withdraw.iter().map(|(id, _)| *id).chain(self.supersede.iter().copied());
        let ended: Vec<AnnouncementId> = ended.collect();
        if !ended.is_empty() {
            announcement::withdraw(db, member, &ended, now).await?;
        }
        if !self.change.is_empty() {
            let change: Vec<_> =
                self.change.iter().map(|(id, _, endpoints)| (*id, endpoints.clone())).collect();
            announcement::update_many(db, member, &change).await?;
        }
        if !self.add.is_empty() {
            announcement::insert_many(db, member, &self.add, now).await?;
        }
        Ok(())
    }

    /// Before and after for the audit log: the counts, and each prefix that changed with its endpoints.
    fn audited(&self, view: &BulkView, standing: &[Standing]) -> (serde_json::Value, serde_json::Value) {
        let touched: std::collections::HashSet<AnnouncementId> =
            self.change.iter().map(|(id, ..)| *id).chain(self.withdraw.iter().map(|(id, _)| *id)).collect();
        let was = standing.iter().filter(|it| touched.contains(&it.announcement_id));
        let was: HashMap<String, &Vec<EndpointId>> =
            was.map(|it| (it.prefix.to_string(), &it.endpoints)).collect();
        let is = self.add.iter().map(|(prefix, endpoints)| (prefix, endpoints));
        let is = is.chain(self.change.iter().map(|(_, prefix, endpoints)| (prefix, endpoints)));
        let is: HashMap<String, &Vec<EndpointId>> =
            is.map(|(prefix, endpoints)| (prefix.to_string(), endpoints)).collect();
        (json!({ "rows": was }), json!({ "summary": view, "rows": is }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use tandem_model::Validity;
    use uuid::Uuid;

    fn prefix(text: &str) -> Prefix {
        text.parse().expect("the test writes a prefix")
    }

    fn endpoint(number: u128) -> EndpointId {
        EndpointId(Uuid::from_u128(number))
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(2_000_000_000, 0).unwrap()
    }

    fn stands(id: u128, text: &str, endpoints: &[u128], from_s: i64, until_s: Option<i64>) -> Standing {
        let at = |s| now() + TimeDelta::seconds(s);
        Standing {
            announcement_id: AnnouncementId(Uuid::from_u128(id)),
            prefix: prefix(text),
            validity: Validity { from: at(from_s), until: until_s.map(at) },
            endpoints: endpoints.iter().map(|&number| endpoint(number)).collect(),
        }
    }

    fn plan(
        mode: BulkMode,
        announce: &[(&str, u128)],
        withdraw: &[&str],
        standing: &[Standing],
    ) -> [usize; 5] {
        let wish = Wish {
            mode,
            announce: announce.iter().map(|(text, number)| (prefix(text), vec![endpoint(*number)])).collect(),
            withdraw: withdraw.iter().map(|text| prefix(text)).collect(),
        };
        let plan = Plan::make(&wish, standing, now());
        let Plan { add, change, withdraw, supersede, unchanged } = &plan;
        [add.len(), change.len(), withdraw.len(), supersede.len(), *unchanged as usize]
    }

    #[test]
    fn a_merge_leaves_alone_what_it_does_not_name() {
        let standing = [stands(1, "+44", &[1], -10, None), stands(2, "+45", &[1], -10, None)];
        assert_eq!(plan(BulkMode::Merge, &[("+44", 1), ("+46", 1)], &[], &standing), [1, 0, 0, 0, 1]);
        assert_eq!(plan(BulkMode::Merge, &[("+44", 2)], &["+45", "+47"], &standing), [0, 1, 1, 0, 0]);
    }

    #[test]
    fn a_replacement_withdraws_what_it_does_not_name() {
        let standing = [stands(1, "+44", &[1], -10, None), stands(2, "+45", &[1], 10, None)];
        assert_eq!(plan(BulkMode::Replace, &[("+44", 1)], &[], &standing), [0, 0, 1, 0, 1]);
        assert_eq!(plan(BulkMode::Replace, &[], &[], &standing), [0, 0, 2, 0, 0]);
    }

    #[test]
    fn what_was_planned_for_a_named_prefix_is_superseded() {
        let standing = [stands(1, "+44", &[1], -10, Some(10)), stands(2, "+44", &[2], 10, None)];
        assert_eq!(plan(BulkMode::Merge, &[("+44", 1)], &[], &standing), [0, 1, 0, 1, 0]);
        assert_eq!(plan(BulkMode::Merge, &[("+44", 1)], &[], &standing[1..]), [1, 0, 0, 1, 0]);
        assert_eq!(plan(BulkMode::Merge, &[("+44", 1)], &[], &standing[..1]), [0, 1, 0, 0, 0]);
    }
}

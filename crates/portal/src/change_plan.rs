//! What a change set would change: written in a transaction that is rolled back, compared, and played on the calls of
//! the last day.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tandem_model::{EndpointId, MemberId, Prefix, Reason};
use tandem_routing::{Comparison, Replay, Route, RouteChangeKind, RouteTable, TableHash};
use tandem_store::announcement::{self, Standing};
use tandem_store::rehearsal::Rehearsal;
use tandem_store::{PgConnection, facts};
use utoipa::ToSchema;

use crate::app::{AppState, ApprovalThreshold};
use crate::bulk::BulkView;
use crate::forecast;
use crate::problem::ApiError;
use crate::vocabulary;
use crate::wish::{Edits, Wish};

/// Longest statement of a plan.
const LONGEST_STATEMENT: Duration = Duration::from_secs(60);

/// Most routes, and most announcements, that a plan names.
const MAX_NAMED: usize = 100;

/// Who takes calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct TakerView {
    /// Null for another member, where a member reads.
    #[schema(required, value_type = Option<Uuid>)]
    member_id: Option<MemberId>,
    #[schema(required)]
    member_name: Option<String>,
    #[schema(required)]
    endpoint_name: Option<String>,
}

/// What happens to the calls of one member to one prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RouteChangeView {
    #[schema(value_type = String, example = "+4420")]
    prefix: Prefix,
    /// The member that calls.
    #[schema(value_type = Uuid)]
    originating_member_id: MemberId,
    originating_member_name: String,
    #[schema(value_type = vocabulary::RouteChangeKind)]
    kind: RouteChangeKind,
    /// Who takes its calls now.
    before: Vec<TakerView>,
    /// Why nobody does.
    #[schema(required, value_type = Option<vocabulary::ReasonCode>)]
    before_reason: Option<Reason>,
    /// Who will.
    after: Vec<TakerView>,
    /// Why nobody will.
    #[schema(required, value_type = Option<vocabulary::ReasonCode>)]
    after_reason: Option<Reason>,
}

/// An announcement that will not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct IdleView {
    #[schema(value_type = String, example = "+4420")]
    prefix: Prefix,
    #[schema(value_type = Uuid)]
    member_id: MemberId,
    #[schema(value_type = vocabulary::ReasonCode)]
    reason: Reason,
}

/// Calls of the last day that would go elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct MoveView {
    calls: u64,
    /// Who gets them by the routes as they are; null where they are refused.
    #[schema(required)]
    from: Option<TakerView>,
    /// Who will get them; null where they will be refused.
    #[schema(required)]
    to: Option<TakerView>,
}

/// What a change set would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct PlanView {
    /// When it was worked out.
    planned_at: DateTime<Utc>,
    /// For which moment.
    effective_at: DateTime<Utc>,
    /// For which route table.
    table_version: u64,
    table_hash: String,
    /// Announcements; their `table_version` is that of the plan.
    announcements: BulkView,
    /// Prefixes that some member's calls would find otherwise.
    pub(crate) prefixes: u64,
    /// Pairs of prefix and calling member whose calls would go somewhere.
    routes_added: u64,
    /// Those whose calls would go elsewhere.
    routes_changed: u64,
    /// Those whose calls would be refused: the numbers become unreachable.
    routes_removed: u64,
    /// The first 100 of these pairs.
    routes: Vec<RouteChangeView>,
    /// Announcements that would not count.
    idle: u64,
    /// The first 100 of them.
    idle_announcements: Vec<IdleView>,
    /// Calls that were answered in the last 24 hours.
    calls: u64,
    /// Those that would go elsewhere.
    pub(crate) moved_calls: u64,
    moves: Vec<MoveView>,
    /// Whether a second person must approve it.
    pub(crate) needs_approval: bool,
}

impl PlanView {
    /// The plan as a member sees it: of other members, only who calls it.
    pub(crate) fn seen_by(mut self, reader: Option<MemberId>) -> Self {
        let Some(reader) = reader else { return self };
        let takers = self.routes.iter_mut().flat_map(|route| route.before.iter_mut().chain(&mut route.after));
        let moved = self.moves.iter_mut().flat_map(|it| it.from.iter_mut().chain(&mut it.to));
        for taker in takers.chain(moved).filter(|taker| taker.member_id != Some(reader)) {
            *taker = TakerView { member_id: None, member_name: None, endpoint_name: None };
        }
        self.idle_announcements.retain(|idle| idle.member_id == reader);
        self
    }
}

/// A plan, and by which table it was made.
#[derive(Debug)]
pub(crate) struct ChangePlan {
    pub(crate) view: PlanView,
    pub(crate) hash: TableHash,
}

/// Begins a transaction of which the effect is seen, beside the table that is true until it.
pub(crate) async fn begin(app: &AppState) -> Result<(Rehearsal, RouteTable), ApiError> {
    let table = app.table.load_full();
    if let Some((rehearsal, missed)) = Rehearsal::begin(&app.db, table.version(), LONGEST_STATEMENT).await? {
        return Ok((rehearsal, table.apply(missed)));
    }
    // A portal that has no table yet, or one that is far behind.
    let loaded = facts::load(&app.db).await?;
    let table = blocking(move || RouteTable::from_facts(loaded.facts)).await?;
    let begun = Rehearsal::begin(&app.db, table.version(), LONGEST_STATEMENT).await?;
    let (rehearsal, missed) = begun.ok_or_else(|| ApiError::new(Reason::PlanOutdated))?;
    Ok((rehearsal, table.apply(missed)))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::new(Reason::InternalError))
}

/// Lets a wish come true from `at` on; what was done, and what stood for its prefixes.
pub(crate) async fn write(
    db: &mut PgConnection,
    member: MemberId,
    wish: &Wish,
    at: DateTime<Utc>,
) -> Result<(Edits, Vec<Standing>), ApiError> {
    let prefixes: Vec<Prefix> = wish.prefixes().collect();
    let standing = announcement::standing(&mut *db, member, Some(&prefixes), at).await?;
    let edits = Edits::make(wish, &standing, at);
    edits.carry_out(db, member, at).await?;
    Ok((edits, standing))
}

impl ChangePlan {
    /// Works out what a wish changes from `effective_at` on. Nothing of it stays.
    pub(crate) async fn make(
        app: &AppState,
        member: MemberId,
        wish: &Wish,
        effective_at: DateTime<Utc>,
    ) -> Result<Self, ApiError> {
        let (mut rehearsal, before) = begin(app).await?;
        let (edits, _) = write(rehearsal.connection(), member, wish, effective_at).await?;
        let changes = rehearsal.effect().await?;
        rehearsal.roll_back().await?;

        let (hash, now) = (before.hash(), app.clock.now());
        let compare = move || {
            let after = before.apply(changes.clone());
            let comparison = Comparison::between(&before, &after, &changes, MAX_NAMED, effective_at);
            (Arc::new(before), Arc::new(after), comparison)
        };
        let (before, after, comparison) = blocking(compare).await?;
        let replay = forecast::replay(&app.db, before.clone(), after.clone(), effective_at, now).await?;
        let tables = Tables { before: &before, after: &after };
        let rows = BulkView { table_version: before.version(), ..edits.summary() };
        let view = PlanView {
            planned_at: now,
            effective_at,
            table_version: before.version(),
            table_hash: hash.to_string(),
            announcements: rows,
            needs_approval: exceeds(&app.settings.approval, &comparison, &replay),
            ..tables.describe(&comparison, &replay, now)
        };
        Ok(Self { view, hash })
    }
}

fn exceeds(threshold: &ApprovalThreshold, comparison: &Comparison, replay: &Replay) -> bool {
    replay.moved > threshold.moved_calls || comparison.prefixes > threshold.prefixes
}

/// The two tables, for the names in them.
struct Tables<'a> {
    before: &'a RouteTable,
    after: &'a RouteTable,
}

impl Tables<'_> {
    fn describe(&self, comparison: &Comparison, replay: &Replay, now: DateTime<Utc>) -> PlanView {
        let routes = comparison.changes.iter().map(|change| RouteChangeView {
            prefix: change.prefix,
            originating_member_id: change.originating_member,
            originating_member_name: self.member(change.originating_member),
            kind: change.kind,
            before: self.takers(&change.before),
            before_reason: change.before.refusal,
            after: self.takers(&change.after),
            after_reason: change.after.refusal,
        });
        let idle = comparison.idle_announcements.iter();
        let idle = idle.map(|it| IdleView { prefix: it.prefix, member_id: it.member, reason: it.reason });
        let moves = replay.moves.iter().map(|((from, to), calls)| MoveView {
            calls: *calls,
            from: from.map(|member| self.taker(member, None)),
            to: to.map(|member| self.taker(member, None)),
        });
        PlanView {
            planned_at: now,
            effective_at: now,
            table_version: 0,
            table_hash: String::new(),
            announcements: BulkView::default(),
            prefixes: comparison.prefixes,
            routes_added: comparison.added,
            routes_changed: comparison.changed,
            routes_removed: comparison.removed,
            routes: routes.collect(),
            idle: comparison.idle,
            idle_announcements: idle.collect(),
            calls: replay.calls,
            moved_calls: replay.moved,
            moves: moves.collect(),
            needs_approval: false,
        }
    }

    fn takers(&self, route: &Route) -> Vec<TakerView> {
        route.takers.iter().map(|taker| self.taker(taker.member, Some(taker.endpoint))).collect()
    }

    fn taker(&self, member: MemberId, endpoint: Option<EndpointId>) -> TakerView {
        let named = |id| self.after.endpoint(id).or_else(|| self.before.endpoint(id));
        TakerView {
            member_id: Some(member),
            member_name: Some(self.member(member)),
            endpoint_name: endpoint.and_then(named).map(|endpoint| endpoint.name.clone()),
        }
    }

    fn member(&self, id: MemberId) -> String {
        let member = self.after.member(id).or_else(|| self.before.member(id));
        member.map_or_else(|| id.to_string(), |member| member.name.clone())
    }
}

//! How a change set takes effect, and how what stood before it is restored: all of it in one transaction.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tandem_model::{
    AnnouncementId, CallLimits, ChangeSetId, EndpointId, MemberId, Prefix, Reason, Tag, Validity,
};
use tandem_store::PgConnection;
use tandem_store::announcement::{self, Described, Standing};
use tandem_store::audit::{self, NewAuditEntry};
use tandem_store::change_set::{self, ChangeSet, ChangeSetState, Item, ItemAction};

use crate::app::AppState;
use crate::change_plan::{self, ChangePlan, PlanView};
use crate::change_set::{find, must_be, plan_of, wish_of};
use crate::problem::ApiError;
use crate::session::{Change, Session};

/// How often a change set is planned anew because routes changed between its plan and its effect.
const TRIES: u32 = 5;

/// Most prefixes that a refusal names.
const MAX_NAMED: usize = 5;

/// On whose word a change set takes effect.
pub(crate) enum Actor<'a> {
    /// Somebody applies it now.
    Session(&'a Session),
    /// Its time has come: its author's.
    Author(&'a ChangeSet),
}

impl Actor<'_> {
    pub(crate) async fn record(
        &self,
        db: &mut PgConnection,
        at: DateTime<Utc>,
        change: Change<'_>,
    ) -> Result<(), ApiError> {
        let set = match self {
            Self::Session(session) => return session.record(db, at, change).await,
            Self::Author(set) => set,
        };
        let entry = NewAuditEntry {
            at,
            user: set.author,
            api_token: set.author_token,
            member: change.member,
            action: change.action,
            object_kind: "change_set",
            object_id: change.object_id,
            before: change.before,
            after: change.after,
            source: None,
        };
        Ok(audit::append(db, &entry).await?)
    }
}

/// Whether somebody approved the change set, and its plan has not grown by more than a tenth since.
pub(crate) fn is_approved(set: &ChangeSet, plan: &PlanView) -> bool {
    let covers = |approved: u64, planned: u64| planned <= approved + approved / 10;
    plan_of(set.approved_plan.as_ref()).is_some_and(|approved| {
        covers(approved.moved_calls, plan.moved_calls) && covers(approved.prefixes, plan.prefixes)
    })
}

/// Whether it may take effect as far as approvals go.
pub(crate) fn check_approval(set: &ChangeSet, plan: &PlanView) -> Result<(), ApiError> {
    if !plan.needs_approval || is_approved(set, plan) {
        return Ok(());
    }
    let PlanView { moved_calls, prefixes, .. } = plan;
    let detail =
        format!("It moves {moved_calls} of the calls of the last 24 hours, and {prefixes} prefixes.");
    Err(ApiError::new(Reason::ApprovalMissing).detail(detail))
}

/// Lets a change set that is in the state `from` take effect now: planned, judged and written for one and the same state
/// of the exchange.
pub(crate) async fn take_effect(
    app: &AppState,
    member: MemberId,
    id: ChangeSetId,
    actor: &Actor<'_>,
    from: ChangeSetState,
) -> Result<(), ApiError> {
    let mut db = app.db.acquire().await?;
    let set = find(&mut db, member, id).await?;
    let wish = wish_of(&change_set::items(&mut *db, id, i64::MAX).await?);
    drop(db);
    must_be(set.state, &[from])?;
    for _ in 0..TRIES {
        let now = app.clock.now();
        let plan = ChangePlan::make(app, member, &wish, now).await?;
        check_approval(&set, &plan.view)?;
        let (mut rehearsal, before) = change_plan::begin(app).await?;
        if before.hash() != plan.hash {
            rehearsal.roll_back().await?;
            continue;
        }
        let db = rehearsal.connection();
        must_be(change_set::lock(&mut *db, member, id).await?.unwrap_or(set.state), &[from])?;
        let (_, standing) = change_plan::write(db, member, &wish, now).await?;
        let stood = stood(&standing);
        let before: Vec<(Prefix, serde_json::Value)> = wish
            .prefixes()
            .map(|prefix| (prefix, json!(stood.get(&prefix).map_or(&[][..], Vec::as_slice))))
            .collect();
        let planned = serde_json::to_value(&plan.view).expect("a plan is JSON");
        change_set::set_applied(db, id, &planned, &before, now).await?;
        let change = Change {
            action: "change_set.apply",
            member: Some(member),
            object_id: Some(id.0),
            before: None,
            after: Some(json!({ "note": set.note, "items": set.items, "plan": planned })),
        };
        actor.record(db, now, change).await?;
        rehearsal.commit().await?;
        return Ok(());
    }
    Err(ApiError::new(Reason::PlanOutdated))
}

/// An announcement as it stood before a change set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stood {
    endpoints: Vec<EndpointId>,
    from: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
    max_calls: Option<u32>,
    max_calls_per_second: Option<u32>,
    tags: Vec<String>,
}

fn stood(standing: &[Standing]) -> HashMap<Prefix, Vec<Stood>> {
    let mut by_prefix: HashMap<Prefix, Vec<Stood>> = HashMap::new();
    for it in standing {
        by_prefix.entry(it.prefix).or_default().push(Stood {
            endpoints: it.endpoints.clone(),
            from: it.validity.from,
            until: it.validity.until,
            max_calls: it.limits.max_calls,
            max_calls_per_second: it.limits.max_calls_per_second,
            tags: it.tags.iter().map(Tag::to_string).collect(),
        });
    }
    by_prefix
}

/// Restores what stood for the prefixes of a change set, where they are still as it left them. Within a transaction.
pub(crate) async fn restore(
    db: &mut PgConnection,
    member: MemberId,
    id: ChangeSetId,
    now: DateTime<Utc>,
) -> Result<(), ApiError> {
    let items = change_set::items(&mut *db, id, i64::MAX).await?;
    let prefixes: Vec<Prefix> = items.iter().map(|item| item.prefix).collect();
    let standing = announcement::standing(&mut *db, member, Some(&prefixes), now).await?;
    let mut by_prefix: HashMap<Prefix, Vec<&Standing>> = HashMap::new();
    standing.iter().for_each(|it| by_prefix.entry(it.prefix).or_default().push(it));
    let overtaken = items.iter().filter(|item| {
        let stands = by_prefix.get(&item.prefix).map_or(&[][..], Vec::as_slice);
        !is_as_left(item, stands)
    });
    let overtaken: Vec<String> = overtaken.take(MAX_NAMED).map(|item| item.prefix.to_string()).collect();
    if !overtaken.is_empty() {
        let detail = format!("It is no longer as the change set left it: {}.", overtaken.join(", "));
        return Err(ApiError::new(Reason::RollBackOvertaken).detail(detail));
    }
    let ids: Vec<AnnouncementId> = standing.iter().map(|it| it.announcement_id).collect();
    announcement::withdraw(&mut *db, member, &ids, now).await?;
    let mut plain = Vec::new();
    for item in items {
        let stood: Vec<Stood> =
            item.before.and_then(|before| serde_json::from_value(before).ok()).unwrap_or_default();
        for it in stood.into_iter().filter(|it| it.until.is_none_or(|until| until > now)) {
            let limits =
                CallLimits { max_calls: it.max_calls, max_calls_per_second: it.max_calls_per_second };
            let validity = Validity { from: it.from.max(now), until: it.until };
            let tags: Vec<Tag> = it.tags.iter().filter_map(|tag| tag.parse().ok()).collect();
            let is_plain = limits == CallLimits::NONE && tags.is_empty();
            if validity.from == now && validity.until.is_none() && is_plain {
                plain.push((item.prefix, it.endpoints));
            } else {
                let endpoints = it.endpoints;
                let described = Described { prefix: item.prefix, endpoints, validity, limits, tags };
                announcement::insert(&mut *db, member, &described, now).await?;
            }
        }
    }
    Ok(announcement::insert_many(db, member, &plain, now).await?)
}

/// Whether what stands for a prefix is what the change set made of it.
fn is_as_left(item: &Item, stands: &[&Standing]) -> bool {
    match (item.action, stands) {
        (ItemAction::Withdraw, []) => true,
        (ItemAction::Announce, [it]) => it.endpoints == item.endpoints && it.validity.until.is_none(),
        _ => false,
    }
}

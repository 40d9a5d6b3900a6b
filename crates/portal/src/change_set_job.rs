//! Lets change sets take effect when their time has come. What is due is in the database, so a portal that starts finds
//! what came due while none ran; of several portals one does it.

use std::time::Duration;

use serde_json::json;
use tandem_model::{ChangeSetId, MemberId, Reason};
use tandem_store::change_set::{self, ChangeSetState};
use tokio::time::MissedTickBehavior;

use crate::app::{App, AppState};
use crate::change_application::{self, Actor};
use crate::change_set::find;
use crate::problem::ApiError;
use crate::session::Change;

/// Time between two looks at what is due.
const EVERY: Duration = Duration::from_secs(1);

/// Most change sets of one look.
const AT_ONCE: i64 = 20;

/// Looks until the process lets go of the database.
pub(crate) async fn run(app: App) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    while !app.db.is_closed() {
        every.tick().await;
        match apply_due(&app).await {
            Ok(()) => is_failing = false,
            Err(_) if app.db.is_closed() => {}
            Err(error) if is_failing => tracing::debug!(%error, "cannot look for change sets that are due"),
            Err(error) => {
                is_failing = true;
                tracing::warn!(%error, "cannot look for change sets that are due; will try again");
            }
        }
    }
}

/// Lets those take effect whose time has come; one that cannot fails, with its reason, and the others go on.
///
/// # Errors
/// When the database does not say which are due.
pub async fn apply_due(app: &App) -> Result<(), tandem_store::Error> {
    for (member, id) in change_set::due(&app.db, app.clock.now(), AT_ONCE).await? {
        match apply(app, member, id).await {
            Ok(()) => tracing::info!(%id, "a change set took effect at its time"),
            // It stays due.
            Err(error) if may_pass(error.reason()) => {
                tracing::warn!(%id, reason = %error.reason(), "a change set that is due waits");
            }
            Err(error) => {
                tracing::warn!(%id, reason = %error.reason(), "a change set could not take effect at its time");
                if let Err(error) = fail(app, member, id, error.reason()).await {
                    tracing::warn!(%id, reason = %error.reason(), "and that could not be written down");
                }
            }
        }
    }
    Ok(())
}

fn may_pass(reason: Reason) -> bool {
    matches!(reason, Reason::Unavailable | Reason::Overloaded | Reason::PlanOutdated | Reason::ChangeSetState)
}

async fn apply(app: &AppState, member: MemberId, id: ChangeSetId) -> Result<(), ApiError> {
    let mut db = app.db.acquire().await?;
    let set = find(&mut db, member, id).await?;
    drop(db);
    let actor = Actor::Author(&set);
    change_application::take_effect(app, member, id, &actor, ChangeSetState::Scheduled).await
}

async fn fail(app: &AppState, member: MemberId, id: ChangeSetId, reason: Reason) -> Result<(), ApiError> {
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    if change_set::lock(&mut *transaction, member, id).await? != Some(ChangeSetState::Scheduled) {
        return Ok(());
    }
    let set = find(&mut transaction, member, id).await?;
    change_set::end(&mut *transaction, id, Some(reason.code()), now).await?;
    let change = Change {
        action: "change_set.fail",
        member: Some(member),
        object_id: Some(id.0),
        before: None,
        after: Some(json!({ "note": set.note, "reason": reason })),
    };
    Actor::Author(&set).record(&mut transaction, now, change).await?;
    transaction.commit().await?;
    Ok(())
}

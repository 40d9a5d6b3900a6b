//! Lets imports take effect whose file is there. What waits is in the database, so a portal that starts goes on with what
//! another one left; of several portals one does it.
//!
//! One transaction does all of it: after a crash in the middle nothing of the import is there, and it is done anew.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use tandem_model::{ImportId, MemberId, Reason};
use tandem_store::audit::{self, NewAuditEntry};
use tandem_store::import::{self, BadRows, Import, ImportState};
use tandem_store::{Error, PgConnection, import_application, member};

use crate::app::{App, AppState};
use crate::import::find;
use crate::problem::ApiError;

/// Time between two looks, where nobody says that there is something to do.
const EVERY: Duration = Duration::from_secs(1);

/// Looks until the process lets go of the database.
pub(crate) async fn run(app: App) {
    let mut is_failing = false;
    while !app.db.is_closed() {
        // Either way it looks.
        let _ = tokio::time::timeout(EVERY, app.import_due.notified()).await;
        match apply_due(&app).await {
            Ok(()) => is_failing = false,
            Err(_) if app.db.is_closed() => {}
            Err(error) if is_failing => tracing::debug!(%error, "cannot look for imports"),
            Err(error) => {
                is_failing = true;
                tracing::warn!(%error, "cannot look for imports; will try again");
            }
        }
    }
}

/// Lets each import take effect whose file is there; one that cannot fails, with its reason, and the others go on.
///
/// # Errors
/// When the database does not say which they are.
pub async fn apply_due(app: &App) -> Result<(), Error> {
    let due = import::due(&app.db).await?;
    for &(member, id) in &due {
        match take_effect(app, member, id).await {
            Ok(()) => {}
            // It stays due.
            Err(error) if may_pass(error.reason()) => {
                tracing::warn!(%id, reason = %error.reason(), "an import waits");
            }
            Err(error) => {
                tracing::warn!(%id, reason = %error.reason(), "an import could not take effect");
                import::fail(&app.db, id, error.reason(), app.clock.now()).await?;
            }
        }
    }
    if !due.is_empty() {
        import::delete_rows_of_ended(&app.db).await?;
    }
    Ok(())
}

/// Whether trying again is the remedy: another change of the same prefix may have come in between.
fn may_pass(reason: Reason) -> bool {
    matches!(reason, Reason::Unavailable | Reason::Overloaded | Reason::AnnouncementExists)
}

async fn take_effect(app: &AppState, member: MemberId, id: ImportId) -> Result<(), ApiError> {
    import_application::analyze(&app.db).await?;
    let (now, mut transaction) = (app.clock.now(), app.db.begin().await?);
    let state = import_application::claim(&mut transaction, id).await?;
    if !matches!(state, Some(ImportState::Checking | ImportState::Applying)) {
        return Ok(());
    }
    let import = find(&mut transaction, member, id).await?;
    member::lock(&mut *transaction, member).await?.ok_or_else(|| ApiError::new(Reason::NotFound))?;
    let faulty_rows = import_application::check(&mut transaction, id, member, now).await?;
    let outcome = if import.bad_rows == BadRows::Refuse && import.faulty_rows + faulty_rows > 0 {
        Err(Reason::ImportRowsRefused)
    } else {
        import_application::show_applying(&app.db, id, app.clock.now()).await?;
        Ok(import_application::apply(&mut transaction, id, member, import.mode, now).await?)
    };
    import_application::end(&mut *transaction, id, faulty_rows, outcome, app.clock.now()).await?;
    record(&mut transaction, member, id, now).await?;
    transaction.commit().await?;
    tracing::info!(%id, ?outcome, "an import has ended");
    Ok(())
}

/// Writes into the audit log what came of an import, in the name of whoever began it.
async fn record(
    db: &mut PgConnection,
    member: MemberId,
    id: ImportId,
    now: DateTime<Utc>,
) -> Result<(), ApiError> {
    let Import { author, author_token, file_name, good_rows, faulty_rows, counts, failure, .. } =
        find(&mut *db, member, id).await?;
    let entry = NewAuditEntry {
        at: now,
        user: author,
        api_token: author_token,
        member: Some(member),
        action: if failure.is_some() { "import.fail" } else { "import.apply" },
        object_kind: "import",
        object_id: Some(id.0),
        before: None,
        after: Some(json!({
            "file_name": file_name, "good_rows": good_rows, "faulty_rows": faulty_rows, "reason": failure,
            "added": counts.added, "changed": counts.changed, "withdrawn": counts.withdrawn,
            "unchanged": counts.unchanged,
        })),
        source: None,
    };
    Ok(audit::append(db, &entry).await?)
}

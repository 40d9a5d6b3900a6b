//! Measures how calls by offers of transit went, from their CDRs, and shows it: a change reaches every node by the feed.
//!
//! Figures come in coarse steps and stay until they are a whole step off, so that few changes do. Several portals may do
//! it, for they come to the same.

use std::time::Duration;

use chrono::TimeDelta;
use tandem_model::Quality;
use tandem_store::transit_offer;
use tokio::time::MissedTickBehavior;

use crate::app::App;

/// Time between two measurements.
const EVERY: Duration = Duration::from_secs(60);

/// The calls that count: those that began so lately.
const WINDOW: TimeDelta = TimeDelta::hours(1);

/// Measures until the process lets go of the database.
pub(crate) async fn run(app: App) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !app.db.is_closed() {
        every.tick().await;
        if let Err(error) = measure(&app).await
            && !app.db.is_closed()
        {
            tracing::warn!(%error, "cannot measure how calls by transit went; will try again");
        }
    }
}

/// Measures each offer in force and shows what is a step off.
///
/// # Errors
/// When the database does not take part.
pub async fn measure(app: &App) -> Result<(), tandem_store::Error> {
    let now = app.clock.now();
    for (id, sample, last) in transit_offer::samples(&app.db, now - WINDOW, now).await? {
        let quality = Quality::of(sample, last);
        if quality != last {
            transit_offer::set_quality(&app.db, id, quality).await?;
        }
    }
    Ok(())
}

//! The past of the exchange: how long it is kept, and whether it is what was written.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::TimeDelta;
use tandem_model::Clock;
use tandem_store::{Error, PgPool, announcement, past};
use tokio::time::MissedTickBehavior;

use crate::say;

/// Time between two looks at what is to be forgotten.
const EVERY: Duration = Duration::from_secs(3_600);

/// How long an announcement has ended when it is taken out of the route table.
const ENDED_FOR: TimeDelta = TimeDelta::hours(1);

/// Announcements that are taken out at once.
const AT_ONCE: u32 = 10_000;

/// Forgets what is older than it is to be kept.
pub struct HistoryKeeper {
    /// Where it is kept.
    pub db: PgPool,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// For how long.
    pub keep: TimeDelta,
}

impl HistoryKeeper {
    /// Keeps at it for ever.
    pub async fn run(self) -> Infallible {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if let Err(error) = self.tidy().await {
                tracing::warn!(%error, "cannot forget the past that is too old; will try again");
            }
        }
    }

    async fn tidy(&self) -> Result<(), Error> {
        let now = self.clock.now();
        if let Some(position) = past::forget(&self.db, now - self.keep).await? {
            tracing::info!(position, "forgot what was before");
        }
        while announcement::retire_ended(&self.db, now - ENDED_FOR, AT_ONCE.into()).await?
            == u64::from(AT_ONCE)
        {}
        Ok(())
    }
}

/// `tandem history`: says since when the past is known, and whether it is what was written.
///
/// # Errors
/// When it is not.
pub async fn run(db: &PgPool) -> anyhow::Result<()> {
    let horizon = past::horizon(db).await.context("cannot read the past")?;
    let (at, version) = (horizon.at.to_rfc3339(), horizon.position);
    say(format_args!("The past is known since {at}, version {version} of the route table."));
    match past::first_broken(db).await.context("cannot read the past")? {
        None => {
            say("Each change follows from the one before it.");
            Ok(())
        }
        Some(position) => bail!("what is kept of position {position} is not what was written then"),
    }
}

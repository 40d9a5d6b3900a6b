//! A transaction whose effect on routing is known before it is committed or rolled back: how a change is planned.
//!
//! It holds the one row of the feed's head from its first statement on, so that nothing else changes what routing depends
//! on meanwhile, and other writers wait: whoever only plans rolls back as soon as the effect is read.

use std::time::Duration;

use sqlx::{PgConnection, PgPool, Postgres, Result, Transaction};
use tandem_model::Facts;

use crate::facts::{self, FAR_BEHIND};

/// The transaction.
#[derive(Debug)]
pub struct Rehearsal {
    transaction: Transaction<'static, Postgres>,
    position: u64,
}

impl Rehearsal {
    /// Begins one, of which a statement may take so long; with what others have changed since the version `since` of the
    /// table that the effect is to be compared with. `None` where the feed does not lead on from there, or where that is
    /// [`FAR_BEHIND`]: the caller loads everything anew.
    pub async fn begin(
        db: &PgPool,
        since: u64,
        longest_statement: Duration,
    ) -> Result<Option<(Self, Facts)>> {
        let mut transaction = db.begin().await?;
        let limit = longest_statement.as_millis().to_string();
        sqlx::query_scalar!("select set_config('statement_timeout', $1, true)", limit)
            .fetch_one(&mut *transaction)
            .await?;
        sqlx::query!("select position from feed_head for update").fetch_one(&mut *transaction).await?;
        let position = facts::position(&mut transaction).await?;
        let missed = facts::between(&mut transaction, since, position, FAR_BEHIND).await?;
        Ok(missed.map(|missed| (Self { transaction, position }, missed)))
    }

    /// Where to make the change.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// What was changed so far.
    pub async fn effect(&mut self) -> Result<Facts> {
        let end = facts::position(&mut self.transaction).await?;
        let changes = facts::between(&mut self.transaction, self.position, end, u64::MAX).await?;
        Ok(changes.expect("a transaction that holds the head of the feed sees each of its own entries"))
    }

    /// Lets the change take place.
    pub async fn commit(self) -> Result<()> {
        self.transaction.commit().await
    }

    /// Lets nothing take place.
    pub async fn roll_back(self) -> Result<()> {
        self.transaction.rollback().await
    }
}

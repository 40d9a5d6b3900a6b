//! The news that the change feed has grown: `LISTEN` on a connection of its own.
//!
//! A notification carries nothing that is needed: whatever [`Feed::wait`] returns, the caller reads the
//! feed from its last position ([`crate::facts::changed`]). So one lost while the connection was down, or
//! one that comes late, does no harm.

use std::time::Duration;

use sqlx::Result;
use sqlx::postgres::{PgListener, PgPool};

use crate::database;

/// The channel that `append_to_feed()` notifies.
const CHANNEL: &str = "tandem_feed";

/// Longest wait for a sign of life of the listening connection.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why [`Feed::wait`] returned. The caller reads the feed each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Someone committed a change.
    Notified,
    /// The connection was lost and is there again; what was notified meanwhile is lost.
    Reconnected,
    /// Nothing came in time.
    TimedOut,
}

/// A connection that listens for changes.
#[derive(Debug)]
pub struct Feed {
    pool: PgPool,
    listener: Option<PgListener>,
}

impl Feed {
    /// Begins to listen. Read the feed once after this: what was committed before is not notified.
    pub async fn listen(pool: &PgPool) -> Result<Self> {
        let listener = Self::open(pool).await?;
        Ok(Self { pool: pool.clone(), listener: Some(listener) })
    }

    /// A feed that connects at its first wait, for a database that may be away.
    pub fn listen_later(pool: &PgPool) -> Self {
        Self { pool: pool.clone(), listener: None }
    }

    async fn open(pool: &PgPool) -> Result<PgListener> {
        database::within(database::ACQUIRE_TIMEOUT, async {
            let mut listener = PgListener::connect_with(pool).await?;
            listener.eager_reconnect(false);
            listener.ignore_pool_close_event(true);
            listener.listen(CHANNEL).await?;
            Ok(listener)
        })
        .await
    }

    /// Waits until there may be something to read, at most `timeout` (and a few seconds more where the
    /// database does not answer). After an error the next call connects anew; the caller pauses first.
    pub async fn wait(&mut self, timeout: Duration) -> Result<Wake> {
        let Some(listener) = &mut self.listener else {
            self.listener = Some(Self::open(&self.pool).await?);
            return Ok(Wake::Reconnected);
        };
        match tokio::time::timeout(timeout, listener.try_recv()).await {
            Ok(Ok(Some(_))) => {
                // One reading of the feed answers them all.
                while listener.next_buffered().is_some() {}
                Ok(Wake::Notified)
            }
            Ok(Ok(None)) => self.reopen().await,
            Ok(Err(error)) => {
                self.listener = None;
                Err(error)
            }
            // A connection that died in silence would be quiet for ever.
            Err(_) => match self.probe().await {
                Ok(()) => Ok(Wake::TimedOut),
                Err(_) => self.reopen().await,
            },
        }
    }

    async fn probe(&mut self) -> Result<()> {
        let Some(listener) = &mut self.listener else { return Ok(()) };
        database::within(PROBE_TIMEOUT, async { sqlx::query("select 1").execute(listener).await.map(|_| ()) })
            .await
    }

    async fn reopen(&mut self) -> Result<Wake> {
        self.listener = None;
        self.listener = Some(Self::open(&self.pool).await?);
        Ok(Wake::Reconnected)
    }
}

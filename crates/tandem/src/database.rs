//! Opens the database that the settings name, or the private cluster where they name none.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tandem_store::cluster::{Cluster, ClusterError, ClusterSettings};
use tandem_store::database::connect_later;
use tandem_store::{Error, PgPool};

use crate::settings::Settings;

/// Most looks at a private cluster that another process runs or starts, and the pause between two.
const LOOKS: u32 = 300;
const PAUSE: Duration = Duration::from_millis(100);

/// An open database.
pub struct Database {
    /// Connections to it, made when they are needed.
    pub pool: PgPool,
    /// The private cluster, where this process runs it.
    cluster: Option<Cluster>,
}

impl Database {
    /// Opens the database for a node: the private cluster is started, and is this process's as long as it
    /// lives. One that a short command runs is waited for. A database of the operator's need not answer yet.
    pub async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let Some(url) = &settings.database.url else {
            let cluster = patiently(async || match start(settings).await {
                Err(ClusterError::InUse { .. }) => None,
                outcome => Some(outcome),
            });
            return match cluster.await {
                Some(cluster) => Self::of_cluster(settings, cluster?),
                // So that the error says who has it.
                None => Self::of_cluster(settings, start(settings).await?),
            };
        };
        Ok(Self { pool: pool(settings, url)?, cluster: None })
    }

    /// Opens the database for a command that cannot go on without it, with the schema up to date. Where a node
    /// of this `data_dir` runs the private cluster, that one is used; else it is started.
    pub async fn open_now(settings: &Settings) -> anyhow::Result<Self> {
        let database = match &settings.database.url {
            Some(url) => Self { pool: pool(settings, url)?, cluster: None },
            None => {
                let opened = patiently(async || match start(settings).await {
                    // A node that is just starting has not said yet how to reach it.
                    Err(ClusterError::InUse { .. }) => {
                        let url = fs::read_to_string(address_file(settings)).ok()?;
                        Some(pool(settings, &url).map(|pool| Self { pool, cluster: None }))
                    }
                    Ok(cluster) => Some(Self::of_cluster(settings, cluster)),
                    Err(error) => Some(Err(error.into())),
                });
                opened.await.context("a starting node has not said how to reach its database")??
            }
        };
        // A cluster that is just starting takes connections a little later.
        let migrated = patiently(async || match tandem_store::migrate(&database.pool).await {
            Err(Error::Io(_) | Error::PoolTimedOut) if settings.database.url.is_none() => None,
            outcome => Some(outcome),
        });
        migrated
            .await
            .context("the private database does not answer")?
            .context("the schema cannot be brought up to date")?;
        Ok(database)
    }

    fn of_cluster(settings: &Settings, cluster: Cluster) -> anyhow::Result<Self> {
        let url = cluster.url();
        let path = address_file(settings);
        fs::write(&path, &url).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { pool: pool(settings, &url)?, cluster: Some(cluster) })
    }

    /// Closes the connections and stops the private cluster, where this process runs it.
    pub async fn close(self) -> anyhow::Result<()> {
        self.pool.close().await;
        match self.cluster {
            Some(cluster) => Ok(cluster.stop().await?),
            None => Ok(()),
        }
    }
}

async fn start(settings: &Settings) -> Result<Cluster, ClusterError> {
    let how = ClusterSettings { binaries: settings.database.binaries.clone(), ..ClusterSettings::default() };
    Cluster::start(&settings.data_dir, &how).await
}

/// Looks until there is something to see, for a while.
async fn patiently<T>(look: impl AsyncFn() -> Option<T>) -> Option<T> {
    for _ in 0..LOOKS {
        if let Some(seen) = look().await {
            return Some(seen);
        }
        tokio::time::sleep(PAUSE).await;
    }
    None
}

/// Where the process that runs the private cluster says how to reach it.
fn address_file(settings: &Settings) -> PathBuf {
    settings.data_dir.join("database-url")
}

fn pool(settings: &Settings, url: &str) -> anyhow::Result<PgPool> {
    let pool = connect_later(url).context("database.url cannot be read")?;
    let options = pool.options().clone().max_connections(settings.database.max_connections);
    Ok(options.connect_lazy_with(pool.connect_options().as_ref().clone()))
}

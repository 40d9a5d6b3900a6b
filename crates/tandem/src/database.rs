//! Opens the database that the settings name, or the private cluster where they name none.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use tandem_store::PgPool;
use tandem_store::cluster::{Cluster, ClusterError, ClusterSettings};
use tandem_store::database::connect_later;

use crate::settings::Settings;

/// An open database.
pub struct Database {
    /// Connections to it, made when they are needed.
    pub pool: PgPool,
    /// The private cluster, where this process runs it.
    cluster: Option<Cluster>,
}

impl Database {
    /// Opens the database. The private cluster is started; where another process of this `data_dir` runs it
    /// already, that one is used. A database of the operator's need not answer yet.
    pub async fn open(settings: &Settings) -> anyhow::Result<Self> {
        if let Some(url) = &settings.database.url {
            return Ok(Self { pool: pool(settings, url)?, cluster: None });
        }
        let how =
            ClusterSettings { binaries: settings.database.binaries.clone(), ..ClusterSettings::default() };
        match Cluster::start(&settings.data_dir, &how).await {
            Ok(cluster) => {
                let url = cluster.url();
                let path = address_file(settings);
                fs::write(&path, &url).with_context(|| format!("cannot write {}", path.display()))?;
                Ok(Self { pool: pool(settings, &url)?, cluster: Some(cluster) })
            }
            Err(ClusterError::InUse { directory }) => {
                let url = fs::read_to_string(address_file(settings));
                let url = url.map_err(|_| ClusterError::InUse { directory })?;
                Ok(Self { pool: pool(settings, &url)?, cluster: None })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// As [`Database::open`], for a command that cannot go on without it: with the schema up to date.
    pub async fn open_now(settings: &Settings) -> anyhow::Result<Self> {
        let database = Self::open(settings).await?;
        tandem_store::migrate(&database.pool).await.context("the database does not take the migrations")?;
        Ok(database)
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

/// Where the process that runs the private cluster says how to reach it.
fn address_file(settings: &Settings) -> PathBuf {
    settings.data_dir.join("database-url")
}

fn pool(settings: &Settings, url: &str) -> anyhow::Result<PgPool> {
    let pool = connect_later(url).context("database.url cannot be read")?;
    let options = pool.options().clone().max_connections(settings.database.max_connections);
    Ok(options.connect_lazy_with(pool.connect_options().as_ref().clone()))
}

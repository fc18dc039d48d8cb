//! One run of the program: its options, its settings, its link to the database.

use stepwell::config::{Loaded, Sources};
use stepwell::embedded::{Cluster, Options};
use stepwell::telemetry::{self, Level};
use stepwell::{Client, Config, Database, Databases, Error};
use tokio_util::sync::CancellationToken;

use crate::arguments::Globals;
use crate::failure::Failure;
use crate::output::Output;
use crate::Host;

/// What every command gets.
pub(crate) struct Session {
    pub(crate) globals: Globals,
    pub(crate) output: Output,
    /// Cancelled when a signal asks to stop.
    pub(crate) interrupt: CancellationToken,
    pub(crate) host: Host,
}

/// A link to the database, and to those of the namespaces that have their own, and what it needs.
pub(crate) struct Link {
    /// The default one.
    pub(crate) database: Database,
    /// Of all of them.
    pub(crate) client: Client,
    databases: Databases,
    cluster: Option<Cluster>,
}

impl Session {
    /// The settings: defaults, files, environment, options.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        Ok(self.settings()?.config)
    }

    /// The same, with where each came from.
    pub(crate) fn settings(&self) -> Result<Loaded, Failure> {
        let own = match &self.globals.database_url {
            Some(url) => serde_json::json!({ "database": { "url": url } }).to_string(),
            None => "{}".to_owned(),
        };
        let mut sources = Sources { settings: &own, program: "--database-url", ..Sources::default() };
        if let Some(file) = &self.globals.config {
            if !file.is_file() {
                return Err(Failure::Usage(format!("--config: there is no file {}", file.display())));
            }
            sources.file = file;
        }
        let loaded = sources.load()?;
        telemetry::set_sensitive_keys(&loaded.config.masking.keys);
        Ok(loaded)
    }

    /// Does something over a link to a migrated database. A signal ends it.
    pub(crate) async fn connected<T>(&self, work: impl AsyncFnOnce(&Link) -> Result<T, Failure>) -> Result<T, Failure> {
        self.linked(async |link| {
            link.database.store().check_schema().await?;
            work(link).await
        })
        .await
    }

    /// The same, over a link to a database in any state.
    pub(crate) async fn linked<T>(&self, work: impl AsyncFnOnce(&Link) -> Result<T, Failure>) -> Result<T, Failure> {
        let config = self.config()?;
        // What the core has to tell is for the log of a service; here only what is wrong is told.
        telemetry::init(&match config.logging.level {
            Level::Info => config.logging.with_level(Level::Warn),
            _ => config.logging.clone(),
        });
        let interrupted = || Err(Failure::Interrupted);
        let link = tokio::select! {
            () = self.interrupt.cancelled() => return interrupted(),
            link = Link::make(&config) => link?,
        };
        let outcome = tokio::select! {
            () = self.interrupt.cancelled() => interrupted(),
            outcome = work(&link) => outcome,
        };
        link.close().await?;
        outcome
    }

    /// The URL of the database that doctor looks at, and what keeps it running.
    pub(crate) async fn database_url(&self, config: &Config) -> Result<(String, Option<Cluster>), Failure> {
        match &config.database.url {
            Some(url) => Ok((url.clone(), None)),
            None => existing_cluster(config).await.map(|cluster| (cluster.url().to_owned(), Some(cluster))),
        }
    }
}

impl Link {
    async fn make(config: &Config) -> Result<Self, Failure> {
        let cluster = match config.database.url {
            Some(_) => None,
            None => Some(existing_cluster(config).await?),
        };
        let url = cluster.as_ref().map(Cluster::url).or(config.database.url.as_deref()).unwrap_or_default();
        let databases = Databases::connect(url, config).await.map_err(unreachable)?;
        let (database, client) = (databases.default().clone(), Client::new(databases.clone()));
        Ok(Self { database, client, databases, cluster })
    }

    async fn close(self) -> Result<(), Failure> {
        self.databases.close().await;
        if let Some(cluster) = self.cluster {
            cluster.stop().await.map_err(Error::from)?;
        }
        Ok(())
    }
}

/// The private PostgreSQL of this folder. Only `serve` and `migrate` make one.
async fn existing_cluster(config: &Config) -> Result<Cluster, Failure> {
    let options = Options::from(&config.embedded);
    if !Cluster::exists(&options).await.map_err(Error::from)? {
        return Err(Failure::Usage(format!(
            "no database: set DATABASE_URL, or give --database-url, or run `stepwell serve` here, which starts a private \
             PostgreSQL in {}",
            options.directory.display()
        )));
    }
    Ok(Cluster::start(&options).await.map_err(Error::from)?)
}

/// An error while connecting: whatever it is, there is no connection.
pub(crate) fn unreachable(error: Error) -> Failure {
    match error {
        Error::Database { .. } | Error::ConnectTimeout { .. } => Failure::Unreachable(error),
        error => Failure::Core(error),
    }
}

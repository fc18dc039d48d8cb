//! A private PostgreSQL for programs that were given no database.
//!
//! [`Cluster::start`] finds PostgreSQL's programs, makes a cluster in a directory, starts it on a Unix socket only and
//! hands out a URL. Processes over the same directory share one server; the last one out stops it. Nobody has to be told
//! when a process dies: the kernel releases its locks, and the next start finds the server, running or not. When the last
//! user was killed, a watcher stops the server a few seconds later (`watcher.rs`).
//!
//! Invariant: a server is started only under `start.lock`. Users stop it under that lock, when nobody else holds
//! `users.lock`; the watcher stops it when nobody holds its pipe, which keeps newcomers waiting until it is done.
//! One directory serves the processes of one machine or container; others are refused.

mod binaries;
mod connection;
mod deadline;
mod error;
mod initdb;
mod locks;
mod log;
mod pid_file;
mod place;
mod server;
mod sockets;
mod user;
mod watcher;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::EmbeddedError;

use crate::config;

use deadline::Deadline;
use locks::FileLock;
use place::Place;
use server::Server;
use watcher::Watched;

const SUPERUSER: &str = "stepwell";
const DATABASE: &str = "stepwell";

/// Where an embedded cluster lives and how it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The cluster's directory; relative to the working directory. As root the cluster lives below `/var/lib/stepwell`
    /// instead if the unprivileged user PostgreSQL runs as cannot enter this directory.
    pub directory: PathBuf,
    /// The folder that holds `initdb`, `pg_ctl` and `postgres`; by default they are searched for.
    pub bin_dir: Option<PathBuf>,
    /// How long a start, with `initdb` and crash recovery, or a stop may take.
    pub start_timeout: Duration,
}

impl Default for Options {
    /// `.stepwell`, the binaries of `STEPWELL__EMBEDDED__BIN_DIR` if it is set, and 60 seconds.
    fn default() -> Self {
        let bin_dir = std::env::var_os("STEPWELL__EMBEDDED__BIN_DIR").filter(|value| !value.is_empty());
        Self {
            directory: PathBuf::from(".stepwell"),
            bin_dir: bin_dir.map(PathBuf::from),
            start_timeout: Duration::from_secs(60),
        }
    }
}

impl From<&config::Embedded> for Options {
    fn from(section: &config::Embedded) -> Self {
        let bin_dir = section.bin_dir.clone();
        Self {
            directory: section.directory.clone(),
            bin_dir: bin_dir.filter(|folder| !folder.as_os_str().is_empty()),
            ..Self::default()
        }
    }
}

/// What became of the server when one of its users stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// This was the last user: the server is down.
    ServerStopped,
    /// Others use the server: it runs on.
    StillInUse,
}

/// One user of a running cluster.
///
/// Dropping it without [`Cluster::stop`] only says that this user is gone, as a kill does: the next start adopts the server;
/// if none comes within 4 seconds and there is no other user, the server stops.
/// In the child of a fork it is inert: the cluster stays its parent's.
#[derive(Debug)]
#[must_use = "a cluster that is dropped stops seconds later, and not in order"]
pub struct Cluster {
    server: Server,
    users: FileLock,
    watched: Option<Watched>,
    data: PathBuf,
    sockets: PathBuf,
    url: String,
    timeout: Duration,
}

impl Cluster {
    /// Joins the running server of a directory or starts it, after making the cluster if there is none, and makes sure
    /// that the database `stepwell` exists.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError`] says what is missing or in the way, and what to do about it.
    pub async fn start(options: &Options) -> Result<Self, EmbeddedError> {
        let deadline = Deadline::after(options.start_timeout);
        let place = Place::choose(&options.directory, deadline).await?;
        place.create()?;
        let start_lock = FileLock::exclusive(place.start_lock(), deadline).await?;
        let users = FileLock::shared(place.users_lock(), deadline).await?;

        let data = place.data();
        let version = initdb::version(&data)?;
        let wanted = version.map(|major| (data.as_path(), major));
        let binaries = binaries::find(&place.user, options.bin_dir.as_deref(), wanted, deadline).await?;
        initdb::clean_up(&place).await;
        if version.is_none() {
            initdb::create(&place, &binaries, deadline).await?;
        }
        // Before the server starts: whoever is killed meanwhile leaves a watcher behind.
        let watched = Watched::join(&place, &binaries, deadline).await?;
        let server = Server { place, binaries };
        let sockets = server.ensure_running(&users, deadline).await?;
        drop(start_lock);

        let url = connection::url(&sockets, DATABASE);
        tracing::debug!(url, "the embedded PostgreSQL is ready");
        Ok(Self { server, users, watched, data, sockets, url, timeout: options.start_timeout })
    }

    /// Whether the directory holds a cluster, running or not.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError`] if it holds one that is somebody else's.
    pub async fn exists(options: &Options) -> Result<bool, EmbeddedError> {
        let place = Place::choose(&options.directory, Deadline::after(options.start_timeout)).await?;
        Ok(initdb::version(&place.data())?.is_some())
    }

    /// The URL of the database `stepwell`, for `psql` and every other client that knows Unix sockets.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// PostgreSQL's data directory.
    pub fn data_directory(&self) -> &Path {
        &self.data
    }

    /// Leaves the cluster; the last user to leave stops the server.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError`] if the server cannot be stopped in time. This user is gone all the same.
    pub async fn stop(self) -> Result<Stopped, EmbeddedError> {
        if !self.users.is_ours() {
            return Ok(Stopped::StillInUse);
        }
        let deadline = Deadline::after(self.timeout);
        let start_lock = FileLock::exclusive(self.server.place.start_lock(), deadline).await?;
        if !self.users.become_exclusive()? {
            return Ok(Stopped::StillInUse);
        }
        self.server.stop(deadline).await?;
        // Only an empty folder can be removed, so a socket that is somehow alive is safe.
        let _ = std::fs::remove_dir(&self.sockets);
        if let Some(watched) = self.watched {
            watched.dismiss();
        }
        drop(self.users);
        drop(start_lock);
        tracing::info!(data = %self.data.display(), "stopped the embedded PostgreSQL");
        Ok(Stopped::ServerStopped)
    }
}

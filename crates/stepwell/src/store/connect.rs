//! Connections: how they are made, and that a wrong URL or password is told at once.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Acquire, ConnectOptions, Connection, PgConnection, PgPool};
use tokio_util::task::TaskTracker;

use super::bounded::is_of_no_use;
use super::{session, OrFail, Store};
use crate::address::Address;
use crate::backoff::delay;
use crate::config;
use crate::error::{Error, Result};
use crate::telemetry::mask_url;

/// Longest that a call may take, unless the settings say otherwise.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections beside the pool, made when they are needed: one listens, one migrates.
const DIRECT: u32 = 2;
/// Which database of which server a connection leads to, whatever it is called in the URL.
const WHERE: &str =
    "select pg_catalog.format('%s of the server started %s', current_database(), pg_catalog.pg_postmaster_start_time())";

impl Store {
    /// Connects to the database at `url`, with at most `pool_size` connections.
    ///
    /// # Errors
    /// [`Error::Configuration`] for what is no URL of PostgreSQL;
    /// [`Error::Database`] when it refuses (wrong password, no such database, nobody listens), at once;
    /// [`Error::ConnectTimeout`] when it does not answer within `timeout`.
    pub async fn connect(url: &str, pool_size: u32, timeout: Duration) -> Result<Self> {
        let store = Self::over(url, pool_size, timeout, true)?;
        store.reach().await?;
        Ok(store)
    }

    /// Connects to the database at `url` as the settings say, also through a pooler whose transactions are on any of its
    /// connections: then a `direct_url` leads past it.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), for each of the two URLs; [`Error::Configuration`] when they lead to different
    /// databases.
    pub async fn open(url: &str, settings: &config::Database) -> Result<Self> {
        let store = Self::lazy(url, settings)?;
        let reached = store.reach().await;
        if reached.is_err() {
            store.close().await;
        }
        reached.map(|()| store)
    }

    /// The same, of a database that may be away: the first call connects.
    ///
    /// # Errors
    /// [`Error::Configuration`] for what is no URL of PostgreSQL.
    pub(crate) fn lazy(url: &str, settings: &config::Database) -> Result<Self> {
        let timeout = settings.connect_timeout;
        let sessions = settings.prepared_statements.unwrap_or(settings.direct_url.is_none());
        let mut store =
            Self::over(url, settings.pool_size, timeout, sessions)?.with_call_timeout(settings.call_timeout);
        if let Some(url) = &settings.direct_url {
            store.beside = pool(url, DIRECT, timeout, true)?;
            store.direct_url = Some(mask_url(url).into());
        }
        Ok(store)
    }

    fn over(url: &str, pool_size: u32, timeout: Duration, sessions: bool) -> Result<Self> {
        Ok(Self {
            pool: pool(url, pool_size, timeout, sessions)?,
            beside: pool(url, DIRECT, timeout, sessions)?,
            idle: Arc::default(),
            unattended: TaskTracker::new(),
            direct_url: None,
            sessions,
            url: mask_url(url).into(),
            call_timeout: CALL_TIMEOUT,
            definitions: Arc::default(),
        })
    }

    /// Whether the database is there, behind both URLs, told at once.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) async fn reach(&self) -> Result<()> {
        let first = first(&self.pool, &self.url).await?;
        let _closed = first.close().await;
        let Some(direct_url) = &self.direct_url else { return Ok(()) };

        let mut first = self::first(&self.beside, direct_url).await?;
        let there = self.in_time(sqlx::query_scalar::<_, String>(WHERE).fetch_one(&mut first)).await;
        let there = there.map_err(|source| Error::Database { url: direct_url.to_string(), source })?;
        let _closed = first.close().await;
        let here: String = sqlx::query_scalar(WHERE).fetch_one(self).await.or_fail(self)?;
        if here != there {
            return Err(Error::Configuration {
                message: format!(
                    "database.direct_url ({direct_url}) leads to another database than database.url ({}): {there}, not {here}",
                    self.masked_url()
                ),
            });
        }
        Ok(())
    }

    /// For what needs a session of its own: notifications, locks of a session. It takes nothing from the pool.
    pub(super) fn direct(&self) -> &PgPool {
        &self.beside
    }

    /// Whether a connection can be had that stays on one session.
    pub(crate) fn has_sessions(&self) -> bool {
        self.sessions || self.direct_url.is_some()
    }

    /// The same pool, with another limit for each call.
    #[must_use]
    pub fn with_call_timeout(self, call_timeout: Duration) -> Self {
        Self { call_timeout, ..self }
    }

    /// A connection that receives notifications. It reconnects by itself.
    pub(crate) async fn listener(&self) -> Result<PgListener> {
        PgListener::connect_with(self.direct()).await.or_fail(self)
    }

    /// Lets go of a listener whose connection is dead without a word, as soon as there is another connection: dropping
    /// the listener says farewell to the server, would wait for the answer for ever on the dead one, and the pool would
    /// be one connection short.
    pub(crate) async fn abandon_listener(&self, mut listener: PgListener) {
        let options = self.direct().connect_options();
        let mut failures = 0;
        loop {
            if let Ok(Ok(fresh)) = tokio::time::timeout(self.call_timeout, options.connect()).await {
                if let Ok(dead) = listener.acquire().await {
                    *dead = fresh;
                }
                return;
            }
            failures += 1;
            tokio::time::sleep(delay(failures)).await;
        }
    }

    /// Wakes other processes that listen on these channels.
    pub(crate) async fn notify(&self, channels: &[String], payload: &str) -> Result<()> {
        sqlx::query("select pg_notify(channel, $2) from unnest($1::text[]) as channel")
            .bind(channels)
            .bind(payload)
            .execute(self)
            .await
            .or_fail(self)?;
        Ok(())
    }
}

/// A pool without a connection yet. `sessions`: each stays on one session of the server; otherwise what is set there would
/// be for whoever has it next.
fn pool(url: &str, size: u32, timeout: Duration, sessions: bool) -> Result<PgPool> {
    let Address { options, connect_timeout, named } = Address::from_str(url)
        .map_err(|why| Error::Configuration { message: format!("the database {} {why}", mask_url(url)) })?;
    let options = if named { options } else { options.application_name("stepwell") };
    let options = options
        .extra_float_digits(None) // the server's default is as exact, and PgBouncer refuses the parameter
        .disable_statement_logging();
    Ok(PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(connect_timeout.unwrap_or(timeout))
        // Every caller retries what a broken connection failed; a ping before each call would cost a round trip.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if !sessions {
                    return Ok(());
                }
                match session::settle(connection).await {
                    // The first call on it meets the same and knows what to do; the pool would write an error of its own.
                    Err(error) if is_of_no_use(&error) => Ok(()),
                    settled => settled,
                }
            })
        })
        .connect_lazy_with(options))
}

/// A connection beside the pool, which would try a refused address again and again until its timeout.
async fn first(pool: &PgPool, masked: &str) -> Result<PgConnection> {
    let timeout = pool.options().get_acquire_timeout();
    tokio::time::timeout(timeout, pool.connect_options().connect())
        .await
        .map_err(|_| Error::ConnectTimeout { url: masked.to_owned(), timeout })?
        .map_err(|source| Error::Database { url: masked.to_owned(), source })
}

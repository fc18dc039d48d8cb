//! Connections: how they are made, and that a wrong URL or password is told at once.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Acquire, ConnectOptions, Connection};

use super::{OrFail, Store};
use crate::backoff::delay;
use crate::error::{Error, Result};
use crate::telemetry::mask_url;

/// Longest that a call may take, unless the settings say otherwise.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

impl Store {
    /// Connects to the database at `url`, with at most `pool_size` connections.
    ///
    /// # Errors
    /// [`Error::Database`] when it refuses (wrong password, no such database, nobody listens), at once;
    /// [`Error::ConnectTimeout`] when it does not answer within `timeout`.
    pub async fn connect(url: &str, pool_size: u32, timeout: Duration) -> Result<Self> {
        let masked = mask_url(url);
        let refused = |source| Error::Database { url: masked.clone(), source };
        let options =
            PgConnectOptions::from_str(url).map_err(refused)?.application_name("stepwell").disable_statement_logging();
        // One connection outside the pool: a pool would try a refused address again and again until its timeout.
        let first = tokio::time::timeout(timeout, options.connect())
            .await
            .map_err(|_| Error::ConnectTimeout { url: masked.clone(), timeout })?
            .map_err(refused)?;
        let _closed = first.close().await;
        let pool = PgPoolOptions::new()
            .max_connections(pool_size)
            .acquire_timeout(timeout)
            // Every caller retries what a broken connection failed; a ping before each call would cost a round trip.
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Ok(Self { pool, url: masked.into(), call_timeout: CALL_TIMEOUT })
    }

    /// The same pool, with another limit for each call.
    #[must_use]
    pub fn with_call_timeout(self, call_timeout: Duration) -> Self {
        Self { call_timeout, ..self }
    }

    /// A connection that receives notifications. It reconnects by itself.
    pub(crate) async fn listener(&self) -> Result<PgListener> {
        PgListener::connect_with(&self.pool).await.or_fail(self)
    }

    /// Lets go of a listener whose connection is dead without a word, as soon as there is another connection: dropping
    /// the listener says farewell to the server, would wait for the answer for ever on the dead one, and the pool would
    /// be one connection short.
    pub(crate) async fn abandon_listener(&self, mut listener: PgListener) {
        let options = self.pool.connect_options();
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

    /// Wakes other processes: one payload a topic.
    pub(crate) async fn notify(&self, channel: &str, payloads: &[String]) -> Result<()> {
        sqlx::query("select pg_notify($1, payload) from unnest($2::text[]) as payload")
            .bind(channel)
            .bind(payloads)
            .execute(self)
            .await
            .or_fail(self)?;
        Ok(())
    }
}

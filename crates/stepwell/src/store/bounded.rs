//! Every call on the database has an end: one that gets no answer in time fails, and its connection is given up. Nobody
//! else notices that a network was cut without a word: TCP would wait for a quarter of an hour.

use std::io;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Error, Execute, Executor, PgConnection, PgPool, Postgres};

use super::Store;

/// A connection that goes back to the pool only when a call on it has ended: after a call that was given up, nobody
/// knows what the connection will say next.
#[derive(Debug)]
pub(super) struct Lent(Option<PoolConnection<Postgres>>);

impl Lent {
    /// Takes a connection of the pool.
    pub(super) async fn from(pool: &PgPool) -> Result<Self, Error> {
        Ok(Self(Some(pool.acquire().await?)))
    }

    /// The connection.
    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, Error> {
        self.0.as_deref_mut().ok_or(Error::WorkerCrashed)
    }

    /// Waits for a call on the connection, at most `limit`.
    pub(super) async fn bounded<T>(
        mut self,
        limit: Duration,
        call: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let outcome = tokio::time::timeout(limit, call(self.connection()?)).await.unwrap_or_else(|_| Err(late(limit)));
        if !outcome.as_ref().is_err_and(is_of_no_use) {
            drop(self.0.take());
        }
        outcome
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Without a farewell, which a network that is cut would swallow: the socket is closed.
        drop(self.0.take().map(PoolConnection::detach));
    }
}

fn late(limit: Duration) -> Error {
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?} (database.call_timeout)")))
}

/// Whether another connection may fare better: the socket is broken, or the server has become a standby, as the old
/// primary does after a failover.
fn is_of_no_use(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Protocol(_) => true,
        Error::Database(error) => error.code().is_some_and(|code| code == "25006"),
        _ => false,
    }
}

impl<'c> Executor<'c> for &'c Store {
    type Database = Postgres;

    fn fetch_many<'e, 'q, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        'q: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let all = async move {
            let lent = Lent::from(&self.pool).await?;
            lent.bounded(self.call_timeout, async move |c| c.fetch_many(query).try_collect::<Vec<_>>().await).await
        };
        stream::once(all)
            .flat_map(|outcome| match outcome {
                Ok(items) => stream::iter(items.into_iter().map(Ok).collect::<Vec<_>>()),
                Err(error) => stream::iter(vec![Err(error)]),
            })
            .boxed()
    }

    fn fetch_optional<'e, 'q, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        'q: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let lent = Lent::from(&self.pool).await?;
            lent.bounded(self.call_timeout, async move |c| c.fetch_optional(query).await).await
        })
    }

    fn prepare_with<'e, 'q>(
        self,
        sql: &'q str,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement<'q>, Error>>
    where
        'c: 'e,
        'q: 'e,
    {
        Box::pin(async move {
            let lent = Lent::from(&self.pool).await?;
            lent.bounded(self.call_timeout, async move |c| c.prepare_with(sql, parameters).await).await
        })
    }

    fn describe<'e, 'q>(self, sql: &'q str) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
        'q: 'e,
    {
        Box::pin(async move {
            let lent = Lent::from(&self.pool).await?;
            lent.bounded(self.call_timeout, async move |c| c.describe(sql).await).await
        })
    }
}

//! Every call on the database has an end: one that gets no answer in time fails, and its connection is given up. Nobody
//! else notices that a network was cut without a word: TCP would wait for a quarter of an hour.

use std::io;
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgDatabaseError, PgQueryResult, PgRow, PgSeverity, PgStatement, PgTypeInfo};
use sqlx::{Connection, Describe, Either, Error, Execute, Executor, PgConnection, Postgres};

use super::idle::Lent;
use super::{session, Store};

/// A connection that is used again only when a call on it has ended: after a call that was given up, nobody knows what the
/// connection will say next.
#[derive(Debug)]
struct InUse(Option<Lent>);

impl Drop for InUse {
    fn drop(&mut self) {
        // Without a farewell, which a network that is cut would swallow: the socket is closed.
        drop(self.0.take().map(|lent| lent.connection.detach()));
    }
}

impl Store {
    /// Waits at most `database.call_timeout` for a call on a connection of its own.
    pub(crate) async fn in_time<T>(
        &self,
        call: impl std::future::Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::time::timeout(self.call_timeout, call).await.map_err(|_| self.no_answer())?
    }

    fn no_answer(&self) -> Error {
        let message = format!(
            "no answer within {:?} (database.call_timeout); whether the call took effect is not known",
            self.call_timeout
        );
        Error::Io(io::Error::new(io::ErrorKind::TimedOut, message))
    }

    /// Makes a call on a connection of the pool, and waits at most `database.call_timeout` for its answer.
    pub(super) async fn bounded<T>(
        &self,
        call: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut lent = InUse(Some(self.lend().await?));
        let connection = lent.0.as_mut().ok_or(Error::WorkerCrashed)?.connection.as_mut();
        let work = async {
            if self.sessions {
                return call(connection).await;
            }
            // Behind a pooler only a transaction stays on one session, and a call takes two turns: what it parsed in the
            // first must be there in the second.
            let mut transaction = connection.begin_with(session::begin_bounded(self.call_timeout)).await?;
            let outcome = call(&mut transaction).await;
            match &outcome {
                Ok(_) => transaction.commit().await?,
                Err(_) => drop(transaction.rollback().await), // what the call said is what counts
            }
            outcome
        };
        let Ok(outcome) = tokio::time::timeout(self.call_timeout, work).await else {
            self.doubt_idle_connections();
            return Err(self.no_answer());
        };
        if outcome.as_ref().is_err_and(is_of_no_use) {
            self.doubt_idle_connections();
        } else if let Some(lent) = lent.0.take() {
            self.give_back(lent);
        }
        outcome
    }

    async fn lend(&self) -> Result<Lent, Error> {
        if let Some(lent) = self.idle.take() {
            return Ok(lent);
        }
        let _waiting = self.idle.wait();
        if let Some(lent) = self.idle.take() {
            return Ok(lent);
        }
        Ok(Lent { connection: self.pool.acquire().await?, since: Instant::now() })
    }

    fn give_back(&self, lent: Lent) {
        if let Some(mut connection) = self.idle.rest(lent) {
            // The pool asks it for a sign of life first, and that must have an end too.
            drop(self.see_through(tokio::time::timeout(self.call_timeout, connection.return_to_pool())));
        }
        if self.pool.is_closed() {
            drop(self.see_through({
                let store = self.clone();
                async move { store.close_resting().await }
            }));
        }
    }

    /// Ends the connections that rest, with a farewell.
    pub(super) async fn close_resting(&self) {
        while let Some(lent) = self.idle.take() {
            let _bounded = tokio::time::timeout(self.call_timeout, lent.connection.close()).await;
        }
    }

    /// Closes the connections that nobody uses: where one was dead, the others are, most likely, and each would cost a try and
    /// a longer pause before the next.
    pub(crate) fn doubt_idle_connections(&self) {
        while let Some(lent) = self.idle.take() {
            drop(InUse(Some(lent)));
        }
        for pool in [&self.pool, &self.beside] {
            for _ in 0..pool.num_idle() {
                drop(pool.try_acquire().map(PoolConnection::detach));
            }
        }
    }
}

/// Whether another connection may fare better: the socket is broken, the server has ended the session, or it has become a
/// standby, as the old primary does after a failover.
pub(super) fn is_of_no_use(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Protocol(_) => true,
        Error::Database(error) => {
            let severity = error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity);
            matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic))
                || error.code().is_some_and(|code| code == "25006")
        }
        _ => false,
    }
}

/// A query whose statement is kept on its connection, or not: behind a pooler its name would be met by others.
struct Kept<E> {
    query: E,
    kept: bool,
}

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Kept<E> {
    fn sql(&self) -> &'q str {
        self.query.sql()
    }

    fn statement(&self) -> Option<&PgStatement<'q>> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.kept && self.query.persistent()
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
        let query = Kept { query, kept: self.sessions };
        stream::once(self.bounded(async move |c| c.fetch_many(query).try_collect::<Vec<_>>().await))
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
        let query = Kept { query, kept: self.sessions };
        Box::pin(self.bounded(async move |c| c.fetch_optional(query).await))
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
        Box::pin(self.bounded(async move |c| c.prepare_with(sql, parameters).await))
    }

    fn describe<'e, 'q>(self, sql: &'q str) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
        'q: 'e,
    {
        Box::pin(self.bounded(async move |c| c.describe(sql).await))
    }
}

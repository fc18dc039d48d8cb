//! The database, one method a SQL function: sets in, sets out. Every write to a table of ours is a function in
//! `migrations/`; here stand only calls and look-ups.

mod bounded;
mod claims;
mod connect;
mod definitions;
mod finished;
mod foreign;
mod hops;
mod idle;
mod inspect;
mod metrics;
mod migrate;
mod operate;
mod session;
mod tasks;
mod workflows;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

pub use claims::{AttemptEnd, ClaimedStep};
pub use definitions::{ClaimedRow, StepDefinition};
pub(crate) use finished::FinishedTask;
pub use hops::{
    Appetite, Applied, Begun, Dispatched, Initialized, Overdue, Recovered, Said, Settled, StepResults, UnvalidatedTask,
    Woken,
};
pub use inspect::{
    Backlog, MigrationState, MigrationStatus, StepGlance, TaskFilter, TaskPage, TaskSummary, Violation, TASKS_LOOKED_AT,
};
pub use metrics::{DatabaseMetrics, QueueMetrics};
pub use operate::{DeadLetter, Limits, QueueStatus, Removed};
pub use tasks::{EventRow, StepRow, Submitted, TaskRow};
pub use workflows::RegisteredWorkflow;

use crate::error::{Error, Result};
use definitions::Definitions;
use idle::Idle;

/// A pool of connections to one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    idle: Arc<Idle>,
    /// Calls that end by themselves although nobody waits for them any more; [`close`](Self::close) does.
    unattended: TaskTracker,
    /// For what needs a session: where `pool` leads to a pooler, past it.
    beside: PgPool,
    /// Where that leads when it is not where `pool` does, for messages.
    direct_url: Option<Arc<str>>,
    /// Whether a connection of `pool` stays on one session, so that what is prepared on it is there the next time.
    sessions: bool,
    /// For messages: the URL without credentials.
    url: Arc<str>,
    /// Longest that a call may take.
    call_timeout: Duration,
    definitions: Arc<Definitions>,
}

impl Store {
    /// The database's URL without credentials.
    pub fn masked_url(&self) -> &str {
        &self.url
    }

    /// The pool, for reading.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Ends all connections; calls under way finish first. Those that are dead without a word are left to the system.
    pub async fn close(&self) {
        let closed = async {
            let closing = self.pool.close(); // from here on nothing comes to rest
            self.close_resting().await;
            self.beside.close().await;
            self.unattended.close();
            self.unattended.wait().await;
            closing.await;
            // sqlx can overlook a connection that is just on its way back; it would stay open until the pool is dropped.
            for pool in [&self.pool, &self.beside] {
                while pool.size() > 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    pool.close().await;
                }
            }
        };
        let _bounded = tokio::time::timeout(Duration::from_secs(5), closed).await;
    }

    /// Makes calls that must end by themselves, whether or not somebody waits for them: one that is dropped half way costs its
    /// connection, and what it did is not known.
    pub(crate) fn see_through<F>(&self, calls: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.unattended.spawn(calls)
    }

    fn failed(&self, error: sqlx::Error) -> Error {
        let message = || error.as_database_error().map(|e| e.message().to_owned()).unwrap_or_default();
        match error.as_database_error().and_then(|e| e.code()).as_deref() {
            Some("SW002") => Error::WorkflowConflict { message: message() },
            Some("SW009") => Error::ForeignQueue { message: message() },
            Some("SW006") => Error::UnknownNamespace { message: message() },
            Some("SW005") => Error::InvalidTransition { message: message() },
            Some("42501") => Error::MissingPrivilege {
                url: self.url.to_string(),
                role: self.pool.connect_options().get_username().to_owned(),
                message: message(),
            },
            Some("26000" | "42P05") if self.sessions => Error::Pooled { url: self.url.to_string(), message: message() },
            _ => Error::Database { url: self.url.to_string(), source: error },
        }
    }
}

/// What a call's error becomes: `query.await.or_fail(&store)?`.
trait OrFail<T> {
    fn or_fail(self, store: &Store) -> Result<T>;
}

impl<T> OrFail<T> for std::result::Result<T, sqlx::Error> {
    fn or_fail(self, store: &Store) -> Result<T> {
        self.map_err(|error| store.failed(error))
    }
}

//! What there is to tell of tasks that have just finished.

use sqlx::FromRow;
use uuid::Uuid;

use super::{OrFail, Store};
use crate::error::Result;

/// A task that has finished.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct FinishedTask {
    pub(crate) task_id: Uuid,
    /// `namespace/name`.
    pub(crate) workflow: String,
    /// Its terminal state.
    pub(crate) state: String,
    /// Milliseconds since it was submitted.
    pub(crate) ms: i64,
    /// Of a task in error: the step that failed first, if it was a step.
    pub(crate) step: Option<String>,
    /// How many attempts that step had.
    pub(crate) attempts: Option<i16>,
    /// Of the last attempt's error.
    pub(crate) error_class: Option<String>,
    /// Why the task is in error.
    pub(crate) error: Option<String>,
}

impl Store {
    /// Those of these tasks that are in a terminal state, in the order in which they reached it.
    pub(crate) async fn find_finished(&self, task_ids: &[Uuid]) -> Result<Vec<FinishedTask>> {
        sqlx::query_as("select * from stepwell.finished_tasks($1)").bind(task_ids).fetch_all(self).await.or_fail(self)
    }
}

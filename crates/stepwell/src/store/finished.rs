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
}

impl Store {
    /// Those of these tasks that are in a terminal state, in the order in which they reached it.
    pub(crate) async fn find_finished(&self, task_ids: &[Uuid]) -> Result<Vec<FinishedTask>> {
        sqlx::query_as(
            "select t.task_id, w.namespace || '/' || w.name as workflow, t.state::text as state,
                    (extract(epoch from t.finished_at - t.created_at) * 1000)::bigint as ms
               from stepwell.tasks t join stepwell.workflows w using (workflow_id)
              where t.task_id = any($1) and t.finished_at is not null
              order by t.finished_at",
        )
        .bind(task_ids)
        .fetch_all(self)
        .await
        .or_fail(self)
    }
}

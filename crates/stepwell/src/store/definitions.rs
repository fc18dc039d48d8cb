//! What claimed steps are, by workflow: looked up once, because what is registered never changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use sqlx::FromRow;
use uuid::Uuid;

use super::{ClaimedStep, OrFail, Store};
use crate::error::Result;
use crate::signals::lock;

/// Most workflows that are remembered; beyond it all are forgotten.
const REMEMBERED: usize = 1_000;

/// A step as its workflow defines it.
#[derive(Debug, Clone, FromRow)]
pub struct StepDefinition {
    /// Id of the workflow, of one version.
    pub workflow_id: i32,
    /// Position of the step in the workflow.
    pub position: i16,
    /// `namespace/name` of the workflow.
    pub workflow: String,
    /// Version of the workflow.
    pub version: String,
    /// Name of the step.
    pub name: String,
    /// Name of the code that executes it.
    pub handler: String,
    /// Milliseconds that an attempt may take.
    pub timeout_ms: Option<i64>,
    /// The step's configuration, JSON text.
    pub config: Option<String>,
}

/// What the database says of a claimed step; the fields are those of [`ClaimedStep`].
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs, reason = "they stand at the step that it becomes")]
pub struct ClaimedRow {
    pub claim_id: i64,
    pub task_id: Uuid,
    #[sqlx(rename = "step")]
    pub position: i16,
    pub attempt: i16,
    pub max_attempts: i16,
    /// Id of its workflow, of one version.
    pub workflow_id: i32,
    pub context: String,
    pub results: Option<String>,
    pub correlation_id: Option<String>,
    pub trace_context: Option<String>,
    pub waited_ms: Option<i64>,
}

impl ClaimedRow {
    /// The step, with what it is: one of `definitions`, which are those of its workflow, by position. None when it is not among
    /// them.
    pub fn described(self, definitions: &[StepDefinition]) -> Option<ClaimedStep> {
        let definition = definitions.get(usize::try_from(self.position).ok()?)?;
        Some(ClaimedStep {
            claim_id: self.claim_id,
            task_id: self.task_id,
            position: self.position,
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            workflow: definition.workflow.clone(),
            version: definition.version.clone(),
            name: definition.name.clone(),
            handler: definition.handler.clone(),
            timeout_ms: definition.timeout_ms,
            config: definition.config.clone(),
            context: self.context,
            results: self.results,
            correlation_id: self.correlation_id,
            trace_context: self.trace_context,
            trace: None,
            waited_ms: self.waited_ms,
            claimed: None,
            lane: 0,
        })
    }
}

/// Of each workflow that this process has met, its steps by position.
#[derive(Debug, Default)]
pub(super) struct Definitions(Mutex<HashMap<i32, Arc<[StepDefinition]>>>);

impl Store {
    /// Claimed steps with what they are. When that cannot be read they are given back, not counted as attempts: nobody else knows
    /// that they are claimed. One whose definition has been deleted ends in error, and the others go on.
    pub(super) async fn describe(&self, worker_id: &str, rows: Vec<ClaimedRow>) -> Result<Vec<ClaimedStep>> {
        let definitions = match self.definitions_of(&rows).await {
            Ok(definitions) => definitions,
            Err(error) => {
                if let Err(error) = self.release_rows(worker_id, &rows).await {
                    tracing::warn!(%error, steps = rows.len(), "steps could not be given back; their claims expire");
                }
                return Err(error);
            }
        };
        let is_defined = |row: &ClaimedRow| {
            let steps = definitions.get(&row.workflow_id);
            steps.is_some_and(|steps| usize::try_from(row.position).is_ok_and(|position| position < steps.len()))
        };
        let (defined, undefined): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_defined);
        if !undefined.is_empty() {
            self.end_undefined(worker_id, &undefined).await;
        }
        let describe = |row: ClaimedRow| definitions.get(&row.workflow_id).and_then(|steps| row.described(steps));
        Ok(defined.into_iter().filter_map(describe).collect())
    }

    async fn end_undefined(&self, worker_id: &str, rows: &[ClaimedRow]) {
        let steps = rows.len();
        match self.fail_rows(worker_id, rows).await {
            Ok(_) => {
                tracing::warn!(steps, "the definitions of claimed steps have been deleted, the steps end in error")
            }
            Err(error) => {
                tracing::warn!(%error, steps, "steps without a definition could not be ended; their claims expire")
            }
        }
    }

    /// The same after a call that has done more than to claim them, which has not failed when they cannot be described.
    pub(super) async fn describe_if_possible(&self, worker_id: &str, rows: Vec<ClaimedRow>) -> Vec<ClaimedStep> {
        self.describe(worker_id, rows).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "what claimed steps are cannot be read, they are given back");
            Vec::new()
        })
    }

    /// Of the rows' workflows, their steps.
    async fn definitions_of(&self, rows: &[ClaimedRow]) -> Result<HashMap<i32, Arc<[StepDefinition]>>> {
        let mut definitions = HashMap::new();
        let mut unknown = Vec::new();
        {
            let known = lock(&self.definitions.0);
            for row in rows {
                match known.get(&row.workflow_id) {
                    Some(steps) => _ = definitions.insert(row.workflow_id, steps.clone()),
                    None => unknown.push(row.workflow_id),
                }
            }
        }
        if unknown.is_empty() {
            return Ok(definitions);
        }
        unknown.sort_unstable();
        unknown.dedup();
        let steps: Vec<StepDefinition> = sqlx::query_as("select * from stepwell.describe_steps($1)")
            .bind(unknown)
            .fetch_all(self)
            .await
            .or_fail(self)?;
        let mut known = lock(&self.definitions.0);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        for steps in steps.chunk_by(|one, next| one.workflow_id == next.workflow_id) {
            let (workflow, steps): (_, Arc<[_]>) = (steps[0].workflow_id, steps.into());
            known.insert(workflow, steps.clone());
            definitions.insert(workflow, steps);
        }
        Ok(definitions)
    }
}

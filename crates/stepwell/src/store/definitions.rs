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
    /// Claimed steps with what they are.
    pub(super) async fn describe(&self, rows: Vec<ClaimedRow>) -> Result<Vec<ClaimedStep>> {
        let mut unknown: Vec<i32> = {
            let known = lock(&self.definitions.0);
            rows.iter().map(|row| row.workflow_id).filter(|id| !known.contains_key(id)).collect()
        };
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            self.learn(&unknown).await?;
        }
        let known = lock(&self.definitions.0);
        rows.into_iter()
            .map(|row| {
                known.get(&row.workflow_id).and_then(|steps| row.described(steps)).ok_or(sqlx::Error::RowNotFound)
            })
            .collect::<Result<_, _>>()
            .or_fail(self)
    }

    async fn learn(&self, workflow_ids: &[i32]) -> Result<()> {
        let steps: Vec<StepDefinition> = sqlx::query_as("select * from stepwell.describe_steps($1)")
            .bind(workflow_ids)
            .fetch_all(self)
            .await
            .or_fail(self)?;
        let mut known = lock(&self.definitions.0);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        for steps in steps.chunk_by(|one, next| one.workflow_id == next.workflow_id) {
            known.insert(steps[0].workflow_id, steps.into());
        }
        Ok(())
    }
}

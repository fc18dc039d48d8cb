//! What programs get as JSON: the core's rows, with times as RFC 3339. What users wrote is passed on as it is.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use stepwell::store::{DeadLetter, EventRow, StepRow, TaskRow, TaskSummary};
use uuid::Uuid;

use crate::failure::Failure;
use crate::humane::timestamp;

type Json = Box<RawValue>;

/// A task with all that belongs to it.
#[derive(Serialize)]
pub(crate) struct TaskView {
    id: Uuid,
    workflow: String,
    version: Option<String>,
    state: String,
    waits_for: Option<String>,
    priority: i16,
    context: Json,
    error: Option<String>,
    idempotency_key: Option<String>,
    correlation_id: Option<String>,
    tags: Vec<String>,
    created_at: String,
    finished_at: Option<String>,
    results: Results,
    steps: Vec<StepView>,
    events: Vec<EventView>,
}

/// Results of the steps that have one, by name, in topological order.
struct Results(Vec<(String, Json)>);

#[derive(Serialize)]
struct StepView {
    name: String,
    state: String,
    attempt: i16,
    max_attempts: i16,
    depends_on: Vec<String>,
    result: Option<Json>,
    progress: Option<Json>,
    attempts: Vec<Attempt>,
    worker: Option<String>,
    run_at: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
}

/// An attempt that did not succeed, as `Store::find_steps` tells of it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) attempt: i16,
    pub(crate) kind: String,
    pub(crate) class: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
    backtrace: Option<Json>,
    pub(crate) causes: Option<Vec<Cause>>,
    context: Option<Json>,
    metadata: Option<Json>,
    pub(crate) worker: Option<String>,
    #[serde(serialize_with = "optional_time")]
    pub(crate) started_at: Option<i64>,
    #[serde(serialize_with = "time")]
    pub(crate) finished_at: i64,
}

/// What the error of an attempt was raised for.
#[derive(Serialize, Deserialize)]
pub(crate) struct Cause {
    pub(crate) class: Option<String>,
    pub(crate) message: String,
    backtrace: Option<Json>,
}

#[derive(Serialize)]
pub(crate) struct EventView {
    kind: String,
    actor: Option<String>,
    database_user: String,
    reason: Option<String>,
    details: Option<Json>,
    happened_at: String,
}

/// A task in a list.
#[derive(Serialize)]
pub(crate) struct SummaryView {
    id: Uuid,
    workflow: String,
    version: String,
    state: String,
    steps: i64,
    steps_done: i64,
    priority: i16,
    correlation_id: Option<String>,
    tags: Vec<String>,
    created_at: String,
    finished_at: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct LetterView {
    id: i64,
    queue: String,
    reason: String,
    message: Json,
    enqueued_at: Option<String>,
    buried_at: String,
}

impl TaskView {
    pub(crate) fn new(
        task: TaskRow,
        waits_for: Option<String>,
        steps: Vec<StepRow>,
        events: Vec<EventRow>,
    ) -> Result<Self, Failure> {
        let results = steps.iter().filter_map(|step| Some((step.name.clone(), step.result.clone()?)));
        Ok(Self {
            id: task.task_id,
            workflow: task.workflow,
            version: task.version,
            state: task.state,
            waits_for,
            priority: task.priority,
            context: raw(task.context)?,
            error: task.error,
            idempotency_key: task.idempotency_key,
            correlation_id: task.correlation_id,
            tags: task.tags.unwrap_or_default(),
            created_at: timestamp(task.created_at),
            finished_at: task.finished_at.map(timestamp),
            results: Results(results.map(|(name, result)| Ok((name, raw(result)?))).collect::<Result<_, Failure>>()?),
            steps: steps.into_iter().map(StepView::new).collect::<Result<_, _>>()?,
            events: events.into_iter().map(EventView::new).collect::<Result<_, _>>()?,
        })
    }
}

impl StepView {
    fn new(step: StepRow) -> Result<Self, Failure> {
        Ok(Self {
            attempts: attempts(&step)?,
            name: step.name,
            state: step.state,
            attempt: step.attempt,
            max_attempts: step.max_attempts,
            depends_on: step.depends_on,
            result: step.result.map(raw).transpose()?,
            progress: step.progress.map(raw).transpose()?,
            worker: step.worker_id,
            run_at: step.run_at.map(timestamp),
            started_at: step.started_at.map(timestamp),
            finished_at: step.finished_at.map(timestamp),
        })
    }
}

impl EventView {
    fn new(event: EventRow) -> Result<Self, Failure> {
        Ok(Self {
            kind: event.kind,
            actor: event.actor,
            database_user: event.database_user,
            reason: event.reason,
            details: event.details.map(raw).transpose()?,
            happened_at: timestamp(event.happened_at),
        })
    }
}

impl From<TaskSummary> for SummaryView {
    fn from(task: TaskSummary) -> Self {
        Self {
            id: task.task_id,
            workflow: task.workflow,
            version: task.version,
            state: task.state,
            steps: task.steps,
            steps_done: task.steps_done,
            priority: task.priority,
            correlation_id: task.correlation_id,
            tags: task.tags.unwrap_or_default(),
            created_at: timestamp(task.created_at),
            finished_at: task.finished_at.map(timestamp),
        }
    }
}

impl LetterView {
    pub(crate) fn new(letter: DeadLetter) -> Result<Self, Failure> {
        Ok(Self {
            id: letter.id,
            queue: letter.queue,
            reason: letter.reason,
            message: raw(letter.message)?,
            enqueued_at: letter.enqueued_at.map(timestamp),
            buried_at: timestamp(letter.buried_at),
        })
    }
}

impl Serialize for Results {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, result)| (name, result)))
    }
}

/// The last attempts of a step that did not succeed, oldest first.
pub(crate) fn attempts(step: &StepRow) -> Result<Vec<Attempt>, Failure> {
    Ok(serde_json::from_str(&step.attempts)?)
}

fn raw(text: String) -> Result<Json, Failure> {
    Ok(RawValue::from_string(text)?)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn time<S: Serializer>(time: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&timestamp(*time))
}

fn optional_time<S: Serializer>(time: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(timestamp).serialize(serializer)
}

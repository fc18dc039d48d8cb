//! Clients: submit tasks, wait for them, look at them, repair them.

mod homes;
mod letters;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::watch;
use uuid::Uuid;

use crate::database::Database;
use crate::databases::Databases;
use crate::error::{Error, Problem, Result};
use crate::signals::{lock, Topic};
use crate::store::{EventRow, Limits, QueueStatus, StepRow, Submitted, TaskRow};
use crate::telemetry::metrics::{Hop, TaskEnd};
use crate::telemetry::target;
use crate::telemetry::traces::{Submitting, TraceContext};
use crate::workflow::{check_namespaces, InputSchema, Priority, Workflow};

use homes::Homes;
pub use letters::LetterPosition;

/// How long what is known of a workflow is believed; a newer version may be registered meanwhile.
const BELIEVED: Duration = Duration::from_secs(5);
/// Most workflows that are remembered; beyond it all are forgotten.
const REMEMBERED: usize = 1_000;
/// Most requests of one transaction.
const SUBMIT_BATCH: usize = 1_000;
/// Most bytes of one transaction's requests; a single larger one still goes, alone.
const SUBMIT_BYTES: usize = 8 << 20;
/// How long a call is tried again while the database is away.
const PERSISTENCE: Duration = Duration::from_secs(10);

/// Least time for a look into the database, however short a wait may be.
const LOOK: Duration = Duration::from_secs(2);
const NO_ANSWER: &str = "the database does not answer";

/// One task to submit.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `namespace/name`.
    pub workflow: String,
    /// Which version; by default the newest registered.
    pub version: Option<String>,
    /// The context: a JSON object as text.
    pub context: String,
    /// `low`, `normal`, `high`, `urgent`, or -10 to 10; by default the workflow's.
    pub priority: Option<String>,
    /// A second submit to the workflow with the same key returns the first one's task.
    pub idempotency_key: Option<String>,
    /// Ties the task to something of the caller's.
    pub correlation_id: Option<String>,
    /// For finding it again.
    pub tags: Vec<String>,
    /// The trace that the submitter is in.
    pub trace_context: Option<TraceContext>,
}

/// A client of one database, or of several: then each call goes to the one that its namespace or task lives on. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct Client {
    databases: Databases,
    known: Arc<Mutex<KnownWorkflows>>,
    homes: Arc<Homes>,
}

/// By name, and version where one was asked for.
type KnownWorkflows = HashMap<(String, Option<String>), Known>;

/// What is known of a workflow.
#[derive(Debug, Clone)]
struct Known {
    version: String,
    digest: String,
    schema: Option<InputSchema>,
    learned: Instant,
}

#[derive(Serialize)]
struct Message<'a> {
    task_id: Uuid,
    workflow: &'a str,
    version: &'a str,
    validated: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_context: Option<TraceContext>,
    context: &'a RawValue,
}

impl Client {
    /// A client over a link, or links, that others of the process may share.
    pub fn new(databases: impl Into<Databases>) -> Self {
        Self { databases: databases.into(), known: Arc::default(), homes: Arc::default() }
    }

    /// Registers definitions; those that are registered already change nothing. Where there are several databases, each
    /// gets those of its namespaces, and one that is away gets them when it is back.
    ///
    /// # Errors
    /// [`Error::WorkflowConflict`] when a version exists with other content.
    pub async fn register(&self, workflows: &[Workflow]) -> Result<()> {
        if self.databases.count() == 1 {
            register(self.databases.default(), workflows).await?;
        } else {
            let mut groups = vec![Vec::new(); self.databases.count()];
            for workflow in workflows {
                groups[self.databases.place(&workflow.namespace)].push(workflow.clone());
            }
            let groups = groups.into_iter().enumerate().filter(|(_, workflows)| !workflows.is_empty());
            try_join_all(groups.map(|(place, workflows)| self.register_at(place, workflows))).await?;
        }
        lock(&self.known).clear();
        Ok(())
    }

    async fn register_at(&self, place: usize, workflows: Vec<Workflow>) -> Result<()> {
        let database = self.databases.at(place)?;
        match database.store().reach().await {
            Err(error) if error.is_transient() => {
                database.spawn(register_later(database.clone(), workflows, error));
                Ok(())
            }
            reached => {
                reached?;
                register(database, &workflows).await
            }
        }
    }

    /// Submits tasks, in as few transactions as their number and size allow, and returns what became of each, in order.
    /// Every request is checked before the first is sent. Trying again after a broken connection is safe, because the
    /// ids of the tasks are made here. Requests for several databases are a transaction on each, one after the other.
    ///
    /// # Errors
    /// [`Error::Validation`] that names each request and field that is wrong; [`Error::UnknownWorkflow`].
    pub async fn submit(&self, requests: &[Request]) -> Result<Vec<Submitted>> {
        let traces = self.databases.default().traces();
        let mut traced = Vec::new();
        let mut messages = Vec::with_capacity(requests.len());
        let mut problems = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let known = self.know(&request.workflow, request.version.as_deref()).await?;
            traced.extend(traces.map(|traces| traces.submitting(request.trace_context.as_ref())));
            match message(request, &known, traced.last()) {
                Ok(message) => messages.push(message),
                Err(found) if requests.len() == 1 => problems.extend(found),
                Err(found) => {
                    problems.extend(found.into_iter().map(|p| Problem::new(format!("{index}.{}", p.field), p.message)))
                }
            }
        }
        if !problems.is_empty() {
            let what = if requests.len() == 1 {
                format!("the request for {}", requests[0].workflow)
            } else {
                "the list of requests".to_owned()
            };
            return Err(Error::validation(what, problems));
        }
        let submitted = self.send_all(requests, messages).await;
        if let Some(traces) = traces {
            traces.submitted(requests.iter().map(|request| request.workflow.as_str()), traced, &submitted);
        }
        submitted
    }

    /// Sends each request's message to the database that its namespace lives on.
    async fn send_all(&self, requests: &[Request], messages: Vec<String>) -> Result<Vec<Submitted>> {
        if self.databases.count() == 1 {
            let submitted = send(self.databases.default(), &messages).await?;
            count(self.databases.default(), requests.iter().zip(&submitted));
            return Ok(submitted);
        }
        let mut groups = vec![(Vec::new(), Vec::new()); self.databases.count()];
        for (index, (request, message)) in requests.iter().zip(messages).enumerate() {
            let (indexes, messages) = &mut groups[self.databases.place_of(&request.workflow)];
            indexes.push(index);
            messages.push(message);
        }
        let mut submitted = vec![None; requests.len()];
        for (place, (indexes, messages)) in groups.iter().enumerate().filter(|(_, (indexes, _))| !indexes.is_empty()) {
            let answers = send(self.databases.at(place)?, messages).await?;
            count(self.databases.at(place)?, indexes.iter().map(|index| &requests[*index]).zip(&answers));
            self.homes.note(place, answers.iter().map(|answer| answer.task_id));
            indexes.iter().zip(answers).for_each(|(index, answer)| submitted[*index] = Some(answer));
        }
        Ok(submitted.into_iter().flatten().collect())
    }

    /// Waits until all of these tasks are in a terminal state, and tells `progress` how many are, about ten times a
    /// second while that changes.
    ///
    /// # Errors
    /// [`Error::UnknownTask`]; [`Error::WaitTimeout`] with what the first unfinished task waits for.
    pub async fn wait(&self, task_ids: &[Uuid], timeout: Option<Duration>, progress: impl Fn(usize)) -> Result<()> {
        let deadline = timeout.map(|timeout| tokio::time::Instant::now() + timeout);
        // Whoever waits for a task waits for the database too, as long as that and no longer.
        let patience = timeout.unwrap_or(Duration::MAX);
        let mut waits: Vec<(&Database, Uuid, watch::Receiver<bool>)> = Vec::with_capacity(task_ids.len());
        let look = async {
            let groups = self.by_home(task_ids, patience).await?;
            // Subscribed before the look into the database, so that no end falls between the two.
            for (database, task_ids) in &groups {
                waits.extend(task_ids.iter().map(|id| (*database, *id, database.signals().subscribe_task(*id))));
            }
            try_join_all(groups.iter().map(|(database, task_ids)| look_for(database, task_ids, patience))).await
        };
        match tokio::time::timeout(patience.max(LOOK), look).await {
            Ok(looked) => drop(looked?),
            Err(_) => return Err(late(task_ids[0], patience, NO_ANSWER)),
        }
        let mut reported = usize::MAX;
        loop {
            waits.retain(|(_, _, wait)| !*wait.borrow() && wait.has_changed().is_ok());
            let done = task_ids.len() - waits.len();
            if done != reported {
                progress(done);
                reported = done;
            }
            let Some((database, task_id, wait)) = waits.first_mut() else { return Ok(()) };
            let look = tokio::time::Instant::now() + Duration::from_millis(100);
            let until = deadline.map_or(look, |deadline| deadline.min(look));
            let _whether_in_time = tokio::time::timeout_at(until, wait.wait_for(|finished| *finished)).await.is_ok();
            if !*wait.borrow() && deadline.is_some_and(|deadline| tokio::time::Instant::now() >= deadline) {
                let task_id = *task_id;
                let reason = tokio::time::timeout(LOOK, database.store().waits_for(task_id)).await;
                return Err(late(
                    task_id,
                    timeout.unwrap_or_default(),
                    &match reason {
                        Ok(Ok(Some(reason))) => reason,
                        Ok(Ok(None)) => "waits in the queue for an orchestrator; is one running?".to_owned(),
                        Ok(Err(error)) => error.to_string(),
                        Err(_) => NO_ANSWER.to_owned(),
                    },
                ));
            }
        }
    }

    /// A task as it is now.
    ///
    /// # Errors
    /// [`Error::UnknownTask`].
    pub async fn task(&self, task_id: Uuid) -> Result<TaskRow> {
        let database = self.home(task_id).await?;
        persist(database, || database.store().find_task(task_id)).await
    }

    /// These tasks as they are now, in this order.
    ///
    /// # Errors
    /// [`Error::UnknownTask`] for the first that does not exist.
    pub async fn tasks(&self, task_ids: &[Uuid]) -> Result<Vec<TaskRow>> {
        let mut found = HashMap::new();
        for (database, task_ids) in self.by_home(task_ids, PERSISTENCE).await? {
            for ids in task_ids.chunks(SUBMIT_BATCH) {
                let tasks = persist(database, || database.store().find_tasks(ids)).await?;
                found.extend(tasks.into_iter().map(|task| (task.task_id, task)));
            }
        }
        let mut tasks = Vec::with_capacity(task_ids.len());
        for task_id in task_ids {
            tasks.push(match found.get(task_id) {
                Some(task) => task.clone(),
                None => self.task(*task_id).await?, // still in the queue, or among the dead letters
            });
        }
        Ok(tasks)
    }

    /// The steps of a task as they are now, in topological order.
    pub async fn steps(&self, task_id: Uuid) -> Result<Vec<StepRow>> {
        let database = self.home(task_id).await?;
        persist(database, || database.store().find_steps(task_id)).await
    }

    /// Cancels a task. Returns the state it is in now: one that had finished stays as it is.
    ///
    /// # Errors
    /// [`Error::UnknownTask`].
    pub async fn cancel(&self, task_id: Uuid, reason: Option<&str>, actor: Option<&str>) -> Result<String> {
        let database = self.home(task_id).await?;
        let state = persist(database, || database.store().cancel_task(task_id, reason, actor)).await?;
        if state == "cancelled" {
            database.metrics().tasks_finished(TaskEnd::Cancelled, 1);
        }
        database.signals().publish_finished(&[task_id]);
        if state == "cancelled" {
            tracing::info!(target: target::TASK, task = %task_id, state, "finished");
        }
        Ok(state)
    }

    /// Gives failed steps of a task fresh attempts: those of these names, or all.
    ///
    /// # Errors
    /// [`Error::UnknownTask`]; [`Error::InvalidTransition`] when there is nothing to retry, or one of the steps has not
    /// failed.
    pub async fn retry(
        &self,
        task_id: Uuid,
        steps: Option<&[String]>,
        reason: Option<&str>,
        actor: Option<&str>,
    ) -> Result<()> {
        let database = self.home(task_id).await?;
        let namespaces = persist(database, || database.store().retry_task(task_id, steps, reason, actor)).await?;
        database.signals().publish_steps(&namespaces);
        Ok(())
    }

    /// Gives a step its result by hand, JSON text, so that its dependents go on; what a handler still reports for it no
    /// longer counts. Returns the state of the task: resolved when that was its last open step.
    ///
    /// # Errors
    /// [`Error::UnknownTask`]; [`Error::InvalidTransition`] when there is no such step, or it has ended, or waits for
    /// its dependencies; [`Error::Validation`] when the result cannot be stored.
    pub async fn resolve(
        &self,
        task_id: Uuid,
        step: &str,
        result: &str,
        reason: Option<&str>,
        actor: Option<&str>,
    ) -> Result<String> {
        let database = self.home(task_id).await?;
        let store = database.store();
        let resolved = persist(database, || store.resolve_step(task_id, step, result, reason, actor)).await;
        let (namespaces, state) = resolved.map_err(|error| error.if_refused("the result", "result"))?;
        database.signals().publish_steps(&namespaces);
        if state == "resolved" {
            database.metrics().tasks_finished(TaskEnd::Resolved, 1);
        }
        if state != "in_progress" {
            database.signals().publish_finished(&[task_id]);
            tracing::info!(target: target::TASK, task = %task_id, state, "finished");
        }
        Ok(state)
    }

    /// What people and rules did to a task, oldest first.
    pub async fn events(&self, task_id: Uuid) -> Result<Vec<EventRow>> {
        let database = self.home(task_id).await?;
        persist(database, || database.store().find_events(task_id)).await
    }

    /// Pauses a namespace: none of its steps is claimed until it is resumed; what workers hold goes on. Returns whether
    /// it was not paused already.
    ///
    /// # Errors
    /// [`Error::UnknownNamespace`]; [`Error::Validation`] for what is no name.
    pub async fn pause(&self, namespace: &str, reason: Option<&str>, actor: Option<&str>) -> Result<bool> {
        check_namespaces("the namespace", &[namespace])?;
        let database = self.databases.of(namespace)?;
        persist(database, || database.store().pause_namespace(namespace, reason, actor)).await
    }

    /// Lets a paused namespace go on. Returns whether it was paused.
    ///
    /// # Errors
    /// [`Error::UnknownNamespace`]; [`Error::Validation`] for what is no name.
    pub async fn resume(&self, namespace: &str, reason: Option<&str>, actor: Option<&str>) -> Result<bool> {
        check_namespaces("the namespace", &[namespace])?;
        let database = self.databases.of(namespace)?;
        let resumed = persist(database, || database.store().resume_namespace(namespace, reason, actor)).await?;
        database.signals().publish_steps(&[namespace.to_owned()]);
        Ok(resumed)
    }

    /// Limits a namespace: how many of its steps are in its queue and in work together, and how many come into its queue
    /// within some time. What was limited before and is not any more is free.
    ///
    /// # Errors
    /// [`Error::UnknownNamespace`]; [`Error::Validation`] for what is no name, or no limit.
    pub async fn limit(
        &self,
        namespace: &str,
        limits: Limits,
        reason: Option<&str>,
        actor: Option<&str>,
    ) -> Result<()> {
        check_namespaces("the namespace", &[namespace])?;
        let mut problems = Vec::new();
        for (field, number) in [("concurrency", limits.concurrency), ("rate", limits.rate.map(|(steps, _)| steps))] {
            if number.is_some_and(|number| !(1..=1_000_000).contains(&number)) {
                problems.push(Problem::new(field, "must be from 1 to 1000000"));
            }
        }
        let day = Duration::from_secs(86_400);
        if limits.rate.is_some_and(|(_, period)| period < Duration::from_millis(100) || period > day) {
            problems.push(Problem::new("period", "must be from 100ms to a day"));
        }
        if !problems.is_empty() {
            return Err(Error::validation(format!("limit of {namespace}"), problems));
        }
        let database = self.databases.of(namespace)?;
        persist(database, || database.store().limit_namespace(namespace, limits, reason, actor)).await?;
        database.signals().publish_steps(&[namespace.to_owned()]);
        Ok(())
    }

    /// How each namespace is: what stands in its queue, what waits for a place there, what workers hold, and what it
    /// waits for.
    pub async fn queues(&self) -> Result<Vec<QueueStatus>> {
        let databases = self.databases.all()?.into_iter();
        let queues = databases.map(|database| persist(database, || database.store().queue_status()));
        let mut queues = try_join_all(queues).await?.concat();
        queues.sort_by(|one, other| one.namespace.cmp(&other.namespace));
        Ok(queues)
    }

    /// Names of the namespaces that are paused.
    pub async fn paused(&self) -> Result<Vec<String>> {
        let databases = self.databases.all()?.into_iter();
        let paused = databases.map(|database| persist(database, || database.store().paused_namespaces()));
        let mut paused = try_join_all(paused).await?.concat();
        paused.sort();
        Ok(paused)
    }

    async fn know(&self, workflow: &str, version: Option<&str>) -> Result<Known> {
        let key = (workflow.to_owned(), version.map(str::to_owned));
        if let Some(known) = lock(&self.known).get(&key).filter(|known| known.learned.elapsed() < BELIEVED) {
            return Ok(known.clone());
        }
        let database = self.databases.at(self.databases.place_of(workflow))?;
        let found = persist(database, || database.store().find_workflow(workflow, version)).await?;
        let schema = found.input_schema.as_deref().map(InputSchema::compile).transpose();
        let schema =
            schema.map_err(|message| Error::validation(workflow, vec![Problem::new("input_schema", message)]))?;
        let known = Known { version: found.version, digest: found.digest, schema, learned: Instant::now() };
        let mut all = lock(&self.known);
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(key, known.clone());
        Ok(known)
    }
}

/// Settles those of these tasks that have finished, and makes sure that the others exist.
async fn look_for(database: &Database, task_ids: &[Uuid], patience: Duration) -> Result<()> {
    let store = database.store();
    let known = persist_for(database, patience, || store.known_among(task_ids)).await?;
    let ended: Vec<Uuid> = known.iter().filter(|(_, ended)| *ended).map(|(task_id, _)| *task_id).collect();
    database.signals().settle(&ended);
    let known: HashSet<Uuid> = known.into_iter().map(|(task_id, _)| task_id).collect();
    let missing: Vec<Uuid> = task_ids.iter().copied().filter(|id| !known.contains(id)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let unknown = persist_for(database, patience, || store.unknown_among(&missing)).await?;
    unknown.first().map_or(Ok(()), |task_id| Err(Error::UnknownTask { task_id: *task_id }))
}

async fn register(database: &Database, workflows: &[Workflow]) -> Result<()> {
    for workflow in workflows {
        persist(database, || database.store().register_workflow(workflow)).await?;
    }
    Ok(())
}

/// Registers when the database is there.
async fn register_later(database: Database, workflows: Vec<Workflow>, mut away: Error) {
    loop {
        database.arrival("register", away).await;
        match register(&database, &workflows).await {
            Err(error) if error.is_transient() => away = error,
            Err(error) => return tracing::error!(%error, "workflows could not be registered"),
            Ok(()) => return,
        }
    }
}

fn count<'a>(database: &Database, submitted: impl Iterator<Item = (&'a Request, &'a Submitted)>) {
    let created = submitted.filter(|(_, answer)| answer.created);
    database.metrics().submitted(created.map(|(request, _)| request.workflow.as_str()));
}

async fn send(database: &Database, messages: &[String]) -> Result<Vec<Submitted>> {
    let mut submitted = Vec::with_capacity(messages.len());
    for batch in batches(messages) {
        let answer = persist(database, || submit(database, batch)).await;
        submitted.extend(answer.map_err(|error| error.if_refused("the request", "context"))?);
    }
    Ok(submitted)
}

/// Into the queue, unless an orchestrator of this process begins it at once. What that cannot do is left to the queue, where a
/// request that nobody can use harms no other.
async fn submit(database: &Database, batch: &[String]) -> Result<Vec<Submitted>> {
    if let ([request], Some(requests)) = (batch, database.requests()) {
        match requests.begin(request).await {
            Ok(None) => {}
            Err(error) if !error.is_transient() => tracing::debug!(%error, "not begun at once, sent to the queue"),
            begun => return begun.map(|submitted| submitted.into_iter().collect()),
        }
    }
    let since = Instant::now();
    let submitted = database.store().submit_tasks(batch).await?;
    database.signals().publish(Topic::Requests);
    database.metrics().hop(Hop::Submit, since.elapsed(), batch.len() as u64);
    Ok(submitted)
}

/// Calls again while the database is away: every function of the store can be repeated without doing it twice, except
/// that a repeated cancel, retry or resolve can find it done.
async fn persist<T, F: std::future::Future<Output = Result<T>>>(
    database: &Database,
    call: impl Fn() -> F,
) -> Result<T> {
    persist_for(database, PERSISTENCE, call).await
}

async fn persist_for<T, F: std::future::Future<Output = Result<T>>>(
    database: &Database,
    patience: Duration,
    call: impl Fn() -> F,
) -> Result<T> {
    let started = Instant::now();
    let mut backoff = database.backoff("client");
    let mut tries = 0;
    loop {
        tries += 1;
        match call().await {
            // Twice at least: the first may have waited long for a connection that was dead without a word.
            Err(error) if error.is_transient() && (tries < 2 || started.elapsed() < patience) => {
                tokio::time::sleep(backoff.failed(&error).min(patience.saturating_sub(started.elapsed()))).await;
            }
            outcome => {
                if outcome.is_ok() {
                    backoff.succeeded();
                }
                return outcome;
            }
        }
    }
}

fn late(task_id: Uuid, timeout: Duration, reason: &str) -> Error {
    Error::WaitTimeout { task_id, timeout, reason: reason.to_owned() }
}

fn message(request: &Request, known: &Known, traced: Option<&Submitting>) -> Result<String, Vec<Problem>> {
    let mut problems = Vec::new();
    let context = match serde_json::from_str::<&RawValue>(&request.context) {
        Ok(context) if context.get().starts_with('{') => Some(context),
        _ => {
            problems.push(Problem::new("context", "must be a JSON object"));
            None
        }
    };
    if let (Some(context), Some(schema)) = (context, &known.schema) {
        problems.extend(schema.problems(context.get()));
    }
    if context.is_some_and(|context| holds_nul(context.get())) {
        problems.push(Problem::new("context", "holds the character \\u0000, which PostgreSQL cannot store"));
    }
    let priority = request.priority.as_deref().map(|text| {
        Priority::parse(text).map(Priority::level).ok_or_else(|| {
            Problem::new(
                "priority",
                format!("{text:?} must be low, normal, high, urgent, or an integer from -10 to 10"),
            )
        })
    });
    let priority = priority.transpose().unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    if request.idempotency_key.as_ref().is_some_and(|key| key.is_empty() || key.chars().count() > 255) {
        problems.push(Problem::new("idempotency_key", "must be a text of 1 to 255 characters"));
    }
    problems.extend(request.trace_context.as_ref().and_then(TraceContext::problem));
    let Some(context) = context.filter(|_| problems.is_empty()) else { return Err(problems) };
    let message = Message {
        task_id: Uuid::now_v7(),
        workflow: &request.workflow,
        version: &known.version,
        validated: &known.digest,
        priority,
        idempotency_key: request.idempotency_key.as_deref(),
        correlation_id: request.correlation_id.as_deref(),
        tags: &request.tags,
        trace_context: traced.map_or_else(|| request.trace_context.clone(), |traced| Some(traced.context())),
        context,
    };
    serde_json::to_string(&message).map_err(|error| vec![Problem::new("", error.to_string())])
}

/// Whether a JSON text has an escaped NUL in a string: a `\u0000` whose backslash is not itself escaped.
fn holds_nul(json: &str) -> bool {
    json.match_indices("\\u0000")
        .any(|(at, _)| json.as_bytes()[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0)
}

fn batches(messages: &[String]) -> Vec<&[String]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, message) in messages.iter().enumerate() {
        if index > start && (index - start >= SUBMIT_BATCH || bytes + message.len() > SUBMIT_BYTES) {
            batches.push(&messages[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += message.len();
    }
    if start < messages.len() {
        batches.push(&messages[start..]);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_nul_characters_but_not_escaped_backslashes() {
        assert!(holds_nul(r#"{"a":"x\u0000y"}"#));
        assert!(holds_nul(r#"{"a":"x\\\u0000y"}"#));
        assert!(!holds_nul(r#"{"a":"x\\u0000y"}"#));
        assert!(!holds_nul(r#"{"a":"u0000"}"#));
    }

    #[test]
    fn batches_by_count_and_by_size_and_loses_none() {
        let many: Vec<String> = vec!["x".to_owned(); SUBMIT_BATCH + 1];
        assert_eq!(batches(&many).iter().map(|b| b.len()).collect::<Vec<_>>(), [SUBMIT_BATCH, 1]);
        let large: Vec<String> = vec!["x".repeat(SUBMIT_BYTES), "y".to_owned(), "z".to_owned()];
        assert_eq!(batches(&large).iter().map(|b| b.len()).collect::<Vec<_>>(), [1, 2]);
        assert!(batches(&[]).is_empty());
    }
}

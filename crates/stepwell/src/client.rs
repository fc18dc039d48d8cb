//! Clients: submit tasks, wait for them, look at them, repair them.

mod homes;
mod letters;
mod submit;
mod wait;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use uuid::Uuid;

use crate::database::Database;
use crate::databases::Databases;
use crate::error::{Error, Problem, Result};
use crate::json;
use crate::signals::lock;
use crate::store::{EventRow, Limits, QueueStatus, StepRow, TaskRow};
use crate::telemetry::metrics::TaskEnd;
use crate::telemetry::{mask_text, target};
use crate::workflow::{check_namespaces, InputSchema, Workflow};

use homes::Homes;
pub use letters::LetterPosition;
pub use submit::Request;
use submit::SUBMIT_BATCH;

/// How long what is known of a workflow is believed; a newer version may be registered meanwhile.
const BELIEVED: Duration = Duration::from_secs(5);
/// Most workflows that are remembered; beyond it all are forgotten.
const REMEMBERED: usize = 1_000;
/// How long a call is tried again while the database is away.
const PERSISTENCE: Duration = Duration::from_secs(10);

/// Least time for a look into the database, however short a wait may be.
const LOOK: Duration = Duration::from_secs(2);

/// A client of one database, or of several: then each call goes to the one that its namespace or task lives on. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct Client {
    databases: Databases,
    known: Arc<Mutex<KnownWorkflows>>,
    /// The versions that have been registered here, by workflow: what this process can execute, whatever others register.
    own: Arc<Mutex<HashMap<String, Vec<String>>>>,
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

impl Client {
    /// A client over a link, or links, that others of the process may share.
    pub fn new(databases: impl Into<Databases>) -> Self {
        Self { databases: databases.into(), known: Arc::default(), own: Arc::default(), homes: Arc::default() }
    }

    /// Registers definitions; those that are registered already change nothing. Where there are several databases, each
    /// gets those of its namespaces, and one that is away gets them when it is back. From here on a submit that names no
    /// version takes one of these.
    ///
    /// # Errors
    /// [`Error::WorkflowConflict`] when a version exists with other content, [`Error::Validation`] when the database
    /// refuses a definition; all others are registered then.
    pub async fn register(&self, workflows: &[Workflow]) -> Result<()> {
        match self.register_each(workflows).await?.into_iter().next() {
            Some((_, refused)) => Err(refused),
            None => Ok(()),
        }
    }

    /// The same, with each definition that the database refuses, by its place in the list.
    ///
    /// # Errors
    /// Those that are no definition's fault.
    pub async fn register_each(&self, workflows: &[Workflow]) -> Result<Vec<(usize, Error)>> {
        if workflows.is_empty() {
            return Ok(Vec::new());
        }
        let refused = if self.databases.count() == 1 {
            register(self.databases.default(), workflows.iter().enumerate()).await?
        } else {
            let mut groups = vec![Vec::new(); self.databases.count()];
            for (index, workflow) in workflows.iter().enumerate() {
                groups[self.databases.place(&workflow.namespace)].push((index, workflow.clone()));
            }
            let groups = groups.into_iter().enumerate().filter(|(_, workflows)| !workflows.is_empty());
            let refused = try_join_all(groups.map(|(place, workflows)| self.register_at(place, workflows))).await?;
            refused.into_iter().flatten().collect::<Vec<_>>()
        };
        let mut own = lock(&self.own);
        for (index, workflow) in workflows.iter().enumerate() {
            let versions = own.entry(workflow.full_name()).or_default();
            if !versions.contains(&workflow.version) && refused.iter().all(|(place, _)| *place != index) {
                versions.push(workflow.version.clone());
            }
        }
        drop(own);
        lock(&self.known).clear();
        Ok(refused)
    }

    async fn register_at(&self, place: usize, workflows: Vec<(usize, Workflow)>) -> Result<Vec<(usize, Error)>> {
        let database = self.databases.at(place)?;
        match database.store().reach().await {
            Err(error) if error.is_transient() => {
                database.spawn(register_later(database.clone(), workflows, error));
                Ok(Vec::new())
            }
            reached => {
                reached?;
                register(database, workflows.iter().map(|(index, workflow)| (*index, workflow))).await
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

    /// These tasks as they are now, in this order; none for one that is nowhere, as when it has finished and was removed.
    pub async fn tasks(&self, task_ids: &[Uuid]) -> Result<Vec<Option<TaskRow>>> {
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
                Some(task) => Some(task.clone()),
                // Still in the queue, or among the dead letters.
                None => match self.task(*task_id).await {
                    Err(Error::UnknownTask { .. }) => None,
                    task => Some(task?),
                },
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
        check_note("the cancellation", reason, actor)?;
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
        check_note("the retry", reason, actor)?;
        check_texts("the retry", steps.unwrap_or_default().iter().map(|step| ("steps", step.as_str())))?;
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
        check_note("the resolution", reason, actor)?;
        check_texts("the resolution", [("step", step)])?;
        if let Some(refusal) = json::refusal(result) {
            return Err(Error::validation("the result", vec![Problem::new("", refusal)]));
        }
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
        check_note("the pause", reason, actor)?;
        let database = self.databases.of(namespace)?;
        persist(database, || database.store().pause_namespace(namespace, reason, actor)).await
    }

    /// Lets a paused namespace go on. Returns whether it was paused.
    ///
    /// # Errors
    /// [`Error::UnknownNamespace`]; [`Error::Validation`] for what is no name.
    pub async fn resume(&self, namespace: &str, reason: Option<&str>, actor: Option<&str>) -> Result<bool> {
        check_namespaces("the namespace", &[namespace])?;
        check_note("the end of the pause", reason, actor)?;
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
        check_note("the limit", reason, actor)?;
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
        if let Some(refusal) = version.and_then(json::refusal_of_text) {
            return Err(Error::validation(
                format!("the request for {workflow}"),
                vec![Problem::new("version", refusal)],
            ));
        }
        let versions =
            version.map(|version| vec![version.to_owned()]).or_else(|| lock(&self.own).get(workflow).cloned());
        let database = self.databases.at(self.databases.place_of(workflow))?;
        let found = persist(database, || database.store().find_workflow(workflow, versions.as_deref())).await?;
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

/// Checks who does something and why.
fn check_note(what: &str, reason: Option<&str>, actor: Option<&str>) -> Result<()> {
    let texts = [("reason", reason), ("actor", actor)];
    check_texts(what, texts.into_iter().filter_map(|(field, text)| Some((field, text?))))
}

/// Checks texts that PostgreSQL is to take.
///
/// # Errors
/// [`Error::Validation`] that names those that it cannot store.
fn check_texts<'a>(what: &str, texts: impl IntoIterator<Item = (&'static str, &'a str)>) -> Result<()> {
    let refused = |(field, text)| json::refusal_of_text(text).map(|refusal| Problem::new(field, refusal));
    let problems: Vec<Problem> = texts.into_iter().filter_map(refused).collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::validation(what, problems))
}

/// One that the database refuses does not hold up the others.
async fn register<'w>(
    database: &Database,
    workflows: impl Iterator<Item = (usize, &'w Workflow)>,
) -> Result<Vec<(usize, Error)>> {
    let mut refused = Vec::new();
    for (index, workflow) in workflows {
        if let Err(error) = persist(database, || database.store().register_workflow(workflow)).await {
            refused.push((index, refusal(workflow, error)?));
        }
    }
    Ok(refused)
}

/// An error that is the definition's fault, naming it: values, constraints, limits, and what our own functions raise.
fn refusal(workflow: &Workflow, error: Error) -> Result<Error> {
    let classes = ["22", "23", "54", "P0", "SW"];
    let of_values = error.sqlstate().is_some_and(|code| classes.iter().any(|class| code.starts_with(class)));
    match &error {
        Error::WorkflowConflict { .. } => Ok(error),
        Error::Database { source: sqlx::Error::Database(db), .. } if of_values => {
            let what = format!("workflow {} version {}", workflow.full_name(), workflow.version);
            let message = format!("the database refuses it: {}", mask_text(db.message()));
            Ok(Error::validation(what, vec![Problem::new("", message)]))
        }
        _ => Err(error),
    }
}

/// Registers when the database is there.
async fn register_later(database: Database, workflows: Vec<(usize, Workflow)>, mut away: Error) {
    loop {
        database.arrival("register", away).await;
        match register(&database, workflows.iter().map(|(index, workflow)| (*index, workflow))).await {
            Err(error) if error.is_transient() => away = error,
            Err(error) => return tracing::error!(%error, "workflows could not be registered"),
            Ok(refused) => {
                return refused.iter().for_each(|(_, error)| tracing::error!(%error, "a workflow is not registered"));
            }
        }
    }
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

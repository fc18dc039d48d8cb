//! Orchestrators, workers and clients on a test's database.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use stepwell::worker::Handlers;
use stepwell::{Client, Config, Database, Orchestrator, Request, Worker};
use uuid::Uuid;

use super::session::NAMESPACE;
use super::TestDatabase;

/// Longer than anything takes; a wait that needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Settings that make a test quick.
pub fn config() -> Result<Config> {
    let mut config = Config::load(Some("test"))?;
    config.orchestrator.cycle = Duration::from_millis(20);
    Ok(config)
}

/// A link of its own, as another process would have one.
pub async fn link(db: &TestDatabase, config: &Config) -> Result<Database> {
    Ok(Database::connect(&db.url(), config).await?)
}

/// A worker of the tests' namespace.
pub async fn worker(database: &Database, concurrency: u32, handlers: Handlers) -> Result<Arc<Worker>> {
    Ok(Worker::start_with(database.clone(), vec![NAMESPACE.to_owned()], concurrency, handlers).await?)
}

/// A running orchestrator with a link of its own; stopping it closes the link.
pub async fn orchestrator(db: &TestDatabase, config: &Config) -> Result<Orchestrator> {
    Ok(Orchestrator::start(link(db, config).await?).await?)
}

/// A request with this context.
pub fn request(workflow: &str, context: impl Into<String>) -> Request {
    Request { workflow: workflow.to_owned(), context: context.into(), ..Request::default() }
}

/// Submits one task.
pub async fn submit(client: &Client, workflow: &str, context: &str) -> Result<Uuid> {
    Ok(client.submit(&[request(workflow, context)]).await?[0].task_id)
}

/// Waits for tasks to finish.
pub async fn wait(client: &Client, tasks: &[Uuid]) -> Result<()> {
    Ok(client.wait(tasks, Some(PATIENCE), |_| {}).await?)
}

/// A step's state, attempt, and its result or error as JSON text.
pub async fn step(client: &Client, task: Uuid, name: &str) -> Result<(String, i16, String)> {
    let steps = client.steps(task).await?;
    let step = steps.into_iter().find(|step| step.name == name).expect("such a step");
    Ok((step.state, step.attempt, step.result.or(step.error).unwrap_or_default()))
}

//! A line for each task that has finished, at info: workflow, task, state, duration; never its context or results.
//! Beside the loops, which only hand over ids: what is to be told is read for a whole batch at once, and when that
//! cannot keep up the lines are dropped and counted, as any others.

use tokio::sync::mpsc;
use uuid::Uuid;

use crate::database::Database;
use crate::telemetry::{self, target};

/// Most batches that wait.
const BATCHES: usize = 64;
/// Tasks that are read at once; a batch more than that can come with it.
const TASKS: usize = 500;

/// Where loops say which tasks have finished.
#[derive(Debug, Clone)]
pub(super) struct Finished(mpsc::Sender<Vec<Uuid>>);

/// The way in, and what comes out of it.
pub(super) fn channel() -> (Finished, mpsc::Receiver<Vec<Uuid>>) {
    let (sender, receiver) = mpsc::channel(BATCHES);
    (Finished(sender), receiver)
}

impl Finished {
    /// Never waits.
    pub(super) fn tell(&self, task_ids: &[Uuid]) {
        if task_ids.is_empty() || !tracing::enabled!(target: target::TASK, tracing::Level::INFO) {
            return;
        }
        if self.0.try_send(task_ids.to_vec()).is_err() {
            telemetry::count_dropped(task_ids.len());
        }
    }
}

/// Logs until all loops have ended.
pub(super) async fn run(database: Database, mut finished: mpsc::Receiver<Vec<Uuid>>) {
    while let Some(mut task_ids) = finished.recv().await {
        while task_ids.len() < TASKS {
            match finished.try_recv() {
                Ok(more) => task_ids.extend(more),
                Err(_) => break,
            }
        }
        match database.store().find_finished(&task_ids).await {
            Ok(tasks) => {
                for task in tasks {
                    tracing::info!(
                        target: target::TASK,
                        workflow = task.workflow,
                        task = %task.task_id,
                        state = task.state,
                        ms = task.ms,
                        "finished"
                    );
                }
            }
            Err(error) => {
                tracing::debug!(%error, "it is not known what there is to tell of tasks that have finished");
                telemetry::count_dropped(task_ids.len());
            }
        }
    }
}

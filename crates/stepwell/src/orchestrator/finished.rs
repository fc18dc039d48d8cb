//! A line for each task that has finished, at info: workflow, task, state, duration; never its context or results. One that
//! ended in error is a warning, with the step, its attempts and the error's first line.
//! Beside the loops, which only hand over ids: what is to be told is read for a whole batch at once, and when that
//! cannot keep up the lines are dropped and counted, as any others.

use tokio::sync::mpsc;
use uuid::Uuid;

use crate::database::Database;
use crate::store::FinishedTask;
use crate::telemetry::{self, target};

/// Most batches that wait.
const BATCHES: usize = 64;
/// Characters of an error's class and message.
const LONGEST: usize = 300;
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
    /// `errored`: how many of the tasks are in error. Never waits.
    pub(super) fn tell(&self, task_ids: &[Uuid], errored: usize) {
        let wanted = match errored {
            0 => tracing::enabled!(target: target::TASK, tracing::Level::INFO),
            _ => tracing::enabled!(target: target::TASK, tracing::Level::WARN),
        };
        if task_ids.is_empty() || !wanted {
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
                tasks.iter().for_each(log);
            }
            Err(error) => {
                tracing::debug!(%error, "it is not known what there is to tell of tasks that have finished");
                telemetry::count_dropped(task_ids.len());
            }
        }
    }
}

fn log(task: &FinishedTask) {
    if task.state != "error" {
        return tracing::info!(
            target: target::TASK,
            workflow = task.workflow,
            task = %task.task_id,
            state = task.state,
            ms = task.ms,
            "finished"
        );
    }
    tracing::warn!(
        target: target::TASK,
        workflow = task.workflow,
        task = %task.task_id,
        state = task.state,
        ms = task.ms,
        step = task.step,
        attempts = task.attempts,
        error = reason(task),
        "finished"
    );
}

/// The error's class and the first line of its message, as `Timeout: no answer`.
fn reason(task: &FinishedTask) -> Option<String> {
    let masked = task.error.as_deref().map(telemetry::mask_text).unwrap_or_default();
    let line = masked.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let parts: Vec<&str> =
        [task.error_class.as_deref().unwrap_or_default(), line].into_iter().filter(|part| !part.is_empty()).collect();
    let reason = parts.join(": ");
    let cut: String = reason.chars().take(LONGEST).collect();
    match cut.len() < reason.len() {
        _ if reason.is_empty() => None,
        true => Some(format!("{cut}…")),
        false => Some(cut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::logged;

    fn failed(error_class: Option<&str>, error: Option<&str>) -> FinishedTask {
        FinishedTask {
            task_id: Uuid::nil(),
            workflow: "shop/order".to_owned(),
            state: "error".to_owned(),
            ms: 7,
            step: error_class.map(|_| "charge".to_owned()),
            attempts: error_class.map(|_| 3),
            error_class: error_class.map(str::to_owned),
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn the_reason_is_one_line_without_secrets_and_not_too_long() {
        let of = |class, error| reason(&failed(class, error));
        assert_eq!(
            of(Some("Refused"), Some("\n  card declined \nat line 7")).as_deref(),
            Some("Refused: card declined")
        );
        assert_eq!(of(Some("Refused"), None).as_deref(), Some("Refused"));
        assert_eq!(of(None, Some("the context is refused")).as_deref(), Some("the context is refused"));
        assert_eq!(of(None, None), None);
        let hidden =
            of(Some("Refused"), Some("POST https://u:hunter2@api failed, password=hunter2")).unwrap_or_default();
        assert!(!hidden.contains("hunter2"), "{hidden}");
        let long = of(Some("Refused"), Some(&"é".repeat(1000))).unwrap_or_default();
        assert_eq!((long.chars().count(), long.ends_with('…')), (LONGEST + 1, true));
    }

    #[test]
    fn a_task_in_error_is_a_warning_and_any_other_is_not() {
        let line = |task: FinishedTask| logged(|| log(&task)).concat();
        let about = "TASK finished workflow=shop/order task=00000000-0000-0000-0000-000000000000";
        assert_eq!(
            line(failed(Some("Refused"), Some("card declined"))),
            format!("WARN {about} state=error ms=7 step=charge attempts=3 error=\"Refused: card declined\"")
        );
        // Its request was refused, so there is no step.
        assert_eq!(line(failed(None, Some("no_number"))), format!("WARN {about} state=error ms=7 error=no_number"));
        let complete = FinishedTask { state: "complete".to_owned(), ..failed(None, None) };
        assert_eq!(line(complete), format!("INFO {about} state=complete ms=7"));
    }
}

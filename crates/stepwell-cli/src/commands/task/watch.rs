//! `stepwell task watch`: a line for each change of a step, and a bar over the steps, until the task has finished.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::Serialize;
use stepwell::store::{StepGlance, TaskRow};
use stepwell::Error;
use uuid::Uuid;

use super::show::Whole;
use crate::arguments::Watch;
use crate::failure::{Failure, DONE, FAILED};
use crate::humane;
use crate::output::{self, styled, styles, Output};
use crate::progress;
use crate::session::{Link, Session};
use crate::table::shortened;

/// How often the steps are looked at; the end of the task is heard at once.
const LOOK: Duration = Duration::from_millis(250);

/// Width of the column with the states; the longer ones are rare.
const STATE_WIDTH: usize = 11;

/// A change of a step, one line of `--json`.
#[derive(Serialize)]
struct Change<'a> {
    step: &'a str,
    state: &'a str,
    attempt: i16,
    max_attempts: i16,
    error: Option<&'a str>,
    run_at: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
}

pub(crate) async fn run(session: &Session, arguments: &Watch) -> Result<u8, Failure> {
    session.connected(async |link| follow(session, link, arguments.task, arguments.timeout, true).await).await
}

/// Follows a task. With `changes` each change of a step is told; the end is in any case. Done when it is complete.
pub(super) async fn follow(
    session: &Session,
    link: &Link,
    task_id: Uuid,
    timeout: Option<Duration>,
    changes: bool,
) -> Result<u8, Failure> {
    let started = Instant::now();
    let output = session.output;
    let task = link.client.task(task_id).await?;
    let bar = progress::bar(0).with_prefix(output::shown(&task.workflow));
    let mut seen: HashMap<String, (String, i16)> = HashMap::new();
    let outcome = loop {
        let task = link.client.task(task_id).await?;
        let steps = link.database.store().glance_at_steps(task_id).await?;
        let width = steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
        for step in &steps {
            if changes && is_news(seen.get(&step.name), step) {
                bar.suspend(|| tell(output, step, width))?;
                seen.insert(step.name.clone(), (step.state.clone(), step.attempt));
            }
        }
        show(&bar, &steps);
        if task.finished_at.is_some() {
            break Ok(task);
        }
        match link.client.wait(&[task_id], Some(LOOK), |_| ()).await {
            Ok(()) => {}
            Err(Error::WaitTimeout { reason, .. }) => {
                bar.set_message(output::shown(&progress_of(&steps).unwrap_or_else(|| reason.clone())));
                if let Some(timeout) = timeout.filter(|timeout| started.elapsed() >= *timeout) {
                    break Err(Error::WaitTimeout { task_id, timeout, reason });
                }
            }
            Err(error) => break Err(error),
        }
    };
    bar.finish_and_clear();
    let task = outcome?;
    let good = matches!(task.state.as_str(), "complete" | "resolved");
    if output.is_json() {
        match changes {
            true => output.json_line(&End::of(&task))?,
            false => Whole::fetch(link, task_id).await?.print_json(output)?,
        }
    } else {
        let reason = task.error.clone().or(match good {
            true => None,
            false => link.database.store().waits_for(task_id).await?,
        });
        conclude(output, &task, reason)?;
    }
    Ok(if good { DONE } else { FAILED })
}

/// The end of the task, the last line of `--json`.
#[derive(Serialize)]
struct End<'a> {
    id: Uuid,
    state: &'a str,
    error: Option<&'a str>,
    created_at: String,
    finished_at: Option<String>,
}

impl<'a> End<'a> {
    fn of(task: &'a TaskRow) -> Self {
        Self {
            id: task.task_id,
            state: &task.state,
            error: task.error.as_deref(),
            created_at: humane::timestamp(task.created_at),
            finished_at: task.finished_at.map(humane::timestamp),
        }
    }
}

/// Whether a step is another than it was. A handler that has just ended is enqueued again to the eye, until an orchestrator
/// has applied its result: that is no news.
fn is_news(seen: Option<&(String, i16)>, step: &StepGlance) -> bool {
    match seen {
        None => step.state != "pending",
        Some((state, attempt)) if state == "in_progress" && step.state == "enqueued" => *attempt != step.attempt,
        Some((state, attempt)) => *state != step.state || *attempt != step.attempt,
    }
}

fn tell(output: Output, step: &StepGlance, width: usize) -> Result<(), Failure> {
    if output.is_json() {
        return output.json_line(&Change {
            step: &step.name,
            state: &step.state,
            attempt: step.attempt,
            max_attempts: step.max_attempts,
            error: step.error.as_deref(),
            run_at: step.run_at.map(humane::timestamp),
            started_at: step.started_at.map(humane::timestamp),
            finished_at: step.finished_at.map(humane::timestamp),
        });
    }
    let took = step.started_at.zip(step.finished_at).map(|(start, end)| humane::duration(humane::between(start, end)));
    let attempt = match step.attempt {
        0 | 1 => String::new(),
        attempt => format!("attempt {attempt} of {}", step.max_attempts),
    };
    let error = shortened(&step.error.as_deref().unwrap_or_default().replace('\n', " "), 200);
    let details = match step.state.as_str() {
        "complete" => [took.unwrap_or_default(), attempt, String::new()],
        "waiting_for_retry" => [step.run_at.map(humane::ago).unwrap_or_default(), attempt, error],
        "error" => [String::new(), attempt, error],
        _ => [String::new(), attempt, String::new()],
    };
    let details: Vec<String> = details.into_iter().filter(|detail| !detail.is_empty()).collect();
    let style = output::state_style(&step.state);
    let mut line = format!("{} {:width$}  {}", styled(style, sign(&step.state)), step.name, styled(style, &step.state));
    if !details.is_empty() {
        let rest = " ".repeat(STATE_WIDTH.saturating_sub(step.state.len()));
        line.push_str(&format!("{rest}  {}", styled(styles::FAINT, details.join(", "))));
    }
    output.line(line)
}

fn sign(state: &str) -> &'static str {
    match state {
        "complete" | "resolved" => "✓",
        "error" => "✗",
        "cancelled" => "⊘",
        "waiting_for_retry" => "↻",
        "in_progress" => "▸",
        _ => "·",
    }
}

fn show(bar: &ProgressBar, steps: &[StepGlance]) {
    let done = steps.iter().filter(|step| matches!(step.state.as_str(), "complete" | "resolved")).count();
    bar.set_length(steps.len() as u64);
    bar.set_position(done as u64);
}

/// What the first running handler said of how far it is.
fn progress_of(steps: &[StepGlance]) -> Option<String> {
    let step = steps.iter().find(|step| step.state == "in_progress" && step.progress.is_some())?;
    Some(format!("{}: {}", step.name, shortened(step.progress.as_deref().unwrap_or_default(), 60)))
}

fn conclude(output: Output, task: &TaskRow, reason: Option<String>) -> Result<(), Failure> {
    let took = task.finished_at.map(|end| humane::duration(humane::between(task.created_at, end)));
    let state = styled(output::state_style(&task.state).bold(), &task.state);
    let reason = reason.map(|reason| format!(": {}", reason.replace('\n', " "))).unwrap_or_default();
    output.line(format!("{} is {state} after {}{reason}", task.workflow, took.unwrap_or_default()))
}

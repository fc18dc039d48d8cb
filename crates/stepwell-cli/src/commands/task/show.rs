//! `stepwell task show`.

use stepwell::store::{EventRow, StepRow, TaskRow};
use uuid::Uuid;

use crate::failure::{Failure, DONE};
use crate::humane;
use crate::output::{self, styled, styles, Output};
use crate::session::{Link, Session};
use crate::table::{shortened, Table};
use crate::views::{self, TaskView};

/// Most characters of a context or a result that a person is shown.
const SHOWN: usize = 400;

/// A task with all that belongs to it.
pub(super) struct Whole {
    pub(super) task: TaskRow,
    waits_for: Option<String>,
    steps: Vec<StepRow>,
    events: Vec<EventRow>,
}

impl Whole {
    pub(super) async fn fetch(link: &Link, task_id: Uuid) -> Result<Self, Failure> {
        let client = &link.client;
        Ok(Self {
            task: client.task(task_id).await?,
            waits_for: link.database.store().waits_for(task_id).await?,
            steps: client.steps(task_id).await?,
            events: client.events(task_id).await?,
        })
    }

    pub(super) fn print_json(self, output: Output) -> Result<(), Failure> {
        output.json(&TaskView::new(self.task, self.waits_for, self.steps, self.events)?)
    }
}

pub(crate) async fn run(session: &Session, task_id: Uuid) -> Result<u8, Failure> {
    let whole = session.connected(async |link| Whole::fetch(link, task_id).await).await?;
    let output = session.output;
    if output.is_json() {
        whole.print_json(output)?;
        return Ok(DONE);
    }
    output.line(head(session, &whole))?;
    if !whole.steps.is_empty() {
        output.line(section("Steps", steps(session, &whole.steps)))?;
    }
    if let Some(failed) = failed_attempts(session, &whole.steps)? {
        output.line(section("Attempts that did not succeed", failed))?;
    }
    if let Some(results) = results(session, &whole.steps) {
        output.line(section("Results", results))?;
    }
    if !whole.events.is_empty() {
        output.line(section("What was done to it", events(session, &whole.events)))?;
    }
    Ok(DONE)
}

fn section(title: &str, body: String) -> String {
    format!("\n{}\n{body}", styled(styles::HEADER, title))
}

fn head(session: &Session, whole: &Whole) -> String {
    let task = &whole.task;
    let mut table = Table::new(session.output, &[]);
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            table.row([styled(styles::FAINT, name), value]);
        }
    };
    let reason = task.error.clone().or_else(|| whole.waits_for.clone());
    let reason = reason.or_else(|| (task.state == "pending").then(|| "waits for an orchestrator".to_owned()));
    row("task", Some(styled(styles::HEADER, task.task_id)));
    row("workflow", Some(format!("{} {}", task.workflow, task.version.as_deref().unwrap_or_default())));
    row("state", Some(output::state(&task.state)));
    row("because", reason);
    row("priority", Some(task.priority).filter(|priority| *priority != 0).map(|priority| priority.to_string()));
    row("submitted", Some(format!("{} ({})", humane::moment(task.created_at), humane::ago(task.created_at))));
    row(
        "finished",
        task.finished_at.map(|end| {
            format!("{}, after {}", humane::moment(end), humane::duration(humane::between(task.created_at, end)))
        }),
    );
    row("idempotency key", task.idempotency_key.clone());
    row("correlation id", task.correlation_id.clone());
    row("tags", task.tags.as_ref().filter(|tags| !tags.is_empty()).map(|tags| tags.join(", ")));
    row("context", Some(shortened(&task.context, SHOWN)));
    table.render(&[])
}

fn steps(session: &Session, steps: &[StepRow]) -> String {
    let mut table = Table::new(session.output, &["step", "state", "attempt", "took", "worker", "after"]);
    for step in steps {
        let took = step.started_at.filter(|_| matches!(step.state.as_str(), "complete" | "error"));
        let took = took.zip(step.finished_at).map(|(start, end)| humane::duration(humane::between(start, end)));
        let since = step.started_at.filter(|_| step.state == "in_progress");
        table.row([
            step.name.clone(),
            match step.run_at.filter(|_| step.state == "waiting_for_retry") {
                Some(due) => format!("{} {}", output::state(&step.state), humane::ago(due)),
                None => output::state(&step.state),
            },
            format!("{}/{}", step.attempt, step.max_attempts),
            took.or_else(|| since.map(|since| humane::duration(humane::between(since, humane::now()))))
                .unwrap_or_default(),
            step.worker_id.clone().unwrap_or_default(),
            step.depends_on.join(", "),
        ]);
    }
    table.render(&[1, 2, 3])
}

fn failed_attempts(session: &Session, steps: &[StepRow]) -> Result<Option<String>, Failure> {
    let mut table = Table::new(session.output, &["step", "attempt", "kind", "when", "error"]);
    let mut any = false;
    for step in steps {
        for attempt in views::attempts(step)? {
            any = true;
            let what = [attempt.class.clone(), attempt.code.map(|code| format!("({code})")), attempt.message];
            table.row([
                step.name.clone(),
                attempt.attempt.to_string(),
                styled(if attempt.kind == "permanent" { styles::BAD } else { styles::DOUBTFUL }, &attempt.kind),
                humane::ago(attempt.finished_at),
                shortened(&what.into_iter().flatten().collect::<Vec<_>>().join(" "), SHOWN),
            ]);
            for cause in attempt.causes.into_iter().flatten() {
                let what = [Some("caused by".to_owned()), cause.class, Some(cause.message)];
                let what = shortened(&what.into_iter().flatten().collect::<Vec<_>>().join(" "), SHOWN);
                table.row([String::new(), String::new(), String::new(), String::new(), styled(styles::FAINT, &what)]);
            }
        }
    }
    Ok(any.then(|| table.render(&[1, 2, 3])))
}

fn results(session: &Session, steps: &[StepRow]) -> Option<String> {
    let mut table = Table::new(session.output, &[]);
    let mut any = false;
    for step in steps {
        if let Some(result) = &step.result {
            any = true;
            table.row([styled(styles::FAINT, &step.name), shortened(result, SHOWN)]);
        }
    }
    any.then(|| table.render(&[]))
}

fn events(session: &Session, events: &[EventRow]) -> String {
    let mut table = Table::new(session.output, &["what", "who", "when", "why", "details"]);
    for event in events {
        table.row([
            event.kind.clone(),
            who(event),
            humane::ago(event.happened_at),
            event.reason.clone().unwrap_or_default(),
            event.details.clone().unwrap_or_default(),
        ]);
    }
    table.render(&[1, 2])
}

/// Whoever the caller said it was, and the database's role where that is another.
fn who(event: &EventRow) -> String {
    match &event.actor {
        Some(actor) if *actor != event.database_user => format!("{actor} (as {})", event.database_user),
        _ => event.database_user.clone(),
    }
}

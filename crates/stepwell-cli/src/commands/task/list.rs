//! `stepwell task list`.

use stepwell::store::{TaskFilter, TaskSummary, TASKS_LOOKED_AT};

use crate::arguments::List;
use crate::commands::queues::backlog_note;
use crate::failure::{Failure, DONE};
use crate::humane;
use crate::output;
use crate::session::Session;
use crate::table::Table;
use crate::views::SummaryView;

pub(crate) async fn run(session: &Session, arguments: List) -> Result<u8, Failure> {
    let output = session.output;
    let limit = arguments.limit;
    let filter = filter(arguments)?;
    let (page, backlog) = session
        .connected(async |link| {
            let store = link.database.store();
            Ok((store.list_tasks(&filter, limit).await?, store.backlog().await?))
        })
        .await?;
    let next = match page.looked_back_to {
        Some(id) => Some(format!("Stopped after looking at {TASKS_LOOKED_AT} tasks; go on with --before {id}")),
        None => page
            .tasks
            .last()
            .filter(|_| page.tasks.len() as u64 == u64::from(limit))
            .map(|last| format!("There may be more: --before {}", last.task_id)),
    };
    if output.is_json() {
        output.json(&page.tasks.into_iter().map(SummaryView::from).collect::<Vec<_>>())?;
    } else if page.tasks.is_empty() {
        output.note("There are no such tasks.");
    } else {
        output.line(table(session, &page.tasks))?;
    }
    if let Some(next) = next {
        output.note(next);
    }
    if let Some(note) = backlog_note(backlog).filter(|_| !output.is_json()) {
        output.note(note);
    }
    Ok(DONE)
}

fn filter(arguments: List) -> Result<TaskFilter, Failure> {
    let (namespace, name) = match &arguments.workflow {
        None => (arguments.namespace, None),
        Some(workflow) => match workflow.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), Some(name.to_owned())),
            None => {
                let message =
                    format!("--workflow: {workflow:?} is no namespace/name; --namespace takes a namespace alone");
                return Err(Failure::Usage(message));
            }
        },
    };
    Ok(TaskFilter {
        states: arguments.states,
        namespace,
        name,
        version: arguments.workflow_version,
        tag: arguments.tag,
        correlation_id: arguments.correlation_id,
        since: arguments.since,
        before: arguments.before,
        look_at: None,
    })
}

fn table(session: &Session, tasks: &[TaskSummary]) -> String {
    let mut table = Table::new(session.output, &["id", "workflow", "state", "steps", "submitted", "took"]);
    for task in tasks {
        table.row([
            task.task_id.to_string(),
            format!("{} {}", task.workflow, task.version),
            output::state(&task.state),
            format!("{}/{}", task.steps_done, task.steps),
            humane::ago(task.created_at),
            task.finished_at.map(|end| humane::duration(humane::between(task.created_at, end))).unwrap_or_default(),
        ]);
    }
    table.render(&[2, 3, 4, 5])
}

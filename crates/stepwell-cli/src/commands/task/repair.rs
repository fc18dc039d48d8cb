//! `stepwell task cancel`, `retry` and `resolve`.

use serde::Serialize;
use uuid::Uuid;

use crate::arguments::{Cancel, Resolve, Retry};
use crate::failure::{Failure, DONE, FAILED};
use crate::input;
use crate::output;
use crate::session::Session;

/// What became of a task.
#[derive(Serialize)]
struct Outcome {
    id: Uuid,
    state: Option<String>,
    error: Option<String>,
}

pub(crate) async fn cancel(session: &Session, arguments: &Cancel) -> Result<u8, Failure> {
    let (reason, actor) = (arguments.why.reason.as_deref(), arguments.why.actor.as_deref());
    for_each(session, &arguments.tasks, async |link, task_id| {
        let state = link.client.cancel(task_id, reason, actor).await?;
        let late = (state != "cancelled").then(|| format!("task {task_id} had finished before: it is {state}"));
        Ok((state, late))
    })
    .await
}

pub(crate) async fn retry(session: &Session, arguments: &Retry) -> Result<u8, Failure> {
    let (reason, actor) = (arguments.why.reason.as_deref(), arguments.why.actor.as_deref());
    let steps = Some(arguments.steps.as_slice()).filter(|steps| !steps.is_empty());
    for_each(session, &arguments.tasks, async |link, task_id| {
        link.client.retry(task_id, steps, reason, actor).await?;
        Ok(("in_progress".to_owned(), None))
    })
    .await
}

pub(crate) async fn resolve(session: &Session, arguments: &Resolve) -> Result<u8, Failure> {
    let (reason, actor) = (arguments.why.reason.as_deref(), arguments.why.actor.as_deref());
    let result = input::json("--result", &arguments.result).await?;
    for_each(session, &[arguments.task], async |link, task_id| {
        Ok((link.client.resolve(task_id, &arguments.step, &result, reason, actor).await?, None))
    })
    .await
}

/// Does something to each task, whatever became of the ones before, and prints the state each is in now. The first
/// failure decides the exit code.
async fn for_each(
    session: &Session,
    tasks: &[Uuid],
    act: impl AsyncFn(&crate::session::Link, Uuid) -> Result<(String, Option<String>), Failure>,
) -> Result<u8, Failure> {
    let output = session.output;
    let (outcomes, code) = session
        .connected(async |link| {
            let (mut outcomes, mut code) = (Vec::with_capacity(tasks.len()), DONE);
            for task_id in tasks.iter().copied() {
                let (outcome, its_code) = match act(link, task_id).await {
                    Ok((state, None)) => (Outcome { id: task_id, state: Some(state), error: None }, DONE),
                    Ok((state, late)) => (Outcome { id: task_id, state: Some(state), error: late }, FAILED),
                    // The only one: its error is the answer.
                    Err(failure) if tasks.len() == 1 => return Err(failure),
                    Err(failure) => {
                        (Outcome { id: task_id, state: None, error: Some(failure.to_string()) }, failure.code())
                    }
                };
                if !output.is_json() {
                    tell(session, &outcome)?;
                }
                outcomes.push(outcome);
                code = if code == DONE { its_code } else { code };
            }
            Ok((outcomes, code))
        })
        .await?;
    if output.is_json() {
        output.json(&outcomes)?;
    }
    Ok(code)
}

fn tell(session: &Session, outcome: &Outcome) -> Result<(), Failure> {
    match (&outcome.error, &outcome.state) {
        (Some(error), _) => Failure::Refused(error.clone()).print(),
        (None, Some(state)) => session.output.line(format!("{}  {}", outcome.id, output::state(state)))?,
        (None, None) => {}
    }
    Ok(())
}

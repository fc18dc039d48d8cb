//! `stepwell task submit`.

use serde::Serialize;
use stepwell::Request;
use uuid::Uuid;

use super::watch;
use crate::arguments::Submit;
use crate::failure::{Failure, DONE};
use crate::input;
use crate::session::Session;

#[derive(Serialize)]
struct Submitted {
    id: Uuid,
    created: bool,
}

pub(crate) async fn run(session: &Session, arguments: Submit) -> Result<u8, Failure> {
    let output = session.output;
    let context = tokio::select! {
        () = session.interrupt.cancelled() => return Err(Failure::Interrupted),
        context = input::json("--context", &arguments.context) => context?,
    };
    let request = Request {
        workflow: arguments.workflow,
        version: arguments.workflow_version,
        context,
        priority: arguments.priority,
        idempotency_key: arguments.idempotency_key,
        correlation_id: arguments.correlation_id,
        tags: arguments.tags,
        trace_context: None,
    };
    session
        .connected(async |link| {
            let submitted = link.client.submit(std::slice::from_ref(&request)).await?;
            let Some(submitted) = submitted.first() else { return Ok(DONE) };
            let (id, created) = (submitted.task_id, submitted.created);
            // The id is the answer, whether or not somebody waits: `ID=$(stepwell task submit …)`.
            match (output.is_json(), arguments.wait) {
                (true, false) => output.json(&Submitted { id, created })?,
                (true, true) => {}
                (false, _) => output.line(id)?,
            }
            if !created && !output.is_json() {
                output.note("The idempotency key stands for this task, which is there already.");
            }
            match arguments.wait {
                true => watch::follow(session, link, id, arguments.timeout, !output.is_json()).await,
                false => Ok(DONE),
            }
        })
        .await
}

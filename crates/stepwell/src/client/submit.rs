//! Submitting: every request is checked before the first is sent.

use std::time::Instant;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{persist, Client, Known};
use crate::database::Database;
use crate::error::{Error, Problem, Result};
use crate::json;
use crate::signals::Topic;
use crate::store::Submitted;
use crate::telemetry::metrics::Hop;
use crate::telemetry::traces::{Submitting, TraceContext};
use crate::workflow::Priority;

/// Most requests of one transaction.
pub(super) const SUBMIT_BATCH: usize = 1_000;
/// Most bytes of one transaction's requests; a single larger one still goes, alone.
const SUBMIT_BYTES: usize = 8 << 20;

/// One task to submit.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `namespace/name`.
    pub workflow: String,
    /// Which version; by default the newest of those that this client has registered, or of all where it has registered none.
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
    /// Submits tasks, in as few transactions as their number and size allow, and returns what became of each, in order.
    /// Every request is checked before the first is sent. Trying again after a broken connection is safe, because the
    /// ids of the tasks are made here. Requests for several databases are a transaction on each, one after the other.
    ///
    /// # Errors
    /// [`Error::Validation`] that names each request and field that is wrong; [`Error::UnknownWorkflow`];
    /// [`Error::PartlySubmitted`] when a transaction failed after others had been committed.
    pub async fn submit(&self, requests: &[Request]) -> Result<Vec<Submitted>> {
        let traces = self.databases.default().traces();
        let mut traced = Vec::new();
        let mut messages = Vec::with_capacity(requests.len());
        let mut problems = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let known = match self.know(&request.workflow, request.version.as_deref()).await {
                Err(error) if requests.len() > 1 && is_wrong(&error) => {
                    problems.push(Problem::new(format!("{index}.workflow"), error.to_string()));
                    continue;
                }
                known => known?,
            };
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

    async fn send_all(&self, requests: &[Request], messages: Vec<String>) -> Result<Vec<Submitted>> {
        let mut submitted = vec![None; requests.len()];
        match self.send(requests, messages, &mut submitted).await {
            Err(source) if submitted.iter().any(Option::is_some) => {
                Err(Error::PartlySubmitted { submitted, source: Box::new(source) })
            }
            sent => sent.map(|()| submitted.into_iter().flatten().collect()),
        }
    }

    /// Sends each request's message to the database that its namespace lives on, and notes what has been committed.
    async fn send(
        &self,
        requests: &[Request],
        messages: Vec<String>,
        submitted: &mut [Option<Submitted>],
    ) -> Result<()> {
        let mut groups = vec![(Vec::new(), Vec::new()); self.databases.count()];
        for (index, (request, message)) in requests.iter().zip(messages).enumerate() {
            let (indexes, messages) = &mut groups[self.databases.place_of(&request.workflow)];
            indexes.push(index);
            messages.push(message);
        }
        for (place, (indexes, messages)) in groups.iter().enumerate().filter(|(_, (indexes, _))| !indexes.is_empty()) {
            let database = self.databases.at(place)?;
            let mut indexes = indexes.iter();
            for batch in batches(messages) {
                let answers = persist(database, || submit(database, batch)).await;
                let answers = answers.map_err(|error| error.if_refused("the request", "context"))?;
                if groups.len() > 1 {
                    self.homes.note(place, answers.iter().map(|answer| answer.task_id));
                }
                let answered: Vec<_> = indexes.by_ref().copied().zip(answers).take(batch.len()).collect();
                let created = answered.iter().filter(|(_, answer)| answer.created);
                database.metrics().submitted(created.map(|(index, _)| requests[*index].workflow.as_str()));
                answered.into_iter().for_each(|(index, answer)| submitted[index] = Some(answer));
            }
        }
        Ok(())
    }
}

/// Whether the request is at fault.
fn is_wrong(error: &Error) -> bool {
    matches!(error, Error::Validation { .. } | Error::UnknownWorkflow { .. })
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

fn message(request: &Request, known: &Known, traced: Option<&Submitting>) -> Result<String, Vec<Problem>> {
    let mut problems = Vec::new();
    let context = serde_json::from_str::<&RawValue>(&request.context).ok();
    let context = context.filter(|context| context.get().starts_with('{'));
    match context.map(|context| (context, json::refusal(context.get()))) {
        None => problems.push(Problem::new("context", "must be a JSON object")),
        Some((_, Some(refusal))) => problems.push(Problem::new("context", refusal)),
        Some((context, None)) => {
            problems.extend(known.schema.iter().flat_map(|schema| schema.problems(context.get())));
        }
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
    let texts = [("idempotency_key", &request.idempotency_key), ("correlation_id", &request.correlation_id)];
    let texts = texts.into_iter().filter_map(|(field, text)| Some((field, text.as_ref()?)));
    for (field, text) in texts.chain(request.tags.iter().map(|tag| ("tags", tag))) {
        problems.extend(json::refusal_of_text(text).map(|refusal| Problem::new(field, refusal)));
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
    fn batches_by_count_and_by_size_and_loses_none() {
        let many: Vec<String> = vec!["x".to_owned(); SUBMIT_BATCH + 1];
        assert_eq!(batches(&many).iter().map(|b| b.len()).collect::<Vec<_>>(), [SUBMIT_BATCH, 1]);
        let large: Vec<String> = vec!["x".repeat(SUBMIT_BYTES), "y".to_owned(), "z".to_owned()];
        assert_eq!(batches(&large).iter().map(|b| b.len()).collect::<Vec<_>>(), [1, 2]);
        assert!(batches(&[]).is_empty());
    }
}

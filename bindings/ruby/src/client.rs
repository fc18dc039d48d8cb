//! `Stepwell::Native::Client`. Requests come, and tasks go, as JSON text.

use magnus::{function, method, typed_data::Obj, Error, Module, Object, RArray, RModule, Ruby};
use serde::Deserialize;
use serde_json::value::RawValue;
use stepwell::store::Submitted;
use stepwell::telemetry::traces::TraceContext;
use stepwell::{Client, Request};

use crate::database::NativeDatabase;
use crate::definitions::NativeWorkflow;
use crate::duration::from_seconds;
use crate::errors::{class_of, entry, error};
use crate::guarded::Guarded;
use crate::gvl::{block_on, block_on_telling};
use crate::operate;

#[magnus::wrap(class = "Stepwell::Native::Client", free_immediately, size)]
pub(crate) struct NativeClient(pub(crate) Guarded<Client>);

#[derive(Deserialize)]
struct RequestInput {
    workflow: String,
    version: Option<String>,
    context: Box<RawValue>,
    priority: Option<String>,
    idempotency_key: Option<String>,
    correlation_id: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    trace_context: Option<TraceContext>,
}

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = crate::define_class::<NativeClient>(ruby, native, "Client")?;
    class.define_singleton_method("new", function!(new, 1))?;
    class.define_method("register", method!(register, 1))?;
    class.define_method("submit", method!(submit, 1))?;
    class.define_method("wait", method!(wait, 2))?;
    class.define_method("task", method!(task, 1))?;
    class.define_method("tasks", method!(tasks, 1))?;
    class.define_method("steps", method!(steps, 1))?;
    class.define_method("cancel", method!(cancel, 3))?;
    class.define_method("retry", method!(retry, 4))?;
    class.define_method("resolve", method!(resolve, 5))?;
    class.define_method("events", method!(events, 1))?;
    operate::init(class)
}

fn new(ruby: &Ruby, database: &NativeDatabase) -> Result<NativeClient, Error> {
    entry(ruby, || Ok(NativeClient(Guarded::new(Client::new(database.0.get(ruby)?.clone())))))
}

/// Those that the database refuses: their place in the list, why, and whether they are registered with other content.
fn register(ruby: &Ruby, client: &NativeClient, workflows: RArray) -> Result<Vec<(usize, String, bool)>, Error> {
    entry(ruby, || {
        let workflows: Vec<Obj<NativeWorkflow>> =
            workflows.into_iter().map(magnus::TryConvert::try_convert).collect::<Result<_, _>>()?;
        let workflows: Vec<_> = workflows.iter().map(|workflow| workflow.0.clone()).collect();
        let client = client.0.get(ruby)?.clone();
        let refused = block_on(ruby, async move { client.register_each(&workflows).await })?;
        let told = |(index, error): (usize, stepwell::Error)| {
            (index, error.to_string(), matches!(error, stepwell::Error::WorkflowConflict { .. }))
        };
        Ok(refused.into_iter().map(told).collect())
    })
}

/// Ids of the tasks, in the order of the requests. When only some were submitted: theirs, nil for the others, and the class
/// and the message of the error.
#[allow(clippy::type_complexity, reason = "said once, here")]
fn submit(
    ruby: &Ruby,
    client: &NativeClient,
    requests: String,
) -> Result<(Vec<Option<String>>, Option<(&'static str, String)>), Error> {
    entry(ruby, || {
        let inputs: Vec<RequestInput> = parse(ruby, &requests)?;
        let requests: Vec<Request> = inputs.into_iter().map(RequestInput::into_request).collect();
        let client = client.0.get(ruby)?.clone();
        block_on(ruby, async move {
            let id = |task: Submitted| task.task_id.to_string();
            match client.submit(&requests).await {
                Ok(submitted) => Ok((submitted.into_iter().map(|task| Some(id(task))).collect(), None)),
                Err(error) => {
                    let (class, message) = (class_of(&error), error.to_string());
                    let stepwell::Error::PartlySubmitted { submitted, .. } = error else { return Err(error) };
                    Ok((submitted.into_iter().map(|task| task.map(id)).collect(), Some((class, message))))
                }
            }
        })
    })
}

/// Waits up to `timeout` seconds (none: for ever) and yields the number of finished tasks to a block, when there is one, at
/// first and whenever it has changed.
fn wait(ruby: &Ruby, client: &NativeClient, task_ids: Vec<String>, timeout: Option<f64>) -> Result<(), Error> {
    entry(ruby, || {
        let task_ids = task_ids.iter().map(|text| id(ruby, text)).collect::<Result<Vec<_>, _>>()?;
        let timeout = timeout.map(from_seconds);
        let client = client.0.get(ruby)?.clone();
        if !ruby.block_given() {
            return block_on(ruby, async move { client.wait(&task_ids, timeout, |_| ()).await });
        }
        let block = ruby.block_proc()?;
        block_on_telling(
            ruby,
            |tell| async move { client.wait(&task_ids, timeout, tell).await },
            |finished| block.call::<_, magnus::Value>((finished,)).map(drop),
        )
    })
}

fn task(ruby: &Ruby, client: &NativeClient, task_id: String) -> Result<String, Error> {
    entry(ruby, || {
        let (client, task_id) = (client.0.get(ruby)?.clone(), id(ruby, &task_id)?);
        json(ruby, &block_on(ruby, async move { client.task(task_id).await })?)
    })
}

/// JSON texts, in the order of the ids.
/// Nil for one that is nowhere.
fn tasks(ruby: &Ruby, client: &NativeClient, task_ids: Vec<String>) -> Result<Vec<Option<String>>, Error> {
    entry(ruby, || {
        let task_ids = task_ids.iter().map(|text| id(ruby, text)).collect::<Result<Vec<_>, _>>()?;
        let client = client.0.get(ruby)?.clone();
        let tasks = block_on(ruby, async move { client.tasks(&task_ids).await })?;
        tasks.iter().map(|task| task.as_ref().map(|task| json(ruby, task)).transpose()).collect()
    })
}

fn steps(ruby: &Ruby, client: &NativeClient, task_id: String) -> Result<String, Error> {
    entry(ruby, || {
        let (client, task_id) = (client.0.get(ruby)?.clone(), id(ruby, &task_id)?);
        json(ruby, &block_on(ruby, async move { client.steps(task_id).await })?)
    })
}

fn cancel(
    ruby: &Ruby,
    client: &NativeClient,
    task_id: String,
    reason: Option<String>,
    actor: Option<String>,
) -> Result<String, Error> {
    entry(ruby, || {
        let (client, task_id) = (client.0.get(ruby)?.clone(), id(ruby, &task_id)?);
        block_on(ruby, async move { client.cancel(task_id, reason.as_deref(), actor.as_deref()).await })
    })
}

fn retry(
    ruby: &Ruby,
    client: &NativeClient,
    task_id: String,
    steps: Option<Vec<String>>,
    reason: Option<String>,
    actor: Option<String>,
) -> Result<(), Error> {
    entry(ruby, || {
        let (client, task_id) = (client.0.get(ruby)?.clone(), id(ruby, &task_id)?);
        block_on(
            ruby,
            async move { client.retry(task_id, steps.as_deref(), reason.as_deref(), actor.as_deref()).await },
        )
    })
}

fn resolve(
    ruby: &Ruby,
    client: &NativeClient,
    task_id: String,
    step: String,
    result: String,
    reason: Option<String>,
    actor: Option<String>,
) -> Result<String, Error> {
    entry(ruby, || {
        let (client, task_id) = (client.0.get(ruby)?.clone(), id(ruby, &task_id)?);
        block_on(
            ruby,
            async move { client.resolve(task_id, &step, &result, reason.as_deref(), actor.as_deref()).await },
        )
    })
}

fn events(ruby: &Ruby, client: &NativeClient, task_id: String) -> Result<String, Error> {
    entry(ruby, || {
        let (client, task_id) = (client.0.get(ruby)?.clone(), id(ruby, &task_id)?);
        json(ruby, &block_on(ruby, async move { client.events(task_id).await })?)
    })
}

impl RequestInput {
    fn into_request(self) -> Request {
        Request {
            workflow: self.workflow,
            version: self.version,
            context: String::from(Box::<str>::from(self.context)),
            priority: self.priority,
            idempotency_key: self.idempotency_key,
            correlation_id: self.correlation_id,
            tags: self.tags,
            trace_context: self.trace_context,
        }
    }
}

fn id<T: std::str::FromStr>(ruby: &Ruby, text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| error(ruby, "ValidationError", format!("{text:?} is not the id of a task: a uuid")))
}

fn parse<'a, T: Deserialize<'a>>(ruby: &Ruby, json: &'a str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|failure| error(ruby, "ValidationError", failure.to_string()))
}

pub(crate) fn json<T: serde::Serialize>(ruby: &Ruby, value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|failure| error(ruby, "Error", failure.to_string()))
}

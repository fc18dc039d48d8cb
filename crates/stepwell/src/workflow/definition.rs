//! A definition as its author wrote it, and as it is registered.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::graph;
use super::input::InputSchema;
use super::names::{check_name, Priority};
use super::places;
use crate::config::parse_duration;
use crate::error::{Error, Problem, Result};

/// Most steps of one workflow.
const MAX_STEPS: usize = 5_000;
/// Most errors that one step names as permanent, or as retryable.
const MAX_ERRORS: usize = 100;
const DEFAULT_MAX_ATTEMPTS: u16 = 3;
const DEFAULT_BACKOFF: Backoff = Backoff { base: 1.0, cap: 300.0, jitter: 0.2 };

/// A checked definition: names are good, dependencies exist, there is no cycle. Steps stand in topological order and
/// refer to each other by position.
#[derive(Debug, Clone, Serialize)]
pub struct Workflow {
    /// Which queue its steps go to.
    pub namespace: String,
    /// Name within the namespace.
    pub name: String,
    /// Any text of 1 to 64 characters.
    pub version: String,
    /// For people.
    pub description: Option<String>,
    /// JSON schema that a task's context must match.
    pub input_schema: Option<Box<RawValue>>,
    /// Priority of a task that asks for none, -10 to 10.
    pub priority: i16,
    /// Seconds from submit after which a task is overdue.
    pub timeout: Option<f64>,
    /// How many steps of tasks that have something in common may be on their way at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// The steps in topological order.
    pub steps: Vec<StepDefinition>,
    /// SHA-256 of all of the above, in hexadecimal.
    pub digest: String,
}

/// Tasks whose contexts hold the same value at `key` share `limit`, with those of other workflows of the namespace that
/// have the same `key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Concurrency {
    /// Where the value stands in the context, from the outside in.
    pub key: Vec<String>,
    /// Most steps at the same time, at least 1.
    pub limit: u16,
}

/// One step of a [`Workflow`].
#[derive(Debug, Clone, Serialize)]
pub struct StepDefinition {
    /// Unique within the workflow.
    pub name: String,
    /// Name of the code that executes it, as workers register it.
    pub handler: String,
    /// Positions of the steps it waits for.
    pub depends_on: Vec<usize>,
    /// Positions of the steps that wait for it.
    pub dependents: Vec<usize>,
    /// How many attempts it has in all, at least 1.
    pub max_attempts: u16,
    /// How long it waits between attempts.
    pub backoff: Backoff,
    /// Seconds that one attempt may take.
    pub timeout: Option<f64>,
    /// Codes and classes of errors after which no attempt is made, whatever the handler thinks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permanent_errors: Vec<String>,
    /// Codes and classes of errors after which another attempt is made, whatever the handler thinks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retryable_errors: Vec<String>,
    /// JSON handed to the handler as it is.
    pub config: Option<Box<RawValue>>,
}

/// Delay before attempt n + 1: `base * 2^(n - 1)` seconds, at most `cap`, shortened by a random share of up to `jitter`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Backoff {
    /// Seconds before the second attempt.
    pub base: f64,
    /// Most seconds.
    pub cap: f64,
    /// 0 (none) to 1.
    pub jitter: f64,
}

/// The definition as it is written, before anything is checked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    namespace: String,
    name: String,
    version: String,
    description: Option<String>,
    input_schema: Option<Box<RawValue>>,
    priority: Option<PrioritySource>,
    timeout: Option<DurationSource>,
    concurrency: Option<ConcurrencySource>,
    #[serde(default)]
    steps: Vec<StepSource>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping of key and limit")]
struct ConcurrencySource {
    key: String,
    limit: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "the mapping of a step, with its name and handler")]
struct StepSource {
    name: String,
    handler: Option<String>,
    #[serde(default)]
    depends_on: OneOrMany,
    max_attempts: Option<u32>,
    backoff: Option<BackoffSource>,
    timeout: Option<DurationSource>,
    #[serde(default)]
    permanent_errors: OneOrMany,
    #[serde(default)]
    retryable_errors: OneOrMany,
    config: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping of base, cap and jitter")]
struct BackoffSource {
    base: Option<DurationSource>,
    cap: Option<DurationSource>,
    jitter: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a duration was expected: seconds, or a text with its unit such as 250ms, 60s, 5m")]
enum DurationSource {
    Seconds(f64),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "must be low, normal, high, urgent, or an integer from -10 to 10")]
enum PrioritySource {
    Level(i64),
    Name(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(untagged, expecting = "must be a name or a list of names")]
enum OneOrMany {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

/// Whether a duration may be a bare number of seconds: in Ruby keyword arguments yes, in files no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BareNumbers {
    Seconds,
    Refused,
}

impl Workflow {
    /// Reads and checks a definition in JSON, in which durations are numbers of seconds or texts with a unit.
    ///
    /// # Errors
    /// [`Error::Validation`] that names each field and step that is wrong.
    pub fn from_json(json: &str) -> Result<Self> {
        Self::parse(json, BareNumbers::Seconds)
    }

    pub(crate) fn parse(json: &str, bare_numbers: BareNumbers) -> Result<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let source: Source = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let field = places::unreadable(error.path(), json);
            let message = error.into_inner().to_string();
            // The place in the JSON text says nothing to an author of Ruby or YAML.
            let message = message.split(" at line ").next().unwrap_or_default();
            // So do Rust's names of types.
            let message = ["u32", "i64"].iter().fold(message.to_owned(), |message, number| {
                message.replace(&format!("expected {number}"), "expected a whole number")
            });
            Error::validation("workflow", vec![Problem::new(field, message)])
        })?;
        let names: Vec<&str> = source.steps.iter().map(|step| step.name.as_str()).collect();
        let problems = places::unstorable(json, &names);
        source.check(bare_numbers, problems)
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The definition as `stepwell.register_workflow` takes it.
    pub fn to_json(&self) -> String {
        // Serializing strings, numbers and raw JSON into memory cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Source {
    fn check(self, bare_numbers: BareNumbers, mut problems: Vec<Problem>) -> Result<Workflow> {
        check_name("namespace", &self.namespace, 40, &mut problems);
        check_name("name", &self.name, 63, &mut problems);
        if self.version.is_empty() || self.version.chars().count() > 64 {
            problems.push(Problem::new("version", "must be a text of 1 to 64 characters"));
        }
        if self.steps.is_empty() || self.steps.len() > MAX_STEPS {
            problems
                .push(Problem::new("steps", format!("there must be 1 to {MAX_STEPS} steps, not {}", self.steps.len())));
        }
        let names: Vec<&str> = self.steps.iter().map(|step| step.name.as_str()).collect();
        let edges: Vec<Vec<&str>> = self.steps.iter().map(|step| step.depends_on.names()).collect();
        let order = graph::order(&names, &edges, &mut problems);
        for name in &names {
            check_name(&format!("steps.{name}"), name, 63, &mut problems);
        }
        if let Some(schema) = &self.input_schema {
            if let Err(message) = InputSchema::compile(schema.get()) {
                problems.push(Problem::new("input_schema", message));
            }
        }
        let priority = match &self.priority {
            None => Some(Priority::default()),
            Some(PrioritySource::Level(level)) => Priority::parse(&level.to_string()),
            Some(PrioritySource::Name(name)) => Priority::parse(name),
        };
        if priority.is_none() {
            problems.push(Problem::new("priority", "must be low, normal, high, urgent, or an integer from -10 to 10"));
        }
        let timeout = seconds("timeout", self.timeout.as_ref(), bare_numbers, &mut problems);
        let concurrency = self.concurrency.as_ref().map(|source| source.check(&mut problems));
        let mut checked: Vec<StepDefinition> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            checked.push(step.check(bare_numbers, &mut problems));
        }
        let what = format!("workflow {}/{} version {}", self.namespace, self.name, self.version);
        let Some(order) = order.filter(|_| problems.is_empty()) else {
            return Err(Error::validation(what, problems));
        };
        let steps = graph::arrange(checked, &order);
        let mut workflow = Workflow {
            namespace: self.namespace,
            name: self.name,
            version: self.version,
            description: self.description,
            input_schema: self.input_schema,
            priority: priority.unwrap_or_default().level(),
            timeout,
            concurrency,
            steps,
            digest: String::new(),
        };
        let digest = Sha256::digest(workflow.to_json());
        workflow.digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(workflow)
    }
}

impl ConcurrencySource {
    fn check(&self, problems: &mut Vec<Problem>) -> Concurrency {
        let key: Vec<String> = self.key.split('.').map(str::to_owned).collect();
        if key.iter().any(String::is_empty) || self.key.chars().count() > 255 {
            let message = "must name a key of the context, with dots to what stands inside, such as customer.id";
            problems.push(Problem::new("concurrency.key", message));
        }
        let limit = u16::try_from(self.limit).ok().filter(|limit| (1..=10_000).contains(limit));
        if limit.is_none() {
            problems.push(Problem::new("concurrency.limit", format!("{} must be from 1 to 10000", self.limit)));
        }
        Concurrency { key, limit: limit.unwrap_or(1) }
    }
}

impl StepSource {
    fn check(&self, bare_numbers: BareNumbers, problems: &mut Vec<Problem>) -> StepDefinition {
        let field = |key: &str| format!("steps.{}.{key}", self.name);
        let max_attempts = self.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS.into());
        if !(1..=1_000).contains(&max_attempts) {
            problems.push(Problem::new(field("max_attempts"), format!("{max_attempts} must be from 1 to 1000")));
        }
        let handler = self.handler.clone().unwrap_or_default();
        if handler.is_empty() || handler.len() > 255 {
            problems.push(Problem::new(field("handler"), "must be the name of a handler, at most 255 characters"));
        }
        let mut backoff = DEFAULT_BACKOFF;
        if let Some(source) = &self.backoff {
            let base = seconds(&field("backoff.base"), source.base.as_ref(), bare_numbers, problems);
            let cap = seconds(&field("backoff.cap"), source.cap.as_ref(), bare_numbers, problems);
            backoff.base = base.unwrap_or(backoff.base);
            backoff.cap = cap.unwrap_or(backoff.cap.max(backoff.base));
            backoff.jitter = source.jitter.unwrap_or(backoff.jitter);
            if backoff.base > backoff.cap {
                problems.push(Problem::new(
                    field("backoff"),
                    format!("base ({}s) is above cap ({}s)", backoff.base, backoff.cap),
                ));
            }
            if !(0.0..=1.0).contains(&backoff.jitter) {
                problems.push(Problem::new(field("backoff.jitter"), format!("{} must be from 0 to 1", backoff.jitter)));
            }
        }
        let permanent_errors = errors(&field("permanent_errors"), &self.permanent_errors, problems);
        let retryable_errors = errors(&field("retryable_errors"), &self.retryable_errors, problems);
        if let Some(both) = permanent_errors.iter().find(|name| retryable_errors.contains(name)) {
            problems.push(Problem::new(field("retryable_errors"), format!("{both:?} is in permanent_errors too")));
        }
        StepDefinition {
            name: self.name.clone(),
            handler,
            depends_on: Vec::new(),
            dependents: Vec::new(),
            max_attempts: u16::try_from(max_attempts).unwrap_or(DEFAULT_MAX_ATTEMPTS),
            backoff,
            timeout: seconds(&field("timeout"), self.timeout.as_ref(), bare_numbers, problems),
            permanent_errors,
            retryable_errors,
            config: self.config.clone(),
        }
    }
}

impl OneOrMany {
    fn names(&self) -> Vec<&str> {
        match self {
            Self::None => Vec::new(),
            Self::One(name) => vec![name],
            Self::Many(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

/// Names of errors: codes or classes.
fn errors(field: &str, source: &OneOrMany, problems: &mut Vec<Problem>) -> Vec<String> {
    let names: Vec<String> = source.names().into_iter().map(str::to_owned).collect();
    if names.len() > MAX_ERRORS {
        problems.push(Problem::new(field, format!("at most {MAX_ERRORS} names, not {}", names.len())));
    }
    if names.iter().any(|name| name.is_empty() || name.chars().count() > 255) {
        problems.push(Problem::new(field, "each must be the code or the class of an error, 1 to 255 characters"));
    }
    names
}

fn seconds(
    field: &str,
    source: Option<&DurationSource>,
    bare_numbers: BareNumbers,
    problems: &mut Vec<Problem>,
) -> Option<f64> {
    let seconds = match source? {
        DurationSource::Seconds(number) if bare_numbers == BareNumbers::Seconds => Ok(*number),
        DurationSource::Seconds(number) => parse_duration(&number.to_string()).map(|d| d.as_secs_f64()),
        DurationSource::Text(text) => parse_duration(text).map(|d| d.as_secs_f64()),
    };
    match seconds {
        Ok(seconds) if seconds > 0.0 && seconds <= 31_536_000.0 => Some(seconds),
        Ok(seconds) => {
            problems.push(Problem::new(field, format!("{seconds}s must be above 0 and at most a year")));
            None
        }
        Err(message) => {
            problems.push(Problem::new(field, message));
            None
        }
    }
}

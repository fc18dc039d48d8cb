//! What became of an attempt, and how it is told to the orchestrator. What is told of a failure stays in the database for
//! people to read, so secrets are masked here, once for all languages; a result is the task's own data, and is not.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::store::{ClaimedStep, Said, StepResults};
use crate::telemetry::traces::ResultTrace;
use crate::telemetry::{mask_json, mask_text};

/// Longest message and backtrace line that is kept, in bytes.
const LONGEST_TEXT: usize = 10_000;
/// Most backtrace lines that are kept.
const BACKTRACE_LINES: usize = 50;
/// Most classes that an error is told to descend from.
const ANCESTORS: usize = 20;
/// Most causes that are kept, and most backtrace lines of each.
const CAUSES: usize = 5;
const CAUSE_LINES: usize = 5;

/// The outcome of one attempt.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The handler returned: its result as JSON text.
    Complete(String),
    /// The handler failed.
    Failed(Failure),
}

/// Whether there may be another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Another attempt may succeed.
    Retryable,
    /// No attempt can succeed.
    Permanent,
    /// The attempt took too long; another may not.
    Timeout,
}

impl FailureKind {
    /// As messages and spans name it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Retryable => "retryable",
            Self::Permanent => "permanent",
            Self::Timeout => "timeout",
        }
    }
}

/// When another attempt is asked for. The orchestrator never waits longer than the step's cap.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RetryAfter {
    /// After so many seconds.
    Seconds(f64),
    /// As the HTTP header `Retry-After` says it: seconds, or a date, which the database's clock is compared with.
    Header(String),
}

/// What an error was raised for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cause {
    /// Its class, where that is known.
    pub class: Option<String>,
    /// For people.
    pub message: String,
    /// Where it happened, innermost first.
    pub backtrace: Vec<String>,
}

/// An attempt that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Whether there may be another attempt.
    pub kind: FailureKind,
    /// Class of the error, in the handler's language.
    pub class: String,
    /// Classes that it descends from, the nearest first, as a step's `permanent_errors` and `retryable_errors` name them.
    pub ancestors: Vec<String>,
    /// The error's own code.
    pub code: Option<String>,
    /// For people.
    pub message: String,
    /// Where it happened, innermost first.
    pub backtrace: Vec<String>,
    /// What the error was raised for, the nearest first; five are kept.
    pub causes: Vec<Cause>,
    /// JSON text that the handler attached; what is longer than `worker.attempt_details` is cut.
    pub context: Option<String>,
    /// When the worker asks for the next attempt.
    pub retry_after: Option<RetryAfter>,
    /// JSON text: HTTP status, headers, hints; cut as the context is.
    pub metadata: Option<String>,
}

impl RetryAfter {
    /// What JSON can hold; none when that is nothing.
    fn storable(self) -> Option<Self> {
        match self {
            Self::Seconds(seconds) => (seconds.is_finite() && seconds >= 0.0).then_some(self),
            Self::Header(text) => Some(Self::Header(storable(&text))),
        }
    }
}

impl Failure {
    /// A failure of this kind and class with a message, and nothing else.
    pub fn new(kind: FailureKind, class: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind,
            class: class.into(),
            ancestors: Vec::new(),
            code: None,
            message: message.into(),
            backtrace: Vec::new(),
            causes: Vec::new(),
            context: None,
            retry_after: None,
            metadata: None,
        }
    }

    /// A failure of this kind that says what an error says, with its sources as causes.
    pub fn of<E: std::error::Error + ?Sized>(kind: FailureKind, error: &E) -> Self {
        let sources = std::iter::successors(error.source(), |source| source.source()).take(CAUSES);
        let causes = sources.map(|source| Cause { message: source.to_string(), ..Cause::default() }).collect();
        Self { causes, ..Self::new(kind, std::any::type_name::<E>(), error.to_string()) }
    }

    /// As a cause of another, before those that it has.
    pub(super) fn into_causes(self) -> impl Iterator<Item = Cause> {
        let own = Cause { class: Some(self.class), message: self.message, backtrace: self.backtrace };
        std::iter::once(own).chain(self.causes)
    }
}

/// A result as it is sent.
#[derive(Debug, Clone)]
pub(super) struct Report {
    step: Envelope,
    body: Body,
    /// What is sent instead when PostgreSQL refuses it.
    fallback: Option<Fallback>,
}

#[derive(Debug, Clone)]
enum Body {
    /// What the handler returned, JSON text.
    Value(String),
    /// The whole message.
    Message(String),
}

#[derive(Debug, Clone)]
enum Fallback {
    /// A failure that says why.
    Failure,
    /// The failure without what may be at fault.
    Bare(Box<Failure>),
}

#[derive(Debug, Clone, Serialize)]
struct Envelope {
    claim: i64,
    task_id: Uuid,
    step: i16,
    attempt: i16,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Box<ResultTrace>>,
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(flatten)]
    envelope: &'a Envelope,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<RetryAfter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    class: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ancestors: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backtrace: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<CauseObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct CauseObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backtrace: Vec<String>,
}

impl Outcome {
    /// For log lines.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Complete(_) => "complete",
            Self::Failed(failure) => failure.kind.as_str(),
        }
    }

    /// `details`: how many bytes of the context and of the metadata of a failure are kept.
    pub(super) fn report(&self, step: &ClaimedStep, took: Duration, details: u32) -> Report {
        let envelope = Envelope {
            claim: step.claim_id,
            task_id: step.task_id,
            step: step.position,
            attempt: step.attempt,
            duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            trace: ResultTrace::of(step),
        };
        match self {
            Self::Complete(result) => match serde_json::from_str::<&RawValue>(result) {
                Ok(result) => Report {
                    step: envelope,
                    body: Body::Value(result.get().to_owned()),
                    fallback: Some(Fallback::Failure),
                },
                Err(error) => not_storable(envelope, &format!("the result is not JSON: {error}")),
            },
            Self::Failed(failure) => {
                let kept = |json: &Option<String>| bounded(json.as_deref(), details as usize);
                let failure =
                    Failure { context: kept(&failure.context), metadata: kept(&failure.metadata), ..failure.clone() };
                let json = message(&envelope, failure.kind.as_str(), Some(&failure));
                let fallback = Some(Fallback::Bare(Box::new(Failure { context: None, metadata: None, ..failure })));
                Report { step: envelope, body: Body::Message(json), fallback }
            }
        }
    }
}

impl Report {
    pub(super) fn claim_id(&self) -> i64 {
        self.step.claim
    }

    pub(super) fn task_id(&self) -> Uuid {
        self.step.task_id
    }

    pub(super) fn trace(&self) -> Option<&ResultTrace> {
        self.step.trace.as_deref()
    }

    /// Bytes, beside those that every report has.
    pub(super) fn size(&self) -> usize {
        match &self.body {
            Body::Value(text) | Body::Message(text) => text.len(),
        }
    }

    /// As `report_results` takes it.
    pub(super) fn message(&self) -> Cow<'_, str> {
        match &self.body {
            Body::Message(json) => Cow::Borrowed(json),
            Body::Value(value) => {
                let mut json = message(&self.step, "complete", None);
                json.truncate(json.len() - 1);
                json.push_str(r#","result":"#);
                json.push_str(value);
                json.push('}');
                Cow::Owned(json)
            }
        }
    }

    /// A success of which nothing is to be said but what the handler returned.
    fn value(&self) -> Option<&str> {
        match &self.body {
            Body::Value(value) if self.step.trace.is_none() => Some(value),
            _ => None,
        }
    }

    /// As `settle_results` takes them.
    pub(super) fn results(reports: &[Self]) -> StepResults<'_> {
        let steps = || reports.iter().map(|report| &report.step);
        let said = match reports.iter().map(Self::value).collect() {
            Some(values) => Said::Values {
                values,
                durations: steps().map(|step| i64::try_from(step.duration_us).unwrap_or(i64::MAX)).collect(),
            },
            None => Said::Messages(reports.iter().map(Self::message).collect()),
        };
        StepResults {
            claim_ids: steps().map(|step| step.claim).collect(),
            task_ids: steps().map(|step| step.task_id).collect(),
            positions: steps().map(|step| step.step).collect(),
            attempts: steps().map(|step| step.attempt).collect(),
            said,
        }
    }

    /// What to send after PostgreSQL has refused this: a result becomes a permanent failure, a failure loses what was
    /// attached to it. The second time there is nothing left to try, and the report comes back.
    pub(super) fn refused(self, why: &str) -> Result<Self, Self> {
        let step = self.step.clone();
        match &self.fallback {
            Some(Fallback::Failure) => Ok(not_storable(step, &format!("the result cannot be stored as jsonb: {why}"))),
            Some(Fallback::Bare(failure)) => {
                let json = message(&step, failure.kind.as_str(), Some(failure));
                Ok(Self { step, body: Body::Message(json), fallback: None })
            }
            None => Err(self),
        }
    }
}

/// A failure that says why there is no result.
fn not_storable(step: Envelope, why: &str) -> Report {
    let failure = Failure {
        code: Some("INVALID_RESULT".to_owned()),
        ..Failure::new(FailureKind::Permanent, "Stepwell::PermanentError", why)
    };
    let json = message(&step, failure.kind.as_str(), Some(&failure));
    Report { step, body: Body::Message(json), fallback: None }
}

fn message(envelope: &Envelope, outcome: &str, failure: Option<&Failure>) -> String {
    let raw = |json: &Option<String>| RawValue::from_string(json.clone()?).ok();
    let context = failure.and_then(|failure| raw(&failure.context));
    let metadata = failure.and_then(|failure| raw(&failure.metadata));
    let message = Message {
        envelope,
        outcome,
        error: failure.map(|failure| ErrorObject {
            class: storable(&failure.class),
            ancestors: failure.ancestors.iter().take(ANCESTORS).map(|class| storable(class)).collect(),
            code: failure.code.as_deref().map(shown),
            message: shown(&failure.message),
            backtrace: lines(&failure.backtrace, BACKTRACE_LINES),
            causes: failure.causes.iter().take(CAUSES).map(cause).collect(),
            context: context.as_deref(),
        }),
        retry_after: failure.and_then(|failure| failure.retry_after.clone()).and_then(RetryAfter::storable),
        metadata: metadata.as_deref(),
    };
    // Numbers, texts and raw JSON into memory: cannot fail.
    serde_json::to_string(&message).unwrap_or_default()
}

fn cause(cause: &Cause) -> CauseObject {
    CauseObject {
        class: cause.class.as_deref().map(storable),
        message: shown(&cause.message),
        backtrace: lines(&cause.backtrace, CAUSE_LINES),
    }
}

fn lines(backtrace: &[String], most: usize) -> Vec<String> {
    backtrace.iter().take(most).map(|line| shown(line)).collect()
}

/// What the handler attached, without secrets; of more than `most` bytes the beginning, as a text, and how many there were. What
/// is not JSON is described.
fn bounded(json: Option<&str>, most: usize) -> Option<String> {
    let json = json?;
    if let Err(error) = serde_json::from_str::<&RawValue>(json) {
        return Some(serde_json::json!({ "unstorable": format!("is not JSON: {error}") }).to_string());
    }
    let json = mask_json(json);
    if json.len() <= most {
        return Some(json.into_owned());
    }
    Some(serde_json::json!({ "cut": format!("{}…", beginning(&json, most)), "bytes": json.len() }).to_string())
}

/// At most so many bytes of a text.
fn beginning(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A text for people, without secrets: masked before it is cut, because half of a secret is not known for one.
fn shown(text: &str) -> String {
    storable(&mask_text(text))
}

/// A text that jsonb takes: without NUL, of bounded length.
fn storable(text: &str) -> String {
    let beginning = beginning(text, LONGEST_TEXT);
    let mut kept = beginning.replace('\0', "\u{fffd}");
    if beginning.len() < text.len() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(failure: &Failure, details: u32) -> serde_json::Value {
        let outcome = Outcome::Failed(failure.clone());
        let report = outcome.report(&super::super::slots::tests::step(), Duration::ZERO, details);
        serde_json::from_str(&report.message()).unwrap()
    }

    #[test]
    fn an_error_is_told_with_its_sources() {
        let inner = std::io::Error::other("password=hunter2 refused");
        let outer = crate::Error::Database { url: "db".into(), source: sqlx::Error::Io(inner) };
        let failure = Failure::of(FailureKind::Permanent, &outer);
        assert_eq!(failure.class, "stepwell::error::Error");
        let causes = &told(&failure, 65_536)["error"]["causes"];
        assert_eq!(causes[0]["message"], "error communicating with database: password=*** refused");
        assert_eq!((causes[0]["class"].as_str(), causes.as_array().map(Vec::len)), (None, Some(2)));
    }

    #[test]
    fn what_is_attached_and_is_no_json_is_described_and_the_rest_stays() {
        let context = Some("{half".to_owned());
        let failure = Failure { context, ..Failure::new(FailureKind::Retryable, "Class", "message") };
        let error = &told(&failure, 1_000)["error"];
        assert_eq!(error["message"], "message");
        let unstorable = error["context"]["unstorable"].as_str().unwrap();
        assert!(unstorable.starts_with("is not JSON: key must be a string"), "{unstorable}");
    }

    #[test]
    fn what_is_attached_is_masked_and_cut() {
        let context = format!(r#"{{"password": "hunter2", "blob": "{}"}}"#, "ü".repeat(5_000));
        let metadata = Some(r#"{"status": 503}"#.to_owned());
        let failure =
            Failure { context: Some(context), metadata, ..Failure::new(FailureKind::Retryable, "Class", "message") };
        let message = told(&failure, 1_000);
        let (cut, bytes) = (&message["error"]["context"]["cut"], &message["error"]["context"]["bytes"]);
        let cut = cut.as_str().unwrap();
        assert!(cut.len() < 1_010 && cut.ends_with("ü…") && !cut.contains("hunter2"), "{cut}");
        assert!(bytes.as_u64() > Some(10_000), "{bytes}");
        assert_eq!(message["metadata"], serde_json::json!({ "status": 503 }));
        assert!(told(&failure, 65_536)["error"]["context"]["blob"].is_string());
    }
}

//! The workflows that are measured. Ruby's half defines the same in `benchmarks/programs/workflows.rb`.

use clap::ValueEnum;
use serde_json::json;
use stepwell::{Request, Workflow};

pub(crate) const NAMESPACE: &str = "bench";
/// The one handler.
pub(crate) const HANDLER: &str = "NoOp";

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    /// One step.
    Single,
    /// Four steps, one after the other.
    Chain,
    /// One step, a hundred side by side, one.
    Fanout,
}

impl Kind {
    pub(crate) fn steps(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Chain => 4,
            Self::Fanout => 102,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Single => "bench/single",
            Self::Chain => "bench/chain",
            Self::Fanout => "bench/fanout",
        }
    }

    pub(crate) fn workflow(self) -> stepwell::Result<Workflow> {
        let name = |step: usize| format!("step{step}");
        let last = self.steps() - 1;
        let dependencies = |step: usize| match (self, step) {
            (_, 0) => vec![],
            (Self::Fanout, step) if step == last => (1..last).map(name).collect(),
            (Self::Fanout, _) => vec![name(0)],
            (_, step) => vec![name(step - 1)],
        };
        let steps: Vec<_> = (0..=last)
            .map(|step| json!({ "name": name(step), "handler": HANDLER, "depends_on": dependencies(step) }))
            .collect();
        let (namespace, short) = self.name().split_once('/').unwrap_or_default();
        let definition = json!({ "namespace": namespace, "name": short, "version": "1.0.0", "steps": steps });
        Workflow::from_json(&definition.to_string())
    }

    /// A request whose context has about so many bytes.
    pub(crate) fn request(self, bytes: usize, priority: Option<&str>) -> Request {
        let context = if bytes == 0 { "{}".to_owned() } else { json!({ "data": text(bytes) }).to_string() };
        let priority = priority.map(str::to_owned);
        Request { workflow: self.name().to_owned(), context, priority, ..Request::default() }
    }
}

/// What a handler returns: `1`, or a text of about so many bytes.
pub(crate) fn result(bytes: usize) -> String {
    if bytes == 0 {
        "1".to_owned()
    } else {
        format!("\"{}\"", text(bytes))
    }
}

/// Letters without a pattern, because PostgreSQL compresses.
fn text(bytes: usize) -> String {
    let mut state: u64 = 0x2545_f491_4f6c_dd1d;
    let letters = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"[(state >> 32) as usize % 64])
    });
    letters.take(bytes).collect()
}

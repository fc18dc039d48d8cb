//! Places in the JSON text of a definition, told by the names of its steps.

use serde_path_to_error::{Path, Segment};

use crate::error::Problem;
use crate::payload;

/// What the database would refuse or lose, wherever it stands.
pub(super) fn unstorable(json: &str, steps: &[&str]) -> Vec<Problem> {
    let mut problems = payload::problems(json);
    for problem in &mut problems {
        let inside = problem.field.strip_prefix("steps.").and_then(|rest| rest.split_once('.'));
        let inside = inside.and_then(|(index, rest)| Some((steps.get(index.parse::<usize>().ok()?)?, rest)));
        if let Some((step, rest)) = inside {
            problem.field = format!("steps.{}.{rest}", step.escape_debug());
        }
    }
    problems
}

/// A place in a definition that cannot be read, with the step's name where it has one.
pub(super) fn unreadable(path: &Path, json: &str) -> String {
    let mut steps = false;
    let mut parts = Vec::new();
    for segment in path.iter() {
        let name = match segment {
            Segment::Seq { index } if steps => {
                let definition: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
                definition["steps"][index]["name"].as_str().map(str::to_owned)
            }
            _ => None,
        };
        let part = segment.to_string();
        steps = parts.is_empty() && part == "steps";
        parts.push(name.unwrap_or(part));
    }
    parts.join(".")
}

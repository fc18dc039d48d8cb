//! Definitions from YAML files: durations carry their unit, and an environment may override steps. Keys that begin with
//! `x-` are the author's own, for anchors and notes.

use super::definition::{BareNumbers, Workflow};
use crate::error::{Error, Problem, Result};
use crate::yaml::{self, Node, Value};

/// Keys below which everything is the handler's or JSON schema's, also what begins with `x-`.
const OPAQUE: [&str; 2] = ["config", "input_schema"];

/// Reads a definition as a YAML file holds it; `environment` says which of its `environments` applies. The others are
/// checked too, so that a mistake for production is found in development.
///
/// # Errors
/// [`Error::Validation`] that names each field and step that is wrong.
pub fn from_yaml(yaml: &str, environment: &str) -> Result<Workflow> {
    let document = yaml::parse(yaml).map_err(|error| wrong("", error))?;
    let mut definition = document
        .filter(Node::is_map)
        .ok_or_else(|| wrong("", "must be a mapping with namespace, name, version and steps"))?;
    forget_own_keys(&mut definition);
    let environments = definition.remove("environments");
    if let Some(Value::Number(version)) = definition.get("version").map(|node| &node.value) {
        return Err(wrong("version", format!("{version} must be quoted: it is a text")));
    }

    let mut checked = Checked::default();
    let plain = parse(&definition);
    let mut chosen = None;
    for (name, overrides) in checked.mapping("environments", environments.as_ref()) {
        let field = format!("environments.{name}");
        let Some(definition) = checked.overridden(&definition, &field, overrides) else { continue };
        let workflow = parse(&definition);
        if let Err(error) = &workflow {
            checked.add(error, plain.as_ref().err(), &field);
        }
        if name == environment {
            chosen = workflow.ok();
        }
    }
    // A definition that only its environments complete is good where one of them applies.
    if chosen.is_none() {
        if let Err(error) = &plain {
            checked.add(error, Some(error), "");
        }
    }
    checked.result()?;
    chosen.map_or(plain, Ok)
}

fn parse(definition: &Node) -> Result<Workflow> {
    Workflow::parse(&definition.to_json(), BareNumbers::Refused)
}

fn wrong(field: &str, message: impl Into<String>) -> Error {
    Error::validation("workflow file", vec![Problem::new(field, message)])
}

fn forget_own_keys(node: &mut Node) {
    match &mut node.value {
        Value::Map(entries) => {
            entries.retain(|(key, _)| !key.starts_with("x-"));
            for (_, inside) in entries.iter_mut().filter(|(key, _)| !OPAQUE.contains(&key.as_str())) {
                forget_own_keys(inside);
            }
        }
        Value::List(items) => items.iter_mut().for_each(forget_own_keys),
        _ => {}
    }
}

/// What is wrong with a file so far.
#[derive(Default)]
struct Checked {
    /// What it is of, once that is known.
    what: Option<String>,
    problems: Vec<Problem>,
}

impl Checked {
    /// The entries of what must be a mapping, and may be absent or empty.
    fn mapping<'n>(&mut self, field: &str, node: Option<&'n Node>) -> &'n [(String, Node)] {
        if let Some(node) = node.filter(|node| !node.is_map() && node.value != Value::Null) {
            self.problems.push(Problem::new(field, format!("must be a mapping (line {})", node.line)));
        }
        node.map_or(&[], Node::entries)
    }

    /// The definition with `{steps: {NAME: overrides}}` over it; none when that is wrong.
    fn overridden(&mut self, definition: &Node, field: &str, overrides: &Node) -> Option<Node> {
        let before = self.problems.len();
        let mut definition = definition.clone();
        for (key, changes) in self.mapping(field, Some(overrides)) {
            let field = format!("{field}.{key}");
            if key != "steps" {
                let message = format!("only steps can be overridden (line {})", changes.line);
                self.problems.push(Problem::new(field, message));
                continue;
            }
            for (name, changes) in self.mapping(&field, Some(changes)) {
                let field = format!("{field}.{name}");
                match step_of(&mut definition, name) {
                    None => {
                        let message = format!("there is no such step (line {})", changes.line);
                        self.problems.push(Problem::new(field, message));
                    }
                    Some(step) => {
                        for (key, value) in self.mapping(&field, Some(changes)) {
                            step.merge(key, value);
                        }
                    }
                }
            }
        }
        (self.problems.len() == before).then_some(definition)
    }

    /// Adds what is wrong with a definition; what is wrong without the environment too is not of it.
    fn add(&mut self, error: &Error, without: Option<&Error>, environment: &str) {
        let Error::Validation { what, problems } = error else { return };
        self.what.get_or_insert_with(|| what.clone());
        let known = match without {
            Some(Error::Validation { problems, .. }) => problems.as_slice(),
            _ => &[],
        };
        for problem in problems {
            let mut problem = problem.clone();
            if !known.contains(&problem) {
                problem.field = format!("{environment}.{}", problem.field).trim_end_matches('.').to_owned();
            }
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
    }

    fn result(self) -> Result<()> {
        match self.problems.is_empty() {
            true => Ok(()),
            false => Err(Error::validation(self.what.unwrap_or_else(|| "workflow file".to_owned()), self.problems)),
        }
    }
}

fn step_of<'n>(definition: &'n mut Node, name: &str) -> Option<&'n mut Node> {
    let Value::List(steps) = &mut definition.get_mut("steps")?.value else { return None };
    steps.iter_mut().find(|step| step.is_map() && step.get("name").and_then(Node::as_str) == Some(name))
}

#[cfg(test)]
mod tests;

//! Definitions from YAML files: durations carry their unit, and an environment may override steps.

use serde_json::{Map, Value};

use super::definition::{BareNumbers, Workflow};
use crate::error::{Error, Problem, Result};

/// Reads a definition as a YAML file holds it; `environment` says which of its `environments` applies.
///
/// # Errors
/// [`Error::Validation`] that names each field and step that is wrong.
pub fn from_yaml(yaml: &str, environment: &str) -> Result<Workflow> {
    let wrong = |message: String| Error::validation("workflow file", vec![Problem::new("", message)]);
    let value: Value = serde_yaml_ng::from_str(yaml).map_err(|error| wrong(format!("is not YAML: {error}")))?;
    let Value::Object(mut definition) = value else {
        return Err(wrong("must be a mapping with namespace, name, version and steps".to_owned()));
    };
    if let Some(environments) = definition.remove("environments") {
        override_steps(&mut definition, &environments, environment)?;
    }
    if let Some(Value::Number(version)) = definition.get("version") {
        return Err(Error::validation(
            "workflow file",
            vec![Problem::new("version", format!("{version} must be quoted: it is a text"))],
        ));
    }
    Workflow::parse(&Value::Object(definition).to_string(), BareNumbers::Refused)
}

/// Applies `environments: {test: {steps: {NAME: overrides}}}`.
fn override_steps(definition: &mut Map<String, Value>, environments: &Value, environment: &str) -> Result<()> {
    let Some(overrides) = environments.get(environment) else { return Ok(()) };
    let mut problems = Vec::new();
    let empty = Map::new();
    for (name, changes) in overrides.get("steps").and_then(Value::as_object).unwrap_or(&empty) {
        let field = format!("environments.{environment}.steps.{name}");
        let steps = definition.get_mut("steps").and_then(Value::as_array_mut);
        let step = steps
            .and_then(|steps| steps.iter_mut().find(|step| step.get("name").and_then(Value::as_str) == Some(name)));
        match (step.and_then(Value::as_object_mut), changes.as_object()) {
            (Some(step), Some(changes)) => {
                for (key, value) in changes {
                    merge(step.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (None, _) => problems.push(Problem::new(field, "there is no such step")),
            (_, None) => problems.push(Problem::new(field, "must be a mapping of what to override")),
        }
    }
    for key in overrides.as_object().unwrap_or(&empty).keys().filter(|key| *key != "steps") {
        problems.push(Problem::new(format!("environments.{environment}.{key}"), "only steps can be overridden"));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::validation("workflow file", problems))
    }
}

/// Mappings are merged key by key, everything else is replaced.
fn merge(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::from_yaml;

    const FILE: &str = r#"
namespace: shop
name: order
version: "1.0.0"
timeout: 5m
steps:
  - {name: pay, handler: Pay, backoff: {base: 2s, cap: 1m}, config: {gateway: live, retries: 2}}
  - {name: ship, handler: Ship, depends_on: pay, timeout: 30s}
environments:
  test:
    steps:
      pay: {backoff: {base: 10ms}, config: {gateway: fake}}
"#;

    #[test]
    fn reads_durations_with_units_and_applies_the_environment() {
        let live = from_yaml(FILE, "production").unwrap();
        assert_eq!((live.timeout, live.steps[0].backoff.base, live.steps[0].backoff.cap), (Some(300.0), 2.0, 60.0));
        assert_eq!(live.steps[1].depends_on, [0]);
        let test = from_yaml(FILE, "test").unwrap();
        assert_eq!((test.steps[0].backoff.base, test.steps[0].backoff.cap), (0.01, 60.0));
        assert_eq!(test.steps[0].config.as_ref().unwrap().get(), r#"{"gateway":"fake","retries":2}"#);
        assert_ne!(live.digest, test.digest);
    }

    #[test]
    fn names_what_is_wrong() {
        for (from, to, expected) in [
            ("timeout: 30s", "timeout: 30", "steps.ship.timeout: 30 needs a unit"),
            ("version: \"1.0.0\"", "version: 1.0", "version: 1.0 must be quoted"),
            ("      pay: {backoff", "      payy: {backoff", "environments.test.steps.payy: there is no such step"),
            ("depends_on: pay", "depends: pay", "unknown field `depends`"),
            ("namespace: shop", "namespace: [", "is not YAML"),
        ] {
            let error = from_yaml(&FILE.replace(from, to), "test").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

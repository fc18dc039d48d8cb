//! Contexts against a workflow's input schema.

use std::sync::Arc;

use jsonschema::Validator;
use serde_json::Value;

use crate::error::Problem;
use crate::payload;

/// From here on a double stands for several integers.
const EXACT: f64 = 9_223_372_036_854_775_808.0;
/// Keywords that calculate with numbers, or compare numbers of a context with each other.
const CALCULATING: [&str; 2] = ["multipleOf", "uniqueItems"];

/// A compiled JSON schema.
#[derive(Debug, Clone)]
pub struct InputSchema {
    validator: Arc<Validator>,
    /// It compares integers that 64 bits do not hold; they are doubles here, so it could be wrong about them.
    inexact: bool,
}

impl InputSchema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// A text that says why it is no JSON schema.
    pub fn compile(schema: &str) -> Result<Self, String> {
        let schema: Value = serde_json::from_str(schema).map_err(|error| format!("is not JSON: {error}"))?;
        jsonschema::validator_for(&schema)
            .map(|validator| Self { validator: Arc::new(validator), inexact: is_inexact(&schema) })
            .map_err(|error| format!("is no JSON schema: {error}"))
    }

    /// What is wrong with a context, each field by its path; empty when it matches. At most 20 problems.
    pub fn problems(&self, context: &str) -> Vec<Problem> {
        if self.inexact {
            let large = payload::large_integers(context);
            if !large.is_empty() {
                return large.into_iter().map(unlike).collect();
            }
        }
        match serde_json::from_str::<Value>(context) {
            Err(error) => vec![Problem::new("context", format!("is not JSON: {error}"))],
            Ok(context) => self
                .validator
                .iter_errors(&context)
                .take(20)
                .map(|error| {
                    let path = error.instance_path().to_string().replace('/', ".");
                    // A message can quote the value it is about; a context may be large, and may hold what logs must not.
                    Problem::new(format!("context{path}"), error.masked().to_string())
                })
                .collect(),
        }
    }
}

fn unlike(problem: Problem) -> Problem {
    let message = format!("{}, which the input schema cannot compare exactly: send it as a text", problem.message);
    Problem::new(format!("context.{}", problem.field), message)
}

fn is_inexact(schema: &Value) -> bool {
    match schema {
        Value::Number(number) => number.is_f64() && number.as_f64().is_some_and(|number| number.abs() >= EXACT),
        Value::Array(items) => items.iter().any(is_inexact),
        Value::Object(entries) => {
            entries.iter().any(|(key, value)| CALCULATING.contains(&key.as_str()) || is_inexact(value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::InputSchema;

    #[test]
    fn names_every_field_that_is_wrong() {
        let schema = InputSchema::compile(
            r#"{"type":"object","required":["id"],"properties":{"id":{"type":"integer"},"items":{"type":"array","items":{"type":"object","properties":{"price":{"type":"number"}}}}}}"#,
        )
        .unwrap();
        assert!(schema.problems(r#"{"id":1,"items":[{"price":1.5}]}"#).is_empty());
        let problems: Vec<_> =
            schema.problems(r#"{"items":[{"price":"x"}]}"#).iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().any(|p| p.contains("context.items.0.price")), "{problems:?}");
        assert!(problems.iter().any(|p| p.contains("\"id\" is a required property")), "{problems:?}");
    }

    #[test]
    fn large_integers_are_compared_exactly_or_refused() {
        let told = |schema: &str, n: &str| -> Vec<String> {
            let schema = format!(r#"{{"properties": {{"n": {schema}}}}}"#);
            let schema = InputSchema::compile(&schema).unwrap();
            schema.problems(&format!(r#"{{"n": {n}}}"#)).iter().map(ToString::to_string).collect()
        };
        // Where no comparison can be wrong every integer is good, or compared.
        for (schema, n) in [
            (r#"{"type": "integer"}"#, "123456789012345678901234567890"),
            (r#"{"minimum": 9007199254740993}"#, "9007199254740993"),
            (r#"{"const": 9223372036854775807}"#, "9223372036854775807"),
            (r#"{"maximum": 1e20}"#, "18446744073709551615"),
            (r#"{"minimum": 0}"#, "18446744073709551617"),
        ] {
            assert_eq!(told(schema, n), Vec::<String>::new(), "{schema} {n}");
        }
        for (schema, n) in [
            (r#"{"minimum": 9007199254740993}"#, "9007199254740992"),
            (r#"{"const": 9223372036854775807}"#, "9223372036854775806"),
            (r#"{"maximum": 18446744073709551615}"#, "18446744073709551616"),
        ] {
            let problems = told(schema, n);
            assert!(problems[0].starts_with("context.n: ") && !problems[0].contains("send it"), "{problems:?}");
        }
        // Of two large ones the schema could be wrong.
        for (schema, n) in [
            (r#"{"maximum": 18446744073709551616}"#, "18446744073709551617"),
            (r#"{"maximum": 1e20}"#, "100000000000000000001"),
            (r#"{"enum": [18446744073709551616]}"#, "18446744073709551617"),
            (r#"{"multipleOf": 2}"#, "18446744073709551617"),
            (r#"{"uniqueItems": true}"#, "[18446744073709551617, 18446744073709551616]"),
        ] {
            let problems = told(schema, n);
            assert!(problems[0].contains("is beyond 64 bits, which the input schema cannot compare"), "{problems:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_schema() {
        assert!(InputSchema::compile("{").is_err());
        assert!(InputSchema::compile(r#"{"type":"strnig"}"#).is_err());
    }
}

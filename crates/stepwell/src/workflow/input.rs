//! Contexts against a workflow's input schema.

use jsonschema::Validator;

use crate::error::Problem;

/// A compiled JSON schema.
#[derive(Debug, Clone)]
pub struct InputSchema(std::sync::Arc<Validator>);

impl InputSchema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// A text that says why it is no JSON schema.
    pub fn compile(schema: &str) -> Result<Self, String> {
        let schema: serde_json::Value =
            serde_json::from_str(schema).map_err(|error| format!("is not JSON: {error}"))?;
        jsonschema::validator_for(&schema)
            .map(|validator| Self(std::sync::Arc::new(validator)))
            .map_err(|error| format!("is no JSON schema: {error}"))
    }

    /// What is wrong with a context, each field by its path; empty when it matches. At most 20 problems.
    pub fn problems(&self, context: &str) -> Vec<Problem> {
        match serde_json::from_str::<serde_json::Value>(context) {
            Err(error) => vec![Problem::new("context", format!("is not JSON: {error}"))],
            Ok(context) => self
                .0
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
    fn refuses_what_is_no_schema() {
        assert!(InputSchema::compile("{").is_err());
        assert!(InputSchema::compile(r#"{"type":"strnig"}"#).is_err());
    }
}

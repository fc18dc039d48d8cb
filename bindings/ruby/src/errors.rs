//! Errors of the core as the Ruby classes that `stepwell/errors.rb` declares.

use std::panic::{catch_unwind, AssertUnwindSafe};

use magnus::{Error, ExceptionClass, Module, RModule, Ruby};

/// An exception of the class `Stepwell::{name}`.
pub(crate) fn error(ruby: &Ruby, name: &str, message: impl Into<String>) -> Error {
    let class = ruby
        .class_object()
        .const_get::<_, RModule>("Stepwell")
        .and_then(|stepwell| stepwell.const_get::<_, ExceptionClass>(name))
        .unwrap_or_else(|_| ruby.exception_runtime_error());
    Error::new(class, message.into())
}

/// The exception for an error of the core.
pub(crate) fn raise(ruby: &Ruby, failure: &stepwell::Error) -> Error {
    error(ruby, class_of(failure), failure.to_string())
}

/// The name of the class of that.
pub(crate) fn class_of(failure: &stepwell::Error) -> &'static str {
    use stepwell::Error as Core;
    match failure {
        Core::PartlySubmitted { source, .. } => class_of(source),
        Core::Configuration { .. } | Core::Embedded(_) | Core::File { .. } | Core::Listen { .. } => {
            "ConfigurationError"
        }
        Core::ForeignQueue { .. } => "ConfigurationError",
        Core::Validation { .. } | Core::UnknownWorkflow { .. } | Core::WorkflowConflict { .. } => "ValidationError",
        Core::UnknownTask { .. } | Core::InvalidTransition { .. } | Core::UnknownNamespace { .. } => "ValidationError",
        Core::WaitTimeout { .. } => "WaitTimeout",
        Core::Database { .. } | Core::ConnectTimeout { .. } | Core::SchemaTooNew { .. } => "DatabaseError",
        Core::SchemaTooOld { .. } | Core::SchemaDiffers { .. } | Core::Migration { .. } | Core::Pgmq { .. } => {
            "DatabaseError"
        }
        Core::ForeignSchema { .. } | Core::SchemaWithoutData { .. } | Core::MigrationBlocked => "DatabaseError",
        Core::MissingPrivilege { .. } | Core::Pooled { .. } | Core::MayNotMigrate { .. } => "DatabaseError",
        _ => "Error",
    }
}

/// Runs an entry point. A panic becomes `Stepwell::Error`: Ruby would make it `fatal`, which nothing rescues.
pub(crate) fn entry<T>(ruby: &Ruby, body: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(error(ruby, "Error", format!("a bug in Stepwell's native extension: {text}")))
    })
}

//! What ends a command without success: a message, what to do about it, and the exit code.

use std::io::{self, Write};

use stepwell::Error;

use crate::output::{shown, styles};

/// It is done.
pub(crate) const DONE: u8 = 0;
/// It failed, or what was looked at is not as it should be.
pub(crate) const FAILED: u8 = 1;
/// The command line, a setting or an input is wrong.
pub(crate) const USAGE: u8 = 2;
/// What was asked for does not exist.
pub(crate) const NOT_FOUND: u8 = 3;
/// The database cannot be reached.
pub(crate) const UNREACHABLE: u8 = 4;
/// A signal ended it before it was done.
pub const INTERRUPTED: u8 = 130;

/// Why a command ends without success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The core refuses.
    #[error("{}", .0)]
    Core(#[from] Error),
    /// There is no connection.
    #[error("{}", .0)]
    Unreachable(Error),
    /// An argument, a setting or an input is wrong.
    #[error("{0}")]
    Usage(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The core did what it could.
    #[error("{0}")]
    Refused(String),
    /// Standard output cannot be written.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
    /// Something cannot be shown as JSON.
    #[error("the answer is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A signal came.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Core(error) => match error {
                Error::Configuration { .. } | Error::Validation { .. } | Error::Listen { .. } => USAGE,
                Error::UnknownTask { .. } | Error::UnknownNamespace { .. } | Error::UnknownWorkflow { .. } => NOT_FOUND,
                error if error.is_transient() => UNREACHABLE,
                _ => FAILED,
            },
            Self::Unreachable(_) => UNREACHABLE,
            Self::Usage(_) => USAGE,
            Self::NotFound(_) => NOT_FOUND,
            Self::Refused(_) | Self::Output(_) | Self::Json(_) => FAILED,
            Self::Interrupted => INTERRUPTED,
        }
    }

    /// What to do about it, where the message does not say so itself.
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Core(error) => match error {
                Error::SchemaTooOld { .. } => Some("run `stepwell migrate`"),
                Error::UnknownTask { .. } => Some("`stepwell task list` shows the newest tasks"),
                Error::UnknownNamespace { .. } => Some("`stepwell queues` shows the namespaces"),
                Error::UnknownWorkflow { .. } => Some(
                    "a workflow is registered when a program that defines it starts, such as `stepwell work -r FILE`",
                ),
                error if error.is_transient() => Some("`stepwell doctor` looks at the connection and the server"),
                _ => None,
            },
            Self::Unreachable(_) => Some("`stepwell doctor` looks at the connection and the server"),
            _ => None,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Core(Error::SchemaTooOld { found: 0, .. }) => "the database has no Stepwell schema yet".to_owned(),
            Self::Core(Error::SchemaTooOld { found, known }) => {
                format!("the schema in the database is at migration {found}, this program needs {known}")
            }
            Self::Core(Error::UnknownWorkflow { workflow, version }) => {
                let version = version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
                format!("no workflow {workflow}{version} is registered in the database")
            }
            failure => failure.to_string(),
        }
    }

    pub(crate) fn print(&self) {
        if matches!(self, Self::Interrupted) {
            return; // whoever sent the signal knows
        }
        let mut errors = anstream::stderr().lock();
        let (bad, good) = (styles::BAD.bold(), styles::GOOD);
        let _nobody_reads = writeln!(errors, "{bad}error:{bad:#} {}", shown(&self.message()));
        if let Some(hint) = self.hint() {
            let _nobody_reads = writeln!(errors, "{good}hint:{good:#} {hint}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_what_a_script_has_to_tell_apart() {
        let id = uuid::Uuid::nil();
        assert_eq!(Failure::from(Error::UnknownTask { task_id: id }).code(), NOT_FOUND);
        assert_eq!(Failure::from(Error::Configuration { message: String::new() }).code(), USAGE);
        assert_eq!(Failure::from(Error::InvalidTransition { message: String::new() }).code(), FAILED);
        let late = Error::ConnectTimeout { url: String::new(), timeout: std::time::Duration::ZERO };
        assert_eq!(Failure::from(late).code(), UNREACHABLE);
    }
}

//! What names and priorities may look like.

use crate::error::{Error, Problem, Result};

/// `[a-z][a-z0-9_]*` of at most `longest` characters.
pub(crate) fn check_name(field: &str, name: &str, longest: usize, problems: &mut Vec<Problem>) {
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.len() <= longest;
    if !good {
        problems.push(Problem::new(
            field,
            format!("{name:?} must start with a-z, hold only a-z, 0-9 and _, and be at most {longest} characters long"),
        ));
    }
}

/// Checks names of namespaces; `what` they are of, for the message.
///
/// # Errors
/// [`Error::Validation`] that says which is none.
pub(crate) fn check_namespaces(what: &str, namespaces: &[impl AsRef<str>]) -> Result<()> {
    let mut problems = Vec::new();
    for namespace in namespaces {
        check_name("namespaces", namespace.as_ref(), 40, &mut problems);
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::validation(what, problems))
    }
}

/// Splits `namespace/name`.
///
/// # Errors
/// [`Error::Validation`] when either part is not a name.
pub fn split_workflow_name(full: &str) -> Result<(String, String)> {
    let mut problems = Vec::new();
    let (namespace, name) = full.split_once('/').unwrap_or(("", full));
    if namespace.is_empty() {
        problems.push(Problem::new("workflow", format!("{full:?} must be \"namespace/name\"")));
    } else {
        check_name("namespace", namespace, 40, &mut problems);
        check_name("name", name, 63, &mut problems);
    }
    if problems.is_empty() {
        Ok((namespace.to_owned(), name.to_owned()))
    } else {
        Err(Error::validation(format!("workflow name {full:?}"), problems))
    }
}

/// A task's priority, -10 (last) to 10 (first).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Priority(i16);

impl Priority {
    /// Reads `low`, `normal`, `high`, `urgent`, or an integer from -10 to 10.
    pub fn parse(text: &str) -> Option<Self> {
        let level = match text {
            "low" => -5,
            "normal" => 0,
            "high" => 5,
            "urgent" => 10,
            number => number.parse().ok().filter(|level| (-10..=10).contains(level))?,
        };
        Some(Self(level))
    }

    /// The level as a number.
    pub fn level(self) -> i16 {
        self.0
    }
}

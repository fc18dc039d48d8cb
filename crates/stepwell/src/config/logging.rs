//! Section `logging`: which lines are written, and how.

use std::collections::BTreeMap;

use serde::de::{Deserializer, Error};
use serde::Deserialize;

use crate::telemetry::{Component, Format, Level};

/// Section `logging`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logging {
    /// `error`, `warn`, `info`, `debug` or `trace`: how important a line must be to be written.
    pub level: Level,
    /// `auto`, `pretty`, `plain` or `json`: how lines are written.
    pub format: Format,
    /// Levels of components that have one of their own, by name.
    #[serde(deserialize_with = "components")]
    pub components: BTreeMap<String, Level>,
}

impl Logging {
    /// The same with another level of all.
    #[must_use]
    pub fn with_level(&self, level: Level) -> Self {
        Self { level, ..self.clone() }
    }
}

/// They may be there and empty.
fn components<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Level>, D::Error> {
    let components: Option<BTreeMap<String, Level>> = Option::deserialize(deserializer)?;
    let components = components.unwrap_or_default();
    match components.keys().find(|name| Component::all().all(|component| component.name() != **name)) {
        Some(unknown) => {
            let known: Vec<_> = Component::all().map(Component::name).collect();
            Err(D::Error::custom(format!("{unknown:?} is no component of log lines: {}", known.join(", "))))
        }
        None => Ok(components),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::telemetry::{Format, Level};

    fn load(logging: &str) -> crate::Result<super::Logging> {
        Config::load_with(Some("production"), &format!("{{\"logging\": {logging}}}")).map(|config| config.logging)
    }

    #[test]
    fn levels_formats_and_components_are_read_by_their_names() {
        let logging = Config::load(Some("production")).unwrap().logging;
        assert_eq!((logging.level, logging.format, logging.components.len()), (Level::Info, Format::Auto, 0));
        let logging = load(r#"{"level": "WARN", "format": "json", "components": {"worker": "debug"}}"#).unwrap();
        assert_eq!(
            (logging.level, logging.format, logging.components["worker"]),
            (Level::Warn, Format::Json, Level::Debug)
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_allowed() {
        for (logging, expected) in [
            (r#"{"level": "loud"}"#, "error, warn, info, debug, trace"),
            (r#"{"format": "xml"}"#, "auto, pretty, plain, json"),
            (r#"{"components": {"workers": "info"}}"#, "task, worker, orchestrator"),
            (r#"{"components": {"worker": "loud"}}"#, "error, warn, info, debug, trace"),
        ] {
            let error = load(logging).unwrap_err().to_string();
            assert!(error.contains(expected), "{logging}: {error}");
        }
    }
}

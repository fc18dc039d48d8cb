//! Where each value came from, and what is told of it: in errors and in `stepwell config show`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use config::{Value, ValueKind};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::known;
use crate::error::{Error, Result};
use crate::telemetry::{mask_field, mask_text};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The built-in defaults.
    Default,
    /// The built-in defaults of this environment.
    Environment(String),
    /// A file of the application's.
    File(PathBuf),
    /// A variable of the process's environment.
    Variable(String),
    /// The program itself: `Stepwell.configure`, an option of the command line.
    Program(String),
}

/// A value that is in force. It is shown without its secrets.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Such as `worker.lease`.
    pub key: String,
    /// Where its value came from.
    pub origin: Origin,
    pub(super) value: Value,
}

/// What is in force, by key.
pub(super) type Effective = BTreeMap<String, Setting>;

/// Everything that is wrong with the settings.
#[derive(Default)]
pub(super) struct Problems(Vec<String>);

impl Origin {
    /// Whether nobody has said anything else.
    pub fn is_built_in(&self) -> bool {
        matches!(self, Self::Default | Self::Environment(_))
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Environment(_) => "environment",
            Self::File(_) => "file",
            Self::Variable(_) => "variable",
            Self::Program(_) => "program",
        }
    }

    /// How a key is written there.
    fn spell(&self, key: &str) -> String {
        match self {
            Self::Variable(_) => format!("STEPWELL__{}", key.replace('.', "__").to_uppercase()),
            _ => key.to_owned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment(name) => write!(f, "default for {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) | Self::Program(name) => f.write_str(name),
        }
    }
}

impl Setting {
    /// The value as JSON, masked.
    pub fn to_json(&self) -> serde_json::Value {
        self.shown(&self.value)
    }

    fn shown(&self, value: &Value) -> serde_json::Value {
        use serde_json::Value as Json;
        match &value.kind {
            ValueKind::Nil => Json::Null,
            ValueKind::Boolean(value) => (*value).into(),
            ValueKind::Array(values) => values.iter().map(|value| self.shown(value)).collect(),
            ValueKind::Table(values) => values
                .iter()
                .map(|(key, value)| (key.clone(), self.shown(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            // A key with a default, such as masking.keys, holds no secret, whatever it is called.
            kind => match known::find(&self.key).is_some_and(|known| known.given) {
                true => number(kind).unwrap_or_else(|| mask_text(&kind.to_string()).into()),
                false => mask_field(&self.key, &kind.to_string()).into(),
            },
        }
    }
}

fn number(kind: &ValueKind) -> Option<serde_json::Value> {
    match kind {
        ValueKind::I64(value) => Some((*value).into()),
        ValueKind::U64(value) => Some((*value).into()),
        ValueKind::Float(value) => Some((*value).into()),
        _ => None,
    }
}

impl fmt::Display for Setting {
    /// The value alone, masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_json() {
            serde_json::Value::String(text) => f.write_str(&text),
            serde_json::Value::Null => Ok(()),
            other => write!(f, "{other}"),
        }
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut setting = serializer.serialize_struct("Setting", 4)?;
        setting.serialize_field("key", &self.key)?;
        setting.serialize_field("value", &self.to_json())?;
        setting.serialize_field("origin", self.origin.kind())?;
        setting.serialize_field("from", &self.origin.to_string())?;
        setting.end()
    }
}

impl Problems {
    /// There is no such key.
    pub(super) fn unknown(&mut self, setting: &Setting) {
        let Setting { key, origin, .. } = setting;
        let meant = known::near(key).map(|near| format!("; did you mean {}?", origin.spell(near))).unwrap_or_default();
        self.0.push(format!("{origin}: unknown key {key} = {setting}{meant} ({})", known::allowed_beside(key)));
    }

    /// A value does not fit.
    pub(super) fn wrong(&mut self, setting: &Setting, what: &str) {
        let Setting { key, origin, .. } = setting;
        self.0.push(format!("{origin}: {key} = {setting}: {}", mask_text(what)));
    }

    /// The value of this key does not fit.
    pub(super) fn of(&mut self, effective: &Effective, key: &str, what: &str) {
        let Some(setting) = effective.get(key) else {
            // It is no value itself: whoever set something inside it, or all that is around it.
            let inside = effective.values().find(|setting| known::below(&setting.key, key).is_some());
            let around = || effective.values().rev().find(|setting| known::below(key, &setting.key).is_some());
            let origin = inside.or_else(around).map(|setting| format!("{}: ", setting.origin)).unwrap_or_default();
            return self.0.push(format!("{origin}{key}: {}", mask_text(what)));
        };
        self.wrong(setting, what);
    }

    /// Something else is wrong.
    pub(super) fn other(&mut self, what: String) {
        self.0.push(mask_text(&what).into_owned());
    }

    /// # Errors
    /// [`Error::Configuration`] with everything that is wrong.
    pub(super) fn result(self) -> Result<()> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(Error::Configuration { message: self.0.join("; ") }),
        }
    }
}

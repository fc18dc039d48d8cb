//! Values of files and programs as the `config` crate has them.

use config::{Map, Value, ValueKind};

use crate::yaml::{Node, Value as Yaml};

pub(super) fn of_yaml(node: &Node) -> Value {
    Value::new(
        None,
        match &node.value {
            Yaml::Null => ValueKind::Nil,
            Yaml::Bool(value) => ValueKind::Boolean(*value),
            Yaml::Number(digits) => number(digits),
            Yaml::Text(text) => ValueKind::String(text.clone()),
            Yaml::List(items) => ValueKind::Array(items.iter().map(of_yaml).collect()),
            Yaml::Map(entries) => {
                let entries = entries.iter().filter(|(key, _)| !key.starts_with("x-"));
                ValueKind::Table(entries.map(|(key, value)| (key.clone(), of_yaml(value))).collect())
            }
        },
    )
}

pub(super) fn of_json(value: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    Value::new(
        None,
        match value {
            Json::Null => ValueKind::Nil,
            Json::Bool(value) => ValueKind::Boolean(value),
            Json::Number(value) => number(&value.to_string()),
            Json::String(text) => ValueKind::String(text),
            Json::Array(items) => ValueKind::Array(items.into_iter().map(of_json).collect()),
            Json::Object(entries) => {
                ValueKind::Table(entries.into_iter().map(|(key, value)| (key, of_json(value))).collect::<Map<_, _>>())
            }
        },
    )
}

/// A number of no type that settings have stays the text it is, so that an error shows it as it was written.
fn number(digits: &str) -> ValueKind {
    let whole = digits.parse().map(ValueKind::I64);
    whole
        .or_else(|_| digits.parse().map(ValueKind::U64))
        .ok()
        .or_else(|| digits.contains(['.', 'e', 'E']).then(|| digits.parse().map(ValueKind::Float).ok())?)
        .unwrap_or_else(|| ValueKind::String(digits.to_owned()))
}

/// Seconds that nobody counts: a program's way to say `never`, as for `Float::INFINITY`.
const ENDLESS: f64 = 1e18;

/// A number of seconds with its unit.
pub(super) fn seconds(value: &Value) -> Option<String> {
    let seconds = match value.kind {
        ValueKind::I64(seconds) => seconds as f64,
        ValueKind::U64(seconds) => seconds as f64,
        ValueKind::Float(seconds) => seconds,
        _ => return None,
    };
    if seconds >= ENDLESS {
        return Some("never".to_owned());
    }
    let milliseconds = seconds * 1_000.0;
    Some(match (seconds.fract() == 0.0, (milliseconds - milliseconds.round()).abs() < 1e-6) {
        (true, _) => format!("{seconds:.0}s"),
        (_, true) => format!("{milliseconds:.0}ms"),
        _ => format!("{:.0}us", seconds * 1e6),
    })
}

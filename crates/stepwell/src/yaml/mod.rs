//! YAML as workflow files and settings are written: one document of mappings, lists and scalars, with anchors and merge
//! keys. Numbers keep all their digits. What would be lost or guessed at is refused with its line: a key that is there
//! twice, `.inf` and `.nan`, a tag of some program's own.
//!
//! | module | what it does |
//! |---|---|
//! | `compose` | the parser's events to nodes: anchors, limits, duplicate keys |
//! | `merge` | `<<` |
//! | `scalar` | what a plain scalar is: null, a boolean, a number, a text |

mod compose;
mod merge;
mod scalar;

use std::fmt::Write;

pub(crate) use compose::parse;

/// The one document of a YAML text as JSON; `null` when there is nothing in it.
///
/// # Errors
/// A text that says what is wrong and in which line.
pub fn to_json(text: &str) -> Result<String, String> {
    Ok(parse(text)?.map_or_else(|| "null".to_owned(), |node| node.to_json()))
}

/// A value and the line it stands in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// As JSON writes it, with all its digits.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; no key twice.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value of a key, when this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Keys and values; none when this is no mapping.
    pub(crate) fn entries(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Takes a key away.
    pub(crate) fn remove(&mut self, key: &str) -> Option<Self> {
        let Value::Map(entries) = &mut self.value else { return None };
        let place = entries.iter().position(|(name, _)| name == key)?;
        Some(entries.remove(place).1)
    }

    /// Puts a value over that of a key: mappings are merged key by key, everything else is replaced.
    pub(crate) fn merge(&mut self, key: &str, change: &Self) {
        let Value::Map(entries) = &mut self.value else { return };
        match entries.iter_mut().find(|(name, _)| name == key) {
            None => entries.push((key.to_owned(), change.clone())),
            Some((_, value)) if value.is_map() && change.is_map() => {
                change.entries().iter().for_each(|(key, change)| value.merge(key, change));
            }
            Some((_, value)) => *value = change.clone(),
        }
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn to_json(&self) -> String {
        let mut json = String::new();
        self.write(&mut json);
        json
    }

    fn write(&self, json: &mut String) {
        // Writing into a String cannot fail.
        match &self.value {
            Value::Null => json.push_str("null"),
            Value::Bool(value) => _ = write!(json, "{value}"),
            Value::Number(digits) => json.push_str(digits),
            Value::Text(text) => write_text(text, json),
            Value::List(items) => {
                json.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    item.write(json);
                }
                json.push(']');
            }
            Value::Map(entries) => {
                json.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    write_text(key, json);
                    json.push(':');
                    value.write(json);
                }
                json.push('}');
            }
        }
    }
}

fn write_text(text: &str, json: &mut String) {
    json.push_str(&serde_json::to_string(text).unwrap_or_default()); // a text is always JSON
}

#[cfg(test)]
mod tests;

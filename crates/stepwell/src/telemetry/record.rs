//! A line before it is written.

use std::borrow::Cow;
use std::fmt::Debug;
use std::time::SystemTime;

use tracing::field::{Field, Visit};

use super::component::Component;
use super::level::Level;
use super::mask::{mask_field, mask_text};

/// Bytes of a message or a value beyond which it is cut: a line is no place for a document.
const LONGEST: usize = 8 * 1024;

/// A line before it is written, from either language.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When.
    pub time: SystemTime,
    /// How important it is.
    pub level: Level,
    /// What it is about.
    pub component: Component,
    /// For people.
    pub message: String,
    /// For programs, in order.
    pub fields: Vec<(Cow<'static, str>, Value)>,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "they are what they are called")]
pub enum Value {
    Text(String),
    Integer(i128),
    Float(f64),
    Bool(bool),
}

impl Record {
    /// A line without fields, of now.
    pub fn new(level: Level, component: Component, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::now(level, component) }
    }

    pub(super) fn now(level: Level, component: Component) -> Self {
        Self { time: SystemTime::now(), level, component, message: String::new(), fields: Vec::new() }
    }

    /// About how much memory it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        let of_field = |(key, value): &(Cow<'_, str>, Value)| match value {
            Value::Text(text) => key.len() + text.len(),
            _ => key.len(),
        };
        200 + self.message.len() + self.fields.iter().map(of_field).sum::<usize>()
    }

    /// As it may be seen: without secrets, of bounded length, its keys words. In this order, for half a secret is one that
    /// nobody recognises. The one way into every line of both languages.
    #[must_use]
    pub(super) fn presentable(mut self) -> Self {
        self.message = clip(mask_text(&self.message).into_owned());
        for (key, value) in &mut self.fields {
            if let Some(masked) = masked(key, value) {
                *value = Value::Text(masked);
            }
            if key.is_empty() || !key.chars().all(is_of_a_word) {
                let word: String = key.chars().map(|it| if is_of_a_word(it) { it } else { '_' }).take(100).collect();
                *key = Cow::Owned(if word.is_empty() { "_".to_owned() } else { word });
            }
        }
        self
    }

    fn add(&mut self, field: &Field, value: Value) {
        self.fields.push((Cow::Borrowed(field.name()), value));
    }
}

/// What stands instead of the value; none when it can stay.
fn masked(key: &str, value: &Value) -> Option<String> {
    let text = match value {
        Value::Bool(_) => return None,
        Value::Text(text) => Cow::Borrowed(text.as_str()),
        other => Cow::Owned(other.to_string()), // the number of a card is one too
    };
    let masked = mask_field(key, &text);
    (masked != text || masked.len() > LONGEST).then(|| clip(masked.into_owned()))
}

fn clip(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let left = text.len() - end;
        text.truncate(end);
        text.push_str(&format!("… ({left} more bytes)"));
    }
    text
}

fn is_of_a_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '.' | '-')
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Bool(truth) => write!(f, "{truth}"),
        }
    }
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            _ => self.add(field, Value::Text(text)),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            _ => self.add(field, Value::Text(value.to_owned())),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Integer(value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Integer(value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::Float(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Bool(value));
    }
}

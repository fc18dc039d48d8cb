//! The one pattern of a line, for both languages: time, level, component, message, fields. `tests/golden/log_lines.json`
//! says by cases what it comes to.

use std::fmt::Write;

use anstyle::{AnsiColor, Color, Style};
use serde::ser::{SerializeMap, Serializer};
use serde::Serialize;

use super::level::{Format, Level};
use super::record::{Record, Value};

/// The line, with its newline.
pub(super) fn line(record: Record, format: Format) -> String {
    let record = record.presentable();
    let mut line = match format {
        Format::Json => harmless_json(serde_json::to_string(&Json(&record)).unwrap_or_default()),
        Format::Pretty => pretty(&record),
        Format::Auto | Format::Plain => plain(&record),
    };
    line.push('\n');
    line
}

/// The line without time and level, for a logger that has its own: component, message, fields.
pub(super) fn text(record: Record, format: Format) -> String {
    let record = record.presentable();
    let mut text = String::new();
    if format == Format::Pretty {
        text.push_str(record.component.emoji());
        text.push(' ');
    }
    text.push_str(record.component.label());
    push_message(&mut text, &record, Style::new());
    text
}

fn plain(record: &Record) -> String {
    let mut line = format!("{} {} {}", time(record), record.level.label(), record.component.label());
    push_message(&mut line, record, Style::new());
    line
}

fn pretty(record: &Record) -> String {
    let (faint, bold) = (Style::new().dimmed(), Style::new().bold());
    let (level, component) = (colour(record.level), record.component);
    let mut line = format!(
        "{faint}{}{faint:#} {level}{:<5}{level:#} {} {bold}{}{bold:#}",
        time(record),
        record.level.label(),
        component.emoji(),
        component.label()
    );
    push_message(&mut line, record, faint);
    line
}

/// ` message key=value key="a value"`, on one line whatever stands in them.
fn push_message(line: &mut String, record: &Record, of_keys: Style) {
    line.push(' ');
    push_escaped(line, &record.message, false);
    for (key, value) in &record.fields {
        let _to_a_string = write!(line, " {of_keys}{key}={of_keys:#}");
        match value {
            Value::Text(text) if text.is_empty() || text.chars().any(needs_quotes) => {
                line.push('"');
                push_escaped(line, text, true);
                line.push('"');
            }
            value => {
                let _to_a_string = write!(line, "{value}");
            }
        }
    }
}

fn needs_quotes(character: char) -> bool {
    character.is_whitespace() || is_control(character) || matches!(character, '"' | '=' | '\\')
}

/// Whether a character would end a line or do things to a terminal. Marks of direction make a text read as another one.
pub fn is_control(character: char) -> bool {
    let direction = matches!(
        character,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    direction || character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// JSON that does nothing to a terminal. What JSON itself escapes is escaped already, so the rest stands within texts.
pub fn harmless_json(json: String) -> String {
    let is_harmful = |character: char| is_control(character) && !character.is_ascii_whitespace();
    if !json.chars().any(is_harmful) {
        return json;
    }
    let mut harmless = String::with_capacity(json.len() + 8);
    for character in json.chars() {
        match is_harmful(character) {
            true => push_code(&mut harmless, character),
            false => harmless.push(character),
        }
    }
    harmless
}

fn push_code(text: &mut String, character: char) {
    let _to_a_string = write!(text, "\\u{:04x}", u32::from(character));
}

fn push_escaped(line: &mut String, text: &str, quoted: bool) {
    for character in text.chars() {
        match character {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '"' | '\\' if quoted => line.extend(['\\', character]),
            character if is_control(character) => push_code(line, character),
            character => line.push(character),
        }
    }
}

fn time(record: &Record) -> impl std::fmt::Display {
    humantime::format_rfc3339_millis(record.time)
}

fn colour(level: Level) -> Style {
    let colour = match level {
        Level::Error => AnsiColor::Red,
        Level::Warn => AnsiColor::Yellow,
        Level::Info => AnsiColor::Green,
        Level::Debug => AnsiColor::Blue,
        Level::Trace => AnsiColor::Magenta,
    };
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

struct Json<'a>(&'a Record);
struct Fields<'a>(&'a Record);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("time", &time(record).to_string())?;
        map.serialize_entry("level", record.level.label())?;
        map.serialize_entry("component", record.component.label())?;
        map.serialize_entry("message", &record.message)?;
        map.serialize_entry("fields", &Fields(record))?;
        map.end()
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.fields.len()))?;
        for (key, value) in &self.0.fields {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Integer(number) => match i64::try_from(*number) {
                Ok(number) => serializer.serialize_i64(number),
                Err(_) => serializer.collect_str(number), // beyond what readers of JSON take for an integer
            },
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
        }
    }
}

//! How important a line is, and in which format lines are written.

use std::io::IsTerminal;

use serde::Deserialize;

/// How important a line is; the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
#[repr(u8)]
pub enum Level {
    /// Something is lost or must be done by somebody.
    Error = 1,
    /// Something is wrong that mends itself, or may become worse.
    Warn,
    /// What happens, a line a task at most.
    Info,
    /// What happens in single steps.
    Debug,
    /// Everything.
    Trace,
}

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
#[repr(u8)]
pub enum Format {
    /// [`Pretty`](Self::Pretty) where standard error is a terminal that wants colours, else [`Plain`](Self::Plain).
    Auto,
    /// For people: colours and emoji.
    Pretty,
    /// For files: neither.
    Plain,
    /// For programs: a JSON object a line.
    Json,
}

impl Level {
    const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// By its name, in small or capital letters.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.label().eq_ignore_ascii_case(name))
    }

    /// As lines call it: `WARN`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
        }
    }

    /// None for what is no level's number.
    pub(super) fn numbered(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| *level as u8 == number)
    }
}

impl TryFrom<String> for Level {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::named(&name).ok_or_else(|| format!("{name:?} is none of error, warn, info, debug, trace"))
    }
}

impl TryFrom<String> for Format {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::named(&name).ok_or_else(|| format!("{name:?} is none of auto, pretty, plain, json"))
    }
}

impl From<tracing::Level> for Level {
    fn from(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::TRACE => Self::Trace,
        }
    }
}

impl From<Level> for tracing::level_filters::LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

impl Format {
    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "pretty" => Some(Self::Pretty),
            "plain" => Some(Self::Plain),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// What it comes to for this process's standard error.
    pub(super) fn resolve(self) -> Self {
        match self {
            Self::Auto if std::io::stderr().is_terminal() && wants_colours() => Self::Pretty,
            Self::Auto => Self::Plain,
            format => format,
        }
    }

    pub(super) fn numbered(number: u8) -> Self {
        [Self::Auto, Self::Pretty, Self::Json].into_iter().find(|it| *it as u8 == number).unwrap_or(Self::Plain)
    }
}

/// Whether nothing speaks against colours: <https://no-color.org>, and terminals that know none.
fn wants_colours() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_color && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

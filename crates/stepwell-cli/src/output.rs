//! Standard output: for people, or JSON. Colours go where there is a terminal, unless somebody said otherwise.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::failure::Failure;

/// The few styles there are.
pub(crate) mod styles {
    use anstyle::{AnsiColor, Style};

    pub(crate) const HEADER: Style = Style::new().bold();
    pub(crate) const NAME: Style = AnsiColor::Cyan.on_default();
    pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
    pub(crate) const BUSY: Style = AnsiColor::Cyan.on_default();
    pub(crate) const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
    pub(crate) const BAD: Style = AnsiColor::Red.on_default();
    pub(crate) const FAINT: Style = Style::new().dimmed();
}

/// Text in a style.
pub(crate) fn styled(style: anstyle::Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The state of a task or a step, in its colour.
pub(crate) fn state(state: &str) -> String {
    styled(state_style(state), state)
}

/// The colour of a state.
pub(crate) fn state_style(state: &str) -> anstyle::Style {
    match state {
        "complete" | "resolved" => styles::GOOD,
        "in_progress" => styles::BUSY,
        "waiting_for_retry" | "cancelled" => styles::DOUBTFUL,
        "error" => styles::BAD,
        _ => styles::FAINT,
    }
}

/// Standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a program reads.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Whether a person looks at it as it comes.
    pub(crate) fn is_terminal(self) -> bool {
        io::stdout().is_terminal()
    }

    /// A line, or several.
    pub(crate) fn line(self, text: impl std::fmt::Display) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// A value as JSON that is easy to read.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        self.line(serde_json::to_string_pretty(value)?)
    }

    /// A value as one line of JSON.
    pub(crate) fn json_line(self, value: &impl Serialize) -> Result<(), Failure> {
        self.line(serde_json::to_string(value)?)
    }

    /// Something to know besides what was asked for; not for programs.
    pub(crate) fn note(self, text: impl std::fmt::Display) {
        let _nobody_reads = writeln!(anstream::stderr().lock(), "{}", styled(styles::FAINT, text));
    }
}

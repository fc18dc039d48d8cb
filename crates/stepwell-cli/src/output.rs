//! Standard output: for people, or JSON. Colours go where there is a terminal, unless somebody said otherwise. Whatever else
//! could do something to a terminal is shown escaped: errors, tags, ids and names are what anybody wrote.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;

use serde::Serialize;
use stepwell::telemetry::{harmless_json, is_control};

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

/// What stands for the escape character in styles until they are written. It is another in each process, so no text that we
/// are given can hold it.
static MARK: LazyLock<String> = LazyLock::new(|| format!("\u{1b}{:016x}", RandomState::new().build_hasher().finish()));

/// Text in a style.
pub(crate) fn styled(style: anstyle::Style, text: impl std::fmt::Display) -> String {
    format!("{}{text}{}", marked(&style.to_string()), marked(&format!("{style:#}")))
}

/// Text whose escape sequences are all ours.
pub(crate) fn marked(text: &str) -> String {
    text.replace('\u{1b}', &MARK)
}

/// Text as it is written: the styles are there, and everything else that is not to reach a terminal is escaped, but for the
/// ends of lines.
pub(crate) fn shown(text: &str) -> String {
    text.split(MARK.as_str()).map(escaped).collect::<Vec<_>>().join("\u{1b}")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => escaped.push(character),
            '\r' => escaped.push_str("\\r"),
            character if is_control(character) => {
                let _to_a_string = write!(escaped, "\\u{:04x}", u32::from(character));
            }
            character => escaped.push(character),
        }
    }
    escaped
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
        Self::write(&shown(&text.to_string()))
    }

    fn write(text: &str) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// A value as JSON that is easy to read.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        Self::write(&harmless_json(serde_json::to_string_pretty(value)?))
    }

    /// A value as one line of JSON.
    pub(crate) fn json_line(self, value: &impl Serialize) -> Result<(), Failure> {
        Self::write(&harmless_json(serde_json::to_string(value)?))
    }

    /// Something to know besides what was asked for; not for programs.
    pub(crate) fn note(self, text: impl std::fmt::Display) {
        let _nobody_reads = writeln!(anstream::stderr().lock(), "{}", shown(&styled(styles::FAINT, text)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_styles_are_written_and_nobody_elses() {
        let text = format!("{} \u{1b}[31mred\u{1b}[0m\rover\u{202e}txt\u{9b}1m\n", state("error"));
        let expected = "\u{1b}[31merror\u{1b}[0m \\u001b[31mred\\u001b[0m\\rover\\u202etxt\\u009b1m\n";
        assert_eq!(shown(&text), expected);
        assert_eq!(shown(&shown("\u{7}")), "\\u0007");
    }

    #[test]
    fn json_says_the_same_and_is_harmless() -> anyhow::Result<()> {
        let text = "a\u{1b}[2J\u{7f}\u{85}\u{2066}é\"\\\n";
        let json = harmless_json(serde_json::to_string_pretty(&[text])?);
        assert!(!json.chars().any(|it| is_control(it) && it != '\n'), "{json}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&json)?, [text]);
        Ok(())
    }
}

//! Bars and spinners on standard error, where a person looks at it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::shown;

/// A bar over a known number of things; nothing where standard error is no terminal.
pub(crate) fn bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    bar.set_style(style(
        "{spinner} {prefix} {bar:24} {pos}/{len}  {elapsed}  {wide_msg}",
        "{spinner:.cyan} {prefix} {bar:24.green/black.bright} {pos}/{len}  {elapsed}  {wide_msg:.dim}",
    ));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A spinner beside what is being done.
pub(crate) fn spinner(what: impl Into<String>) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_style(style("{spinner} {msg}  {elapsed}", "{spinner:.cyan} {msg}  {elapsed:.dim}"));
    bar.set_message(shown(&what.into()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn style(plain: &str, coloured: &str) -> ProgressStyle {
    let choice = anstream::AutoStream::choice(&std::io::stderr());
    let template = if choice == anstream::ColorChoice::Never { plain } else { coloured };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━━─").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}

//! Logging: lines of one pattern from both languages, to standard error or to the program's own logger, without secrets,
//! and never in anybody's way. What passes is decided by level and component ([`Level`], [`Component`]).
//!
//! Events of `tracing` become records (`layer`), which are put in a queue of the process (`output`) and formatted by the
//! thread that writes them; lines of Ruby are formatted here too and take the same way out.
//!
//! Beside it: the masking of secrets, traces for OpenTelemetry, metrics for Prometheus, and health.

mod component;
mod format;
pub mod health;
mod layer;
mod level;
pub mod mask;
pub mod metrics;
mod output;
mod queue;
mod record;
mod settings;
mod stderr;
#[cfg(test)]
mod tests;
pub mod traces;
mod warnings;

use tracing_subscriber::layer::{Layer, SubscriberExt};

pub(crate) use component::target;
pub use component::Component;
pub use format::{harmless_json, is_control};
pub use level::{Format, Level};
pub use mask::{is_sensitive, mask_field, mask_json, mask_text, mask_url, set_sensitive_keys};
pub(crate) use output::count_dropped;
pub use output::{dropped, flush, forward, next_forwarded, wake_forwarder, write};
pub use record::{Record, Value};
#[cfg(test)]
pub(crate) use tests::logged;
pub use warnings::Warning;
pub(crate) use warnings::Warnings;

use crate::config;

/// Takes over what the configuration says of logging, unless it says what it said last, and sends this process's
/// `tracing` events to standard error, unless the program has a subscriber already.
pub fn init(logging: &config::Logging) {
    settings::configure(logging);
    if tracing::dispatcher::has_been_set() {
        return; // a second orchestrator in the process, or an application with its own subscriber
    }
    // Further layers, each with its own filter, are added here.
    let lines = layer::Lines(output::send).with_filter(settings::ByComponent(&settings::ACTIVE));
    let subscriber = tracing_subscriber::registry().with(lines);
    let _another_was_faster = tracing::subscriber::set_global_default(subscriber);
}

/// For whoever starts other threads too: the one that writes lines is there before the first line, if lines are ours. A
/// process that only forks others has none.
pub(crate) fn start_writer() {
    if tracing::dispatcher::has_been_set() {
        output::start();
    }
}

/// Sets the level of all components that have none of their own, from now on.
pub fn set_level(level: Level) {
    settings::ACTIVE.set_level(level);
    settings::changed();
}

/// Sets the level of one component from now on; none: the level of all.
pub fn set_component_level(component: Component, level: Option<Level>) {
    settings::ACTIVE.set_component(component, level);
    settings::changed();
}

/// Sets the format of lines from now on.
pub fn set_format(format: Format) {
    settings::ACTIVE.set_format(format);
}

/// The level of all components that have none of their own.
pub fn level() -> Level {
    settings::ACTIVE.level()
}

/// The level of the component that tells most.
pub fn most_verbose_level() -> Level {
    settings::ACTIVE.most()
}

/// Whether a line of this component and level is written.
pub fn is_enabled(component: Component, level: Level) -> bool {
    level <= settings::ACTIVE.level_of(component)
}

/// The format in which lines are written: never [`Format::Auto`].
pub fn format() -> Format {
    settings::ACTIVE.format().resolve()
}

/// The line of a record, with its newline, secrets masked.
pub fn line(record: Record, format: Format) -> String {
    format::line(record, format)
}

/// The same without time and level, for a logger that has its own, and without a newline.
pub fn text(record: Record, format: Format) -> String {
    format::text(record, format)
}

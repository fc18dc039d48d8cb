//! Logging: one subscriber a process, to standard error, and the masking of credentials.

pub mod mask;
mod stderr;

pub use mask::{is_sensitive, mask_field, mask_json, mask_text, mask_url, set_sensitive_keys};

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Sends this process's log lines to standard error, unless the program has a subscriber already.
/// `level` is a `tracing` filter such as `info` or `warn,stepwell=debug`; an unusable one falls back to `warn`.
pub fn init(level: &str) {
    let filter =
        EnvFilter::try_new(format!("warn,sqlx=error,stepwell={level}")).unwrap_or_else(|_| EnvFilter::new("warn"));
    // A second orchestrator in the process, or an application with its own subscriber: nothing to do.
    let _already_set = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| stderr::Unlocked)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

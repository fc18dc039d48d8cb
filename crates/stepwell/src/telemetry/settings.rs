//! Which lines are written, and how: what the configuration says, until the program says otherwise. Atomics alone, so
//! that a look costs nothing and a process that is forked inherits no lock.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::Metadata;
use tracing_subscriber::layer::{Context, Filter};

use super::component::Component;
use super::level::{Format, Level};
use crate::config;

/// What holds now.
pub(super) static ACTIVE: Settings = Settings::new();
/// What the configuration said last.
static CONFIGURED: Settings = Settings::new();

#[derive(Debug)]
pub(super) struct Settings {
    level: AtomicU8,
    /// Of each component; 0: as the others.
    components: [AtomicU8; Component::COUNT],
    format: AtomicU8,
}

impl Settings {
    pub(super) const fn new() -> Self {
        Self {
            level: AtomicU8::new(Level::Info as u8),
            components: [const { AtomicU8::new(0) }; Component::COUNT],
            format: AtomicU8::new(Format::Auto as u8),
        }
    }

    /// Takes over a configuration. Returns whether that changed anything.
    fn take(&self, logging: &config::Logging) -> bool {
        let mut changed = self.level.swap(logging.level as u8, Relaxed) != logging.level as u8;
        changed |= self.format.swap(logging.format as u8, Relaxed) != logging.format as u8;
        for component in Component::all() {
            let level = logging.components.get(component.name()).map_or(0, |level| *level as u8);
            changed |= self.components[component.index()].swap(level, Relaxed) != level;
        }
        changed
    }

    pub(super) fn set_level(&self, level: Level) {
        self.level.store(level as u8, Relaxed);
    }

    /// None: as the others.
    pub(super) fn set_component(&self, component: Component, level: Option<Level>) {
        self.components[component.index()].store(level.map_or(0, |level| level as u8), Relaxed);
    }

    pub(super) fn level(&self) -> Level {
        Level::numbered(self.level.load(Relaxed)).unwrap_or(Level::Info)
    }

    pub(super) fn level_of(&self, component: Component) -> Level {
        Level::numbered(self.components[component.index()].load(Relaxed)).unwrap_or_else(|| self.level())
    }

    /// Of the component that tells most.
    pub(super) fn most(&self) -> Level {
        Component::all().map(|component| self.level_of(component)).max().unwrap_or(Level::Info)
    }

    pub(super) fn set_format(&self, format: Format) {
        self.format.store(format as u8, Relaxed);
    }

    /// As it was set: may be [`Format::Auto`].
    pub(super) fn format(&self) -> Format {
        Format::numbered(self.format.load(Relaxed))
    }

    /// Whether a line of Rust is written. Of other crates' only what is wrong; sqlx's warnings are of slow statements.
    fn wants(&self, target: &str, level: Level) -> bool {
        let most = match target.split("::").next().unwrap_or_default() {
            ours if ours.starts_with("stepwell") => Level::Trace,
            database if database.starts_with("sqlx") => Level::Error,
            _ => Level::Warn,
        };
        level <= most && level <= self.level_of(Component::of(target))
    }
}

/// Takes over the configuration, unless it says what it said last: then what the program has set since stays.
pub(super) fn configure(logging: &config::Logging) {
    if CONFIGURED.take(logging) {
        ACTIVE.take(logging);
        changed();
    }
}

/// To be called after a change: `tracing` remembers for each line whether it is wanted.
pub(super) fn changed() {
    tracing::callsite::rebuild_interest_cache();
}

/// The levels as a filter of a `tracing` layer.
pub(super) struct ByComponent(pub(super) &'static Settings);

impl<S> Filter<S> for ByComponent {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        !metadata.is_span() && self.0.wants(metadata.target(), (*metadata.level()).into())
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match !metadata.is_span() && self.0.wants(metadata.target(), (*metadata.level()).into()) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.most().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_component_has_a_level_of_its_own_or_that_of_all() {
        let settings = Settings::new();
        let worker = Component::named("worker").unwrap();
        settings.set_component(worker, Some(Level::Debug));
        assert!(settings.wants("stepwell::worker::reporter", Level::Debug));
        assert!(!settings.wants("stepwell::orchestrator", Level::Debug));
        assert_eq!(settings.most(), Level::Debug);
        settings.set_level(Level::Error);
        assert!(!settings.wants("stepwell::orchestrator", Level::Warn));
        assert!(settings.wants("stepwell::worker", Level::Debug));
        settings.set_component(worker, None);
        assert!(!settings.wants("stepwell::worker", Level::Warn));
    }

    #[test]
    fn of_other_crates_only_what_is_wrong() {
        let settings = Settings::new();
        settings.set_level(Level::Trace);
        for sqlx in ["sqlx::query", "sqlx_core::pool::connection"] {
            assert!(!settings.wants(sqlx, Level::Warn) && settings.wants(sqlx, Level::Error));
        }
        assert!(!settings.wants("rustls", Level::Info) && settings.wants("rustls", Level::Warn));
    }

    #[test]
    fn the_configuration_counts_when_it_changes() {
        let settings = Settings::new();
        let mut logging = config::Config::load(Some("test")).unwrap().logging;
        assert!(settings.take(&logging) && !settings.take(&logging));
        assert_eq!(settings.level(), Level::Warn);
        logging.components.insert("task".to_owned(), Level::Debug);
        assert!(settings.take(&logging) && settings.most() == Level::Debug);
    }
}

//! What a line is about: the components of `config/components.yml`, which both languages read here.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::yaml;

const TABLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/components.yml"));

/// `target:` of lines that are not about what their module is named for.
pub(crate) mod target {
    pub(crate) const QUEUE: &str = "stepwell::queue";
    pub(crate) const STEP: &str = "stepwell::step";
    pub(crate) const TASK: &str = "stepwell::task";
    pub(super) const HEALTH: &str = "stepwell::health";
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component(u8);

#[derive(Deserialize)]
struct Row {
    name: String,
    emoji: String,
    modules: Vec<String>,
    #[serde(skip)]
    label: String,
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let table = yaml::to_json(TABLE).unwrap_or_default();
    let mut rows: Vec<Row> = serde_json::from_str(&table).unwrap_or_default(); // a test reads it
    rows.truncate(Component::COUNT);
    rows.iter_mut().for_each(|row| row.label = row.name.to_uppercase());
    rows
});

impl Component {
    /// How many there are.
    pub const COUNT: usize = 10;

    /// All of them, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT as u8).map(Self)
    }

    /// By its name, in small or capital letters.
    pub fn named(name: &str) -> Option<Self> {
        Self::find(|row| row.name.eq_ignore_ascii_case(name))
    }

    /// Of a line with this `tracing` target: `stepwell::worker::reporter`, `sqlx::query`.
    pub(super) fn of(target: &str) -> Self {
        let mut parts = target.split("::");
        let origin = match (parts.next(), parts.next()) {
            (Some("stepwell"), Some(module)) => module,
            (origin, _) => origin.unwrap_or_default(),
        };
        Self::find(|row| row.name == origin || row.modules.iter().any(|module| module == origin))
            .unwrap_or_else(Self::health)
    }

    /// The process itself.
    pub(super) fn health() -> Self {
        Self::find(|row| target::HEALTH.ends_with(&row.name)).unwrap_or(Self(0))
    }

    fn find(matches: impl Fn(&Row) -> bool) -> Option<Self> {
        ROWS.iter().position(matches).and_then(|index| u8::try_from(index).ok()).map(Self)
    }

    /// As settings call it: `worker`.
    pub fn name(self) -> &'static str {
        ROWS.get(self.index()).map_or("", |row| &row.name)
    }

    /// As lines call it: `WORKER`.
    pub fn label(self) -> &'static str {
        ROWS.get(self.index()).map_or("", |row| &row.label)
    }

    /// Its picture.
    pub fn emoji(self) -> &'static str {
        ROWS.get(self.index()).map_or("", |row| &row.emoji)
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{target, Component, ROWS};

    #[test]
    fn the_table_is_what_the_issue_of_logging_says() {
        let rows: Vec<_> = Component::all().map(|it| format!("{} {}", it.emoji(), it.label())).collect();
        let expected = "📋 TASK, 🔄 WORKER, 🚀 ORCHESTRATOR, 🔧 STEP, 💾 DATABASE, 🌉 FFI, ⚙️ CONFIG, 📚 REGISTRY, \
                        📬 QUEUE, ❤️ HEALTH";
        assert_eq!(rows.join(", "), expected);
        assert_eq!(ROWS.len(), Component::COUNT);
    }

    #[test]
    fn a_line_belongs_to_the_component_of_its_module() {
        for (target, expected) in [
            ("stepwell::worker::reporter", "worker"),
            ("stepwell::orchestrator::upkeep", "orchestrator"),
            ("stepwell_cli::commands::serve", "orchestrator"),
            ("stepwell::database", "database"),
            ("stepwell::databases", "database"),
            ("stepwell::embedded::server", "database"),
            ("stepwell::client", "registry"),
            ("sqlx::query", "database"),
            (target::TASK, "task"),
            (target::STEP, "step"),
            (target::QUEUE, "queue"),
            (target::HEALTH, "health"),
            ("somebody::else", "health"),
        ] {
            assert_eq!(Component::of(target).name(), expected, "{target}");
        }
        assert_eq!(Component::named("Worker"), Component::named("worker"));
        assert_eq!(Component::named("workers"), None);
    }
}

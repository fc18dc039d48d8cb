//! The layers of the settings, one over the other.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use config::{ConfigError, Environment, Map, Source, Value, ValueKind};

use super::files::{self, current_environment};
use super::known::{self, DEFAULTS, ENVIRONMENTS};
use super::origin::{Effective, Origin, Problems, Setting};
use super::{check, list, metrics, values, variables, Config};
use crate::error::{Error, Result};
use crate::signals::lock;
use crate::yaml;

/// The environment whose built-in settings are those of every other name.
const FALLBACK: &str = "production";
const URLS: [&str; 2] = ["database.url", "database.direct_url"];
const NUMBER: &str = "must be a whole number, and not negative";

/// Where settings are read from, beside the built-in defaults and the variables of the process's environment.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// `test`, `development`, `production`, or any other name; none means [`current_environment`].
    pub environment: Option<&'a str>,
    /// The application's file; one that ends in `.yml` may end in `.yaml` too. Beside it `environments/{environment}.yml`
    /// is read.
    pub file: &'a Path,
    /// Settings of the program's own: a JSON object. Bare numbers are seconds where a duration is wanted.
    pub settings: &'a str,
    /// How the program is called in errors.
    pub program: &'a str,
}

/// The settings, and where each came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// `test`, `development`, `production`, or any other name.
    pub environment: String,
    /// What somebody should know, once there is a log.
    pub notice: Option<String>,
    /// Every value in force, in the order of `config/stepwell.yml`.
    pub settings: Vec<Setting>,
}

impl Loaded {
    /// Tells the log what somebody should know, once in a process.
    pub fn tell(&self) {
        static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        if let Some(notice) = &self.notice {
            if lock(&TOLD).insert(notice.clone()) {
                tracing::info!("{notice}");
            }
        }
    }
}

impl Default for Sources<'_> {
    fn default() -> Self {
        Self { environment: None, file: Path::new("config/stepwell.yml"), settings: "{}", program: "the program" }
    }
}

impl Sources<'_> {
    /// Reads them all.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(&self) -> Result<Loaded> {
        let named = self.environment.map(str::trim).filter(|name| !name.is_empty());
        let environment = named.map_or_else(current_environment, |name| Ok(name.to_owned()))?;
        files::check_environment(&environment)?;
        let built_in = |wanted: &str| ENVIRONMENTS.iter().find(|(name, _)| *name == wanted);
        let beside = self.file.with_file_name("environments").join(format!("{environment}.yml"));
        let (mut layers, own_file) = (Layers::default(), files::existing(&beside)?);
        let (name, own) = built_in(&environment).or_else(|| built_in(FALLBACK)).copied().unwrap_or_default();
        let notice = (name != environment).then(|| match &own_file {
            Some(file) => format!("environment {environment}: {} over the settings of {FALLBACK}", file.display()),
            None => format!(
                "environment {environment}: the settings of {FALLBACK}; {} would hold its own",
                beside.display()
            ),
        });
        layers.yaml(DEFAULTS, &Origin::Default);
        layers.yaml(own, &Origin::Environment(name.to_owned()));
        // In our own repository, and where somebody copied them to start from, the files are the defaults themselves,
        // which must not hide what the environment says.
        if let Some(file) = files::existing(self.file)? {
            layers.file(&file, DEFAULTS)?;
        }
        if let Some(file) = own_file {
            layers.file(&file, own)?;
        }
        layers.variables();
        layers.json(self.settings, &Origin::Program(self.program.to_owned()));

        let Layers { effective, problems } = layers;
        problems.result()?;
        let mut config = deserialize(&effective)?;
        metrics::stretch(&mut config.metrics, &config.database, &effective);
        check::check(&config, &effective)?;
        // A table of the user's own keys is shown by them, and itself only while there are none.
        let filled = |key: &str| effective.keys().any(|other| known::below(other, key).is_some());
        let mut settings: Vec<Setting> = effective.values().filter(|setting| !filled(&setting.key)).cloned().collect();
        settings.sort_by_key(|setting| known::position(&setting.key)); // stable: those of one table stay sorted
        Ok(Loaded { config, environment, notice, settings })
    }
}

#[derive(Default)]
struct Layers {
    effective: Effective,
    problems: Problems,
}

impl Layers {
    fn yaml(&mut self, text: &str, origin: &Origin) {
        match yaml::parse(text) {
            // Nothing but comments.
            Ok(None) => {}
            Ok(Some(settings)) if settings.is_map() => {
                for (key, value) in settings.entries().iter().filter(|(key, _)| !key.starts_with("x-")) {
                    self.value(key.clone(), values::of_yaml(value), origin);
                }
            }
            Ok(Some(other)) => {
                self.problems.other(format!("{origin}: line {}: must be a mapping of sections", other.line));
            }
            Err(error) => self.problems.other(format!("{origin}: {error}")),
        }
    }

    fn json(&mut self, text: &str, origin: &Origin) {
        match serde_json::from_str(text) {
            Ok(serde_json::Value::Object(settings)) => {
                for (key, value) in settings {
                    self.value(key, values::of_json(value), origin);
                }
            }
            Ok(_) => self.problems.other(format!("{origin}: must be a JSON object")),
            Err(error) => self.problems.other(format!("{origin}: {error}")),
        }
    }

    fn file(&mut self, path: &Path, defaults: &str) -> Result<()> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::File { path: path.display().to_string(), source })?;
        if text != defaults {
            self.yaml(&text, &Origin::File(path.to_owned()));
        }
        Ok(())
    }

    fn variables(&mut self) {
        match variables::read("DATABASE_URL") {
            Ok(None) => {}
            Ok(Some(url)) => {
                let origin = Origin::Variable("DATABASE_URL".to_owned());
                self.value("database.url".to_owned(), Value::new(None, url), &origin);
            }
            Err(why) => self.problems.other(why),
        }
        let given = variables::of_settings(&mut self.problems);
        let ours = Environment::with_prefix("STEPWELL").prefix_separator("__").separator("__").ignore_empty(true);
        match ours.try_parsing(true).source(Some(given)).collect() {
            Ok(values) => {
                for (key, value) in values {
                    let variable = format!("STEPWELL__{}", key.replace('.', "__").to_uppercase());
                    self.value(key, value, &Origin::Variable(variable));
                }
            }
            Err(error) => self.problems.other(error.to_string()),
        }
    }

    fn table(&mut self, section: &str, values: Map<String, Value>, origin: &Origin) {
        for (name, value) in values {
            self.value(if section.is_empty() { name } else { format!("{section}.{name}") }, value, origin);
        }
    }

    fn value(&mut self, key: String, mut value: Value, origin: &Origin) {
        let known = known::find(&key);
        match value.kind {
            // A URL of blanks is none: a variable that is there and empty, and what a program reads from it.
            ValueKind::String(ref text) if URLS.contains(&key.as_str()) && text.trim().is_empty() => return,
            // The end of a line comes with what is read from a file.
            ValueKind::String(ref mut text) if URLS.contains(&key.as_str()) => *text = text.trim().to_owned(),
            // A section that is there and empty says nothing.
            ValueKind::Nil if known::is_section(&key) || known.is_some_and(|known| known.open) => return,
            ValueKind::Table(ref values) if values.is_empty() && known::is_section(&key) => return,
            // Of a value that should be none the table itself is wrong.
            ValueKind::Table(values) if known.is_none_or(|known| known.open) && !values.is_empty() => {
                return self.table(&key, values, origin);
            }
            _ => {}
        }
        if known.is_some_and(|known| known.duration) && matches!(origin, Origin::Program(_)) {
            if let Some(seconds) = values::seconds(&value) {
                value.kind = ValueKind::String(seconds);
            }
        }
        if let (true, ValueKind::String(texts)) = (known.is_some_and(|known| known.list), &value.kind) {
            let texts = list::parts(texts).map(|text| Value::new(None, ValueKind::String(text)));
            value.kind = ValueKind::Array(texts.collect());
        }
        let setting = Setting { key, origin: origin.clone(), value };
        match known {
            // The crate would cut its fraction off, or take the nearest that there is.
            Some(known) if known.whole && is_fractional(&setting.value) => self.problems.wrong(&setting, NUMBER),
            Some(_) => drop(self.effective.insert(setting.key.clone(), setting)),
            None if known::is_section(&setting.key) => {
                let inside = known::allowed_beside(&format!("{}.", setting.key));
                self.problems.wrong(&setting, &format!("is a section, not a value ({inside})"));
            }
            None => self.problems.unknown(&setting),
        }
    }
}

fn is_fractional(value: &Value) -> bool {
    matches!(value.kind, ValueKind::Float(number) if number.fract() != 0.0 || !(0.0..1e15).contains(&number))
}

fn deserialize(effective: &Effective) -> Result<Config> {
    let mut tables = Map::new();
    for setting in effective.values() {
        put(&mut tables, &setting.key, setting.value.clone());
    }
    serde_path_to_error::deserialize(Value::new(None, ValueKind::Table(tables))).map_err(|error| {
        let mut problems = Problems::default();
        problems.of(effective, &error.path().to_string(), &what(error.into_inner()));
        problems.result().err().unwrap_or(Error::Configuration { message: String::new() })
    })
}

/// Puts a value where it belongs, which is in tables inside tables.
fn put(table: &mut Map<String, Value>, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        Some((section, rest)) => {
            let inner =
                table.entry(section.to_owned()).or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
            if let ValueKind::Table(inner) = &mut inner.kind {
                put(inner, rest, value);
            }
        }
    }
}

/// What is wrong, without the key and the place, which are told beside it.
fn what(error: ConfigError) -> String {
    match error {
        ConfigError::At { error, .. } => what(*error),
        // All numbers are; a negative one is of another type than a word, to which this does not matter.
        ConfigError::Type { expected, .. } if expected.contains("integer") => NUMBER.to_owned(),
        ConfigError::Type { expected, .. } => format!("must be {expected}"),
        ConfigError::NotFound(key) => format!("{} is missing", key.rsplit('.').next().unwrap_or_default()),
        other => other.to_string(),
    }
}

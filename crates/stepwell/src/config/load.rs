//! The layers of the settings, one over the other.

use std::io::ErrorKind;
use std::path::Path;

use config::{ConfigError, Environment, File, FileFormat, Map, Source, Value, ValueKind};

use super::known::{self, DEFAULTS, ENVIRONMENTS};
use super::origin::{Effective, Origin, Problems, Setting};
use super::{check, metrics, Config};
use crate::error::{Error, Result};

/// Seconds that are none that anybody counts: a program's way to say `never`.
const ENDLESS: f64 = 1e18;
const NUMBER: &str = "must be a whole number, and not negative";

/// Where settings are read from, beside the built-in defaults and the variables of the process's environment.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// `test`, `development` or `production`; none means [`current_environment`].
    pub environment: Option<&'a str>,
    /// The application's file. Beside it `environments/{environment}.yml` is read too.
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
    /// `test`, `development` or `production`.
    pub environment: String,
    /// Every value in force, in the order of `config/stepwell.yml`.
    pub settings: Vec<Setting>,
}

/// The environment by `STEPWELL_ENV`, `RAILS_ENV` or `RACK_ENV`, else `development`.
pub fn current_environment() -> String {
    ["STEPWELL_ENV", "RAILS_ENV", "RACK_ENV"]
        .iter()
        .find_map(|variable| std::env::var(variable).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| "development".to_owned())
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
        let environment = self.environment.map(str::to_owned).unwrap_or_else(current_environment);
        let Some((name, own)) = ENVIRONMENTS.iter().find(|(name, _)| *name == environment) else {
            let message = format!("environment {environment:?} is none of test, development, production");
            return Err(Error::Configuration { message });
        };
        let mut layers = Layers::default();
        layers.text(DEFAULTS, &Origin::Default);
        layers.text(own, &Origin::Environment((*name).to_owned()));
        let beside = self.file.with_file_name("environments").join(name).with_extension("yml");
        // In our own repository, and where somebody copied them to start from, the files are the defaults themselves,
        // which must not hide what the environment says.
        layers.file(self.file, DEFAULTS)?;
        layers.file(&beside, own)?;
        layers.variables();
        layers.text(self.settings, &Origin::Program(self.program.to_owned()));

        let Layers { effective, problems } = layers;
        problems.result()?;
        let mut config = deserialize(&effective)?;
        metrics::stretch(&mut config.metrics, &config.database, &effective);
        check::check(&config, &effective)?;
        // A table of the user's own keys is shown by them, and itself only while there are none.
        let filled = |key: &str| effective.keys().any(|other| known::below(other, key).is_some());
        let mut settings: Vec<Setting> = effective.values().filter(|setting| !filled(&setting.key)).cloned().collect();
        settings.sort_by_key(|setting| known::position(&setting.key)); // stable: those of one table stay sorted
        Ok(Loaded { config, environment, settings })
    }
}

#[derive(Default)]
struct Layers {
    effective: Effective,
    problems: Problems,
}

impl Layers {
    /// YAML text; JSON is YAML too.
    fn text(&mut self, text: &str, origin: &Origin) {
        match File::from_str(text, FileFormat::Yaml).collect() {
            Ok(values) => self.table("", values, origin),
            Err(ConfigError::FileParse { cause, .. }) => self.problems.other(format!("{origin}: {cause}")),
            Err(error) => self.problems.other(format!("{origin}: {error}")),
        }
    }

    /// A file, if there is one.
    fn file(&mut self, path: &Path, defaults: &str) -> Result<()> {
        match std::fs::read_to_string(path) {
            Ok(text) if text == defaults => {}
            Ok(text) => self.text(&text, &Origin::File(path.to_owned())),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(source) => return Err(Error::File { path: path.display().to_string(), source }),
        }
        Ok(())
    }

    fn variables(&mut self) {
        if let Some(url) = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()) {
            self.value("database.url".to_owned(), Value::new(None, url), &Origin::Variable("DATABASE_URL".to_owned()));
        }
        let ours = Environment::with_prefix("STEPWELL").prefix_separator("__").separator("__").ignore_empty(true);
        match ours.try_parsing(true).collect() {
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
            // A section that is there and empty says nothing.
            ValueKind::Nil if known::is_section(&key) || known.is_some_and(|known| known.open) => return,
            // Of a value that should be none the table itself is wrong.
            ValueKind::Table(values) if known.is_none_or(|known| known.open) && !values.is_empty() => {
                return self.table(&key, values, origin);
            }
            _ => {}
        }
        if known.is_some_and(|known| known.duration) && matches!(origin, Origin::Program(_)) {
            if let Some(seconds) = seconds(&value) {
                value.kind = ValueKind::String(seconds);
            }
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

/// A number of seconds with its unit.
fn seconds(value: &Value) -> Option<String> {
    let seconds = match value.kind {
        ValueKind::I64(seconds) => seconds as f64,
        ValueKind::U64(seconds) => seconds as f64,
        ValueKind::Float(seconds) => seconds,
        _ => return None,
    };
    if seconds >= ENDLESS {
        return Some("never".to_owned());
    }
    let milliseconds = seconds * 1_000.0;
    Some(match (seconds.fract() == 0.0, (milliseconds - milliseconds.round()).abs() < 1e-6) {
        (true, _) => format!("{seconds:.0}s"),
        (_, true) => format!("{milliseconds:.0}ms"),
        _ => format!("{:.0}us", seconds * 1e6),
    })
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

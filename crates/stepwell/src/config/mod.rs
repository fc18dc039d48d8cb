//! Settings: defaults, the environment's file, the application's file, variables `STEPWELL__SECTION__KEY`, then what
//! the program sets itself. Durations carry their unit; a bare number is an error that says so.

mod duration;
mod namespaces;

pub(crate) use duration::parse as parse_duration;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, Result};

pub use namespaces::Namespace;

const DEFAULTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/stepwell.yml"));
const ENVIRONMENTS: [(&str, &str); 3] = [
    ("test", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/environments/test.yml"))),
    ("development", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/environments/development.yml"))),
    ("production", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/environments/production.yml"))),
];

/// Every setting, with its meaning. Defaults stand in `config/stepwell.yml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the data is.
    pub database: Database,
    /// The namespaces that live in a database of their own, by name. Any other lives in [`database`](Self::database).
    #[serde(deserialize_with = "namespaces::deserialize")]
    pub namespaces: BTreeMap<String, Namespace>,
    /// The orchestrator's loops.
    pub orchestrator: Orchestrator,
    /// Which ready step goes next.
    pub dispatch: Dispatch,
    /// Workers.
    pub worker: Worker,
    /// How long what has finished is kept.
    pub retention: Retention,
    /// The private PostgreSQL.
    pub embedded: Embedded,
    /// Log lines.
    pub logging: Logging,
}

/// Section `database`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// URL of the database; none means the embedded one.
    pub url: Option<String>,
    /// URL of the same database past a pooler such as PgBouncer; none means that `url` is direct itself.
    pub direct_url: Option<String>,
    /// Whether statements are prepared once a connection; none means unless there is a `direct_url`. False says that
    /// `url` leads to a pooler, where the next transaction may be on another connection.
    pub prepared_statements: Option<bool>,
    /// Most connections of one orchestrator, worker or client, shared where they are in one process.
    pub pool_size: u32,
    /// How long a connection may take to be made.
    #[serde(deserialize_with = "duration::deserialize")]
    pub connect_timeout: Duration,
    /// How long a call may take before its connection is given up.
    #[serde(deserialize_with = "duration::deserialize")]
    pub call_timeout: Duration,
}

/// Section `orchestrator`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orchestrator {
    /// How long an idle loop waits when no wake-up comes.
    #[serde(deserialize_with = "duration::deserialize")]
    pub polling_interval: Duration,
    /// How often the upkeep loop looks for due retries and expired claims.
    #[serde(deserialize_with = "duration::deserialize")]
    pub cycle: Duration,
    /// Most requests in one transaction.
    pub request_batch: u32,
    /// Most results in one transaction.
    pub result_batch: u32,
    /// Most timers, or expired claims, in one transaction.
    pub upkeep_batch: u32,
}

/// Section `dispatch`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispatch {
    /// Most steps that stand in a namespace's queue; the others wait, ordered by age and priority.
    pub window: u32,
    /// The waiting time that one level of priority is worth.
    #[serde(deserialize_with = "duration::deserialize")]
    pub boost: Duration,
}

/// Section `worker`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Steps that one worker executes at the same time.
    pub concurrency: u32,
    /// How long a worker holds what it claimed without a heartbeat.
    #[serde(deserialize_with = "duration::deserialize")]
    pub lease: Duration,
    /// How long an idle worker waits when no wake-up comes.
    #[serde(deserialize_with = "duration::deserialize")]
    pub polling_interval: Duration,
    /// Most steps in one claim.
    pub claim_batch: u32,
    /// Most results in one report.
    pub report_batch: u32,
    /// How much work, in time at the recent rate, a worker claims ahead of its free slots.
    #[serde(deserialize_with = "duration::deserialize")]
    pub prefetch: Duration,
    /// How long a handler that was told that its time is over has to end before its thread is replaced.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout_grace: Duration,
    /// How long a step whose handler a worker lacks stays away from it.
    #[serde(deserialize_with = "duration::deserialize")]
    pub unhandled_delay: Duration,
    /// After how long without any worker that has the handler such a step ends in error.
    #[serde(deserialize_with = "duration::deserialize")]
    pub unhandled_give_up: Duration,
}

/// Section `retention`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// How long ago a complete, cancelled or resolved task must have finished to be removed; none: never.
    #[serde(deserialize_with = "duration::deserialize_optional")]
    pub finished: Option<Duration>,
    /// The same for a task in error.
    #[serde(deserialize_with = "duration::deserialize_optional")]
    pub failed: Option<Duration>,
    /// The same for a dead letter.
    #[serde(deserialize_with = "duration::deserialize_optional")]
    pub dead_letters: Option<Duration>,
    /// How often all of that is looked for.
    #[serde(deserialize_with = "duration::deserialize")]
    pub cycle: Duration,
    /// Most tasks, or dead letters, in one transaction.
    pub batch: u32,
}

/// Section `embedded`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedded {
    /// Folder of the private cluster, relative to the working directory.
    pub directory: PathBuf,
    /// Folder of PostgreSQL's programs; none means that they are searched.
    pub bin_dir: Option<PathBuf>,
}

/// Section `logging`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logging {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
}

impl Config {
    /// The settings for an environment: `test`, `development` or `production`, by default what `STEPWELL_ENV`,
    /// `RACK_ENV` or `RAILS_ENV` says, else `development`. Reads `config/stepwell.yml` below the working directory
    /// where the application has one, and the variables `DATABASE_URL` and `STEPWELL__*`.
    ///
    /// # Errors
    /// [`Error::Configuration`] for an unknown environment, an unknown key or a value of the wrong type.
    pub fn load(environment: Option<&str>) -> Result<Self> {
        Self::load_with(environment, "{}")
    }

    /// The same, with settings of the program's own on top: a JSON object such as `{"worker": {"lease": "90s"}}`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(environment: Option<&str>, overrides: &str) -> Result<Self> {
        Self::load_from(environment, Path::new("config/stepwell.yml"), overrides)
    }

    /// The same, with another file for the application's settings.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_from(environment: Option<&str>, application_file: &Path, own: &str) -> Result<Self> {
        let environment = environment.map(str::to_owned).unwrap_or_else(current_environment);
        let (_, overrides) =
            ENVIRONMENTS.iter().find(|(name, _)| *name == environment).ok_or_else(|| Error::Configuration {
                message: format!("environment {environment:?} is none of test, development, production"),
            })?;
        let yaml = config::FileFormat::Yaml;
        let mut builder = config::Config::builder()
            .add_source(config::File::from_str(DEFAULTS, yaml))
            .add_source(config::File::from_str(overrides, yaml));
        // In our own repository, and where somebody copied it to start from, the file is the defaults themselves, which
        // must not hide what the environment says.
        if std::fs::read_to_string(application_file).is_ok_and(|text| text != DEFAULTS) {
            builder = builder.add_source(config::File::from(application_file).format(yaml));
        }
        if let Some(url) = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()) {
            let source = serde_json::json!({ "database": { "url": url } }).to_string(); // JSON is YAML too
            builder = builder.add_source(config::File::from_str(&source, yaml));
        }
        let variables =
            config::Environment::with_prefix("STEPWELL").prefix_separator("__").separator("__").ignore_empty(true);
        let loaded = builder
            .add_source(variables.try_parsing(true))
            .add_source(config::File::from_str(own, yaml))
            .build()
            .map_err(wrong)?;
        let config: Self = loaded.try_deserialize().map_err(wrong)?;
        config.check()
    }

    fn check(self) -> Result<Self> {
        if self.database.direct_url.is_some() && self.database.url.is_none() {
            return Err(Error::Configuration {
                message: "database.direct_url is set and database.url is not: set both, to the pooler and past it"
                    .to_owned(),
            });
        }
        namespaces::check(&self.namespaces)?;
        let positive = [
            ("database.pool_size", self.database.pool_size),
            ("orchestrator.request_batch", self.orchestrator.request_batch),
            ("orchestrator.result_batch", self.orchestrator.result_batch),
            ("orchestrator.upkeep_batch", self.orchestrator.upkeep_batch),
            ("dispatch.window", self.dispatch.window),
            ("retention.batch", self.retention.batch),
            ("worker.concurrency", self.worker.concurrency),
            ("worker.claim_batch", self.worker.claim_batch),
            ("worker.report_batch", self.worker.report_batch),
        ];
        for (key, value) in positive {
            if value == 0 || value > 10_000 {
                return Err(Error::Configuration { message: format!("{key} = {value}: must be from 1 to 10000") });
            }
        }
        if self.worker.lease < Duration::from_millis(300) {
            return Err(Error::Configuration {
                message: format!(
                    "worker.lease = {:?}: must be at least 300ms, three heartbeats must fit into it",
                    self.worker.lease
                ),
            });
        }
        for (key, value) in
            [("database.call_timeout", self.database.call_timeout), ("retention.cycle", self.retention.cycle)]
        {
            if value < Duration::from_millis(100) {
                return Err(Error::Configuration { message: format!("{key} = {value:?}: must be at least 100ms") });
            }
        }
        Ok(self)
    }
}

/// The environment by `STEPWELL_ENV`, `RAILS_ENV` or `RACK_ENV`, else `development`.
pub fn current_environment() -> String {
    ["STEPWELL_ENV", "RAILS_ENV", "RACK_ENV"]
        .iter()
        .find_map(|variable| std::env::var(variable).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| "development".to_owned())
}

fn wrong(error: config::ConfigError) -> Error {
    Error::Configuration { message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_with(yaml: &str) -> Result<Config> {
        let file = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
        std::fs::write(file.path(), yaml).unwrap();
        Config::load_from(Some("test"), file.path(), "{}")
    }

    #[test]
    fn environments_set_their_polling_interval() {
        let polling = |environment| Config::load(Some(environment)).unwrap().orchestrator.polling_interval;
        assert_eq!(polling("test"), Duration::from_millis(100));
        assert_eq!(polling("development"), Duration::from_millis(500));
        assert_eq!(polling("production"), Duration::from_millis(200));
    }

    #[test]
    fn the_application_file_overrides_and_the_rest_keeps_its_default() {
        let config = load_with("worker: {lease: 90s}").unwrap();
        assert_eq!(config.worker.lease, Duration::from_secs(90));
        assert_eq!(config.worker.report_batch, Config::load(Some("test")).unwrap().worker.report_batch);
    }

    #[test]
    fn a_copy_of_the_defaults_does_not_hide_the_environment() {
        assert_eq!(load_with(DEFAULTS).unwrap().orchestrator.polling_interval, Duration::from_millis(100));
    }

    #[test]
    fn namespaces_name_their_databases() {
        assert!(load_with("worker: {lease: 90s}").unwrap().namespaces.is_empty());
        assert!(load_with("namespaces:").unwrap().namespaces.is_empty());
        let own = r#"{"namespaces": {"shop": {"database_url": "postgres://there/s"}}}"#;
        let file = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
        std::fs::write(file.path(), "namespaces: {billing: {database_url: 'postgres://there/b'}}").unwrap();
        let config = Config::load_from(Some("test"), file.path(), own).unwrap();
        let urls: Vec<_> = config.namespaces.values().map(|namespace| namespace.database_url.as_str()).collect();
        assert_eq!(urls, ["postgres://there/b", "postgres://there/s"]);
    }

    #[test]
    fn wrong_settings_are_named() {
        for (yaml, expected) in [
            ("worker: {lease: 60}", "needs a unit"),
            ("worker: {leese: 60s}", "leese"),
            ("worker: {concurrency: many}", "concurrency"),
            ("worker: {concurrency: 0}", "worker.concurrency = 0"),
            ("database: {direct_url: 'postgres://here/shop'}", "database.url is not"),
            ("database: {prepared_statements: maybe}", "prepared_statements"),
            ("namespaces: {billing: {}}", "database_url"),
            ("namespaces: {billing: {database_url: 'postgres://here/b', pool: 3}}", "pool"),
            ("namespaces: {bill-ing: {database_url: 'postgres://here/b'}}", "bill-ing"),
            ("namespaces: {billing: {database_url: 'mysql://app:pw@here/b'}}", "mysql://app:***@here/b is no URL"),
            ("namespaces: {billing: {database_url: 'postgres://app:pw@here:port/b'}}", "app:***@here:port/b is no URL"),
            ("namespaces: {a: {database_url: 'postgres://b/b', direct_url: 'b'}}", "namespaces.a.direct_url"),
            (
                "namespaces: {a: {database_url: 'postgres://p/b', direct_url: 'postgres://x/b'}, \
                  b: {database_url: 'postgres://p/b', direct_url: 'postgres://y/b'}}",
                "namespaces.a and namespaces.b",
            ),
        ] {
            let error = load_with(yaml).unwrap_err().to_string();
            assert!(error.contains(expected), "{yaml}: {error}");
        }
        assert!(Config::load(Some("staging")).unwrap_err().to_string().contains("staging"));
    }
}

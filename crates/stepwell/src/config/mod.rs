//! Settings, by the `config` crate: the built-in defaults and those of the environment, the application's
//! `config/stepwell.yml` and `config/environments/{environment}.yml`, `DATABASE_URL` and the variables
//! `STEPWELL__SECTION__KEY`, then what the program sets itself; what comes later wins. Durations carry their unit.
//!
//! | module | what it does |
//! |---|---|
//! | `sections` | the types |
//! | `known` | the keys there are, read from `config/stepwell.yml` |
//! | `files` | the environment and its files |
//! | `load` | the layers, one over the other |
//! | `values` | values of files and programs |
//! | `origin` | where each value came from, and what is wrong with it |
//! | `check` | ranges, and combinations that cannot work |

mod boolean;
mod check;
mod duration;
mod files;
mod known;
mod list;
mod load;
mod logging;
mod metrics;
mod namespaces;
mod origin;
mod sections;
mod traces;
mod values;
mod variables;

pub(crate) use duration::parse as parse_duration;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::Result;

pub use files::current_environment;
pub use known::keys;
pub use load::{Loaded, Sources};
pub use logging::Logging;
pub use metrics::{parse_listen, Metrics};
pub use namespaces::Namespace;
pub use origin::{Origin, Setting};
pub use sections::{Database, Dispatch, Embedded, Masking, Orchestrator, Retention, Worker};
pub use traces::Traces;

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
    /// Metrics and health.
    pub metrics: Metrics,
    /// Log lines.
    pub logging: Logging,
    /// What is hidden wherever people read.
    pub masking: Masking,
    /// Spans for OpenTelemetry.
    pub traces: Traces,
}

impl Config {
    /// The settings for an environment: `test`, `development`, `production`, or any other name, which has the settings of
    /// `production` below its own; by default what `STEPWELL_ENV`, `RAILS_ENV` or `RACK_ENV` says, else `development`. Reads the application's files below the working directory
    /// where it has some, and the variables.
    ///
    /// # Errors
    /// [`Error::Configuration`](crate::Error::Configuration) for an environment that is no name, an unknown key, a value of the
    /// wrong type or out of range, a combination that cannot work: it names file or variable, key, value and what is
    /// allowed.
    pub fn load(environment: Option<&str>) -> Result<Self> {
        Self::load_with(environment, "{}")
    }

    /// The same, with settings of the program's own on top: a JSON object such as `{"worker": {"lease": "90s"}}`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(environment: Option<&str>, settings: &str) -> Result<Self> {
        Ok(Sources { environment, settings, ..Sources::default() }.load()?.config)
    }

    /// The same, with another file for the application's settings.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_from(environment: Option<&str>, file: &Path, settings: &str) -> Result<Self> {
        Ok(Sources { environment, file, settings, ..Sources::default() }.load()?.config)
    }
}

#[cfg(test)]
mod tests;

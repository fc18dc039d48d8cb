//! The sections of the settings. Each key stands with its default and one line of meaning in `config/stepwell.yml`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{boolean, duration, list};

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
    #[serde(deserialize_with = "boolean::deserialize_optional")]
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
    /// How often what the orchestrator has done is logged.
    #[serde(deserialize_with = "duration::deserialize")]
    pub summary_every: Duration,
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
    /// Most steps in one claim; results bring as many as they are.
    pub claim_batch: u32,
    /// Most results in one report.
    pub report_batch: u32,
    /// How much work, in time at the recent rate, a worker claims ahead of its free slots.
    #[serde(deserialize_with = "duration::deserialize")]
    pub prefetch: Duration,
    /// How long a handler that was told that its time is over has to end before its thread is replaced.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout_grace: Duration,
    /// Most bytes of the context, and of the metadata, that an attempt that failed keeps.
    pub attempt_details: u32,
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

/// Section `masking`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Masking {
    /// Words of keys whose values are hidden wherever people read: in log lines, stored errors, statuses.
    #[serde(deserialize_with = "list::deserialize")]
    pub keys: Vec<String>,
}

//! The crate's one error type. Each variant is one situation that a caller can tell from another; where PostgreSQL
//! raised it, an SQLSTATE of the class `SW` decides which, never the text of a message. What PostgreSQL or the driver said
//! can quote data or a URL, and is masked where it is shown.

use std::fmt;
use std::time::Duration;

use uuid::Uuid;

use crate::embedded::EmbeddedError;
use crate::store::Submitted;
use crate::telemetry::mask_text;

/// A result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One thing that is wrong with an input, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `steps.2.depends_on`.
    pub field: String,
    /// What is wrong with it and what is allowed.
    pub message: String,
}

impl Problem {
    /// A problem with the field at this path.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

/// What can go wrong in Stepwell.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is missing, unknown or of the wrong type.
    #[error("configuration: {message}")]
    Configuration {
        /// Which key, which value, what is allowed.
        message: String,
    },
    /// An input does not fit; every field that is wrong is named.
    #[error("{what} is not valid: {}", list(.problems))]
    Validation {
        /// What was checked, such as `workflow math/linear`.
        what: String,
        /// Everything that is wrong with it.
        problems: Vec<Problem>,
    },
    /// A submit of many failed when some of its transactions had been committed.
    #[error("{} of {} requests had been submitted when the next failed: {source}", .submitted.iter().flatten().count(), .submitted.len())]
    PartlySubmitted {
        /// What became of each request, in order; none of those that were not submitted, or of which that is not known.
        submitted: Vec<Option<Submitted>>,
        /// Why the others were not.
        source: Box<Error>,
    },
    /// No workflow of this name (or version) is registered in the database.
    #[error("unknown workflow {workflow:?}{}; define it in this process, or start a worker that does", version.as_ref().map(|v| format!(" version {v:?}")).unwrap_or_default())]
    UnknownWorkflow {
        /// `namespace/name` as it was asked for.
        workflow: String,
        /// The version, when one was asked for.
        version: Option<String>,
    },
    /// The version is registered with other content (SQLSTATE SW002).
    #[error("{message}. A version is immutable, because tasks of it may be running: give the changed workflow a new version")]
    WorkflowConflict {
        /// Which workflow and version.
        message: String,
    },
    /// There is no such task (SQLSTATE SW004).
    #[error("there is no task {task_id}")]
    UnknownTask {
        /// The id that was asked for.
        task_id: Uuid,
    },
    /// The task's state does not allow what was asked for (SQLSTATE SW005).
    #[error("{message}")]
    InvalidTransition {
        /// Which task, which state.
        message: String,
    },
    /// The queue of a namespace is somebody else's (SQLSTATE SW009).
    #[error("{message}: its messages would be taken for steps. Give the namespace another name, or, if nothing uses that queue, remove it: select pgmq.drop_queue(…)")]
    ForeignQueue {
        /// Which queue.
        message: String,
    },
    /// There is no such namespace (SQLSTATE SW006).
    #[error("{message}; a namespace exists from its first workflow or worker")]
    UnknownNamespace {
        /// Which namespace.
        message: String,
    },
    /// A wait ended before its task did.
    #[error("task {task_id} has not finished within {timeout:?}: {reason}")]
    WaitTimeout {
        /// The task.
        task_id: Uuid,
        /// How long was waited.
        timeout: Duration,
        /// What the task waits for.
        reason: String,
    },
    /// The database refuses, or cannot be reached.
    #[error("database {url}: {}", mask_text(&.source.to_string()))]
    Database {
        /// The URL without its credentials.
        url: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The role lacks a privilege (SQLSTATE 42501).
    #[error("database {url}: {}; as the owner of the schema: select stepwell.grant_role('{role}', KIND), where KIND is client, operator, worker or orchestrator", mask_text(.message))]
    MissingPrivilege {
        /// The URL without its credentials.
        url: String,
        /// Who lacks it.
        role: String,
        /// What PostgreSQL said.
        message: String,
    },
    /// A statement that had been prepared was not there, or was there already (SQLSTATE 26000, 42P05).
    #[error("database {url}: {}; a pooler such as PgBouncer stands before the server: set database.direct_url to the server's own URL", mask_text(.message))]
    Pooled {
        /// The URL without its credentials.
        url: String,
        /// What PostgreSQL said.
        message: String,
    },
    /// A connection was not made in time.
    #[error("database {url}: no connection within {timeout:?}")]
    ConnectTimeout {
        /// The URL without its credentials.
        url: String,
        /// How long was tried.
        timeout: Duration,
    },
    /// The database's schema is of a newer Stepwell than this program.
    #[error(
        "the schema in the database is at migration {found}, this program knows up to {known}: upgrade this program"
    )]
    SchemaTooNew {
        /// Newest migration in the database.
        found: i64,
        /// Newest migration in this program.
        known: i64,
    },
    /// The database has no schema, or an older one than this program needs.
    #[error("the schema in the database is at migration {found}, this program needs {known}: start an orchestrator of this version, which migrates it")]
    SchemaTooOld {
        /// Newest migration in the database; 0 when there is none.
        found: i64,
        /// Newest migration in this program.
        known: i64,
    },
    /// The schema must be migrated, and this role is not its owner.
    #[error("the schema in the database is at migration {found}, this program needs {known}, and the role {role} may not migrate it: start an orchestrator of this version once as the schema's owner (before there is one: as a role that has CREATE on the database), then repeat select stepwell.grant_role(…) for the other roles")]
    MayNotMigrate {
        /// The role.
        role: String,
        /// Newest migration in the database; 0 when there is none.
        found: i64,
        /// Newest migration in this program.
        known: i64,
    },
    /// A migration that the database has is not the one of this program: builds before the first release edit them.
    #[error("the schema in the database was made by another build of this program (migration {version} differs): use a new database, or, for an embedded one that holds nothing of worth, remove its folder")]
    SchemaDiffers {
        /// The migration.
        version: i64,
    },
    /// A schema of the name that Stepwell or pgmq needs holds something else.
    #[error(
        "the schema {schema} in the database is somebody else's (it holds {holds}), so nothing was changed: {advice}"
    )]
    ForeignSchema {
        /// `stepwell` or `pgmq`.
        schema: &'static str,
        /// Some of what it holds.
        holds: String,
        /// What to do.
        advice: &'static str,
    },
    /// A dump without data was loaded: there are tables and functions, and nothing says which version they are of.
    #[error("the schema {schema} in the database was loaded from a dump without its data, which says what version it is of, so nothing was changed: drop schema {schema} cascade, then migrate again; leave both schemas out of such dumps (pg_dump --exclude-schema=stepwell --exclude-schema=pgmq)")]
    SchemaWithoutData {
        /// `stepwell` or `pgmq`.
        schema: &'static str,
    },
    /// Somebody else migrates, or uses what is to be changed.
    #[error("the migration waited a minute for a lock: another process migrates this database, or a transaction that is open there (see pg_stat_activity) uses what is to be changed; try again when it has ended")]
    MigrationBlocked,
    /// A migration failed.
    #[error("the migration failed: {}", mask_text(&.source.to_string()))]
    Migration {
        /// What the migrator said.
        source: sqlx::migrate::MigrateError,
    },
    /// pgmq could not be installed.
    #[error("pgmq could not be installed: {}", mask_text(&.source.to_string()))]
    Pgmq {
        /// What its installer said.
        source: pgmq::PgmqError,
    },
    /// The private PostgreSQL could not be found or started.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The address for metrics and health cannot be had.
    #[error("metrics.listen {address}: {source}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A file could not be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It was used after it was stopped.
    #[error("{what} is stopped")]
    Stopped {
        /// What is stopped.
        what: &'static str,
    },
}

impl Error {
    pub(crate) fn validation(what: impl Into<String>, problems: Vec<Problem>) -> Self {
        Self::Validation { what: what.into(), problems }
    }

    /// Of JSON that passed our own checks and that PostgreSQL refuses all the same, such as a number beyond its range:
    /// what is wrong with which input. Any other error stays as it is.
    pub(crate) fn if_refused(self, what: &str, field: &str) -> Self {
        match &self {
            Self::Database { source: sqlx::Error::Database(db), .. } if self.is_bad_data() => Self::validation(
                what,
                vec![Problem::new(field, format!("cannot be stored as jsonb: {}", mask_text(db.message())))],
            ),
            _ => self,
        }
    }

    /// Whether trying again can help: the connection broke, the server restarts, or transactions collided.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::ConnectTimeout { .. } => true,
            Self::Database { source, .. } => is_transient(source),
            _ => false,
        }
    }

    /// Whether a statement waited too long for a lock (SQLSTATE class 55), or took longer than it may (57014), or no answer came in
    /// time.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Database { source: sqlx::Error::Io(error), .. } => error.kind() == std::io::ErrorKind::TimedOut,
            _ => matches!(self.sqlstate(), Some(code) if code.starts_with("55") || code == "57014"),
        }
    }

    /// Whether less at a time may get through: there was no time for all of it, or no memory (53200).
    pub(crate) fn asks_for_less(&self) -> bool {
        self.is_timeout() || self.sqlstate().as_deref() == Some("53200")
    }

    /// Whether a lock was not to be had in time (SQLSTATE 55P03).
    pub(crate) fn is_lock_timeout(&self) -> bool {
        self.sqlstate().as_deref() == Some("55P03")
    }

    /// Whether what a batch is made of can be at fault: data (22), constraints (23), cardinality (21), limits (54), what our
    /// functions raise (P0, SW). The list of `stepwell.bury_message`.
    pub(crate) fn blames_message(&self) -> bool {
        self.sqlstate()
            .is_some_and(|code| ["21", "22", "23", "54", "P0", "SW"].iter().any(|class| code.starts_with(class)))
    }

    /// Whether PostgreSQL met an internal error (XX), which a message may bring about, or something that passes.
    pub(crate) fn is_internal(&self) -> bool {
        self.sqlstate().is_some_and(|code| code.starts_with("XX"))
    }

    /// Whether PostgreSQL refused a value itself (SQLSTATE class 22 or 54): the same input fails every time.
    pub fn is_bad_data(&self) -> bool {
        matches!(self.sqlstate(), Some(code) if code.starts_with("22") || code.starts_with("54"))
    }

    /// The SQLSTATE, where PostgreSQL raised the error.
    pub fn sqlstate(&self) -> Option<String> {
        match self {
            Self::Database { source, .. } => source.as_database_error().and_then(|e| e.code()).map(|c| c.into_owned()),
            _ => None,
        }
    }
}

/// Connection trouble (08), transaction collisions (40), out of resources (53), a lock that somebody holds (55), operator
/// intervention and timeouts (57), trouble of the system (58), a server that is a standby still or again (25006), and what the
/// driver says when a socket is gone.
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(db) => db.code().is_some_and(|code| {
            ["08", "25006", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

//! What can go wrong with a private PostgreSQL, each with what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An embedded PostgreSQL could not be found, made, started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No folder that was searched holds `initdb`, `pg_ctl` and `postgres`.
    #[error(
        "PostgreSQL is not installed: install it ({advice}), or set STEPWELL__EMBEDDED__BIN_DIR to the folder that holds \
         initdb, pg_ctl and postgres, or give a DATABASE_URL; looked in {}",
        List(looked_in)
    )]
    NotInstalled {
        /// The command that installs PostgreSQL on this system.
        advice: &'static str,
        /// Every folder that was searched.
        looked_in: Vec<PathBuf>,
    },

    /// The configured folder of binaries lacks one of them.
    #[error(
        "there is no executable `{missing}` in {}: point STEPWELL__EMBEDDED__BIN_DIR at the folder that holds initdb, \
         pg_ctl and postgres, or unset it to search the usual places, or give a DATABASE_URL",
        directory.display()
    )]
    BinDir {
        /// The configured folder.
        directory: PathBuf,
        /// The program that is not there.
        missing: &'static str,
    },

    /// PostgreSQL is there, but the user it has to run as cannot run it.
    #[error("{} cannot be run as {user}: {reason}", program.display())]
    Unusable {
        /// The program that was tried.
        program: PathBuf,
        /// The user it was run as.
        user: String,
        /// What it answered.
        reason: String,
    },

    /// The cluster was made by a major version that is not installed.
    #[error(
        "{} was made by PostgreSQL {made_by}, and only {} is installed: install PostgreSQL {made_by}, or point \
         STEPWELL__EMBEDDED__BIN_DIR at it, or move that folder away to start with an empty database",
        data.display(), Versions(found)
    )]
    OtherVersion {
        /// The data directory.
        data: PathBuf,
        /// The major version that made it.
        made_by: u32,
        /// The major versions that were found.
        found: Vec<u32>,
    },

    /// Running as root, and there is no unprivileged user to run PostgreSQL as.
    #[error(
        "PostgreSQL refuses to run as root, and this system has neither a user `postgres` nor `nobody`: create one, or \
         run as an ordinary user, or give a DATABASE_URL"
    )]
    NoUser,

    /// Something in the cluster's directory belongs to somebody else.
    #[error(
        "{} belongs to another user ({owner}; this process runs as {user}): run as that user, or choose another directory, \
         or give a DATABASE_URL",
        path.display()
    )]
    OtherOwner {
        /// The file or folder.
        path: PathBuf,
        /// Who owns it, as far as can be seen.
        owner: String,
        /// Who we are.
        user: String,
    },

    /// A cluster exists, but the user that owns it can no longer enter its directory.
    #[error("user {user} owns the cluster in {} but cannot enter that directory: give it `x` on every parent", directory.display())]
    Unreachable {
        /// The cluster's directory.
        directory: PathBuf,
        /// The user that PostgreSQL runs as.
        user: String,
    },

    /// The place of the data directory is taken by something else.
    #[error("{} is in the way: it is not a PostgreSQL data directory; move it, or choose another directory", directory.display())]
    NotACluster {
        /// The place of the data directory.
        directory: PathBuf,
    },

    /// The folder for the sockets exists and must not be trusted.
    #[error(
        "the socket folder {} is not a folder that only user {user} can enter: remove it, or set TMPDIR to another place",
        directory.display()
    )]
    Sockets {
        /// The folder.
        directory: PathBuf,
        /// The user that has to own it.
        user: String,
    },

    /// No temporary folder is short and plain enough for a Unix socket.
    #[error(
        "no temporary folder can hold the socket (tried {}): set TMPDIR to a short path of plain characters",
        List(tried)
    )]
    NoSocketFolder {
        /// The temporary folders that were tried.
        tried: Vec<PathBuf>,
    },

    /// The server runs, others use it, and its socket cannot be reached from here.
    #[error(
        "PostgreSQL runs as process {pid} and is in use, but its socket in {} cannot be reached from this process: give both \
         the same temporary folder, or give a DATABASE_URL",
        sockets.display()
    )]
    SocketLost {
        /// The server's process.
        pid: i32,
        /// Where its socket should be.
        sockets: PathBuf,
    },

    /// A process in another container or on another machine uses the same directory.
    #[error(
        "{} is in use by a process in another container or on another machine: only processes of one can share an embedded \
         cluster; give all of them one DATABASE_URL",
        directory.display()
    )]
    UsedElsewhere {
        /// The cluster's directory.
        directory: PathBuf,
    },

    /// `initdb` failed.
    #[error("initdb could not make a cluster in {}: {output}", directory.display())]
    Initdb {
        /// The cluster's directory.
        directory: PathBuf,
        /// What `initdb` wrote.
        output: String,
    },

    /// `initdb` insists on a name for the user it runs as, and a container's made-up uid has none.
    #[error(
        "uid {uid} has no name in this system's user database, and initdb needs one: add it to /etc/passwd, or run as a \
         user that is there, or give a DATABASE_URL"
    )]
    NamelessUser {
        /// The user that has no name.
        uid: u32,
    },

    /// The server did not start.
    #[error("PostgreSQL did not start: {output}\nthe end of {}:\n{tail}", log.display())]
    Start {
        /// What `pg_ctl` wrote.
        output: String,
        /// The server's log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },

    /// The server did not stop.
    #[error("PostgreSQL did not stop: {output}\nthe end of {}:\n{tail}", log.display())]
    Stop {
        /// What `pg_ctl` wrote.
        output: String,
        /// The server's log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },

    /// The time allowed for starting or stopping is over.
    #[error("{waiting_for} took longer than the {timeout:?} allowed{}", Last(source.as_ref()))]
    Timeout {
        /// What was waited for.
        waiting_for: String,
        /// How long it was allowed to take.
        timeout: Duration,
        /// What the server last answered, if that is what was waited for.
        source: Option<sqlx::Error>,
    },

    /// A program could not be run at all.
    #[error("cannot run {}: {source}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// A file or folder could not be read, made or changed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// The server runs but refuses to make the database, or to talk.
    #[error("the embedded PostgreSQL refused to prepare the database: {0}")]
    Database(#[from] sqlx::Error),
}

impl EmbeddedError {
    /// For `map_err`: an I/O error with what was tried on which path.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { action, path, source }
    }
}

struct List<'a>(&'a [PathBuf]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, path) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index > 0 { ", " } else { "" }, path.display())?;
        }
        if self.0.is_empty() {
            f.write_str("no folder at all")?;
        }
        Ok(())
    }
}

struct Versions<'a>(&'a [u32]);

impl fmt::Display for Versions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(u32::to_string).collect();
        write!(f, "PostgreSQL {}", names.join(", "))
    }
}

struct Last<'a>(Option<&'a sqlx::Error>);

impl fmt::Display for Last<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |error| write!(f, "; it last said: {error}"))
    }
}

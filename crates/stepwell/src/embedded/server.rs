//! Starting, joining and stopping the server. All of it happens under `start.lock`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use tokio::time::Instant;

use super::binaries::Binaries;
use super::connection::{self, Answer};
use super::deadline::Deadline;
use super::locks::FileLock;
use super::pid_file::PidFile;
use super::place::Place;
use super::{log, user, EmbeddedError};

/// Small and quiet for a laptop, but every commit is durable.
const SETTINGS: &str = "-c listen_addresses= -c port=5432 -c unix_socket_permissions=0700 -c max_connections=200 \
    -c shared_buffers=128MB -c fsync=on -c synchronous_commit=on -c full_page_writes=on -c max_wal_size=1GB \
    -c min_wal_size=80MB -c autovacuum_naptime=10s -c jit=off -c log_destination=stderr -c logging_collector=off";
const POLL: Duration = Duration::from_millis(25);
/// How long what a kill left may keep the next server from starting.
const LINGERING: Duration = Duration::from_secs(10);
/// How long a live server may be without a socket while it starts or stops.
const SILENT: Duration = Duration::from_secs(5);

/// The server of one cluster.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) place: Place,
    pub(super) binaries: Binaries,
}

impl Server {
    /// Makes sure that the server answers, by finding it or by starting it. Returns the folder of its socket.
    pub(super) async fn ensure_running(&self, users: &FileLock, deadline: Deadline) -> Result<PathBuf, EmbeddedError> {
        let data = self.place.data();
        let mut retry_until = None;
        let mut silent_since = None;
        let mut last = None;
        while !deadline.is_over() {
            let pid_file = PidFile::read(&data);
            match self.ask(pid_file.as_ref()).await? {
                Answer::Ready(sockets) => return Ok(sockets),
                Answer::Busy(error) => {
                    silent_since = None;
                    last = Some(error);
                }
                Answer::Silent => match pid_file {
                    Some(pid_file) if pid_file.is_alive(&data) => {
                        if silent_since.get_or_insert_with(Instant::now).elapsed() > SILENT {
                            self.stop_unreachable(&pid_file, users, deadline).await?;
                        }
                    }
                    pid_file => {
                        if let Some(pid_file) = &pid_file {
                            self.bury(pid_file, users)?;
                        }
                        let started = self.start(deadline).await;
                        // Children of a killed server are in the way for a moment, and so is a server that a killed user
                        // was just starting.
                        if pid_file.is_some() || PidFile::read(&data).is_some() {
                            retry_until.get_or_insert_with(|| Instant::now() + LINGERING);
                        }
                        match started {
                            Ok(()) => continue,
                            Err(error @ EmbeddedError::Start { .. })
                                if retry_until.is_some_and(|until| Instant::now() < until) =>
                            {
                                tracing::debug!(%error, "another server is in the way");
                            }
                            Err(error) => return Err(error),
                        }
                    }
                },
            }
            tokio::time::sleep(POLL).await;
        }
        Err(deadline.error("the start of PostgreSQL", last))
    }

    /// Stops the server: sessions are ended, transactions rolled back, everything is on disk afterwards.
    pub(super) async fn stop(&self, deadline: Deadline) -> Result<(), EmbeddedError> {
        // Somebody else may have stopped or killed it. `pg_ctl` would wait for a zombie to go away.
        if !self.is_alive() {
            return Ok(());
        }
        let arguments = ["stop", "-m", "fast", "-w", "-t", &seconds(deadline)];
        let output = self.pg_ctl(&arguments, deadline).await?;
        if output.status.success() || !self.is_alive() {
            return Ok(());
        }
        Err(EmbeddedError::Stop {
            output: user::text(&output),
            log: self.place.log(),
            tail: log::tail(&self.place.log()),
        })
    }

    fn is_alive(&self) -> bool {
        let data = self.place.data();
        PidFile::read(&data).is_some_and(|pid_file| pid_file.is_alive(&data))
    }

    async fn ask(&self, pid_file: Option<&PidFile>) -> Result<Answer, EmbeddedError> {
        // The running server's own word: its user may have had another TMPDIR than we have.
        let Some(sockets) =
            pid_file.filter(|file| file.is_about(&self.place.data())).and_then(|file| file.sockets.clone())
        else {
            return Ok(Answer::Silent);
        };
        if !sockets.exists() {
            return Ok(Answer::Silent);
        }
        self.place.check_sockets(&sockets)?;
        connection::prepare(sockets).await
    }

    async fn start(&self, deadline: Deadline) -> Result<(), EmbeddedError> {
        let sockets = self.place.create_sockets(deadline).await?;
        log::prepare(&self.place)?;
        self.note_host().map_err(EmbeddedError::file("write", &self.host_file()))?;
        // The socket's path holds only plain characters, so it needs no quotes.
        let settings = format!("{SETTINGS} -c unix_socket_directories={}", sockets.display());
        let arguments = ["start", "-w", "-t", &seconds(deadline), "-l", "postgres.log", "-o", &settings];
        let output = self.pg_ctl(&arguments, deadline).await?;
        if output.status.success() {
            tracing::info!(data = %self.place.data().display(), "started the embedded PostgreSQL {}", self.binaries.major);
            return Ok(());
        }
        let _ = fs::remove_dir(&sockets);
        Err(EmbeddedError::Start {
            output: user::text(&output),
            log: self.place.log(),
            tail: log::tail(&self.place.log()),
        })
    }

    /// Deals with the pid file of a server that is no more.
    fn bury(&self, pid_file: &PidFile, users: &FileLock) -> Result<(), EmbeddedError> {
        // Pids and sockets of another container are invisible here, but its locks are not. Two servers over one data
        // directory destroy it.
        let elsewhere = fs::read_to_string(self.host_file()).is_ok_and(|started_on| started_on != host());
        if elsewhere && users.is_shared_with_others()? {
            return Err(EmbeddedError::UsedElsewhere { directory: self.place.directory.clone() });
        }
        // PostgreSQL handles a dead pid itself, and better; it cannot know a recycled pid, a zombie or a copied file.
        if pid_file.pid == 0 || pid_file.process_exists() {
            tracing::info!(pid = pid_file.pid, "removing the pid file of a server that is gone");
            pid_file.remove()?;
        }
        Ok(())
    }

    /// The server runs without a socket, say because a cleaner of temporary files removed it.
    async fn stop_unreachable(
        &self,
        pid_file: &PidFile,
        users: &FileLock,
        deadline: Deadline,
    ) -> Result<(), EmbeddedError> {
        if users.is_shared_with_others()? {
            let sockets = pid_file.sockets.clone().unwrap_or_default();
            return Err(EmbeddedError::SocketLost { pid: pid_file.pid, sockets });
        }
        tracing::warn!(pid = pid_file.pid, "restarting an embedded PostgreSQL that has lost its socket");
        self.stop(deadline).await
    }

    /// `pg_ctl` puts paths between double quotes into a shell's command. So it gets none: the data directory comes in the
    /// environment, and the log is named from the working directory.
    async fn pg_ctl(&self, arguments: &[&str], deadline: Deadline) -> Result<Output, EmbeddedError> {
        let mut command = self.place.user.command(self.binaries.program("pg_ctl"));
        command.args(arguments).env("PGDATA", self.place.data()).current_dir(&self.place.directory);
        user::run(command, deadline).await
    }

    /// Replaces the file: as root it is never written through what the directory's owner put there.
    fn note_host(&self) -> std::io::Result<()> {
        let file = self.host_file();
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o644).open(file)?;
        new.write_all(host().as_bytes())
    }

    fn host_file(&self) -> PathBuf {
        self.place.directory.join("server.host")
    }
}

/// What tells this machine's and this container's processes from others: those that see each other's pids share it.
fn host() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let pids = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{}\n{}\n", boot.trim(), pids.display())
}

fn seconds(deadline: Deadline) -> String {
    deadline.remaining().as_secs().max(1).to_string()
}

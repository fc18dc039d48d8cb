//! Stops the server when the last process that used it is gone, however that process ended.
//!
//! A process that is killed can stop nothing itself, so a small shell outlives it. Every user of the cluster holds a named
//! pipe open for writing; the shell reads it. The kernel closes the pipe of a process that dies, and when the last one is
//! closed the shell reads its end. After [`GRACE`], in which a next process may still come, it stops the server.
//!
//! The shell needs no lock to be safe. Before it stops the server it renames the pipe, so that nobody new finds it, and
//! reads once more: a process that came in between has written a line, and the shell goes back to waiting. A process that
//! finds the renamed pipe waits until the server is down.
//!
//! Joining and dismissing happen under `start.lock`. Without a watcher (a file system that has no named pipes) everything
//! works, but a server whose users were all killed runs until the next start.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{fcntl_getfl, fcntl_setfl, OFlags};

use super::binaries::Binaries;
use super::deadline::Deadline;
use super::place::{owner_of, Place};
use super::{user, EmbeddedError};

const POLL: Duration = Duration::from_millis(25);
/// How long the server waits for its next user when the last one was killed, in seconds. Twice that if the last one came
/// while it waited for a next user already, so less than five.
const GRACE: &str = "4";
const USERS: &str = "users";
const LEAVING: &str = "leaving";
const END: &[u8] = b"end\n";

/// Runs in the folder of the pipe, with the pipe as its input, `pg_ctl` as `$1` and the grace as `$2`.
///
/// It leaves its parent's process at once, so that nobody has to wait for it. A pid in `postmaster.pid` may be another
/// process's by now, so its working directory is compared, as `pid_file.rs` does.
const SCRIPT: &str = r#"
exec 3<&0
(
    trap '' HUP INT QUIT TSTP TTIN TTOU
    while :; do
        while IFS= read -r word <&3; do [ "$word" != end ] || exit 0; done
        sleep "$2"
        mv users leaving || exit 0
        IFS= read -r word <&3 || break
        [ "$word" != end ] || { rm -f leaving; exit 0; }
        mv leaving users
    done
    {
        IFS= read -r pid; read -r _; read -r _; read -r _; IFS= read -r sockets
    } < ../data/postmaster.pid
    if [ -n "$pid" ] && { [ ! -e /proc/self ] || [ "/proc/$pid/cwd" -ef ../data ]; }; then
        "$1" stop -D ../data -m fast -w -t 60 && [ -n "$sockets" ] && rmdir "$sockets"
    fi
    rm -f leaving
) <&3 >/dev/null 2>&1 &
"#;

/// This process as one that the watcher knows.
#[derive(Debug)]
pub(super) struct Watched {
    pipe: File,
    path: PathBuf,
}

impl Watched {
    /// Makes this process known to the watcher, which is started if there is none. Waits while a watcher stops the server.
    pub(super) async fn join(
        place: &Place,
        binaries: &Binaries,
        deadline: Deadline,
    ) -> Result<Option<Self>, EmbeddedError> {
        let folder = place.directory.join("watch");
        create(place, &folder)?;
        let (path, leaving) = (folder.join(USERS), folder.join(LEAVING));
        while !deadline.is_over() {
            if let Some(mut pipe) = open_for_writing(&path, place)? {
                if pipe.write_all(b"\n").is_ok() {
                    return Ok(Some(Self { pipe, path }));
                }
            } else if open_for_writing(&leaving, place)?.is_none() {
                // What is left of the pipe is a killed watcher's.
                let _ = fs::remove_file(&leaving);
                return Self::start(place, binaries, &folder, deadline).await;
            }
            tokio::time::sleep(POLL).await;
        }
        Err(deadline.error("the watcher of the embedded PostgreSQL", None))
    }

    /// Starts the watcher. Nothing where there are no named pipes.
    async fn start(
        place: &Place,
        binaries: &Binaries,
        folder: &Path,
        deadline: Deadline,
    ) -> Result<Option<Self>, EmbeddedError> {
        let path = folder.join(USERS);
        if !path.exists() {
            let mut make = place.user.command("/bin/sh");
            make.args(["-c", "mkfifo -m 600 \"$1\"", "sh", USERS]).current_dir(folder);
            let output = user::run(make, deadline).await?;
            if !output.status.success() {
                tracing::warn!(
                    folder = %folder.display(),
                    reason = user::text(&output),
                    "cannot make a named pipe, so the embedded PostgreSQL runs on if all its users are killed"
                );
                return Ok(None);
            }
        }
        let failed = |source| EmbeddedError::file("open", &path)(source);
        let input = OpenOptions::new().read(true).custom_flags(flags()).open(&path).map_err(failed)?;
        let pipe = open_for_writing(&path, place)?;
        let flags = fcntl_getfl(&input).map_err(|errno| failed(errno.into()))?;
        fcntl_setfl(&input, flags - OFlags::NONBLOCK).map_err(|errno| failed(errno.into()))?;
        let mut shell = place.user.command("/bin/sh");
        shell.args(["-c", SCRIPT, "stepwell-watcher"]).arg(binaries.program("pg_ctl")).arg(GRACE);
        shell.current_dir(folder).stdin(Stdio::from(input));
        user::run(shell, deadline).await?;
        Ok(pipe.map(|pipe| Self { pipe, path }))
    }

    /// Ends the watcher: the server is down, and nobody can join before `start.lock` is released.
    pub(super) fn dismiss(mut self) {
        if self.pipe.write_all(END).is_ok() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens the pipe if somebody reads it.
fn open_for_writing(path: &Path, place: &Place) -> Result<Option<File>, EmbeddedError> {
    match OpenOptions::new().write(true).custom_flags(flags()).open(path) {
        Ok(pipe) => {
            let metadata = pipe.metadata().map_err(EmbeddedError::file("look at", path))?;
            if metadata.file_type().is_fifo() && metadata.uid() == place.user.uid {
                return Ok(Some(pipe));
            }
            Err(EmbeddedError::file("use", path)(std::io::Error::other(
                "it is not the pipe of the embedded PostgreSQL",
            )))
        }
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(EmbeddedError::file("open", path)(error)),
    }
}

fn flags() -> i32 {
    (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32
}

/// Makes the folder of the pipe, which is the cluster's user's.
fn create(place: &Place, folder: &Path) -> Result<(), EmbeddedError> {
    match place.create_private(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(EmbeddedError::file("make", folder)(source));
        }
        _ => {}
    }
    // Root was killed between making the folder and giving it away.
    if place.user.dropped && owner_of(folder).is_some_and(|(uid, _)| uid == 0) {
        place.give(folder).map_err(EmbeddedError::file("give away", folder))?;
    }
    Ok(())
}

//! The folder of the server's socket: in a short path, and nobody else's.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::deadline::Deadline;
use super::pid_file::PidFile;
use super::place::{digest, owner_of, Place};
use super::EmbeddedError;

/// `sun_path` holds this many bytes with the final NUL.
const SOCKET_PATH_BYTES: usize = if cfg!(target_os = "linux") { 108 } else { 104 };
const SOCKET_FILE: &str = "/.s.PGSQL.5432";
const SOCKET_LOCK: &str = ".s.PGSQL.5432.lock";

impl Place {
    /// Makes the folder for the socket, or accepts the one that is there if nobody else can have prepared it.
    pub(super) async fn create_sockets(&self, deadline: Deadline) -> Result<PathBuf, EmbeddedError> {
        let sockets = self.socket_folder(deadline).await?;
        match self.create_private(&sockets) {
            Ok(()) => Ok(sockets),
            Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                // Root was killed between making the folder and giving it away.
                if self.user.dropped && owner_of(&sockets).is_some_and(|(uid, _)| uid == 0) {
                    self.give(&sockets).map_err(EmbeddedError::file("give away", &sockets))?;
                }
                self.check_sockets(&sockets)?;
                // The server is down, yet a zombie or a stranger may have the pid that the socket's lock names.
                let lock = PidFile::read_at(sockets.join(SOCKET_LOCK));
                if let Some(lock) = lock.filter(PidFile::misleads) {
                    lock.remove()?;
                }
                Ok(sockets)
            }
            Err(source) => Err(EmbeddedError::file("make", &sockets)(source)),
        }
    }

    /// Temporary folders are open to all, so whoever owns the socket's folder could pretend to be the server.
    pub(super) fn check_sockets(&self, sockets: &Path) -> Result<(), EmbeddedError> {
        let metadata = fs::symlink_metadata(sockets).map_err(EmbeddedError::file("look at", sockets))?;
        if metadata.is_dir() && metadata.uid() == self.user.uid && metadata.mode() & 0o077 == 0 {
            return Ok(());
        }
        Err(EmbeddedError::Sockets { directory: sockets.to_path_buf(), user: self.user.name().to_owned() })
    }

    async fn socket_folder(&self, deadline: Deadline) -> Result<PathBuf, EmbeddedError> {
        let tried = vec![std::env::temp_dir(), PathBuf::from("/tmp")];
        let name = format!("stepwell-{}", self.fingerprint());
        for temporary in &tried {
            let folder = temporary.join(&name);
            let fits = folder.is_absolute() && folder.as_os_str().len() + SOCKET_FILE.len() < SOCKET_PATH_BYTES;
            if fits && is_plain(&folder) && self.user.can_enter(temporary, deadline).await? {
                return Ok(folder);
            }
        }
        Err(EmbeddedError::NoSocketFolder { tried })
    }

    fn fingerprint(&self) -> String {
        digest(&[self.directory.as_os_str().as_bytes(), &self.user.uid.to_be_bytes()])
    }
}

/// Characters that need no quoting in a shell, in PostgreSQL's list of directories or, but for the slash, in a URL.
fn is_plain(path: &Path) -> bool {
    path.as_os_str().as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(byte))
}

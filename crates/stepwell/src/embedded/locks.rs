//! Who may change the cluster, and who uses it.
//!
//! Two files, locked with `flock`, so that the kernel releases them however a process ends:
//!
//! - `start.lock`, exclusive: held while deciding, starting or stopping.
//! - `users.lock`, shared: held by each user of the cluster for its life. Taken and tested only under `start.lock`.
//!
//! The descriptors are closed on exec, so the server never inherits them.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{flock, FlockOperation, OFlags};

use super::deadline::Deadline;
use super::EmbeddedError;

const POLL: Duration = Duration::from_millis(10);

/// A lock that ends with this value or with the process.
#[derive(Debug)]
pub(super) struct FileLock {
    file: File,
    path: PathBuf,
    pid: u32,
}

impl FileLock {
    /// Waits for the exclusive lock. It polls, so that a timeout or the end of the runtime never has to wait for a thread
    /// that sits in the kernel.
    pub(super) async fn exclusive(path: PathBuf, deadline: Deadline) -> Result<Self, EmbeddedError> {
        let lock = Self::open(path)?;
        while !lock.attempt(FlockOperation::NonBlockingLockExclusive)? {
            if deadline.is_over() {
                return Err(deadline.error(format!("the lock {}", lock.path.display()), None));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(lock)
    }

    /// Takes a shared lock. Exclusive holders hold `start.lock` too, so nobody is in the way for longer than a moment.
    pub(super) async fn shared(path: PathBuf, deadline: Deadline) -> Result<Self, EmbeddedError> {
        let lock = Self::open(path)?;
        while !lock.attempt(FlockOperation::NonBlockingLockShared)? {
            if deadline.is_over() {
                return Err(deadline.error(format!("the lock {}", lock.path.display()), None));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(lock)
    }

    /// Gives up a shared lock for an exclusive one. False when others hold the file; then nothing is held any more.
    pub(super) fn become_exclusive(&self) -> Result<bool, EmbeddedError> {
        self.attempt(FlockOperation::Unlock)?;
        self.attempt(FlockOperation::NonBlockingLockExclusive)
    }

    /// Whether anybody else holds the file. The shared lock is held again afterwards; needs `start.lock`.
    pub(super) fn is_shared_with_others(&self) -> Result<bool, EmbeddedError> {
        let alone = self.become_exclusive()?;
        self.attempt(FlockOperation::Unlock)?;
        self.attempt(FlockOperation::NonBlockingLockShared)?;
        Ok(!alone)
    }

    /// False in the child of a fork: the lock is its parent's.
    pub(super) fn is_ours(&self) -> bool {
        self.pid == std::process::id()
    }

    fn open(path: PathBuf) -> Result<Self, EmbeddedError> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits() as i32)
            .open(&path);
        match opened {
            Ok(file) => Ok(Self { file, path, pid: std::process::id() }),
            Err(source) if source.kind() == std::io::ErrorKind::PermissionDenied => Err(other_owner(&path)),
            Err(source) => Err(EmbeddedError::file("open", &path)(source)),
        }
    }

    fn attempt(&self, operation: FlockOperation) -> Result<bool, EmbeddedError> {
        match flock(&self.file, operation) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(EmbeddedError::file("lock", &self.path)(errno.into())),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // A forked child shares the lock with its parent. The parent unlocks explicitly, so that a child that lives on
        // keeps nothing; the child only closes its copy, so that the parent loses nothing.
        if self.is_ours() {
            let _ = flock(&self.file, FlockOperation::Unlock);
        }
    }
}

fn other_owner(path: &Path) -> EmbeddedError {
    let directory = path.parent().unwrap_or(path);
    let owner = [path, directory].iter().find_map(|path| path.metadata().ok()).map(|metadata| metadata.uid());
    EmbeddedError::OtherOwner {
        path: directory.to_path_buf(),
        owner: owner.map_or_else(|| "unknown".to_owned(), |uid| format!("uid {uid}")),
        user: format!("uid {}", rustix::process::geteuid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadline(timeout: Duration) -> Deadline {
        Deadline::after(timeout)
    }

    #[tokio::test]
    async fn an_exclusive_lock_excludes_and_times_out() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("start.lock");
        let held = FileLock::exclusive(path.clone(), deadline(Duration::from_secs(5))).await?;
        let refused = FileLock::exclusive(path.clone(), deadline(Duration::from_millis(30))).await;
        assert!(matches!(refused, Err(EmbeddedError::Timeout { .. })), "{refused:?}");
        drop(held);
        FileLock::exclusive(path, deadline(Duration::from_secs(5))).await?;
        Ok(())
    }

    #[tokio::test]
    async fn only_the_last_of_two_users_becomes_exclusive() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("users.lock");
        let first = FileLock::shared(path.clone(), deadline(Duration::from_secs(5))).await?;
        assert!(!first.is_shared_with_others()?);
        let second = FileLock::shared(path, deadline(Duration::from_secs(5))).await?;
        assert!(first.is_shared_with_others()?);
        assert!(!first.become_exclusive()?);
        assert!(second.become_exclusive()?);
        Ok(())
    }
}

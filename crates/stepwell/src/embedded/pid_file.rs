//! What `postmaster.pid` says, and whether to believe it.
//!
//! The file outlives a killed server, its pid may meanwhile belong to anybody, and it may have been copied along with its
//! directory. So a pid alone proves nothing: a postmaster's working directory is its data directory, and that is compared.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{test_kill_process, Pid};

/// A read `postmaster.pid`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PidFile {
    path: PathBuf,
    /// Zero when the file is empty or unreadable, as a power failure can leave it.
    pub(super) pid: i32,
    data: Option<PathBuf>,
    pub(super) sockets: Option<PathBuf>,
}

impl PidFile {
    /// Reads the file of a data directory, if there is one.
    pub(super) fn read(data: &Path) -> Option<Self> {
        Self::read_at(data.join("postmaster.pid"))
    }

    /// Reads a lock file of the same form, as a socket has one.
    pub(super) fn read_at(path: PathBuf) -> Option<Self> {
        let text = fs::read_to_string(&path).ok()?;
        let line = |number| text.lines().nth(number).map(str::trim).filter(|line: &&str| !line.is_empty());
        // A single-user backend writes its pid negated.
        let pid = line(0).and_then(|line| line.parse::<i32>().ok()).map_or(0, |pid| pid.saturating_abs());
        Some(Self { path, pid, data: line(1).map(PathBuf::from), sockets: line(4).map(PathBuf::from) })
    }

    /// False when the directory is a copy of another one, so that the file speaks of that one's server. A directory that
    /// was moved keeps its server: then the old path is gone.
    pub(super) fn is_about(&self, data: &Path) -> bool {
        self.data.as_deref().is_none_or(|named| !named.exists() || same_file(named, data).unwrap_or(true))
    }

    /// Whether the process exists, whatever it is.
    pub(super) fn process_exists(&self) -> bool {
        Pid::from_raw(self.pid).is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
    }

    /// Whether the process is this data directory's postmaster.
    pub(super) fn is_alive(&self, data: &Path) -> bool {
        if !self.process_exists() || !self.is_about(data) {
            return false;
        }
        let process = Path::new("/proc").join(self.pid.to_string());
        match same_file(&process.join("cwd"), data) {
            Ok(same) => same,
            // A zombie has no working directory; a system without /proc leaves us with the pid alone.
            Err(error) if error.kind() == ErrorKind::NotFound => !Path::new("/proc/self").exists(),
            // A container's root may not look into other users' processes, but it sees whose they are and what they run.
            Err(_) => same_owner(&process, data).unwrap_or(true) && is_live_postgres(&process),
        }
    }

    /// Whether PostgreSQL would take the file for a running server's although no PostgreSQL runs under its pid. A pid that
    /// does not exist it handles itself.
    pub(super) fn misleads(&self) -> bool {
        let process = Path::new("/proc").join(self.pid.to_string());
        self.pid == 0 || (process.exists() && !is_live_postgres(&process))
    }

    /// Removes a file that would keep a new server from starting.
    pub(super) fn remove(&self) -> Result<(), super::EmbeddedError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(super::EmbeddedError::file("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }
}

fn same_file(left: &Path, right: &Path) -> std::io::Result<bool> {
    let (left, right) = (fs::metadata(left)?, fs::metadata(right)?);
    Ok((left.dev(), left.ino()) == (right.dev(), right.ino()))
}

fn same_owner(left: &Path, right: &Path) -> std::io::Result<bool> {
    Ok(fs::metadata(left)?.uid() == fs::metadata(right)?.uid())
}

/// False for a zombie: it keeps its pid until its parent, which in a container may never do so, asks for its exit status.
fn is_live_postgres(process: &Path) -> bool {
    // "4711 (postgres) S 1 ..."
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.split_once('(')
        .and_then(|(_, rest)| rest.rsplit_once(") "))
        .is_some_and(|(name, state)| name.contains("postgres") && !state.starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(data: &Path, pid: u32, named: &Path) -> anyhow::Result<PidFile> {
        let text = format!("{pid}\n{}\n1700000000\n5432\n/tmp/sockets\n\n  1 2\nready\n", named.display());
        fs::write(data.join("postmaster.pid"), text)?;
        PidFile::read(data).ok_or_else(|| anyhow::anyhow!("the file was just written"))
    }

    #[test]
    fn reads_what_postgresql_writes() -> anyhow::Result<()> {
        let data = tempfile::tempdir()?;
        assert_eq!(PidFile::read(data.path()), None);
        let file = write(data.path(), 42, data.path())?;
        assert_eq!((file.pid, file.sockets.as_deref()), (42, Some(Path::new("/tmp/sockets"))));
        Ok(())
    }

    #[test]
    fn an_empty_file_is_about_no_process() -> anyhow::Result<()> {
        let data = tempfile::tempdir()?;
        fs::write(data.path().join("postmaster.pid"), "")?;
        let file = PidFile::read(data.path()).ok_or_else(|| anyhow::anyhow!("no file"))?;
        assert!(!file.process_exists() && !file.is_alive(data.path()));
        Ok(())
    }

    #[test]
    fn the_pid_of_another_process_is_not_a_server() -> anyhow::Result<()> {
        let data = tempfile::tempdir()?;
        let file = write(data.path(), std::process::id(), data.path())?;
        assert!(file.process_exists());
        assert!(file.misleads() || !Path::new("/proc/self").exists());
        assert!(!file.is_alive(data.path()) || !Path::new("/proc/self").exists());
        Ok(())
    }

    #[test]
    fn a_copied_directory_is_told_from_a_moved_one() -> anyhow::Result<()> {
        let (original, copy) = (tempfile::tempdir()?, tempfile::tempdir()?);
        assert!(!write(copy.path(), 42, original.path())?.is_about(copy.path()));
        assert!(write(copy.path(), 42, &original.path().join("gone"))?.is_about(copy.path()));
        Ok(())
    }
}

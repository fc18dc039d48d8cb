//! The server's log, `postgres.log` next to its data.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::place::Place;
use super::EmbeddedError;

const MOST_BYTES: u64 = 10 * 1024 * 1024;
const TAIL_BYTES: usize = 3000;

/// Makes sure that the log exists, belongs to the cluster's user and is not too big. The server must be down.
pub(super) fn prepare(place: &Place) -> Result<(), EmbeddedError> {
    let log = place.log();
    if fs::metadata(&log).is_ok_and(|metadata| metadata.len() > MOST_BYTES) {
        fs::rename(&log, log.with_extension("log.1")).map_err(EmbeddedError::file("rotate", &log))?;
    }
    // `pg_ctl` runs as the cluster's user, which may not be allowed to make files here.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&log) {
        Ok(_) => place.give(&log).map_err(EmbeddedError::file("give away", &log)),
        Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(EmbeddedError::file("make", &log)(source)),
    }
}

/// The last lines of a log.
pub(super) fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]).into_owned();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::user::User;
    use super::*;

    #[test]
    fn the_tail_is_the_last_lines() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("postgres.log");
        assert_eq!(tail(&log), "");
        let lines: Vec<_> = (1..=40).map(|number| format!("line {number}")).collect();
        fs::write(&log, lines.join("\n"))?;
        assert_eq!(tail(&log).lines().count(), 15);
        assert!(tail(&log).ends_with("line 40"));
        Ok(())
    }

    #[test]
    fn a_big_log_is_put_aside() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let user = User::ourselves().unwrap_or_else(|| User::owner(0, 0));
        let place = Place { directory: folder.path().to_path_buf(), user };
        std::fs::File::create(place.log())?.set_len(MOST_BYTES + 1)?;
        prepare(&place)?;
        assert_eq!(fs::metadata(place.log())?.len(), 0);
        assert!(place.log().with_extension("log.1").exists());
        Ok(())
    }
}

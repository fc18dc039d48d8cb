//! Making a new cluster, whole or not at all.
//!
//! `initdb` works in a folder of its own, which is renamed when it is done. So a data directory that exists is complete,
//! and what a killed `initdb` leaves is rubbish that the next start removes. All of it happens under `start.lock`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{SystemTime, UNIX_EPOCH};

use super::binaries::Binaries;
use super::deadline::Deadline;
use super::place::Place;
use super::{user, EmbeddedError, SUPERUSER};

const UNFINISHED: &str = "data.tmp-";

/// The major version that made the cluster; nothing if there is no cluster yet.
pub(super) fn version(data: &Path) -> Result<Option<u32>, EmbeddedError> {
    let file = data.join("PG_VERSION");
    match fs::read_to_string(&file) {
        // "15", and "9.6" long ago
        Ok(text) => match text.trim().split('.').next().and_then(|major| major.parse().ok()) {
            Some(major) => Ok(Some(major)),
            None => Err(EmbeddedError::NotACluster { directory: data.to_path_buf() }),
        },
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(EmbeddedError::file("read", &file)(source)),
    }
}

/// Makes the data directory.
pub(super) async fn create(place: &Place, binaries: &Binaries, deadline: Deadline) -> Result<(), EmbeddedError> {
    let data = place.data();
    // An empty folder is no loss; anything else is not ours to remove.
    if data.exists() && fs::remove_dir(&data).is_err() {
        return Err(EmbeddedError::NotACluster { directory: data });
    }
    let unfinished = place.directory.join(unfinished_name());
    place.create_private(&unfinished).map_err(EmbeddedError::file("make", &unfinished))?;

    let mut output = initdb(place, binaries, &unfinished, "C.UTF-8", deadline).await?;
    if !output.status.success() && output.stderr.windows(6).any(|word| word == b"locale") {
        output = initdb(place, binaries, &unfinished, "C", deadline).await?;
    }
    if !output.status.success() {
        remove(unfinished).await;
        let (uid, dropped) = (place.user.uid, place.user.dropped);
        if !dropped && user::program_output("id", &["-un"], deadline).await?.is_none() {
            return Err(EmbeddedError::NamelessUser { uid });
        }
        return Err(EmbeddedError::Initdb { directory: place.directory.clone(), output: user::text(&output) });
    }

    fs::rename(&unfinished, &data).map_err(EmbeddedError::file("put in place", &unfinished))?;
    let synced = File::open(&place.directory).and_then(|directory| directory.sync_all());
    synced.map_err(EmbeddedError::file("sync", &place.directory))
}

/// Removes what killed starts left. What cannot be removed is in nobody's way.
pub(super) async fn clean_up(place: &Place) {
    for entry in fs::read_dir(&place.directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            tracing::info!(path = %entry.path().display(), "removing what an interrupted initdb left");
            remove(entry.path()).await;
        }
    }
}

async fn initdb(
    place: &Place,
    binaries: &Binaries,
    unfinished: &Path,
    locale: &str,
    deadline: Deadline,
) -> Result<Output, EmbeddedError> {
    let mut command = place.user.command(binaries.program("initdb"));
    command.arg("--pgdata").arg(unfinished);
    // `trust`, because only the cluster's own user and root can enter the socket's folder.
    command.args(["--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--locale", locale]);
    user::run(command, deadline).await
}

async fn remove(path: PathBuf) {
    let removed = tokio::task::spawn_blocking(move || {
        // An initdb that outlived its parent may still be writing; it fails as soon as its folder is gone.
        let mut attempts = 0;
        loop {
            match fs::remove_dir_all(&path) {
                Err(error) if attempts < 5 && error.kind() == std::io::ErrorKind::DirectoryNotEmpty => attempts += 1,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove an unfinished cluster")
                }
                Ok(()) => return,
            }
            if attempts >= 5 {
                return;
            }
        }
    });
    let _ = removed.await;
}

/// Unique, also where every container's process has the same pid.
fn unfinished_name() -> impl AsRef<OsStr> + AsRef<Path> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{UNFINISHED}{}-{}", std::process::id(), now.as_nanos())
}

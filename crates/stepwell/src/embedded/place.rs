//! Where a cluster lives, and whose it is.
//!
//! The cluster lives in the wanted directory. As root, where the user PostgreSQL runs as cannot enter that directory, it
//! lives in the system's state directory, under a name made from the path.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{lchown, DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::deadline::Deadline;
use super::user::User;
use super::EmbeddedError;

const STATE_DIRECTORY: &str = "/var/lib/stepwell";

/// The directory of a cluster and the user that owns it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    pub(super) user: User,
}

impl Place {
    /// Decides where the cluster for `wanted` lives. An existing cluster decides for itself.
    pub(super) async fn choose(wanted: &Path, deadline: Deadline) -> Result<Self, EmbeddedError> {
        let wanted = canonical(wanted)?;
        if let Some(user) = User::ourselves() {
            let place = Self { directory: wanted, user };
            return match owner_of(&place.data()) {
                Some((uid, _)) if uid != place.user.uid => Err(place.other_owner(uid)),
                _ => Ok(place),
            };
        }
        let elsewhere = Path::new(STATE_DIRECTORY).join(name_from(&wanted));
        for directory in [&wanted, &elsewhere] {
            if let Some((uid, gid)) = owner_of(&directory.join("data")) {
                let place = Self { directory: directory.clone(), user: User::owner(uid, gid) };
                if uid == 0 {
                    return Err(place.other_owner(uid));
                }
                if !place.user.can_enter(directory, deadline).await? {
                    let user = place.user.name().to_owned();
                    return Err(EmbeddedError::Unreachable { directory: place.directory, user });
                }
                return Ok(place);
            }
        }
        let user = User::unprivileged(deadline).await?;
        let existing = wanted.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let reachable = user.can_enter(existing, deadline).await?;
        Ok(Self { directory: if reachable { wanted } else { elsewhere }, user })
    }

    /// Makes the directory. As root every folder on the way is one that the user can enter, whatever our umask.
    pub(super) fn create(&self) -> Result<(), EmbeddedError> {
        let mut missing: Vec<&Path> = self.directory.ancestors().take_while(|path| !path.exists()).collect();
        while let Some(path) = missing.pop() {
            match fs::create_dir(path) {
                Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(EmbeddedError::file("make", path))?,
            }
            if self.user.dropped {
                fs::set_permissions(path, Permissions::from_mode(0o755))
                    .map_err(EmbeddedError::file("open up", path))?;
            }
        }
        Ok(())
    }

    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.directory.join("postgres.log")
    }

    pub(super) fn start_lock(&self) -> PathBuf {
        self.directory.join("start.lock")
    }

    pub(super) fn users_lock(&self) -> PathBuf {
        self.directory.join("users.lock")
    }

    /// Makes a folder that only the cluster's user can enter. It must not exist.
    pub(super) fn create_private(&self, path: &Path) -> std::io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)?;
        self.give(path)
    }

    /// As root, hands a file we just made to the cluster's user.
    pub(super) fn give(&self, path: &Path) -> std::io::Result<()> {
        if self.user.dropped {
            lchown(path, Some(self.user.uid), Some(self.user.gid))?;
        }
        Ok(())
    }

    fn other_owner(&self, uid: u32) -> EmbeddedError {
        let us = rustix::process::geteuid();
        EmbeddedError::OtherOwner { path: self.data(), owner: format!("uid {uid}"), user: format!("uid {us}") }
    }
}

/// The path with every symlink resolved, also when its end does not exist yet.
fn canonical(path: &Path) -> Result<PathBuf, EmbeddedError> {
    let absolute = std::path::absolute(path).map_err(EmbeddedError::file("find", path))?;
    let existing = absolute.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let real = existing.canonicalize().map_err(EmbeddedError::file("resolve", existing))?;
    Ok(match absolute.strip_prefix(existing) {
        Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
        _ => real,
    })
}

pub(super) fn owner_of(path: &Path) -> Option<(u32, u32)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.uid(), metadata.gid()))
}

/// Something a person recognises, and something no other path has.
fn name_from(path: &Path) -> String {
    let project = path.parent().and_then(Path::file_name).unwrap_or(OsStr::new("root")).to_string_lossy();
    let project: String = project.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(40).collect();
    format!("{project}-{}", digest(&[path.as_os_str().as_bytes()]))
}

pub(super) fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory_has_one_name_however_it_is_reached() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("real"))?;
        std::os::unix::fs::symlink(folder.path().join("real"), folder.path().join("link"))?;
        let direct = canonical(&folder.path().join("real/.stepwell"))?;
        assert_eq!(canonical(&folder.path().join("link/.stepwell"))?, direct);
        fs::create_dir(&direct)?;
        assert_eq!(canonical(&direct)?, direct);
        Ok(())
    }

    #[test]
    fn the_name_in_the_state_directory_is_recognisable_and_unique() {
        let (one, two) =
            (name_from(Path::new("/root/my shop/.stepwell")), name_from(Path::new("/srv/my shop/.stepwell")));
        assert!(one.starts_with("myshop-") && two.starts_with("myshop-"));
        assert_ne!(one, two);
    }
}

//! The user PostgreSQL runs as, and every child process that runs as that user.
//!
//! PostgreSQL refuses to run as root. As root we therefore drop to the owner of the cluster or, for a new one, to
//! `postgres` or `nobody`. As anybody else we simply stay who we are.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Output, Stdio};

use tokio::process::Command;

use super::deadline::Deadline;
use super::EmbeddedError;

/// The only variables a child inherits: `PG*` would redirect it, and a server that outlives us must not carry the
/// application's secrets in its environment. The rest is what a loader, a locale or a user database may need.
const INHERITED: [&str; 13] = [
    "PATH",
    "HOME",
    "TZ",
    "TZDIR",
    "LOCPATH",
    "LOCALE_ARCHIVE",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "NSS_WRAPPER_PASSWD",
    "NSS_WRAPPER_GROUP",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "TMPDIR",
];

/// An unprivileged user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    name: String,
    /// We are root, so children and new folders have to be given to this user.
    pub(super) dropped: bool,
}

impl User {
    /// Ourselves, unless we are root.
    pub(super) fn ourselves() -> Option<Self> {
        let uid = rustix::process::geteuid();
        let gid = rustix::process::getegid();
        (!uid.is_root()).then(|| Self {
            uid: uid.as_raw(),
            gid: gid.as_raw(),
            name: format!("uid {uid}"),
            dropped: false,
        })
    }

    /// As root: the owner of an existing cluster.
    pub(super) fn owner(uid: u32, gid: u32) -> Self {
        Self { uid, gid, name: format!("uid {uid}"), dropped: true }
    }

    /// As root, for a new cluster: `postgres`, or `nobody` where PostgreSQL's package made no user.
    pub(super) async fn unprivileged(deadline: Deadline) -> Result<Self, EmbeddedError> {
        for name in ["postgres", "nobody"] {
            let (uid, gid) = (id("-u", name, deadline).await?, id("-g", name, deadline).await?);
            if let (Some(uid @ 1..), Some(gid)) = (uid, gid) {
                return Ok(Self { uid, gid, name: name.to_owned(), dropped: true });
            }
        }
        Err(EmbeddedError::NoUser)
    }

    /// The name for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs as this user, in its own process group so that a Ctrl-C meant for us leaves it alone.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = clean_command(program);
        if self.dropped {
            // As root, setting the uid also clears the supplementary groups.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Whether this user can enter a directory. The kernel knows best: it is asked as that user.
    pub(super) async fn can_enter(&self, directory: &Path, deadline: Deadline) -> Result<bool, EmbeddedError> {
        let mut shell = self.command("/bin/sh");
        shell.args(["-c", "cd -- \"$1\"", "sh"]).arg(directory);
        Ok(run(shell, deadline).await?.status.success())
    }
}

/// Runs a command to its end, or kills it when the time is over.
pub(super) async fn run(mut command: Command, deadline: Deadline) -> Result<Output, EmbeddedError> {
    let program = Path::new(command.as_std().get_program()).to_path_buf();
    let what = || program.display().to_string();
    let output = deadline.limit(what, command.output()).await?;
    output.map_err(|source| EmbeddedError::Run { program, source })
}

/// Everything a program wrote, for an error message.
pub(super) fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&both).trim().to_owned();
    if text.is_empty() {
        output.status.to_string()
    } else {
        text
    }
}

fn clean_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    // Messages in English, and no multi-threaded locale code in the postmaster on macOS.
    command.env("LC_ALL", "C");
    command.current_dir("/").stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    command
}

/// What a program of the system prints, run as ourselves; nothing if it fails or does not exist.
pub(super) async fn program_output(
    program: &str,
    arguments: &[&str],
    deadline: Deadline,
) -> Result<Option<String>, EmbeddedError> {
    let mut command = clean_command(program);
    command.args(arguments);
    match run(command, deadline).await {
        Ok(output) => Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())),
        Err(EmbeddedError::Run { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Asks the system's user database, whatever is behind it, without a call into libc.
async fn id(flag: &str, name: &str, deadline: Deadline) -> Result<Option<u32>, EmbeddedError> {
    let number = program_output("id", &[flag, name], deadline).await?.and_then(|text| text.parse::<i64>().ok());
    // macOS prints the uid of `nobody` as -2.
    Ok(number.map(|number| number as u32))
}

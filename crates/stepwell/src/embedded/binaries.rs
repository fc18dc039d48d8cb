//! Finding PostgreSQL's programs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::deadline::Deadline;
use super::user::{self, User};
use super::EmbeddedError;

const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Folders named by version, as packages make them: parent, what precedes the version, what follows it.
const VERSIONED: [(&str, &str, &str); 9] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/lib", "postgresql", "bin"),
    ("/usr/lib64", "postgresql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// A folder with `initdb`, `pg_ctl` and `postgres` of one major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    directory: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// Finds binaries that `user` can run, of the `wanted` major version if a cluster asks for one.
pub(super) async fn find(
    user: &User,
    bin_dir: Option<&Path>,
    wanted: Option<(&Path, u32)>,
    deadline: Deadline,
) -> Result<Binaries, EmbeddedError> {
    let fits = |major: u32| wanted.is_none_or(|(_, version)| version == major);
    if let Some(directory) = bin_dir {
        if let Some(missing) = PROGRAMS.into_iter().find(|name| !is_executable(&directory.join(name))) {
            return Err(EmbeddedError::BinDir { directory: directory.to_path_buf(), missing });
        }
    }
    let (mut looked_in, mut found, mut unusable) = (Vec::new(), BTreeSet::new(), None);
    // In order of preference; a later source is asked only if no earlier one has what we need.
    for source in [Source::Path, Source::PgConfig, Source::UsualPlaces] {
        let candidates = match bin_dir {
            Some(directory) => vec![directory.to_path_buf()],
            None => source.folders(deadline).await?,
        };
        for directory in find_in(&candidates) {
            match major_version(&directory, user, deadline).await {
                Ok(major) if fits(major) => return Ok(Binaries { directory, major }),
                Ok(major) => drop(found.insert(major)),
                Err(error @ EmbeddedError::Timeout { .. }) => return Err(error),
                Err(error) => unusable = unusable.or(Some(error)),
            }
        }
        looked_in.extend(candidates);
        if bin_dir.is_some() {
            break;
        }
    }
    Err(match (wanted, unusable) {
        (Some((data, made_by)), _) if !found.is_empty() => {
            EmbeddedError::OtherVersion { data: data.to_path_buf(), made_by, found: found.into_iter().collect() }
        }
        (_, Some(error)) => error,
        _ => not_installed(looked_in),
    })
}

enum Source {
    Path,
    PgConfig,
    UsualPlaces,
}

impl Source {
    async fn folders(&self, deadline: Deadline) -> Result<Vec<PathBuf>, EmbeddedError> {
        Ok(match self {
            Self::Path => {
                std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
            }
            Self::PgConfig => user::program_output("pg_config", &["--bindir"], deadline)
                .await?
                .map(PathBuf::from)
                .into_iter()
                .collect(),
            Self::UsualPlaces => usual_places(),
        })
    }
}

/// The folders among `candidates`, in their order, that hold all three programs, behind any symlink: a lone `postgres` in
/// `/usr/local/bin` often points into the real folder.
pub(super) fn find_in(candidates: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for candidate in candidates {
        let real =
            fs::canonicalize(candidate.join("postgres")).ok().and_then(|path| path.parent().map(Path::to_path_buf));
        let folders = [real, fs::canonicalize(candidate).ok()];
        let complete =
            folders.into_iter().flatten().find(|folder| PROGRAMS.iter().all(|name| is_executable(&folder.join(name))));
        found.extend(complete.filter(|folder| !found.contains(folder)));
    }
    found
}

fn usual_places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    for (parent, prefix, suffix) in VERSIONED {
        let names = fs::read_dir(parent)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut versions: Vec<(u32, String)> =
            names.filter_map(|name| Some((leading_number(name.strip_prefix(prefix)?)?, name))).collect();
        versions.sort_unstable_by(|left, right| right.cmp(left));
        places.extend(versions.into_iter().map(|(_, name)| Path::new(parent).join(name).join(suffix)));
    }
    places.extend(["/opt/homebrew/opt/postgresql/bin", "/usr/local/pgsql/bin"].map(PathBuf::from));
    places
}

async fn major_version(directory: &Path, user: &User, deadline: Deadline) -> Result<u32, EmbeddedError> {
    let program = directory.join("postgres");
    let unusable = |reason| EmbeddedError::Unusable { program: program.clone(), user: user.name().to_owned(), reason };
    let mut command = user.command(&program);
    command.arg("--version");
    let output = match user::run(command, deadline).await {
        Err(EmbeddedError::Run { source, .. }) => return Err(unusable(source.to_string())),
        output => output?,
    };
    let text = user::text(&output);
    if !output.status.success() {
        return Err(unusable(text));
    }
    // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
    let version = text.split_once(") ").and_then(|(_, version)| leading_number(version));
    version.ok_or_else(|| unusable(text))
}

fn leading_number(text: &str) -> Option<u32> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().ok()
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn not_installed(looked_in: Vec<PathBuf>) -> EmbeddedError {
    let os_release = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| fs::read_to_string(path).ok());
    EmbeddedError::NotInstalled { advice: advice(&os_release.unwrap_or_default()), looked_in }
}

/// How to install PostgreSQL on the system that an `os-release` file describes.
fn advice(os_release: &str) -> &'static str {
    if cfg!(target_os = "macos") {
        return "brew install postgresql";
    }
    let value = |key| {
        os_release.lines().find_map(|line: &str| line.strip_prefix(key)).unwrap_or_default().trim_matches(['"', '\''])
    };
    for id in value("ID=").split_whitespace().chain(value("ID_LIKE=").split_whitespace()) {
        return match id {
            "debian" | "ubuntu" => "apt-get install postgresql",
            "fedora" | "rhel" | "centos" => "dnf install postgresql-server",
            "alpine" => "apk add postgresql",
            "arch" => "pacman -S postgresql",
            "suse" | "opensuse" | "sles" => "zypper install postgresql-server",
            _ => continue,
        };
    }
    "with your system's package manager; the package is called postgresql or postgresql-server"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        for name in PROGRAMS {
            fs::write(folder.join(name), "#!/bin/sh\n")?;
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    #[test]
    fn finds_complete_folders_behind_symlinks_once() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let root = root.path().canonicalize()?;
        let (real, linked, partial) = (root.join("real"), root.join("linked"), root.join("partial"));
        install(&real)?;
        install(&partial)?;
        fs::remove_file(partial.join("initdb"))?;
        fs::create_dir(&linked)?;
        std::os::unix::fs::symlink(real.join("postgres"), linked.join("postgres"))?;
        let candidates = [root.join("nowhere"), partial, linked, real.clone()];
        assert_eq!(find_in(&candidates), [real]);
        Ok(())
    }

    #[test]
    fn not_installed_says_what_to_do() {
        assert!(find_in(&[]).is_empty());
        let message = not_installed(vec![PathBuf::from("/usr/bin"), PathBuf::from("/opt/pg")]).to_string();
        for part in ["PostgreSQL is not installed", "STEPWELL__EMBEDDED__BIN_DIR", "DATABASE_URL", "/usr/bin, /opt/pg"]
        {
            assert!(message.contains(part), "{message}");
        }
    }

    #[cfg(not(target_os = "macos"))]
    #[test]
    fn the_advice_is_for_this_system() {
        for (os_release, expected) in [
            ("NAME=\"Debian\"\nID=debian\n", "apt-get install postgresql"),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "apt-get install postgresql"),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf install postgresql-server"),
            ("ID=alpine\n", "apk add postgresql"),
            ("ID=arch\n", "pacman -S postgresql"),
            ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", "zypper install postgresql-server"),
        ] {
            assert_eq!(advice(os_release), expected);
        }
        assert!(advice("").contains("package manager"));
    }

    #[test]
    fn versions_sort_as_numbers() {
        assert_eq!(leading_number("18beta1"), Some(18));
        assert_eq!(leading_number("9.6"), Some(9));
        assert_eq!(leading_number("x"), None);
    }
}

//! The embedded PostgreSQL, with real servers, real processes and real kills.
//!
//! A second process is this test binary itself, running `helper_process` alone. Servers end with the folder they live in.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{chown, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use rustix::process::{kill_process, test_kill_process, Pid, Signal};
use sqlx::{Connection, PgConnection};
use stepwell::embedded::{Cluster, EmbeddedError, Options, Stopped};

const HELPER: &str = "STEPWELL_TEST_EMBEDDED_HELPER";
const NOBODY: u32 = 65534;

#[tokio::test]
async fn a_cluster_serves_psql_and_sqlx_and_ends_with_its_last_user() -> Result<()> {
    let folder = Folder::new()?;
    let cluster = folder.start().await?;
    assert_eq!(cluster.data_directory(), folder.data());

    let psql = Command::new("psql")
        .args([cluster.url(), "-XAtc", "select current_database(), current_user, 1 + 1"])
        .env("PGPORT", "1")
        .env("PGHOST", "nowhere.invalid")
        .output()?;
    assert_eq!(String::from_utf8_lossy(&psql.stdout).trim(), "stepwell|stepwell|2", "{psql:?}");
    for (setting, expected) in [
        ("listen_addresses", ""),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("max_connections", "200"),
        ("jit", "off"),
        ("server_encoding", "UTF8"),
    ] {
        assert_eq!(text(&cluster, &format!("show {setting}")).await?, expected, "{setting}");
    }

    let (pid, sockets) = (server_pid(&folder.data())?, socket_folder(&cluster));
    assert_eq!(fs::metadata(&sockets)?.mode() & 0o777, 0o700);
    assert_eq!(cluster.stop().await?, Stopped::ServerStopped);
    eventually(|| !exists(pid))?; // its pid file goes a moment before it
    assert!(!sockets.exists() && !folder.data().join("postmaster.pid").exists());
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_server_inherits_neither_locks_nor_secrets_nor_groups() -> Result<()> {
    std::env::set_var("STEPWELL_TEST_SECRET", "hunter2");
    let folder = Folder::new()?;
    let cluster = folder.start().await?;
    let process = PathBuf::from(format!("/proc/{}", server_pid(&folder.data())?.as_raw_nonzero()));
    for descriptor in fs::read_dir(process.join("fd"))? {
        let target = fs::read_link(descriptor?.path()).unwrap_or_default();
        assert_ne!(target.extension().unwrap_or_default(), "lock", "{}", target.display());
    }
    assert!(!fs::read_to_string(process.join("environ"))?.contains("hunter2"));
    if is_root() {
        let status = fs::read_to_string(process.join("status"))?;
        let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).context("no groups")?;
        assert_eq!(groups.trim(), "");
        assert_ne!(fs::metadata(&process)?.uid(), 0);
    }
    cluster.stop().await?;
    Ok(())
}

#[tokio::test]
async fn two_users_share_one_server_and_the_last_one_stops_it() -> Result<()> {
    let folder = Folder::new()?;
    let first = folder.start().await?;
    let second = folder.start().await?;
    assert_eq!(first.url(), second.url());
    assert_eq!(first.stop().await?, Stopped::StillInUse);
    assert_eq!(text(&second, "select 'alive'").await?, "alive");
    assert_eq!(second.stop().await?, Stopped::ServerStopped);
    Ok(())
}

#[tokio::test]
async fn a_server_whose_user_was_killed_is_adopted() -> Result<()> {
    let folder = Folder::new()?;
    let mut helper = Helper::spawn(&folder.directory(), None)?;
    helper.ready()?;
    let pid = server_pid(&folder.data())?;
    helper.kill()?;

    let adopted = folder.start().await?;
    assert_eq!(server_pid(&folder.data())?, pid);
    drop(adopted);
    assert!(exists(pid), "dropping must not stop the server");
    assert_eq!(folder.start().await?.stop().await?, Stopped::ServerStopped);
    eventually(|| !exists(pid))?;
    Ok(())
}

#[tokio::test]
async fn the_server_stops_by_itself_when_its_last_user_was_killed() -> Result<()> {
    for uid in [None, is_root().then_some(NOBODY)] {
        let folder = Folder::new()?;
        chown(folder.path(), uid, uid)?;
        let mut first = Helper::spawn(&folder.directory(), uid)?;
        let url = first.ready()?;
        let mut second = Helper::spawn(&folder.directory(), uid)?;
        second.ready()?;
        let pid = server_pid(&folder.data())?;
        second.kill()?;
        first.kill()?;

        eventually(|| !exists(pid))?;
        eventually(|| watchers(&folder).is_empty())?;
        let sockets = url.split(['@', ':']).nth(2).unwrap_or_default().replace("%2F", "/");
        assert!(!Path::new(&sockets).exists(), "{sockets}");
        assert!(!folder.data().join("postmaster.pid").exists());
        // The last thing that the watcher becomes is the program that removes its pipe.
        eventually(|| fs::read_dir(folder.directory().join("watch")).is_ok_and(|mut left| left.next().is_none()))?;
        // The next one starts as ever.
        let mut third = Helper::spawn(&folder.directory(), uid)?;
        third.ready()?;
        assert_eq!(third.stop()?, "ServerStopped");
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_watcher_keeps_nothing_open_and_ends_with_the_server() -> Result<()> {
    let folder = Folder::new()?;
    let cluster = folder.start().await?;
    let [watcher] = watchers(&folder)[..] else { bail!("{:?}", watchers(&folder)) };
    let process = PathBuf::from(format!("/proc/{}", watcher.as_raw_nonzero()));
    let pipe = folder.directory().join("watch/users");
    for descriptor in fs::read_dir(process.join("fd"))? {
        let descriptor = descriptor?;
        let target = fs::read_link(descriptor.path()).unwrap_or_default();
        let usual = target == pipe || target == Path::new("/dev/null");
        assert!(usual || left_open_for_children(descriptor.file_name()), "{}", target.display());
    }
    // It is no child of ours, which somebody would have to wait for.
    let stat = fs::read_to_string(process.join("stat"))?;
    let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
    assert_ne!(parent.context("no parent")?, std::process::id().to_string());
    let status = fs::read_to_string(process.join("status"))?;
    assert_eq!(is_root(), !status.contains(&format!("\nUid:\t{}\t", rustix::process::getuid().as_raw())), "{status}");

    assert_eq!(cluster.stop().await?, Stopped::ServerStopped);
    eventually(|| !exists(watcher))?;
    assert!(!pipe.exists());
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_killed_watcher_is_replaced_by_the_next_user_and_knows_the_earlier_ones() -> Result<()> {
    let folder = Folder::new()?;
    let mut first = Helper::spawn(&folder.directory(), None)?;
    first.ready()?;
    let pid = server_pid(&folder.data())?;
    let [watcher] = watchers(&folder)[..] else { bail!("{:?}", watchers(&folder)) };
    kill_process(watcher, Signal::KILL)?;
    eventually(|| !exists(watcher))?;

    let mut second = Helper::spawn(&folder.directory(), None)?;
    second.ready()?;
    assert_eq!(watchers(&folder).len(), 1);
    second.kill()?;
    let mut third = Helper::spawn(&folder.directory(), None)?;
    third.ready()?;
    assert_eq!(third.stop()?, "StillInUse");
    assert!(exists(pid));
    first.kill()?;
    eventually(|| !exists(pid))?;
    Ok(())
}

#[tokio::test]
async fn a_killed_server_starts_again_with_its_data() -> Result<()> {
    let folder = Folder::new()?;
    let witness = folder.start().await?;
    execute(&witness, "create table kept as select 'here' as word").await?;
    let pid = server_pid(&folder.data())?;
    kill_process(pid, Signal::KILL)?;

    let cluster = folder.start().await?;
    assert_ne!(server_pid(&folder.data())?, pid);
    assert_eq!(text(&cluster, "select word from kept").await?, "here");
    assert_eq!(witness.url(), cluster.url());
    assert_eq!(cluster.stop().await?, Stopped::StillInUse);
    assert_eq!(witness.stop().await?, Stopped::ServerStopped);
    Ok(())
}

#[tokio::test]
async fn stopping_a_server_that_is_gone_is_no_error() -> Result<()> {
    let folder = Folder::new()?;
    let cluster = folder.start().await?;
    let pid = server_pid(&folder.data())?;
    kill_process(pid, Signal::KILL)?;
    eventually(|| !exists(pid))?;
    assert_eq!(cluster.stop().await?, Stopped::ServerStopped);
    Ok(())
}

#[tokio::test]
async fn an_interrupted_initdb_leaves_nothing_behind() -> Result<()> {
    let folder = Folder::new()?;
    let unfinished = || -> Vec<PathBuf> {
        let entries = fs::read_dir(folder.directory()).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("data.tmp-"))
            .map(|entry| entry.path())
            .collect()
    };
    let mut helper = Helper::spawn(&folder.directory(), None)?;
    eventually(|| unfinished().iter().any(|path| path.join("PG_VERSION").exists()))?;
    helper.kill()?;
    assert!(!folder.data().exists());

    let cluster = folder.start().await?;
    assert_eq!(text(&cluster, "select 'whole'").await?, "whole");
    cluster.stop().await?;
    // The orphaned initdb may have written on while its folder was removed; the next start sees the rest.
    folder.start().await?.stop().await?;
    assert_eq!(unfinished(), Vec::<PathBuf>::new());
    Ok(())
}

#[tokio::test]
async fn a_folder_without_binaries_is_named() -> Result<()> {
    let (folder, empty) = (Folder::new()?, tempfile::tempdir()?);
    let options = Options { bin_dir: Some(empty.path().to_path_buf()), ..folder.options() };
    let error = Cluster::start(&options).await.err().context("it started")?;
    assert!(matches!(error, EmbeddedError::BinDir { .. }), "{error:?}");
    for part in [&empty.path().display().to_string(), "initdb", "STEPWELL__EMBEDDED__BIN_DIR", "DATABASE_URL"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_of_another_major_version_is_named() -> Result<()> {
    let folder = Folder::new()?;
    folder.start().await?.stop().await?;
    fs::write(folder.data().join("PG_VERSION"), "99\n")?;
    let error = folder.start().await.err().context("it started")?;
    assert!(matches!(error, EmbeddedError::OtherVersion { made_by: 99, .. }), "{error:?}");
    assert!(error.to_string().contains("install PostgreSQL 99"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_failed_start_shows_the_end_of_the_log() -> Result<()> {
    let folder = Folder::new()?;
    folder.start().await?.stop().await?;
    let settings = folder.data().join("postgresql.conf");
    fs::write(&settings, fs::read_to_string(&settings)? + "\nno_such_setting = 1\n")?;
    let error = folder.start().await.err().context("it started")?;
    assert!(matches!(error, EmbeddedError::Start { .. }), "{error:?}");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
    Ok(())
}

#[tokio::test]
async fn as_root_an_unreachable_directory_moves_to_the_state_directory() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let hidden = tempfile::tempdir()?;
    fs::set_permissions(hidden.path(), Permissions::from_mode(0o700))?;
    let options = Options { directory: hidden.path().join("shop/.stepwell"), ..Options::default() };
    let cluster = Cluster::start(&options).await?;
    let _folder = Folder::at(cluster.data_directory().parent().context("no parent")?);
    assert!(cluster.data_directory().starts_with("/var/lib/stepwell/"), "{cluster:?}");
    assert!(!options.directory.exists());
    execute(&cluster, "create table kept as select 'here' as word").await?;
    cluster.stop().await?;

    let again = Cluster::start(&options).await?;
    assert_eq!(text(&again, "select word from kept").await?, "here");
    again.stop().await?;
    Ok(())
}

#[tokio::test]
async fn an_ordinary_user_needs_no_other() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let folder = Folder::new()?;
    chown(folder.path(), Some(NOBODY), Some(NOBODY))?;
    let mut helper = Helper::spawn(&folder.directory(), Some(NOBODY))?;
    helper.ready()?;
    assert_eq!(fs::metadata(folder.data())?.uid(), NOBODY);

    // Root joins, as the owner, what that user made.
    let root = folder.start().await?;
    assert_eq!(helper.stop()?, "StillInUse");
    assert_eq!(root.stop().await?, Stopped::ServerStopped);
    let mut helper = Helper::spawn(&folder.directory(), Some(NOBODY))?;
    helper.ready()?;
    assert_eq!(helper.stop()?, "ServerStopped");
    Ok(())
}

#[tokio::test]
async fn a_user_without_a_name_is_told_so() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let folder = Folder::new()?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777))?;
    let mut helper = Helper::spawn(&folder.directory(), Some(2_000_000_001))?;
    let error = helper.ready().err().context("it started")?;
    assert!(error.to_string().contains("uid 2000000001 has no name"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_cluster_of_another_user_is_refused() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let folder = Folder::new()?;
    folder.start().await?.stop().await?;
    let mut helper = Helper::spawn(&folder.directory(), Some(NOBODY))?;
    let error = helper.ready().err().context("it started")?;
    assert!(error.to_string().contains("belongs to another user"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_long_and_strange_path_works() -> Result<()> {
    let folder = Folder::new()?;
    let mut directory = folder.path().join(r#"it's "$(touch strange)" `touch strange`, é %2F"#);
    for _ in 0..6 {
        directory.push("d".repeat(100));
    }
    let options = Options { directory, ..Options::default() };
    let cluster = Cluster::start(&options).await?;
    let _folder = Folder::at(&options.directory);
    assert_eq!(text(&cluster, "select 'reached'").await?, "reached");
    assert_eq!(cluster.stop().await?, Stopped::ServerStopped);
    Ok(())
}

#[tokio::test]
async fn four_processes_start_one_server() -> Result<()> {
    let folder = Folder::new()?;
    let mut helpers = Vec::new();
    for _ in 0..4 {
        helpers.push(Helper::spawn(&folder.directory(), None)?);
    }
    let mut urls = helpers.iter_mut().map(Helper::ready).collect::<Result<Vec<_>>>()?;
    urls.dedup();
    assert_eq!(urls.len(), 1, "{urls:?}");
    helpers.iter_mut().try_for_each(Helper::ask_to_stop)?;
    let mut ends = helpers.iter_mut().map(Helper::stopped).collect::<Result<Vec<_>>>()?;
    ends.sort();
    assert_eq!(ends, ["ServerStopped", "StillInUse", "StillInUse", "StillInUse"]);
    Ok(())
}

#[tokio::test]
async fn a_copied_directory_gets_a_server_of_its_own() -> Result<()> {
    let (folder, other) = (Folder::new()?, Folder::new()?);
    let original = folder.start().await?;
    execute(&original, "checkpoint").await?;
    ensure!(Command::new("cp").arg("-a").arg(folder.directory()).arg(other.path()).status()?.success());

    let copy = other.start().await?;
    assert_ne!(original.url(), copy.url());
    assert_eq!(copy.stop().await?, Stopped::ServerStopped);
    assert_eq!(text(&original, "select 'alive'").await?, "alive");
    original.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_recycled_pid_is_not_taken_for_the_server() -> Result<()> {
    let folder = Folder::new()?;
    let cluster = folder.start().await?;
    let pid = server_pid(&folder.data())?;
    let files = [folder.data().join("postmaster.pid"), socket_folder(&cluster).join(".s.PGSQL.5432.lock")];
    kill_process(pid, Signal::KILL)?;
    eventually(|| !exists(pid))?;
    drop(cluster);
    let mut stranger = Command::new("sleep");
    stranger.arg("60");
    if is_root() {
        stranger.uid(fs::metadata(folder.data())?.uid());
    }
    let mut stranger = stranger.spawn()?;
    for file in files {
        let text = fs::read_to_string(&file)?;
        let (_, rest) = text.split_once('\n').context("no lines")?;
        fs::write(&file, format!("{}\n{rest}", stranger.id()))?;
    }

    let started = folder.start().await;
    stranger.kill()?;
    stranger.wait()?;
    assert_eq!(started?.stop().await?, Stopped::ServerStopped);
    Ok(())
}

#[tokio::test]
async fn a_lost_socket_is_an_error_while_others_use_the_server_and_a_restart_after() -> Result<()> {
    let folder = Folder::new()?;
    let other = folder.start().await?;
    let pid = server_pid(&folder.data())?;
    fs::remove_dir_all(socket_folder(&other))?;
    let error = folder.start().await.err().context("it started")?;
    assert!(matches!(error, EmbeddedError::SocketLost { .. }), "{error:?}");
    drop(other);

    let cluster = folder.start().await?;
    assert_ne!(server_pid(&folder.data())?, pid);
    assert_eq!(cluster.stop().await?, Stopped::ServerStopped);
    Ok(())
}

#[tokio::test]
async fn a_directory_in_use_by_another_container_is_refused() -> Result<()> {
    let folder = Folder::new()?;
    let other = folder.start().await?;
    // From here a server of another container is one without process or socket.
    kill_process(server_pid(&folder.data())?, Signal::KILL)?;
    fs::write(folder.directory().join("server.host"), "another container\n")?;
    let error = folder.start().await.err().context("it started")?;
    assert!(matches!(error, EmbeddedError::UsedElsewhere { .. }), "{error:?}");
    drop(other);
    assert_eq!(folder.start().await?.stop().await?, Stopped::ServerStopped);
    Ok(())
}

#[tokio::test]
async fn a_socket_folder_prepared_by_others_is_refused() -> Result<()> {
    let folder = Folder::new()?;
    let cluster = folder.start().await?;
    let sockets = socket_folder(&cluster);
    cluster.stop().await?;
    fs::create_dir(&sockets)?;
    chown(&sockets, Some(if is_root() { NOBODY } else { rustix::process::getuid().as_raw() }), None)?;
    fs::set_permissions(&sockets, Permissions::from_mode(0o777))?;
    let started = folder.start().await;
    fs::remove_dir(&sockets)?;
    let error = started.err().context("it started")?;
    assert!(matches!(error, EmbeddedError::Sockets { .. }), "{error:?}");
    Ok(())
}

/// The second process: starts the cluster, says so, and stops when told.
#[tokio::test]
async fn helper_process() -> Result<()> {
    let Some(directory) = std::env::var_os(HELPER) else {
        return Ok(());
    };
    let options = Options { directory: directory.into(), ..Options::default() };
    let cluster = match Cluster::start(&options).await {
        Ok(cluster) => cluster,
        Err(error) => return say(&format!("failed {error}")),
    };
    say(&format!("ready {}", cluster.url()))?;
    let mut word = String::new();
    std::io::stdin().read_line(&mut word)?;
    ensure!(word == "stop\n", "left alone");
    say(&format!("stopped {:?}", cluster.stop().await?))
}

fn say(what: &str) -> Result<()> {
    // On a line of its own, and past the test harness, which captures only `print!`.
    Ok(writeln!(std::io::stdout(), "\n@{what}")?)
}

struct Helper {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _binary: tempfile::TempDir,
}

impl Helper {
    fn spawn(directory: &Path, uid: Option<u32>) -> Result<Self> {
        // Another user may not be able to reach the build's folder.
        let binary = tempfile::tempdir()?;
        let executable = match uid {
            Some(_) => {
                fs::set_permissions(binary.path(), Permissions::from_mode(0o755))?;
                fs::copy(std::env::current_exe()?, binary.path().join("helper"))?;
                binary.path().join("helper")
            }
            None => std::env::current_exe()?,
        };
        let mut command = Command::new(executable);
        command.args(["helper_process", "--exact", "--nocapture"]).env(HELPER, directory).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(uid) = uid {
            command.uid(uid).gid(uid);
        }
        let mut child = command.spawn()?;
        let input = child.stdin.take().context("no stdin")?;
        let output = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, input, output, _binary: binary })
    }

    fn ready(&mut self) -> Result<String> {
        self.hear("ready")
    }

    fn stop(&mut self) -> Result<String> {
        self.ask_to_stop()?;
        self.stopped()
    }

    fn ask_to_stop(&mut self) -> Result<()> {
        Ok(self.input.write_all(b"stop\n")?)
    }

    fn stopped(&mut self) -> Result<String> {
        let end = self.hear("stopped")?;
        ensure!(self.child.wait()?.success());
        Ok(end)
    }

    fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn hear(&mut self, word: &str) -> Result<String> {
        for line in self.output.by_ref().lines() {
            let line = line?;
            match line.strip_prefix('@').and_then(|said| said.split_once(' ')) {
                Some((said, rest)) if said == word => return Ok(rest.to_owned()),
                Some((_, rest)) => bail!("{rest}"),
                None => {}
            }
        }
        bail!("the helper ended without a word")
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// A folder that every user can enter; the server that lives in it, if any, ends with it.
struct Folder {
    temporary: Option<tempfile::TempDir>,
    directory: PathBuf,
}

impl Folder {
    fn new() -> Result<Self> {
        let temporary = tempfile::tempdir_in("/tmp")?;
        fs::set_permissions(temporary.path(), Permissions::from_mode(0o755))?;
        let directory = temporary.path().canonicalize()?.join(".stepwell");
        Ok(Self { temporary: Some(temporary), directory })
    }

    fn at(directory: &Path) -> Self {
        Self { temporary: None, directory: directory.to_path_buf() }
    }

    fn path(&self) -> &Path {
        self.directory.parent().unwrap_or(&self.directory)
    }

    fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn options(&self) -> Options {
        Options { directory: self.directory(), ..Options::default() }
    }

    async fn start(&self) -> Result<Cluster, EmbeddedError> {
        Cluster::start(&self.options()).await
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let pid_file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        if let Ok(pid) = server_pid(&self.data()) {
            // Not the stranger of a test about recycled pids: a postmaster works in its data directory.
            let cwd = fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero()));
            if cwd.is_ok_and(|cwd| cwd == self.data()) {
                let _ = kill_process(pid, Signal::QUIT);
                let _ = eventually(|| !exists(pid));
            }
        }
        if let Some(sockets) = pid_file.lines().nth(4).filter(|line| !line.is_empty()) {
            let _ = fs::remove_dir_all(sockets);
        }
        if self.temporary.is_none() {
            let _ = fs::remove_dir_all(&self.directory);
            let _ = fs::remove_dir(self.path());
        }
    }
}

async fn text(cluster: &Cluster, sql: &str) -> Result<String> {
    let mut connection = PgConnection::connect(cluster.url()).await?;
    Ok(sqlx::query_scalar(sql).fetch_one(&mut connection).await?)
}

async fn execute(cluster: &Cluster, sql: &str) -> Result<()> {
    let mut connection = PgConnection::connect(cluster.url()).await?;
    sqlx::query(sql).execute(&mut connection).await?;
    Ok(())
}

fn socket_folder(cluster: &Cluster) -> PathBuf {
    let host = cluster.url().split(['@', ':']).nth(2).unwrap_or_default();
    PathBuf::from(host.replace("%2F", "/"))
}

fn server_pid(data: &Path) -> Result<Pid> {
    let text = fs::read_to_string(data.join("postmaster.pid"))?;
    let pid = text.lines().next().context("an empty pid file")?.parse()?;
    Pid::from_raw(pid).context("no pid")
}

/// Whether whoever started us left this descriptor open for every program that we start.
fn left_open_for_children(descriptor: impl AsRef<Path>) -> bool {
    let about = fs::read_to_string(Path::new("/proc/self/fdinfo").join(descriptor)).unwrap_or_default();
    let flags = about.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
    let flags = flags.and_then(|flags| u32::from_str_radix(flags, 8).ok());
    flags.is_some_and(|flags| flags & rustix::fs::OFlags::CLOEXEC.bits() == 0)
}

/// The shells that work in the folder of the pipe.
fn watchers(folder: &Folder) -> Vec<Pid> {
    let place = folder.directory().join("watch");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|process| {
        let pid: i32 = process.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(process.path().join("cmdline")).ok()?;
        let here = fs::read_link(process.path().join("cwd")).ok()? == place;
        (here && name.contains("stepwell-watcher")).then(|| Pid::from_raw(pid))?
    });
    pids.collect()
}

fn exists(pid: Pid) -> bool {
    // A zombie waits for the system's first process; it is dead all the same.
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    !stat.contains(") Z ") && test_kill_process(pid).is_ok()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn eventually(condition: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        ensure!(Instant::now() < deadline, "it did not happen in time");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

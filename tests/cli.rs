//! The program `stepwell` without Ruby: what differs from the gem's executable. All else is in `spec/cli`.

mod support;

use std::io::Read;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result};
use rustix::process::{kill_process, Pid, Signal};
use support::{chain, eventually, TestDatabase};

fn stepwell(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stepwell"));
    command.args(arguments).current_dir("/").env_remove("STEPWELL_ENV").env("DATABASE_URL", url);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(url: &str, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let Output { status, stdout, stderr } = stepwell(url, arguments).output()?;
    Ok((status.code(), String::from_utf8(stdout)?, String::from_utf8(stderr)?))
}

fn signal(child: &Child, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(child.id())?).context("a process")?;
    Ok(kill_process(pid, signal)?)
}

async fn ended(child: &mut Child) -> Result<Option<i32>> {
    Ok(eventually("the program ends", async || Ok(child.try_wait()?)).await?.code())
}

#[test]
fn has_work_in_its_help_and_says_who_can_do_it() -> Result<()> {
    let (code, help, _) = run("", &["--help"])?;
    assert_eq!(code, Some(0));
    assert!(help.contains("\n  work "), "{help}");
    let (code, out, errors) = run("", &["work", "-r", "./handlers", "--processes", "2", "--help"])?;
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(errors.contains("gem install stepwell"), "{errors}");
    Ok(())
}

#[tokio::test]
async fn serves_until_a_signal_drains_and_ends_with_0() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    // Whoever started us may ignore it.
    let ignored =
        std::fs::read_to_string("/proc/self/status").unwrap_or_default().contains("SigIgn:\t0000000000000001");
    for end in [Signal::TERM, Signal::INT, Signal::QUIT, if ignored { Signal::TERM } else { Signal::HUP }] {
        let mut serve = stepwell(&db.url(), &["serve"]).spawn()?;
        let (code, id, errors) = run(&db.url(), &["task", "submit", "test/chain"])?;
        assert_eq!(code, Some(0), "{errors}");
        let started = format!("select count(*) from stepwell.tasks where task_id = '{}'", id.trim());
        eventually("the task starts", async || Ok((session.value::<i64>(&started).await? == 1).then_some(()))).await?;
        // These mean nothing to it.
        for odd in [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::TSTP, Signal::TTIN, Signal::TTOU, Signal::PIPE] {
            signal(&serve, odd)?;
        }
        signal(&serve, end)?;
        assert_eq!(ended(&mut serve).await?, Some(0));
        let mut log = String::new();
        serve.stderr.take().context("its log")?.read_to_string(&mut log)?;
        assert!(log.contains("orchestrator stopped tasks_started=1"), "{log}");
    }
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn does_not_wait_for_a_drain_after_a_second_signal() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut holder, mut observer) = (db.session().await?, db.session().await?);
    holder.register(&chain(1)).await?;
    holder.run("begin; lock table stepwell.tasks in access exclusive mode").await?;
    let mut serve = stepwell(&db.url(), &["serve"]).spawn()?;
    observer.submit_one("test/chain", "{}").await?;
    let waiting = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
                    where not l.granted and d.datname = current_database()";
    eventually("it waits", async || Ok((observer.value::<i64>(waiting).await? > 0).then_some(()))).await?;
    signal(&serve, Signal::TERM)?;
    // Until it has heard the first, a second is the same to it: signals of a kind do not queue.
    let code = eventually("it ends", async || {
        let ended = serve.try_wait()?;
        if ended.is_none() {
            signal(&serve, Signal::INT)?;
        }
        Ok(ended)
    })
    .await?
    .code();
    assert_eq!(code, Some(130));
    holder.run("rollback").await?;
    drop((holder, observer));
    db.discard().await
}

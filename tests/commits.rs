//! Which commits wait for the disk: all that somebody relies on.

mod support;

use std::time::Duration;

use anyhow::Result;
use stepwell::store::{Appetite, ClaimedStep, Said, StepResults, Store};
use support::{chain, Session, TestDatabase};

const LEASE: Duration = Duration::from_secs(60);
const WORKER: &str = "worker";

/// Notes from here on with which setting each commit is made that writes a task, a claim or a step's result.
async fn watch(session: &mut Session) -> Result<()> {
    session
        .run(
            "set synchronous_commit = on; -- the server of the tests has it off
             create table public.commits (what text, waits text);
             create function public.note() returns trigger language plpgsql as
               'begin
                  insert into public.commits values (tg_argv[0], current_setting(''synchronous_commit''));
                  return null;
                end';
             create constraint trigger note after insert on pgmq.q_task_requests deferrable initially deferred
               for each row execute function public.note('request');
             create constraint trigger note after insert on stepwell.tasks deferrable initially deferred
               for each row execute function public.note('task');
             create constraint trigger note after insert on stepwell.claims deferrable initially deferred
               for each row execute function public.note('claim');
             create constraint trigger note after update on stepwell.steps deferrable initially deferred
               for each row when (new.state = 'complete') execute function public.note('result')",
        )
        .await?;
    Ok(())
}

/// A store whose commits wait for the disk, unless it says otherwise.
async fn store(db: &TestDatabase) -> Result<Store> {
    let url = format!("{}&options=-csynchronous_commit%3Don", db.url());
    Ok(Store::connect(&url, 1, Duration::from_secs(10)).await?)
}

/// What has been noted since the last time.
async fn noted(session: &mut Session) -> Result<Vec<String>> {
    let sql = "with gone as (delete from public.commits returning *)
               select distinct what || ' ' || waits from gone order by 1";
    Ok(session.column(sql).await?)
}

async fn settle(store: &Store, step: &ClaimedStep) -> Result<()> {
    let results = StepResults {
        claim_ids: vec![step.claim_id],
        task_ids: vec![step.task_id],
        positions: vec![step.position],
        attempts: vec![step.attempt],
        said: Said::Values { values: vec!["1"], durations: vec![1] },
    };
    store.settle_results(WORKER, &results, 10, false, None).await?;
    Ok(())
}

#[tokio::test]
async fn a_task_may_be_made_twice_but_what_is_submitted_claimed_or_reported_lasts() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let store = store(&db).await?;
    session.register(&chain(1)).await?;
    watch(&mut session).await?;
    session.submit_one("test/chain", "{}").await?;
    assert_eq!(noted(&mut session).await?, ["request on"]);
    assert_eq!(store.initialize_tasks(10, false, None).await?.initialized, 1);
    assert_eq!(noted(&mut session).await?, ["task off"]);
    let steps = store.claim_steps("test", 10, WORKER, LEASE).await?;
    assert_eq!(noted(&mut session).await?, ["claim on"], "on the same connection");
    settle(&store, &steps[0]).await?;
    assert_eq!(noted(&mut session).await?, ["result on"]);

    session.submit_one("test/chain", "{}").await?;
    noted(&mut session).await?;
    let appetite = Appetite { worker_id: WORKER, namespaces: &["test".to_owned()], steps: 5, lease: LEASE };
    assert_eq!(store.initialize_tasks(10, false, Some(appetite)).await?.claimed.len(), 1);
    assert_eq!(noted(&mut session).await?, ["claim on", "task on"], "it begins at once");
    let request = format!(r#"{{"workflow": "test/chain", "task_id": "{}"}}"#, uuid::Uuid::now_v7());
    assert_eq!(store.begin_task(&request, false, appetite).await?.initialized.claimed.len(), 1);
    assert_eq!(noted(&mut session).await?, ["claim on", "task on"], "without a request in the queue");
    store.close().await;
    drop(session);
    db.finish().await
}

//! Lists of tasks, and which migrations there are.

mod support;

use std::time::{Duration, SystemTime};

use anyhow::Result;
use stepwell::store::{MigrationState, Store, TaskFilter, TaskPage};
use support::{chain, TestDatabase};
use uuid::Uuid;

async fn store(db: &TestDatabase) -> Result<Store> {
    Ok(Store::connect(&db.url(), 2, Duration::from_secs(10)).await?)
}

fn ids(page: &TaskPage) -> Vec<Uuid> {
    page.tasks.iter().map(|task| task.task_id).collect()
}

/// Tasks of a chain of two steps, the newest first.
async fn tasks(db: &TestDatabase, count: usize) -> Result<Vec<Uuid>> {
    let mut session = db.session().await?;
    let mut tasks = Vec::new();
    for _ in 0..count {
        tasks.push(session.start(&chain(2)).await?);
    }
    tasks.sort();
    tasks.reverse();
    Ok(tasks)
}

#[tokio::test]
async fn a_list_stops_after_so_many_tasks_and_says_where() -> Result<()> {
    let db = TestDatabase::new().await?;
    let all = tasks(&db, 6).await?;
    let store = store(&db).await?;
    let filter = |states: &[&str], before, look_at| TaskFilter {
        states: states.iter().map(|state| (*state).to_owned()).collect(),
        before,
        look_at: Some(look_at),
        ..TaskFilter::default()
    };

    let page = store.list_tasks(&filter(&["error"], None, 4), 10).await?;
    assert_eq!((ids(&page), page.looked_back_to), (vec![], Some(all[3])));
    let rest = store.list_tasks(&filter(&["error"], page.looked_back_to, 4), 10).await?;
    assert_eq!((ids(&rest), rest.looked_back_to), (vec![], None));
    let enough = store.list_tasks(&filter(&["in_progress"], None, 4), 3).await?;
    assert_eq!((ids(&enough), enough.looked_back_to), (all[..3].to_vec(), None));
    let few = store.list_tasks(&filter(&[], Some(all[2]), 2), 3).await?;
    assert_eq!((ids(&few), few.looked_back_to), (all[3..5].to_vec(), Some(all[4])));

    store.close().await;
    db.finish().await
}

#[tokio::test]
async fn a_list_reads_a_page_by_the_primary_key_and_not_the_table() -> Result<()> {
    let db = TestDatabase::new().await?;
    tasks(&db, 1).await?;
    let mut session = db.session().await?;
    // Many older ones, finished and without steps, which no list of new ones may look at.
    session
        .run(
            "insert into stepwell.tasks (task_id, created_at, workflow_id, steps_remaining, state, error, finished_at, context)
             select stepwell.uuid_v7_floor(now() - n * interval '1 s'), now(), (select max(workflow_id) from stepwell.workflows),
                    2, 'error', 'old', now(), '{}' from generate_series(10, 20000) n",
        )
        .await?;
    session.run("analyze stepwell.tasks").await?;
    let store = store(&db).await?;
    let reads = "select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) from pg_stat_user_tables
                  where schemaname = 'stepwell' and relname = 'tasks'";
    let filter = TaskFilter { since: Some(SystemTime::now() - Duration::from_secs(5)), ..TaskFilter::default() };
    let page = store.list_tasks(&filter, 10).await?;
    store.close().await; // its statistics are there when its connections have ended
    assert_eq!(page.tasks.len(), 1);
    assert_eq!((page.tasks[0].steps, page.tasks[0].steps_done), (2, 0));

    let before: i64 = session.value(reads).await?;
    assert!(before < 1_000, "{before} rows were read");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_task_is_looked_up_by_its_id_wherever_it_is() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let requests: Vec<String> = vec![r#"{"workflow":"test/chain","context":{}}"#.to_owned(); 5_000];
    let queued = session.submit(&requests).await?[4_000].task_id;
    session
        .run(
            "insert into stepwell.dead_letters (queue, message, reason, buried_at)
             select 'task_requests', jsonb_build_object('task_id', stepwell.uuid_v7(), 'workflow', 'a/b'), 'old', now()
               from generate_series(1, 5000)",
        )
        .await?;
    let dead: Uuid =
        session.value("select task_id from stepwell.dead_letters order by dead_letter_id desc limit 1").await?;
    let nowhere = Uuid::now_v7();
    let store = store(&db).await?;
    assert_eq!(store.find_task(queued).await?.state, "pending");
    assert_eq!(store.find_task(dead).await?.error.as_deref(), Some("old"));
    assert!(store.find_task(nowhere).await.is_err());
    let all = [queued, dead, nowhere];
    assert_eq!(store.known_among(&all).await?, [(dead, true)]);
    assert_eq!(store.finished_among(&all).await?, [dead]);
    assert_eq!(store.unknown_among(&all).await?, [nowhere]);
    store.close().await;

    let reads = "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_user_tables
                  where relname in ('dead_letters', 'q_task_requests')";
    let read: i64 = session.value(reads).await?;
    assert!(read < 100, "{read} rows were read");
    drop(session);
    db.discard().await
}

/// Whoever writes to a queue or a table by hand disturbs nobody else who looks.
#[tokio::test]
async fn tags_that_are_none_are_left_out_wherever_they_come_from() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let (one, two, other) = (Uuid::now_v7(), Uuid::now_v7(), session.submit_one("test/chain", "{}").await?);
    let request = |id: Uuid| format!(r#"{{"workflow": "test/chain", "task_id": "{id}", "tags": ["a", null, "b"]}}"#);
    session.send("task_requests", &request(one)).await?;
    session.send("task_requests", &request(two)).await?;
    session.initialize(10).await?;
    session.run(&format!("update stepwell.tasks set tags = array['c', null] where task_id = '{two}'")).await?;
    let store = store(&db).await?;
    let page = store.list_tasks(&TaskFilter::default(), 10).await?;
    let tags = |id| page.tasks.iter().find(|task| task.task_id == id).and_then(|task| task.tags.clone());
    assert_eq!((page.tasks.len(), tags(other)), (3, None));
    assert_eq!(tags(one), Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(tags(two), Some(vec!["c".to_owned()]));
    assert_eq!(store.find_task(two).await?.tags, Some(vec!["c".to_owned()]));
    store.close().await;
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn migrations_are_pending_applied_different_or_unknown() -> Result<()> {
    let db = TestDatabase::empty().await?;
    let store = store(&db).await?;
    let states = async || -> Result<Vec<(i64, MigrationState)>> {
        Ok(store.migrations().await?.iter().map(|migration| (migration.version, migration.state)).collect())
    };
    let pending = states().await?;
    assert!(pending.iter().all(|(_, state)| *state == MigrationState::Pending), "{pending:?}");
    store.migrate().await?;
    let applied = states().await?;
    assert!(applied.iter().all(|(_, state)| *state == MigrationState::Applied), "{applied:?}");
    assert_eq!(applied.len(), pending.len());

    let mut session = db.session().await?;
    session.run("update stepwell._sqlx_migrations set checksum = 'other' where version = 2").await?;
    session.run("update stepwell._sqlx_migrations set version = 9999 where version = 3").await?;
    let changed = states().await?;
    assert_eq!(changed[1], (2, MigrationState::Differs));
    assert_eq!(changed[2], (3, MigrationState::Pending));
    assert_eq!(changed.last(), Some(&(9999, MigrationState::Unknown)));

    store.close().await;
    drop(session);
    db.discard().await
}

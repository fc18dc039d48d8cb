//! `report_results`, `release_steps`, `heartbeat` and `report_progress`: what a worker says of the steps it claimed.

mod support;

use anyhow::Result;
use serde_json::json;
use stepwell::store::ClaimedStep;
use support::session::{sqlstate, WORKER};
use support::{chain, complete, define, failed, Session, TestDatabase};

/// A task of `width` steps side by side, all of them claimed at once.
async fn claimed(db: &TestDatabase, width: usize) -> Result<(Session, Vec<ClaimedStep>)> {
    let mut session = db.session().await?;
    let steps: Vec<_> = (0..width).map(|index| json!({ "name": format!("s{index}") })).collect();
    session.start(&define("wide", steps.into())).await?;
    let steps = session.claim(1_000).await?;
    assert_eq!(steps.len(), width);
    Ok((session, steps))
}

async fn open_steps(session: &mut Session) -> Result<Vec<i16>> {
    Ok(session.column("select unnest(positions) from stepwell.claims order by 1").await?)
}

#[tokio::test]
async fn a_claim_shrinks_with_each_report_and_disappears_with_the_last() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, steps) = claimed(&db, 4).await?;
    assert_eq!(open_steps(&mut session).await?, [0, 1, 2, 3]);
    assert_eq!(session.report(&[complete(&steps[1], "1"), failed(&steps[3], "permanent", "")]).await?, [0; 0]);
    assert_eq!(open_steps(&mut session).await?, [0, 2]);
    session.report(&[complete(&steps[2], "1")]).await?;
    assert_eq!(open_steps(&mut session).await?, [0]);
    session.report(&[complete(&steps[0], "1")]).await?;
    assert_eq!(session.count("claims").await?, 0);
    let order: Vec<i32> = session
        .column("select (r ->> 'step')::int from pgmq.q_step_results, stepwell.results_of(message) r order by msg_id")
        .await?;
    assert_eq!(order, [1, 3, 2, 0]);
    let worker: String = session.value("select distinct message ->> 'worker' from pgmq.q_step_results").await?;
    assert_eq!((worker.as_str(), session.value::<i64>("select count(*) from pgmq.q_step_results").await?), (WORKER, 3));
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_step_that_is_reported_twice_at_once_does_not_stand_for_another() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, steps) = claimed(&db, 2).await?;
    let twice = complete(&steps[0], "1");
    assert_eq!(session.report(&[twice.as_str(), twice.as_str()]).await?, [0; 0]);
    assert_eq!(open_steps(&mut session).await?, [1], "the claim is not over");
    assert_eq!(session.report(&[complete(&steps[1], "1")]).await?, [0; 0]);
    assert_eq!(session.count("claims").await?, 0);
    let applied = session.apply(10).await?;
    assert_eq!((applied.completed, applied.stale), (2, 1));
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_report_of_several_claims_shrinks_each() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.start(&define("three", json!([{ "name": "a" }, { "name": "b" }, { "name": "c" }]))).await?;
    let (one, two) = (session.claim(2).await?, session.claim(2).await?);
    assert_eq!((one.len(), two.len()), (2, 1));
    session.report(&[complete(&one[0], "1"), complete(&two[0], "1")]).await?;
    assert_eq!(session.column::<i64>("select claim_id from stepwell.claims").await?, [one[1].claim_id]);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_repeated_report_is_refused_whole_and_changes_nothing() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, steps) = claimed(&db, 3).await?;
    let report = [complete(&steps[0], "1"), complete(&steps[1], "2")];
    assert_eq!(session.report(&report).await?, [0; 0]);
    assert_eq!(session.report(&report).await?, [1, 2]);
    assert_eq!(session.report(&[complete(&steps[2], "3"), report[0].clone()]).await?, [2], "only what is new counts");
    assert_eq!(session.report(&report).await?, [1, 2], "the claim is gone altogether");
    assert_eq!(session.queued("step_results").await?, 3);
    assert_eq!(session.apply(10).await?.completed, 3);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_result_counts_only_from_the_claim_and_worker_that_hold_the_attempt() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, steps) = claimed(&db, 2).await?;
    let step = &steps[0];
    assert_eq!(session.report_as("another", &[complete(step, "1")]).await?, [1]);
    let forged = [
        ClaimedStep { claim_id: step.claim_id + 1, ..step.clone() },
        ClaimedStep { attempt: 2, ..step.clone() },
        ClaimedStep { position: 7, ..step.clone() },
        ClaimedStep { task_id: uuid::Uuid::now_v7(), ..step.clone() },
    ];
    let reports: Vec<String> = forged.iter().map(|step| complete(step, "1")).collect();
    assert_eq!(session.report(&reports).await?, [1, 2, 3, 4]);
    assert_eq!(
        session.report(&["null", "[]", "{}", r#"{"claim": "x", "task_id": 1, "step": {}}"#]).await?,
        [1, 2, 3, 4]
    );
    assert_eq!(session.queued("step_results").await?, 0);
    assert_eq!(open_steps(&mut session).await?, [0, 1]);

    let mixed = [reports[0].clone(), complete(step, "1"), reports[1].clone()];
    assert_eq!(session.report(&mixed).await?, [1, 3], "the good one among them is accepted");
    assert_eq!(open_steps(&mut session).await?, [1]);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn nothing_to_report_is_no_error() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    assert_eq!(session.report(&[] as &[&str]).await?, [0; 0]);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_worker_that_reports_the_same_step_twice_at_once_finishes_it_once() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, steps) = claimed(&db, 1).await?;
    assert_eq!(session.report(&[complete(&steps[0], "1"), complete(&steps[0], "2")]).await?, [0; 0]);
    let applied = session.apply(10).await?;
    assert_eq!((applied.completed, applied.stale), (1, 1));
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_result_is_passed_on_exactly() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, steps) = claimed(&db, 1).await?;
    let exact = r#"[18446744073709551616, 1.10, 0.1000000000000000000000000000001, 1e2, "\\u0000 ü 🦀", null]"#;
    session.report(&[complete(&steps[0], exact)]).await?;
    session.apply(1).await?;
    let kept: String = session.value("select result::text from stepwell.steps").await?;
    assert_eq!(kept, r#"[18446744073709551616, 1.10, 0.1000000000000000000000000000001, 100, "\\u0000 ü 🦀", null]"#);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_released_step_goes_back_with_its_attempt_uncounted() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, steps) = claimed(&db, 3).await?;
    assert_eq!(session.release_as(WORKER, &steps[1..]).await?, 2);
    assert_eq!(open_steps(&mut session).await?, [0]);
    assert_eq!(session.report(&[complete(&steps[1], "1")]).await?, [1], "what was given back is not the worker's");

    let again = session.claim_as("another", 10, "60 s").await?;
    assert_eq!(again.iter().map(|step| (step.position, step.attempt)).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    assert_eq!(session.count("step_attempts").await?, 0);
    assert_eq!(session.release_as(WORKER, &steps[1..]).await?, 0, "a release that is repeated changes nothing");
    assert_eq!(session.release_as(WORKER, &again).await?, 0, "nor does one of another worker's steps");
    assert_eq!(session.release_as(WORKER, &[]).await?, 0);
    assert_eq!(session.queued("test_queue").await?, 0);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_release_with_a_delay_hides_the_step_for_that_long() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, steps) = claimed(&db, 1).await?;
    let released: i32 = session
        .value(&format!(
            "select stepwell.release_steps('{WORKER}', array[{}]::bigint[], array['{}']::uuid[], array[0]::smallint[], 3600)",
            steps[0].claim_id, steps[0].task_id
        ))
        .await?;
    assert_eq!((released, session.queued("test_queue").await?), (1, 1));
    assert!(session.claim(10).await?.is_empty());
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_heartbeat_extends_the_claims_it_names() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.set_clock("2030-01-01 00:00:00+00").await?;
    session.start(&define("three", json!([{ "name": "a" }, { "name": "b" }, { "name": "c" }]))).await?;
    let mut claims = Vec::new();
    for worker in [WORKER, WORKER, "another"] {
        claims.push(session.claim_as(worker, 1, "60 s").await?[0].claim_id);
    }
    session.advance_clock("30 s").await?;
    let unknown = claims[2] + 1;
    assert_eq!(session.heartbeat(WORKER, &[claims[0], claims[2], unknown], "90 s").await?, [claims[0]]);
    let left = "select extract(epoch from expires_at - stepwell.now())::int from stepwell.claims order by claim_id";
    assert_eq!(session.column::<i32>(left).await?, [90, 30, 30]);
    session.advance_clock("31 s").await?;
    assert_eq!(session.recover(10).await?.popped, 2);
    assert_eq!(session.heartbeat(WORKER, &claims, "90 s").await?, [claims[0]], "a recovered claim does not come back");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn progress_is_kept_and_tells_whether_the_attempt_is_still_ours() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.set_clock("2030-01-01 00:00:00+00").await?;
    let task = session.start(&chain(1)).await?;
    let step = session.claim_one().await?;
    let ours = None;
    assert_eq!(session.report_progress(WORKER, &step, r#"{"done": 1.10}"#).await?, ours);
    assert_eq!(session.report_progress(WORKER, &step, "null").await?, ours, "null asks without telling");
    let progress: String =
        session.of_task("select progress::text from stepwell.steps where task_id = $1", task).await?;
    assert_eq!(progress, r#"{"done": 1.10}"#);
    let end = |why: &str| Some(why.to_owned());
    assert_eq!(session.report_progress("another", &step, "1").await?, end("lost"));
    session.advance_clock("61 s").await?;
    session.recover(10).await?;
    assert_eq!(session.report_progress(WORKER, &step, "2").await?, end("lost"));

    let step = session.claim_one().await?;
    session.resolve(task, "a", "1").await?;
    assert_eq!(session.report_progress(WORKER, &step, "3").await?, end("ended"), "it was resolved by hand");
    let other = session.start(&define("other", json!([{ "name": "a" }]))).await?;
    let step = session.claim_one().await?;
    session.cancel(other).await?;
    assert_eq!(session.report_progress(WORKER, &step, "4").await?, end("cancelled"));
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn results_share_messages_that_fit_a_page_and_a_large_one_is_no_trouble() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.widen_queues().await?;
    let steps: Vec<_> = (0..300).map(|index| json!({ "name": format!("s{index}") })).collect();
    session.start(&define("wide", steps.into())).await?;
    let steps = session.claim(1_000).await?;
    let result = |index: usize| match index {
        150 => format!("\"{}\"", "0123456789abcdef".repeat(2_000)),
        index => index.to_string(),
    };
    let results: Vec<String> = steps.iter().enumerate().map(|(index, step)| complete(step, &result(index))).collect();
    assert_eq!(session.report(&results).await?, [0; 0]);
    assert_eq!(session.queued("step_results").await?, 300);
    let messages: i64 = session.value("select count(*) from pgmq.q_step_results").await?;
    let sizes = "select pg_column_size(message) from pgmq.q_step_results where length(message::text) < 30000";
    let sizes: Vec<i32> = session.column(sizes).await?;
    assert!(messages < 15 && sizes.iter().all(|size| *size < 8_000), "{messages} messages, of {sizes:?} bytes");
    let first: i32 =
        session.value("select jsonb_array_length(message -> 'results') from pgmq.q_step_results limit 1").await?;
    assert!(first > 20, "{first}");

    let mut applied = 0;
    while session.queued("step_results").await? > 0 {
        let batch = session.apply(100).await?;
        assert!((50..200).contains(&batch.popped) || session.queued("step_results").await? == 0, "{batch:?}");
        applied += batch.completed;
    }
    assert_eq!(applied, 300);
    let seen: Vec<String> = session.column("select result::text from stepwell.steps order by position").await?;
    assert_eq!(seen, (0..300).map(result).collect::<Vec<_>>());
    let workers: Vec<String> = session.column("select distinct worker_id from stepwell.steps").await?;
    assert_eq!(workers, [WORKER]);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn results_that_are_settled_at_once_pass_no_queue() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&chain(3)).await?;
    let a = session.claim_one().await?;
    let settled = session.settle_at_once(&[complete(&a, "1")], 0).await?;
    assert_eq!((settled.refused.len(), settled.applied.completed, settled.applied.popped), (0, 1, 1));
    assert_eq!(settled.applied.namespaces, ["test"]);
    assert_eq!((session.count("claims").await?, session.queued("test_queue").await?), (0, 1));
    let again = session.settle_at_once(&[complete(&a, "1")], 0).await?;
    assert_eq!((again.refused, again.applied.popped, again.applied.stale), (vec![1], 0, 0));

    let b = session.claim_one().await?;
    let settled =
        session.settle_at_once(&[complete(&a, "2"), failed(&b, "retryable", r#""retry_after": 0"#)], 0).await?;
    assert_eq!((settled.refused, settled.applied.popped, settled.applied.retried), (vec![1], 1, 1));
    session.wake_due(10).await?;
    let b = session.claim_one().await?;
    session.settle_at_once(&[complete(&b, "2")], 0).await?;
    let c = session.claim_one().await?;
    assert_eq!(session.settle_at_once(&[complete(&c, "3")], 0).await?.applied.finished, [task]);
    assert_eq!(session.steps(task).await?, "a complete, b complete 2, c complete");
    let workers: Vec<String> = session.column("select distinct worker_id from stepwell.steps").await?;
    assert_eq!(workers, [WORKER]);
    let ever: bool = session.value("select is_called from pgmq.q_step_results_msg_id_seq").await?;
    assert!(!ever, "a result was in the queue");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn what_is_settled_at_once_waits_for_nobody_for_long() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, mut other) = (db.session().await?, db.session().await?);
    let task = session.start(&chain(1)).await?;
    let a = session.claim_one().await?;
    other.run(&format!("begin; select from stepwell.tasks where task_id = '{task}' for update")).await?;
    assert_eq!(sqlstate(session.settle_at_once(&[complete(&a, "1")], 0).await).as_deref(), Some("55P03"));
    assert_eq!(session.report(&[complete(&a, "1")]).await?, [0; 0], "it can still be reported");
    other.run("rollback").await?;
    assert_eq!(session.apply(1).await?.finished, [task]);
    drop((session, other));
    db.finish().await
}

#[tokio::test]
async fn a_step_that_is_cancelled_while_its_result_waits_for_the_task_takes_none() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, mut other, mut watcher) = (db.session().await?, db.session().await?, db.session().await?);
    let task = session.start(&chain(1)).await?;
    let step = session.claim_one().await?;
    let result = [complete(&step, "1")];
    other.run("begin").await?;
    assert_eq!(other.cancel(task).await?, "cancelled");
    let (waiting, holder) = (session.pid(), other.pid());
    let (settled, committed) = tokio::join!(session.settle_at_once(&result, 0), async {
        watcher.until_blocked(waiting, holder).await?;
        anyhow::Ok(other.run("commit").await?)
    });
    committed?;
    assert_eq!(sqlstate(settled).as_deref(), Some("SW008"));
    assert_eq!(session.report(&result).await?, [1; 0], "nothing was done: the claim is there");
    assert_eq!(session.apply(10).await?.stale, 1);
    assert_eq!(
        (session.task_state(task).await?, session.steps(task).await?),
        ("cancelled".into(), "a cancelled".into())
    );
    drop((session, other, watcher));
    db.finish().await
}

#[tokio::test]
async fn a_success_that_is_not_of_the_attempt_undoes_what_is_settled_with_it() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(2)).await?;
    let tasks = [session.submit_one("test/chain", "{}").await?, session.submit_one("test/chain", "{}").await?];
    session.initialize(10).await?;
    let results: Vec<String> = session.claim(10).await?.iter().map(|step| complete(step, "1")).collect();
    session.cancel(tasks[1]).await?;
    assert_eq!(sqlstate(session.settle_at_once(&results, 0).await).as_deref(), Some("SW008"));
    assert_eq!(session.steps(tasks[0]).await?, "a enqueued, b pending");
    assert_eq!(session.report(&results).await?, [0; 0], "the claims hold them still");
    let applied = session.apply(10).await?;
    assert_eq!((applied.completed, applied.stale), (1, 1));
    assert_eq!(session.steps(tasks[1]).await?, "a cancelled, b cancelled");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_row_that_is_finished_stays_in_its_page() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let request = r#"{"workflow": "test/chain", "context": {"order": 4711}}"#;
    session.submit(&vec![request; 400]).await?;
    session.initialize(400).await?;
    session.run("create table public.pages as select 's' as of, task_id, (ctid::text::point)[0] as page from stepwell.steps union all select 't', task_id, (ctid::text::point)[0] from stepwell.tasks").await?;
    loop {
        let steps = session.claim(250).await?;
        if steps.is_empty() {
            break;
        }
        let results: Vec<String> = steps.iter().map(|step| complete(step, r#"{"paid": true}"#)).collect();
        session.settle_at_once(&results, 0).await?;
    }
    let moved: i64 = session
        .value(
            "select count(*) filter (where state = 'complete') - 400 + count(*) filter (where p.page <> (s.ctid::text::point)[0])
                    + (select count(*) from stepwell.tasks t join public.pages p using (task_id)
                        where p.of = 't' and p.page <> (t.ctid::text::point)[0])
               from stepwell.steps s join public.pages p using (task_id) where p.of = 's'",
        )
        .await?;
    assert_eq!(moved, 0, "a row that leaves its page is written into every index again");
    drop(session);
    db.finish().await
}

/// Settles a step of a chain and asks for the next. Returns what is handed over, and how many steps are in the queue.
async fn hand_over(session: &mut Session, step: &ClaimedStep) -> Result<(Vec<ClaimedStep>, i64)> {
    let settled = session.settle_at_once(&[complete(step, "1")], 1).await?;
    assert_eq!((settled.applied.completed, settled.refused.len()), (1, 0));
    Ok((settled.claimed, session.queued("test_queue").await?))
}

#[tokio::test]
async fn what_a_result_makes_ready_comes_back_claimed() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&chain(3)).await?;
    let a = session.claim_one().await?;
    let (b, queued) = hand_over(&mut session, &a).await?;
    assert_eq!((b.len(), queued, b[0].name.as_str(), b[0].attempt), (1, 0, "b", 1));
    assert_eq!(b[0].results.as_deref(), Some(r#"{"a": 1}"#));
    let held =
        "select claim_id from stepwell.claims where worker_id = 'worker' and expires_at > now() + interval '59 s'";
    assert_eq!(session.column::<i64>(held).await?, [b[0].claim_id]);
    assert_eq!(session.settle_at_once(&[failed(&b[0], "retryable", r#""retry_after": 0"#)], 1).await?.claimed.len(), 0);
    session.wake_due(10).await?;
    let b = session.claim_one().await?;
    let (c, _) = hand_over(&mut session, &b).await?;
    let (none, _) = hand_over(&mut session, &c[0]).await?;
    let counted = "select sent from stepwell.queue_metrics(10) where queue = 'test_queue'";
    assert_eq!(session.value::<i64>(counted).await?, 4, "a, b twice and c: those that passed the queue by, too");
    assert_eq!((none.len(), session.task_state(task).await?), (0, "complete".into()));
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn what_is_not_wanted_or_not_first_goes_into_the_queue() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let steps = json!([{ "name": "a" }, { "name": "b", "depends_on": "a" }, { "name": "c", "depends_on": "a" }]);
    let fork = define("fork", steps);
    session.start(&fork).await?;
    let a = session.claim_one().await?;
    let (b, queued) = hand_over(&mut session, &a).await?;
    assert_eq!((b.len(), b[0].name.as_str(), queued), (1, "b", 1), "one was asked for");
    session.claim_one().await?;

    for (obstacle, removed) in [
        ("select stepwell.pause_namespace('test')", "select stepwell.resume_namespace('test')"),
        (
            "select stepwell.limit_namespace('test', 100, null, null)",
            "select stepwell.limit_namespace('test', null, null, null)",
        ),
        (
            "insert into stepwell.ready_steps values (now(), gen_random_uuid(), 0, 1, 'test')",
            "delete from stepwell.ready_steps where task_id not in (select task_id from stepwell.tasks)",
        ),
    ] {
        session.start(&chain(2)).await?;
        let a = session.claim_one().await?;
        session.run(obstacle).await?;
        assert_eq!(session.settle_at_once(&[complete(&a, "1")], 1).await?.claimed.len(), 0, "{obstacle}");
        session.run(removed).await?;
        session.dispatch(10).await?;
        assert_eq!(session.claim_one().await?.name, "b", "{obstacle}");
    }
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn progress_counts_only_of_a_step_that_the_claim_still_holds() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    for _ in 0..2 {
        session.submit_one("test/chain", "{}").await?;
    }
    session.initialize(2).await?;
    let steps = session.claim(2).await?;
    assert_eq!(steps[0].claim_id, steps[1].claim_id);
    session.release_as(WORKER, &steps[..1]).await?;
    let again = session.claim_as("another", 1, "60 s").await?;
    assert_eq!((again[0].task_id, again[0].attempt), (steps[0].task_id, steps[0].attempt));
    assert_eq!(session.report_progress("another", &again[0], "1").await?, None);
    assert_eq!(session.report_progress(WORKER, &steps[0], "2").await?.as_deref(), Some("lost"));
    assert_eq!(session.report_progress(WORKER, &steps[1], "3").await?, None);
    let progress = "select progress::text from stepwell.steps where task_id = $1";
    assert_eq!(session.of_task::<String>(progress, steps[0].task_id).await?, "1", "the other's");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn claims_that_their_worker_does_not_know_are_given_back_uncounted() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    for _ in 0..4 {
        session.submit_one("test/chain", "{}").await?;
    }
    session.initialize(4).await?;
    session.set_clock("2030-01-01 12:00:00+00").await?;
    let known = session.claim_as(WORKER, 1, "60 s").await?.remove(0);
    let lost = session.claim_as(WORKER, 1, "60 s").await?.remove(0);
    let of_another = session.claim_as("another", 1, "60 s").await?;
    session.set_clock("2030-01-01 12:00:01+00").await?;
    let later = session.claim_as(WORKER, 1, "60 s").await?.remove(0);
    let release = format!(
        "select stepwell.release_unknown_claims('{WORKER}', '{{{}}}', '2030-01-01 12:00:01+00')",
        known.claim_id
    );
    assert_eq!(session.value::<Vec<String>>(&release).await?, ["test"]);
    assert_eq!(session.value::<Vec<String>>(&release).await?, [""; 0]);
    let held = session.column::<i64>("select claim_id from stepwell.claims order by claim_id").await?;
    assert_eq!(held, [known.claim_id, of_another[0].claim_id, later.claim_id]);
    let again = session.claim_as(WORKER, 1, "60 s").await?.remove(0);
    assert_eq!((again.task_id, again.attempt), (lost.task_id, 1));
    drop(session);
    db.finish().await
}

//! `apply_results`: finishing, retrying and failing steps, counting down dependents, finishing tasks.

mod support;

use anyhow::{anyhow, Result};
use serde_json::json;
use stepwell::store::ClaimedStep;
use support::session::NO_TASKS;
use support::{chain, complete, define, diamond, drain, eventually, failed, fan_in, Session, TestDatabase};
use uuid::Uuid;

const START: &str = "2030-01-01 00:00:00+00";

#[tokio::test]
async fn a_completed_step_starts_its_dependents_and_the_last_one_finishes_the_task() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&diamond()).await?;
    assert_eq!(session.steps(task).await?, "start enqueued, left pending, right pending, end pending");

    let start = session.claim_one().await?;
    let applied = session.settle(complete(&start, "1")).await?;
    assert_eq!((applied.completed, applied.namespaces.as_slice()), (1, ["test".to_owned()].as_slice()));
    assert_eq!(session.steps(task).await?, "start complete, left enqueued, right enqueued, end pending");

    let (left, right) = pair(session.claim(10).await?)?;
    assert_eq!(session.settle(complete(&right, "3")).await?.namespaces, [""; 0]);
    assert_eq!(session.steps(task).await?, "start complete, left enqueued, right complete, end pending");
    session.settle(complete(&left, "2")).await?;

    let end = session.claim_one().await?;
    assert_eq!(end.results.as_deref(), Some(r#"{"left": 2, "right": 3}"#));
    assert_eq!(session.settle(complete(&end, "4")).await?.finished, [task]);
    assert_eq!(session.task_state(task).await?, "complete");
    assert_eq!(session.queued("test_queue").await? + session.queued("step_results").await?, 0);
    assert_eq!(session.count("claims").await?, 0);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn an_empty_queue_is_no_work() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let applied = session.apply(10).await?;
    assert_eq!((applied.popped, applied.namespaces.len(), applied.finished.len()), (0, 0, 0));
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_result_of_null_satisfies_like_any_other() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.start(&chain(2)).await?;
    let a = session.claim_one().await?;
    session.settle(complete(&a, "null")).await?;
    assert_eq!(session.claim_one().await?.results.as_deref(), Some(r#"{"a": null}"#));
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_join_of_a_thousand_runs_once_however_many_apply_its_results() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.widen_queues().await?;
    let task = session.start(&fan_in(1_000)).await?;
    let steps = session.claim(1_000).await?;
    assert_eq!(steps.len(), 1_000);
    for batch in steps.chunks(37) {
        let results: Vec<String> = batch.iter().map(|step| complete(step, &step.position.to_string())).collect();
        assert_eq!(session.report(&results).await?, [0; 0]);
    }

    let mut appliers = tokio::task::JoinSet::new();
    for (index, mut applier) in db.sessions(4).await?.into_iter().enumerate() {
        appliers.spawn(async move {
            let mut completed = 0;
            loop {
                let applied = applier.apply(7 + 4 * index as i32).await?;
                completed += applied.completed;
                if applied.popped == 0 && applier.queued("step_results").await? == 0 {
                    return Ok::<_, sqlx::Error>(completed);
                }
            }
        });
    }
    let completed = appliers.join_all().await.into_iter().sum::<Result<i32, _>>()?;
    assert_eq!(completed, 1_000);

    let join = session.claim_one().await?;
    let results: serde_json::Map<String, serde_json::Value> = serde_json::from_str(join.results.as_deref().unwrap())?;
    assert_eq!(results.values().filter_map(serde_json::Value::as_i64).sum::<i64>(), 499_500);
    assert_eq!(session.settle(complete(&join, "1")).await?.finished, [task]);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn results_that_come_twice_late_or_for_another_attempt_change_nothing() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&chain(2)).await?;
    let a = session.claim_one().await?;
    let (first, second) = (complete(&a, "1"), complete(&a, "2"));
    let of_attempt = |attempt: i16| ClaimedStep { attempt, ..a.clone() };
    for early in [complete(&of_attempt(0), "0"), failed(&of_attempt(2), "permanent", "")] {
        session.send("step_results", &early).await?;
    }
    let applied = session.apply(10).await?;
    assert_eq!((applied.popped, applied.stale), (2, 2));

    session.report(&[first]).await?;
    session.send("step_results", &second).await?; // twice in one batch: one counts
    session.send("step_results", &failed(&a, "permanent", "")).await?;
    let applied = session.apply(10).await?;
    assert_eq!((applied.completed, applied.failed, applied.stale, applied.dead), (1, 0, 2, 0));
    let result: String =
        session.of_task("select result::text from stepwell.steps where task_id = $1 and name = 'a'", task).await?;
    assert!(result == "1" || result == "2", "{result}");

    session.send("step_results", &complete(&a, "3")).await?; // and once more, later
    session.send("step_results", &failed(&a, "retryable", "")).await?;
    let applied = session.apply(10).await?;
    assert_eq!((applied.popped, applied.stale), (2, 2));
    let later: String =
        session.of_task("select result::text from stepwell.steps where task_id = $1 and name = 'a'", task).await?;
    assert_eq!(later, result);
    assert_eq!(session.steps(task).await?, "a complete, b enqueued");
    assert_eq!((session.count("step_attempts").await?, session.queued("test_queue").await?), (0, 1));
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn an_oddly_written_result_counts_alike_alone_and_beside_garbage() -> Result<()> {
    for garbage in [None, Some(r#"{"task_id": "none", "step": "x", "attempt": "1.5", "outcome": "complete"}"#)] {
        let db = TestDatabase::new().await?;
        let mut session = db.session().await?;
        session.start(&chain(1)).await?;
        let step = session.claim_one().await?;
        let odd = complete(&step, "1").replace(r#""step": 0"#, r#""step": " 0""#);
        assert_ne!(odd, complete(&step, "1"));
        assert_eq!(session.report(&[odd]).await?, [0; 0]);
        if let Some(garbage) = garbage {
            session.send("step_results", garbage).await?;
        }
        let applied = session.apply(10).await?;
        assert_eq!((applied.completed, applied.stale), (1, 0), "beside {garbage:?}");
        assert_eq!(applied.dead, i32::from(garbage.is_some()));
        drop(session);
        db.finish().await?;
    }
    Ok(())
}

/// What the first reports bring says little of the next: a batch stays what it was meant to be.
#[tokio::test]
async fn a_batch_ends_with_the_report_that_fills_it() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.widen_queues().await?;
    session.start(&fan_in(61)).await?;
    let steps = session.claim(61).await?;
    session.report(&[complete(&steps[0], "0")]).await?;
    for twenty in steps[1..].chunks(20) {
        let results: Vec<String> = twenty.iter().map(|step| complete(step, "0")).collect();
        session.report(&results).await?;
    }
    let popped = [session.apply(5).await?.popped, session.apply(25).await?.popped, session.apply(25).await?.popped];
    assert_eq!(popped, [21, 20, 20]);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn garbage_goes_to_the_dead_letters_and_the_rest_of_the_batch_counts() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&diamond()).await?;
    let start = session.claim_one().await?;
    let id = Uuid::now_v7();
    let no_results = [
        "null".to_owned(),
        "7".to_owned(),
        r#""complete""#.to_owned(),
        "[]".to_owned(),
        "[[1], {\"task_id\": {}}]".to_owned(),
        "{}".to_owned(),
        r#"{"task_id": null, "step": null, "attempt": null, "outcome": null}"#.to_owned(),
        r#"{"task_id": {"a": [1]}, "step": [0], "attempt": {}, "outcome": "complete"}"#.to_owned(),
        format!(r#"{{"task_id": "{task}", "attempt": 1, "outcome": "complete"}}"#),
        format!(r#"{{"task_id": "{task}", "step": -1, "attempt": 1, "outcome": "complete"}}"#),
        format!(r#"{{"task_id": "{task}", "step": 0.5, "attempt": 1, "outcome": "complete"}}"#),
        format!(r#"{{"task_id": "{task}", "step": 1e300, "attempt": 1, "outcome": "complete"}}"#),
        format!(r#"{{"task_id": "{task}", "step": 0, "attempt": 99999, "outcome": "complete"}}"#),
        format!(r#"{{"task_id": "{task}", "step": 0, "attempt": 1, "outcome": "finished"}}"#),
        format!(r#"{{"task_id": "{task}", "step": 0, "attempt": 1}}"#),
        r#"{"task_id": "not-a-uuid", "step": 0, "attempt": 1, "outcome": "complete"}"#.to_owned(),
    ];
    let no_steps = [
        format!(r#"{{"task_id": "{id}", "step": 0, "attempt": 1, "outcome": "complete"}}"#),
        format!(r#"{{"task_id": "{task}", "step": 9, "attempt": 1, "outcome": "permanent"}}"#),
    ];
    for message in no_results.iter().chain(&no_steps) {
        session.send("step_results", message).await?;
    }
    session.run("insert into pgmq.q_step_results (vt, message) values (clock_timestamp(), null)").await?;
    assert_eq!(session.report(&[complete(&start, "1")]).await?, [0; 0]);

    let applied = session.apply(100).await?;
    let dead = no_results.len() + no_steps.len() + 1;
    assert_eq!((applied.completed, applied.stale, applied.dead), (1, 0, dead as i32));
    let reasons = session.dead_reasons().await?;
    assert_eq!(reasons.iter().filter(|reason| reason.contains("not a result")).count(), no_results.len() + 1);
    assert_eq!(reasons.iter().filter(|reason| reason.contains("names no step")).count(), no_steps.len());
    assert_eq!(session.steps(task).await?, "start complete, left enqueued, right enqueued, end pending");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn whatever_stands_in_the_optional_members_the_step_moves_on() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&define("once", json!([{ "name": "a", "max_attempts": 2 }]))).await?;
    let oddities = [
        r#""retry_after": 1e400"#,
        r#""retry_after": -1e400"#,
        r#""retry_after": 1e-400"#,
        r#""retry_after": "soon""#,
        r#""retry_after": {"type": []}"#,
        r#""retry_after": null"#,
        r#""duration_us": 1e400"#,
        r#""duration_us": -5"#,
        r#""duration_us": "long""#,
        r#""error": "just a text""#,
        r#""error": [1, [2]]"#,
        r#""error": null"#,
        r#""error": {"class": {"a": 1}, "code": [1], "message": 7, "backtrace": "x", "context": []}"#,
        r#""metadata": 1e400, "worker": {"a": 1}"#,
        r#""worker": 5, "result": "of a failure""#,
    ];
    for oddity in oddities {
        let task = session.submit_one("test/once", "{}").await?;
        session.initialize(10).await?;
        let step = session.claim_one().await?;
        let applied = session.settle(failed(&step, "retryable", oddity)).await;
        assert_eq!(applied.map(|applied| applied.retried).map_err(|error| error.to_string()), Ok(1), "{oddity}");
        assert_eq!(session.steps(task).await?, "a waiting_for_retry", "{oddity}");
    }
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_retryable_failure_waits_twice_as_long_each_time_up_to_the_cap() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.set_clock(START).await?;
    let backoff = json!({ "base": 2, "cap": 10, "jitter": 0 });
    let task =
        session.start(&define("stubborn", json!([{ "name": "a", "max_attempts": 6, "backoff": backoff }]))).await?;
    for seconds in [2, 4, 8, 10, 10] {
        let step = session.claim_one().await?;
        let applied = session.settle(failed(&step, "retryable", "")).await?;
        assert_eq!((applied.retried, applied.failed, applied.finished.len()), (1, 0, 0));
        assert_eq!(waiting_seconds(&mut session, task).await?, f64::from(seconds), "attempt {}", step.attempt);
        assert_eq!(session.task_state(task).await?, "in_progress");
        session.advance_clock(&format!("{seconds} s")).await?;
        assert_eq!(session.wake_due(10).await?.woken, 1);
    }
    let last = session.claim_one().await?;
    let applied = session.settle(failed(&last, "retryable", "")).await?;
    assert_eq!((applied.retried, applied.failed, applied.finished), (0, 1, vec![task]));
    assert_eq!((session.task_state(task).await?, session.steps(task).await?), ("error".into(), "a error 6".into()));
    let kinds: Vec<String> =
        session.column("select kind || attempt from stepwell.step_attempts order by attempt").await?;
    assert_eq!(kinds, (1..=6).map(|attempt| format!("retryable{attempt}")).collect::<Vec<_>>());
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn jitter_shortens_the_wait_by_at_most_its_share() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let sample = "select extract(epoch from stepwell.retry_delay(3::smallint, '10 s', '60 s', 0.25, null))::float8
                    from generate_series(1, 1000)";
    let delays: Vec<f64> = session.column(sample).await?;
    assert!(delays.iter().all(|delay| (30.0..=40.0).contains(delay)), "{delays:?}");
    assert!(delays.iter().any(|delay| *delay < 39.0), "there is jitter");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn no_attempt_number_and_no_request_of_a_worker_breaks_the_delay() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    for (attempt, base, asked, expected) in [
        (1, "10 s", "null", 10.0),
        (40, "10 s", "null", 300.0),
        (41, "10 s", "null", 300.0),
        (999, "300 s", "null", 300.0),
        (32_767, "1 ms", "null", 300.0),
        (1, "10 s", "0", 0.0),
        (1, "10 s", "7.5", 7.5),
        (1, "10 s", "301", 300.0),
        (1, "10 s", "1e300", 300.0),
        (1, "10 s", "1e-300", 0.0),
        (1, "10 s", "-1", 10.0),
    ] {
        let call = format!(
            "select extract(epoch from stepwell.retry_delay({attempt}::smallint, '{base}', '300 s', 0, {asked}))::float8"
        );
        assert_eq!(session.value::<f64>(&call).await?, expected, "{call}");
    }
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn the_worker_may_ask_for_a_delay_up_to_the_cap() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.set_clock(START).await?;
    let backoff = json!({ "base": 1, "cap": 60, "jitter": 1 });
    let task =
        session.start(&define("polite", json!([{ "name": "a", "max_attempts": 4, "backoff": backoff }]))).await?;
    for (asked, waits) in [("30", 30.0), ("0.25", 0.25), ("3600", 60.0)] {
        let step = session.claim_one().await?;
        session.settle(failed(&step, "retryable", &format!(r#""retry_after": {asked}"#))).await?;
        assert_eq!(waiting_seconds(&mut session, task).await?, waits);
        session.advance_clock("60 s").await?;
        session.wake_due(10).await?;
    }
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_permanent_failure_is_never_retried_and_is_kept_with_all_it_told() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&chain(2)).await?;
    let a = session.claim_one().await?;
    let told = r#""error": {"class": "Refused", "code": "E1", "message": "no", "backtrace": ["x.rb:1"], "context": {"card": 1}},
                  "metadata": {"status": 402}"#;
    let applied = session.settle(failed(&a, "permanent", told)).await?;
    assert_eq!((applied.failed, applied.finished), (1, vec![task]));
    assert_eq!(
        (session.task_state(task).await?, session.steps(task).await?),
        ("error".into(), "a error, b pending".into())
    );
    let kept: String = session
        .value(
            "select concat_ws(' ', kind, attempt, error_class, code, message, backtrace, context, metadata, worker_id)
                  from stepwell.step_attempts",
        )
        .await?;
    assert_eq!(kept, r#"permanent 1 Refused E1 no ["x.rb:1"] {"card": 1} {"status": 402} worker"#);
    let reason: String = session.of_task("select waits_for from stepwell.task_status where task_id = $1", task).await?;
    assert_eq!(reason, "a: no");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_task_is_in_error_only_when_nothing_in_it_can_move() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&diamond()).await?;
    let start = session.claim_one().await?;
    session.settle(complete(&start, "1")).await?;
    let (left, right) = pair(session.claim(10).await?)?;

    assert_eq!(session.settle(failed(&left, "permanent", "")).await?.finished, NO_TASKS);
    assert_eq!(session.task_state(task).await?, "in_progress");
    session.set_clock(START).await?;
    assert_eq!(session.settle(failed(&right, "retryable", r#""retry_after": 1"#)).await?.retried, 1);
    assert_eq!(session.task_state(task).await?, "in_progress", "a step that waits for a retry can move");
    session.advance_clock("1 s").await?;
    session.wake_due(10).await?;
    let right = session.claim_one().await?;
    assert_eq!(session.settle(complete(&right, "1")).await?.finished, [task]);
    assert_eq!(session.task_state(task).await?, "error");
    assert_eq!(session.steps(task).await?, "start complete, left error, right complete 2, end pending");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn two_failures_in_one_batch_fail_the_task_once() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&define("both", json!([{ "name": "a" }, { "name": "b" }]))).await?;
    let (a, b) = pair(session.claim(10).await?)?;
    session.report(&[failed(&a, "permanent", ""), failed(&b, "permanent", "")]).await?;
    let applied = session.apply(10).await?;
    assert_eq!((applied.failed, applied.finished), (2, vec![task]));
    assert_eq!(session.of_task::<i32>("select steps_failed from stepwell.tasks where task_id = $1", task).await?, 2);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn an_error_and_a_success_applied_at_once_end_the_task_in_error() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.work_at_once().await?;
    let workflow = define("both", json!([{ "name": "a" }, { "name": "b" }]));
    session.register(&workflow).await?;
    let mut appliers = db.sessions(2).await?;
    for round in 0..100 {
        let task = session.submit_one("test/both", "{}").await?;
        session.initialize(1).await?;
        let (a, b) = pair(session.claim(10).await?)?;
        session.report_each(&[failed(&a, "permanent", ""), complete(&b, "1")]).await?;
        let [one, two] = &mut appliers[..] else { unreachable!() };
        let (one, two) = tokio::join!(one.apply(1), two.apply(1));
        let (one, two) = (one?, two?);
        assert_eq!(one.finished.len() + two.finished.len(), 1, "round {round}");
        assert_eq!(session.task_state(task).await?, "error", "round {round}");
    }
    drop((session, appliers));
    db.finish().await
}

#[tokio::test]
async fn the_second_of_two_results_waits_for_the_first_and_sees_what_it_did() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.work_at_once().await?;
    for (of_a, of_b, ends) in
        [("permanent", "complete", "error"), ("complete", "permanent", "error"), ("complete", "complete", "complete")]
    {
        let task = session.start(&define("both", json!([{ "name": "a" }, { "name": "b" }]))).await?;
        let (a, b) = pair(session.claim(10).await?)?;
        let result = |step: &ClaimedStep, outcome: &str| match outcome {
            "complete" => complete(step, "1"),
            kind => failed(step, kind, ""),
        };
        session.report_each(&[result(&a, of_a), result(&b, of_b)]).await?;

        let (mut first, mut second) = (db.session().await?, db.session().await?);
        first.run("begin").await?;
        assert_eq!(first.apply(1).await?.finished, NO_TASKS);
        let waiting = second.pid();
        let applying = tokio::spawn(async move { second.apply(1).await });
        session.until_blocked(waiting, first.pid()).await?;
        first.run("commit").await?;
        assert_eq!(applying.await??.finished, [task]);
        assert_eq!(session.task_state(task).await?, ends, "{of_a}, then {of_b}");
    }
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn of_two_copies_of_a_result_applied_at_once_one_counts() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.work_at_once().await?;
    for outcome in ["complete", "retryable", "permanent"] {
        session.start(&chain(1)).await?;
        let step = session.claim_one().await?;
        let copy = if outcome == "complete" { complete(&step, "1") } else { failed(&step, outcome, "") };
        session.report(&[&copy]).await?;
        session.send("step_results", &copy).await?;

        let (mut first, mut second) = (db.session().await?, db.session().await?);
        first.run("begin").await?;
        assert_eq!(first.apply(1).await?.stale, 0);
        let waiting = second.pid();
        let applying = tokio::spawn(async move { second.apply(1).await });
        session.until_blocked(waiting, first.pid()).await?;
        first.run("commit").await?;
        let applied = applying.await??;
        assert_eq!((applied.popped, applied.stale), (1, 1), "{outcome}");
    }
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_step_that_fails_and_recovers_runs_again_and_its_dependents_once() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.set_clock(START).await?;
    let task = session.start(&chain(3)).await?;
    let answer = |step: &ClaimedStep| match (step.name.as_str(), step.attempt) {
        ("b", 1) => failed(step, "retryable", ""),
        ("b", 2) => failed(step, "timeout", ""),
        _ => complete(step, "1"),
    };
    let mut executed = drain(&mut session, answer).await?;
    for _ in 0..2 {
        session.advance_clock("1 h").await?;
        session.wake_due(10).await?;
        executed.extend(drain(&mut session, answer).await?);
    }
    assert_eq!(executed, ["a", "b", "b 2", "b 3", "c"]);
    assert_eq!(session.task_state(task).await?, "complete");
    drop(session);
    db.finish().await
}

fn pair(steps: Vec<ClaimedStep>) -> Result<(ClaimedStep, ClaimedStep)> {
    let [one, two] = <[ClaimedStep; 2]>::try_from(steps).map_err(|steps| anyhow!("{} steps", steps.len()))?;
    Ok((one, two))
}

async fn waiting_seconds(session: &mut Session, task: Uuid) -> Result<f64> {
    let sql = "select extract(epoch from run_at - stepwell.now())::float8 from stepwell.steps
                where task_id = $1 and state = 'waiting_for_retry'";
    Ok(session.of_task(sql, task).await?)
}

#[tokio::test]
async fn who_finds_another_at_it_leaves_it_what_is_little_and_new() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, mut other) = (db.session().await?, db.session().await?);
    session.register(&chain(1)).await?;
    session.submit(&vec![r#"{"workflow": "test/chain"}"#; 70]).await?;
    session.initialize(100).await?;
    let steps = session.claim(100).await?;
    session.report(&[complete(&steps[0], "1")]).await?;
    session.run("begin").await?;
    assert_eq!(session.apply(100).await?.popped, 1);

    other.report(&[complete(&steps[1], "1")]).await?;
    assert_eq!(other.apply(100).await?.popped, 0, "the other hears of it too");
    // As when the other is held up.
    eventually("it is old", async || Ok((other.apply(100).await?.popped == 1).then_some(()))).await?;
    let results: Vec<String> = steps[2..].iter().map(|step| complete(step, "1")).collect();
    other.report_each(&results).await?;
    assert!(other.apply(1_000).await?.popped > 0, "they pile up");
    session.run("rollback").await?;
    while other.apply(1_000).await?.popped > 0 {}
    assert_eq!(session.value::<i64>("select count(*) from stepwell.tasks where state = 'complete'").await?, 70);
    drop((session, other));
    db.finish().await
}

//! What a failed attempt counts as, and when its step is tried again: the step's policy, and what the worker asked for.

mod support;

use anyhow::Result;
use serde_json::json;
use support::{define, failed, Session, TestDatabase};

/// A failed report's `error` with these members.
fn with_error(step: &stepwell::store::ClaimedStep, kind: &str, error: &serde_json::Value) -> String {
    failed(step, kind, "").replace(r#"{"class": "Oops", "message": "it failed"}"#, &error.to_string())
}

#[tokio::test]
async fn the_policy_of_a_step_decides_before_its_worker() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let policy = json!([{
        "name": "a", "max_attempts": 5,
        "permanent_errors": ["CARD_DECLINED", "ArgumentError", "NetworkError"],
        "retryable_errors": ["TRY_AGAIN", "StandardError", "SlowNetworkError"]
    }]);
    session.register(&define("policy", policy)).await?;
    for (kind, error, expected) in [
        // Nothing names it: as the worker says.
        ("retryable", json!({ "class": "Other" }), "retryable waiting_for_retry"),
        ("permanent", json!({ "class": "Other" }), "permanent error"),
        ("timeout", json!({ "class": "Other" }), "timeout waiting_for_retry"),
        // By its code, by its class, by a class above it.
        ("retryable", json!({ "class": "Other", "code": "CARD_DECLINED" }), "permanent error"),
        ("permanent", json!({ "class": "Other", "code": "TRY_AGAIN" }), "retryable waiting_for_retry"),
        ("retryable", json!({ "class": "ArgumentError" }), "permanent error"),
        ("retryable", json!({ "class": "Mine", "ancestors": ["ArgumentError", "StandardError"] }), "permanent error"),
        (
            "permanent",
            json!({ "class": "Mine", "ancestors": ["Other", "StandardError"] }),
            "retryable waiting_for_retry",
        ),
        ("timeout", json!({ "class": "Timeout::Error", "ancestors": ["NetworkError"] }), "permanent error"),
        ("timeout", json!({ "class": "Timeout::Error", "ancestors": ["StandardError"] }), "timeout waiting_for_retry"),
        // A code comes before a class, and a class before one above it.
        ("retryable", json!({ "class": "ArgumentError", "code": "TRY_AGAIN" }), "retryable waiting_for_retry"),
        ("permanent", json!({ "class": "StandardError", "code": "CARD_DECLINED" }), "permanent error"),
        (
            "permanent",
            json!({ "class": "SlowNetworkError", "ancestors": ["NetworkError"] }),
            "retryable waiting_for_retry",
        ),
        // What is no list is no list.
        ("retryable", json!({ "class": "Other", "ancestors": "ArgumentError" }), "retryable waiting_for_retry"),
        ("retryable", json!("ArgumentError"), "retryable waiting_for_retry"),
    ] {
        let task = session.submit_one("test/policy", "{}").await?;
        session.initialize(10).await?;
        let step = session.claim_one().await?;
        session.settle(with_error(&step, kind, &error)).await?;
        let outcome: String = session
            .of_task(
                "select a.kind || ' ' || s.state from stepwell.steps s join stepwell.step_attempts a using (task_id)
                  where task_id = $1",
                task,
            )
            .await?;
        assert_eq!(outcome, expected, "{kind} {error}");
    }
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_policy_that_contradicts_itself_is_refused() {
    let define = |keys: serde_json::Value| {
        let mut step = json!({ "name": "a", "handler": "a" });
        step.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let definition = json!({ "namespace": "test", "name": "bad", "version": "1", "steps": [step] });
        stepwell::Workflow::from_json(&definition.to_string()).map_err(|error| error.to_string())
    };
    let error = define(json!({ "permanent_errors": ["A", "B"], "retryable_errors": "B" })).unwrap_err();
    assert!(error.contains(r#"steps.a.retryable_errors: "B" is in permanent_errors too"#), "{error}");
    let error = define(json!({ "permanent_errors": [""] })).unwrap_err();
    assert!(error.contains("steps.a.permanent_errors: each must be the code or the class of an error"), "{error}");
    assert!(define(json!({ "permanent_errors": "B" })).is_ok());
}

/// The delay in seconds that a report with these members asks for.
async fn asked(session: &mut Session, report: &serde_json::Value) -> Result<Option<String>> {
    let sql = format!("select trim_scale(round(stepwell.asked_delay('{report}'), 3))::text");
    Ok(session.value(&sql).await?)
}

#[tokio::test]
async fn a_delay_is_read_as_servers_write_it() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.set_clock("2030-03-01 12:00:00+00").await?;
    session.run("set timezone = 'Asia/Tokyo'; set datestyle = 'SQL, MDY'").await?;
    for (value, expected) in [
        (json!(5), Some("5")),
        (json!(0), Some("0")),
        (json!(1.5), Some("1.5")),
        (json!("120"), Some("120")),
        (json!(" 7 "), Some("7")),
        (json!(["9", "10"]), Some("9")),
        (json!("Fri, 01 Mar 2030 12:00:30 GMT"), Some("30")),
        (json!("Friday, 01-Mar-30 12:01:00 GMT"), Some("60")),
        (json!("Fri Mar  1 12:02:00 2030"), Some("120")),
        (json!("Fri, 01 Mar 2030 11:00:00 GMT"), Some("0")),
        (json!("Thu, 01 Jan 1970 00:00:00 GMT"), Some("0")),
        (json!(-5), None),
        (json!("-5"), None),
        (json!("soon"), None),
        (json!("Fri, 99 Mar 2030 12:00:30 GMT"), None),
        (json!("Fri, 01 Foo 2030 12:00:30 GMT"), None),
        (json!("Friday the 13th 12:00:30 and so on and so on and so on"), None),
        (json!("12345678901234567890"), Some("12345678901234567890")),
        (json!(""), None),
        (json!(null), None),
        (json!(true), None),
        (json!([]), None),
        (json!({ "seconds": 5 }), None),
    ] {
        assert_eq!(asked(&mut session, &json!({ "retry_after": value })).await?.as_deref(), expected, "{value}");
    }
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn metadata_says_when_to_try_again() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let hint = |delay: i32| json!({ "type": "rate_limit", "delay": delay });
    for (report, expected) in [
        (json!({ "metadata": { "headers": { "Retry-After": "3" } } }), Some("3")),
        (json!({ "metadata": { "status": 503, "headers": { "Retry-After": "3" } } }), Some("3")),
        (json!({ "metadata": { "status": 202, "headers": { "Retry-After": "3" } } }), None),
        (json!({ "metadata": { "headers": { "retry-after": ["4"] } } }), Some("4")),
        (json!({ "metadata": { "backoff_hint": hint(5) } }), Some("5")),
        (json!({ "metadata": { "backoff_hint": hint(5), "headers": { "RETRY-AFTER": "3" } } }), Some("5")),
        (json!({ "retry_after": 6, "metadata": { "backoff_hint": hint(5) } }), Some("6")),
        (json!({ "retry_after": "soon", "metadata": { "backoff_hint": hint(5) } }), Some("5")),
        (json!({ "metadata": { "backoff_hint": { "type": "rate_limit" }, "headers": { "X": "3" } } }), None),
        (json!({ "metadata": { "backoff_hint": 5, "headers": "Retry-After: 3" } }), None),
        (json!({ "metadata": ["headers"] }), None),
        (json!({}), None),
    ] {
        assert_eq!(asked(&mut session, &report).await?.as_deref(), expected, "{report}");
    }
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn what_is_asked_for_never_goes_beyond_the_cap_and_is_kept_with_the_attempt() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.set_clock("2030-03-01 12:00:00+00").await?;
    let steps = json!([{ "name": "a", "backoff": { "base": 1, "cap": 60 } }]);
    let task = session.start(&define("asks", steps)).await?;
    for (asks, expected) in
        [("Fri, 01 Mar 2030 12:00:45 GMT", "00:00:45"), ("Fri, 01 Mar 2030 23:00:00 GMT", "00:01:00")]
    {
        session.set_clock("2030-03-01 12:00:00+00").await?;
        let step = session.claim_one().await?;
        let metadata = json!({ "status": 503, "headers": { "Retry-After": asks }, "custom": { "region": "eu" } });
        session.settle(failed(&step, "retryable", &format!(r#""metadata": {metadata}"#))).await?;
        let waits = "select (run_at - stepwell.now())::text from stepwell.steps where task_id = $1";
        assert_eq!(session.of_task::<String>(waits, task).await?, expected, "{asks}");
        let kept = "select metadata::text from stepwell.step_attempts where task_id = $1 order by attempt desc limit 1";
        let kept: String = session.of_task(kept, task).await?;
        assert_eq!(serde_json::from_str::<serde_json::Value>(&kept)?, metadata);
        session.advance_clock("1 min").await?;
        assert_eq!(session.wake_due(10).await?.woken, 1);
    }
    drop(session);
    db.finish().await
}

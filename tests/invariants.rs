//! The history checker itself: each kind of violation, made by hand, is named, and what looks like one is not.

mod support;

#[path = "invariants/dependencies.rs"]
mod dependencies;
#[path = "invariants/legal.rs"]
mod legal;
#[path = "invariants/messages.rs"]
mod messages;
#[path = "invariants/outcomes.rs"]
mod outcomes;
#[path = "invariants/tasks.rs"]
mod tasks;

use anyhow::{ensure, Context, Result};
use serde_json::json;
use support::{chain, complete, define, define_with, diamond, drain, failed, Session, TestDatabase};

/// One of each, told apart by the names of their steps: a finished diamond; a chain whose `a` waits for its retry; a
/// diamond whose `start` is complete, `left` claimed and `right` in the queue; in error after somebody retried `x`, with
/// `w` complete before it and `y` pending behind it; `m` cancelled while claimed and `n` pending; `v` whose context
/// nobody has checked yet; one of the same workflow that was refused; `k` with an idempotency key.
async fn history(db: &TestDatabase) -> Result<Session> {
    let mut session = db.session().await?;
    session.start(&diamond()).await?;
    drain(&mut session, |step| complete(step, "1")).await?;

    let fragile = json!([{ "name": "w" }, { "name": "x", "depends_on": "w" }, { "name": "y", "depends_on": "x" }]);
    let task = session.start(&define("fragile", fragile)).await?;
    let answer = |step: &stepwell::store::ClaimedStep| match step.name.as_str() {
        "w" => complete(step, "1"),
        _ => failed(step, "permanent", ""),
    };
    drain(&mut session, answer).await?;
    session.retry(task).await?;
    drain(&mut session, answer).await?;

    session.register(&define("keyed", json!([{ "name": "k" }]))).await?;
    session.submit(&[r#"{"workflow": "test/keyed", "context": {}, "idempotency_key": "order-1"}"#]).await?;
    drain(&mut session, |step| complete(step, "1")).await?;

    let task = session.start(&define("stopped", json!([{ "name": "m" }, { "name": "n", "depends_on": "m" }]))).await?;
    let m = session.claim_one().await?;
    session.cancel(task).await?;
    session.settle(complete(&m, "1")).await?;

    let schema = json!({ "input_schema": { "type": "object" } });
    session.register(&define_with("checked", json!([{ "name": "v" }]), schema)).await?;
    session.submit_one("test/checked", "{}").await?;
    session.submit_one("test/checked", "[]").await?;
    session.initialize(10).await?;

    session.start(&chain(2)).await?;
    let a = session.claim_one().await?;
    session.settle(failed(&a, "retryable", "")).await?;
    session.start(&diamond()).await?;
    let start = session.claim_one().await?;
    session.settle(complete(&start, "1")).await?;
    session.claim(1).await?;
    session.assert_invariants().await?;
    Ok(session)
}

/// Breaks a good history with `sql` and expects exactly these violations: which invariant, which step, what it says.
async fn broken(sql: &str, expected: &[(&str, &str, &str)]) -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = history(&db).await?;
    ensure!(session.run(sql).await? > 0, "{sql} changed nothing");
    let mut found: Vec<String> = session
        .column("select concat_ws(' | ', invariant, coalesce(step, '-'), details) from stepwell.check_invariants()")
        .await?;
    for (invariant, step, details) in expected {
        let fits = |text: &String| text.starts_with(&format!("{invariant} | {step} | ")) && text.contains(details);
        let place = found.iter().position(fits);
        let place = place.with_context(|| format!("{invariant} | {step} | {details}: not among {found:?}"))?;
        found.remove(place);
    }
    ensure!(found.is_empty(), "more than expected: {found:?}");
    drop(session);
    db.discard().await
}

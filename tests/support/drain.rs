//! Orchestrator and worker in one session, by plain SQL.

use anyhow::{ensure, Result};
use stepwell::store::ClaimedStep;

use super::Session;

/// Runs everything that can move now: initializes, dispatches, claims, reports what `answer` says of each step, applies, until
/// nothing moves. Returns the executed attempts in order, such as `a`, `b`, `b 2`.
pub async fn drain(session: &mut Session, mut answer: impl FnMut(&ClaimedStep) -> String) -> Result<Vec<String>> {
    let mut executed = Vec::new();
    loop {
        let initialized = session.initialize(100).await?.popped;
        session.dispatch(100).await?;
        let steps = session.claim(100).await?;
        let results: Vec<String> = steps.iter().map(&mut answer).collect();
        let refused = session.report(&results).await?;
        ensure!(refused.is_empty(), "results of claimed steps were refused");
        let applied = session.apply(100).await?.popped;
        executed.extend(steps.iter().map(|step| match step.attempt {
            1 => step.name.clone(),
            attempt => format!("{} {attempt}", step.name),
        }));
        if initialized == 0 && steps.is_empty() && applied == 0 {
            return Ok(executed);
        }
    }
}

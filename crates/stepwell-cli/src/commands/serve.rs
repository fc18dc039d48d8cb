//! `stepwell serve`: an orchestrator in the foreground.

use stepwell::{telemetry, Orchestrator};

use crate::failure::{Failure, DONE};
use crate::session::{unreachable, Session};

pub(crate) async fn run(session: &Session) -> Result<u8, Failure> {
    let config = session.config()?;
    telemetry::init(&config.logging);
    let orchestrator = tokio::select! {
        () = session.interrupt.cancelled() => return Ok(DONE),
        started = Orchestrator::embedded(&config) => started.map_err(unreachable)?,
    };
    session.interrupt.cancelled().await;
    tracing::info!("stopping: transactions under way finish");
    orchestrator.stop().await?;
    let summary = orchestrator.status().summary;
    tracing::info!(
        tasks_started = summary.tasks_started,
        tasks_finished = summary.tasks_finished,
        steps_completed = summary.steps_completed,
        "orchestrator stopped"
    );
    Ok(DONE)
}

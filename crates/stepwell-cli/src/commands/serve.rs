//! `stepwell serve`: an orchestrator in the foreground, and HTTP for those who watch it.

use rustix::process::Signal as Number;
use stepwell::telemetry::{self, metrics};
use stepwell::Orchestrator;
use tokio::signal::unix::{signal, Signal, SignalKind};

use crate::arguments::Serve;
use crate::failure::{Failure, DONE};
use crate::session::{unreachable, Session};
use crate::Host;

/// What would stop or end a process that does not expect it, and means nothing to an orchestrator: what other servers take
/// for a reload, and what a terminal sends to processes in the background.
const IGNORED: [Number; 6] = [Number::USR1, Number::USR2, Number::ALARM, Number::TSTP, Number::TTIN, Number::TTOU];

pub(crate) async fn run(session: &Session, arguments: &Serve) -> Result<u8, Failure> {
    let settings = session.settings()?;
    telemetry::init(&settings.config.logging);
    settings.tell();
    let config = settings.config;
    let _ignored = (session.host == Host::Program).then(ignore); // in the gem Ruby does
    let orchestrator = tokio::select! {
        () = session.interrupt.cancelled() => return Ok(DONE),
        started = Orchestrator::embedded(&config) => started.map_err(unreachable)?,
    };
    let endpoint = match arguments.http.or(config.metrics.listen) {
        None => None,
        Some(address) => match metrics::serve(address, orchestrator.databases().clone()).await {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                orchestrator.stop().await?;
                return Err(error.into());
            }
        },
    };
    session.interrupt.cancelled().await;
    tracing::info!("stopping: transactions under way finish");
    if let Some(endpoint) = endpoint {
        endpoint.stop().await;
    }
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

/// A signal that somebody hears does nothing by itself.
fn ignore() -> Vec<Signal> {
    IGNORED.iter().filter_map(|number| signal(SignalKind::from_raw(number.as_raw())).ok()).collect()
}

//! What a value may be, beyond its type, and which values cannot stand together.

use std::time::Duration;

use super::origin::{Effective, Problems};
use super::{metrics, namespaces, traces, Config};
use crate::error::Result;

/// A day is longer than any sensible wait.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Retention that is longer means `never`.
const CENTURY: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

pub(super) fn check(config: &Config, effective: &Effective) -> Result<()> {
    let mut checks = Checks { effective, problems: Problems::default() };
    checks.numbers(config);
    checks.sizes(config);
    checks.durations(config);
    checks.combinations(config);
    traces::check(&config.traces, effective, &mut checks.problems);
    metrics::check(&config.metrics, &config.database, effective, &mut checks.problems);
    checks.problems.result()?;
    namespaces::check(&config.namespaces, effective)
}

struct Checks<'e> {
    effective: &'e Effective,
    problems: Problems,
}

impl Checks<'_> {
    fn numbers(&mut self, config: &Config) {
        let Config { database, orchestrator, dispatch, worker, retention, .. } = config;
        for (key, value) in [
            ("database.pool_size", database.pool_size),
            ("orchestrator.request_batch", orchestrator.request_batch),
            ("orchestrator.result_batch", orchestrator.result_batch),
            ("orchestrator.upkeep_batch", orchestrator.upkeep_batch),
            ("dispatch.window", dispatch.window),
            ("worker.concurrency", worker.concurrency),
            ("worker.claim_batch", worker.claim_batch),
            ("worker.report_batch", worker.report_batch),
            ("retention.batch", retention.batch),
        ] {
            if !(1..=10_000).contains(&value) {
                self.wrong(key, "must be from 1 to 10000");
            }
        }
    }

    fn sizes(&mut self, config: &Config) {
        if !(1_000..=10_000_000).contains(&config.worker.attempt_details) {
            self.wrong("worker.attempt_details", "must be from 1000 to 10000000 bytes");
        }
    }

    fn durations(&mut self, config: &Config) {
        let Config { database, orchestrator, dispatch, worker, retention, .. } = config;
        let ms = Duration::from_millis;
        for (key, value, least, most) in [
            ("database.connect_timeout", Some(database.connect_timeout), ms(10), DAY),
            ("database.call_timeout", Some(database.call_timeout), ms(100), DAY),
            // Without a pause a loop that has nothing to do would keep a processor busy.
            ("orchestrator.polling_interval", Some(orchestrator.polling_interval), ms(1), DAY),
            ("orchestrator.cycle", Some(orchestrator.cycle), ms(1), DAY),
            ("orchestrator.summary_every", Some(orchestrator.summary_every), ms(100), DAY),
            ("worker.polling_interval", Some(worker.polling_interval), ms(1), DAY),
            ("dispatch.boost", Some(dispatch.boost), Duration::ZERO, 365 * DAY),
            ("worker.prefetch", Some(worker.prefetch), Duration::ZERO, DAY),
            ("worker.timeout_grace", Some(worker.timeout_grace), Duration::ZERO, DAY),
            ("worker.unhandled_delay", Some(worker.unhandled_delay), Duration::ZERO, DAY),
            ("worker.unhandled_give_up", Some(worker.unhandled_give_up), Duration::ZERO, 365 * DAY),
            ("retention.finished", retention.finished, Duration::ZERO, CENTURY),
            ("retention.failed", retention.failed, Duration::ZERO, CENTURY),
            ("retention.dead_letters", retention.dead_letters, Duration::ZERO, CENTURY),
            ("retention.cycle", Some(retention.cycle), ms(100), 365 * DAY),
        ] {
            let Some(value) = value else { continue };
            if value < least || value > most {
                let (least, most) = (written(least), written(most));
                self.wrong(key, &format!("must be at least {least} and at most {most}"));
            }
        }
        if !(ms(300)..=DAY).contains(&worker.lease) {
            self.wrong(
                "worker.lease",
                "must be at least 300ms, because three heartbeats must fit into it, and at most 1d",
            );
        }
    }

    /// Values that are fine alone.
    fn combinations(&mut self, config: &Config) {
        let Config { database, orchestrator, worker, .. } = config;
        if database.direct_url.is_some() && database.url.is_none() {
            self.wrong("database.direct_url", "is set and database.url is not: set both, to the pooler and past it");
        }
        let lease = humantime::format_duration(worker.lease);
        if worker.prefetch >= worker.lease {
            let what = "must be less than worker.lease, or the lease on what waits runs out";
            self.wrong("worker.prefetch", &format!("{what} ({lease})"));
        }
        if orchestrator.cycle > worker.lease {
            let what = "must be at most worker.lease, or a dead worker's steps wait longer than that";
            self.wrong("orchestrator.cycle", &format!("{what} ({lease})"));
        }
    }

    fn wrong(&mut self, key: &str, what: &str) {
        self.problems.of(self.effective, key, what);
    }
}

/// A duration as one would write it: humantime makes months of days.
fn written(duration: Duration) -> String {
    match duration.as_secs() / DAY.as_secs() {
        0 => humantime::format_duration(duration).to_string(),
        days => format!("{days}d"),
    }
}

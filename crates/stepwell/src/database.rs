//! One process's link to one database: the pool, the wake-ups to and from other processes. Orchestrators, workers and
//! clients of a process share it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgListener, PgNotification};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::backoff::{delay, Backoff, Outage};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::orchestrator::{Requests, Results};
use crate::signals::{lock, Signals, Topic};
use crate::store::Store;
use crate::telemetry::health::{DatabaseHealth, Loops, Pulse};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Traces;
use crate::telemetry::{self, Warning};
use crate::worker::Taker;

/// How long wake-ups for other processes wait for more after the last ones were sent, at least and at most.
const GAPS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(10);
/// How often waits look into the database when no wake-up comes.
const WAIT_POLLING: Duration = Duration::from_millis(500);
/// Each look of so many is for tasks that were removed.
const GONE_EVERY: u32 = 10;

/// A link to a database. Cheap to clone; [`close`](Self::close) ends it for all clones.
#[derive(Debug, Clone)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    url: String,
    signals: Signals,
    outage: Arc<Outage>,
    metrics: Metrics,
    loops: Loops,
    config: Config,
    traces: Option<Traces>,
    /// Of the orchestrator that runs over this link.
    requests: Mutex<Weak<Requests>>,
    results: Mutex<Weak<Results>>,
    /// Workers that have their steps over this link.
    takers: Mutex<Vec<Weak<Taker>>>,
    /// Marks this process's notifications, so that it does not wake itself twice.
    instance: String,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Database {
    /// Connects, and starts listening for wake-ups of other processes.
    ///
    /// # Errors
    /// As [`Store::open`]; [`Error::Configuration`] for a receiver of traces that is none.
    pub async fn connect(url: &str, config: &Config) -> Result<Self> {
        Self::connect_traced(url, config, Traces::start(&config.traces)?).await
    }

    /// The same, with traces that it shares with others.
    pub(crate) async fn connect_traced(url: &str, config: &Config, traces: Option<Traces>) -> Result<Self> {
        Ok(Self::over(Store::open(url, &config.database).await?, url, config, traces))
    }

    /// A link to a database that may be away: the first call connects.
    ///
    /// # Errors
    /// [`Error::Database`] for what is no URL.
    pub(crate) fn lazy(url: &str, config: &Config, traces: Option<Traces>) -> Result<Self> {
        Ok(Self::over(Store::lazy(url, &config.database)?, url, config, traces))
    }

    fn over(store: Store, url: &str, config: &Config, traces: Option<Traces>) -> Self {
        telemetry::start_writer();
        let database = Self(Arc::new(Inner {
            metrics: Metrics::new(&store.label()),
            loops: Loops::default(),
            store,
            url: url.to_owned(),
            signals: Signals::default(),
            outage: Arc::default(),
            config: config.clone(),
            traces,
            requests: Mutex::default(),
            results: Mutex::default(),
            takers: Mutex::default(),
            instance: Uuid::now_v7().simple().to_string(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }));
        database.spawn(database.clone().send_wakeups());
        database.spawn(database.clone().receive_wakeups());
        database.spawn(database.clone().check_waits());
        database
    }

    /// The SQL functions.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The URL with its credentials, as it was given.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The settings it was connected with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Where spans are recorded; none when nothing is exported.
    pub(crate) fn traces(&self) -> Option<&Traces> {
        self.0.traces.as_ref()
    }

    /// Waits until the receiver of traces has what was recorded, 2 seconds at most. Nothing to wait for when nothing is
    /// exported, or the receiver is away.
    pub async fn flush_traces(&self) {
        if let Some(traces) = self.traces() {
            traces.flush().await;
        }
    }

    /// How many spans the receiver of traces has not taken, or found no place to wait for it, since this link was made.
    pub fn lost_spans(&self) -> u64 {
        self.traces().map_or(0, Traces::lost)
    }

    pub(crate) fn signals(&self) -> &Signals {
        &self.0.signals
    }

    /// An orchestrator makes tasks over this link, for as long as it keeps this.
    pub(crate) fn set_requests(&self, requests: &Arc<Requests>) {
        *lock(&self.0.requests) = Arc::downgrade(requests);
    }

    /// What makes tasks in this process; none when no orchestrator runs over this link.
    pub(crate) fn requests(&self) -> Option<Arc<Requests>> {
        lock(&self.0.requests).upgrade()
    }

    /// An orchestrator applies results over this link, for as long as it keeps this.
    pub(crate) fn set_results(&self, results: &Arc<Results>) {
        *lock(&self.0.results) = Arc::downgrade(results);
    }

    /// What applies results in this process; none when no orchestrator runs over this link.
    pub(crate) fn results(&self) -> Option<Arc<Results>> {
        lock(&self.0.results).upgrade()
    }

    /// A worker has its steps over this link, for as long as it keeps this.
    pub(crate) fn add_taker(&self, taker: &Arc<Taker>) {
        let mut takers = lock(&self.0.takers);
        takers.retain(|taker| taker.strong_count() > 0);
        takers.push(Arc::downgrade(taker));
    }

    /// The workers of this process that have their steps over this link.
    pub(crate) fn takers(&self) -> Vec<Arc<Taker>> {
        lock(&self.0.takers).iter().filter_map(Weak::upgrade).collect()
    }

    /// How a loop waits while the database is away.
    pub(crate) fn backoff(&self, name: &'static str) -> Backoff {
        Backoff::new(name, self.0.outage.clone())
    }

    /// What this process counts of the database.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The same, as it is now.
    pub(crate) fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        let loops = self.0.loops.health(&self.config().metrics);
        self.0.metrics.gather(self.store().connections(), &loops)
    }

    /// A loop over this link begins, which rests `interval` at most between two turns.
    pub(crate) fn pulse(&self, name: &'static str, interval: Duration) -> Pulse {
        self.0.loops.begin(name, interval)
    }

    /// How the loops are; `reachable`: whether the database has answered.
    pub(crate) fn health(&self, reachable: Option<bool>) -> DatabaseHealth {
        let (database, loops) = (self.store().masked_url().to_owned(), self.0.loops.health(&self.config().metrics));
        DatabaseHealth { database, reachable, loops }
    }

    /// Keeps a warning of a loop for the status.
    pub(crate) fn note_warning(&self, component: &'static str, message: String) {
        self.0.outage.warnings().note(component, message);
    }

    /// The last warnings of the loops, the oldest first.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        self.0.outage.warnings().all()
    }

    /// Whether this is the same link.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Waits for a database that is away, because of `error`, until it is there and an orchestrator has migrated it.
    pub(crate) async fn arrival(&self, name: &'static str, error: Error) {
        let mut backoff = self.backoff(name);
        let mut pause = backoff.failed(&error);
        loop {
            tokio::time::sleep(pause).await;
            let arrived = async {
                self.store().reach().await?;
                self.store().check_schema().await
            };
            match arrived.await {
                Ok(()) => return backoff.succeeded(),
                Err(error @ Error::SchemaTooOld { .. }) => {
                    tracing::debug!("loop" = name, %error, "not migrated yet");
                    pause = WAIT_POLLING;
                }
                Err(error) => pause = backoff.failed(&error),
            }
        }
    }

    /// Ends the background tasks and all connections.
    pub async fn close(&self) {
        self.flush_traces().await;
        self.0.shutdown.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.store.close().await;
    }

    /// Runs a task until the link is closed.
    pub(crate) fn spawn(&self, task: impl std::future::Future<Output = ()> + Send + 'static) {
        let shutdown = self.0.shutdown.clone();
        self.0.tasks.spawn(async move {
            shutdown.run_until_cancelled(task).await;
        });
    }

    async fn send_wakeups(self) {
        let mut gap = *GAPS.start();
        loop {
            let outgoing = self.0.signals.next_outgoing().await;
            let channels: Vec<String> = outgoing.topics.iter().map(Topic::channel).collect();
            let started = Instant::now();
            if let Err(error) = self.store().notify(&channels, &self.0.instance).await {
                tracing::debug!(%error, "a wake-up was not sent; the others find out by polling");
            }
            gap = next_gap(gap, outgoing.repeated, started.elapsed());
            tokio::time::sleep(gap).await;
        }
    }

    async fn receive_wakeups(self) {
        if !self.store().has_sessions() {
            tracing::warn!(
                database = self.store().masked_url(),
                "database.prepared_statements is false and there is no database.direct_url: wake-ups are not heard \
                 through a pooler, work is found by polling; set database.direct_url to the server's own URL"
            );
            return;
        }
        let mut interests = self.0.signals.interests();
        let mut failures = 0;
        loop {
            let known = interests.borrow_and_update().clone();
            let listener = async {
                let mut listener = self.store().listener().await?;
                self.listen_to(&mut listener, &known).await?;
                Ok::<_, Error>(listener)
            };
            match listener.await {
                Ok(mut listener) => {
                    failures = 0;
                    if !self.listen(&mut listener, &mut interests, known).await {
                        self.store().doubt_idle_connections();
                        self.store().abandon_listener(listener).await;
                    }
                }
                Err(error) => tracing::debug!(%error, "no connection to listen on; polling meanwhile"),
            }
            failures += 1;
            tokio::time::sleep(delay(failures)).await;
        }
    }

    /// Hears until the connection is lost: of what is `known` to interest somebody, and of what does from now on. False when
    /// nobody said that it is lost: it is dead, does not answer when nothing has been heard for a while.
    async fn listen(
        &self,
        listener: &mut PgListener,
        interests: &mut watch::Receiver<BTreeSet<Topic>>,
        mut known: BTreeSet<Topic>,
    ) -> bool {
        let patience = self.config().database.call_timeout;
        loop {
            let heard = tokio::select! {
                heard = tokio::time::timeout(patience, listener.try_recv()) => Some(heard),
                _ = interests.changed() => None,
            };
            match heard {
                Some(Ok(Ok(Some(notification)))) => self.hear(&notification),
                Some(Ok(_lost)) => return true,
                Some(Err(_silence)) => {
                    let ask = sqlx::query("select").execute(&mut *listener);
                    match tokio::time::timeout(patience, ask).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(_)) => return true,
                        Err(_dead) => return false,
                    }
                }
                None => {
                    let new = &*interests.borrow_and_update() - &known;
                    match tokio::time::timeout(patience, self.listen_to(listener, &new)).await {
                        Ok(Ok(())) => known.extend(new),
                        Ok(Err(_)) => return true,
                        Err(_dead) => return false,
                    }
                }
            }
        }
    }

    async fn listen_to(&self, listener: &mut PgListener, topics: &BTreeSet<Topic>) -> Result<()> {
        let channels: Vec<String> = topics.iter().map(Topic::channel).collect();
        let heard = self.store().in_time(listener.listen_all(channels.iter().map(String::as_str))).await;
        heard.map_err(|source| Error::Database { url: self.store().masked_url().to_owned(), source })?;
        topics.iter().for_each(|topic| self.0.signals.wake(topic)); // what was said while nobody listened
        Ok(())
    }

    fn hear(&self, notification: &PgNotification) {
        if notification.payload() != self.0.instance {
            Topic::of_channel(notification.channel()).iter().for_each(|topic| self.0.signals.wake(topic));
        }
    }

    /// Finds the awaited tasks that other processes finished: when they say so, and now and then.
    async fn check_waits(self) {
        let mut finished = self.0.signals.finished();
        let mut backoff = self.backoff("wait");
        let mut looks: u32 = 0;
        loop {
            let _woken = tokio::time::timeout(WAIT_POLLING, finished.changed()).await;
            let awaited = self.0.signals.awaited_tasks();
            if awaited.is_empty() {
                continue;
            }
            let started = Instant::now();
            looks = looks.wrapping_add(1);
            let over = async {
                let mut over = self.store().finished_among(&awaited).await?;
                if looks.is_multiple_of(GONE_EVERY) {
                    // What somebody waits for was there, so it has finished, and was removed, when it is nowhere any more.
                    over.extend(self.store().unknown_among(&awaited).await?);
                }
                Ok(over)
            };
            match over.await {
                Ok(done) => {
                    backoff.succeeded();
                    self.0.signals.settle(&done);
                    // To look for thousands takes its time, and they finish one after the other: once in a while is enough.
                    tokio::time::sleep((started.elapsed() * 4).min(WAIT_POLLING)).await;
                }
                Err(error) => tokio::time::sleep(backoff.failed(&error)).await,
            }
        }
    }
}

/// Each `NOTIFY` is a transaction of its own and wakes every listener of the database, so waiting for more is worth the more the
/// oftener the same is said meanwhile, and the busier the database is, which shows in what the last one took. Where each step waits
/// for the one before, on an idle system, it is only late.
fn next_gap(gap: Duration, repeated: bool, took: Duration) -> Duration {
    let shortest = (took * 2).clamp(*GAPS.start(), *GAPS.end());
    let gap = if repeated { gap * 2 } else { gap / 2 };
    gap.clamp(shortest, *GAPS.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_ups_wait_for_more_only_where_more_comes() {
        let mut gap = *GAPS.start();
        let mut gaps = [true, true, true, true, true, false, false, false, false].map(|repeated| {
            gap = next_gap(gap, repeated, Duration::ZERO);
            gap.as_micros()
        });
        assert_eq!(gaps[..5], [2_000, 4_000, 8_000, 10_000, 10_000]);
        gaps.reverse();
        assert_eq!(gaps[..4], [1_000, 1_250, 2_500, 5_000]);
    }

    #[test]
    fn a_busy_database_hears_less_often() {
        let gap = |took| next_gap(*GAPS.start(), false, Duration::from_micros(took)).as_micros();
        assert_eq!([200, 3_000, 50_000].map(gap), [1_000, 6_000, 10_000]);
    }
}

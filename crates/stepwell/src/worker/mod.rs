//! The worker runtime: a fetcher claims, takers execute, a reporter flushes results, a heartbeat keeps the leases.
//! Takers are whatever executes steps: threads of Ruby, or tasks of tokio. They make one call a step: hand in the last
//! outcome, take the next step.

mod deadlines;
mod fetcher;
mod handler;
mod heartbeat;
mod lane;
mod lost_answers;
mod outcome;
mod passes;
mod rate;
mod reporter;
mod shares;
mod slots;
mod taker;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config;
use crate::databases::Databases;
use crate::deadline;
use crate::error::{Error, Problem, Result};
use crate::signals::lock;
use crate::store::{AttemptEnd, ClaimedStep};
use crate::telemetry::metrics::{HasSlots, SlotUse};
use crate::telemetry::target;
use crate::workflow::check_namespaces;

pub use handler::{HandlerResult, Handlers, StepHandler};
pub use outcome::{Cause, Failure, FailureKind, Outcome, RetryAfter};
pub use slots::Taken;
pub(crate) use taker::Taker;

use lane::Lane;
use slots::Slots;

/// Most takers, as `worker.concurrency` allows.
const MOST_TAKERS: u32 = 10_000;
/// How often a handler that is missing is told of.
const REMINDER: Duration = Duration::from_secs(60);

/// A worker of one process. [`stop`](Self::stop) it before dropping it.
#[derive(Debug)]
#[must_use = "a worker runs until it is stopped"]
pub struct Worker {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

/// What the parts of a worker share.
#[derive(Debug)]
struct Shared {
    /// One for each database that has some of the namespaces.
    lanes: Vec<Arc<Lane>>,
    worker_id: String,
    settings: config::Worker,
    slots: Slots,
    /// Missing handlers, and when that was told.
    unhandled: Mutex<HashMap<String, Instant>>,
    /// Set when no more steps are to be claimed.
    quiet: CancellationToken,
    /// Set when the reporter shall send what it has and end.
    closing: CancellationToken,
    /// Set when nothing is to be waited for any more.
    abort: CancellationToken,
}

impl HasSlots for Shared {
    fn slot_use(&self) -> SlotUse {
        self.slots.slot_use()
    }
}

impl Shared {
    /// Where a step came from.
    fn lane(&self, step: &ClaimedStep) -> &Lane {
        &self.lanes[step.lane]
    }

    /// Whether nobody has been told for a minute that this handler is missing.
    fn is_news(&self, handler: &str) -> bool {
        let mut told = lock(&self.unhandled);
        told.retain(|_, at| at.elapsed() < REMINDER);
        let news = !told.contains_key(handler);
        if news {
            told.insert(handler.to_owned(), Instant::now());
        }
        news
    }
}

impl Worker {
    /// Starts claiming steps of these namespaces, from the databases that they live on. `concurrency` is the number of
    /// takers, whatever the number of databases.
    ///
    /// # Errors
    /// [`Error::Validation`] for what is no namespace, and for more takers than 10,000, or none; [`Error::SchemaTooOld`] or [`Error::SchemaTooNew`] when the
    /// database is of another version than this program. Where there are several databases, one that is away does not
    /// count unless all are: its steps are claimed when it is there.
    pub async fn start(databases: impl Into<Databases>, namespaces: Vec<String>, concurrency: u32) -> Result<Self> {
        check_namespaces("the worker", &namespaces)?;
        if !(1..=MOST_TAKERS).contains(&concurrency) {
            let problem = Problem::new("concurrency", format!("{concurrency} must be from 1 to {MOST_TAKERS}"));
            return Err(Error::validation("the worker", vec![problem]));
        }
        let databases = databases.into();
        let lanes = lanes(&databases, &namespaces)?;
        let mut away = prepare(&lanes).await?;
        let settings = config::Worker { concurrency, ..databases.default().config().worker.clone() };
        let shared = Arc::new(Shared {
            worker_id: worker_id(),
            slots: Slots::new(&settings, lanes.len()),
            unhandled: Mutex::default(),
            quiet: CancellationToken::new(),
            closing: CancellationToken::new(),
            abort: CancellationToken::new(),
            settings,
            lanes,
        });
        let watched: Arc<dyn HasSlots> = shared.clone();
        databases.default().metrics().watch(Arc::downgrade(&watched));
        let tasks = TaskTracker::new();
        for lane in &shared.lanes {
            let (of_fetcher, fetched, away) = (shared.clone(), lane.clone(), away.remove(&lane.place));
            tasks.spawn(async move {
                let fetch = fetcher::run(of_fetcher.clone(), fetched.clone(), away);
                of_fetcher.abort.run_until_cancelled(fetch).await;
                fetched.drained.notify_one();
            });
            let taker = Arc::new(Taker { shared: shared.clone(), lane: lane.clone() });
            lane.database.add_taker(&taker);
            for _ in 0..reporter::REPORTERS {
                tasks.spawn(reporter::run(taker.clone()));
            }
            let (of_heartbeat, kept) = (shared.clone(), lane.clone());
            tasks.spawn(async move {
                of_heartbeat.abort.run_until_cancelled(heartbeat::run(of_heartbeat.clone(), kept)).await;
            });
        }
        tasks.spawn(deadlines::run(shared.clone()));
        tasks.close();
        tracing::info!(worker = shared.worker_id, namespaces = namespaces.join(","), concurrency, "worker started");
        Ok(Self { shared, tasks })
    }

    /// `host:pid:random`, as it stands with claims and attempts.
    pub fn id(&self) -> &str {
        &self.shared.worker_id
    }

    /// The next step if one is at hand. Never waits.
    pub fn try_take(&self) -> Taken {
        self.noted(self.shared.slots.try_take())
    }

    /// Waits for the next step on this thread, at most `timeout`. Setting `called_off`, and then
    /// [`wake_takers`](Self::wake_takers), ends the wait early, or keeps it from beginning.
    pub fn take_blocking(&self, timeout: Duration, called_off: &AtomicBool) -> Taken {
        self.noted(self.shared.slots.take_blocking(timeout, called_off))
    }

    /// Waits for the next step; none when the worker has been told to be quiet and nothing is left.
    pub async fn take(&self) -> Option<Arc<ClaimedStep>> {
        let step = self.shared.slots.take().await;
        step.as_deref().inspect(|step| self.shared.lane(step).note_start(step));
        step
    }

    fn noted(&self, taken: Taken) -> Taken {
        if let Taken::Step(step) = &taken {
            self.shared.lane(step).note_start(step);
        }
        taken
    }

    /// Ends the waits of all threads in [`take_blocking`](Self::take_blocking): they return [`Taken::Nothing`]. Who is only
    /// on the way there hears nothing of it, but looks whether the wait was called off.
    pub fn wake_takers(&self) {
        self.shared.slots.wake_takers();
    }

    /// Hands in what became of a taken step. Never waits; the reporter sends it. False when the step had been given up:
    /// then the outcome does not count, and another taker has the place of this one.
    pub fn report(&self, step: &ClaimedStep, outcome: &Outcome, took: Duration) -> bool {
        let report = outcome.report(step, took, self.shared.settings.attempt_details);
        tracing::debug!(
            target: target::STEP,
            task = %step.task_id,
            step = step.name,
            attempt = step.attempt,
            outcome = outcome.word(),
            ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "the handler has ended"
        );
        let lane = self.shared.lane(step);
        let counts = self.shared.slots.put_back(step, || {
            lane.note_end(step, outcome, took);
            lane.reports.push(report);
        });
        if let Some(traces) = lane.database.traces().filter(|_| counts) {
            traces.executed(step, outcome, took);
        }
        counts
    }

    /// Waits on this thread, at most `timeout`, for a step that was given up because its taker did not end in time: that
    /// taker is to be replaced. `called_off` and [`wake_takers`](Self::wake_takers) end it as they do with
    /// [`take_blocking`](Self::take_blocking).
    pub fn wait_hung(&self, timeout: Duration, called_off: &AtomicBool) -> Taken {
        self.shared.slots.wait_hung(timeout, called_off)
    }

    /// Stores how far a taken step is, JSON text. Returns why the attempt is no longer wanted; none while it is, or while
    /// the database is away: that is no reason for the handler to fail.
    ///
    /// # Errors
    /// [`Error::Validation`] for a progress that cannot be stored; [`Error::Database`].
    pub async fn heartbeat(&self, step: &ClaimedStep, progress: &str) -> Result<Option<AttemptEnd>> {
        let store = self.shared.lane(step).database.store();
        match store.report_progress(&self.shared.worker_id, step, progress).await {
            Err(error) if error.is_transient() => {
                tracing::debug!(target: target::STEP, task = %step.task_id, step = step.name, %error, "progress was not stored");
                Ok(None)
            }
            end => end.map_err(|error| error.if_refused("the progress", "")),
        }
    }

    /// Gives back a taken step whose handler this process lacks; another worker may have it.
    ///
    /// # Errors
    /// [`Error::Database`]; the claim then expires.
    pub async fn release_unhandled(&self, step: &Arc<ClaimedStep>) -> Result<()> {
        let shared = &self.shared;
        if !shared.slots.put_back(step, || ()) {
            return Ok(());
        }
        let settings = &shared.settings;
        if shared.is_news(&step.handler) {
            tracing::warn!(
                task = %step.task_id,
                handler = step.handler,
                step = step.name,
                workflow = step.workflow,
                version = step.version,
                "this worker has no handler for the step, it goes back for another"
            );
        }
        let lane = shared.lane(step);
        let finished = lane
            .database
            .store()
            .release_unhandled(
                &shared.worker_id,
                std::slice::from_ref(step),
                settings.unhandled_delay,
                settings.unhandled_give_up,
            )
            .await;
        lane.reports.forget(step.claim_id); // if it was not taken back, its claim must expire
        let finished = finished?;
        lane.database.signals().publish_finished(&finished);
        for task_id in finished {
            tracing::info!(target: target::TASK, workflow = step.workflow, task = %task_id, state = "error", "finished");
        }
        Ok(())
    }

    /// Stops claiming and gives back what has not been started, the attempts not counted. What runs goes on.
    pub async fn quiet(&self) {
        self.shared.quiet.cancel();
        self.shared.slots.close();
        if !self.shared.abort.is_cancelled() {
            for lane in &self.shared.lanes {
                lane.drained.notified().await;
                lane.drained.notify_one(); // for the next caller
            }
        }
    }

    /// Stops within `grace`: stops claiming, waits for what runs, sends the results, gives back what still runs with the
    /// attempt not counted. Returns how many steps were still running.
    pub async fn stop(&self, grace: Duration) -> usize {
        let deadline = deadline::after(grace);
        let shared = &self.shared;
        let _late = tokio::time::timeout_at(deadline, self.quiet()).await;
        let _late = tokio::time::timeout_at(deadline, shared.slots.idle()).await;
        let unfinished = shared.slots.abandon();
        shared.closing.cancel();
        // Results that are ready get a moment beyond the grace period; a database that is away does not get more.
        let flush_deadline = deadline.max(tokio::time::Instant::now() + Duration::from_secs(2));
        join_all(shared.lanes.iter().map(|lane| release_unfinished(shared, lane, &unfinished, flush_deadline))).await;
        if tokio::time::timeout_at(flush_deadline, self.tasks.wait()).await.is_err() {
            shared.abort.cancel();
            self.tasks.wait().await;
        }
        join_all(shared.lanes.iter().map(|lane| lane.database.flush_traces())).await;
        let lost_leases: u64 = shared.lanes.iter().map(|lane| lane.reports.lost_leases()).sum();
        tracing::info!(worker = shared.worker_id, lost_leases, "worker stopped");
        unfinished.len()
    }
}

/// The namespaces by the databases that they live on.
fn lanes(databases: &Databases, namespaces: &[String]) -> Result<Vec<Arc<Lane>>> {
    let mut by_place: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for namespace in namespaces {
        by_place.entry(databases.place(namespace)).or_default().push(namespace.clone());
    }
    let lanes = by_place.into_iter().enumerate();
    lanes
        .map(|(lane, (place, namespaces))| Ok(Arc::new(Lane::new(lane, databases.at(place)?.clone(), namespaces))))
        .collect()
}

/// Prepares what is there. Returns why the others, by place, are away.
async fn prepare(lanes: &[Arc<Lane>]) -> Result<HashMap<usize, Error>> {
    if let [only] = lanes {
        only.prepare().await?;
        return Ok(HashMap::new());
    }
    let mut away = HashMap::new();
    for (lane, reached) in lanes.iter().zip(join_all(lanes.iter().map(|lane| lane.reach())).await) {
        match reached {
            Err(error) if error.is_transient() => drop(away.insert(lane.place, error)),
            reached => reached?,
        }
    }
    if away.len() == lanes.len() {
        return away.remove(&0).map_or(Ok(HashMap::new()), Err);
    }
    Ok(away)
}

/// Gives back what takers still had from one database when the worker's time was over.
async fn release_unfinished(
    shared: &Shared,
    lane: &Lane,
    unfinished: &[Arc<ClaimedStep>],
    deadline: tokio::time::Instant,
) {
    let steps: Vec<_> = unfinished.iter().filter(|step| step.lane == lane.place).cloned().collect();
    if steps.is_empty() {
        return;
    }
    let released = lane.database.store().release_steps(&shared.worker_id, &steps, Duration::ZERO);
    match tokio::time::timeout_at(deadline, released).await {
        Ok(Ok(count)) => {
            tracing::warn!(steps = count, "steps were still running at the end of the grace period; given back")
        }
        Ok(Err(error)) => tracing::warn!(%error, "steps could not be given back; their claims expire"),
        Err(_) => tracing::warn!("steps could not be given back in time; their claims expire"),
    }
}

fn worker_id() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    format!("{host}:{}:{:06x}", std::process::id(), rand::random::<u32>() >> 8)
}

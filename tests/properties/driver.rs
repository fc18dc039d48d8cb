//! Does to the database what a case says, tells the model the same, and compares them after every action.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{ensure, Context, Result};
use serde_json::json;
use stepwell::store::{Applied, ClaimedStep};
use uuid::Uuid;

use super::case::{Action, Case, End};
use super::model::{Model, Moved, State, Try, BACKOFF_BASE, BACKOFF_CAP};
use super::snapshot::{compare, messages, next_messages, waits, START};
use crate::support::session::{sqlstate, WORKER};
use crate::support::{complete, define_with, failed, Session};

/// How often the cases came to what the test is about.
pub type Reached = BTreeMap<&'static str, usize>;

/// Everything that is neither a table's name nor a function: the next case begins with an empty database.
const RESET: &str = "
    delete from stepwell.tasks; delete from stepwell.steps; delete from stepwell.claims; delete from stepwell.step_timers;
    delete from stepwell.step_attempts; delete from stepwell.task_events; delete from stepwell.dead_letters;
    delete from stepwell.ready_steps; delete from stepwell.keyed_steps; delete from stepwell.touched_keys;
    delete from stepwell.workflows; delete from pgmq.q_task_requests; delete from pgmq.q_step_results;
    do $$ begin if to_regclass('pgmq.q_test_queue') is not null then delete from pgmq.q_test_queue; end if; end $$;";

/// Most results that come in one message: those of all that can be at hand.
const REPORT: usize = 9;

/// How many steps whose attempts count are in the queue, with workers, or on their way back.
const SENT: &str = "
    select count(*) from stepwell.steps s
     where s.state = 'enqueued'
       and exists (select from stepwell.messages_in_flight() f
                    where (f.task_id, f.position, f.attempt) = (s.task_id, s.position, s.attempt)
                      and f.place not in ('ready_steps', 'keyed_steps'))";

/// What waits, for whom, and what dispatch makes of it.
const WAITS: &str = "
    select concat_ws(' ', (select json_agg(q) from stepwell.queue_status() q), (select json_agg(r) from stepwell.ready_steps r),
                     (select json_agg(k) from stepwell.keyed_steps k), (select json_agg(t) from stepwell.touched_keys t))";

pub struct Driver<'a> {
    session: &'a mut Session,
    case: &'a Case,
    reached: &'a mut Reached,
    model: Model,
    tasks: Vec<Uuid>,
    /// What the worker holds, or believes to hold, oldest first.
    hands: Vec<ClaimedStep>,
    /// What any worker ever held, oldest first.
    held: Vec<ClaimedStep>,
    /// How often each step was executed.
    executions: BTreeMap<(usize, usize), usize>,
}

impl<'a> Driver<'a> {
    /// Submits the tasks of a case to an empty database.
    pub async fn start(session: &'a mut Session, case: &'a Case, reached: &'a mut Reached) -> Result<Self> {
        session.run(RESET).await?;
        session.set_clock(START).await?;
        let steps: Vec<_> = case
            .nodes
            .iter()
            .enumerate()
            .map(|(place, node)| {
                let depends_on: Vec<String> = node.depends_on.iter().map(|place| format!("s{place}")).collect();
                let backoff =
                    json!({ "base": format!("{BACKOFF_BASE}s"), "cap": format!("{BACKOFF_CAP}s"), "jitter": 0.0 });
                json!({ "name": format!("s{place}"), "depends_on": depends_on, "max_attempts": node.max_attempts,
                    "backoff": backoff })
            })
            .collect();
        let keys = match case.key_limit {
            Some(limit) => json!({ "concurrency": { "key": "customer.id", "limit": limit } }),
            None => json!({}),
        };
        session.register(&define_with("random", steps.into(), keys)).await?;
        let window = if case.short_queue { 1 } else { 1_000 };
        session.run(&format!("select stepwell.configure_dispatch({window}, '60 s')")).await?;
        let context = json!({ "customer": { "id": 7 } });
        let request =
            |number| json!({ "workflow": "test/random", "context": context, "correlation_id": format!("{number}") });
        let requests: Vec<String> = (0..case.tasks).map(|number| request(number).to_string()).collect();
        let tasks = session.submit(&requests).await?.iter().map(|task| task.task_id).collect();
        let model = Model::new(&case.nodes, case.tasks);
        let driver = Self {
            session,
            case,
            reached,
            model,
            tasks,
            hands: Vec::new(),
            held: Vec::new(),
            executions: BTreeMap::new(),
        };
        compare(driver.session, &driver.model).await?;
        Ok(driver)
    }

    /// The whole case.
    pub async fn run(&mut self) -> Result<()> {
        for (place, action) in self.case.actions.iter().enumerate() {
            self.act(*action).await.with_context(|| format!("action {place}: {action:?}"))?;
        }
        self.settle().await.context("after the actions")?;
        for action in &self.case.afterwards {
            self.act(*action).await.with_context(|| format!("afterwards: {action:?}"))?;
            self.settle().await.with_context(|| format!("after {action:?}"))?;
        }
        Ok(())
    }

    /// Lets everything run and time pass until nothing moves. Then every task has ended, and nothing is on its way.
    async fn settle(&mut self) -> Result<()> {
        for _round in 0..2_000 {
            let before = (self.model.moving(), self.held.len());
            let moving = [
                Action::Initialize(9, 0),
                Action::Dispatch(5),
                Action::Claim(7),
                Action::Work(9, false, false),
                Action::Apply(8),
            ];
            for action in moving {
                self.act(action).await.with_context(|| format!("{action:?}"))?;
            }
            if (self.model.moving(), self.held.len()) != before {
                continue;
            }
            if self.model.timers.is_empty() && self.model.claims.is_empty() {
                let why: String = self.session.value(WAITS).await?;
                ensure!(self.model.queue.is_empty() && self.model.results.is_empty(), "nothing moves: {why}");
                return self.assert_settled();
            }
            for action in [Action::Pass(61), Action::Wake, Action::Recover(9)] {
                self.act(action).await.with_context(|| format!("{action:?}"))?;
            }
        }
        anyhow::bail!("it never ends");
    }

    fn assert_settled(&mut self) -> Result<()> {
        for (number, task) in &self.model.tasks {
            ensure!(["complete", "error", "cancelled"].contains(&task.state), "task {number} is {}", task.state);
            *self.reached.entry(task.state).or_default() += 1;
        }
        ensure!(self.model.tasks.len() == self.tasks.len(), "a task was never initialized");
        Ok(())
    }

    async fn act(&mut self, action: Action) -> Result<()> {
        match action {
            Action::Initialize(batch, take) => {
                let initialized = self.session.initialize_for(batch as i32, take).await?;
                let expected = self.model.initialize(batch);
                ensure!((initialized.popped, initialized.initialized) == (expected, expected), "{initialized:?}");
                ensure!(initialized.claimed.len() <= take as usize, "{initialized:?}");
                self.reach("begun in a batch", expected > 1 && !initialized.claimed.is_empty());
                self.hand_over(initialized.claimed)?;
            }
            Action::Claim(batch) => self.claim(batch).await?,
            Action::Work(count, newest_first, at_once) => self.work(count, newest_first, at_once).await?,
            Action::Apply(batch) => {
                let reported = self.model.results.len();
                let applied = self.session.apply(batch as i32).await?;
                let popped = applied.popped as usize; // whole messages: half of the batch at least, and the rest of a message
                ensure!(
                    popped >= reported.min((batch / 2).max(1)) && popped < batch + REPORT,
                    "{applied:?} of {reported}"
                );
                let results = self.model.results.drain(..popped).collect();
                let expected = self.model.apply(results);
                self.moved(&applied, expected)?;
            }
            Action::Dispatch(batch) => {
                let dispatched = self.session.dispatch(batch as i32).await?;
                ensure!(dispatched.dispatched <= batch as i32, "{dispatched:?}");
                self.reach("dispatched", dispatched.dispatched > 0);
            }
            Action::Wake => {
                let woken = self.session.wake_due(1_000).await?;
                let expected = self.model.wake();
                self.reach("dropped timer", expected.0 > expected.1);
                same((woken.popped, woken.woken), expected)?;
            }
            Action::Recover(batch) => {
                let recovered = self.session.recover(batch as i32).await?;
                let expected = self.model.recover(batch, &waits(self.session).await?);
                self.reach("lost lease", expected.1.again > 0);
                self.reach("last attempt lost", expected.1.failed > 0);
                let finished = self.numbers(&recovered.finished)?;
                let moved =
                    Moved { again: recovered.recovered, failed: recovered.failed, finished, ..Moved::default() };
                same((recovered.popped, moved), expected)?;
            }
            Action::Heartbeat => {
                let claims: BTreeSet<i64> = self.hands.iter().map(|step| step.claim_id).collect();
                let alive = self.session.heartbeat(WORKER, &Vec::from_iter(claims.clone()), "60 s").await?;
                same(BTreeSet::from_iter(alive), self.model.heartbeat(&claims))?;
            }
            Action::Kill => {
                self.reach("killed worker", !self.hands.is_empty());
                self.hands.clear();
            }
            Action::Stray(choice) => self.stray(choice).await?,
            Action::Pass(seconds) => {
                self.session.advance_clock(&format!("{seconds} s")).await?;
                self.model.now += seconds;
            }
            Action::Cancel(number) => self.cancel(number % self.tasks.len()).await?,
            Action::Retry(number) => {
                let number = number % self.tasks.len();
                let state = self.model.tasks.get(&number).map(|task| task.state);
                let retried = self.session.retry(self.tasks[number]).await;
                let expected = self.model.retry(number);
                self.reach("retry refused", !expected);
                self.reach("retry of a task in error", expected && state == Some("error"));
                self.reach("retry of a task in progress", expected && state == Some("in_progress"));
                match expected {
                    true => same(retried?, vec!["test".to_owned()])?,
                    false => same(sqlstate(retried).as_deref(), Some("SW005"))?,
                }
            }
        }
        if let Some(limit) = self.case.key_limit {
            let sent: i64 = self.session.value(SENT).await?;
            self.reach("waits for its key", sent < self.model.queue.len() as i64);
            ensure!(sent <= i64::from(limit), "{sent} steps of a key with a limit of {limit}");
        }
        compare(self.session, &self.model).await
    }

    async fn claim(&mut self, batch: usize) -> Result<()> {
        let mut popped = next_messages(self.session, 20 * batch).await?;
        let of_use = popped.chunks(batch).position(|fetch| fetch.iter().any(|it| self.model.counts(*it)));
        popped.truncate(of_use.map_or(20, |fetches| fetches + 1) * batch); // one fetch after the other until one is
        let steps = self.session.claim(batch as i32).await?;
        let expected = self.model.claim(&popped, steps.first().map(|step| step.claim_id));
        self.reach("dropped message", expected.len() < popped.len());
        let claimed = steps.iter().map(|step| self.place(step)).collect::<Result<BTreeSet<Try>>>()?;
        ensure!(claimed == expected && claimed.len() == steps.len(), "claimed {steps:?}, expected {expected:?}");
        self.held.extend_from_slice(&steps);
        self.hands.extend(steps);
        Ok(())
    }

    /// The steps' scripts say how each execution ends.
    async fn work(&mut self, count: usize, newest_first: bool, at_once: bool) -> Result<()> {
        let reported = self.model.results.len();
        let count = count.min(self.hands.len());
        let hands: Vec<ClaimedStep> = match newest_first {
            true => self.hands.drain(self.hands.len() - count..).rev().collect(),
            false => self.hands.drain(..count).collect(),
        };
        let (mut reports, mut refused) = (Vec::new(), Vec::new());
        for step in &hands {
            let it = self.place(step)?;
            let execution = self.executions.entry((it.task, it.step)).or_default();
            let end = self.case.nodes[it.step].ends.get(*execution).copied();
            *execution += 1;
            let one = std::slice::from_ref(step);
            match end {
                Some(End::Lost) => continue,
                Some(End::Released) => {
                    let expected = self.model.release(step.claim_id, it);
                    same(self.session.release_as(WORKER, one).await?, i32::from(expected))?;
                    continue;
                }
                Some(End::Unhandled) => {
                    let expected = self.model.give_up(step.claim_id, it);
                    self.reach("step given up", expected.failed > 0);
                    let finished = self.session.release_unhandled(one, "0 s").await?;
                    same(self.numbers(&finished)?, expected.finished)?;
                    continue;
                }
                None => reports.push(complete(step, &(1 + sum(step)?).to_string())),
                Some(End::Permanent) => reports.push(failed(step, "permanent", "")),
                Some(End::Timeout) => reports.push(failed(step, "timeout", "")),
                Some(End::RetryLater) => reports.push(failed(step, "retryable", r#""retry_after": 1e6"#)),
                Some(End::Retryable) => reports.push(failed(step, "retryable", "")),
            }
            if !self.model.report(step.claim_id, it, end) {
                refused.push(reports.len() as i32);
            }
        }
        self.reach("late report", !refused.is_empty());
        if !at_once {
            return same(self.session.report(&reports).await?, refused);
        }
        let settled = match self.session.settle_at_once(&reports, 2).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("SW008") => {
                let stale = self.model.results.iter().skip(reported).any(|(it, ..)| !self.model.counts(*it));
                ensure!(stale, "{error}, but it has not");
                self.reach("settled by the queue", true);
                return same(self.session.report(&reports).await?, refused); // what a worker does then
            }
            settled => settled?,
        };
        same(settled.refused, refused)?;
        let results = self.model.results.split_off(reported).into();
        let expected = self.model.apply(results);
        self.reach("settled", expected.completed > 0);
        self.moved(&settled.applied, expected)?;
        self.reach("handed over", !settled.claimed.is_empty());
        self.hand_over(settled.claimed)
    }

    /// Steps came past the queue, claimed.
    fn hand_over(&mut self, claimed: Vec<ClaimedStep>) -> Result<()> {
        for claim in claimed.chunk_by(|one, other| one.claim_id == other.claim_id) {
            let steps: Vec<Try> = claim.iter().map(|step| self.place(step)).collect::<Result<_>>()?;
            same(self.model.claim(&steps, Some(claim[0].claim_id)), steps.into_iter().collect())?;
        }
        self.held.extend_from_slice(&claimed);
        self.hands.extend(claimed);
        Ok(())
    }

    /// What was applied is what the model says.
    fn moved(&mut self, applied: &Applied, expected: Moved) -> Result<()> {
        self.reach("stale result", expected.stale > 0);
        ensure!(applied.dead == 0, "{applied:?}");
        let (completed, again, failed) = (applied.completed, applied.retried, applied.failed);
        let finished = self.numbers(&applied.finished)?;
        same(Moved { completed, again, failed, stale: applied.stale, finished }, expected)
    }

    /// Sends a result again, or for the first time: of an attempt that no longer counts, so it must not.
    async fn stray(&mut self, choice: usize) -> Result<()> {
        let Some(step) = self.held.get(choice.min(self.held.len().saturating_sub(1))).cloned() else { return Ok(()) };
        let it = self.place(&step)?;
        let on_its_way = self.model.queue.contains(&it)
            || self.model.results.iter().any(|(reported, ..)| *reported == it)
            || self.model.claims.values().any(|claim| claim.tries.contains(&it));
        if !self.model.counts(it) && !on_its_way {
            self.reach("stray result", true);
            self.session.send("step_results", &complete(&step, "-1")).await?;
            self.model.results.push_back((it, None, -1));
        }
        Ok(())
    }

    async fn cancel(&mut self, number: usize) -> Result<()> {
        let of_it = |it: &Try| it.task == number;
        let task = self.model.tasks.get(&number);
        let running = task.is_some_and(|task| task.state == "in_progress");
        let some = |state: fn(&State) -> bool| task.is_some_and(|t| t.steps.iter().any(|step| state(&step.state)));
        let moments = [
            ("cancel before initialize", task.is_none()),
            ("cancel while enqueued", running && self.model.queue.iter().any(of_it)),
            ("cancel while claimed", running && self.model.claims.values().any(|claim| claim.tries.iter().any(of_it))),
            ("cancel before a result is applied", running && self.model.results.iter().any(|(it, ..)| of_it(it))),
            ("cancel after some completed", running && some(|state| *state == State::Complete)),
            ("cancel while a retry waits", running && some(|state| matches!(state, State::Waiting { .. }))),
            ("cancel of a task in error", task.is_some_and(|task| task.state == "error")),
            ("cancel of a finished task", task.is_some_and(|task| ["complete", "cancelled"].contains(&task.state))),
        ];
        moments.into_iter().for_each(|(moment, is)| self.reach(moment, is));
        same(self.session.cancel(self.tasks[number]).await?.as_str(), self.model.cancel(number))?;
        // What still waited for its turn is withdrawn; what was in the queue stays there, and is dropped when it is claimed.
        let left = messages(self.session).await?;
        self.reach("withdrawn", self.model.queue.iter().any(|it| of_it(it) && !left.contains(it)));
        self.model.queue.retain(|it| !of_it(it) || left.contains(it));
        Ok(())
    }

    fn reach(&mut self, what: &'static str, is: bool) {
        *self.reached.entry(what).or_default() += usize::from(is);
    }

    fn place(&self, step: &ClaimedStep) -> Result<Try> {
        let task = self.number(step.task_id)?;
        ensure!(step.name == format!("s{}", step.position), "{step:?}");
        Ok(Try { task, step: step.position as usize, attempt: step.attempt })
    }

    fn number(&self, task: Uuid) -> Result<usize> {
        self.tasks.iter().position(|known| *known == task).context("a task of another case")
    }

    fn numbers(&self, tasks: &[Uuid]) -> Result<BTreeSet<usize>> {
        let numbers = tasks.iter().map(|task| self.number(*task)).collect::<Result<BTreeSet<usize>>>()?;
        ensure!(numbers.len() == tasks.len(), "a task ended twice");
        Ok(numbers)
    }
}

fn same<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<()> {
    ensure!(found == expected, "the database says {found:?}, the model {expected:?}");
    Ok(())
}

fn sum(step: &ClaimedStep) -> Result<i64> {
    let results: BTreeMap<String, i64> = serde_json::from_str(step.results.as_deref().unwrap_or("{}"))?;
    Ok(results.values().sum())
}

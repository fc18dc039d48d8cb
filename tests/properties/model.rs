//! The rules in memory, without SQL: what each action must change. Independent of the product: it knows no queues but
//! lists, counts nothing that it can look up, and takes from the database only which messages came first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::case::{End, Node};

pub const LEASE: i64 = 60;
pub const BACKOFF_BASE: i64 = 2;
pub const BACKOFF_CAP: i64 = 8;

/// An attempt of a step of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Try {
    pub task: usize,
    pub step: usize,
    pub attempt: i16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending,
    Enqueued,
    Waiting { until: i64 },
    Complete,
    Error,
    Cancelled,
}

#[derive(Debug, Clone)]
pub struct Step {
    pub state: State,
    pub attempt: i16,
    pub max_attempts: i16,
    pub result: Option<i64>,
    /// How its attempts failed, in order.
    pub failures: Vec<&'static str>,
}

#[derive(Debug, Clone)]
pub struct Task {
    pub state: &'static str,
    pub steps: Vec<Step>,
    pub events: Vec<&'static str>,
}

#[derive(Debug)]
pub struct Claim {
    pub expires: i64,
    pub tries: BTreeSet<Try>,
}

/// How many steps an action completed, sent to another attempt, failed; how many results it dropped; the tasks it ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub completed: i32,
    pub again: i32,
    pub failed: i32,
    pub stale: i32,
    pub finished: BTreeSet<usize>,
}

/// How long a step waits after this attempt, unless it asks for something else.
fn backoff(attempt: i16) -> i64 {
    (BACKOFF_BASE << (attempt - 1).min(40)).min(BACKOFF_CAP)
}

/// The world.
#[derive(Debug)]
pub struct Model {
    nodes: Vec<Node>,
    pub now: i64,
    pub requests: VecDeque<usize>,
    /// A task is there once it is initialized.
    pub tasks: BTreeMap<usize, Task>,
    pub queue: Vec<Try>,
    pub claims: BTreeMap<i64, Claim>,
    pub results: VecDeque<(Try, Option<End>, i64)>,
    pub timers: BTreeSet<(i64, usize, usize)>,
}

impl Model {
    /// `tasks` tasks are submitted.
    pub fn new(nodes: &[Node], tasks: usize) -> Self {
        Self {
            nodes: nodes.to_vec(),
            now: 0,
            requests: (0..tasks).collect(),
            tasks: BTreeMap::new(),
            queue: Vec::new(),
            claims: BTreeMap::new(),
            results: VecDeque::new(),
            timers: BTreeSet::new(),
        }
    }

    /// What is different after anything has moved that needs no time to pass.
    pub fn moving(&self) -> (usize, Vec<Try>, BTreeSet<i64>, usize) {
        (self.requests.len(), self.queue.clone(), self.claims.keys().copied().collect(), self.results.len())
    }

    pub fn initialize(&mut self, batch: usize) -> i32 {
        let popped: Vec<usize> = self.requests.drain(..batch.min(self.requests.len())).collect();
        popped.iter().for_each(|number| self.start(*number));
        popped.len() as i32
    }

    fn start(&mut self, number: usize) {
        let step = |node: &Node| Step {
            state: State::Pending,
            attempt: 0,
            max_attempts: node.max_attempts,
            result: None,
            failures: Vec::new(),
        };
        let steps = self.nodes.iter().map(step).collect();
        self.tasks.insert(number, Task { state: "in_progress", steps, events: Vec::new() });
        self.enqueue_ready(number);
    }

    /// Every step that waits for nothing any more gets its first attempt.
    fn enqueue_ready(&mut self, number: usize) {
        for place in 0..self.nodes.len() {
            if self.step(number, place).state == State::Pending && self.open_dependencies(number, place) == 0 {
                self.enqueue(number, place);
            }
        }
    }

    fn enqueue(&mut self, task: usize, step: usize) {
        let it = self.step(task, step);
        it.state = State::Enqueued;
        it.attempt += 1;
        let attempt = it.attempt;
        self.queue.push(Try { task, step, attempt });
    }

    fn step(&mut self, task: usize, step: usize) -> &mut Step {
        &mut self.tasks.get_mut(&task).expect("an initialized task").steps[step]
    }

    /// How many of the steps that a step waits for are not complete.
    pub fn open_dependencies(&self, task: usize, step: usize) -> usize {
        let steps = &self.tasks[&task].steps;
        self.nodes[step].depends_on.iter().filter(|place| steps[**place].state != State::Complete).count()
    }

    /// Whether an attempt still counts.
    pub fn counts(&self, it: Try) -> bool {
        let step = &self.tasks[&it.task].steps[it.step];
        step.state == State::Enqueued && step.attempt == it.attempt
    }

    /// These messages were popped; the answer is what of them the claim holds.
    pub fn claim(&mut self, popped: &[Try], claim: Option<i64>) -> BTreeSet<Try> {
        for it in popped {
            let place = self.queue.iter().position(|queued| queued == it).expect("the queues were compared");
            self.queue.remove(place);
        }
        let tries: BTreeSet<Try> = popped.iter().copied().filter(|it| self.counts(*it)).collect();
        if let (Some(claim), false) = (claim, tries.is_empty()) {
            self.claims.insert(claim, Claim { expires: self.now + LEASE, tries: tries.clone() });
        }
        tries
    }

    /// Takes an attempt out of its claim; false when that does not hold it (any more).
    fn let_go(&mut self, claim: i64, it: Try) -> bool {
        let held = self.claims.get_mut(&claim).is_some_and(|claim| claim.tries.remove(&it));
        self.claims.retain(|_, claim| !claim.tries.is_empty());
        held
    }

    /// Returns whether the report is accepted. A result is one more than the sum of those it waited for.
    pub fn report(&mut self, claim: i64, it: Try, end: Option<End>) -> bool {
        let held = self.let_go(claim, it);
        if held {
            let steps = &self.tasks[&it.task].steps;
            let result =
                self.nodes[it.step].depends_on.iter().filter_map(|place| steps[*place].result).sum::<i64>() + 1;
            self.results.push_back((it, end, result));
        }
        held
    }

    /// Returns whether the step was given back.
    pub fn release(&mut self, claim: i64, it: Try) -> bool {
        let held = self.let_go(claim, it);
        if held {
            self.queue.push(it);
        }
        held
    }

    /// Gives a step up for which there is no handler. Returns what that moved.
    pub fn give_up(&mut self, claim: i64, it: Try) -> Moved {
        let mut moved = Moved::default();
        if self.counts(it) && self.let_go(claim, it) {
            self.fail(it, "permanent", false, None, &mut moved);
        } else {
            self.release(claim, it); // cancelled since: the message is dropped when it is read
        }
        moved
    }

    /// Returns those of the claims that still exist.
    pub fn heartbeat(&mut self, claims: &BTreeSet<i64>) -> BTreeSet<i64> {
        let expires = self.now + LEASE;
        claims
            .iter()
            .copied()
            .filter(|id| self.claims.get_mut(id).map(|claim| claim.expires = expires).is_some())
            .collect()
    }

    pub fn apply(&mut self, results: Vec<(Try, Option<End>, i64)>) -> Moved {
        let mut moved = Moved::default();
        for (it, end, result) in results {
            match end {
                _ if !self.counts(it) => moved.stale += 1,
                None => self.complete(it, result, &mut moved),
                Some(End::Permanent) => self.fail(it, "permanent", false, None, &mut moved),
                Some(End::Timeout) => self.fail(it, "timeout", true, None, &mut moved),
                Some(End::RetryLater) => self.fail(it, "retryable", true, Some(BACKOFF_CAP), &mut moved),
                Some(_) => self.fail(it, "retryable", true, None, &mut moved),
            }
        }
        moved
    }

    fn complete(&mut self, it: Try, result: i64, moved: &mut Moved) {
        let step = self.step(it.task, it.step);
        (step.state, step.result) = (State::Complete, Some(result));
        moved.completed += 1;
        self.enqueue_ready(it.task);
        self.settle(it.task, moved);
    }

    fn fail(&mut self, it: Try, kind: &'static str, again: bool, delay: Option<i64>, moved: &mut Moved) {
        let now = self.now;
        let step = self.step(it.task, it.step);
        step.failures.push(kind);
        if again && step.attempt < step.max_attempts {
            let until = now + delay.unwrap_or(backoff(step.attempt));
            step.state = State::Waiting { until };
            self.timers.insert((until, it.task, it.step));
            moved.again += 1;
        } else {
            step.state = State::Error;
            moved.failed += 1;
        }
        self.settle(it.task, moved);
    }

    /// A task is complete when all its steps are, and in error when one is and nothing moves.
    fn settle(&mut self, number: usize, moved: &mut Moved) {
        let task = self.tasks.get_mut(&number).expect("an initialized task");
        let any = |state: fn(&State) -> bool| task.steps.iter().any(|step| state(&step.state));
        let moves = any(|state| matches!(state, State::Enqueued | State::Waiting { .. }));
        let ended = if !any(|state| *state != State::Complete) {
            "complete"
        } else if !moves && any(|state| *state == State::Error) {
            "error"
        } else {
            return;
        };
        task.state = ended;
        moved.finished.insert(number);
    }

    /// Returns how many timers were due, and how many steps they woke.
    pub fn wake(&mut self) -> (i32, i32) {
        let due: Vec<_> = self.timers.iter().copied().filter(|(due, ..)| *due <= self.now).collect();
        let mut woken = 0;
        for timer @ (_, task, step) in &due {
            self.timers.remove(timer);
            if matches!(self.tasks[task].steps[*step].state, State::Waiting { until } if until <= self.now) {
                self.enqueue(*task, *step);
                woken += 1;
            }
        }
        (due.len() as i32, woken)
    }

    /// Returns how many claims had expired, the oldest first, and what became of their steps. One that was lost before
    /// waits for a random share of its backoff, which only the database knows: `waits`.
    pub fn recover(&mut self, batch: usize, waits: &BTreeMap<(usize, usize), i64>) -> (i32, Moved) {
        let expired: Vec<i64> =
            self.claims.iter().filter(|(_, claim)| claim.expires <= self.now).map(|(id, _)| *id).take(batch).collect();
        let mut moved = Moved::default();
        for id in &expired {
            for it in self.claims.remove(id).expect("it was there").tries {
                if !self.counts(it) {
                    continue;
                }
                let now = self.now;
                let step = self.step(it.task, it.step);
                let again = step.attempt < step.max_attempts;
                if again && step.failures.last() == Some(&"lost_lease") {
                    let share = waits.get(&(it.task, it.step)).map(|until| until - now);
                    let share = share.filter(|share| (1..=backoff(step.attempt)).contains(share));
                    self.fail(it, "lost_lease", true, share, &mut moved);
                } else if again {
                    step.failures.push("lost_lease");
                    self.enqueue(it.task, it.step);
                    moved.again += 1;
                } else {
                    self.fail(it, "lost_lease", false, None, &mut moved);
                }
            }
        }
        (expired.len() as i32, moved)
    }

    /// A task that waits in the queue is initialized first. Returns the state it is in then.
    pub fn cancel(&mut self, number: usize) -> &'static str {
        if let Some(place) = self.requests.iter().position(|request| *request == number) {
            self.requests.remove(place);
            self.start(number);
        }
        let task = self.tasks.get_mut(&number).expect("an initialized task");
        if task.state != "complete" && task.state != "cancelled" {
            task.state = "cancelled";
            task.events.push("cancel");
            task.steps.iter_mut().filter(|step| step.state != State::Complete).for_each(|s| s.state = State::Cancelled);
        }
        task.state
    }

    /// Failed steps get as many attempts again as they had. Returns whether there was one.
    pub fn retry(&mut self, number: usize) -> bool {
        let Some(task) = self.tasks.get_mut(&number) else { return false };
        let failed: Vec<usize> =
            (0..task.steps.len()).filter(|place| task.steps[*place].state == State::Error).collect();
        if failed.is_empty() {
            return false;
        }
        task.state = "in_progress";
        task.events.push("retry");
        for place in failed {
            let more = self.nodes[place].max_attempts;
            let step = self.step(number, place);
            step.max_attempts = step.attempt + more;
            self.enqueue(number, place);
        }
        true
    }
}

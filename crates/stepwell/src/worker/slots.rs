//! The steps that a worker holds: those at hand in claim order, those that takers have. Decides how many more to claim.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use uuid::Uuid;

use super::rate::Rate;
use super::shares::Shares;
use crate::config;
use crate::signals::lock;
use crate::store::ClaimedStep;
use crate::telemetry::metrics::{HasSlots, SlotUse};

/// How long results wait for others at most: little beside what these steps take, and enough for a report of several.
const PATIENCE: Duration = Duration::from_millis(5);

/// How many results may come in that time: where there are more, waiting brings no larger reports.
const GATHER: f64 = 10.0;

/// What a taker got.
#[derive(Debug)]
pub enum Taken {
    /// A step to execute.
    Step(Arc<ClaimedStep>),
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will come: the worker is quiet.
    Closed,
}

#[derive(Debug)]
pub(super) struct Slots {
    state: Mutex<State>,
    /// For threads that wait for a step.
    at_hand: Condvar,
    /// For tasks that wait for a step.
    at_hand_async: Notify,
    /// For the fetchers, one a lane: takers have made room.
    rooms: Vec<Notify>,
    /// For whoever waits until nothing runs.
    settled: Notify,
    /// For whoever replaces takers that hang.
    hangs: Condvar,
    concurrency: usize,
    claim_batch: usize,
    prefetch: Duration,
    lease: Duration,
}

#[derive(Debug)]
struct State {
    buffer: VecDeque<Held>,
    /// Of each lane, when the last heartbeat that succeeded set out: every claim there was then is held for a lease from
    /// there.
    confirmed: Vec<Instant>,
    /// Of each lane, claims of steps that were not started because their lease had passed, until somebody asks.
    expired: Vec<Vec<i64>>,
    shares: Shares,
    running: HashMap<(Uuid, i16, i16), Running>,
    /// Steps that were given up because their takers hang, until somebody has heard of it.
    hung: VecDeque<Arc<ClaimedStep>>,
    closed: bool,
    rate: Rate,
}

/// What a worker lacks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) steps: usize,
    /// Whether its steps take so short that the slots finish as many as there are of them within the prefetch time.
    pub(super) brief: bool,
}

/// A step at hand.
#[derive(Debug)]
struct Held {
    step: Arc<ClaimedStep>,
    /// When its claim set out.
    since: Instant,
}

#[derive(Debug)]
struct Running {
    step: Arc<ClaimedStep>,
    since: Instant,
}

impl Running {
    /// Whether the attempt is out of time, and out of the time that its taker had to end it.
    fn hangs(&self, grace: Duration) -> bool {
        let limit = self.step.timeout_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        limit.is_some_and(|limit| self.since.elapsed() >= limit + grace)
    }
}

impl State {
    /// How many steps of each lane are at hand or taken.
    fn held(&self, lanes: usize) -> Vec<usize> {
        let mut held = vec![0; lanes];
        self.buffer.iter().for_each(|it| held[it.step.lane] += 1);
        self.running.values().for_each(|it| held[it.step.lane] += 1);
        held
    }
}

impl HasSlots for Slots {
    fn slot_use(&self) -> SlotUse {
        let state = lock(&self.state);
        SlotUse { slots: self.concurrency, busy: state.running.len(), at_hand: state.buffer.len() }
    }
}

impl Slots {
    /// For the steps of so many lanes.
    pub(super) fn new(settings: &config::Worker, lanes: usize) -> Self {
        Self {
            state: Mutex::new(State {
                buffer: VecDeque::new(),
                confirmed: vec![Instant::now(); lanes],
                expired: vec![Vec::new(); lanes],
                shares: Shares::new(lanes),
                running: HashMap::new(),
                hung: VecDeque::new(),
                closed: false,
                rate: Rate::new(Instant::now()),
            }),
            at_hand: Condvar::new(),
            at_hand_async: Notify::new(),
            rooms: (0..lanes).map(|_| Notify::new()).collect(),
            settled: Notify::new(),
            hangs: Condvar::new(),
            concurrency: settings.concurrency as usize,
            claim_batch: settings.claim_batch as usize,
            prefetch: settings.prefetch,
            lease: settings.lease,
        }
    }

    /// How many steps to claim now: the free slots plus what will be finished within the prefetch time at the recent
    /// rate, without the `coming`, which results on their way will bring where steps are brief: where they take long, a free slot
    /// does not wait. Nothing while half of that is still at hand, or less than what comes is missing, so that claims stay large.
    /// Of several lanes each gets its share, and says with
    /// [`claimed`](Self::claimed) when its claim has ended.
    pub(super) fn demand(&self, lane: usize, coming: usize) -> usize {
        let mut state = lock(&self.state);
        if state.closed {
            return 0;
        }
        let ahead = self.ahead(&mut state);
        if state.buffer.len() > ahead / 2 {
            return 0;
        }
        if state.shares.is_shared() {
            let held = state.held(self.rooms.len());
            return state.shares.demand(lane, self.concurrency + ahead, &held, self.claim_batch);
        }
        let coming = if self.are_brief(ahead) { coming } else { 0 };
        let held = state.buffer.len() + state.running.len() + coming;
        let missing = (self.concurrency + ahead).saturating_sub(held);
        if missing < coming {
            return 0;
        }
        missing.min(self.claim_batch)
    }

    /// The same for steps that come without being claimed, where one database has them all: however few they are, and as many
    /// as the results, or the requests, that they come with.
    pub(super) fn lacks(&self, results: usize) -> Room {
        let mut state = lock(&self.state);
        let ahead = self.ahead(&mut state);
        let held = state.buffer.len() + state.running.len();
        let missing = (self.concurrency + ahead).saturating_sub(held);
        Room { steps: missing.min(self.claim_batch.max(results)), brief: self.are_brief(ahead) }
    }

    /// How long results may wait for others to be reported with: half as long as the steps at hand last at the recent rate, so
    /// that the slots have work when what the report brings comes. Not at all where steps end so fast that their results come
    /// together anyway.
    pub(super) fn patience(&self) -> Duration {
        let mut state = lock(&self.state);
        let rate = state.rate.current(Instant::now());
        if state.buffer.is_empty() || rate * PATIENCE.as_secs_f64() > GATHER {
            return Duration::ZERO;
        }
        PATIENCE.min(Duration::from_secs_f64(state.buffer.len() as f64 / 2.0 / rate.max(1.0)))
    }

    fn are_brief(&self, ahead: usize) -> bool {
        ahead >= self.concurrency
    }

    /// How many steps will be finished within the prefetch time.
    fn ahead(&self, state: &mut State) -> usize {
        (state.rate.current(Instant::now()) * self.prefetch.as_secs_f64()) as usize
    }

    /// A claim of `want` steps of a lane has ended and brought so many; none when it failed.
    pub(super) fn claimed(&self, lane: usize, want: usize, brought: Option<usize>) {
        if self.rooms.len() > 1 {
            lock(&self.state).shares.claimed(lane, want, brought);
            self.make_room(); // what it did not use is the others'
        }
    }

    /// A lane claims nothing for now.
    pub(super) fn rest(&self, lane: usize) {
        if self.rooms.len() > 1 {
            lock(&self.state).shares.rest(lane);
        }
    }

    /// Told when there may be something to claim for a lane, or results are no longer behind.
    pub(super) fn room(&self, lane: usize) -> &Notify {
        &self.rooms[lane]
    }

    /// Lets the fetchers look again.
    pub(super) fn make_room(&self) {
        self.rooms.iter().for_each(Notify::notify_one);
    }

    /// Takes in what a claim that set out at `since` has brought.
    pub(super) fn put_at_hand(&self, steps: Vec<ClaimedStep>, since: Instant) {
        let count = steps.len();
        let mut state = lock(&self.state);
        state.rate.fed(Instant::now());
        state.buffer.extend(steps.into_iter().map(|step| Held { step: Arc::new(step), since }));
        drop(state);
        self.announce(count);
    }

    /// Wakes as many takers as there are new steps at hand.
    fn announce(&self, count: usize) {
        if count == 1 {
            self.at_hand.notify_one();
            self.at_hand_async.notify_one();
        } else {
            self.at_hand.notify_all();
            for _ in 0..count.min(self.concurrency) {
                self.at_hand_async.notify_one();
            }
            self.at_hand_async.notify_waiters();
        }
    }

    /// As [`put_at_hand`](Self::put_at_hand), of what came back with results. When the worker is quiet nothing is taken in any
    /// more, and all comes back.
    pub(super) fn put_at_hand_unless_closed(&self, steps: Vec<ClaimedStep>, since: Instant) -> Vec<Arc<ClaimedStep>> {
        let count = steps.len();
        let steps = steps.into_iter().map(Arc::new);
        let mut state = lock(&self.state);
        if state.closed {
            return steps.collect();
        }
        state.rate.fed(Instant::now());
        state.buffer.extend(steps.map(|step| Held { step, since }));
        drop(state);
        self.announce(count);
        Vec::new()
    }

    pub(super) fn try_take(&self) -> Taken {
        self.take_from(&mut lock(&self.state))
    }

    /// `called_off` is looked at under the lock that [`wake_takers`](Self::wake_takers) takes after it was set: so either it is
    /// seen here, or the wake-up is heard.
    pub(super) fn take_blocking(&self, timeout: Duration, called_off: &AtomicBool) -> Taken {
        let mut state = lock(&self.state);
        let mut taken = self.take_from(&mut state);
        if matches!(taken, Taken::Nothing) && !called_off.load(Relaxed) {
            (state, _) = self.at_hand.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner);
            taken = self.take_from(&mut state);
        }
        taken
    }

    pub(super) async fn take(&self) -> Option<Arc<ClaimedStep>> {
        loop {
            let at_hand = self.at_hand_async.notified();
            match self.try_take() {
                Taken::Step(step) => return Some(step),
                Taken::Closed => return None,
                Taken::Nothing => at_hand.await,
            }
        }
    }

    pub(super) fn wake_takers(&self) {
        // Under the lock: whoever has looked and found nothing waits by now, and hears it; whoever is yet to look sees that
        // its wait was called off.
        let _state = lock(&self.state);
        self.at_hand.notify_all();
        self.hangs.notify_all();
    }

    fn take_from(&self, state: &mut State) -> Taken {
        let now = Instant::now();
        while let Some(Held { step, since }) = state.buffer.pop_front() {
            if now.duration_since(since.max(state.confirmed[step.lane])) < self.lease {
                state.running.insert(key(&step), Running { step: step.clone(), since: now });
                return Taken::Step(step);
            }
            // This process stood still, or the database was away, for a lease: others have the step by now.
            state.expired[step.lane].push(step.claim_id);
        }
        match state.closed {
            true => Taken::Closed,
            false => Taken::Nothing,
        }
    }

    /// A heartbeat that set out at `since` has kept all claims of a lane but those of `lost`, which are gone: what is at
    /// hand of them is not started any more. Returns the claims of all steps that were not started for that reason, a claim as
    /// often as it has such steps.
    pub(super) fn confirm(&self, lane: usize, since: Instant, lost: &HashSet<i64>) -> Vec<i64> {
        let mut state = lock(&self.state);
        state.confirmed[lane] = since;
        let mut expired = std::mem::take(&mut state.expired[lane]);
        if !lost.is_empty() {
            state.buffer.retain(|held| {
                let gone = held.step.lane == lane && lost.contains(&held.step.claim_id);
                if gone {
                    expired.push(held.step.claim_id);
                }
                !gone
            });
        }
        expired
    }

    /// A taker is done with a step. False when the worker has given the step up meanwhile; otherwise `hand_over` is
    /// called before anybody can see that the step no longer runs, so that a worker that stops misses no result.
    pub(super) fn put_back(&self, step: &ClaimedStep, hand_over: impl FnOnce()) -> bool {
        let mut state = lock(&self.state);
        let held = state.running.remove(&key(step)).is_some();
        if held {
            hand_over();
        }
        let (settled, low) = (state.running.is_empty(), state.buffer.len() <= self.concurrency / 2);
        let starving = settled && state.buffer.is_empty();
        state.rate.finished(starving);
        let ahead = (state.rate.last() * self.prefetch.as_secs_f64()) as usize;
        let low = low || state.buffer.len() <= ahead / 2;
        drop(state);
        if low {
            self.make_room();
        }
        if settled {
            self.settled.notify_waiters();
        }
        held
    }

    /// No more steps are taken in; takers see the end once the buffer is empty.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.at_hand.notify_all();
        self.hangs.notify_all();
        self.at_hand_async.notify_waiters();
        self.make_room();
    }

    /// Takes out what nobody has started of a lane.
    pub(super) fn drain(&self, lane: usize) -> Vec<Arc<ClaimedStep>> {
        let mut state = lock(&self.state);
        let (drained, kept) = state.buffer.drain(..).partition(|held| held.step.lane == lane);
        state.buffer = kept;
        VecDeque::into_iter(drained).map(|held: Held| held.step).collect()
    }

    /// Gives up what takers still have: their outcomes no longer count.
    pub(super) fn abandon(&self) -> Vec<Arc<ClaimedStep>> {
        let mut state = lock(&self.state);
        state.running.drain().map(|(_, running)| running.step).collect()
    }

    /// Takes the steps of takers that hang away from them. `hand_over` gets each while nobody can see that it no longer
    /// runs. Whoever waits in [`wait_hung`](Self::wait_hung) hears of them.
    pub(super) fn give_up(&self, grace: Duration, mut hand_over: impl FnMut(&Arc<ClaimedStep>, Duration)) {
        let mut state = lock(&self.state);
        let hung: Vec<_> = state.running.iter().filter(|(_, it)| it.hangs(grace)).map(|(key, _)| *key).collect();
        if hung.is_empty() {
            return;
        }
        for key in &hung {
            if let Some(running) = state.running.remove(key) {
                hand_over(&running.step, running.since.elapsed());
                state.hung.push_back(running.step);
            }
        }
        let settled = state.running.is_empty();
        drop(state);
        self.hangs.notify_all();
        self.make_room();
        if settled {
            self.settled.notify_waiters();
        }
    }

    /// Waits for a step that was given up, at most `timeout`; it is called off as
    /// [`take_blocking`](Self::take_blocking) is. Closed when nothing runs that could hang, and nothing will.
    pub(super) fn wait_hung(&self, timeout: Duration, called_off: &AtomicBool) -> Taken {
        let over = |state: &State| state.closed && state.buffer.is_empty() && state.running.is_empty();
        let mut state = lock(&self.state);
        if state.hung.is_empty() && !over(&state) && !called_off.load(Relaxed) {
            (state, _) = self.hangs.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner);
        }
        match state.hung.pop_front() {
            Some(step) => Taken::Step(step),
            None if over(&state) => Taken::Closed,
            None => Taken::Nothing,
        }
    }

    /// Waits until no taker has a step.
    pub(super) async fn idle(&self) {
        loop {
            let settled = self.settled.notified();
            if lock(&self.state).running.is_empty() {
                return;
            }
            settled.await;
        }
    }
}

fn key(step: &ClaimedStep) -> (Uuid, i16, i16) {
    (step.task_id, step.position, step.attempt)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::Config;

    pub(in crate::worker) fn step() -> ClaimedStep {
        ClaimedStep {
            claim_id: 1,
            task_id: Uuid::now_v7(),
            position: 0,
            attempt: 1,
            max_attempts: 1,
            workflow: "test/chain".into(),
            version: "1".into(),
            name: "a".into(),
            handler: "a".into(),
            timeout_ms: None,
            config: None,
            context: "{}".into(),
            results: None,
            correlation_id: None,
            trace_context: None,
            trace: None,
            waited_ms: None,
            claimed: None,
            lane: 0,
        }
    }

    #[test]
    fn a_result_is_handed_over_before_its_step_counts_as_done() {
        let slots = Slots::new(&Config::load(Some("test")).unwrap().worker, 1);
        slots.put_at_hand(vec![step()], Instant::now());
        let Taken::Step(step) = slots.try_take() else { panic!("nothing at hand") };
        let mut unseen = false;
        assert!(slots.put_back(&step, || unseen = slots.state.try_lock().is_err()));
        assert!(unseen, "a worker that stops could see that nothing runs, and close before the result is there");
        assert!(slots.state.lock().unwrap().running.is_empty());
    }

    #[test]
    fn a_quiet_worker_takes_nothing_in_that_comes_back_with_results() {
        let slots = Slots::new(&Config::load(Some("test")).unwrap().worker, 1);
        assert!(slots.put_at_hand_unless_closed(vec![step()], Instant::now()).is_empty());
        slots.close();
        assert_eq!(slots.put_at_hand_unless_closed(vec![step(), step()], Instant::now()).len(), 2, "to be given back");
        assert_eq!(slots.drain(0).len(), 1);
    }

    #[test]
    fn what_results_will_bring_is_not_claimed_where_steps_are_brief() {
        let slots = Slots::new(&Config::load(Some("test")).unwrap().worker, 1);
        let slow = slots.demand(0, 0);
        assert_eq!(slow, slots.concurrency);
        assert_eq!(slots.demand(0, slow), slow, "free slots do not wait for a report");
        let per_second = 10.0 * slow as f64 / slots.prefetch.as_secs_f64();
        set_rate(&slots, per_second);
        let all = slots.demand(0, 0);
        assert!(all > 2 * slow, "{all}");
        assert_eq!([2, all / 2, all].map(|coming| slots.demand(0, coming)), [all - 2, all - all / 2, 0]);
        assert_eq!(slots.demand(0, all - 1), 0, "so little is not worth a claim");
    }

    #[test]
    fn results_may_bring_as_many_as_they_are_and_what_comes_else_no_more_than_a_claim() {
        let settings = config::Worker { claim_batch: 20, ..Config::load(Some("test")).unwrap().worker };
        let slots = Slots::new(&settings, 1);
        set_rate(&slots, 1e5);
        let steps = [0, 10, 50].map(|results| slots.lacks(results).steps);
        assert_eq!(steps, [20, 20, 50]);
        assert_eq!(slots.demand(0, 0), 20);
        set_rate(&slots, 0.0);
        assert_eq!(slots.lacks(50).steps, slots.concurrency);
    }

    #[test]
    fn results_wait_for_others_while_there_is_enough_to_do_and_others_are_few() {
        let slots = Slots::new(&Config::load(Some("test")).unwrap().worker, 1);
        assert_eq!(slots.patience(), Duration::ZERO, "nothing is at hand");
        slots.put_at_hand(vec![step(), step()], Instant::now());
        let patience = [0.0, 10.0, 500.0, 1e5].map(|per_second| {
            set_rate(&slots, per_second);
            slots.patience()
        });
        assert_eq!(patience, [PATIENCE, PATIENCE, Duration::from_millis(2), Duration::ZERO]);
    }

    /// That stays.
    fn set_rate(slots: &Slots, per_second: f64) {
        slots.state.lock().unwrap().rate = Rate::fixed(per_second);
    }

    #[test]
    fn a_wait_that_is_called_off_before_it_begins_does_not_begin() {
        let slots = Slots::new(&Config::load(Some("test")).unwrap().worker, 1);
        let (called_off, hour) = (AtomicBool::new(true), Duration::from_secs(3_600));
        slots.wake_takers(); // nobody waits yet
        assert!(matches!(slots.take_blocking(hour, &called_off), Taken::Nothing));
        assert!(matches!(slots.wait_hung(hour, &called_off), Taken::Nothing));
        slots.put_at_hand(vec![step()], Instant::now());
        assert!(
            matches!(slots.take_blocking(hour, &called_off), Taken::Step(_)),
            "what is there is taken all the same"
        );
    }

    #[test]
    fn a_step_that_was_given_up_hands_nothing_over() {
        let slots = Slots::new(&Config::load(Some("test")).unwrap().worker, 1);
        slots.put_at_hand(vec![step()], Instant::now());
        let Taken::Step(step) = slots.try_take() else { panic!("nothing at hand") };
        assert_eq!(slots.abandon().len(), 1);
        assert!(!slots.put_back(&step, || panic!("handed over")));
    }

    #[test]
    fn a_step_whose_lease_has_passed_is_not_started() {
        let settings = Config::load(Some("test")).unwrap().worker;
        let slots = Slots::new(&settings, 1);
        let long_ago = Instant::now().checked_sub(settings.lease).unwrap();
        slots.confirm(0, long_ago, &HashSet::new());
        slots.put_at_hand(vec![step()], long_ago);
        assert!(matches!(slots.try_take(), Taken::Nothing));
        assert_eq!(slots.confirm(0, Instant::now(), &HashSet::new()), [1]);

        slots.put_at_hand(vec![step()], long_ago);
        assert!(matches!(slots.try_take(), Taken::Step(_)), "a heartbeat has kept it");
    }

    #[test]
    fn what_runs_can_hang_also_after_the_worker_was_told_to_be_quiet() {
        let slots = Slots::new(&Config::load(Some("test")).unwrap().worker, 1);
        slots.put_at_hand(vec![ClaimedStep { timeout_ms: Some(0), ..step() }], Instant::now());
        let Taken::Step(running) = slots.try_take() else { panic!("nothing at hand") };
        slots.close();
        assert!(matches!(slots.wait_hung(Duration::ZERO, &AtomicBool::new(false)), Taken::Nothing));
        slots.give_up(Duration::ZERO, |_, _| ());
        assert!(
            matches!(slots.wait_hung(Duration::ZERO, &AtomicBool::new(false)), Taken::Step(hung) if hung.task_id == running.task_id)
        );
        assert!(matches!(slots.wait_hung(Duration::ZERO, &AtomicBool::new(false)), Taken::Closed));
    }

    #[test]
    fn what_a_heartbeat_finds_lost_is_not_started() {
        let slots = Slots::new(&Config::load(Some("test")).unwrap().worker, 1);
        slots.put_at_hand(vec![step(), ClaimedStep { claim_id: 2, ..step() }, step()], Instant::now());
        assert_eq!(slots.confirm(0, Instant::now(), &HashSet::from([1])), [1, 1]);
        let Taken::Step(kept) = slots.try_take() else { panic!("nothing at hand") };
        assert_eq!(kept.claim_id, 2);
        assert!(matches!(slots.try_take(), Taken::Nothing));
    }
}

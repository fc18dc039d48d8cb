//! Wake-ups: within the process at once, to other processes by one coalesced `NOTIFY`. Losing one costs a polling
//! interval, never work: whoever is woken looks into the database. Each topic has a channel of its own, and a process
//! listens to those that somebody in it waits for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{watch, Notify};
use uuid::Uuid;

/// What there may be to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// Requests stand in `task_requests`.
    Requests,
    /// Results stand in `step_results`.
    Results,
    /// Tasks have reached a terminal state.
    Finished,
    /// Steps stand in the queue of this namespace.
    Steps(String),
}

impl Topic {
    /// Its channel of `NOTIFY`: at most 55 bytes, of the 63 that PostgreSQL allows.
    pub(crate) fn channel(&self) -> String {
        match self {
            Self::Requests => "stepwell.requests".to_owned(),
            Self::Results => "stepwell.results".to_owned(),
            Self::Finished => "stepwell.finished".to_owned(),
            Self::Steps(namespace) => format!("stepwell.steps.{namespace}"),
        }
    }

    pub(crate) fn of_channel(channel: &str) -> Option<Self> {
        Some(match channel {
            "stepwell.requests" => Self::Requests,
            "stepwell.results" => Self::Results,
            "stepwell.finished" => Self::Finished,
            other => Self::Steps(other.strip_prefix("stepwell.steps.")?.to_owned()),
        })
    }
}

/// Sees every wake-up since it last looked, however many there were.
pub(crate) type Wakeups = watch::Receiver<u64>;

/// The wake-ups of one process for one database.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    requests: watch::Sender<u64>,
    results: watch::Sender<u64>,
    finished: watch::Sender<u64>,
    workers: Mutex<HashMap<String, Vec<Weak<watch::Sender<u64>>>>>,
    /// What somebody in this process has asked to be woken for.
    interests: watch::Sender<BTreeSet<Topic>>,
    waiting: Mutex<HashMap<Uuid, watch::Sender<bool>>>,
    outgoing: Mutex<Outgoing>,
    outgoing_ready: Notify,
}

/// What there is to tell other processes.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) topics: BTreeSet<Topic>,
    /// Whether something was said that was still to be told.
    pub(crate) repeated: bool,
}

impl Outgoing {
    fn add(&mut self, topic: Topic) {
        self.repeated |= !self.topics.insert(topic);
    }
}

impl Signals {
    /// Wakes this process now and the others soon.
    pub(crate) fn publish(&self, topic: Topic) {
        self.wake(&topic);
        lock(&self.outgoing).add(topic);
        self.outgoing_ready.notify_one();
    }

    /// Wakes this process for steps of these namespaces, and the others.
    pub(crate) fn publish_steps(&self, namespaces: &[String]) {
        for namespace in namespaces {
            self.publish(Topic::Steps(namespace.clone()));
        }
    }

    /// Lets whoever waits for these tasks go on, here and in other processes.
    pub(crate) fn publish_finished(&self, task_ids: &[Uuid]) {
        if task_ids.is_empty() {
            return;
        }
        self.settle(task_ids);
        lock(&self.outgoing).add(Topic::Finished);
        self.outgoing_ready.notify_one();
    }

    /// Wakes this process only.
    pub(crate) fn wake(&self, topic: &Topic) {
        let sender = match topic {
            Topic::Requests => &self.requests,
            Topic::Results => &self.results,
            Topic::Finished => &self.finished,
            Topic::Steps(namespace) => {
                if let Some(workers) = lock(&self.workers).get_mut(namespace) {
                    workers.retain(|worker| worker.upgrade().map(|sender| sender.send_modify(bump)).is_some());
                }
                return;
            }
        };
        sender.send_modify(bump);
    }

    /// What other processes need to tell this one. It only grows: what nobody waits for any more costs a little, until the link is
    /// closed.
    pub(crate) fn interests(&self) -> watch::Receiver<BTreeSet<Topic>> {
        self.interests.subscribe()
    }

    fn hear_of(&self, topic: Topic) {
        if !self.interests.borrow().contains(&topic) {
            self.interests.send_if_modified(|interests| interests.insert(topic));
        }
    }

    pub(crate) fn requests(&self) -> Wakeups {
        self.hear_of(Topic::Requests);
        self.requests.subscribe()
    }

    pub(crate) fn results(&self) -> Wakeups {
        self.hear_of(Topic::Results);
        self.results.subscribe()
    }

    /// For whoever looks for the ends of tasks that somebody [waits for](Self::subscribe_task).
    pub(crate) fn finished(&self) -> Wakeups {
        self.finished.subscribe()
    }

    /// Wake-ups for the queues of these namespaces, for as long as the returned sender lives.
    pub(crate) fn steps(&self, namespaces: &[String]) -> (Arc<watch::Sender<u64>>, Wakeups) {
        let sender = Arc::new(watch::Sender::default());
        let mut workers = lock(&self.workers);
        for namespace in namespaces {
            workers.entry(namespace.clone()).or_default().push(Arc::downgrade(&sender));
        }
        drop(workers);
        let wakeups = sender.subscribe();
        namespaces.iter().for_each(|namespace| self.hear_of(Topic::Steps(namespace.clone())));
        (sender, wakeups)
    }

    /// Turns true when the task is known to be finished. Subscribe first, then look into the database.
    pub(crate) fn subscribe_task(&self, task_id: Uuid) -> watch::Receiver<bool> {
        self.hear_of(Topic::Finished);
        lock(&self.waiting).entry(task_id).or_default().subscribe()
    }

    /// Tasks that somebody in this process waits for; forgets those that nobody waits for any more.
    pub(crate) fn awaited_tasks(&self) -> Vec<Uuid> {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|_, sender| sender.receiver_count() > 0);
        waiting.keys().copied().collect()
    }

    /// Lets whoever in this process waits for these tasks go on.
    pub(crate) fn settle(&self, task_ids: &[Uuid]) {
        let mut waiting = lock(&self.waiting);
        if waiting.is_empty() {
            return;
        }
        for task_id in task_ids {
            if let Some(sender) = waiting.remove(task_id) {
                sender.send_replace(true);
            }
        }
    }

    /// Waits until there is something to tell other processes, and takes it.
    pub(crate) async fn next_outgoing(&self) -> Outgoing {
        loop {
            let outgoing = std::mem::take(&mut *lock(&self.outgoing));
            if !outgoing.topics.is_empty() {
                return outgoing;
            }
            self.outgoing_ready.notified().await;
        }
    }
}

fn bump(count: &mut u64) {
    *count = count.wrapping_add(1);
}

/// These locks guard plain collections; a panic while one is held leaves nothing half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_survive_the_wire() {
        for topic in [Topic::Requests, Topic::Results, Topic::Finished, Topic::Steps("a_b".into())] {
            assert_eq!(Topic::of_channel(&topic.channel()), Some(topic));
        }
        assert_eq!(Topic::of_channel("nonsense"), None);
    }

    #[test]
    fn a_process_is_told_only_what_somebody_in_it_waits_for() {
        let signals = Signals::default();
        let mut interests = signals.interests();
        let mut new = || interests.has_changed().unwrap().then(|| interests.borrow_and_update().clone());
        let _nobody_waits = signals.finished();
        assert_eq!(new(), None);
        let (_registration, _wakeups) = signals.steps(&["a".into(), "b".into()]);
        let steps = ["a", "b"].map(|namespace| Topic::Steps(namespace.into()));
        assert_eq!(new(), Some(BTreeSet::from(steps.clone())));
        let _wait = signals.subscribe_task(Uuid::now_v7());
        let all = BTreeSet::from_iter([vec![Topic::Finished], steps.to_vec()].concat());
        assert_eq!(new(), Some(all.clone()));
        let _another = signals.subscribe_task(Uuid::now_v7());
        assert_eq!(new(), None, "nothing new");
        let _orchestrator = (signals.requests(), signals.results());
        assert_eq!(new(), Some(&all | &BTreeSet::from([Topic::Requests, Topic::Results])));
    }

    #[test]
    fn waiting_is_forgotten_when_nobody_waits() {
        let signals = Signals::default();
        let (kept, dropped) = (Uuid::now_v7(), Uuid::now_v7());
        let waiter = signals.subscribe_task(kept);
        drop(signals.subscribe_task(dropped));
        assert_eq!(signals.awaited_tasks(), [kept]);
        signals.publish_finished(&[kept, dropped]);
        assert!(*waiter.borrow());
        assert!(signals.awaited_tasks().is_empty());
    }

    #[tokio::test]
    async fn what_is_said_again_before_it_is_told_is_told_once() {
        let signals = Signals::default();
        let said = |topics: &[Topic]| topics.iter().cloned().for_each(|topic| signals.publish(topic));
        said(&[Topic::Requests, Topic::Results]);
        let outgoing = signals.next_outgoing().await;
        assert_eq!(outgoing.topics.into_iter().collect::<Vec<_>>(), [Topic::Requests, Topic::Results]);
        assert!(!outgoing.repeated);
        said(&[Topic::Results, Topic::Results]);
        let outgoing = signals.next_outgoing().await;
        assert_eq!(outgoing.topics.into_iter().collect::<Vec<_>>(), [Topic::Results]);
        assert!(outgoing.repeated);
    }
}

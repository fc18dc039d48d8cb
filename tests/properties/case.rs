//! What a property test draws: a graph, how its attempts end, and in which order the world acts.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// A step of a random graph; its name is `s` and its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Places before it that it waits for.
    pub depends_on: Vec<usize>,
    /// How many attempts it has.
    pub max_attempts: i16,
    /// How each execution ends; beyond the list they succeed.
    pub ends: Vec<End>,
}

/// How an execution ends that does not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Retryable,
    /// Retryable, and the worker asks for a delay beyond the cap.
    RetryLater,
    Timeout,
    Permanent,
    /// The worker dies with it: its claim expires.
    Lost,
    /// The worker gives it back; not an attempt.
    Released,
    /// The worker lacks the handler and gives the step up.
    Unhandled,
}

/// One thing that happens. Tasks are numbers, taken modulo the tasks that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// An orchestrator takes up to so many requests, and hands over up to so many of their first steps.
    Initialize(usize, i32),
    /// A worker claims up to so many steps.
    Claim(usize),
    /// A worker brings up to so many of the steps that it holds to their end; the oldest, or the newest first.
    Work(usize, bool, bool),
    /// An orchestrator applies up to so many results.
    Apply(usize),
    /// An orchestrator sends up to so many of the steps that wait for their turn.
    Dispatch(usize),
    /// Due retries are woken.
    Wake,
    /// Up to so many expired claims are recovered.
    Recover(usize),
    /// A worker extends the claims of all steps that it holds.
    Heartbeat,
    /// The worker dies with all that it holds.
    Kill,
    /// A result of an attempt that is over comes after all, past the claims: of this claimed
    /// step, counted from the oldest, or of the newest.
    Stray(usize),
    /// So many seconds pass.
    Pass(i64),
    /// Somebody cancels a task.
    Cancel(usize),
    /// Somebody retries a task.
    Retry(usize),
}

/// One run.
#[derive(Clone)]
pub struct Case {
    pub nodes: Vec<Node>,
    /// So many tasks of this graph are submitted at once.
    pub tasks: usize,
    /// The queue takes one step at a time from dispatch, or as many as there are.
    pub short_queue: bool,
    /// The tasks have the same concurrency key, and this is its limit.
    pub key_limit: Option<u16>,
    /// What happens first. Then everything runs until nothing moves,
    pub actions: Vec<Action>,
    /// and after each of these again.
    pub afterwards: Vec<Action>,
}

impl Case {
    /// The cases that lack one thing of this one. proptest shrinks one part after the other and does not come back to
    /// the first when the last has become small.
    pub fn smaller(&self) -> Vec<Self> {
        let mut cases = Vec::new();
        let mut without = |change: &dyn Fn(&mut Self)| {
            let mut case = self.clone();
            change(&mut case);
            cases.push(case);
        };
        if self.tasks > 1 {
            without(&|case| case.tasks -= 1);
        }
        if self.short_queue {
            without(&|case| case.short_queue = false);
        }
        if self.key_limit.is_some() {
            without(&|case| case.key_limit = None);
        }
        for place in 0..self.afterwards.len() {
            without(&|case| _ = case.afterwards.remove(place));
        }
        for place in 0..self.actions.len() {
            without(&|case| _ = case.actions.remove(place));
        }
        for (place, node) in self.nodes.iter().enumerate() {
            if self.nodes.len() > 1 {
                without(&|case| case.remove_node(place));
            }
            for end in 0..node.ends.len() {
                without(&|case| _ = case.nodes[place].ends.remove(end));
            }
            for edge in 0..node.depends_on.len() {
                without(&|case| _ = case.nodes[place].depends_on.remove(edge));
            }
        }
        cases
    }

    fn remove_node(&mut self, place: usize) {
        self.nodes.remove(place);
        for node in &mut self.nodes {
            node.depends_on.retain(|before| *before != place);
            node.depends_on.iter_mut().filter(|before| **before > place).for_each(|before| *before -= 1);
        }
    }
}

/// Cases of up to `largest` steps; they shrink towards few steps without dependencies that succeed, and few actions.
pub fn cases(largest: usize) -> impl Strategy<Value = Case> {
    let cancel_or_retry =
        prop_oneof![6 => (0..2_usize).prop_map(Action::Retry), 1 => (0..2_usize).prop_map(Action::Cancel)];
    let key_limit = prop_oneof![3 => Just(None), 1 => (1..=3_u16).prop_map(Some)];
    (1..=2_usize, any::<bool>(), key_limit, vec(actions(), 0..100), vec(cancel_or_retry, 0..5), graphs(largest))
        .prop_map(|(tasks, short_queue, key_limit, actions, afterwards, nodes)| Case {
            nodes,
            tasks,
            short_queue,
            key_limit,
            actions,
            afterwards,
        })
}

fn graphs(largest: usize) -> impl Strategy<Value = Vec<Node>> {
    let end = prop_oneof![
        6 => Just(End::Retryable), 2 => Just(End::RetryLater), 3 => Just(End::Timeout), 2 => Just(End::Permanent),
        3 => Just(End::Lost), 3 => Just(End::Released), 1 => Just(End::Unhandled)
    ];
    let ends = prop_oneof![3 => Just(Vec::new()), 1 => vec(end, 1..5)];
    let node = (vec(any::<Index>(), 0..4), 1..=3_i16, ends);
    // Small graphs as often as large ones: most of what can go wrong needs few steps, and they are quick.
    let nodes = prop_oneof![vec(node.clone(), 1..=6), vec(node, 1..=largest)];
    nodes.prop_map(|nodes| {
        let with_places = nodes.into_iter().enumerate();
        let node = |(place, (before, max_attempts, ends)): (usize, (Vec<Index>, i16, Vec<End>))| {
            let mut depends_on: Vec<usize> =
                if place == 0 { vec![] } else { before.iter().map(|index| index.index(place)).collect() };
            depends_on.sort_unstable();
            depends_on.dedup();
            Node { depends_on, max_attempts, ends }
        };
        with_places.map(node).collect()
    })
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (1..4_usize, 0..4_i32).prop_map(|(batch, take)| Action::Initialize(batch, take)),
        14 => (1..6_usize).prop_map(Action::Claim),
        16 => (1..6_usize, any::<bool>(), prop::bool::weighted(0.3))
            .prop_map(|(count, newest, at_once)| Action::Work(count, newest, at_once)),
        14 => (1..6_usize).prop_map(Action::Apply),
        6 => (1..5_usize).prop_map(Action::Dispatch),
        6 => Just(Action::Wake),
        4 => (1..3_usize).prop_map(Action::Recover),
        3 => Just(Action::Heartbeat),
        1 => Just(Action::Kill),
        3 => (0..20_usize).prop_map(Action::Stray),
        // within a lease, within a retry's delay, beyond both
        6 => prop_oneof![Just(1_i64), Just(9), Just(61)].prop_map(Action::Pass),
        1 => (0..2_usize).prop_map(Action::Cancel),
        3 => (0..2_usize).prop_map(Action::Retry),
    ]
}

// A failing case is printed whole: one line a step, and the actions on one.
impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (short, limit) = (self.short_queue, self.key_limit);
        writeln!(
            f,
            "{} task(s) of {} step(s), short queue: {short}, key limit: {limit:?}",
            self.tasks,
            self.nodes.len()
        )?;
        for (place, node) in self.nodes.iter().enumerate() {
            let Node { depends_on, max_attempts, ends } = node;
            writeln!(f, "  s{place} after {depends_on:?}, {max_attempts} attempt(s), ends {ends:?}")?;
        }
        writeln!(f, "  actions {:?}", self.actions)?;
        write!(f, "  then {:?}", self.afterwards)
    }
}

//! Which namespaces have the most to do. The numbers of a queue's messages only grow, so two looks tell how many steps
//! came between them, exactly, whoever sent them and however many namespaces there are.

use std::collections::HashMap;
use std::sync::Mutex;

use serde::Serialize;

use crate::signals::lock;
use crate::store::QueueMetrics;

/// So many are told.
const TOP: usize = 10;
/// Of more than so many those with the most messages are known.
const KNOWN: usize = 1_000;

/// What a namespace has had to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// Which.
    pub namespace: String,
    /// Steps that came into its queue since the orchestrator started, retries among them.
    pub steps: u64,
}

/// Where the queues stood when the orchestrator started.
#[derive(Debug, Default)]
pub(super) struct Namespaces(Mutex<Option<HashMap<String, i64>>>);

impl Namespaces {
    /// The namespaces with the most steps, the first the most; none without any.
    pub(super) fn top(&self, queues: &[QueueMetrics]) -> Vec<Activity> {
        let sent: Vec<(&str, i64)> =
            queues.iter().filter_map(|queue| Some((queue.namespace.as_deref()?, queue.sent))).collect();
        let mut start = lock(&self.0);
        if start.is_none() && queues.is_empty() {
            return Vec::new();
        }
        let start = start.get_or_insert_with(|| {
            let mut most = sent.clone();
            most.sort_by_key(|(_, sent)| -sent);
            most.truncate(KNOWN);
            most.into_iter().map(|(namespace, sent)| (namespace.to_owned(), sent)).collect()
        });
        let full = start.len() >= KNOWN;
        let steps = sent.into_iter().filter_map(|(namespace, sent)| {
            let before = match start.get(namespace) {
                Some(before) => *before,
                None if full => return None, // one of those that nobody remembers
                None => 0,
            };
            let steps = u64::try_from(sent - before).ok().filter(|steps| *steps > 0)?;
            Some(Activity { namespace: namespace.to_owned(), steps })
        });
        first(steps.collect())
    }
}

/// The ten with the most.
pub(super) fn first(mut activities: Vec<Activity>) -> Vec<Activity> {
    activities.sort_by(|one, other| other.steps.cmp(&one.steps).then_with(|| one.namespace.cmp(&other.namespace)));
    activities.truncate(TOP);
    activities
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(namespace: Option<&str>, sent: i64) -> QueueMetrics {
        QueueMetrics {
            queue: "q".into(),
            namespace: namespace.map(str::to_owned),
            messages: 0,
            oldest_age: None,
            sent,
            dead_rows: 0,
            waiting: 0,
            in_progress: 0,
        }
    }

    #[test]
    fn the_ten_with_the_most_since_the_start_are_told() {
        let namespaces = Namespaces::default();
        assert!(namespaces.top(&[]).is_empty());
        let names: Vec<String> = (0..30).map(|n| format!("n{n:02}")).collect();
        let queues = |factor: i64| -> Vec<_> {
            let of_names = names.iter().enumerate().map(|(n, name)| queue(Some(name), 1_000 + factor * n as i64));
            of_names.chain([queue(None, 1_000 * factor)]).collect()
        };
        assert!(namespaces.top(&queues(1)).is_empty(), "nothing since the start");
        let top = namespaces.top(&queues(3));
        assert_eq!(top.len(), TOP);
        assert_eq!(top[0], Activity { namespace: "n29".into(), steps: 58 });
        assert_eq!(namespaces.top(&[queue(Some("new"), 5)]), [Activity { namespace: "new".into(), steps: 5 }]);
    }

    #[test]
    fn of_very_many_a_bounded_number_is_remembered() {
        let namespaces = Namespaces::default();
        let queues = |extra: i64| -> Vec<_> { (0..3_000).map(|n| queue(Some(&format!("n{n}")), n + extra)).collect() };
        namespaces.top(&queues(0));
        assert_eq!(lock(&namespaces.0).as_ref().map(HashMap::len), Some(KNOWN));
        assert!(namespaces.top(&queues(7)).iter().all(|it| it.steps == 7));
    }
}

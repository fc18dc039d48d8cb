//! How many steps may come to a worker past the queues of its namespaces: those that its own results make ready, those that are
//! next in line, and the first of tasks that begin. What stands in a queue has its turn all the same.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::slots::Room;

/// How many steps may pass for each that came from a queue: as many as follow the first of a chain of four. What stands there
/// moves on at a quarter of the speed at least.
const EACH: usize = 3;

/// As many as for so many claims of the last one's size, however many have come: what a worker claims at a time is what it finishes
/// soon, so what stands in a queue never waits longer than it takes to finish a few of these.
const KEPT: usize = 4;

/// Of one lane.
#[derive(Debug, Default)]
pub(super) struct Passes {
    /// The fetcher found the queues empty when it looked last, and nobody has said otherwise.
    empty: AtomicBool,
    /// How many steps may still pass while they are not.
    left: AtomicUsize,
}

impl Passes {
    /// Whether the queues are empty.
    pub(super) fn set_empty(&self, empty: bool) {
        self.empty.store(empty, Relaxed);
    }

    /// A claim has brought so many steps from the queues.
    pub(super) fn claimed(&self, steps: usize) {
        // It cannot fail: there always is a next value.
        let _ = self.left.fetch_update(Relaxed, Relaxed, |left| Some((left + steps * EACH).min(KEPT * steps * EACH)));
    }

    /// How many may still pass before something has to come from the queues.
    pub(super) fn left(&self) -> usize {
        self.left.load(Relaxed)
    }

    /// So many have passed.
    pub(super) fn passed(&self, steps: usize) {
        // It cannot fail: there always is a next value.
        let _ = self.left.fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(steps)));
    }

    /// How many may pass now, with so many results, or requests. Where steps take long none may while others stand in a queue:
    /// to save what a step costs is worth little there, and the wait of the others is long.
    pub(super) fn most(&self, room: Room, results: usize) -> usize {
        if self.empty.load(Relaxed) {
            return room.steps;
        }
        match room.brief {
            true => room.steps.min(results).min(self.left.load(Relaxed)),
            false => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { steps: 100, brief: true };

    #[test]
    fn where_nothing_waits_a_worker_takes_what_it_has_room_for() {
        let passes = Passes::default();
        passes.set_empty(true);
        assert_eq!(passes.most(ROOM, 1), 100);
        assert_eq!(passes.most(Room { steps: 2, brief: false }, 1), 2);
    }

    #[test]
    fn what_stands_in_a_queue_has_its_turn() {
        let passes = Passes::default();
        assert_eq!(passes.most(ROOM, 50), 0, "nothing has come from the queues yet");
        passes.claimed(30);
        assert_eq!((passes.most(ROOM, 50), passes.most(ROOM, 500)), (50, 90));
        passes.passed(50);
        assert_eq!(passes.most(ROOM, 50), 40);
        passes.passed(50);
        assert_eq!(passes.most(ROOM, 50), 0);
        passes.claimed(1);
        assert_eq!(passes.most(ROOM, 50), 3);
        passes.claimed(2);
        assert_eq!(passes.most(ROOM, 50), 9, "what was not used before counts");
        (0..9).for_each(|_| passes.claimed(10));
        assert_eq!(passes.left(), 120, "but not all of it for ever: thirty for each of four claims");
        passes.claimed(1);
        assert_eq!(passes.left(), 12, "where a worker finishes little, little may pass");
    }

    #[test]
    fn steps_that_take_long_do_not_pass_others() {
        let passes = Passes::default();
        passes.claimed(30);
        assert_eq!(passes.most(Room { steps: 10, brief: false }, 10), 0);
    }
}

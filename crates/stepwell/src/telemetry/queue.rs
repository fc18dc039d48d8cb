//! A bounded queue of lines. Whoever logs never waits: what does not fit is dropped and counted.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::deadline;
use crate::signals::lock;

/// Most lines that wait.
const LINES: usize = 8_192;
/// Most bytes that wait.
const BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    bytes: usize,
    dropped: u64,
    /// What has been taken is not yet done with.
    busy: bool,
    woken: bool,
}

/// What one look brought.
#[derive(Debug)]
pub(super) struct Taken<T> {
    pub(super) items: VecDeque<T>,
    /// How many were dropped since the last look.
    pub(super) dropped: u64,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, dropped: 0, busy: false, woken: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), emptied: Condvar::new() }
    }

    /// Adds an item of about so many bytes. False: it was dropped.
    pub(super) fn push(&self, item: T, bytes: usize) -> bool {
        let mut state = lock(&self.state);
        if state.items.len() >= LINES || (state.bytes + bytes > BYTES && !state.items.is_empty()) {
            state.dropped += 1;
            return false;
        }
        state.items.push_back(item);
        state.bytes += bytes;
        let wake = state.items.len() == 1;
        drop(state);
        if wake {
            self.filled.notify_all();
        }
        true
    }

    /// Counts items that were dropped before they came here.
    pub(super) fn dropped(&self, count: u64) {
        lock(&self.state).dropped += count;
        self.filled.notify_all();
    }

    /// Takes all there is, after a wait of at most `patience` while there is nothing; nothing after a [`wake`](Self::wake).
    /// [`done`](Self::done) says that it has been handled.
    pub(super) fn take(&self, patience: Duration) -> Taken<T> {
        let state = lock(&self.state);
        let idle = |state: &mut State<T>| state.items.is_empty() && state.dropped == 0 && !state.woken;
        let (mut state, _) =
            self.filled.wait_timeout_while(state, patience, idle).unwrap_or_else(PoisonError::into_inner);
        state.woken = false;
        state.bytes = 0;
        state.busy = !state.items.is_empty() || state.dropped > 0;
        Taken { items: std::mem::take(&mut state.items), dropped: std::mem::take(&mut state.dropped) }
    }

    /// Ends the wait of who takes.
    pub(super) fn wake(&self) {
        lock(&self.state).woken = true;
        self.filled.notify_all();
    }

    pub(super) fn done(&self) {
        lock(&self.state).busy = false;
        self.emptied.notify_all();
    }

    /// Waits until everything has been handled, at most `patience`. Returns whether it has.
    pub(super) fn drain(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + deadline::bounded(patience);
        let mut state = lock(&self.state);
        while !state.items.is_empty() || state.busy || state.dropped > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.emptied.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let queue = Queue::new();
        for number in 0..LINES + 7 {
            assert_eq!(queue.push(number, 10), number < LINES);
        }
        let taken = queue.take(NOW);
        assert_eq!((taken.items.len(), taken.dropped), (LINES, 7));
        assert!(queue.push(1, BYTES * 2) && !queue.push(2, 1), "one that is too large fits alone");
        let taken = queue.take(NOW);
        assert_eq!((taken.items.len(), taken.dropped), (1, 1));
        assert_eq!((queue.take(NOW).items.len(), queue.take(NOW).dropped), (0, 0));
    }

    #[test]
    fn it_is_drained_when_what_was_taken_is_done_with() {
        let queue = Queue::new();
        assert!(queue.drain(NOW));
        queue.push("line", 4);
        assert!(!queue.drain(NOW));
        assert_eq!(queue.take(NOW).items.len(), 1);
        assert!(!queue.drain(NOW));
        queue.done();
        assert!(queue.drain(NOW));
    }

    #[test]
    fn a_wait_ends_when_something_comes_or_it_is_woken() {
        let queue = Queue::new();
        let patience = Duration::from_secs(60);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| queue.take(patience).items.len());
            queue.push("line", 4);
            assert_eq!(taker.join().unwrap(), 1);
            let taker = scope.spawn(|| queue.take(patience).items.len());
            queue.wake();
            assert_eq!(taker.join().unwrap(), 0);
        });
    }
}

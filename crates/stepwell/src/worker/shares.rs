//! Who may claim how much, where the takers of a worker are shared by several databases: each that has work gets its
//! share of the places, and what one does not need is the others'. A database that does not answer holds nothing back.

use std::time::{Duration, Instant};

/// How long a claim that is under way keeps places from the others.
const RESERVED: Duration = Duration::from_secs(1);

/// One database.
#[derive(Debug, Default, Clone)]
struct Share {
    /// It wants more than it has got, as far as is known.
    hungry: bool,
    /// The claim under way: how many steps, and since when.
    claiming: Option<(usize, Instant)>,
    /// Its last claim failed: it may try with one step, for which no place is kept.
    failed: bool,
    /// The turn in which it last got places.
    served: u64,
}

impl Share {
    fn reserved(&self) -> Option<usize> {
        self.claiming.filter(|(_, since)| since.elapsed() < RESERVED).map(|(count, _)| count)
    }

    fn is_hungry(&self) -> bool {
        self.hungry && (self.claiming.is_none() || self.reserved().is_some())
    }
}

/// All databases of a worker.
#[derive(Debug)]
pub(super) struct Shares {
    lanes: Vec<Share>,
    turn: u64,
}

impl Shares {
    pub(super) fn new(lanes: usize) -> Self {
        Self { lanes: vec![Share::default(); lanes], turn: 0 }
    }

    pub(super) fn is_shared(&self) -> bool {
        self.lanes.len() > 1
    }

    /// How many of `total` places one may claim now, `most` at once. `held`: how many each has.
    pub(super) fn demand(&mut self, lane: usize, total: usize, held: &[usize], most: usize) -> usize {
        let taken = |lane: usize, share: &Share| held[lane] + share.reserved().unwrap_or(0);
        let others = || self.lanes.iter().enumerate().filter(|(other, _)| *other != lane);
        let share = total.div_ceil(1 + others().filter(|(_, other)| other.is_hungry()).count());
        let lacks = |place: usize, other: &Share| share.saturating_sub(taken(place, other));
        let free = total.saturating_sub(self.lanes.iter().enumerate().map(|(place, it)| taken(place, it)).sum());
        // Of those that lack of their shares, whoever has waited longer comes first. Only then comes who wants more.
        let hungry = || others().filter(|(_, other)| other.is_hungry());
        let waited_longer = hungry().filter(|(_, other)| other.served < self.lanes[lane].served);
        let owed: usize = waited_longer.map(|(place, other)| lacks(place, other)).sum();
        let own = lacks(lane, &self.lanes[lane]);
        let within = own.min(free.saturating_sub(owed));
        let beyond = match within < own {
            true => 0,
            false => (free - within).saturating_sub(hungry().map(|(place, other)| lacks(place, other)).sum()),
        };
        let want = (within + beyond).min(most);
        if self.lanes[lane].failed {
            return want.min(1);
        }
        self.lanes[lane].hungry = true;
        if want > 0 {
            self.turn += 1;
            self.lanes[lane].served = self.turn;
            self.lanes[lane].claiming = Some((want, Instant::now()));
        }
        want
    }

    /// A claim of `want` steps has ended and brought so many; none when it failed.
    pub(super) fn claimed(&mut self, lane: usize, want: usize, brought: Option<usize>) {
        self.lanes[lane].claiming = None;
        self.lanes[lane].failed = brought.is_none();
        self.lanes[lane].hungry = brought.is_some_and(|brought| brought >= want);
    }

    /// A database is not asked for now.
    pub(super) fn rest(&mut self, lane: usize) {
        self.lanes[lane].hungry = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_has_work_alone_gets_everything() {
        let mut shares = Shares::new(2);
        assert_eq!(shares.demand(0, 10, &[0, 0], 250), 10);
        shares.claimed(0, 10, Some(10));
        assert_eq!(shares.demand(0, 10, &[9, 0], 250), 1);
    }

    #[test]
    fn a_claim_under_way_keeps_its_places() {
        let mut shares = Shares::new(2);
        assert_eq!(shares.demand(0, 10, &[0, 0], 6), 6);
        assert_eq!(shares.demand(1, 10, &[0, 0], 250), 4);
        assert_eq!(shares.demand(1, 10, &[0, 0], 250), 0, "nothing is left");
    }

    #[test]
    fn places_that_become_free_come_to_whoever_lacks_of_its_share() {
        let mut shares = Shares::new(2);
        let mut held = [shares.demand(0, 10, &[0, 0], 250), 0];
        shares.claimed(0, 10, Some(10));
        assert_eq!(shares.demand(1, 10, &held, 250), 0);
        for round in 0..20 {
            held[round % 2] = held[round % 2].saturating_sub(1); // of one, then of the other, a step ends
            for lane in [0, 1] {
                let want = shares.demand(lane, 10, &held, 250);
                held[lane] += want;
                if want > 0 {
                    shares.claimed(lane, want, Some(want));
                }
            }
            assert!(held.iter().sum::<usize>() <= 10);
        }
        assert_eq!(held, [5, 5]);
    }

    #[test]
    fn a_single_place_goes_back_and_forth() {
        let mut shares = Shares::new(2);
        let mut got = [0, 0];
        shares.demand(0, 1, &[1, 0], 1);
        shares.demand(1, 1, &[1, 0], 1);
        for _ in 0..10 {
            for lane in [0, 0, 1] {
                let want = shares.demand(lane, 1, &[0, 0], 1); // what was claimed ends at once
                if want > 0 {
                    got[lane] += want;
                    shares.claimed(lane, want, Some(want));
                }
            }
        }
        assert!(got[1] >= 10, "{got:?}");
    }

    #[test]
    fn one_that_does_not_answer_holds_nothing_back_for_long() {
        let mut shares = Shares::new(2);
        assert_eq!(shares.demand(0, 4, &[0, 0], 250), 4);
        assert_eq!(shares.demand(1, 4, &[0, 0], 250), 0);
        shares.lanes[0].claiming = Some((4, Instant::now().checked_sub(RESERVED).unwrap()));
        assert_eq!(shares.demand(1, 4, &[0, 0], 250), 4);
        shares.claimed(1, 4, Some(4));
        shares.claimed(0, 4, None);
        assert_eq!(shares.demand(0, 4, &[0, 2], 250), 1);
        assert_eq!(shares.demand(1, 4, &[0, 2], 250), 2, "one that failed before keeps nothing");
    }
}

//! A label whose values come from users: the first that come have a value of their own, the others share one, so that no
//! name that a program makes up costs memory here or there without end.

use std::collections::HashSet;
use std::sync::Mutex;

use crate::signals::lock;

/// Values of their own.
pub(super) const OWN: usize = 50;
/// The value of the others.
pub(super) const OTHER: &str = "other";

#[derive(Debug, Default)]
pub(super) struct Labels(Mutex<HashSet<String>>);

impl Labels {
    /// The value that stands for a name.
    pub(super) fn of<'a>(&self, name: &'a str) -> &'a str {
        let mut known = lock(&self.0);
        if known.contains(name) {
            name
        } else if known.len() < OWN {
            known.insert(name.to_owned());
            name
        } else {
            OTHER
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fifty_have_their_own() {
        let labels = Labels::default();
        let names: Vec<String> = (0..60).map(|n| format!("n{n}")).collect();
        for _again in 0..2 {
            let given: Vec<&str> = names.iter().map(|name| labels.of(name)).collect();
            assert_eq!(given[..OWN], names[..OWN]);
            assert!(given[OWN..].iter().all(|label| *label == OTHER));
        }
    }
}

//! The last warnings of the loops over one link to a database, for `status`: what to look at first when something is
//! wrong. In bounded memory.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::mask_text;
use crate::signals::lock;

/// So many are kept.
pub(crate) const KEPT: usize = 50;
/// Longest message that is kept, in bytes.
const LONGEST: usize = 1_000;

/// A warning.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Warning {
    /// Seconds since 1970.
    pub at: f64,
    /// The loop that warned.
    pub component: &'static str,
    /// What it said.
    pub message: String,
}

#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<VecDeque<Warning>>);

impl Warnings {
    pub(crate) fn note(&self, component: &'static str, message: String) {
        let mut message = mask_text(&message).into_owned();
        if message.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|end| message.is_char_boundary(*end)).unwrap_or_default();
            message.truncate(end);
            message.push('…');
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut warnings = lock(&self.0);
        if warnings.len() == KEPT {
            warnings.pop_front();
        }
        warnings.push_back(Warning { at, component, message });
    }

    /// The oldest first.
    pub(crate) fn all(&self) -> Vec<Warning> {
        lock(&self.0).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fifty_are_kept_and_none_is_long() {
        let warnings = Warnings::default();
        (0..60).for_each(|n| warnings.note("results", format!("{n}: {}", "ü".repeat(2_000))));
        let kept = warnings.all();
        assert_eq!(kept.len(), KEPT);
        assert!(kept[0].message.starts_with("10: ü") && kept[49].message.starts_with("59: "));
        assert!(kept.iter().all(|it| it.message.len() <= LONGEST + '…'.len_utf8()));
    }
}

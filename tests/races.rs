//! Two real sessions do to the same thing, at the same moment, what only one of them can do. Whoever wins, it ends in one
//! state, without a deadlock, and the invariants hold in every snapshot on the way.

#![allow(unreachable_pub, reason = "the parts of one test program")]
#![allow(clippy::print_stdout, reason = "who won how often is worth reading")]

mod support;

#[path = "races/cancel.rs"]
mod cancel;
#[path = "races/claims.rs"]
mod claims;
#[path = "races/race.rs"]
mod race;
#[path = "races/requests.rs"]
mod requests;
#[path = "races/results.rs"]
mod results;
#[path = "races/retry.rs"]
mod retry;
#[path = "races/storm.rs"]
mod storm;

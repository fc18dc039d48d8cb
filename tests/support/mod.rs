//! What the tests share: one PostgreSQL for all test processes, a fresh database for each test, sessions that speak the
//! SQL functions, workflows to run on them.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test program compiles the parts that it uses")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a helper that cannot go on fails the test")]

pub mod database;
pub mod drain;
pub mod effort;
pub mod eventually;
pub mod runtime;
pub mod session;
pub mod workflows;

pub use database::TestDatabase;
pub use drain::drain;
pub use eventually::eventually;
pub use session::{complete, failed, Session};
pub use workflows::{chain, define, define_with, diamond, fan_in};

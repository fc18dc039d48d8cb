//! Random graphs, random failures and random interventions, driven through the SQL functions and compared with a model in
//! memory after every action.

#![allow(unreachable_pub, reason = "the parts of one test program")]
#![allow(clippy::expect_used, reason = "a model that cannot go on fails the test")]

mod support;

#[path = "properties/case.rs"]
mod case;
#[path = "properties/driver.rs"]
mod driver;
#[path = "properties/model.rs"]
mod model;
#[path = "properties/snapshot.rs"]
mod snapshot;

use std::cell::RefCell;

use anyhow::{bail, Context, Result};
use case::{cases, Case};
use driver::{Driver, Reached};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use support::{effort, Session, TestDatabase};
use tokio::runtime::Runtime;

/// Runs random cases of up to `largest` steps. No file of failures: a failing case is printed whole, and small.
/// Returns why the smallest failed, and how often the cases came to what they are about.
fn check(
    runtime: &Runtime,
    session: Session,
    mut runner: TestRunner,
    largest: usize,
) -> Result<(Option<(String, Case)>, Reached)> {
    let state = RefCell::new((session, Reached::new()));
    let run = |case: &Case| {
        let (session, reached) = &mut *state.borrow_mut();
        let run = async { Driver::start(session, case, reached).await?.run().await };
        runtime.block_on(run).map_err(|error| format!("{error:#}"))
    };
    let failure = match runner.run(&cases(largest), |case| run(&case).map_err(TestCaseError::fail)) {
        Ok(()) => None,
        Err(TestError::Abort(why)) => bail!("{why}"),
        Err(TestError::Fail(why, mut case)) => {
            let mut why = why.to_string();
            while let Some((smaller, still)) =
                case.smaller().into_iter().find_map(|smaller| run(&smaller).err().map(|why| (smaller, why)))
            {
                (case, why) = (smaller, still);
            }
            Some((why, case))
        }
    };
    Ok((failure, state.into_inner().1))
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() }
}

#[test]
fn whatever_happens_in_whatever_order_ends_as_the_model_says() -> Result<()> {
    let runtime = Runtime::new()?;
    let db = runtime.block_on(TestDatabase::new())?;
    let session = runtime.block_on(db.session())?;
    let (failure, reached) = check(&runtime, session, TestRunner::new(config(effort::rounds(64, 150))), 40)?;
    println!("{reached:#?}");
    if let Some((why, case)) = failure {
        bail!("{why}\nin {case:?}");
    }
    let missed: Vec<_> = reached.iter().filter(|(_, times)| **times == 0).collect();
    assert!(missed.is_empty() || !effort::full(), "the cases never came to {missed:?}");
    runtime.block_on(db.finish())
}

/// A retry by hand that grants no attempts of its own is found, and shown by what it takes: one step that fails, and a
/// retry afterwards.
#[test]
fn a_planted_fault_is_found_and_the_case_shrinks() -> Result<()> {
    const FAULT: &str = "do $$ begin execute replace(pg_get_functiondef('stepwell.retry_task'::regproc),
        'max_attempts = s.attempt + ws.max_attempts', 'max_attempts = s.max_attempts'); end $$";
    let runtime = Runtime::new()?;
    let db = runtime.block_on(TestDatabase::new())?;
    let mut session = runtime.block_on(db.session())?;
    runtime.block_on(session.run(FAULT))?;
    let runner = TestRunner::new_with_rng(config(1_000), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (failure, _) = check(&runtime, session, runner, 40)?;
    let (why, case) = failure.context("the fault was not found")?;
    println!("{why}\nin {case:?}");
    assert_eq!((case.nodes.len(), case.tasks), (1, 1), "{case:?}");
    assert!(case.actions.len() + case.afterwards.len() <= 6, "{case:?}");
    runtime.block_on(db.discard())
}

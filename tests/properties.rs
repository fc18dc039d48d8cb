//! Random graphs with random failures, driven through the SQL functions and compared with a model in memory.

mod support;

use std::collections::BTreeMap;

use anyhow::{ensure, Result};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::json;
use stepwell::store::ClaimedStep;
use support::{complete, define_with, failed, Session, TestDatabase};
use tokio::runtime::Runtime;

const MAX_ATTEMPTS: i16 = 3;

/// A step of a random graph.
#[derive(Debug, Clone)]
struct Node {
    /// Steps before it that it waits for.
    depends_on: Vec<usize>,
    /// How each attempt ends; beyond the list they succeed.
    fails: Vec<Fails>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fails {
    Retryable,
    Permanent,
    Timeout,
    /// The worker dies with it.
    Lost,
    /// The worker gives it back; not an attempt.
    Released,
}

/// One run: the graph, and how much is done at a time.
#[derive(Debug, Clone)]
struct Run {
    nodes: Vec<Node>,
    claim_batch: i32,
    apply_batch: i32,
    newest_first: bool,
}

fn runs() -> impl Strategy<Value = Run> {
    let fails = prop_oneof![
        5 => Just(Fails::Retryable), 1 => Just(Fails::Permanent), 2 => Just(Fails::Timeout), 2 => Just(Fails::Lost),
        2 => Just(Fails::Released)
    ];
    let fails = prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(fails, 1..4)];
    let node = (prop::collection::vec(any::<prop::sample::Index>(), 0..4), fails);
    (prop::collection::vec(node, 1..=12), 1..6, 1..6, any::<bool>()).prop_map(
        |(nodes, claim_batch, apply_batch, newest_first)| {
            let nodes = nodes.into_iter().enumerate().map(|(place, (before, fails))| {
                let mut depends_on: Vec<usize> =
                    if place == 0 { vec![] } else { before.iter().map(|index| index.index(place)).collect() };
                depends_on.sort_unstable();
                depends_on.dedup();
                Node { depends_on, fails }
            });
            Run { nodes: nodes.collect(), claim_batch, apply_batch, newest_first }
        },
    )
}

/// How a step ends by the rules: its state, its last attempt and its result.
#[derive(Debug, PartialEq)]
struct End {
    state: &'static str,
    attempt: i16,
    result: Option<i64>,
}

/// A step runs when all it waits for is complete; its result is one more than the sum of theirs.
fn model(run: &Run) -> (&'static str, Vec<End>) {
    let mut ends: Vec<End> = Vec::new();
    for node in &run.nodes {
        let results: Option<i64> = node.depends_on.iter().map(|place| ends[*place].result).sum();
        let Some(sum) = results else {
            ends.push(End { state: "pending", attempt: 0, result: None });
            continue;
        };
        let mut attempt = 1;
        let mut end = None;
        for fails in &node.fails {
            match fails {
                Fails::Released => {}
                Fails::Permanent => end = Some("error"),
                _ if attempt == MAX_ATTEMPTS => end = Some("error"),
                _ => attempt += 1,
            }
            if end.is_some() {
                break;
            }
        }
        ends.push(match end {
            Some(state) => End { state, attempt, result: None },
            None => End { state: "complete", attempt, result: Some(sum + 1) },
        });
    }
    let state = if ends.iter().all(|end| end.state == "complete") { "complete" } else { "error" };
    (state, ends)
}

/// Runs a task to its end by SQL, with workers that fail as the run says.
async fn execute(
    session: &mut Session,
    name: &str,
    run: &Run,
) -> Result<(String, BTreeMap<String, (String, i16, Option<i64>)>)> {
    let steps: Vec<_> = run
        .nodes
        .iter()
        .enumerate()
        .map(|(place, node)| {
            let depends_on: Vec<String> = node.depends_on.iter().map(|place| format!("s{place}")).collect();
            json!({ "name": format!("s{place}"), "depends_on": depends_on, "max_attempts": MAX_ATTEMPTS })
        })
        .collect();
    let task = session.start(&define_with(name, steps.into(), json!({}))).await?;
    let mut executions: BTreeMap<String, usize> = BTreeMap::new();
    for _round in 0..500 {
        let mut steps = session.claim(run.claim_batch).await?;
        if run.newest_first {
            steps.reverse();
        }
        let mut reports = Vec::new();
        for step in &steps {
            let node = &run.nodes[step.name[1..].parse::<usize>()?];
            let execution = executions.entry(step.name.clone()).or_default();
            match node.fails.get(*execution) {
                None => reports.push(complete(step, &(1 + sum(step)?).to_string())),
                Some(Fails::Retryable) => reports.push(failed(step, "retryable", "")),
                Some(Fails::Timeout) => reports.push(failed(step, "timeout", "")),
                Some(Fails::Permanent) => reports.push(failed(step, "permanent", "")),
                Some(Fails::Released) => ensure!(session.release_as("worker", std::slice::from_ref(step)).await? == 1),
                Some(Fails::Lost) => {}
            }
            *execution += 1;
        }
        ensure!(session.report(&reports).await?.is_empty(), "a result of a claimed step was refused");
        let applied = session.apply(run.apply_batch).await?;
        ensure!(applied.stale == 0 && applied.dead == 0, "{applied:?}");
        session.assert_invariants().await?;
        if steps.is_empty() && applied.popped == 0 {
            // Nothing moves by itself: time passes, retries come due and claims expire.
            session.advance_clock("1 h").await?;
            let (woken, recovered) = (session.wake_due(100).await?, session.recover(100).await?);
            session.assert_invariants().await?;
            if woken.popped == 0 && recovered.popped == 0 {
                break;
            }
        }
    }
    let state = session.task_state(task).await?;
    let rows = "select coalesce(jsonb_object_agg(name, jsonb_build_array(state, attempt, result))::text, '{}')
                  from stepwell.steps where task_id = $1";
    let ends: String = session.of_task(rows, task).await?;
    Ok((state, serde_json::from_str(&ends)?))
}

fn sum(step: &ClaimedStep) -> Result<i64> {
    let results: BTreeMap<String, i64> = serde_json::from_str(step.results.as_deref().unwrap_or("{}"))?;
    Ok(results.values().sum())
}

#[test]
fn random_graphs_end_as_the_model_says() -> Result<()> {
    let runtime = Runtime::new()?;
    let db = runtime.block_on(TestDatabase::new())?;
    let mut session = runtime.block_on(db.session())?;
    runtime.block_on(session.set_clock("2030-01-01 00:00:00+00"))?;
    let session = std::cell::RefCell::new(session);
    let cases = std::cell::Cell::new(0);

    // No file of failures: a failing run is printed whole, and small.
    let mut runner =
        TestRunner::new(Config { cases: 48, failure_persistence: None, max_shrink_iters: 200, ..Config::default() });
    runner.run(&runs(), |run| {
        cases.set(cases.get() + 1);
        let name = format!("random_{}", cases.get());
        let outcome = runtime.block_on(execute(&mut session.borrow_mut(), &name, &run));
        let (state, ends) = outcome.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let (expected_state, expected) = model(&run);
        prop_assert_eq!(state, expected_state);
        for (place, end) in expected.iter().enumerate() {
            let (state, attempt, result) = &ends[&format!("s{place}")];
            prop_assert_eq!((state.as_str(), *attempt, *result), (end.state, end.attempt, end.result), "s{}", place);
        }
        Ok(())
    })?;
    drop(session);
    runtime.block_on(db.finish())
}

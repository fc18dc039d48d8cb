//! One task at a time: when it was submitted, when each handler started, when the wait for it returned.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{ensure, Context, Result};
use serde_json::{json, Value};
use stepwell::Client;

use crate::workflows::Kind;

/// When handlers started, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Starts(Arc<Mutex<Vec<Instant>>>);

impl Starts {
    pub(crate) fn note(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    }

    pub(crate) fn clear(&self) {
        self.take();
    }

    fn take(&self) -> Vec<Instant> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Milliseconds: submit to the first handler's start; from start to start; submit until `wait` returns; the database's
/// `finished_at` until `wait` returns.
pub(crate) async fn measure(client: &Client, kind: Kind, samples: usize, starts: &Starts) -> Result<Value> {
    let (mut first, mut hop, mut whole, mut wait) = (vec![], vec![], vec![], vec![]);
    for sample in 0..samples {
        // Not in step with anything that polls.
        tokio::time::sleep(Duration::from_micros(2_000 + (sample as u64 * 7_919) % 10_000)).await;
        let submitted = Instant::now();
        let task = client.submit(&[kind.request(0, None)]).await?[0].task_id;
        client.wait(&[task], Some(Duration::from_secs(60)), |_| {}).await?;
        let (ended, clock) = (submitted.elapsed(), SystemTime::now().duration_since(UNIX_EPOCH)?);
        let starts = starts.take();
        ensure!(starts.len() == kind.steps(), "{} handlers have started", starts.len());
        first.push(milliseconds(starts[0] - submitted));
        hop.extend(starts.windows(2).map(|pair| milliseconds(pair[1] - pair[0])));
        whole.push(milliseconds(ended));
        let finished = client.task(task).await?.finished_at.context("it has not finished")?;
        wait.push((clock.as_micros() as f64 - finished as f64) / 1e3);
    }
    Ok(json!({ "start": first, "hop": hop, "whole": whole, "wait": wait }))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

//! One measurement of `bin/bench` in Rust, as one process: it connects, warms up, says `ready`, measures when it is told
//! to by a line on standard input, prints one line of JSON, and ends with standard input.

mod floor;
mod latency;
mod runner;
mod workflows;

use std::io::Write;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

#[derive(Debug, Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The SQL functions alone, driven over plain connections.
    Floor(floor::Options),
    /// An orchestrator, a worker and a client, or some of them.
    Run(runner::Options),
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Floor(options) => floor::run(options).await,
        Command::Run(options) => runner::run(options).await,
    }
}

/// Says `ready`, and waits for the line that starts the measurement, or ends it.
async fn ready() -> Result<()> {
    say("ready")?;
    line().await
}

/// Prints what was measured, and waits until it is no longer needed.
async fn done(measured: &Value) -> Result<()> {
    say(&measured.to_string())?;
    line().await
}

async fn line() -> Result<()> {
    let mut said = String::new();
    BufReader::new(tokio::io::stdin()).read_line(&mut said).await.context("standard input")?;
    Ok(())
}

fn say(text: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{text}")?;
    Ok(output.flush()?)
}

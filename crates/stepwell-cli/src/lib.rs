//! The command line: arguments in, exit code out. The program `stepwell` and the gem's executable share it.

mod arguments;
mod commands;
mod failure;
mod humane;
mod input;
mod output;
mod progress;
mod session;
mod table;
mod views;

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use clap::Parser;
use tokio_util::sync::CancellationToken;

use arguments::Arguments;
pub use failure::INTERRUPTED;
use failure::{Failure, FAILED};
use output::Output;
use session::Session;
use stepwell::telemetry;

/// How long the end waits for log lines that nobody reads.
pub const LAST_LINES: Duration = Duration::from_secs(3);

/// Who runs the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// The program on its own: it cannot run Ruby handlers.
    Program,
    /// The gem's executable, which takes `work` to itself.
    Gem,
}

/// Runs a command line, the name of the program first. Returns the exit code: 0 it is done, 1 it failed, 2 wrong usage,
/// 3 what was asked for does not exist, 4 the database cannot be reached, 130 interrupted.
///
/// `interrupt` is what a signal cancels: `serve` drains and ends with 0, everything else ends soon.
pub async fn main(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    host: Host,
    interrupt: CancellationToken,
) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        // Help and the version are errors to the parser, and go to standard output.
        Err(error) => {
            let printed = error.print().and_then(|()| std::io::stdout().flush());
            return match printed {
                Err(failure) if !error.use_stderr() => end(Err(failure.into())),
                _ => u8::try_from(error.exit_code()).unwrap_or(FAILED),
            };
        }
    };
    arguments.globals.color.write_global();
    let output = Output::new(arguments.globals.json);
    let session = Session { globals: arguments.globals, output, interrupt, host };
    let outcome = commands::run(&session, arguments.command).await;
    telemetry::flush(LAST_LINES);
    end(outcome)
}

/// Says what went wrong. Returns the exit code.
fn end(outcome: Result<u8, Failure>) -> u8 {
    match outcome {
        Ok(code) => code,
        // Whoever reads has read enough: `stepwell task list | head -1`.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(failure) => {
            failure.print();
            failure.code()
        }
    }
}

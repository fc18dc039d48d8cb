//! `Stepwell::Native.command_line`: the command line for the gem's executable.

use std::panic::resume_unwind;

use magnus::{function, Error, Object, RModule, Ruby};
use stepwell_cli::Host;
use tokio_util::sync::CancellationToken;

use crate::errors::{entry, error};
use crate::gvl::block_on_unless;
use crate::runtime::runtime;

pub(crate) fn init(native: RModule) -> Result<(), Error> {
    native.define_singleton_method("command_line", function!(command_line, 1))?;
    Ok(())
}

/// Runs the arguments and returns the exit code. The first signal that Ruby raises as an exception asks the command to
/// stop; what comes then does not wait for its end.
fn command_line(ruby: &Ruby, arguments: Vec<String>) -> Result<u8, Error> {
    entry(ruby, || {
        let stop = CancellationToken::new();
        let arguments: Vec<String> = std::iter::once("stepwell".to_owned()).chain(arguments).collect();
        let interrupt = stop.clone();
        // On a thread of its own: a command need not be able to move from one to another.
        let runtime = runtime().map_err(|failure| error(ruby, "Error", format!("no threads: {failure}")))?;
        let handle = runtime.handle().clone();
        let command =
            runtime.spawn_blocking(move || handle.block_on(stepwell_cli::main(arguments, Host::Gem, interrupt)));
        let command = async move { Ok(command.await.unwrap_or_else(|panic| resume_unwind(panic.into_panic()))) };
        block_on_unless(ruby, command, |interrupt| {
            if stop.is_cancelled() || !interrupt.is_kind_of(ruby.exception_signal()) {
                return Err(interrupt);
            }
            stop.cancel();
            Ok(())
        })
    })
}

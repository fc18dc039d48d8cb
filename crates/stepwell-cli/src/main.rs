//! The program `stepwell`, for machines without Ruby. The gem's executable runs the same code through its extension.

use std::process::ExitCode;

use tokio::signal::unix::{signal, SignalKind};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            anstream::eprintln!("error: no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        let interrupt = CancellationToken::new();
        tokio::spawn(listen(interrupt.clone()));
        stepwell_cli::main(std::env::args_os(), stepwell_cli::Host::Program, interrupt).await
    });
    // Whoever still reads standard input would keep the runtime from ending.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// The first signal asks to stop; the second does not ask.
async fn listen(interrupt: CancellationToken) {
    let (Ok(mut term), Ok(mut int), Ok(mut quit)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::quit()))
    else {
        return;
    };
    let mut hangup = if may_hear_hangup() { signal(SignalKind::hangup()).ok() } else { None };
    for _ in 0..2 {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = quit.recv() => {}
            _ = async { hangup.as_mut()?.recv().await }, if hangup.is_some() => {}
        }
        if interrupt.is_cancelled() {
            stepwell::telemetry::flush(stepwell_cli::LAST_LINES);
            std::process::exit(i32::from(stepwell_cli::INTERRUPTED));
        }
        interrupt.cancel();
    }
}

/// False where whoever started us ignores it, as `nohup` does, or the system does not say.
fn may_hear_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    ignored.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & 1 == 0)
}

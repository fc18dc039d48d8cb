//! The tokio runtime of this process. Keyed by pid: after a fork the threads are gone, so the child builds its own and
//! forgets, never drops, its parent's.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Builder, Runtime};

static RUNTIME: Mutex<Option<(u32, Arc<Runtime>)>> = Mutex::new(None);

/// The runtime, started at the first call.
pub(crate) fn runtime() -> io::Result<Arc<Runtime>> {
    let mut current = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    let pid = std::process::id();
    if let Some((owner, runtime)) = current.as_ref() {
        if *owner == pid {
            return Ok(runtime.clone());
        }
    }
    let runtime = Arc::new(Builder::new_multi_thread().worker_threads(2).thread_name("stepwell").enable_all().build()?);
    std::mem::forget(current.replace((pid, runtime.clone())));
    Ok(runtime)
}

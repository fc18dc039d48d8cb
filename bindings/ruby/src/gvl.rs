//! Waiting without Ruby's lock. Every wait can be interrupted: Ctrl-C, `Timeout` and `Thread#kill` work. The only
//! module of the extension with unsafe code of its own, beside the drop of an object after a fork.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::future::Future;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use magnus::rb_sys::protect;
use magnus::{Error, Ruby};
use rb_sys::RB_NOGVL_INTR_FAIL;

use crate::{errors, runtime};

/// While every thread of a Ruby 3.1 waits outside the lock, signals reach no trap: so each wait looks this often.
const LOOK: Duration = Duration::from_millis(100);
/// For a main thread that is alone Ruby 3.1 starts another at each wait, which hears signals: to look often would only make threads.
const LOOK_ALONE: Duration = Duration::from_secs(10);

/// Calls `wait` without the lock. `interrupt` is called, from any thread, when Ruby wants this thread back; it must make
/// `wait` return soon. When an interrupt is pending already, `wait` is not called at all.
///
/// # Errors
/// What an interrupt raised: where the main thread is alone, Ruby 3.1 looks for interrupts itself after the wait.
pub(crate) fn without_gvl<W: FnMut() + Send, I: Fn() + Sync>(mut wait: W, interrupt: &I) -> Result<(), Error> {
    extern "C" fn call<W: FnMut()>(data: *mut c_void) -> *mut c_void {
        // SAFETY: `data` is the `wait` of the frame below, which outlives this call and is used nowhere else meanwhile.
        let wait = unsafe { &mut *data.cast::<W>() };
        // A panic must not cross into C; the caller finds that nothing has come and looks again.
        let _panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(wait));
        std::ptr::null_mut()
    }
    extern "C" fn unblock<I: Fn()>(data: *mut c_void) {
        // SAFETY: `data` is the `interrupt` of the frame below; it is Sync and outlives the wait.
        let interrupt = unsafe { &*data.cast::<I>() };
        let _panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(interrupt));
    }
    protect(|| {
        // SAFETY: called on a Ruby thread that holds the lock (entry points are); both functions have C's calling
        // convention, do not unwind, call nothing of Ruby, and their data live until the call returns.
        unsafe {
            rb_sys::rb_nogvl(
                Some(call::<W>),
                std::ptr::from_mut(&mut wait).cast(),
                Some(unblock::<I>),
                std::ptr::from_ref(interrupt).cast_mut().cast(),
                RB_NOGVL_INTR_FAIL as i32,
            );
        }
        rb_sys::Qnil.into()
    })
    .map(drop)
}

/// How long a wait may take. Called with the lock.
fn look() -> Duration {
    // SAFETY: asks for the number of Ruby's threads; no more is needed than the lock, which the callers have.
    match unsafe { rb_sys::rb_thread_alone() } {
        0 => LOOK,
        _ => LOOK_ALONE,
    }
}

/// What one wait and the future it waits for share.
struct Slot<T> {
    state: Mutex<(Option<T>, bool)>,
    changed: Condvar,
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, (Option<T>, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a future of the core to its end, without the lock. An interrupt that raises drops the future.
///
/// # Errors
/// What the interrupt raised; `Stepwell::Error` when the future panicked; what the core returned, as its Ruby class.
pub(crate) fn block_on<T, F>(ruby: &Ruby, future: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: Future<Output = stepwell::Result<T>> + Send + 'static,
{
    block_on_unless(ruby, future, Err)
}

/// The same, with a say in what an interrupt does: with its error the future is dropped, else it goes on.
pub(crate) fn block_on_unless<T, F>(
    ruby: &Ruby,
    future: F,
    mut interrupted: impl FnMut(Error) -> Result<(), Error>,
) -> Result<T, Error>
where
    T: Send + 'static,
    F: Future<Output = stepwell::Result<T>> + Send + 'static,
{
    let runtime = runtime::runtime().map_err(|error| errors::error(ruby, "Error", format!("no threads: {error}")))?;
    let slot = Arc::new(Slot { state: Mutex::new((None, false)), changed: Condvar::new() });
    let work = runtime.spawn(future);
    let abort = work.abort_handle();
    let fill = slot.clone();
    runtime.spawn(async move {
        let outcome = work.await;
        fill.lock().0 = Some(outcome);
        fill.changed.notify_all();
    });
    loop {
        let (waiting, look) = (&slot, look());
        let waited = without_gvl(
            || {
                let state = waiting.lock();
                if state.0.is_none() && !state.1 {
                    drop(waiting.changed.wait_timeout(state, look).unwrap_or_else(PoisonError::into_inner));
                }
            },
            &|| {
                waiting.lock().1 = true;
                waiting.changed.notify_all();
            },
        );
        slot.lock().1 = false;
        let outcome = waited.is_ok().then(|| slot.lock().0.take()).flatten();
        if let Some(outcome) = outcome {
            let outcome =
                outcome.map_err(|error| errors::error(ruby, "Error", format!("a bug in Stepwell: {error}")))?;
            return outcome.map_err(|error| errors::raise(ruby, &error));
        }
        if let Err(interrupt) = waited.and_then(|()| ruby.thread_check_ints()).or_else(&mut interrupted) {
            abort.abort();
            return Err(interrupt);
        }
    }
}

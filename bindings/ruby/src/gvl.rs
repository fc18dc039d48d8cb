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
use tokio::task::JoinError;

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
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    outcome: Option<T>,
    /// Ruby wants the thread back.
    woken: bool,
    /// The newest number that the future has told, until somebody hears it.
    told: Option<usize>,
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { state: Mutex::new(State { outcome: None, woken: false, told: None }), changed: Condvar::new() }
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
    interrupted: impl FnMut(Error) -> Result<(), Error>,
) -> Result<T, Error>
where
    T: Send + 'static,
    F: Future<Output = stepwell::Result<T>> + Send + 'static,
{
    run(ruby, Arc::default(), future, interrupted, |_| Ok(()))
}

/// The same, of a future that tells numbers: `hear` gets the newest, with the lock, whenever there is one. Its error drops
/// the future.
pub(crate) fn block_on_telling<T, F>(
    ruby: &Ruby,
    future: impl FnOnce(Box<dyn Fn(usize) + Send + Sync>) -> F,
    hear: impl FnMut(usize) -> Result<(), Error>,
) -> Result<T, Error>
where
    T: Send + 'static,
    F: Future<Output = stepwell::Result<T>> + Send + 'static,
{
    let slot: Arc<Slot<Ended<T>>> = Arc::default();
    let teller = slot.clone();
    let future = future(Box::new(move |number| teller.change(|state| state.told = Some(number))));
    run(ruby, slot, future, Err, hear)
}

type Ended<T> = Result<stepwell::Result<T>, JoinError>;

fn run<T, F>(
    ruby: &Ruby,
    slot: Arc<Slot<Ended<T>>>,
    future: F,
    mut interrupted: impl FnMut(Error) -> Result<(), Error>,
    mut hear: impl FnMut(usize) -> Result<(), Error>,
) -> Result<T, Error>
where
    T: Send + 'static,
    F: Future<Output = stepwell::Result<T>> + Send + 'static,
{
    let runtime = runtime::runtime().map_err(|error| errors::error(ruby, "Error", format!("no threads: {error}")))?;
    let work = runtime.spawn(future);
    let abort = work.abort_handle();
    let fill = slot.clone();
    runtime.spawn(async move {
        let outcome = work.await;
        fill.change(|state| state.outcome = Some(outcome));
    });
    loop {
        let (waiting, look) = (&slot, look());
        let waited = without_gvl(
            || {
                let state = waiting.lock();
                if state.outcome.is_none() && state.told.is_none() && !state.woken {
                    drop(waiting.changed.wait_timeout(state, look).unwrap_or_else(PoisonError::into_inner));
                }
            },
            &|| waiting.change(|state| state.woken = true),
        );
        let (outcome, told) = {
            let mut state = slot.lock();
            state.woken = false;
            if waited.is_ok() {
                (state.outcome.take(), state.told.take())
            } else {
                (None, None)
            }
        };
        if let Err(error) = told.map_or(Ok(()), &mut hear) {
            abort.abort();
            return Err(error);
        }
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

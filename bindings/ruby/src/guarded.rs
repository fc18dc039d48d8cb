//! A Rust object behind a Ruby object, usable only in the process that made it: pools, sockets and threads do not
//! survive a fork, and dropping them in the child would end the parent's connections.

use std::mem::ManuallyDrop;

use magnus::{Error, Ruby};

use crate::errors;

pub(crate) struct Guarded<T> {
    value: ManuallyDrop<T>,
    pid: u32,
}

impl<T> Guarded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: ManuallyDrop::new(value), pid: std::process::id() }
    }

    /// The object.
    ///
    /// # Errors
    /// `Stepwell::Error` in a forked child.
    pub(crate) fn get(&self, ruby: &Ruby) -> Result<&T, Error> {
        if self.pid == std::process::id() {
            Ok(&self.value)
        } else {
            Err(errors::error(
                ruby,
                "Error",
                format!(
                    "this object belongs to process {} and does not survive its fork: make a new one in the child",
                    self.pid
                ),
            ))
        }
    }
}

impl<T> Drop for Guarded<T> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            // A pool that is dropped outside its runtime needs one to end its connections.
            let runtime = crate::runtime::runtime();
            let _entered = runtime.as_deref().ok().map(tokio::runtime::Runtime::enter);
            // SAFETY: dropped once, here, and not used after.
            unsafe { ManuallyDrop::drop(&mut self.value) }
        }
    }
}

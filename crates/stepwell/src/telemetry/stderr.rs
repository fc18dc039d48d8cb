//! Standard error without a lock. Rust's own takes one for each line; a process that is forked while another thread
//! holds it inherits a lock that nobody opens, and its first line waits for ever.

use std::io::{self, Write};
use std::time::Duration;

/// Writes what it is given with one system call where the system takes it in one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unlocked;

impl Write for Unlocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(rustix::stdio::stderr(), bytes) {
                // Somebody who shares it wants no waiting; the thread of the log has time.
                Err(rustix::io::Errno::AGAIN) => std::thread::sleep(Duration::from_millis(5)),
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Standard error without a lock. Rust's own takes one for each line; a process that is forked while another thread
//! holds it inherits a lock that nobody opens, and its first line waits for ever.

use std::io::{self, Write};

/// Writes what it is given with one system call where the system takes it in one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unlocked;

impl Write for Unlocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(rustix::stdio::stderr(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

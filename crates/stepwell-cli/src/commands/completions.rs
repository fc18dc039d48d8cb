//! `stepwell completions`.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::failure::{Failure, DONE};

pub(crate) fn print(shell: Shell) -> Result<u8, Failure> {
    // The generator cannot bear that nobody reads, so it writes into memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "stepwell", &mut script);
    let mut out = std::io::stdout().lock();
    out.write_all(&script)?;
    out.flush()?;
    Ok(DONE)
}

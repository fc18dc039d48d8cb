//! The way out. Whoever logs puts the line into a bounded queue and goes on; one thread of the process writes it to
//! standard error. Where the program has a logger of its own, a thread of Ruby takes the lines of Rust instead, because
//! only such a thread may call it.
//!
//! A fork leaves neither the thread nor, perhaps, an open lock behind. So queues and thread are a process's own, found
//! by its pid in a list that is read and lengthened without any lock; the child makes its own at its first line and
//! never looks at its parent's, whose lines its parent writes. An orderly end waits for what is still to be written
//! ([`flush`]); what kills a process can lose the lines of its last millisecond.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use once_cell::race::OnceRef;

use super::component::Component;
use super::format;
use super::level::Level;
use super::queue::Queue;
use super::record::Record;
use super::stderr;

/// What a pipe takes in one piece, so that lines of several processes do not mix.
const PIECE: usize = 4_096;
/// A wait without end.
const EVER: Duration = Duration::from_secs(3_600);

/// Whether lines of Rust go to a logger of the program.
static FORWARDING: AtomicBool = AtomicBool::new(false);
static DROPPED: AtomicU64 = AtomicU64::new(0);
static FIRST: OnceRef<'static, Process> = OnceRef::new();

struct Process {
    pid: u32,
    /// To standard error.
    written: Queue<Entry>,
    /// To the program's logger.
    forwarded: Queue<Record>,
    has_writer: AtomicBool,
    /// Of a forked child.
    next: OnceRef<'static, Process>,
}

enum Entry {
    Record(Record),
    /// Formatted already, with its newline.
    Line(String),
}

impl Process {
    /// Of this process, if it has logged anything. The last one in the list, for pids come again.
    fn existing() -> (Option<&'static Self>, &'static OnceRef<'static, Self>) {
        let (mut last, mut link): (Option<&'static Self>, _) = (None, &FIRST);
        while let Some(process) = link.get() {
            (last, link) = (Some(process), &process.next);
        }
        (last.filter(|process| process.pid == std::process::id()), link)
    }

    fn current() -> &'static Self {
        loop {
            let link = match Self::existing() {
                (Some(process), _) => return process,
                (None, link) => link,
            };
            let (pid, has_writer, next) = (std::process::id(), AtomicBool::new(false), OnceRef::new());
            let new = Self { pid, written: Queue::new(), forwarded: Queue::new(), has_writer, next };
            let _another_thread_was_first = link.set(Box::leak(Box::new(new)));
        }
    }

    fn write(&'static self, entry: Entry, bytes: usize) {
        if !self.written.push(entry, bytes) {
            DROPPED.fetch_add(1, Relaxed);
        }
        self.ensure_writer();
    }

    fn ensure_writer(&'static self) {
        if !self.has_writer.swap(true, Relaxed) {
            let thread = std::thread::Builder::new().name("stepwell log".to_owned());
            if thread.spawn(|| self.write_for_ever()).is_err() {
                self.has_writer.store(false, Relaxed);
                self.write_pending(Duration::ZERO); // no threads: a slow line is better than none
            }
        }
    }

    fn write_for_ever(&self) {
        loop {
            // A panic would end the thread, and all lines with it.
            let _panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.write_pending(EVER)));
            self.written.done();
        }
    }

    fn write_pending(&self, patience: Duration) {
        let taken = self.written.take(patience);
        let format = super::format();
        let lines = taken.items.into_iter().map(|entry| match entry {
            Entry::Record(record) => format::line(record, format),
            Entry::Line(line) => line,
        });
        let lost = dropped_line(taken.dropped).map(|record| format::line(record, format));
        let mut piece = String::new();
        for line in lines.chain(lost) {
            if !piece.is_empty() && piece.len() + line.len() > PIECE {
                write_out(&std::mem::take(&mut piece));
            }
            piece.push_str(&line);
        }
        write_out(&piece);
        self.written.done();
    }
}

fn write_out(text: &str) {
    let _nobody_reads = stderr::Unlocked.write_all(text.as_bytes());
}

fn dropped_line(count: u64) -> Option<Record> {
    (count > 0).then(|| Record {
        message: format!("{count} lines were dropped: more came than could be written"),
        ..Record::now(Level::Warn, Component::health())
    })
}

/// Starts the thread that writes.
pub(super) fn start() {
    Process::current().ensure_writer();
}

/// Takes a line of Rust.
pub(super) fn send(record: Record) {
    let (process, weight) = (Process::current(), record.weight());
    if !FORWARDING.load(Relaxed) {
        process.write(Entry::Record(record), weight);
    } else if !process.forwarded.push(record, weight) {
        DROPPED.fetch_add(1, Relaxed);
    }
}

/// Takes a formatted line, with its newline, for standard error. Never waits.
pub fn write(line: String) {
    let bytes = line.len();
    Process::current().write(Entry::Line(line), bytes);
}

/// Says whether lines of Rust go to [`next_forwarded`] instead of standard error.
pub fn forward(on: bool) {
    if FORWARDING.swap(on, Relaxed) && !on {
        let process = Process::current();
        process.forwarded.take(Duration::ZERO).items.into_iter().for_each(send);
        process.forwarded.done();
    }
}

/// Waits, at most `patience`, for lines for the program's logger, and takes them.
pub fn next_forwarded(patience: Duration) -> Vec<Record> {
    let queue = &Process::current().forwarded;
    queue.done(); // those of the last call
    let taken = queue.take(patience);
    taken.items.into_iter().chain(dropped_line(taken.dropped)).map(Record::presentable).collect()
}

/// Ends the wait of [`next_forwarded`].
pub fn wake_forwarder() {
    Process::current().forwarded.wake();
}

/// Waits until this process's lines have been written, at most `patience`. Returns whether they have.
pub fn flush(patience: Duration) -> bool {
    Process::existing().0.is_none_or(|process| process.written.drain(patience))
}

/// Counts lines that never came here, because they could not be made in time.
pub(crate) fn count_dropped(lines: usize) {
    let process = Process::current();
    match FORWARDING.load(Relaxed) {
        true => process.forwarded.dropped(lines as u64),
        false => process.written.dropped(lines as u64),
    }
    DROPPED.fetch_add(lines as u64, Relaxed);
}

/// Lines that were dropped since the process started.
pub fn dropped() -> u64 {
    DROPPED.load(Relaxed)
}

//! One JSON line per request, written by a thread of its own so that no request waits for a disk.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    iter::once,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use prometheus::IntCounter;

use crate::record::{Decision, Record};

/// Lines that may wait for the writer; beyond it they are dropped and counted.
const MOST_WAITING: usize = 16_384;

/// Where lines go in.
pub struct AccessLog {
    lines: Option<SyncSender<Arc<Decision>>>,
    dropped: IntCounter,
}

/// The writer thread, which is waited for at the end, so that the last lines are not lost.
pub struct Writer(Option<Receiver<()>>);

/// Longest wait for the last lines: whoever should read them may have stopped reading.
const LAST_LINES: Duration = Duration::from_secs(1);

impl AccessLog {
    /// Opens the log: `off`, `stdout`, or a file that is appended to.
    pub fn open(target: &str, dropped: IntCounter) -> io::Result<(Self, Writer)> {
        let sink: Box<dyn Write + Send> = match target {
            "off" => {
                let log = Self {
                    lines: None,
                    dropped,
                };
                return Ok((log, Writer(None)));
            }
            "stdout" => Box::new(io::stdout()),
            path => Box::new(
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(Path::new(path))?,
            ),
        };
        let (lines, waiting) = sync_channel(MOST_WAITING);
        let (done, ended) = sync_channel(1);
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                write_all(&waiting, BufWriter::with_capacity(64 << 10, sink));
                // Nobody may be waiting any more.
                let _ = done.send(());
            })?;
        let log = Self {
            lines: Some(lines),
            dropped,
        };
        Ok((log, Writer(Some(ended))))
    }

    /// Hands a line to the writer; never waits.
    pub fn write(&self, decision: &Arc<Decision>) {
        if let Some(lines) = &self.lines
            && lines.try_send(Arc::clone(decision)).is_err()
        {
            self.dropped.inc();
        }
    }
}

impl Writer {
    /// Waits for the last line. The log must have been dropped before.
    pub fn finish(self) {
        if let Some(ended) = self.0
            && ended.recv_timeout(LAST_LINES).is_err()
        {
            log::error!("the last access lines could not be written");
        }
    }
}

/// Writes what is there in one go, then waits for more: line by line when it is quiet, in blocks
/// when it is not.
fn write_all(waiting: &Receiver<Arc<Decision>>, mut sink: BufWriter<Box<dyn Write + Send>>) {
    let mut failing = false;
    while let Ok(first) = waiting.recv() {
        let mut lines = once(first).chain(waiting.try_iter());
        let written = lines
            .try_for_each(|decision| write_line(&decision, &mut sink))
            .and_then(|()| sink.flush());
        if let (Err(error), false) = (&written, failing) {
            log::error!("access log cannot be written; error={error}");
        }
        failing = written.is_err();
    }
}

/// JSON escapes control characters, so a client's text cannot start a line of its own.
fn write_line(decision: &Decision, sink: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *sink, &Record::from(decision))?;
    sink.write_all(b"\n")
}

//! One JSON line per request, written by a thread of its own so that no request waits for a disk.
//!
//! Where the disk is full, lines are lost and counted, the gateway serves on, and the file never has
//! half a line in it. SIGUSR1 or SIGHUP opens the file anew, for rotation by renaming.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use prometheus::IntCounter;
use thornwall_settings::printable::printable_json;

use crate::record::{Ended, Record};

pub(crate) mod sink;

use sink::{Sink, Target};

/// Lines that may wait for the writer; beyond it they are dropped and counted.
const MOST_WAITING: usize = 16_384;

/// Bytes that are written at once, as far as there are lines for them.
const BATCH_BYTES: usize = 64 << 10;

/// Where lines go in.
pub(crate) struct AccessLog {
    entries: Option<SyncSender<Entry>>,
    reopen: Arc<AtomicBool>,
    dropped: IntCounter,
}

enum Entry {
    Line(Arc<Ended>),
    /// Only to be awake.
    Wake,
}

/// The writer thread, which is waited for at the end, so that the last lines are not lost.
pub(crate) struct Writer(Option<Receiver<()>>);

/// Longest wait for the last lines: their reader may have stopped.
const LAST_LINES: Duration = Duration::from_secs(1);

impl AccessLog {
    /// Opens the log: `off`, `stdout`, or a file that is appended to.
    pub(crate) fn open(target: &str, dropped: IntCounter) -> io::Result<(Self, Writer)> {
        let reopen = Arc::new(AtomicBool::new(false));
        let mut log = Self {
            entries: None,
            reopen: Arc::clone(&reopen),
            dropped: dropped.clone(),
        };
        let target = match target {
            "off" => return Ok((log, Writer(None))),
            "stdout" => Target::Stdout,
            path => Target::File(path.into()),
        };
        let sink = Sink::open(target)?;
        let (entries, waiting) = sync_channel(MOST_WAITING);
        let (done, ended) = sync_channel(1);
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                write_all(&waiting, sink, &reopen, &dropped);
                // The waiting side may be gone.
                let _ = done.send(());
            })?;
        log.entries = Some(entries);
        Ok((log, Writer(Some(ended))))
    }

    /// Hands a line to the writer; never waits.
    pub(crate) fn write(&self, request: &Arc<Ended>) {
        if let Some(entries) = &self.entries
            && entries.try_send(Entry::Line(Arc::clone(request))).is_err()
        {
            self.dropped.inc();
        }
    }

    /// Has the file opened anew before the next line; never waits.
    pub(crate) fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
        if let Some(entries) = &self.entries {
            // Where there is no room, the writer is awake.
            let _ = entries.try_send(Entry::Wake);
        }
    }
}

impl Writer {
    /// Waits for the last line. The log must have been dropped before.
    pub(crate) fn finish(self) {
        if let Some(ended) = self.0
            && ended.recv_timeout(LAST_LINES).is_err()
        {
            log::error!("the last access lines could not be written");
        }
    }
}

/// Writes what is there in one go, then waits for more: line by line when it is quiet, in blocks
/// when it is not.
fn write_all(waiting: &Receiver<Entry>, mut sink: Sink, reopen: &AtomicBool, dropped: &IntCounter) {
    let mut lines = Vec::with_capacity(BATCH_BYTES);
    let mut lost_in_a_row = 0;
    while let Ok(first) = waiting.recv() {
        lines.clear();
        push(&first, &mut lines);
        while lines.len() < BATCH_BYTES
            && let Ok(next) = waiting.try_recv()
        {
            push(&next, &mut lines);
        }
        if reopen.swap(false, Ordering::AcqRel) {
            sink.reopen();
        }
        if lines.is_empty() {
            continue;
        }
        match sink.write(&lines) {
            Ok(()) if lost_in_a_row > 0 => {
                log::info!("access log is written again; lost_lines={lost_in_a_row}");
                lost_in_a_row = 0;
            }
            Ok(()) => {}
            Err(lost) => {
                if lost_in_a_row == 0 {
                    log::error!(
                        "access log cannot be written, lines are lost until it can; error={}",
                        lost.why
                    );
                }
                lost_in_a_row += lost.lines;
                dropped.inc_by(lost.lines);
            }
        }
    }
}

/// JSON escapes the usual control characters, so a client's text cannot start a line of its own; the
/// others are escaped too, since operators read the log on terminals.
fn push(entry: &Entry, lines: &mut Vec<u8>) {
    let Entry::Line(request) = entry else {
        return;
    };
    // A record has nothing that JSON cannot hold.
    if let Ok(line) = serde_json::to_string(&Record::from(&**request)) {
        lines.extend_from_slice(printable_json(&line).as_bytes());
        lines.push(b'\n');
    }
}

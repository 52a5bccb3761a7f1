//! What the thread does with the file of decisions, and what it does without one.

use std::{fs, path::PathBuf};

use super::{CLEAR_EVERY_MS, RETRY_AFTER_MS, Waiting, Writer};
use crate::{
    clock::Moment,
    decision::{Change, Decision},
    decisions::Row,
    store::{
        ChangeOrigin, Loaded,
        disk::{Disk, DiskError, Opened, Write},
        late,
    },
};

/// The file of decisions.
pub(super) enum File {
    /// It failed, and is opened again later.
    Failed(PathBuf),
    /// Another process has it.
    HandedOver(PathBuf),
    /// There is none.
    None,
    /// Open.
    Open(PathBuf, Disk),
}

impl Writer {
    /// Brings everything that waits to the disk, or leaves it waiting.
    pub(super) fn save(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let written = match &self.file {
            File::None | File::Failed(_) => return,
            File::HandedOver(path) => {
                let folder = late::folder(path);
                let decisions: Vec<Decision> = self
                    .waiting
                    .values()
                    .filter_map(|w| w.decision.clone())
                    .collect();
                self.left += 1;
                late::leave(&folder, self.left, &decisions).map_err(DiskError::from)
            }
            File::Open(_, disk) => {
                let writes = self.waiting.iter().map(|(key, waiting)| Write {
                    key,
                    decision: waiting.decision.as_ref(),
                    unsent: self.unsent.get(key).copied(),
                });
                disk.commit(writes, self.replica.unsaved())
            }
        };
        match written {
            Ok(()) => {
                self.waiting.clear();
                self.replica.saved();
                self.metrics.disk_failing.set(0);
            }
            Err(error) => self.fail(&error),
        }
    }

    /// A file that failed has to be opened again, as often as it takes.
    pub(super) fn fail(&mut self, error: &DiskError) {
        self.metrics.failed_writes.inc();
        if self.metrics.disk_failing.get() == 0 {
            self.metrics.disk_failing.set(1);
            log::error!("decisions are kept in memory alone; error={error}");
        }
        self.due.retry = self.clock.now().own_ms + RETRY_AFTER_MS;
        self.file = match std::mem::replace(&mut self.file, File::None) {
            File::Open(path, _) => File::Failed(path),
            // Not there yet, or another process's: what waits goes on waiting for it.
            other => other,
        };
    }

    pub(super) fn reopen(&mut self, now: Moment) {
        let File::Failed(path) = &self.file else {
            return;
        };
        match Disk::open(path, now.unix_ms) {
            Ok(Opened { disk, set_aside }) => {
                if let Some(aside) = set_aside {
                    log::error!("decisions were damaged; put aside={}", aside.display());
                }
                self.file = File::Open(path.clone(), disk);
                if self.waiting.is_empty() {
                    self.metrics.disk_failing.set(0);
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    pub(super) fn open(&mut self, path: PathBuf) -> Result<Loaded, DiskError> {
        let now = self.clock.now();
        let Opened {
            mut disk,
            set_aside,
        } = Disk::open(&path, now.unix_ms)?;
        let stored = disk.load()?;
        let hidden = stored
            .rows
            .iter()
            .filter(|(key, _)| self.hides(key))
            .count();
        if hidden > 0 {
            // What is deleted may stay in a file's free pages, so there has to be another file.
            let kept = stored.rows.iter().filter(|(key, _)| !self.hides(key));
            disk = disk.without_the_others(&path, kept.map(|(key, _)| key))?;
            log::warn!("decisions about single addresses were taken off the disk; count={hidden}");
        }
        let mut rows = Vec::with_capacity(stored.rows.len());
        if self.shared {
            self.unsent = disk.unsent(usize::MAX)?.into_iter().collect();
            self.number = self.unsent.values().copied().max().unwrap_or_default();
            self.replica.resume(disk.position());
        } else {
            // Decisions from now on are sent to no shared store.
            disk.forget_position()?;
        }
        for (key, essence) in stored.rows {
            let until = now.own_time_of(essence.until_ms);
            if until <= now.own_ms && self.hides(&key) {
                // Nowhere any more.
            } else if until <= now.own_ms {
                // The copies of other gateways have ended too: to send this would remove a later one.
                self.unsent.remove(&key);
                self.waiting.insert(key, Waiting::default());
            } else if let Some(site) = self.shown.sites().of(&key.scope) {
                rows.push(Row {
                    subject: key.subject,
                    site,
                    action: essence.action,
                    origin: essence.origin,
                    until,
                });
            }
        }
        let loaded = Loaded {
            decisions: rows.len(),
            broken: stored.broken,
            set_aside,
        };
        // What was decided before the file was there stays.
        let made_before: Vec<Row> = self.table.rows(now.own_ms).collect();
        self.table.load(rows);
        made_before.into_iter().for_each(|row| self.table.put(row));
        self.table.show();
        self.file = File::Open(path, disk);
        self.due.clear = now.own_ms + CLEAR_EVERY_MS;
        Ok(loaded)
    }

    pub(super) fn hand_over(&mut self) {
        self.save();
        let file = std::mem::replace(&mut self.file, File::None);
        self.file = match file {
            // Dropping the database closes it.
            File::Open(path, _) | File::Failed(path) => File::HandedOver(path),
            other => other,
        };
    }

    /// Takes up what the process before decided after it had handed over the file.
    pub(super) fn take_up_late(&mut self) {
        let File::Open(path, _) = &self.file else {
            return;
        };
        let (decisions, files) = late::found(&late::folder(path));
        if files.is_empty() {
            return;
        }
        let now = self.clock.now();
        for decision in decisions {
            self.apply(Change::Decide(decision), ChangeOrigin::Here, now);
        }
        self.table.show();
        self.save();
        if self.waiting.is_empty() {
            for file in files {
                // To take it up twice changes nothing.
                let _ = fs::remove_file(file);
            }
        }
    }
}

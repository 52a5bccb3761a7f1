//! The durable side of the store: one file of `redb` in the data folder.
//!
//! What is committed is on the disk; a process that is killed loses nothing of it. Every page is
//! checked when the file is opened. A file that is damaged is put aside, not deleted, and a new one
//! is begun: a gateway without its old decisions is better than none.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition,
};
use thiserror::Error;

use super::{
    Position,
    record::{self, Essence},
};
use crate::decision::{Decision, DecisionKey};
use thornwall_settings::secret_file;

/// Decisions, by key.
const DECISIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("decisions");
/// Keys of changes that were not sent to the shared store yet, each with a number that grows.
const UNSENT: TableDefinition<'_, &[u8], u64> = TableDefinition::new("unsent");
/// How far the shared store was followed: its epoch and an entry of its stream.
const POSITION: TableDefinition<'_, (), (&str, &str)> = TableDefinition::new("position");

/// Memory for pages of the file: listings read it, requests never do.
const CACHE_BYTES: usize = 8 << 20;

/// The file of decisions.
pub(super) struct Disk {
    database: Database,
}

/// One row to write: what is decided now, or nothing.
pub(super) struct Write<'a> {
    pub(super) key: &'a DecisionKey,
    pub(super) decision: Option<&'a Decision>,
    /// The number of the change, where it is to be sent to the shared store; else what came before
    /// is not to be sent, either.
    pub(super) unsent: Option<u64>,
}

/// Error: the file cannot be used.
#[derive(Debug, Error)]
pub enum DiskError {
    /// The database.
    #[error("{0}")]
    Database(#[from] redb::Error),
    /// The file system.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A file that was opened, and what was found.
pub(super) struct Opened {
    pub(super) disk: Disk,
    /// Where the damaged file lies now, if it was.
    pub(super) set_aside: Option<PathBuf>,
}

/// What a file held.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) rows: Vec<(DecisionKey, Essence)>,
    /// Records that could not be read.
    pub(super) broken: u64,
}

impl Disk {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path, unix_ms: u64) -> Result<Opened, DiskError> {
        match open(path) {
            Ok(database) => Ok(Opened {
                disk: Self { database },
                set_aside: None,
            }),
            Err(error) if is_damage(&error) => {
                let aside = path.with_extension(format!("damaged-{unix_ms}"));
                fs::rename(path, &aside)?;
                let database = open(path).map_err(redb::Error::from)?;
                Ok(Opened {
                    disk: Self { database },
                    set_aside: Some(aside),
                })
            }
            Err(error) => Err(redb::Error::from(error).into()),
        }
    }

    /// Another file in the place of this one, with nothing but the decisions of these keys.
    pub(super) fn without_the_others<'a>(
        self,
        path: &Path,
        keys: impl Iterator<Item = &'a DecisionKey>,
    ) -> Result<Self, DiskError> {
        let fresh_path = path.with_extension("fresh");
        if let Err(error) = fs::remove_file(&fresh_path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error.into());
        }
        let fresh = Self {
            database: open(&fresh_path).map_err(redb::Error::from)?,
        };
        let kept: Vec<Decision> = keys.filter_map(|key| self.get(key)).collect();
        let keys: Vec<DecisionKey> = kept.iter().map(Decision::key).collect();
        fresh.commit(
            keys.iter().zip(&kept).map(|(key, decision)| Write {
                key,
                decision: Some(decision),
                unsent: None,
            }),
            None,
        )?;
        drop((self, fresh));
        fs::rename(&fresh_path, path)?;
        Ok(Self {
            database: open(path).map_err(redb::Error::from)?,
        })
    }

    /// Everything that is in it.
    pub(super) fn load(&self) -> Result<Stored, DiskError> {
        let mut stored = Stored::default();
        let read = self.database.begin_read().map_err(redb::Error::from)?;
        let table = match read.open_table(DECISIONS) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(stored),
            Err(error) => return Err(redb::Error::from(error).into()),
        };
        for entry in table.iter().map_err(redb::Error::from)? {
            let (key, value) = entry.map_err(redb::Error::from)?;
            match (
                record::decode_key(key.value()),
                record::essence(value.value()),
            ) {
                (Ok(key), Ok(essence)) => stored.rows.push((key, essence)),
                _ => stored.broken += 1,
            }
        }
        Ok(stored)
    }

    /// Writes all of it, or nothing. It is on the disk when this returns.
    pub(super) fn commit<'a>(
        &self,
        writes: impl Iterator<Item = Write<'a>>,
        position: Option<&Position>,
    ) -> Result<(), DiskError> {
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        if let Some(Position { epoch, entry }) = position {
            let mut kept = transaction
                .open_table(POSITION)
                .map_err(redb::Error::from)?;
            kept.insert((), (epoch.as_str(), entry.as_str()))
                .map_err(redb::Error::from)?;
        }
        {
            let mut decisions = transaction
                .open_table(DECISIONS)
                .map_err(redb::Error::from)?;
            let mut unsent = transaction.open_table(UNSENT).map_err(redb::Error::from)?;
            for write in writes {
                let key = record::encode_key(write.key);
                let key = key.as_slice();
                match write.decision {
                    Some(decision) => decisions.insert(key, record::encode(decision).as_slice()),
                    None => decisions.remove(key),
                }
                .map_err(redb::Error::from)?;
                match write.unsent {
                    Some(number) => unsent.insert(key, number),
                    None => unsent.remove(key),
                }
                .map_err(redb::Error::from)?;
            }
        }
        transaction.commit().map_err(redb::Error::from)?;
        Ok(())
    }

    /// How far the shared store was followed.
    pub(super) fn position(&self) -> Option<Position> {
        let read = self.database.begin_read().ok()?;
        let kept = read.open_table(POSITION).ok()?.get(()).ok()??;
        let (epoch, entry) = kept.value();
        Some(Position {
            epoch: epoch.to_owned(),
            entry: entry.to_owned(),
        })
    }

    /// Forgets how far the shared store was followed.
    pub(super) fn forget_position(&self) -> Result<(), DiskError> {
        if self.position().is_none() {
            return Ok(());
        }
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        transaction
            .delete_table(POSITION)
            .map_err(redb::Error::from)?;
        transaction.commit().map_err(redb::Error::from)?;
        Ok(())
    }

    /// The whole decision of a key.
    pub(super) fn get(&self, key: &DecisionKey) -> Option<Decision> {
        let read = self.database.begin_read().ok()?;
        let table = read.open_table(DECISIONS).ok()?;
        let value = table.get(record::encode_key(key).as_slice()).ok()??;
        record::decode(value.value()).ok()
    }

    /// At most `most` keys of unsent changes, with the number of each change.
    pub(super) fn unsent(&self, most: usize) -> Result<Vec<(DecisionKey, u64)>, DiskError> {
        let read = self.database.begin_read().map_err(redb::Error::from)?;
        let table = match read.open_table(UNSENT) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(redb::Error::from(error).into()),
        };
        let mut keys = Vec::new();
        for entry in table.iter().map_err(redb::Error::from)?.take(most) {
            let (key, number) = entry.map_err(redb::Error::from)?;
            if let Ok(key) = record::decode_key(key.value()) {
                keys.push((key, number.value()));
            }
        }
        Ok(keys)
    }

    /// Forgets that these changes were to be sent, unless there was another one since.
    pub(super) fn sent(&self, keys: &[(DecisionKey, u64)]) -> Result<(), DiskError> {
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        {
            let mut unsent = transaction.open_table(UNSENT).map_err(redb::Error::from)?;
            for (key, number) in keys {
                let key = record::encode_key(key);
                let latest = unsent.get(key.as_slice()).map_err(redb::Error::from)?;
                if latest.is_some_and(|latest| latest.value() == *number) {
                    unsent.remove(key.as_slice()).map_err(redb::Error::from)?;
                }
            }
        }
        transaction.commit().map_err(redb::Error::from)?;
        Ok(())
    }
}

fn open(path: &Path) -> Result<Database, DatabaseError> {
    secret_file::keep_private(path);
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create(path)
}

/// Whether the file, and not the disk or its permissions, is what is wrong.
fn is_damage(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::Storage(StorageError::Corrupted(_)) | DatabaseError::RepairAborted => true,
        DatabaseError::Storage(StorageError::Io(error)) => matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What another version wrote: tables are found by name, and values by their types.
    #[test]
    fn the_file_keeps_its_form() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("decisions.redb");
        let database = Database::create(&path).unwrap();
        let write = database.begin_write().unwrap();
        {
            let unsent: TableDefinition<'_, &[u8], u64> = TableDefinition::new("unsent");
            let position: TableDefinition<'_, (), (&str, &str)> = TableDefinition::new("position");
            let decisions: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("decisions");
            let key: &[u8] = &[4, 192, 0, 2, 7, 32, 0];
            // A value of no version: it is reported as broken, and nothing else is lost with it.
            let mut table = write.open_table(decisions).unwrap();
            table.insert(key, &[0u8; 4][..]).unwrap();
            write.open_table(unsent).unwrap().insert(key, 7).unwrap();
            let mut table = write.open_table(position).unwrap();
            table.insert((), ("epoch", "1-0")).unwrap();
        }
        write.commit().unwrap();
        drop(database);
        let opened = Disk::open(&path, 1).unwrap();
        assert_eq!(opened.set_aside, None);
        let (stored, position) = (opened.disk.load().unwrap(), opened.disk.position().unwrap());
        assert_eq!((stored.rows.len(), stored.broken), (0, 1));
        assert_eq!(
            (position.epoch.as_str(), position.entry.as_str()),
            ("epoch", "1-0")
        );
    }
}

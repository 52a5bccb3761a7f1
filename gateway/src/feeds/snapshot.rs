//! The last good copy of each feed, so that a start does without its server.
//!
//! `data_dir/feeds/NAME` has a line of JSON about the copy, then a network per line. It is as old as the
//! file says: a 304 of the server makes it younger without writing it again.

use std::{
    fs::{self, DirBuilder, File, FileTimes},
    io::{self, BufWriter, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use thornwall_decisions::prefix_set::{
    Prefix,
    list::{ListError, MAX_LIST_BYTES, parse_list},
};

use super::fetch::Validators;

/// Where the copies lie.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    folder: PathBuf,
    /// Addresses are not to be on the disk: there are no snapshots.
    none: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) subjects: Vec<Prefix>,
    pub(crate) validators: Validators,
    /// When it was good, in milliseconds of Unix time.
    pub(crate) good_ms: u64,
}

/// The first line of a copy.
#[derive(Debug, Serialize, Deserialize)]
struct Heading {
    /// Which place and form it was made from.
    origin: String,
    /// Networks that follow.
    entries: usize,
    validators: Validators,
}

/// Why a copy is of no use.
#[derive(Debug, Error)]
pub(crate) enum SnapshotError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is damaged")]
    Damaged,
}

impl Snapshots {
    pub(crate) fn of(data_dir: &Path, none: bool) -> Self {
        Self {
            folder: data_dir.join("feeds"),
            none,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Keeps a copy in place of the one before.
    pub(crate) fn keep(
        &self,
        name: &str,
        origin: &str,
        subjects: &[Prefix],
        validators: &Validators,
    ) -> io::Result<()> {
        if self.none {
            return Ok(());
        }
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.folder)?;
        // No feed is called so: names have no dot. An upgrade has two processes writing for a moment.
        let part = self
            .folder
            .join(format!("{name}.{}.part", std::process::id()));
        let mut file = BufWriter::new(File::create(&part)?);
        let heading = Heading {
            origin: origin.to_owned(),
            entries: subjects.len(),
            validators: validators.clone(),
        };
        serde_json::to_writer(&mut file, &heading)?;
        file.write_all(b"\n")?;
        for subject in subjects {
            writeln!(file, "{subject}")?;
        }
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(part, self.file(name))
    }

    /// Notes that the copy is good at `now`.
    pub(crate) fn confirm(&self, name: &str, now_ms: u64) -> io::Result<()> {
        if self.none {
            return Ok(());
        }
        let now = UNIX_EPOCH + Duration::from_millis(now_ms);
        let file = File::options().write(true).open(self.file(name))?;
        file.set_times(FileTimes::new().set_modified(now))
    }

    /// The copy of this name, if there is one that was made from the same place and form.
    pub(crate) fn find(&self, name: &str, origin: &str) -> Result<Option<Snapshot>, SnapshotError> {
        if self.none {
            return Ok(None);
        }
        let path = self.file(name);
        let facts = match fs::metadata(&path) {
            Ok(facts) => facts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // A heading, and a list.
        if facts.len() > 2 * MAX_LIST_BYTES as u64 {
            return Err(SnapshotError::Damaged);
        }
        let good = facts.modified()?.duration_since(UNIX_EPOCH);
        let bytes = fs::read(&path)?;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (heading, rest) = bytes.split_at(end.ok_or(SnapshotError::Damaged)?);
        let heading: Heading =
            serde_json::from_slice(heading).map_err(|_| SnapshotError::Damaged)?;
        if heading.origin != origin {
            return Ok(None);
        }
        let list = parse_list(rest).map_err(ListError::Lines);
        let list = list.map_err(|_| SnapshotError::Damaged)?;
        if list.prefixes.len() != heading.entries {
            return Err(SnapshotError::Damaged);
        }
        let good_ms = good.unwrap_or_default().as_millis();
        Ok(Some(Snapshot {
            subjects: list.prefixes,
            validators: heading.validators,
            good_ms: u64::try_from(good_ms).unwrap_or_default(),
        }))
    }

    /// Takes away every copy but those of these names.
    pub(crate) fn retain(&self, wanted: impl Fn(&str) -> bool) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            if entry
                .file_name()
                .to_str()
                .is_none_or(|name| self.none || !wanted(name))
                && let Err(error) = fs::remove_file(entry.path())
            {
                log::warn!(
                    "a feed's copy is left; file={} error={error}",
                    entry.path().display()
                );
            }
        }
    }
}

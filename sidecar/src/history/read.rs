//! Reading the file of a sidecar that does not run.

use std::{io, ops::ControlFlow, path::Path};

use thiserror::Error;

use super::file::File;
use crate::assessment::Explanation;

/// Error: the file is not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Its sidecar runs.
    #[error("a running sidecar holds it")]
    InUse,
    /// Nothing was ever kept.
    #[error("no such file")]
    Absent,
    /// The database failed.
    #[error("{0}")]
    Database(redb::Error),
}

/// Shows every case that was assessed since, in milliseconds of Unix time, the oldest first.
pub(crate) fn each_kept(
    path: &Path,
    since_ms: u64,
    mut show: impl FnMut(Explanation) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    File::open_to_read(path)
        .and_then(|file| file.each(since_ms, |case| show(case.into())))
        .map_err(|error| match error {
            redb::Error::DatabaseAlreadyOpen => ReadError::InUse,
            redb::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => ReadError::Absent,
            other => ReadError::Database(other),
        })
}

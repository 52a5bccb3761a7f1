//! Reading the file of a sidecar that does not run.

use std::{io, ops::ControlFlow, path::Path};

use thiserror::Error;
use thornwall_proto::v1;

use super::file::File;

/// Why the file is not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Its sidecar runs.
    #[error("a running sidecar holds it")]
    InUse,
    /// Nothing was ever kept.
    #[error("no such file")]
    Absent,
    /// The database.
    #[error("{0}")]
    Database(redb::Error),
}

/// Shows every case that was assessed since, in milliseconds of Unix time, the oldest first.
pub fn each_kept(
    path: &Path,
    since_ms: u64,
    show: impl FnMut(v1::Explanation) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    File::open_to_read(path)
        .and_then(|file| file.each(since_ms, show))
        .map_err(|error| match error {
            redb::Error::DatabaseAlreadyOpen => ReadError::InUse,
            redb::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => ReadError::Absent,
            other => ReadError::Database(other),
        })
}

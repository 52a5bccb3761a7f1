//! Errors of the configuration and of what is built from it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::http::HttpError;

/// Error: the configuration, or what it names, cannot be used. The text is for people, and holds no secret.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The configuration cannot be read, or has mistakes, each on a line of its own.
    #[error("{0}")]
    Mistakes(String),
    /// A file that the configuration names cannot be used.
    #[error("{path}: {what}", path = .0.display(), what = .1)]
    File(PathBuf, String),
    /// The file of a key cannot be used; the first field is the setting that names it.
    #[error("`{0}`: {path}: {what}", path = .1.display(), what = .2)]
    Key(&'static str, PathBuf, String),
    /// A client of a service cannot be made.
    #[error(transparent)]
    Client(#[from] HttpError),
}

impl ConfigError {
    /// The error of a file, for `map_err`.
    pub(crate) fn file<E: fmt::Display>(path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_path_buf();
        move |error| Self::File(path, error.to_string())
    }
}

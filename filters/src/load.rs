//! Reading a TOML file so that every mistake in it is reported at once, with its place.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

/// One mistake in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Bytes of the file that are wrong, where one place is.
    pub span: Option<Range<usize>>,
    /// What is wrong, and what was expected.
    pub what: String,
}

impl Problem {
    /// A mistake of a file as a whole.
    pub fn in_file(file: &Path, what: impl Into<String>) -> Self {
        Self {
            file: file.to_path_buf(),
            span: None,
            what: what.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

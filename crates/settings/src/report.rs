//! What is wrong with a configuration, noted while something is built from it.

use std::{
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
};

use toml::Spanned;

use crate::load::Problem;

/// Mistakes and warnings about one configuration file, and where in it one is.
#[derive(Debug, Default)]
pub struct Report {
    /// The file that spans point into.
    pub file: PathBuf,
    /// Folder of the configuration file: relative paths start here.
    pub folder: PathBuf,
    /// Name of what is being built, such as those of a pipeline and its filter.
    pub scope: String,
    /// What is wrong so far.
    pub problems: Vec<Problem>,
    /// What works but deserves a second look; `check` prints it.
    pub warnings: Vec<String>,
}

/// Marker of a value that cannot be used; the report holds the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted;

impl Report {
    /// Notes a mistake at a place in the configuration file.
    pub fn problem(&mut self, span: Range<usize>, what: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.clone(),
            span: Some(span),
            what: what.into(),
        });
    }

    /// The value of a key that must be there, in its range.
    pub fn within(
        &mut self,
        name: &str,
        value: &Spanned<u64>,
        range: RangeInclusive<u64>,
    ) -> Result<u64, Noted> {
        let (place, value) = (value.span(), *value.get_ref());
        if range.contains(&value) {
            return Ok(value);
        }
        let (least, most) = range.into_inner();
        let what = format!("`{name}` is {value}; expected {least} to {most}");
        self.problem(place, what);
        Err(Noted)
    }

    /// The value of a key that may be left out, in its range.
    pub fn within_where_set(
        &mut self,
        name: &str,
        value: Option<&Spanned<u64>>,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Noted> {
        value
            .map(|value| self.within(name, value, range))
            .transpose()
    }

    /// A path from the configuration, relative to the folder of its file.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(Path::new(path))
    }
}

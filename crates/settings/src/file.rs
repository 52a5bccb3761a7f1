//! A configuration file: its path and its text.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use crate::load::{Loaded, Problem, StillToCome, load};

/// Largest configuration file that is read: room for some ten thousand sites.
const MOST_BYTES: u64 = 4 << 20;

/// A configuration file, before anybody knows what its keys mean.
#[derive(Debug)]
pub struct ConfigFile {
    /// Path as given.
    pub path: PathBuf,
    /// Its text, which spans point into.
    pub text: String,
}

impl ConfigFile {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let unreadable =
            |error: &dyn fmt::Display| Problem::in_file(path, format!("cannot be read: {error}"));
        let size = fs::metadata(path)
            .map_err(|error| unreadable(&error))?
            .len();
        if size > MOST_BYTES {
            return Err(unreadable(&format!(
                "{size} bytes; expected at most {MOST_BYTES}"
            )));
        }
        let text = fs::read_to_string(path).map_err(|error| unreadable(&error))?;
        Ok(Self {
            path: path.to_path_buf(),
            text,
        })
    }

    /// Parses the text, and collects all its mistakes; `to_come` are keys that are planned.
    pub fn parse<T: DeserializeOwned>(&self, to_come: StillToCome) -> Loaded<T> {
        load(&self.path, &self.text, to_come)
    }

    /// All mistakes, a line each.
    pub fn describe(&self, problems: &[Problem]) -> String {
        let lines: Vec<String> = problems.iter().map(|p| p.describe(&self.text)).collect();
        lines.join("\n")
    }

    /// The folder that relative paths start from.
    pub fn folder(&self) -> PathBuf {
        self.path
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default()
    }
}

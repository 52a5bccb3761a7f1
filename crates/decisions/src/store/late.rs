//! Changes that a process made after it had closed the file for its successor.
//!
//! It still has requests to end, which may lead to decisions. They lie beside the file, one JSON
//! text per file, until the successor takes them up. A file is renamed into place when it is whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::decision::Decision;

/// Largest file that is taken up: the queue of the store, full of the longest decisions.
const MOST_BYTES: u64 = 256 << 20;

/// The folder of such files, beside the file of decisions.
pub(super) fn folder(file: &Path) -> PathBuf {
    file.with_extension("late")
}

/// Leaves decisions for the successor.
pub(super) fn leave(folder: &Path, number: u64, decisions: &[Decision]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let name = format!("{}-{number}", std::process::id());
    let whole = folder.join(format!("{name}.json"));
    let part = folder.join(format!("{name}.part"));
    fs::write(&part, serde_json::to_vec(decisions)?)?;
    fs::File::open(&part)?.sync_all()?;
    fs::rename(part, whole)
}

/// What was left, and the files that it was in.
pub(super) fn found(folder: &Path) -> (Vec<Decision>, Vec<PathBuf>) {
    let (mut decisions, mut files) = (Vec::new(), Vec::new());
    let Ok(entries) = fs::read_dir(folder) else {
        return (decisions, files);
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let small = fs::metadata(&path).is_ok_and(|file| file.len() <= MOST_BYTES);
        let text = if small { fs::read(&path).ok() } else { None };
        match text.and_then(|text| serde_json::from_slice::<Vec<Decision>>(&text).ok()) {
            Some(left) => {
                decisions.extend(left.into_iter().map(Decision::bounded));
                files.push(path);
            }
            None => put_aside(&path),
        }
    }
    (decisions, files)
}

/// Keeps a file that cannot be read from being read again.
fn put_aside(path: &Path) {
    let aside = path.with_extension("damaged");
    let moved = fs::rename(path, &aside);
    log::error!(
        "decisions cannot be read; file={} moved={}",
        aside.display(),
        moved.is_ok()
    );
}

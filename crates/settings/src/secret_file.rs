//! Files with secrets, which are made once: whole, or not at all.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::regular_file;

/// Reads a file, and makes one, readable by its owner alone, where there is none. What is there is
/// never overwritten, and whatever ends this process or fills the disk leaves no half of a file.
pub fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> io::Result<Vec<u8>>,
) -> io::Result<Vec<u8>> {
    match regular_file::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let secret = make()?;
    let draft = draft_of(path);
    let placed = write(&draft, &secret).and_then(|()| fs::hard_link(&draft, path));
    // Nothing reads it, so that one which stays is no harm.
    let _ = fs::remove_file(&draft);
    match placed {
        Ok(()) => Ok(secret),
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => regular_file::read(path),
        Err(error) => Err(error),
    }
}

/// Makes a file that only its owner can read where there is none, and takes it from others where there
/// is one. A failure is reported by the next open of the file.
pub fn keep_private(path: &Path) {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    if made.is_ok() {
        return;
    }
    if let Ok(facts) = fs::metadata(path)
        && facts.is_file()
        && facts.permissions().mode() & 0o077 != 0
    {
        let _ = fs::set_permissions(path, PermissionsExt::from_mode(0o600));
    }
}

/// Logs a warning where every user of this machine can read a secret. Its group may be meant to.
pub fn warn_if_public(path: &Path) {
    if fs::metadata(path).is_ok_and(|facts| facts.permissions().mode() & 0o004 != 0) {
        log::warn!(
            "everybody on this machine can read a secret; expected mode 0600 or 0640; file={}",
            path.display()
        );
    }
}

/// Logs a warning where every user of this machine can replace what is in a folder.
pub fn warn_if_open(folder: &Path) {
    // With the sticky bit only the owner of a file can.
    let is_open = |mode: u32| mode & 0o002 != 0 && mode & 0o1000 == 0;
    if fs::metadata(folder).is_ok_and(|facts| is_open(facts.permissions().mode())) {
        log::warn!(
            "everybody on this machine can replace what is kept; expected mode 0700; folder={}",
            folder.display()
        );
    }
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{}", Uuid::new_v4().as_simple()));
    name.into()
}

fn write(path: &Path, secret: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(secret)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_taken_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        keep_private(&path);
        assert_eq!(mode(), 0o600);
        fs::write(&path, "kept").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        keep_private(&path);
        assert_eq!(mode(), 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"kept");
    }

    #[test]
    fn a_secret_is_made_once_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let failed = read_or_make(&path, || Err(io::ErrorKind::StorageFull.into()));
        assert!(failed.is_err() && !path.exists());
        let other = path.clone();
        // Another process makes it in between.
        let raced = read_or_make(&path, || {
            fs::write(&other, "theirs")?;
            Ok(b"ours".to_vec())
        });
        assert_eq!(raced.unwrap(), b"theirs");
        fs::remove_file(&path).unwrap();
        assert_eq!(
            read_or_make(&path, || Ok(b"ours".to_vec())).unwrap(),
            b"ours"
        );
        assert_eq!(fs::read(&path).unwrap(), b"ours");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

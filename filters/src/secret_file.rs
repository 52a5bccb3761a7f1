//! Files with secrets, which are made once: whole, or not at all.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// Reads a file, and makes one, readable by its owner alone, where there is none. What is there is
/// never overwritten, and whatever ends this process or fills the disk leaves no half of a file.
pub fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> io::Result<Vec<u8>>,
) -> io::Result<Vec<u8>> {
    match fs::read(path) {
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
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::read(path),
        Err(error) => Err(error),
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_whole() {
        let folder = std::env::temp_dir().join(format!("thornwall-secret-{}", Uuid::new_v4()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("key");
        let failed = read_or_make(&path, || Err(io::ErrorKind::StorageFull.into()));
        assert!(failed.is_err() && !path.exists());
        let other = path.clone();
        // Somebody else makes it in between.
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
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}

//! The folder of what survives a restart, which one process holds at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
};

use thiserror::Error;
use thornwall_settings::secret_file;

/// The data folder, held by this process.
#[derive(Debug)]
pub(crate) struct DataDir {
    folder: PathBuf,
    /// Locked as long as any process has it open: a predecessor hands it on without a gap.
    lock: File,
}

/// Why the data folder cannot be used.
#[derive(Debug, Error)]
pub(crate) enum DataDirError {
    /// Another process holds it.
    #[error(
        "{folder} is in use by {pid}; stop that one, replace it with `thornwall upgrade`, or \
         choose another server.data_dir", folder = .0.display(), pid = .1
    )]
    InUse(PathBuf, String),
    /// A file in it cannot be used.
    #[error("{path}: {cause}", path = .0.display(), cause = .1)]
    Io(PathBuf, io::Error),
    /// What a predecessor handed over is the lock of another folder.
    #[error(
        "{}: not the folder of the running process; an upgrade cannot change server.data_dir, \
         restart instead", .0.display()
    )]
    Other(PathBuf),
}

impl DataDirError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |error| Self::Io(path.to_path_buf(), error)
    }
}

impl DataDir {
    /// Makes the folder where it is absent, readable by its owner alone, and holds it.
    pub(crate) fn hold(folder: &Path) -> Result<Self, DataDirError> {
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(folder);
        made.map_err(DataDirError::io(folder))?;
        secret_file::warn_if_open(folder);
        let path = lock_path(folder);
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(DataDirError::io(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirError::InUse(folder.to_path_buf(), holder(&path)));
            }
            Err(TryLockError::Error(error)) => return Err(DataDirError::Io(path, error)),
        }
        let held = Self {
            folder: folder.to_path_buf(),
            lock,
        };
        // Whom the lock names is for people; it holds on a full disk, too.
        if let Err(error) = held.sign() {
            log::warn!("the lock does not name this process; error={error}");
        }
        Ok(held)
    }

    /// Holds the folder by the lock that the running process handed over.
    pub(crate) fn inherit(folder: &Path, lock: File) -> Result<Self, DataDirError> {
        let path = lock_path(folder);
        let identity = |file: &fs::Metadata| (file.dev(), file.ino());
        let handed = lock.metadata().map_err(DataDirError::io(&path))?;
        let expected = fs::metadata(&path).map_err(DataDirError::io(&path))?;
        if identity(&handed) != identity(&expected) {
            return Err(DataDirError::Other(folder.to_path_buf()));
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            lock,
        })
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The lock, for a successor.
    pub(crate) fn lock(&self) -> &File {
        &self.lock
    }

    /// Writes down which process holds the folder.
    pub(crate) fn sign(&self) -> Result<(), DataDirError> {
        let signed = || -> io::Result<()> {
            let mut file = &self.lock;
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", process::id())
        };
        signed().map_err(DataDirError::io(&lock_path(&self.folder)))
    }
}

/// The file that is locked, and names the process.
fn lock_path(folder: &Path) -> PathBuf {
    folder.join("lock")
}

/// The process that a lock file names.
fn holder(path: &Path) -> String {
    let pid = fs::read_to_string(path).ok();
    match pid.and_then(|text| text.trim().parse::<u32>().ok()) {
        Some(pid) => format!("process {pid}"),
        None => "a process that has just started".to_owned(),
    }
}

/// The secret that signs links; made where there is none.
pub(crate) fn link_secret(folder: &Path) -> Result<[u8; 32], DataDirError> {
    let path = folder.join("links.key");
    let kept = secret_file::read_or_make(&path, || {
        let mut secret = vec![0; 32];
        File::open("/dev/urandom")?.read_exact(&mut secret)?;
        Ok(secret)
    });
    as_secret(kept.map_err(DataDirError::io(&path))?, path)
}

/// Says what [`link_secret`] would refuse, and makes nothing.
pub(crate) fn check_link_secret(folder: &Path) -> Result<(), DataDirError> {
    let path = folder.join("links.key");
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(DataDirError::Io(path, error)),
        Ok(kept) => as_secret(kept, path).map(|_| ()),
    }
}

fn as_secret(kept: Vec<u8>, path: PathBuf) -> Result<[u8; 32], DataDirError> {
    kept.try_into().map_err(|_| {
        let what = "is not 32 bytes long; remove it to get a new one";
        DataDirError::Io(path, io::Error::new(io::ErrorKind::InvalidData, what))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_and_another_can_inherit_it_without_a_gap() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("data");
        let first = DataDir::hold(&folder).unwrap();
        let refused = || matches!(DataDir::hold(&folder), Err(DataDirError::InUse(..)));
        let error = DataDir::hold(&folder).unwrap_err().to_string();
        let expected = format!("in use by process {};", process::id());
        assert!(error.contains(&expected), "{error}");
        let second = DataDir::inherit(&folder, first.lock().try_clone().unwrap()).unwrap();
        drop(first);
        assert!(refused());
        let other = File::open("/dev/null").unwrap();
        let other = DataDir::inherit(&folder, other);
        assert!(matches!(other, Err(DataDirError::Other(_))));
        drop(second);
        assert!(!refused());
        assert_eq!(link_secret(&folder).unwrap(), link_secret(&folder).unwrap());
        fs::write(folder.join("links.key"), "short").unwrap();
        let error = link_secret(&folder).unwrap_err().to_string();
        assert!(error.contains("is not 32 bytes long"), "{error}");
    }

    #[test]
    fn a_lock_that_cannot_be_written_is_held() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", lock_path(folder.path())).unwrap();
        let held = DataDir::hold(folder.path());
        assert!(held.is_ok_and(|held| held.sign().is_err()));
    }
}

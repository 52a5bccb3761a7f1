//! Files that an operator names, read whole: never a pipe, which would wait for its writer for ever,
//! and never more than certificates, keys and passwords need.

use std::{fs::File, io, io::Read, path::Path};

/// Largest file that is read: a hundred times what chains of certificates need.
pub const MOST_BYTES: u64 = 1 << 20;

/// The bytes of a file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Asked before opening: opening a pipe would wait already.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(io::Error::other(format!("larger than {MOST_BYTES} bytes")));
    }
    Ok(bytes)
}

/// The text of a file.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is no text in UTF-8"))
}

//! Where access lines end up, as whole lines.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    os::fd::AsFd,
    path::PathBuf,
};

/// What lines are written to.
pub(crate) enum Target {
    /// A file that is appended to.
    File(PathBuf),
    /// Whatever the process was given.
    Stdout,
}

impl Target {
    fn open(&self) -> io::Result<File> {
        match self {
            Self::File(path) => OpenOptions::new().create(true).append(true).open(path),
            Self::Stdout => Ok(io::stdout().as_fd().try_clone_to_owned()?.into()),
        }
    }
}

/// An open target.
pub(crate) struct Sink {
    target: Target,
    file: File,
    /// Whether half a line is at the end and could not be taken away.
    torn: bool,
}

/// Lines that could not be written.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) lines: u64,
    pub(crate) why: io::Error,
}

impl Sink {
    pub(crate) fn open(target: Target) -> io::Result<Self> {
        Ok(Self {
            file: target.open()?,
            target,
            torn: false,
        })
    }

    /// Opens the file anew, which may be another one by now. Where that fails, the old one stays.
    pub(crate) fn reopen(&mut self) {
        if matches!(self.target, Target::Stdout) {
            return;
        }
        match self.target.open() {
            Ok(file) => {
                self.file = file;
                self.torn = false;
            }
            Err(error) => {
                log::error!("a log cannot be opened anew, the old file stays; error={error}");
            }
        }
    }

    /// Writes whole lines. Those that did not fit are lost, and no part of them stays.
    pub(crate) fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        if self.torn {
            let separated = self.file.write_all(b"\n");
            separated.map_err(|why| lost(lines, why))?;
            self.torn = false;
        }
        let mut written = 0;
        while written < lines.len() {
            match self.file.write(&lines[written..]) {
                Ok(0) => return Err(self.fail(lines, written, io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fail(lines, written, error)),
            }
        }
        Ok(())
    }

    fn fail(&mut self, lines: &[u8], written: usize, why: io::Error) -> Lost {
        let end = lines[..written].iter().rposition(|byte| *byte == b'\n');
        let whole = end.map_or(0, |end| end + 1);
        let half = written - whole;
        if half > 0 {
            self.torn = !self.cut(half).unwrap_or(false);
        }
        lost(&lines[whole..], why)
    }

    /// Takes the last bytes away again, where they still are the last ones of a file.
    fn cut(&mut self, bytes: usize) -> io::Result<bool> {
        let bytes = u64::try_from(bytes).map_err(io::Error::other)?;
        let metadata = self.file.metadata()?;
        let end = self.file.stream_position()?;
        if !metadata.is_file() || metadata.len() != end || end < bytes {
            return Ok(false);
        }
        self.file.set_len(end - bytes)?;
        self.file.seek(SeekFrom::Start(end - bytes))?;
        Ok(true)
    }
}

fn lost(lines: &[u8], why: io::Error) -> Lost {
    let lines = lines.iter().filter(|byte| **byte == b'\n').count();
    Lost {
        lines: u64::try_from(lines).unwrap_or(u64::MAX),
        why,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_full_disk_loses_whole_lines_and_is_counted() {
        let mut sink = Sink::open(Target::File("/dev/full".into())).unwrap();
        let lost = sink.write(b"one\ntwo\n").unwrap_err();
        assert_eq!(lost.lines, 2);
        assert_eq!(lost.why.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn half_a_line_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut sink = Sink::open(Target::File(path.clone())).unwrap();
        let text = || std::fs::read_to_string(&path).unwrap();
        sink.write(b"first\n").unwrap();
        // As if the disk had been full after ten bytes.
        sink.file.write_all(b"one\nhalf a").unwrap();
        let lost = sink.fail(b"one\nhalf a line\nthree\n", 10, io::Error::other("full"));
        assert_eq!((lost.lines, text().as_str()), (2, "first\none\n"));
        sink.write(b"next\n").unwrap();
        assert_eq!(text(), "first\none\nnext\n");

        // Another process has written behind it: nothing of its is touched.
        sink.file.write_all(b"half").unwrap();
        let mut other = OpenOptions::new().append(true).open(&path).unwrap();
        other.write_all(b"other\n").unwrap();
        sink.fail(b"half\n", 4, io::Error::other("full"));
        sink.write(b"last\n").unwrap();
        assert!(text().ends_with("\nhalfother\n\nlast\n"), "{}", text());
    }

    #[test]
    fn a_pipe_gets_its_half_line_ended() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut sink = Sink {
            target: Target::Stdout,
            file: std::os::fd::OwnedFd::from(writer).into(),
            torn: false,
        };
        sink.file.write_all(b"hal").unwrap();
        assert_eq!(sink.fail(b"half\n", 3, io::Error::other("full")).lines, 1);
        sink.write(b"next\n").unwrap();
        drop(sink);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hal\nnext\n");
    }
}

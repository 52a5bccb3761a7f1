//! Lists of networks in text files: one address, network or range (`first-last`) per line.
//!
//! An address with bits behind its prefix, or with a zone, is taken for what it must mean, with a
//! warning. `#` and `;` start a comment, also behind an address; empty lines, a byte order mark and
//! Windows line ends do not matter. Anything else is a mistake that is reported with its line:
//! a list that is half read would let clients through, or lock clients out, unnoticed.

use std::{fs::File, io, io::Read, path::Path};

use thiserror::Error;

use crate::prefix_set::{
    Prefix,
    prefix::quotable,
    span::{Entry, Span},
};

/// Largest list that is read: two million IPv6 networks with room for comments.
pub const MAX_LIST_BYTES: usize = 64 << 20;
/// Longest line, its comment included.
pub const MAX_LINE_BYTES: usize = 1024;
/// Broken lines that are reported one by one.
pub const MAX_REPORTED_LINES: usize = 50;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What is wrong with one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, and what was expected.
    pub what: String,
}

/// Error: the list cannot be used.
#[derive(Debug, Error)]
pub enum ListError {
    /// It has broken lines.
    #[error("{} broken lines", .0.len())]
    Lines(Vec<LineError>),
    /// It is a folder, a pipe or a device.
    #[error("is not a regular file; expected a text file with one address or network per line")]
    NotAFile,
    /// It is larger than [`MAX_LIST_BYTES`].
    #[error("is too large; expected at most {MAX_LIST_BYTES} bytes")]
    TooLarge,
    /// It cannot be read.
    #[error("cannot be read: {0}; expected a text file with one address or network per line")]
    Unreadable(#[from] io::Error),
}

/// A list that could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// What it names.
    pub prefixes: Vec<Prefix>,
    /// Lines that were not written as they were taken; at most [`MAX_REPORTED_LINES`].
    pub warnings: Vec<LineError>,
}

/// Reads and parses the list at `path`.
pub fn read_list(path: &Path) -> Result<List, ListError> {
    // Asked before opening: opening a pipe would wait for its writer.
    if !path.metadata()?.is_file() {
        return Err(ListError::NotAFile);
    }
    let mut bytes = Vec::new();
    let bound = MAX_LIST_BYTES as u64 + 1;
    File::open(path)?.take(bound).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_LIST_BYTES {
        return Err(ListError::TooLarge);
    }
    parse_list(&bytes).map_err(ListError::Lines)
}

/// Parses a list. Broken lines beyond [`MAX_REPORTED_LINES`] are summed up in one last entry.
pub fn parse_list(bytes: &[u8]) -> Result<List, Vec<LineError>> {
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut list = List::default();
    let mut errors = Vec::new();
    let mut unreported = Unreported::default();
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        match parse_line(line) {
            Ok(None) => {}
            Ok(Some((span, warning))) => {
                list.prefixes.extend(span.networks());
                let room = list.warnings.len() < MAX_REPORTED_LINES;
                let warning = warning.filter(|_| room);
                let at_line = |what| LineError { line: number, what };
                list.warnings.extend(warning.map(at_line));
            }
            Err(what) if errors.len() < MAX_REPORTED_LINES => {
                errors.push(LineError { line: number, what });
            }
            Err(_) => unreported.add(number),
        }
    }
    errors.extend(unreported.summary());
    if errors.is_empty() {
        Ok(list)
    } else {
        Err(errors)
    }
}

fn parse_line(line: &[u8]) -> Result<Option<(Span, Option<String>)>, String> {
    if line.len() > MAX_LINE_BYTES {
        return Err(format!(
            "line of {} bytes; expected at most {MAX_LINE_BYTES}",
            line.len()
        ));
    }
    let comment = line.iter().position(|byte| b"#;".contains(byte));
    let entry = line[..comment.unwrap_or(line.len())].trim_ascii();
    if entry.is_empty() {
        return Ok(None);
    }
    let Ok(entry) = str::from_utf8(entry) else {
        let shown = quotable(&String::from_utf8_lossy(entry));
        return Err(format!("`{shown}` is not UTF-8; expected plain text"));
    };
    let more_words = || {
        format!(
            "`{}` is more than one word; expected one address, network or range per line, comments behind #",
            quotable(entry)
        )
    };
    // A carriage return or a tab of Unicode inside of a line is a mistake in the list.
    let inner = |character: char| character.is_whitespace() && !matches!(character, ' ' | '\t');
    if entry.contains(inner) {
        return Err(more_words());
    }
    let read = Entry::read(entry.split_ascii_whitespace()).map_err(|error| error.to_string())?;
    match read.unread {
        Some(_) => Err(more_words()),
        None => Ok(Some((read.span, read.note))),
    }
}

/// Broken lines that are only counted.
#[derive(Default)]
struct Unreported {
    first: Option<usize>,
    count: usize,
}

impl Unreported {
    fn add(&mut self, line: usize) {
        self.first.get_or_insert(line);
        self.count += 1;
    }

    fn summary(&self) -> Option<LineError> {
        let what = format!(
            "broken too, and {} lines after it",
            self.count.saturating_sub(1)
        );
        self.first.map(|line| LineError { line, what })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        ListError, MAX_LINE_BYTES, MAX_LIST_BYTES, MAX_REPORTED_LINES, parse_list, read_list,
    };

    #[test]
    fn lists_of_all_shapes_are_read() {
        let check = |text: &[u8], expected: &[&str]| {
            let prefixes = parse_list(text).unwrap().prefixes;
            let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
            assert_eq!(prefixes, expected, "{}", text.escape_ascii());
        };
        check(b"", &[]);
        check(b"\n\r\n# nothing\n; nothing\n  \t \n", &[]);
        check(b"192.0.2.1", &["192.0.2.1"]);
        check(
            b"\xef\xbb\xbf192.0.2.1\r\n2001:db8::/32\r\n",
            &["192.0.2.1", "2001:db8::/32"],
        );
        check(
            b" 198.51.100.0/24 ; SBL1\n\t203.0.113.9# x",
            &["198.51.100.0/24", "203.0.113.9"],
        );
        check(b"192.0.2.1 # caf\xe9", &["192.0.2.1"]);
        check(
            b"203.0.113.0\t203.0.113.255\t24\n198.51.100.6-198.51.100.8",
            &["203.0.113.0/24", "198.51.100.6/31", "198.51.100.8"],
        );
    }

    #[test]
    fn lines_that_say_more_than_is_meant_are_taken_and_told_of() {
        let text = b"192.0.2.1\n192.0.2.7/24\nfe80::1%eth0\n::ffff:198.51.100.7/120\n";
        let list = parse_list(text).unwrap();
        let prefixes: Vec<String> = list.prefixes.iter().map(ToString::to_string).collect();
        let expected = ["192.0.2.1", "192.0.2.0/24", "fe80::1", "198.51.100.0/24"];
        assert_eq!(prefixes, expected);
        let lines: Vec<usize> = list.warnings.iter().map(|warning| warning.line).collect();
        assert_eq!(lines, [2, 3, 4]);
        assert_eq!(
            list.warnings[0].what,
            "`192.0.2.7/24` is taken for 192.0.2.0/24"
        );
    }

    #[test]
    fn broken_lines_are_named() {
        let check = |text: &[u8], line: usize, part: &str| {
            let errors = parse_list(text).unwrap_err();
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert_eq!(errors[0].line, line, "{errors:?}");
            assert!(errors[0].what.contains(part), "{errors:?}");
            assert!(errors[0].what.contains("; expected"), "{errors:?}");
        };
        check(b"192.0.2.1 192.0.2.9", 1, "two entries, or a range");
        check(b"192.0.2.1 x", 1, "more than one word");
        check(
            b"192.0.2.1\r192.0.2.2",
            1,
            "`192.0.2.1\\r192.0.2.2` is more than one word",
        );
        check(b"192.0.2.1,", 1, "is not an address");
        check(b"shop.example", 1, "is not an address");
        check(b"192.0.2.0/40", 1, "from 0 to 32");
        check(b"# ok\n\xff\xfe1\x00", 2, "is not UTF-8");
        check(&[b'1'; MAX_LINE_BYTES + 1], 1, "at most 1024");
        check(&[b'x'; MAX_LINE_BYTES], 1, "xxx…` is not an address");
    }

    #[test]
    fn many_broken_lines_are_summed_up() {
        let broken = |lines: usize| parse_list("x\n".repeat(lines).as_bytes()).unwrap_err();
        assert_eq!(broken(MAX_REPORTED_LINES).len(), MAX_REPORTED_LINES);
        let errors = broken(MAX_REPORTED_LINES + 10);
        assert_eq!(errors.len(), MAX_REPORTED_LINES + 1);
        assert_eq!(errors[MAX_REPORTED_LINES].line, MAX_REPORTED_LINES + 1);
        assert_eq!(
            errors[MAX_REPORTED_LINES].what,
            "broken too, and 9 lines after it"
        );
    }

    #[test]
    fn no_bytes_make_the_parser_panic() {
        let mut state = 1u64;
        let alphabet = b"0123456789abcdef:./#; \r\n\t\xef\xbb\xbf\xffx%+-";
        for _ in 0..20_000 {
            let mut next = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 33) as usize
            };
            let text: Vec<u8> = (0..next() % 40)
                .map(|_| alphabet[next() % alphabet.len()])
                .collect();
            let lines = text.split(|&byte| byte == b'\n').count();
            match parse_list(&text) {
                // No range consists of more networks.
                Ok(list) => assert!(list.prefixes.len() <= lines * 254),
                Err(errors) => assert!(errors.iter().all(|error| error.line <= lines)),
            }
        }
    }

    #[test]
    fn files_that_are_no_lists_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large.txt");
        fs::File::create(&large)
            .unwrap()
            .set_len(MAX_LIST_BYTES as u64 + 1)
            .unwrap();
        assert!(matches!(read_list(&large), Err(ListError::TooLarge)));
        assert!(matches!(read_list(folder.path()), Err(ListError::NotAFile)));
        assert!(matches!(
            read_list(&folder.path().join("none")),
            Err(ListError::Unreadable(_))
        ));
    }
}

//! Feeds of lines.

use super::{Entries, FeedError};

/// Longest line that may be an entry. Longer ones are none, and are not looked into.
const LONGEST_LINE: usize = 1024;

/// Takes the first word of each line.
pub(super) fn read(bytes: &[u8], entries: &mut Entries) -> Result<(), FeedError> {
    for (number, line) in (1u64..).zip(bytes.split(|&byte| byte == b'\n')) {
        let line = &line[..line.len().min(LONGEST_LINE + 1)];
        let comment = line.iter().position(|byte| b"#;".contains(byte));
        let line = line[..comment.unwrap_or(line.len())].trim_ascii();
        if line.is_empty() {
            continue;
        }
        let word = line.split(u8::is_ascii_whitespace).next();
        match str::from_utf8(word.unwrap_or_default()) {
            Ok(word) if word.len() <= LONGEST_LINE => {
                entries.take(word, || format!("line {number}"))?;
            }
            _ => entries.strange("a line that is no text"),
        }
    }
    Ok(())
}

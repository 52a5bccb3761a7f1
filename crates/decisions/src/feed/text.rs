//! Feeds of lines.

use super::{Entries, FeedError};

/// Longest line that may be an entry. Longer ones are none, and are not looked into.
const LONGEST_LINE: usize = 1024;

/// Takes the entry of each line.
pub(super) fn read(bytes: &[u8], entries: &mut Entries) -> Result<(), FeedError> {
    for (number, line) in (1u64..).zip(bytes.split(|&byte| byte == b'\n')) {
        let line = &line[..line.len().min(LONGEST_LINE + 1)];
        let comment = line.iter().position(|byte| b"#;".contains(byte));
        let line = line[..comment.unwrap_or(line.len())].trim_ascii();
        if line.is_empty() {
            continue;
        }
        let text = String::from_utf8_lossy(line);
        if line.len() > LONGEST_LINE || text.starts_with(char::REPLACEMENT_CHARACTER) {
            entries.strange("a line that is no text");
        } else {
            // What stands behind an entry may be in any encoding.
            entries.take(&text, || format!("line {number}"))?;
        }
    }
    Ok(())
}

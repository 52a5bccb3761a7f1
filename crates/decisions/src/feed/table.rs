//! Feeds of comma separated values (RFC 4180), with `#` for comments.

use csv::{ByteRecord, ReaderBuilder};

use super::{Entries, FeedError};
use crate::prefix_set::quotable;

/// Where in a record the address stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// The field that the first record calls so.
    Name(String),
    /// The field of this number, from 0. A first record without an address there is a heading.
    Number(usize),
}

/// Takes the column's field of each record.
pub(super) fn read(bytes: &[u8], column: &Column, entries: &mut Entries) -> Result<(), FeedError> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .from_reader(bytes);
    let mut record = ByteRecord::new();
    let mut first = true;
    let mut place = match column {
        Column::Name(_) => 0,
        Column::Number(number) => *number,
    };
    // Reading from memory, with records of any length, has nothing that could fail.
    while reader.read_byte_record(&mut record).unwrap_or(false) {
        let is_first = std::mem::replace(&mut first, false);
        if let (true, Column::Name(name)) = (is_first, column) {
            place = named(&record, name)?;
            continue;
        }
        let Some(field) = record.get(place) else {
            entries.strange("a record without that column");
            continue;
        };
        let Ok(field) = str::from_utf8(field.trim_ascii()) else {
            entries.strange("a field that is no text");
            continue;
        };
        if is_first && crate::prefix_set::Prefix::lenient(field).is_err() {
            continue;
        }
        let line = record.position().map_or(0, csv::Position::line);
        entries.take(field, || format!("line {line}"))?;
    }
    Ok(())
}

fn named(record: &ByteRecord, name: &str) -> Result<usize, FeedError> {
    let is_it = |field: &[u8]| field.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
    let found = record.iter().position(is_it);
    found.ok_or_else(|| FeedError::NoColumn(quotable(name)))
}

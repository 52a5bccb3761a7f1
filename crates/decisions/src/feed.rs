//! What others publish about addresses, as networks that may be denied.
//!
//! A feed is a stranger's text. It is read in one of three forms, within bounds, and whatever would
//! harm people is refused and counted: networks so wide that whole countries are in them, and
//! addresses that no one has on the internet but that private networks use. A text that is no list at all,
//! such as an error page, is an error: the caller keeps the last good copy then.

mod json;
mod pointer;
mod table;
mod text;

use std::net::IpAddr;

use thiserror::Error;
use thornwall_detectors::address::is_global;

pub use self::{
    pointer::{Pointer, PointerError},
    table::Column,
};
use crate::prefix_set::{
    Prefix, PrefixError, quotable,
    span::{Entry, Span},
};

/// Most networks of one feed: ten times the largest public ones.
pub const MOST_SUBJECTS: usize = 1 << 20;
/// Corrections that are listed one by one.
pub const MOST_NOTES: usize = 10;
/// The shortest prefixes that are taken: one of the blocks that IANA gives out is wider than any
/// owner's network (RFC 7249 section 2.2; RFC 6177 for IPv6, whose registries hold /12 and longer).
const BROADEST_V4: u8 = 8;
const BROADEST_V6: u8 = 16;
/// Of what looks like an entry, so much must be one: one in this many.
const FEWEST_GOOD: u64 = 2;

/// How a feed is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Comma separated values, one address or network per record.
    Csv(Column),
    /// JSON, or one JSON text per line, with addresses where this points.
    Json(Pointer),
    /// One address, network or range per line; `#` and `;` start comments.
    Text,
}

/// What a feed lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The networks, sorted, each once.
    pub subjects: Vec<Prefix>,
    /// Entries that were not taken.
    pub refused: Refused,
    /// Entries that were taken for what they must mean: bits behind the prefix, or a zone.
    pub corrected: u64,
    /// The first corrections, with their places.
    pub notes: Vec<String>,
    /// Entries that were taken, ranges as one.
    pub taken: u64,
    /// Entries that are followed by unknown words on their line.
    pub unread: u64,
    /// The first such entry.
    pub first_unread: Option<String>,
}

/// Counts of entries that were not taken, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Networks so wide that they are no one's.
    pub too_broad: u64,
    /// Neither address nor network.
    pub malformed: u64,
    /// Private, loopback, link-local and the like.
    pub not_global: u64,
}

impl Refused {
    /// Each reason, as a label, with its count.
    pub const fn by_reason(&self) -> [(&'static str, u64); 3] {
        [
            ("malformed", self.malformed),
            ("not_global", self.not_global),
            ("too_broad", self.too_broad),
        ]
    }

    /// Sum of all refused entries.
    pub const fn sum(&self) -> u64 {
        self.too_broad + self.malformed + self.not_global
    }
}

/// Error: the text is not a valid feed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FeedError {
    /// The first record has no such field.
    #[error("no column `{0}` in the first record")]
    NoColumn(String),
    /// A page for people.
    #[error("is HTML or XML, where a list was expected")]
    Markup,
    /// JSON that ends early, or is none.
    #[error("is no JSON: {0}")]
    Json(String),
    /// Most of it is something else.
    #[error(
        "is no list: of {entries} entries, {malformed} are neither address nor network, the first: {example}"
    )]
    NoList {
        /// Entries in all.
        entries: u64,
        /// Entries that are neither address nor network.
        malformed: u64,
        /// The first of them.
        example: String,
    },
    /// More than are kept.
    #[error("lists more than {MOST_SUBJECTS} networks")]
    TooMany,
}

/// Reads a feed.
pub fn parse(bytes: &[u8], form: &Form) -> Result<Parsed, FeedError> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // No list begins like that, in any form, and every error page does.
    if text.trim_ascii_start().starts_with(b"<") {
        return Err(FeedError::Markup);
    }
    let mut entries = Entries::default();
    match form {
        Form::Csv(column) => table::read(text, column, &mut entries)?,
        Form::Json(pointer) => json::read(text, pointer, &mut entries)?,
        Form::Text => text::read(text, &mut entries)?,
    }
    entries.finish()
}

/// What was read so far.
#[derive(Default)]
struct Entries {
    parsed: Parsed,
    /// Entries of any kind.
    seen: u64,
    /// The first one that is neither address nor network.
    example: Option<String>,
}

impl Entries {
    /// Takes one entry, at a place that notes can name: `line 7`.
    fn take(&mut self, entry: &str, place: impl Fn() -> String) -> Result<(), FeedError> {
        self.seen += 1;
        let Entry { span, note, unread } = match Entry::read(entry.split_ascii_whitespace()) {
            Ok(read) => read,
            Err(error) => {
                self.miss(&error);
                return Ok(());
            }
        };
        if is_broad(span) {
            self.parsed.refused.too_broad += 1;
        } else if !is_global(span.first(), span.last()) {
            self.parsed.refused.not_global += 1;
        } else {
            for network in span.networks() {
                if self.parsed.subjects.len() == MOST_SUBJECTS {
                    return Err(FeedError::TooMany);
                }
                self.parsed.subjects.push(network);
            }
            self.parsed.taken += 1;
            self.note(note, &place);
            self.pass_over(unread, &place);
        }
        Ok(())
    }

    fn note(&mut self, note: Option<String>, place: impl FnOnce() -> String) {
        let Some(note) = note else {
            return;
        };
        self.parsed.corrected += 1;
        if self.parsed.notes.len() < MOST_NOTES {
            self.parsed.notes.push(format!("{}: {note}", place()));
        }
    }

    /// Takes note of what stands behind an entry: it may be what the list is about.
    fn pass_over(&mut self, word: Option<&str>, place: impl FnOnce() -> String) {
        let Some(word) = word else {
            return;
        };
        self.parsed.unread += 1;
        if self.parsed.first_unread.is_none() {
            self.parsed.first_unread = Some(format!("{}: `{}`", place(), quotable(word)));
        }
    }

    fn miss(&mut self, error: &PrefixError) {
        self.parsed.refused.malformed += 1;
        if self.example.is_none() {
            self.example = Some(error.to_string());
        }
    }

    /// Takes note of an entry that is not even text.
    fn strange(&mut self, what: &str) {
        self.seen += 1;
        self.parsed.refused.malformed += 1;
        if self.example.is_none() {
            self.example = Some(quotable(what));
        }
    }

    fn finish(self) -> Result<Parsed, FeedError> {
        let mut parsed = self.parsed;
        let malformed = parsed.refused.malformed;
        if malformed > self.seen / FEWEST_GOOD {
            return Err(FeedError::NoList {
                entries: self.seen,
                malformed,
                example: self.example.unwrap_or_default(),
            });
        }
        let order = |subject: &Prefix| (subject.first(), subject.length());
        parsed.subjects.sort_unstable_by_key(order);
        parsed.subjects.dedup();
        Ok(parsed)
    }
}

/// Whether there are more addresses in it than in the broadest network that is taken.
fn is_broad(span: Span) -> bool {
    match (span.first(), span.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            last.to_bits() - first.to_bits() > u32::MAX >> BROADEST_V4
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            last.to_bits() - first.to_bits() > u128::MAX >> BROADEST_V6
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;

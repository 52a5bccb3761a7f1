//! Keys, a page at a time, of one server after the other.

use super::{
    link::{Command, Link, LinkError},
    wire::Value,
};

/// Keys of one page, more or less.
const PAGE: usize = 1000;
/// What a page without a key counts as: there are many where others have put millions of keys.
const EMPTY: usize = 16;
/// Keys in all: far more than decisions that are kept.
const MOST: usize = 1 << 24;

/// All keys that fit a pattern.
pub(super) struct Pages<'a> {
    pattern: &'a str,
    /// Servers that were not looked at yet.
    left: usize,
    cursor: Vec<u8>,
    seen: usize,
    /// Pages with a key larger than anything that is read.
    skipped: u64,
}

impl<'a> Pages<'a> {
    pub(super) fn new(link: &Link, pattern: &'a str) -> Self {
        Self {
            pattern,
            left: link.parts(),
            cursor: b"0".to_vec(),
            seen: 0,
            skipped: 0,
        }
    }

    /// The next page, which may be empty; nothing after the last one.
    pub(super) async fn next(
        &mut self,
        link: &mut Link,
    ) -> Result<Option<Vec<Vec<u8>>>, LinkError> {
        let Some(server) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        let mut page = self.ask(link, server, PAGE).await?;
        if page.is_cut() {
            // So that those beside a key that is too large are read.
            page = self.ask(link, server, 1).await?;
            self.skipped += u64::from(page.is_cut());
        }
        let strange = LinkError::Form("no page of keys");
        let mut parts = page.list().unwrap_or_default().into_iter();
        let (Some(Value::Text(cursor)), Some(keys)) = (parts.next(), parts.next()) else {
            return Err(strange);
        };
        if cursor == b"0" {
            self.left = server;
        }
        self.cursor = cursor;
        let keys = keys.list().unwrap_or_default().into_iter();
        let keys: Vec<Vec<u8>> = keys.filter_map(Value::text).collect();
        self.seen += keys.len().max(EMPTY);
        // A cursor that turns in a circle is not Redis's.
        (self.seen <= MOST)
            .then_some(Some(keys))
            .ok_or(LinkError::Bounds)
    }

    async fn ask(&self, link: &mut Link, server: usize, count: usize) -> Result<Value, LinkError> {
        let command = Command::new("SCAN").word(&self.cursor);
        let command = command.word("MATCH").word(self.pattern);
        link.ask(command.word("COUNT").word(count.to_string()).at(server))
            .await
    }

    /// Pages that were not read wholly.
    pub(super) const fn skipped(&self) -> u64 {
        self.skipped
    }
}

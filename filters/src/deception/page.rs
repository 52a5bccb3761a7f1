//! A document without end, written piece by piece from a state of a few bytes.

use std::sync::Arc;

use crate::deception::{binary, code, links::Links, markup, random::Random, records, text};

/// What kind of document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// The bytes that such files begin with, then noise.
    Binary(&'static [u8]),
    Drawing,
    Feed,
    Html,
    Json,
    Prose,
    Rows,
    Script,
    Style,
}

#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) links: Arc<Links>,
    pub(crate) seed: u64,
    pub(crate) format: Format,
}

impl Page {
    /// The place before the first piece.
    pub(crate) fn start(&self) -> Cursor {
        Cursor {
            random: Random::new(self.seed),
            links: 0,
            open: false,
            pieces: 0,
        }
    }

    /// Writes the piece at `cursor` and moves on. The same cursor always gives the same piece, so
    /// that a piece need not be kept while it is sent in parts.
    pub(crate) fn piece(&self, cursor: &mut Cursor) -> Vec<u8> {
        let mut draft = Draft { page: self, cursor };
        let piece = match self.format {
            Format::Binary(magic) => binary::piece(&mut draft, magic),
            Format::Drawing => markup::drawing(&mut draft).into_bytes(),
            Format::Feed => markup::feed(&mut draft).into_bytes(),
            Format::Html => markup::html(&mut draft).into_bytes(),
            Format::Json => records::json(&mut draft).into_bytes(),
            Format::Prose => records::prose(&mut draft).into_bytes(),
            Format::Rows => records::rows(&mut draft).into_bytes(),
            Format::Script => code::script(&mut draft).into_bytes(),
            Format::Style => code::style(&mut draft).into_bytes(),
        };
        cursor.pieces = cursor.pieces.saturating_add(1);
        piece
    }

    /// What makes the document whole after the pieces up to `cursor`, of which there is at least
    /// one.
    pub(crate) fn ending(&self, cursor: &Cursor) -> &'static str {
        match self.format {
            Format::Binary(_) | Format::Rows | Format::Script | Format::Style => "",
            Format::Drawing => "</svg>\n",
            Format::Feed => "</channel>\n</rss>\n",
            Format::Html if cursor.open => "</p>\n</main>\n</body>\n</html>\n",
            Format::Html => "</main>\n</body>\n</html>\n",
            Format::Json => "\n]\n",
            Format::Prose => "\n",
        }
    }
}

/// How far a document is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor {
    random: Random,
    links: u32,
    open: bool,
    pieces: u32,
}

/// A piece in the making: the dice and the counters of a document.
pub(crate) struct Draft<'a> {
    page: &'a Page,
    cursor: &'a mut Cursor,
}

impl Draft<'_> {
    pub(crate) fn random(&mut self) -> &mut Random {
        &mut self.cursor.random
    }

    /// Number of the piece: 0 is the head of the document.
    pub(crate) fn number(&self) -> u32 {
        self.cursor.pieces
    }

    /// Whether the last piece left a paragraph open.
    pub(crate) fn open(&self) -> bool {
        self.cursor.open
    }

    pub(crate) fn set_open(&mut self, open: bool) {
        self.cursor.open = open;
    }

    /// A sentence of another form than those in the pieces around it.
    pub(crate) fn sentence(&mut self) -> String {
        text::sentence(&mut self.cursor.random, self.cursor.pieces)
    }

    /// The next link that leads deeper.
    pub(crate) fn link(&mut self) -> String {
        let n = self.cursor.links;
        self.cursor.links = n.wrapping_add(1);
        self.page.links.link(self.page.seed, n)
    }
}

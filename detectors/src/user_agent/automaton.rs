//! One pass over a user agent that finds every name of the catalogue and every browser token.

use std::{ops::Range, sync::LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::{
    Claim, Purpose,
    catalogue::{self, List, NamePosition, Token},
    contact::Addresses,
};

/// What the pass found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The name that decides in a text that is no browser's.
    pub(super) name: Option<Name>,
    /// The name that decides in a browser's.
    pub(super) name_in_browser: Option<Name>,
    /// Browser tokens.
    pub(super) tokens: Tokens,
    /// Addresses in the text, looked for when the first name is found.
    addresses: Option<Addresses>,
}

/// A name of the catalogue in the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    pub(super) claim: Claim,
    pub(super) purpose: Option<Purpose>,
    pub(super) entry: &'static str,
    pub(super) start: usize,
    pub(super) end: usize,
    /// The strongest name wins, and the longest of equals.
    rank: (u8, usize),
}

/// Browser tokens that occur, and where the first of each ends.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    ends: [u16; Token::COUNT],
}

impl Tokens {
    /// Whether the token occurs.
    pub(super) fn has(&self, token: Token) -> bool {
        self.ends[token as usize] != 0
    }

    /// The number right behind the token's first occurrence; 0 where there is none.
    pub(super) fn version(&self, text: &[u8], token: Token) -> u16 {
        let end = usize::from(self.ends[token as usize]);
        let digits = text.get(end..).unwrap_or_default();
        let digits = digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .take(4);
        digits.fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
    }
}

/// Looks at a text of at most [`super::LONGEST`] bytes.
pub(super) fn scan(text: &[u8]) -> Found {
    let mut found = Found::default();
    for at in CATALOGUE.automaton.find_overlapping_iter(text) {
        let entry = &CATALOGUE.entries[at.pattern().as_usize()];
        match entry.mark {
            Mark::Token(token) => {
                let end = &mut found.tokens.ends[token as usize];
                if *end == 0 {
                    *end = u16::try_from(at.end()).unwrap_or(u16::MAX);
                }
            }
            Mark::Name { list, rank } => found.weigh(text, entry, at.range(), list, rank),
        }
    }
    found
}

impl Found {
    /// Keeps a name that was found, where it counts and is stronger than what was found before.
    fn weigh(&mut self, text: &[u8], entry: &Entry, at: Range<usize>, list: &List, rank: u8) {
        let rank = (rank, entry.text.len());
        let better = |kept: &Option<Name>| kept.is_none_or(|name| rank > name.rank);
        let (anywhere, in_browser) = (better(&self.name), better(&self.name_in_browser));
        if !(anywhere || in_browser)
            || !entry.fits(text, &at)
            || is_device(text, &at, &self.tokens)
            || (!entry.is_address && self.in_address(text, &at))
        {
            return;
        }
        let name = Name {
            claim: list.claim,
            purpose: list.purpose,
            entry: entry.text,
            start: at.start,
            end: at.end,
            rank,
        };
        if anywhere && !(list.claim == Claim::HttpLibrary && is_ingredient(text, at.start)) {
            self.name = Some(name);
        }
        if in_browser && counts_in_browser(text, &at, list.position) {
            self.name_in_browser = Some(name);
        }
    }

    fn in_address(&mut self, text: &[u8], at: &Range<usize>) -> bool {
        let addresses = self.addresses.get_or_insert_with(|| Addresses::of(text));
        addresses.cover(at)
    }
}

/// Bytes before a name that are looked at: however long a text is, a name in it costs the same.
const NEAR: usize = 64;

/// Whether a name counts in a text that is a browser's, if it is one.
fn counts_in_browser(text: &[u8], at: &Range<usize>, position: NamePosition) -> bool {
    match position {
        NamePosition::Anywhere => true,
        NamePosition::OutsideBrowsers => false,
        NamePosition::WordEnd => is_declared(text, at.start) || is_product(text, at),
        NamePosition::WordEndOutsideBrowsers => is_declared(text, at.start),
    }
}

/// Whether a place lies in the comment in which browsers name their system.
fn is_about_system(text: &[u8], at: usize) -> bool {
    !text[..at].contains(&b')')
}

/// Whether the text says right before a place that it is only compatible with the browser that it
/// names: `(compatible; ExampleBot/1.0)`.
fn is_declared(text: &[u8], at: usize) -> bool {
    const COMPATIBLE: &[u8] = b"compatible";
    let near = &text[at.saturating_sub(NEAR)..at];
    let name = near
        .iter()
        .rposition(|byte| matches!(byte, b';' | b'(' | b')'));
    let before = name.map_or(&b""[..], |end| near[..end].trim_ascii_end());
    before.len() >= COMPATIBLE.len()
        && before[before.len() - COMPATIBLE.len()..].eq_ignore_ascii_case(COMPATIBLE)
}

/// Whether a match is the end of a product's name behind the browser's own, and a word in it:
/// `ExampleBot/1.0`, and not `Talbot/1.0`.
fn is_product(text: &[u8], at: &Range<usize>) -> bool {
    let ends = text
        .get(at.end)
        .is_none_or(|byte| matches!(byte, b'/' | b')' | b';'));
    let inside = |before: usize| text[before].is_ascii_alphanumeric();
    let is_word =
        text[at.start].is_ascii_uppercase() || !at.start.checked_sub(1).is_some_and(inside);
    ends && is_word && !is_about_system(text, at.start)
}

/// Whether a name lies where Android names the device: telephones are called `Spider 8` and
/// `M bot 60`. A crawler that passes for one names itself in a comment of its own, or as a product
/// with a version.
fn is_device(text: &[u8], at: &Range<usize>, tokens: &Tokens) -> bool {
    let android = usize::from(tokens.ends[Token::Android as usize]);
    android != 0
        && !text[android.min(at.start)..at.start].contains(&b')')
        && text.get(at.end) != Some(&b'/')
}

/// Whether a library is only what a client with a name of its own is built with, as in
/// `DAVx5/4.4 (okhttp)`. Behind `Mozilla/` no name comes first.
fn is_ingredient(text: &[u8], at: usize) -> bool {
    let leads = !text[..at]
        .iter()
        .any(|byte| matches!(byte, b' ' | b'(' | b';'));
    !leads && !text.starts_with(b"Mozilla/")
}

/// The whole product name around a match: letters, digits, `-`, `_` (RFC 9309 section 2.2.1) and
/// `.`.
pub(super) fn product(text: &[u8], matched: Range<usize>) -> &str {
    let part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let before = text[..matched.start].iter().rev().take_while(part).count();
    let after = text[matched.end..].iter().take_while(part).count();
    let name = &text[matched.start - before..matched.end + after];
    // Only a match itself can bring in other characters, and those are the catalogue's own.
    std::str::from_utf8(name)
        .unwrap_or_default()
        .trim_end_matches('/')
}

struct Catalogue {
    automaton: AhoCorasick,
    entries: Vec<Entry>,
}

struct Entry {
    text: &'static str,
    mark: Mark,
    /// Whether the text must start with it.
    at_start: bool,
    /// Whether the text must end with it.
    at_end: bool,
    /// Whether it may end a longer word.
    ends_word: bool,
    /// Whether it is found in addresses too.
    is_address: bool,
}

#[derive(Clone, Copy)]
enum Mark {
    Name { list: &'static List, rank: u8 },
    Token(Token),
}

impl Entry {
    fn new(pattern: &'static str, mark: Mark) -> Self {
        let text = pattern.strip_prefix(['^', '@']).unwrap_or(pattern);
        let words = [NamePosition::WordEnd, NamePosition::WordEndOutsideBrowsers];
        Self {
            text: text.strip_suffix('$').unwrap_or(text),
            mark,
            at_start: pattern.starts_with('^'),
            at_end: pattern.ends_with('$'),
            ends_word: matches!(mark, Mark::Name { list, .. } if words.contains(&list.position)),
            is_address: pattern.starts_with('@'),
        }
    }

    fn fits(&self, text: &[u8], at: &Range<usize>) -> bool {
        let in_word = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphanumeric);
        let inner_end = in_word(text.get(at.end)) && in_word(text.get(at.end - 1));
        if self.ends_word {
            return !inner_end && !ends_in_exception(&text[..at.end]);
        }
        let inner_start =
            at.start > 0 && in_word(text.get(at.start - 1)) && in_word(text.get(at.start));
        !inner_start
            && !inner_end
            && (!self.at_start || at.start == 0)
            && (!self.at_end || at.end == text.len())
    }
}

fn ends_in_exception(text: &[u8]) -> bool {
    catalogue::NOT_BOTS.iter().any(|word| {
        text.len() >= word.len()
            && text[text.len() - word.len()..].eq_ignore_ascii_case(word.as_bytes())
    })
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let tokens = catalogue::BROWSER_TOKENS;
    let tokens = tokens
        .iter()
        .map(|&(text, token)| Entry::new(text, Mark::Token(token)));
    let names = catalogue::LISTS.iter().zip(0..).flat_map(|(list, rank)| {
        let mark = Mark::Name { list, rank };
        list.names.iter().map(move |name| Entry::new(name, mark))
    });
    let entries: Vec<Entry> = tokens.chain(names).collect();
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::DFA))
        .build(entries.iter().map(|entry| entry.text))
        // Fails only beyond 2^31 states; the catalogue above has some ten thousand bytes.
        .expect("the catalogue fits an automaton");
    Catalogue { automaton, entries }
});

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{CATALOGUE, catalogue::LISTS};

    #[test]
    fn lists_are_lower_case_and_name_nobody_twice() {
        let mut seen = HashSet::new();
        for name in LISTS.iter().flat_map(|list| list.names.iter()) {
            assert_eq!(*name, name.to_lowercase());
            assert!(seen.insert(name), "{name} stands in two lists");
        }
        assert!(
            CATALOGUE.automaton.memory_usage() < 8 << 20,
            "{}",
            CATALOGUE.automaton.memory_usage()
        );
    }
}

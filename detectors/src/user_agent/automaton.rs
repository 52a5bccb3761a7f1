//! One pass over a user agent that finds every name of the catalogue and every browser token.

use std::{ops::Range, sync::LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::{
    Claim, Purpose,
    catalogue::{self, Token},
};

/// What the pass found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The name that decides.
    pub(super) name: Option<Name>,
    /// Browser tokens.
    pub(super) tokens: Tokens,
}

/// A name of the catalogue in the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    pub(super) claim: Claim,
    pub(super) entry: &'static str,
    pub(super) purpose: Option<Purpose>,
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
            Mark::Name {
                claim,
                purpose,
                rank,
            } => {
                let rank = (rank, entry.text.len());
                let better = found.name.is_none_or(|name| rank > name.rank);
                if better
                    && entry.fits(text, at.range())
                    && !is_device(text, at.start(), &found.tokens)
                    && !(claim == Claim::HttpLibrary && is_ingredient(text, at.start()))
                {
                    found.name = Some(Name {
                        claim,
                        entry: entry.text,
                        purpose,
                        start: at.start(),
                        end: at.end(),
                        rank,
                    });
                }
            }
        }
    }
    found
}

/// Whether a place lies where Android names the device: telephones are called `Spider 8` and
/// `M bot 60`. A crawler that passes for one names itself in a comment of its own.
fn is_device(text: &[u8], at: usize, tokens: &Tokens) -> bool {
    let android = usize::from(tokens.ends[Token::Android as usize]);
    android != 0 && !text[android.min(at)..at].contains(&b')')
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
/// `.`. Where a contact address decided, it is the product that gives the address.
pub(super) fn product(text: &[u8], matched: Range<usize>) -> &str {
    let matched = if text[matched.start] == b'+' {
        lead(text)
    } else {
        matched
    };
    let part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let before = text[..matched.start].iter().rev().take_while(part).count();
    let after = text[matched.end..].iter().take_while(part).count();
    let name = &text[matched.start - before..matched.end + after];
    // Only a match itself can bring in other characters, and those are the catalogue's own ASCII.
    std::str::from_utf8(name)
        .unwrap_or_default()
        .trim_end_matches('/')
}

/// Where the leading product starts, as an empty range: behind `compatible;` if that is there.
fn lead(text: &[u8]) -> Range<usize> {
    const COMPATIBLE: &[u8] = b"compatible;";
    let mut places = text.windows(COMPATIBLE.len());
    let compatible = places.position(|part| part.eq_ignore_ascii_case(COMPATIBLE));
    let start = compatible.map_or(0, |at| at + COMPATIBLE.len());
    let spaces = text[start..]
        .iter()
        .take_while(|byte| **byte == b' ')
        .count();
    start + spaces..start + spaces
}

struct Catalogue {
    automaton: AhoCorasick,
    entries: Vec<Entry>,
}

struct Entry {
    text: &'static str,
    mark: Mark,
    place: Place,
}

enum Mark {
    Name {
        claim: Claim,
        purpose: Option<Purpose>,
        rank: u8,
    },
    Token(Token),
}

/// What must stand beside a match.
#[derive(Clone, Copy)]
enum Place {
    /// A word of its own.
    Word { at_start: bool, at_end: bool },
    /// The end of a word, unless that is one of [`catalogue::NOT_BOTS`].
    WordEnd,
}

impl Entry {
    fn named(pattern: &'static str, kind: Kind, rank: u8) -> Self {
        let (claim, purpose) = kind.parts();
        let text = pattern.trim_start_matches('^').trim_end_matches('$');
        let place = Place::Word {
            at_start: pattern.starts_with('^'),
            at_end: pattern.ends_with('$'),
        };
        Self {
            text,
            mark: Mark::Name {
                claim,
                purpose,
                rank,
            },
            place,
        }
    }

    fn fits(&self, text: &[u8], at: Range<usize>) -> bool {
        let in_word = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphanumeric);
        let inner_end = in_word(text.get(at.end)) && in_word(text.get(at.end - 1));
        match self.place {
            Place::Word { at_start, at_end } => {
                let inner_start =
                    at.start > 0 && in_word(text.get(at.start - 1)) && in_word(text.get(at.start));
                !inner_start
                    && !inner_end
                    && (!at_start || at.start == 0)
                    && (!at_end || at.end == text.len())
            }
            Place::WordEnd => !inner_end && !ends_in_exception(&text[..at.end]),
        }
    }
}

fn ends_in_exception(text: &[u8]) -> bool {
    catalogue::NOT_BOTS.iter().any(|word| {
        text.len() >= word.len()
            && text[text.len() - word.len()..].eq_ignore_ascii_case(word.as_bytes())
    })
}

/// What the members of a list are.
#[derive(Clone, Copy)]
enum Kind {
    /// Programs for a purpose, which says what they claim to be.
    For(Purpose),
    /// Something without a purpose of its own.
    Is(Claim),
}

impl Kind {
    const fn parts(self) -> (Claim, Option<Purpose>) {
        match self {
            Self::For(purpose) => (purpose.claim(), Some(purpose)),
            Self::Is(claim) => (claim, None),
        }
    }
}

/// The lists with what their members are. Where a text carries several names the later list here
/// wins: a crawler that renders pages in a headless browser is the crawler it says it is, and a
/// bad name is believed before a good one.
const LISTS: &[(&[&str], Kind)] = &[
    (catalogue::HTTP_LIBRARIES, Kind::Is(Claim::HttpLibrary)),
    (catalogue::AUTOMATION, Kind::Is(Claim::Automation)),
    (catalogue::TEXT_BROWSERS, Kind::Is(Claim::TextBrowser)),
    (catalogue::FEED_READERS, Kind::For(Purpose::FeedReader)),
    (catalogue::WELCOME_FETCHERS, Kind::For(Purpose::LinkPreview)),
    (
        catalogue::WELCOME_CRAWLERS,
        Kind::For(Purpose::SearchEngine),
    ),
    (catalogue::DECLARED_BOTS, Kind::For(Purpose::Marketing)),
    (catalogue::AI_CRAWLERS, Kind::For(Purpose::AiTraining)),
    (catalogue::SCANNERS, Kind::Is(Claim::Scanner)),
];

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let mut entries = Vec::with_capacity(1024);
    for &(text, token) in catalogue::BROWSER_TOKENS {
        let place = Place::Word {
            at_start: false,
            at_end: false,
        };
        entries.push(Entry {
            text,
            mark: Mark::Token(token),
            place,
        });
    }
    for &text in catalogue::BOT_WORDS {
        let mark = Mark::Name {
            claim: Claim::DeclaredBot,
            purpose: None,
            rank: 0,
        };
        entries.push(Entry {
            text,
            mark,
            place: Place::WordEnd,
        });
    }
    for &text in catalogue::FEED_WORDS {
        entries.push(Entry::named(text, Kind::For(Purpose::FeedReader), 1));
    }
    for (&(names, kind), rank) in LISTS.iter().zip(2..) {
        entries.extend(names.iter().map(|name| Entry::named(name, kind, rank)));
    }
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

    use super::{CATALOGUE, LISTS};

    #[test]
    fn lists_are_lower_case_and_name_nobody_twice() {
        let mut seen = HashSet::new();
        for name in LISTS.iter().flat_map(|(names, _)| names.iter()) {
            assert_eq!(*name, name.to_ascii_lowercase());
            assert!(seen.insert(name), "{name} stands in two lists");
        }
        assert!(
            CATALOGUE.automaton.memory_usage() < 8 << 20,
            "{}",
            CATALOGUE.automaton.memory_usage()
        );
    }
}

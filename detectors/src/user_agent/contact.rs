//! Addresses in a user agent, by which the owner of a program can be reached: well-behaved robots
//! give one (`+https://robot.example/about`, `admin@robot.example`).

use std::ops::Range;

/// Whether the octet at a place of the text is where an address shows: the colon of a URL's scheme,
/// the `@` of a mailbox, the dot of `www.`, the `+` before a host.
pub(super) fn shows(text: &[u8], at: usize) -> bool {
    let before = &text[..at];
    let after = &text[at + 1..];
    match text[at] {
        b':' => is_scheme(before) && after.starts_with(b"//") && starts_host(&after[2..]),
        b'@' => before.last().is_some_and(|byte| is_local(*byte)) && names_host(after),
        b'.' => {
            before.len() >= 3
                && before[before.len() - 3..].eq_ignore_ascii_case(b"www")
                && before
                    .len()
                    .checked_sub(4)
                    .is_none_or(|at| !is_host(before[at]))
                && names_host(after)
        }
        b'+' => before.last().is_none_or(|byte| is_delimiter(*byte)) && names_host(after),
        _ => false,
    }
}

/// Where the addresses of a text lie.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    found: [Range<usize>; Self::MOST],
}

impl Addresses {
    /// Addresses that are kept apart. From the last one on everything counts as one: programs give
    /// one or two.
    const MOST: usize = 4;

    /// Looks for the addresses of a text, once from its front to its end.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut addresses = Self::default();
        let (mut at, mut count) = (0, 0);
        while at < text.len() && count < Self::MOST {
            if !shows(text, at) {
                at += 1;
                continue;
            }
            let end = text[at..].iter().position(|byte| is_delimiter(*byte));
            let end = end
                .filter(|_| count + 1 < Self::MOST)
                .map_or(text.len(), |length| at + length);
            addresses.found[count] = start(text, at)..end;
            count += 1;
            at = end;
        }
        addresses
    }

    /// Whether a part of the text lies in one of them.
    pub(super) fn cover(&self, part: &Range<usize>) -> bool {
        let covers =
            |address: &Range<usize>| address.start <= part.start && part.end <= address.end;
        self.found.iter().any(covers)
    }
}

/// Where an address begins that shows at a place: with its scheme, its mailbox or `www`.
fn start(text: &[u8], at: usize) -> usize {
    let before = text[..at].iter().rev();
    at - match text[at] {
        b'+' => 0,
        b'@' => before.take_while(|byte| is_local(**byte)).count(),
        _ => before.take_while(|byte| byte.is_ascii_alphabetic()).count(),
    }
}

fn is_scheme(before: &[u8]) -> bool {
    [&b"http"[..], b"https"].iter().any(|scheme| {
        before.len() >= scheme.len()
            && before[before.len() - scheme.len()..].eq_ignore_ascii_case(scheme)
    })
}

fn starts_host(text: &[u8]) -> bool {
    text.first()
        .is_some_and(|byte| is_host(*byte) || *byte == b'[')
}

/// Whether a text starts with a host of at least two labels, the last one a word: `4.9` is a
/// version.
fn names_host(text: &[u8]) -> bool {
    let length = text.iter().take_while(|byte| is_host(**byte)).count();
    let host = text[..length].trim_ascii_end();
    let host = host.strip_suffix(b".").unwrap_or(host);
    host.iter()
        .rposition(|byte| *byte == b'.')
        .is_some_and(|dot| {
            let last = &host[dot + 1..];
            dot > 0 && last.len() >= 2 && last.iter().all(u8::is_ascii_alphabetic)
        })
}

const fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.' || byte >= 128
}

const fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-')
}

const fn is_delimiter(byte: u8) -> bool {
    byte.is_ascii_whitespace()
        || matches!(
            byte,
            b'(' | b')'
                | b'<'
                | b'>'
                | b'['
                | b']'
                | b'{'
                | b'}'
                | b'"'
                | b'\''
                | b','
                | b';'
                | b'|'
        )
}

#[cfg(test)]
mod tests {
    use super::{Addresses, shows};

    #[test]
    fn addresses_are_told_from_versions_and_paths() {
        let check = |text: &str, expected: bool| {
            let text = text.as_bytes();
            let found = (0..text.len()).any(|at| shows(text, at));
            assert_eq!(found, expected, "{}", text.escape_ascii());
        };
        check("Foo/1.0 (+https://foo.example/bot)", true);
        check("Foo/1.0 +HTTP://foo.example", true);
        check("Foo/1.0 http://[2001:db8::1]/", true);
        check("Foo (admin@foo.example)", true);
        check("Foo; www.foo.example", true);
        check("Foo (+foo.example/bot)", true);
        check("Foo +http://", false);
        check("Foo +http", false);
        check("Ecosia ios@9.5.0.1234", false);
        check("okhttp@4.9", false);
        check("npm/@scope", false);
        check("Foo/1.0+(compatible; Bar/2.0)", false);
        check("Mac+OS+X/10.15.7 (19H) CalendarAgent/930", false);
        check("awww.foo.example", false);
        check("Foo@", false);
        check("@", false);
        check(":", false);
        check(".", false);
        check("+", false);
    }

    #[test]
    fn what_stands_in_an_address_is_no_name() {
        let check = |text: &str, part: &str, expected: bool| {
            let at = text.rfind(part).unwrap();
            let found = Addresses::of(text.as_bytes()).cover(&(at..at + part.len()));
            assert_eq!(found, expected, "{text} {part}");
        };
        check("WordPress/6; https://scanner.example", "scanner", true);
        check("Foo (+https://foo.example/bot.html)", "bot", true);
        check("Foo (+foo.example/bot.html)", "bot", true);
        check("Foo (bot@foo.example)", "bot", true);
        check("Foo (me@bot.example)", "bot", true);
        check("Foo; www.bot.example", "bot", true);
        check("FooBot/1.0 (+https://foo.example)", "Bot", false);
        check("FooBot;+https://foo.example", "Bot", false);
        check("FooBot/1.0-me@foo.example", "FooBot", false);
        check("FooBot+https://foo.example", "Bot", false);
        check("a@a.example (+https://b.example) FooBot", "Bot", false);
        check(&"+https://a.example bot ".repeat(6), "bot", true);
    }
}

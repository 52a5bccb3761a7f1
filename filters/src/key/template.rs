//! Paths as templates: what names one thing among many becomes a placeholder, so that
//! `/orders/1001` and `/orders/1002` count as one.

/// Longest template, in bytes; what a longer path ends with does not count.
const LONGEST: usize = 256;
/// Segments longer than this are no names that people give.
const LONGEST_NAME: usize = 64;
/// Letters and digits in a row from which on, mixed, they are a token: words are shorter.
const TOKEN: usize = 16;
/// Digits and letters up to `f` from which on, mixed, they are an id: an abbreviated object name
/// of git has 7 or more, words that look like one have no digit.
const HEX_ID: usize = 8;
/// The longest ending of a file's name.
const LONGEST_ENDING: usize = 5;

/// A template, on the stack.
pub(super) struct Template {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Template {
    /// The template of a path.
    ///
    /// Upper and lower case, empty segments, a slash at the end and path parameters make no
    /// difference, since they make none for many origins. A number, a UUID, a hexadecimal id and
    /// a long token become `*`; the ending of a file's name stays.
    pub(super) fn of(path: &str) -> Self {
        let mut template = Self {
            bytes: [0; LONGEST],
            length: 0,
        };
        let bytes = path.as_bytes();
        let mut at = 0;
        while at < bytes.len() && template.length < LONGEST {
            let start = at;
            let (mut end, mut has_digit) = (None, false);
            while at < bytes.len() && bytes[at] != b'/' {
                has_digit |= bytes[at].is_ascii_digit();
                if bytes[at] == b';' && end.is_none() {
                    end = Some(at);
                }
                at += 1;
            }
            let name = &bytes[start..end.unwrap_or(at)];
            if !name.is_empty() {
                template.push(b"/");
                template.push_name(name, has_digit);
            }
            at += 1;
        }
        template
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push_name(&mut self, name: &[u8], has_digit: bool) {
        if !has_digit && name.len() <= LONGEST_NAME {
            return self.push(name);
        }
        let dot = name.iter().rposition(|byte| *byte == b'.');
        let (stem, ending) = match dot.map(|dot| name.split_at(dot)) {
            Some((stem, ending)) if is_ending(&ending[1..]) => (stem, ending),
            _ => (name, &b""[..]),
        };
        self.push(if is_id(stem) { b"*" } else { stem });
        self.push(ending);
    }

    fn push(&mut self, bytes: &[u8]) {
        let free = &mut self.bytes[self.length..];
        for (to, from) in free.iter_mut().zip(bytes) {
            *to = from.to_ascii_lowercase();
        }
        self.length = LONGEST.min(self.length + bytes.len());
    }
}

fn is_ending(text: &[u8]) -> bool {
    (1..=LONGEST_ENDING).contains(&text.len())
        && text.iter().all(u8::is_ascii_alphanumeric)
        && !text.iter().all(u8::is_ascii_digit)
}

/// Whether a segment names one thing among many.
fn is_id(name: &[u8]) -> bool {
    let digits = name.iter().filter(|byte| byte.is_ascii_digit()).count();
    let all_digits = digits > 0 && digits == name.len();
    let hex = || digits > 0 && name.len() >= HEX_ID && name.iter().all(u8::is_ascii_hexdigit);
    all_digits || name.len() > LONGEST_NAME || hex() || is_uuid(name) || has_token(name)
}

/// 8-4-4-4-12 hexadecimal digits (RFC 9562 section 4).
fn is_uuid(name: &[u8]) -> bool {
    let dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    name.len() == 36
        && name.iter().enumerate().all(|(at, byte)| {
            if dash(at) {
                *byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            }
        })
}

/// Whether letters and digits stand mixed in a row that is longer than any word.
fn has_token(name: &[u8]) -> bool {
    name.split(|byte| !byte.is_ascii_alphanumeric())
        .filter(|run| run.len() >= TOKEN)
        .any(|run| run.iter().any(u8::is_ascii_digit) && run.iter().any(u8::is_ascii_alphabetic))
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Template};

    #[test]
    fn what_names_one_thing_among_many_is_replaced() {
        let check = |path: &str, expected: &str| {
            let template = Template::of(path);
            assert_eq!(
                std::str::from_utf8(template.as_bytes()).unwrap(),
                expected,
                "{path}"
            );
        };
        check("/", "");
        check("/orders", "/orders");
        check("/Orders//", "/orders");
        check("/orders/1001", "/orders/*");
        check("/orders/1001/items/7.json", "/orders/*/items/*.json");
        check("/orders;a=1/1001;b", "/orders/*");
        check("/v1/users", "/v1/users");
        check("/u/550e8400-e29b-41d4-a716-446655440000", "/u/*");
        check(
            "/u/550e8400-e29b-41d4-a716-44665544000g",
            "/u/550e8400-e29b-41d4-a716-44665544000g",
        );
        check(
            "/commit/9fceb02d0ae598e95dc970b74767f19372d61af8",
            "/commit/*",
        );
        check("/facade/deadbeef/decade", "/facade/deadbeef/decade");
        check("/o/deadbee7", "/o/*");
        check("/reset/mJ9cQk2LxV7tRz4b", "/reset/*");
        check("/t/eyJhbGciOiJIUzI1NiJ9.x", "/t/*.x");
        check(
            "/blog/ten-things-to-do-in-2024",
            "/blog/ten-things-to-do-in-2024",
        );
        check("/internationalisation", "/internationalisation");
        check(&format!("/{}", "a".repeat(65)), "/*");
        check("/static/app.3f2a91bc.js", "/static/app.3f2a91bc.js");
        check("/img/20240101.png", "/img/*.png");
        check("/a.5", "/a.5");
        check("*", "/*");
    }

    #[test]
    fn templates_are_bounded() {
        let long = "/name".repeat(10_000);
        assert_eq!(Template::of(&long).as_bytes().len(), LONGEST);
        assert_eq!(Template::of(&"/1".repeat(10_000)).as_bytes().len(), LONGEST);
    }
}

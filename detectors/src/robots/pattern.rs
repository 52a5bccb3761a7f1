//! The path pattern of one rule (RFC 9309 sections 2.2.2 and 2.2.3).

/// Bytes of a path that are compared, so that a hostile one costs no more than a long one.
const LONGEST_PATH: usize = 2048;

/// A pattern with `*` for any run of characters and `$` for the end.
///
/// Both sides are compared octet by octet after the same normalisation: an encoded unreserved
/// character is the character, and an octet beyond ASCII is its encoding.
#[derive(Debug)]
pub(super) struct Pattern {
    units: Box<[Unit]>,
    anchored: bool,
    length: usize,
}

/// One octet: a plain one as it is, an encoded one above [`ENCODED`].
type Unit = u16;
const ENCODED: Unit = 0x100;
const ANYTHING: Unit = 0x200;

impl Pattern {
    pub(super) fn new(text: &[u8]) -> Self {
        let (text, anchored) = text
            .strip_suffix(b"$")
            .map_or((text, false), |text| (text, true));
        let mut units = Vec::with_capacity(text.len());
        let (mut at, mut length) = (0, usize::from(anchored));
        while let Some((unit, next)) = unit(text, at) {
            length += 1;
            let unit = if unit == Unit::from(b'*') {
                ANYTHING
            } else {
                unit
            };
            if unit != ANYTHING || units.last() != Some(&ANYTHING) {
                units.push(unit);
            }
            at = next;
        }
        Self {
            units: units.into(),
            anchored,
            length,
        }
    }

    /// Memory beside its own.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.units)
    }

    /// Octets of the pattern: the longer of two matching rules is the more specific.
    pub(super) const fn length(&self) -> usize {
        self.length
    }

    /// Whether a path with its query starts with the pattern, or is it where `$` ends the pattern.
    /// An empty pattern matches nothing.
    pub(super) fn matches(&self, path: &str) -> bool {
        let path = path.as_bytes();
        let path = &path[..path.len().min(LONGEST_PATH)];
        if self.length == 0 {
            return false;
        }
        // The greedy match of a glob: on a mismatch the last `*` takes one octet more.
        let (mut at, mut wanted) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let expected = self.units.get(wanted).copied();
            match (expected, unit(path, at)) {
                (Some(ANYTHING), _) => {
                    retry = Some((wanted + 1, at));
                    wanted += 1;
                }
                (None, None) => return true,
                (None, Some(_)) if !self.anchored => return true,
                (Some(expected), Some((sent, next))) if expected == sent => {
                    wanted += 1;
                    at = next;
                }
                (Some(_), None) => return false,
                _ => {
                    let Some((after_star, from)) = retry else {
                        return false;
                    };
                    let Some((_, next)) = unit(path, from) else {
                        return false;
                    };
                    retry = Some((after_star, next));
                    (wanted, at) = (after_star, next);
                }
            }
        }
    }
}

/// The normalised octet at a place, and the place behind it.
fn unit(text: &[u8], at: usize) -> Option<(Unit, usize)> {
    match text.get(at..)? {
        [] => None,
        [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            let octet = hexadecimal(*high) * 16 + hexadecimal(*low);
            let unreserved = octet < 128 && is_unreserved(octet.to_le_bytes()[0]);
            Some((if unreserved { octet } else { ENCODED + octet }, at + 3))
        }
        [byte, ..] if byte.is_ascii() => Some((Unit::from(*byte), at + 1)),
        [byte, ..] => Some((ENCODED + Unit::from(*byte), at + 1)),
    }
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn hexadecimal(digit: u8) -> Unit {
    let value = char::from(digit).to_digit(16).unwrap_or_default();
    Unit::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_match_prefixes_wildcards_and_ends() {
        let check = |pattern: &str, path: &str, matches: bool| {
            assert_eq!(
                Pattern::new(pattern.as_bytes()).matches(path),
                matches,
                "{pattern} {path}"
            );
        };
        check("/", "/anything", true);
        check("/fish", "/fish.html", true);
        check("/fish", "/Fish.html", false);
        check("/fish/", "/fish", false);
        check("/*.php", "/folder/file.php?x=1", true);
        check("/*.php$", "/file.php", true);
        check("/*.php$", "/file.php5", false);
        check("/*.php$", "/a.php/b.php", true);
        check("/fish*.php", "/fishheads/catfish.php?a", true);
        check("/a*b*c", "/a-b-b-x", false);
        check("/a*b*c$", "/abcbc", true);
        check("/a$", "/a", true);
        check("/a$", "/ab", false);
        check("/$", "/", true);
        check("*", "/", true);
        check("/a*", "/a", true);
        check("", "/", false);
        check("/foo/%62%61%7A", "/foo/baz", true);
        check("/foo/bar/\u{30c4}", "/foo/bar/%E3%83%84", true);
        check("/foo/bar/%e3%83%84", "/foo/bar/\u{30c4}", true);
        check("/a%2Fb", "/a/b", false);
        check("/a%2fb", "/a%2Fb", true);
        check("/x%2A", "/xy", false);
        check("/%zz", "/%zz/1", true);
        check("/a%", "/a%", true);
    }
}

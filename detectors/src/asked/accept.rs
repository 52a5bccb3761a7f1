//! What `Accept` prefers (RFC 9110 section 12.5.1): a page, data, or nothing in particular.

use http::{HeaderMap, header::ACCEPT};

/// What a client would rather have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preference {
    /// It takes everything, or does not say.
    Any,
    /// What programs read.
    Data,
    /// Something else: an image, a script, a kind of file.
    Other,
    /// A page.
    Page,
}

/// The best of a kind in the list: its quality in thousandths, and its place for ties.
#[derive(Debug, Clone, Copy, Default)]
struct Best {
    quality: u16,
    place: usize,
}

impl Best {
    fn consider(&mut self, quality: u16, place: usize) {
        if quality > self.quality {
            *self = Self { quality, place };
        }
    }

    /// Of two that are wanted alike the one named first counts, since programs name first what they
    /// are made for.
    const fn beats(self, other: Self) -> bool {
        self.quality > other.quality || (self.quality == other.quality && self.place < other.place)
    }
}

/// What the fields of a request prefer.
pub(super) fn preference(headers: &HeaderMap) -> Preference {
    let (mut page, mut data, mut other) = (Best::default(), Best::default(), false);
    let lines = headers.get_all(ACCEPT).iter();
    let ranges = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    for (place, range) in ranges.enumerate() {
        let quality = quality(range);
        let name = essence(range);
        if is_one_of(name, &[b"text/html", b"application/xhtml+xml"]) {
            page.consider(quality, place);
        } else if is_one_of(name, &[b"application/xml", b"text/xml"]) {
            // Old WebKit names XML before HTML and XHTML, and wants pages.
            data.consider(quality, usize::MAX);
        } else if is_data(name) {
            data.consider(quality, place);
        } else {
            other |= !is_one_of(name, &[b"", b"*", b"*/*", b"text/*"]);
        }
    }
    if page.quality > 0 && page.beats(data) {
        Preference::Page
    } else if data.quality > 0 {
        Preference::Data
    } else if other {
        Preference::Other
    } else {
        Preference::Any
    }
}

/// Whether a media type, with or without parameters, is one that programs speak.
pub(super) fn is_data(media_type: &[u8]) -> bool {
    const NAMES: &[&[u8]] = &[
        b"cbor",
        b"event-stream",
        b"graphql",
        b"json",
        b"jsonl",
        b"msgpack",
        b"ndjson",
        b"protobuf",
        b"vnd.google.protobuf",
        b"vnd.msgpack",
        b"x-json",
        b"x-msgpack",
        b"x-ndjson",
        b"x-protobuf",
        b"x-yaml",
        b"xml",
        b"yaml",
    ];
    // Structured suffixes (RFC 6839 and its registry).
    const SUFFIXES: &[&[u8]] = &[b"cbor", b"json", b"protobuf", b"xml", b"yaml"];
    let name = essence(media_type);
    let Some(slash) = name.iter().position(|byte| *byte == b'/') else {
        return false;
    };
    let (kind, subtype) = (&name[..slash], &name[slash + 1..]);
    if !is_one_of(kind, &[b"application", b"text"]) {
        return false;
    }
    let suffix = subtype.iter().rposition(|byte| *byte == b'+');
    // Internet Explorer names XAML where it opens a page.
    is_one_of(subtype, NAMES)
        || suffix.is_some_and(|plus| {
            is_one_of(&subtype[plus + 1..], SUFFIXES)
                && !is_one_of(subtype, &[b"xhtml+xml", b"xaml+xml"])
        })
}

/// A media type without its parameters.
fn essence(range: &[u8]) -> &[u8] {
    let end = range.iter().position(|byte| *byte == b';');
    range[..end.unwrap_or(range.len())].trim_ascii()
}

/// The quality of a range in thousandths. What cannot be read as one counts in full.
fn quality(range: &[u8]) -> u16 {
    let mut parameters = range.split(|byte| *byte == b';').skip(1);
    let told = parameters.find_map(|parameter| {
        let parameter = parameter.trim_ascii();
        let value = parameter
            .strip_prefix(b"q=")
            .or_else(|| parameter.strip_prefix(b"Q="))?;
        let number: f32 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
        Some((number.clamp(0.0, 1.0) * 1000.0) as u16)
    });
    told.unwrap_or(1000)
}

fn is_one_of(text: &[u8], words: &[&[u8]]) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

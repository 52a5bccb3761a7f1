//! What a path names, and what it is asked for.

// One name a line would make its lists unreadable.
#[rustfmt::skip]
mod lists;
mod probe;

use lists::{ASSETS, FEED_EXTENSIONS, FEED_NAMES};

pub use probe::judge;

/// What a path names, by its looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A part of a page: style, script, image, font, medium, or a file to download.
    Asset,
    /// A feed, sitemap or another file that programs read.
    Feed,
    /// Everything else.
    Page,
}

/// What a normalised path names.
pub fn kind(path: &str) -> Kind {
    let name = path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    if is_one_of(extension, ASSETS) {
        Kind::Asset
    } else if is_one_of(extension, FEED_EXTENSIONS) || is_one_of(name, FEED_NAMES) {
        Kind::Feed
    } else {
        Kind::Page
    }
}

/// Number of segments of a path.
pub fn depth(path: &str) -> usize {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .count()
}

fn is_one_of(text: &str, words: &[&str]) -> bool {
    !text.is_empty() && words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::{Kind, depth, kind};

    #[test]
    fn paths_are_told_apart_by_their_looks() {
        let check = |path: &str, expected: Kind, segments: usize| {
            assert_eq!((kind(path), depth(path)), (expected, segments), "{path}");
        };
        check("/", Kind::Page, 0);
        check("/a/b/", Kind::Page, 2);
        check("/a/b.html", Kind::Page, 2);
        check("/v1.2/notes", Kind::Page, 2);
        check("/a/Photo.JPG", Kind::Asset, 2);
        check("/app.min.js", Kind::Asset, 1);
        check("/blog/feed", Kind::Feed, 2);
        check("/blog/feed/", Kind::Feed, 2);
        check("/blog/index.xml", Kind::Feed, 2);
        check("", Kind::Page, 0);
    }
}

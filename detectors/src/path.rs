//! What kind of thing a path names.

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

const ASSETS: &[&str] = &[
    "apk",
    "avif",
    "avi",
    "bmp",
    "css",
    "csv",
    "cur",
    "deb",
    "dmg",
    "doc",
    "docx",
    "eot",
    "epub",
    "exe",
    "flac",
    "gif",
    "gz",
    "ico",
    "iso",
    "jpeg",
    "jpg",
    "js",
    "json",
    "m3u8",
    "m4a",
    "m4s",
    "m4v",
    "map",
    "mjs",
    "mov",
    "mp3",
    "mp4",
    "mpd",
    "msi",
    "ogg",
    "ogv",
    "opus",
    "otf",
    "pdf",
    "png",
    "ppt",
    "pptx",
    "rar",
    "rpm",
    "svg",
    "swf",
    "tar",
    "tgz",
    "tif",
    "tiff",
    "ts",
    "ttf",
    "txt",
    "vtt",
    "wasm",
    "wav",
    "webm",
    "webmanifest",
    "webp",
    "woff",
    "woff2",
    "xls",
    "xlsx",
    "xz",
    "zip",
    "zst",
];
const FEED_EXTENSIONS: &[&str] = &["atom", "ics", "opml", "rdf", "rss", "xml"];
const FEED_NAMES: &[&str] = &["atom", "feed", "feeds", "rss"];

fn is_one_of(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
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

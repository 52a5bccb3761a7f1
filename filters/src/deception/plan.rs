//! What a path is answered with.

use std::sync::Arc;

use http::{
    HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

use crate::deception::{
    binary,
    drip::Drip,
    links::Links,
    pace::Pace,
    page::{Format, Page},
};

/// The answer to one path, the same for every method and every visit.
///
/// The gateway sends [`Plan::headers`] with status 200 and then the chunks of [`Plan::drip`], without
/// a content length or with one that is never reached ([`Plan::bound`]).
#[derive(Debug, Clone)]
pub struct Plan {
    page: Page,
    content_type: &'static str,
}

impl Plan {
    /// The plan for a path in the form of `plain_path`, of whatever characters.
    pub fn new(links: &Arc<Links>, path: &str) -> Self {
        let kind = kind_of(path);
        let page = Page {
            links: Arc::clone(links),
            seed: links.page_seed(path),
            format: kind.format,
        };
        Self {
            page,
            content_type: kind.content_type,
        }
    }

    /// The content type that fits the path's extension.
    pub fn content_type(&self) -> &'static str {
        self.content_type
    }

    /// The header fields that depend on the content.
    ///
    /// A shared cache must not keep such an answer and give it to a person, and where a welcome
    /// crawler was held by mistake, the text must not stand in its index in the site's name.
    pub fn headers(&self) -> [(HeaderName, HeaderValue); 3] {
        [
            (CONTENT_TYPE, HeaderValue::from_static(self.content_type)),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (X_ROBOTS_TAG, HeaderValue::from_static("noindex")),
        ]
    }

    /// A length above that of every answer at this pace, for those that have to promise one.
    pub fn bound(&self, pace: &Pace) -> u64 {
        // Spread, so that it is no sign by which all of them are known.
        let spread = self.page.seed % LONGEST_ENDS;
        pace.most_bytes().saturating_add(LONGEST_ENDS + spread)
    }

    /// The content. `connection` is any number that differs between connections: it varies waits
    /// and lengths, so that two visits cannot be known by their rhythm, and never the text.
    pub fn drip(&self, pace: Pace, connection: u64) -> Drip {
        Drip::new(self.page.clone(), pace, connection)
    }
}

/// More than the first and the last chunk have beyond their length.
const LONGEST_ENDS: u64 = 64 << 10;

const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

struct Kind {
    extensions: &'static [&'static str],
    content_type: &'static str,
    format: Format,
}

const fn kind(
    extensions: &'static [&'static str],
    content_type: &'static str,
    format: Format,
) -> Kind {
    Kind {
        extensions,
        content_type,
        format,
    }
}

/// What paths of no known extension are, `/wp-login.php` among them.
const HTML: Kind = kind(&[], "text/html; charset=utf-8", Format::Html);

/// Names as registered with IANA; scripts by RFC 9239.
const KINDS: &[Kind] = &[
    kind(
        &["js", "mjs"],
        "text/javascript; charset=utf-8",
        Format::Script,
    ),
    kind(&["css"], "text/css; charset=utf-8", Format::Style),
    kind(&["json", "map"], "application/json", Format::Json),
    kind(&["webmanifest"], "application/manifest+json", Format::Json),
    kind(&["xml"], "application/xml", Format::Feed),
    kind(&["rss"], "application/rss+xml", Format::Feed),
    kind(&["txt", "log"], "text/plain; charset=utf-8", Format::Prose),
    kind(&["md"], "text/markdown; charset=utf-8", Format::Prose),
    kind(&["csv"], "text/csv; charset=utf-8", Format::Rows),
    kind(&["svg"], "image/svg+xml", Format::Drawing),
    kind(&["gif"], "image/gif", Format::Binary(binary::GIF)),
    kind(
        &["ico"],
        "image/vnd.microsoft.icon",
        Format::Binary(binary::ICON),
    ),
    kind(&["jpg", "jpeg"], "image/jpeg", Format::Binary(binary::JPEG)),
    kind(&["png"], "image/png", Format::Binary(binary::PNG)),
    kind(&["webp"], "image/webp", Format::Binary(binary::WEBP)),
    kind(&["woff2"], "font/woff2", Format::Binary(binary::WOFF2)),
    kind(&["mp3"], "audio/mpeg", Format::Binary(binary::MP3)),
    kind(&["ogg", "oga"], "audio/ogg", Format::Binary(binary::OGG)),
    kind(&["mp4", "m4v"], "video/mp4", Format::Binary(binary::MP4)),
    kind(&["webm"], "video/webm", Format::Binary(binary::WEBM)),
    kind(&["pdf"], "application/pdf", Format::Binary(binary::PDF)),
    kind(&["zip"], "application/zip", Format::Binary(binary::ZIP)),
    kind(
        &["gz", "tgz"],
        "application/gzip",
        Format::Binary(binary::GZIP),
    ),
    kind(
        &["bz2"],
        "application/x-bzip2",
        Format::Binary(binary::BZIP2),
    ),
    kind(
        &["7z"],
        "application/x-7z-compressed",
        Format::Binary(binary::SEVEN_ZIP),
    ),
    kind(
        &["sqlite", "sqlite3", "db"],
        "application/vnd.sqlite3",
        Format::Binary(binary::SQLITE),
    ),
    kind(
        &["bin", "dat", "bak"],
        "application/octet-stream",
        Format::Binary(b""),
    ),
];

fn kind_of(path: &str) -> &'static Kind {
    let last = path.rsplit('/').next().unwrap_or_default();
    let Some((_, extension)) = last.rsplit_once('.') else {
        return &HTML;
    };
    let fits = |known: &&str| known.eq_ignore_ascii_case(extension);
    KINDS
        .iter()
        .find(|kind| kind.extensions.iter().any(fits))
        .unwrap_or(&HTML)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_follow_the_extension() {
        let links = Arc::new(Links::new(&[1; 32], "shop"));
        let check = |path: &str, content_type: &str| {
            let plan = Plan::new(&links, path);
            assert_eq!(plan.content_type(), content_type, "{path}");
            let [(name, value), ..] = plan.headers();
            assert_eq!(
                (name.as_str(), value.to_str().unwrap()),
                ("content-type", content_type)
            );
        };
        let html = "text/html; charset=utf-8";
        for path in [
            "",
            "/",
            "/a",
            "/a/",
            "/a.html",
            "/a.htm",
            "/wp-login.php",
            "/.env",
            "/a.json/",
            "/a.",
            "/..",
            "/a.b.c",
            "/v1.css/x",
            "/é.ü",
            "/a.json%00",
            "*",
        ] {
            check(path, html);
        }
        check("/a.js", "text/javascript; charset=utf-8");
        check("/a.min.mjs", "text/javascript; charset=utf-8");
        check("/A.CSS", "text/css; charset=utf-8");
        check("/a.json", "application/json");
        check("/a.js.map", "application/json");
        check("/site.webmanifest", "application/manifest+json");
        check("/sitemap.xml", "application/xml");
        check("/a.rss", "application/rss+xml");
        check("/a.txt", "text/plain; charset=utf-8");
        check("/a.log", "text/plain; charset=utf-8");
        check("/readme.md", "text/markdown; charset=utf-8");
        check("/a.csv", "text/csv; charset=utf-8");
        check("/a.svg", "image/svg+xml");
        check("/a.gif", "image/gif");
        check("/favicon.ico", "image/vnd.microsoft.icon");
        check("/a.jpg", "image/jpeg");
        check("/a.JPEG", "image/jpeg");
        check("/a.png", "image/png");
        check("/a.webp", "image/webp");
        check("/a.woff2", "font/woff2");
        check("/a.mp3", "audio/mpeg");
        check("/a.ogg", "audio/ogg");
        check("/a.mp4", "video/mp4");
        check("/a.webm", "video/webm");
        check("/a.pdf", "application/pdf");
        check("/a.zip", "application/zip");
        check("/a.tar.gz", "application/gzip");
        check("/a.tgz", "application/gzip");
        check("/a.bz2", "application/x-bzip2");
        check("/a.7z", "application/x-7z-compressed");
        check("/a.sqlite", "application/vnd.sqlite3");
        check("/.bak", "application/octet-stream");
    }

    #[test]
    fn no_answer_reaches_what_is_promised() {
        use std::time::Duration;
        let links = Arc::new(Links::new(&[1; 32], "shop"));
        for (path, interval, total) in [("/", 1, 300), ("/a", 20, 1000), ("/b.html", 2000, 600_000)]
        {
            let pace = Pace {
                interval: Duration::from_millis(interval),
                total: Duration::from_millis(total),
                ..Pace::default()
            };
            let plan = Plan::new(&links, path);
            let bound = plan.bound(&pace);
            let sent: usize = plan.drip(pace, 7).map(|chunk| chunk.bytes.len()).sum();
            assert!((sent as u64) < bound, "{path}: {sent} of {bound}");
        }
    }

    #[test]
    fn caches_and_indexes_are_told_to_keep_nothing() {
        let links = Arc::new(Links::new(&[1; 32], "shop"));
        let headers = Plan::new(&links, "/a").headers();
        let value = |name: &str| {
            let field = headers.iter().find(|(field, _)| field == name);
            field.map(|(_, value)| value.to_str().unwrap())
        };
        assert_eq!(value("cache-control"), Some("no-store"));
        assert_eq!(value("x-robots-tag"), Some("noindex"));
    }
}

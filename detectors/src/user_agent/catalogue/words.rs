//! Words by which a client without an entry of its own says what it is.

/// Words of robots. They may end a longer word (`ExampleBot`).
pub(super) const BOT_WORDS: &[&str] = &[
    "bot", "bots", "crawl", "crawler", "crawling", "harvester", "robot", "scraper", "scraping",
    "spider", "spyder",
];

/// Words of robots that applications for people are called by too: a `QRScanner` reads codes.
pub(super) const TOOL_WORDS: &[&str] = &[
    "archiver", "checker", "fetcher", "indexer", "monitoring", "scanner", "validator",
];

/// Words that end like a bot's name and are not one: Cubot makes telephones, and the others are
/// names of people and places.
pub(in crate::user_agent) const NOT_BOTS: &[&str] = &["abbot", "cubot", "talbot", "turbot"];

/// Words of feed readers.
pub(super) const FEED_WORDS: &[&str] = &["feed", "feedreader", "feeds", "rss", "rssreader", "subscribers"];

/// Words of podcast applications.
pub(super) const PODCAST_WORDS: &[&str] = &["podcast", "podcasts"];

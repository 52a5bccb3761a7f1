//! The numbers that a model sees of a request.
//!
//! A pure function of one request's shape: no history, no address, no host, no time, so that a
//! recording gives the same numbers as the live request. Every value is finite and within 0..=1.
//! Training and serving share this file, and a model's card names [`schema_hash`]: a model that
//! was trained on other numbers is refused.

use std::fmt::Write as _;

use http::{Method, Version};
use sha2::{Digest, Sha256};

use crate::{
    headers::{
        self,
        client_hints::{self, Agreement},
        errand::Errand,
        fetch_metadata,
        fields::{self, Fields},
    },
    path,
    request::RequestView,
    user_agent::{Browser, Claim, Engine, Purpose, UserAgent},
};

/// Version of the schema; raised whenever a number comes to mean something else.
pub const VERSION: u32 = 2;

/// Number of features.
pub const COUNT: usize = FEATURES.len();

/// One number of the schema.
#[derive(Debug, Clone, Copy)]
pub struct Feature {
    /// Its name in models, cards and explanations.
    pub name: &'static str,
    /// The part of the request that it is drawn from.
    pub group: Group,
    /// What it says.
    pub meaning: &'static str,
    value: fn(&Facts<'_>) -> f32,
}

/// The part of a request that a feature is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Two parts that should agree.
    Consistency,
    /// Header fields but for the user agent.
    Headers,
    /// Method and path.
    Path,
    /// Protocol version and transport.
    Protocol,
    /// The user agent.
    UserAgent,
}

impl Group {
    /// The name in cards and documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consistency => "consistency",
            Self::Headers => "headers",
            Self::Path => "path",
            Self::Protocol => "protocol",
            Self::UserAgent => "user_agent",
        }
    }
}

/// The features of a request, in the order of [`FEATURES`].
pub fn extract(view: &RequestView<'_>) -> [f32; COUNT] {
    let fields = Fields::of(view.headers);
    let agent = UserAgent::parse_bytes(fields.user_agent.unwrap_or_default());
    let compare = |browser| client_hints::compare(browser, &fields);
    let facts = Facts {
        view,
        hints: agent.claim.browser().map_or(Agreement::Absent, compare),
        path_kind: path::kind(&view.path),
        errand: Errand::of(view, &fields),
        agent,
        fields,
    };
    std::array::from_fn(|at| (FEATURES[at].value)(&facts))
}

/// Whether these features are of a client that claims to be a graphical browser.
pub fn claims_browser(features: &[f32; COUNT]) -> bool {
    const PLACE: usize = place("ua_browser");
    features[PLACE] > 0.0
}

/// The place of a feature in [`FEATURES`].
const fn place(name: &str) -> usize {
    let mut at = 0;
    while !is_same(FEATURES[at].name.as_bytes(), name.as_bytes()) {
        at += 1;
    }
    at
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// SHA-256 over version, names and meanings in order, in hexadecimal.
pub fn schema_hash() -> String {
    let mut hash = Sha256::new();
    hash.update(VERSION.to_le_bytes());
    for feature in FEATURES {
        for part in [feature.name, feature.group.name(), feature.meaning] {
            hash.update(part);
            hash.update([0]);
        }
    }
    hash.finalize()
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

struct Facts<'a> {
    view: &'a RequestView<'a>,
    fields: Fields<'a>,
    agent: UserAgent<'a>,
    path_kind: path::Kind,
    errand: Errand,
    hints: Agreement,
}

impl Facts<'_> {
    fn browser(&self, test: impl Fn(Browser) -> bool) -> f32 {
        yes(self.agent.claim.browser().is_some_and(test))
    }

    fn claims(&self, claim: Claim) -> f32 {
        yes(self.agent.claim == claim)
    }

    fn is_for(&self, test: impl Fn(Purpose) -> bool) -> f32 {
        yes(matches!(self.agent.claim, Claim::Program(purpose) if test(purpose)))
    }
}

macro_rules! features {
    ($($name:ident: $group:ident, $meaning:literal, $value:expr;)+) => {
        /// Every feature, in the order in which models see them.
        pub const FEATURES: &[Feature] = &[$(Feature {
            name: stringify!($name),
            group: Group::$group,
            meaning: $meaning,
            value: $value,
        },)+];
    };
}

features! {
    ua_missing: UserAgent, "no user agent or an empty one", |f| f.claims(Claim::Missing);
    ua_ai_crawler: UserAgent, "names an AI crawler or assistant", |f| f.claims(Claim::AiCrawler);
    ua_automation: UserAgent, "names an automated browser", |f| f.claims(Claim::Automation);
    ua_browser: UserAgent, "names a graphical browser", |f| f.browser(|_| true);
    ua_declared_bot: UserAgent, "names some other bot", |f| f.claims(Claim::DeclaredBot);
    ua_feed_reader: UserAgent, "names a feed reader", |f| f.is_for(Purpose::is_for_audience);
    ua_http_library: UserAgent, "names an HTTP library", |f| f.claims(Claim::HttpLibrary);
    ua_scanner: UserAgent, "names a vulnerability scanner", |f| f.claims(Claim::Scanner);
    ua_text_browser: UserAgent, "names a text browser", |f| f.claims(Claim::TextBrowser);
    ua_welcome_crawler: UserAgent, "names a search engine or archive", |f| f.is_for(Purpose::walks);
    ua_welcome_fetcher: UserAgent, "names a link preview, monitor or webhook", |f| {
        f.is_for(|purpose| !purpose.walks() && !purpose.is_for_audience())
    };
    ua_blink: UserAgent, "browser made of Chromium", |f| f.browser(|b| b.engine == Engine::Blink);
    ua_gecko: UserAgent, "browser made of Gecko", |f| f.browser(|b| b.engine == Engine::Gecko);
    ua_webkit: UserAgent, "browser made of WebKit", |f| f.browser(|b| b.engine == Engine::WebKit);
    ua_mobile: UserAgent, "browser's mobile edition", |f| f.browser(|b| b.mobile);
    ua_engine_version: UserAgent, "major version of Chromium or Gecko / 200; 0 for others", |f| {
        let versioned = |b: &Browser| matches!(b.engine, Engine::Blink | Engine::Gecko);
        f.agent.claim.browser().filter(versioned).map_or(0.0, |b| share(b.engine_version.into(), 200))
    };
    ua_length: UserAgent, "bytes / 512", |f| share(f.agent.shape.length, 512);
    ua_products: UserAgent, "products with a version / 16", |f| share(f.agent.shape.products.into(), 16);
    ua_comments: UserAgent, "groups in parentheses / 8", |f| share(f.agent.shape.comments.into(), 8);
    ua_flawed: UserAgent, "malformed: bare, template, unbalanced, control characters", |f| yes(f.agent.shape.flaw.is_some());
    headers_count: Headers, "fields that the client sent itself / 32", |f| share(f.fields.count, 32);
    accept: Headers, "Accept present", |f| present(f.fields.accept);
    accept_wildcard: Headers, "Accept is exactly */*", |f| yes(f.fields.accept == Some(b"*/*"));
    accept_html_first: Headers, "Accept starts with text/html", |f| starts(f.fields.accept, b"text/html");
    accept_image_first: Headers, "Accept starts with image/", |f| starts(f.fields.accept, b"image/");
    accept_xhtml: Headers, "Accept names application/xhtml+xml", |f| has(f.fields.accept, b"application/xhtml+xml");
    accept_modern_image: Headers, "Accept names image/webp or image/avif", |f| {
        has(f.fields.accept, b"image/webp").max(has(f.fields.accept, b"image/avif"))
    };
    accept_quality_values: Headers, "q-values in Accept / 8", |f| share(count(f.fields.accept, b";q="), 8);
    accept_language: Headers, "Accept-Language present", |f| present(f.fields.accept_language);
    accept_language_wildcard: Headers, "Accept-Language is exactly *", |f| yes(f.fields.accept_language == Some(b"*"));
    accept_languages: Headers, "languages in Accept-Language / 8", |f| share(members(f.fields.accept_language), 8);
    accept_language_region: Headers, "Accept-Language starts with a language and its region", |f| {
        yes(f.fields.accept_language.and_then(|text| text.get(2)) == Some(&b'-'))
    };
    accept_encoding: Headers, "Accept-Encoding present", |f| present(f.fields.accept_encoding);
    accept_encoding_gzip: Headers, "gzip accepted", |f| has(f.fields.accept_encoding, b"gzip");
    accept_encoding_deflate: Headers, "deflate accepted", |f| has(f.fields.accept_encoding, b"deflate");
    accept_encoding_br: Headers, "br accepted", |f| has(f.fields.accept_encoding, b"br");
    accept_encoding_zstd: Headers, "zstd accepted", |f| has(f.fields.accept_encoding, b"zstd");
    authorization: Headers, "Authorization present", |f| present(f.fields.authorization);
    cache_control: Headers, "Cache-Control or Pragma present", |f| {
        present(f.fields.cache_control).max(present(f.fields.pragma))
    };
    conditional: Headers, "If-None-Match or If-Modified-Since present", |f| {
        present(f.fields.if_none_match).max(present(f.fields.if_modified_since))
    };
    connection_close: Headers, "Connection: close", |f| has(f.fields.connection, b"close");
    connection_keep_alive: Headers, "Connection: keep-alive", |f| has(f.fields.connection, b"keep-alive");
    cookie: Headers, "Cookie present", |f| present(f.fields.cookie);
    from: Headers, "From present", |f| present(f.fields.from);
    origin: Headers, "Origin present", |f| present(f.fields.origin);
    priority: Headers, "Priority present", |f| present(f.fields.priority);
    privacy_wish: Headers, "DNT or Sec-GPC present", |f| present(f.fields.dnt).max(present(f.fields.sec_gpc));
    range: Headers, "Range present", |f| present(f.fields.range);
    referer: Headers, "Referer present", |f| present(f.fields.referer);
    sec_fetch_fields: Headers, "Sec-Fetch-Site, -Mode, -Dest, -User present / 4", |f| {
        let sent = [f.fields.sec_fetch_site, f.fields.sec_fetch_mode, f.fields.sec_fetch_dest, f.fields.sec_fetch_user];
        share(sent.iter().flatten().count(), 4)
    };
    sec_fetch_navigate: Headers, "Sec-Fetch-Mode is navigate", |f| yes(f.fields.sec_fetch_mode == Some(b"navigate"));
    te: Headers, "TE present", |f| present(f.fields.te);
    upgrade_insecure_requests: Headers, "Upgrade-Insecure-Requests present", |f| {
        present(f.fields.upgrade_insecure_requests)
    };
    x_requested_with: Headers, "X-Requested-With present", |f| present(f.fields.x_requested_with);
    client_hints: Consistency, "Sec-CH-UA, -Mobile, -Platform present / 3", |f| {
        let sent = [f.fields.sec_ch_ua, f.fields.sec_ch_ua_mobile, f.fields.sec_ch_ua_platform];
        share(sent.iter().flatten().count(), 3)
    };
    client_hints_agree: Consistency, "client hints agree with the user agent", |f| yes(f.hints == Agreement::Agree);
    client_hints_contradict: Consistency, "client hints contradict the user agent", |f| {
        yes(matches!(f.hints, Agreement::Contradict(_)))
    };
    fetch_metadata_lacking: Consistency, "browser that sends fetch metadata with such a request over TLS sends none over TLS", |f| {
        f.browser(|browser| headers::is_metadata_lacking(f.view, &f.fields, f.errand, browser))
    };
    fetch_metadata_odd: Consistency, "fetch metadata that no browser sends", |f| {
        yes(fetch_metadata::contradiction(&f.fields).is_some())
    };
    page_without_html: Consistency, "page that a browser GETs whose Accept names no HTML and that neither script, socket, medium nor prefetch asks for", |f| {
        let sent = &f.fields;
        let traces = [
            sent.origin, sent.purpose, sent.range, sent.sec_fetch_dest, sent.sec_purpose, sent.service_worker, sent.x_requested_with,
        ];
        let asked = !f.errand.has_usual_fields() || traces.iter().any(Option::is_some);
        let page = f.path_kind == path::Kind::Page && f.view.method == Method::GET;
        let lacking = page && !asked && has(sent.accept, b"text/html") == 0.0;
        f.browser(|_| lacking)
    };
    errand_bare: Path, "WebSocket handshake, CORS preflight or report, due with no more than the protocol asks for", |f| {
        yes(!f.errand.has_usual_fields())
    };
    method_get: Path, "GET", |f| yes(f.view.method == Method::GET);
    method_head: Path, "HEAD", |f| yes(f.view.method == Method::HEAD);
    method_post: Path, "POST", |f| yes(f.view.method == Method::POST);
    path_asset: Path, "names a part of a page or a download", |f| yes(f.path_kind == path::Kind::Asset);
    path_feed: Path, "names a feed", |f| yes(f.path_kind == path::Kind::Feed);
    path_depth: Path, "segments / 8", |f| share(path::depth(&f.view.path), 8);
    path_query: Path, "has a query", |f| yes(f.view.uri.query().is_some_and(|query| !query.is_empty()));
    http_old: Protocol, "HTTP/1.0 or older", |f| yes(f.view.version <= Version::HTTP_10);
    http_multiplexed: Protocol, "HTTP/2 or newer", |f| yes(f.view.version >= Version::HTTP_2);
    secure: Protocol, "over TLS", |f| yes(f.view.secure);
}

const fn yes(fact: bool) -> f32 {
    if fact { 1.0 } else { 0.0 }
}

const fn present(field: Option<&[u8]>) -> f32 {
    yes(field.is_some())
}

fn starts(field: Option<&[u8]>, prefix: &[u8]) -> f32 {
    yes(field.is_some_and(|text| text.starts_with(prefix)))
}

fn has(field: Option<&[u8]>, needle: &[u8]) -> f32 {
    yes(field.is_some_and(|text| fields::contains(bounded(text), needle)))
}

fn count(field: Option<&[u8]>, needle: &[u8]) -> usize {
    let text = bounded(field.unwrap_or_default());
    text.windows(needle.len())
        .filter(|part| *part == needle)
        .count()
}

fn members(field: Option<&[u8]>) -> usize {
    field.map_or(0, |text| {
        1 + bounded(text).iter().filter(|byte| **byte == b',').count()
    })
}

/// What fields say stands at their front; the rest of a long one costs time and adds nothing.
fn bounded(text: &[u8]) -> &[u8] {
    &text[..text.len().min(512)]
}

/// `number / full`, at most 1.
fn share(number: usize, full: u16) -> f32 {
    let number = u16::try_from(number).unwrap_or(u16::MAX).min(full);
    f32::from(number) / f32::from(full)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{COUNT, FEATURES, VERSION, extract, schema_hash};
    use crate::fixture::Request;

    const CHROME: &str = "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

    fn check(request: &Request, expected: &[(&str, f32)]) {
        let values = extract(&request.view());
        for (name, value) in expected {
            let at = FEATURES
                .iter()
                .position(|feature| feature.name == *name)
                .unwrap();
            assert!(
                (values[at] - value).abs() < 1e-6,
                "{name} is {}",
                values[at]
            );
        }
    }

    #[test]
    fn shape_of_a_request_becomes_numbers() {
        let brands = r#"Sec-CH-UA: "Chromium";v="126", "Google Chrome";v="126""#;
        let headers = [
            CHROME,
            brands,
            "Accept: text/html,application/xhtml+xml,image/avif;q=0.9,*/*;q=0.8",
            "Accept-Language: de-DE,de;q=0.9",
            "Accept-Encoding: gzip, deflate, br, zstd",
            "X-Forwarded-For: 192.0.2.1",
        ];
        check(
            &Request::new("GET /a/b.html?c=d", &headers).secure(),
            &[
                ("ua_browser", 1.0),
                ("ua_blink", 1.0),
                ("ua_engine_version", 0.63),
                ("ua_products", 0.25),
                ("headers_count", 5.0 / 32.0),
                ("accept_html_first", 1.0),
                ("accept_quality_values", 0.25),
                ("accept_languages", 0.25),
                ("accept_language_region", 1.0),
                ("accept_encoding_zstd", 1.0),
                ("client_hints", 1.0 / 3.0),
                ("client_hints_agree", 1.0),
                ("fetch_metadata_lacking", 1.0),
                ("page_without_html", 0.0),
                ("path_depth", 0.25),
                ("path_query", 1.0),
                ("secure", 1.0),
            ],
        );
        check(
            &Request::new(
                "POST /x",
                &["User-Agent: python-requests/2.32", "Accept: */*"],
            ),
            &[
                ("ua_http_library", 1.0),
                ("ua_browser", 0.0),
                ("accept_wildcard", 1.0),
                ("accept_language", 0.0),
                ("method_post", 1.0),
                ("fetch_metadata_lacking", 0.0),
                ("secure", 0.0),
            ],
        );
    }

    #[test]
    fn every_value_is_a_share() {
        let long = "a,/(;q=".repeat(5000);
        let headers: Vec<String> = ["User-Agent", "Accept", "Accept-Language", "Sec-CH-UA"]
            .iter()
            .map(|name| format!("{name}: {long}"))
            .chain((0..200).map(|number| format!("x-{number}: y")))
            .collect();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let target = format!("GET {}", "/a".repeat(1000));
        for request in [Request::new(&target, &headers), Request::new("GET /", &[])] {
            let values = extract(&request.view());
            assert!(
                values.iter().all(|value| (0.0..=1.0).contains(value)),
                "{values:?}"
            );
        }
    }

    #[test]
    fn schema_changes_only_with_its_version() {
        let names: HashSet<&str> = FEATURES.iter().map(|feature| feature.name).collect();
        assert_eq!((names.len(), COUNT), (FEATURES.len(), FEATURES.len()));
        // Whoever changes a feature raises `VERSION`, puts the new hash here and trains anew.
        assert_eq!(
            (VERSION, schema_hash().as_str()),
            (
                2,
                "a390d6abc006ab76c9115eeb776a897bf5cfbc71c361dcb8029cd363c0c7d22d"
            )
        );
    }
}

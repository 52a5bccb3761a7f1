//! What is known of the features before any data: which may count for a client, which against it,
//! and which must not count at all.
//!
//! A recording of some dozens of clients cannot teach a model what a browser that it does not hold
//! looks like. Left to itself a model learns that every Chromium that it was not shown is a
//! disguise, since the only others that say so are. So each feature that a model sees has a
//! direction, and no tree may turn it round (monotone constraints; Chen and Guestrin 2016 as in
//! XGBoost): a sign of a real browser never counts against the client that shows it, whatever else
//! it shows.

use thornwall_detectors::features::{FEATURES, Feature};

/// How a feature may move a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// A higher value may only lower the score.
    Falls,
    /// Either way: for tables that are not of our features.
    Free,
    /// A higher value may only raise the score.
    Rises,
}

/// The direction of a feature; `None` where models do not see it.
pub fn direction(feature: &Feature) -> Option<Direction> {
    let listed = |names: &[&str]| names.contains(&feature.name);
    if listed(AGAINST) {
        Some(Direction::Rises)
    } else if listed(FOR) {
        Some(Direction::Falls)
    } else {
        None
    }
}

/// The directions of all features, in order.
pub fn directions() -> Vec<Direction> {
    let direction = |feature| direction(feature).unwrap_or(Direction::Free);
    FEATURES.iter().map(direction).collect()
}

/// Families that models are judged by and never learn from: programs that drive a real browser, or
/// send exactly its fields, so that their requests, each looked at alone, are a person's own.
/// Whoever learns from them learns that browsers are scrapers; what gives them away is order, pace
/// and handshake, which a model of single requests does not see.
pub const NOT_TAUGHT: &[&str] = &["chromium-automation", "curl-impersonate"];

/// What may count against a client: what it admits to, what contradicts itself, and the claim that
/// makes signs of a browser due.
const AGAINST: &[&str] = &[
    "accept_language_wildcard",
    "client_hints_contradict",
    "fetch_metadata_odd",
    "page_without_html",
    "ua_ai_crawler",
    "ua_automation",
    "ua_browser",
    "ua_declared_bot",
    "ua_flawed",
    "ua_http_library",
    "ua_missing",
    "ua_scanner",
];

/// What may count for a client: what somebody who reads with it needs, or only browsers send.
const FOR: &[&str] = &[
    "accept",
    "accept_encoding",
    "accept_encoding_br",
    "accept_encoding_deflate",
    "accept_encoding_gzip",
    "accept_encoding_zstd",
    "accept_html_first",
    "accept_image_first",
    "accept_language",
    "accept_language_region",
    "accept_languages",
    "accept_modern_image",
    "accept_quality_values",
    "accept_xhtml",
    "authorization",
    "cache_control",
    "client_hints",
    "client_hints_agree",
    "conditional",
    "cookie",
    "errand_bare",
    "origin",
    "path_asset",
    "path_feed",
    "privacy_wish",
    "referer",
    "sec_fetch_fields",
    "sec_fetch_navigate",
    "ua_feed_reader",
    "ua_text_browser",
    "upgrade_insecure_requests",
    "x_requested_with",
];

/// What models are not shown.
#[cfg(test)]
const HIDDEN: &[&str] = &[
    // Other with HTTP/2, or behind a proxy or a content delivery network: a model that saw these
    // in a recording of plain HTTP/1.1 would take a browser behind one for a disguised library.
    "connection_close",
    "connection_keep_alive",
    "headers_count",
    "http_multiplexed",
    "http_old",
    "priority",
    "te",
    // Which browsers and versions the recording happens to hold.
    "ua_blink",
    "ua_comments",
    "ua_engine_version",
    "ua_gecko",
    "ua_length",
    "ua_mobile",
    "ua_products",
    "ua_webkit",
    // How the recorded site is built and what was asked of it.
    "method_get",
    "method_head",
    "method_post",
    "path_depth",
    "path_query",
    "range",
    // What says no more than that something is missing, and that something ought to be there: the
    // script of every page asks for anything, and proxies that end TLS take fetch metadata away.
    "accept_wildcard",
    "fetch_metadata_lacking",
    "secure",
    // Claims that have to be verified, and not weighed.
    "from",
    "ua_welcome_crawler",
    "ua_welcome_fetcher",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_has_one_place() {
        for feature in FEATURES {
            let places = [AGAINST, FOR, HIDDEN];
            let found = places
                .iter()
                .filter(|names| names.contains(&feature.name))
                .count();
            assert_eq!(found, 1, "{}", feature.name);
        }
        assert_eq!(AGAINST.len() + FOR.len() + HIDDEN.len(), FEATURES.len());
    }
}

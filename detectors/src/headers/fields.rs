//! The header fields that judging looks at, picked out in one pass.

use http::HeaderMap;

macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident = $name:literal,)+) => {
        /// The first value of each field that is present, as sent.
        #[derive(Debug, Clone, Copy, Default)]
        pub struct Fields<'a> {
            $($(#[$doc])* pub $field: Option<&'a [u8]>,)+
            /// Fields that the client itself sent: those that proxies on the way add are left out,
            /// so that the number does not depend on what stands in front.
            pub count: usize,
        }

        impl<'a> Fields<'a> {
            /// Picks the fields out of a request's headers.
            pub fn of(headers: &'a HeaderMap) -> Self {
                let mut fields = Self::default();
                for (name, value) in headers {
                    let slot = match name.as_str() {
                        $($name => &mut fields.$field,)+
                        name => {
                            fields.count += usize::from(!is_added_on_the_way(name));
                            continue;
                        }
                    };
                    fields.count += 1;
                    slot.get_or_insert(value.as_bytes());
                }
                fields
            }
        }
    };
}

fields! {
    /// Media types that the client takes.
    accept = "accept",
    /// Content encodings that it takes.
    accept_encoding = "accept-encoding",
    /// Languages that its user reads.
    accept_language = "accept-language",
    /// The method that a script would use at another origin.
    access_control_request_method = "access-control-request-method",
    /// Credentials.
    authorization = "authorization",
    /// How old an answer may be.
    cache_control = "cache-control",
    /// What becomes of the connection.
    connection = "connection",
    /// What the body is.
    content_type = "content-type",
    /// Cookies.
    cookie = "cookie",
    /// The wish not to be tracked.
    dnt = "dnt",
    /// The address of a robot's owner (RFC 9110 section 10.1.2).
    from = "from",
    /// A condition on the resource's date.
    if_modified_since = "if-modified-since",
    /// A condition on the resource's tag.
    if_none_match = "if-none-match",
    /// The origin of a request from a script or form.
    origin = "origin",
    /// The older form of `Cache-Control`.
    pragma = "pragma",
    /// How urgent the answer is (RFC 9218).
    priority = "priority",
    /// Reason why a page is fetched ahead, the older form of `Sec-Purpose`.
    purpose = "purpose",
    /// A part of the resource.
    range = "range",
    /// Where the link was.
    referer = "referer",
    /// Brands of the browser.
    sec_ch_ua = "sec-ch-ua",
    /// Whether the browser is a telephone's.
    sec_ch_ua_mobile = "sec-ch-ua-mobile",
    /// The browser's system.
    sec_ch_ua_platform = "sec-ch-ua-platform",
    /// What the answer will be used as.
    sec_fetch_dest = "sec-fetch-dest",
    /// How the request was made.
    sec_fetch_mode = "sec-fetch-mode",
    /// How the request's origin stands to its target's.
    sec_fetch_site = "sec-fetch-site",
    /// Whether a person set a navigation off.
    sec_fetch_user = "sec-fetch-user",
    /// The wish not to be sold.
    sec_gpc = "sec-gpc",
    /// Reason why a page is fetched ahead.
    sec_purpose = "sec-purpose",
    /// A WebSocket's opening handshake.
    sec_websocket_key = "sec-websocket-key",
    /// The version that it asks for.
    sec_websocket_version = "sec-websocket-version",
    /// The fetch of a service worker's script.
    service_worker = "service-worker",
    /// Transfer codings and trailers.
    te = "te",
    /// Another protocol on this connection.
    upgrade = "upgrade",
    /// A navigation that would rather be secure.
    upgrade_insecure_requests = "upgrade-insecure-requests",
    /// The client's name.
    user_agent = "user-agent",
    /// A script, or the Android application around a page.
    x_requested_with = "x-requested-with",
}

/// Fields that proxies and content delivery networks add to what the client sent.
fn is_added_on_the_way(name: &str) -> bool {
    const PREFIXES: &[&str] = &["x-forwarded-", "cf-", "x-amz-cf-", "cloudfront-", "fastly-"];
    const NAMES: &[&str] = &[
        "cdn-loop",
        "forwarded",
        "true-client-ip",
        "via",
        "x-real-ip",
        "x-request-id",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a field's text contains another, without regard to case; `needle` is lower case.
pub(crate) fn contains(text: &[u8], needle: &[u8]) -> bool {
    // The first octet alone rules nearly every place out.
    let may_start =
        |part: &[u8]| part.first().map(u8::to_ascii_lowercase) == needle.first().copied();
    text.windows(needle.len())
        .any(|part| may_start(part) && part.eq_ignore_ascii_case(needle))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::Fields;

    #[test]
    fn first_value_counts_and_proxies_do_not() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("accept", "a"),
            ("accept", "b"),
            ("x-forwarded-for", "192.0.2.1"),
            ("via", "1.1 cache"),
            ("x-own", "c"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let fields = Fields::of(&headers);
        assert_eq!((fields.accept, fields.count), (Some(&b"a"[..]), 3));
        assert_eq!(fields.cookie, None);
    }
}

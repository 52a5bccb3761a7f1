//! Fetch metadata (<https://w3c.github.io/webappsec-fetch-metadata/>): what browsers say about how
//! a request came to be.

use super::fields::Fields;
use crate::user_agent::{Browser, Engine, Family, Platform};

/// What is odd about a request's fetch metadata, if anything.
pub fn contradiction(fields: &Fields<'_>) -> Option<&'static str> {
    let (site, mode, dest) = (
        fields.sec_fetch_site,
        fields.sec_fetch_mode,
        fields.sec_fetch_dest,
    );
    if site.is_none() && mode.is_none() && dest.is_none() {
        return fields
            .sec_fetch_user
            .map(|_| "a person's navigation without its mode");
    }
    // Every browser that sends one sends both; the destination came two years later.
    let (Some(site), Some(mode)) = (site, mode) else {
        return Some("only a part of the fields");
    };
    if !matches!(
        site,
        b"cross-site" | b"none" | b"same-origin" | b"same-site"
    ) {
        return Some("an unknown site relation");
    }
    let navigates = mode == b"navigate";
    if fields.sec_fetch_user.is_some() && !navigates && mode != b"nested-navigate" {
        return Some("a person's navigation in another mode");
    }
    let part_of_page = matches!(
        dest,
        Some(b"audio" | b"font" | b"image" | b"script" | b"style" | b"track" | b"video")
    );
    if navigates && part_of_page {
        return Some("a navigation to a part of a page");
    }
    (mode == b"cors" && dest == Some(b"document")).then_some("a page asked for as by a script")
}

/// Whether this browser sends fetch metadata with every request over TLS.
///
/// Chrome since 80, Firefox since 90, Safari since 16.4; one version more where minor versions
/// matter. Forks, and WebKit elsewhere than at Apple, go by their own rules and are not held to it.
pub const fn is_expected(browser: Browser) -> bool {
    match browser.engine {
        _ if matches!(browser.family, Family::Other) => false,
        Engine::Blink => browser.engine_version >= 80,
        Engine::Gecko => browser.engine_version >= 90,
        Engine::Retired => false,
        Engine::WebKit => {
            matches!(browser.platform, Platform::Ios | Platform::MacOs)
                && browser.engine_version >= 17
        }
    }
}

/// Whether any of the fields is there.
pub const fn is_present(fields: &Fields<'_>) -> bool {
    fields.sec_fetch_site.is_some()
        || fields.sec_fetch_mode.is_some()
        || fields.sec_fetch_dest.is_some()
}

#[cfg(test)]
mod tests {
    use super::{Fields, contradiction};

    fn check(site: &str, mode: &str, dest: &str, user: &str, consistent: bool) {
        let given = |value: &'static [u8]| (!value.is_empty()).then_some(value);
        let leak = |text: &str| -> &'static [u8] { text.to_owned().leak().as_bytes() };
        let fields = Fields {
            sec_fetch_site: given(leak(site)),
            sec_fetch_mode: given(leak(mode)),
            sec_fetch_dest: given(leak(dest)),
            sec_fetch_user: given(leak(user)),
            ..Fields::default()
        };
        assert_eq!(
            contradiction(&fields).is_none(),
            consistent,
            "{site} {mode} {dest} {user}"
        );
    }

    #[test]
    fn combinations_that_browsers_send_pass() {
        check("", "", "", "", true);
        check("none", "navigate", "document", "?1", true);
        check("same-origin", "navigate", "iframe", "", true);
        check("same-origin", "no-cors", "image", "", true);
        check("cross-site", "cors", "font", "", true);
        check("same-origin", "cors", "empty", "", true);
        check("same-origin", "same-origin", "worker", "", true);
        check("same-origin", "websocket", "empty", "", true);
        check("none", "navigate", "empty", "", true);
        check("same-origin", "cors", "", "", true);
        check("same-origin", "navigate", "something-new", "", true);
    }

    #[test]
    fn combinations_that_no_browser_sends_are_noticed() {
        check("", "cors", "", "", false);
        check("same-origin", "", "document", "", false);
        check("elsewhere", "navigate", "document", "", false);
        check("none", "navigate", "image", "", false);
        check("none", "cors", "document", "", false);
        check("none", "cors", "empty", "?1", false);
        check("", "", "", "?1", false);
    }
}

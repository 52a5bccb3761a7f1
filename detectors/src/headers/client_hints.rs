//! User agent client hints (<https://wicg.github.io/ua-client-hints/>) beside the user agent.

use super::fields::Fields;
use crate::user_agent::{Browser, Engine, Platform};

/// How what the client hints say stands to what the user agent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// No hints, or none that can be compared.
    Absent,
    /// They agree.
    Agree,
    /// They do not: the remark says in what.
    Contradict(&'static str),
}

/// Compares the hints of a client that claims to be this browser with the claim.
pub fn compare(browser: Browser, fields: &Fields<'_>) -> Agreement {
    let checks = [
        fields.sec_ch_ua.map(|brands| brand(browser, brands)),
        fields
            .sec_ch_ua_mobile
            .map(|mobile| mobile_edition(browser, mobile)),
        fields
            .sec_ch_ua_platform
            .map(|platform| system(browser, platform)),
    ];
    checks
        .into_iter()
        .flatten()
        .fold(Agreement::Absent, |worst, check| match (worst, check) {
            (Agreement::Contradict(_), _) | (_, Agreement::Absent) => worst,
            _ => check,
        })
}

fn brand(browser: Browser, brands: &[u8]) -> Agreement {
    let Some(version) = chromium_version(brands) else {
        return Agreement::Absent;
    };
    if browser.engine != Engine::Blink {
        return Agreement::Contradict("a brand of Chromium from another engine");
    }
    agree(
        version == browser.engine_version,
        "another version of Chromium",
    )
}

/// The version of the brand `Chromium`, which every browser made of it lists.
fn chromium_version(brands: &[u8]) -> Option<u16> {
    const BRAND: &[u8] = b"\"Chromium\";v=\"";
    let at = brands.windows(BRAND.len()).position(|part| part == BRAND)?;
    let digits = brands[at + BRAND.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .take(4);
    Some(digits.fold(0, |number, digit| number * 10 + u16::from(digit - b'0')))
}

fn mobile_edition(browser: Browser, mobile: &[u8]) -> Agreement {
    let desktop = matches!(
        browser.platform,
        Platform::ChromeOs | Platform::MacOs | Platform::Windows
    );
    match mobile {
        b"?1" => agree(!desktop, "a telephone's edition on a desktop system"),
        b"?0" => agree(!browser.mobile, "a desktop edition on a telephone"),
        _ => Agreement::Absent,
    }
}

fn system(browser: Browser, platform: &[u8]) -> Agreement {
    let expected = match platform {
        b"\"Android\"" => Platform::Android,
        b"\"Chrome OS\"" | b"\"Chromium OS\"" => Platform::ChromeOs,
        b"\"Linux\"" => Platform::Linux,
        b"\"Windows\"" => Platform::Windows,
        b"\"iOS\"" => Platform::Ios,
        b"\"macOS\"" => Platform::MacOs,
        _ => return Agreement::Absent,
    };
    agree(browser.platform == expected, "another system")
}

const fn agree(same: bool, difference: &'static str) -> Agreement {
    if same {
        Agreement::Agree
    } else {
        Agreement::Contradict(difference)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{super::fields::Fields, Agreement, compare};
    use crate::user_agent::UserAgent;

    const WINDOWS: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
    const ANDROID: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36";
    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0";

    fn check(agent: &str, hints: &[(&'static str, &'static str)], agrees: Option<bool>) {
        let mut headers = HeaderMap::new();
        for &(name, value) in hints {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let browser = UserAgent::parse(agent).claim.browser().unwrap();
        let found = match compare(browser, &Fields::of(&headers)) {
            Agreement::Absent => None,
            Agreement::Agree => Some(true),
            Agreement::Contradict(_) => Some(false),
        };
        assert_eq!(found, agrees, "{agent} {hints:?}");
    }

    #[test]
    fn hints_are_held_against_the_user_agent() {
        let brands = r#""Chromium";v="126", "Not/A)Brand";v="24", "Google Chrome";v="126""#;
        check(WINDOWS, &[], None);
        check(WINDOWS, &[("sec-ch-ua", brands)], Some(true));
        check(
            ANDROID,
            &[("sec-ch-ua", brands), ("sec-ch-ua-mobile", "?1")],
            Some(true),
        );
        check(
            ANDROID,
            &[("sec-ch-ua-platform", "\"Android\"")],
            Some(true),
        );
        check(WINDOWS, &[("sec-ch-ua-platform", "\"Plan 9\"")], None);
        check(
            WINDOWS,
            &[("sec-ch-ua-platform", "\"Linux\""), ("sec-ch-ua", brands)],
            Some(false),
        );
        check(
            WINDOWS,
            &[("sec-ch-ua", r#""Chromium";v="120""#)],
            Some(false),
        );
        check(WINDOWS, &[("sec-ch-ua-mobile", "?1")], Some(false));
        check(ANDROID, &[("sec-ch-ua-mobile", "?0")], Some(false));
        check(FIREFOX, &[("sec-ch-ua", brands)], Some(false));
        check(
            WINDOWS,
            &[("sec-ch-ua", r#""Chromium";v="99999999""#)],
            Some(false),
        );
    }
}

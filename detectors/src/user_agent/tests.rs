//! Claims and shapes of user agents, real and made up.

use super::{Browser, Claim, Engine, Family, Flaw, LONGEST, Platform, Purpose, UserAgent};

fn check_browser(
    text: &str,
    family: (Family, u16),
    engine: (Engine, u16),
    platform: Platform,
    mobile: bool,
) {
    let expected = Browser {
        family: family.0,
        version: family.1,
        engine: engine.0,
        engine_version: engine.1,
        platform,
        mobile,
    };
    assert_eq!(
        UserAgent::parse(text).claim,
        Claim::Browser(expected),
        "{text}"
    );
}

#[test]
#[rustfmt::skip]
fn browsers_are_put_together() {
    check_browser("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        (Family::Chrome, 126), (Engine::Blink, 126), Platform::Windows, false);
    check_browser("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/127.0.0.0",
        (Family::Edge, 127), (Engine::Blink, 126), Platform::Windows, false);
    check_browser("Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
        (Family::Samsung, 25), (Engine::Blink, 121), Platform::Android, true);
    check_browser("Mozilla/5.0 (Linux; Android 13; SM-X200) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        (Family::Chrome, 126), (Engine::Blink, 126), Platform::Android, false);
    check_browser("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        (Family::Chrome, 126), (Engine::Blink, 126), Platform::ChromeOs, false);
    check_browser("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
        (Family::Firefox, 127), (Engine::Gecko, 127), Platform::Linux, false);
    check_browser("Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0",
        (Family::Firefox, 127), (Engine::Gecko, 127), Platform::Android, true);
    check_browser("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
        (Family::Safari, 17), (Engine::WebKit, 17), Platform::MacOs, false);
    check_browser("Mozilla/5.0 (iPhone; CPU iPhone OS 16_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0.6478.54 Mobile/15E148 Safari/604.1",
        (Family::Chrome, 126), (Engine::WebKit, 16), Platform::Ios, true);
    check_browser("Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/127.0 Mobile/15E148 Safari/605.1.15",
        (Family::Firefox, 127), (Engine::WebKit, 17), Platform::Ios, true);
    check_browser("Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
        (Family::InternetExplorer, 11), (Engine::Retired, 0), Platform::Windows, false);
    check_browser("Opera/9.80 (X11; Linux x86_64) Presto/2.12.388 Version/12.16",
        (Family::Opera, 9), (Engine::Retired, 0), Platform::Linux, false);
    check_browser("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15",
        (Family::Other, 17), (Engine::WebKit, 17), Platform::Linux, false);
    check_browser("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/99999999.0 Safari/537.36",
        (Family::Chrome, 9999), (Engine::Blink, 9999), Platform::Linux, false);
    check_browser("Mozilla/5.0 (Linux; Android 13; Spider 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
        (Family::Chrome, 124), (Engine::Blink, 124), Platform::Android, false);
    check_browser("Mozilla/5.0 (Linux; Android 8.0.0; Expanse) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/86.0.4240.99 Mobile Safari/537.36",
        (Family::Chrome, 86), (Engine::Blink, 86), Platform::Android, true);
}

#[test]
fn names_are_those_that_robots_txt_knows() {
    let check = |text: &str, claim: Claim, name: &str| {
        let agent = UserAgent::parse(text);
        assert_eq!((agent.claim, agent.name), (claim, name), "{text}");
    };
    check(
        "Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        Claim::AiCrawler,
        "GPTBot",
    );
    check(
        "Googlebot-Image/1.0",
        Claim::Program(Purpose::SearchEngine),
        "Googlebot-Image",
    );
    check(
        "Mozilla/5.0 (compatible; Yahoo! Slurp; http://x)",
        Claim::Program(Purpose::SearchEngine),
        "Slurp",
    );
    check("ExampleBot/1.0", Claim::DeclaredBot, "ExampleBot");
    check("Foo/1.0 (+https://foo.example/bot)", Claim::Unknown, "");
    check(
        "FooBot/1.0 (+https://foo.example)",
        Claim::DeclaredBot,
        "FooBot",
    );
    check(
        "Mozilla/5.0 (compatible; Foo-Crawler/1.0; +https://foo.example)",
        Claim::DeclaredBot,
        "Foo-Crawler",
    );
    check(
        "Mozilla/5.0 (Linux; Android 7.0;) AppleWebKit/537.36 Mobile Safari/537.36 (compatible; PetalBot;+https://x)",
        Claim::AiCrawler,
        "PetalBot",
    );
    check(
        "Sogou web spider/4.0",
        Claim::Program(Purpose::SearchEngine),
        "Sogou web spider",
    );
    check("curl/8.5.0", Claim::HttpLibrary, "curl");
    check("libcurl-agent/1.0", Claim::HttpLibrary, "libcurl-agent");
    check(
        "DAVx5/4.4 (dav4jvm; okhttp/4)",
        Claim::Program(Purpose::Sync),
        "DAVx5",
    );
    check("Own/4.4 (libcurl/8)", Claim::Unknown, "");
    check("", Claim::Missing, "");
    check(" \t ", Claim::Missing, "");
    check("+http", Claim::Unknown, "");
    check("my_Bot", Claim::DeclaredBot, "my_Bot");
}

#[test]
fn flaws_are_seen() {
    let check = |text: &[u8], flaw: Option<Flaw>| {
        let agent = UserAgent::parse_bytes(text);
        assert_eq!(agent.shape.flaw, flaw, "{}", text.escape_ascii());
    };
    check(b"Mozilla/5.0", Some(Flaw::Bare));
    check(b"Mozilla/4.0 (compatible;)", Some(Flaw::Bare));
    check(
        b"Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
        None,
    );
    check(
        b"Mozilla/5.0 (X11; Linux x86_64; rv:127.0 Gecko/20100101 Firefox/127.0",
        Some(Flaw::Unbalanced),
    );
    check(b"App)(1", Some(Flaw::Unbalanced));
    check(
        b"User-Agent: Mozilla/5.0 (X11) Firefox/127.0",
        Some(Flaw::Template),
    );
    check(b"{{ agent }}", Some(Flaw::Template));
    check(b"${jndi:ldap://x}", Some(Flaw::Template));
    check(b"'Mozilla/5.0'", Some(Flaw::Template));
    check(b"<agent>", Some(Flaw::Template));
    check(b"App %s", Some(Flaw::Template));
    check(b"App\x01", Some(Flaw::Control));
    check("Anwendung für Ämter/1.0".as_bytes(), None);
    check(b"App/1.0 100%", None);
}

#[test]
fn only_the_front_of_a_long_text_is_read() {
    let mut text = "x".repeat(LONGEST);
    text.push_str(" GPTBot");
    let agent = UserAgent::parse(&text);
    assert_eq!(
        (agent.claim, agent.shape.length),
        (Claim::Unknown, LONGEST + 7)
    );
}

mod purposes;

//! What heuristics make of real clients.

mod merits;
mod people;
mod predecessor;
mod programs;

use crate::{
    fixture::Request,
    signal::{Reason, Trail},
};

fn trail(request: &Request) -> Trail {
    let mut trail = Trail::default();
    super::judge(&request.view(), &mut |signal| trail.push(signal));
    trail
}

fn codes(trail: &Trail) -> Vec<&'static str> {
    trail
        .signals()
        .iter()
        .map(|signal| signal.reason.code())
        .collect()
}

#[test]
fn every_finding_is_found_and_listed() {
    let chrome = |version: u16| {
        format!(
            "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
        )
    };
    let (new, old) = (chrome(126), chrome(60));
    let requests = [
        Request::new("GET /a/b/c", &[&new]),
        Request::new("GET /", &[&old, "Accept: */*"]),
        Request::new(
            "GET /",
            &[
                &new,
                "Sec-CH-UA-Platform: \"Linux\"",
                "Sec-Fetch-Mode: cors",
            ],
        ),
        Request::new("GET /", &[&new]).secure(),
        Request::new("TRACE /.env", &[]),
        Request::new("GET /../x", &["User-Agent: GPTBot"])
            .with_robots("User-agent: *\nDisallow: /"),
        Request::new("GET /", &["User-Agent: HeadlessChrome"]),
        Request::new("GET /", &["User-Agent: AhrefsBot"]),
        Request::new("GET /", &["User-Agent: curl/8.5.0"]),
        Request::new("GET /", &["User-Agent: Mozilla/5.0"]),
        Request::new("GET /", &["User-Agent: sqlmap/1.7"]),
        Request::new("GET /", &["User-Agent: frobnicator"]),
        Request::new("GET /", &["User-Agent: Googlebot/2.1"]),
        Request::new("GET /", &["User-Agent: git/2.39.5"]),
    ];
    let mut found: Vec<Reason> = Vec::new();
    for request in &requests {
        found.extend(trail(request).signals().iter().map(|signal| signal.reason));
    }
    found.sort_by_key(|reason| reason.code());
    found.dedup();
    assert_eq!(found, super::FINDINGS);
}

#[test]
fn robots_are_held_to_robots_txt_and_nobody_else() {
    let file = "User-agent: Googlebot\nDisallow: /nogoogle\n\nUser-agent: *\nDisallow: /private\nAllow: /private/x?ok\n";
    let check = |target: &str, agent: &str, disobeys: bool| {
        let header = format!("User-Agent: {agent}");
        let request = Request::new(&format!("GET {target}"), &[&header]).with_robots(file);
        let found = codes(&trail(&request)).contains(&"robots.disallowed");
        assert_eq!(found, disobeys, "{target} {agent}");
    };
    check(
        "/private/a",
        "Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        true,
    );
    check(
        "/open",
        "Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        false,
    );
    check("/private/x?ok", "GPTBot", false);
    check("/open/../private/a", "GPTBot", true);
    check("//private/a", "ExampleBot/1.0", true);
    check("/robots.txt", "GPTBot", false);
    check("/private/a", "Googlebot/2.1", false);
    check("/nogoogle", "Googlebot-Image/1.0", true);
    check("/nogoogle", "GPTBot", false);
    check("/private/a", "Lynx/2.9.0", false);
    check("/private/a", "newsboat/2.34", false);
    check(
        "/private/a",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        false,
    );
    check(
        "/private/a",
        "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
        false,
    );
    check("/private/a", "curl/8.5.0", false);
}

/// Pieces that the parsers look for, put together at random: nothing panics, every number is a
/// share. The generator is the 64-bit one of Knuth's MMIX.
#[test]
fn nothing_that_is_sent_breaks_the_judge() {
    const PIECES: &[&str] = &[
        "Mozilla/5.0",
        " (",
        ")",
        "compatible;",
        "Android",
        "Chrome/",
        "99999999",
        "+http",
        "bot",
        "CUBOT",
        "%2e",
        "%",
        "%25",
        "..",
        "/",
        "//",
        "\\",
        ";",
        "?",
        "*/*",
        "*",
        "\u{e4}",
        "\t",
        " ",
        "GPTBot",
        "\"Chromium\";v=\"",
        "Version/",
        "OS 17_",
        ".env",
        "java/",
        "-",
        "{{",
        "%s",
        "\u{ff}",
        "$",
        "#",
        ":",
    ];
    let robots = "User-agent: *\nDisallow: /*%2e*$\nDisallow: *a*b*c\nAllow: \u{e4}";
    let mut state = 1_u64;
    let mut text = || {
        let mut text = String::new();
        for _ in 0..8 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text.push_str(PIECES[(state >> 33) as usize % PIECES.len()]);
        }
        text
    };
    for _ in 0..3000 {
        let target: String = text()
            .chars()
            .filter(|c| c.is_ascii_graphic() && !"\\{}\"".contains(*c))
            .collect();
        let headers: Vec<String> = [
            "User-Agent",
            "Accept",
            "Accept-Language",
            "Sec-CH-UA",
            "Sec-Fetch-Mode",
        ]
        .map(|name| format!("{name}: {}", text()))
        .into();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let request = Request::new(&format!("GET /{target}"), &headers)
            .with_robots(robots)
            .secure();
        let score = trail(&request).score();
        let features = crate::features::extract(&request.view());
        assert!((0.0..=1.0).contains(&score));
        assert!(features.iter().all(|value| (0.0..=1.0).contains(value)));
    }
}

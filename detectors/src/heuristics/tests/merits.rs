//! What counts for a client: a purpose that sites welcome, an address where its owner is reached,
//! and what a browser sends even where its name is taken away.

use super::{codes, trail};
use crate::fixture::Request;

/// Programs, robots, libraries and browsers, known and unknown.
const NAMES: &[&str] = &[
    "",
    "Example/1.0",
    "Mozilla/5.0",
    "Mozilla/5.0 (compatible; Example/1.0)",
    "Mozilla/5.0 (compatible; ExampleBot/1.0)",
    "ExampleBot/1.0",
    "example-crawler",
    "PriceChecker",
    "App)(1",
    "{{ agent }}",
    "git/2.39.5",
    "okhttp/4.12.0",
    "newsboat/2.34.0 (Linux x86_64)",
    "Googlebot/2.1",
    "AhrefsBot/7.0",
    "GPTBot/1.2",
    "python-requests/2.32.3",
    "Java/17.0.11",
    "node",
    "sqlmap/1.8.4",
    "Lynx/2.9.0 libwww-FM/2.14",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko; compatible; Example/1.0) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 QRScanner/1",
    "Mozilla/5.0 (Linux; Android 13; Spider 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
    "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 5.1; Trident/4.0)",
];

const CONTACTS: &[&str] = &[
    " (+https://site.example/bot.html)",
    " (+http://crawler.example)",
    " (compatible; +https://scanner.example/python)",
    " (bot@spider.example)",
    "; https://gptbot.example/",
    " +http://www.robot.example/",
    " www.checker.example",
];

const LINES: &[&str] = &[
    "GET /",
    "GET /a/b/c?d=e",
    "GET /private/x",
    "GET /wp-login.php",
    "GET /.env",
    "GET /i/a.png",
    "HEAD /a/b",
    "POST /xmlrpc.php",
    "PROPFIND /dav/",
    "TRACE /",
];

const HEADERS: &[&[&str]] = &[
    &[],
    &["Accept: */*"],
    &["Accept: */*", "Accept-Encoding: gzip", "Accept-Language: *"],
    &[
        "Accept: text/html",
        "Accept-Encoding: gzip",
        "Accept-Language: en",
    ],
    &[
        "Accept: text/html",
        "Sec-Fetch-Site: none",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Dest: document",
    ],
    &["Sec-CH-UA-Platform: \"Windows\"", "Sec-Fetch-Mode: cors"],
];

fn score(line: &str, agent: &str, headers: &[&str], secure: bool) -> (f32, Vec<&'static str>) {
    let agent = format!("User-Agent: {agent}");
    let headers = [&[agent.as_str()], headers].concat();
    let request = Request::new(line, &headers).with_robots("User-agent: *\nDisallow: /private/\n");
    let trail = trail(&if secure { request.secure() } else { request });
    (trail.score(), codes(&trail))
}

#[test]
fn a_contact_address_never_costs() {
    for name in NAMES {
        for (line, headers) in LINES
            .iter()
            .flat_map(|line| HEADERS.iter().map(move |headers| (line, headers)))
        {
            for secure in [false, true] {
                let (without, _) = score(line, name, headers, secure);
                for contact in CONTACTS {
                    let agent = format!("{name}{contact}");
                    let (with, found) = score(line, agent.trim(), headers, secure);
                    assert!(
                        with <= without,
                        "{with} > {without}: {line} {agent} {headers:?} {found:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_robot_that_can_be_reached_is_served_and_obeys_robots_txt() {
    let robot = "ExampleBot/1.0 (+https://robot.example)";
    assert!(score("GET /a", robot, &[], false).0 < 0.5);
    assert!(score("GET /a", "ExampleBot/1.0", &[], false).0 >= 0.5);
    let (forbidden, found) = score("GET /private/a", robot, &[], false);
    assert!(
        forbidden >= 0.5 && found.contains(&"robots.disallowed"),
        "{forbidden} {found:?}"
    );
    // Whoever has said what it is for in a way that most sites refuse gains nothing by an address.
    for name in ["GPTBot/1.2", "AhrefsBot/7.0", "sqlmap/1.8", "Scrapy/2.11"] {
        let reachable = format!("{name} (+https://robot.example)");
        assert_eq!(
            score("GET /a", &reachable, &[], false).0,
            score("GET /a", name, &[], false).0,
            "{name}"
        );
    }
}

/// Whatever an honest program of its kind asks for, and whatever it does not send.
#[test]
fn welcome_purposes_stay_below_the_first_rung() {
    #[rustfmt::skip]
    let programs = [
        "git/2.39.5", "Debian APT-HTTP/1.3 (2.6.1)", "docker/24.0.7 go/go1.20.10 UpstreamClient(Docker-Client/24.0.7 \\(linux\\))",
        "DAVx5/4.4-ose (dav4jvm; okhttp)", "Microsoft-WebDAV-MiniRedir/10.0.19045", "SVN/1.14.2 serf/1.3.9", "Microsoft Office Word 2014",
        "Dalvik/2.1.0 (Linux; U; Android 4.2.2; Andy C3.5EI Build/JDQ39", "ExampleApp/4.2 CFNetwork/1498.700.2 Darwin/23.6.0", "okhttp/4.12.0",
        "VLC/3.0.20 LibVLC/3.0.20", "AntennaPod/3.4.1", "newsboat/2.34.0", "HomeAssistant/2024.5.3 aiohttp/3.9.5 Python/3.12",
        "Mastodon/4.2.9 (http.rb/5.1.1; +https://mastodon.example/)", "Synapse/1.97.0", "Stripe/1.0 (+https://stripe.com/docs/webhooks)", "GitHub-Hookshot/a1b2c3d",
        "kube-probe/1.29", "Uptime-Kuma/1.23.13", "WhatsApp/2.23.20.0", "facebookexternalhit/1.1", "Amazon CloudFront", "W3C_Validator/1.3",
        "Googlebot/2.1 (+http://www.google.com/bot.html)", "ia_archiver", "YahooMailProxy; https://help.yahoo.com/", "Nextcloud Server Crawler", "KOReader/2024.04",
        // Unknown, and honest about it.
        "frobnicator", "Example/1.0", "Example/1.0 (+https://app.example)", "Partner/3.1 (https://partner.example; ops@partner.example)", "x",
    ];
    let lines = [
        "GET /",
        "GET /a/b/c?d=e",
        "HEAD /a",
        "OPTIONS *",
        "POST /hooks/pay",
        "PUT /dav/a.txt",
        "DELETE /dav/a.txt",
        "PROPFIND /dav/me/",
        "REPORT /calendars/me/",
        "MKCALENDAR /calendars/me/x",
        "LOCK /dav/a.docx",
        "MERGE /svn/!svn/act",
        "POST /xmlrpc.php",
        "PROPFIND /cgi-bin/dav",
    ];
    for (program, line) in programs
        .iter()
        .flat_map(|program| lines.map(|line| (program, line)))
    {
        for headers in HEADERS {
            let (score, found) = score(line, program, headers, true);
            assert!(
                score < 0.5,
                "{score} {line} {program} {headers:?} {found:?}"
            );
        }
    }
    // A file of this name may lie in a folder that is kept the same here and there.
    for line in [
        "PROPFIND /dav/me/project/.env",
        "PUT /dav/me/project/.git/config",
        "GET /project/.git/HEAD",
    ] {
        for program in ["DAVx5/4.4", "rclone/v1.60.1", "git/2.39.5"] {
            let (score, found) = score(line, program, &[], true);
            assert!(score < 0.5, "{score} {line} {program} {found:?}");
        }
    }
}

/// Privacy proxies take the name away, and an extension one field more.
#[test]
fn a_browser_without_its_name_is_served() {
    let page = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let metadata = [
        "Sec-Fetch-Site: none",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Dest: document",
        "Sec-Fetch-User: ?1",
    ];
    let negotiation = [
        page,
        "Accept-Language: de-DE,de;q=0.9",
        "Accept-Encoding: gzip, deflate, br",
    ];
    let check = |line: &str, headers: &[&str]| {
        let trail = trail(&Request::new(line, headers).secure());
        assert!(
            trail.score() < 0.5,
            "{} {line} {headers:?} {:?}",
            trail.score(),
            codes(&trail)
        );
    };
    for line in ["GET /", "GET /a/b/c?d=e", "POST /form"] {
        check(line, &negotiation);
        check(line, &[&negotiation[..], &metadata].concat());
        for missing in 0..negotiation.len() {
            let rest: Vec<&str> = (0..negotiation.len())
                .filter(|at| *at != missing)
                .map(|at| negotiation[at])
                .collect();
            check(line, &[&rest[..], &metadata].concat());
        }
    }
    // Scripts, images, sockets and preflights of such a page.
    let script = [
        "Accept: */*",
        "Accept-Language: de",
        "Accept-Encoding: gzip",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Mode: cors",
        "Sec-Fetch-Dest: empty",
    ];
    check("GET /app/data", &script);
    check(
        "GET /app/data",
        &[&script[..3], &["Referer: https://site.example/"]].concat(),
    );
    check(
        "OPTIONS /app/data",
        &[
            &script[..],
            &[
                "Origin: https://other.example",
                "Access-Control-Request-Method: PUT",
            ],
        ]
        .concat(),
    );
    check(
        "GET /i/a.png",
        &[
            "Accept: image/avif,image/webp,*/*;q=0.8",
            script[1],
            script[2],
        ],
    );
    check(
        "GET /live",
        &[
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            script[1],
            script[2],
        ],
    );
}

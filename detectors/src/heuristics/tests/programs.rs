//! Everything but browsers: what serves people stays below 0.50, what takes without asking does
//! not. Requests as the programs send them by default.

use std::ops::Range;

use super::{codes, trail};
use crate::fixture::Request;

const SERVED: Range<f32> = 0.0..0.5;
const THROTTLED: Range<f32> = 0.5..0.6;
const CHALLENGED: Range<f32> = 0.6..0.8;
const TARPITTED: Range<f32> = 0.8..0.95;
const DENIED: Range<f32> = 0.95..1.01;
const SLOWED: Range<f32> = 0.5..0.8;

fn check(line: &str, headers: &[&str], expected: Range<f32>) {
    let trail = trail(&Request::new(line, headers));
    let found = codes(&trail);
    assert!(
        expected.contains(&trail.score()),
        "{} {line} {headers:?} {found:?}",
        trail.score()
    );
}

#[test]
fn text_browsers_are_served() {
    #[rustfmt::skip]
    let browsers: &[&[&str]] = &[
        &["User-Agent: Lynx/2.9.0dev.12 libwww-FM/2.14 SSL-MM/1.4.1 GNUTLS/3.7.8", "Accept: text/html, text/plain, text/sgml, text/css, */*;q=0.01", "Accept-Encoding: gzip, compress, bzip2", "Accept-Language: en"],
        &["User-Agent: w3m/0.5.3+git20230121", "Accept: text/html, text/*;q=0.5, image/*", "Accept-Encoding: gzip, compress, bzip, bzip2, deflate, br", "Accept-Language: en;q=1.0"],
        &["User-Agent: Links (2.29; Linux 6.1.0-21-amd64 x86_64; GNU C 12.2; text)", "Accept: */*", "Accept-Language: en,*;q=0.1", "Accept-Encoding: gzip, deflate, br, zstd, bzip2, lzma, lzma2, lzip"],
        &["User-Agent: ELinks/0.16.1.1 (textmode; Linux 6.1.0-21-amd64 x86_64; 80x24-2)", "Accept: */*", "Accept-Encoding: br, bzip2, deflate, gzip, lzma, zstd", "Accept-Language: en"],
        &["User-Agent: Dillo/3.1.0", "Accept: text/*,image/*,*/*;q=0.2", "Accept-Encoding: gzip, deflate"],
        &["User-Agent: NetSurf/3.11 (Linux)", "Accept: */*"],
        &["User-Agent: edbrowse/3.8.0"],
        &["User-Agent: URL/Emacs Emacs/29.3 (PureGTK; x86_64-pc-linux-gnu)", "Accept: */*"],
        &["User-Agent: Emacs-w3m/1.4.632 w3m/0.5.3", "Accept: text/html"],
    ];
    for headers in browsers {
        for line in [
            "GET /",
            "GET /a/b/c?d=e",
            "POST /form",
            "GET /i/photo",
            "GET /wp-login.php",
        ] {
            check(line, headers, SERVED);
        }
    }
}

#[test]
fn feed_readers_are_served() {
    for agent in [
        "newsboat/2.34.0 (Linux x86_64)",
        "Liferea/1.15.6 (Linux; https://lzone.de/liferea/) AppleWebKit (KHTML, like Gecko)",
        "Feedly/1.0 (+https://feedly.com/poller.html; 16 subscribers; )",
        "Mozilla/5.0 (compatible; Miniflux/2.1.3; +https://miniflux.app)",
        "FreshRSS/1.24.0 (Linux; https://freshrss.org)",
        "Tiny Tiny RSS/24.05 (https://tt-rss.org/)",
        "Tiny Tiny RSS/1.11 (http://tt-rss.org/)",
        "Feedbin feed-id:1373711 - 142 subscribers",
        "NetNewsWire (RSS Reader; https://netnewswire.com/)",
        "Feedfetcher-Google; (+http://www.google.com/feedfetcher.html; 22 subscribers; feed-id=1)",
        "Mozilla/5.0 (compatible; inoreader.com; 14 subscribers)",
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.0",
        "UniversalFeedParser/4.2-pre-314-svn +http://feedparser.org/",
        "rss2email/3.14 (https://github.com/rss2email/rss2email)",
        "NewsBlur Feed Fetcher - 12 subscribers - http://www.newsblur.com/site/1/",
        "SomeNewReader/0.1 (RSS; +https://reader.example)",
        "Podcasts/1.2.3 CFNetwork/1498 Darwin/23.5.0",
        "AntennaPod/3.4.1",
        "AppleCoreMedia/1.0.0.21F90 (iPhone; U; CPU OS 17_5_1 like Mac OS X; en_us)",
        "VLC/3.0.20 LibVLC/3.0.20",
    ] {
        let agent = format!("User-Agent: {agent}");
        for line in [
            "GET /feed.xml",
            "GET /feed/",
            "GET /a/b/post",
            "HEAD /feed.xml",
        ] {
            check(line, &[&agent], SERVED);
            check(
                line,
                &[&agent, "Accept: */*", "Accept-Encoding: gzip, deflate"],
                SERVED,
            );
        }
    }
}

#[test]
fn applications_and_single_fetches_are_served() {
    for (line, agent) in [
        (
            "GET /api/1",
            "ExampleApp/4.2 CFNetwork/1498.700.2 Darwin/23.6.0",
        ),
        (
            "GET /api/1",
            "Dalvik/2.1.0 (Linux; U; Android 13; SM-G991B Build/TP1A.220624.014)",
        ),
        ("PUT /dav/a.txt", "Microsoft-WebDAV-MiniRedir/10.0.19045"),
        (
            "PROPFIND /dav/",
            "WebDAVFS/3.0.0 (03008000) Darwin/22.5.0 (x86_64)",
        ),
        (
            "GET /a",
            "Chef Client/10.18.2 (ruby-1.9.3-p327; ohai-6.16.0; x86_64-linux; python)",
        ),
        ("REPORT /calendars/me/", "DAVx5/4.4-ose (dav4jvm; okhttp)"),
        ("POST /xmlrpc.php", "wp-iphone/25.0 (iPhone15,2, iOS 17.5)"),
        (
            "POST /wp-cron.php?doing_wp_cron=1",
            "WordPress/6.5.4; https://site.example",
        ),
        (
            "POST /hooks/pay",
            "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        ),
        ("POST /hooks/push", "GitHub-Hookshot/a1b2c3d"),
        (
            "GET /",
            "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
        ),
        (
            "HEAD /",
            "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
        ),
        ("GET /", "Uptime-Kuma/1.23.13"),
        ("GET /", "kube-probe/1.29"),
        (
            "GET /a/b",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        ),
        (
            "GET /a/b",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
        ),
        (
            "GET /a/b",
            "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        ),
        ("GET /a/b", "WhatsApp/2.23.20.0"),
        ("GET /a/b", "TelegramBot (like TwitterBot)"),
        (
            "GET /a/b",
            "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
        ),
        (
            "GET /a/b",
            "Mastodon/4.2.9 (http.rb/5.1.1; +https://mastodon.example/)",
        ),
        (
            "GET /.well-known/acme-challenge/x",
            "Mozilla/5.0 (compatible; Let's Encrypt validation server; +https://www.letsencrypt.org)",
        ),
        (
            "GET /a",
            "Mozilla/5.0 (Linux; Android 11; moto g power (2022)) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/109.0.0.0 Mobile Safari/537.36 Chrome-Lighthouse",
        ),
        ("GET /", "Googlebot/2.1 (+http://www.google.com/bot.html)"),
        (
            "GET /a/b",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; +http://www.google.com/bot.html) Chrome/126.0.6478.61 Safari/537.36",
        ),
        ("GET /i.png", "Googlebot-Image/1.0"),
        (
            "GET /",
            "AdsBot-Google (+http://www.google.com/adsbot.html)",
        ),
        (
            "GET /",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36",
        ),
        (
            "GET /",
            "DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)",
        ),
        (
            "GET /",
            "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
        ),
        (
            "GET /",
            "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
        ),
        (
            "GET /",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.1 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
        ),
        (
            "GET /",
            "Mozilla/5.0 (compatible; archive.org_bot +http://archive.org/details/archive.org_bot)",
        ),
        (
            "GET /",
            "Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)",
        ),
    ] {
        check(line, &[&format!("User-Agent: {agent}")], SERVED);
    }
}

#[test]
fn who_says_what_it_is_gets_what_is_meant_for_it() {
    for (agent, expected) in [
        // AI crawlers and assistants.
        (
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.2; +https://openai.com/gptbot",
            TARPITTED,
        ),
        (
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
            TARPITTED,
        ),
        (
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)",
            TARPITTED,
        ),
        (
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot",
            TARPITTED,
        ),
        ("CCBot/2.0 (https://commoncrawl.org/faq/)", TARPITTED),
        (
            "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; Bytespider; spider-feedback@bytedance.com)",
            TARPITTED,
        ),
        (
            "meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
            TARPITTED,
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_10_1) AppleWebKit/600.2.5 (KHTML, like Gecko) Version/8.0.2 Safari/600.2.5 (Amazonbot/0.1; +https://developer.amazon.com/support/amazonbot)",
            TARPITTED,
        ),
        (
            "Mozilla/5.0 (compatible; OAI-SearchBot/1.0; +https://openai.com/searchbot)",
            TARPITTED,
        ),
        // Libraries and tools.
        ("curl/8.5.0", TARPITTED),
        ("Wget/1.21.4", TARPITTED),
        ("python-requests/2.32.3", TARPITTED),
        ("python-httpx/0.27.0", TARPITTED),
        ("Python/3.12 aiohttp/3.9.5", TARPITTED),
        ("Python-urllib/3.11", TARPITTED),
        ("Scrapy/2.11.2 (+https://scrapy.org)", TARPITTED),
        ("Go-http-client/1.1", TARPITTED),
        ("Java/17.0.11", TARPITTED),
        ("Java-http-client/21", TARPITTED),
        ("Mozilla/4.0 (Windows 10 10.0) Java/1.8.0_341", TARPITTED),
        ("Apache-HttpClient/4.5.14 (Java/17.0.11)", TARPITTED),
        ("libwww-perl/6.77", TARPITTED),
        (
            "Mozilla/5.0 (compatible; HTTrack 3.49; Linux x86_64)",
            TARPITTED,
        ),
        ("node", TARPITTED),
        (
            "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
            TARPITTED,
        ),
        ("undici", TARPITTED),
        ("axios/1.7.2", TARPITTED),
        ("got (https://github.com/sindresorhus/got)", TARPITTED),
        ("Ruby", TARPITTED),
        ("PHP/8.2", TARPITTED),
        ("Jakarta Commons-HttpClient/3.1", TARPITTED),
        ("GuzzleHttp/7", TARPITTED),
        ("reqwest/0.12", TARPITTED),
        ("PostmanRuntime/7.39.0", TARPITTED),
        (
            "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.4522",
            TARPITTED,
        ),
        // Automation.
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36",
            TARPITTED,
        ),
        (
            "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1",
            TARPITTED,
        ),
        // Scanners.
        ("sqlmap/1.8.4#stable (https://sqlmap.org)", DENIED),
        (
            "Mozilla/5.00 (Nikto/2.5.0) (Evasions:None) (Test:Port Check)",
            DENIED,
        ),
        (
            "Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)",
            DENIED,
        ),
        ("Mozilla/5.0 zgrab/0.x", DENIED),
        (
            "masscan/1.3 (https://github.com/robertdavidgraham/masscan)",
            DENIED,
        ),
        (
            "Mozilla/5.0 (compatible; CensysInspect/1.1; +https://about.censys.io/)",
            DENIED,
        ),
        // Other bots.
        (
            "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
            THROTTLED,
        ),
        (
            "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
            THROTTLED,
        ),
        (
            "Mozilla/5.0 (compatible; MJ12bot/v1.4.8; http://mj12bot.com/)",
            THROTTLED,
        ),
        (
            "Mozilla/5.0 (compatible; DotBot/1.2; +https://opensiteexplorer.org/dotbot)",
            THROTTLED,
        ),
        ("Mozilla/5.0 (compatible; SomeUnheardOfBot/1.0)", THROTTLED),
        ("my-crawler", THROTTLED),
    ] {
        check(
            "GET /a",
            &[&format!("User-Agent: {agent}")],
            expected.clone(),
        );
        let headers = [
            &format!("User-Agent: {agent}"),
            "Accept: */*",
            "Accept-Language: en",
        ];
        check("GET /a", &headers, expected);
    }
}

#[test]
fn borrowed_names_are_seen_through() {
    const CHROME: &str = "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
    const FIREFOX: &str =
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0";
    for agent in [CHROME, FIREFOX] {
        // requests, httpx and aiohttp; curl; Go; Node's fetch.
        let anything = "Accept: */*";
        for line in ["GET /", "GET /a/b/c"] {
            check(
                line,
                &[agent, "Accept-Encoding: gzip, deflate", anything],
                SLOWED,
            );
            check(
                line,
                &[agent, "Accept-Encoding: gzip, deflate, br", anything],
                SLOWED,
            );
            check(line, &[agent, anything], SLOWED);
            check(line, &[agent, "Accept-Encoding: gzip"], SLOWED);
            let node = [
                "Accept-Language: *",
                "Sec-Fetch-Mode: cors",
                "Accept-Encoding: gzip, deflate",
            ];
            check(line, &[agent, anything, node[0], node[1], node[2]], SLOWED);
        }
        check("GET /.env", &[agent, anything], CHALLENGED);
        check("GET /../../etc/passwd", &[agent, anything], TARPITTED);
        check("PROPFIND /", &[agent, anything], SERVED);
        let request = Request::new(
            "GET /",
            &[agent, "Accept-Encoding: gzip, deflate", anything],
        )
        .secure();
        assert!(
            trail(&request).score() >= 0.55,
            "{}",
            trail(&request).score()
        );
    }
}

#[test]
fn namelessness_counts() {
    check(
        "GET /",
        &[
            "Accept: text/html",
            "Accept-Language: en",
            "Accept-Encoding: gzip",
        ],
        SERVED,
    );
    let told = [
        "Accept: text/html",
        "Sec-Fetch-Site: none",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Dest: document",
    ];
    check(
        "GET /a/b/c",
        &[&told[..], &["Accept-Language: en"]].concat(),
        SERVED,
    );
    check(
        "GET /a/b/c",
        &[&told[..], &["Accept-Encoding: gzip"]].concat(),
        SERVED,
    );
    check(
        "GET /",
        &["Accept: text/html", "Sec-Fetch-Mode: navigate"],
        SLOWED,
    );
    check(
        "GET /",
        &["Accept: */*", "Accept-Encoding: gzip"],
        TARPITTED,
    );
    check("GET /", &[], TARPITTED);
    check("GET /", &["User-Agent: ", "Accept: */*"], TARPITTED);
    check("GET /", &["User-Agent:   "], TARPITTED);
    check("GET /", &["User-Agent: Mozilla/5.0"], SERVED);
    check(
        "GET /",
        &["User-Agent: Mozilla/4.0 (compatible;)", "Accept: */*"],
        SERVED,
    );
    check(
        "GET /",
        &[
            "User-Agent: User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
        ],
        CHALLENGED,
    );
    check("GET /", &["User-Agent: {{random_user_agent}}"], SERVED);
    check("GET /", &["User-Agent: x"], SERVED);
}

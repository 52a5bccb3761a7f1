//! Programs that the catalogue knows, unknown ones and nameless browsers in the pipeline that is
//! shipped.

use std::fs;

use crate::harness::{Gateway, Origin, Reply, root};

/// The shipped pipeline but for its list, and a trusted proxy, so that each program has an address of
/// its own.
fn shipped() -> String {
    let text = fs::read_to_string(root().join("etc/thornwall.toml")).unwrap();
    let pipeline = &text[text.find("\n[[pipeline]]\nname = \"standard\"").unwrap()..];
    let parts = pipeline.split("\n\n");
    let kept: Vec<&str> = parts
        .filter(|part| !part.contains("\nblocklist = "))
        .collect();
    let kept = kept.join("\n\n");
    assert!(
        ["\nheuristics = {}", "\nanomaly = {", "\ntarpit = 0.80"]
            .iter()
            .all(|part| kept.contains(part)),
        "the shipped pipeline looks different: {kept}"
    );
    format!(
        "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [tarpit]\ninterval_ms = 20\nmax_secs = 1\n\
         [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"standard\"\n{}",
        kept
    )
}

fn request(gateway: &Gateway, number: usize, line: &str, headers: &[&str]) -> Reply {
    let headers: String = headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    let length = if line.starts_with("POST") {
        "Content-Length: 0\r\n"
    } else {
        ""
    };
    gateway.send(&format!(
        "{line} HTTP/1.1\r\nHost: t.example\r\nX-Forwarded-For: 198.51.100.{number}\r\n\
         {headers}{length}Connection: close\r\n\r\n"
    ))
}

#[test]
fn known_programs_are_served_whatever_they_leave_out() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, &shipped());
    let programs: &[(&str, &str, &str)] = &[
        (
            "GET /repo.git/info/refs?service=git-upload-pack",
            "git/2.39.5",
            "version control: git/",
        ),
        (
            "GET /debian/dists/stable/InRelease",
            "Debian APT-HTTP/1.3 (2.6.1)",
            "package manager: debian apt",
        ),
        (
            "GET /simple/requests/",
            "pip/24.0 {\"installer\":{\"name\":\"pip\",\"version\":\"24.0\"}}",
            "package manager: pip/",
        ),
        (
            "GET /left-pad",
            "npm/10.2.4 node/v20.11.0 linux x64 workspaces/false",
            "package manager: npm/",
        ),
        (
            "GET /v2/",
            "docker/24.0.7 go/go1.20.10 os/linux arch/amd64",
            "package manager: docker",
        ),
        (
            "PROPFIND /dav/me/",
            "DAVx5/4.4-ose (dav4jvm; okhttp)",
            "synchronisation: davx5",
        ),
        (
            "OPTIONS /docs/a.docx",
            "Microsoft Office Existence Discovery",
            "office: ",
        ),
        (
            "GET /users/a",
            "Mastodon/4.2.9 (http.rb/5.1.1; +https://mastodon.example/)",
            "federation: mastodon",
        ),
        (
            "POST /hooks/pay",
            "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "webhook: stripe",
        ),
        (
            "GET /camera",
            "HomeAssistant/2024.5.3 aiohttp/3.9.5 Python/3.12",
            "home automation: homeassistant",
        ),
        ("GET /film", "VLC/3.0.20 LibVLC/3.0.20", "media player: "),
        (
            "GET /i/a",
            "Dalvik/2.1.0 (Linux; U; Android 13; SM-G991B Build/TP1A)",
            "application: dalvik",
        ),
        ("GET /a/b", "okhttp/4.12.0", "application: okhttp"),
        ("HEAD /", "Uptime-Kuma/1.23.13", "monitor: uptime-kuma"),
        ("GET /a/b/c", "WhatsApp/2.23.20.0", "link preview: whatsapp"),
        (
            "GET /a/b/c",
            "Googlebot/2.1 (+http://www.google.com/bot.html)",
            "search engine: googlebot",
        ),
    ];
    for (number, (line, agent, evidence)) in programs.iter().enumerate() {
        let agent = format!("User-Agent: {agent}");
        // More than the bucket of a throttled client holds.
        for turn in 0..70 {
            let reply = request(&gateway, number, line, &[&agent, "Accept: */*"]);
            assert_eq!(reply.status, 200, "{turn} {line} {agent} {}", reply.head);
            if turn == 0 {
                let decided = gateway.explain(reply.id());
                assert_eq!(decided["ruling"], "forward", "{line} {agent} {decided:#}");
                let shown = decided["signals"].to_string();
                assert!(shown.contains(evidence), "{evidence} is not in {decided:#}");
            }
        }
    }
}

#[test]
fn who_gives_no_purpose_is_judged_by_its_name_and_its_contact() {
    let gateway = Gateway::start(Origin::start().port, &shipped());
    let ruling = |number: usize, headers: &[&str]| {
        let reply = request(&gateway, number, "GET /a", headers);
        let decided = gateway.explain(reply.id());
        (
            decided["ruling"].clone(),
            decided["score"].as_f64().unwrap(),
        )
    };
    let check = |number: usize, agent: &str, expected: &str, score: std::ops::Range<f64>| {
        let found = ruling(number, &[&format!("User-Agent: {agent}"), "Accept: */*"]);
        assert!(
            found.0 == expected && score.contains(&found.1),
            "{agent} {found:?}"
        );
    };
    check(1, "Frobnicator/1.0", "forward", 0.1..0.5);
    check(
        2,
        "PartnerBot/1.0 (+https://partner.example)",
        "forward",
        0.1..0.5,
    );
    check(3, "PartnerBot/1.0", "forward", 0.5..0.6);
    check(
        4,
        "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
        "forward",
        0.5..0.6,
    );
    check(
        5,
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.2; +https://openai.com/gptbot",
        "tarpit",
        0.8..0.95,
    );
    check(6, "python-requests/2.32.3", "tarpit", 0.8..0.95);
    check(
        7,
        "sqlmap/1.8.4#stable (https://sqlmap.org)",
        "deny",
        0.99..1.0,
    );
    check(8, "meta-externalagent/1.1", "tarpit", 0.8..0.95);
    check(9, "facebookexternalhit/1.1", "forward", 0.0..0.5);
    // A privacy proxy took the name away; and a script that never had one.
    let browser = [
        "Accept: text/html",
        "Accept-Language: de",
        "Accept-Encoding: gzip",
    ];
    let nameless = ruling(10, &browser);
    assert!(nameless.0 == "forward" && nameless.1 < 0.5, "{nameless:?}");
    let script = ruling(11, &["Accept: */*"]);
    assert!(script.0 == "tarpit", "{script:?}");
}

//! RFC 9309's rules, and what real files make of them.

use super::{LONGEST, Robots, is_markup, with_disallow};

const FILE: &str = "\u{feff}User-agent: *  # everyone
Disallow: /private
Allow: /private/open
Sitemap: https://site.example/sitemap.xml

USER-AGENT: ExampleBot/1.0
user-agent : OtherBot
Crawl-delay: 10
Disallow: /
Allow: /welcome$

User-agent: FreeBot
Disallow:

User-agent: examplebot
Allow: /news
";

fn check(file: &str, agent: &str, path: &str, allowed: bool) {
    let robots = Robots::parse(file.as_bytes());
    assert_eq!(robots.allows(agent, path), allowed, "{agent} {path}");
}

#[test]
fn groups_are_found_and_merged() {
    check(FILE, "AnyBot", "/", true);
    check(FILE, "AnyBot", "/private/x", false);
    check(FILE, "AnyBot", "/private/open/x", true);
    check(FILE, "examplebot", "/private", false);
    check(FILE, "EXAMPLEBOT", "/news/1", true);
    check(FILE, "OtherBot", "/news/1", false);
    check(FILE, "OtherBot", "/welcome", true);
    check(FILE, "OtherBot", "/welcome/x", false);
    check(FILE, "FreeBot", "/private", true);
    check(FILE, "ExampleBot-Image", "/x", false);
    check(FILE, "Example", "/x", true);
    check(FILE, "", "/private", false);
    check(FILE, "OtherBot", "/robots.txt", true);
}

#[test]
fn longest_match_wins_and_allow_wins_a_tie() {
    let file = "User-agent: *\rDisallow: /page\rAllow: /page\rDisallow: /p/*/q\rAllow: /p/x\r";
    check(file, "a", "/page", true);
    check(file, "a", "/p/x/q", false);
    check(file, "a", "/p/x/r", true);
}

#[test]
fn odd_files_have_a_meaning() {
    check("", "a", "/", true);
    check("Disallow: /", "a", "/", true);
    check("<html>not a robots.txt: at all</html>", "a", "/", true);
    check("User-agent: a\nUser-agent: b\n", "a", "/", true);
    check(
        "User-agent: a\nSitemap: x\nUser-agent: b\nDisallow: /",
        "a",
        "/",
        false,
    );
    check("User-agent: a\r\nDisallow: /\r\n\r\n", "a", "/", false);
    check(
        "User-agent: a\nDisallow: /x\nUser-agent:\nDisallow: /",
        "a",
        "/",
        true,
    );
    let robots = Robots::parse(b"User-agent: \xff\nDisallow: /\nUser-agent: *\nDisallow: /\xff");
    assert!(!robots.allows("a", "/%FF"));
}

#[test]
fn what_lies_beyond_the_limit_is_not_read() {
    let rule = "User-agent: *\nDisallow: /a\nDisallow: /bcd\n";
    for cut in 0..20 {
        let padding = format!("#{}\n", "x".repeat(LONGEST - rule.len() + cut - 2));
        check(&(padding + rule), "a", "/b", true);
    }
    let padding = "#\n".repeat(LONGEST / 2);
    check(&(padding + rule), "a", "/a", true);
}

#[test]
fn added_rule_holds_for_every_group_and_changes_no_other() {
    let paths = [
        "/",
        "/private/x",
        "/private/open",
        "/news/1",
        "/welcome",
        "/x",
    ];
    let agents = ["AnyBot", "ExampleBot", "OtherBot", "FreeBot"];
    let late =
        "User-agent: OtherBot\n\n# nothing yet\nSitemap: x\nUser-agent: FreeBot\nDisallow: /x";
    for file in [
        FILE,
        late,
        "",
        "Disallow: /x\n",
        "User-agent: FreeBot",
        "# only this",
    ] {
        let edited = with_disallow(file, "/maze/");
        let (before, after) = (
            Robots::parse(file.as_bytes()),
            Robots::parse(edited.as_bytes()),
        );
        for agent in agents {
            for path in ["/maze/1", "/maze/a/news-and-more.html"] {
                assert!(!after.allows(agent, path), "{agent} {path} in {edited}");
            }
            for path in paths {
                assert_eq!(
                    before.allows(agent, path),
                    after.allows(agent, path),
                    "{agent} {path}"
                );
            }
        }
    }
}

#[test]
fn an_edited_file_fits_into_what_crawlers_read_and_still_closes_the_prefix() {
    let group = |n: usize| format!("User-agent: bot{n}\nAllow: /a{n}\n");
    let many: String = (0..40_000).map(group).collect();
    let padded = format!(
        "#{}\nUser-agent: *\nDisallow: /x\n",
        "x".repeat(LONGEST - 40)
    );
    let broad = format!("User-agent: *\nAllow: /*{}\n", "*".repeat(LONGEST / 2));
    let stars = format!("User-agent: *\nAllow: /{}\n", "*".repeat(2000)).repeat(500);
    for file in [many, padded, broad, stars] {
        let edited = with_disallow(&file, "/maze/");
        assert!(edited.len() <= LONGEST, "{}", edited.len());
        let after = Robots::parse(edited.as_bytes());
        for agent in ["bot0", "bot39999", "other"] {
            assert!(!after.allows(agent, "/maze/1"), "{agent}");
        }
    }
}

#[test]
fn pages_are_no_robots_txt_and_a_byte_order_mark_is_left_out() {
    assert!(is_markup(b"\xef\xbb\xbf \n<!doctype html>"));
    assert!(!is_markup(b"# a < b\nUser-agent: *"));
    assert!(!is_markup(b""));
    let edited = with_disallow("\u{feff}User-agent: a\nDisallow: /x\n", "/maze/");
    assert!(
        edited.starts_with("User-agent: a\nDisallow: /maze/\n"),
        "{edited}"
    );
}

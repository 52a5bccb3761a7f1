//! Whole documents, as a client reads them.

use std::{collections::HashSet, sync::Arc, time::Duration};

use crate::deception::{
    drip::{Chunk, Drip},
    links::{Links, Marked},
    pace::Pace,
    plan::Plan,
    random::Random,
};

/// A path of each format of text.
const TEXTS: &[&str] = &[
    "/", "/a.js", "/a.css", "/a.json", "/a.xml", "/a.txt", "/a.csv", "/a.svg",
];

fn links(secret: u8) -> Arc<Links> {
    Arc::new(Links::new(&[secret; 32], "shop"))
}

/// A pace that ends after about `chunks` chunks.
fn pace(chunks: u32) -> Pace {
    let interval = Duration::from_secs(1);
    Pace {
        interval,
        total: interval * chunks,
        ..Pace::default()
    }
}

fn drip(path: &str, pace: Pace) -> Drip {
    Plan::new(&links(1), path).drip(pace, 0)
}

fn content(drip: Drip) -> Vec<u8> {
    drip.flat_map(|chunk| chunk.bytes).collect()
}

fn text(path: &str, chunks: u32) -> String {
    String::from_utf8(content(drip(path, pace(chunks)))).unwrap()
}

/// The links of ours in a text, in the order of their appearance.
fn links_in(text: &str, links: &Links) -> Vec<String> {
    let rest_of = |(at, _)| &text[at..];
    let found = text.match_indices(links.prefix()).map(rest_of);
    let ends = |letter: char| letter.is_whitespace() || "\"<,".contains(letter);
    found
        .map(|rest| rest.split(ends).next().unwrap_or_default().to_owned())
        .collect()
}

/// Panics unless every tag that is opened is closed in turn.
fn assert_balanced(text: &str) {
    let mut open = Vec::new();
    for rest in text.split('<').skip(1) {
        let (tag, _) = rest.split_once('>').expect("a tag ends");
        let name = tag.split_whitespace().next().unwrap();
        match name.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed), "{text}"),
            None if tag.ends_with(['/', '?']) || ["!DOCTYPE", "meta"].contains(&name) => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?} left open in {text}");
}

#[test]
fn a_path_reads_the_same_on_every_visit() {
    for path in TEXTS.iter().chain(&["/a.png", "/a.zip"]) {
        let once = |secret: u8, connection: u64, path: &str, pace: &Pace| {
            let drip = Plan::new(&links(secret), path).drip(pace.clone(), connection);
            content(drip)
        };
        let usual = once(1, 0, path, &pace(60));
        assert_eq!(usual, once(1, 0, path, &pace(60)), "{path}");
        // Neither the connection nor the pace shows in the text, but for where it ends.
        let small = Pace {
            chunk_bytes: 7..=11,
            ..pace(400)
        };
        for other in [once(1, 1, path, &pace(60)), once(1, 2, path, &small)] {
            let shared = usual.len().min(other.len()) - 600;
            assert!(shared > 2000, "{path}: {} and {}", usual.len(), other.len());
            assert_eq!(usual[..shared], other[..shared], "{path}");
        }
        assert_ne!(
            usual[200..400],
            once(2, 0, path, &pace(60))[200..400],
            "{path}"
        );
        let neighbour = format!("/b{path}");
        assert_ne!(
            usual[200..400],
            once(1, 0, &neighbour, &pace(60))[200..400],
            "{path}"
        );
    }
}

#[test]
fn nothing_tells_who_is_writing() {
    for path in TEXTS {
        let text = text(path, 1000).to_lowercase();
        assert!(
            text.len() > 100_000 && text.is_ascii(),
            "{path}: {}",
            text.len()
        );
        for telling in [
            "thornwall",
            "tarpit",
            "trap",
            "bot",
            "deception",
            "honeypot",
            "maze",
            "rust",
            "fake",
        ] {
            assert!(!text.contains(telling), "{path} says {telling}");
        }
    }
}

#[test]
fn documents_are_whole_wherever_they_end() {
    let check = |chunks: u32| {
        let html = text("/", chunks);
        assert_balanced(&html);
        assert!(html.starts_with("<!DOCTYPE html>\n<html") && html.ends_with("</html>\n"));
        let feed = text("/feed.rss", chunks);
        assert_balanced(&feed);
        assert!(feed.starts_with("<?xml ") && feed.ends_with("</rss>\n"));
        let drawing = text("/a.svg", chunks);
        assert_balanced(&drawing);
        assert!(drawing.starts_with("<svg ") && drawing.ends_with("</svg>\n"));
        let json: Vec<serde_json::Value> = serde_json::from_str(&text("/a.json", chunks)).unwrap();
        assert!(json.iter().all(|entry| entry["path"].is_string()));
        for row in text("/a.csv", chunks).lines() {
            assert_eq!(row.splitn(6, ',').count(), 6, "{row}");
            assert_eq!(row.matches('"').count() % 2, 0, "{row}");
        }
        for path in ["/a.js", "/a.css"] {
            let code = text(path, chunks);
            assert_eq!(
                code.matches('{').count(),
                code.matches('}').count(),
                "{code}"
            );
            assert!(code.ends_with([';', '}', '\n']), "{code}");
        }
    };
    (0..40).for_each(check);
    check(500);
}

#[test]
fn pages_have_headings_paragraphs_and_many_links() {
    let html = text("/", 400);
    let count = |tag: &str| html.matches(tag).count();
    assert_eq!((count("<title>"), count("<h1>")), (1, 1));
    let (paragraphs, links) = (count("<p>"), count("<a href="));
    assert!(
        count("<h2>") > 5 && count("<ul>") > 3 && paragraphs > 30,
        "{html}"
    );
    // A link at least every ten chunks on average, and no more than there is text.
    assert!(
        (40..300).contains(&links),
        "{links} links, {paragraphs} paragraphs"
    );
}

#[test]
fn every_link_is_signed_and_leads_to_another_page() {
    let links = links(1);
    for path in ["/", "/a.js", "/a.json", "/a.xml", "/a.txt", "/a.csv"] {
        let text = text(path, 300);
        let found = links_in(&text, &links);
        assert!(found.len() > 15, "{path}: {}", found.len());
        let distinct: HashSet<&String> = found.iter().collect();
        assert_eq!(distinct.len(), found.len(), "{path}");
        for link in &found {
            assert_eq!(links.read(link), Some(Marked::Signed), "{path}: {link}");
        }
        let deeper = Plan::new(&links, &found[0]).drip(pace(300), 0);
        let deeper = String::from_utf8(content(deeper)).unwrap();
        let further = links_in(&deeper, &links);
        assert!(
            further.iter().all(|link| !distinct.contains(link)),
            "{path}"
        );
        assert!(!further.is_empty());
    }
}

#[test]
fn names_in_scripts_are_declared_once() {
    let script = text("/a.js", 500);
    let declared = script.lines().filter_map(|line| {
        let function = || line.strip_prefix("function ");
        let rest = line.strip_prefix("const ").or_else(function)?;
        rest.split([' ', '(']).next()
    });
    let names: Vec<&str> = declared.collect();
    let distinct: HashSet<&&str> = names.iter().collect();
    assert!(
        names.len() > 200 && distinct.len() == names.len(),
        "{names:?}"
    );
}

#[test]
fn binary_files_begin_as_such_and_go_on_as_noise() {
    let check = |path: &str, magic: &[u8]| {
        let bytes = content(drip(path, pace(100)));
        assert!(bytes.starts_with(magic), "{path}: {:x?}", &bytes[..16]);
        let zeros = bytes[100..].iter().filter(|&&byte| byte == 0).count();
        assert!(
            zeros < bytes.len() / 100,
            "{path}: {zeros} of {}",
            bytes.len()
        );
    };
    check("/a.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR");
    check("/a.jpg", b"\xff\xd8\xff\xe0");
    check("/a.gif", b"GIF89a");
    check("/a.webp", b"RIFF");
    check("/a.zip", b"PK\x03\x04");
    check("/a.gz", b"\x1f\x8b\x08");
    check("/a.pdf", b"%PDF-1.");
    check("/a.mp4", b"\x00\x00\x00\x20ftypisom");
    check("/a.sqlite", b"SQLite format 3\x00");
    check("/a.bin", b"");
}

#[test]
fn the_first_chunk_comes_at_once_and_the_last_in_time() {
    let check = |pace: Pace| {
        let chunks: Vec<Chunk> = drip("/", pace.clone()).collect();
        assert_eq!(chunks[0].after, Duration::ZERO);
        let head = String::from_utf8(chunks[0].bytes.to_vec()).unwrap();
        assert!(head.contains("<h1>"), "{head}");
        let spent: Duration = chunks.iter().map(|chunk| chunk.after).sum();
        assert_eq!(spent, pace.total);
        assert!(chunks.iter().all(|chunk| !chunk.bytes.is_empty()));
        if let [_, between @ .., _] = &*chunks {
            let fits = |chunk: &Chunk| pace.chunk_bytes.contains(&(chunk.bytes.len() as u16));
            assert!(between.iter().all(fits));
        }
        chunks.len()
    };
    let long = check(pace(1000));
    assert!(
        (900..=1100).contains(&long),
        "{long} waits of one interval on average"
    );
    assert_eq!(check(pace(0)), 1);
    let long_wait = Pace {
        interval: Duration::from_secs(3000),
        ..pace(60)
    };
    assert_eq!(check(long_wait), 2);
    let no_wait = Pace {
        interval: Duration::ZERO,
        total: Duration::from_millis(50),
        ..pace(0)
    };
    assert!(check(no_wait) < 80, "no wait is bounded too");
}

#[test]
fn visits_differ_in_rhythm() {
    let waits = |connection: u64| -> Vec<Duration> {
        let drip = Plan::new(&links(1), "/").drip(pace(50), connection);
        drip.map(|chunk| chunk.after).collect()
    };
    assert_eq!(waits(1), waits(1));
    assert_ne!(waits(1), waits(2));
}

#[test]
fn a_held_connection_takes_little_memory() {
    assert!(size_of::<Drip>() <= 192, "{}", size_of::<Drip>());
}

#[test]
fn any_path_is_answered() {
    let check = |path: &str| {
        let links = links(1);
        let _ = links.read(path);
        let chunks = Plan::new(&links, path).drip(pace(8), 0).count();
        assert!((4..40).contains(&chunks), "{path}");
    };
    for path in [
        "",
        ".",
        "..",
        "/",
        "//",
        "/.",
        "/%",
        "/%00",
        "/\0",
        "/\u{feff}",
        "*",
        "/a\r\nb: c",
        "/<script>alert(1)</script>",
        "/../../etc/passwd",
        "/.js",
        "/.",
        "/a..",
        "/\u{202e}gpj.exe",
        "http://other.example/a.png",
    ] {
        check(path);
    }
    check(&"/a".repeat(50_000));
    check(&".".repeat(50_000));
    let mut random = Random::new(17);
    let prefix = links(1).prefix().to_owned();
    for round in 0..300 {
        let length = random.below(80);
        let bytes: Vec<u8> = (0..length).map(|_| random.draw() as u8).collect();
        let path = String::from_utf8_lossy(&bytes);
        check(&path);
        if round % 3 == 0 {
            check(&format!("{prefix}{path}"));
        }
    }
}

#[test]
fn nothing_of_the_path_comes_back() {
    let html = text("/<b>marker</b>?marker", 50);
    assert!(!html.contains("marker"));
}

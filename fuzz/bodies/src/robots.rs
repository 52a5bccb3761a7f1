//! Any robots.txt can be asked about, and what crawlers are shown always forbids the prefix.

use thornwall_detectors::robots::{Robots, with_disallow};

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let text = text(bytes);
    let _ = Robots::parse(text.as_bytes()).allows("GPTBot", "/a/b?c");
    let shown = Robots::parse(with_disallow(text, "/notes-k3f2/").as_bytes());
    assert!(!shown.allows("SomeBot", "/notes-k3f2/x"));
}

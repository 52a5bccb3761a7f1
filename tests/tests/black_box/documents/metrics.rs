//! Metrics: what is registered is in the guide, with its type and its labels, and nothing else.

use std::{collections::BTreeSet, path::PathBuf};

use super::{assert_same, by_name, document, quoted};
use crate::{
    escalation::sidecar::Sidecar,
    harness::{CHROME, Origin, root, send},
    house::{files, read},
};

/// Our own sources: of the product, without tests.
fn sources() -> Vec<String> {
    let product = |path: &&PathBuf| {
        let inside = path.strip_prefix(root()).unwrap();
        let is_test = inside.ends_with("tests.rs")
            || inside
                .components()
                .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "fuzz");
        inside.components().any(|part| part.as_os_str() == "src") && !is_test
    };
    let code = |text: String| {
        text.split("\n#[cfg(test)]\nmod ")
            .next()
            .unwrap()
            .to_owned()
    };
    let files = files("rs");
    let found = files.iter().filter(product).map(|path| code(read(path)));
    found.collect()
}

/// Texts between quotes that begin with `start`, of all sources.
fn literals(start: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in sources() {
        for rest in text.split(&format!("\"{start}")).skip(1) {
            let end = rest.find(|c: char| !matches!(c, 'a'..='z' | '0'..='9' | '_'));
            let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
            assert!(
                after.starts_with('"'),
                "{start}{name} is not written whole: no test can find it"
            );
            found.insert(format!("{start}{name}"));
        }
    }
    found
}

#[test]
fn every_metric_is_documented() {
    let mut there = literals("thornwall_");
    // The usual name of a cookie that keeps a client with its server.
    assert!(there.remove("thornwall_server"));
    let guide = by_name(&document("guide/metrics.md"));
    let metrics = guide.keys().filter(|name| name.starts_with("thornwall_"));
    assert_same("metrics", metrics, &there);
    for (name, row) in guide {
        let counts = row.get(1).is_some_and(|kind| kind == "counter");
        assert_eq!(name.ends_with("_total"), counts, "{name}");
    }
}

#[test]
fn metrics_that_documents_name_are_there() {
    let there = literals("thornwall_");
    let mut unknown = Vec::new();
    for path in files("md") {
        // The log of changes names what was.
        if path.ends_with("CHANGELOG.md") {
            continue;
        }
        let text = read(&path);
        for rest in text.split("thornwall_").skip(1) {
            let end = rest.find(|c: char| !matches!(c, 'a'..='z' | '0'..='9' | '_'));
            let name = format!("thornwall_{}", &rest[..end.unwrap_or(rest.len())]);
            let series = ["_bucket", "_count", "_sum"].map(|end| name.strip_suffix(end));
            let is_series = series
                .into_iter()
                .flatten()
                .any(|name| there.contains(name));
            let is_module = rest.contains("::") && name == "thornwall_detectors";
            if !there.contains(&name) && !is_series && !is_module {
                unknown.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// Types and labels of what both programs serve are those of the guide.
#[test]
fn metrics_are_served_as_the_guide_says() {
    let sidecar = Sidecar::start("");
    let origin = Origin::start();
    let gateway = sidecar.gateway(origin.port, "{ score = [0.0, 1.0] }");
    gateway.get("/", CHROME);
    let metrics = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let guide = by_name(&document("guide/metrics.md"));
    for text in [send(gateway.admin, metrics).body, sidecar.metrics()] {
        let mut seen = 0;
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            let row = guide
                .get(name)
                .unwrap_or_else(|| panic!("{name} is not in the guide"));
            assert_eq!(row[1], kind, "{name}");
            let labels: BTreeSet<&str> = quoted(&row[2]).into_iter().collect();
            assert_eq!(served_labels(&text, name), labels, "{name}");
            seen += 1;
        }
        assert!(seen > 10, "{text}");
    }
}

/// Names of the labels of a family.
fn served_labels<'a>(text: &'a str, family: &str) -> BTreeSet<&'a str> {
    let mut labels = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with(family)) {
        let Some((name, rest)) = line.split_once('{') else {
            continue;
        };
        let own = ["", "_bucket", "_count", "_sum"].map(|end| format!("{family}{end}"));
        if own.iter().any(|own| own == name) {
            let values = rest.split("=\"");
            let names = values.filter_map(|part| part.rsplit(['{', ',', '"']).next());
            labels.extend(names.filter(|name| !name.is_empty() && !name.starts_with('}')));
        }
    }
    labels.remove("le");
    labels
}

//! What a file may say of services.

use std::fs;

use super::*;
use crate::config::{Config, ConfigFile, services};

#[test]
fn what_the_shipped_file_shows_as_examples_is_understood() {
    let text = include_str!("../../../../etc/sidecar.toml");
    // Alerts read their secrets at once, and have a test of their own.
    let (text, _) = text.split_once("# [[alert]]").unwrap();
    let shown = text.lines().map(|line| {
        let example = line.strip_prefix("# ").unwrap_or(line);
        let is_example = example.starts_with('[') || example.contains(" = ");
        if is_example { example } else { line }
    });
    let shown: Vec<&str> = shown.collect();
    // What the examples name need not be there.
    let config: Config = toml::from_str(&shown.join("\n")).unwrap();
    assert_eq!(services(&config).next(), None);
    let [known, generic] = &config.reputation[..] else {
        panic!("{:?}", config.reputation);
    };
    let limits = format!("{:?}", Limits::default());
    assert_eq!(format!("{:?}", known.limits.get_ref()), limits);
    assert_eq!((known.floor(), generic.floor()), (50.0, 50.0));
    let classifier = config.classifier.unwrap();
    assert_eq!(format!("{:?}", classifier.limits.get_ref()), limits);
    assert_eq!(
        classifier.most_weight.get_ref(),
        generic.most_weight.get_ref()
    );
}

#[test]
fn mistakes_about_services_are_told_with_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sidecar.toml");
    let check = |text: &str, expected: &[&str]| {
        fs::write(&path, text).unwrap();
        let said = ConfigFile::read(&path).unwrap_err().to_string();
        assert_eq!(said.lines().count(), expected.len(), "{said}");
        for (line, expected) in said.lines().zip(expected) {
            let place = line.strip_prefix(&format!("{}:", path.display()));
            assert!(
                place.is_some_and(|place| place.starts_with(expected)),
                "{line}"
            );
        }
    };
    let one = "[[reputation]]\nname = \"a\"\nkind = \"abuseipdb\"\n";
    check(one, &["2:8: `reputation.key_file`"]);
    let keyed = format!("{one}key_file = \"k\"\n");
    check(&format!("{keyed}{keyed}"), &["6:8: `reputation.name`"]);
    check(
        &format!("{keyed}score = \"/x\""),
        &["5:9: `reputation.score`"],
    );
    check(&format!("{keyed}floor = 101"), &["5:9: `reputation.floor`"]);
    check(
        &format!("{keyed}most_weight = 1.5"),
        &["5:15: `reputation.most_weight`"],
    );
    check(
        &format!("{keyed}limits = {{ timeout_secs = 31 }}"),
        &["5:10: `reputation.limits`"],
    );
    check(
        &format!("{keyed}limits = {{ per_week = 1 }}"),
        &["5:12: unknown key `per_week`"],
    );
    check(&format!("{keyed}kinds = 1"), &["5:1: unknown key `kinds`"]);
    let http = "[[reputation]]\nname = \"a\"\nkind = \"http\"\n";
    check(http, &["2:8: `reputation.address` is missing"]);
    let check_http = |more: &str, expected: &str| check(&format!("{http}{more}"), &[expected]);
    check_http(
        "address = \"https://a.example/\"",
        "4:11: `reputation.address`: expected `{address}`",
    );
    check_http(
        "address = \"http://a.example/{address}\"",
        "4:11: clear text",
    );
    check_http(
        "address = \"https://{address}.example/\"",
        "4:11: `{address}` stands",
    );
    let addressed = |more: &str| format!("address = \"https://a.example/{{address}}\"\n{more}");
    check_http(&addressed("score = \"x\""), "5:9: `reputation.score`");
    check_http(&addressed("full = 0.0"), "5:8: `reputation.full`");
    check_http(
        &addressed("key_header = \"a b\""),
        "5:14: `reputation.key_header`",
    );
    let classifier = "[classifier]\naddress = \"https://a.example/\"\n";
    check(
        &format!("{classifier}most_weight = -0.1"),
        &["3:15: `classifier.most_weight`"],
    );
    check(&format!("{classifier}format = \"x\""), &["3:10: "]);
    check(
        &format!("{classifier}[classifier.limits]\nmax_cached = 1"),
        &["3:1: `classifier.limits`"],
    );
    check(
        "[classifier]\naddress = \"ftp://a.example/\"",
        &["1:1: missing field `address`", "2:11: expected https://"],
    );
}

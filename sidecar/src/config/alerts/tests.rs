//! Mistakes in alerts, and the shipped examples.

use std::fs;

use super::*;
use crate::config::ConfigFile;

/// The mistakes in a file with these alerts, which has these files beside it.
fn complaint(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("key"), "k".repeat(32)).unwrap();
    fs::write(folder.join("short"), "hush-hush").unwrap();
    fs::write(folder.join("slack"), "https://hooks.example/hush-hush\n").unwrap();
    fs::write(folder.join("no-slack"), "http://hooks.example/hush-hush\n").unwrap();
    let path = folder.join("t.toml");
    fs::write(&path, text).unwrap();
    let error = ConfigFile::read(&path).err();
    let complaint = error.map_or_else(String::new, |error| error.to_string());
    assert!(!complaint.contains("hush-hush"), "{complaint}");
    complaint
}

#[test]
fn mistakes_are_named_at_their_lines() {
    let hook = "webhook = \"https://h.example\"\nsecret_file = \"key\"\n";
    let mail = "smtp = \"smtps://m.example\"\nfrom = \"a@b.example\"\nto = [\"a@b.example\"]\n";
    let check = |table: &str, expected: &[&str]| {
        let complaint = complaint(&format!("[admin]\n[[alert]]\n{table}"));
        assert_eq!(complaint.is_empty(), expected.is_empty(), "{complaint}");
        for words in expected {
            assert!(complaint.contains(words), "{complaint} / {words}");
        }
    };
    check(&format!("name = \"a\"\n{hook}"), &[]);
    check(&format!("name = \"a\"\n{mail}"), &[]);
    check("name = \"a\"\nslack_file = \"slack\"\n", &[]);
    check(hook, &[":2:1: ", "`alert.name` is \"\""]);
    check(
        &format!("name = \"a/b\"\n{hook}"),
        &[":2:1: ", "`alert.name` is \"a/b\""],
    );
    check(
        &format!("name = \"a\"\n{hook}[[alert]]\nname = \"a\"\n{hook}"),
        &[":6:1: ", "of its own"],
    );
    check("name = \"a\"\n", &[":2:1: ", "exactly one of"]);
    check(
        &format!("name = \"a\"\n{hook}{mail}"),
        &[":2:1: ", "exactly one of"],
    );
    check(
        &format!("name = \"a\"\n{hook}least = \"high\"\n"),
        &[":6:9: ", "`high`", "`tarpit`"],
    );
    check(
        &format!("name = \"a\"\n{hook}most_per_hour = 0\n"),
        &[":2:1: ", "most_per_hour"],
    );
    check(
        "name = \"a\"\nwebhook = \"https://h.example\"\nsecret_file = \"nowhere\"\n",
        &[":5:15: ", "nowhere: "],
    );
    check(
        "name = \"a\"\nwebhook = \"https://h.example\"\nsecret_file = \"short\"\n",
        &[":5:15: ", "32 characters"],
    );
    check(
        "name = \"a\"\nwebhook = \"https://h.example\"\n",
        &[":2:1: ", "`secret_file`"],
    );
    check(
        "name = \"a\"\nslack_file = \"no-slack\"\n",
        &[":4:14: ", "clear text"],
    );
    check(&format!("name = \"a\"\n{mail}user = \"u\"\n"), &["neither"]);
    check(
        &format!("name = \"a\"\n{mail}ca_file = \"key\"\n"),
        &[":7:11: ", "expected certificates"],
    );
    check(
        &format!("name = \"a\"\n{hook}from = \"a@b.example\"\n"),
        &["are for `smtp`"],
    );
    check(
        &format!("name = \"a\"\nbogus = 1\n{hook}"),
        &[":4:1: ", "unknown key `bogus`"],
    );
}

#[test]
fn the_examples_of_the_shipped_file_are_sound_and_show_every_key() {
    let shipped = include_str!("../../../../etc/sidecar.toml");
    let examples = shipped.split("# [[alert]]").skip(1);
    let examples: Vec<String> = examples
        .map(|example| {
            let lines = example
                .lines()
                .skip(1)
                .map_while(|line| line.strip_prefix("# "));
            lines.map(|line| format!("{line}\n")).collect()
        })
        .collect();
    assert_eq!(examples.len(), 3);
    let read: Vec<Alert> = examples
        .iter()
        .map(|text| toml::from_str(text).unwrap())
        .collect();
    for alert in &read {
        assert_eq!(alert.form(), None, "{}", alert.name);
        assert_eq!(alert.amounts(), None, "{}", alert.name);
    }
    // The first one shows all that has a default, at its default.
    let shown: toml::Table = examples[0].parse().unwrap();
    let default = Alert::default();
    let numbers = [
        ("dedup_secs", default.dedup_secs),
        ("digest_secs", default.digest_secs),
        ("most_per_hour", default.most_per_hour),
        ("retry_secs", default.retry_secs),
        ("timeout_secs", default.timeout_secs),
    ];
    for (key, value) in numbers {
        assert_eq!(shown[key].as_integer(), Some(value.into()), "{key}");
    }
    assert_eq!((read[0].least, read[0].sites.len()), (default.least, 0));
    let error = toml::from_str::<Alert>("bogus = 1")
        .unwrap_err()
        .to_string();
    let all = examples.concat();
    for key in error.split('`').skip(3).step_by(2) {
        assert!(all.contains(&format!("{key} = ")), "{key}");
    }
}

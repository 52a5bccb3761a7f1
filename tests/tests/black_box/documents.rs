//! Documents say what is there, all of it, and stay short.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::{
    harness::{Folder, Gateway, OPEN_SITE, command, root},
    house::{files, read},
};

mod guide;
mod metrics;

/// Most lines and words of each document. What does not fit belongs elsewhere: the README is read in three
/// minutes, the map of the house in ten.
const CAPS: [(&str, usize, usize); 14] = [
    ("ARCHITECTURE.md", 220, 1_800),
    ("BENCHMARKS.md", 130, 1_300),
    ("CHANGELOG.md", 120, 900),
    ("CONTRIBUTING.md", 100, 750),
    ("README.md", 110, 700),
    ("SECURITY.md", 130, 1_550),
    ("docs/configuration.md", 260, 1_350),
    ("docs/decisions.md", 250, 2_500),
    ("docs/glossary.md", 100, 850),
    ("docs/guide.md", 230, 2_150),
    ("docs/guide/limits.md", 105, 950),
    ("docs/guide/metrics.md", 220, 2_000),
    ("docs/guide/reasons.md", 125, 1_350),
    ("docs/guide/sidecar.md", 90, 700),
];

/// Most characters of a line, but for rows of tables, which no line break can be in.
const WIDEST: usize = 100;

/// Documents whose lines are of another width, or that a program writes.
const WIDE: [&str; 2] = ["BENCHMARKS.md", "SECURITY.md"];

#[test]
fn documents_stay_short() {
    let capped: BTreeSet<&str> = CAPS.iter().map(|(name, ..)| *name).collect();
    let mut offenders = Vec::new();
    for path in files("md") {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        if (!name.contains('/') || name.starts_with("docs/")) && !capped.contains(name) {
            offenders.push(format!("{name}: has no cap"));
        }
    }
    for (name, most_lines, most_words) in CAPS {
        let text = read(&root().join(name));
        let (lines, words) = (text.lines().count(), words(&text));
        if lines > most_lines || words > most_words {
            offenders.push(format!(
                "{name}: {lines} lines and {words} words; expected at most {most_lines} and {most_words}"
            ));
        }
        let too_wide = |line: &&str| line.chars().count() > WIDEST && !line.starts_with('|');
        for line in text.lines().filter(too_wide) {
            if !WIDE.contains(&name) {
                offenders.push(format!("{name}: wider than {WIDEST}: {line}"));
            }
        }
    }
    assert!(offenders.is_empty(), "{offenders:#?}");
}

/// What has a letter or a digit in it, between spaces.
fn words(text: &str) -> usize {
    let is_word = |word: &&str| word.contains(char::is_alphanumeric);
    text.split_whitespace().filter(is_word).count()
}

#[test]
fn links_lead_to_what_is_there() {
    let mut broken = Vec::new();
    for path in files("md") {
        let text = read(&path);
        let links = text.split("](").skip(1);
        for link in links.filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let is_ours = !link.contains("://") && !file.is_empty();
            if is_ours && !path.parent().unwrap().join(file).exists() {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn files_that_documents_name_are_there() {
    let sources: Vec<String> = files("rs")
        .iter()
        .map(|path| format!("/{}", path.strip_prefix(root()).unwrap().display()))
        .collect();
    let mut gone = Vec::new();
    for path in files("md") {
        let text = read(&path);
        let names = quoted(&text)
            .into_iter()
            .filter(|name| name.ends_with(".rs") && !name.contains(['*', ' ', '\n']));
        for name in names {
            if !sources
                .iter()
                .any(|file| file.ends_with(&format!("/{name}")))
            {
                gone.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(gone.is_empty(), "{gone:#?}");
}

/// A document of `docs/`.
fn document(name: &str) -> String {
    read(&root().join("docs").join(name))
}

/// The part of a document below a heading of the second level.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let below = text.split(&format!("\n## {heading}\n")).nth(1);
    let below = below.unwrap_or_else(|| panic!("no section {heading}"));
    below.split("\n## ").next().unwrap_or_default()
}

/// Rows of tables, as their cells; a `|` in a cell is written `\|`.
fn rows(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let cells = |row: &str| -> Vec<String> {
        let row = row.trim_matches('|').replace("\\|", "\u{1}");
        let cell = |cell: &str| cell.trim().replace('\u{1}', "|");
        row.split('|').map(cell).collect()
    };
    rows.map(cells).collect()
}

/// Texts in backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// First texts in backticks of each row's first cell, with the row. Each stands there once.
fn by_name(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut named = BTreeMap::new();
    for row in rows(text) {
        let Some(name) = quoted(&row[0]).first().map(|name| (*name).to_owned()) else {
            continue;
        };
        let before = named.insert(name.clone(), row);
        assert!(before.is_none(), "{name} is there twice");
    }
    named
}

fn assert_same<'a>(
    what: &str,
    documented: impl IntoIterator<Item = &'a String>,
    there: &BTreeSet<String>,
) {
    let documented: BTreeSet<String> = documented.into_iter().cloned().collect();
    let missing: Vec<_> = there.difference(&documented).collect();
    let gone: Vec<_> = documented.difference(there).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "{what}: not documented: {missing:?}; documented and not there: {gone:?}"
    );
}

#[test]
fn the_examples_of_the_configuration_are_sound() {
    let text = document("configuration.md");
    assert!(text.matches("```toml\n").count() >= 6);
    examples_are_sound(&text);
}

/// Tables that stand in every pipeline or filter, by the heading that explains them.
#[test]
fn every_key_of_a_pipeline_is_explained() {
    let text = document("configuration.md");
    let explained = |from: &str| -> Vec<String> {
        let below = text.split(from).nth(1).expect("the heading");
        let below = below.split("\n#").next().unwrap();
        let first_cells = rows(below).into_iter().map(|row| row[0].clone());
        let names = first_cells.filter_map(|cell| quoted(&cell).first().map(ToString::to_string));
        names.collect()
    };
    let filter = "[[pipeline.filter]]\nname = \"f\"\nheuristics = {}\n";
    for (heading, table) in [
        ("### when", format!("{filter}when = {{ bogus = 1 }}\n")),
        ("### decide", format!("{filter}decide = {{ bogus = 1 }}\n")),
        ("## The ladder", "[pipeline.ladder]\nbogus = 1\n".to_owned()),
        (
            "## The slower rate",
            "[pipeline.throttle]\nbogus = 1\n".to_owned(),
        ),
    ] {
        let (code, told) = check(&Folder::new(), &table);
        assert_eq!(code, Some(2), "{told}");
        let line = told.lines().find(|line| line.contains("`bogus`"));
        let line = line.unwrap_or_else(|| panic!("{told}"));
        let keys = line.split('`').skip(3).step_by(2).map(str::to_owned);
        assert_same(
            heading,
            &explained(&format!("\n{heading}\n")),
            &keys.collect(),
        );
    }
}

/// What `thornwall check` says of this, behind a listener, an upstream `o` and a site with an empty pipeline.
fn check(folder: &Folder, text: &str) -> (Option<i32>, String) {
    let text = Gateway::toml(18_083, 19_183, 9, &format!("{OPEN_SITE}{text}"));
    command(&["check"], &folder.write("t.toml", &text))
}

/// Has `thornwall check` look at each example.
pub(crate) fn examples_are_sound(text: &str) {
    let folder = Folder::new();
    let lists = folder.write("t.toml", "").with_file_name("lists");
    fs::create_dir_all(&lists).unwrap();
    fs::write(lists.join("deny.txt"), "192.0.2.1\n").unwrap();
    for example in text.split("```toml\n").skip(1) {
        let example = example.split("```").next().unwrap();
        let (code, told) = check(&folder, example);
        assert_eq!(code, Some(0), "{example}{told}");
    }
}

#[test]
fn tests_that_security_names_are_there() {
    let text = read(&root().join("SECURITY.md"));
    let all: Vec<String> = files("rs").iter().map(|path| read(path)).collect();
    let keys = read(&root().join("etc/thornwall.toml"));
    let is_test = |name: &&str| name.matches('_').count() >= 3 && !name.contains('.');
    let gone: Vec<&str> = quoted(&text)
        .into_iter()
        .filter(is_test)
        .filter(|name| {
            name.chars()
                .all(|c| c.is_ascii_lowercase() || "_0123456789".contains(c))
        })
        .filter(|name| {
            let function = format!("fn {name}(");
            !keys.contains(&format!("{name} = "))
                && !all.iter().any(|file| file.contains(&function))
        })
        .collect();
    assert!(gone.is_empty(), "{gone:?}");
}

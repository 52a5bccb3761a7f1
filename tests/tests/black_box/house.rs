//! The house as `ARCHITECTURE.md` draws it, and its measures.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    documents::examples_are_sound,
    harness::{Folder, root, thornwall},
};

/// Files longer than this hide something.
const LONGEST_FILE: usize = 500;
/// Functions longer than this do more than one thing.
const LONGEST_FUNCTION: usize = 60;

pub(crate) fn files(extension: &str) -> Vec<PathBuf> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            &format!("*.{extension}"),
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let listed = String::from_utf8(output.stdout).unwrap();
    listed
        .lines()
        .map(|line| root().join(line))
        .filter(|path| path.exists())
        .collect()
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn files_and_functions_stay_short() {
    let mut offenders = Vec::new();
    let sources = files("rs");
    assert!(
        sources.len() > 30,
        "only {} files were found",
        sources.len()
    );
    // What is made from the contract is nobody's hand.
    let made = |path: &PathBuf| path.starts_with(root().join("proto/src/generated"));
    for path in sources.into_iter().filter(|path| !made(path)) {
        let text = read(&path);
        let name = path.strip_prefix(root()).unwrap().display();
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            offenders.push(format!("{name}: {lines} lines"));
        }
        // Tests are tables of cases, which are as long as there are cases.
        let is_test =
            path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests");
        let code = text.split("\n#[cfg(test)]").next().filter(|_| !is_test);
        for (function, lines) in functions(code.unwrap_or_default()) {
            if lines > LONGEST_FUNCTION {
                offenders.push(format!("{name}: {function}: {lines} lines"));
            }
        }
        if !text.starts_with("//!") {
            offenders.push(format!("{name}: does not begin by saying what it is"));
        }
    }
    assert!(offenders.is_empty(), "{offenders:#?}");
}

/// Names and lengths of functions, told by indentation, which `cargo fmt --check` holds.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let words: Vec<&str> = code.split(' ').take_while(|word| *word != "fn").collect();
        let modifiers = [
            "pub",
            "pub(crate)",
            "pub(super)",
            "const",
            "async",
            "unsafe",
        ];
        let is_function = words.iter().all(|word| modifiers.contains(word)) && code.contains("fn ");
        if !is_function {
            continue;
        }
        let closing = format!("{}}}", &line[..line.len() - code.len()]);
        let end = lines[at..].iter().position(|line| *line == closing);
        let one_line = code.ends_with(';') || code.ends_with('}');
        if let (Some(length), false) = (end, one_line) {
            found.push((code.to_owned(), length + 1));
        }
    }
    found
}

#[test]
fn functions_are_measured() {
    let text = "impl A {\n    pub async fn a() {\n        b();\n    }\n}\nfn c() {}\n";
    assert_eq!(functions(text), [("pub async fn a() {".to_owned(), 3)]);
}

#[test]
fn crates_import_only_what_the_table_allows() {
    let allowed = crate_table();
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let Some((ours, never)) = allowed.get(name) else {
            panic!("{name} is not in the crate table of ARCHITECTURE.md");
        };
        seen.insert(name.to_owned());
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            let test_only = dependency["kind"] == "dev";
            assert!(
                !used.starts_with("thornwall-") || ours.contains(used) || test_only,
                "{name} imports {used}, which the table does not allow"
            );
            assert!(
                !never.contains(used),
                "{name} imports {used}, which the table forbids"
            );
        }
    }
    let listed: BTreeSet<String> = allowed.into_keys().collect();
    assert_eq!(seen, listed, "the crate table names what is not there");
}

/// Rows `| crate | is | may import of ours | never |` of `ARCHITECTURE.md`.
fn crate_table() -> BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> {
    let text = read(&root().join("ARCHITECTURE.md"));
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| `thornwall-"));
    let names = |cell: &str| -> BTreeSet<String> {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let table: BTreeMap<_, _> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
            let [name, _, ours, never] = cells.as_slice() else {
                panic!("not four cells: {row}");
            };
            let name = names(name).into_iter().next().unwrap();
            (name, (names(ours), names(never)))
        })
        .collect();
    assert!(table.len() >= 5, "{table:?}");
    table
}

/// What `tests/floors` says about the modules of the tree at `root`, and whether it is content.
fn floors(tree: &Path) -> (bool, String) {
    let output = Command::new(root().join("tests/floors"))
        .arg("--check")
        .arg(tree)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn rooms_import_only_lower_floors() {
    let (holds, said) = floors(&root());
    assert!(holds, "{said}");
}

#[test]
fn an_import_of_a_higher_floor_is_found() {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("a/src/low")).unwrap();
    folder.write("Cargo.toml", "[workspace]\nmembers = [\"a\"]\n");
    let table =
        "### Floors of `a/`\n\n| floor | rooms |\n|---|---|\n| 0 | `low` |\n| 1 | `high` |\n";
    folder.write("ARCHITECTURE.md", table);
    folder.write("a/src/lib.rs", "mod high;\nmod low;\n");
    folder.write("a/src/high.rs", "use crate::low::{deep::*, Low};\n");
    folder.write("a/src/low.rs", "mod deep;\npub struct Low;\n");
    let sound = "// crate::high\n#[cfg(test)]\nmod tests {\n    use crate::high::High;\n}\n";
    let check = |deep: &str, expected: &str| {
        folder.write("a/src/low/deep.rs", deep);
        let (holds, said) = floors(folder.path());
        assert_eq!(holds, expected.is_empty(), "{deep}\n{said}");
        assert!(said.contains(expected), "{deep}\n{said}");
    };
    check(sound, "");
    let climbs = "a/src/low/deep.rs: `low` (floor 0) imports high (floor 1)";
    check(
        "use super::Low;\nuse crate::{low::Low as Other, high};\n",
        climbs,
    );
    check("fn a() {\n    super::super::high::b();\n}\n", climbs);
    folder.write("a/src/lib.rs", "mod high;\nmod low;\nmod new;\n");
    folder.write("a/src/new.rs", "");
    check(sound, "`new` has no floor");
}

#[test]
fn the_reference_shows_the_built_in_pipeline() {
    let pipelines = |text: &str| {
        let table: toml::Table = text.parse().unwrap();
        table["pipeline"].as_array().unwrap()[0].clone()
    };
    let mut built_in = pipelines(&read(&root().join("gateway/src/config/standard.toml")));
    let mut shown = pipelines(&read(&root().join("etc/thornwall.toml")));
    // The reference names a list, and shows defaults that the built-in text leaves out.
    for pipeline in [&mut built_in, &mut shown] {
        let pipeline = pipeline.as_table_mut().unwrap();
        pipeline.remove("throttle");
        pipeline["filter"][0]["blocklist"]["files"] = toml::Value::Array(Vec::new());
    }
    assert_eq!(built_in, shown);
}

/// The manual of the filters, as the comments on top of their files say it: first the kinds of the built-in
/// pipeline, in its order, then the others.
fn filter_manual() -> String {
    let mut manual = "# Filters\n\nMade from the comments on top of `filters/src/kinds/*.rs` by a test. How \
                      filters work together, and the keys that all\nhave: \
                      [docs/configuration.md](../docs/configuration.md).\n\n| kind | what it does |\n| --- | --- |\n"
        .to_owned();
    let mut kinds: Vec<(String, String, String)> = files("rs")
        .into_iter()
        .filter(|path| path.parent().unwrap().ends_with("filters/src/kinds"))
        .map(|path| manual_of(&path))
        .collect();
    let built_in = read(&root().join("gateway/src/config/standard.toml"));
    let place = |title: &str| built_in.find(&format!("\n{} = ", title.trim_matches('`')));
    kinds.sort_by_key(|(title, ..)| (place(title).is_none(), place(title)));
    for (title, about, _) in &kinds {
        let name = title.trim_matches('`');
        manual.push_str(&format!("| [{title}](#{name}) | {about} |\n"));
    }
    for (title, about, text) in kinds {
        manual.push_str(&format!("\n## {title}\n\n{about}\n{text}\n"));
    }
    manual
}

/// The title, the first sentence and the rest of a filter's manual.
fn manual_of(path: &Path) -> (String, String, String) {
    let text = read(path);
    let comment = text.lines().map_while(|line| line.strip_prefix("//!"));
    let lines: Vec<&str> = comment
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    let (title, about) = lines[0]
        .split_once(": ")
        .expect("a manual begins with `kind`: what it does");
    let mut about = about.to_owned();
    about[..1].make_ascii_uppercase();
    assert!(about.ends_with('.'), "{}: {about}", path.display());
    (title.to_owned(), about, lines[1..].join("\n"))
}

#[test]
fn the_filter_manual_says_what_the_comments_say() {
    let path = root().join("etc/filters.md");
    let manual = filter_manual();
    if fs::read_to_string(&path).ok().as_deref() != Some(&manual) {
        fs::write(&path, &manual).unwrap();
        panic!("etc/filters.md was out of date and has been written anew; commit it");
    }
}

#[test]
fn the_manuals_examples_are_sound() {
    let manual = filter_manual();
    assert_eq!(
        manual.matches("```toml\n").count(),
        manual.matches("\n## `").count(),
        "an example for each filter"
    );
    examples_are_sound(&manual);
}

#[test]
fn the_reference_shows_every_key() {
    let reference = read(&root().join("etc/thornwall.toml"));
    let folder = Folder::new();
    let tables = [
        "server",
        "admin",
        "access_log",
        "blocklist",
        "client_address",
        "escalation",
        "limits",
        "store",
        "tarpit",
        "export",
        "privacy",
        "[feed]",
        "[listener]",
        "[upstream]",
        "[site]",
    ];
    for table in tables {
        let config = folder.write("t.toml", &format!("[{table}]\nbogus = 1\n"));
        let output = Command::new(thornwall())
            .args(["check", "-c"])
            .arg(config)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = told
            .lines()
            .find(|line| line.contains("`bogus`"))
            .unwrap_or_else(|| panic!("{told}"));
        let keys = line.split('`').skip(3).step_by(2);
        // What has no default is shown as a comment.
        let heads = [format!("\n[{table}]"), format!("\n# [{table}]")];
        let shown = heads.iter().find_map(|head| reference.split(head).nth(1));
        let shown = shown.unwrap_or_else(|| panic!("no {table}"));
        let shown = shown.split("\n[").next().unwrap();
        for key in keys {
            let shows = |line: &str| {
                line.trim_start_matches("# ")
                    .starts_with(&format!("{key} = "))
            };
            assert!(
                shown.lines().any(shows),
                "{key} of {table} is not in etc/thornwall.toml"
            );
        }
    }
}

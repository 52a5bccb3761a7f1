//! The guide: commands and their options, reason codes, endpoints, fields of the access log.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use super::{assert_same, by_name, document, quoted, rows, section};
use crate::{
    escalation::sidecar::program as sidecar_program,
    harness::{Gateway, OPEN_SITE, root, send, thornwall},
    house::{files, read},
};

#[test]
fn every_reason_is_documented() {
    let text = read(&root().join("detectors/src/signal.rs"));
    let list = text.split("\nreasons! {").nth(1).expect("the list");
    let list = list.split("\n}").next().unwrap();
    let codes = list
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .filter_map(|line| line.split_once(" = \"")?.1.split('"').next());
    let codes: BTreeSet<String> = codes.map(str::to_owned).collect();
    assert!(codes.len() > 50, "{codes:?}");
    let guide = by_name(&document("guide/reasons.md"));
    assert_same("reasons", guide.keys(), &codes);
}

/// What a command prints about itself.
fn help(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Names of the commands below one.
fn subcommands(help: &str) -> Vec<String> {
    let below = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let lines = below.lines().take_while(|line| line.starts_with(' '));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Long options of a command, but for those that all have.
fn options(help: &str) -> BTreeSet<String> {
    let words = help
        .lines()
        .filter(|line| line.trim_start().starts_with('-'));
    let long = words.filter_map(|line| {
        line.split_whitespace()
            .take(2)
            .find(|word| word.starts_with("--"))
    });
    long.filter(|name| !["--help", "--config", "--version"].contains(name))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_and_option_is_documented() {
    let guide = document("guide.md");
    let programs = [
        ("thornwall", thornwall(), "Commands of the gateway"),
        (
            "thornwall-sidecar",
            sidecar_program(),
            "Commands of the sidecar",
        ),
    ];
    for (name, program, heading) in programs {
        let mut there = BTreeMap::new();
        for command in subcommands(&help(&program, &[])) {
            let text = help(&program, &[&command]);
            let below = subcommands(&text);
            for further in &below {
                let text = help(&program, &[&command, further]);
                there.insert(format!("{command} {further}"), options(&text));
            }
            if below.is_empty() {
                there.insert(command, options(&text));
            }
        }
        assert!(there.len() > 3, "{there:?}");
        let mut documented = BTreeMap::new();
        for row in rows(section(&guide, heading)) {
            let Some(shown) = quoted(&row[0])
                .first()
                .and_then(|shown| shown.strip_prefix(&format!("{name} ")))
            else {
                continue;
            };
            let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            let words: Vec<&str> = shown
                .split(' ')
                .take_while(|word| is_name(word) && !word.starts_with('-'))
                .collect();
            let all = row.join(" ");
            let options = all.split(['`', ' ']).filter(|word| word.starts_with("--"));
            documented.insert(words.join(" "), options.map(str::to_owned).collect());
        }
        assert_eq!(documented, there, "{name}");
    }
}

/// Paths that the operator's listeners answer, by the folder of their code.
fn routes(package: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in files("rs") {
        if !path.starts_with(root().join(package)) {
            continue;
        }
        let text = read(&path);
        for rest in text.split(".route(").skip(1) {
            // Sites have routes as well, which are asked for without a path.
            if let Some(path) = rest.trim_start().strip_prefix('"') {
                found.insert(path.split('"').next().unwrap().to_owned());
            }
        }
    }
    found
}

#[test]
fn every_endpoint_is_documented() {
    let guide = document("guide.md");
    let api = section(&guide, "Admin API");
    let (table, below) = api.split_once("\nThe sidecar's").unwrap();
    let documented = |text: &str| -> BTreeSet<(String, String)> {
        let shown = quoted(text)
            .into_iter()
            .filter_map(|text| text.split_once(" /"));
        shown
            .map(|(method, path)| (method.to_owned(), format!("/{path}")))
            .collect()
    };
    let first_cells: Vec<String> = rows(table).into_iter().map(|row| row[0].clone()).collect();
    let endpoints = documented(&first_cells.join(" "));
    let paths: Vec<String> = endpoints.iter().map(|(_, path)| path.clone()).collect();
    assert_same("endpoints", &paths, &routes("gateway/src"));
    let sidecars: Vec<String> = documented(below)
        .into_iter()
        .map(|(_, path)| path)
        .collect();
    assert_same("the sidecar's endpoints", &sidecars, &routes("sidecar/src"));

    let gateway = Gateway::start(9, OPEN_SITE);
    let token = fs::read_to_string(gateway.config.with_file_name("data/admin.token")).unwrap();
    for path in routes("gateway/src") {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let request = format!(
                "{method} {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n",
                path.replace("{id}", "00000000000000000000000000000000"),
                token.trim()
            );
            let taken = send(gateway.admin, &request).status != 405;
            let expected = endpoints.contains(&(method.to_owned(), path.clone()));
            assert_eq!(taken, expected, "{method} {path}");
        }
    }
}

#[test]
fn every_field_of_the_access_log_is_documented() {
    let gateway = files("rs").into_iter();
    let mut gateway = gateway.filter(|path| path.starts_with(root().join("gateway/src")));
    let fields = gateway.find_map(|path| {
        let text = read(&path);
        text.split("struct Record {").nth(1).map(str::to_owned)
    });
    let fields = fields.expect("the record");
    let fields = fields.split("\n}").next().unwrap();
    let names = fields.lines().filter_map(|line| {
        let (field, _) = line.trim().split_once(": ")?;
        field
            .strip_prefix("pub ")
            .or_else(|| field.strip_prefix("pub(crate) "))
    });
    let names: BTreeSet<String> = names.map(str::to_owned).collect();
    assert!(names.len() > 15, "{names:?}");
    let guide = document("guide.md");
    let first_cells = rows(section(&guide, "The access log"))
        .into_iter()
        .map(|row| row[0].clone());
    let first_cells = first_cells.collect::<Vec<_>>().join(" ");
    let documented: Vec<String> = quoted(&first_cells)
        .into_iter()
        .map(str::to_owned)
        .collect();
    assert_same("fields", &documented, &names);
}

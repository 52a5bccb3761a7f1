//! Privacy modes: no address of a client is stored, logged or shown.

use std::{fs, path::Path};

use crate::harness::{CHROME, Gateway, OPEN_SITE, Origin, free_port, send, wait_for};

/// A site behind a trusted proxy, which decides about whoever asks too often.
const SITE: &str = "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n\
    [[feed]]\nname = \"bad\"\nfile = \"bad.txt\"\nevery_secs = 1\n\
    [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
    [[pipeline]]\nname = \"p\"\n\
    [[pipeline.filter]]\nname = \"known_bad\"\nblocklist = { files = [\"list.txt\"] }\n\
    [[pipeline.filter]]\nname = \"per_client\"\n\
    rate_limit = { requests = 1, per_secs = 60, burst = 2 }\n\
    decide = { after = 2, within_secs = 60, for_secs = 600 }\n";

/// Addresses of clients, as they must not be found anywhere.
const CLIENTS: [&str; 6] = [
    "192.0.2.71",
    "192.0.2.72",
    "192.0.2.73",
    "192.0.2.74",
    "2001:db8:1:2::77",
    "2001:db8:1:2:",
];

fn ask(gateway: &Gateway, client: &str) -> crate::harness::Reply {
    gateway.get("/", &format!("X-Forwarded-For: {client}\r\n{CHROME}"))
}

/// Every file below a folder, but for what the operator wrote.
fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = path.display().to_string();
        let is_own = [".toml", "bad.txt", "list.txt"]
            .iter()
            .any(|own| name.ends_with(own));
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() && !is_own {
            found.push((name, fs::read(&path).unwrap()));
        }
    }
}

fn nobody_is_named(what: &str, bytes: &[u8]) {
    for client in CLIENTS {
        let text = client.as_bytes();
        let named = bytes.windows(text.len()).any(|window| window == text);
        assert!(
            !named,
            "{client} in {what}: {}",
            String::from_utf8_lossy(bytes)
        );
    }
}

/// Everything that may be told about a gateway.
fn nobody_is_named_anywhere(gateway: &Gateway) {
    let mut found = Vec::new();
    files(gateway.folder.path(), &mut found);
    assert!(
        found
            .iter()
            .any(|(name, _)| name.ends_with("decisions.redb"))
    );
    assert!(
        found
            .iter()
            .any(|(name, text)| name.ends_with("access.log") && !text.is_empty())
    );
    for (name, bytes) in found {
        nobody_is_named(&name, &bytes);
    }
}

fn serves_without_naming(mode: &str, label: &str) {
    let folder = crate::harness::Folder::new();
    folder.write("bad.txt", "192.0.2.73\n");
    folder.write("list.txt", "192.0.2.74\n");
    let (port, admin) = (free_port(), free_port());
    let site = format!("[privacy]\nmode = \"{mode}\"\n{SITE}");
    let config = Gateway::toml(port, admin, Origin::start().port, &site);
    let config = folder.write("t.toml", &config);
    let mut gateway = Gateway::start_from(folder, config, port, admin);

    let mut shown = gateway.run(&["block", "192.0.2.71", "--for", "1h"]).1;
    assert!(
        shown.contains("kept in memory alone, as privacy.mode asks"),
        "{shown}"
    );
    shown += &gateway
        .run(&[
            "block",
            "203.0.112.0/22",
            "--site",
            "t",
            "--action",
            "throttle",
        ])
        .1;
    shown += &gateway.run(&["block", "198.51.100.0/24"]).1;
    let mut ids = Vec::new();
    let mut denied = |client: &str| {
        let reply = ask(&gateway, client);
        ids.push(reply.id().to_owned());
        reply.status == 403
    };
    assert!(denied("192.0.2.71"), "by the operator");
    for client in ["192.0.2.72", "2001:db8:1:2::77"] {
        wait_for("a filter's decision", || denied(client));
    }
    wait_for("the feed's", || denied("192.0.2.73"));
    assert!(denied("192.0.2.74"), "by the list");
    for words in [
        vec!["decisions"],
        vec!["decisions", "--json"],
        vec!["decisions", "192.0.2.71"],
        vec!["status"],
        vec!["unblock", "192.0.2.99"],
    ] {
        shown += &gateway.run(&words).1;
    }
    for id in &ids {
        shown += &gateway.run(&["explain", id]).1;
        shown += &gateway.run(&["explain", id, "--json"]).1;
    }
    let metrics = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    shown += &send(gateway.admin, metrics).body;
    assert!(shown.contains(label), "{label} is not in {shown}");
    assert!(
        shown.contains("198.51.100.0/24"),
        "a network is nobody's address"
    );
    let refused = gateway.output(&["export", "nftables"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let log = gateway.folder.join("access.log");
    wait_for("the access lines", || {
        fs::read_to_string(&log).unwrap().lines().count() >= ids.len()
    });
    nobody_is_named("what was shown", shown.as_bytes());
    nobody_is_named_anywhere(&gateway);

    // What is only in memory ends with the process, and nobody else is denied in its place.
    gateway.signal("TERM");
    gateway.wait();
    nobody_is_named_anywhere(&gateway);
    let gateway = gateway.start_again();
    assert_eq!(ask(&gateway, "192.0.2.71").status, 200);
    assert_eq!(ask(&gateway, "192.0.2.70").status, 200);
    assert_eq!(ask(&gateway, "198.51.100.7").status, 403);
    let letting_off = gateway.run(&["unblock", "198.51.100.0/24"]).1;
    assert!(
        letting_off.contains("198.51.100.0/24: let off"),
        "{letting_off}"
    );
}

#[test]
fn truncated_addresses_are_all_that_is_told() {
    serves_without_naming("truncate", "in 192.0.2.0/24");
}

#[test]
fn hashes_are_all_that_is_told() {
    serves_without_naming("hash", "#");
}

#[test]
fn what_was_stored_before_is_taken_off_the_disk() {
    let mut gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    for subject in ["192.0.2.71", "198.51.100.0/24"] {
        let _ = gateway.run(&["block", subject, "--for", "1h"]).1;
    }
    gateway.signal("TERM");
    gateway.wait();
    let file = gateway.folder.join("data/decisions.redb");
    let has = |text: &str| {
        let bytes = fs::read(&file).unwrap();
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert!(has("192.0.2.71"));
    let text = fs::read_to_string(&gateway.config).unwrap();
    fs::write(&gateway.config, text + "[privacy]\nmode = \"hash\"\n").unwrap();
    let gateway = gateway.start_again();
    assert!(!has("192.0.2.71") && has("198.51.100.0/24"));
    let decisions = gateway.run(&["decisions"]).1;
    assert!(
        decisions.contains('#') && decisions.contains("198.51.100.0/24"),
        "{decisions}"
    );
    assert!(
        gateway
            .stderr()
            .contains("were taken off the disk; count=1")
    );
}

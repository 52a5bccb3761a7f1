//! What an earlier version left on disks and in the shared store, read by this one.
//!
//! `tests/golden/stored` was written by the commands of commit 650ae5b, with a clock that was 150 years ahead,
//! since decisions end: `tests/upgrade/run --keep COMMIT` writes it anew.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use flate2::read::GzDecoder;
use redb::{Database, ReadableDatabase, TableDefinition};
use serde_json::Value;

use crate::{
    harness::{
        CHROME, Folder, Gateway, Origin, ask, closing, free_port, root, thornwall, wait_for,
    },
    redis::Redis,
};

/// The sites that decisions name, behind a trusted proxy, so that a test can choose its client's address.
const SITES: &str = "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n\
    [tarpit]\ninterval_ms = 20\nmax_secs = 1\n\
    [[site]]\nname = \"shop\"\nhosts = [\"t.example\"]\nupstream = \"o\"\npipeline = \"p\"\n\
    [[pipeline]]\nname = \"p\"\nthrottle = { requests = 1, per_secs = 3600, burst = 1, parts = 1 }\n\
    [[pipeline.filter]]\nname = \"known\"\nblocklist = {}\n";
const DECISIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("decisions");

fn stored(name: &str) -> PathBuf {
    root().join("tests/golden/stored").join(name)
}

fn lines(name: &str) -> Vec<String> {
    let text = fs::read_to_string(stored(name)).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Lays a file of a data folder where a process will look for it.
fn unpack(name: &str, folder: &Folder) -> PathBuf {
    let packed = fs::File::open(stored(&format!("{name}.gz"))).unwrap();
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    let data = folder.join("data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join(name), bytes).unwrap();
    data.join(name)
}

/// A gateway in a folder with decisions of the earlier version.
fn gateway(folder: Folder) -> Gateway {
    let (port, admin) = (free_port(), free_port());
    let text = Gateway::toml(port, admin, Origin::start().port, SITES);
    let config = folder.write("t.toml", &text);
    Gateway::start_from(folder, config, port, admin)
}

/// Decisions by whom they are about and where they hold, but for those from lists of others, which each process
/// reads anew.
fn by_subject(decisions: impl IntoIterator<Item = Value>) -> BTreeMap<String, Value> {
    let own = decisions.into_iter().filter(|decision| {
        let source = decision["source"].as_str().unwrap();
        source != "predecessor" && !source.starts_with("feed:")
    });
    own.map(|decision| {
        let key = format!("{} {}", decision["subject"], decision["scope"]);
        (key, decision)
    })
    .collect()
}

fn decisions(gateway: &Gateway) -> BTreeMap<String, Value> {
    let (code, text) = gateway.run(&["decisions", "--json", "--limit", "1000"]);
    assert_eq!(code, Some(0), "{text}");
    let mut listed: Value = serde_json::from_str(&text).unwrap();
    let listed = listed["decisions"].as_array_mut().unwrap();
    by_subject(std::mem::take(listed))
}

/// What becomes of a request of a client.
fn treatment(gateway: &Gateway, client: &str) -> &'static str {
    let fields = closing(&format!("X-Forwarded-For: {client}\r\n{CHROME}"));
    let request = format!("GET / HTTP/1.1\r\nHost: t.example\r\n{fields}\r\n");
    let reply = ask(gateway.port, &request);
    match reply.status {
        403 => "deny",
        429 => "throttle",
        // The origin says how long its answer is, and who drips does not.
        200 if reply.header("content-length").is_none() => "tarpit",
        200 => "none",
        other => panic!("{other}: {}", reply.head),
    }
}

#[test]
fn the_data_dir_of_an_earlier_version_is_read_and_enforced() {
    let folder = Folder::new();
    unpack("decisions.redb", &folder);
    let gateway = gateway(folder);
    let json = |line: String| serde_json::from_str::<Value>(&line).unwrap();
    let expected = by_subject(lines("decisions.jsonl").into_iter().map(json));
    assert!(expected.len() >= 14, "{expected:#?}");
    assert_eq!(decisions(&gateway), expected);
    for decision in expected.values() {
        let client = decision["subject"].as_str().unwrap();
        let client = client.split('/').next().unwrap();
        let mut asked = (0..3).map(|_| treatment(&gateway, client));
        let treated = asked.find(|treated| *treated != "none");
        assert_eq!(treated, decision["action"].as_str(), "{decision}");
    }
    assert_eq!(treatment(&gateway, "203.0.113.5"), "none");
}

/// A value with these numbers of an action and of a source, as `filters/src/store/record.rs` says.
fn record(action: u8, source: u8, json: &str) -> Vec<u8> {
    let rest = [
        &[1, action, source][..],
        &u64::MAX.to_le_bytes(),
        json.as_bytes(),
    ]
    .concat();
    [&crc32fast::hash(&rest).to_le_bytes()[..], &rest].concat()
}

#[test]
fn what_a_later_version_decided_is_no_other_decision_and_stays() {
    let folder = Folder::new();
    let path = unpack("decisions.redb", &folder);
    let json = |action: &str, source: &str| {
        format!(
            r#"{{"subject":"203.0.113.7","scope":null,"action":"{action}","reason":"decision.operator","source":"{source}","made_ms":1,"until_ms":9000000000000}}"#
        )
    };
    let later = [
        (
            [4, 203, 0, 113, 7, 32, 0],
            record(200, 2, &json("challenge", "operator")),
        ),
        (
            [4, 203, 0, 113, 8, 32, 0],
            record(0, 200, &json("deny", "oracle")),
        ),
    ];
    let write = |path: &Path| {
        let database = Database::open(path).unwrap();
        let change = database.begin_write().unwrap();
        for (key, value) in &later {
            let mut table = change.open_table(DECISIONS).unwrap();
            table.insert(&key[..], value.as_slice()).unwrap();
        }
        change.commit().unwrap();
    };
    write(&path);
    let mut gateway = gateway(folder);
    for client in ["203.0.113.7", "203.0.113.8"] {
        assert_eq!(treatment(&gateway, client), "none", "{client}");
    }
    let (code, text) = gateway.run(&["block", "203.0.113.9"]);
    assert_eq!(code, Some(0), "{text}");
    gateway.stops_at_once();
    let database = Database::open(&path).unwrap();
    let read = database.begin_read().unwrap();
    let table = read.open_table(DECISIONS).unwrap();
    for (key, value) in &later {
        let kept = table.get(&key[..]).unwrap();
        assert_eq!(kept.unwrap().value(), value, "{key:?}");
    }
}

#[test]
fn what_an_earlier_version_shared_is_followed() {
    let without_end = |mut decision: Value| {
        // No longer than a year from now.
        decision.as_object_mut().unwrap().remove("until_ms");
        decision
    };
    let keys = lines("keys.jsonl");
    let keys = keys.iter().map(|line| {
        let [key, value]: [String; 2] = serde_json::from_str(line).unwrap();
        (key, value)
    });
    let keys: Vec<(String, String)> = keys.collect();
    let values = keys
        .iter()
        .map(|(_, value)| serde_json::from_str::<Value>(value).unwrap());
    let expected = by_subject(values.map(without_end));
    assert!(expected.len() >= 11, "{expected:#?}");
    for by in ["keys", "stream"] {
        let redis = Redis::start();
        let store = format!(
            "{SITES}[store]\nkind = \"redis\"\nurl = \"{}\"\n",
            redis.url()
        );
        if by == "keys" {
            for (key, value) in &keys {
                redis.cli(&["set", key, value]);
            }
        }
        let gateway = Gateway::start(Origin::start().port, &store);
        if by == "stream" {
            wait_for("the gateway to be in step", || {
                gateway.status()["store"]["shared"]["state"] == "in step"
            });
            for entry in lines("stream.jsonl") {
                redis.cli(&["xadd", "default:decisions", "*", "change", &entry]);
            }
        }
        let found = || {
            let listed = decisions(&gateway).into_values();
            by_subject(listed.map(without_end))
        };
        wait_for(by, || found().len() >= expected.len());
        assert_eq!(found(), expected, "{by}");
    }
}

#[test]
fn the_history_of_an_earlier_version_is_exported_alike() {
    let folder = Folder::new();
    unpack("history.redb", &folder);
    let config = folder.write("sidecar.toml", "[server]\ndata_dir = \"data\"\n");
    let output = Command::new(thornwall().with_file_name("thornwall-sidecar"))
        .args(["export", "--format", "training", "--addresses", "-c"])
        .arg(config)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let exported = String::from_utf8(output.stdout).unwrap();
    let mut exported: Vec<&str> = exported.lines().collect();
    exported.sort_unstable();
    assert_eq!(exported, lines("cases.jsonl"));
}

//! What the operator sees, and nobody else.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::harness::{CHROME, Gateway, OPEN_SITE, Origin, send, thornwall, wait_for};

fn lines(gateway: &Gateway) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(gateway.folder.join("access.log")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
}

#[test]
fn one_line_per_request_and_no_secret_in_it() {
    let gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    let reply = gateway.get(
        "/a%0ab?token=secret-1",
        "User-Agent: x\t\u{e9}\"}\r\nCookie: session=secret-2\r\nAuthorization: Basic secret-3\r\n",
    );
    gateway.send("GET /b HTTP/1.1\r\nConnection: close\r\n\r\n");
    wait_for("two lines", || lines(&gateway).len() == 2);
    let text = fs::read_to_string(gateway.folder.join("access.log")).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let [first, second] = lines(&gateway).try_into().unwrap();
    assert_eq!(first["id"], reply.id());
    assert_eq!(first["path"], "/a%0ab");
    assert_eq!(first["ruling"], "forward");
    assert_eq!(
        (&first["status"], &first["bytes"]),
        (&200.into(), &6.into())
    );
    assert!(first["took_ms"].as_f64().unwrap() >= first["origin_ms"].as_f64().unwrap());
    assert_eq!(
        (&second["status"], &second["reason"]),
        (&400.into(), &"host.missing".into())
    );
}

#[test]
fn health_and_metrics_are_open_and_the_rest_asks_for_the_token() {
    let gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    // The harness has written the table's first key.
    let text = fs::read_to_string(&gateway.config).unwrap();
    let named = text.replace(
        "[access_log]",
        "hosts = [\"Metrics.Example\"]\n[access_log]",
    );
    fs::write(&gateway.config, named).unwrap();
    gateway.signal("HUP");
    wait_for("the name", || gateway.stderr().contains("generation=2"));
    let id = gateway.get("/", CHROME).id().to_owned();
    let admin = |path: &str, host: &str, headers: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n");
        send(gateway.admin, &request).status
    };
    let token_file = gateway.folder.join("data/admin.token");
    let token = fs::read_to_string(&token_file).unwrap();
    assert_eq!(
        fs::metadata(&token_file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let bearer = format!("Authorization: Bearer {}\r\n", token.trim());
    let explain = format!("/explain/{id}");
    for open in ["/live", "/ready", "/metrics"] {
        assert_eq!(admin(open, "metrics.example", ""), 200, "{open}");
        let rebound = if open == "/metrics" { 421 } else { 200 };
        assert_eq!(admin(open, "rebound.example", ""), rebound, "{open}");
    }
    assert_eq!(admin(&explain, "metrics.example:9180", &bearer), 200);
    assert_eq!(admin(&explain, "127.0.0.1", &bearer), 200);
    assert_eq!(admin(&explain, "localhost:9180", &bearer), 200);
    assert_eq!(admin(&explain, "localhost", ""), 401);
    assert_eq!(
        admin(&explain, "localhost", "Authorization: Bearer x\r\n"),
        401
    );
    assert_eq!(admin(&explain, "rebound.example", &bearer), 421);
    assert_eq!(admin("/explain/nonsense", "localhost", &bearer), 404);
    assert_eq!(
        admin(
            "/explain/00000000000000000000000000000000",
            "localhost",
            &bearer
        ),
        404
    );
    assert_eq!(admin("/other", "localhost", ""), 401);
    assert_eq!(admin("/other", "localhost", &bearer), 404);
}

#[test]
fn explain_speaks_to_people_and_machines() {
    let gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    let id = gateway.get("/page", CHROME).id().to_owned();
    let explain = |id: &str| {
        let output = Command::new(thornwall())
            .args(["explain", id, "-c"])
            .arg(&gateway.config)
            .output()
            .unwrap();
        let told = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&told).into_owned(),
        )
    };
    let (code, told) = explain(&id);
    assert_eq!(code, Some(0));
    for expected in [
        id.as_str(),
        "GET t.example/page",
        "ruling",
        "forward",
        "127.0.0.1",
    ] {
        assert!(told.contains(expected), "{expected} is not in {told}");
    }
    assert!(!told.contains('\u{1b}'), "colour only on a terminal");
    assert_eq!(explain("00000000000000000000000000000000").0, Some(1));
    assert_eq!(gateway.explain(&id)["path"], "/page");
}

#[test]
fn every_family_of_metrics_has_help_and_counters_end_in_total() {
    let gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    gateway.get("/", CHROME);
    let text = send(
        gateway.admin,
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .body;
    let families: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    assert!(families.len() > 8, "{text}");
    // What only grows is no gauge, whatever it is read from.
    let growing = [
        "evictions",
        "overflows",
        "resyncs",
        "errors",
        "shared_changes",
        "untold",
    ];
    for family in families {
        let (name, kind) = family.split_once(' ').unwrap();
        assert!(name.starts_with("thornwall_"), "{name}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        assert_eq!(
            kind == "counter",
            name.ends_with("_total"),
            "{name} is a {kind}"
        );
        let grows = growing.iter().any(|word| name.contains(word));
        assert!(kind == "counter" || !grows, "{name} is a {kind}");
    }
    assert!(
        text.contains("thornwall_requests_total{ruling=\"forward\",site=\"t\",status=\"2xx\"} 1"),
        "{text}"
    );
}

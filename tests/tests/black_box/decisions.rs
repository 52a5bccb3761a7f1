//! What is decided at run time: by operators, enforced at once, kept over crashes.

mod kills;

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use crate::harness::{
    CHROME, Folder, Gateway, Origin, Program, connect, free_port, send, signal, thornwall, wait_for,
};

/// A site behind a trusted proxy, so that a test can choose its client's address.
const SITE: &str = "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n\
    [never_block]\naddresses = [\"203.0.113.0/24\"]\n\
    [tarpit]\ninterval_ms = 20\nmax_secs = 1\n\
    [[site]]\nname = \"t\"\nhosts = [\"t.example\"]\nupstream = \"o\"\npipeline = \"p\"\n\
    [[site]]\nname = \"other\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
    [[pipeline]]\nname = \"p\"\nthrottle = { requests = 1, per_secs = 3600, burst = 2, parts = 1 }\n\
    [[pipeline.filter]]\nname = \"known_bad\"\nblocklist = {}\n";

fn from(client: &str) -> String {
    format!("X-Forwarded-For: {client}\r\n{CHROME}")
}

fn status(gateway: &Gateway, client: &str) -> u16 {
    gateway.get("/", &from(client)).status
}

#[test]
fn an_operator_blocks_for_a_time_and_lets_off() {
    let gateway = Gateway::start(Origin::start().port, SITE);
    let (code, text) = gateway.run(&[
        "block",
        "192.0.2.7",
        "--for",
        "1h",
        "--reason",
        "every page",
    ]);
    assert_eq!((code, text.trim()), (Some(0), "192.0.2.7: deny for 3600 s"));
    let denied = gateway.get("/", &from("192.0.2.7"));
    assert_eq!(denied.status, 403);
    let decided = gateway.explain(denied.id());
    assert_eq!(decided["reason"], "decision.enforced");
    assert_eq!(
        decided["signals"][0]["evidence"],
        "192.0.2.7/32 by operator"
    );
    assert_eq!(status(&gateway, "192.0.2.8"), 200);

    let (_, text) = gateway.run(&["decisions"]);
    for expected in ["192.0.2.7", "deny", "every site", "operator", "every page"] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    let (code, text) = gateway.run(&["unblock", "192.0.2.7"]);
    assert_eq!((code, text.trim()), (Some(0), "192.0.2.7: let off"));
    assert_eq!(status(&gateway, "192.0.2.7"), 200);
    let (code, text) = gateway.run(&["unblock", "192.0.2.7"]);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("nothing is decided about exactly 192.0.2.7"),
        "{text}"
    );

    let _ = gateway.run(&["block", "192.0.2.9", "--for", "1s"]);
    assert_eq!(status(&gateway, "192.0.2.9"), 403);
    wait_for("the end of the decision", || {
        status(&gateway, "192.0.2.9") == 200
    });
}

#[test]
fn a_decision_can_be_one_sites_and_hold_or_slow_down_instead() {
    let gateway = Gateway::start(Origin::start().port, SITE);
    let at = |host: &str, client: &str| {
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{}\r\n",
            from(client).replace("Connection: keep-alive\r\n", "")
        );
        gateway.send(&head)
    };
    let block = |subject: &str, action: &str| {
        let (code, text) = gateway.run(&["block", subject, "--site", "t", "--action", action]);
        assert_eq!(code, Some(0), "{text}");
    };
    block("192.0.2.0/24", "deny");
    assert_eq!(at("t.example", "192.0.2.7").status, 403);
    assert_eq!(at("other.example", "192.0.2.7").status, 200);
    block("2001:db8::/32", "tarpit");
    let held = at("t.example", "2001:db8::7");
    assert_eq!(gateway.explain(held.id())["ruling"], "tarpit");
    block("198.51.100.7", "throttle");
    let answers: Vec<u16> = (0..3)
        .map(|_| at("t.example", "198.51.100.7").status)
        .collect();
    assert_eq!(answers, [200, 200, 429]);
    // What is narrower counts, and what is the site's own.
    block("192.0.2.128/25", "throttle");
    assert_eq!(at("t.example", "192.0.2.200").status, 200);
    let (code, text) = gateway.run(&["block", "192.0.2.7", "--site", "none"]);
    assert_eq!((code, text.trim()), (Some(1), "no site `none`"));
    let (_, text) = gateway.run(&["unblock", "192.0.2.200", "--site", "t"]);
    assert!(
        text.contains("still covered: 192.0.2.128/25 by operator"),
        "{text}"
    );
}

#[test]
fn nothing_is_decided_about_those_who_are_never_blocked() {
    let gateway = Gateway::start(Origin::start().port, SITE);
    for subject in ["203.0.113.9", "203.0.113.0/25", "127.0.0.1"] {
        let (code, text) = gateway.run(&["block", subject]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("never-block list"), "{text}");
    }
    // A network around them is decided about, and does not touch them.
    assert_eq!(gateway.run(&["block", "203.0.0.0/16"]).0, Some(0));
    assert_eq!(status(&gateway, "203.0.112.1"), 403);
    assert_eq!(status(&gateway, "203.0.113.9"), 200);
    for (words, part) in [
        (["block", "asn:64500"], "still to come"),
        (["block", "shop.example"], "is not an address"),
        (["block", "192.0.2.0/33"], "is not a prefix length"),
    ] {
        let (code, text) = gateway.run(&words);
        assert_eq!(code, Some(1));
        assert!(text.contains(part), "{text}");
    }
    let (code, text) = gateway.run(&["block", "198.51.100.7/24", "--for", "1 day"]);
    assert_eq!(code, Some(0));
    assert!(
        text.contains("warning: `198.51.100.7/24` is taken for 198.51.100.0/24"),
        "{text}"
    );
    assert_eq!(
        gateway.run(&["block", "192.0.2.1", "--for", "9999 days"]).0,
        Some(1)
    );
    assert_eq!(
        gateway.run(&["block", "192.0.2.1", "--for", "soon"]).0,
        Some(2)
    );
}

#[test]
fn a_deployment_wide_deny_is_no_connection_at_all() {
    let site = SITE.replace("trusted_proxies = [\"127.0.0.1\"]", "trusted_proxies = []");
    let gateway = Gateway::start(Origin::start().port, &site);
    assert_eq!(gateway.get("/", CHROME).status, 200);
    assert_eq!(gateway.run(&["block", "127.0.0.1"]).0, Some(0));
    let mut stream = connect(gateway.port).unwrap();
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: t.example\r\n\r\n");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer, b"", "closed without a word");
    assert_eq!(gateway.run(&["unblock", "127.0.0.1"]).0, Some(0));
    assert_eq!(gateway.get("/", CHROME).status, 200);
}

#[test]
fn a_viewer_may_look_and_change_nothing() {
    let origin = Origin::start();
    let folder = Folder::new();
    let (port, admin) = (free_port(), free_port());
    let config = Gateway::toml(port, admin, origin.port, SITE).replace(
        &format!("address = \"127.0.0.1:{admin}\"\n"),
        &format!("address = \"127.0.0.1:{admin}\"\nviewer_token_file = \"viewer.token\"\n"),
    );
    let config = folder.write("t.toml", &config);
    let gateway = Gateway::start_from(folder, config, port, admin);
    let token = fs::read_to_string(gateway.folder.join("viewer.token")).unwrap();
    let ask = |method: &str, path: &str, body: &str| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            token.trim(),
            body.len()
        );
        send(gateway.admin, &head).status
    };
    let order = r#"{"subject":"192.0.2.7","for_secs":60}"#;
    assert_eq!(ask("GET", "/decisions", ""), 200);
    assert_eq!(ask("GET", "/status", ""), 200);
    assert_eq!(ask("GET", "/decisions?colour=red", ""), 400);
    assert_eq!(ask("POST", "/decisions", order), 403);
    assert_eq!(
        ask("DELETE", "/decisions", r#"{"subject":"192.0.2.7"}"#),
        403
    );
    assert_eq!(status(&gateway, "192.0.2.7"), 200);
}

#[test]
fn decisions_outlive_the_process() {
    let mut gateway = Gateway::start(Origin::start().port, SITE);
    for subject in ["192.0.2.7", "2001:db8::/32"] {
        assert_eq!(gateway.run(&["block", subject, "--for", "1h"]).0, Some(0));
    }
    assert_eq!(
        gateway.run(&["block", "192.0.2.8", "--site", "t"]).0,
        Some(0)
    );
    let _ = gateway.run(&["unblock", "2001:db8::/32"]);
    gateway.signal("TERM");
    gateway.wait();
    let gateway = gateway.start_again();
    assert_eq!(status(&gateway, "192.0.2.7"), 403);
    assert_eq!(status(&gateway, "192.0.2.8"), 403);
    assert_eq!(status(&gateway, "2001:db8::1"), 200);
    let (_, text) = gateway.run(&["status"]);
    assert!(text.contains("decisions            2"), "{text}");
    let upgraded = gateway.output(&["upgrade"]);
    assert!(upgraded.status.success(), "{upgraded:?}");
    assert_eq!(status(&gateway, "192.0.2.7"), 403);
    assert_eq!(gateway.run(&["block", "192.0.2.9"]).0, Some(0));
    assert_eq!(status(&gateway, "192.0.2.9"), 403);
    let (_, text) = gateway.run(&["status"]);
    assert!(text.contains("decisions            3"), "{text}");
    // The process that took over is no child of this test.
    let pid = text
        .lines()
        .find_map(|line| line.strip_prefix("pid"))
        .unwrap();
    signal(pid.trim().parse().unwrap(), "TERM");
}

#[test]
fn a_damaged_file_is_put_aside_and_the_gateway_serves() {
    let mut gateway = Gateway::start(Origin::start().port, SITE);
    // The file falls back by one commit where it can, so there have to be some.
    for subject in ["192.0.2.7", "192.0.2.9", "192.0.2.10"] {
        assert_eq!(gateway.run(&["block", subject]).0, Some(0));
    }
    gateway.signal("KILL");
    gateway.wait();
    let file = gateway.folder.join("data/decisions.redb");
    let mut bytes = fs::read(&file).unwrap();
    bytes[4096..].fill(0x5a);
    fs::write(&file, bytes).unwrap();
    let gateway = gateway.start_again();
    assert_eq!(status(&gateway, "192.0.2.8"), 200);
    assert!(
        gateway.stderr().contains("was damaged"),
        "{}",
        gateway.stderr()
    );
    let kept = fs::read_dir(gateway.folder.join("data")).unwrap();
    let aside = kept
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains("damaged"));
    assert!(aside, "the old file is kept");
    assert_eq!(gateway.run(&["block", "192.0.2.7"]).0, Some(0));
    assert_eq!(status(&gateway, "192.0.2.7"), 403);
}

#[test]
fn a_decision_holds_within_a_second() {
    let gateway = Gateway::start(Origin::start().port, SITE);
    for host in 1..20 {
        let subject = format!("192.0.2.{host}");
        let started = Instant::now();
        assert_eq!(gateway.run(&["block", &subject]).0, Some(0));
        assert_eq!(status(&gateway, &subject), 403);
        assert!(started.elapsed() < Duration::from_secs(1));
    }
}

#[test]
fn who_runs_into_a_limit_again_and_again_is_decided_about_for_longer_each_time() {
    let site = SITE.replace(
        "blocklist = {}\n",
        "blocklist = {}\n\
         [[pipeline.filter]]\nname = \"per_client\"\n\
         rate_limit = { requests = 1, per_secs = 60, burst = 2 }\n\
         decide = { after = 3, within_secs = 60, for_secs = 1, most_secs = 100 }\n",
    );
    let gateway = Gateway::start(Origin::start().port, &site);
    let answers: Vec<u16> = (0..5).map(|_| status(&gateway, "192.0.2.7")).collect();
    assert_eq!(answers, [200, 200, 429, 429, 429]);
    let mut last = String::new();
    wait_for("the decision", || {
        let reply = gateway.get("/", &from("192.0.2.7"));
        last = reply.id().to_owned();
        reply.status == 403
    });
    assert_eq!(gateway.explain(&last)["reason"], "decision.enforced");
    let output = gateway.output(&["decisions", "192.0.2.7", "--json"]);
    let page: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let decision = &page["decisions"][0];
    assert_eq!(decision["source"], "filter:p.per_client", "{page}");
    assert_eq!(decision["scope"], "t");
    assert_eq!(decision["reason"], "rate_limit.client");
    let request = decision["requests"][0].as_str().unwrap();
    assert_eq!(gateway.explain(request)["status"], 429);
    assert_eq!(status(&gateway, "192.0.2.8"), 200);
    wait_for("the end of the decision", || {
        status(&gateway, "192.0.2.7") == 429
    });
    wait_for("the second decision", || {
        status(&gateway, "192.0.2.7") == 403
    });
    let output = gateway.output(&["decisions", "192.0.2.7", "--json"]);
    let page: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let decision = &page["decisions"][0];
    assert!(
        decision["evidence"].as_str().unwrap().ends_with("time 2"),
        "{page}"
    );
    let millis = |name: &str| decision[name].as_u64().unwrap();
    assert_eq!(millis("until_ms") - millis("made_ms"), 2000);
}

/// A gateway whose data folder is a disk of its own, as small as that; what is in the folder is seen
/// through `/proc/PID/root`.
fn on_a_small_disk(origin: u16) -> Gateway {
    let folder = Folder::new();
    let (port, admin) = (free_port(), free_port());
    let config = Gateway::toml(port, admin, origin, SITE).replace(
        &format!("address = \"127.0.0.1:{admin}\"\n"),
        &format!("address = \"127.0.0.1:{admin}\"\ntoken_file = \"admin.token\"\n"),
    );
    let config = folder.write("t.toml", &config);
    fs::create_dir_all(folder.join("data")).unwrap();
    let script = format!(
        "#!/bin/sh\nexec unshare -rm sh -c 'mount -t tmpfs -o size=8m tmpfs {} && exec {} \"$@\"' sh \"$@\"\n",
        folder.join("data").display(),
        thornwall().display()
    );
    let program = folder.write("small", &script);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Gateway::spawn(&Program::at(&program), folder, config, port, admin)
}

#[test]
fn a_full_disk_costs_durability_and_nothing_else() {
    let gateway = on_a_small_disk(Origin::start().port);
    let failing = || gateway.metric("thornwall_store_disk_failing") == 1.0;
    assert_eq!(gateway.run(&["block", "192.0.2.1"]).0, Some(0));
    let data = format!(
        "/proc/{}/root{}",
        gateway.child.id(),
        gateway.folder.join("data").display()
    );
    let filler = format!("{data}/filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0x41; 4096]).is_ok() {}
    drop(file);
    let mut host = 1;
    wait_for("the disk to be found full", || {
        host += 1;
        let (code, text) = gateway.run(&["block", &format!("192.0.2.{host}")]);
        assert_eq!(code, Some(0), "{text}");
        failing() && text.contains("warning: kept in memory alone")
    });
    // Decisions hold, people are served, and the operator is told.
    assert_eq!(status(&gateway, &format!("192.0.2.{host}")), 403);
    assert_eq!(status(&gateway, "198.51.100.1"), 200);
    assert!(gateway.run(&["status"]).1.contains("failing"));
    // What is taken back would be there again after a crash, which is told too.
    let (code, text) = gateway.run(&["unblock", "192.0.2.1"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("warning: kept in memory alone"), "{text}");
    assert!(
        gateway
            .stderr()
            .contains("decisions are kept in memory alone")
    );
    fs::remove_file(&filler).unwrap();
    wait_for("the disk to be written again", || {
        !failing() && gateway.metric("thornwall_store_waiting_changes") == 0.0
    });
    let (_, text) = gateway.run(&["decisions", &format!("192.0.2.{host}")]);
    assert!(text.contains("operator"), "{text}");
}

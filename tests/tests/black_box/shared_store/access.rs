//! As whom Redis is entered, what is refused, and the predecessor's own database.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use thornwall_tests::authority::{Authority, Wanted};

use super::{
    SITE, assert_nobody_notices, gateway, redis_store, standing, status, told, wait_for_state,
    wait_for_status, wait_until_in_step,
};
use crate::{
    harness::{Folder, Gateway, Origin, free_port, thornwall, wait_for},
    redis::Redis,
};

#[test]
fn a_wrong_password_is_said_aloud_and_keeps_nobody_from_serving() {
    let redis = Redis::with(&["--requirepass", "right"]);
    let folder = Folder::new();
    let file = folder.write("password", "wrong\n");
    let extra = format!(
        "{}password_file = \"{}\"\n",
        redis_store(&redis.url()),
        file.display()
    );
    let gateway = Gateway::start(Origin::start().port, &extra);
    told(&gateway, &["block", "192.0.2.1"]);
    wait_for("the trouble", || {
        standing(&gateway, "shared")["trouble"]
            .to_string()
            .contains("auth")
    });
    assert_nobody_notices(&[&gateway], "192.0.2.1");
    let log = gateway.stderr();
    assert!(
        log.contains("ERROR") && log.contains("shared store: auth"),
        "{log}"
    );
    assert!(!log.contains("wrong\n"), "{log}");
    // Somebody sets it right at the other end.
    redis.cli(&["-a", "right", "config", "set", "requirepass", "wrong"]);
    wait_until_in_step(&gateway);
    let told = redis.cli(&["-a", "wrong", "exists", "default:decision:*:192.0.2.1"]);
    assert!(told.starts_with('1'), "{told}");
}

#[test]
fn a_password_that_is_repeated_to_us_is_told_to_nobody() {
    let redis = Redis::with(&["--rename-command", "AUTH", ""]);
    let folder = Folder::new();
    let file = folder.write("password", "hunter2-secret\n");
    let extra = format!(
        "{}password_file = \"{}\"\n",
        redis_store(&redis.url()),
        file.display()
    );
    let gateway = Gateway::start(Origin::start().port, &extra);
    let trouble = || standing(&gateway, "shared")["trouble"].to_string();
    wait_for("the trouble", || trouble().contains("auth: ERR"));
    wait_for("it in the log", || {
        gateway.stderr().contains("shared store: auth")
    });
    for told in [trouble(), gateway.stderr()] {
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_shared_store_is_entered_with_tls_a_certificate_and_an_access_list() {
    let authority = Authority::new("a test's own");
    let names = ["localhost", "127.0.0.1"];
    let server = authority.issue(Wanted {
        names: &names,
        ..Wanted::default()
    });
    let ours = authority.issue(Wanted {
        client: true,
        ..Wanted::default()
    });
    let folder = Folder::new();
    let file = |name: &str, text: &str| folder.write(name, text).display().to_string();
    let (ca, chain) = (
        file("ca.pem", &authority.pem()),
        file("s.pem", &server.chain),
    );
    let key = file("s.key", &server.key);
    let port = free_port();
    let tls = port.to_string();
    // What etc/thornwall.toml names for operators to allow, and nothing else.
    let user = [
        "gate",
        "on",
        ">secret",
        "~default:*",
        "-@all",
        "+getrange",
        "+set",
        "+del",
        "+scan",
        "+pttl",
        "+xadd",
        "+xread",
        "+xrange",
        "+xrevrange",
    ];
    let mut options = vec!["--tls-port", &tls, "--tls-cert-file", &chain];
    options.extend(["--tls-key-file", &key, "--tls-ca-cert-file", &ca, "--user"]);
    options.extend(user);
    let _redis = Redis::at(port, &options);
    let extra = format!(
        "{}username = \"gate\"\npassword_file = \"{}\"\nca_file = \"{ca}\"\n\
         client_chain_file = \"{}\"\nclient_key_file = \"{}\"\n",
        redis_store(&format!("rediss://localhost:{port}")),
        file("password", "secret\n"),
        file("c.pem", &ours.chain),
        file("c.key", &ours.key),
    );
    let start = |extra: &str| Gateway::start(Origin::start().port, extra);
    let (a, b) = (start(&extra), start(&extra));
    wait_until_in_step(&a);
    told(&a, &["block", "192.0.2.1"]);
    wait_for_status(&[&b], "192.0.2.1", 403);
    told(&b, &["unblock", "192.0.2.1"]);
    wait_for_status(&[&a], "192.0.2.1", 200);
    // Another authority's word is not taken.
    let other = file("other.pem", &Authority::new("another").pem());
    let suspicious = start(&extra.replace(&ca, &other));
    wait_for("the trouble", || {
        let trouble = standing(&suspicious, "shared")["trouble"].to_string();
        trouble.contains("tls: ")
    });
    assert_eq!(status(&suspicious, "203.0.113.5"), 200);
}

#[test]
fn a_user_who_may_not_write_is_told_so_and_reads_on() {
    let redis = Redis::start();
    redis.cli(&["acl", "setuser", "looker", "on", ">secret", "~*", "+@read"]);
    let folder = Folder::new();
    let file = folder.write("password", "secret");
    let plain = gateway(&redis.url());
    wait_until_in_step(&plain);
    let extra = format!(
        "{}username = \"looker\"\npassword_file = \"{}\"\n",
        redis_store(&redis.url()),
        file.display()
    );
    let looker = Gateway::start(Origin::start().port, &extra);
    told(&looker, &["block", "192.0.2.1"]);
    wait_for_state(&looker, "not taking");
    told(&plain, &["block", "192.0.2.2"]);
    wait_for_status(&[&looker], "192.0.2.2", 403);
    assert_nobody_notices(&[&looker], "192.0.2.1");
    let trouble = standing(&looker, "shared")["trouble"].to_string();
    assert!(trouble.contains("denied"), "{trouble}");
}

/// What the predecessor writes when it blocks an address, in the database that it keeps.
fn block(redis: &Redis, address: &str, seconds: &str) {
    let key = format!("default:blocklist:ip:{address}");
    let reason = "{\"reason\": \"High Heuristic\"}";
    redis.cli(&["-n", "2", "set", &key, reason, "ex", seconds]);
}

fn successor(redis: &Redis) -> Gateway {
    let extra = format!("{SITE}[store]\npredecessor_url = \"{}\"\n", redis.url());
    Gateway::start(Origin::start().port, &extra)
}

#[test]
fn what_the_predecessor_blocks_is_blocked_until_it_lets_off() {
    let redis = Redis::start();
    for address in ["192.0.2.1", "192.0.2.4", "2001:db8::7", "unknown"] {
        block(&redis, address, "3600");
    }
    let elsewhere = "default:blocklist:ip:192.0.2.9";
    redis.cli(&["set", elsewhere, "in another database"]);
    let gateway = successor(&redis);
    for address in ["192.0.2.1", "192.0.2.4", "2001:db8::7"] {
        wait_for_status(&[&gateway], address, 403);
    }
    assert_eq!(status(&gateway, "192.0.2.9"), 200);
    // One comes and one goes.
    let started = Instant::now();
    block(&redis, "192.0.2.2", "3600");
    redis.cli(&["-n", "2", "del", "default:blocklist:ip:192.0.2.4"]);
    wait_for_status(&[&gateway], "192.0.2.2", 403);
    wait_for_status(&[&gateway], "192.0.2.4", 200);
    assert!(started.elapsed() < Duration::from_secs(10));
    let skipped = gateway.metric("thornwall_store_shared_skipped{store=\"predecessor\"}");
    assert_eq!(skipped, 1.0);
    assert_eq!(gateway.metric("thornwall_store_predecessor_addresses"), 3.0);
}

#[test]
fn what_a_predecessor_that_is_gone_blocks_is_blocked_as_long_as_it_said() {
    let mut redis = Redis::start();
    let gateway = successor(&redis);
    block(&redis, "192.0.2.1", "3600");
    block(&redis, "192.0.2.3", "9");
    wait_for_status(&[&gateway], "192.0.2.3", 403);
    redis.kill();
    wait_for("the loss to be noticed", || {
        standing(&gateway, "predecessor")["state"] == "away"
    });
    assert_nobody_notices(&[&gateway], "192.0.2.1");
    wait_for_status(&[&gateway], "192.0.2.3", 200);
    assert_nobody_notices(&[&gateway], "192.0.2.1");
}

#[test]
fn what_cannot_work_is_refused_with_its_place() {
    let folder = Folder::new();
    let missing = folder.join("nothing").display().to_string();
    let cases = [
        ("kind = \"redis\"", "without url"),
        ("url = \"redis://h\"", "goes with kind"),
        ("kind = \"redis\"\nurl = \"http://h\"", "an unknown scheme"),
        (
            "kind = \"redis\"\nurl = \"redis://h:port\"",
            "no address of a Redis",
        ),
        (
            "kind = \"redis\"\nurl = \"redis-sentinel://h\"",
            "no address of a Redis",
        ),
        (
            "kind = \"redis\"\nurl = \"redis://me:secret@h\"",
            "an address with credentials",
        ),
        (
            "kind = \"redis\"\nurl = \"redis-sentinel://h?sentinelServiceName=m&sentinelPassword=s\"",
            "an address with credentials",
        ),
        ("tenant = \"Shop\"", "no tenant"),
        ("tenant = \"\"", "no tenant"),
        ("predecessor_url = \"redis\"", "no scheme"),
        (
            "predecessor_password_file = \"p\"",
            "without predecessor_url",
        ),
        (
            "kind = \"redis\"\nurl = \"redis://h\"\nca_file = \"c\"",
            "of no use without TLS",
        ),
        (
            "kind = \"redis\"\nurl = \"rediss://h\"\nclient_key_file = \"c\"",
            "belong together",
        ),
    ];
    let files = [
        format!("kind = \"redis\"\nurl = \"redis://h\"\npassword_file = \"{missing}\""),
        format!("kind = \"redis\"\nurl = \"rediss://h\"\nca_file = \"{missing}\""),
    ];
    let cases = cases.map(|(keys, told)| (keys.to_owned(), told));
    let files = files.into_iter().map(|keys| (keys, "No such file"));
    for (keys, expected) in cases.into_iter().chain(files) {
        let config = folder.write(
            "t.toml",
            &Gateway::toml(18_085, 19_185, 9, &format!("{SITE}[store]\n{keys}\n")),
        );
        let output = Command::new(thornwall())
            .args(["check", "-c"])
            .arg(&config)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{keys}: {text}");
        assert!(text.contains(expected), "{keys}: {text}");
        assert!(text.contains("t.toml:"), "{keys}: {text}");
        assert!(!text.contains("me:secret"), "{text}");
    }
}

#[test]
fn a_reload_changes_no_other_store() {
    let redis = Redis::start();
    let gateway = gateway(&redis.url());
    let text = std::fs::read_to_string(&gateway.config).unwrap();
    let edited = format!("{text}tenant = \"other\"\n");
    std::fs::write(&gateway.config, edited).unwrap();
    gateway.signal("HUP");
    wait_for("the refusal", || {
        gateway
            .stderr()
            .contains("can change another key of [store]")
    });
}

//! Several gateways that share what they decide through a real Redis.

mod access;
mod faults;
mod hostile;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    harness::{CHROME, Gateway, Origin, thornwall, wait_for},
    redis::{Redis, cluster},
};

/// A site behind a trusted proxy, so that a test can choose its client's address.
const SITE: &str = "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n\
    [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
    [[pipeline]]\nname = \"p\"\n[[pipeline.filter]]\nname = \"known_bad\"\nblocklist = {}\n";

/// Longest that a decision may take to another gateway.
const SECOND: Duration = Duration::from_secs(1);

fn redis_store(url: &str) -> String {
    format!("{SITE}[store]\nkind = \"redis\"\nurl = \"{url}\"\n")
}

fn gateway(url: &str) -> Gateway {
    Gateway::start(Origin::start().port, &redis_store(url))
}

/// Two gateways that are in step.
fn two(url: &str) -> [Gateway; 2] {
    let both = [gateway(url), gateway(url)];
    both.iter().for_each(wait_until_in_step);
    both
}

fn status(gateway: &Gateway, client: &str) -> u16 {
    let headers = format!("X-Forwarded-For: {client}\r\n{CHROME}");
    let started = Instant::now();
    let status = gateway.get("/", &headers).status;
    assert!(
        started.elapsed() < SECOND,
        "a visitor waited {:?}",
        started.elapsed()
    );
    status
}

fn told(gateway: &Gateway, words: &[&str]) {
    let output = Command::new(thornwall())
        .args(words)
        .arg("-c")
        .arg(&gateway.config)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {text}");
}

/// A part of what `thornwall status` says about the store.
fn standing(gateway: &Gateway, part: &str) -> serde_json::Value {
    gateway.status()["store"][part].clone()
}

fn is_in_step(gateway: &Gateway) -> bool {
    let shared = standing(gateway, "shared");
    shared["state"] == "in step" && shared["unsent"] == 0 && shared["resyncs"] != 0
}

fn wait_until_in_step(gateway: &Gateway) {
    wait_for("the gateway to be in step", || is_in_step(gateway));
}

fn wait_for_state(gateway: &Gateway, state: &str) {
    wait_for(state, || standing(gateway, "shared")["state"] == state);
}

fn wait_for_status(gateways: &[&Gateway], client: &str, expected: u16) {
    wait_for(&format!("{client} to get {expected}"), || {
        gateways.iter().all(|at| status(at, client) == expected)
    });
}

/// A person is served and a blocked client is not, at each of them.
fn assert_nobody_notices(gateways: &[&Gateway], blocked: &str) {
    for gateway in gateways {
        assert_eq!(status(gateway, "203.0.113.5"), 200);
        assert_eq!(status(gateway, blocked), 403);
    }
}

#[test]
fn a_block_at_one_gateway_holds_at_the_other_within_a_second() {
    let redis = Redis::start();
    let [a, b] = &two(&redis.url());
    for host in 1..10 {
        let subject = format!("192.0.2.{host}");
        told(
            a,
            &["block", &subject, "--for", "1h", "--reason", "every page"],
        );
        let started = Instant::now();
        wait_for_status(&[b], &subject, 403);
        assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
        told(b, &["unblock", &subject]);
        let started = Instant::now();
        wait_for_status(&[a], &subject, 200);
        assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
    }
    told(a, &["block", "2001:db8::/32", "--for", "1h"]);
    told(b, &["block", "192.0.2.7", "--for", "2s", "--site", "t"]);
    wait_for_status(&[a, b], "2001:db8::7", 403);
    wait_for_status(&[a], "192.0.2.7", 403);
    let left: i64 = redis
        .cli(&["pttl", "default:decision:*:2001:db8::/32"])
        .parse()
        .unwrap();
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    // It ends everywhere, and in Redis too.
    wait_for_status(&[a, b], "192.0.2.7", 200);
    assert_eq!(redis.cli(&["exists", "default:decision:t:192.0.2.7"]), "0");
    assert_eq!(b.metric("thornwall_store_shared_up{store=\"shared\"}"), 1.0);
    assert!(b.metric("thornwall_store_shared_changes_total{direction=\"received\"}") >= 10.0);
}

#[test]
fn what_is_taken_back_while_a_gateway_is_down_is_taken_back_there_too() {
    let redis = Redis::start();
    let [a, mut b] = two(&redis.url());
    for subject in ["192.0.2.1", "192.0.2.2"] {
        told(&a, &["block", subject]);
        wait_for_status(&[&b], subject, 403);
    }
    // Until the position is on the disk, too.
    b.signal("TERM");
    b.wait();
    told(&a, &["unblock", "192.0.2.1"]);
    let b = b.start_again();
    wait_for_status(&[&b], "192.0.2.1", 200);
    assert_nobody_notices(&[&a, &b], "192.0.2.2");
    // A stream that does not reach back: the keys are the truth.
    let mut b = b;
    b.signal("TERM");
    b.wait();
    told(&a, &["unblock", "192.0.2.2"]);
    told(&a, &["block", "192.0.2.3"]);
    wait_until_in_step(&a);
    redis.cli(&["xtrim", "default:decisions", "MAXLEN", "1"]);
    let b = b.start_again();
    wait_for_status(&[&b], "192.0.2.2", 200);
    wait_for_status(&[&b], "192.0.2.3", 403);
    wait_until_in_step(&b);
    let keys = redis.cli(&["--scan", "--pattern", "default:decision:*"]);
    assert_eq!(keys, "default:decision:*:192.0.2.3");
}

#[test]
fn tenants_do_not_see_each_other() {
    let redis = Redis::start();
    let at = |tenant: &str| {
        let extra = format!("{}tenant = \"{tenant}\"\n", redis_store(&redis.url()));
        Gateway::start(Origin::start().port, &extra)
    };
    let (one, other, same) = (at("one"), at("other"), at("one"));
    for gateway in [&one, &other, &same] {
        wait_until_in_step(gateway);
    }
    told(&one, &["block", "192.0.2.1"]);
    wait_for_status(&[&same], "192.0.2.1", 403);
    told(&other, &["block", "192.0.2.2"]);
    wait_until_in_step(&other);
    assert_eq!(status(&other, "192.0.2.1"), 200);
    assert_eq!(status(&same, "192.0.2.2"), 200);
    let keys = redis.cli(&["keys", "*"]);
    let theirs = |key: &str| key.starts_with("one:") || key.starts_with("other:");
    assert!(keys.lines().all(theirs), "{keys}");
}

#[test]
fn what_others_wrote_is_counted_and_left_alone() {
    let redis = Redis::start();
    redis.cli(&["set", "default:decision:*:192.0.2.1", "not JSON"]);
    redis.cli(&["lpush", "default:decision:*:192.0.2.2", "a list"]);
    redis.cli(&["xadd", "default:decisions", "*", "other", "field"]);
    redis.cli(&[
        "xadd",
        "default:decisions",
        "*",
        "change",
        "{\"decide\":{}}",
    ]);
    let [a, b] = &two(&redis.url());
    told(a, &["block", "192.0.2.3"]);
    wait_for_status(&[b], "192.0.2.3", 403);
    assert_eq!(status(b, "192.0.2.1"), 200);
    let skipped = b.metric("thornwall_store_shared_skipped{store=\"shared\"}");
    assert_eq!(skipped, 4.0);
}

#[test]
fn a_cluster_is_a_shared_store() {
    let nodes = cluster();
    let [a, b] = &two(&format!(
        "redis-cluster://127.0.0.1:{}?node=127.0.0.1:{}",
        nodes[0].port, nodes[1].port
    ));
    for host in 1..20 {
        told(a, &["block", &format!("192.0.2.{host}")]);
    }
    for host in 1..20 {
        wait_for_status(&[b], &format!("192.0.2.{host}"), 403);
    }
    told(b, &["unblock", "192.0.2.7"]);
    wait_for_status(&[a], "192.0.2.7", 200);
    let held = |node: &Redis| node.cli(&["dbsize"]).parse::<u32>().unwrap();
    assert!(nodes.iter().all(|node| held(node) > 0));
    // A third gateway reads them all.
    let c = gateway(&format!("redis-cluster://127.0.0.1:{}", nodes[2].port));
    for host in (1..20).filter(|host| *host != 7) {
        wait_for_status(&[&c], &format!("192.0.2.{host}"), 403);
    }
}

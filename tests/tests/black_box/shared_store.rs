//! Several gateways that share what they decide through a real Redis, and what becomes of visitors
//! while that one fails.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{CHROME, Folder, Gateway, Origin, thornwall, wait_for},
    redis::{Redis, Relay, cluster},
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
    let output = Command::new(thornwall())
        .args(["status", "--json", "-c"])
        .arg(&gateway.config)
        .output()
        .unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    status["store"][part].clone()
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
    assert!(b.metric("thornwall_store_shared_changes{direction=\"received\"}") >= 10.0);
}

#[test]
fn a_redis_that_is_killed_lets_nobody_off_and_is_filled_again() {
    let mut redis = Redis::start();
    let [a, b] = &two(&redis.url());
    told(a, &["block", "192.0.2.1"]);
    told(a, &["block", "192.0.2.2"]);
    wait_for_status(&[b], "192.0.2.1", 403);
    wait_for_status(&[b], "192.0.2.2", 403);
    redis.kill();
    wait_for_state(a, "away");
    assert_nobody_notices(&[a, b], "192.0.2.1");
    told(a, &["block", "192.0.2.3"]);
    told(b, &["unblock", "192.0.2.2"]);
    assert_eq!(status(a, "192.0.2.3"), 403);
    assert_eq!(status(b, "192.0.2.2"), 200);
    assert_eq!(standing(a, "shared")["unsent"], 1);
    assert_nobody_notices(&[a, b], "192.0.2.1");
    // It knows nothing any more.
    redis.start_again();
    wait_for_status(&[a, b], "192.0.2.3", 403);
    wait_for_status(&[a, b], "192.0.2.2", 200);
    wait_until_in_step(a);
    wait_until_in_step(b);
    assert_nobody_notices(&[a, b], "192.0.2.1");
    let keys = redis.cli(&["--scan", "--pattern", "default:decision:*"]);
    let mut keys: Vec<&str> = keys.lines().collect();
    keys.sort_unstable();
    let expected = [
        "default:decision:*:192.0.2.1",
        "default:decision:*:192.0.2.3",
    ];
    assert_eq!(keys, expected);
    assert_eq!(b.metric("thornwall_store_shared_up{store=\"shared\"}"), 1.0);
    assert!(a.metric("thornwall_store_shared_errors{kind=\"io\",store=\"shared\"}") >= 1.0);
}

#[test]
fn a_redis_that_is_emptied_is_filled_again() {
    let redis = Redis::start();
    let [a, b] = &two(&redis.url());
    told(a, &["block", "192.0.2.1"]);
    wait_for_status(&[b], "192.0.2.1", 403);
    redis.cli(&["flushall"]);
    wait_for("the key to be back", || {
        redis.cli(&["exists", "default:decision:*:192.0.2.1"]) == "1"
    });
    assert_nobody_notices(&[a, b], "192.0.2.1");
}

#[test]
fn a_redis_that_stands_still_holds_nobody_up() {
    let redis = Redis::start();
    let [a, b] = &two(&redis.url());
    told(a, &["block", "192.0.2.1"]);
    wait_for_status(&[b], "192.0.2.1", 403);
    redis.signal("STOP");
    told(a, &["block", "192.0.2.2"]);
    assert_nobody_notices(&[a], "192.0.2.2");
    wait_for_state(a, "away");
    wait_for_state(b, "away");
    assert_nobody_notices(&[a, b], "192.0.2.1");
    assert!(a.metric("thornwall_store_shared_errors{kind=\"timeout\",store=\"shared\"}") >= 1.0);
    redis.signal("CONT");
    wait_for_status(&[b], "192.0.2.2", 403);
    wait_until_in_step(a);
}

#[test]
fn a_redis_without_memory_is_read_on_and_told_later() {
    let redis = Redis::start();
    let [a, b] = &two(&redis.url());
    told(a, &["block", "192.0.2.1"]);
    wait_for_status(&[b], "192.0.2.1", 403);
    redis.cli(&["config", "set", "maxmemory-policy", "noeviction"]);
    redis.cli(&["config", "set", "maxmemory", "1"]);
    told(a, &["block", "192.0.2.2"]);
    wait_for_state(a, "not taking");
    assert_nobody_notices(&[a], "192.0.2.2");
    assert_nobody_notices(&[a, b], "192.0.2.1");
    let trouble = standing(a, "shared")["trouble"].to_string();
    assert!(trouble.contains("full"), "{trouble}");
    redis.cli(&["config", "set", "maxmemory", "0"]);
    wait_for_status(&[b], "192.0.2.2", 403);
    wait_until_in_step(a);
}

#[test]
fn a_slow_redis_costs_freshness_alone() {
    let redis = Redis::start();
    let relay = Relay::to(redis.port);
    let [a, b] = &two(&format!("redis://127.0.0.1:{}", relay.port));
    relay.delay_ms.store(150, Ordering::Relaxed);
    told(a, &["block", "192.0.2.1"]);
    assert_nobody_notices(&[a], "192.0.2.1");
    wait_for_status(&[b], "192.0.2.1", 403);
    relay.delay_ms.store(0, Ordering::Relaxed);
    let sleeper = thread::spawn({
        let port = redis.port.to_string();
        move || {
            Command::new("redis-cli")
                .args(["-p", &port, "debug", "sleep", "5"])
                .output()
        }
    });
    thread::sleep(Duration::from_millis(100));
    told(a, &["block", "192.0.2.2"]);
    assert_nobody_notices(&[a], "192.0.2.2");
    assert_nobody_notices(&[b], "192.0.2.1");
    wait_for_status(&[b], "192.0.2.2", 403);
    sleeper.join().unwrap().unwrap();
}

#[test]
fn answers_that_are_cut_half_way_are_asked_for_again() {
    let redis = Redis::start();
    let relay = Relay::to(redis.port);
    let plain = gateway(&redis.url());
    let cut = gateway(&format!("redis://127.0.0.1:{}", relay.port));
    wait_until_in_step(&cut);
    for host in 1..30 {
        told(&plain, &["block", &format!("192.0.2.{host}")]);
    }
    wait_for_status(&[&cut], "192.0.2.29", 403);
    for bytes in [1, 7, 100, 700, 2500] {
        relay.cut_after.store(bytes, Ordering::Relaxed);
        let subject = format!("198.51.100.{}", bytes % 251);
        told(&plain, &["block", &subject]);
        thread::sleep(Duration::from_millis(400));
        assert_nobody_notices(&[&cut, &plain], "192.0.2.1");
    }
    told(&cut, &["block", "203.0.113.200"]);
    assert_nobody_notices(&[&cut], "203.0.113.200");
    relay.cut_after.store(0, Ordering::Relaxed);
    wait_for_status(&[&plain], "203.0.113.200", 403);
    for bytes in [1, 7, 100, 700, 2500] {
        wait_for_status(&[&cut], &format!("198.51.100.{}", bytes % 251), 403);
    }
    for host in 1..30 {
        assert_eq!(status(&cut, &format!("192.0.2.{host}")), 403);
    }
}

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
    assert!(told.ends_with('1'), "{told}");
}

#[test]
fn a_gateway_that_starts_while_redis_is_gone_has_what_it_knew() {
    let mut redis = Redis::start();
    let [a, b] = two(&redis.url());
    told(&a, &["block", "192.0.2.1"]);
    wait_for_status(&[&b], "192.0.2.1", 403);
    redis.kill();
    told(&b, &["block", "192.0.2.2"]);
    let mut b = b;
    b.signal("KILL");
    b.wait();
    let b = b.start_again();
    assert_nobody_notices(&[&a, &b], "192.0.2.1");
    assert_nobody_notices(&[&b], "192.0.2.2");
    assert_eq!(standing(&b, "shared")["unsent"], 1);
    redis.start_again();
    wait_for_status(&[&a], "192.0.2.2", 403);
    assert_nobody_notices(&[&a, &b], "192.0.2.1");
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

#[test]
fn a_failover_under_load_costs_nobody_a_request() {
    let mut master = Redis::start();
    let port = master.port.to_string();
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &port]);
    let sentinel = Redis::sentinel("main", master.port);
    wait_for("the sentinel to know the replica", || {
        let told = sentinel.cli(&["sentinel", "replicas", "main"]);
        told.contains(&replica.port.to_string())
    });
    wait_for("the replica to be in step", || {
        replica
            .cli(&["info", "replication"])
            .contains("master_link_status:up")
    });
    let url = format!(
        "redis-sentinel://127.0.0.1:{}?sentinelServiceName=main",
        sentinel.port
    );
    let both = Arc::new(two(&url));
    let [a, b] = &*both;
    told(a, &["block", "192.0.2.1"]);
    wait_for_status(&[b], "192.0.2.1", 403);
    let (ended, visitors) = (Arc::new(AtomicBool::new(false)), Arc::clone(&both));
    let load = thread::spawn({
        let ended = Arc::clone(&ended);
        move || {
            let mut asked = 0;
            while !ended.load(Ordering::Relaxed) {
                assert_nobody_notices(&[&visitors[0], &visitors[1]], "192.0.2.1");
                asked += 4;
            }
            asked
        }
    });
    master.kill();
    for host in 1..10 {
        told(a, &["block", &format!("198.51.100.{host}")]);
    }
    for host in 1..10 {
        wait_for_status(&[b], &format!("198.51.100.{host}"), 403);
    }
    wait_until_in_step(a);
    ended.store(true, Ordering::Relaxed);
    assert!(load.join().unwrap() > 10);
    assert_eq!(
        replica.cli(&["exists", "default:decision:*:198.51.100.9"]),
        "1"
    );
}

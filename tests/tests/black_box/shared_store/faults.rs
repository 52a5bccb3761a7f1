//! What becomes of visitors, and of what is decided, while Redis fails.

use std::{
    net::TcpListener,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    assert_nobody_notices, gateway, standing, status, told, two, wait_for_state, wait_for_status,
    wait_until_in_step,
};
use crate::{
    harness::wait_for,
    redis::{Redis, Relay},
};

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
    assert!(a.metric("thornwall_store_shared_errors_total{kind=\"io\",store=\"shared\"}") >= 1.0);
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
    assert!(
        a.metric("thornwall_store_shared_errors_total{kind=\"timeout\",store=\"shared\"}") >= 1.0
    );
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
fn a_redis_that_takes_nothing_is_not_tried_again_at_once() {
    let redis = Redis::start();
    let gateway = gateway(&redis.url());
    wait_until_in_step(&gateway);
    // It answers, and so each session begins well.
    redis.cli(&["replicaof", "127.0.0.1", "1"]);
    told(&gateway, &["block", "192.0.2.1"]);
    wait_for("the trouble", || {
        standing(&gateway, "shared")["trouble"]
            .to_string()
            .contains("read_only")
    });
    let connections = || {
        let stats = redis.cli(&["info", "stats"]);
        let mut lines = stats.lines();
        let count = lines.find_map(|line| line.strip_prefix("total_connections_received:"));
        count.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = connections();
    // Time for what must not happen, which no figure shows.
    thread::sleep(Duration::from_secs(4));
    // Two for each session, of which limits have their own.
    let tried = connections() - before;
    assert!(tried < 40, "{tried}");
    assert_nobody_notices(&[&gateway], "192.0.2.1");
    redis.cli(&["replicaof", "no", "one"]);
    wait_until_in_step(&gateway);
    wait_for("it to be well", || {
        standing(&gateway, "limits")["trouble"].is_null()
    });
}

#[test]
fn sentinels_that_hang_are_not_waited_for() {
    let redis = Redis::start();
    let sentinel = Redis::sentinel("main", redis.port);
    // They are connected to, and say nothing.
    let silent = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (first, second) = (silent(), silent());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let gateway = gateway(&format!(
        "redis-sentinel://127.0.0.1:{}?node=127.0.0.1:{}&node=127.0.0.1:{}&sentinelServiceName=main",
        port(&first),
        port(&second),
        sentinel.port
    ));
    wait_until_in_step(&gateway);
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
    wait_for("Redis to sleep", || !redis.is_awake());
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
        let cuts = relay.cuts.load(Ordering::Relaxed);
        relay.cut_after.store(bytes, Ordering::Relaxed);
        let subject = format!("198.51.100.{}", bytes % 251);
        told(&plain, &["block", &subject]);
        wait_for("answers to be cut", || {
            relay.cuts.load(Ordering::Relaxed) > cuts
        });
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

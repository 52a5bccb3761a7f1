//! A Redis that was taken over, or somebody who writes into it: what that costs a gateway.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    sync::atomic::Ordering,
    thread,
};

use super::{
    assert_nobody_notices, gateway, redis_store, standing, status, told, two, wait_for_status,
    wait_until_in_step,
};
use crate::{
    harness::{Folder, Gateway, Origin, thornwall, wait_for},
    redis::{Redis, Relay, cluster},
};

const MIB: usize = 1 << 20;

/// Answers whatever is said with the same, again and again.
fn parrot(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(1..) = client.read(&mut bytes) {
                    if client.write_all(&answer).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

/// Pipes a last word of this many bytes into a command.
fn pour(redis: &Redis, words: &[&str], bytes: usize) {
    let mut cli = Command::new("redis-cli")
        .args(["-p", &redis.port.to_string(), "-x"])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = cli.stdin.take().unwrap();
    let piece = vec![b'x'; MIB];
    for _ in 0..bytes / MIB {
        stdin.write_all(&piece).unwrap();
    }
    drop(stdin);
    assert!(cli.wait().unwrap().success());
}

#[test]
fn answers_that_no_redis_gives_end_no_gateway() {
    let deep = b"*1\r\n".repeat(10_000);
    for (answer, trouble) in [
        (deep.clone(), "bounds"),
        ([b"$1000\r\n", deep.as_slice()].concat(), "bounds"),
        (b"*2147483647\r\n".to_vec(), "bounds"),
        (b"$2147483647\r\n".to_vec(), "bounds"),
        (b"%1\r\n+a\r\n+b\r\n".to_vec(), "bounds"),
        (b"-ERR no\r\n".to_vec(), "refused"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "bounds"),
        (vec![b'+'; 100_000], "bounds"),
    ] {
        let url = format!("redis://127.0.0.1:{}", parrot(answer.clone()));
        let gateway = gateway(&url);
        let told = || standing(&gateway, "shared")["trouble"].to_string();
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(20)]).into_owned();
        wait_for(&format!("{trouble} of {shown:?}"), || {
            told().contains(trouble)
        });
        assert_eq!(status(&gateway, "203.0.113.5"), 200, "{shown:?}");
    }
}

#[test]
fn a_cluster_and_sentinels_are_held_to_the_same_bounds() {
    let deep = parrot(b"*1\r\n".repeat(10_000));
    for url in [
        format!("redis-cluster://127.0.0.1:{deep}"),
        format!("redis-sentinel://127.0.0.1:{deep}?sentinelServiceName=main"),
    ] {
        let gateway = gateway(&url);
        wait_for("the trouble", || {
            standing(&gateway, "shared")["trouble"]
                .to_string()
                .contains("bounds")
        });
        assert_eq!(status(&gateway, "203.0.113.5"), 200);
    }
}

#[test]
fn entries_and_values_that_are_far_too_large_are_passed_over() {
    let redis = Redis::start();
    let a = gateway(&redis.url());
    wait_until_in_step(&a);
    let before = a.most_memory();
    for _ in 0..3 {
        pour(
            &redis,
            &["xadd", "default:decisions", "*", "change"],
            64 * MIB,
        );
        told(&a, &["block", "192.0.2.1"]);
    }
    pour(&redis, &["set", "default:decision:*:192.0.2.9"], 100 * MIB);
    let fields: Vec<String> = (0..70_000).map(|number| number.to_string()).collect();
    let words = ["xadd", "default:decisions", "*"];
    let fields = fields.iter().map(String::as_str);
    redis.cli(&words.into_iter().chain(fields).collect::<Vec<_>>());
    told(&a, &["block", "192.0.2.2"]);
    // One that has seen nothing of it, and one that starts again.
    let mut b = gateway(&redis.url());
    for _ in 0..2 {
        wait_for_status(&[&a, &b], "192.0.2.1", 403);
        wait_for_status(&[&a, &b], "192.0.2.2", 403);
        wait_until_in_step(&a);
        wait_until_in_step(&b);
        let skipped = b.metric("thornwall_store_shared_skipped{store=\"shared\"}");
        assert!(skipped >= 1.0, "{skipped}");
        b.signal("TERM");
        b.wait();
        b = b.start_again();
    }
    told(&a, &["block", "192.0.2.3"]);
    wait_for_status(&[&b], "192.0.2.3", 403);
    let log = a.stderr();
    assert!(log.contains("too large to be read is passed over"), "{log}");
    for gateway in [&a, &b] {
        let grown = gateway.most_memory().saturating_sub(before);
        assert!(grown < 32 << 10, "{grown} KiB");
    }
}

#[test]
fn entries_beside_large_ones_are_all_read() {
    // Each fits alone, and hundreds of them do not fit one answer.
    let redis = Redis::start();
    let large = "x".repeat(60_000);
    for _ in 0..150 {
        redis.cli(&["xadd", "default:decisions", "*", "change", &large]);
    }
    let [a, b] = &two(&redis.url());
    for host in 1..20 {
        told(a, &["block", &format!("192.0.2.{host}")]);
    }
    for host in 1..20 {
        wait_for_status(&[b], &format!("192.0.2.{host}"), 403);
    }
    let c = gateway(&redis.url());
    wait_until_in_step(&c);
    assert_nobody_notices(&[&c], "192.0.2.7");
    let skipped = c.metric("thornwall_store_shared_skipped{store=\"shared\"}");
    assert_eq!(skipped, 150.0);
}

#[test]
fn gateways_that_somebody_makes_up_are_none() {
    let redis = Redis::start();
    let gateways = two(&redis.url());
    let met = |count: usize| {
        gateways
            .iter()
            .all(|gateway| standing(gateway, "limits")["gateways"] == count)
    };
    wait_for("the gateways to meet", || met(2));
    let mut cli = Command::new("redis-cli")
        .args(["-p", &redis.port.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = cli.stdin.take().unwrap();
    for number in 0..4000 {
        let [high, low] = u16::to_be_bytes(number);
        writeln!(
            stdin,
            "publish default:limits \"\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x{high:02x}\\x{low:02x}\""
        )
        .unwrap();
    }
    drop(stdin);
    assert!(cli.wait().unwrap().success());
    // What was published before this was heard before it.
    told(&gateways[0], &["block", "192.0.2.1"]);
    wait_for_status(&[&gateways[1]], "192.0.2.1", 403);
    assert!(met(2));
    // A third one that is there is met among them.
    let third = gateway(&redis.url());
    wait_for("all three to meet", || {
        met(3) && standing(&third, "limits")["gateways"] == 3
    });
}

#[test]
fn messages_that_no_gateway_sends_end_nobodys_limits() {
    let redis = Redis::start();
    let gateways = two(&redis.url());
    let met = || {
        let count = |gateway| standing(gateway, "limits")["gateways"] == 2;
        gateways.iter().all(count)
    };
    wait_for("the gateways to meet", met);
    // Whoever listens goes on to do so on the same connections.
    let listening = || {
        let list = redis.cli(&["client", "list", "type", "pubsub"]);
        let ids: BTreeSet<String> = list
            .lines()
            .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
            .collect();
        ids
    };
    let before = listening();
    assert_eq!(before.len(), 2);
    redis.cli(&["rpush", "default:gateway:0000000000000007", "x"]);
    // A gateway's number in 16 digits, and the same in a report.
    redis.cli(&[
        "eval",
        "redis.call('publish', 'default:limits', '\\1\\0\\0\\0\\0\\0\\0\\0\\7')",
        "0",
    ]);
    wait_for("both to have looked it up", || {
        let calls = redis.cli(&["info", "commandstats"]);
        let looked = calls.lines().find(|line| line.contains("cmdstat_getrange"));
        looked.is_some_and(|line| line.contains("failed_calls=2"))
    });
    for channel in ["default:limits", "default:counters"] {
        pour(&redis, &["publish", channel], 5 * MIB);
    }
    let skipped = |gateway: &Gateway| {
        gateway.metric("thornwall_store_shared_skipped{store=\"limits\"}") >= 2.0
    };
    wait_for("them to be passed over", || gateways.iter().all(skipped));
    told(&gateways[0], &["block", "192.0.2.1"]);
    wait_for_status(&[&gateways[1]], "192.0.2.1", 403);
    assert_eq!(listening(), before);
    assert!(met());
}

#[test]
fn clear_text_beyond_this_machine_is_said_aloud() {
    let folder = Folder::new();
    for (url, told) in [
        ("redis://127.0.0.1", false),
        ("redis://localhost:6380/3", false),
        ("redis-cluster://[::1]?node=127.0.0.2:1", false),
        ("redis://192.0.2.1", true),
        ("valkey://cache.example", true),
        ("redis-cluster://127.0.0.1?node=192.0.2.1:6379", true),
        ("rediss://cache.example", false),
    ] {
        let toml = Gateway::toml(18_085, 19_185, 9, &redis_store(url));
        let config = folder.write("t.toml", &toml);
        let check = Command::new(thornwall())
            .args(["check", "-c"])
            .arg(&config)
            .output();
        let check = check.unwrap();
        let text = [check.stdout, check.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert_eq!(text.contains("in clear text"), told, "{url}: {text}");
        assert_eq!(check.status.code(), Some(0), "{url}: {text}");
    }
}

#[test]
fn a_part_of_a_cluster_that_moves_is_followed() {
    let nodes = cluster();
    let [a, b] = &two(&format!("redis-cluster://127.0.0.1:{}", nodes[0].port));
    told(a, &["block", "192.0.2.1"]);
    wait_for_status(&[b], "192.0.2.1", 403);
    // The slot of the stream and of one key go elsewhere, one key at a time.
    let id = |node: &Redis| node.cli(&["cluster", "myid"]);
    for key in ["default:decisions", "default:decision:*:192.0.2.1"] {
        let slot = nodes[0].cli(&["cluster", "keyslot", key]);
        let is_at = |node: &Redis| node.cli(&["exists", key]) == "1";
        let from = nodes.iter().position(is_at).unwrap();
        let to = (from + 1) % nodes.len();
        let (source, target) = (id(&nodes[from]), id(&nodes[to]));
        nodes[to].cli(&["cluster", "setslot", &slot, "importing", &source]);
        nodes[from].cli(&["cluster", "setslot", &slot, "migrating", &target]);
        let port = nodes[to].port.to_string();
        nodes[from].cli(&["migrate", "127.0.0.1", &port, key, "0", "5000"]);
        // Half way: the one that had it sends on.
        told(a, &["block", &format!("192.0.2.{}", 10 + to)]);
        wait_for_status(&[b], &format!("192.0.2.{}", 10 + to), 403);
        for node in &nodes {
            node.cli(&["cluster", "setslot", &slot, "node", &target]);
        }
        told(a, &["block", &format!("192.0.2.{}", 20 + to)]);
        wait_for_status(&[b], &format!("192.0.2.{}", 20 + to), 403);
    }
    assert_nobody_notices(&[a, b], "192.0.2.1");
}

#[test]
fn a_cut_in_the_middle_of_large_answers_loses_nothing() {
    let redis = Redis::start();
    let relay = Relay::to(redis.port);
    let plain = gateway(&redis.url());
    wait_until_in_step(&plain);
    pour(
        &redis,
        &["xadd", "default:decisions", "*", "change"],
        2 * MIB,
    );
    told(&plain, &["block", "192.0.2.1"]);
    relay.cut_after.store(100_000, Ordering::Relaxed);
    let extra = redis_store(&format!("redis://127.0.0.1:{}", relay.port));
    let cut = Gateway::start(Origin::start().port, &extra);
    wait_for_status(&[&cut], "192.0.2.1", 403);
}

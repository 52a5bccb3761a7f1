//! What gateways and sidecars make of floods, pauses and disks that fail.

use std::{
    fs,
    io::{Read, Write},
    ops::RangeInclusive,
    os::unix::fs::PermissionsExt,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use super::sidecar::{
    DUBIOUS, STRICT, Sidecar, assert_nobody_notices, gateway, is_connected, is_denied, person,
    program, scanner, status, wait_until_denied,
};
use crate::harness::{Gateway, Origin, connect, free_port, signal, wait_for};

/// Sends a request of each of so many scanners, on one connection; how many were served.
fn flood(gateway: &Gateway, network: u8, count: u16) -> usize {
    let mut stream = connect(gateway.port).unwrap();
    let mut requests = String::new();
    for n in 0..count {
        let [high, low] = n.to_be_bytes();
        let connection = if n + 1 == count {
            "close"
        } else {
            "keep-alive"
        };
        let client = scanner(&format!("10.{network}.{high}.{low}"));
        requests.push_str(&format!(
            "GET /{n} HTTP/1.1\r\nHost: t.example\r\nConnection: {connection}\r\n{client}\r\n"
        ));
    }
    let mut reader = stream.try_clone().unwrap();
    thread::scope(|scope| {
        let answers = scope.spawn(move || {
            let mut answers = String::new();
            reader.read_to_string(&mut answers).unwrap();
            answers.matches("HTTP/1.1 200 OK").count()
        });
        stream.write_all(requests.as_bytes()).unwrap();
        answers.join().unwrap()
    })
}

#[test]
fn a_flood_of_cases_is_bounded_and_counted() {
    let origin = Origin::start();
    let mut sidecar = Sidecar::planned(STRICT);
    fs::create_dir_all(sidecar.folder.join("data")).unwrap();
    fs::write(sidecar.token(), "0123456789abcdef0123456789abcdef\n").unwrap();
    let link = format!(
        "address = {:?}\ntoken_file = {:?}\nmax_cases = 100\n",
        sidecar.address(),
        sidecar.token()
    );
    let gateway = gateway(origin.port, &link, DUBIOUS);
    // As many connections at once as there are networks.
    let flood_from = |networks: RangeInclusive<u8>| {
        thread::scope(|scope| {
            for network in networks {
                let gateway = &gateway;
                scope.spawn(move || assert_eq!(flood(gateway, network, 450), 450));
            }
        });
    };
    flood_from(1..=2);
    let before_kib = gateway.most_memory();
    let cases = || gateway.metric("thornwall_escalation_cases");
    let shed = || gateway.metric("thornwall_escalation_shed_total");
    assert_eq!((cases(), shed()), (100.0, 800.0));
    flood_from(3..=12);
    assert_nobody_notices(&gateway);
    assert_eq!((cases(), shed()), (100.0, 5_300.0));
    let grown_kib = gateway.most_memory() - before_kib;
    assert!(
        grown_kib < 16 << 10,
        "{grown_kib} KiB for cases that found no room"
    );
    // What was kept is sent, and then there is room.
    sidecar.run();
    let sent = || gateway.metric("thornwall_escalation_sent_total");
    wait_for("what was kept", || sent() == 100.0);
    wait_until_denied(&[&gateway], "192.0.2.7");
}

#[test]
fn a_sidecar_that_is_paused_or_killed_under_load_harms_nobody() {
    let origin = Origin::start();
    let mut sidecar = Sidecar::start(STRICT);
    let gateway = sidecar.gateway(origin.port, "{ score = [0.3, 1.0], wait_ms = 100 }");
    wait_for("the gateway", || is_connected(&gateway));
    let (over, asked) = (AtomicBool::new(false), AtomicU32::new(0));
    let load = |lane: u8| {
        let mut longest = Duration::ZERO;
        while !over.load(Relaxed) {
            let n = asked.fetch_add(1, Relaxed);
            let client = format!("10.{lane}.{}.{}", n >> 8 & 0xff, n & 0xff);
            let began = Instant::now();
            assert!(matches!(status(&gateway, &client), 200 | 403));
            assert_eq!(person(&gateway), 200);
            longest = longest.max(began.elapsed());
        }
        longest
    };
    let longest = thread::scope(|scope| {
        let lanes = [1, 2].map(|lane| scope.spawn(move || load(lane)));
        let steps = |sidecar: &mut Sidecar| {
            signal(sidecar.child.id(), "STOP");
            wait_for("the gateway to notice", || !is_connected(&gateway));
            signal(sidecar.child.id(), "CONT");
            wait_for("the gateway", || is_connected(&gateway));
            sidecar.kill();
            wait_for("the gateway to notice", || !is_connected(&gateway));
            let before = asked.load(Relaxed);
            wait_for("people to be served", || asked.load(Relaxed) > before + 20);
            sidecar.run();
            wait_for("the gateway", || is_connected(&gateway));
        };
        steps(&mut sidecar);
        over.store(true, Relaxed);
        lanes.map(|lane| lane.join().unwrap()).into_iter().max()
    });
    assert!(longest < Some(Duration::from_secs(2)), "{longest:?}");
    wait_until_denied(&[&gateway], "192.0.2.7");
    assert_eq!(gateway.metric("thornwall_escalation_refused_total"), 0.0);
}

#[test]
fn two_sidecars_do_not_share_a_folder() {
    let sidecar = Sidecar::start(STRICT);
    let (port, admin) = (free_port(), free_port());
    let text = format!(
        "[server]\naddress = \"127.0.0.1:{port}\"\ndata_dir = \"data\"\n\
         [admin]\naddress = \"127.0.0.1:{admin}\"\n"
    );
    let config = sidecar.folder.write("second.toml", &text);
    let second = Command::new(program())
        .args(["run", "-c"])
        .arg(config)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{told}");
    let file = sidecar.folder.join("data/history.redb");
    assert!(told.contains(&file.display().to_string()), "{told}");
    assert!(told.contains("another process uses it"), "{told}");
    // The first one has noticed nothing.
    let origin = Origin::start();
    let gateway = sidecar.gateway(origin.port, DUBIOUS);
    wait_until_denied(&[&gateway], "192.0.2.7");
}

/// A sidecar whose data folder is a disk of its own, as small as that; what is in the folder is seen
/// through `/proc/PID/root`.
fn on_a_small_disk() -> (Sidecar, String) {
    let mut sidecar = Sidecar::planned(&format!(
        "{STRICT}[[caller]]\nname = \"gateway\"\ntoken_file = \"gateway.token\"\n\
         roles = [\"assess\"]\n"
    ));
    let data = sidecar.folder.join("data");
    fs::create_dir_all(&data).unwrap();
    let script = format!(
        "#!/bin/sh\nexec unshare -rm sh -c 'mount -t tmpfs -o size=8m tmpfs {} && exec {} \"$@\"' sh \"$@\"\n",
        data.display(),
        program().display()
    );
    let small = sidecar.folder.write("small", &script);
    fs::set_permissions(&small, fs::Permissions::from_mode(0o755)).unwrap();
    sidecar.run_as(&small);
    let seen = format!("/proc/{}/root{}", sidecar.child.id(), data.display());
    (sidecar, seen)
}

#[test]
fn a_full_disk_costs_the_history_and_no_assessment() {
    let (sidecar, data) = on_a_small_disk();
    let origin = Origin::start();
    let link = format!(
        "address = {:?}\ntoken_file = {:?}\n",
        sidecar.address(),
        sidecar.folder.join("gateway.token")
    );
    let gateway = gateway(origin.port, &link, DUBIOUS);
    wait_for("the gateway", || is_connected(&gateway));
    let filler = format!("{data}/filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0x41; 4096]).is_ok() {}
    drop(file);
    let failing = || sidecar.metric("thornwall_sidecar_history_failing") == 1.0;
    let mut network = 0;
    wait_for("the disk to be found full", || {
        network += 1;
        flood(&gateway, network, 200);
        failing()
    });
    assert!(sidecar.metric("thornwall_sidecar_history_failed_writes_total") >= 1.0);
    assert!(sidecar.stderr().contains("history is not written"));
    // It goes on.
    wait_until_denied(&[&gateway], "192.0.2.7");
    assert_nobody_notices(&gateway);
    fs::remove_file(&filler).unwrap();
    wait_for("the disk to be written again", || {
        network += 1;
        flood(&gateway, network, 20);
        thread::sleep(Duration::from_millis(200));
        !failing()
    });
    assert!(is_denied(&gateway, "192.0.2.7"));
}

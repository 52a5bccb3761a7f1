//! What a service manager and an operator rely on: notifications, signals, logs on a full disk.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    process::Command,
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use crate::harness::{
    Folder, Gateway, OPEN_SITE, Origin, PATIENCE, Program, connect, free_port, root, thornwall,
    wait_for,
};

/// What systemd listens on. A thread reads: the system keeps few datagrams.
struct Manager(Receiver<String>);

impl Manager {
    fn bind(folder: &Folder) -> (Self, String) {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (told, heard) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                if told.send(text).is_err() {
                    return;
                }
            }
        });
        (Self(heard), path.display().to_string())
    }

    /// The next message with this line in it; others, watchdog pings say, go by.
    fn hear(&self, line: &str) -> String {
        loop {
            let text = self.0.recv_timeout(PATIENCE);
            let text = text.unwrap_or_else(|error| panic!("no {line}: {error}"));
            if text.lines().any(|told| told.starts_with(line)) {
                return text;
            }
        }
    }
}

#[test]
fn a_service_manager_that_does_not_read_holds_nothing_up() {
    let folder = Folder::new();
    let path = folder.join("notify");
    let _deaf = UnixDatagram::bind(&path).unwrap();
    let socket = path.display().to_string();
    // More pings in a second than the system keeps.
    let program = Program::with(&[("NOTIFY_SOCKET", &socket), ("WATCHDOG_USEC", "10000")]);
    let gateway = Gateway::start_with(&program, folder, Origin::start().port, OPEN_SITE);
    wait_for("a ping that found no room", || {
        gateway.stderr().contains("service manager cannot be told")
    });
    assert_eq!(gateway.get("/", "").status, 200);
}

#[test]
fn the_service_manager_is_told() {
    let folder = Folder::new();
    let (manager, socket) = Manager::bind(&folder);
    // Every ping comes after half of this.
    let program = Program::with(&[("NOTIFY_SOCKET", &socket), ("WATCHDOG_USEC", "400000")]);
    let mut gateway = Gateway::start_with(&program, folder, Origin::start().port, OPEN_SITE);
    let ready = manager.hear("READY=1");
    assert!(
        ready.contains("STATUS=serving; listeners=1 generation=1"),
        "{ready}"
    );
    manager.hear("WATCHDOG=1");
    manager.hear("WATCHDOG=1");
    gateway.signal("HUP");
    let reloading = manager.hear("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert!(manager.hear("READY=1").contains("generation=2"));

    let output = Command::new(thornwall())
        .args(["upgrade", "-c"])
        .arg(&gateway.config)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let pid = told.trim().rsplit(' ').next().unwrap();
    // In whatever order: the old process says who is in charge, the new one that it serves.
    let mut expected = vec![format!("MAINPID={pid}"), "READY=1".to_owned()];
    while !expected.is_empty() {
        let text = manager.hear("");
        expected.retain(|line| !text.lines().any(|told| told == line));
        assert!(
            !text.contains("STOPPING"),
            "the service does not stop: {text}"
        );
    }
    assert_eq!(gateway.wait(), Some(0));
    manager.hear("WATCHDOG=1");
    manager.hear("WATCHDOG=1");
    crate::harness::signal(pid.parse().unwrap(), "TERM");
    let stopping = manager.hear("STOPPING=1");
    assert!(
        stopping.contains("EXTEND_TIMEOUT_USEC=25000000"),
        "{stopping}"
    );
    wait_for("the new process to end", || connect(gateway.port).is_none());
}

#[test]
fn a_second_signal_ends_the_drain() {
    let origin = Origin::answering("", Duration::from_secs(60));
    let mut gateway = Gateway::start(origin.port, OPEN_SITE);
    let mut client = connect(gateway.port).unwrap();
    std::io::Write::write_all(&mut client, b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    wait_for("the request to be under way", || {
        origin.requests().len() == 1
    });
    gateway.signal("TERM");
    wait_for("the drain", || gateway.stderr().contains("stopping"));
    assert!(gateway.child.try_wait().unwrap().is_none());
    gateway.signal("INT");
    assert_eq!(gateway.wait(), Some(0));
    let told = gateway.stderr();
    assert!(told.contains("asked to stop at once; cut off=1"), "{told}");
}

/// Changes the largest file that a running process may write.
fn limit_files(gateway: &Gateway, bytes: &str) {
    let limited = Command::new("prlimit")
        .args(["--pid", &gateway.child.id().to_string()])
        .arg(format!("--fsize={bytes}:"))
        .status();
    assert!(limited.unwrap().success());
}

fn access_log(gateway: &Gateway) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(gateway.folder.join("access.log")).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
}

const DROPPED: &str = "thornwall_access_log_dropped_total";

#[test]
fn a_full_disk_costs_lines_that_are_counted_and_no_request() {
    let gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    gateway.get("/", "");
    wait_for("a line", || access_log(&gateway).len() == 1);
    // In the middle of a line to come.
    let size = fs::metadata(gateway.folder.join("access.log"))
        .unwrap()
        .len();
    limit_files(&gateway, &(size * 5 / 2).to_string());
    for _ in 0..10 {
        assert_eq!(gateway.get("/", "").status, 200);
    }
    wait_for("lost lines", || gateway.metric(DROPPED) == 9.0);
    assert_eq!(access_log(&gateway).len(), 2);
    limit_files(&gateway, "unlimited");
    let last = gateway.get("/", "");
    wait_for("the last line", || access_log(&gateway).len() == 3);
    assert_eq!(access_log(&gateway)[2]["id"], last.id());
    assert_eq!(gateway.metric(DROPPED), 9.0);
    let told = gateway.stderr();
    assert_eq!(
        told.matches("access log cannot be written").count(),
        1,
        "{told}"
    );
    assert!(told.contains("written again; lost_lines=9"), "{told}");
}

#[test]
fn a_start_that_was_cut_off_is_no_obstacle_to_the_next() {
    let folder = Folder::new();
    let (port, admin) = (free_port(), free_port());
    let origin = Origin::start();
    let config = folder.write(
        "t.toml",
        &Gateway::toml(port, admin, origin.port, OPEN_SITE),
    );
    // In the middle of the key, and then of the token: the system ends who writes beyond the limit.
    for bytes in [20, 32] {
        let ended = Command::new("prlimit")
            .arg(format!("--fsize={bytes}"))
            .arg(thornwall())
            .args(["run", "-c"])
            .arg(&config)
            .output();
        assert!(!ended.unwrap().status.success());
    }
    let gateway = Gateway::start_from(folder, config, port, admin);
    assert_eq!(gateway.get("/", "").status, 200);
}

#[test]
fn the_access_log_is_rotated_by_renaming() {
    let gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    gateway.get("/", "");
    wait_for("a line", || access_log(&gateway).len() == 1);
    let path = gateway.folder.join("access.log");
    let rotated = gateway.folder.join("access.log.1");
    fs::rename(&path, &rotated).unwrap();
    gateway.signal("HUP");
    wait_for("the new file", || path.exists());
    gateway.get("/", "");
    wait_for("a line in it", || access_log(&gateway).len() == 1);
    assert_eq!(fs::read_to_string(&rotated).unwrap().lines().count(), 1);
}

#[test]
fn an_upgrade_under_a_supervisor_that_knows_one_process_is_refused() {
    let check = |name: &str, start: &str, expected: &str| {
        let folder = Folder::new();
        let program = folder.write(name, &format!("#!/bin/sh\n{start}\n"));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let origin = Origin::start();
        let gateway = Gateway::start_with(&Program::at(&program), folder, origin.port, OPEN_SITE);
        let output = Command::new(thornwall())
            .args(["upgrade", "-c"])
            .arg(&gateway.config)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(expected), "{told}");
        let lock = fs::read_to_string(gateway.folder.join("data/lock")).unwrap();
        crate::harness::signal(lock.trim().parse().unwrap(), "TERM");
        wait_for("the end", || connect(gateway.port).is_none());
    };
    let thornwall = thornwall();
    let thornwall = thornwall.display();
    check(
        "tini",
        &format!("{thornwall} \"$@\" & wait"),
        "tini started this process",
    );
    let exec = format!("SYSTEMD_EXEC_PID=$$ exec {thornwall} \"$@\"");
    check("any", &exec, "systemd, without Type=notify");
}

/// The unit with the built command in it.
fn unit() -> (Folder, std::path::PathBuf) {
    let folder = Folder::new();
    let text = fs::read_to_string(root().join("deploy/systemd/thornwall.service")).unwrap();
    let installed = "/usr/bin/thornwall ";
    assert!(text.contains(installed));
    let text = text.replace(installed, &format!("{} ", thornwall().display()));
    let path = folder.write("thornwall.service", &text);
    (folder, path)
}

fn systemd_analyze(args: &[&str], path: &std::path::Path) -> (bool, String) {
    let output = Command::new("systemd-analyze")
        .args(args)
        .arg(path)
        .output();
    let output = output.expect("systemd-analyze is there; see tests/setup");
    let told = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&told).into_owned(),
    )
}

#[test]
fn systemd_takes_the_unit() {
    let (_folder, path) = unit();
    let (good, told) = systemd_analyze(&["verify", "--man=no"], &path);
    assert!(good && !told.contains("thornwall.service"), "{told}");
    // 0 is perfect, 100 is none at all; the threshold is in tenths of what it prints.
    let (good, told) = systemd_analyze(&["security", "--offline=yes", "--threshold=20"], &path);
    assert!(good, "{told}");
}

#[test]
fn the_unit_tries_again_leaves_time_for_the_drain_and_does_not_run_as_root() {
    let text = fs::read_to_string(root().join("deploy/systemd/thornwall.service")).unwrap();
    let value = |key: &str| {
        let mut values = text
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("{key}=")));
        values
            .next()
            .unwrap_or_else(|| panic!("no {key}"))
            .to_owned()
    };
    // A failed start is tried again without an end, and not in a hurry.
    assert!(!text.contains("RestartPreventExitStatus"));
    assert_eq!(
        (value("Restart"), value("StartLimitIntervalSec")),
        ("on-failure".into(), "0".into())
    );
    assert!(value("RestartSec").parse::<u64>().unwrap() >= 1);
    let grace = 20;
    assert!(value("TimeoutStopSec").parse::<u64>().unwrap() > grace);
    let user = value("User");
    let users = fs::read_to_string(root().join("deploy/systemd/thornwall.sysusers.conf")).unwrap();
    let makes_it = |line: &str| line.split_whitespace().take(2).eq(["u", user.as_str()]);
    assert!(users.lines().any(makes_it), "{users}");
    assert_eq!(value("AmbientCapabilities"), value("CapabilityBoundingSet"));
}

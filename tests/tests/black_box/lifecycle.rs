//! Starting, reloading and stopping.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::OpenOptionsExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::harness::{Folder, Gateway, OPEN_SITE, Origin, connect, free_port, thornwall, wait_for};

#[test]
fn ten_reloads_under_load_fail_no_request() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, served, port) = (Arc::clone(&stop), Arc::clone(&served), gateway.port);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    keepalive_round(port, &served);
                }
            })
        })
        .collect();
    let good = fs::read_to_string(&gateway.config).unwrap();
    for turn in 1..=10_u32 {
        let before = served.load(Ordering::Relaxed);
        wait_for("requests between reloads", || {
            served.load(Ordering::Relaxed) > before + 20
        });
        let broken = turn == 5;
        let text = if broken {
            good.replace("[[site]]", "[[site]]\nbogus = 1")
        } else {
            format!("{good}\n# {turn}\n")
        };
        fs::write(&gateway.config, text).unwrap();
        let result = if broken { "refused" } else { "applied" };
        let metric = format!("thornwall_reloads_total{{result=\"{result}\"}}");
        let reloads = gateway.metric(&metric);
        gateway.signal("HUP");
        wait_for("the reload", || gateway.metric(&metric) > reloads);
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no request fails");
    }
    assert_eq!(gateway.metric("thornwall_generation"), 10.0);
    assert!(gateway.stderr().contains("t.toml"), "{}", gateway.stderr());
    assert!(
        gateway.stderr().contains("unknown key `bogus`"),
        "{}",
        gateway.stderr()
    );
    assert!(served.load(Ordering::Relaxed) > 200);
}

/// Ten requests over one connection; panics where one is not served.
fn keepalive_round(port: u16, served: &AtomicUsize) {
    let mut stream = connect(port).unwrap();
    for _ in 0..10 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            .unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"origin") {
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "closed after {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&buffer[..count]);
        }
        assert!(
            seen.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&seen)
        );
        served.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn what_only_a_restart_can_change_is_refused_on_reload() {
    let gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    let text = fs::read_to_string(&gateway.config).unwrap();
    let other = format!("127.0.0.1:{}", free_port());
    let text = text.replace(&format!("127.0.0.1:{}", gateway.port), &other);
    fs::write(&gateway.config, text.replace("threads = 2", "threads = 1")).unwrap();
    gateway.signal("HUP");
    wait_for("the refusal", || {
        gateway.stderr().contains("only a restart")
    });
    assert!(
        gateway
            .stderr()
            .contains("listener.address, server.threads"),
        "{}",
        gateway.stderr()
    );
    assert_eq!(gateway.get("/", "").status, 200);
}

#[test]
fn an_idle_gateway_stops_within_a_second() {
    let mut gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    // An idle keepalive connection is no reason to stay.
    let mut idle = connect(gateway.port).unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        .unwrap();
    assert!(idle.read(&mut [0; 1024]).unwrap() > 0);
    gateway.stops_at_once();
}

#[test]
fn a_busy_gateway_stops_when_the_last_request_has_ended() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow";
    let origin = Origin::answering(answer, Duration::from_secs(2));
    let mut gateway = Gateway::start(origin.port, OPEN_SITE);
    let port = gateway.port;
    let client = thread::spawn(move || {
        crate::harness::send(
            port,
            "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
        )
    });
    wait_for("the request to be under way", || {
        origin.requests().len() == 1
    });
    let asked = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    let took = asked.elapsed();
    assert_eq!(client.join().unwrap().body, "slow");
    assert!(
        took > Duration::from_secs(1) && took < Duration::from_secs(4),
        "{took:?}"
    );
}

#[test]
fn the_grace_period_ends_what_does_not_end_by_itself() {
    let origin = Origin::answering("", Duration::from_secs(30));
    let mut gateway = Gateway::start(
        origin.port,
        &format!("shutdown_grace_secs = 1\n{OPEN_SITE}"),
    );
    let mut client = connect(gateway.port).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        .unwrap();
    wait_for("the request to be under way", || {
        origin.requests().len() == 1
    });
    let asked = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
}

#[test]
fn a_reload_that_never_ends_is_no_obstacle_to_a_stop() {
    const O_NONBLOCK: i32 = 0o4000;
    let mut gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    fs::remove_file(&gateway.config).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(&gateway.config)
        .status();
    assert!(made.unwrap().success());
    gateway.signal("HUP");
    let mut unwritten = None;
    wait_for("the gateway to read", || {
        let mut options = fs::OpenOptions::new();
        let opened = options.write(true).custom_flags(O_NONBLOCK);
        // What the gateway reads ends only when this is dropped.
        unwritten = opened.open(&gateway.config).ok();
        unwritten.is_some()
    });
    assert_eq!(gateway.get("/", "").status, 200);
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn a_port_in_use_ends_the_start_with_code_2() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = Folder::new();
    for (public, admin) in [(port, free_port()), (free_port(), port)] {
        let config = folder.write("t.toml", &Gateway::toml(public, admin, 9, OPEN_SITE));
        let output = std::process::Command::new(thornwall())
            .args(["run", "-c"])
            .arg(&config)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            told.contains(&format!("cannot listen on 127.0.0.1:{port}")),
            "{told}"
        );
    }
}

//! A new process takes the place of the running one, or fails to.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::harness::{
    Folder, Gateway, OPEN_SITE, Origin, PATIENCE, Program, free_port, send, signal, thornwall,
    try_send, wait_for,
};

/// A process that was left behind by another one, and ends with the test.
struct Successor(u32);

impl Successor {
    /// The new process, as the command told it.
    fn told(output: &Output, before: u32) -> Self {
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{told}{stderr}");
        let pid = told
            .strip_prefix(&format!("upgraded: pid {before} -> pid "))
            .and_then(|pid| pid.trim().parse().ok());
        Self(pid.unwrap_or_else(|| panic!("{told}")))
    }

    fn is_running(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        // Nobody may wait for it, so it can be left as a zombie.
        !stat.is_empty() && !stat.contains(") Z ")
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if self.is_running() {
            signal(self.0, "KILL");
        }
    }
}

fn upgrade(config: &Path, more: &[&str]) -> Output {
    Command::new(thornwall())
        .args(["upgrade", "-c"])
        .arg(config)
        .args(more)
        .output()
        .unwrap()
}

/// The process that holds the data folder.
fn holder(folder: &Folder) -> u32 {
    let text = fs::read_to_string(folder.join("data/lock")).unwrap();
    text.trim().parse().unwrap()
}

/// What clients saw while processes came and went.
#[derive(Default)]
struct Seen {
    answered: AtomicUsize,
    /// A kept connection that was closed before its next request was read; every client must be
    /// ready for that (RFC 9112 section 9.3.1), and the request goes out again.
    again: AtomicUsize,
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";
const LAST_REQUEST: &str = "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";

/// What became of a request.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// Answered, and the connection may be used again.
    Answered,
    /// Answered, with the word that the connection ends.
    AnsweredLast,
    /// Closed before the first byte of an answer.
    Closed,
}

/// One answer of the origin.
fn read_answer(stream: &mut TcpStream) -> Outcome {
    let mut seen = Vec::new();
    while !seen.ends_with(b"origin") {
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer) {
            Ok(0) if seen.is_empty() => return Outcome::Closed,
            Err(error) if seen.is_empty() && error.kind() == ErrorKind::ConnectionReset => {
                return Outcome::Closed;
            }
            Ok(count) if count > 0 => seen.extend_from_slice(&buffer[..count]),
            other => panic!("{other:?} after {}", String::from_utf8_lossy(&seen)),
        }
    }
    let text = String::from_utf8_lossy(&seen).to_ascii_lowercase();
    assert!(text.starts_with("http/1.1 200"), "{text}");
    if text.contains("connection: close") {
        Outcome::AnsweredLast
    } else {
        Outcome::Answered
    }
}

fn open(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("no connection is refused");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A connection for each request: every one is answered.
fn new_connections(port: u16, seen: &Seen) {
    let mut stream = open(port);
    stream.write_all(LAST_REQUEST.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream), Outcome::AnsweredLast);
    seen.answered.fetch_add(1, Ordering::Relaxed);
}

/// Twenty requests over one connection, as far as it goes.
fn kept_connection(port: u16, seen: &Seen) {
    let mut stream = open(port);
    for turn in 0..20 {
        let outcome = match stream.write_all(REQUEST.as_bytes()) {
            Ok(()) => read_answer(&mut stream),
            Err(_) => Outcome::Closed,
        };
        if outcome == Outcome::Closed {
            assert!(turn > 0, "a new connection was closed without an answer");
            seen.again.fetch_add(1, Ordering::Relaxed);
            return;
        }
        seen.answered.fetch_add(1, Ordering::Relaxed);
        if outcome == Outcome::AnsweredLast {
            return;
        }
    }
}

/// Clients that go on until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Seen>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(port: u16, admin: u16) -> Self {
        let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::<Seen>::default());
        let client = |turn: fn(u16, &Seen), port: u16| {
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    turn(port, &seen);
                }
            })
        };
        let clients = vec![
            client(new_connections, port),
            client(new_connections, port),
            client(kept_connection, port),
            client(kept_connection, port),
            client(|admin, _| assert!(is_live(admin) || is_live(admin)), admin),
        ];
        Self {
            stop,
            seen,
            clients,
        }
    }

    fn more(&self, count: usize) {
        let before = self.seen.answered.load(Ordering::Relaxed);
        wait_for("answers", || {
            self.seen.answered.load(Ordering::Relaxed) >= before + count
        });
    }

    /// How many were answered, and how many went out again.
    fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("every client is served");
        }
        let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
        (count(&self.seen.answered), count(&self.seen.again))
    }
}

fn is_live(admin: u16) -> bool {
    let request = "GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    try_send(admin, request).is_some_and(|reply| reply.status == 200)
}

#[test]
fn upgrades_under_load_refuse_and_lose_nothing() {
    let mut gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    let first = gateway.child.id();
    let load = Load::start(gateway.port, gateway.admin);
    load.more(50);
    let second = Successor::told(&upgrade(&gateway.config, &[]), first);
    assert_eq!(gateway.wait(), Some(0), "the old one ends by itself");
    load.more(50);
    assert_eq!(holder(&gateway.folder), second.0);
    let third = Successor::told(&upgrade(&gateway.config, &[]), second.0);
    load.more(50);
    wait_for("the second one to end", || !second.is_running());
    let (answered, again) = load.end();
    println!("answered={answered} sent_again_on_kept_connections={again}");
    signal(third.0, "TERM");
    wait_for("the third one to end", || !third.is_running());
    assert!(!gateway.folder.join("data/control.sock").exists());
    let log = fs::read_to_string(gateway.folder.join("access.log")).unwrap();
    assert_eq!(log.lines().count(), answered, "a line for each answer");
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{line}"));
    }
}

#[test]
fn the_new_process_has_the_same_secrets_and_its_own_configuration() {
    let mut gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    let secrets = |gateway: &Gateway| {
        ["links.key", "admin.token"].map(|name| fs::read(gateway.folder.join("data").join(name)))
    };
    let before = secrets(&gateway).map(Result::unwrap);
    let (gone, extra) = (gateway.port, free_port());
    let kept = free_port();
    let text = fs::read_to_string(&gateway.config).unwrap();
    let listener = |port: u16| format!("[[listener]]\naddress = \"127.0.0.1:{port}\"\n");
    // A second listener, then another one instead of the first.
    let two = text.replace(&listener(gone), &(listener(gone) + &listener(kept)));
    fs::write(&gateway.config, &two).unwrap();
    let first = Successor::told(&upgrade(&gateway.config, &[]), gateway.child.id());
    assert_eq!(
        (
            send(gone, LAST_REQUEST).status,
            send(kept, LAST_REQUEST).status
        ),
        (200, 200)
    );
    assert_eq!(gateway.wait(), Some(0));
    fs::write(
        &gateway.config,
        two.replace(&listener(gone), &listener(extra))
            .replace("threads = 2", "threads = 1"),
    )
    .unwrap();
    let second = Successor::told(&upgrade(&gateway.config, &[]), first.0);
    wait_for("the old one to end", || !first.is_running());
    assert!(try_send(gone, LAST_REQUEST).is_none(), "nobody listens");
    let reply = send(extra, LAST_REQUEST);
    assert_eq!((reply.status, send(kept, LAST_REQUEST).status), (200, 200));
    assert_eq!(secrets(&gateway).map(Result::unwrap), before);
    assert_eq!(gateway.explain(reply.id())["status"], 200);
    drop(second);
}

#[test]
fn a_hundred_listeners_are_handed_over() {
    let origin = Origin::start();
    let port = free_port();
    // An address for each, since a hundred free ports would not stay free.
    let addresses: Vec<String> = (1..=100).map(|n| format!("127.0.0.{n}:{port}")).collect();
    let listener = |address: &String| format!("[[listener]]\naddress = \"{address}\"\n");
    let listeners: String = addresses.iter().map(listener).collect();
    let mut gateway = Gateway::start(origin.port, &format!("{listeners}{OPEN_SITE}"));
    let next = Successor::told(&upgrade(&gateway.config, &[]), gateway.child.id());
    assert_eq!(gateway.wait(), Some(0));
    for address in &addresses {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(LAST_REQUEST.as_bytes()).unwrap();
        assert_eq!(read_answer(&mut stream), Outcome::AnsweredLast);
    }
    drop(next);
}

#[test]
fn what_cannot_take_over_leaves_the_running_one_as_it_is() {
    let folder = Folder::new();
    let program = folder.join("thornwall");
    symlink(thornwall(), &program).unwrap();
    let gateway = Gateway::start_with(
        &Program::at(&program),
        folder,
        Origin::start().port,
        OPEN_SITE,
    );
    let load = Load::start(gateway.port, gateway.admin);
    let refused = |more: &[&str], expected: &str| {
        let output = upgrade(&gateway.config, more);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(expected), "{told}");
        assert!(told.contains("goes on"), "{told}");
        load.more(20);
        assert_eq!(holder(&gateway.folder), gateway.child.id());
    };
    let good = fs::read_to_string(&gateway.config).unwrap();
    let configure = |text: &str| fs::write(&gateway.config, text).unwrap();

    configure(&good.replace("[[site]]", "[[site]]\nbogus = 1"));
    refused(&[], "unknown key `bogus`");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    configure(&format!("{good}\n[[listener]]\naddress = \"{address}\"\n"));
    refused(&[], &format!("cannot listen on {address}"));
    configure(&good);

    let replace = |script: &str| {
        fs::remove_file(&program).unwrap();
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    };
    replace("#!/bin/sh\nexit 3\n");
    refused(&[], "exit status: 3");
    replace("#!/bin/sh\nexec sleep 600\n");
    refused(&["--timeout-secs", "1"], "within 1 s");
    replace("\u{7f}ELF and nothing else");
    refused(&[], "cannot be started");
    fs::remove_file(&program).unwrap();
    refused(&[], "cannot be started");

    symlink(thornwall(), &program).unwrap();
    let next = Successor::told(&upgrade(&gateway.config, &[]), gateway.child.id());
    load.more(20);
    load.end();
    drop(next);
}

/// Says what a new process says until it should serve, and then ends.
const HALF_WAY: &str = r#"#!/usr/bin/env python3
import json, socket, sys
channel = socket.socket(fileno=0)
channel.send(b'{"ready": {"protocol": 1}}')
while not json.loads(socket.recv_fds(channel, 65536, 64)[0])["sockets"]["last"]:
    pass
channel.send(b'"release"')
assert "released" in json.loads(channel.recv(65536))
sys.exit(7)
"#;

#[test]
fn what_was_closed_for_a_new_process_is_taken_back() {
    let folder = Folder::new();
    let program = folder.join("thornwall");
    symlink(thornwall(), &program).unwrap();
    let origin = Origin::start();
    let gateway = Gateway::start_with(&Program::at(&program), folder, origin.port, OPEN_SITE);
    let load = Load::start(gateway.port, gateway.admin);
    load.more(20);
    fs::remove_file(&program).unwrap();
    fs::write(&program, HALF_WAY).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for _ in 0..3 {
        let output = upgrade(&gateway.config, &[]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("exit status: 7"), "{told}");
        load.more(20);
    }
    load.end();
    assert_eq!(holder(&gateway.folder), gateway.child.id());
}

#[test]
fn a_stop_ends_a_new_process_that_is_on_its_way() {
    let folder = Folder::new();
    let program = folder.join("thornwall");
    symlink(thornwall(), &program).unwrap();
    let origin = Origin::start();
    let mut gateway = Gateway::start_with(&Program::at(&program), folder, origin.port, OPEN_SITE);
    let pid = gateway.folder.join("pid");
    fs::remove_file(&program).unwrap();
    let script = format!(
        "#!/bin/sh\necho $$ > {}.part\nmv {0}.part {0}\nexec sleep 600\n",
        pid.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config = gateway.config.clone();
    let command = thread::spawn(move || upgrade(&config, &[]));
    wait_for("the new process", || pid.exists());
    let text = fs::read_to_string(&pid).unwrap();
    let stalled = Successor(text.trim().parse().unwrap());
    assert!(stalled.is_running());
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    wait_for("its end", || !stalled.is_running());
    assert_eq!(command.join().unwrap().status.code(), Some(2));
}

/// Name servers that are far away.
const SLOW_LOOKUPS: &str = "\
#include <netdb.h>
#include <unistd.h>
int getaddrinfo(const char *n, const char *s, const struct addrinfo *h, struct addrinfo **r) {
    sleep(4);
    return EAI_AGAIN;
}
";

#[test]
fn nobody_waits_at_the_door_while_names_are_looked_up() {
    let folder = Folder::new();
    let (source, library) = (folder.write("slow.c", SLOW_LOOKUPS), folder.join("slow.so"));
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(built.unwrap().success());
    let program = Program::with(&[("LD_PRELOAD", library.to_str().unwrap())]);
    let named = "[[upstream]]\nname = \"far\"\nservers = [{ address = \"far.test:80\" }]\n\
                 [[site]]\nname = \"far\"\nhosts = [\"far.test\"]\nupstream = \"far\"\n\
                 pipeline = \"open\"\n";
    let extra = format!("{named}{OPEN_SITE}");
    let mut gateway = Gateway::start_with(&program, folder, Origin::start().port, &extra);
    let (config, before) = (gateway.config.clone(), gateway.child.id());
    let command = thread::spawn(move || upgrade(&config, &[]));
    let mut longest = Duration::ZERO;
    while !command.is_finished() {
        let asked = Instant::now();
        assert_eq!(send(gateway.port, LAST_REQUEST).status, 200);
        longest = longest.max(asked.elapsed());
    }
    let next = Successor::told(&command.join().unwrap(), before);
    assert_eq!(gateway.wait(), Some(0));
    assert!(longest < Duration::from_millis(1500), "{longest:?}");
    drop(next);
}

#[test]
fn one_process_holds_the_data_folder() {
    let mut gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    let socket = gateway.folder.join("data/control.sock");
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let other = Gateway::toml(free_port(), free_port(), 9, OPEN_SITE);
    let other = gateway.folder.write("other.toml", &other);
    let second = Command::new(thornwall())
        .args(["run", "-c"])
        .arg(&other)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{told}");
    let expected = format!("in use by process {}", gateway.child.id());
    assert!(told.contains(&expected), "{told}");
    // What a crash leaves behind is no obstacle.
    gateway.signal("KILL");
    gateway.wait();
    assert!(socket.exists());
    let output = upgrade(&gateway.config, &[]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("is the gateway running"), "{told}");
    let gateway = gateway.start_again();
    assert_eq!(gateway.get("/", "").status, 200);
    let next = Successor::told(&upgrade(&gateway.config, &[]), gateway.child.id());
    drop(next);
}

#[test]
fn nobody_else_can_ask_to_take_over() {
    let folder = Folder::new();
    let config = Gateway::toml(free_port(), free_port(), 9, OPEN_SITE);
    let config = folder.write("t.toml", &config);
    let output = Command::new(thornwall())
        .args(["run", "--take-over", "-c"])
        .arg(&config)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("for the use of `thornwall upgrade` alone"),
        "{told}"
    );
}

//! Real Redis servers on ports of their own, and a relay that spoils the way to them.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::harness::{Folder, free_port, signal, wait_for};

/// A `redis-server` that ends with the test.
pub(crate) struct Redis {
    pub(crate) port: u16,
    child: Child,
    folder: Folder,
    options: Vec<String>,
    sentinel: bool,
}

impl Redis {
    /// One that keeps nothing on the disk.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// One with these options besides.
    pub(crate) fn with(options: &[&str]) -> Self {
        Self::at(free_port(), options)
    }

    /// One on this port.
    pub(crate) fn at(port: u16, options: &[&str]) -> Self {
        let folder = Folder::new();
        let options: Vec<String> = options.iter().map(|text| (*text).to_owned()).collect();
        let child = spawn(port, &folder, &options);
        let redis = Self {
            port,
            child,
            folder,
            options,
            sentinel: false,
        };
        redis.wait_until_up();
        redis
    }

    /// A sentinel alone that looks after `master`.
    pub(crate) fn sentinel(name: &str, master: u16) -> Self {
        let (port, folder) = (free_port(), Folder::new());
        let config = format!(
            "port {port}\nbind 127.0.0.1\ndir {dir}\nsentinel monitor {name} 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 5000\n",
            dir = folder.path().display()
        );
        let path = folder.write("sentinel.conf", &config);
        let child = Command::new("redis-server")
            .arg(path)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let sentinel = Self {
            port,
            child,
            folder,
            options: Vec::new(),
            sentinel: true,
        };
        sentinel.wait_until_up();
        sentinel
    }

    fn wait_until_up(&self) {
        wait_for("Redis to answer", || {
            let tls = self.options.iter().any(|option| option == "--tls-port");
            tls || self.cli(&["ping"]).contains("PONG") || self.cli(&["ping"]).contains("NOAUTH")
        });
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What `redis-cli` says to a command.
    pub(crate) fn cli(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(words)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// How often a command was called since it started.
    pub(crate) fn calls(&self, command: &str) -> u64 {
        let all = self.cli(&["info", "commandstats"]);
        let start = format!("cmdstat_{command}:calls=");
        let line = all.lines().find_map(|line| line.strip_prefix(&start));
        let calls = line.and_then(|line| line.split(',').next());
        calls.map_or(0, |calls| calls.parse().unwrap())
    }

    /// Whether it answers within a moment.
    pub(crate) fn is_awake(&self) -> bool {
        let asked = || -> io::Result<usize> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_millis(100)))?;
            stream.write_all(b"PING\r\n")?;
            stream.read(&mut [0; 16])
        };
        asked().is_ok_and(|read| read > 0)
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port, without what it held.
    pub(crate) fn start_again(&mut self) {
        assert!(!self.sentinel);
        self.child = spawn(self.port, &self.folder, &self.options);
        self.wait_until_up();
    }
}

fn spawn(port: u16, folder: &Folder, options: &[String]) -> Child {
    let tls = options.iter().any(|option| option == "--tls-port");
    let plain = if tls { 0 } else { port };
    let log = fs::File::create(folder.join("redis.log")).unwrap();
    Command::new("redis-server")
        .args(["--port", &plain.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .args(["--enable-debug-command", "yes", "--dir"])
        .arg(folder.path())
        .args(options)
        .stdout(log)
        .spawn()
        .unwrap()
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three servers that each have a third of the keys.
pub(crate) fn cluster() -> Vec<Redis> {
    // By default the bus takes the port 10,000 above, which another test may have.
    let node = || {
        let bus = free_port().to_string();
        let timeout = ["--cluster-node-timeout", "2000"];
        Redis::with(
            &[
                &["--cluster-enabled", "yes", "--cluster-port", &bus][..],
                &timeout,
            ]
            .concat(),
        )
    };
    let nodes: Vec<Redis> = (0..3).map(|_| node()).collect();
    let addresses: Vec<String> = nodes
        .iter()
        .map(|node| format!("127.0.0.1:{}", node.port))
        .collect();
    let made = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-replicas", "0", "--cluster-yes"])
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stdout)
    );
    wait_for("the cluster", || {
        let ok = |node: &Redis| node.cli(&["cluster", "info"]).contains("cluster_state:ok");
        nodes.iter().all(ok)
    });
    nodes
}

/// Stands between a gateway and its Redis.
pub(crate) struct Relay {
    pub(crate) port: u16,
    /// Bytes of answers that pass before a connection is cut; as many as there are where it is 0.
    pub(crate) cut_after: Arc<AtomicU64>,
    /// Milliseconds that each piece of an answer is held back.
    pub(crate) delay_ms: Arc<AtomicU64>,
    /// Connections that were cut so far.
    pub(crate) cuts: Arc<AtomicU64>,
}

impl Relay {
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Self {
            port: listener.local_addr().unwrap().port(),
            cut_after: Arc::default(),
            delay_ms: Arc::default(),
            cuts: Arc::default(),
        };
        let (cut_after, delay_ms) = (Arc::clone(&relay.cut_after), Arc::clone(&relay.delay_ms));
        let cuts = Arc::clone(&relay.cuts);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                let (questions, answers) = (
                    (client.try_clone().unwrap(), server.try_clone().unwrap()),
                    (server, client),
                );
                let (cut_after, delay_ms) = (Arc::clone(&cut_after), Arc::clone(&delay_ms));
                let cuts = Arc::clone(&cuts);
                thread::spawn(move || pass(questions, &AtomicU64::new(0), &AtomicU64::new(0)));
                thread::spawn(move || {
                    if pass(answers, &cut_after, &delay_ms) {
                        cuts.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        relay
    }
}

/// Passes on what comes until the end, which may be a cut; whether it was one.
fn pass(
    (mut from, mut to): (TcpStream, TcpStream),
    cut_after: &AtomicU64,
    delay_ms: &AtomicU64,
) -> bool {
    let (mut passed, mut is_cut) = (0, false);
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        thread::sleep(Duration::from_millis(delay_ms.load(Ordering::Relaxed)));
        passed += read as u64;
        let most = cut_after.load(Ordering::Relaxed);
        let kept = match most {
            0 => read,
            most => read.saturating_sub(usize::try_from(passed.saturating_sub(most)).unwrap()),
        };
        is_cut = kept < read;
        if to.write_all(&bytes[..kept]).is_err() || is_cut {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
    is_cut
}

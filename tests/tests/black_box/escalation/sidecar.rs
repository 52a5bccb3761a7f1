//! A real sidecar in a process of its own, gateways beside it, and clients that one of them dubious.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::harness::{CHROME, Folder, Gateway, free_port, send, thornwall, try_send, wait_for};

/// A sidecar with a folder of its own.
pub(crate) struct Sidecar {
    pub(super) child: Child,
    /// What a gateway's `[escalation]` calls it, where the sidecar listens on a port.
    pub(super) port: u16,
    admin: u16,
    pub(crate) folder: Folder,
    config: PathBuf,
    program: PathBuf,
}

/// What denies whoever is as dubious as a scanner.
pub(super) const STRICT: &str = "[ladder]\nalert = 0.5\nthrottle = 0.5\ntarpit = 0.5\ndeny = 0.5\n";
/// What decides nothing about a scanner.
pub(super) const LENIENT: &str =
    "[ladder]\nalert = 1.0\nthrottle = 1.0\ntarpit = 1.0\ndeny = 1.0\n";
/// The filter's table: takes whoever is as dubious as a scanner.
pub(super) const DUBIOUS: &str = "{ score = [0.3, 1.0] }";

/// The command that was built beside the gateway's.
pub(crate) fn program() -> PathBuf {
    thornwall().with_file_name("thornwall-sidecar")
}

impl Sidecar {
    /// One that does not run yet, at a port of its own: `more` is TOML.
    pub(super) fn planned(more: &str) -> Self {
        let port = free_port();
        Self::planned_at(port, &format!("127.0.0.1:{port}"), more)
    }

    /// One that does not run yet, at this address.
    pub(super) fn planned_at(port: u16, address: &str, more: &str) -> Self {
        let (folder, admin) = (Folder::new(), free_port());
        let text = format!(
            "[server]\naddress = \"{address}\"\ndata_dir = \"data\"\n\
             [admin]\naddress = \"127.0.0.1:{admin}\"\n{more}"
        );
        let config = folder.write("sidecar.toml", &text);
        let child = Command::new("true").spawn().unwrap();
        Self {
            child,
            port,
            admin,
            folder,
            config,
            program: program(),
        }
    }

    pub(crate) fn start(more: &str) -> Self {
        let mut sidecar = Self::planned(more);
        sidecar.run();
        sidecar
    }

    pub(crate) fn run(&mut self) {
        self.run_as(&program());
    }

    /// Runs under another path than its own.
    pub(super) fn run_as(&mut self, program: &Path) {
        self.program = program.to_path_buf();
        let log = fs::File::create(self.folder.join("stderr.log")).unwrap();
        // Whatever stood in its place has ended.
        let _ = self.child.wait();
        self.child = Command::new(program)
            .args(["run", "-c"])
            .arg(&self.config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let ready = "GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        wait_for("the sidecar to be ready", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the sidecar ended with {status}:\n{}", self.stderr());
            }
            try_send(self.admin, ready).is_some_and(|reply| reply.status == 200)
        });
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How gateways of this machine name it.
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn token(&self) -> PathBuf {
        self.folder.join("data/sidecar.token")
    }

    /// Everything that it said on standard error.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.folder.join("stderr.log")).unwrap_or_default()
    }

    /// All metrics, as they are served.
    pub(crate) fn metrics(&self) -> String {
        let metrics = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        send(self.admin, metrics).body
    }

    /// The sum of a metric, over all its labels.
    pub(super) fn metric(&self, name: &str) -> f64 {
        let text = self.metrics();
        let rows = text.lines().filter(|line| line.starts_with(name));
        rows.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// The most memory that the process has had, in KiB.
    pub(super) fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        number.expect("the kernel tells")
    }

    /// Cases that it assessed.
    pub(super) fn assessments(&self) -> f64 {
        self.metric("thornwall_sidecar_assessments_total")
    }

    /// A gateway that sends its cases here.
    pub(crate) fn gateway(&self, origin: u16, escalate: &str) -> Gateway {
        let link = format!(
            "address = {:?}\ntoken_file = {:?}\n",
            self.address(),
            self.token()
        );
        gateway(origin, &link, escalate)
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gateway with this table `[escalation]` and this table `escalate`.
pub(super) fn gateway(origin: u16, link: &str, escalate: &str) -> Gateway {
    Gateway::start(origin, &settings(link, escalate))
}

/// What such a gateway is configured with.
pub(super) fn settings(link: &str, escalate: &str) -> String {
    format!(
        "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [escalation]\n{link}\
         [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
         [[pipeline]]\nname = \"p\"\n\
         [[pipeline.filter]]\nname = \"known_bad\"\nblocklist = {{}}\n\
         [[pipeline.filter]]\nname = \"shape\"\nheuristics = {{}}\n\
         [[pipeline.filter]]\nname = \"second_opinion\"\nescalate = {escalate}\n"
    )
}

/// Header lines of a scanner at this address.
pub(super) fn scanner(client: &str) -> String {
    format!("X-Forwarded-For: {client}\r\nUser-Agent: zgrab/0.x\r\n")
}

/// How a person is answered.
pub(super) fn person(gateway: &Gateway) -> u16 {
    let headers = format!("X-Forwarded-For: 203.0.113.5\r\n{CHROME}");
    gateway.get("/", &headers).status
}

/// How a scanner is answered.
pub(super) fn status(gateway: &Gateway, client: &str) -> u16 {
    gateway.get("/", &scanner(client)).status
}

/// Waits until whoever asks the first gateway as a scanner is denied there, then at all others.
pub(super) fn wait_until_denied(gateways: &[&Gateway], client: &str) {
    wait_for("the case to become a decision", || {
        status(gateways[0], client) == 403
    });
    for gateway in gateways {
        wait_for("the decision at every gateway", || {
            is_denied(gateway, client)
        });
    }
}

/// Whether somebody with nothing dubious about them but their address is denied.
pub(super) fn is_denied(gateway: &Gateway, client: &str) -> bool {
    let asked = format!("X-Forwarded-For: {client}\r\n{CHROME}");
    gateway.get("/", &asked).status == 403
}

pub(super) fn is_connected(gateway: &Gateway) -> bool {
    gateway.metric("thornwall_escalation_connected") == 1.0
}

/// For a while, people are served at once.
pub(super) fn assert_nobody_notices(gateway: &Gateway) {
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(person(gateway), 200);
        assert!(began.elapsed() < Duration::from_secs(1), "a visitor waited");
        thread::sleep(Duration::from_millis(20));
    }
}

//! The way of a case: from a dubious request at one gateway to a decision at every gateway, and what
//! visitors notice where the sidecar is away.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    CHROME, Folder, Gateway, Origin, free_port, send, signal, thornwall, try_send, wait_for,
};

/// A sidecar with a folder of its own.
struct Sidecar {
    child: Child,
    port: u16,
    admin: u16,
    folder: Folder,
    config: PathBuf,
}

impl Sidecar {
    /// One that does not run yet: `ladder` is TOML.
    fn planned(ladder: &str) -> Self {
        let (folder, port, admin) = (Folder::new(), free_port(), free_port());
        let text = format!(
            "[server]\naddress = \"127.0.0.1:{port}\"\ndata_dir = \"data\"\n\
             [admin]\naddress = \"127.0.0.1:{admin}\"\n{ladder}"
        );
        let config = folder.write("sidecar.toml", &text);
        let child = Command::new("true").spawn().unwrap();
        Self {
            child,
            port,
            admin,
            folder,
            config,
        }
    }

    fn start(ladder: &str) -> Self {
        let mut sidecar = Self::planned(ladder);
        sidecar.run();
        sidecar
    }

    fn run(&mut self) {
        let log = fs::File::create(self.folder.0.join("stderr.log")).unwrap();
        // Whatever stood in its place has ended.
        let _ = self.child.wait();
        self.child = Command::new(thornwall().with_file_name("thornwall-sidecar"))
            .args(["run", "-c"])
            .arg(&self.config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let ready = "GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        wait_for("the sidecar to be ready", || {
            try_send(self.admin, ready).is_some_and(|reply| reply.status == 200)
        });
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn token(&self) -> PathBuf {
        self.folder.0.join("data/sidecar.token")
    }

    /// A gateway that sends its cases here.
    fn gateway(&self, origin: u16, escalate: &str) -> Gateway {
        Gateway::start(
            origin,
            &format!(
                "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n\
                 [escalation]\naddress = \"http://127.0.0.1:{}\"\ntoken_file = {:?}\n\
                 [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
                 [[pipeline]]\nname = \"p\"\n\
                 [[pipeline.filter]]\nname = \"known_bad\"\nblocklist = {{}}\n\
                 [[pipeline.filter]]\nname = \"shape\"\nheuristics = {{}}\n\
                 [[pipeline.filter]]\nname = \"second_opinion\"\nescalate = {escalate}\n",
                self.port,
                self.token()
            ),
        )
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What denies whoever is as dubious as a scanner.
const STRICT: &str = "[ladder]\nalert = 0.5\nthrottle = 0.5\ntarpit = 0.5\ndeny = 0.5\n";
const DUBIOUS: &str = "{ score = [0.3, 1.0] }";

fn scanner(client: &str) -> String {
    format!("X-Forwarded-For: {client}\r\nUser-Agent: zgrab/0.x\r\n")
}

fn person(gateway: &Gateway) -> u16 {
    let headers = format!("X-Forwarded-For: 203.0.113.5\r\n{CHROME}");
    gateway.get("/", &headers).status
}

fn status(gateway: &Gateway, client: &str) -> u16 {
    gateway.get("/", &scanner(client)).status
}

/// Waits until whoever asks the first gateway as a scanner is denied there, then at all others.
fn wait_until_denied(gateways: &[&Gateway], client: &str) {
    wait_for("the case to become a decision", || {
        status(gateways[0], client) == 403
    });
    for gateway in gateways {
        // Nothing dubious about it but the address.
        let asked = format!("X-Forwarded-For: {client}\r\n{CHROME}");
        wait_for("the decision at every gateway", || {
            gateway.get("/", &asked).status == 403
        });
    }
}

fn is_connected(gateway: &Gateway) -> bool {
    gateway.metric("thornwall_escalation_connected") == 1.0
}

/// For a while, people are served at once.
fn assert_nobody_notices(gateway: &Gateway) {
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(person(gateway), 200);
        assert!(began.elapsed() < Duration::from_secs(1), "a visitor waited");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_case_becomes_a_decision_at_every_gateway() {
    let origin = Origin::start();
    let sidecar = Sidecar::start(STRICT);
    let [a, b] = [(); 2].map(|()| sidecar.gateway(origin.port, DUBIOUS));
    wait_for("both gateways", || is_connected(&a) && is_connected(&b));
    let first = a.get("/.env", &scanner("192.0.2.7"));
    wait_until_denied(&[&a, &b], "192.0.2.7");
    assert_eq!(person(&a), 200);
    assert_eq!(
        status(&b, "192.0.2.8"),
        200,
        "another client is another case"
    );
    // Why, for people.
    let explained = a.explain(first.id());
    assert_eq!(explained["sidecar"]["action"], "deny", "{explained}");
    let output = Command::new(thornwall())
        .args(["decisions", "192.0.2.7", "-c"])
        .arg(&b.config)
        .output()
        .unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(
        listed.contains("sidecar") && listed.contains("score"),
        "{listed}"
    );
}

#[test]
fn a_sidecar_that_comes_late_gets_what_waited_for_it() {
    let origin = Origin::start();
    let mut sidecar = Sidecar::planned(STRICT);
    let gateway = {
        fs::create_dir_all(sidecar.folder.0.join("data")).unwrap();
        fs::write(sidecar.token(), "0123456789abcdef0123456789abcdef\n").unwrap();
        sidecar.gateway(origin.port, DUBIOUS)
    };
    assert_eq!(status(&gateway, "192.0.2.7"), 200);
    assert_nobody_notices(&gateway);
    assert!(!is_connected(&gateway));
    assert_eq!(gateway.metric("thornwall_escalation_cases"), 1.0);
    sidecar.run();
    let asked = format!("X-Forwarded-For: 192.0.2.7\r\n{CHROME}");
    wait_for("the case that waited to be decided", || {
        gateway.get("/", &asked).status == 403
    });
}

#[test]
fn a_sidecar_that_is_killed_or_stands_still_holds_nobody_up() {
    let origin = Origin::start();
    let mut sidecar = Sidecar::start(STRICT);
    let gateway = sidecar.gateway(origin.port, "{ score = [0.3, 1.0], wait_ms = 2000 }");
    wait_for("the gateway", || is_connected(&gateway));
    wait_until_denied(&[&gateway], "192.0.2.1");

    signal(sidecar.child.id(), "STOP");
    assert_nobody_notices(&gateway);
    assert_eq!(status(&gateway, "192.0.2.1"), 403, "what is decided holds");
    wait_for("the gateway to notice", || !is_connected(&gateway));
    let began = Instant::now();
    assert_eq!(status(&gateway, "192.0.2.2"), 200);
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "nobody waits for a sidecar that is away"
    );
    signal(sidecar.child.id(), "CONT");
    wait_until_denied(&[&gateway], "192.0.2.2");

    sidecar.kill();
    assert_nobody_notices(&gateway);
    wait_for("the gateway to notice", || !is_connected(&gateway));
    assert_eq!(status(&gateway, "192.0.2.1"), 403);
    assert_eq!(status(&gateway, "192.0.2.3"), 200);
    sidecar.run();
    wait_until_denied(&[&gateway], "192.0.2.3");
}

#[test]
fn a_route_may_wait_for_the_assessment() {
    let origin = Origin::start();
    let sidecar = Sidecar::start(STRICT);
    let gateway = sidecar.gateway(origin.port, "{ score = [0.3, 1.0], wait_ms = 2000 }");
    wait_for("the gateway", || is_connected(&gateway));
    // The first request of all, and nothing was decided before.
    let reply = gateway.get("/", &scanner("192.0.2.7"));
    assert_eq!(reply.status, 403);
    let explained = gateway.explain(reply.id());
    assert_eq!(explained["reason"], "escalation.assessed");
}

#[test]
fn nothing_secret_reaches_the_sidecar() {
    let origin = Origin::start();
    let mut sidecar = Sidecar::start("");
    let gateway = sidecar.gateway(origin.port, DUBIOUS);
    wait_for("the gateway", || is_connected(&gateway));
    let secrets = "Cookie: sid=hush-cookie\r\nAuthorization: Bearer hush-token\r\n\
                   Referer: https://x.example/y?key=hush-referer\r\n";
    let headers = format!("{}{secrets}", scanner("192.0.2.7"));
    gateway.get("/a?key=hush-query", &headers);
    let sent = || gateway.metric("thornwall_escalation_sent_total");
    wait_for("the case", || sent() >= 1.0);
    let assessed = || {
        let metrics = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let text = send(sidecar.admin, metrics).body;
        let lines = text
            .lines()
            .filter(|line| line.starts_with("thornwall_sidecar_assessments_total"));
        lines.count() > 0
    };
    wait_for("the assessment", assessed);
    signal(sidecar.child.id(), "TERM");
    sidecar.child.wait().unwrap();
    let kept = fs::read(sidecar.folder.0.join("data/history.redb")).unwrap();
    let holds = |text: &str| {
        kept.windows(text.len())
            .any(|bytes| bytes == text.as_bytes())
    };
    assert!(
        holds("zgrab/0.x") && holds("x.example/y"),
        "the case is kept"
    );
    assert!(!holds("hush"), "a secret was sent");
}

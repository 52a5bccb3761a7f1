//! The way of a case: from a dubious request at one gateway to a decision at every gateway, and what
//! visitors notice where the sidecar is away.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

mod connections;
mod faults;
mod port;
mod several;
pub(crate) mod sidecar;

use crate::harness::{CHROME, Origin, signal, thornwall, wait_for};
use sidecar::{
    DUBIOUS, STRICT, Sidecar, assert_nobody_notices, is_connected, person, scanner, status,
    wait_until_denied,
};

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
        fs::create_dir_all(sidecar.folder.join("data")).unwrap();
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
    let assessed = || sidecar.assessments() > 0.0;
    wait_for("the assessment", assessed);
    signal(sidecar.child.id(), "TERM");
    sidecar.child.wait().unwrap();
    let kept = fs::read(sidecar.folder.join("data/history.redb")).unwrap();
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

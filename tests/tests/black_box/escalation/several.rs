//! Several sidecars: who has which case, and what happens to the cases of one that is away.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::sidecar::{
    DUBIOUS, LENIENT, STRICT, Sidecar, gateway, is_denied, person, status, wait_until_denied,
};
use crate::harness::{Folder, Gateway, Origin, thornwall, wait_for};

/// Two sidecars with one token for both, as gateways show it.
fn two(ladder: &str) -> ([Sidecar; 2], Folder) {
    let shared = Folder::new();
    let token = shared.write("sidecar.token", "0123456789abcdef0123456789abcdef\n");
    let more = format!(
        "{ladder}[[caller]]\nname = \"gateway\"\ntoken_file = {token:?}\nroles = [\"assess\"]\n"
    );
    ([(); 2].map(|()| Sidecar::start(&more)), shared)
}

fn of_both(sidecars: &[Sidecar; 2], shared: &Path, origin: u16, escalate: &str) -> Gateway {
    let link = format!(
        "address = {:?}\ntoken_file = {:?}\nmax_cases = 100\n",
        sidecars.each_ref().map(Sidecar::address),
        shared.join("sidecar.token")
    );
    let gateway = gateway(origin, &link, escalate);
    for sidecar in sidecars {
        wait_for("both sidecars", || {
            metric(&gateway, "connected", sidecar) == 1.0
        });
    }
    gateway
}

/// What a gateway counts of one of its sidecars.
fn metric(gateway: &Gateway, name: &str, sidecar: &Sidecar) -> f64 {
    let address = sidecar.address();
    gateway.metric(&format!(
        "thornwall_escalation_{name}{{sidecar=\"{address}\"}}"
    ))
}

/// Asks as scanners, one request each, until each sidecar has the case of one of them; who they are.
fn one_client_each(gateway: &Gateway, sidecars: &[Sidecar; 2], from: u8) -> [String; 2] {
    let mut found = [const { None }; 2];
    let kept = |sidecar: &Sidecar| metric(gateway, "cases", sidecar);
    for last in from..=255 {
        let before = sidecars.each_ref().map(kept);
        let client = format!("192.0.2.{last}");
        status(gateway, &client);
        let after = sidecars.each_ref().map(kept);
        let at = usize::from(after[1] > before[1]);
        assert_eq!(after[1 - at], before[1 - at], "a case is at one sidecar");
        found[at].get_or_insert(client);
        if let [Some(one), Some(other)] = &found {
            return [one.clone(), other.clone()];
        }
    }
    panic!("one of them has all clients");
}

#[test]
fn a_case_is_whole_at_one_of_them_through_every_gateway() {
    let origin = Origin::start();
    let (sidecars, shared) = two(LENIENT);
    let [a, b] = [(); 2].map(|()| of_both(&sidecars, shared.path(), origin.port, DUBIOUS));
    let assessed = || sidecars.each_ref().map(Sidecar::assessments);
    let ask_all = |gateway| {
        for last in 1..=40 {
            assert_eq!(status(gateway, &format!("192.0.2.{last}")), 200);
        }
    };
    ask_all(&a);
    wait_for("all cases", || assessed().iter().sum::<f64>() == 40.0);
    let first = assessed();
    assert!(first.iter().all(|count| *count >= 8.0), "{first:?}");
    ask_all(&b);
    wait_for("all cases again", || assessed().iter().sum::<f64>() == 80.0);
    assert_eq!(assessed(), first.map(|count| 2.0 * count));
    for (at, sidecar) in sidecars.iter().enumerate() {
        assert_eq!(metric(&b, "sent_total", sidecar), first[at]);
    }
    let output = Command::new(thornwall())
        .args(["status", "-c"])
        .arg(&b.config)
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    for sidecar in &sidecars {
        let row = told.split(&sidecar.address()).nth(1);
        let row = row.unwrap_or_else(|| panic!("{told}"));
        let state = row.lines().find(|line| line.contains("state")).unwrap();
        assert!(state.ends_with("connected"), "{told}");
    }
}

#[test]
fn what_any_of_them_decides_holds_at_every_gateway() {
    let origin = Origin::start();
    let (sidecars, shared) = two(STRICT);
    let [a, b] = [(); 2].map(|()| of_both(&sidecars, shared.path(), origin.port, DUBIOUS));
    let clients = one_client_each(&a, &sidecars, 1);
    for client in &clients {
        wait_until_denied(&[&a, &b], client);
    }
    for sidecar in &sidecars {
        assert!(sidecar.metric("thornwall_sidecar_decisions") >= 1.0);
    }
    assert_eq!(person(&b), 200);
}

#[test]
fn cases_of_one_that_is_away_wait_and_others_go_on() {
    let origin = Origin::start();
    let (mut sidecars, shared) = two(STRICT);
    let patient = "{ score = [0.3, 1.0], wait_ms = 2000 }";
    let gateway = of_both(&sidecars, shared.path(), origin.port, patient);
    let connected = |gateway: &Gateway, sidecar: &Sidecar| metric(gateway, "connected", sidecar);
    sidecars[0].kill();
    wait_for("the gateway to notice", || {
        connected(&gateway, &sidecars[0]) == 0.0
    });
    assert!(metric(&gateway, "failures_total", &sidecars[0]) >= 1.0);
    let sent = metric(&gateway, "sent_total", &sidecars[0]);

    let began = Instant::now();
    let [waits, goes_on] = one_client_each(&gateway, &sidecars, 100);
    wait_for("a word of the one that is there", || {
        is_denied(&gateway, &goes_on)
    });
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "nobody waits for a sidecar that is away"
    );
    assert_eq!(status(&gateway, &waits), 200);
    // No failover: nobody else is told, however long it takes.
    assert_eq!(metric(&gateway, "sent_total", &sidecars[0]), sent);
    assert!(metric(&gateway, "cases", &sidecars[0]) >= 1.0);
    assert_eq!(connected(&gateway, &sidecars[1]), 1.0);

    sidecars[0].run();
    wait_for("the case that waited", || is_denied(&gateway, &waits));
}

//! Ways to a sidecar, and what certificates that are not good come to.

use std::{fs, os::unix::fs::PermissionsExt};

use thornwall_tests::authority::{Authority, Issued, Wanted};

use super::sidecar::{
    DUBIOUS, STRICT, Sidecar, assert_nobody_notices, gateway, is_connected, person, status,
    wait_until_denied,
};
use crate::harness::{Folder, Gateway, Origin, free_port, wait_for};

/// A good certificate of a sidecar.
const OURS: Wanted<'_> = Wanted {
    names: &["localhost"],
    key: thornwall_tests::authority::Key::Ecdsa,
    begins_days: -1,
    ends_days: 90,
    client: false,
    serial: 1,
};
/// A good certificate of a gateway.
const THEIRS: Wanted<'_> = Wanted {
    names: &["gateway"],
    client: true,
    serial: 2,
    ..OURS
};

/// A sidecar that shows this certificate, and serves whoever has one of `authority`.
fn sidecar_with(authority: &Authority, certificate: &Issued) -> Sidecar {
    let port = free_port();
    let more = format!(
        "{STRICT}[server.tls]\nchain_file = \"us.pem\"\nkey_file = \"us.key\"\n\
         client_ca_file = \"ca.pem\"\n"
    );
    let mut sidecar = Sidecar::planned_at(port, &format!("0.0.0.0:{port}"), &more);
    write(&sidecar.folder, authority, certificate);
    sidecar.run();
    sidecar
}

fn write(folder: &Folder, authority: &Authority, certificate: &Issued) {
    folder.write("ca.pem", &authority.pem());
    folder.write("us.pem", &certificate.chain);
    folder.write("us.key", &certificate.key);
}

/// A gateway that shows this certificate, and asks a sidecar that has one of `authority`.
fn gateway_with(
    sidecar: &Sidecar,
    authority: &Authority,
    certificate: &Issued,
    origin: u16,
) -> (Gateway, Folder) {
    let files = Folder::new();
    write(&files, authority, certificate);
    let file = |name: &str| files.join(name);
    let link = format!(
        "address = \"https://localhost:{}\"\ntoken_file = {:?}\nca_file = {:?}\n\
         certificate_file = {:?}\nkey_file = {:?}\n",
        sidecar.port,
        sidecar.token(),
        file("ca.pem"),
        file("us.pem"),
        file("us.key")
    );
    (gateway(origin, &link, DUBIOUS), files)
}

/// The way is refused: counted, told once with its reason, and of no matter to visitors.
fn assert_refused(gateway: &Gateway, why: &str) {
    wait_for("the refusals to be counted", || {
        gateway.metric("thornwall_escalation_failures_total") >= 2.0
    });
    assert!(!is_connected(gateway));
    assert_nobody_notices(gateway);
    assert_eq!(status(gateway, "192.0.2.7"), 200);
    assert_eq!(gateway.metric("thornwall_escalation_cases"), 1.0);
    let log = gateway.stderr();
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("sidecar"))
        .collect();
    let [line] = told.as_slice() else {
        panic!("expected one line, not {told:#?}");
    };
    assert!(line.contains("WARN") && line.contains(why), "{line}");
}

#[test]
fn over_tls_both_sides_show_certificates() {
    let (origin, authority) = (Origin::start(), Authority::new("test authority"));
    let sidecar = sidecar_with(&authority, &authority.issue(OURS));
    let certificate = authority.issue(THEIRS);
    let (gateway, _files) = gateway_with(&sidecar, &authority, &certificate, origin.port);
    wait_for("the gateway", || is_connected(&gateway));
    wait_until_denied(&[&gateway], "192.0.2.7");
    assert_eq!(person(&gateway), 200);
}

#[test]
fn a_gateway_with_a_certificate_of_others_is_refused() {
    let (origin, authority) = (Origin::start(), Authority::new("test authority"));
    let sidecar = sidecar_with(&authority, &authority.issue(OURS));
    let others = Authority::new("another authority").issue(THEIRS);
    let (gateway, _files) = gateway_with(&sidecar, &authority, &others, origin.port);
    assert_refused(&gateway, "refuses our certificate");
    assert_eq!(sidecar.assessments(), 0.0);
}

#[test]
fn a_sidecar_with_a_certificate_of_others_is_not_asked() {
    let (origin, authority) = (Origin::start(), Authority::new("test authority"));
    let others = Authority::new("another authority").issue(OURS);
    let sidecar = sidecar_with(&authority, &others);
    let certificate = authority.issue(THEIRS);
    let (gateway, _files) = gateway_with(&sidecar, &authority, &certificate, origin.port);
    assert_refused(&gateway, "UnknownIssuer");
}

#[test]
fn expired_certificates_are_told_by_their_side() {
    let (origin, authority) = (Origin::start(), Authority::new("test authority"));
    let expired = |wanted| {
        authority.issue(Wanted {
            begins_days: -20,
            ends_days: -10,
            ..wanted
        })
    };
    let sidecar = sidecar_with(&authority, &expired(OURS));
    let certificate = authority.issue(THEIRS);
    let (gateway, _files) = gateway_with(&sidecar, &authority, &certificate, origin.port);
    assert_refused(&gateway, "certificate expired");

    let sidecar = sidecar_with(&authority, &authority.issue(OURS));
    let (gateway, files) = gateway_with(&sidecar, &authority, &expired(THEIRS), origin.port);
    assert_refused(&gateway, "refuses our certificate");
    // Files are read for each connection, so that a new one helps at once.
    write(&files, &authority, &authority.issue(THEIRS));
    wait_for("the gateway", || is_connected(&gateway));
    wait_until_denied(&[&gateway], "192.0.2.7");
}

#[test]
fn a_token_of_nobody_is_refused() {
    let origin = Origin::start();
    let sidecar = Sidecar::start(STRICT);
    let files = Folder::new();
    let token = files.write("other.token", "0123456789abcdef0123456789abcdef\n");
    let link = format!(
        "address = {:?}\ntoken_file = {token:?}\n",
        sidecar.address()
    );
    let gateway = gateway(origin.port, &link, DUBIOUS);
    assert_refused(&gateway, "Unauthenticated");
}

#[test]
fn a_socket_of_the_file_system_is_for_its_owner_and_group() {
    let origin = Origin::start();
    let folder = Folder::new();
    let socket = folder.join("sidecar.sock");
    let address = format!("unix:{}", socket.display());
    let mut sidecar = Sidecar::planned_at(0, &address, STRICT);
    sidecar.run();
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let link = format!(
        "address = {address:?}\ntoken_file = {:?}\n",
        sidecar.token()
    );
    let gateway = gateway(origin.port, &link, DUBIOUS);
    wait_for("the gateway", || is_connected(&gateway));
    wait_until_denied(&[&gateway], "192.0.2.7");
    // Its socket is still there, and nobody listens on it.
    sidecar.kill();
    wait_for("the gateway to notice", || !is_connected(&gateway));
    sidecar.run();
    wait_until_denied(&[&gateway], "192.0.2.8");
}

//! Callers of the admin port who want nothing: neither the site nor an operator suffers from them.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
};

use crate::harness::{Folder, Gateway, OPEN_SITE, Origin, Program, connect, thornwall, try_send};

/// Files that the gateway may open.
const FILES: usize = 256;

/// A gateway that may open so few.
fn gateway(origin: &Origin) -> Gateway {
    let folder = Folder::new();
    let script = format!(
        "#!/bin/sh\nulimit -n {FILES}\nexec {} \"$@\"\n",
        thornwall().display()
    );
    let program = folder.write("few-files", &script);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Gateway::start_with(&Program::at(&program), folder, origin.port, OPEN_SITE)
}

/// Twice as many connections as the process may open files.
fn callers(port: u16, said: &str) -> Vec<TcpStream> {
    let call = |_| {
        let mut stream = connect(port).unwrap();
        // One that gave way already may not take it in.
        let _ = stream.write_all(said.as_bytes());
        stream
    };
    (0..2 * FILES).map(call).collect()
}

const LIVE: &str = "GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn site_and_operator_are_served(gateway: &Gateway) {
    assert_eq!(gateway.get("/", "").status, 200);
    let live = try_send(gateway.admin, LIVE);
    assert_eq!(live.map(|reply| reply.status), Some(200));
}

#[test]
fn callers_of_the_admin_port_keep_nobody_out() {
    let origin = Origin::start();
    let gateway = gateway(&origin);
    let mut held = Vec::new();
    let body = "POST /decisions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{";
    for said in ["", "GET /live HTTP/1.1\r\nHost", body] {
        held.extend(callers(gateway.admin, said));
        site_and_operator_are_served(&gateway);
    }
    let dropped = gateway.metric("thornwall_admin_connections_dropped_total");
    assert!(dropped >= 3.0 * FILES as f64, "{dropped}");
}

#[test]
fn the_public_keeps_no_operator_out() {
    let origin = Origin::start();
    let gateway = gateway(&origin);
    let held = callers(gateway.port, "GET / HTTP/1.1\r\nHost: t.example\r\n\r\n");
    site_and_operator_are_served(&gateway);
    // The first ones gave way to the others.
    let mut first = &held[0];
    let mut answer = Vec::new();
    first.read_to_end(&mut answer).unwrap();
    assert!(!answer.is_empty());
}

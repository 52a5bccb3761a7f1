//! Memory of answers that nobody took in: the system holds little of them, and what they held goes back
//! to it with the next visitors.

use std::{fs, io::Write, net::TcpStream, sync::atomic::Ordering};

use super::{LARGE_PATH, Site, attacker, gateway, person_is_served, settled};
use crate::harness::{Gateway, wait_for};

const ANSWERS: usize = 200;

/// Memory that the process has now, in KiB.
fn memory(gateway: &Gateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.expect("the kernel tells")
}

/// Bytes that the system holds for the connections of a port without their being taken in, in KiB.
fn unsent(port: u16) -> u64 {
    let local = format!(":{port:04X}");
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    let queued = sockets.lines().filter_map(|socket| {
        let mut columns = socket.split_whitespace();
        let address = columns.nth(1)?;
        let queues = columns.nth(2).filter(|_| address.ends_with(&local))?;
        u64::from_str_radix(queues.split(':').next()?, 16).ok()
    });
    queued.sum::<u64>() >> 10
}

#[test]
fn memory_of_answers_that_were_left_unread_is_given_back() {
    let origin = Site::start();
    let gateway = gateway(
        &origin,
        "max_requests_per_client = 1000\nmax_unread_bytes_per_client = 1000000000\nmax_unread_bytes = 1000000000",
    );
    person_is_served(&gateway);
    let before = memory(&gateway);
    let ask = |_| {
        let mut stream = attacker(gateway.port);
        let request = format!("GET {LARGE_PATH} HTTP/1.1\r\nHost: t.example\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let held: Vec<TcpStream> = (0..ANSWERS).map(ask).collect();
    wait_for("every answer to begin", || {
        origin.large_begun.load(Ordering::SeqCst) == ANSWERS
    });
    let most = settled(|| memory(&gateway)) - before;
    assert!(most > 50 << 10, "{most} KiB");
    // A send buffer grows to 4 MiB by itself, some 2 of them bytes that nobody has sent.
    let queued = unsent(gateway.port) / ANSWERS as u64;
    assert!(queued < 600, "{queued} KiB of each");
    drop(held);
    // Each worker gives back what it freed when it has something to do again.
    wait_for("memory to be given back", || {
        person_is_served(&gateway);
        memory(&gateway) < before + most / 2
    });
}

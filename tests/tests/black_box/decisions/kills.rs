//! Kills while operators decide: what was acknowledged is there afterwards.

use std::{
    fs,
    io::{Read, Write},
    ops::Range,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use super::{SITE, from};
use crate::harness::{Gateway, Origin, Reply, connect, wait_for};

/// Clients of the operator's listener at once.
const CLIENTS: u32 = 16;

/// What one client of the operator's listener did until the process was killed.
fn keep_deciding(admin: u16, token: &str, round: u32, all: &AtomicU32) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let Some(mut stream) = connect(admin) else {
        return acknowledged;
    };
    for number in 0u32.. {
        let subject = format!("10.{}.{}.{}", round % 256, number / 256 % 256, number % 256);
        let body = format!(r#"{{"subject":"{subject}","for_secs":3600}}"#);
        let request = format!(
            "POST /decisions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(request.as_bytes()).is_err() {
            break;
        }
        let mut answer = [0; 4096];
        match stream.read(&mut answer) {
            Ok(read) if answer[..read].starts_with(b"HTTP/1.1 200") => {
                acknowledged.push(subject);
                all.fetch_add(1, Ordering::Relaxed);
            }
            _ => break,
        }
    }
    acknowledged
}

/// Decides until the process is killed; what each client was told is decided.
fn decide_until_killed(gateway: &mut Gateway, token: &str, kill: u32) -> Vec<Vec<String>> {
    let admin = gateway.admin;
    let all = &AtomicU32::new(0);
    thread::scope(|scope| {
        let deciders: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || keep_deciding(admin, token, kill * CLIENTS + client, all))
            })
            .collect();
        // A different moment of the writes each time, however fast they are.
        let enough = 20 + kill * 7_919 % 97;
        wait_for("decisions", || all.load(Ordering::Relaxed) >= enough);
        thread::sleep(Duration::from_micros(u64::from(kill * 7_919 % 10_000)));
        gateway.child.kill().unwrap();
        deciders
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

fn assert_all_are_denied(gateway: &Gateway, acknowledged: &[Vec<String>], kill: u32) {
    let check = |subjects: &[String]| {
        for subject in subjects {
            let reply: Reply = gateway.get("/", &from(subject));
            assert_eq!(reply.status, 403, "{subject} after kill {kill}");
        }
    };
    thread::scope(|scope| {
        for subjects in acknowledged {
            scope.spawn(|| check(subjects));
        }
    });
}

/// One gateway that is killed again and again over the same folder.
fn lose_nothing(kills: Range<u32>) {
    let mut gateway = Gateway::start(Origin::start().port, SITE);
    let token = fs::read_to_string(gateway.folder.join("data/admin.token")).unwrap();
    let token = token.trim();
    let mut expected = 0;
    for kill in kills.clone() {
        let acknowledged = decide_until_killed(&mut gateway, token, kill);
        gateway.wait();
        gateway = gateway.start_again();
        assert_all_are_denied(&gateway, &acknowledged, kill);
        expected += acknowledged.iter().flatten().count();
        let log = gateway.stderr();
        assert!(
            !log.contains("damaged") && !log.contains("could not be read"),
            "{log}"
        );
    }
    println!("{expected} acknowledged decisions over {kills:?}, all there");
    assert!(expected > 20 * kills.len(), "{expected}");
}

/// Fifty kills in all, each part over a folder of its own.
mod a_kill_at_any_moment_loses_nothing_that_was_acknowledged {
    use super::lose_nothing;

    #[test]
    fn in_the_first_ten_kills() {
        lose_nothing(0..10);
    }

    #[test]
    fn in_the_second_ten_kills() {
        lose_nothing(10..20);
    }

    #[test]
    fn in_the_third_ten_kills() {
        lose_nothing(20..30);
    }

    #[test]
    fn in_the_fourth_ten_kills() {
        lose_nothing(30..40);
    }

    #[test]
    fn in_the_last_ten_kills() {
        lose_nothing(40..50);
    }
}

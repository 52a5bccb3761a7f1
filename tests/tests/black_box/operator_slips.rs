//! What an operator, or a script of theirs, does by mistake: it is refused, asked about or told of, and
//! nothing is lost by it.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::symlink,
    thread,
    time::Duration,
};

use crate::harness::{Folder, Gateway, OPEN_SITE, Origin, command, send, wait_for};

/// What `check` says of a configuration, with nothing running.
fn check(folder: &Folder, extra: &str) -> (Option<i32>, String) {
    let config = folder.join("thornwall.toml");
    fs::write(&config, Gateway::toml(1, 2, 3, extra)).unwrap();
    command(&["check"], &config)
}

#[test]
fn networks_that_mean_everybody_have_to_be_asked_for() {
    let gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    for everybody in [
        "0.0.0.0/0",
        "::/0",
        "::ffff:0:0/96",
        "10.0.0.0/7",
        "2000::/3",
    ] {
        let (code, told) = gateway.run(&["block", everybody]);
        assert_eq!(code, Some(1), "{everybody} {told}");
        assert!(told.contains("a large part of all addresses"), "{told}");
        assert!(told.contains("--broad"), "{told}");
    }
    let (_, decided) = gateway.run(&["decisions", "--json"]);
    assert!(decided.contains("\"decisions\":[]"), "{decided}");
    for (subject, more) in [
        ("10.0.0.0/8", None),
        ("2001::/16", None),
        ("::/0", Some("--broad")),
    ] {
        let arguments: Vec<&str> = ["block", subject].into_iter().chain(more).collect();
        assert_eq!(gateway.run(&arguments).0, Some(0), "{subject}");
    }
}

#[test]
fn check_warns_of_trusting_everybody() {
    let told = |extra: &str| {
        let (code, told) = check(&Folder::new(), &format!("{extra}{OPEN_SITE}"));
        assert_eq!(code, Some(0), "{told}");
        told.lines()
            .filter(|line| line.contains("a large part of all addresses"))
            .count()
    };
    assert_eq!(told(""), 0);
    assert_eq!(
        told("[never_block]\naddresses = [\"0.0.0.0/0\", \"::/0\"]\n"),
        2
    );
    assert_eq!(
        told("[client_address]\ntrusted_proxies = [\"0.0.0.0/0\"]\n"),
        1
    );
    assert_eq!(
        told("[client_address]\ntrusted_proxies = [\"10.0.0.0/8\"]\n"),
        0
    );
}

const FILTERED: &str = "[[site]]\nname = \"shop\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
    [[pipeline]]\nname = \"p\"\n[[pipeline.filter]]\nname = \"known_bad\"\nblocklist = {}\n\
    [[pipeline.filter]]\nname = \"shape\"\nheuristics = {}\n[pipeline.ladder]\ndeny = 0.95\n";

#[test]
fn a_reload_that_takes_protection_away_says_what() {
    let gateway = Gateway::start(Origin::start().port, FILTERED);
    let text = fs::read_to_string(&gateway.config).unwrap();
    let cut = text
        .split("[[pipeline.filter]]\nname = \"shape\"")
        .next()
        .unwrap();
    fs::write(&gateway.config, cut).unwrap();
    gateway.signal("HUP");
    wait_for("the reload", || gateway.stderr().contains("generation=2"));
    for lost in [
        "site shop loses filter shape (heuristics)",
        "site shop loses the rung deny of its ladder",
    ] {
        assert!(
            gateway.stderr().contains(lost),
            "{lost}: {}",
            gateway.stderr()
        );
    }
    assert!(
        !gateway.stderr().contains("known_bad"),
        "{}",
        gateway.stderr()
    );

    fs::write(&gateway.config, text).unwrap();
    gateway.signal("HUP");
    wait_for("the reload", || gateway.stderr().contains("generation=3"));
    let told = gateway.stderr().matches("takes protection away").count();
    assert_eq!(told, 2, "what comes back is no loss: {}", gateway.stderr());
}

#[test]
fn a_configuration_is_not_read_while_it_is_written() {
    let gateway = Gateway::start(Origin::start().port, FILTERED);
    let text = fs::read_to_string(&gateway.config).unwrap();
    let mut file = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&gateway.config)
        .unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for (at, line) in lines.iter().enumerate() {
        file.write_all(line.as_bytes()).unwrap();
        if at == 1 {
            gateway.signal("HUP");
        }
        thread::sleep(Duration::from_millis(40));
    }
    wait_for("the reload", || gateway.stderr().contains("generation=2"));
    assert!(
        !gateway.stderr().contains("takes protection away"),
        "{}",
        gateway.stderr()
    );
    assert!(
        !gateway.stderr().contains("not reloaded"),
        "{}",
        gateway.stderr()
    );
}

#[test]
fn signals_mean_what_operators_expect_of_them() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow";
    let origin = Origin::answering(answer, Duration::from_secs(1));
    let mut gateway = Gateway::start(origin.port, OPEN_SITE);
    let log = gateway.folder.join("access.log");
    wait_for("the log", || log.exists());
    let rotated = gateway.folder.join("access.log.1");
    fs::rename(&log, &rotated).unwrap();
    gateway.signal("USR1");
    wait_for("a new log", || log.exists());
    assert!(
        !gateway.stderr().contains("reloaded"),
        "{}",
        gateway.stderr()
    );

    gateway.signal("USR2");
    wait_for("a word about upgrades", || {
        gateway
            .stderr()
            .contains("`thornwall upgrade -c FILE` does")
    });

    let port = gateway.port;
    let request = "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    let client = thread::spawn(move || send(port, request));
    wait_for("the request to be under way", || {
        !origin.requests().is_empty()
    });
    gateway.signal("QUIT");
    assert_eq!(client.join().unwrap().body, "slow", "it is let end");
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn check_refuses_the_secrets_that_run_refuses() {
    let folder = Folder::new();
    let path = folder.join("data/admin.token");
    assert_eq!(
        check(&folder, OPEN_SITE).0,
        Some(0),
        "what is missing is made"
    );
    fs::create_dir_all(folder.join("data")).unwrap();
    for wrong in [
        "",
        "short\n",
        "two words that are long enough to be one token\n",
    ] {
        fs::write(&path, wrong).unwrap();
        let (code, told) = check(&folder, OPEN_SITE);
        assert_eq!(code, Some(2), "{wrong:?} {told}");
        assert!(told.contains("no token in it"), "{told}");
    }
    fs::remove_file(&path).unwrap();
    symlink("/etc/passwd", &path).unwrap();
    assert_eq!(check(&folder, OPEN_SITE).0, Some(2));
    fs::remove_file(&path).unwrap();
    fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
    assert_eq!(check(&folder, OPEN_SITE).0, Some(0));

    fs::write(folder.join("data/links.key"), "short").unwrap();
    let (code, told) = check(&folder, OPEN_SITE);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("links.key"), "{told}");
}

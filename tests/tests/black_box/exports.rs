//! What other programs of the host are told, read by those programs.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::harness::{Gateway, Origin, root, wait_for};

const SITE: &str = "[never_block]\naddresses = [\"203.0.113.0/24\"]\n\
    [export]\nnftables_file = \"deny.nft\"\nfail2ban_log = \"deny.log\"\n\
    [[feed]]\nname = \"bad\"\nfile = \"bad.txt\"\nevery_secs = 1\n\
    [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"open\"\n\
    [[pipeline]]\nname = \"open\"\n";

fn run(gateway: &Gateway, words: &[&str]) -> Output {
    let output = gateway.output(words);
    assert!(output.status.success(), "{output:?}");
    output
}

/// The text of a file that may not be there yet.
fn text(gateway: &Gateway, name: &str) -> String {
    fs::read_to_string(gateway.folder.join(name)).unwrap_or_default()
}

/// Runs a script where no network of the host is: as root, or as root of a user namespace.
fn in_a_namespace(script: &str, words: &[&Path]) -> String {
    let id = Command::new("id").arg("-u").output().unwrap();
    let mut command = Command::new("unshare");
    if id.stdout.trim_ascii() != b"0" {
        command.arg("--map-root-user");
    }
    let output = command
        .args(["--net", "sh", "-euc", script, "sh"])
        .args(words)
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(output.status.success(), "{told}");
    told
}

/// Connects from each address to a listener of its own: who gets through.
const CONNECT: &str = r#"
import socket, sys
for client, host in ((a, h) for a, h in zip(sys.argv[1::2], sys.argv[2::2])):
    family = socket.AF_INET6 if ":" in client else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, 80))
    listener.listen()
    try:
        socket.create_connection((host, 80), 0.5, (client, 0)).close()
        print(client, "served")
    except TimeoutError:
        print(client, "dropped")
    listener.close()
"#;

#[test]
fn the_kernel_drops_whom_the_edge_denies() {
    let gateway = Gateway::start(Origin::start().port, SITE);
    let blocks: [&[&str]; 6] = [
        &["block", "192.0.2.7", "--for", "1h"],
        &["block", "198.51.100.0/24", "--for", "2h"],
        &["block", "198.51.100.9", "--action", "throttle"],
        &["block", "2001:db8::/32"],
        &["block", "203.0.0.0/16"],
        &["block", "192.0.2.99", "--site", "t"],
    ];
    for block in blocks {
        run(&gateway, block);
    }
    gateway.folder.write("bad.txt", "192.0.2.66\n");
    wait_for("the file", || {
        let text = text(&gateway, "deny.nft");
        text.contains("192.0.2.66") && text.contains("2001:db8::")
    });
    let printed = run(&gateway, &["export", "nftables"]).stdout;
    let printed = String::from_utf8(printed).unwrap();
    let lines = |text: &str| {
        text.lines()
            .filter(|line| line.contains(" timeout "))
            .count()
    };
    assert_eq!(lines(&printed), lines(&text(&gateway, "deny.nft")));
    assert!(!printed.contains("192.0.2.99"), "one site's alone");

    let chain = root().join("deploy/nftables/thornwall.nft");
    let file = gateway.folder.join("deny.nft");
    let connect = gateway.folder.write("connect.py", CONNECT);
    let told = in_a_namespace(
        r#"
        PATH=$PATH:/usr/sbin:/sbin
        nft -f "$2"; nft -f "$1"
        # Again, as after a change: it replaces itself.
        nft -f "$2"
        nft list sets
        ip link set lo up
        for address in 192.0.2.1 192.0.2.7 192.0.2.8 192.0.2.66 192.0.2.99 198.51.100.9 198.51.100.10 \
                       203.0.112.1 203.0.113.9; do
            ip address add "$address/32" dev lo
        done
        for address in fd00::1 2001:db8::7 2001:db9::7; do
            ip address add "$address/128" dev lo nodad
        done
        python3 "$3" 192.0.2.7 192.0.2.1 192.0.2.8 192.0.2.1 192.0.2.66 192.0.2.1 192.0.2.99 192.0.2.1 \
            198.51.100.9 192.0.2.1 198.51.100.10 192.0.2.1 203.0.112.1 192.0.2.1 203.0.113.9 192.0.2.1 \
            2001:db8::7 fd00::1 2001:db9::7 fd00::1
        "#,
        &[&chain, &file, &connect],
    );
    for (client, fate) in [
        ("192.0.2.7", "dropped"),
        ("192.0.2.8", "served"),
        ("192.0.2.66", "dropped"),
        ("192.0.2.99", "served"),
        ("198.51.100.9", "served"),
        ("198.51.100.10", "dropped"),
        ("203.0.112.1", "dropped"),
        ("203.0.113.9", "served"),
        ("2001:db8::7", "dropped"),
        ("2001:db9::7", "served"),
    ] {
        assert!(
            told.contains(&format!("{client} {fate}\n")),
            "{client}\n{told}"
        );
    }
    // What is left of an hour.
    let lasts = |time: &str| told.contains(&format!("timeout {time}"));
    assert!(lasts("1h") || lasts("59m"), "{told}");

    // Let off, they are out of it within a second or two.
    run(&gateway, &["unblock", "192.0.2.7"]);
    wait_for("the next file", || {
        !text(&gateway, "deny.nft").contains("192.0.2.7 ")
    });
}

#[test]
fn fail2ban_reads_the_log_of_decisions() {
    let gateway = Gateway::start(Origin::start().port, SITE);
    let blocks: [&[&str]; 5] = [
        &["block", "192.0.2.7", "--reason", "deny 192.0.2.8"],
        &["block", "2001:db8::/32"],
        &["block", "192.0.2.9", "--action", "tarpit"],
        &["block", "203.0.0.0/16"],
        &["block", "192.0.2.10", "--site", "t"],
    ];
    for block in blocks {
        run(&gateway, block);
    }
    wait_for("the log", || {
        text(&gateway, "deny.log").lines().count() == 3
    });
    let log = text(&gateway, "deny.log");
    assert!(
        !log.contains("192.0.2.8") && !log.contains("203.0"),
        "{log}"
    );
    let left_out = "thornwall_export_writes_total{export=\"fail2ban\",result=\"left_out\"}";
    assert_eq!(gateway.metric(left_out), 1.0);

    let filter = root().join("deploy/fail2ban/filter.conf");
    let output = Command::new("fail2ban-regex")
        .args(["-o", "ip"])
        .arg(gateway.folder.join("deny.log"))
        .arg(filter)
        .output()
        .unwrap();
    let banned = String::from_utf8_lossy(&output.stdout).into_owned();
    let banned: Vec<&str> = banned.lines().collect();
    assert_eq!(banned, ["192.0.2.7", "2001:db8::/32"], "{output:?}");

    // Rotated by renaming, as the access log.
    let old = gateway.folder.join("deny.log");
    fs::rename(&old, gateway.folder.join("deny.log.1")).unwrap();
    gateway.signal("HUP");
    let reloads = "thornwall_reloads_total{result=\"applied\"}";
    wait_for("the reload", || gateway.metric(reloads) > 0.0);
    run(&gateway, &["block", "192.0.2.11"]);
    wait_for("the new log", || {
        text(&gateway, "deny.log").lines().count() == 1
    });
}

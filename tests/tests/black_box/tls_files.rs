//! Certificates and keys in the forms that people's tools leave them in, and what old clients speak.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use thornwall_tests::authority::{Authority, Issued, Key, Wanted};

use crate::{
    harness::{Folder, Gateway, Origin, free_port, wait_for},
    tls_client::Client,
};

/// A gateway with a certificate for `a.t.example` from these files; `keys` belong to its site.
fn gateway(origin: &Origin, folder: &Folder, keys: &str) -> (Gateway, u16) {
    let (port, folder) = (free_port(), folder.path().display());
    let extra = format!(
        "[[listener]]\naddress = \"127.0.0.1:{port}\"\ntls = true\n\
         [[certificate]]\nhosts = [\"a.t.example\"]\nchain_file = \"{folder}/a.pem\"\n\
         key_file = \"{folder}/a.key\"\n[[site]]\nname = \"a\"\nhosts = [\"a.t.example\"]\n\
         upstream = \"o\"\npipeline = \"open\"\n{keys}\n[[pipeline]]\nname = \"open\"\n"
    );
    (Gateway::start(origin.port, &extra), port)
}

fn issue(authority: &Authority, key: Key, client: bool) -> Issued {
    authority.issue(Wanted {
        names: &["a.t.example"],
        key,
        client,
        ..Wanted::default()
    })
}

#[test]
fn byte_order_marks_line_ends_and_text_around_certificates_are_no_trouble() {
    let origin = Origin::start();
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let issued = issue(&servers, Key::Ecdsa, false);
    // What `copy a.pem+ca.pem chain.pem` leaves of files that an editor saved.
    let marked = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let parts = issued.chain.split_inclusive("-----END CERTIFICATE-----\n");
    let chain: String = parts
        .map(|part| marked(&format!("Bag Attributes\n{part}")))
        .collect();
    assert_eq!(chain.matches("\u{feff}").count(), 2);
    let utf16: Vec<u8> = marked(&clients.pem())
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let write = |chain: &str, key: &str, authorities: &[u8]| {
        let folder = Folder::new();
        folder.write("a.pem", chain);
        folder.write("a.key", key);
        std::fs::write(folder.join("ca.pem"), authorities).unwrap();
        let ca = folder.join("ca.pem");
        let keys = format!("client_certificate = {{ ca_file = \"{}\" }}", ca.display());
        (folder, keys)
    };
    for authorities in [marked(&clients.pem()).into_bytes(), utf16] {
        let (folder, keys) = write(&chain, &marked(&issued.key), &authorities);
        let (_gateway, port) = gateway(&origin, &folder, &keys);
        let shown = issue(&clients, Key::Ecdsa, true);
        let client = Client::new(port, &servers, Some(&shown));
        let reply = client.h1("a.t.example", "a.t.example", "/", "");
        assert_eq!(reply.unwrap().status, 200);
    }
}

/// Whether openssl, in the words of an old client, comes to an answer.
fn openssl(port: u16, suite: &str) -> bool {
    let mut child = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-tls1_2",
            "-groups",
            "P-256:P-384",
            "-cipher",
            suite,
        ])
        .args([
            "-servername",
            "a.t.example",
            "-connect",
            &format!("127.0.0.1:{port}"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: a.t.example\r\nConnection: close\r\n\r\n";
    // It may have been refused already.
    let _ = child.stdin.as_mut().unwrap().write_all(request);
    let output = child.wait_with_output().unwrap();
    output.stdout.starts_with(b"HTTP/1.1 200")
}

#[test]
fn clients_without_authenticated_encryption_are_refused_and_an_ecdsa_key_serves_some_more() {
    let origin = Origin::start();
    let authority = Authority::new("servers");
    let check = |key: Key, suites: &[(&str, bool)]| {
        let (folder, issued) = (Folder::new(), issue(&authority, key, false));
        folder.write("a.pem", &issued.chain);
        folder.write("a.key", &issued.key);
        let (_gateway, port) = gateway(&origin, &folder, "");
        for (suite, served) in suites {
            assert_eq!(openssl(port, suite), *served, "{key:?} {suite}");
        }
    };
    // IE 11 on Windows 7 and 8.1 knows GCM with ECDSA alone (and with finite-field DH), Safari 8 none.
    let old = [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", true),
        ("ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES128-SHA", false),
    ];
    check(Key::Ecdsa, &old);
    check(
        Key::Rsa,
        &[("ECDHE-RSA-AES128-GCM-SHA256", true), (old[0].0, false)],
    );
}

#[test]
fn a_pipe_in_the_place_of_a_certificate_is_refused_and_the_next_reload_works() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let authority = Authority::new("servers");
    let issued = issue(&authority, Key::Ecdsa, false);
    let write = || {
        folder.write("a.pem", &issued.chain);
        folder.write("a.key", &issued.key);
    };
    write();
    let (gateway, _port) = gateway(&origin, &folder, "");
    let mut generation = gateway.metric("thornwall_generation");
    for name in ["a.pem", "a.key"] {
        let path = folder.join(name);
        std::fs::remove_file(&path).unwrap();
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let refusals = || gateway.stderr().matches("is not a regular file").count();
        let before = refusals();
        gateway.signal("HUP");
        wait_for("the refusal", || refusals() > before);
        std::fs::remove_file(&path).unwrap();
        write();
        gateway.signal("HUP");
        generation += 1.0;
        wait_for("the reload", || {
            gateway.metric("thornwall_generation") >= generation
        });
    }
}

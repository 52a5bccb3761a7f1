//! TLS through the port: who is shown which certificate, who is let in, and what a reload changes.

use std::{
    fs,
    io::{Read, Write},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use thornwall_tests::authority::{Authority, Issued, Wanted};

use crate::{
    harness::{Folder, Gateway, Origin, Reply, connect, free_port, send, thornwall, wait_for},
    tls_client::Client,
};

/// A folder of certificates, and a gateway that shows them.
struct Secure {
    gateway: Gateway,
    authority: Authority,
    files: Folder,
    port: u16,
}

impl Secure {
    /// A gateway with a plain listener, one for TLS, and a certificate for `*.t.example`; `sites`
    /// may refer to the authority of clients as `CLIENTS`.
    fn start(origin: u16, sites: &str) -> (Self, Authority) {
        let files = Folder::new();
        let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
        let port = free_port();
        issue(&files, &authority, "all", Wanted::default());
        let ca = files.write("clients.pem", &clients.pem());
        let sites = sites.replace("CLIENTS", &ca.display().to_string());
        let extra = format!(
            "[[listener]]\naddress = \"127.0.0.1:{port}\"\ntls = true\n{}{sites}\
             [[pipeline]]\nname = \"open\"\n",
            certificate(&files, "all", "\"*.t.example\"")
        );
        let secure = Self {
            gateway: Gateway::start(origin, &extra),
            authority,
            files,
            port,
        };
        (secure, clients)
    }

    fn client(&self) -> Client {
        Client::new(self.port, &self.authority, None)
    }

    fn reload(&self) {
        let metric = "thornwall_reloads_total{result=\"applied\"}";
        let before = self.gateway.metric(metric);
        self.gateway.signal("HUP");
        wait_for("the reload", || self.gateway.metric(metric) > before);
    }
}

const NAMES: &[&str] = &["*.t.example"];

fn issue(files: &Folder, authority: &Authority, name: &str, wanted: Wanted<'_>) -> Issued {
    let issued = authority.issue(Wanted {
        names: NAMES,
        ..wanted
    });
    files.write(&format!("{name}.pem"), &issued.chain);
    files.write(&format!("{name}.key"), &issued.key);
    issued
}

fn certificate(files: &Folder, name: &str, hosts: &str) -> String {
    let folder = files.path().display();
    format!(
        "[[certificate]]\nhosts = [{hosts}]\nchain_file = \"{folder}/{name}.pem\"\n\
         key_file = \"{folder}/{name}.key\"\n"
    )
}

fn site(name: &str, keys: &str) -> String {
    format!(
        "[[site]]\nname = \"{name}\"\nhosts = [\"{name}.t.example\"]\nupstream = \"o\"\n\
         pipeline = \"open\"\n{keys}\n"
    )
}

fn plain(gateway: &Gateway, request: &str) -> Reply {
    send(gateway.port, &format!("{request}Connection: close\r\n\r\n"))
}

#[test]
fn both_protocols_reach_the_origin_over_tls() {
    let origin = Origin::start();
    let (secure, _) = Secure::start(origin.port, &site("a", "hsts = { max_age_secs = 300 }"));
    let client = secure.client();
    let first = client.h1("a.t.example", "a.t.example", "/one", "").unwrap();
    let second = client
        .h2("a.t.example", "a.t.example", "/two", &[])
        .unwrap();
    assert_eq!((first.status, second.status), (200, 200));
    for reply in [&first, &second] {
        let hsts = reply.header("strict-transport-security");
        assert_eq!(hsts, Some("max-age=300"), "{}", reply.head);
    }
    for seen in origin.requests() {
        let seen = seen.to_ascii_lowercase();
        assert!(seen.contains("x-forwarded-proto: https\r\n"), "{seen}");
        assert!(seen.contains("host: a.t.example\r\n"), "{seen}");
    }
    let clear = plain(&secure.gateway, "GET / HTTP/1.1\r\nHost: a.t.example\r\n");
    assert_eq!(clear.status, 200);
    assert_eq!(clear.header("strict-transport-security"), None);
    let seen = origin.requests().pop().unwrap().to_ascii_lowercase();
    assert!(seen.contains("x-forwarded-proto: http\r\n"), "{seen}");
}

#[test]
fn our_own_answers_over_tls_ask_for_https_too() {
    let (secure, _) = Secure::start(free_port(), &site("a", "hsts = { max_age_secs = 300 }"));
    let reply = secure.client().h1("a.t.example", "a.t.example", "/", "");
    let reply = reply.unwrap();
    assert_eq!(reply.status, 502);
    assert_eq!(
        reply.header("strict-transport-security"),
        Some("max-age=300")
    );
}

#[test]
fn a_name_without_certificate_is_refused_by_its_alert() {
    let origin = Origin::start();
    let (secure, _) = Secure::start(origin.port, &site("a", ""));
    let client = secure.client();
    let told = client.h1("a.example", "a.t.example", "/", "").unwrap_err();
    assert!(told.contains("UnrecognisedName"), "{told}");
    // Nothing is lost for those whose name is known.
    let reply = client.h1("a.t.example", "a.t.example", "/", "").unwrap();
    assert_eq!(reply.status, 200);
}

#[test]
fn certificates_are_replaced_without_a_dropped_handshake() {
    let origin = Origin::start();
    let (secure, _) = Secure::start(origin.port, &site("a", ""));
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let crowd: Vec<_> = (0..3)
        .map(|_| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            let client = secure.client();
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let reply = client.h1("a.t.example", "a.t.example", "/", "");
                    assert_eq!(reply.unwrap().status, 200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let client = secure.client();
    client.h1("a.t.example", "a.t.example", "/", "").unwrap();
    for serial in 2..=6_u8 {
        let before = served.load(Ordering::Relaxed);
        wait_for("handshakes between reloads", || {
            served.load(Ordering::Relaxed) > before + 5
        });
        let wanted = Wanted {
            serial,
            ..Wanted::default()
        };
        issue(&secure.files, &secure.authority, "all", wanted);
        secure.reload();
        let fresh = secure.client();
        fresh.h1("a.t.example", "a.t.example", "/", "").unwrap();
        assert_eq!(fresh.serial_seen(), Some(serial));
        client.h1("a.t.example", "a.t.example", "/", "").unwrap();
        assert!(client.resumed(), "after {serial}");
    }
    stop.store(true, Ordering::Relaxed);
    for one in crowd {
        one.join().expect("no handshake fails");
    }
}

#[test]
fn a_broken_certificate_leaves_the_running_one() {
    let origin = Origin::start();
    let (secure, _) = Secure::start(origin.port, &site("a", ""));
    let stranger = Authority::new("another").issue(Wanted::default());
    secure.files.write("all.key", &stranger.key);
    let refused = "thornwall_reloads_total{result=\"refused\"}";
    secure.gateway.signal("HUP");
    wait_for("the refusal", || secure.gateway.metric(refused) > 0.0);
    let told = secure.gateway.stderr();
    assert!(
        told.contains("all.key: does not match the certificate"),
        "{told}"
    );
    let reply = secure.client().h1("a.t.example", "a.t.example", "/", "");
    assert_eq!(reply.unwrap().status, 200);
}

#[test]
fn more_clients_resume_than_any_cache_would_keep() {
    let origin = Origin::start();
    let (secure, _) = Secure::start(origin.port, &site("a", ""));
    for version in ["1.2", "1.3"] {
        let output = Command::new(env!("CARGO_BIN_EXE_handshakes"))
            .arg(format!("127.0.0.1:{}", secure.port))
            .args(["--name", "a.t.example", "--tls", version])
            .args(["--distinct-clients", "400"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(told["prepared"], 400, "{told}");
        assert_eq!(
            (&told["count"], &told["resumed"]),
            (&400.into(), &400.into()),
            "{told}"
        );
    }
}

#[test]
fn client_certificates_hold_name_and_host_together() {
    let origin = Origin::start();
    let must = "client_certificate = { ca_file = \"CLIENTS\" }";
    let may = "client_certificate = { ca_file = \"CLIENTS\", mode = \"optional\" }";
    let sites = site("open", "") + &site("must", must) + &site("may", may);
    let (secure, clients) = Secure::start(origin.port, &sites);
    let wanted = Wanted {
        names: &["member"],
        client: true,
        ..Wanted::default()
    };
    let member = clients.issue(wanted);
    let stranger = Authority::new("nobody").issue(wanted);
    let check = |identity: Option<&Issued>, name: &str, host: &str, expected: Option<u16>| {
        let client = Client::new(secure.port, &secure.authority, identity);
        let (name, host) = (format!("{name}.t.example"), format!("{host}.t.example"));
        let forged = "Client-Cert: :Zm9yZ2Vk:\r\nClient-Cert-Chain: :Zm9yZ2Vk:\r\n";
        let first = client.h1(&name, &host, "/", forged).ok();
        assert_eq!(first.map(|r| r.status), expected, "{name} {host} HTTP/1.1");
        let forged = [
            ("client-cert", ":Zm9yZ2Vk:"),
            ("client-cert-chain", ":Zm9yZ2Vk:"),
        ];
        let second = client.h2(&name, &host, "/", &forged).ok();
        assert_eq!(second.map(|r| r.status), expected, "{name} {host} HTTP/2");
    };
    let (member, stranger) = (Some(&member), Some(&stranger));
    check(None, "open", "open", Some(200));
    check(None, "must", "must", None);
    check(stranger, "must", "must", None);
    check(None, "open", "must", Some(421));
    check(member, "open", "must", Some(421));
    check(None, "may", "must", Some(421));
    check(None, "open", "may", Some(421));
    check(None, "may", "may", Some(200));
    let seen = origin.requests().concat().to_ascii_lowercase();
    assert!(!seen.contains("client-cert"), "{seen}");

    check(member, "must", "must", Some(200));
    check(member, "must", "open", Some(200));
    let seen = origin.requests();
    let field = |seen: &str| {
        let values = seen.lines().filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.to_ascii_lowercase()
                .starts_with("client-cert")
                .then(|| value.to_owned())
        });
        values.collect::<Vec<_>>()
    };
    let pem = member.unwrap().certificate.pem();
    let shown: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
    let fields: Vec<_> = seen[seen.len() - 4..].iter().map(|s| field(s)).collect();
    let shown = vec![format!(":{shown}:")];
    assert_eq!(fields, [shown.clone(), shown, vec![], vec![]]);

    let clear = |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}.t.example\r\n");
        plain(&secure.gateway, &request)
    };
    let refused = clear("must");
    assert_eq!(refused.status, 403);
    assert_eq!(
        secure.gateway.explain(refused.id())["reason"],
        "tls.required"
    );
    assert_eq!((clear("may").status, clear("open").status), (200, 200));
}

#[test]
fn plain_http_is_sent_on_to_https() {
    let origin = Origin::start();
    let (secure, _) = Secure::start(origin.port, &site("a", "redirect_to_https = true"));
    let check = |request: &str, status: u16, location: Option<&str>| {
        let reply = plain(
            &secure.gateway,
            &format!("{request}\r\nHost: A.t.example\r\n"),
        );
        assert_eq!(reply.status, status, "{request}");
        let expected = location.map(|path| format!("https://a.t.example:{}{path}", secure.port));
        assert_eq!(reply.header("location"), expected.as_deref(), "{request}");
        assert_eq!(reply.header("strict-transport-security"), None);
    };
    check("GET /a/b?c=d&e HTTP/1.1", 308, Some("/a/b?c=d&e"));
    check("GET //evil.example/ HTTP/1.1", 308, Some("//evil.example/"));
    check("GET http://A.t.example/x HTTP/1.1", 308, Some("/x"));
    check("HEAD / HTTP/1.1", 308, Some("/"));
    check(
        "POST /form HTTP/1.1\r\nContent-Length: 0",
        308,
        Some("/form"),
    );
    check(
        "GET /.well-known/acme-challenge/../x HTTP/1.1",
        308,
        Some("/.well-known/acme-challenge/../x"),
    );
    assert!(origin.requests().is_empty());
    check("GET /.well-known/acme-challenge/token HTTP/1.1", 200, None);
    let reply = secure.client().h1("a.t.example", "a.t.example", "/", "");
    assert_eq!(reply.unwrap().status, 200);
}

#[test]
fn what_cannot_be_shown_ends_the_start_and_what_is_odd_is_told() {
    let folder = Folder::new();
    let authority = Authority::new("servers");
    let good = authority.issue(Wanted {
        names: NAMES,
        begins_days: -90,
        ends_days: -2,
        ..Wanted::default()
    });
    let tables = certificate(&folder, "all", "\"*.t.example\"") + &site("a", "");
    let text = |port: u16| {
        format!(
            "[[listener]]\naddress = \"127.0.0.1:{port}\"\ntls = true\n{tables}\
             [[pipeline]]\nname = \"open\"\n"
        )
    };
    let config = Gateway::toml(free_port(), free_port(), free_port(), &text(free_port()));
    let config = folder.write("t.toml", &config);
    let check = |chain: &str, key: &str| {
        folder.write("all.pem", chain);
        folder.write("all.key", key);
        let run = |command: &str| {
            let mut started = Command::new(thornwall());
            started.args([command, "-c"]).arg(&config);
            started.output().unwrap()
        };
        let checked = run("check");
        let told = String::from_utf8_lossy(&checked.stdout).into_owned()
            + &String::from_utf8_lossy(&checked.stderr);
        let code = checked.status.code();
        // What serves does not end by itself.
        if code != Some(0) {
            assert_eq!(run("run").status.code(), code);
        }
        (code, told)
    };
    let (code, told) = check(&good.chain, "");
    assert_eq!(code, Some(2));
    assert!(told.contains("all.key: no private key in it"), "{told}");
    let (code, told) = check("-----BEGIN CERTIFICATE-----\nMIIB", &good.key);
    assert_eq!(code, Some(2));
    assert!(told.contains("all.pem: broken PEM"), "{told}");
    let (code, told) = check(&good.chain, &good.key);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("expired on 20"), "{told}");
}

#[test]
fn garbage_for_a_hello_loses_nothing_and_ends_are_shown() {
    let origin = Origin::start();
    let (secure, _) = Secure::start(origin.port, &site("a", ""));
    for garbage in [
        b"GET / HTTP/1.1\r\nHost: a.t.example\r\n\r\n".as_slice(),
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\xff\xff",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0; 600],
    ] {
        let mut stream = connect(secure.port).unwrap();
        stream.write_all(garbage).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        // Who speaks HTTP is told so; nobody is served.
        let answer = String::from_utf8_lossy(&answer);
        let explained = answer.starts_with("HTTP/1.1 400 ");
        assert!(explained || !answer.contains("HTTP"), "{answer}");
    }
    let client = secure.client();
    assert!(client.h1("a.t.example", "a.t.example", "/", "").is_ok());
    let line = "thornwall_certificate_expiry_timestamp_seconds{host=\"*.t.example\",key=\"ecdsa\"}";
    let ends = secure.gateway.metric(line);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let days = (ends - now.unwrap().as_secs_f64()) / 86_400.0;
    assert!((89.0..91.0).contains(&days), "{days}");
    assert!(fs::exists(&secure.gateway.config).unwrap());
}

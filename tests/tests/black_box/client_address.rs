//! Who the client is behind proxies, what the origin is told of it, and what the operator is told of
//! proxies that nobody has named.

use std::{process::Command, time::Duration};

use crate::harness::{Gateway, OPEN_SITE, Origin, Reply, thornwall, wait_for};

/// What trusts every peer of these tests.
const TRUSTED: &str = "[client_address]\ntrusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n";

fn trusting(origin: &Origin, more: &str) -> Gateway {
    Gateway::start(origin.port, &format!("{TRUSTED}{more}\n{OPEN_SITE}"))
}

/// The lines of the last request that an origin saw, in lower case.
fn last_of(origin: &Origin) -> Vec<String> {
    let seen = origin.requests().pop().unwrap().to_ascii_lowercase();
    seen.lines().map(str::to_owned).collect()
}

fn value<'a>(lines: &'a [String], name: &str) -> Option<&'a str> {
    let mut found = lines
        .iter()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let first = found.next();
    assert_eq!(found.next(), None, "{name} comes once");
    first
}

#[test]
fn elements_of_forwarding_lists_in_seen_forms_name_the_client() {
    let origin = Origin::start();
    let gateway = trusting(&origin, "");
    let check = |list: &str, client: &str| {
        let reply = gateway.get("/", &format!("X-Forwarded-For: {list}\r\n"));
        assert_eq!(gateway.explain(reply.id())["client"], client, "{list}");
        assert_eq!(
            value(&last_of(&origin), "x-real-ip"),
            Some(client),
            "{list}"
        );
    };
    for list in [
        "203.0.113.9,",
        "203.0.113.9, , 10.0.0.1, ",
        "\"203.0.113.9\"",
        "203.0.113.9:4711, 10.0.0.1:80",
        "203.0.113.9, unix:, 10.0.0.1",
        "for=203.0.113.9;proto=https",
    ] {
        check(list, "203.0.113.9");
    }
    check("fe80::1%eth0", "fe80::1");
    check("[fe80::1%25eth0]:443, 10.0.0.1", "fe80::1");
    check("\"[2001:db8::7]:443\"", "2001:db8::7");
    check(
        &format!("203.0.113.9{}", ", 10.0.0.1".repeat(60)),
        "203.0.113.9",
    );
    // What stands left of something unknown is anybody's claim.
    for hidden in ["nonsense", "unknown", "_hidden", "-"] {
        check(&format!("203.0.113.9, {hidden}, 10.0.0.1"), "10.0.0.1");
        check(&format!("203.0.113.9, {hidden}"), "127.0.0.1");
    }
}

#[test]
fn the_origin_is_told_the_clients_address_and_no_strangers_word() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    gateway.get("/", "X-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n");
    let seen = last_of(&origin);
    assert_eq!(value(&seen, "x-real-ip"), Some("127.0.0.1"));
    assert_eq!(value(&seen, "forwarded"), None);
    assert!(
        !seen.iter().any(|line| line.contains("6.6.6.6")),
        "{seen:?}"
    );

    let gateway = trusting(&origin, "");
    let both = "X-Forwarded-For: 203.0.113.9\r\nX-Real-IP: 6.6.6.6\r\nForwarded: ";
    gateway.get("/", &format!("{both}for=203.0.113.9;proto=https\r\n"));
    let seen = last_of(&origin);
    assert_eq!(value(&seen, "x-real-ip"), Some("203.0.113.9"));
    let chain = "for=203.0.113.9;proto=https, for=127.0.0.1";
    assert_eq!(value(&seen, "forwarded"), Some(chain));
    // A proxy that knows one field alone lets the other through as its client sent it.
    gateway.get("/", &format!("{both}for=6.6.6.6;host=evil.example\r\n"));
    assert_eq!(value(&last_of(&origin), "forwarded"), None);
}

#[test]
fn clients_are_found_in_forwarded_where_it_is_the_header() {
    let origin = Origin::start();
    let gateway = trusting(&origin, "header = \"forwarded\"");
    let reply = gateway.get(
        "/",
        "Forwarded: for=6.6.6.6, for=\"[2001:db8::9]:4711\";proto=https;by=_edge\r\n",
    );
    assert_eq!(gateway.explain(reply.id())["client"], "2001:db8::9");
    assert_eq!(value(&last_of(&origin), "x-real-ip"), Some("2001:db8::9"));
}

#[test]
fn ids_of_trusted_proxies_go_on_and_ours_is_found() {
    let origin = Origin::start();
    let gateway = trusting(&origin, "");
    let reply = gateway.get("/", "X-Request-Id: Root=1-5759e988/a+b\r\n");
    let seen = last_of(&origin);
    assert_eq!(value(&seen, "x-request-id"), Some("root=1-5759e988/a+b"));
    let ours = value(&seen, "x-gateway-request-id").unwrap();
    assert_eq!(reply.id(), ours);
    assert_eq!(gateway.explain(ours)["proxy_id"], "Root=1-5759e988/a+b");
    assert_eq!(gateway.explain("Root=1-5759e988/a+b")["id"], ours);
    for bad in ["a b", "\"a\"", "", &"x".repeat(129)] {
        let reply = gateway.get("/", &format!("X-Request-Id: {bad}\r\n"));
        let seen = last_of(&origin);
        assert_eq!(value(&seen, "x-request-id"), Some(reply.id()), "{bad}");
        assert_eq!(value(&seen, "x-gateway-request-id"), None);
    }
    // A stranger's is none.
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    let reply = gateway.get("/", "X-Request-Id: mine\r\nX-Gateway-Request-Id: mine\r\n");
    let seen = last_of(&origin);
    assert_eq!(value(&seen, "x-request-id"), Some(reply.id()));
    assert_eq!(value(&seen, "x-gateway-request-id"), None);
}

#[test]
fn an_origins_own_id_reaches_the_client_and_ours_is_beside_it() {
    let named = "HTTP/1.1 200 OK\r\nX-Request-Id: theirs\r\nContent-Length: 0\r\n\r\n";
    let origin = Origin::answering(named, Duration::ZERO);
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    let reply = gateway.get("/", "");
    assert_eq!(reply.header("x-request-id"), Some("theirs"));
    let ours = reply.header("x-gateway-request-id").unwrap();
    assert_eq!(gateway.explain(ours)["status"], 200);
    // Where it has none, there is one field.
    let gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    let reply = gateway.get("/", "");
    assert_eq!(reply.header("x-gateway-request-id"), None);
    assert_eq!(
        gateway.explain(reply.header("x-request-id").unwrap())["status"],
        200
    );
}

fn status(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = Command::new(thornwall())
        .args(["status", "-c"])
        .arg(&gateway.config)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A request that names a client to a gateway that does not believe its peer.
fn name(gateway: &Gateway, field: &str, client: u8) -> Reply {
    gateway.get("/", &format!("{field}: 203.0.113.{client}\r\n"))
}

#[test]
fn a_proxy_that_is_not_trusted_is_told_of_with_the_line_to_add() {
    let gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    let line = "[client_address] trusted_proxies = [\"127.0.0.1\"]";
    let claims = "thornwall_untrusted_forwarding_total{peer=\"private\"}";
    // One forged field, however often, is no proxy.
    for _ in 0..5 {
        name(&gateway, "X-Forwarded-For", 1);
    }
    assert_eq!(gateway.metric(claims), 5.0);
    assert!(status(&gateway, &[]).contains("untrusted proxies    -"));
    assert!(!gateway.stderr().contains("trusted_proxies"));
    for client in 2..40 {
        name(&gateway, "X-Forwarded-For", client);
    }
    wait_for("the log to tell", || gateway.stderr().contains(line));
    assert_eq!(
        gateway.stderr().matches(line).count(),
        1,
        "{}",
        gateway.stderr()
    );
    assert!(
        gateway
            .stderr()
            .contains("only if this address is your own proxy")
    );
    let told = status(&gateway, &[]);
    assert!(
        told.contains(line) && told.contains("x-forwarded-for"),
        "{told}"
    );
    let told: serde_json::Value = serde_json::from_str(&status(&gateway, &["--json"])).unwrap();
    let told = &told["untrusted_proxies"]["127.0.0.1"];
    assert_eq!(
        (&told["add"], &told["clients"]),
        (&line.into(), &"16 or more".into())
    );

    // Once it is trusted, nothing is told, and its clients are told apart.
    let text = std::fs::read_to_string(&gateway.config).unwrap();
    let trusted = text.replace(
        "[access_log]",
        &format!("{}[access_log]", line.replace("] t", "]\nt") + "\n"),
    );
    std::fs::write(&gateway.config, trusted).unwrap();
    gateway.signal("HUP");
    wait_for("the reload", || {
        status(&gateway, &[]).contains("untrusted proxies    -")
    });
    let reply = name(&gateway, "X-Forwarded-For", 77);
    assert_eq!(gateway.explain(reply.id())["client"], "203.0.113.77");
}

#[test]
fn the_line_to_add_names_the_field_that_the_proxy_uses() {
    let gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    for client in 1..5 {
        name(&gateway, "CF-Connecting-IP", client);
    }
    let line = "trusted_proxies = [\"127.0.0.1\"], header = \"cf-connecting-ip\"";
    wait_for("the log to tell", || gateway.stderr().contains(line));
}

#[test]
fn an_address_behind_which_strangers_meet_is_not_taken_for_a_proxy() {
    let gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    name(&gateway, "X-Forwarded-For", 1);
    for client in 2..30 {
        gateway.get("/", "");
        name(&gateway, "X-Forwarded-For", client);
    }
    assert!(status(&gateway, &[]).contains("untrusted proxies    -"));
    assert!(
        !gateway.stderr().contains("trusted_proxies"),
        "{}",
        gateway.stderr()
    );
}

//! Upstreams as they are built from their configuration.

use thornwall_filters::carry::Carry;
use thornwall_settings::report::Report;

use super::*;

const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/upstream/tests/ca.pem");

/// Builds `[[upstream]]` with these keys beside its name, or says what is wrong.
fn build(keys: &str) -> Result<Upstream, Vec<String>> {
    let spec: config::Upstream = toml::from_str(&format!("name = \"u\"\n{keys}")).unwrap();
    let mut report = Report::default();
    let built = Upstream::build(&spec, &[7; 32], &mut report, &mut Carry::default());
    built.ok_or_else(|| {
        report
            .problems
            .into_iter()
            .map(|problem| problem.what)
            .collect()
    })
}

/// An upstream with these keys beside its name.
pub(super) fn upstream(keys: &str) -> Upstream {
    build(keys).unwrap()
}

#[test]
fn contradictions_are_told() {
    let check = |keys: &str, expected: &str| {
        let keys = match keys.contains("servers") {
            true => keys.to_owned(),
            false => format!("servers = [{{ address = \"127.0.0.1:1\" }}]\n{keys}"),
        };
        let problems = build(&keys).expect_err(&keys);
        assert_eq!(problems.len(), 1, "{keys}: {problems:?}");
        assert!(problems[0].contains(expected), "{keys}: {problems:?}");
    };
    let two = "servers = [{ address = \"127.0.0.1:1\" }, { address = \"127.0.0.1:1\" }]";
    check("servers = []", "0 servers; expected 1 to 1024");
    check(two, "is there twice");
    check(
        "servers = [{ address = \"127.0.0.1:1\", weight = 1001 }]",
        "expected 1 to 1000",
    );
    check("hash = \"client\"", "hash has no effect");
    check(
        "balance = \"consistent_hash\"\nhash = \"x\"",
        "cannot be hashed",
    );
    check(
        "balance = \"consistent_hash\"\nhash = \"header:a b\"",
        "cannot be hashed",
    );
    check("queue = { max_waiting = 1 }", "queue has no effect");
    check(
        "http = \"2\"\ntry_timeout_ms = 5",
        "try_timeout_ms cannot cut off",
    );
    check(
        "http = \"2\"\ntotal_timeout_secs = 5",
        "total_timeout_secs cannot cut off",
    );
    check(
        "try_timeout_ms = 5000\ntotal_timeout_secs = 4",
        "is longer than total",
    );
    check(
        "ejection = { base_secs = 9, max_secs = 8 }",
        "base_secs is longer",
    );
    check("retry = { most = 5 }", "expected most = 0 to 4");
    check("retry = { percent = 101 }", "expected percent = 0 to 100");
    check("health_check = { path = \"x\" }", "`x` is no path");
    check("health_check = { host = \"x\" }", "expected a path");
    check(
        "health_check = { path = \"/\", expect_statuses = [99] }",
        "from 100 to 999",
    );
    check("sticky_cookie = { name = \"a b\" }", "no name of a cookie");
    for (name, wrong) in [
        ("server_name", ""),
        ("server_name", "a b"),
        ("ca_file", "/none"),
    ] {
        let ca = if name == "ca_file" {
            String::new()
        } else {
            format!(", ca_file = \"{CA}\"")
        };
        let expected = if name == "ca_file" {
            "cannot be read"
        } else {
            "no name that a"
        };
        check(&format!("tls = {{ {name} = \"{wrong}\"{ca} }}"), expected);
    }
    let tls = format!("ca_file = \"{CA}\"");
    let name = "a_b.internal.test";
    let expected = "because of the underscore in its first label";
    check(
        &format!("tls = {{ {tls}, server_name = \"{name}\" }}"),
        expected,
    );
    let servers = format!("servers = [{{ address = \"{name}:1\" }}]");
    check(&format!("{servers}\ntls = {{ {tls} }}"), expected);
    check(
        &format!("tls = {{ ca_file = \"{CA}\", client_key_file = \"/none\" }}"),
        "belong together",
    );
}

#[test]
fn a_server_is_always_held_to_a_name() {
    let check = |servers: &str, tls: &str, expected: &str| {
        let keys = format!("servers = [{servers}]\ntls = {{ ca_file = \"{CA}\"{tls} }}");
        let upstream = upstream(&keys);
        assert_eq!(upstream.table.load().endpoints[0].peer.sni, expected);
    };
    check("{ address = \"127.0.0.1:1\" }", "", "127.0.0.1");
    check("{ address = \"[::1]:1\" }", "", "::1");
    check(
        "{ address = \"127.0.0.1:1\" }",
        ", server_name = \"a.test\"",
        "a.test",
    );
    check(
        "{ address = \"unix:/a\" }",
        ", server_name = \"a.test\"",
        "a.test",
    );
    let keys = format!("servers = [{{ address = \"unix:/a\" }}]\ntls = {{ ca_file = \"{CA}\" }}");
    let problems = build(&keys);
    let problems = problems.unwrap_err().join(" ");
    assert!(problems.contains("a unix socket has no name"), "{problems}");
}

#[test]
fn connections_are_shared_only_where_all_is_alike() {
    let server = "servers = [{ address = \"127.0.0.1:1\" }]\n";
    let group = |keys: &str| {
        let table = upstream(&format!("{server}{keys}")).table.load_full();
        table.endpoints[0].peer.group_key
    };
    let groups = [
        group(""),
        group("http = \"2\""),
        group(&format!("tls = {{ ca_file = \"{CA}\" }}")),
        group(&format!("http = \"2\"\ntls = {{ ca_file = \"{CA}\" }}")),
    ];
    let different: std::collections::HashSet<_> = groups.iter().collect();
    assert_eq!(different.len(), groups.len());
    assert_eq!(groups[0], group("read_timeout_secs = 5"));
}

#[test]
fn what_is_learnt_outlives_a_reload() {
    let spec = |keys: &str| -> config::Upstream {
        toml::from_str(&format!(
            "name = \"u\"\nservers = [{{ address = \"127.0.0.1:1\"{keys} }}]"
        ))
        .unwrap()
    };
    let mut carry = Carry::default();
    let first = Upstream::build(&spec(""), &[0; 32], &mut Report::default(), &mut carry).unwrap();
    first.table.load().endpoints[0]
        .health
        .set_down(true, Duration::ZERO);
    let mut carry = Carry {
        previous: carry.carried,
        ..Carry::default()
    };
    let second = Upstream::build(
        &spec(", weight = 2"),
        &[0; 32],
        &mut Report::default(),
        &mut carry,
    )
    .unwrap();
    assert!(second.table.load().endpoints[0].health.is_down());
}

#[test]
fn a_server_that_is_away_for_a_while_is_not_forgotten() {
    let upstream = upstream("servers = [{ address = \"a.test:80\" }]");
    let label: Arc<str> = "a.test:80".into();
    let shows = |addresses: &[&str], secs: u64| {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        upstream.learn(&label, addresses.collect());
        upstream.forget_what_is_gone(Duration::from_secs(secs));
        Arc::clone(&upstream.table.load().endpoints[0].health)
    };
    let (first, both) = ("192.0.2.1:80", ["192.0.2.1:80", "192.0.2.2:80"]);
    let health = shows(&both, 0);
    let is_known = |now: &Arc<server_health::ServerHealth>| Arc::ptr_eq(now, &health);
    shows(&both[1..], 10);
    assert!(is_known(&shows(&[first], 500)));
    shows(&both[1..], 1000);
    let busy = InFlight::enter(&health, 0);
    shows(&both[1..], 2000);
    assert!(is_known(&shows(&[first], 3000)), "a request is at it");
    drop(busy);
    shows(&both[1..], 4000);
    shows(&both[1..], 5000);
    assert!(!is_known(&shows(&[first], 5001)));
}

#[test]
fn a_generation_that_does_not_serve_forgets_nothing() {
    let spec = |servers: &str| -> config::Upstream {
        toml::from_str(&format!("name = \"u\"\nservers = [{servers}]")).unwrap()
    };
    let mut carry = Carry::default();
    let old = spec("{ address = \"127.0.0.1:1\" }");
    let old = Upstream::build(&old, &[0; 32], &mut Report::default(), &mut carry).unwrap();
    let mut carry = Carry {
        previous: carry.carried,
        ..Carry::default()
    };
    let new = spec("{ address = \"a.test:80\" }");
    let new = Upstream::build(&new, &[0; 32], &mut Report::default(), &mut carry).unwrap();
    new.learn(&"a.test:80".into(), vec!["192.0.2.1:80".parse().unwrap()]);
    let before = Arc::clone(&old.table.load().endpoints[0].health);
    old.rebuild();
    assert!(Arc::ptr_eq(&before, &old.table.load().endpoints[0].health));
}

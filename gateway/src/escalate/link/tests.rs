//! Which ways to a sidecar are sound, and where mistakes are shown.

use std::path::PathBuf;

use super::*;

/// What is wrong with a table, each with its place.
fn mistakes(text: &str) -> Vec<(String, String)> {
    let spec: config::Escalation = toml::from_str(text).unwrap();
    let mut report = Report {
        folder: PathBuf::from("/nowhere"),
        ..Report::default()
    };
    if let Some(settings) = Settings::read(&spec, "default", &mut report) {
        settings.check(&spec, &mut report);
    }
    let place = |span: Option<Range<usize>>| text[span.unwrap_or(0..0)].to_owned();
    let problems = report.problems.into_iter();
    problems
        .map(|problem| (place(problem.span), problem.what))
        .collect()
}

#[test]
fn mistakes_are_shown_where_they_stand() {
    let check = |text: &str, place: &str, what: &str| {
        let found = mistakes(text);
        assert!(
            found
                .iter()
                .any(|(at, said)| at.contains(place) && said.contains(what)),
            "{text}: {found:?}"
        );
    };
    check(
        "address = \"http://127.0.0.1:9181\"",
        "http",
        "add token_file",
    );
    check(
        "address = \"http://192.0.2.1:9181\"\ntoken_file = \"t\"",
        "192.0.2.1",
        "clear text to another machine",
    );
    check(
        "address = \"https://sidecar:9181\"",
        "sidecar",
        "add ca_file, certificate_file, key_file",
    );
    check(
        "address = \"https://sidecar:9181\"\nca_file = \"ca\"\nkey_file = \"k\"",
        "sidecar",
        "add certificate_file",
    );
    check(
        "address = \"unix:/s\"\nca_file = \"ca.pem\"",
        "ca.pem",
        "without TLS",
    );
    check("address = \"unix:s\"", "unix:s", "no absolute path");
    check("address = \"unix:\"", "unix:", "no absolute path");
    check(
        "address = \"127.0.0.1:9181\"",
        "127.0.0.1",
        "expected \"http://",
    );
    check(
        "address = \"ftp://sidecar\"",
        "ftp",
        "no address of a sidecar",
    );
    check(
        "address = \"https://a@sidecar\"",
        "a@",
        "more than host and port",
    );
    check(
        "address = \"https://sidecar/path\"",
        "path",
        "more than host and port",
    );
    check(
        "address = \"unix:/s\"\nmax_cases = 10001",
        "10001",
        "16 to 10000",
    );
    check("address = \"unix:/s\"\ngateway = \"a b\"", "a b", "no name");
    check(
        "address = \"unix:/s\"\ntoken_file = \"t\"",
        "unix",
        "/nowhere/t: ",
    );
    check(
        "address = \"https://s\"\nca_file = \"a\"\ncertificate_file = \"b\"\nkey_file = \"c\"",
        "https",
        "/nowhere/",
    );
    check(
        "address = [\"unix:/s\", \"unix:t\"]",
        "unix:t",
        "no absolute path",
    );
    check(
        "address = [\"unix:/s\", \"unix:/t\", \"unix:/s\"]",
        "unix:/s",
        "named twice",
    );
    check(
        "address = [\"unix:/s\", \"http://127.0.0.1:9181\"]",
        "9181",
        "add token_file",
    );
    check(
        "address = [\"unix:/s\", \"https://sidecar:9181\"]",
        "sidecar",
        "add ca_file",
    );
    assert_eq!(mistakes("address = \"unix:/s\""), []);
    assert_eq!(mistakes("address = [\"unix:/s\", \"unix:/t\"]"), []);
}

#[test]
fn an_address_is_one_or_a_list_of_a_few() {
    let refused = |text: &str| toml::from_str::<config::Escalation>(text).unwrap_err();
    let many: Vec<String> = (0..17).map(|n| format!("\"unix:/{n}\"")).collect();
    for wrong in ["[]", "7", &format!("[{}]", many.join(", "))] {
        let error = refused(&format!("address = {wrong}")).to_string();
        assert!(
            error.contains("expected an address, or a list of 1 to 16"),
            "{error}"
        );
    }
    let error = refused("address = [\"unix:/s\", 7]");
    assert_eq!(error.span(), Some(22..23), "{error}");
}

#[test]
fn a_gateway_has_a_name_that_stays() {
    let (one, again) = (usual_name("default"), usual_name("default"));
    assert!(one.starts_with("default-") && is_name(&one), "{one}");
    assert_eq!(one, again);
    assert!(is_name(&usual_name(&"a".repeat(64))));
}

//! Lists as their publishers write them.

use super::*;

/// The beginning of DShield's `block.txt`: first and last address, length, attacks, name, country, address.
const DSHIELD: &str = "#\n#   DShield.org Recommended Block List\n#\n\
    Start\tEnd\tNetblock\tAttacks\tName\tCountry\temail\n\
    192.0.2.0\t192.0.2.255\t24\t2137\tEXAMPLE-NET\tUS\tabuse@isp.example\n\
    198.51.100.0\t198.51.100.255\t24\t1999\t\t\t\n";
/// Spamhaus DROP, FireHOL and a plain list with ranges.
const OTHERS: [&str; 3] = [
    "; Spamhaus DROP List\n192.0.2.0/24 ; SBL1\n198.51.100.0/24 ; SBL2\n",
    "#\n# firehol_level1\n#\n192.0.2.0/24\n198.51.100.0/24\n",
    "192.0.2.0-192.0.2.255\n198.51.100.0 - 198.51.100.255\n",
];

#[test]
fn ranges_are_denied_from_the_first_to_the_last_address() {
    for text in OTHERS.into_iter().chain([DSHIELD]) {
        let server = Server::start(list(text));
        let feeds = feed("bad", &format!("url = \"{}\"", server.url()));
        let gateway = Gateway::start(Origin::start().port, &with(&feeds));
        wait_for("the list", || status(&gateway, "192.0.2.0") == 403);
        for denied in ["192.0.2.7", "192.0.2.255", "198.51.100.0", "198.51.100.200"] {
            assert_eq!(status(&gateway, denied), 403, "{denied} {text}");
        }
        assert_eq!(status(&gateway, "192.0.3.0"), 200);
        let told = standing(&gateway, "bad");
        let has_more = text == DSHIELD;
        assert_eq!(told["warning"].is_string(), has_more, "{told}");
        assert_eq!(told["refused"], i32::from(has_more), "the heading: {told}");
    }
}

#[test]
fn what_is_not_understood_does_not_look_well() {
    // Two addresses on a line are no range, and the second is not forgotten in silence.
    let pairs = "192.0.2.1 198.51.100.1\n192.0.2.2 198.51.100.2\n192.0.2.3\n";
    let server = Server::start(list(pairs));
    let feeds = feed("bad", &format!("url = \"{}\"", server.url()));
    let gateway = Gateway::start(Origin::start().port, &with(&feeds));
    wait_for("the refusal", || {
        standing(&gateway, "bad")["state"] == "failing"
    });
    let told = standing(&gateway, "bad");
    let error = told["error"].as_str().unwrap();
    assert!(
        error.contains("`192.0.2.1` and `198.51.100.1` are two entries"),
        "{told}"
    );
    assert_eq!(status(&gateway, "192.0.2.1"), 200);

    server.says(list("192.0.2.1 why\n192.0.2.2 5\n192.0.2.3\n"));
    wait_for("the list", || status(&gateway, "192.0.2.1") == 403);
    let told = standing(&gateway, "bad");
    let expected = "words behind 2 of 3 entries are not read, the first in line 1: `why`";
    assert_eq!(told["warning"], expected, "{told}");
    assert!(gateway.stderr().contains(expected), "{}", gateway.stderr());
}

#[test]
fn a_list_of_ones_own_may_have_ranges_and_says_what_it_does_not_understand() {
    let site = SITE.replace("blocklist = {}", "blocklist = { files = [\"deny.txt\"] }");
    let folder = Folder::new();
    let file = folder.write(
        "deny.txt",
        "192.0.2.4-192.0.2.9 # night\n198.51.100.0 198.51.100.255 24\n",
    );
    let origin = Origin::start();
    let gateway = Gateway::start_with(&Program::with(&[]), folder, origin.port, &site);
    for (client, expected) in [
        ("192.0.2.3", 200),
        ("192.0.2.4", 403),
        ("192.0.2.9", 403),
        ("192.0.2.10", 200),
        ("198.51.100.77", 403),
    ] {
        assert_eq!(status(&gateway, client), expected, "{client}");
    }
    fs::write(&file, "192.0.2.4 192.0.2.9\n").unwrap();
    let checked = Command::new(thornwall())
        .args(["check", "-c"])
        .arg(&gateway.config)
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(2));
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(told.contains("deny.txt:1"), "{told}");
    assert!(
        told.contains("expected one per line, or 192.0.2.4-192.0.2.9"),
        "{told}"
    );
}

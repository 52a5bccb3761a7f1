//! What is wrong with files, and how it is reported.

use thornwall_tests::authority::{Key, Wanted};
use x509_ocsp::CertStatus;

use super::{Bench, SITE, certificate};
use crate::tls::ocsp::tests::response;

/// Ed25519 serves handshakes, DSA and Ed448 do not: this is a key of the latter.
const ED448: &str = "-----BEGIN PRIVATE KEY-----\n\
    MEcCAQAwBQYDK2VxBDsEOWyCpWLLgI0Q1jK+ichRPr9skp803fqMn2PJlg7240ij\n\
    UoyKP8wvBE45o/xblEkvjwMudUmiAJj5Ww==\n-----END PRIVATE KEY-----\n";

#[test]
fn every_broken_file_is_told_with_its_place() {
    let bench = Bench::new();
    let good = bench.issue("t", Wanted::default());
    let other = bench.authority.issue(Wanted::default());
    let rsa = bench.authority.issue(Wanted {
        key: Key::Rsa,
        ..Wanted::default()
    });
    let tables = certificate("t", "\"t.example\"") + SITE;
    let check = |chain: &str, key: &str, expected: &str| {
        bench.write("t.pem", chain);
        bench.write("t.key", key);
        let text = match bench.build(&tables, None) {
            Ok(_) => "nothing".to_owned(),
            Err(text) => text,
        };
        let text = text.replace(&format!("{}/", bench.folder.path().display()), "");
        assert!(text.starts_with(expected), "{text}\n{expected}");
        assert_eq!(text.lines().count(), 1, "{text}");
    };
    let (chain, key) = (good.chain.as_str(), good.key.as_str());
    check(chain, key, "nothing");
    check(&rsa.chain, &rsa.key, "nothing");
    check(
        "",
        key,
        "t.toml:6:14: t.pem: no certificate in it; expected PEM",
    );
    check("garbage", key, "t.toml:6:14: t.pem: no certificate in it");
    check(key, key, "t.toml:6:14: t.pem: no certificate in it");
    check(&chain[..200], key, "t.toml:6:14: t.pem: broken PEM");
    let scrambled = chain.replacen("MII", "M!I", 1);
    check(&scrambled, key, "t.toml:6:14: t.pem: broken PEM");
    let truncated = chain.replacen("MII", "", 1);
    check(&truncated, key, "t.toml:6:14: t.pem: ");
    check(chain, "", "t.toml:7:12: t.key: no private key in it");
    check(chain, chain, "t.toml:7:12: t.key: no private key in it");
    check(
        chain,
        &other.key,
        "t.toml:7:12: t.key: does not match the certificate",
    );
    check(
        chain,
        &rsa.key,
        "t.toml:7:12: t.key: does not match the certificate",
    );
    check(
        chain,
        ED448,
        "t.toml:7:12: t.key: private key of unknown kind; expected ECDSA",
    );
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    check(
        chain,
        &encrypted,
        "t.toml:7:12: t.key: the private key is encrypted",
    );
    let large = "#".repeat(2 << 20);
    check(
        &large,
        key,
        "t.toml:6:14: t.pem: cannot be read: larger than 1048576 bytes",
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let bench = Bench::new();
    bench.issue("t", Wanted::default());
    bench.write("others.pem", "nothing");
    let tables = certificate("none", "\"a.example:443\"")
        + &certificate("t", "\"192.0.2.1\"")
        + "ocsp_file = \"t.key\"\n"
        + SITE
        + "client_certificate = { ca_file = \"others.pem\" }\n";
    let text = bench.build(&tables, None).err().unwrap();
    for (line, expected) in text.lines().zip([
        "t.toml:5:9: `a.example:443` is no server name",
        "none.pem: cannot be read: No such file",
        "none.key: cannot be read: No such file",
        "t.toml:9:9: `192.0.2.1` is no server name",
        "t.key: no OCSP response",
        "others.pem: no certificate in it",
    ]) {
        assert!(line.contains(expected), "{line}\n{expected}");
    }
    assert_eq!(text.lines().count(), 6, "{text}");
}

#[test]
fn listeners_certificates_and_sites_must_fit() {
    let bench = Bench::new();
    bench.issue("t", Wanted::default());
    bench.write("ca.pem", bench.authority.pem());
    let plain = "[[listener]]\naddress = \"127.0.0.1:8080\"\n";
    let secure = super::LISTENER;
    let shown = certificate("t", "\"t.example\"");
    let check = |text: &str, expected: Result<&str, &str>| {
        let built = bench.build_whole(text, None);
        assert_eq!(built.is_ok(), expected.is_ok(), "{text}");
        let (Ok(expected) | Err(expected)) = expected;
        let text = built.map_or_else(|text| text, |generation| generation.warnings.join("\n"));
        assert!(
            text.contains(expected) && text.is_empty() == expected.is_empty(),
            "{text}\n{expected}"
        );
    };
    check(&format!("{secure}{shown}{SITE}"), Ok(""));
    check(
        &format!("{secure}{SITE}"),
        Err("t.toml:2:11: tls = true without a certificate"),
    );
    check(
        &format!("{plain}{shown}{SITE}"),
        Ok("no listener has tls = true"),
    );
    check(
        &format!("{plain}{SITE}redirect_to_https = true\n"),
        Err("t.toml:4:8: redirect_to_https without HTTPS"),
    );
    check(
        &format!("{plain}{SITE}client_certificate = {{ ca_file = \"ca.pem\" }}\n"),
        Err("client certificates without TLS"),
    );
    check(
        &format!("{plain}{SITE}hsts = {{ max_age_secs = 1 }}\n"),
        Ok("hsts is sent to nobody"),
    );
    check(
        &format!("{secure}{shown}{SITE}hsts = {{ max_age_secs = 1, preload = true }}\n"),
        Ok("hsts.preload counts only with"),
    );
    check(
        &format!("{secure}{shown}{}", SITE.replace('*', "b.example")),
        Ok("no certificate is for `b.example`"),
    );
    check(
        &format!("{secure}{shown}{shown}{SITE}"),
        Err("`t.example` has another certificate with a key of the same kind (ecdsa)"),
    );
}

#[test]
fn dates_and_names_that_do_not_fit_are_warned_of() {
    let bench = Bench::new();
    let check = |begins_days: i64, ends_days: i64, names: &[&str], expected: &str| {
        bench.issue(
            "t",
            Wanted {
                names,
                begins_days,
                ends_days,
                ..Wanted::default()
            },
        );
        let tables = certificate("t", "\"t.example\", \"*.t.example\"") + SITE;
        let generation = bench.build(&tables, None).unwrap();
        let text = generation.warnings.join("\n");
        assert!(
            text.contains(expected) && text.is_empty() == expected.is_empty(),
            "{text}\n{expected}"
        );
        let expiry = generation.tls.expiries().next().unwrap();
        let now = rustls::pki_types::UnixTime::now().as_secs();
        let days = (expiry.expires - i64::try_from(now).unwrap()) / 86_400;
        assert!((days - ends_days).abs() <= 1, "{expiry:?}");
        assert_eq!((expiry.host, expiry.key), ("t.example", "ecdsa"));
    };
    let both = ["t.example", "*.t.example"];
    check(-1, 90, &both, "");
    check(-90, -2, &both, "certificate 1 (CN=t.example) expired on 20");
    check(-90, 10, &both, "expires on 20");
    check(2, 90, &both, "is not valid before 20");
    check(
        -1,
        90,
        &["t.example"],
        "is not for `*.t.example`; its names are t.example",
    );
    check(-1, 90, &["T.EXAMPLE", "*.t.example"], "");
    check(-1, 90, &["*.example"], "is not for `*.t.example`");
}

#[test]
fn odd_chains_and_responses_are_warned_of() {
    let bench = Bench::new();
    let issued = bench.issue("t", Wanted::default());
    let tables = certificate("t", "\"t.example\"") + "ocsp_file = \"t.ocsp\"\n" + SITE;
    let now = rustls::pki_types::UnixTime::now().as_secs();
    let ocsp = |until: u64| {
        let der = response(0x42_00_01, CertStatus::good(), now - 60, Some(until));
        bench.write("t.ocsp", der);
    };
    let warnings = || bench.build(&tables, None).unwrap().warnings.join("\n");
    ocsp(now + 5 * 86_400);
    assert_eq!(warnings(), "");
    ocsp(now + 3600);
    assert!(warnings().contains("the OCSP response expires on 20"));
    bench.write("t.ocsp", response(7, CertStatus::good(), now, None));
    let text = bench.build(&tables, None).err().unwrap();
    assert!(text.contains("is about another certificate; expected serial number 420001"));

    ocsp(now + 5 * 86_400);
    let stranger = thornwall_tests::authority::Authority::new("another");
    bench.write("t.pem", issued.certificate.pem() + &stranger.pem());
    assert!(warnings().contains("must be followed by the one that issued it"));
}

//! Which certificate is shown, what is agreed upon, and what is resumed.

use rustls::{NamedGroup, ProtocolVersion};
use thornwall_tests::authority::{Key, Wanted};
use x509_ocsp::CertStatus;

use super::{Bench, Client, SITE, certificate};
use crate::tls::ocsp::tests::response;

fn wanted<'a>(names: &'a [&'a str], serial: u8) -> Wanted<'a> {
    Wanted {
        names,
        serial,
        ..Wanted::default()
    }
}

#[test]
fn the_most_definite_certificate_is_shown() {
    let bench = Bench::new();
    bench.issue("exact", wanted(&["a.example"], 1));
    bench.issue("wild", wanted(&["*.a.example"], 2));
    bench.issue("all", wanted(&["other.example"], 3));
    let named = certificate("wild", "\"*.a.example\"") + &certificate("exact", "\"a.example\"");
    let all = format!("{named}{}{SITE}", certificate("all", "\"*\""));
    let with_default = bench.build(&all, None).unwrap();
    let without = bench.build(&(named + SITE), None).unwrap();
    let check = |generation, name: &str, expected: Option<u8>| {
        let client = Client::new(false);
        let shaken = client.shake(generation, name);
        assert_eq!(shaken.is_ok(), expected.is_some(), "{name}");
        assert_eq!(client.serial_seen(), expected, "{name}");
    };
    check(&with_default, "a.example", Some(1));
    check(&with_default, "A.Example", Some(1));
    check(&with_default, "x.a.example", Some(2));
    check(&with_default, "y.x.a.example", Some(3));
    check(&with_default, "b.example", Some(3));
    check(&with_default, "127.0.0.1", Some(3));
    check(&without, "x.a.example", Some(2));
    check(&without, "b.example", None);
    // An address is sent as no name at all, and the file begins with the wildcard.
    check(&without, "127.0.0.1", Some(2));
}

#[test]
fn the_kind_of_key_is_the_clients_choice() {
    let bench = Bench::new();
    bench.issue(
        "rsa",
        Wanted {
            key: Key::Rsa,
            ..wanted(&["t.example"], 1)
        },
    );
    bench.issue("ecdsa", wanted(&["t.example"], 2));
    let hosts = "\"t.example\"";
    let tables = certificate("rsa", hosts) + &certificate("ecdsa", hosts) + SITE;
    let generation = bench.build(&tables, None).unwrap();
    for tls12 in [false, true] {
        let check = |rsa: bool, ecdsa: bool, expected: Option<u8>| {
            let client = Client::with(tls12, None, |scheme| {
                let is_rsa = format!("{scheme:?}").starts_with("RSA");
                if is_rsa { rsa } else { ecdsa }
            });
            let shaken = client.shake(&generation, "t.example");
            assert_eq!(shaken.is_ok(), expected.is_some(), "{rsa} {ecdsa}");
            assert_eq!(client.serial_seen(), expected, "{rsa} {ecdsa}");
        };
        check(true, false, Some(1));
        check(false, true, Some(2));
        check(true, true, Some(2));
    }
}

#[test]
fn the_best_of_what_both_know_is_agreed_upon() {
    let bench = Bench::new();
    bench.issue("t", wanted(&["t.example"], 1));
    let tables = certificate("t", "\"t.example\"") + SITE;
    let generation = bench.build(&tables, None).unwrap();
    let shaken = Client::new(false).shake(&generation, "t.example").unwrap();
    let client = &shaken.client;
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(client.alpn_protocol(), Some(b"h2".as_slice()));
    let suite = format!("{:?}", client.negotiated_cipher_suite().unwrap());
    assert!(suite.contains("AES_128_GCM"), "{suite}");

    let mut modern = Client::new(false);
    let mut provider = (**modern.config.crypto_provider()).clone();
    provider.kx_groups = rustls::crypto::aws_lc_rs::ALL_KX_GROUPS.to_vec();
    provider
        .kx_groups
        .sort_by_key(|group| group.name() != NamedGroup::X25519MLKEM768);
    modern.use_provider(provider);
    let shaken = modern.shake(&generation, "t.example").unwrap();
    let group = shaken.client.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);

    let shaken = Client::new(true).shake(&generation, "t.example").unwrap();
    let version = shaken.client.protocol_version();
    assert_eq!(version, Some(ProtocolVersion::TLSv1_2));
}

#[test]
fn sessions_outlive_a_reload_and_a_new_certificate() {
    for tls12 in [false, true] {
        let bench = Bench::new();
        bench.issue("t", wanted(&["t.example"], 1));
        let tables = certificate("t", "\"t.example\"") + SITE;
        let first = bench.build(&tables, None).unwrap();
        let client = Client::new(tls12);
        let resumes = |generation, name: &str| client.shake(generation, name).unwrap().resumed;
        assert!(!resumes(&first, "t.example"));
        assert!(resumes(&first, "t.example"));
        bench.issue("t", wanted(&["t.example"], 2));
        let second = bench.build(&tables, Some(&first)).unwrap();
        assert!(resumes(&second, "t.example"), "TLS 1.2: {tls12}");
        // Another process knows nothing of them.
        let stranger = bench.build(&tables, None).unwrap();
        assert!(!resumes(&stranger, "t.example"));
        assert_eq!(client.serial_seen(), Some(2));
    }
}

#[test]
fn many_distinct_clients_resume() {
    let bench = Bench::new();
    bench.issue("t", wanted(&["t.example"], 1));
    let tables = certificate("t", "\"t.example\"") + SITE;
    let generation = bench.build(&tables, None).unwrap();
    // More than rustls would keep by itself.
    let clients: Vec<Client> = (0..300).map(|at| Client::new(at % 2 == 0)).collect();
    for client in &clients {
        client.shake(&generation, "t.example").unwrap();
    }
    let resumed = clients
        .iter()
        .filter(|client| client.shake(&generation, "t.example").unwrap().resumed);
    assert_eq!(resumed.count(), clients.len());
}

#[test]
fn a_current_ocsp_response_is_stapled() {
    let bench = Bench::new();
    bench.issue("t", wanted(&["t.example"], 1));
    let tables = certificate("t", "\"t.example\"") + "ocsp_file = \"t.ocsp\"\n" + SITE;
    let now = rustls::pki_types::UnixTime::now().as_secs();
    let check = |from: u64, until: u64, stapled: bool| {
        let der = response(0x42_00_01, CertStatus::good(), from, Some(until));
        bench.write("t.ocsp", &der);
        let generation = bench.build(&tables, None).unwrap();
        let client = Client::new(false);
        client.shake(&generation, "t.example").unwrap();
        let seen = client.seen.lock().unwrap().ocsp.clone();
        assert_eq!(seen, if stapled { der } else { Vec::new() });
        assert_eq!(generation.warnings.is_empty(), stapled);
    };
    check(now - 60, now + 5 * 86_400, true);
    check(now - 5 * 86_400, now - 60, false);
    check(now + 600, now + 5 * 86_400, false);
}

//! Servers that speak TLS: who is believed.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned, pki_types::PrivatePkcs8KeyDer,
    server::WebPkiClientVerifier,
};

use crate::{
    harness::{Folder, Gateway, free_port, thornwall, wait_for},
    upstream::{config, read_request},
};

/// A test authority.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) file: PathBuf,
}

impl Authority {
    pub(crate) fn new(folder: &Folder, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let file = folder.write(name, &issuer.pem());
        Self { issuer, file }
    }

    /// A certificate for these names, and its key.
    fn issue(&self, names: &[&str]) -> (rcgen::Certificate, KeyPair) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    pub(crate) fn server_config(&self, names: &[&str], client: Option<&Self>) -> ServerConfig {
        let (certificate, key) = self.issue(names);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match client {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.issuer.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        builder
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap()
    }
}

/// A server of HTTP/1.1 over TLS; its port.
fn serve_tls(config: ServerConfig) -> u16 {
    serve_counted_tls(config).0
}

/// A server of HTTP/1.1 over TLS; its port, and how many connections it has had.
fn serve_counted_tls(config: ServerConfig) -> (u16, Arc<AtomicUsize>) {
    use std::io::{BufReader, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(config);
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            count.fetch_add(1, SeqCst);
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            thread::spawn(move || {
                let mut stream = BufReader::new(StreamOwned::new(session, stream));
                while read_request(&mut stream).is_some() {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";
                    let writer = stream.get_mut();
                    if writer
                        .write_all(answer)
                        .and_then(|()| writer.flush())
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    (port, connections)
}

fn gateway(server: &str, tls: &str) -> Gateway {
    let server = format!("address = \"{server}\"");
    Gateway::start(9, &config(&[&server], &format!("tls = {{ {tls} }}")))
}

/// Asks once; the reason of a failure.
fn reason(server: &str, tls: &str) -> Option<String> {
    let gateway = gateway(server, tls);
    let reply = gateway.get("/", "");
    match reply.status {
        200 => {
            assert_eq!(reply.body, "secret");
            None
        }
        status => {
            assert_eq!(status, 502);
            Some(
                gateway.explain(reply.id())["reason"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            )
        }
    }
}

pub(crate) fn ca(path: &Path) -> String {
    format!("ca_file = \"{}\"", path.display())
}

#[test]
fn only_a_server_that_proves_its_name_is_spoken_to() {
    let folder = Folder::new();
    let (ours, others) = (
        Authority::new(&folder, "ours.pem"),
        Authority::new(&folder, "others.pem"),
    );
    let by_name = serve_tls(ours.server_config(&["localhost", "app.test"], None));
    let by_address = serve_tls(ours.server_config(&["127.0.0.1"], None));
    let refused = Some("upstream.tls_failed".to_owned());
    let check = |host: &str, port: u16, tls: &str, expected: &Option<String>| {
        assert_eq!(
            &reason(&format!("{host}:{port}"), tls),
            expected,
            "{host} {tls}"
        );
    };
    let (ours, others) = (ca(&ours.file), ca(&others.file));
    check("localhost", by_name, &ours, &None);
    check(
        "127.0.0.1",
        by_name,
        &format!("{ours}, server_name = \"app.test\""),
        &None,
    );
    check("127.0.0.1", by_address, &ours, &None);
    check("localhost", by_name, &others, &refused);
    check(
        "localhost",
        by_name,
        &format!("{ours}, server_name = \"else.test\""),
        &refused,
    );
    check("127.0.0.1", by_name, &ours, &refused);
    check("localhost", by_address, &ours, &refused);
}

#[test]
fn health_checks_verify_too() {
    let folder = Folder::new();
    let (ours, others) = (
        Authority::new(&folder, "ours.pem"),
        Authority::new(&folder, "others.pem"),
    );
    let (port, connections) = serve_counted_tls(ours.server_config(&["localhost"], None));
    let up = |authority: &Authority, path: &str| {
        let keys = format!(
            "tls = {{ {} }}\nhealth_check = {{ {path}interval_secs = 1, unhealthy_after = 1 }}",
            ca(&authority.file)
        );
        let server = format!("address = \"localhost:{port}\"");
        let before = connections.load(SeqCst);
        let gateway = Gateway::start(9, &config(&[&server], &keys));
        // The second comes when the first check is over.
        wait_for("a check", || connections.load(SeqCst) >= before + 2);
        gateway.metric("thornwall_upstream_addresses_up")
    };
    for path in ["", "path = \"/\", "] {
        assert_eq!(up(&ours, path), 1.0, "{path}");
        assert_eq!(up(&others, path), 0.0, "{path}");
    }
}

#[test]
fn we_show_a_certificate_where_we_have_one() {
    let folder = Folder::new();
    let authority = Authority::new(&folder, "ca.pem");
    let port = serve_tls(authority.server_config(&["localhost"], Some(&authority)));
    let (certificate, key) = authority.issue(&["gateway"]);
    let chain = folder.write("us.pem", &certificate.pem());
    let key = folder.write("us.key", &key.serialize_pem());
    let server = format!("localhost:{port}");
    let with = format!(
        "{}, client_chain_file = \"{}\", client_key_file = \"{}\"",
        ca(&authority.file),
        chain.display(),
        key.display()
    );
    assert_eq!(reason(&server, &with), None);
    assert!(reason(&server, &ca(&authority.file)).is_some());
}

#[test]
fn a_reload_that_trusts_others_shares_no_connection() {
    let folder = Folder::new();
    let (ours, others) = (
        Authority::new(&folder, "ours.pem"),
        Authority::new(&folder, "others.pem"),
    );
    let port = serve_tls(ours.server_config(&["localhost"], None));
    let gateway = gateway(&format!("localhost:{port}"), &ca(&ours.file));
    assert_eq!(gateway.get("/", "").status, 200);
    let text = fs::read_to_string(&gateway.config).unwrap();
    fs::write(&gateway.config, text.replace("ours.pem", "others.pem")).unwrap();
    assert!(others.file.exists());
    gateway.signal("HUP");
    wait_for("the reload", || {
        gateway.metric("thornwall_generation") == 2.0
    });
    assert_eq!(gateway.get("/", "").status, 502);
}

#[test]
fn a_system_without_authorities_is_no_reason_not_to_start() {
    let folder = Folder::new();
    let check = |keys: &str, code: i32, told: &str| {
        let text = Gateway::toml(1, 2, 9, &config(&["address = \"localhost:1\""], keys));
        let path = folder.write("t.toml", &text);
        let output = std::process::Command::new(thornwall())
            .args(["check", "-c"])
            .arg(path)
            .env("SSL_CERT_FILE", "/nowhere/ca.pem")
            .env("SSL_CERT_DIR", "/nowhere")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(told), "{said}");
    };
    check("", 0, ": ok");
    check(
        "tls = {}",
        2,
        "this system has no certificates of authorities",
    );
    let port = free_port();
    let admin = free_port();
    let origin = crate::harness::Origin::start();
    let text = Gateway::toml(port, admin, origin.port, crate::harness::OPEN_SITE);
    let path = folder.write("run.toml", &text);
    let mut child = std::process::Command::new(thornwall())
        .args(["run", "-c"])
        .arg(path)
        .env("SSL_CERT_FILE", "/nowhere/ca.pem")
        .env("SSL_CERT_DIR", "/nowhere")
        .spawn()
        .unwrap();
    let ask = "GET / HTTP/1.1\r\nHost: t.example\r\nConnection: close\r\n\r\n";
    wait_for("an answer", || {
        assert!(child.try_wait().unwrap().is_none(), "the gateway ended");
        crate::harness::try_send(port, ask).is_some_and(|reply| reply.status == 200)
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

//! What stands before HTTP: PROXY headers, and garbage or attacks where TLS and HTTP/2 should be.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::ServerName};

use crate::harness::{
    CURL, Folder, Gateway, OPEN_SITE, Origin, PATIENCE, Reply, connect, free_port, wait_for,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: t.example\r\nConnection: close\r\n\r\n";

/// A gateway with a second listener, its port, and the origin behind it.
struct Edge {
    gateway: Gateway,
    origin: Origin,
    port: u16,
    /// Trusts the certificate of a TLS listener.
    tls: Arc<ClientConfig>,
}

impl Edge {
    /// `listener` is what is said of the second listener, `trusted` an address whose PROXY headers
    /// count.
    fn start(listener: &str, trusted: &str) -> Self {
        let origin = Origin::start();
        let folder = Folder::new();
        let tls = make_certificate(&folder);
        let [port, main, admin] = [(); 3].map(|()| free_port());
        let extra = format!(
            "[client_address]\ntrusted_proxies = [\"{trusted}\"]\n\
             [limits]\nheader_timeout_secs = 2\n\
             [[listener]]\naddress = \"127.0.0.1:{port}\"\n{listener}\n\
             [[certificate]]\nhosts = [\"t.example\"]\nchain_file = \"t.pem\"\nkey_file = \"t.key\"\n\
             {OPEN_SITE}"
        );
        let config = folder.write("t.toml", &Gateway::toml(main, admin, origin.port, &extra));
        let gateway = Gateway::start_from(folder, config, main, admin);
        Self {
            gateway,
            origin,
            port,
            tls,
        }
    }

    fn proxied() -> Self {
        Self::start("proxy_protocol = true", "127.0.0.1")
    }

    fn secure() -> Self {
        Self::start("tls = true", "192.0.2.1")
    }

    fn connect(&self) -> TcpStream {
        let stream = connect(self.port).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Everything that comes back for these bytes, until the gateway ends the connection.
    fn ends(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // The gateway may end it before it has read everything.
        let _ = stream.write_all(bytes);
        to_the_end(&mut stream)
    }

    /// A TLS connection through `stream`, with `protocol` agreed on.
    fn shake_hands(&self, stream: TcpStream, protocol: &str) -> Tls {
        let mut config = ClientConfig::clone(&self.tls);
        config.alpn_protocols = vec![protocol.into()];
        let name = ServerName::try_from("t.example").unwrap();
        let client = ClientConnection::new(config.into(), name).unwrap();
        let mut tls = StreamOwned::new(client, stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock).unwrap();
        }
        assert_eq!(tls.conn.alpn_protocol(), Some(protocol.as_bytes()));
        tls
    }

    /// An HTTP/2 connection, its preface and SETTINGS sent.
    fn http2(&self) -> Tls {
        let mut tls = self.shake_hands(self.connect(), "h2");
        tls.write_all(PREFACE).unwrap();
        tls.write_all(&frame(4, 0, 0, b"")).unwrap();
        tls
    }

    /// Sends what should end the connection, and waits for that; whether others still work.
    fn outlives(&self, attack: &[u8]) {
        let mut tls = self.http2();
        let _ = tls.write_all(attack);
        to_the_end(&mut tls);
        self.still_serves_http2();
    }

    fn still_serves_http2(&self) {
        let mut tls = self.http2();
        tls.write_all(&frame(1, 0x5, 1, &request_block())).unwrap();
        assert_eq!(answer(&mut tls, 1), Some(STATUS_200), "an honest request");
    }

    fn closed(&self, reason: &str) -> f64 {
        let metric = format!("thornwall_connections_closed_total{{reason=\"{reason}\"}}");
        self.gateway.metric(&metric)
    }

    /// Waits until one connection has ended for this reason.
    fn counts(&self, reason: &str) {
        wait_for(reason, || self.closed(reason) == 1.0);
    }

    /// Clients of the access log's lines.
    fn clients(&self) -> Vec<String> {
        let text = fs::read_to_string(self.gateway.folder.join("access.log")).unwrap();
        let client = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["client"].as_str().unwrap_or_default().to_owned()
        };
        text.lines().map(client).collect()
    }

    /// Sends a request behind these bytes: it is served, as one of `client`.
    fn serves(&self, header: &[u8], client: &str) {
        let before = self.clients().len();
        let answer = self.ends(&[header, GET.as_bytes()].concat());
        let reply = Reply::parse(&answer).unwrap_or_else(|| panic!("none for {header:?}"));
        assert_eq!(reply.status, 200, "{}", reply.head);
        wait_for("the access line", || self.clients().len() > before);
        assert_eq!(self.clients()[before], client);
    }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Writes a certificate for `t.example`; a client's configuration that trusts it.
fn make_certificate(folder: &Folder) -> Arc<ClientConfig> {
    let made = rcgen::generate_simple_self_signed(["t.example".to_owned()]).unwrap();
    folder.write("t.pem", &made.cert.pem());
    folder.write("t.key", &made.signing_key.serialize_pem());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// Reads until the gateway ends the connection, which it must in time.
fn to_the_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        let waited = matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        );
        assert!(!waited, "the connection is still open");
    }
    bytes
}

/// A header of PROXY version 2 for TCP over IPv4.
fn v2(command: u8, source: [u8; 4]) -> Vec<u8> {
    let fixed = [b"\r\n\r\n\0\r\nQUIT\n", &[command, 0x11, 0, 12][..]].concat();
    [&fixed[..], &source, &[127, 0, 0, 1, 0x9c, 0x40, 0x1f, 0x90]].concat()
}

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 127.0.0.1 40000 8080\r\n";

#[test]
fn the_client_is_whom_a_trusted_proxy_names() {
    let edge = Edge::proxied();
    edge.serves(V1, "203.0.113.9");
    edge.serves(b"PROXY TCP6 2001:db8::9 ::1 40000 8080\r\n", "2001:db8::9");
    edge.serves(&v2(0x21, [203, 0, 113, 8]), "203.0.113.8");
    // IPv4 clients have one name, whatever socket they came in by.
    let mapped = b"PROXY TCP6 ::ffff:203.0.113.7 ::1 40000 8080\r\n";
    edge.serves(mapped, "203.0.113.7");
    assert_eq!(edge.origin.requests().len(), 4);
}

#[test]
fn a_proxy_may_speak_for_itself() {
    let edge = Edge::proxied();
    edge.serves(b"PROXY UNKNOWN\r\n", "127.0.0.1");
    edge.serves(&v2(0x20, [203, 0, 113, 8]), "127.0.0.1");
    edge.serves(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "127.0.0.1");
}

#[test]
fn a_named_client_names_nobody_else() {
    let edge = Edge::proxied();
    let forwarded = GET.replace("\r\n\r\n", "\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n");
    edge.ends(&[V1, forwarded.as_bytes()].concat());
    wait_for("the access line", || edge.clients().len() == 1);
    assert_eq!(edge.clients(), ["203.0.113.9"]);
}

#[test]
fn who_is_not_named_names_nobody_either() {
    let edge = Edge::proxied();
    let claims = "\r\nX-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: https\r\n\r\n";
    let forwarded = GET.replace("\r\n\r\n", claims);
    for header in [&b"PROXY UNKNOWN\r\n"[..], &v2(0x20, [203, 0, 113, 8])] {
        edge.ends(&[header, forwarded.as_bytes()].concat());
    }
    wait_for("the access lines", || edge.clients().len() == 2);
    assert_eq!(edge.clients(), ["127.0.0.1", "127.0.0.1"]);
    for seen in edge.origin.requests() {
        let seen = seen.to_ascii_lowercase();
        assert!(seen.contains("x-forwarded-for: 127.0.0.1\r\n"), "{seen}");
        assert!(seen.contains("x-forwarded-proto: http\r\n"), "{seen}");
    }
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let edge = Edge::proxied();
    let mut stream = edge.connect();
    stream.set_nodelay(true).unwrap();
    for byte in [V1, GET.as_bytes()].concat() {
        stream.write_all(&[byte]).unwrap();
    }
    let reply = Reply::parse(&to_the_end(&mut stream)).unwrap();
    assert_eq!(reply.status, 200);
    wait_for("the access line", || edge.clients() == ["203.0.113.9"]);
}

#[test]
fn a_stranger_cannot_name_clients() {
    let edge = Edge::start("proxy_protocol = true", "192.0.2.1");
    assert_eq!(edge.ends(&[V1, GET.as_bytes()].concat()), b"");
    edge.counts("proxy_stranger");
    assert_eq!(edge.origin.requests().len(), 0);
    assert_eq!(
        edge.gateway.get("/", CURL).status,
        200,
        "the other listener"
    );
}

#[test]
fn what_does_not_begin_with_a_header_is_closed() {
    let edge = Edge::proxied();
    let broken: [&[u8]; 6] = [
        GET.as_bytes(),
        b"PROXY TCP4 203.0.113.9 127.0.0.1 40000 8080 \r\nGET / HTTP/1.1\r\n",
        b"PROXY TCP4 203.0.113.999 127.0.0.1 40000 8080\r\n",
        &v2(0x22, [203, 0, 113, 8]),
        &[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(),
        b"\x16\x03\x01\x02\x00\x01",
    ];
    for (count, bytes) in (1..).zip(broken) {
        assert_eq!(edge.ends(bytes), b"", "{}", bytes.escape_ascii());
        wait_for("the count", || {
            edge.closed("proxy_invalid") == f64::from(count)
        });
    }
    assert_eq!(edge.origin.requests().len(), 0);
    edge.serves(V1, "203.0.113.9");
}

#[test]
fn half_a_header_is_not_waited_for_for_long() {
    let edge = Edge::proxied();
    assert_eq!(edge.ends(&V1[..20]), b"");
    edge.counts("header_timeout");
}

#[test]
fn a_header_comes_before_tls() {
    let edge = Edge::start("tls = true\nproxy_protocol = true", "127.0.0.1");
    let mut stream = edge.connect();
    stream.write_all(&v2(0x21, [203, 0, 113, 8])).unwrap();
    let mut tls = edge.shake_hands(stream, "http/1.1");
    tls.write_all(GET.as_bytes()).unwrap();
    let reply = Reply::parse(&to_the_end(&mut tls)).unwrap();
    assert_eq!(reply.status, 200);
    wait_for("the access line", || edge.clients() == ["203.0.113.8"]);
    // Behind TLS it is too late.
    let mut tls = edge.shake_hands(
        {
            let mut stream = edge.connect();
            stream.write_all(V1).unwrap();
            stream
        },
        "http/1.1",
    );
    tls.write_all(&[V1, GET.as_bytes()].concat()).unwrap();
    let refused = to_the_end(&mut tls);
    assert!(
        refused.starts_with(b"HTTP/1.1 400 "),
        "{}",
        refused.escape_ascii()
    );
}

#[test]
fn garbage_where_a_client_hello_should_be_is_closed() {
    let edge = Edge::secure();
    let garbage: [&[u8]; 4] = [
        b"\0\x01\x02\x03",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        // A ServerHello.
        b"\x16\x03\x03\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x00\x16\x03\x01\x00\x00",
    ];
    for (count, bytes) in (1..).zip(garbage) {
        assert_eq!(edge.ends(bytes), b"", "{}", bytes.escape_ascii());
        wait_for("the count", || {
            edge.closed("tls_invalid") == f64::from(count)
        });
    }
    edge.still_serves_http2();
}

#[test]
fn clear_text_on_a_tls_port_is_told_so_and_not_served() {
    let edge = Edge::secure();
    let answer = edge.ends(GET.as_bytes());
    assert!(
        answer.starts_with(b"HTTP/1.1 400 "),
        "{}",
        answer.escape_ascii()
    );
    edge.counts("tls_invalid");
    assert_eq!(edge.origin.requests().len(), 0);
}

#[test]
fn a_client_hello_may_come_byte_by_byte() {
    let edge = Edge::secure();
    let config = Arc::clone(&edge.tls);
    let name = ServerName::try_from("t.example").unwrap();
    let mut client = ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let mut stream = edge.connect();
    stream.set_nodelay(true).unwrap();
    for byte in hello {
        stream.write_all(&[byte]).unwrap();
    }
    let mut tls = StreamOwned::new(client, stream);
    tls.write_all(GET.as_bytes()).unwrap();
    assert_eq!(Reply::parse(&to_the_end(&mut tls)).unwrap().status, 200);
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// `:status: 200` in HPACK's static table (RFC 7541, appendix A).
const STATUS_200: u8 = 0x88;

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// The header block of `GET https://t.example/`, of the static table but for the host.
fn request_block() -> Vec<u8> {
    [b"\x82\x84\x87\x01\x09", &b"t.example"[..]].concat()
}

/// The first byte of the answer's header block on this stream; `None` where it or the connection
/// ended without one.
fn answer(tls: &mut Tls, stream: u32) -> Option<u8> {
    loop {
        let mut head = [0; 9];
        tls.read_exact(&mut head).ok()?;
        let [l2, l1, l0, kind, _, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, l2, l1, l0]) as usize];
        tls.read_exact(&mut payload).ok()?;
        match kind {
            1 if u32::from_be_bytes(id) == stream => return payload.first().copied(),
            3 if u32::from_be_bytes(id) == stream => return None,
            _ => {}
        }
    }
}

#[test]
fn garbage_where_the_http2_preface_should_be_is_closed() {
    let edge = Edge::secure();
    for (count, bytes) in (1..).zip([GET.as_bytes(), b"\0\0\0\x04\0\0\0\0\0", b"PRI * HTTP/2.1"]) {
        let mut tls = edge.shake_hands(edge.connect(), "h2");
        tls.write_all(bytes).unwrap();
        to_the_end(&mut tls);
        wait_for("the count", || edge.closed("h2_abuse") == f64::from(count));
    }
    edge.still_serves_http2();
    assert_eq!(edge.origin.requests().len(), 1);
}

#[test]
fn a_continuation_flood_is_ended() {
    let edge = Edge::secure();
    let open = frame(1, 0x1, 1, &request_block());
    let flood = frame(9, 0, 1, b"").repeat(100_000);
    edge.outlives(&[open.clone(), flood].concat());
    edge.counts("h2_abuse");
    // One long block, in full frames: ended by the watch or by the HTTP/2 library, whoever is first.
    let long = frame(9, 0, 1, &[0x82; 16_384]).repeat(64);
    edge.outlives(&[open, long].concat());
    assert_eq!(edge.origin.requests().len(), 2, "the honest ones");
}

#[test]
fn a_flood_of_control_frames_is_ended() {
    let edge = Edge::secure();
    let floods = [
        frame(6, 0, 0, &[0; 8]),
        frame(4, 0, 0, b""),
        frame(8, 0, 0, b"\0\0\0\x01"),
    ];
    for (count, flood) in (1..).zip(floods) {
        // More than several seconds may take in, however slow the machine is.
        edge.outlives(&flood.repeat(100_000));
        assert_eq!(edge.closed("h2_abuse"), f64::from(count));
    }
}

#[test]
fn a_rapid_reset_is_ended() {
    let edge = Edge::secure();
    let pair = |number: u32| {
        let stream = 2 * number + 1;
        let request = frame(1, 0x5, stream, &request_block());
        [request, frame(3, 0, stream, b"\0\0\0\x08")].concat()
    };
    let attack: Vec<u8> = (0..20_000).flat_map(pair).collect();
    // By the watch or by the HTTP/2 library, whoever is first.
    edge.outlives(&attack);
    let reached = edge.origin.requests().len();
    assert!(reached < 5_000, "{reached} of 20,000 reached the origin");
}

#[test]
fn a_header_bomb_costs_nothing() {
    let edge = Edge::secure();
    let mut tls = edge.http2();
    // A field of 3 KiB enters the table with an honest request …
    let value = vec![b'a'; 3000];
    let field = [b"\x40\x01x\x7f", &b"\xb9\x16"[..], &value].concat();
    let first = [request_block(), field].concat();
    tls.write_all(&frame(1, 0x5, 1, &first)).unwrap();
    assert_eq!(answer(&mut tls, 1), Some(STATUS_200));
    let before = edge.gateway.most_memory();
    // … and each further byte names it again: 48 MB.
    let bomb = [request_block(), vec![0xbe; 16_000]].concat();
    tls.write_all(&frame(1, 0x5, 3, &bomb)).unwrap();
    assert_ne!(answer(&mut tls, 3), Some(STATUS_200));
    let grown = edge.gateway.most_memory() - before;
    assert!(grown < 16 << 10, "{grown} KiB");
    assert_eq!(edge.origin.requests().len(), 1);
    edge.still_serves_http2();
}

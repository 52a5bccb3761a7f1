//! Servers that speak HTTP/2: what arrives, and what becomes of requests that they do not take.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use crate::{
    harness::{Folder, Gateway, upload_slowly, wait_for},
    tls_client::SecureListener,
    upstream::{config, send},
    upstream_tls::{Authority, ca},
};

/// A server of HTTP/2 that answers with what it was asked, and trailers.
struct Http2 {
    port: u16,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Http2 {
    fn start(config: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            connections: Arc::default(),
            seen: Arc::default(),
        };
        let acceptor = config.map(|mut config| {
            config.alpn_protocols = vec![b"h2".to_vec()];
            TlsAcceptor::from(Arc::new(config))
        });
        let (connections, seen) = (Arc::clone(&server.connections), Arc::clone(&server.seen));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.fetch_add(1, SeqCst);
                    let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                    tokio::spawn(async move {
                        match acceptor {
                            None => serve_h2(stream, seen).await,
                            Some(acceptor) => {
                                if let Ok(stream) = acceptor.accept(stream).await {
                                    serve_h2(stream, seen).await;
                                }
                            }
                        }
                    });
                }
            });
        });
        server
    }
}

async fn serve_h2(stream: impl AsyncRead + AsyncWrite + Unpin, seen: Arc<Mutex<Vec<String>>>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        if request.uri().path() != "/robots.txt" {
            seen.lock()
                .unwrap()
                .push(format!("{} {}", request.method(), request.uri()));
        }
        tokio::spawn(answer_h2(request, respond));
    }
}

async fn answer_h2(request: Request<h2::RecvStream>, mut respond: SendResponse<bytes::Bytes>) {
    let mut body = request.into_body();
    let mut received = 0;
    while let Some(Ok(bytes)) = body.data().await {
        received += bytes.len();
        let _ = body.flow_control().release_capacity(bytes.len());
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let Ok(mut send) = respond.send_response(Response::new(()), false) else {
        return;
    };
    let _ = send.send_data(format!("two {received}").into(), false);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let _ = send.send_trailers(trailers);
}

#[test]
fn http2_is_spoken_where_it_is_asked_for() {
    let folder = Folder::new();
    let authority = Authority::new(&folder, "ca.pem");
    let check = |config: Option<ServerConfig>, scheme: &str, tls: &str| {
        let server = Http2::start(config);
        let address = format!("address = \"localhost:{}\"", server.port);
        let health =
            "health_check = { path = \"/health\", interval_secs = 1, unhealthy_after = 1 }";
        let keys = format!("http = \"2\"\n{tls}\n{health}");
        let gateway = Arc::new(Gateway::start(
            9,
            &crate::upstream::config(&[&address], &keys),
        ));
        let asked: Vec<_> = (0..20)
            .map(|_| {
                let gateway = Arc::clone(&gateway);
                thread::spawn(move || {
                    gateway.send(
                        "POST /a?b HTTP/1.1\r\nHost: t.example\r\nContent-Length: 3\r\n\
                         Connection: close\r\n\r\nabc",
                    )
                })
            })
            .collect();
        for asked in asked {
            let reply = asked.join().unwrap();
            assert_eq!(
                (reply.status, reply.body.contains("two 3")),
                (200, true),
                "{reply:?}"
            );
        }
        let health = format!("GET {scheme}://localhost:{}/health", server.port);
        let has_seen = |line: &String| server.seen.lock().unwrap().contains(line);
        wait_for("a health check", || has_seen(&health));
        let seen = server.seen.lock().unwrap().clone();
        let expected = format!("POST {scheme}://t.example/a?b");
        assert_eq!(
            seen.iter().filter(|line| **line == expected).count(),
            20,
            "{seen:?}"
        );
        // Requests share connections; checks take their own.
        let before = server.connections.load(SeqCst);
        for _ in 0..20 {
            assert_eq!(gateway.get("/", "").status, 200);
        }
        assert!(server.connections.load(SeqCst) < before + 20);
        assert!(
            !gateway.stderr().contains("server down"),
            "{}",
            gateway.stderr()
        );
    };
    check(None, "http", "");
    let tls = format!("tls = {{ {} }}", ca(&authority.file));
    check(
        Some(authority.server_config(&["localhost"], None)),
        "https",
        &tls,
    );
}

#[test]
fn grpc_goes_through_with_its_trailers() {
    let server = Http2::start(None);
    let address = format!("address = \"127.0.0.1:{}\"", server.port);
    let listener = SecureListener::named("t.example");
    let upstream = config(&[&address], "http = \"2\"");
    let _gateway = Gateway::start(9, &format!("{upstream}{}", listener.toml));
    let request = Request::post("https://t.example/pkg.Service/Call")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let reply = listener
        .client
        .h2_send(
            "t.example",
            request.body(()).unwrap(),
            Some(b"\0\0\0\0\x03abc"),
        )
        .unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, "two 8"));
    assert_eq!(reply.header("grpc-status"), Some("0"), "{reply:?}");
}

/// What a server says to each request instead of an answer.
#[derive(Clone, Copy)]
enum Refuses {
    /// GOAWAY: it is about to end.
    Connection,
    /// RST_STREAM with REFUSED_STREAM: it has too much to do.
    Stream,
}

/// A server of HTTP/2 that processes nothing and says so; its port, and the requests that it had.
fn refuse(how: Refuses) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&requests);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counted = Arc::clone(&counted);
            // An error is the end of the connection.
            thread::spawn(move || refuse_all(stream, how, &counted));
        }
    });
    (port, requests)
}

fn refuse_all(mut stream: TcpStream, how: Refuses, requests: &AtomicUsize) -> std::io::Result<()> {
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    stream.read_exact(&mut [0; 24])?;
    stream.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        stream.read_exact(&mut vec![0; length as usize])?;
        match (kind, how) {
            (SETTINGS, _) if flags == 0 => {
                stream.write_all(&[0, 0, 0, SETTINGS, 1, 0, 0, 0, 0])?;
            }
            (HEADERS, Refuses::Connection) => {
                requests.fetch_add(1, SeqCst);
                stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
            }
            (HEADERS, Refuses::Stream) => {
                requests.fetch_add(1, SeqCst);
                stream.write_all(&[&[0, 0, 4, 3, 0], &id[..], &[0, 0, 0, 7]].concat())?;
            }
            _ => {}
        }
    }
}

#[test]
fn what_a_server_has_not_processed_goes_elsewhere() {
    for how in [Refuses::Connection, Refuses::Stream] {
        let (leaving, refused) = refuse(how);
        let good = Http2::start(None);
        let servers = [leaving, good.port].map(|port| format!("address = \"127.0.0.1:{port}\""));
        let keys = "http = \"2\"\nejection = { failures = 1 }";
        let gateway = Gateway::start(9, &config(&[&servers[0], &servers[1]], keys));
        for method in ["POST", "GET", "POST", "PUT"] {
            assert_eq!(send(&gateway, method).status, 200, "{method}");
        }
        // That is no failure: it would have been left out after the first.
        assert!(refused.load(SeqCst) >= 4);
        assert_eq!(gateway.metric("thornwall_upstream_ejections_total"), 0.0);
    }
}

#[test]
fn an_upload_may_take_longer_than_the_servers_silence() {
    let server = Http2::start(None);
    let address = format!("address = \"127.0.0.1:{}\"", server.port);
    let keys = "http = \"2\"\nread_timeout_secs = 1";
    let gateway = Gateway::start(9, &config(&[&address], keys));
    assert_eq!(upload_slowly(gateway.port).status, 200);
}

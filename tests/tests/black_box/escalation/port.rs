//! The sidecar's port, and those who come to it without a token or with too much.

use std::{
    fs,
    io::{self, Read},
    net::TcpStream,
    time::Duration,
};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::{io::AsyncWriteExt, net::TcpSocket, runtime::Runtime, time::timeout};

use super::sidecar::{DUBIOUS, STRICT, Sidecar, is_connected, wait_until_denied};
use crate::harness::{Origin, wait_for};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Numbers of gRPC's statuses.
const INVALID_ARGUMENT: &str = "3";
const RESOURCE_EXHAUSTED: &str = "8";
const UNAUTHENTICATED: &str = "16";

const SERVICE: &str = "/thornwall.escalation.v1.Escalation";

/// A message that announces so many bytes, and what is sent of it.
fn message(announced: u32, sent: &[u8]) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend(announced.to_be_bytes());
    bytes.extend(sent);
    bytes.into()
}

async fn connect(port: u16) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
    let (send, connection) = h2::client::handshake(stream.unwrap()).await.unwrap();
    // Its end is told by the streams'.
    tokio::spawn(async move { drop(connection.await) });
    send
}

/// A call that sends this much, and its status once it is told; `end` says whether that is all.
async fn call(
    send: &SendRequest<Bytes>,
    (method, token): (&str, Option<&str>),
    (sent, end): (Bytes, bool),
) -> Option<String> {
    let mut send = send.clone().ready().await.ok()?;
    let mut request = http::Request::post(format!("http://sidecar{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let (response, mut body) = send.send_request(request.body(()).unwrap(), false).ok()?;
    body.send_data(sent, end).ok()?;
    let told = async {
        let (head, mut answer) = response.await.ok()?.into_parts();
        let status = |fields: &http::HeaderMap| {
            let status = fields.get("grpc-status")?.to_str().ok()?;
            Some(status.to_owned())
        };
        if let Some(status) = status(&head.headers) {
            return Some(status);
        }
        while let Some(Ok(piece)) = answer.data().await {
            let _ = answer.flow_control().release_capacity(piece.len());
        }
        status(&answer.trailers().await.ok()??)
    };
    timeout(PATIENCE, told).await.ok()?
}

fn token(sidecar: &Sidecar) -> String {
    let token = fs::read_to_string(sidecar.token()).unwrap();
    token.trim().to_owned()
}

/// What becomes of so many calls on each of so many connections that announce much and send little.
fn announce(
    sidecar: &Sidecar,
    (connections, calls): (usize, usize),
    token: Option<String>,
) -> Vec<Option<String>> {
    let runtime = Runtime::new().unwrap();
    let asked = async {
        let mut tasks = Vec::new();
        for _ in 0..connections {
            let send = connect(sidecar.port).await;
            for _ in 0..calls {
                let (send, token) = (send.clone(), token.clone());
                tasks.push(tokio::spawn(async move {
                    let method = format!("{SERVICE}/Assess");
                    let sent = (message(65_000, b"0123456789"), false);
                    let asked = call(&send, (&method, token.as_deref()), sent);
                    // A call that is taken waits for the rest of its message.
                    timeout(Duration::from_secs(3), asked).await.ok().flatten()
                }));
            }
        }
        let mut told = Vec::new();
        for task in tasks {
            told.push(task.await.unwrap());
        }
        told
    };
    runtime.block_on(asked)
}

#[test]
fn messages_of_strangers_are_not_read() {
    let sidecar = Sidecar::start(STRICT);
    let before = sidecar.most_memory();
    let told = announce(&sidecar, (10, 1000), None);
    // Who leaves as many calls half way as these do may be cut off before the last of them.
    let mut statuses: Vec<&str> = told.iter().flatten().map(String::as_str).collect();
    let refused = statuses.len();
    statuses.dedup();
    assert_eq!(statuses, [UNAUTHENTICATED]);
    assert!(refused > 1000, "{refused}");
    let counted = sidecar.metric("thornwall_sidecar_turned_away_total{why=\"token\"}");
    assert!(counted >= refused as f64, "{counted}");
    let grown = sidecar.most_memory() - before;
    assert!(grown < 32 << 10, "{grown} KiB");
}

#[test]
fn calls_of_callers_are_few_at_a_time() {
    let sidecar = Sidecar::start(STRICT);
    let before = sidecar.most_memory();
    let told = announce(&sidecar, (10, 128), Some(token(&sidecar)));
    let full = |status: &&Option<String>| status.as_deref() == Some(RESOURCE_EXHAUSTED);
    // At most as many as there are turns wait; whoever has waited in vain leaves theirs to others.
    let refused = told.iter().filter(full).count();
    assert!((1..=told.len() - 512).contains(&refused), "{refused}");
    let grown = sidecar.most_memory() - before;
    assert!(grown < 64 << 10, "{grown} KiB");
    // They are over, and there is room again.
    let runtime = Runtime::new().unwrap();
    let token = token(&sidecar);
    wait_for("an answer", || {
        let method = format!("{SERVICE}/List");
        let listed = runtime.block_on(async {
            let send = connect(sidecar.port).await;
            call(&send, (&method, Some(&token)), (message(0, b""), true)).await
        });
        listed.as_deref() == Some("0")
    });
}

#[test]
fn who_shows_no_token_does_not_stay_and_callers_do() {
    let sidecar = Sidecar::start(STRICT);
    let origin = Origin::start();
    let gateway = sidecar.gateway(origin.port, DUBIOUS);
    wait_for("the gateway", || is_connected(&gateway));
    let runtime = Runtime::new().unwrap();
    // One keeps to HTTP/2, answers every ping and asks about health; others say nothing.
    let polite = runtime.block_on(async {
        let polite = connect(sidecar.port).await;
        let health = "/grpc.health.v1.Health/Check";
        let told = call(&polite, (health, None), (message(0, b""), true)).await;
        assert_eq!(told.as_deref(), Some("0"));
        polite
    });
    let silent: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(("127.0.0.1", sidecar.port)).unwrap())
        .collect();
    wait_for("those beyond the bound to be turned away", || {
        sidecar.metric("thornwall_sidecar_turned_away_total{why=\"connections\"}") >= 40.0
    });
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Ended, and not by our own patience.
        let ended = stream.read_to_end(&mut Vec::new());
        let late = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        assert!(!ended.as_ref().is_err_and(late), "{ended:?}");
    }
    runtime.block_on(async {
        let gone = async {
            while polite.clone().ready().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, gone).await.expect("an end");
    });
    // The gateway was there before, and is there still.
    assert!(is_connected(&gateway));
    assert_eq!(sidecar.metric("thornwall_sidecar_gateways"), 1.0);
    wait_until_denied(&[&gateway], "192.0.2.7");
    let silent = sidecar.metric("thornwall_sidecar_turned_away_total{why=\"silence\"}");
    assert!(silent >= 200.0, "{silent}");
}

#[test]
fn one_stranger_does_not_use_up_the_questions_about_health() {
    let sidecar = Sidecar::start(STRICT);
    let runtime = Runtime::new().unwrap();
    let health = ("/grpc.health.v1.Health/Check", None);
    runtime.block_on(async {
        let greedy = connect(sidecar.port).await;
        // Each waits for the rest of its message.
        let asked = (0..100).map(|_| {
            let greedy = greedy.clone();
            tokio::spawn(async move { call(&greedy, health, (message(9, b""), false)).await })
        });
        let _asked: Vec<_> = asked.collect();
        let full = "thornwall_sidecar_turned_away_total{why=\"calls\"}";
        let some = async {
            while sidecar.metric(full) < 30.0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, some).await.expect("some to be refused");
        let probe = connect(sidecar.port).await;
        let told = call(&probe, health, (message(0, b""), true)).await;
        assert_eq!(told.as_deref(), Some("0"));
    });
}

#[test]
fn who_takes_no_answers_in_does_not_stay() {
    let sidecar = Sidecar::start(STRICT);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        // Little is kept for it on its way, and what it asks does not wait for what it is answered.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        let address = ([127, 0, 0, 1], sidecar.port).into();
        let mut stream = socket.connect(address).await.unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        stream
            .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        // RFC 9113, section 6.7.
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        let pings = ping.repeat(4000);
        let gone = async { while stream.write_all(&pings).await.is_ok() {} };
        timeout(PATIENCE, gone).await.expect("an end");
    });
    let silent = sidecar.metric("thornwall_sidecar_turned_away_total{why=\"silence\"}");
    assert_eq!(silent, 1.0);
}

#[test]
fn what_is_asked_wrongly_is_told_so() {
    let sidecar = Sidecar::start(STRICT);
    let token = token(&sidecar);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let send = connect(sidecar.port).await;
        let list = format!("{SERVICE}/List");
        let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        let older = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
        // The field `page` with one byte.
        let page = |field: u8| message(3, &[field << 3 | 2, 1, b'x']);
        let mut wrong = Vec::new();
        for field in 1..=6 {
            let told = call(&send, (&list, Some(&token)), (page(field), true)).await;
            wrong.push(told.unwrap_or_default());
        }
        assert!(wrong.contains(&INVALID_ARGUMENT.to_owned()), "{wrong:?}");
        assert!(!wrong.contains(&"14".to_owned()), "{wrong:?}");
        for path in [reflection, older] {
            // The field `list_services`.
            let ask = |token| call(&send, (path, token), (message(2, &[7 << 3 | 2, 0]), true));
            assert_eq!(ask(None).await.as_deref(), Some(UNAUTHENTICATED), "{path}");
            assert_eq!(ask(Some("x")).await.as_deref(), Some(UNAUTHENTICATED));
            assert_eq!(ask(Some(token.as_str())).await.as_deref(), Some("0"));
        }
    });
}

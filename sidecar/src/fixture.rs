//! For tests alone: a service that gives fixed answers in order and records what it was asked, a
//! configuration in a folder of its own, and a case.

use std::{collections::VecDeque, fs, future::pending, net::SocketAddr, ops::Deref, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::{
    case::{Case, CaseId, Claims, Noticed, Sample},
    config::ConfigFile,
};

/// What it does with a question.
pub(crate) enum Reply {
    /// Answers with a status, header fields and a body.
    Say(u16, Vec<(&'static str, String)>, String),
    /// Never answers.
    Hang,
}

/// A question that came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// The service, on a port of its own.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    replies: Mutex<VecDeque<Reply>>,
    asked: Mutex<Vec<Asked>>,
}

impl Receiver {
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        // Another test of this process may have been faster.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let shared = Arc::new(Shared {
            replies: Mutex::new(replies.into_iter().collect()),
            ..Shared::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { address, shared }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().clone()
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = String::from_utf8(body.to_vec()).unwrap();
    shared.asked.lock().push(Asked {
        method,
        uri,
        headers,
        body,
    });
    let reply = shared.replies.lock().pop_front();
    match reply {
        Some(Reply::Say(status, fields, body)) => {
            let mut response = body.into_response();
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in fields {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Some(Reply::Hang) => pending().await,
        None => StatusCode::IM_A_TEAPOT.into_response(),
    }
}

/// Answers with JSON.
pub(crate) fn json(body: impl Into<String>) -> Reply {
    let kind = ("content-type", "application/json".to_owned());
    Reply::Say(200, vec![kind], body.into())
}

/// Answers that no service may give: each is a failure, and none does harm.
pub(crate) fn wrong_answers(elsewhere: String) -> Vec<(Reply, &'static str)> {
    let location = ("location", elsewhere);
    vec![
        (Reply::Say(500, Vec::new(), "oops".to_owned()), "status 500"),
        (Reply::Say(302, vec![location], String::new()), "status 302"),
        (json("x".repeat(1 << 20)), "more than 65536 bytes"),
        (json("<html>"), "no JSON"),
        (json("[]"), "an answer"),
        (json("{}"), "an answer"),
        (Reply::Hang, "no answer within"),
    ]
}

/// A configuration in a folder of its own, with a key in `key`, that goes with it.
pub(crate) struct Configured(
    ConfigFile,
    #[expect(dead_code, reason = "removed when dropped")] TempDir,
);

impl Deref for Configured {
    type Target = ConfigFile;

    fn deref(&self) -> &ConfigFile {
        &self.0
    }
}

pub(crate) fn configured(text: &str) -> Configured {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "open-sesame\n").unwrap();
    let path = folder.path().join("sidecar.toml");
    fs::write(&path, text).unwrap();
    Configured(ConfigFile::read(&path).unwrap(), folder)
}

/// A case in doubt.
pub(crate) fn dubious(subject: &str) -> Case {
    Case {
        id: CaseId(7),
        site: "shop".to_owned(),
        subject: subject.parse().unwrap(),
        shape: 255,
        requests: 3,
        first_ms: 1_000,
        last_ms: 61_000,
        score: 0.7,
        signals: vec![Noticed {
            reason: "user_agent.http_library".to_owned(),
            weight: 0.7,
        }],
        samples: vec![Sample {
            after_ms: 0,
            method: "GET".to_owned(),
            path: "/item".to_owned(),
            parameters: vec!["q".to_owned()],
            score: 0.7,
        }],
        claims: Claims {
            user_agent: "curl/8.5.0".to_owned(),
            header_names: vec![
                "host".to_owned(),
                "User-Agent".to_owned(),
                "cookie".to_owned(),
            ],
            http_version: 11,
            ..Claims::default()
        },
        request_ids: Vec::new(),
    }
}

//! A server that speaks the documented shapes of every vendor, and says what it is told to.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How it behaves.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    /// Answers with this text, in the shape of the vendor whose call it is.
    Says(String),
    /// The same, after a while.
    Slow(Duration, String),
    /// Answers with a status and a body as they are.
    Raw(u16, String),
    /// Answers with JSON that does not end.
    Endless,
    /// Fails with a status so often, and then says something.
    Recovers(usize, u16, String),
}

/// A question that came.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// A server for one test.
pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    manner: Mutex<Manner>,
    last: Mutex<Option<Question>>,
    count: AtomicUsize,
}

/// Tokens that it says a question took, and an answer.
pub(crate) const INPUT_TOKENS: u64 = 300;
pub(crate) const OUTPUT_TOKENS: u64 = 20;

impl StandIn {
    pub(crate) async fn start(manner: Manner) -> Self {
        let shared = Arc::new(Shared {
            manner: Mutex::new(manner),
            last: Mutex::default(),
            count: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, shared }
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.shared.manner.lock() = manner;
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.count.load(Ordering::Relaxed)
    }

    pub(crate) fn last(&self) -> Question {
        self.shared.last.lock().clone().unwrap()
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let count = shared.count.fetch_add(1, Ordering::Relaxed);
    let path = uri.path().to_owned();
    let question = Question {
        path: path.clone(),
        query: uri.query().map(ToOwned::to_owned),
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    *shared.last.lock() = Some(question);
    let manner = shared.manner.lock().clone();
    match manner {
        Manner::Says(text) => shaped(&path, &text),
        Manner::Slow(wait, text) => {
            tokio::time::sleep(wait).await;
            shaped(&path, &text)
        }
        Manner::Raw(status, body) => raw(status, body),
        Manner::Endless => endless(),
        Manner::Recovers(times, status, _) if count < times => {
            raw(status, json!({"error": {"message": "busy"}}).to_string())
        }
        Manner::Recovers(_, _, text) => shaped(&path, &text),
    }
}

/// A text in a JSON that does not end.
fn endless() -> Response {
    let pieces = tokio_stream::iter(std::iter::repeat_with(|| {
        Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b' '; 64 << 10]))
    }));
    (
        [(CONTENT_TYPE, "application/json")],
        Body::from_stream(pieces),
    )
        .into_response()
}

fn raw(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

/// An answer as the vendor whose call has this path documents it.
fn shaped(path: &str, text: &str) -> Response {
    let body = if path.ends_with("/chat/completions") {
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS,
                "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS},
        })
    } else if path.ends_with("/messages") {
        json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
        })
    } else if path.ends_with(":generateContent") {
        json!({
            "candidates": [{"index": 0, "finishReason": "STOP",
                "content": {"role": "model", "parts": [{"text": text}]}}],
            "usageMetadata": {"promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": OUTPUT_TOKENS,
                "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS},
            "modelVersion": "m",
        })
    } else if path.ends_with("/api/chat") {
        json!({
            "model": "m", "created_at": "2026-01-01T00:00:00Z", "done": true, "done_reason": "stop",
            "message": {"role": "assistant", "content": text},
            "prompt_eval_count": INPUT_TOKENS, "eval_count": OUTPUT_TOKENS,
        })
    } else {
        // Cohere's chat, version 1.
        json!({
            "response_id": "r", "generation_id": "g", "text": text, "finish_reason": "COMPLETE",
            "chat_history": [{"role": "USER", "message": "x"}, {"role": "CHATBOT", "message": text}],
            "meta": {"tokens": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
                "billed_units": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS}},
        })
    };
    raw(200, body.to_string())
}

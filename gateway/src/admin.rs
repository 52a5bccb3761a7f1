//! The operator's own listener: metrics, health, what was decided why, and what is decided now.
//!
//! `/live` and `/ready`, which say nothing, are open to all who reach the listener. Everything else
//! asks for a `Host` that no web page of a stranger can send (DNS rebinding), and all but
//! `/metrics` for the token.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    process,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Path, Request, State as Extracted},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use thornwall_settings::token::Token;
use tokio::{net::TcpListener, task::spawn_blocking};

use crate::{
    export,
    hosts::normalise_host,
    record::{AssessmentRecord, Record},
    state::State,
};

mod access;
mod decisions;
mod scrape;
mod status;

use access::{LimitedListener, Peer};

pub(crate) use decisions::{Done, Order, Release, Shown, ShownDecision, Wanted};

/// Names the process in the answer to `/live`.
pub(crate) const PROCESS: &str = "x-thornwall-pid";

/// What the routes share.
#[derive(Clone)]
struct Admin {
    state: Arc<State>,
    tokens: Arc<Tokens>,
}

/// Who may do what.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// Token with full access.
    pub operator: Token,
    /// Token with read-only access.
    pub viewer: Option<Token>,
}

/// Serves until the process is to stop. Task `admin`.
pub(crate) async fn serve(listener: TcpListener, state: Arc<State>, tokens: Tokens) {
    let mut shutdown = state.shutdown.clone();
    let listener = LimitedListener::new(listener, state.metrics.admin_gave_way.clone());
    let admin = Admin {
        state,
        tokens: Arc::new(tokens),
    };
    let stopped = async move {
        // An error means that the sender is gone, which is a stop too.
        let _ = shutdown.wait_for(|stop| *stop).await;
    };
    let router = router(admin).into_make_service_with_connect_info::<Peer>();
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(stopped)
        .await;
    if let Err(error) = served {
        log::error!("admin listener failed; error={error}");
    }
}

fn router(admin: Admin) -> Router {
    let guarded = Router::new()
        .route("/explain/{id}", get(explain))
        .route("/status", get(status::status))
        .route("/export/nftables", get(export_nftables))
        .route(
            "/decisions",
            get(decisions::list)
                .post(decisions::make)
                .delete(decisions::withdraw),
        )
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "no such page") })
        .layer(from_fn_with_state(admin.clone(), guard));
    let named = Router::new()
        .route("/metrics", get(metrics))
        .merge(guarded)
        .layer(from_fn_with_state(admin.clone(), name));
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .merge(named)
        .with_state(admin)
}

/// Says which process it is: during an upgrade two of them share the listener.
async fn live() -> impl IntoResponse {
    ([(PROCESS, process::id().to_string())], "live\n")
}

async fn ready(Extracted(admin): Extracted<Admin>) -> Response {
    if admin.state.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    if !admin.state.serving.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response();
    }
    "ready\n".into_response()
}

async fn metrics(Extracted(admin): Extracted<Admin>) -> Response {
    match scrape::render(&admin.state) {
        Ok(text) => {
            let kind = [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)];
            (kind, text).into_response()
        }
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn explain(Extracted(admin): Extracted<Admin>, Path(id): Path<String>) -> Response {
    match admin.state.recent.find(&id) {
        Some(request) => {
            let mut record = Record::from(&*request);
            record.sidecar = request.case().and_then(|case| {
                let assessment = admin.state.sidecars.as_ref()?.assessment(case)?;
                Some(AssessmentRecord::new(case, &assessment))
            });
            Json(record).into_response()
        }
        None => refusal(
            StatusCode::NOT_FOUND,
            "no such request among the recent ones; the access log may still have it",
        ),
    }
}

async fn export_nftables(Extracted(admin): Extracted<Admin>) -> Response {
    let state = admin.state;
    if state.pseudonymiser.hides() {
        let what = "an export hands out addresses, which privacy.mode forbids";
        return refusal(StatusCode::CONFLICT, what);
    }
    match spawn_blocking(move || export::script(&state.denials())).await {
        Ok(script) => Json(script).into_response(),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Who asks, for the log. It never holds the token.
#[derive(Debug, Clone, Copy)]
struct Caller {
    role: &'static str,
    peer: SocketAddr,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "role={} peer={}", self.role, self.peer)
    }
}

/// Lets in who asks for us by a name that is ours alone.
async fn name(Extracted(admin): Extracted<Admin>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let ours = &admin.state.generation.load().admin_hosts;
    if !host.is_some_and(|host| is_own_host(host, ours)) {
        let what = "expected an address, a name without a dot, or one of admin.hosts";
        return refusal(StatusCode::MISDIRECTED_REQUEST, what);
    }
    next.run(request).await
}

async fn guard(
    Extracted(admin): Extracted<Admin>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    match admit(&admin.tokens, request.method(), request.headers()) {
        Ok(role) => {
            request.extensions_mut().insert(Caller { role, peer });
            next.run(request).await
        }
        Err(refused) => {
            if refused.status() == StatusCode::FORBIDDEN {
                let (method, path) = (request.method(), request.uri().path());
                log::warn!(
                    "refused: may only look; request={method} {path:?} role=viewer peer={peer}"
                );
            }
            *refused
        }
    }
}

/// The role of the caller, or the refusal of one without a token, or with read-only access to
/// something that it would change.
fn admit(
    tokens: &Tokens,
    method: &Method,
    headers: &HeaderMap,
) -> Result<&'static str, Box<Response>> {
    let bearer = headers.get(header::AUTHORIZATION);
    let bearer = bearer.and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let is = |token: &Token| bearer.is_some_and(|bearer| token.is(bearer));
    if is(&tokens.operator) {
        return Ok("operator");
    }
    if !tokens.viewer.as_ref().is_some_and(is) {
        let what = "expected `authorization: Bearer TOKEN`";
        return Err(Box::new(refusal(StatusCode::UNAUTHORIZED, what)));
    }
    let looks = matches!(*method, Method::GET | Method::HEAD);
    let what = "this token may look and change nothing; expected the operator's";
    if looks {
        return Ok("viewer");
    }
    Err(Box::new(refusal(StatusCode::FORBIDDEN, what)))
}

/// A name that resolves to us can be anybody's; an address, a name of the own network (`localhost`, a
/// service of Compose) or what the operator names cannot.
fn is_own_host(host: &str, ours: &[String]) -> bool {
    normalise_host(host).is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        // No stranger has a name without a dot.
        !host.contains(['.', ':'])
            || address.parse::<IpAddr>().is_ok()
            || ours.iter().any(|name| **name == *host)
    })
}

fn refusal(status: StatusCode, what: &str) -> Response {
    (status, Json(json!({ "error": what }))).into_response()
}

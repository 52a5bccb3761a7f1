//! Asks a running sidecar for assessments, as many programs at a time would.
//!
//! `cargo run --release -p thornwall-sidecar --example assess_bench http://127.0.0.1:9181 TOKEN_FILE CALLS`
//!
//! Each case is another client's; one in ten is a scanner's and comes to a decision. The connections are
//! kept and carry several calls at a time. Prints one line of JSON: the calls, and the seconds that
//! they took.
#![allow(clippy::print_stdout, clippy::unwrap_used)]
#![allow(
    clippy::disallowed_methods,
    reason = "measuring is what this program is for"
)]

use std::{
    env, fs,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use thornwall_proto::v1::{self, escalation_client::EscalationClient};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

const CONNECTIONS: usize = 4;
/// Calls at a time on each connection.
const LANES: usize = 8;
/// Requests that a case shows.
const SAMPLES: u32 = 8;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, token, calls] = arguments.as_slice() else {
        panic!("expected ADDRESS TOKEN_FILE CALLS");
    };
    let token = fs::read_to_string(token).unwrap();
    let bearer: MetadataValue<Ascii> = format!("Bearer {}", token.trim()).parse().unwrap();
    let (calls, next) = (calls.parse().unwrap(), Arc::new(AtomicU32::new(0)));
    let mut lanes = Vec::new();
    for _ in 0..CONNECTIONS {
        let endpoint = Endpoint::from_shared(address.clone()).unwrap();
        let channel = endpoint.connect().await.unwrap();
        lanes.extend((0..LANES).map(|_| (channel.clone(), bearer.clone(), Arc::clone(&next))));
    }
    let began = Instant::now();
    let lanes: Vec<_> = lanes
        .into_iter()
        .map(|(channel, bearer, next)| tokio::spawn(ask(channel, bearer, next, calls)))
        .collect();
    for lane in lanes {
        lane.await.unwrap();
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{{\"calls\": {calls}, \"seconds\": {seconds:.3}}}");
}

async fn ask(channel: Channel, bearer: MetadataValue<Ascii>, next: Arc<AtomicU32>, calls: u32) {
    let mut client = EscalationClient::new(channel);
    loop {
        let number = next.fetch_add(1, Relaxed);
        if number >= calls {
            return;
        }
        let mut request = Request::new(v1::AssessRequest {
            case: Some(case(number)),
        });
        let shown = request.metadata_mut();
        shown.insert("authorization", bearer.clone());
        let found = client.assess(request).await.unwrap().into_inner();
        assert_eq!(found.steps.len(), 2, "the first two steps settle it");
        assert_eq!(found.decision.is_some(), is_scanner(number));
    }
}

const fn is_scanner(number: u32) -> bool {
    number.is_multiple_of(10)
}

fn case(number: u32) -> v1::Case {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_ms = u64::try_from(now.unwrap().as_millis()).unwrap();
    let weight = if is_scanner(number) { 0.99 } else { 0.5 };
    let signal = |reason: &str, weight| v1::Signal {
        reason: reason.to_owned(),
        weight,
    };
    // Neither quick nor regular, as a person's pages come.
    let sample = |at: u32| v1::Request {
        after_ms: at * at * 900,
        method: "GET".to_owned(),
        path: format!(
            "/articles/{}",
            number.wrapping_mul(7).wrapping_add(at) % 5_000
        ),
        parameters: vec!["page".to_owned()],
        score: 0.5,
    };
    let names = [
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "accept-language",
        "connection",
        "referer",
        "cookie",
        "cache-control",
        "upgrade-insecure-requests",
    ];
    v1::Case {
        id: format!("{number:032x}"),
        site: "shop".to_owned(),
        // Neighbours are far apart, so that nobody is condemned for them.
        subject: Ipv4Addr::from_bits(number.wrapping_mul(2_654_435_761)).to_string(),
        shape: u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        requests: SAMPLES,
        first_ms: now_ms - 60_000,
        last_ms: now_ms,
        score: 0.5,
        signals: vec![signal("headers.order", weight), signal("path.breadth", 0.1)],
        samples: (0..SAMPLES).map(sample).collect(),
        claims: Some(v1::Claims {
            user_agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                         Chrome/131.0.0.0 Safari/537.36"
                .to_owned(),
            accept_language: "en-US,en;q=0.9".to_owned(),
            referer: "shop.example/articles".to_owned(),
            header_names: names.map(str::to_owned).to_vec(),
            http_version: 11,
            tls: true,
        }),
        request_ids: vec!["0198c0de7f3a7cc0a1b2c3d4e5f60718".to_owned(); 4],
    }
}

//! Alerts against receivers that fail, hang, redirect and close, and over restarts.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hmac::{Hmac, Mac};
use parking_lot::Mutex;
use sha2::Sha256;
use tempfile::TempDir;
use thornwall_decisions::{clock::ProcessTime, decision::Action};
use thornwall_proto::v1;
use thornwall_sidecar::{
    alerts::{self, Alerts, Plan, Running},
    assessment::{Assessment, Consequence},
    case::Case,
    config::ConfigFile,
    metrics::Metrics,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time::{sleep, timeout},
};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(20);

/// What a receiver does with a request.
#[derive(Clone, Copy)]
enum Answer {
    Status(u16, &'static str),
    Close,
    Hang,
}

const FINE: Answer = Answer::Status(200, "");

/// A request as it came.
#[derive(Clone)]
struct Received {
    fields: BTreeMap<String, String>,
    body: Vec<u8>,
    at: SystemTime,
}

impl Received {
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Answers requests as it was set up, and the last way from then on.
struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    async fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(listener, answers)
    }

    fn serve(listener: TcpListener, answers: &[Answer]) -> Self {
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (all, answers) = (Arc::clone(&received), answers.to_vec());
        tokio::spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = answers[number.min(answers.len() - 1)];
                tokio::spawn(respond(stream, answer, Arc::clone(&all)));
            }
        });
        Self { address, received }
    }

    /// Everything that came, once it is so many requests.
    async fn requests(&self, count: usize) -> Vec<Received> {
        until("requests", || async { self.received.lock().len() >= count }).await;
        self.received.lock().clone()
    }
}

/// One request for each connection.
async fn respond(mut stream: TcpStream, answer: Answer, all: Arc<Mutex<Vec<Received>>>) {
    let mut text = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut text).await.unwrap() == 0 {
            return;
        }
        let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(text[..end].to_vec()).unwrap();
        let fields = head
            .lines()
            .skip(1)
            .map(|line| line.split_once(": ").unwrap());
        let fields: BTreeMap<String, String> = fields
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length: usize = fields["content-length"].parse().unwrap();
        if text.len() >= end + 4 + length {
            break (fields, text[end + 4..].to_vec());
        }
    };
    all.lock().push(Received {
        fields: head,
        body,
        at: SystemTime::now(),
    });
    match answer {
        Answer::Status(status, fields) => {
            let answer = format!(
                "HTTP/1.1 {status} X\r\n{fields}content-length: 0\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        Answer::Close => {}
        Answer::Hang => sleep(PATIENCE * 2).await,
    }
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("no {what}"));
}

/// A folder with a configuration, which goes away with the test.
struct Scene(TempDir);

/// Alerts that run.
struct Sidecar {
    alerts: Alerts,
    running: Running,
    metrics: Metrics,
}

impl Scene {
    fn new() -> Self {
        // Another test may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("key"), KEY).unwrap();
        Self(folder)
    }

    fn hook(name: &str, receiver: SocketAddr, more: &str) -> String {
        format!(
            "[[alert]]\nname = \"{name}\"\nwebhook = \"http://{receiver}/hush-hush\"\n\
             secret_file = \"key\"\ndigest_secs = 0\ntimeout_secs = 1\n{more}\n"
        )
    }

    fn plan(&self, config: &str, metrics: &Metrics) -> Plan {
        let path = self.0.path().join("t.toml");
        fs::write(&path, config).unwrap();
        let file = ConfigFile::read(&path).unwrap();
        Plan::build(&file, &metrics.alerts).unwrap()
    }

    fn start(&self, config: &str) -> Sidecar {
        let metrics = Metrics::new().unwrap();
        let data_dir = self.0.path().join("data");
        let plan = self.plan(config, &metrics);
        let (alerts, keeper) = alerts::open(plan, &data_dir, &metrics.alerts, ProcessTime::start());
        Sidecar {
            alerts,
            running: keeper.start(&Handle::current()),
            metrics,
        }
    }

    fn dead(&self) -> Vec<serde_json::Value> {
        let text =
            fs::read_to_string(self.0.path().join("data/alerts.dead.jsonl")).unwrap_or_default();
        assert!(!text.contains("hush-hush") && !text.contains(KEY), "{text}");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Sidecar {
    fn offer(&self, client: u32) {
        let case = v1::Case {
            id: format!("{client:032x}"),
            site: "shop".to_owned(),
            subject: format!("192.0.2.{}", client % 256),
            requests: 3,
            claims: Some(v1::Claims {
                user_agent: "zgrab/0.x\r\n".to_owned(),
                ..v1::Claims::default()
            }),
            ..v1::Case::default()
        };
        let case = Case::try_from(case).unwrap();
        let assessment = Assessment {
            case: case.id,
            site: case.site.clone(),
            subject: case.subject,
            score: 0.99,
            consequence: Consequence::Act(Action::Deny),
            reason: "user_agent.scanner".to_owned(),
            steps: Vec::new(),
            decision: None,
            made_ms: 0,
            pending: false,
        };
        self.alerts.offer(&case, &assessment);
    }

    fn counted(&self, sample: &str) -> u64 {
        let text = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(sample));
        value
            .unwrap_or_else(|| panic!("{sample}: {text}"))
            .trim()
            .parse()
            .unwrap()
    }

    fn messages(&self, alert: &str, outcome: &str) -> u64 {
        self.counted(&format!(
            "thornwall_sidecar_alert_messages_total{{alert=\"{alert}\",outcome=\"{outcome}\"}}"
        ))
    }

    async fn has(&self, alert: &str, outcome: &str, count: u64) {
        until(outcome, || async { self.messages(alert, outcome) >= count }).await;
    }
}

#[tokio::test]
async fn a_message_is_signed_and_tried_until_it_arrives() {
    let scene = Scene::new();
    let answers = [
        Answer::Status(429, "retry-after: 3\r\n"),
        Answer::Close,
        FINE,
    ];
    let receiver = Receiver::start(&answers).await;
    let sidecar = scene.start(&Scene::hook("ops", receiver.address, ""));
    sidecar.offer(7);
    let received = receiver.requests(3).await;
    sidecar.has("ops", "sent", 1).await;
    assert_eq!(sidecar.messages("ops", "failed"), 2);
    assert_eq!(sidecar.messages("ops", "retried"), 2);
    assert!(received[1].at.duration_since(received[0].at).unwrap() >= Duration::from_secs(3));
    for request in &received {
        assert_eq!(request.body, received[0].body);
        assert_eq!(request.fields["idempotency-key"], request.json()["id"]);
        let signature = &request.fields["x-thornwall-signature"];
        let (time, digest) = signature.split_once(",v1=").unwrap();
        let time = time.strip_prefix("t=").unwrap();
        let sent = SystemTime::UNIX_EPOCH + Duration::from_secs(time.parse().unwrap());
        assert!(request.at.duration_since(sent).unwrap() < Duration::from_secs(5));
        let mut hmac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
        hmac.update(&[time.as_bytes(), b".", &request.body].concat());
        let bytes: Vec<u8> = (0..64)
            .step_by(2)
            .map(|at| u8::from_str_radix(&digest[at..at + 2], 16).unwrap())
            .collect();
        hmac.verify_slice(&bytes).unwrap();
    }
    let body = received[0].json();
    assert_eq!(body["alert_type"], "AI_DEFENSE_BLOCK");
    assert_eq!(body["ip_address"], "192.0.2.7");
    assert_eq!(body["user_agent"], "zgrab/0.x\\r\\n");
    sidecar.running.finish().await;
    assert!(scene.dead().is_empty());
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_what_is_given_up_is_kept() {
    let scene = Scene::new();
    let elsewhere = Receiver::start(&[FINE]).await;
    let location = format!("location: http://{}/\r\n", elsewhere.address);
    let receiver = Receiver::start(&[Answer::Status(307, location.leak())]).await;
    let sidecar = scene.start(&Scene::hook("ops", receiver.address, ""));
    sidecar.offer(7);
    sidecar.has("ops", "dead", 1).await;
    until("dead letter", || async { scene.dead().len() == 1 }).await;
    let dead = &scene.dead()[0];
    assert_eq!(dead["why"], "answered 307; redirects are not followed");
    assert_eq!((&dead["alert"], &dead["tries"]), (&"ops".into(), &1.into()));
    assert_eq!(dead["message"]["notices"][0]["ip_address"], "192.0.2.7");
    assert!(elsewhere.received.lock().is_empty());
    sidecar.running.finish().await;
    let next = scene.start("");
    assert_eq!(next.counted("thornwall_sidecar_alert_dead_letters"), 1);
}

#[tokio::test]
async fn a_receiver_that_hangs_costs_no_other() {
    let scene = Scene::new();
    let (slow, good) = (
        Receiver::start(&[Answer::Hang]).await,
        Receiver::start(&[FINE]).await,
    );
    let config = [
        Scene::hook("slow", slow.address, "retry_secs = 0\ndedup_secs = 0"),
        Scene::hook("good", good.address, "most_per_hour = 3600"),
    ];
    let sidecar = scene.start(&config.concat());
    for client in 0..200 {
        sidecar.offer(client);
    }
    good.requests(1).await;
    sidecar.has("slow", "dead", 1).await;
    let dead = &scene.dead()[0]["why"];
    assert_eq!(dead, "no answer within the time that it has");
    // Nothing runs meanwhile, so that the queue fills.
    for client in 0..1200 {
        sidecar.offer(client);
    }
    let dropped = "thornwall_sidecar_alerts_total{alert=\"slow\",outcome=\"dropped\"}";
    assert!(sidecar.counted(dropped) >= 170);
    sidecar.running.finish().await;
}

#[tokio::test]
async fn what_waits_is_sent_after_a_restart() {
    let scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let config = Scene::hook("ops", address, "");
    let sidecar = scene.start(&config);
    sidecar.offer(1);
    sidecar.has("ops", "failed", 1).await;
    sidecar.offer(2);
    sidecar.running.finish().await;
    let receiver = Receiver::serve(TcpListener::bind(address).await.unwrap(), &[FINE]);
    let sidecar = scene.start(&config);
    let received = receiver.requests(2).await;
    assert_eq!(received[0].json()["ip_address"], "192.0.2.1");
    assert_eq!(received[1].json()["ip_address"], "192.0.2.2");
    sidecar.has("ops", "sent", 2).await;
    sidecar.running.finish().await;
    // Nothing is sent once more by the next one.
    let sidecar = scene.start(&config);
    sidecar.offer(3);
    assert_eq!(
        receiver.requests(3).await[2].json()["ip_address"],
        "192.0.2.3"
    );
    sidecar.running.finish().await;
}

#[tokio::test]
async fn a_damaged_outbox_and_a_disk_that_fails_are_counted_and_no_more() {
    let scene = Scene::new();
    let receiver = Receiver::start(&[FINE]).await;
    let spools = scene.0.path().join("data/alerts");
    let disk = "thornwall_sidecar_alert_disk_failures_total{alert=\"ops\"}";
    fs::create_dir(&spools).unwrap();
    fs::write(spools.join("ops.json"), "{").unwrap();
    let config = Scene::hook("ops", receiver.address, "");
    let sidecar = scene.start(&config);
    assert_eq!(sidecar.counted(disk), 1);
    sidecar.offer(1);
    receiver.requests(1).await;
    sidecar.running.finish().await;
    // From now on nothing can be written there.
    fs::remove_dir_all(&spools).unwrap();
    fs::write(&spools, "").unwrap();
    let sidecar = scene.start(&config);
    sidecar.offer(2);
    receiver.requests(2).await;
    until("failure", || async { sidecar.counted(disk) >= 1 }).await;
    sidecar.running.finish().await;
}

#[tokio::test]
async fn what_waits_for_an_alert_that_is_gone_is_given_up() {
    let scene = Scene::new();
    let receiver = Receiver::start(&[Answer::Status(500, "")]).await;
    let sidecar = scene.start(&Scene::hook("old", receiver.address, ""));
    sidecar.offer(1);
    sidecar.has("old", "failed", 1).await;
    sidecar.offer(2);
    sidecar.running.finish().await;
    let sidecar = scene.start(&Scene::hook("new", receiver.address, ""));
    assert_eq!(sidecar.messages("old", "dead"), 2);
    let dead = scene.dead();
    assert_eq!(dead.len(), 2);
    assert_eq!(dead[1]["message"]["notices"][0]["ip_address"], "192.0.2.2");
    sidecar.running.finish().await;
    assert!(!scene.0.path().join("data/alerts/old.json").exists());
}

#[tokio::test]
async fn alerts_are_about_their_sites_and_severities() {
    let scene = Scene::new();
    let receiver = Receiver::start(&[FINE]).await;
    let config = [
        Scene::hook(
            "here",
            receiver.address,
            "sites = [\"shop\"]\nleast = \"deny\"",
        ),
        Scene::hook("elsewhere", receiver.address, "sites = [\"blog\"]"),
    ];
    let sidecar = scene.start(&config.concat());
    sidecar.offer(1);
    sidecar.has("here", "sent", 1).await;
    let sent =
        |alert| format!("thornwall_sidecar_alerts_total{{alert=\"{alert}\",outcome=\"told\"}}");
    assert_eq!(sidecar.counted(&sent("here")), 1);
    assert_eq!(sidecar.counted(&sent("elsewhere")), 0);
    sidecar.offer(1);
    let repeated = "thornwall_sidecar_alerts_total{alert=\"here\",outcome=\"deduplicated\"}";
    until("repetition", || async { sidecar.counted(repeated) == 1 }).await;
    assert_eq!(receiver.received.lock().len(), 1);
    sidecar.running.finish().await;
}

#[tokio::test]
async fn another_configuration_takes_over_what_waits() {
    let scene = Scene::new();
    let before = Receiver::start(&[Answer::Status(500, "")]).await;
    let sidecar = scene.start(&Scene::hook("ops", before.address, ""));
    sidecar.offer(1);
    sidecar.has("ops", "failed", 1).await;
    let after = Receiver::start(&[FINE]).await;
    let hook = Scene::hook("ops", after.address, "");
    let plan = scene.plan(&hook, &sidecar.metrics);
    sidecar.alerts.take_over(plan).unwrap();
    sidecar.offer(2);
    let received = after.requests(2).await;
    assert_eq!(received[0].json()["ip_address"], "192.0.2.1");
    assert_eq!(received[1].json()["ip_address"], "192.0.2.2");
    // One that is taken over while the process ends loses nothing.
    let plan = scene.plan(&Scene::hook("ops", before.address, ""), &sidecar.metrics);
    sidecar.alerts.take_over(plan).unwrap();
    sidecar.offer(3);
    sidecar.running.finish().await;
    let next = scene.start(&hook);
    assert_eq!(after.requests(3).await[2].json()["ip_address"], "192.0.2.3");
    next.running.finish().await;
}

//! The connection to a sidecar, against one of our own that says what a test wants.

use std::{fs, net::SocketAddr};

use parking_lot::Mutex;
use tempfile::TempDir;
use thornwall_decisions::{
    clock::{Moment, ProcessTime},
    decision::{Action, Source},
    decisions::Decisions,
    store::{Options, Page, Query, StoreMetrics},
};
use thornwall_filters::escalation::{CaseId, Question, Sighting};
use thornwall_proto::v1::escalation_server::{Escalation, EscalationServer};
use thornwall_settings::report::Report;
use thornwall_tests::authority::{Authority, Wanted};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Response,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

use super::*;
use crate::{config, request_id::RequestId};

type Answers = mpsc::Sender<Result<SidecarMessage, Status>>;

/// What a sidecar answered, and the ways to answer.
#[derive(Default)]
struct Ears {
    hellos: Mutex<Vec<(Hello, Option<String>)>>,
    cases: Mutex<Vec<v1::Case>>,
    answers: Mutex<Option<Answers>>,
}

struct Stub(Arc<Ears>);

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Escalation for Stub {
    type StreamStream = ReceiverStream<Result<SidecarMessage, Status>>;
    type WatchStream = ReceiverStream<Result<v1::Assessment, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<GatewayMessage>>,
    ) -> Reply<Self::StreamStream> {
        let token = request.metadata().get("authorization");
        let token = token.map(|value| value.to_str().unwrap().to_owned());
        let mut messages = request.into_inner();
        let (answers, answered) = mpsc::channel(64);
        let Some(Outgoing::Hello(hello)) =
            messages.message().await?.and_then(|first| first.message)
        else {
            return Err(Status::failed_precondition("no hello"));
        };
        self.0.hellos.lock().push((hello, token));
        let welcome = Incoming::Welcome(v1::Welcome {
            sidecar: "one".to_owned(),
        });
        answers.send(Ok(received_as(welcome))).await.unwrap();
        *self.0.answers.lock() = Some(answers);
        let ears = Arc::clone(&self.0);
        tokio::spawn(async move {
            while let Ok(Some(GatewayMessage {
                message: Some(Outgoing::Case(case)),
            })) = messages.message().await
            {
                ears.cases.lock().push(case);
            }
            *ears.answers.lock() = None;
        });
        Ok(Response::new(ReceiverStream::new(answered)))
    }

    async fn assess(&self, _: Request<v1::AssessRequest>) -> Reply<v1::Assessment> {
        Err(Status::unimplemented(""))
    }
    async fn watch(&self, _: Request<v1::WatchRequest>) -> Reply<Self::WatchStream> {
        Err(Status::unimplemented(""))
    }
    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Reply<v1::Explanation> {
        Err(Status::unimplemented(""))
    }
    async fn list(&self, _: Request<v1::ListRequest>) -> Reply<v1::ListResponse> {
        Err(Status::unimplemented(""))
    }
    async fn r#override(&self, _: Request<v1::OverrideRequest>) -> Reply<v1::OverrideResponse> {
        Err(Status::unimplemented(""))
    }
    async fn revoke(&self, _: Request<v1::RevokeRequest>) -> Reply<v1::RevokeResponse> {
        Err(Status::unimplemented(""))
    }
    async fn feedback(&self, _: Request<v1::FeedbackRequest>) -> Reply<v1::FeedbackResponse> {
        Err(Status::unimplemented(""))
    }
}

const fn received_as(message: Incoming) -> SidecarMessage {
    SidecarMessage {
        message: Some(message),
    }
}

/// A sidecar that can be stopped.
struct Running {
    ears: Arc<Ears>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(at: &str, tls: Option<ServerTlsConfig>) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let ears = Arc::<Ears>::default();
        let mut server = Server::builder();
        if let Some(tls) = tls {
            server = server.tls_config(tls).unwrap();
        }
        let server = server.add_service(EscalationServer::new(Stub(Arc::clone(&ears))));
        let task = tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self {
            ears,
            address,
            task,
        }
    }

    fn send(&self, message: Incoming) {
        let answers = self.ears.answers.lock();
        let answers = answers.as_ref().unwrap();
        answers.try_send(Ok(received_as(message))).unwrap();
    }

    fn received(&self) -> usize {
        self.ears.cases.lock().len()
    }
}

/// A gateway's side, with a store of its own.
struct Gateway {
    sidecar: Arc<Sidecar>,
    store: Store,
    clock: Arc<ProcessTime>,
    folder: TempDir,
    stop: watch::Sender<bool>,
}

impl Gateway {
    fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let clock = Arc::new(ProcessTime::start());
        let options = Options {
            capacity: 1024,
            shared: false,
            coarse_only: false,
        };
        let metrics = StoreMetrics::register(&prometheus::Registry::new()).unwrap();
        let decisions = Arc::<Decisions>::default();
        assert_eq!(decisions.sites().number("shop"), Some(0));
        let (store, _) = Store::start(
            decisions,
            Arc::<ProcessTime>::clone(&clock),
            options,
            metrics,
        )
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "t".repeat(32)).unwrap();
        Self {
            sidecar: Arc::new(Sidecar::new("unix:/nowhere", 100, 100)),
            store,
            clock,
            folder,
            stop: watch::Sender::new(false),
        }
    }

    /// Connects with this table of configuration. Its address is where the sidecar is now.
    fn connect(&mut self, text: &str) {
        let spec: config::Escalation = toml::from_str(text).unwrap();
        let (address, _) = spec.addresses()[0];
        self.sidecar = Arc::new(Sidecar::new(address, 100, 100));
        let mut report = Report {
            folder: self.folder.path().to_path_buf(),
            ..Default::default()
        };
        let settings = Settings::read(&spec, "default", &mut report);
        let settings = settings.unwrap_or_else(|| panic!("{:?}", report.problems));
        let clock = Arc::<ProcessTime>::clone(&self.clock);
        let client = Client::new(
            Arc::clone(&self.sidecar),
            settings,
            self.store.clone(),
            clock,
        );
        tokio::spawn(client.run(self.stop.subscribe()));
    }

    /// One dubious request of a client; its case.
    fn ask(&self, client: &str) -> CaseId {
        let Moment { own_ms, unix_ms } = self.clock.now();
        let sighting = Sighting {
            site: 0,
            client: client.parse().unwrap(),
            shape: 5,
            score: 0.6,
            now: Duration::from_millis(own_ms),
        };
        let interest = self.sidecar.cases.sight(&sighting);
        if interest.facts {
            let question = Question {
                case: interest.case,
                sighting,
                signals: Vec::new(),
                method: "GET".to_owned(),
                path: "/".to_owned(),
                parameters: Vec::new(),
                user_agent: String::new(),
                accept_language: String::new(),
                referer: String::new(),
                header_names: Vec::new(),
                http_version: 11,
                tls: false,
            };
            let cases = &self.sidecar.cases;
            cases.submit(question, RequestId::fresh(), unix_ms);
        }
        interest.case
    }

    async fn decided(&self) -> Vec<thornwall_decisions::decision::Decision> {
        let (sender, page) = tokio::sync::oneshot::channel();
        let query = Query {
            most: 10,
            ..Query::default()
        };
        let done = |page: Page| drop(sender.send(page));
        self.store.read(query, Box::new(done));
        page.await.unwrap().decisions
    }

    fn decision(&self, number: u64, subject: &str, action: v1::Action) -> v1::Decision {
        let now = self.clock.now().unix_ms;
        v1::Decision {
            number,
            subject: subject.to_owned(),
            site: "shop".to_owned(),
            action: action.into(),
            reason: "sidecar.rules".to_owned(),
            made_ms: now,
            until_ms: now + 60_000,
            ..v1::Decision::default()
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        self.store.stop();
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

fn by_token(address: SocketAddr) -> String {
    format!("address = \"http://{address}\"\ntoken_file = \"token\"\ngateway = \"here\"")
}

fn assessed(case: CaseId, action: v1::Action) -> Incoming {
    Incoming::Assessment(v1::Assessment {
        case_id: case.to_string(),
        score: 0.93,
        action: action.into(),
        reason: "sidecar.history".to_owned(),
        ..v1::Assessment::default()
    })
}

#[tokio::test]
async fn a_case_becomes_a_decision_and_a_label() {
    let (mut gateway, sidecar) = (Gateway::new(), Running::start("127.0.0.1:0", None).await);
    gateway.connect(&by_token(sidecar.address));
    let case = gateway.ask("192.0.2.7");
    until("received", async || sidecar.received() == 1).await;
    let (hello, token) = sidecar.ears.hellos.lock()[0].clone();
    assert_eq!(
        (hello.gateway.as_str(), hello.sidecar.as_str(), hello.after),
        ("here", "", 0)
    );
    assert_eq!(token, Some(format!("Bearer {}", "t".repeat(32))));
    assert_eq!(sidecar.ears.cases.lock()[0].id, case.to_string());
    let waiting = gateway
        .sidecar
        .await_assessment(case, Duration::from_secs(5));
    let answer = async {
        sleep(Duration::from_millis(50)).await;
        sidecar.send(assessed(case, v1::Action::Deny));
    };
    let (assessment, ()) = tokio::join!(waiting, answer);
    assert_eq!(assessment.unwrap().action(), Some(Action::Deny));
    let assessment = gateway.sidecar.assessments.find(case).unwrap();
    assert_eq!(
        (assessment.score, assessment.reason.to_string()),
        (0.93, "sidecar.history".to_owned())
    );
    // What is known already is waited for by nobody.
    let again = gateway
        .sidecar
        .await_assessment(case, Duration::from_secs(5));
    assert!(
        timeout(Duration::from_millis(10), again)
            .await
            .unwrap()
            .is_none()
    );
    let decision = gateway.decision(7, "192.0.2.7", v1::Action::Deny);
    sidecar.send(Incoming::Decision(decision));
    until("decided", async || !gateway.decided().await.is_empty()).await;
    assert_eq!(gateway.decided().await[0].source, Source::Sidecar);
    for bad in ["", "0.0.0.0/0"] {
        let decision = gateway.decision(8, bad, v1::Action::Deny);
        sidecar.send(Incoming::Decision(decision));
    }
    sidecar.send(Incoming::Withdrawal(v1::Withdrawal {
        number: 9,
        subject: "192.0.2.7".to_owned(),
        site: "shop".to_owned(),
        ..v1::Withdrawal::default()
    }));
    until("withdrawn", async || gateway.decided().await.is_empty()).await;
    assert_eq!(gateway.sidecar.tally.refused(), 2);
    assert_eq!(
        gateway
            .sidecar
            .tally
            .answers(super::super::Consequence::Act(Action::Deny)),
        1
    );
}

#[tokio::test]
async fn what_comes_while_the_sidecar_is_away_goes_up_when_it_is_back() {
    let mut gateway = Gateway::new();
    let sidecar = Running::start("127.0.0.1:0", None).await;
    gateway.connect(&by_token(sidecar.address));
    let first = gateway.ask("192.0.2.1");
    until("received", async || sidecar.received() == 1).await;
    let decision = gateway.decision(7, "192.0.2.1", v1::Action::Throttle);
    sidecar.send(Incoming::Decision(decision));
    until("decided", async || gateway.decided().await.len() == 1).await;
    let waiting = gateway
        .sidecar
        .await_assessment(first, Duration::from_secs(60));
    let kill = async {
        sleep(Duration::from_millis(50)).await;
        sidecar.task.abort();
        *sidecar.ears.answers.lock() = None;
    };
    let began = Instant::now();
    let (assessment, ()) = tokio::join!(waiting, kill);
    assert!(assessment.is_none() && began.elapsed() < Duration::from_secs(10));
    assert!(gateway.sidecar.trouble().is_some());
    let second = gateway.ask("192.0.2.2");
    let gone = gateway
        .sidecar
        .await_assessment(second, Duration::from_secs(60));
    assert!(
        timeout(Duration::from_millis(10), gone)
            .await
            .unwrap()
            .is_none()
    );
    let address = sidecar.address.to_string();
    let back = Running::start(&address, None).await;
    // The one that was not answered is sent again.
    until("both", async || back.received() == 2).await;
    let (hello, _) = back.ears.hellos.lock()[0].clone();
    assert_eq!((hello.sidecar.as_str(), hello.after), ("one", 7));
    assert!(gateway.sidecar.is_connected() && gateway.sidecar.trouble().is_none());
}

#[tokio::test]
async fn a_sidecar_that_stands_still_is_noticed() {
    let mut gateway = Gateway::new();
    let sidecar = Running::start("127.0.0.1:0", None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let between = listener.local_addr().unwrap();
    let (pause, paused) = watch::channel(false);
    let to = sidecar.address;
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let mut paused = paused.clone();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut from, &mut to) => {}
                    () = async { drop(paused.wait_for(|paused| *paused).await) } => {}
                }
                // Both connections stay open, and nothing moves.
                sleep(Duration::from_secs(60)).await;
            });
        }
    });
    gateway.connect(&by_token(between));
    until("connected", async || gateway.sidecar.is_connected()).await;
    pause.send(true).unwrap();
    let began = Instant::now();
    until("noticed", async || !gateway.sidecar.is_connected()).await;
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn both_sides_show_certificates_over_tls() {
    let mut gateway = Gateway::new();
    let authority = Authority::new("test authority");
    let server = authority.issue(Wanted {
        names: &["localhost"],
        ..Wanted::default()
    });
    let client = authority.issue(Wanted {
        names: &["gateway"],
        client: true,
        ..Wanted::default()
    });
    let write = |name: &str, text: &str| fs::write(gateway.folder.path().join(name), text).unwrap();
    write("ca.pem", &authority.pem());
    write("us.pem", &client.chain);
    write("us.key", &client.key);
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(&server.chain, &server.key))
        .client_ca_root(Certificate::from_pem(authority.pem()));
    let sidecar = Running::start("127.0.0.1:0", Some(tls)).await;
    let port = sidecar.address.port();
    gateway.connect(&format!(
        "address = \"https://localhost:{port}\"\nca_file = \"ca.pem\"\n\
         certificate_file = \"us.pem\"\nkey_file = \"us.key\""
    ));
    let _ = gateway.ask("192.0.2.7");
    until("received", async || sidecar.received() == 1).await;

    let mut stranger = Gateway::new();
    let other = Authority::new("another authority");
    for (name, text) in [
        ("ca.pem", other.pem()),
        ("us.pem", client.chain),
        ("us.key", client.key),
    ] {
        fs::write(stranger.folder.path().join(name), text).unwrap();
    }
    stranger.connect(&format!(
        "address = \"https://localhost:{port}\"\nca_file = \"ca.pem\"\n\
         certificate_file = \"us.pem\"\nkey_file = \"us.key\""
    ));
    until("refused", async || stranger.sidecar.trouble().is_some()).await;
    assert!(!stranger.sidecar.is_connected());
}

//! Limits that change with how the origin does, through the port.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::harness::{CHROME, Folder, Gateway, thornwall, wait_for};

/// An origin that is as slow and as broken as the test says at the time.
struct Origin {
    port: u16,
    millis: Arc<AtomicU64>,
    fails: Arc<AtomicBool>,
}

/// How long the origin takes while it is well.
const WELL: u64 = 20;

impl Origin {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (millis, fails) = (Arc::new(AtomicU64::new(WELL)), Arc::default());
        let (slow, broken) = (Arc::clone(&millis), Arc::clone(&fails));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (slow, broken) = (Arc::clone(&slow), Arc::clone(&broken));
                thread::spawn(move || answer(&stream, &slow, &broken));
            }
        });
        Self {
            port,
            millis,
            fails,
        }
    }
}

fn answer(mut stream: &TcpStream, millis: &AtomicU64, fails: &AtomicBool) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        thread::sleep(Duration::from_millis(millis.load(Relaxed)));
        let status = if fails.load(Relaxed) {
            "503 No"
        } else {
            "200 OK"
        };
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// Twenty people who ask four times in three seconds each.
struct People {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl People {
    fn start(gateway: &Gateway) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let [answered, refused] = [(); 2].map(|()| Arc::<AtomicU64>::default());
        let person = |number: u64| {
            let (stop, port) = (Arc::clone(&stop), gateway.port);
            let (answered, refused) = (Arc::clone(&answered), Arc::clone(&refused));
            thread::spawn(move || {
                // Not all of them at once.
                thread::sleep(Duration::from_millis(number * 37));
                while !stop.load(Relaxed) {
                    refused.fetch_add(u64::from(get(port, number) == 429), Relaxed);
                    answered.fetch_add(1, Relaxed);
                    thread::sleep(Duration::from_millis(750));
                }
            })
        };
        Self {
            threads: (0..20).map(person).collect(),
            stop,
            answered,
            refused,
        }
    }

    /// Waits until the origin has answered them for some beats of a second.
    fn wait_until_their_usual_is_known(&self) {
        wait_for("people to be answered", || self.answered.load(Relaxed) > 40);
    }

    fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

impl Drop for People {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// How many of so many requests at once of a client got each status that one of them got.
fn at_once(gateway: &Gateway, client: u64, requests: usize) -> BTreeMap<u16, usize> {
    let port = gateway.port;
    let ask = |_| thread::spawn(move || get(port, client));
    let threads: Vec<_> = (0..requests).map(ask).collect();
    let mut statuses = BTreeMap::new();
    for thread in threads {
        *statuses.entry(thread.join().unwrap()).or_default() += 1;
    }
    statuses
}

fn get(port: u16, client: u64) -> u16 {
    let raw = format!(
        "GET / HTTP/1.1\r\nHost: t.example\r\nX-Forwarded-For: 192.0.2.{client}\r\n{}\r\n",
        crate::harness::closing(CHROME)
    );
    crate::harness::send(port, &raw).status
}

fn site(adaptive: &str) -> String {
    format!(
        "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
         [[pipeline]]\nname = \"p\"\n[[pipeline.filter]]\nname = \"f\"\n\
         rate_limit = {{ requests = 40, adaptive = {{ {adaptive} }} }}\n"
    )
}

fn limit(gateway: &Gateway) -> f64 {
    gateway.metric("thornwall_rate_limit_adaptive{filter=\"f\",site=\"t\"}")
}

/// Waits until the limit is as it should be; the beat is a second.
fn wait_for_limit(gateway: &Gateway, what: &str, is: impl Fn(f64) -> bool) {
    let started = Instant::now();
    while !is(limit(gateway)) {
        let now = limit(gateway);
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "waited in vain for a limit {what}; it is {now}"
        );
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_slow_origin_closes_the_limit_for_the_greedy_alone() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, &site("floor = 20"));
    let people = People::start(&gateway);
    people.wait_until_their_usual_is_known();
    assert_eq!(limit(&gateway), 40.0);
    // Far beyond the four times that are full pressure, which a mean over seconds nears slowly.
    origin.millis.store(20 * WELL, Relaxed);
    wait_for_limit(&gateway, "at the floor", |limit| limit == 20.0);
    assert_eq!(gateway.status()["adaptive_limits"]["t"]["f"], 20);
    // Fewer than 40 and far more than 20.
    let greedy = at_once(&gateway, 100, 38);
    assert!(greedy[&429] > 0 && greedy[&200] >= 20, "{greedy:?}");
    assert_eq!(people.refused(), 0);
}

/// Ten seconds of calm are the limit's own, and not to be configured.
#[test]
fn a_limit_that_a_slow_origin_lowered_opens_again() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, &site("floor = 20"));
    let people = People::start(&gateway);
    people.wait_until_their_usual_is_known();
    origin.millis.store(10 * WELL, Relaxed);
    wait_for_limit(&gateway, "below its ceiling", |limit| limit < 40.0);
    origin.millis.store(WELL, Relaxed);
    wait_for_limit(&gateway, "at its ceiling", |limit| limit == 40.0);
    assert_eq!(at_once(&gateway, 101, 38), [(200, 38)].into());
    assert_eq!(people.refused(), 0);
}

#[test]
fn failures_of_the_origin_are_pressure_and_who_only_observes_refuses_nobody() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, &site("floor = 2, mode = \"observe\""));
    let people = People::start(&gateway);
    people.wait_until_their_usual_is_known();
    origin.fails.store(true, Relaxed);
    wait_for_limit(&gateway, "far below 40", |limit| limit < 15.0);
    // Fewer than 40, and more than the limit would be.
    let statuses = at_once(&gateway, 200, 20);
    assert_eq!(statuses, [(503, 20)].into(), "the origin's answers");
    assert_eq!(people.refused(), 0);
    let told = lines_of(&gateway, "192.0.2.200");
    assert!(told.contains("rate_limit.adaptive"), "{told}");
    assert_eq!(gateway.metric("thornwall_answers_total"), 0.0);
}

/// The access lines of a client.
fn lines_of(gateway: &Gateway, client: &str) -> String {
    let log = gateway.folder.join("access.log");
    let mut lines = String::new();
    wait_for("the access lines", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let of_client = text.lines().filter(|line| line.contains(client));
        let found: Vec<&str> = of_client.collect();
        lines = found.join("\n");
        found.len() == 20
    });
    lines
}

#[test]
fn mistakes_in_bounds_are_named_where_they_are() {
    let check = |adaptive: &str, part: &str| {
        let folder = Folder::new();
        let text = Gateway::toml(18_085, 19_185, 9, &site(adaptive));
        let output = Command::new(thornwall())
            .args(["check", "-c"])
            .arg(folder.write("t.toml", &text))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(part), "{told}");
    };
    check(
        "floor = 41",
        "`floor` is 41; expected at most `requests`, 40",
    );
    check(
        "floor = 1, ceiling = 39",
        "`ceiling` is 39; expected at least `requests`, 40",
    );
    check(
        "floor = 1, headroom = 101",
        "`headroom` is 101; expected 1 to 100",
    );
    check("ceiling = 40", "missing field `floor`");
    check("floor = 1, lowest = 2", ":25:55: unknown key `lowest`");
}

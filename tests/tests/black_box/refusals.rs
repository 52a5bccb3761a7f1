//! Honest refusals: whoever is no reader of pages is told so in a form that it understands, and
//! nobody takes a held answer for a whole one.

use std::process::{Command, Output};

use crate::{
    harness::{CHROME, Folder, Gateway, Origin, Reply, closing, wait_for},
    tls_client::{Client, SecureListener},
};

/// A site whose pipeline does this with whoever calls itself curl.
fn site(rung: &str) -> String {
    format!(
        "[tarpit]\ninterval_ms = 20\nmax_secs = 1\n\
         [[site]]\nname = \"t\"\nhosts = [\"*.example\"]\nupstream = \"o\"\npipeline = \"p\"\n\
         max_body_bytes = 1000\n\
         [[pipeline]]\nname = \"p\"\n[[pipeline.filter]]\nname = \"known\"\nblocklist = {{}}\n\
         [[pipeline.filter]]\nname = \"shape\"\nheuristics = {{}}\n\
         [pipeline.ladder]\n{rung} = 0.8\n"
    )
}

/// A gateway with a TLS listener beside the plain one.
struct Secure {
    gateway: Gateway,
    client: Client,
    port: u16,
    _files: Folder,
}

impl Secure {
    fn start(origin: &Origin, site: &str) -> Self {
        let listener = SecureListener::named("t.example");
        let extra = format!("{}{site}", listener.toml);
        Self {
            gateway: Gateway::start(origin.port, &extra),
            client: listener.client,
            port: listener.port,
            _files: listener.files,
        }
    }
}

/// Asks with this request line and these fields, as curl.
fn ask(gateway: &Gateway, line: &str, fields: &str) -> Reply {
    let upgrade = if fields.contains("Upgrade: ") {
        ", upgrade"
    } else {
        ""
    };
    gateway.send(&format!(
        "{line}\r\nHost: t.example\r\nUser-Agent: curl/8.5.0\r\n{fields}\
         Connection: close{upgrade}\r\n\r\n"
    ))
}

const NO_READERS: &[(&str, &str)] = &[
    ("POST /hook", "Content-Length: 0\r\n"),
    ("PUT /file.txt", "Content-Length: 0\r\n"),
    ("PATCH /x", "Content-Length: 0\r\n"),
    ("DELETE /x", ""),
    ("PROPFIND /dav", "Depth: 1\r\n"),
    ("MKCOL /dav", ""),
    ("HEAD /x", ""),
    ("OPTIONS /x", ""),
    ("GET /debian.iso", "Accept: */*\r\n"),
    ("GET /install.sh", "Accept: */*\r\n"),
    ("GET /app.js", "Sec-Fetch-Dest: script\r\n"),
    ("GET /x", "Range: bytes=0-\r\n"),
    ("GET /x", "If-None-Match: \"a\"\r\n"),
    ("GET /x", "Accept: application/json\r\n"),
    ("GET /x", "Accept: application/xml, text/html;q=0.5\r\n"),
    ("GET /x", "X-Requested-With: XMLHttpRequest\r\n"),
    ("GET /x", "Sec-Fetch-Mode: cors\r\n"),
    ("GET /x", "Content-Type: application/json\r\n"),
    (
        "GET /repo/info/refs?service=git-upload-pack",
        "Git-Protocol: version=2\r\n",
    ),
    (
        "GET /ws",
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ),
    ("GET /api/items", ""),
];

#[test]
fn whoever_is_no_reader_of_pages_is_refused_in_place_of_being_held() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, &site("tarpit"));
    for (line, fields) in NO_READERS {
        let reply = ask(&gateway, &format!("{line} HTTP/1.1"), fields);
        assert_eq!(reply.status, 429, "{line} {fields}: {reply:?}");
        let wait = reply
            .header("retry-after")
            .and_then(|text| text.parse().ok());
        assert!(
            wait.is_some_and(|secs: u32| secs >= 10),
            "{line}: {reply:?}"
        );
        assert_eq!(reply.body.is_empty(), line.starts_with("HEAD"), "{reply:?}");
        let decided = gateway.explain(reply.id());
        assert_eq!(
            (&decided["ruling"], &decided["held"], &decided["status"]),
            (&"tarpit".into(), &false.into(), &429.into()),
            "{line}"
        );
        assert_eq!(decided["reason"], "user_agent.http_library", "{line}");
    }
    assert_eq!(origin.requests().len(), 0);
    let iso = ask(&gateway, "GET /debian.iso HTTP/1.1", "");
    assert!(explained(&gateway, iso.id()).contains("tarpit, refused in its place, user_agent"));
    let refused = gateway.metric("thornwall_tarpit_refused_total") - 1.0;
    assert_eq!(refused, NO_READERS.len() as f64);
    assert_eq!(gateway.metric("thornwall_tarpit_entered_total"), 0.0);
}

/// What `thornwall explain` prints for people.
fn explained(gateway: &Gateway, id: &str) -> String {
    let mut command = Command::new(crate::harness::thornwall());
    let output = command.args(["explain", id, "-c"]).arg(&gateway.config);
    String::from_utf8(output.output().unwrap().stdout).unwrap()
}

#[test]
fn an_operators_word_and_a_marked_link_hold_no_write_either() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, &site("tarpit"));
    let page = ask(&gateway, "GET / HTTP/1.1", "Accept: */*\r\n");
    assert_eq!(page.status, 200);
    let links = page.body.split("href=\"").skip(1);
    let mut links = links.filter_map(|rest| rest.split('"').next());
    let link = links.find(|link| link.matches('/').count() >= 3).unwrap();
    let written = gateway.send(&format!(
        "DELETE {link} HTTP/1.1\r\nHost: t.example\r\n{}\r\n",
        closing(CHROME)
    ));
    assert_eq!(written.status, 429);
    let decided = gateway.explain(written.id());
    assert_eq!(
        (&decided["reason"], &decided["held"]),
        (&"deception.marked_link".into(), &false.into())
    );

    let blocked = Command::new(crate::harness::thornwall())
        .args([
            "block",
            "127.0.0.1",
            "--for",
            "1h",
            "--reason",
            "test",
            "--site",
            "t",
        ])
        .args(["--action", "tarpit", "-c"])
        .arg(&gateway.config)
        .output()
        .unwrap();
    assert!(blocked.status.success(), "{blocked:?}");
    wait_for("the decision", || {
        gateway.get("/a.iso", CHROME).status == 429
    });
    let posted = gateway.send(&format!(
        "POST / HTTP/1.1\r\nHost: t.example\r\nContent-Length: 3\r\n{}\r\na=b",
        closing(CHROME)
    ));
    assert_eq!(posted.status, 429);
    assert_eq!(
        posted.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(
        origin
            .requests()
            .iter()
            .filter(|head| head.starts_with("POST"))
            .count(),
        0
    );
}

#[test]
fn a_refusal_has_the_form_that_its_client_reads() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, &site("deny"));
    let check = |fields: &str, content_type: &str, status: u16, reply: &Reply| {
        assert_eq!(reply.status, status, "{fields}: {reply:?}");
        assert_eq!(reply.header("content-type"), Some(content_type), "{fields}");
        reply.body.clone()
    };
    let forms = [
        (
            "Accept: text/html,*/*;q=0.8\r\n",
            "text/html; charset=utf-8",
            "<h1>Forbidden</h1>",
        ),
        (
            "Accept: application/json\r\n",
            "application/problem+json",
            "\"status\":403",
        ),
        (
            "Content-Type: application/json\r\n",
            "application/problem+json",
            "\"status\":403",
        ),
        (
            "Accept: application/x-protobuf\r\n",
            "application/problem+json",
            "\"status\":403",
        ),
        (
            "Accept: */*\r\n",
            "text/html; charset=utf-8",
            "<h1>Forbidden</h1>",
        ),
        (
            "Accept: image/avif,*/*;q=0.8\r\n",
            "text/plain; charset=utf-8",
            "Forbidden. ",
        ),
    ];
    for (fields, content_type, text) in forms {
        let reply = ask(&gateway, "GET /x HTTP/1.1", fields);
        let body = check(fields, content_type, 403, &reply);
        assert!(body.contains(text) && body.len() < 500, "{body}");
        if content_type.ends_with("json") {
            let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(problem["title"], "Forbidden");
        }
        let head = ask(&gateway, "HEAD /x HTTP/1.1", fields);
        assert_eq!(check(fields, content_type, 403, &head), "");
        assert_eq!(
            head.header("content-length"),
            Some(&*body.len().to_string())
        );
        let file = ask(&gateway, "GET /debian.iso HTTP/1.1", "Accept: */*\r\n");
        check("a file", "text/plain; charset=utf-8", 403, &file);
        // Refusals before any pipeline: a body that is too large, and a host that no site serves.
        let large = format!("{fields}Content-Length: 2000\r\n");
        let large = ask(&gateway, "POST /x HTTP/1.1", &large);
        check(fields, content_type, 413, &large);
        let line =
            format!("GET /x HTTP/1.1\r\nHost: elsewhere\r\n{fields}Connection: close\r\n\r\n");
        check(fields, content_type, 421, &gateway.send(&line));
    }
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn grpc_is_refused_by_a_status_of_its_own() {
    let origin = Origin::start();
    for (rung, status, code) in [("deny", 403, "7"), ("tarpit", 429, "8")] {
        let secure = Secure::start(&origin, &site(rung));
        let request = http::Request::post("https://t.example/a.B/C")
            .header("user-agent", "curl/8.5.0")
            .header("te", "trailers")
            .header("content-type", "application/grpc");
        let reply = secure
            .client
            .h2_send("t.example", request.body(()).unwrap(), Some(b"\0\0\0\0\0"))
            .unwrap();
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("content-type"), Some("application/grpc"));
        assert_eq!(reply.header("grpc-status"), Some(code));
        assert!(reply.header("grpc-message").is_some() && reply.body.is_empty());
    }
    assert_eq!(origin.requests().len(), 0);
}

/// Runs a program to its end.
fn run(program: &str, arguments: &[String]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Runs curl for `url`; its exit code.
fn curl(secure: &Secure, options: &[&str], url: &str) -> Option<i32> {
    let ports = [secure.gateway.port, secure.port];
    let [plain, tls] = ports.map(|port| format!("t.example:{port}:127.0.0.1"));
    let fixed = [
        "-fsSk",
        "-o",
        "/dev/null",
        "--resolve",
        &plain,
        "--resolve",
        &tls,
        url,
    ];
    let all: Vec<String> = options
        .iter()
        .chain(&fixed)
        .map(|text| (*text).to_owned())
        .collect();
    run("curl", &all).status.code()
}

#[test]
fn no_client_takes_a_held_answer_for_a_whole_one() {
    let origin = Origin::start();
    let secure = Secure::start(&origin, &site("tarpit"));
    let plain = format!("http://t.example:{}/page", secure.gateway.port);
    let tls = format!("https://t.example:{}/page", secure.port);
    // 18: a part is missing; 56: the connection was reset; 92: the stream was.
    for (options, url) in [
        (&["--http1.1"][..], &plain),
        (&["--http1.0"][..], &plain),
        (&["--http1.1"][..], &tls),
        (&["--http2"][..], &tls),
    ] {
        let code = curl(&secure, options, url);
        assert!(
            matches!(code, Some(18 | 56 | 92)),
            "{options:?} {url}: {code:?}"
        );
    }
    assert_eq!(gateway_held(&secure), 4.0);
    let upload = secure.gateway.folder.write("upload", "secret");
    let upload = upload.to_str().unwrap();
    for (options, url) in [
        (&["-T", upload][..], &plain),
        (&["-T", upload, "--http2"][..], &tls),
        (&["-d", "a=b"][..], &tls),
    ] {
        assert_eq!(curl(&secure, options, url), Some(22), "{options:?}");
    }
    assert_eq!(curl(&secure, &[], &format!("{plain}.iso")), Some(22));
    // 4: the network failed; 8: the server refused.
    let wget = |path: &str| {
        let url = format!("http://127.0.0.1:{}{path}", secure.gateway.port);
        let arguments = [
            "-q",
            "--tries=1",
            "--header=Host: t.example",
            "-O",
            "/dev/null",
            &url,
        ];
        run("wget", &arguments.map(str::to_owned)).status.code()
    };
    assert_eq!(wget("/page"), Some(4));
    assert_eq!(wget("/debian.iso"), Some(8));
    assert_eq!(origin.requests().len(), 0);
}

fn gateway_held(secure: &Secure) -> f64 {
    secure.gateway.metric("thornwall_tarpit_entered_total")
}

#[test]
fn a_held_answer_breaks_off_when_the_process_stops() {
    let origin = Origin::start();
    let patient = site("tarpit").replace("max_secs = 1", "max_secs = 60");
    let mut secure = Secure::start(&origin, &patient);
    let plain = format!("http://t.example:{}/page", secure.gateway.port);
    let tls = format!("https://t.example:{}/page", secure.port);
    let codes: Vec<Option<i32>> = std::thread::scope(|scope| {
        let secure_ref = &secure;
        let waiting: Vec<_> = [
            ("--http1.1", &plain),
            ("--http1.0", &plain),
            ("--http1.1", &tls),
            ("--http2", &tls),
        ]
        .into_iter()
        .map(|(option, url)| scope.spawn(move || curl(secure_ref, &[option], url)))
        .collect();
        wait_for("four to be held", || gateway_held(secure_ref) == 4.0);
        secure_ref.gateway.signal("TERM");
        waiting
            .into_iter()
            .map(|curl| curl.join().unwrap())
            .collect()
    });
    assert_eq!(secure.gateway.wait(), Some(0));
    assert!(
        codes.iter().all(|code| matches!(code, Some(18 | 56 | 92))),
        "{codes:?}"
    );
}

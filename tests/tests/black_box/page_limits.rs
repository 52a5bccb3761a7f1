//! Limits that know pages from parts: what people behind one address and their programs load
//! passes as shipped, and what scrapers of pages load does not.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::atomic::Ordering,
    thread,
};

use http::Request;

use crate::{
    harness::{CHROME, CURL, Folder, Gateway, thornwall, wait_for},
    tls_client,
};

mod site;

use site::{Client, Scraped, Site, over, part_headers, parts, scrape, shipped_limits};

/// The built-in pipeline, which a site has that names none.
const AS_SHIPPED: &str = "[[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\n";

/// A site with the limits of the built-in pipeline and nothing else.
fn limits_alone() -> String {
    format!("{AS_SHIPPED}pipeline = \"p\"\n{}", shipped_limits())
}

fn all_are(wanted: u16, statuses: &[u16]) {
    let others: Vec<&u16> = statuses
        .iter()
        .filter(|status| **status != wanted)
        .collect();
    assert!(
        others.is_empty(),
        "{} of {} are not {wanted}: {others:?}",
        others.len(),
        statuses.len()
    );
}

/// A page and its parts, as a browser loads them over HTTP/1.
fn open_page(port: u16) -> Vec<u16> {
    let mut first = Client::new(port, CHROME);
    let mut statuses = vec![first.get("/page/1")];
    drop(first);
    statuses.extend(over(6, &parts(), || Client::new(port, &part_headers())));
    statuses
}

#[test]
fn ten_people_behind_one_address_each_open_a_page_of_a_hundred_parts() {
    let gateway = Gateway::start(Site::start(None).port, AS_SHIPPED);
    let port = gateway.port;
    let people: Vec<_> = (0..10)
        .map(|_| thread::spawn(move || open_page(port)))
        .collect();
    for person in people {
        let statuses = person.join().unwrap();
        assert_eq!(statuses.len(), 101);
        all_are(200, &statuses);
    }
}

/// What Chrome sends over TLS with a navigation, or with a page's part.
fn chrome(path: &str, part: bool) -> Request<()> {
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
        image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7";
    let images = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
    let brands = "\"Not)A;Brand\";v=\"8\", \"Chromium\";v=\"138\", \"Google Chrome\";v=\"138\"";
    let agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
        Chrome/138.0.0.0 Safari/537.36";
    let fields: &[(&str, &str)] = if part {
        &[
            ("sec-ch-ua-platform", "\"Linux\""),
            ("user-agent", agent),
            ("sec-ch-ua", brands),
            ("sec-ch-ua-mobile", "?0"),
            ("accept", images),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-dest", "image"),
            ("referer", "https://a.t.example/page/1"),
        ]
    } else {
        &[
            ("sec-ch-ua", brands),
            ("sec-ch-ua-mobile", "?0"),
            ("sec-ch-ua-platform", "\"Linux\""),
            ("upgrade-insecure-requests", "1"),
            ("user-agent", agent),
            ("accept", accept),
            ("sec-fetch-site", "none"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-user", "?1"),
            ("sec-fetch-dest", "document"),
        ]
    };
    let mut request = Request::get(format!("https://a.t.example{path}"));
    let last = [
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "en-US,en;q=0.9"),
    ];
    for (name, value) in fields.iter().chain(&last) {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// A gateway that speaks HTTP/2 over TLS, as shipped or with limits alone.
struct Secure {
    client: tls_client::Client,
    _gateway: Gateway,
    _files: Folder,
}

impl Secure {
    fn start(site: &str) -> Self {
        let listener = tls_client::SecureListener::named("a.t.example");
        let extra = format!("{}{site}", listener.toml);
        Self {
            client: listener.client,
            _gateway: Gateway::start(Site::start(None).port, &extra),
            _files: listener.files,
        }
    }

    /// The statuses of answers to requests over one connection.
    fn ask(&self, requests: Vec<Request<()>>) -> Vec<u16> {
        self.client.h2_all("a.t.example", requests, true).0
    }
}

#[test]
fn ten_people_open_it_over_http_2_all_parts_at_once() {
    let secure = Secure::start(AS_SHIPPED);
    thread::scope(|scope| {
        let open = || {
            all_are(200, &secure.ask(vec![chrome("/page/1", false)]));
            let parts = parts().iter().map(|part| chrome(part, true)).collect();
            secure.ask(parts)
        };
        let people: Vec<_> = (0..10).map(|_| scope.spawn(open)).collect();
        for person in people {
            let statuses = person.join().unwrap();
            assert_eq!(statuses.len(), 100);
            all_are(200, &statuses);
        }
    });
}

#[test]
fn a_scraper_that_leaves_its_requests_unfinished_is_charged_too() {
    let all_at_once = "[limits]\nmax_requests_per_client = 2000\n";
    let secure = Secure::start(&format!("{all_at_once}{}", limits_alone()));
    let page = |number: usize| {
        let target = format!("https://a.t.example/page/{number}");
        Request::post(target).body(()).unwrap()
    };
    // None of them says that it wants a page, and none has ended while the next ones are asked for.
    let (mut held, mut served) = (Vec::new(), 0);
    wait_for("a refusal", || {
        let requests = (0..90).map(page).collect();
        let (statuses, connection) = secure.client.h2_all("a.t.example", requests, false);
        held.push(connection);
        let passed = statuses.iter().filter(|status| **status == 200);
        let passed = passed.count();
        served += passed;
        passed < statuses.len()
    });
    // Well below what a client may have under way at once.
    assert!((150..1000).contains(&served), "{served}");
}

#[test]
fn programs_that_load_hundreds_of_files_are_not_limited() {
    let gateway = Gateway::start(Site::start(None).port, &limits_alone());
    let load = |connections: usize, headers: &str, paths: Vec<String>| {
        let client = || Client::new(gateway.port, headers);
        all_are(200, &over(connections, &paths, client));
    };
    let npm = |name: usize| {
        [
            format!("/npm/p{name}"),
            format!("/npm/p{name}/-/p{name}.tgz"),
        ]
    };
    let npm = (0..150).flat_map(npm).collect();
    load(
        15,
        "User-Agent: npm/10.8.2 node/v20.19.2 linux x64\r\nAccept: */*\r\n",
        npm,
    );
    let debs = (0..150).map(|name| format!("/pool/p{name}.deb")).collect();
    load(1, "User-Agent: Debian APT-HTTP/1.3 (3.0.3)\r\n", debs);
    let krate = |name: usize| {
        [
            format!("/npm/index/{name}"),
            format!("/crates/{name}.crate"),
        ]
    };
    let crates = (0..180).flat_map(krate).collect();
    load(40, "User-Agent: cargo/1.90.0\r\nAccept: */*\r\n", crates);
    // Java's programs say that they accept HTML, whatever they load.
    let jars = (0..300).map(|name| format!("/pool/{name}.jar")).collect();
    let java =
        "User-Agent: Java/21.0.4\r\nAccept: text/html, image/gif, image/jpeg, */*; q=0.2\r\n";
    load(6, java, jars);
}

/// Has git do this in a folder, without anybody's settings.
fn git(folder: &Folder, arguments: &[&str], input: &str) {
    let mut git = Command::new("git")
        .args(arguments)
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("no_proxy", "127.0.0.1")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("git is needed by this test");
    git.stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let ended = git.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{arguments:?}: {told}");
}

#[test]
fn git_clones_from_a_plain_file_server() {
    let folder = Folder::new();
    git(&folder, &["init", "--bare", "-b", "main", "repo.git"], "");
    let commit = |number: usize| {
        format!(
            "commit refs/heads/main\ncommitter A <a@t.example> {number} +0000\ndata 1\nc\n\
             M 644 inline f{number}\ndata {}\n{number}\n",
            number.to_string().len()
        )
    };
    let history: String = (1..=80).map(commit).collect();
    let import = [
        "-C",
        "repo.git",
        "-c",
        "fastimport.unpackLimit=9999",
        "fast-import",
        "--quiet",
    ];
    git(&folder, &import, &history);
    git(&folder, &["-C", "repo.git", "update-server-info"], "");
    let site = Site::start(Some(folder.path().to_path_buf()));
    let gateway = Gateway::start(site.port, &limits_alone());
    let url = format!("http://127.0.0.1:{}/repo.git", gateway.port);
    git(&folder, &["clone", "-q", &url, "copy"], "");
    assert!(folder.join("copy/f80").exists());
    let files = site.files.load(Ordering::Relaxed);
    assert!(files >= 240, "a commit, a tree and a file each: {files}");
}

/// What came of scraping stays within the limit of pages, whatever this machine's speed.
fn is_caught(scraped: &Scraped, how: &str) {
    let (burst, per_sec) = (150, 20);
    let most = burst + per_sec * (scraped.took.as_secs() as usize + 1) + 8;
    assert!(scraped.refused > 0, "{how}: {} served", scraped.served);
    assert!(scraped.served >= burst, "{how}: {} served", scraped.served);
    assert!(scraped.served <= most, "{how}: {} served", scraped.served);
}

#[test]
fn a_scraper_of_pages_is_refused_as_shipped() {
    let site = Site::start(None);
    let gateway = Gateway::start(site.port, AS_SHIPPED);
    let scraped = scrape(gateway.port, CHROME, |number| format!("/page/{number}"));
    is_caught(&scraped, "as a browser");
    assert_eq!(site.pages.load(Ordering::Relaxed), scraped.served);
}

#[test]
fn a_scraper_that_says_it_wants_something_else_is_refused_too() {
    let check = |how: &str, headers: &str, path: fn(usize) -> String| {
        let site = Site::start(None);
        let gateway = Gateway::start(site.port, &limits_alone());
        is_caught(&scrape(gateway.port, headers, path), how);
    };
    let images = part_headers() + "Sec-Fetch-Dest: image\r\n";
    check("images", &images, |number| format!("/page/{number}"));
    check("names of files", &images, |number| {
        format!("/page/{number}.png?v={number}.css")
    });
    check("nothing", CURL, |number| format!("/page?{number}"));
    check("JSON", "Accept: application/json\r\n", |number| {
        format!("/page/{number}")
    });
}

#[test]
fn parts_load_while_pages_are_refused() {
    let gateway = Gateway::start(Site::start(None).port, &limits_alone());
    let mut person = Client::new(gateway.port, CHROME);
    let mut number = 0;
    wait_for("the limit", || {
        number += 1;
        person.get(&format!("/page/{number}")) == 429
    });
    let mut person = person.with(&part_headers());
    let statuses: Vec<u16> = parts().iter().map(|part| person.get(part)).collect();
    all_are(200, &statuses);
}

#[test]
fn what_is_no_page_costs_nothing() {
    let gateway = Gateway::start(Site::start(None).port, &limits_alone());
    for (method, path, status) in [
        ("HEAD", "/page/1", 200),
        ("GET", "/moved", 302),
        ("GET", "/same", 304),
        ("GET", "/missing", 404),
        ("GET", "/part/download.png", 200),
    ] {
        let mut client = Client::new(gateway.port, CHROME);
        let statuses: Vec<u16> = (0..200).map(|_| client.ask(method, path)).collect();
        all_are(status, &statuses);
    }
}

#[test]
fn who_is_throttled_still_sees_whole_pages() {
    let extra = format!("[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n{AS_SHIPPED}");
    let site = Site::start(None);
    let gateway = Gateway::start(site.port, &extra);
    let blocked = Command::new(thornwall())
        .args([
            "block",
            "192.0.2.7",
            "--site",
            "t",
            "--action",
            "throttle",
            "-c",
        ])
        .arg(&gateway.config)
        .output()
        .unwrap();
    assert!(blocked.status.success(), "{blocked:?}");
    let from = |headers: &str| format!("X-Forwarded-For: 192.0.2.7\r\n{headers}");
    let mut person = Client::new(gateway.port, &from(CHROME));
    for page in 0..3 {
        assert_eq!(person.get(&format!("/page/{page}")), 200);
        person = person.with(&from(&part_headers()));
        let statuses: Vec<u16> = parts().iter().map(|part| person.get(part)).collect();
        all_are(200, &statuses);
        person = person.with(&from(CHROME));
    }
    // Sixty pages at once, and one in two seconds.
    let mut pages = 3;
    wait_for("the slower rate", || {
        pages += 1;
        person.get(&format!("/page/{pages}")) == 429
    });
    assert!(pages > 60, "{pages}");
    assert!(site.pages.load(Ordering::Relaxed) <= 60 + 11, "{pages}");
}

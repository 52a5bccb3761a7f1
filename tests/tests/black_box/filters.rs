//! The kinds of filter, each through the port.

use std::{fs, os::unix::fs::symlink, process::Command};

use crate::harness::{CHROME, CURL, Folder, Gateway, Origin, root, thornwall, wait_for};

/// A site behind a trusted proxy, so that a test can choose its client's address, and the filters
/// of its pipeline.
fn site(filters: &str) -> String {
    format!(
        "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [tarpit]\ninterval_ms = 20\nmax_secs = 1\n\
         [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
         [[pipeline]]\nname = \"p\"\n{filters}"
    )
}

fn from(client: &str, headers: &str) -> String {
    format!("X-Forwarded-For: {client}\r\n{headers}")
}

#[test]
fn listed_addresses_are_denied_and_the_list_is_reloaded_hot() {
    let origin = Origin::start();
    let lists = Folder::new();
    let list = lists.write("deny.txt", "# ours\n192.0.2.0/24\n2001:db8::/32 ; theirs\n");
    let gateway = Gateway::start(
        origin.port,
        &site(&format!(
            "[[pipeline.filter]]\nname = \"known_bad\"\nblocklist = {{ files = [\"{}\"] }}\n",
            list.display()
        )),
    );
    let status = |client: &str| gateway.get("/", &from(client, CHROME)).status;
    let denied = gateway.get("/", &from("192.0.2.77", CHROME));
    assert_eq!(denied.status, 403);
    assert_eq!(
        (status("2001:db8:1::1"), status("198.51.100.1")),
        (403, 200)
    );
    let decided = gateway.explain(denied.id());
    assert_eq!(decided["reason"], "blocklist.listed");
    assert_eq!(decided["signals"][0]["evidence"], "192.0.2.0-192.0.2.255");
    assert_eq!(
        origin.requests().len(),
        1,
        "a denied request never reaches the origin"
    );

    fs::write(&list, "198.51.100.1\n").unwrap();
    gateway.signal("HUP");
    wait_for("the reload", || {
        gateway.metric("thornwall_generation") == 2.0
    });
    assert_eq!((status("192.0.2.77"), status("198.51.100.1")), (200, 403));

    fs::write(&list, "198.51.100.1\nnonsense\n10.0.0.0/33\n").unwrap();
    gateway.signal("HUP");
    wait_for("the refusal", || gateway.stderr().contains("deny.txt:3"));
    assert!(
        gateway.stderr().contains("deny.txt:2"),
        "{}",
        gateway.stderr()
    );
    assert_eq!((status("192.0.2.77"), status("198.51.100.1")), (200, 403));
}

#[test]
fn a_client_beyond_its_rate_is_told_when_to_come_back() {
    let gateway = Gateway::start(
        Origin::start().port,
        &site(
            "[[pipeline.filter]]\nname = \"per_client\"\n\
             rate_limit = { key = \"client\", requests = 1, per_secs = 60, burst = 3 }\n",
        ),
    );
    let get = |client: &str| gateway.get("/", &from(client, CHROME));
    for turn in 1..=3 {
        assert_eq!(
            get("192.0.2.1").status,
            200,
            "request {turn} of a burst of 3"
        );
    }
    let refused = get("192.0.2.1");
    assert_eq!(refused.status, 429);
    let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((50..=60).contains(&wait), "{wait}");
    assert_eq!(
        refused.header("ratelimit-policy"),
        Some("\"default\";q=3;w=180")
    );
    assert_eq!(
        refused.header("ratelimit"),
        Some(format!("\"default\";r=0;t={wait}").as_str())
    );
    assert_eq!(gateway.explain(refused.id())["reason"], "rate_limit.client");
    assert_eq!(
        get("192.0.2.2").status,
        200,
        "another client has its own bucket"
    );
    // A reload does not fill anybody's bucket.
    gateway.signal("HUP");
    wait_for("the reload", || {
        gateway.metric("thornwall_generation") == 2.0
    });
    assert_eq!(get("192.0.2.1").status, 429);
}

#[test]
fn heuristics_tell_scrapers_from_people() {
    let origin = Origin::start();
    let filters = "[[pipeline.filter]]\nname = \"shape\"\nheuristics = {}\n\
        when = { not_paths = [\"/api/*\"] }\n\
        [pipeline.ladder]\nthrottle = 0.5\ntarpit = 0.8\ndeny = 0.95\n";
    let gateway = Gateway::start(origin.port, &site(filters));
    let check = |path: &str, headers: &str, ruling: &str, reason: &str| {
        let reply = gateway.get(path, headers);
        let decided = gateway.explain(reply.id());
        assert_eq!(decided["ruling"], ruling, "{path} {headers} {decided:#}");
        let noticed = decided["signals"].as_array().unwrap();
        let found = noticed.iter().any(|signal| signal["reason"] == reason);
        assert!(found || reason.is_empty(), "{reason} is not in {decided:#}");
    };
    check("/", CHROME, "forward", "");
    check("/a/b.html", CHROME, "forward", "");
    check("/", CURL, "tarpit", "user_agent.http_library");
    check("/api/v1", CURL, "forward", "");
    // An exemption ends where origins may read the path differently.
    for path in ["/api/../page", "/api/..%2fpage", "/api/..%5Cpage"] {
        check(path, CURL, "tarpit", "user_agent.http_library");
    }
    let reply = gateway.get("/api/..;/page", CURL);
    assert_eq!(reply.status, 400, "what some origins read as a step up");
    check("/robots.txt", "User-Agent: GPTBot/1.2\r\n", "forward", "");
    check(
        "/",
        "User-Agent: Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; \
         +https://openai.com/gptbot)\r\nAccept: */*\r\n",
        "tarpit",
        "user_agent.ai_crawler",
    );
    check(
        "/",
        "User-Agent: sqlmap/1.8\r\nAccept: */*\r\n",
        "deny",
        "user_agent.scanner",
    );
}

#[test]
fn bots_are_held_to_the_sites_robots_txt_and_people_are_not() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 34\r\n\r\n\
        User-agent: *\nDisallow: /private/\n";
    let origin = Origin::answering(answer, std::time::Duration::ZERO);
    let filters = "[[pipeline.filter]]\nname = \"shape\"\nheuristics = {}\n";
    let gateway = Gateway::start(origin.port, &site(filters));
    wait_for("robots.txt", || {
        gateway
            .get("/robots.txt", CHROME)
            .body
            .matches("Disallow")
            .count()
            == 2
    });
    let disobeys = |path: &str, headers: &str| {
        let decided = gateway.explain(gateway.get(path, headers).id());
        decided["signals"].to_string().contains("robots.disallowed")
    };
    let bot =
        "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)\r\n";
    assert!(disobeys("/private/x", bot));
    assert!(!disobeys("/public/x", bot));
    assert!(!disobeys("/private/x", CHROME));
}

/// The start of a gateway whose model cannot be used: exit code and what it said.
fn start_with_models(models: &str, runtime: Option<&str>) -> (Option<i32>, String) {
    let folder = Folder::new();
    let runtime = runtime
        .map(|path| format!("onnxruntime = \"{path}\"\n"))
        .unwrap_or_default();
    let filters = "[[pipeline.filter]]\nname = \"model\"\nanomaly = { model = \"bot_score\" }\n";
    let text = Gateway::toml(18_081, 19_181, 9, &site(filters));
    let real = format!("models_dir = \"{}\"", root().join("models").display());
    let text = text.replace(&real, &format!("models_dir = \"{models}\"\n{runtime}"));
    let config = folder.write("t.toml", &text);
    let output = Command::new(thornwall())
        .args(["run", "-c"])
        .arg(&config)
        .env_remove("ORT_DYLIB_PATH")
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_model_that_cannot_be_used_ends_the_start() {
    let models = root().join("models");
    let runtime = models
        .join("runtime/libonnxruntime.so")
        .display()
        .to_string();
    let folder = Folder::new();
    let dir = folder.path().display().to_string();
    let check = |runtime: Option<&str>, expected: &[&str]| {
        let (code, told) = start_with_models(&dir, runtime);
        assert_eq!(code, Some(2), "{told}");
        for expected in expected {
            assert!(told.contains(expected), "{expected} is not in {told}");
        }
    };
    check(None, &["fetch-runtime"]);
    check(Some(&runtime), &["bot_score"]);
    symlink(models.join("bot_score.onnx"), folder.join("bot_score.onnx")).unwrap();
    let card = fs::read_to_string(models.join("bot_score.json")).unwrap();
    let mut card: serde_json::Value = serde_json::from_str(&card).unwrap();
    card["schema_hash"] = "0".repeat(64).into();
    folder.write("bot_score.json", &card.to_string());
    check(Some(&runtime), &["schema"]);
}

#[test]
fn a_broken_list_ends_the_start_with_its_lines() {
    let folder = Folder::new();
    let list = folder.write("deny.txt", "192.0.2.1\nnot-an-address\n\n192.0.2.0/33\n");
    let filters = format!(
        "[[pipeline.filter]]\nname = \"x\"\nblocklist = {{ files = [\"{}\", \"absent.txt\"] }}\n",
        list.display()
    );
    let config = folder.write("t.toml", &Gateway::toml(18_082, 19_182, 9, &site(&filters)));
    let output = Command::new(thornwall())
        .args(["run", "-c"])
        .arg(&config)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    for expected in [
        "deny.txt:2",
        "not-an-address",
        "deny.txt:4",
        "from 0 to 32",
        "absent.txt",
    ] {
        assert!(told.contains(expected), "{expected} is not in {told}");
    }
}

#[test]
fn the_shipped_pipeline_does_what_the_demo_shows() {
    let gateway = Gateway::start(
        Origin::start().port,
        "[tarpit]\ninterval_ms = 20\nmax_secs = 1\n\
         [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\n",
    );
    let person = gateway.get("/", CHROME);
    assert_eq!((person.status, person.body.as_str()), (200, "origin"));
    let scraper = gateway.get("/python/", CURL);
    let decided = gateway.explain(scraper.id());
    assert_eq!(decided["ruling"], "tarpit", "{decided:#}");
}

#[test]
fn what_an_observing_limit_would_have_denied_is_shown() {
    let gateway = Gateway::start(
        Origin::start().port,
        &site(
            "[[pipeline.filter]]\nname = \"per_client\"\nmode = \"observe\"\n\
             rate_limit = { requests = 1, per_secs = 60, burst = 1 }\n",
        ),
    );
    assert_eq!(gateway.get("/", CHROME).status, 200);
    let second = gateway.get("/", CHROME);
    assert_eq!(second.status, 200);
    let signal = &gateway.explain(second.id())["signals"][0];
    assert_eq!(
        (&signal["reason"], &signal["observed"]),
        (&"rate_limit.client".into(), &true.into())
    );
}

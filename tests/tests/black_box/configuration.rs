//! Mistakes in the configuration, as `thornwall check` and `thornwall run` tell them.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use crate::harness::{Folder, Gateway, OPEN_SITE, root, thornwall};

fn check(config: &Path) -> (Option<i32>, String) {
    let of_the_sidecar = config
        .file_name()
        .is_some_and(|name| name == "sidecar.toml");
    let program = if of_the_sidecar {
        thornwall().with_file_name("thornwall-sidecar")
    } else {
        thornwall()
    };
    let output: Output = Command::new(program)
        .args(["check", "-c"])
        .arg(config)
        .current_dir(root())
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&told).into_owned(),
    )
}

/// A configuration of one listener, one upstream, one open site, and `extra`.
fn text(extra: &str) -> String {
    Gateway::toml(18_080, 19_180, 9, &format!("{OPEN_SITE}{extra}"))
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_was_expected() {
    let folder = Folder::new();
    let mistake = |extra: &str, expected: &[&str]| {
        let config = folder.write("t.toml", &text(extra));
        let (code, told) = check(&config);
        assert_eq!(code, Some(2), "{extra}\n{told}");
        for expected in expected {
            assert!(told.contains(expected), "{expected} is not in\n{told}");
        }
        for line in told.lines() {
            assert!(line.contains("t.toml"), "no place in {line}");
        }
    };
    mistake(
        "[[pipeline.filter]]\nname = \"x\"\n",
        &["exactly one kind", "anomaly, bandwidth, blocklist"],
    );
    mistake(
        "[[pipeline.filter]]\nname = \"x\"\nblocklist = {files=[]}\nheuristics = {}\n",
        &["exactly one kind"],
    );
    mistake(
        "[[pipeline.filter]]\nname = \"x\"\nheuristics = {}\n[[pipeline.filter]]\nname = \"x\"\nheuristics = {}\n",
        &["filter `x` is there twice"],
    );
    mistake(
        "[[pipeline.filter]]\nname = \"x\"\nmode = \"obsrve\"\nheuristics = {}\n",
        &["unknown variant `obsrve`; expected `enforce` or `observe`"],
    );
    mistake(
        "[pipeline.ladder]\nthrottle = 0.9\ntarpit = 0.8\n",
        &["starts below `throttle`"],
    );
    mistake(
        "[pipeline.ladder]\ndeny = 1.5\n",
        &["no score; expected above 0 and up to 1"],
    );
    mistake(
        "[pipeline.ladder]\nchallenge = 0.6\n",
        &["`challenge` is still to come (challenges)"],
    );
    mistake(
        "[[pipeline.filter]]\nname = \"second\"\nescalate = { score = [0.9, 0.1], reasons = [\"path.prob\", \"upstream.busy\"] }\n",
        &[
            "[0.9, 0.1] is no band of scores",
            "unknown reason code `path.prob`",
            "no filter before it can notice `upstream.busy`",
            "there is no sidecar to escalate to; add [escalation]",
        ],
    );
    mistake(
        "[privacy]\nmode = \"hash\"\n[escalation]\naddress = \"http://127.0.0.1:9181\"\nmax_cases = 1\n",
        &[
            "escalation hands out addresses, which privacy.mode forbids",
            "add token_file",
            "`max_cases` is 1; expected 16 to 10000",
        ],
    );
    mistake(
        "[store]\nkind = \"file\"\nmax_decisions = 7\n",
        &["unknown variant `file`"],
    );
    mistake(
        "[store]\nmax_decisions = 7\n",
        &["out of bounds; expected 1024 to 4194304 decisions"],
    );
    mistake(
        "[never_block]\naddresses = [\"shop.example\"]\n",
        &["`shop.example` is not an address"],
    );
    mistake(
        "[privacy]\nmode = \"hash\"\n[export]\nfail2ban_log = \"x\"\nnftables_file = \"y\"\n",
        &[
            "export.fail2ban_log hands out addresses, which privacy.mode forbids",
            "export.nftables_file hands out addresses, which privacy.mode forbids",
        ],
    );
    mistake(
        "[[feed]]\nname = \"A\"\n",
        &["`A` is no name of a feed", "expected either url or file"],
    );
    mistake(
        "[[feed]]\nname = \"a\"\nurl = \"ftp://x/\"\nevery_secs = 0\nmax_bytes = 5\n[[feed]]\nname = \"a\"\nfile = \"x\"\npointer = \"/a\"\nlifetime_secs = 5\n",
        &[
            "is no HTTP URL",
            "expected 1 to 604800 seconds",
            "expected 1024 to 67108864 bytes",
            "feed `a` is there twice",
            "`pointer` belongs to format = \"json\"",
            "lifetime_secs is shorter than every_secs",
        ],
    );
    mistake(
        "[[feed]]\nname = \"a\"\nurl = \"https://me:word@x/\"\nformat = \"json\"\n[[feed]]\nname = \"b\"\nfile = \"x\"\nformat = \"json\"\npointer = \"a\"\n[[feed]]\nname = \"c\"\nfile = \"x\"\nformat = \"csv\"\ncolumn = -1\n",
        &[
            "has a user or a password in it",
            "format = \"json\" needs a pointer",
            "`a` does not begin with `/`; expected a JSON Pointer",
            "is no column; expected a number from 0",
        ],
    );
    mistake(
        "[pipeline.throttle]\nrequests = 0\n",
        &["expected a nonzero u32"],
    );
    mistake(
        "[[pipeline.filter]]\nname = \"x\"\nheuristics = {}\nwhen = {paths=[\"api\"]}\n",
        &["starts with `/`"],
    );
    mistake(
        "[[pipeline.filter]]\nname = \"x\"\nheuristics = {}\nwhen = {methods=[\"get\"]}\n",
        &["upper-case"],
    );
    mistake(
        "[[site]]\nname = \"u\"\nhosts = [\"a\"]\nupstream = \"nowhere\"\npipeline = \"open\"\n",
        &["no upstream `nowhere`; expected one of o"],
    );
    mistake(
        "[[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"open\"\n",
        &["host `*` is there twice", "site `t` is there twice"],
    );
    mistake(
        "[[site]]\nname = \"u\"\nhosts = [\"http://a\"]\nupstream = \"o\"\npipeline = \"open\"\n",
        &["`http://a` is no host"],
    );
    mistake(
        "[[upstream]]\nname = \"u\"\nhash = \"client\"\nservers = [{address=\"127.0.0.1:1\"},{address=\"127.0.0.1:1\"}]\n",
        &["is there twice; expected a weight", "hash has no effect"],
    );
    mistake(
        "[[upstream]]\nname = \"u\"\nservers = [{address=\"nonsense\"}]\n",
        &["expected an address or name"],
    );
    mistake("[[listener]]\naddress = \"8080\"\n", &["no socket address"]);
    mistake(
        "[client_address]\ntrusted_proxies = [\"10.0.0.0/99\"]\n",
        &["`/99` is not a prefix length of 10.0.0.0"],
    );
    mistake("[tarpit]\ninterval_ms = 1\n", &["expected 10 to 600000"]);
    mistake("[server\n", &["t.toml:"]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let folder = Folder::new();
    let config = folder.write(
        "t.toml",
        &text("bogus = 1\n[tarpit]\ninterval_ms = 1\nunheard = 2\n[[listener]]\naddress = \"x\"\n"),
    );
    let (code, told) = check(&config);
    assert_eq!(code, Some(2));
    assert_eq!(told.lines().count(), 4, "{told}");
    for what in [
        "`bogus`",
        "`unheard`",
        "10 to 600000",
        "`x` is no socket address",
    ] {
        assert!(told.contains(what), "{what} is not in\n{told}");
    }
}

#[test]
fn a_sound_configuration_shows_its_pipelines() {
    let folder = Folder::new();
    let config = folder.write("t.toml", &text(""));
    let (code, told) = check(&config);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("site t") && told.contains("pipeline open"),
        "{told}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let (code, told) = check(Path::new("/nonexistent/thornwall.toml"));
    assert_eq!(code, Some(2));
    assert!(
        told.contains("/nonexistent/thornwall.toml: cannot be read"),
        "{told}"
    );
}

/// Every file under `etc/` that is a configuration.
fn shipped() -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("etc")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    names.sort();
    assert!(names.contains(&"thornwall.toml".to_owned()), "{names:?}");
    names
}

#[test]
fn shipped_files_are_sound() {
    for name in shipped() {
        let (code, told) = check(&root().join("etc").join(&name));
        assert_eq!(code, Some(0), "{name}: {told}");
    }
}

/// Checks each mutant of a shipped file in a folder of its own, several at once.
fn refuses_bogus_keys(name: &str, mutants: &[String]) {
    let next = AtomicUsize::new(0);
    let check_all = || {
        let folder = Folder::new();
        fs::create_dir_all(folder.join("lists")).unwrap();
        fs::copy(
            root().join("etc/lists/deny.txt"),
            folder.join("lists/deny.txt"),
        )
        .unwrap();
        while let Some(mutant) = mutants.get(next.fetch_add(1, Relaxed)) {
            let (code, told) = check(&folder.write(name, mutant));
            assert_eq!(code, Some(2), "accepted:\n{mutant}");
            assert!(told.contains("unknown key `bogus`"), "{told}\n{mutant}");
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(check_all);
        }
    });
}

#[test]
fn a_bogus_key_is_refused_in_every_table_of_every_shipped_file() {
    for name in shipped() {
        let text = fs::read_to_string(root().join("etc").join(&name)).unwrap();
        let mutants = mutants(&text);
        assert!(
            mutants.len() > text.matches("\n[").count(),
            "{name}: {}",
            mutants.len()
        );
        refuses_bogus_keys(&name, &mutants);
    }
}

/// `text` with a bogus key at its top, below each header, and in each inline table.
fn mutants(text: &str) -> Vec<String> {
    let mut mutants = vec![format!("bogus = 1\n{text}")];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let code = line.split('#').next().unwrap_or_default();
        if code.starts_with('[') {
            let end = at + line.len();
            mutants.push(format!("{}bogus = 1\n{}", &text[..end], &text[end..]));
        }
        for (brace, _) in code.match_indices('{') {
            let inside = at + brace + 1;
            let comma = if code[brace + 1..].trim_start().starts_with('}') {
                ""
            } else {
                ","
            };
            mutants.push(format!(
                "{} bogus = 1{comma}{}",
                &text[..inside],
                &text[inside..]
            ));
        }
        at += line.len();
    }
    mutants
}

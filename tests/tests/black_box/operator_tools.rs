//! What operators see and leave behind: text of strangers on their terminals, lines about what they did,
//! and nothing in anybody's home.

use std::{fs, process::Command};

use crate::harness::{CHROME, Folder, Gateway, Origin, Program, closing, thornwall, wait_for};

const SITE: &str = "[[site]]\nname = \"shop\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
    [[pipeline]]\nname = \"p\"\n[[pipeline.filter]]\nname = \"known_bad\"\nblocklist = {}\n";

/// C1's introducer of control sequences, marks that turn a line around or break it, and what nobody
/// sees; as far as a header field can carry them.
const TRICKS: &str = "a\u{9b}2Jb\u{202e}c\u{2066}d\u{2028}e\u{200f}f\u{ad}g\u{e0041}h";

fn is_harmless(text: &str) -> bool {
    let obeyed = |character: char| TRICKS.contains(character) && !character.is_ascii();
    !text
        .chars()
        .any(|character| obeyed(character) || (character.is_control() && character != '\n'))
}

#[test]
fn no_strangers_text_is_obeyed_by_a_terminal() {
    let gateway = Gateway::start(Origin::start().port, SITE);
    let fields = closing(&format!("User-Agent: {TRICKS}\r\n"));
    let id = gateway.get("/", &fields).id().to_owned();
    let (_, shown) = gateway.run(&["explain", &id]);
    assert!(is_harmless(&shown), "{shown:?}");
    assert!(
        shown.contains("a\\u{9b}2Jb\\u{202e}c\\u{2066}d"),
        "it is escaped: {shown}"
    );
    let (_, json) = gateway.run(&["explain", &id, "--json"]);
    assert!(is_harmless(&json), "{json:?}");
    assert_eq!(
        gateway.explain(&id)["user_agent"],
        TRICKS,
        "JSON says the same"
    );

    let note = format!("{TRICKS}\u{1b}]0;x\u{7}");
    let (code, told) = gateway.run(&["block", "192.0.2.7", "--reason", &note]);
    assert_eq!(code, Some(0), "{told}");
    for arguments in [
        &["decisions"][..],
        &["decisions", "--json"],
        &["status"],
        &["status", "--json"],
        &["block", "192.0.2.7", "--site", TRICKS],
        &["unblock", TRICKS],
    ] {
        let (_, shown) = gateway.run(arguments);
        assert!(is_harmless(&shown), "{arguments:?} {shown:?}");
    }
    let log = gateway.folder.join("access.log");
    wait_for("the access line", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains(&id))
    });
    assert!(is_harmless(&fs::read_to_string(&log).unwrap()));
    assert!(is_harmless(&gateway.stderr()), "{:?}", gateway.stderr());
}

#[test]
fn what_operators_do_is_put_down_when_it_is_done_and_never_before() {
    let gateway = Gateway::start(Origin::start().port, SITE);
    let done = |line: &str| {
        let log = gateway.stderr();
        let lines: Vec<String> = log
            .lines()
            .filter(|text| text.contains(line))
            .map(str::to_owned)
            .collect();
        lines
    };
    let (code, _) = gateway.run(&["unblock", "192.0.2.7", "--site", "shop"]);
    assert_eq!(code, Some(1), "nothing was decided about it");
    assert_eq!(done("] taken back by an operator"), Vec::<String>::new());
    let refused = done("not taken back, though an operator asked");
    assert_eq!(refused.len(), 1);
    assert!(refused[0].contains("status=404"), "{refused:?}");

    let arguments = ["block", "127.0.0.1", "--for", "1h"];
    let trusted = format!("[never_block]\naddresses = [\"127.0.0.1\"]\n{SITE}");
    let sparing = Gateway::start(Origin::start().port, &trusted);
    assert_eq!(sparing.run(&arguments).0, Some(1));
    assert!(!sparing.stderr().contains("] decided by an operator"));

    let reason = [
        "block",
        "192.0.2.7",
        "--site",
        "shop",
        "--for",
        "1h",
        "--reason",
        "asks \"all\"",
    ];
    assert_eq!(gateway.run(&reason).0, Some(0));
    let unblock = [
        "unblock",
        "192.0.2.7",
        "--site",
        "shop",
        "--reason",
        "a person",
    ];
    assert_eq!(gateway.run(&unblock).0, Some(0));
    let made = done("decided by an operator");
    let taken = done("] taken back by an operator");
    assert_eq!((made.len(), taken.len()), (1, 1), "{}", gateway.stderr());
    for part in [
        "subject=192.0.2.7 ",
        "site=shop",
        "action=deny",
        "for_secs=3600",
        "note=\"asks \\\"all\\\"\"",
        "role=operator",
        "peer=127.0.0.1:",
        "durable=true",
    ] {
        assert!(made[0].contains(part), "{part} {made:?}");
    }
    for part in [
        "subject=192.0.2.7 ",
        "site=shop",
        "note=\"a person\"",
        "role=operator",
        "peer=127.0.0.1:",
        "asks",
    ] {
        assert!(taken[0].contains(part), "{part} {taken:?}");
    }
    let token = fs::read_to_string(gateway.folder.join("data/admin.token")).unwrap();
    assert!(!gateway.stderr().contains(token.trim()));
}

#[test]
fn the_models_runtime_leaves_nothing_in_the_users_home() {
    let site = "[[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
        [[pipeline]]\nname = \"p\"\n[[pipeline.filter]]\nname = \"model\"\n\
        anomaly = { model = \"bot_score\" }\n";
    let home = Folder::new();
    let path = home.path().to_str().unwrap();
    // As a user has it: nothing is said about the runtime.
    let variables = [
        ("HOME", path),
        ("XDG_CACHE_HOME", ""),
        ("ORT_DISABLE_TELEMETRY", ""),
    ];
    let origin = Origin::start();
    let gateway = Gateway::start_with(&Program::with(&variables), Folder::new(), origin.port, site);
    let pid = gateway.child.id();
    assert_eq!(gateway.get("/", &closing(CHROME)).status, 200);
    let checked = Command::new(thornwall())
        .envs(variables)
        .args(["check", "-c"])
        .arg(&gateway.config)
        .output()
        .unwrap();
    assert!(checked.status.success());
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert!(
        maps.contains("libonnxruntime"),
        "the runtime is there, in the process that was started"
    );
    let left: Vec<_> = fs::read_dir(home.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_help_of_decisions_names_every_source() {
    let output = Command::new(thornwall())
        .args(["decisions", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for words in [
        "operator, filter, feed, sidecar or predecessor",
        "Skip this many",
        "Show at most this many",
    ] {
        assert!(help.contains(words), "{words} is not in {help}");
    }
}

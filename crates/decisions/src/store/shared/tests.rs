//! Keys, values and addresses of the shared store.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use super::{link::Command, *};
use crate::decision::{Action, Change, Decision, MOST_TEXT, ReasonCode, Scope, Source};

fn decision(subject: &str, scope: Scope) -> Decision {
    Decision {
        subject: subject.parse().unwrap(),
        scope,
        action: Action::Deny,
        reason: ReasonCode::Foreign("of_another.version".into()),
        source: Source::Filter("standard.per_client".into()),
        evidence: "é".to_owned(),
        note: String::new(),
        requests: vec!["0123".to_owned()],
        made_ms: 1,
        until_ms: 2,
    }
}

/// A server that says this to everybody, whatever it is asked; where it is.
fn parrot(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let say = move |mut client: TcpStream, answer: &[u8]| {
        // Until whoever asked leaves.
        let _ = client.write_all(answer);
        let _ = client.read_to_end(&mut Vec::new());
    };
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || say(client, &answer));
        }
    });
    address
}

fn access(url: &str) -> Access {
    Access::new(url, Credentials::default(), None, 0).unwrap()
}

#[test]
fn tenants_are_plain_names() {
    let longest = "a".repeat(64);
    for good in ["default", "a", "shop-2_x", &longest] {
        assert!(Names::new(good).is_some(), "{good}");
    }
    let too_long = "a".repeat(65);
    for bad in ["", "Shop", "a:b", "a*", "é", &too_long] {
        assert!(Names::new(bad).is_none(), "{bad}");
    }
}

#[test]
fn what_is_written_is_read_under_its_own_key() {
    let names = Names::new("default").unwrap();
    let cases = [
        (
            "192.0.2.7",
            Scope::Deployment,
            "default:decision:*:192.0.2.7",
        ),
        (
            "2001:db8::/32",
            Scope::Site("shop".into()),
            "default:decision:shop:2001:db8::/32",
        ),
    ];
    for (subject, scope, key) in cases {
        let written = decision(subject, scope);
        assert_eq!(names.decision(&written.key()), key);
        let value = entry::encode_value(&written);
        let read = decode_value(&names, key.as_bytes(), value.as_bytes());
        assert_eq!(read.unwrap(), written);
        let elsewhere = decode_value(&names, b"default:decision:*:192.0.2.8", value.as_bytes());
        assert!(matches!(elsewhere, Err(EntryError::Key)));
        let change = decode_entry(entry::encode_decision(&written).as_bytes()).unwrap();
        assert_eq!(change, Change::Decide(written.clone()));
        let withdrawn = entry::encode_withdrawal(&written.key(), 7);
        let change = decode_entry(withdrawn.as_bytes()).unwrap();
        assert_eq!((change.key(), change.made_ms()), (written.key(), 7));
        assert_eq!(*change.source(), Source::Operator);
    }
}

/// What other versions have written into Redis, and read out of it.
#[test]
fn entries_keep_their_form() {
    let names = Names::new("default").unwrap();
    for (action, written_as) in [
        (Action::Deny, "deny"),
        (Action::Tarpit, "tarpit"),
        (Action::Throttle, "throttle"),
    ] {
        let written = Decision {
            action,
            ..decision("192.0.2.7", Scope::Site("shop".into()))
        };
        let value = format!(
            r#"{{"subject":"192.0.2.7","scope":"shop","action":"{written_as}","reason":"of_another.version","source":"filter:standard.per_client","evidence":"é","requests":["0123"],"made_ms":1,"until_ms":2}}"#
        );
        assert_eq!(entry::encode_value(&written), value);
        let key = b"default:decision:shop:192.0.2.7";
        assert_eq!(
            decode_value(&names, key, value.as_bytes()).unwrap(),
            written
        );
        let entry = format!(r#"{{"decide":{value}}}"#);
        assert_eq!(entry::encode_decision(&written), entry);
        assert_eq!(
            decode_entry(entry.as_bytes()).unwrap(),
            Change::Decide(written)
        );
    }
    let everywhere = decision("2001:db8::/32", Scope::Deployment).key();
    assert_eq!(
        entry::encode_withdrawal(&everywhere, 7),
        r#"{"withdraw":{"subject":"2001:db8::/32","scope":null,"made_ms":7}}"#
    );
}

#[test]
fn what_others_wrote_is_refused_or_cut() {
    let long = "x".repeat(MOST_TEXT + 1);
    let mut written = decision("192.0.2.7", Scope::Deployment);
    written.evidence.clone_from(&long);
    written.until_ms = u64::MAX;
    let Change::Decide(read) = decode_entry(entry::encode_decision(&written).as_bytes()).unwrap()
    else {
        panic!("a decision was written");
    };
    assert_eq!(read, written.bounded());
    let site = decision("192.0.2.7", Scope::Site(long.into()));
    let read = decode_entry(entry::encode_decision(&site).as_bytes());
    assert!(matches!(read, Err(EntryError::Site)));
    // An action that another version knows: the entry is passed over.
    let later = entry::encode_decision(&decision("192.0.2.7", Scope::Deployment));
    let later = later.replace(r#""action":"deny""#, r#""action":"challenge""#);
    assert!(later.contains("challenge"));
    let read = decode_entry(later.as_bytes());
    assert!(matches!(read, Err(EntryError::Form(_))));
    let large = vec![b' '; 1 << 16];
    assert!(matches!(decode_entry(&large), Err(EntryError::Large)));
    for text in [
        "",
        "{}",
        "[]",
        r#"{"decide":{}}"#,
        r#"{"forget":{}}"#,
        "\u{0}",
    ] {
        assert!(matches!(
            decode_entry(text.as_bytes()),
            Err(EntryError::Form(_))
        ));
    }
}

#[test]
fn addresses_are_understood_or_refused_without_showing_secrets() {
    let access = |url: &str| Access::new(url, Credentials::default(), None, 0);
    for (good, tls) in [
        ("redis://127.0.0.1", false),
        ("redis://[::1]:6380/3", false),
        ("valkeys://h:1", true),
        ("rediss-cluster://h:1?node=g:2", true),
        (
            "redis-sentinel://h?node=g:2&sentinelServiceName=main",
            false,
        ),
    ] {
        assert!(access(good).is_ok(), "{good}: {:?}", access(good));
        assert_eq!(Access::wants_tls(good), tls);
    }
    for bad in [
        "h:6379",
        "redis://",
        "redis://h/16x",
        "redis://h:70000",
        "redis+unix:///run/redis.sock",
        "redis-sentinel://h",
        "redis://h?node=g:2",
    ] {
        assert!(matches!(access(bad), Err(AccessError::Form(_))), "{bad}");
    }
    for bad in ["redis://u:hidden@h", "redis://:hidden@h", "redis://u@h"] {
        assert_eq!(access(bad).unwrap_err(), AccessError::Credentials);
    }
    let told = access("redis://u:hidden@h:port").unwrap_err().to_string();
    assert!(!told.contains("hidden"), "{told}");
    let credentials = Credentials {
        username: None,
        password: Some("hidden".to_owned()),
    };
    let shown = format!(
        "{:?}",
        Access::new("redis://h", credentials, None, 2).unwrap()
    );
    assert!(!shown.contains("hidden"), "{shown}");
}

#[test]
fn pauses_differ_and_stay_within_their_bounds() {
    let pauses: Vec<Duration> = (0..100).map(|_| jittered(MOST_PAUSE)).collect();
    let within = |pause: &Duration| (MOST_PAUSE / 2..=MOST_PAUSE).contains(pause);
    assert!(pauses.iter().all(within), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause != pauses[0]));
}

/// Whoever speaks in its place may answer every command with as much as one may be answered.
#[tokio::test]
async fn answers_are_together_no_larger_than_one_may_be() {
    let text = [
        b"$65536\r\n".to_vec(),
        vec![b'x'; 1 << 16],
        b"\r\n".to_vec(),
    ]
    .concat();
    let large = [b"*63\r\n".to_vec(), text.repeat(63)].concat();
    let many = [b"*30000\r\n".to_vec(), b"*0\r\n".repeat(30_000)].concat();
    let asked = async |answer: Vec<u8>, commands: usize| {
        let access = access(&format!("redis://{}", parrot(answer)));
        let mut link = access.connect(DECISIONS).await.unwrap();
        let commands = vec![Command::new("PTTL").word("x"); commands];
        link.ask_all(&commands).await
    };
    for answer in [large, many] {
        assert!(asked(answer.clone(), 1).await.is_ok());
        let several = asked(answer.repeat(4), 4).await;
        assert!(matches!(several, Err(LinkError::Bounds)));
    }
    let numbers = asked(b":1\r\n".repeat(70_000), 70_000).await;
    assert_eq!(numbers.unwrap().len(), 70_000);
}

#[tokio::test]
async fn a_large_cluster_is_known_wholly_or_not_at_all() {
    let id = "0123456789abcdef0123456789abcdef01234567";
    let node = |port: u32| format!("*3\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$40\r\n{id}\r\n");
    let cluster = async |parts: u32| {
        let slots: String = (0..parts)
            .map(|slot| format!("*3\r\n:{slot}\r\n:{slot}\r\n{}", node(1 + slot / 100)))
            .collect();
        let address = parrot(format!("*{parts}\r\n{slots}").into_bytes());
        let small = Bounds {
            text: 1024,
            total: 64 << 10,
            over: 0,
        };
        let access = access(&format!("redis-cluster://{address}"));
        access.connect(small).await.map(|link| link.parts())
    };
    assert_eq!(cluster(4000).await.unwrap(), 40);
    assert!(matches!(cluster(16_384).await, Err(LinkError::Bounds)));
}

//! The thread's own work, with a disk that fails.

use std::fs;

use super::*;
use crate::{
    decision::{Action, ReasonCode, Scope},
    prefix_set::Prefix,
};

struct Still;

impl Clock for Still {
    fn now(&self) -> Moment {
        Moment {
            own_ms: 5_000,
            unix_ms: 1_000_000,
        }
    }
}

fn writer() -> Writer {
    let options = Options {
        capacity: 10,
        shared: false,
        coarse_only: false,
    };
    let metrics = StoreMetrics::register(&prometheus::Registry::new()).unwrap();
    Writer::new(Arc::default(), metrics, Arc::new(Still), options)
}

fn decision(host: u32, until_ms: u64) -> Decision {
    Decision {
        subject: Prefix::host(std::net::Ipv4Addr::from_bits(host).into()),
        scope: Scope::Deployment,
        action: Action::Deny,
        reason: ReasonCode::Foreign("test".into()),
        source: Source::Filter("p.f".into()),
        evidence: String::new(),
        note: String::new(),
        requests: Vec::new(),
        made_ms: 1_000_000,
        until_ms,
    }
}

#[test]
fn a_file_that_fails_twice_is_tried_again() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    // The folder of the file is not there: as when a disk has gone.
    let path = folder.join("decisions.redb");
    let mut writer = writer();
    let now = writer.clock.now();
    writer.file = File::Failed(path.clone());
    let made = Change::Decide(decision(1, 2_000_000));
    assert_eq!(
        writer.apply(made, ChangeOrigin::Here, now),
        WriteOutcome::Made
    );
    writer.reopen(now);
    assert!(matches!(writer.file, File::Failed(_)));
    fs::create_dir_all(&folder).unwrap();
    writer.reopen(now);
    writer.save();
    assert!(writer.waiting.is_empty() && matches!(writer.file, File::Open(..)));
}

#[test]
fn what_waits_for_a_disk_that_is_gone_is_bounded() {
    let mut writer = writer();
    writer.file = File::Failed("/nowhere/decisions.redb".into());
    let mut now = writer.clock.now();
    for round in 0..50 {
        for host in 0..100 {
            let until_ms = now.unix_ms + 100;
            let made = Change::Decide(decision(round * 100 + host, until_ms));
            assert_eq!(
                writer.apply(made, ChangeOrigin::Here, now),
                WriteOutcome::Made
            );
        }
        now.own_ms += 1_000;
        now.unix_ms += 1_000;
        writer.clear(now);
    }
    assert_eq!(writer.waiting.len(), 0);
}

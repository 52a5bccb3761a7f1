//! What is kept on the disk is its owner's alone, and what others can reach is said aloud.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    escalation::sidecar::Sidecar,
    harness::{Gateway, OPEN_SITE, Origin},
};

/// Files of a folder, and of folders in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn assert_private(folder: &Path, expected: &[&str]) {
    let found = files(folder);
    for name in expected {
        let is_it = |path: &PathBuf| path.file_name().is_some_and(|found| found == *name);
        assert!(found.iter().any(is_it), "{name}: {found:?}");
    }
    for path in found {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
}

#[test]
fn a_gateways_files_are_its_owners_and_open_ones_are_said_aloud() {
    let mut gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    let data = gateway.config.with_file_name("data");
    assert_private(&data, &["decisions.redb", "admin.token"]);
    assert!(!gateway.stderr().contains("everybody on this machine"));
    gateway.signal("TERM");
    gateway.wait();
    // As an earlier version, or an operator, left them.
    set_mode(&data, 0o777);
    set_mode(&data.join("decisions.redb"), 0o644);
    set_mode(&data.join("admin.token"), 0o644);
    let gateway = gateway.start_again();
    let log = gateway.stderr();
    for told in [
        "can read a secret",
        "admin.token",
        "can replace what is kept",
    ] {
        assert!(log.contains(told), "{told}: {log}");
    }
    set_mode(&data.join("admin.token"), 0o600);
    assert_private(&data, &["decisions.redb"]);
}

#[test]
fn a_sidecars_files_are_its_owners_and_open_ones_are_said_aloud() {
    let mut sidecar = Sidecar::start("");
    let data = sidecar.folder.join("data");
    assert_private(&data, &["history.redb", "spend.redb", "sidecar.token"]);
    sidecar.kill();
    set_mode(&data, 0o777);
    set_mode(&data.join("history.redb"), 0o644);
    set_mode(&data.join("sidecar.token"), 0o644);
    sidecar.run();
    let log = sidecar.stderr();
    for told in ["can read a secret", "can replace what is kept"] {
        assert!(log.contains(told), "{told}: {log}");
    }
    set_mode(&data.join("sidecar.token"), 0o600);
    assert_private(&data, &["history.redb", "spend.redb"]);
}

//! Who started this process, and takes its end for the end of the service.
//!
//! The process that an upgrade starts is a child of the old one. A supervisor that knows the old one
//! alone ends the container, or starts another gateway beside the new one, when it ends. systemd is
//! notified of the new one where it listens; the others cannot be.

use std::{env, fs, os::unix::process::parent_id, process};

/// What supervisors of single processes are called in `/proc/PID/comm`, which keeps 15 characters.
const SUPERVISORS: [&str; 10] = [
    "catatonit",
    "docker-init",
    "dumb-init",
    "runsv",
    "s6-supervise",
    "supervise",
    "supervise-daemo",
    "supervisord",
    "tini",
    "tini-static",
];

/// The supervisor of this process that cannot be notified of a successor. To be asked at the start,
/// since a process that an upgrade started is an orphan soon.
pub(super) fn of_this_process() -> Option<String> {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if env::var_os("NOTIFY_SOCKET").is_some() {
        return None;
    }
    if is("SYSTEMD_EXEC_PID", &process::id().to_string()) {
        return Some("systemd, without Type=notify".to_owned());
    }
    let name = fs::read_to_string(format!("/proc/{}/comm", parent_id())).ok()?;
    let name = name.trim_end();
    SUPERVISORS.contains(&name).then(|| name.to_owned())
}
